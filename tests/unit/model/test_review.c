/* The review of sessions: who may, in which order, and what each step leaves behind. */
#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "engine/base/assert.h"
#include "proto/wire.h"

static struct service_fixture fx;
static struct kap_principal coach, expert, rival;
static struct kap_id sport, level, session;
static struct kap_error_reply error;

#define TEXT(FIELD, VALUE) .has_##FIELD = true, .FIELD = kap_bytes_str(VALUE)
#define SET(FIELD, VALUE) .has_##FIELD = true, .FIELD = VALUE

static struct kap_id session_make(struct kap_principal who, uint32_t n_sequences)
{
    struct kap_session_save_reply saved;
    struct kap_session_save_request *save = fixture_session(&fx, sport, level, "Tuesday", n_sequences, 1);
    cr_assert_eq(service_call(&fx, who, KAP_OP_SESSION_SAVE, save, &saved, NULL), KAP_OK);
    return saved.id;
}

static void world_open(void)
{
    service_fixture_open(&fx, 41);
    sport = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
    level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
    coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    expert = fixture_user(&fx, "expert@example.org", KAP_ROLE_EXPERT);
    rival = fixture_user(&fx, "rival@example.org", KAP_ROLE_EXPERT);
    session = session_make(coach, 1);
}

static kap_status submit(struct kap_principal who, struct kap_id id, struct kap_validation_submit_reply *reply)
{
    struct kap_validation_submit_request request = {SET(session, id), TEXT(note, "please")};
    return service_call(&fx, who, KAP_OP_VALIDATION_SUBMIT, &request, reply, &error);
}

static kap_status withdraw(struct kap_principal who, struct kap_id id)
{
    struct kap_validation_withdraw_request request = {SET(session, id)};
    return service_call(&fx, who, KAP_OP_VALIDATION_WITHDRAW, &request, NULL, &error);
}

static kap_status claim(struct kap_principal who, const struct kap_id *id, struct kap_validation_claim_reply *reply)
{
    struct kap_validation_claim_request request = {.has_validation = id != NULL};
    if (id)
        request.validation = *id;
    return service_call(&fx, who, KAP_OP_VALIDATION_CLAIM, &request, reply, &error);
}

static kap_status decide(struct kap_principal who, struct kap_id id, int32_t decision, const char *feedback,
                         struct kap_validation_decide_reply *reply)
{
    struct kap_validation_decide_request request = {SET(validation, id), SET(decision, decision), SET(score, 80),
                                                    SET(safety, KAP_VERDICT_YES)};
    request.has_feedback = feedback != NULL;
    request.feedback = kap_bytes_str(feedback ? feedback : "");
    return service_call(&fx, who, KAP_OP_VALIDATION_DECIDE, &request, reply, &error);
}

static struct kap_session *session_read(void)
{
    struct kap_session_get_request get = {SET(id, session)};
    struct kap_session_get_reply reply;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_GET, &get, &reply, NULL), KAP_OK);
    return reply.session;
}

static kap_status title_edit(struct kap_principal who, const char *title, struct kap_session_save_reply *reply)
{
    struct kap_sys sys = {SET(id, session)};
    struct kap_session row = {.sys = &sys, TEXT(title, title)};
    struct kap_session_save_request save = {.session = &row};
    return service_call(&fx, who, KAP_OP_SESSION_SAVE, &save, reply, &error);
}

static bool says(const char *text)
{
    return kap_bytes_eq(error.message, kap_bytes_str(text));
}

Test(review, an_approved_session_is_validated_and_reopened_by_an_edit)
{
    world_open();
    struct kap_validation_submit_reply submitted, again;
    struct kap_validation_claim_reply claimed;
    struct kap_validation_decide_reply decided;
    struct kap_session_save_reply saved;
    cr_assert_eq(submit(coach, session, &submitted), KAP_OK);
    cr_assert_eq(submitted.session_rev, 2);
    cr_assert_eq(session_read()->status, KAP_SESSION_STATUS_PENDING);
    cr_assert_eq(title_edit(coach, "Changed", &saved), KAP_STATE_CONFLICT);
    cr_assert(says("the session is pending: an expert reviews it as it is; withdraw it before you change it"));
    cr_assert_eq(submit(coach, session, &again), KAP_STATE_CONFLICT);
    cr_assert_eq(claim(expert, NULL, &claimed), KAP_OK);
    cr_assert(kap_id_eq(claimed.validation->sys->id, submitted.validation));
    cr_assert_eq(claimed.validation->tree_rev, submitted.tree_rev);
    cr_assert_eq(decide(expert, submitted.validation, KAP_VALIDATION_STATE_APPROVED, "good", &decided), KAP_OK);
    cr_assert_eq(decided.session_status, KAP_SESSION_STATUS_VALIDATED);
    struct kap_session *row = session_read();
    cr_assert_eq(row->status, KAP_SESSION_STATUS_VALIDATED);
    cr_assert_eq(row->validated_rev, submitted.session_rev);
    cr_assert(kap_id_eq(row->validated_by, expert.user));
    cr_assert_eq(decide(expert, submitted.validation, KAP_VALIDATION_STATE_REJECTED, "no", &decided),
                 KAP_STATE_CONFLICT);
    cr_assert(says("the validation is approved and does not go to rejected: only a claimed one is decided"));
    cr_assert_eq(title_edit(coach, "Changed", &saved), KAP_OK);
    row = session_read();
    cr_assert_eq(row->status, KAP_SESSION_STATUS_DRAFT);
    cr_assert_eq(row->validated_rev, submitted.session_rev); /* stays readable */
    cr_assert_eq(submit(coach, session, &again), KAP_OK);
    service_fixture_close(&fx);
}

