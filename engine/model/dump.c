#include "engine/model/dump.h"

#include "engine/base/assert.h"
#include "engine/model/model_internal.h"

enum { DUMP_LIMIT_DEFAULT = 200, DUMP_SIDES = 2 };

/* Rows of a kind stand in two places: roots in the row tree, parts in the locator. Both are walked in id order. */
struct side {
    struct kap_scan scan;
    struct kap_id id;
    bool is_ended;
    bool is_stopped; /* enough scanned for one page: nothing of the kind up to id */
};

struct dumping {
    struct kap_model *model;
    const struct kap_kind_desc *desc;
    struct side sides[DUMP_SIDES]; /* locator, row tree */
    uint32_t scanned;
};

static bool is_dumped(int32_t kind)
{
    return kind != KAP_KIND_TREE_HEAD && kind != KAP_KIND_BLOB_REF && kind != KAP_KIND_AUTH_TOKEN &&
           kind != KAP_KIND_BLOB;
}

static kap_status side_open(struct dumping *d, uint32_t n, const struct kap_id *after)
{
    bool is_locator = n == 0;
    struct kap_key lo, hi;
    d->sides[n].is_ended = is_locator ? d->desc->root_rule == KAP_ROOT_SELF : d->desc->root_rule == KAP_ROOT_FIELD;
    if (d->sides[n].is_ended)
        return KAP_OK;
    kap_key_init(&lo, is_locator ? KAP_TREE_LOCATOR : KAP_TREE_ROWS);
    if (!is_locator)
        kap_key_put_u8(&lo, d->desc->group);
    kap_key_prefix_end(&hi, kap_key_bytes(&lo));
    if (after) {
        struct kap_key upto = lo;
        kap_key_put_id(&upto, *after);
        kap_key_prefix_end(&lo, kap_key_bytes(&upto));
    }
    return kap_scan_init(&d->sides[n].scan, d->model->view, d->model->arena, kap_key_bytes(&lo), kap_key_bytes(&hi));
}

/* To the next id of the kind. */
static kap_status side_next(struct dumping *d, uint32_t n)
{
    struct side *side = &d->sides[n];
    const size_t id_at = n == 0 ? KAP_TREE_BYTES : KAP_TREE_BYTES + 1, kind_at = id_at + 16;
    while (!side->is_ended) {
        kap_status status = kap_scan_next(&side->scan);
        if (status == KAP_END) {
            side->is_ended = true;
            return KAP_OK;
        }
        if (status != KAP_OK)
            return status;
        struct kap_bytes key = side->scan.entry.key;
        if (key.len < kind_at + 1)
            return kap_model_refuse(d->model, KAP_CORRUPT, "a key has the wrong size");
        memcpy(side->id.bytes, key.data + id_at, 16);
        bool is_row = key.data[kind_at] == d->desc->kind;
        if (n == 1) /* a root: its id twice */
            is_row = is_row && memcmp(key.data + kind_at + 1, side->id.bytes, 16) == 0;
        if (is_row)
            return KAP_OK;
        if (++d->scanned > KAP_DUMP_SCAN_MAX) {
            side->is_stopped = true;
            return KAP_OK;
        }
    }
    return KAP_OK;
}

static kap_status dump_init(struct dumping *d, const struct kap_dump_rows_request *request)
{
    kap_status status = KAP_OK;
    for (uint32_t n = 0; n < DUMP_SIDES && status == KAP_OK; n++)
        status = side_open(d, n, request->has_after ? &request->after : NULL);
    return status;
}

static kap_status row_give(struct dumping *d, struct kap_id id, struct kap_dump_rows_reply *reply, size_t *bytes)
{
    struct kap_row row;
    bool any_cascade = false;
    kap_status status = kap_model_find(d->model, d->desc->kind, id, &row);
    kap_status asked = status == KAP_NOT_FOUND ? model_any_cascade(d->model, &any_cascade) : KAP_OK;
    if (asked != KAP_OK || any_cascade) /* a job has yet to take the row away */
        return asked;
    if (status == KAP_NOT_FOUND)
        return kap_model_refuse_row(d->model, KAP_CORRUPT, d->desc->kind, id,
                                    "the locator names a row that is not there");
    if (status != KAP_OK)
        return status;
    reply->rows[reply->n_rows++] =
        (struct kap_typed_row){.has_kind = true, .kind = d->desc->kind, .has_row = true, .row = row.bytes};
    *bytes += row.bytes.len;
    return KAP_OK;
}

