/* What was deleted and has left something behind.
 *
 * References to it (NULLIFY) read as absent, and nothing is written to the rows that hold them:
 *
 * mark   written with the delete of a row that others refer to. While it stands, and it stands for good because ids are not
 *        used twice, the reference is left out of every row that is read. The next write of such a row stores it without
 *        the reference, and its index entry goes with that. A number counts the marks, so that a store that has none
 *        pays one lookup a request. See docs/decisions/0006.
 *
 * What belongs to it (CASCADE) and is still stored, because there is more than one commit takes, is not there for anybody:
 * while a number says that jobs are under way that take such rows away (job.h), a row is only there when what it belongs
 * to is there. */
#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/model/model_internal.h"

enum { KNOWN_NONE = 1, KNOWN_SOME };

static const char marks_name[] = "marks", cascades_name[] = "cascades";

static void number_key(struct kap_key *key, const char *name)
{
    kap_key_init(key, KAP_TREE_META);
    kap_key_put(key, name, strlen(name));
}

static void mark_key(struct kap_key *key, uint8_t kind, struct kap_id id)
{
    kap_key_init(key, KAP_TREE_MARK);
    kap_key_put_id(key, id);
    kap_key_put_u8(key, kind);
}

static kap_status number_get(struct kap_model *model, const char *name, uint64_t *number_out)
{
    struct kap_bytes value;
    struct kap_key key;
    number_key(&key, name);
    *number_out = 0;
    kap_status status = kap_view_get(model->view, kap_key_bytes(&key), &value);
    if (status == KAP_OK && value.len != 8)
        return kap_model_refuse(model, KAP_CORRUPT, "the store's number of %s is not a number", name);
    if (status == KAP_OK)
        *number_out = kap_le64_load(value.data);
    return status == KAP_NOT_FOUND ? KAP_OK : status;
}

static kap_status number_add(struct kap_model *model, const char *name, int delta)
{
    uint64_t number;
    uint8_t bytes[8];
    struct kap_key key;
    kap_status status = number_get(model, name, &number);
    if (status != KAP_OK)
        return status;
    if (delta < 0 && number == 0)
        return kap_model_refuse(model, KAP_CORRUPT, "the store's number of %s is lower than there are", name);
    number_key(&key, name);
    kap_le64_store(bytes, number + (uint64_t)(int64_t)delta);
    return kap_txn_put(model->txn, kap_key_bytes(&key), kap_bytes(bytes, sizeof bytes));
}

/* Is there any at all? Asked once a request. */
static kap_status any(struct kap_model *model, const char *name, uint8_t *known, bool *any_out)
{
    uint64_t number = 0;
    kap_status status = *known ? KAP_OK : number_get(model, name, &number);
    if (status == KAP_OK && !*known)
        *known = number > 0 ? KNOWN_SOME : KNOWN_NONE;
    *any_out = *known == KNOWN_SOME;
    return status;
}

static kap_status any_marks(struct kap_model *model, bool *any_out)
{
    return any(model, marks_name, &model->marks_known, any_out);
}

kap_status model_marked(struct kap_model *model, uint8_t kind, struct kap_id id, bool *is_out)
{
    struct kap_bytes value;
    struct kap_key key;
    kap_status status = any_marks(model, is_out);
    if (status != KAP_OK || !*is_out)
        return status;
    mark_key(&key, kind, id);
    status = kap_view_get(model->view, kap_key_bytes(&key), &value);
    *is_out = status == KAP_OK;
    return status == KAP_NOT_FOUND ? KAP_OK : status;
}

kap_status model_mark_put(struct kap_model *model, uint8_t kind, struct kap_id id)
{
    uint8_t bytes[8];
    struct kap_key key;
    bool is;
    kap_status status = model_marked(model, kind, id, &is);
    if (status != KAP_OK || is)
        return status;
    mark_key(&key, kind, id);
    kap_le64_store(bytes, model->txn->commit_seq);
    status = kap_txn_put(model->txn, kap_key_bytes(&key), kap_bytes(bytes, sizeof bytes));
    model->marks_known = KNOWN_SOME;
    return status == KAP_OK ? number_add(model, marks_name, 1) : status;
}

static const struct kap_ref_desc *nullify_ref(const struct kap_schema *schema, uint8_t kind, uint32_t field)
{
    for (uint16_t i = 0; i < schema->n_refs; i++) {
        const struct kap_ref_desc *ref = &schema->refs[i];
        if (ref->kind == kind && ref->field == field && ref->on_delete == KAP_ON_DELETE_NULLIFY)
            return ref;
    }
    return NULL;
}

