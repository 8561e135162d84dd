#include "server/handlers/page.h"

kap_status handler_page(struct kap_run *run, struct kap_row_list *list, const struct kap_msg *request_msg,
                        const void *unpaged, struct kap_list_end **end_out, void **items_out, size_t *n_out)
{
    size_t size = kap_message_of_kind(list->kind)->size;
    struct kap_list_scope scope;
    kap_service_list_scope(run, &scope);
    list->listing.scope = &scope;
    kap_status status = kap_row_list_digest(&run->model, request_msg, unpaged, &list->listing.filter_digest);
    if (status == KAP_OK)
        status = kap_row_list_run(&run->model, list, end_out);
    list->listing.scope = NULL;
    if (status != KAP_OK)
        return status;
    uint8_t *items = kap_arena_push(run->arena, list->n * size + 1);
    if (!items)
        return KAP_NO_MEMORY;
    for (uint32_t i = 0; i < list->n; i++)
        memcpy(items + i * size, list->messages[i], size);
    *items_out = items;
    *n_out = list->n;
    return KAP_OK;
}
