#include "engine/model/review.h"

#include "engine/base/assert.h"
#include "engine/model/discussion.h"
#include "engine/model/model_internal.h"

static const int64_t lease_us = INT64_C(60) * 1000000 * KAP_REVIEW_LEASE_MINUTES;

struct reviewing {
    struct kap_model *model;
    struct kap_row session_row;
    struct kap_session *session;
    struct kap_row row; /* of the validation */
    struct kap_validation *validation;
};

static const char *state_name(int32_t state)
{
    const char *name = kap_enum_name(&kap_validation_state_enum, state);
    return name ? name : "none";
}

static const char *status_name(int32_t status)
{
    const char *name = kap_enum_name(&kap_session_status_enum, status);
    return name ? name : "none";
}

/* is_expert: who may see the validation is told of its state, whether or not the session is still open to them. */
static kap_status session_read(struct reviewing *r, struct kap_id id, bool is_expert)
{
    void *message;
    kap_status status = is_expert ? kap_model_find_in(r->model, KAP_KIND_SESSION, id, id, &r->session_row)
                                  : kap_model_get(r->model, KAP_KIND_SESSION, id, &r->session_row);
    if (status == KAP_OK)
        status = kap_model_decode(r->model, KAP_KIND_SESSION, r->session_row.bytes, &message);
    if (status == KAP_OK)
        r->session = message;
    return status;
}

static kap_status validation_read(struct reviewing *r, struct kap_id id)
{
    void *message;
    kap_status status = kap_model_get(r->model, KAP_KIND_VALIDATION, id, &r->row);
    if (status == KAP_OK)
        status = kap_model_decode(r->model, KAP_KIND_VALIDATION, r->row.bytes, &message);
    if (status == KAP_OK)
        r->validation = message;
    return status;
}

static kap_status owner_check(struct reviewing *r, const char *verb)
{
    bool may = false;
    kap_status status = kap_model_may(r->model, KAP_MAY_WRITE, &r->session_row, &may);
    if (status == KAP_OK && !may)
        return kap_model_refuse_row(r->model, KAP_FORBIDDEN, KAP_KIND_SESSION, r->session_row.id,
                                    "only who may change the session may %s it", verb);
    return status;
}

/* The session's row by the server's own hand: the rules of a save do not let its status go where a review takes it. */
static kap_status session_move(struct reviewing *r, struct kap_session *patch, const uint32_t *clear, size_t n_clear,
                               uint64_t *rev_out)
{
    const struct kap_row *old = &r->session_row;
    struct kap_sys_view sys;
    struct kap_bytes bytes;
    for (size_t i = 0; i < n_clear; i++)
        kap_wire_clear_field(&kap_session_msg, r->session, (uint16_t)clear[i]);
    kap_wire_merge(&kap_session_msg, r->session, patch);
    kap_status status = kap_row_sys(old->bytes, &sys);
    if (status != KAP_OK)
        return status;
    sys.rev += sys.commit_seq != r->model->txn->commit_seq;
    sys.updated_at = r->model->now_us;
    sys.updated_by = r->model->actor;
    sys.commit_seq = r->model->txn->commit_seq;
    *rev_out = sys.rev;
    status = model_row_encode(r->model, KAP_KIND_SESSION, r->session, &sys, &bytes);
    if (status != KAP_OK)
        return status;
    return model_row_write(r->model, KAP_KIND_SESSION, old->root, old->id, &old->stored, &bytes, KAP_CHANGE_OP_UPDATE);
}

static kap_status validation_put(struct reviewing *r, struct kap_validation *message)
{
    struct kap_put_result result;
    const struct kap_put put = {
        .kind = KAP_KIND_VALIDATION, .message = message, .keep_output = true, .is_trusted = true};
    kap_status status = model_put_own(r->model, &put, &result);
    if (status == KAP_OK)
        r->row = result.row;
    return status;
}

