/* Who may do what: every role against own, club, public and foreign sessions. */
#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "proto/wire.h"

static struct service_fixture fx;
static struct kap_id sport, level, club;

enum { OWN, CLUB, PUBLIC, FOREIGN, PLACES };

static struct kap_id session_make(struct kap_principal owner, int32_t visibility, bool in_club)
{
    struct kap_session_save_request *request = fixture_session(&fx, sport, level, "S", 1, 1);
    struct kap_session_save_reply reply;
    request->session->has_visibility = true;
    request->session->visibility = visibility;
    request->session->has_club = in_club;
    request->session->club = club;
    cr_assert_eq(service_call(&fx, owner, KAP_OP_SESSION_SAVE, request, &reply, NULL), KAP_OK);
    return reply.id;
}

static void club_make(struct kap_principal founder, struct kap_principal member)
{
    struct kap_club row = {
        .has_name = true, .name = kap_bytes_str("HBC"), .has_slug = true, .slug = kap_bytes_str("hbc")};
    struct kap_club_save_request save = {.club = &row};
    struct kap_club_save_reply saved;
    cr_assert_eq(service_call(&fx, founder, KAP_OP_CLUB_SAVE, &save, &saved, NULL), KAP_OK);
    club = saved.id;
    struct kap_membership_set_request set = {.has_club = true, .club = club, .has_user = true, .user = member.user};
    cr_assert_eq(service_call(&fx, member, KAP_OP_MEMBERSHIP_SET, &set, NULL, NULL), KAP_FORBIDDEN);
    cr_assert_eq(service_call(&fx, founder, KAP_OP_MEMBERSHIP_SET, &set, NULL, NULL), KAP_OK);
}

static kap_status title_set(struct kap_principal who, struct kap_id id)
{
    struct kap_sys sys = {.has_id = true, .id = id};
    struct kap_session session = {.sys = &sys, .has_title = true, .title = kap_bytes_str("Changed")};
    struct kap_session_save_request request = {.session = &session};
    return service_call(&fx, who, KAP_OP_SESSION_SAVE, &request, NULL, NULL);
}

Test(rights, each_role_sees_and_changes_what_the_rules_say)
{
    service_fixture_open(&fx, 3);
    sport = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
    level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
    struct kap_principal owner = fixture_user(&fx, "owner@example.org", KAP_ROLE_COACH);
    struct {
        const char *email;
        enum kap_role role;
        kap_status write_denied; /* what a change of another's readable session is answered with */
        struct kap_principal who;
    } roles[] = {
        {"viewer@example.org", KAP_ROLE_VIEWER, KAP_FORBIDDEN, {{{0}}, 0}},
        {"coach@example.org", KAP_ROLE_COACH, KAP_FORBIDDEN, {{{0}}, 0}},
        {"expert@example.org", KAP_ROLE_EXPERT, KAP_FORBIDDEN, {{{0}}, 0}},
        {"curator@example.org", KAP_ROLE_CURATOR, KAP_FORBIDDEN, {{{0}}, 0}},
        {"admin@example.org", KAP_ROLE_ADMIN, KAP_OK, {{{0}}, 0}},
    };
    struct kap_principal member = fixture_user(&fx, "member@example.org", KAP_ROLE_COACH);
    club_make(owner, member);
    struct kap_id private = session_make(owner, KAP_VISIBILITY_PRIVATE, false);
    struct kap_id shared = session_make(owner, KAP_VISIBILITY_CLUB, true);
    struct kap_id public = session_make(owner, KAP_VISIBILITY_PUBLIC, false);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        struct kap_principal who = fixture_user(&fx, roles[i].email, roles[i].role);
        bool is_admin = roles[i].role == KAP_ROLE_ADMIN, may_write_op = roles[i].role != KAP_ROLE_VIEWER;
        const struct {
            struct kap_id id;
            bool reads;
        } places[] = {{private, is_admin}, {shared, is_admin}, {public, true}};
        for (size_t p = 0; p < 3; p++) {
            struct kap_session_get_request get = {.has_id = true, .id = places[p].id};
            cr_assert_eq(service_call(&fx, who, KAP_OP_SESSION_GET, &get, NULL, NULL),
                         places[p].reads ? KAP_OK : KAP_NOT_FOUND, "role %d place %zu", roles[i].role, p);
            kap_status want = !may_write_op || places[p].reads ? roles[i].write_denied : KAP_ALREADY_EXISTS;
            cr_assert_eq(title_set(who, places[p].id), want, "role %d place %zu", roles[i].role, p);
        }
    }
    struct kap_session_get_request get = {.has_id = true, .id = shared};
    cr_assert_eq(service_call(&fx, member, KAP_OP_SESSION_GET, &get, NULL, NULL), KAP_OK);
    cr_assert_eq(title_set(member, shared), KAP_FORBIDDEN);
    cr_assert_eq(title_set(owner, private), KAP_OK);
    service_fixture_close(&fx);
}