static kap_status dump_walk(struct dumping *d, uint32_t limit, struct kap_dump_rows_reply *reply)
{
    const struct side *parts = &d->sides[0], *roots = &d->sides[1];
    size_t bytes = 0;
    kap_status status = side_next(d, 0);
    if (status == KAP_OK)
        status = side_next(d, 1);
    while (status == KAP_OK && !(parts->is_ended && roots->is_ended)) {
        bool is_part = roots->is_ended || (!parts->is_ended && kap_id_cmp(parts->id, roots->id) <= 0);
        const struct side *side = is_part ? parts : roots;
        reply->has_next = side->is_stopped || reply->n_rows == limit || bytes > KAP_DUMP_BYTES_MAX;
        if (side->is_stopped)
            reply->next = side->id;
        if (reply->has_next)
            return KAP_OK;
        reply->next = side->id; /* a page that ends here goes on behind it */
        status = row_give(d, side->id, reply, &bytes);
        if (status == KAP_OK)
            status = side_next(d, is_part ? 0 : 1);
    }
    return status;
}

kap_status kap_dump_rows(struct kap_model *model, const struct kap_dump_rows_request *request,
                         struct kap_dump_rows_reply *reply)
{
    struct kap_path path = {NULL, "kind", -1};
    struct dumping *d = kap_arena_push(model->arena, sizeof *d);
    uint32_t limit = request->has_limit ? request->limit : DUMP_LIMIT_DEFAULT;
    if (!d)
        return KAP_NO_MEMORY;
    *d = (struct dumping){.model = model, .desc = kap_schema_kind(model->schema, (uint8_t)request->kind)};
    if (!d->desc || !is_dumped(request->kind)) {
        kap_faults_add(&model->faults, &path, "not_allowed", "rows of this kind are not exported");
        return KAP_INVALID;
    }
    reply->rows = kap_arena_push(model->arena, limit * sizeof *reply->rows);
    if (!reply->rows)
        return KAP_NO_MEMORY;
    kap_status status = dump_init(d, request);
    return status == KAP_OK ? dump_walk(d, limit, reply) : status;
}

kap_status kap_restore_rows(struct kap_model *model, const struct kap_restore_rows_request *request,
                            struct kap_restore_rows_reply *reply)
{
    reply->has_created = reply->has_replaced = reply->has_unchanged = true;
    for (size_t i = 0; i < request->n_rows; i++) {
        struct kap_path path = {NULL, "rows", (int64_t)i};
        const struct kap_typed_row *row = &request->rows[i];
        struct kap_put_result result;
        if (!kap_schema_kind(model->schema, (uint8_t)row->kind) || !is_dumped(row->kind)) {
            kap_faults_add(&model->faults, &path, "not_allowed", "rows of this kind are not imported");
            return KAP_INVALID;
        }
        kap_status status = kap_model_restore(model, (uint8_t)row->kind, row->row, &path, &result);
        if (status != KAP_OK)
            return status;
        reply->created += result.op == KAP_CHANGE_OP_CREATE;
        reply->replaced += result.op == KAP_CHANGE_OP_UPDATE;
        reply->unchanged += result.op == 0;
    }
    return KAP_OK;
}

kap_status kap_bulk_read(struct kap_model *model, const struct kap_bulk_read_request *request,
                         struct kap_bulk_read_reply *reply)
{
    reply->rows = kap_arena_push(model->arena, request->n_rows * sizeof *reply->rows + 1);
    reply->missing = kap_arena_push(model->arena, request->n_rows * sizeof *reply->missing + 1);
    if (!reply->rows || !reply->missing)
        return KAP_NO_MEMORY;
    for (size_t i = 0; i < request->n_rows; i++) {
        const struct kap_row_name *name = &request->rows[i];
        struct kap_row row;
        bool may = false;
        kap_status status =
            is_dumped(name->kind) ? kap_model_find(model, (uint8_t)name->kind, name->id, &row) : KAP_NOT_FOUND;
        if (status == KAP_OK)
            status = kap_model_may(model, KAP_MAY_READ, &row, &may);
        if (status != KAP_OK && status != KAP_NOT_FOUND)
            return status;
        if (may)
            reply->rows[reply->n_rows++] =
                (struct kap_typed_row){.has_kind = true, .kind = row.kind, .has_row = true, .row = row.bytes};
        else
            reply->missing[reply->n_missing++] = *name;
    }
    return KAP_OK;
}
