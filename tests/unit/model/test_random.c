/* Random work by several people; then everything that follows from the rows must be as the rows say. */
#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "proto/wire.h"

static struct service_fixture fx;
static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 9) % below;
}

enum { SESSIONS_MAX = 24, COACHES = 3, STEPS = 400 };

struct known {
    struct kap_id id;
    struct kap_principal owner;
};

static struct known sessions[SESSIONS_MAX];
static uint32_t n_sessions;
static struct kap_id sports[2], level;
static struct kap_principal coaches[COACHES];

static void session_create(void)
{
    struct kap_principal who = coaches[draw(COACHES)];
    struct kap_session_save_request *request = fixture_session(&fx, sports[draw(2)], level, "S", draw(4), draw(3));
    struct kap_session_save_reply reply;
    request->session->has_visibility = true;
    request->session->visibility = 1 + (int32_t)draw(3);
    cr_assert_eq(service_call(&fx, who, KAP_OP_SESSION_SAVE, request, &reply, NULL), KAP_OK);
    sessions[n_sessions++] = (struct known){reply.id, who};
}

static void session_change(const struct known *known)
{
    struct kap_sys sys = {.has_id = true, .id = known->id};
    struct kap_session_save_request *request = fixture_session(&fx, sports[draw(2)], level, "T", draw(3), draw(3));
    request->session->sys = &sys;
    request->has_mode = true;
    request->mode = 1 + (int32_t)draw(2);
    request->n_objectives = draw(2);
    struct kap_error_reply error;
    kap_status status = service_call(&fx, known->owner, KAP_OP_SESSION_SAVE, request, NULL, &error);
    cr_assert(status == KAP_OK || status == KAP_TOO_LARGE, "%d %.*s", status, (int)error.message.len,
              (const char *)error.message.data);
}

static void part_delete(const struct known *known)
{
    struct kap_session_graph_request get = {.has_id = true, .id = known->id};
    struct kap_session_graph_reply graph;
    cr_assert_eq(service_call(&fx, known->owner, KAP_OP_SESSION_GRAPH, &get, &graph, NULL), KAP_OK);
    if (graph.n_rows < 2)
        return;
    const struct kap_typed_row *row = &graph.rows[1 + draw((uint32_t)graph.n_rows - 1)];
    struct kap_sys_view sys;
    cr_assert_eq(kap_row_sys(row->row, &sys), KAP_OK);
    struct kap_row_delete_request request = {.has_kind = true, .kind = row->kind, .has_id = true, .id = sys.id};
    cr_assert_eq(service_call(&fx, known->owner, KAP_OP_ROW_DELETE, &request, NULL, NULL), KAP_OK);
}

static void session_copy(const struct known *known)
{
    struct kap_session_clone_request request = {.has_id = true, .id = known->id};
    struct kap_session_clone_reply reply;
    struct kap_error_reply error;
    kap_status status = service_call(&fx, known->owner, KAP_OP_SESSION_CLONE, &request, &reply, &error);
    cr_assert_eq(status, KAP_OK, "%d %.*s %.*s", status, (int)error.message.len, (const char *)error.message.data,
                 (int)error.path.len, (const char *)error.path.data);
    sessions[n_sessions++] = (struct known){reply.id, known->owner};
}

static void session_remove(uint32_t at)
{
    struct kap_session_delete_request request = {.has_id = true, .id = sessions[at].id};
    cr_assert_eq(service_call(&fx, sessions[at].owner, KAP_OP_SESSION_DELETE, &request, NULL, NULL), KAP_OK);
    sessions[at] = sessions[--n_sessions];
}

static void step(void)
{
    uint32_t what = draw(10), at = n_sessions ? draw(n_sessions) : 0;
    if (n_sessions == 0 || (what < 3 && n_sessions < SESSIONS_MAX))
        session_create();
    else if (what < 6)
        session_change(&sessions[at]);
    else if (what < 8)
        part_delete(&sessions[at]);
    else if (what == 8 && n_sessions < SESSIONS_MAX)
        session_copy(&sessions[at]);
    else
        session_remove(at);
}

Test(random, what_follows_from_the_rows_stays_true)
{
    for (uint32_t round = 1; round <= 3; round++) {
        seed = round * 7919;
        n_sessions = 0;
        service_fixture_open(&fx, round);
        sports[0] = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
        sports[1] = fixture_ref(&fx, KAP_REF_KIND_SPORT, "football");
        level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
        for (uint32_t i = 0; i < COACHES; i++)
            coaches[i] = fixture_user(&fx, i == 0 ? "a@b" : i == 1 ? "c@d" : "e@f", KAP_ROLE_COACH);
        for (uint32_t i = 0; i < STEPS; i++) {
            step();
            if (i % 50 == 49)
                service_fixture_check(&fx);
            if (i == STEPS / 2)
                service_fixture_reopen(&fx);
        }
        service_fixture_close(&fx);
    }
}
