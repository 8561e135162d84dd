#include "engine/model/model_internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/base/uuid.h"

void kap_model_init(struct kap_model *model, const struct kap_schema *schema, struct kap_view *view,
                    struct kap_txn *txn, struct kap_arena *arena, struct kap_env *env, struct kap_id actor,
                    int64_t now_us)
{
    *model = (struct kap_model){
        .schema = schema, .view = view, .txn = txn, .arena = arena, .env = env, .actor = actor, .now_us = now_us};
    kap_faults_init(&model->faults, arena);
}

static void message_set(struct kap_model *model, const char *format, va_list arguments)
{
    char text[480];
    int len = vsnprintf(text, sizeof text, format, arguments);
    KAP_ASSERT(len >= 0);
    struct kap_bytes copy = kap_arena_copy(model->arena, kap_bytes(text, KAP_MIN((size_t)len, sizeof text - 1)));
    model->error.has_message = copy.data != NULL;
    model->error.message = copy;
}

kap_status kap_model_refuse(struct kap_model *model, kap_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    message_set(model, format, arguments);
    va_end(arguments);
    return status;
}

kap_status kap_model_refuse_row(struct kap_model *model, kap_status status, uint8_t kind, struct kap_id id,
                                const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    message_set(model, format, arguments);
    va_end(arguments);
    model->error.has_kind = true;
    model->error.kind = kind;
    model->error.has_id = true;
    model->error.id = id;
    return status;
}

struct kap_id kap_model_new_id(struct kap_model *model)
{
    uint8_t random[10];
    kap_env_random(model->env, random, sizeof random);
    return kap_uuid_v7(model->now_us, random);
}

const char *kap_model_kind_name(const struct kap_model *model, uint8_t kind)
{
    const struct kap_kind_desc *desc = kap_schema_kind(model->schema, kind);
    return desc ? desc->name : "row of an unknown kind";
}

bool model_is_root(const struct kap_schema *schema, uint8_t kind, struct kap_id root, struct kap_id id)
{
    const struct kap_kind_desc *desc = kap_schema_kind(schema, kind);
    return desc && desc->root_rule != KAP_ROOT_FIELD && kap_id_eq(root, id);
}

bool model_shares_id(uint8_t kind)
{
    return kind == KAP_KIND_USER || kind == KAP_KIND_PROFILE || kind == KAP_KIND_PREFERENCES;
}

struct kap_id model_column_id(const struct kap_column *column)
{
    struct kap_id id = {{0}};
    if (column->present && column->bytes.len == sizeof id.bytes)
        memcpy(id.bytes, column->bytes.data, sizeof id.bytes);
    return id;
}

kap_status model_row_id(struct kap_bytes row, uint16_t field, struct kap_id *id_out)
{
    struct kap_column column;
    kap_status status = kap_row_column(row, field, 0, &column);
    if (status == KAP_OK)
        *id_out = model_column_id(&column);
    return status;
}

struct kap_sys **model_sys_of(void *message)
{
    return (struct kap_sys **)message; /* sys is the first member of every row's struct: field 1 */
}

kap_status kap_model_find_in(struct kap_model *model, uint8_t kind, struct kap_id root, struct kap_id id,
                             struct kap_row *row_out)
{
    const struct kap_kind_desc *desc = kap_schema_kind(model->schema, kind);
    struct kap_row row = {.kind = kind, .root = root, .id = id};
    struct kap_sys_view sys;
    struct kap_key key;
    if (!desc)
        return KAP_NOT_FOUND;
    kap_key_row(&key, desc->group, root, kind, id);
    kap_status status = kap_view_get(model->view, kap_key_bytes(&key), &row.stored);
    if (status != KAP_OK)
        return status;
    model->rows_read++;
    if (kap_row_sys(row.stored, &sys) != KAP_OK || !kap_id_eq(sys.id, id))
        return kap_model_refuse_row(model, KAP_CORRUPT, kind, id, "the stored %s is not what was written", desc->name);
    bool is_orphan;
    status = model_orphaned(model, kind, row.stored, &is_orphan);
    if (status != KAP_OK || is_orphan)
        return status == KAP_OK ? KAP_NOT_FOUND : status;
    status = model_row_answer(model, kind, row.stored, &row.bytes);
    if (status == KAP_OK)
        *row_out = row;
    return status;
}