static kap_status event_add(struct reviewing *r, int32_t from, int32_t to, bool has_note, struct kap_bytes note)
{
    struct kap_put_result result;
    struct kap_review_event event = {.has_validation = true,
                                     .validation = r->row.id,
                                     .has_actor = !kap_id_is_nil(r->model->actor),
                                     .actor = r->model->actor,
                                     .has_from = from != 0,
                                     .from = from,
                                     .has_to = true,
                                     .to = to,
                                     .has_note = has_note,
                                     .note = note};
    const struct kap_put put = {
        .kind = KAP_KIND_REVIEW_EVENT, .message = &event, .keep_output = true, .is_trusted = true};
    return model_put_own(r->model, &put, &result);
}

/* ---- submit and withdraw */

static kap_status sequences_check(struct reviewing *r)
{
    struct kap_bytes bytes;
    struct kap_column column = {0};
    kap_status status = model_head_find(r->model, r->session_row.id, &bytes);
    if (status == KAP_OK)
        status = kap_row_column(bytes, 5, 0, &column); /* tree_head.n_sequences */
    if (status == KAP_OK && column.number == 0)
        return kap_model_refuse_row(r->model, KAP_STATE_CONFLICT, KAP_KIND_SESSION, r->session_row.id,
                                    "a session without a sequence cannot be reviewed: add one first");
    return status;
}

static kap_status submit_check(struct reviewing *r, const struct kap_validation_submit_request *request)
{
    int32_t from = r->session->status;
    kap_status status = owner_check(r, "submit");
    if (status == KAP_OK)
        status = kap_model_expect_tree(r->model, r->session_row.id, request->has_expected_tree_rev,
                                       request->expected_tree_rev);
    if (status != KAP_OK)
        return status;
    if (from != KAP_SESSION_STATUS_DRAFT && from != KAP_SESSION_STATUS_REJECTED)
        return kap_model_refuse_row(r->model, KAP_STATE_CONFLICT, KAP_KIND_SESSION, r->session_row.id,
                                    "the session is %s and does not go to pending: only a draft or a rejected one is "
                                    "submitted",
                                    status_name(from));
    return sequences_check(r);
}

kap_status kap_validation_submit(struct kap_model *model, const struct kap_validation_submit_request *request,
                                 struct kap_validation_submit_reply *reply)
{
    static const uint32_t clear[] = {33}; /* the feedback of the round before */
    struct reviewing r = {.model = model};
    kap_status status = session_read(&r, request->session, false);
    if (status == KAP_OK)
        status = submit_check(&r, request);
    if (status != KAP_OK)
        return status;
    struct kap_session patch = {.has_status = true,
                                .status = KAP_SESSION_STATUS_PENDING,
                                .has_submitted_at = true,
                                .submitted_at = model->now_us};
    status = session_move(&r, &patch, clear, KAP_ARRAY_LEN(clear), &reply->session_rev);
    if (status == KAP_OK)
        status = kap_model_tree_rev_after(model, request->session, &reply->tree_rev);
    if (status != KAP_OK)
        return status;
    struct kap_validation row = {.has_session = true,
                                 .session = request->session,
                                 .has_session_rev = true,
                                 .session_rev = reply->session_rev,
                                 .has_tree_rev = true,
                                 .tree_rev = reply->tree_rev,
                                 .has_submitted_by = !kap_id_is_nil(model->actor),
                                 .submitted_by = model->actor,
                                 .has_submitted_at = true,
                                 .submitted_at = model->now_us,
                                 .has_state = true,
                                 .state = KAP_VALIDATION_STATE_QUEUED,
                                 .has_priority = true,
                                 .priority = request->has_priority ? request->priority : 0,
                                 .has_sport = r.session->has_sport,
                                 .sport = r.session->sport,
                                 .has_age_category = r.session->has_age_category,
                                 .age_category = r.session->age_category,
                                 .has_note = request->has_note,
                                 .note = request->note};
    status = validation_put(&r, &row);
    if (status == KAP_OK)
        status = event_add(&r, 0, KAP_VALIDATION_STATE_QUEUED, request->has_note, request->note);
    reply->has_validation = reply->has_session_rev = reply->has_tree_rev = true;
    reply->validation = r.row.id;
    return status;
}

