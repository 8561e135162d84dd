/* session.h - a session and its parts as one tree: save, read, list, copy. Requests and replies are the structs of
 * proto/kap/requests.proto; commit_seq of replies is for the caller.
 *
 * Errors  as model.h. */
#pragma once

#include "engine/model/listing.h"
#include "engine/model/model.h"

/* The tree of the request against the stored one: equal rows stay as they are, changed ones are updated, new ones
 * inserted, those not mentioned deleted in replace mode. Positions follow the lists. */
KAP_CHECKED kap_status kap_session_save(struct kap_model *model, const struct kap_session_save_request *request,
                                        struct kap_session_save_reply *reply);
/* Rows in key order as stored, from one scan of the tree's range. */
KAP_CHECKED kap_status kap_session_graph(struct kap_model *model, const struct kap_session_graph_request *request,
                                         struct kap_session_graph_reply *reply);
KAP_CHECKED kap_status kap_session_list(struct kap_model *model, const struct kap_list_scope *scope,
                                        const struct kap_session_list_request *request,
                                        struct kap_session_list_reply *reply);
/* A deep copy with new ids; a draft of the new owner's. Blobs are shared. */
KAP_CHECKED kap_status kap_session_clone(struct kap_model *model, const struct kap_session_clone_request *request,
                                         struct kap_session_clone_reply *reply);
