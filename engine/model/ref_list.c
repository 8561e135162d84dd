#include "engine/model/ref_list.h"

#include "engine/base/assert.h"
#include "engine/model/model_internal.h"
#include "engine/model/row_list.h"

static void index_choose(const struct kap_ref_list_request *request, struct kap_listing *listing)
{
    listing->index = request->kind == KAP_KIND_TAG        ? KAP_INDEX_TAG_BY_NAME
                     : request->kind == KAP_KIND_REF_ITEM ? KAP_INDEX_REF_ITEM_BY_KIND
                                                          : KAP_INDEX_PRINCIPLE_BY_SPORT;
    kap_index_key_init(&listing->prefix, listing->index);
    if (request->kind == KAP_KIND_REF_ITEM && request->has_ref_kind)
        kap_key_put_u64(&listing->prefix, (uint64_t)request->ref_kind);
    if (request->kind == KAP_KIND_TACTICAL_PRINCIPLE && request->has_sport)
        kap_key_put_id(&listing->prefix, request->sport);
}

/* Changes with every row that comes, goes or changes on the page. */
static void etag_add(uint64_t *etag, const void *message)
{
    const struct kap_sys *sys = *(struct kap_sys *const *)message;
    *etag = kap_list_digest(*etag, sys->id.bytes, sizeof sys->id.bytes);
    *etag = kap_list_digest(*etag, &sys->rev, sizeof sys->rev);
}

static kap_status rows_answer(struct kap_model *model, const struct kap_row_list *list,
                              struct kap_ref_list_reply *reply)
{
    size_t size = kap_message_of_kind(list->kind)->size;
    uint8_t *rows = kap_arena_push(model->arena, list->n * size + 1);
    if (!rows)
        return KAP_NO_MEMORY;
    for (uint32_t i = 0; i < list->n; i++)
        memcpy(rows + i * size, list->messages[i], size);
    if (list->kind == KAP_KIND_REF_ITEM) {
        reply->items = (void *)rows;
        reply->n_items = list->n;
    } else if (list->kind == KAP_KIND_TAG) {
        reply->tags = (void *)rows;
        reply->n_tags = list->n;
    } else {
        reply->principles = (void *)rows;
        reply->n_principles = list->n;
    }
    return KAP_OK;
}

kap_status kap_ref_list(struct kap_model *model, const struct kap_list_scope *scope,
                        const struct kap_ref_list_request *request, struct kap_ref_list_reply *reply)
{
    struct kap_ref_list_request unpaged = *request;
    struct kap_row_list list = {.kind = (uint8_t)request->kind, .listing = {.scope = scope, .page = request->page}};
    unpaged.page = NULL;
    unpaged.has_if_none_match = false;
    index_choose(request, &list.listing);
    kap_status status = kap_row_list_digest(model, &kap_ref_list_request_msg, &unpaged, &list.listing.filter_digest);
    if (status == KAP_OK)
        status = kap_row_list_run(model, &list, &reply->end);
    if (status != KAP_OK)
        return status;
    reply->has_etag = true;
    for (uint32_t i = 0; i < list.n; i++)
        etag_add(&reply->etag, list.messages[i]);
    if (request->has_if_none_match && request->if_none_match == reply->etag) {
        reply->has_unchanged = reply->unchanged = true;
        return KAP_OK;
    }
    return rows_answer(model, &list, reply);
}
