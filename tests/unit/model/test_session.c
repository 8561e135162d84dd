#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "proto/wire.h"

static struct service_fixture fx;
static struct kap_id sport, level;

static void world_open(void)
{
    service_fixture_open(&fx, 7);
    sport = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
    level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
}

static struct kap_session_graph_reply graph_of(struct kap_principal who, struct kap_id id)
{
    struct kap_session_graph_request request = {.has_id = true, .id = id};
    struct kap_session_graph_reply reply;
    cr_assert_eq(service_call(&fx, who, KAP_OP_SESSION_GRAPH, &request, &reply, NULL), KAP_OK);
    return reply;
}

static struct kap_session_save_reply save(struct kap_principal who, const struct kap_session_save_request *request)
{
    struct kap_session_save_reply reply;
    struct kap_error_reply error = {0};
    kap_status status = service_call(&fx, who, KAP_OP_SESSION_SAVE, request, &reply, &error);
    cr_assert_eq(status, KAP_OK, "%d %.*s path %.*s", status, (int)error.message.len, (const char *)error.message.data,
                 (int)error.path.len, (const char *)error.path.data);
    return reply;
}

Test(session, saves_a_tree_and_reads_it_back_as_one_range)
{
    world_open();
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_session_save_reply saved = save(coach, fixture_session(&fx, sport, level, "Monday", 3, 2));
    cr_assert_eq(saved.n_changes, 1 + 1 + 3 + 6);
    cr_assert_eq(saved.sequence_minutes, 45);
    cr_assert_eq(saved.rev, 1);
    cr_assert_eq(saved.tree_rev, saved.commit_seq);
    struct kap_session_graph_reply graph = graph_of(coach, saved.id);
    cr_assert_eq(graph.n_rows, 11);
    cr_assert_eq(graph.head->n_sequences, 3);
    cr_assert_eq(graph.head->n_exercises, 6);
    cr_assert_eq(graph.head->n_objectives, 1);
    cr_assert_eq(graph.head->sequence_minutes, 45);
    cr_assert_eq(graph.rows[0].kind, KAP_KIND_SESSION);
    cr_assert_eq(graph.rows[10].kind, KAP_KIND_EXERCISE);
    service_fixture_reopen(&fx);
    cr_assert_eq(graph_of(coach, saved.id).n_rows, 11);
    service_fixture_close(&fx);
}

Test(session, leaves_equal_rows_alone_and_refuses_a_stale_tree)
{
    world_open();
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_session_save_request *request = fixture_session(&fx, sport, level, "Monday", 1, 1);
    struct kap_session_save_reply first = save(coach, request);
    struct kap_sys sys = {.has_id = true, .id = first.id};
    request->session->sys = &sys;
    request->n_sequences = request->n_objectives = 0;
    struct kap_session_save_reply second = save(coach, request);
    cr_assert_eq(second.n_changes, 0);
    cr_assert_eq(second.rev, 1);
    cr_assert_eq(second.tree_rev, first.tree_rev);
    request->session->title = kap_bytes_str("Tuesday");
    request->has_expected_tree_rev = true;
    request->expected_tree_rev = first.tree_rev;
    struct kap_session_save_reply third = save(coach, request);
    cr_assert_eq(third.n_changes, 1);
    cr_assert_eq(third.rev, 2);
    request->session->title = kap_bytes_str("Wednesday");
    struct kap_error_reply error;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, request, NULL, &error), KAP_REV_CONFLICT);
    cr_assert_eq(error.current_tree_rev, third.tree_rev);
    service_fixture_close(&fx);
}

Test(session, replace_deletes_what_the_request_does_not_mention)
{
    world_open();
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_session_save_request *request = fixture_session(&fx, sport, level, "Monday", 2, 2);
    struct kap_session_save_reply saved = save(coach, request);
    struct kap_sys sys = {.has_id = true, .id = saved.id};
    request->session->sys = &sys;
    request->n_sequences = request->n_objectives = 0;
    request->has_mode = true;
    request->mode = KAP_SAVE_MODE_REPLACE;
    struct kap_session_save_reply emptied = save(coach, request);
    cr_assert_eq(emptied.n_changes, 7);
    cr_assert_eq(emptied.sequence_minutes, 0);
    cr_assert_eq(graph_of(coach, saved.id).n_rows, 1);
    service_fixture_close(&fx);
}