Test(review, of_two_experts_one_gets_it_until_the_lease_ends)
{
    world_open();
    struct kap_validation_submit_reply submitted;
    struct kap_validation_claim_reply claimed;
    struct kap_validation_decide_reply decided;
    cr_assert_eq(submit(coach, session, &submitted), KAP_OK);
    cr_assert_eq(claim(expert, &submitted.validation, &claimed), KAP_OK);
    int64_t until = claimed.validation->claim_expires_at;
    cr_assert_eq(claim(rival, &submitted.validation, &claimed), KAP_STATE_CONFLICT);
    cr_assert_eq(claim(rival, NULL, &claimed), KAP_NOT_FOUND);
    cr_assert_eq(decide(rival, submitted.validation, KAP_VALIDATION_STATE_APPROVED, NULL, &decided),
                 KAP_STATE_CONFLICT);
    kap_losing_advance(fx.env, INT64_C(20) * 60 * 1000000000);
    cr_assert_eq(claim(expert, &submitted.validation, &claimed), KAP_OK); /* 30 minutes more */
    cr_assert(claimed.validation->claim_expires_at > until);
    kap_losing_advance(fx.env, INT64_C(31) * 60 * 1000000000);
    cr_assert_eq(decide(expert, submitted.validation, KAP_VALIDATION_STATE_APPROVED, NULL, &decided),
                 KAP_STATE_CONFLICT);
    cr_assert(says("your claim ran out before you decided: claim it again, it goes from claimed to approved within 30 "
                   "minutes"));
    cr_assert_eq(claim(rival, NULL, &claimed), KAP_OK);
    cr_assert(kap_id_eq(claimed.validation->expert, rival.user));
    cr_assert_eq(claim(expert, &submitted.validation, &claimed), KAP_STATE_CONFLICT);
    cr_assert_eq(decide(rival, submitted.validation, KAP_VALIDATION_STATE_REJECTED, NULL, &decided), KAP_INVALID);
    cr_assert(kap_bytes_eq(error.faults[0].path, kap_bytes_str("feedback")));
    cr_assert_eq(decide(rival, submitted.validation, KAP_VALIDATION_STATE_QUEUED, "x", &decided), KAP_INVALID);
    cr_assert_eq(
        decide(rival, submitted.validation, KAP_VALIDATION_STATE_CHANGES_REQUESTED, "longer warm-up", &decided),
        KAP_OK);
    cr_assert_eq(session_read()->status, KAP_SESSION_STATUS_REJECTED);
    cr_assert(kap_bytes_eq(session_read()->validation_feedback, kap_bytes_str("longer warm-up")));
    struct kap_validation_history_request history = {SET(validation, submitted.validation)};
    struct kap_validation_history_reply told;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_VALIDATION_HISTORY, &history, &told, NULL), KAP_OK);
    static const int32_t to[] = {KAP_VALIDATION_STATE_QUEUED, KAP_VALIDATION_STATE_CLAIMED, KAP_VALIDATION_STATE_QUEUED,
                                 KAP_VALIDATION_STATE_CLAIMED, KAP_VALIDATION_STATE_CHANGES_REQUESTED};
    cr_assert_eq(told.n_events, KAP_ARRAY_LEN(to));
    /* Two of one commit stand side by side: their order among each other is that of their ids. */
    cr_assert_eq(told.events[0].to, to[0]);
    cr_assert_eq(told.events[1].to, to[1]);
    cr_assert_eq(told.events[4].to, to[4]);
    service_fixture_close(&fx);
}

