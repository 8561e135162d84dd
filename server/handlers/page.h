/* page.h - pages of whole rows for handlers: the rows of a list as an array of their structs. */
#pragma once

#include "engine/model/row_list.h"
#include "server/handlers/handlers.h"

/* Fills list->listing.scope, filter_digest (of unpaged, a struct of request_msg without its page) and runs it. items_out:
 * n_out structs of the kind's message. */
KAP_CHECKED kap_status handler_page(struct kap_run *run, struct kap_row_list *list, const struct kap_msg *request_msg,
                                    const void *unpaged, struct kap_list_end **end_out, void **items_out,
                                    size_t *n_out);
