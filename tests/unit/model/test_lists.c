#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "proto/wire.h"

#include <stdio.h>

static struct service_fixture fx;
static struct kap_id sport, level;
static struct kap_principal coach, other;

static void world_open(void)
{
    service_fixture_open(&fx, 11);
    sport = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
    level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
    coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    other = fixture_user(&fx, "other@example.org", KAP_ROLE_COACH);
}

static struct kap_id session_make(struct kap_principal who, const char *title, int32_t visibility)
{
    struct kap_session_save_request *request = fixture_session(&fx, sport, level, title, 1, 1);
    struct kap_session_save_reply reply;
    request->session->has_visibility = true;
    request->session->visibility = visibility;
    cr_assert_eq(service_call(&fx, who, KAP_OP_SESSION_SAVE, request, &reply, NULL), KAP_OK);
    return reply.id;
}

static struct kap_session_list_reply list(struct kap_principal who, struct kap_session_list_request *request)
{
    struct kap_session_list_reply reply;
    cr_assert_eq(service_call(&fx, who, KAP_OP_SESSION_LIST, request, &reply, NULL), KAP_OK);
    return reply;
}

Test(lists, pages_newest_first_with_an_exact_total)
{
    world_open();
    char title[16];
    for (int i = 0; i < 7; i++) {
        snprintf(title, sizeof title, "S%d", i);
        session_make(coach, title, i % 2 ? KAP_VISIBILITY_PRIVATE : KAP_VISIBILITY_PUBLIC);
    }
    struct kap_list_page page = {.has_limit = true,
                                 .limit = 3,
                                 .has_want_count = true,
                                 .want_count = true,
                                 .has_explain = true,
                                 .explain = true};
    struct kap_session_list_request request = {.page = &page, .has_owner = true, .owner = coach.user};
    struct kap_session_list_reply reply = list(coach, &request);
    cr_assert_eq(reply.n_sessions, 3);
    cr_assert(kap_bytes_eq(reply.sessions[0].title, kap_bytes_str("S6")));
    cr_assert_eq(reply.end->total, 7);
    cr_assert(reply.end->total_is_exact);
    cr_assert(kap_bytes_eq(reply.end->explain->index, kap_bytes_str("session_by_owner")));
    cr_assert_eq(reply.end->explain->rows_read, 0);
    page.has_cursor = true;
    page.cursor = reply.end->next;
    reply = list(coach, &request);
    cr_assert(kap_bytes_eq(reply.sessions[0].title, kap_bytes_str("S3")));
    page.cursor = reply.end->next;
    reply = list(coach, &request);
    cr_assert_eq(reply.n_sessions, 1);
    cr_assert_not(reply.end->has_next);
    page.has_cursor = false;
    reply = list(other, &request);
    cr_assert_eq(reply.n_sessions, 3);
    cr_assert_eq(reply.end->total, 4);
    cr_assert(reply.end->total_is_exact);
    service_fixture_close(&fx);
}

Test(lists, a_forged_cursor_or_one_of_another_list_is_refused)
{
    world_open();
    session_make(coach, "A", KAP_VISIBILITY_PRIVATE);
    session_make(coach, "B", KAP_VISIBILITY_PRIVATE);
    struct kap_list_page page = {.has_limit = true, .limit = 1};
    struct kap_session_list_request request = {.page = &page, .has_owner = true, .owner = coach.user};
    struct kap_session_list_reply reply = list(coach, &request);
    uint8_t *forged = kap_arena_push_bytes(&fx.arena, reply.end->next.len);
    memcpy(forged, reply.end->next.data, reply.end->next.len);
    page.has_cursor = true;
    for (size_t i = 0; i < reply.end->next.len; i++) {
        forged[i] ^= 1;
        page.cursor = kap_bytes(forged, reply.end->next.len);
        cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_LIST, &request, NULL, NULL), KAP_BAD_CURSOR);
        forged[i] ^= 1;
    }
    page.cursor = reply.end->next;
    request.owner = other.user;
    cr_assert_eq(service_call(&fx, other, KAP_OP_SESSION_LIST, &request, NULL, NULL), KAP_BAD_CURSOR);
    service_fixture_close(&fx);
}