Test(rights, an_ops_token_reads_no_rows_and_a_service_acts_for_a_user)
{
    service_fixture_open(&fx, 4);
    sport = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
    level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_principal ops = {.roles = KAP_ROLE_BIT(KAP_ROLE_OPS)},
                         service = {.roles = KAP_ROLE_BIT(KAP_ROLE_SERVICE)};
    struct kap_id id = session_make(coach, KAP_VISIBILITY_PRIVATE, false);
    struct kap_session_get_request get = {.has_id = true, .id = id};
    struct kap_bytes body = kap_wire_encode_in(&kap_session_get_request_msg, &get, &fx.arena);
    struct kap_meta meta = {.has_on_behalf_of = true, .on_behalf_of = coach.user};
    cr_assert_eq(service_call(&fx, ops, KAP_OP_SESSION_GET, &get, NULL, NULL), KAP_FORBIDDEN);
    cr_assert_eq(service_call_raw(&fx, ops, KAP_OP_SESSION_GET, &meta, body, NULL, NULL), KAP_FORBIDDEN);
    cr_assert_eq(service_call(&fx, service, KAP_OP_SESSION_GET, &get, NULL, NULL), KAP_NOT_FOUND);
    cr_assert_eq(service_call_raw(&fx, service, KAP_OP_SESSION_GET, &meta, body, NULL, NULL), KAP_OK);
    struct kap_server_status_request status = {0};
    cr_assert_eq(service_call(&fx, ops, KAP_OP_SERVER_STATUS, &status, NULL, NULL), KAP_OK);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SERVER_STATUS, &status, NULL, NULL), KAP_FORBIDDEN);
    service_fixture_close(&fx);
}

Test(rights, of_another_account_only_what_its_profile_tells_is_shown)
{
    service_fixture_open(&fx, 5);
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_principal other = fixture_user(&fx, "other@example.org", KAP_ROLE_COACH);
    struct kap_user_get_request get = {.has_id = true, .id = coach.user};
    struct kap_user_get_reply reply;
    cr_assert_eq(service_call(&fx, other, KAP_OP_USER_GET, &get, &reply, NULL), KAP_OK);
    cr_assert_not(reply.user->has_email);
    cr_assert_not(reply.profile->has_phone);
    cr_assert(reply.profile->has_full_name);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_USER_GET, &get, &reply, NULL), KAP_OK);
    cr_assert(reply.user->has_email);
    cr_assert(reply.profile->has_phone);
    struct kap_user_find_request find = {.has_email = true, .email = kap_bytes_str("COACH@example.org")};
    cr_assert_eq(service_call(&fx, other, KAP_OP_USER_FIND, &find, NULL, NULL), KAP_NOT_FOUND);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_USER_FIND, &find, NULL, NULL), KAP_OK);
    service_fixture_close(&fx);
}

Test(rights, a_token_is_told_once_and_opens_the_door_until_it_is_revoked)
{
    service_fixture_open(&fx, 6);
    struct kap_token_create_request create = {
        .has_name = true, .name = kap_bytes_str("backend"), .has_role = true, .role = KAP_ROLE_SERVICE};
    struct kap_token_create_reply made;
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_TOKEN_CREATE, &create, &made, NULL), KAP_OK);
    cr_assert(kap_bytes_starts(made.token, kap_bytes_str("kap_")));
    struct kap_principal who;
    struct kap_read_context context;
    struct kap_view view;
    kap_store_context_init(fx.store, &context);
    kap_store_view_begin(fx.store, &view, &context);
    cr_assert_eq(kap_access_by_token(&view, &fx.arena, made.token, 0, &who), KAP_OK);
    cr_assert_eq(who.roles, KAP_ROLE_BIT(KAP_ROLE_SERVICE));
    cr_assert_eq(kap_access_by_token(&view, &fx.arena, kap_bytes_str("kap_nothing"), 0, &who), KAP_BAD_CREDENTIALS);
    kap_store_view_end(fx.store, &view);
    struct kap_token_revoke_request revoke = {.has_id = true, .id = made.id};
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_TOKEN_REVOKE, &revoke, NULL, NULL), KAP_OK);
    kap_store_view_begin(fx.store, &view, &context);
    cr_assert_eq(kap_access_by_token(&view, &fx.arena, made.token, 0, &who), KAP_BAD_CREDENTIALS);
    kap_store_view_end(fx.store, &view);
    kap_read_context_release(&context);
    fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball"); /* a store with rows, for the check at the end */
    service_fixture_close(&fx);
}