kap_status kap_model_find(struct kap_model *model, uint8_t kind, struct kap_id id, struct kap_row *row_out)
{
    const struct kap_kind_desc *desc = kap_schema_kind(model->schema, kind);
    struct kap_bytes value;
    struct kap_key key;
    if (!desc || kap_id_is_nil(id))
        return KAP_NOT_FOUND;
    if (desc->root_rule == KAP_ROOT_SELF)
        return kap_model_find_in(model, kind, id, id, row_out);
    kap_key_locator(&key, id, kind);
    kap_status status = kap_view_get(model->view, kap_key_bytes(&key), &value);
    if (status == KAP_NOT_FOUND && desc->root_rule == KAP_ROOT_FIELD_IF)
        return kap_model_find_in(model, kind, id, id, row_out);
    if (status != KAP_OK)
        return status;
    struct kap_id root;
    if (value.len != sizeof root.bytes)
        return kap_model_refuse_row(model, KAP_CORRUPT, kind, id, "the locator of this %s is not an id", desc->name);
    memcpy(root.bytes, value.data, sizeof root.bytes);
    bool any_cascade = false;
    status = kap_model_find_in(model, kind, root, id, row_out);
    kap_status asked = status == KAP_NOT_FOUND ? model_any_cascade(model, &any_cascade) : KAP_OK;
    if (asked != KAP_OK)
        return asked;
    if (status == KAP_NOT_FOUND && !any_cascade)
        return kap_model_refuse_row(model, KAP_CORRUPT, kind, id, "the locator names a tree without this %s",
                                    desc->name);
    return status;
}

kap_status kap_model_may(struct kap_model *model, enum kap_may may, const struct kap_row *row, bool *may_out)
{
    *may_out = true;
    return model->may ? model->may(model->may_context, may, row, may_out) : KAP_OK;
}

kap_status kap_model_get(struct kap_model *model, uint8_t kind, struct kap_id id, struct kap_row *row_out)
{
    bool may = false;
    kap_status status = kap_model_find(model, kind, id, row_out);
    if (status == KAP_OK)
        status = kap_model_may(model, KAP_MAY_READ, row_out, &may);
    if (status == KAP_NOT_FOUND || (status == KAP_OK && !may))
        return kap_model_refuse_row(model, KAP_NOT_FOUND, kind, id, "there is no such %s, or none you may see",
                                    kap_model_kind_name(model, kind));
    return status;
}

kap_status kap_model_find_unique(struct kap_model *model, uint16_t unique, const struct kap_unique_value *values,
                                 struct kap_id *id_out)
{
    const struct kap_unique_desc *desc = NULL;
    struct kap_bytes value;
    struct kap_key key;
    for (uint16_t i = 0; i < model->schema->n_uniques; i++)
        if (model->schema->uniques[i].id == unique)
            desc = &model->schema->uniques[i];
    KAP_ASSERT(desc);
    kap_index_unique_key_init(&key, unique);
    for (uint8_t i = 0; i < desc->n_parts; i++) {
        struct kap_column column = {.present = true, .number = values[i].number, .bytes = values[i].bytes};
        kap_key_put_part(&key, &desc->parts[i], &column, 0);
    }
    if (key.failed) /* too long to be anybody's */
        return KAP_NOT_FOUND;
    kap_status status = kap_view_get(model->view, kap_key_bytes(&key), &value);
    if (status != KAP_OK)
        return status;
    if (value.len != sizeof id_out->bytes)
        return kap_model_refuse(model, KAP_CORRUPT, "the unique key %s does not hold an id", desc->name);
    memcpy(id_out->bytes, value.data, sizeof id_out->bytes);
    return KAP_OK;
}

/* A root is the first row of its own range that is not the head; a part is in the locator. */
kap_status kap_model_kind_of(struct kap_model *model, struct kap_id id, struct kap_row *row_out)
{
    struct kap_scan scan;
    struct kap_key prefix;
    kap_status status = kap_model_root_row(model, id, row_out);
    if (status != KAP_NOT_FOUND)
        return status;
    kap_key_init(&prefix, KAP_TREE_LOCATOR);
    kap_key_put_id(&prefix, id);
    status = kap_scan_init_prefix(&scan, model->view, model->arena, kap_key_bytes(&prefix));
    if (status == KAP_OK)
        status = kap_scan_next(&scan);
    if (status != KAP_OK)
        return status == KAP_END ? KAP_NOT_FOUND : status;
    if (scan.entry.key.len != prefix.len + 1u)
        return kap_model_refuse(model, KAP_CORRUPT, "a key of the locator has the wrong size");
    return kap_model_find(model, scan.entry.key.data[prefix.len], id, row_out);
}

static kap_status row_from_entry(struct kap_model *model, const struct kap_entry *entry, struct kap_row *row_out)
{
    enum { ROOT_AT = KAP_TREE_BYTES + 1, KIND_AT = ROOT_AT + 16, ID_AT = KIND_AT + 1, KEY_BYTES = ID_AT + 16 };
    struct kap_sys_view sys;
    if (entry->key.len != KEY_BYTES)
        return kap_model_refuse(model, KAP_CORRUPT, "a row key has the wrong size");
    *row_out = (struct kap_row){.kind = entry->key.data[KIND_AT], .stored = entry->value};
    memcpy(row_out->root.bytes, entry->key.data + ROOT_AT, 16);
    memcpy(row_out->id.bytes, entry->key.data + ID_AT, 16);
    if (kap_row_sys(entry->value, &sys) != KAP_OK || !kap_id_eq(sys.id, row_out->id))
        return kap_model_refuse_row(model, KAP_CORRUPT, row_out->kind, row_out->id,
                                    "the stored row is not what was written");
    model->rows_read++;
    return model_row_answer(model, row_out->kind, row_out->stored, &row_out->bytes);
}