Test(session, does_not_exist_for_others_until_it_is_public)
{
    world_open();
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_principal other = fixture_user(&fx, "other@example.org", KAP_ROLE_COACH);
    struct kap_session_save_request *request = fixture_session(&fx, sport, level, "Monday", 1, 1);
    struct kap_session_save_reply saved = save(coach, request);
    struct kap_session_graph_request get = {.has_id = true, .id = saved.id};
    cr_assert_eq(service_call(&fx, other, KAP_OP_SESSION_GRAPH, &get, NULL, NULL), KAP_NOT_FOUND);
    cr_assert_eq(service_call(&fx, (struct kap_principal){0}, KAP_OP_SESSION_GRAPH, &get, NULL, NULL),
                 KAP_UNAUTHENTICATED);
    struct kap_sys sys = {.has_id = true, .id = saved.id};
    request->session->sys = &sys;
    request->session->has_visibility = true;
    request->session->visibility = KAP_VISIBILITY_PUBLIC;
    request->n_sequences = request->n_objectives = 0;
    save(coach, request);
    cr_assert_eq(service_call(&fx, other, KAP_OP_SESSION_GRAPH, &get, NULL, NULL), KAP_OK);
    struct kap_session_delete_request delete = {.has_id = true, .id = saved.id};
    cr_assert_eq(service_call(&fx, other, KAP_OP_SESSION_DELETE, &delete, NULL, NULL), KAP_FORBIDDEN);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_DELETE, &delete, NULL, NULL), KAP_OK);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_GRAPH, &get, NULL, NULL), KAP_NOT_FOUND);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, request, NULL, NULL), KAP_GONE);
    service_fixture_close(&fx);
}

Test(session, names_every_fault_with_its_path)
{
    world_open();
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_session_save_request *request = fixture_session(&fx, sport, level, "Monday", 1, 1);
    struct kap_error_reply error;
    request->session->has_title = false;
    request->session->has_sport = false;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, request, NULL, &error), KAP_INVALID);
    cr_assert_eq(error.n_faults, 2);
    cr_assert(kap_bytes_eq(error.faults[0].path, kap_bytes_str("session.title")));
    request = fixture_session(&fx, sport, level, "Monday", 1, 1);
    request->session->level = sport;
    request->sequences[0].exercises[0].exercise->has_source = true;
    request->sequences[0].exercises[0].exercise->source = sport;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, request, NULL, &error), KAP_INVALID);
    cr_assert(kap_bytes_eq(error.faults[0].path, kap_bytes_str("session.level")));
    cr_assert(kap_bytes_eq(error.faults[0].code, kap_bytes_str("wrong_list")));
    request->session->level = level;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, request, NULL, &error), KAP_INVALID);
    cr_assert(kap_bytes_eq(error.faults[0].path, kap_bytes_str("sequences[0].exercises[0].exercise.source")));
    cr_assert(kap_bytes_eq(error.faults[0].code, kap_bytes_str("wrong_kind")));
    service_fixture_close(&fx);
}

Test(session, an_idempotency_key_gives_the_same_answer_once)
{
    world_open();
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_session_save_request *request = fixture_session(&fx, sport, level, "Monday", 1, 1);
    struct kap_meta meta = {.has_idempotency_key = true, .idempotency_key = {{1, 2, 3}}};
    struct kap_session_save_reply first, second;
    struct kap_bytes body = kap_wire_encode_in(&kap_session_save_request_msg, request, &fx.arena);
    cr_assert_eq(service_call_raw(&fx, coach, KAP_OP_SESSION_SAVE, &meta, body, &first, NULL), KAP_OK);
    cr_assert_eq(service_call_raw(&fx, coach, KAP_OP_SESSION_SAVE, &meta, body, &second, NULL), KAP_OK);
    cr_assert(kap_id_eq(first.id, second.id));
    request->session->title = kap_bytes_str("Tuesday");
    body = kap_wire_encode_in(&kap_session_save_request_msg, request, &fx.arena);
    cr_assert_eq(service_call_raw(&fx, coach, KAP_OP_SESSION_SAVE, &meta, body, NULL, NULL), KAP_IDEMPOTENCY_MISMATCH);
    service_fixture_close(&fx);
}

