#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "proto/wire.h"

static struct service_fixture fx;
static struct kap_id sport, level;
static struct kap_principal coach;

static void world_open(void)
{
    service_fixture_open(&fx, 21);
    sport = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
    level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
    coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
}

static kap_status try(uint16_t op, const void *request, struct kap_error_reply *error)
{
    *error = (struct kap_error_reply){0};
    return service_call(&fx, coach, op, request, NULL, error);
}

static void expect_fault(const struct kap_error_reply *error, const char *path, const char *code)
{
    for (size_t i = 0; i < error->n_faults; i++)
        if (kap_bytes_eq(error->faults[i].path, kap_bytes_str(path)) &&
            kap_bytes_eq(error->faults[i].code, kap_bytes_str(code)))
            return;
    cr_assert_fail("no fault %s at %s", code, path);
}

Test(bad_input, every_kind_of_wrong_field_is_named_at_once)
{
    world_open();
    struct kap_session_save_request *request = fixture_session(&fx, sport, level, "Monday", 1, 1);
    struct kap_error_reply error;
    static char long_text[300];
    memset(long_text, 'x', sizeof long_text);
    request->session->title = kap_bytes(long_text, sizeof long_text);
    request->session->age_category = 99;
    request->sequences[0].sequence->duration = 5000;
    request->sequences[0].exercises[0].exercise->title = kap_bytes_str("");
    cr_assert_eq(try(KAP_OP_SESSION_SAVE, request, &error), KAP_INVALID);
    expect_fault(&error, "session.title", "too_long");
    expect_fault(&error, "session.age_category", "unknown_value");
    expect_fault(&error, "sequences[0].sequence.duration", "too_large");
    expect_fault(&error, "sequences[0].exercises[0].exercise.title", "too_short");
    service_fixture_close(&fx);
}

Test(bad_input, bytes_that_are_no_request_are_refused)
{
    world_open();
    static const struct {
        uint8_t bytes[12];
        size_t len;
        kap_status want;
    } bodies[] = {
        {{0x0a, 0xff}, 2, KAP_DECODE}, /* longer than there is */
        {{0xff, 0xff, 0xff}, 3, KAP_DECODE}, /* no tag */
        {{0xf8, 0x06, 0x01}, 3, KAP_INVALID}, /* a field nobody knows */
        {{0x0a, 0x02, 0x22, 0x00}, 4, KAP_INVALID}, /* an empty title, the rest missing */
        {{0x0a, 0x04, 0x22, 0x02, 0xc3, 0x28}, 6, KAP_DECODE}, /* no UTF-8 */
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        cr_assert_eq(service_call_raw(&fx, coach, KAP_OP_SESSION_SAVE, NULL, kap_bytes(bodies[i].bytes, bodies[i].len),
                                      NULL, NULL),
                     bodies[i].want, "body %zu", i);
    service_fixture_close(&fx);
}

Test(bad_input, parts_do_not_leave_their_tree)
{
    world_open();
    struct kap_session_save_reply a, b;
    struct kap_error_reply error;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, fixture_session(&fx, sport, level, "A", 1, 1), &a, NULL),
                 KAP_OK);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, fixture_session(&fx, sport, level, "B", 1, 1), &b, NULL),
                 KAP_OK);
    struct kap_id sequence = {{0}};
    for (size_t i = 0; i < a.n_changes; i++)
        if (a.changes[i].kind == KAP_KIND_SEQUENCE)
            sequence = a.changes[i].id;
    struct kap_sys sys = {.has_id = true, .id = sequence};
    struct kap_sequence moved = {.sys = &sys, .has_session = true, .session = b.id};
    struct kap_sequence_put_request put = {.sequence = &moved};
    cr_assert_eq(try(KAP_OP_SEQUENCE_PUT, &put, &error), KAP_INVALID);
    expect_fault(&error, "sequence.session", "other_tree");
    moved.session = sport;
    cr_assert_eq(try(KAP_OP_SEQUENCE_PUT, &put, &error), KAP_INVALID);
    expect_fault(&error, "sequence.session", "wrong_kind");
    moved.session = (struct kap_id){{9, 9, 9}};
    cr_assert_eq(try(KAP_OP_SEQUENCE_PUT, &put, &error), KAP_INVALID);
    expect_fault(&error, "sequence.session", "no_target");
    service_fixture_close(&fx);
}

Test(bad_input, a_unique_key_is_taken_once)
{
    world_open();
    struct kap_user user = {.has_email = true, .email = kap_bytes_str("COACH@Example.org")};
    struct kap_user_create_request request = {.user = &user};
    struct kap_error_reply error;
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_USER_CREATE, &request, NULL, &error), KAP_UNIQUE);
    cr_assert(kap_bytes_eq(error.message_key, kap_bytes_str("user_email")));
    service_fixture_close(&fx);
}