Test(lists, every_filter_finds_the_same_sessions_by_its_index)
{
    world_open();
    session_make(coach, "A", KAP_VISIBILITY_PUBLIC);
    session_make(coach, "B", KAP_VISIBILITY_PRIVATE);
    session_make(other, "C", KAP_VISIBILITY_PUBLIC);
    struct kap_list_page page = {.has_want_count = true, .want_count = true};
    struct kap_session_list_request all = {.page = &page}, by_sport = all, by_level = all, by_age = all, browse = all,
                                    updated = all;
    by_sport.has_sport = by_level.has_level = by_age.has_age_category = true;
    by_sport.sport = sport;
    by_level.level = level;
    by_age.age_category = KAP_AGE_CATEGORY_U15;
    browse.has_sport = browse.has_level = browse.has_age_category = browse.has_visibility = true;
    browse.sport = sport;
    browse.level = level;
    browse.age_category = KAP_AGE_CATEGORY_U15;
    browse.visibility = KAP_VISIBILITY_PUBLIC;
    int32_t draft[] = {KAP_SESSION_STATUS_DRAFT};
    browse.n_status = updated.n_status = 1;
    browse.status = updated.status = draft;
    updated.has_order = true;
    updated.order = KAP_SESSION_ORDER_UPDATED;
    struct kap_session_list_request *requests[] = {&all, &by_sport, &by_level, &by_age, &updated};
    for (size_t i = 0; i < 5; i++) {
        struct kap_session_list_reply mine = list(coach, requests[i]), theirs = list(other, requests[i]);
        cr_assert_eq(mine.n_sessions, 3, "request %zu", i);
        cr_assert_eq(mine.end->total, 3);
        cr_assert_eq(theirs.n_sessions, 2);
        cr_assert_eq(theirs.end->total, 2);
        cr_assert(kap_bytes_eq(mine.sessions[0].title, kap_bytes_str("C")));
    }
    cr_assert_eq(list(other, &browse).n_sessions, 2);
    cr_assert_eq(list(other, &browse).end->total, 2);
    service_fixture_close(&fx);
}

Test(lists, library_exercises_reference_lists_and_users_have_pages)
{
    world_open();
    struct kap_exercise exercise = {.has_title = true,
                                    .title = kap_bytes_str("Plank"),
                                    .has_slug = true,
                                    .slug = kap_bytes_str("plank"),
                                    .has_description = true,
                                    .description = kap_bytes_str("Hold."),
                                    .has_visibility = true,
                                    .visibility = KAP_VISIBILITY_PUBLIC,
                                    .has_sport = true,
                                    .sport = sport};
    struct kap_exercise_put_request put = {.exercise = &exercise};
    struct kap_put_reply made;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_EXERCISE_PUT, &put, &made, NULL), KAP_OK);
    struct kap_variation variation = {
        .has_exercise = true, .exercise = made.id, .has_title = true, .title = kap_bytes_str("One leg")};
    struct kap_variation_put_request vary = {.variation = &variation};
    struct kap_put_reply varied;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_VARIATION_PUT, &vary, &varied, NULL), KAP_OK);
    cr_assert_eq(varied.position, 0);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_VARIATION_PUT, &vary, &varied, NULL), KAP_OK);
    cr_assert_eq(varied.position, 1);
    struct kap_exercise_get_request get = {.has_slug = true, .slug = kap_bytes_str("PLANK")};
    struct kap_exercise_get_reply got;
    cr_assert_eq(service_call(&fx, other, KAP_OP_EXERCISE_GET, &get, &got, NULL), KAP_OK);
    cr_assert_eq(got.n_variations, 2);
    struct kap_list_page page = {.has_want_count = true, .want_count = true};
    struct kap_exercise_list_request by_term = {.page = &page, .has_term = true, .term = sport}, all = {.page = &page};
    struct kap_exercise_list_reply listed;
    cr_assert_eq(service_call(&fx, other, KAP_OP_EXERCISE_LIST, &by_term, &listed, NULL), KAP_OK);
    cr_assert_eq(listed.n_exercises, 1);
    cr_assert_eq(service_call(&fx, other, KAP_OP_EXERCISE_LIST, &all, &listed, NULL), KAP_OK);
    cr_assert_eq(listed.end->total, 1);
    struct kap_ref_list_request refs = {
        .has_kind = true, .kind = KAP_KIND_REF_ITEM, .has_ref_kind = true, .ref_kind = KAP_REF_KIND_SPORT};
    struct kap_ref_list_reply ref_reply;
    cr_assert_eq(service_call(&fx, other, KAP_OP_REF_LIST, &refs, &ref_reply, NULL), KAP_OK);
    cr_assert_eq(ref_reply.n_items, 1);
    refs.has_if_none_match = true;
    refs.if_none_match = ref_reply.etag;
    cr_assert_eq(service_call(&fx, other, KAP_OP_REF_LIST, &refs, &ref_reply, NULL), KAP_OK);
    cr_assert(ref_reply.unchanged);
    struct kap_user_list_request users = {.page = &page};
    struct kap_user_list_reply user_reply;
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_USER_LIST, &users, &user_reply, NULL), KAP_OK);
    cr_assert_eq(user_reply.end->total, 2);
    service_fixture_close(&fx);
}