/* The round that is under way: at most one, the newest. */
static kap_status open_round_find(struct reviewing *r)
{
    struct kap_scan scan;
    struct kap_key prefix;
    struct kap_id id;
    void *message;
    kap_index_key_init(&prefix, KAP_INDEX_VALIDATION_BY_SESSION);
    kap_key_put_id(&prefix, r->session_row.id);
    kap_status status = kap_scan_init_prefix(&scan, r->model->view, r->model->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
        memcpy(id.bytes, scan.entry.key.data + scan.entry.key.len - sizeof id.bytes, sizeof id.bytes);
        status = kap_model_find_in(r->model, KAP_KIND_VALIDATION, r->session_row.id, id, &r->row);
        if (status == KAP_OK)
            status = kap_model_decode(r->model, KAP_KIND_VALIDATION, r->row.bytes, &message);
        if (status != KAP_OK)
            return status;
        r->validation = message;
        if (r->validation->state == KAP_VALIDATION_STATE_QUEUED || r->validation->state == KAP_VALIDATION_STATE_CLAIMED)
            return KAP_OK;
    }
    return status == KAP_END ? KAP_NOT_FOUND : status;
}

kap_status kap_validation_withdraw(struct kap_model *model, const struct kap_validation_withdraw_request *request,
                                   struct kap_validation_withdraw_reply *reply)
{
    static const uint32_t clear[] = {27}; /* submitted_at */
    struct kap_session patch = {.has_status = true, .status = KAP_SESSION_STATUS_DRAFT};
    struct reviewing r = {.model = model};
    uint64_t rev;
    kap_status status = session_read(&r, request->session, false);
    if (status == KAP_OK)
        status = owner_check(&r, "withdraw");
    if (status == KAP_OK && r.session->status != KAP_SESSION_STATUS_PENDING)
        return kap_model_refuse_row(model, KAP_STATE_CONFLICT, KAP_KIND_SESSION, request->session,
                                    "the session is %s and does not go to draft by a withdrawal: only a pending one "
                                    "is withdrawn",
                                    status_name(r.session->status));
    if (status != KAP_OK)
        return status;
    status = open_round_find(&r);
    bool has_round = status == KAP_OK; /* an administrator may have forced the session here without one */
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    status = session_move(&r, &patch, clear, KAP_ARRAY_LEN(clear), &rev);
    if (status == KAP_OK)
        status = kap_model_tree_rev_after(model, request->session, &reply->tree_rev);
    reply->has_tree_rev = true;
    if (status != KAP_OK || !has_round)
        return status;
    int32_t from = r.validation->state;
    r.validation->state = KAP_VALIDATION_STATE_WITHDRAWN;
    status = validation_put(&r, r.validation);
    if (status == KAP_OK)
        status = event_add(&r, from, KAP_VALIDATION_STATE_WITHDRAWN, request->has_note, request->note);
    if (status == KAP_OK && from == KAP_VALIDATION_STATE_CLAIMED)
        status = kap_notify(model, r.validation->expert, KAP_NOTIFICATION_TYPE_INFO, "validation.withdrawn", &r.row,
                            "%.*s was withdrawn from review", (int)r.session->title.len, r.session->title.data);
    reply->has_validation = true;
    reply->validation = r.row.id;
    return status;
}

/* ---- claim */

static bool lease_is_over(const struct reviewing *r)
{
    return r->validation->claim_expires_at <= r->model->now_us;
}

/* Nobody judges what is theirs: the owner, who submitted it, or whoever else may change the session. */
static kap_status is_own(struct reviewing *r, bool *own_out)
{
    struct kap_id actor = r->model->actor;
    bool may_write = false;
    *own_out = kap_id_eq(actor, r->session->owner) || kap_id_eq(actor, r->validation->submitted_by);
    if (*own_out || r->model->is_admin)
        return KAP_OK;
    kap_status status = kap_model_may(r->model, KAP_MAY_WRITE, &r->session_row, &may_write);
    *own_out = may_write;
    return status;
}

