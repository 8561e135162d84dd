/* template.h - templates: structures that sessions, sequences and exercises are made from. Requests and replies are the
 * structs of proto/kap/requests.proto.
 *
 * Errors  as model.h. */
#pragma once

#include "engine/model/listing.h"
#include "engine/model/model.h"

KAP_CHECKED kap_status kap_template_get(struct kap_model *model, const struct kap_template_get_request *request,
                                        struct kap_template_get_reply *reply);
KAP_CHECKED kap_status kap_template_list(struct kap_model *model, const struct kap_list_scope *scope,
                                         const struct kap_template_list_request *request,
                                         struct kap_template_list_reply *reply);
/* A saved tree: what kap_session_save would make of the structure, so its limits and faults are the same. */
KAP_CHECKED kap_status kap_template_instantiate(struct kap_model *model,
                                                const struct kap_template_instantiate_request *request,
                                                struct kap_template_instantiate_reply *reply);
