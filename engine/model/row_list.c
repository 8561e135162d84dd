#include "engine/model/row_list.h"

#include "engine/base/assert.h"
#include "engine/model/model_internal.h"

static kap_status row_keep(void *context, const struct kap_list_entry *entry)
{
    struct kap_row_list *list = context;
    struct kap_model *model = list->model;
    struct kap_row row;
    void *message;
    bool may, any_cascade = false;
    kap_status status = kap_model_find(model, list->kind, entry->id, &row);
    kap_status asked = status == KAP_NOT_FOUND ? model_any_cascade(model, &any_cascade) : KAP_OK;
    if (asked != KAP_OK || any_cascade) /* what it belongs to is deleted: the entry goes with the steps of a job */
        return asked == KAP_OK ? KAP_NOT_FOUND : asked;
    if (status == KAP_NOT_FOUND)
        return kap_model_refuse_row(model, KAP_CORRUPT, list->kind, entry->id, "an index names a %s that is not there",
                                    kap_model_kind_name(model, list->kind));
    if (status == KAP_OK)
        status = kap_model_may(model, KAP_MAY_READ, &row, &may);
    if (status != KAP_OK || !may)
        return status == KAP_OK ? KAP_NOT_FOUND : status;
    status = kap_model_decode(model, list->kind, row.bytes, &message);
    if (status != KAP_OK)
        return status;
    if (list->wanted && !list->wanted(list->context, message))
        return KAP_NOT_FOUND;
    if (!list->listing.is_counting)
        list->messages[list->n++] = message;
    return KAP_OK;
}

kap_status kap_row_list_run(struct kap_model *model, struct kap_row_list *list, struct kap_list_end **end_out)
{
    list->model = model;
    list->listing.keep = row_keep;
    list->listing.context = list;
    list->listing.is_filtered = list->wanted != NULL;
    list->messages = kap_arena_push(model->arena, kap_listing_limit(list->listing.page) * sizeof(void *));
    return list->messages ? kap_listing_run(model, &list->listing, end_out) : KAP_NO_MEMORY;
}

kap_status kap_row_list_digest(struct kap_model *model, const struct kap_msg *msg, const void *request_unpaged,
                               uint64_t *digest_out)
{
    struct kap_bytes bytes = kap_wire_encode_in(msg, request_unpaged, model->arena);
    if (!bytes.data)
        return KAP_NO_MEMORY;
    *digest_out = kap_list_digest(msg->size, bytes.data, bytes.len);
    return KAP_OK;
}
