/* row_list.h - pages of whole rows: lists whose entries are read from the rows themselves. */
#pragma once

#include "engine/model/listing.h"

struct kap_row_list {
    struct kap_listing listing; /* scope, page, index, prefix, filter_digest, bucket and context by the caller */
    uint8_t kind;
    struct kap_model *model;
    /* Of a decoded row: does it belong on the page? NULL: all. */
    bool (*wanted)(void *context, const void *message);
    void *context;
    void **messages; /* decoded, n of them */
    uint32_t n;
};
KAP_CHECKED kap_status kap_row_list_run(struct kap_model *model, struct kap_row_list *list,
                                        struct kap_list_end **end_out);
/* The digest of a request without its page. */
KAP_CHECKED kap_status kap_row_list_digest(struct kap_model *model, const struct kap_msg *msg,
                                           const void *request_unpaged, uint64_t *digest_out);
