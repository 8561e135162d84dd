/* References: what a row may point to. Only those that a write brings are looked at; old ones may dangle (NULLIFY). */
#include "engine/base/assert.h"
#include "engine/base/uuid.h"
#include "engine/model/model_internal.h"

kap_status model_ref_target(const struct kap_ref_desc *ref, struct kap_bytes row, uint8_t *kind_out)
{
    struct kap_column column = {0};
    kap_status status = KAP_OK;
    *kind_out = ref->target_kind;
    if (ref->target_kind == 0)
        status = kap_row_column(row, ref->target_kind_field, 0, &column);
    if (status == KAP_OK && column.present)
        *kind_out = (uint8_t)column.number;
    return status;
}

static kap_status holds(const struct kap_ref_desc *ref, const struct kap_bytes *row, struct kap_id id, bool *holds_out)
{
    *holds_out = false;
    for (uint32_t n = 0; row && !*holds_out; n++) {
        struct kap_column column;
        kap_status status = kap_row_column(*row, ref->field, n, &column);
        if (status != KAP_OK)
            return status;
        if (!column.present)
            break;
        *holds_out = kap_id_eq(model_column_id(&column), id);
        if (!ref->repeated)
            break;
    }
    return KAP_OK;
}

static const struct kap_field *field_of(uint8_t kind, uint16_t number)
{
    const struct kap_field *field = kap_message_field(kap_message_of_kind(kind), number);
    KAP_ASSERT(field);
    return field;
}

/* Nothing of the right kind has this id: say so, and what it is when the principal may know. */
static kap_status nothing_fault(struct kap_model *model, uint8_t want, struct kap_id id, const struct kap_path *path)
{
    char text[KAP_UUID_TEXT_BYTES];
    struct kap_row other;
    bool may = false;
    kap_status status = kap_model_kind_of(model, id, &other);
    if (status == KAP_OK)
        status = kap_model_may(model, KAP_MAY_READ, &other, &may);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    kap_uuid_print(id, text);
    if (may && other.kind != want)
        kap_faults_add(&model->faults, path, "wrong_kind", "the id of the wrong kind: %s is a %s, not a %s", text,
                       kap_model_kind_name(model, other.kind), kap_model_kind_name(model, want));
    else
        kap_faults_add(&model->faults, path, "no_target", "reference to nothing: there is no %s %s",
                       kap_model_kind_name(model, want), text);
    return KAP_OK;
}

/* An account is known to everybody through its profile; what is in one's own tree need not be asked about. */
static kap_status may_refer(struct kap_model *model, const struct kap_row *target, struct kap_id self_root,
                            bool *may_out)
{
    *may_out = true;
    if (target->kind == KAP_KIND_USER || kap_id_eq(target->root, self_root))
        return KAP_OK;
    return kap_model_may(model, KAP_MAY_READ, target, may_out);
}

static kap_status list_check(struct kap_model *model, const struct kap_field *field, const struct kap_row *target,
                             const struct kap_path *path)
{
    struct kap_column column;
    if (field->rules->ref_list == 0 || target->kind != KAP_KIND_REF_ITEM)
        return KAP_OK;
    kap_status status = kap_row_column(target->bytes, 2, 0, &column); /* ref_item.kind */
    if (status == KAP_OK && column.number != field->rules->ref_list)
        kap_faults_add(&model->faults, path, "wrong_list", "this item is of the list %s, not of %s",
                       kap_enum_name(&kap_ref_kind_enum, (int32_t)column.number),
                       kap_enum_name(&kap_ref_kind_enum, field->rules->ref_list));
    return status;
}

static kap_status target_check(struct kap_model *model, const struct kap_ref_desc *ref, struct kap_bytes row,
                               struct kap_id id, const struct kap_path *path, bool is_restore)
{
    struct kap_row target;
    struct kap_sys_view sys;
    uint8_t kind;
    bool may = false;
    kap_status status = model_ref_target(ref, row, &kind);
    if (status == KAP_OK)
        status = kap_row_sys(row, &sys);
    if (status != KAP_OK)
        return status;
    status = kap_model_find(model, kind, id, &target);
    if (status == KAP_NOT_FOUND && is_restore && ref->on_delete == KAP_ON_DELETE_KEEP)
        return KAP_OK; /* the target had gone before the export was made */
    if (status == KAP_OK)
        status = may_refer(model, &target, sys.id, &may);
    if (status == KAP_NOT_FOUND || (status == KAP_OK && !may))
        return nothing_fault(model, kind, id, path);
    if (status != KAP_OK)
        return status;
    return list_check(model, field_of(ref->kind, ref->field), &target, path);
}

kap_status model_refs_check(struct kap_model *model, uint8_t kind, const struct kap_bytes *before,
                            struct kap_bytes after, const struct kap_path *path, bool is_restore)
{
    for (uint16_t i = 0; i < model->schema->n_refs; i++) {
        const struct kap_ref_desc *ref = &model->schema->refs[i];
        if (ref->kind != kind)
            continue;
        for (uint32_t n = 0; n == 0 || ref->repeated; n++) {
            struct kap_path here = {path, field_of(kind, ref->field)->name, ref->repeated ? (int64_t)n : -1};
            struct kap_column column;
            bool is_old;
            kap_status status = kap_row_column(after, ref->field, n, &column);
            if (status != KAP_OK)
                return status;
            if (!column.present)
                break;
            struct kap_id id = model_column_id(&column);
            status = holds(ref, before, id, &is_old);
            if (status == KAP_OK && !is_old && !kap_id_is_nil(id))
                status = target_check(model, ref, after, id, &here, is_restore);
            if (status != KAP_OK)
                return status;
        }
    }
    return KAP_OK;
}

static kap_status default_find(struct kap_model *model, const struct kap_field *field, struct kap_id *id_out)
{
    const struct kap_unique_value values[] = {{.number = field->rules->ref_list},
                                              {.bytes = kap_bytes_str(field->rules->default_text)}};
    return kap_model_find_unique(model, KAP_UNIQUE_REF_VALUE, values, id_out);
}

kap_status model_refs_default(struct kap_model *model, uint8_t kind, void *message)
{
    const struct kap_msg *msg = kap_message_of_kind(kind);
    for (size_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        struct kap_id id;
        if (field->type != KAP_FIELD_ID || field->repeated || !field->rules->default_text || !field->rules->ref_list ||
            kap_field_count(field, message) > 0)
            continue;
        kap_status status = default_find(model, field, &id);
        if (status == KAP_NOT_FOUND)
            continue;
        if (status != KAP_OK)
            return status;
        memcpy((uint8_t *)message + field->value_at, id.bytes, sizeof id.bytes);
        *((bool *)message + field->has_at) = true;
    }
    return KAP_OK;
}
