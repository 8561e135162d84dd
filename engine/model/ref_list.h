/* ref_list.h - the reference lists: items, tactical principles, tags. */
#pragma once

#include "engine/model/listing.h"
#include "engine/model/model.h"

/* One of the three. A new default item takes the flag from the one before it. */
KAP_CHECKED kap_status kap_ref_put(struct kap_model *model, const struct kap_ref_put_request *request,
                                   struct kap_ref_put_reply *reply);
KAP_CHECKED kap_status kap_ref_list(struct kap_model *model, const struct kap_list_scope *scope,
                                    const struct kap_ref_list_request *request, struct kap_ref_list_reply *reply);