Test(bad_input, an_order_names_every_child_once)
{
    world_open();
    struct kap_session_save_reply saved;
    struct kap_error_reply error;
    cr_assert_eq(
        service_call(&fx, coach, KAP_OP_SESSION_SAVE, fixture_session(&fx, sport, level, "A", 3, 0), &saved, NULL),
        KAP_OK);
    struct kap_id ids[4];
    size_t n = 0;
    for (size_t i = 0; i < saved.n_changes; i++)
        if (saved.changes[i].kind == KAP_KIND_SEQUENCE)
            ids[n++] = saved.changes[i].id;
    struct kap_part_reorder_request request = {.has_relation = true,
                                               .relation = KAP_RELATION_SESSION_SEQUENCES,
                                               .has_parent = true,
                                               .parent = saved.id,
                                               .n_ids = 2,
                                               .ids = ids};
    cr_assert_eq(try(KAP_OP_PART_REORDER, &request, &error), KAP_INVALID);
    expect_fault(&error, "ids", "not_the_list");
    ids[3] = ids[0];
    ids[0] = ids[1];
    request.n_ids = 3;
    cr_assert_eq(try(KAP_OP_PART_REORDER, &request, &error), KAP_INVALID);
    ids[1] = ids[3];
    struct kap_part_reorder_reply reply;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_PART_REORDER, &request, &reply, NULL), KAP_OK);
    cr_assert_eq(reply.n_changes, 2);
    service_fixture_close(&fx);
}

Test(bad_input, a_batch_is_all_or_nothing_and_names_what_failed)
{
    world_open();
    struct kap_id id = {{0x01, 0x02, 0x03}};
    struct kap_sys sys = {.has_id = true, .id = id};
    struct kap_session_save_request *save = fixture_session(&fx, sport, level, "A", 0, 0);
    save->session->sys = &sys;
    struct kap_sequence sequence = {.has_session = true,
                                    .session = id,
                                    .has_title = true,
                                    .title = kap_bytes_str("Main"),
                                    .has_objective = true,
                                    .objective = kap_bytes_str("x"),
                                    .has_type = true,
                                    .type = KAP_SEQUENCE_TYPE_MAIN};
    struct kap_sequence_put_request put = {.sequence = &sequence};
    struct kap_batch_op ops[1001];
    ops[0] = (struct kap_batch_op){.has_op = true,
                                   .op = KAP_OP_SESSION_SAVE,
                                   .has_body = true,
                                   .body = kap_wire_encode_in(&kap_session_save_request_msg, save, &fx.arena)};
    ops[1] = (struct kap_batch_op){.has_op = true,
                                   .op = KAP_OP_SEQUENCE_PUT,
                                   .has_body = true,
                                   .body = kap_wire_encode_in(&kap_sequence_put_request_msg, &put, &fx.arena)};
    struct kap_txn_batch_request request = {.n_ops = 2, .ops = ops};
    struct kap_error_reply error;
    cr_assert_eq(try(KAP_OP_TXN_BATCH, &request, &error), KAP_INVALID);
    expect_fault(&error, "ops[1].sequence.duration", "required");
    struct kap_session_get_request get = {.has_id = true, .id = id};
    cr_assert_eq(try(KAP_OP_SESSION_GET, &get, &error), KAP_NOT_FOUND);
    sequence.has_duration = true;
    sequence.duration = 20;
    ops[1].body = kap_wire_encode_in(&kap_sequence_put_request_msg, &put, &fx.arena);
    struct kap_rev_guard guard = {
        .has_kind = true, .kind = KAP_KIND_SESSION, .has_id = true, .id = id, .has_rev = true, .rev = 4};
    request.n_guards = 1;
    request.guards = &guard;
    cr_assert_eq(try(KAP_OP_TXN_BATCH, &request, &error), KAP_GUARD_FAILED);
    guard.rev = 0;
    cr_assert_eq(try(KAP_OP_TXN_BATCH, &request, &error), KAP_OK);
    for (size_t i = 2; i < 1001; i++)
        ops[i] = ops[1];
    request.n_ops = 1001;
    cr_assert_eq(try(KAP_OP_TXN_BATCH, &request, &error), KAP_INVALID);
    service_fixture_close(&fx);
}

Test(bad_input, a_tree_has_its_limits)
{
    world_open();
    struct kap_session_save_request *request = fixture_session(&fx, sport, level, "A", 20, 60);
    struct kap_error_reply error;
    cr_assert_eq(try(KAP_OP_SESSION_SAVE, request, &error), KAP_TOO_LARGE);
    request = fixture_session(&fx, sport, level, "A", 65, 0);
    cr_assert_eq(try(KAP_OP_SESSION_SAVE, request, &error), KAP_INVALID);
    service_fixture_close(&fx);
}

Test(bad_input, the_future_cannot_be_waited_for)
{
    world_open();
    struct kap_session_list_request list = {0};
    struct kap_meta meta = {.has_min_commit_seq = true, .min_commit_seq = 1000000};
    struct kap_bytes body = kap_wire_encode_in(&kap_session_list_request_msg, &list, &fx.arena);
    cr_assert_eq(service_call_raw(&fx, coach, KAP_OP_SESSION_LIST, &meta, body, NULL, NULL), KAP_INVALID);
    cr_assert_eq(service_call_raw(&fx, coach, 9999, NULL, body, NULL, NULL), KAP_UNKNOWN_OP);
    service_fixture_close(&fx);
}