static kap_status claim_check(struct reviewing *r)
{
    const struct kap_validation *v = r->validation;
    bool own;
    kap_status status = is_own(r, &own);
    if (status == KAP_OK && own)
        return kap_model_refuse_row(r->model, KAP_FORBIDDEN, KAP_KIND_VALIDATION, r->row.id,
                                    "nobody reviews their own session");
    if (status != KAP_OK || v->state == KAP_VALIDATION_STATE_QUEUED)
        return status;
    if (v->state == KAP_VALIDATION_STATE_CLAIMED && (kap_id_eq(v->expert, r->model->actor) || lease_is_over(r)))
        return KAP_OK;
    if (v->state == KAP_VALIDATION_STATE_CLAIMED)
        return kap_model_refuse_row(r->model, KAP_STATE_CONFLICT, KAP_KIND_VALIDATION, r->row.id,
                                    "another expert has claimed it, for %lld more seconds; a queued one goes to "
                                    "claimed, or one whose claim has run out",
                                    (long long)((v->claim_expires_at - r->model->now_us) / 1000000 + 1));
    return kap_model_refuse_row(r->model, KAP_STATE_CONFLICT, KAP_KIND_VALIDATION, r->row.id,
                                "the validation is %s and does not go to claimed: that is over", state_name(v->state));
}

static kap_status claim_take(struct reviewing *r, struct kap_validation_claim_reply *reply)
{
    struct kap_validation *v = r->validation;
    int32_t from = v->state;
    bool is_renewal = from == KAP_VALIDATION_STATE_CLAIMED && kap_id_eq(v->expert, r->model->actor);
    bool was_lost = from == KAP_VALIDATION_STATE_CLAIMED && !is_renewal;
    kap_status status = KAP_OK;
    v->has_expert = v->has_claimed_at = v->has_claim_expires_at = true;
    v->expert = r->model->actor;
    v->state = KAP_VALIDATION_STATE_CLAIMED;
    v->claimed_at = is_renewal ? v->claimed_at : r->model->now_us;
    v->claim_expires_at = r->model->now_us + lease_us;
    status = validation_put(r, v);
    if (status == KAP_OK && was_lost)
        status = event_add(r, KAP_VALIDATION_STATE_CLAIMED, KAP_VALIDATION_STATE_QUEUED, true,
                           kap_bytes_str("the claim before ran out"));
    if (status == KAP_OK && !is_renewal)
        status = event_add(r, KAP_VALIDATION_STATE_QUEUED, KAP_VALIDATION_STATE_CLAIMED, false, kap_bytes("", 0));
    void *message;
    if (status == KAP_OK)
        status = kap_model_decode(r->model, KAP_KIND_VALIDATION, r->row.bytes, &message);
    if (status == KAP_OK)
        reply->validation = message;
    return status;
}

/* KAP_NOT_FOUND without words: none that this expert may take. */
static kap_status next_in(struct reviewing *r, const struct kap_key *prefix, bool only_expired)
{
    struct kap_scan scan;
    kap_status status = kap_scan_init_prefix(&scan, r->model->view, r->model->arena, kap_key_bytes(prefix));
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
        struct kap_id id;
        bool own;
        memcpy(id.bytes, scan.entry.key.data + scan.entry.key.len - sizeof id.bytes, sizeof id.bytes);
        r->model->entries_scanned++;
        status = validation_read(r, id);
        if (status == KAP_OK && only_expired && !lease_is_over(r))
            return KAP_NOT_FOUND; /* they are in the order of their end */
        if (status == KAP_OK)
            status = session_read(r, r->validation->session, true);
        if (status == KAP_OK)
            status = is_own(r, &own);
        if (status == KAP_OK && !own)
            return KAP_OK;
    }
    return status == KAP_END ? KAP_NOT_FOUND : status;
}

/* First what somebody else let lie, if it is of the sport; then the queue. */
static kap_status next_find(struct reviewing *r, const struct kap_validation_claim_request *request)
{
    struct kap_key prefix;
    kap_index_key_init(&prefix, KAP_INDEX_REVIEW_LEASE);
    kap_status status = next_in(r, &prefix, true);
    if (status == KAP_OK && request->has_sport && !kap_id_eq(r->validation->sport, request->sport))
        status = KAP_NOT_FOUND;
    if (status != KAP_NOT_FOUND)
        return status;
    kap_index_key_init(&prefix, request->has_sport ? KAP_INDEX_REVIEW_QUEUE : KAP_INDEX_REVIEW_QUEUE_ALL);
    kap_key_put_u64(&prefix, KAP_VALIDATION_STATE_QUEUED);
    if (request->has_sport)
        kap_key_put_id(&prefix, request->sport);
    return next_in(r, &prefix, false);
}