Test(review, is_not_for_the_owner_nor_for_those_who_are_no_experts)
{
    world_open();
    struct kap_validation_submit_reply submitted, own;
    struct kap_validation_claim_reply claimed;
    struct kap_id empty = session_make(coach, 0);
    cr_assert_eq(submit(coach, empty, &submitted), KAP_STATE_CONFLICT);
    cr_assert(says("a session without a sequence cannot be reviewed: add one first"));
    cr_assert_eq(submit(rival, session, &submitted), KAP_NOT_FOUND); /* private */
    cr_assert_eq(withdraw(coach, session), KAP_STATE_CONFLICT);
    cr_assert_eq(withdraw(rival, session), KAP_NOT_FOUND); /* private, and a draft */
    struct kap_id mine = session_make(expert, 1);
    cr_assert_eq(submit(expert, mine, &own), KAP_OK);
    cr_assert_eq(claim(expert, &own.validation, &claimed), KAP_FORBIDDEN);
    cr_assert_eq(claim(expert, NULL, &claimed), KAP_NOT_FOUND);
    cr_assert_eq(claim(coach, &own.validation, &claimed), KAP_FORBIDDEN);
    cr_assert_eq(submit(coach, session, &submitted), KAP_OK);
    struct kap_list_page page = {SET(want_count, true)};
    struct kap_validation_queue_request queue = {.page = &page};
    struct kap_validation_queue_reply waiting;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_VALIDATION_QUEUE, &queue, NULL, NULL), KAP_FORBIDDEN);
    cr_assert_eq(service_call(&fx, rival, KAP_OP_VALIDATION_QUEUE, &queue, &waiting, NULL), KAP_OK);
    cr_assert_eq(waiting.n_validations, 2);
    cr_assert_eq(waiting.end->total, 2);
    cr_assert(kap_id_eq(waiting.validations[0].sys->id, own.validation)); /* the oldest first */
    cr_assert_eq(claim(expert, NULL, &claimed), KAP_OK);
    cr_assert(kap_id_eq(claimed.validation->sys->id, submitted.validation)); /* not the one's own */
    cr_assert_eq(withdraw(rival, session), KAP_FORBIDDEN);
    cr_assert_eq(withdraw(coach, session), KAP_OK);
    cr_assert_eq(session_read()->status, KAP_SESSION_STATUS_DRAFT);
    cr_assert_eq(claim(expert, &submitted.validation, &claimed), KAP_STATE_CONFLICT);
    cr_assert(says("the validation is withdrawn and does not go to claimed: that is over"));
    queue.has_sport = true;
    queue.sport = level; /* no sport at all: nothing waits there */
    cr_assert_eq(service_call(&fx, rival, KAP_OP_VALIDATION_QUEUE, &queue, &waiting, NULL), KAP_OK);
    cr_assert_eq(waiting.end->total, 0);
    struct kap_notification_list_request list = {.page = &page};
    struct kap_notification_list_reply inbox;
    cr_assert_eq(service_call(&fx, expert, KAP_OP_NOTIFICATION_LIST, &list, &inbox, NULL), KAP_OK);
    cr_assert_eq(inbox.n_notifications, 1);
    cr_assert(kap_bytes_eq(inbox.notifications[0].topic, kap_bytes_str("validation.withdrawn")));
    service_fixture_close(&fx);
}

Test(review, history_is_told_by_session_and_by_expert)
{
    world_open();
    struct kap_validation_submit_reply submitted;
    struct kap_validation_claim_reply claimed;
    struct kap_validation_decide_reply decided;
    for (int round = 0; round < 3; round++) {
        kap_losing_advance(fx.env, 1000000000);
        cr_assert_eq(submit(coach, session, &submitted), KAP_OK);
        cr_assert_eq(claim(expert, &submitted.validation, &claimed), KAP_OK);
        cr_assert_eq(decide(expert, submitted.validation, KAP_VALIDATION_STATE_REJECTED, "again", &decided), KAP_OK);
    }
    struct kap_list_page page = {SET(want_count, true), SET(limit, 2)};
    struct kap_validation_history_request history = {.page = &page, SET(session, session)};
    struct kap_validation_history_reply told;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_VALIDATION_HISTORY, &history, &told, NULL), KAP_OK);
    cr_assert_eq(told.n_validations, 2);
    cr_assert_eq(told.end->total, 3);
    cr_assert(kap_id_eq(told.validations[0].sys->id, submitted.validation)); /* newest first */
    history = (struct kap_validation_history_request){.page = &page, SET(expert, expert.user)};
    cr_assert_eq(service_call(&fx, expert, KAP_OP_VALIDATION_HISTORY, &history, &told, NULL), KAP_OK);
    cr_assert_eq(told.end->total, 3);
    struct kap_principal stranger = fixture_user(&fx, "x@example.org", KAP_ROLE_COACH);
    cr_assert_eq(service_call(&fx, stranger, KAP_OP_VALIDATION_HISTORY, &history, &told, NULL), KAP_OK);
    cr_assert_eq(told.end->total, 0);
    history = (struct kap_validation_history_request){SET(session, session)};
    cr_assert_eq(service_call(&fx, stranger, KAP_OP_VALIDATION_HISTORY, &history, &told, NULL), KAP_NOT_FOUND);
    history = (struct kap_validation_history_request){0};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_VALIDATION_HISTORY, &history, &told, NULL), KAP_INVALID);
    service_fixture_close(&fx);
}