Test(session, a_list_value_in_use_cannot_go)
{
    world_open();
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    save(coach, fixture_session(&fx, sport, level, "Monday", 1, 1));
    struct kap_ref_delete_request request = {.has_kind = true, .kind = KAP_KIND_REF_ITEM, .has_id = true, .id = sport};
    struct kap_error_reply error;
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_REF_DELETE, &request, NULL, &error), KAP_REFERENCED);
    cr_assert_eq(error.referrer_count, 1);
    cr_assert_eq(error.n_referrers, 1);
    cr_assert_eq(error.referrers[0].kind, KAP_KIND_SESSION);
    service_fixture_close(&fx);
}

Test(session, is_read_and_saved_again_from_cold_files)
{
    world_open();
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_session_save_request *request = fixture_session(&fx, sport, level, "Monday", 3, 2);
    struct kap_session_save_reply saved = save(coach, request);
    struct kap_compaction_run_request run = {.has_wait = true, .wait = true};
    struct kap_compaction_run_reply done;
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_COMPACTION_RUN, &run, &done, NULL), KAP_OK);
    service_fixture_reopen(&fx);
    cr_assert_eq(graph_of(coach, saved.id).n_rows, 11);
    cr_assert_gt(fx.call.runs, 1);
    service_fixture_reopen(&fx);
    struct kap_sys sys = {.has_id = true, .id = saved.id};
    request->session->sys = &sys;
    request->session->title = kap_bytes_str("Tuesday");
    request->n_sequences = request->n_objectives = 0;
    cr_assert_eq(save(coach, request).n_changes, 1);
    cr_assert_gt(fx.call.runs, 1);
    struct kap_snapshot_create_request snapshot = {.has_name = true, .name = kap_bytes_str("monday")};
    struct kap_snapshot_create_reply made;
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_SNAPSHOT_CREATE, &snapshot, &made, NULL), KAP_OK);
    cr_assert_geq(made.snapshot->commit_seq, saved.commit_seq);
    service_fixture_close(&fx);
}

Test(session, a_validated_one_is_a_draft_again_after_an_edit_and_a_pending_one_is_not_edited)
{
    world_open();
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_session_save_reply saved = save(coach, fixture_session(&fx, sport, level, "Monday", 1, 1));
    struct kap_sys sys = {.has_id = true, .id = saved.id};
    struct kap_session patch = {.sys = &sys, .has_status = true, .status = KAP_SESSION_STATUS_VALIDATED};
    struct kap_session_save_request forced = {.session = &patch};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, &forced, NULL, NULL), KAP_STATE_CONFLICT);
    save(fx.admin, &forced);
    struct kap_objective objective = {.has_parent_kind = true,
                                      .parent_kind = KAP_KIND_SESSION,
                                      .has_parent = true,
                                      .parent = saved.id,
                                      .has_description = true,
                                      .description = kap_bytes_str("Jump"),
                                      .has_objective_type = true,
                                      .objective_type = KAP_OBJECTIVE_TYPE_APPRENTISSAGE};
    struct kap_objective_put_request put = {.objective = &objective};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_OBJECTIVE_PUT, &put, NULL, NULL), KAP_OK);
    struct kap_session_get_request get = {.has_id = true, .id = saved.id};
    struct kap_session_get_reply got;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_GET, &get, &got, NULL), KAP_OK);
    cr_assert_eq(got.session->status, KAP_SESSION_STATUS_DRAFT);
    patch.status = KAP_SESSION_STATUS_PENDING;
    save(fx.admin, &forced);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_OBJECTIVE_PUT, &put, NULL, NULL), KAP_STATE_CONFLICT);
    service_fixture_close(&fx);
}
