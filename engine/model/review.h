/* review.h - the review of sessions by experts: submit, withdraw, claim, decide.
 *
 *   session    draft, rejected -> pending -> validated | rejected          withdraw: pending -> draft
 *   validation queued -> claimed -> approved | changes_requested | rejected   withdraw: queued, claimed -> withdrawn
 *
 * Each step is one transaction: the validation, the session, a review_event and the notification commit together, and two
 * experts who claim the same validation are told apart by the order of their commits. A claim is a lease: once it has run
 * out, the next claim by anybody takes it; nothing has to happen in between.
 *
 * Errors  as model.h; KAP_STATE_CONFLICT says from what, to what, and what is allowed. */
#pragma once

#include "engine/model/model.h"

enum { KAP_REVIEW_LEASE_MINUTES = 30 };

KAP_CHECKED kap_status kap_validation_submit(struct kap_model *model,
                                             const struct kap_validation_submit_request *request,
                                             struct kap_validation_submit_reply *reply);
KAP_CHECKED kap_status kap_validation_withdraw(struct kap_model *model,
                                               const struct kap_validation_withdraw_request *request,
                                               struct kap_validation_withdraw_reply *reply);
/* The caller is an expert; nobody reviews what is their own. */
KAP_CHECKED kap_status kap_validation_claim(struct kap_model *model, const struct kap_validation_claim_request *request,
                                            struct kap_validation_claim_reply *reply);
KAP_CHECKED kap_status kap_validation_decide(struct kap_model *model,
                                             const struct kap_validation_decide_request *request,
                                             struct kap_validation_decide_reply *reply);
/* All steps of one, oldest first. */
KAP_CHECKED kap_status kap_validation_events(struct kap_model *model, struct kap_id validation,
                                             struct kap_review_event **events_out, size_t *n_out);