static bool has_nullify(const struct kap_schema *schema, uint8_t kind)
{
    for (uint16_t i = 0; i < schema->n_refs; i++)
        if (schema->refs[i].kind == kind && schema->refs[i].on_delete == KAP_ON_DELETE_NULLIFY)
            return true;
    return false;
}

/* One field: is it a reference to what is gone? */
static kap_status field_gone(struct kap_model *model, uint8_t kind, struct kap_bytes row, uint32_t number,
                             const struct kap_column *value, bool *is_out)
{
    const struct kap_ref_desc *ref = nullify_ref(model->schema, kind, number);
    uint8_t target;
    *is_out = false;
    if (!ref || value->bytes.len != sizeof(struct kap_id))
        return KAP_OK;
    kap_status status = model_ref_target(ref, row, &target);
    return status == KAP_OK ? model_marked(model, target, model_column_id(value), is_out) : status;
}

kap_status model_row_answer(struct kap_model *model, uint8_t kind, struct kap_bytes stored, struct kap_bytes *row_out)
{
    const uint8_t *at = stored.data, *end = stored.data + stored.len;
    uint8_t *copy = NULL;
    size_t len = 0;
    bool any;
    *row_out = stored;
    kap_status status = any_marks(model, &any);
    if (status != KAP_OK || !any || !has_nullify(model->schema, kind))
        return status;
    for (;;) {
        struct kap_column value;
        struct kap_bytes whole;
        uint32_t number;
        bool is;
        status = kap_row_field_next(&at, end, &number, &value, &whole);
        if (status == KAP_END)
            break;
        if (status == KAP_OK)
            status = field_gone(model, kind, stored, number, &value, &is);
        if (status != KAP_OK)
            return status;
        if (is && !copy) {
            copy = kap_arena_push_bytes(model->arena, stored.len);
            if (!copy)
                return KAP_NO_MEMORY;
            len = (size_t)(whole.data - stored.data);
            memcpy(copy, stored.data, len);
        } else if (!is && copy) {
            memcpy(copy + len, whole.data, whole.len);
            len += whole.len;
        }
    }
    if (copy)
        *row_out = kap_bytes(copy, len);
    return KAP_OK;
}

kap_status model_parent_gone(struct kap_model *model, uint16_t index, const struct kap_key *prefix, bool *is_out)
{
    struct kap_id parent;
    kap_status status = any_marks(model, is_out);
    if (status != KAP_OK || !*is_out)
        return status;
    *is_out = false;
    if (prefix->len < KAP_TREE_BYTES + sizeof parent.bytes)
        return KAP_OK;
    memcpy(parent.bytes, prefix->data + KAP_TREE_BYTES, sizeof parent.bytes);
    for (uint16_t i = 0; i < model->schema->n_refs && status == KAP_OK && !*is_out; i++) {
        const struct kap_ref_desc *ref = &model->schema->refs[i];
        if (ref->index == index && ref->on_delete == KAP_ON_DELETE_NULLIFY && ref->target_kind != 0)
            status = model_marked(model, ref->target_kind, parent, is_out);
    }
    return status;
}

/* ---- what belongs to it */

kap_status model_any_cascade(struct kap_model *model, bool *any_out)
{
    *any_out = false;
    return model->sees_all ? KAP_OK : any(model, cascades_name, &model->cascades_known, any_out);
}

kap_status model_cascades_count(struct kap_model *model, uint64_t *count_out)
{
    return number_get(model, cascades_name, count_out);
}

kap_status model_cascades_add(struct kap_model *model, int delta)
{
    model->cascades_known = 0;
    return number_add(model, cascades_name, delta);
}

kap_status model_orphaned(struct kap_model *model, uint8_t kind, struct kap_bytes stored, bool *is_out)
{
    kap_status status = model_any_cascade(model, is_out);
    if (status != KAP_OK || !*is_out)
        return status;
    *is_out = false;
    for (uint16_t i = 0; i < model->schema->n_refs && !*is_out; i++) {
        const struct kap_ref_desc *ref = &model->schema->refs[i];
        struct kap_row target;
        struct kap_id id = {{0}};
        uint8_t target_kind;
        if (ref->kind != kind || ref->on_delete != KAP_ON_DELETE_CASCADE)
            continue;
        status = model_row_id(stored, ref->field, &id);
        if (status == KAP_OK && kap_id_is_nil(id))
            continue;
        if (status == KAP_OK)
            status = model_ref_target(ref, stored, &target_kind);
        if (status == KAP_OK)
            status = kap_model_find(model, target_kind, id, &target);
        *is_out = status == KAP_NOT_FOUND;
        if (status != KAP_OK && status != KAP_NOT_FOUND)
            return status;
    }
    return KAP_OK;
}
