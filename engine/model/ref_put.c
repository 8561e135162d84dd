#include "engine/base/assert.h"
#include "engine/model/model_internal.h"
#include "engine/model/ref_list.h"

/* At most one item of a list and scope is the default. */
static kap_status default_take(struct kap_model *model, const struct kap_row *row)
{
    struct kap_column kind, is_default, scope, other_scope;
    struct kap_scan scan;
    struct kap_key prefix;
    kap_status status = kap_row_column(row->bytes, 7, 0, &is_default);
    if (status != KAP_OK || !is_default.present || is_default.number == 0)
        return status;
    status = kap_row_column(row->bytes, 2, 0, &kind);
    if (status == KAP_OK)
        status = kap_row_column(row->bytes, 9, 0, &scope);
    if (status != KAP_OK)
        return status;
    kap_index_key_init(&prefix, KAP_INDEX_REF_ITEM_BY_KIND);
    kap_key_put_u64(&prefix, kind.number);
    struct kap_rows others = {0};
    status = kap_scan_init_prefix(&scan, model->view, model->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
        struct kap_row other;
        struct kap_id id;
        memcpy(id.bytes, scan.entry.key.data + scan.entry.key.len - 16, 16);
        if (kap_id_eq(id, row->id))
            continue;
        status = kap_model_find(model, KAP_KIND_REF_ITEM, id, &other);
        if (status == KAP_OK)
            status = kap_row_column(other.bytes, 7, 0, &is_default);
        if (status == KAP_OK)
            status = kap_row_column(other.bytes, 9, 0, &other_scope);
        if (status == KAP_OK && is_default.present && is_default.number != 0 &&
            kap_id_eq(model_column_id(&scope), model_column_id(&other_scope)))
            status = kap_rows_add(&others, model->arena, &other);
    }
    for (uint32_t i = 0; i < others.n && (status == KAP_OK || status == KAP_END); i++) {
        struct kap_sys sys = {.has_id = true, .id = others.at[i].id};
        struct kap_ref_item item = {.sys = &sys, .has_is_default = true, .is_default = false};
        const struct kap_put put = {
            .kind = KAP_KIND_REF_ITEM, .message = &item, .is_known = true, .known = &others.at[i], .is_trusted = true};
        struct kap_put_result result;
        status = kap_model_put(model, &put, &result);
    }
    return status == KAP_END ? KAP_OK : status;
}

kap_status kap_ref_put(struct kap_model *model, const struct kap_ref_put_request *request,
                       struct kap_ref_put_reply *reply)
{
    static const struct kap_path item_path = {NULL, "item", -1}, principle_path = {NULL, "principle", -1},
                                 tag_path = {NULL, "tag", -1};
    struct kap_put_result result;
    if ((request->item != NULL) + (request->principle != NULL) + (request->tag != NULL) != 1) {
        kap_faults_add(&model->faults, &item_path, "one_of", "give item, principle or tag, one of them");
        return KAP_INVALID;
    }
    struct kap_put put = {.clear = request->clear,
                          .n_clear = request->n_clear,
                          .has_expected_rev = request->has_expected_rev,
                          .expected_rev = request->expected_rev};
    if (request->item) {
        put.kind = KAP_KIND_REF_ITEM;
        put.message = request->item;
        put.path = &item_path;
    } else if (request->principle) {
        put.kind = KAP_KIND_TACTICAL_PRINCIPLE;
        put.message = request->principle;
        put.path = &principle_path;
    } else {
        put.kind = KAP_KIND_TAG;
        put.message = request->tag;
        put.path = &tag_path;
    }
    kap_status status = kap_model_put(model, &put, &result);
    if (status == KAP_OK && put.kind == KAP_KIND_REF_ITEM && result.op != 0)
        status = default_take(model, &result.row);
    if (status != KAP_OK)
        return status;
    reply->has_id = true;
    reply->id = result.row.id;
    reply->has_rev = true;
    reply->rev = result.rev;
    return KAP_OK;
}