kap_status kap_validation_claim(struct kap_model *model, const struct kap_validation_claim_request *request,
                                struct kap_validation_claim_reply *reply)
{
    struct reviewing r = {.model = model};
    if (kap_id_is_nil(model->actor))
        return kap_model_refuse(model, KAP_FORBIDDEN, "you have no account, so nothing can be yours to review");
    if (!request->has_validation) {
        kap_status status = next_find(&r, request);
        if (status == KAP_NOT_FOUND)
            return kap_model_refuse(model, status,
                                    "no session waits for you: the queue is empty, or all of it is yours");
        return status == KAP_OK ? claim_take(&r, reply) : status;
    }
    kap_status status = validation_read(&r, request->validation);
    if (status == KAP_OK)
        status = session_read(&r, r.validation->session, true);
    if (status == KAP_OK)
        status = claim_check(&r);
    return status == KAP_OK ? claim_take(&r, reply) : status;
}

/* ---- decide */

static kap_status decide_check(struct reviewing *r, const struct kap_validation_decide_request *request)
{
    const struct kap_path decision = {NULL, "decision", -1}, feedback = {NULL, "feedback", -1};
    const struct kap_validation *v = r->validation;
    int32_t to = request->decision;
    if (to != KAP_VALIDATION_STATE_APPROVED && to != KAP_VALIDATION_STATE_CHANGES_REQUESTED &&
        to != KAP_VALIDATION_STATE_REJECTED)
        kap_faults_add(&r->model->faults, &decision, "not_allowed",
                       "a decision is approved, changes_requested or rejected, not %s", state_name(to));
    else if (to != KAP_VALIDATION_STATE_APPROVED && (!request->has_feedback || request->feedback.len == 0))
        kap_faults_add(&r->model->faults, &feedback, "required", "say what is to be done better");
    if (r->model->faults.n_total > 0)
        return KAP_INVALID;
    if (v->state != KAP_VALIDATION_STATE_CLAIMED)
        return kap_model_refuse_row(r->model, KAP_STATE_CONFLICT, KAP_KIND_VALIDATION, r->row.id,
                                    "the validation is %s and does not go to %s: only a claimed one is decided",
                                    state_name(v->state), state_name(to));
    if (!kap_id_eq(v->expert, r->model->actor))
        return kap_model_refuse_row(r->model, KAP_STATE_CONFLICT, KAP_KIND_VALIDATION, r->row.id,
                                    "the validation is claimed by another expert, who alone takes it to %s",
                                    state_name(to));
    if (lease_is_over(r))
        return kap_model_refuse_row(r->model, KAP_STATE_CONFLICT, KAP_KIND_VALIDATION, r->row.id,
                                    "your claim ran out before you decided: claim it again, it goes from claimed to "
                                    "%s within %d minutes",
                                    state_name(to), KAP_REVIEW_LEASE_MINUTES);
    return KAP_OK;
}

static void decision_write(struct kap_validation *v, const struct kap_validation_decide_request *request, int64_t now)
{
    v->state = request->decision;
    v->has_decided_at = true;
    v->decided_at = now;
#define TAKE(FIELD)                                                                                                    \
    v->has_##FIELD = request->has_##FIELD;                                                                             \
    v->FIELD = request->FIELD;
    TAKE(feedback)
    TAKE(score)
    TAKE(safety)
    TAKE(effectiveness)
    TAKE(progression)
    TAKE(methodology)
#undef TAKE
}