Test(lists, a_dump_restored_elsewhere_is_the_same_rows)
{
    static const int32_t kinds[] = {KAP_KIND_USER,     KAP_KIND_PROFILE,   KAP_KIND_REF_ITEM, KAP_KIND_SESSION,
                                    KAP_KIND_SEQUENCE, KAP_KIND_OBJECTIVE, KAP_KIND_EXERCISE};
    static struct kap_dump_rows_reply dumps[7], again;
    world_open();
    for (int i = 0; i < 5; i++)
        session_make(coach, "S", KAP_VISIBILITY_PUBLIC);
    static uint8_t bytes[512 * 1024];
    size_t at = 0;
    for (size_t k = 0; k < 7; k++) {
        struct kap_dump_rows_request request = {.has_kind = true, .kind = kinds[k]};
        cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_DUMP_ROWS, &request, &dumps[k], NULL), KAP_OK);
        cr_assert_gt(dumps[k].n_rows, 0);
        static struct kap_typed_row rows[7][64];
        for (size_t i = 0; i < dumps[k].n_rows; i++) {
            rows[k][i] = dumps[k].rows[i];
            memcpy(bytes + at, rows[k][i].row.data, rows[k][i].row.len);
            rows[k][i].row.data = bytes + at;
            at += rows[k][i].row.len;
        }
        dumps[k].rows = rows[k];
    }
    service_fixture_close(&fx);
    service_fixture_open(&fx, 12);
    for (size_t k = 0; k < 7; k++) {
        struct kap_restore_rows_request request = {.n_rows = dumps[k].n_rows, .rows = dumps[k].rows};
        struct kap_restore_rows_reply reply;
        struct kap_error_reply error = {0};
        kap_status status = service_call(&fx, fx.admin, KAP_OP_RESTORE_ROWS, &request, &reply, &error);
        cr_assert_eq(status, KAP_OK, "%zu %.*s", k, (int)error.path.len, (const char *)error.path.data);
        cr_assert_eq(reply.created, dumps[k].n_rows);
        cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_RESTORE_ROWS, &request, &reply, &error), KAP_OK);
        cr_assert_eq(reply.unchanged, dumps[k].n_rows);
        struct kap_dump_rows_request dump = {.has_kind = true, .kind = kinds[k], .has_limit = true, .limit = 2};
        cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_DUMP_ROWS, &dump, &again, NULL), KAP_OK);
        size_t n = again.n_rows;
        while (again.has_next) {
            dump.has_after = true;
            dump.after = again.next;
            cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_DUMP_ROWS, &dump, &again, NULL), KAP_OK);
            n += again.n_rows;
        }
        cr_assert_eq(n, dumps[k].n_rows);
    }
    service_fixture_close(&fx);
}

Test(lists, a_reference_to_what_is_gone_reads_as_absent_and_nobody_is_listed_by_it)
{
    world_open();
    struct kap_tag tags[2] = {{.has_name = true, .name = kap_bytes_str("one")},
                              {.has_name = true, .name = kap_bytes_str("two")}};
    struct kap_id ids[2];
    for (int i = 0; i < 2; i++) {
        struct kap_ref_put_request put = {.tag = &tags[i]};
        struct kap_ref_put_reply made;
        cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_REF_PUT, &put, &made, NULL), KAP_OK);
        ids[i] = made.id;
    }
    struct kap_session_save_request *save = fixture_session(&fx, sport, level, "Tagged", 1, 1);
    struct kap_session_save_reply saved;
    save->session->n_tags = 2;
    save->session->tags = ids;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, save, &saved, NULL), KAP_OK);
    struct kap_row_delete_request delete = {.has_kind = true, .kind = KAP_KIND_TAG, .has_id = true, .id = ids[0]};
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_ROW_DELETE, &delete, NULL, NULL), KAP_OK);
    for (int round = 0; round < 2; round++) {
        struct kap_session_get_request get = {.has_id = true, .id = saved.id};
        struct kap_session_get_reply got;
        cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_GET, &get, &got, NULL), KAP_OK);
        cr_assert_eq(got.session->n_tags, 1);
        cr_assert(kap_id_eq(got.session->tags[0], ids[1]));
        cr_assert_eq(got.session->sys->rev, 1u + (uint64_t)round);
        for (int i = 0; i < 2; i++) {
            struct kap_list_page page = {.has_want_count = true, .want_count = true};
            struct kap_session_list_request request = {.page = &page, .has_tag = true, .tag = ids[i]};
            struct kap_session_list_reply reply = list(coach, &request);
            cr_assert_eq(reply.n_sessions, (size_t)i);
            cr_assert_eq(reply.end->total, (uint64_t)i);
            cr_assert(reply.end->total_is_exact);
        }
        service_fixture_check(&fx);
        /* The next write leaves it out for good. */
        struct kap_sys sys = {.has_id = true, .id = saved.id};
        struct kap_session edit = {.sys = &sys, .has_title = true, .title = kap_bytes_str("Edited")};
        struct kap_session_save_request again = {.session = &edit};
        cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, &again, NULL, NULL), KAP_OK);
    }
    /* Nor can it be named anew, and its id is not used twice. */
    struct kap_sys sys = {.has_id = true, .id = ids[0]};
    tags[0].sys = &sys;
    struct kap_ref_put_request put = {.tag = &tags[0]};
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_REF_PUT, &put, NULL, NULL), KAP_GONE);
    service_fixture_close(&fx);
}