kap_status kap_model_root_row(struct kap_model *model, struct kap_id root, struct kap_row *row_out)
{
    for (uint8_t group = 1; group <= 4; group++) {
        struct kap_scan scan;
        struct kap_key prefix;
        struct kap_row row;
        kap_key_row_prefix(&prefix, group, root);
        kap_status status = kap_scan_init_prefix(&scan, model->view, model->arena, kap_key_bytes(&prefix));
        while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
            status = row_from_entry(model, &scan.entry, &row);
            if (status != KAP_OK || row.kind == KAP_KIND_TREE_HEAD)
                continue;
            if (!kap_id_eq(row.id, root))
                break;
            *row_out = row;
            return KAP_OK;
        }
        if (status != KAP_OK && status != KAP_END)
            return status;
    }
    return KAP_NOT_FOUND;
}

kap_status kap_rows_add(struct kap_rows *rows, struct kap_arena *arena, const struct kap_row *row)
{
    if (rows->n == rows->cap) {
        uint32_t cap = rows->cap ? rows->cap * 2 : 32;
        struct kap_row *at = kap_arena_push(arena, cap * sizeof *at);
        if (!at)
            return KAP_NO_MEMORY;
        if (rows->n)
            memcpy(at, rows->at, rows->n * sizeof *at);
        rows->at = at;
        rows->cap = cap;
    }
    rows->at[rows->n++] = *row;
    return KAP_OK;
}

kap_status model_tree_first(struct kap_model *model, uint8_t group, struct kap_id root, uint32_t max,
                            struct kap_rows *rows_out, bool *is_all_out)
{
    struct kap_rows rows = {0};
    struct kap_scan scan;
    struct kap_key prefix;
    struct kap_row row;
    kap_key_row_prefix(&prefix, group, root);
    *is_all_out = true;
    kap_status status = kap_scan_init_prefix(&scan, model->view, model->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && *is_all_out && (status = kap_scan_next(&scan)) == KAP_OK) {
        *is_all_out = rows.n < max;
        if (*is_all_out)
            status = row_from_entry(model, &scan.entry, &row);
        if (*is_all_out && status == KAP_OK)
            status = kap_rows_add(&rows, model->arena, &row);
    }
    *rows_out = rows;
    return status == KAP_END ? KAP_OK : status;
}

kap_status kap_model_tree(struct kap_model *model, uint8_t group, struct kap_id root, uint32_t max,
                          struct kap_rows *rows_out)
{
    bool is_all;
    kap_status status = model_tree_first(model, group, root, max, rows_out, &is_all);
    if (status == KAP_OK && !is_all)
        return kap_model_refuse(model, KAP_TOO_LARGE, "a tree of more than %u rows cannot be handled at once", max);
    return status;
}

kap_status model_decode_entry(struct kap_model *model, uint8_t kind, struct kap_bytes bytes, void **message_out)
{
    const struct kap_msg *msg = kap_message_of_kind(kind);
    KAP_ASSERT(msg);
    void *message = kap_arena_push(model->arena, msg->size);
    if (!message)
        return KAP_NO_MEMORY;
    kap_status status = kap_wire_decode(msg, bytes, model->arena, KAP_WIRE_STORED, message, NULL);
    if (status == KAP_CORRUPT)
        return kap_model_refuse(model, KAP_CORRUPT, "a stored %s cannot be decoded", msg->name);
    if (status == KAP_OK)
        *message_out = message;
    return status;
}

kap_status kap_model_decode(struct kap_model *model, uint8_t kind, struct kap_bytes bytes, void **message_out)
{
    void *message;
    kap_status status = model_decode_entry(model, kind, bytes, &message);
    if (status == KAP_OK && !*model_sys_of(message))
        return kap_model_refuse(model, KAP_CORRUPT, "a stored %s lacks its header", kap_message_of_kind(kind)->name);
    if (status == KAP_OK)
        *message_out = message;
    return status;
}

kap_status kap_model_count(struct kap_model *model, const struct kap_key *key, uint64_t *count_out)
{
    struct kap_scan scan;
    uint64_t total = 0;
    kap_status status = kap_scan_init_prefix(&scan, model->view, model->arena, kap_key_bytes(key));
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
        if (scan.entry.value.len != 8)
            return kap_model_refuse(model, KAP_CORRUPT, "a count is not a number");
        total += kap_le64_load(scan.entry.value.data);
    }
    if (status != KAP_END)
        return status;
    *count_out = total;
    return KAP_OK;
}