static kap_status session_decide(struct reviewing *r, const struct kap_validation_decide_request *request)
{
    static const uint32_t clear[] = {28, 29, 30, 33};
    struct kap_session patch = {.has_status = true, .status = KAP_SESSION_STATUS_REJECTED};
    bool is_approved = request->decision == KAP_VALIDATION_STATE_APPROVED;
    uint64_t rev;
    patch.has_validation_feedback = request->has_feedback;
    patch.validation_feedback = request->feedback;
    if (is_approved) {
        patch.status = KAP_SESSION_STATUS_VALIDATED;
        patch.has_validated_at = patch.has_validated_by = patch.has_validated_rev = true;
        patch.validated_at = r->model->now_us;
        patch.validated_by = r->model->actor;
        patch.validated_rev = r->validation->session_rev;
    }
    /* What was validated before stays readable when this round is turned down. */
    return is_approved ? session_move(r, &patch, clear, KAP_ARRAY_LEN(clear), &rev)
                       : session_move(r, &patch, clear + 3, 1, &rev);
}

kap_status kap_validation_decide(struct kap_model *model, const struct kap_validation_decide_request *request,
                                 struct kap_validation_decide_reply *reply)
{
    struct reviewing r = {.model = model};
    bool is_approved = request->decision == KAP_VALIDATION_STATE_APPROVED;
    void *message;
    kap_status status = validation_read(&r, request->validation);
    if (status == KAP_OK)
        status = decide_check(&r, request);
    if (status == KAP_OK)
        status = session_read(&r, r.validation->session, true);
    if (status != KAP_OK)
        return status;
    decision_write(r.validation, request, model->now_us);
    status = session_decide(&r, request);
    if (status == KAP_OK)
        status = validation_put(&r, r.validation);
    if (status == KAP_OK)
        status = event_add(&r, KAP_VALIDATION_STATE_CLAIMED, request->decision, false, kap_bytes("", 0));
    if (status == KAP_OK)
        status = kap_notify(
            model, r.session->owner, is_approved ? KAP_NOTIFICATION_TYPE_SUCCESS : KAP_NOTIFICATION_TYPE_WARNING,
            "validation.decided", &r.session_row, "%.*s: %s", (int)r.session->title.len, r.session->title.data,
            is_approved                                                   ? "validated"
            : request->decision == KAP_VALIDATION_STATE_CHANGES_REQUESTED ? "changes requested"
                                                                          : "rejected");
    if (status == KAP_OK)
        status = kap_model_tree_rev_after(model, r.session_row.id, &reply->tree_rev);
    if (status == KAP_OK)
        status = kap_model_decode(model, KAP_KIND_VALIDATION, r.row.bytes, &message);
    if (status != KAP_OK)
        return status;
    reply->validation = message;
    reply->has_session_status = reply->has_tree_rev = true;
    reply->session_status = r.session->status;
    return KAP_OK;
}

/* ---- events */

kap_status kap_validation_events(struct kap_model *model, struct kap_id validation,
                                 struct kap_review_event **events_out, size_t *n_out)
{
    enum { EVENTS_MAX = 200 };
    struct kap_review_event *events = kap_arena_push(model->arena, EVENTS_MAX * sizeof *events);
    struct kap_scan scan;
    struct kap_key prefix;
    size_t n = 0;
    if (!events)
        return KAP_NO_MEMORY;
    kap_index_key_init(&prefix, KAP_INDEX_REVIEW_EVENT_BY_VALIDATION);
    kap_key_put_id(&prefix, validation);
    kap_status status = kap_scan_init_prefix(&scan, model->view, model->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && n < EVENTS_MAX && (status = kap_scan_next(&scan)) == KAP_OK) {
        struct kap_row row;
        struct kap_id id;
        void *message;
        memcpy(id.bytes, scan.entry.key.data + scan.entry.key.len - sizeof id.bytes, sizeof id.bytes);
        status = kap_model_find(model, KAP_KIND_REVIEW_EVENT, id, &row);
        if (status == KAP_OK)
            status = kap_model_decode(model, KAP_KIND_REVIEW_EVENT, row.bytes, &message);
        if (status == KAP_OK)
            events[n++] = *(struct kap_review_event *)message;
    }
    *events_out = events;
    *n_out = n;
    return status == KAP_END ? KAP_OK : status;
}
