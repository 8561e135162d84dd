/* Comments, favourites, notifications. */
#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "engine/base/assert.h"
#include "proto/wire.h"

static struct service_fixture fx;
static struct kap_principal coach, other, third;
static struct kap_id session;

#define TEXT(FIELD, VALUE) .has_##FIELD = true, .FIELD = kap_bytes_str(VALUE)
#define SET(FIELD, VALUE) .has_##FIELD = true, .FIELD = VALUE

static void world_open(int32_t visibility)
{
    service_fixture_open(&fx, 31);
    struct kap_id sport = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
    struct kap_id level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
    coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    other = fixture_user(&fx, "other@example.org", KAP_ROLE_COACH);
    third = fixture_user(&fx, "third@example.org", KAP_ROLE_VIEWER);
    struct kap_session_save_request *save = fixture_session(&fx, sport, level, "Tuesday", 1, 1);
    save->session->has_visibility = true;
    save->session->visibility = visibility;
    struct kap_session_save_reply saved;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, save, &saved, NULL), KAP_OK);
    session = saved.id;
}

static kap_status comment_put(struct kap_principal who, struct kap_comment row, struct kap_comment_put_reply *reply,
                              struct kap_error_reply *error)
{
    struct kap_comment_put_request put = {.comment = &row};
    return service_call(&fx, who, KAP_OP_COMMENT_PUT, &put, reply, error);
}

static struct kap_id said(struct kap_principal who, const char *text, const struct kap_id *parent)
{
    struct kap_comment_put_reply reply;
    struct kap_comment row = {SET(session, session), TEXT(content, text), .has_parent = parent != NULL};
    if (parent)
        row.parent = *parent;
    cr_assert_eq(comment_put(who, row, &reply, NULL), KAP_OK);
    cr_assert_eq(reply.rev, 1);
    return reply.id;
}

static struct kap_comment_list_reply listed(struct kap_principal who, struct kap_comment_list_request list)
{
    struct kap_list_page page = {SET(want_count, true)};
    struct kap_comment_list_reply reply;
    list.page = &page;
    cr_assert_eq(service_call(&fx, who, KAP_OP_COMMENT_LIST, &list, &reply, NULL), KAP_OK);
    cr_assert(reply.end->total_is_exact);
    return reply;
}

Test(comments, make_threads_that_are_listed_by_session_parent_and_author)
{
    world_open(KAP_VISIBILITY_PUBLIC);
    struct kap_id first = said(other, "Nice", NULL), second = said(third, "Hm", NULL);
    struct kap_id answer = said(coach, "Thanks", &first);
    struct kap_comment_list_reply reply = listed(third, (struct kap_comment_list_request){SET(session, session)});
    cr_assert_eq(reply.end->total, 3);
    cr_assert(kap_id_eq(reply.comments[0].sys->id, first) && kap_id_eq(reply.comments[1].sys->id, second));
    cr_assert(kap_id_eq(reply.comments[2].author, coach.user));
    reply = listed(third, (struct kap_comment_list_request){SET(session, session), SET(top, true)});
    cr_assert_eq(reply.end->total, 2);
    cr_assert_eq(reply.n_comments, 2);
    reply = listed(third, (struct kap_comment_list_request){SET(parent, first)});
    cr_assert_eq(reply.end->total, 1);
    cr_assert(kap_id_eq(reply.comments[0].sys->id, answer));
    reply = listed(third, (struct kap_comment_list_request){SET(author, other.user)});
    cr_assert_eq(reply.n_comments, 1);
    struct kap_comment_list_request both = {SET(session, session), SET(author, other.user)};
    cr_assert_eq(service_call(&fx, third, KAP_OP_COMMENT_LIST, &both, NULL, NULL), KAP_INVALID);
    service_fixture_close(&fx);
}

Test(comments, go_four_replies_deep_and_stay_in_their_session)
{
    world_open(KAP_VISIBILITY_PUBLIC);
    struct kap_id above = said(other, "0", NULL);
    for (int depth = 1; depth <= 4; depth++)
        above = said(other, "deeper", &above);
    struct kap_error_reply error;
    struct kap_comment_put_reply reply;
    struct kap_comment row = {SET(session, session), SET(parent, above), TEXT(content, "too deep")};
    cr_assert_eq(comment_put(other, row, &reply, &error), KAP_INVALID);
    cr_assert(kap_bytes_eq(error.faults[0].path, kap_bytes_str("comment.parent")));
    cr_assert(kap_bytes_eq(error.faults[0].code, kap_bytes_str("too_deep")));
    row = (struct kap_comment){SET(session, session)};
    cr_assert_eq(comment_put(other, row, &reply, &error), KAP_INVALID);
    cr_assert(kap_bytes_eq(error.faults[0].path, kap_bytes_str("comment.content")));
    service_fixture_close(&fx);
}

Test(comments, belong_to_their_author_and_one_rating_counts)
{
    world_open(KAP_VISIBILITY_PUBLIC);
    struct kap_comment_put_reply reply, again;
    struct kap_comment row = {SET(session, session), TEXT(content, "Good"), SET(rating, 4)};
    cr_assert_eq(comment_put(other, row, &reply, NULL), KAP_OK);
    cr_assert_eq(comment_put(other, row, &again, NULL), KAP_UNIQUE);
    row.rating = 5;
    cr_assert_eq(comment_put(third, row, &again, NULL), KAP_OK);
    struct kap_comment_list_reply list = listed(third, (struct kap_comment_list_request){SET(session, session)});
    cr_assert_eq(list.ratings, 2);
    cr_assert_eq(list.rating_sum, 9);
    struct kap_sys sys = {SET(id, reply.id)};
    row = (struct kap_comment){.sys = &sys, TEXT(content, "I never said so")};
    cr_assert_eq(comment_put(coach, row, &again, NULL), KAP_FORBIDDEN); /* the owner of the session */
    cr_assert_eq(comment_put(third, row, &again, NULL), KAP_FORBIDDEN);
    row = (struct kap_comment){.sys = &sys, SET(resolved, true)};
    cr_assert_eq(comment_put(third, row, &again, NULL), KAP_FORBIDDEN);
    cr_assert_eq(comment_put(coach, row, &again, NULL), KAP_OK);
    cr_assert_eq(again.rev, 2);
    row = (struct kap_comment){.sys = &sys, TEXT(content, "Very good")};
    cr_assert_eq(comment_put(other, row, &again, NULL), KAP_OK);
    list = listed(third, (struct kap_comment_list_request){SET(author, other.user)});
    cr_assert(list.comments[0].has_edited_at && list.comments[0].resolved);
    service_fixture_close(&fx);
}

Test(comments, of_a_hidden_session_are_hidden_with_it)
{
    world_open(KAP_VISIBILITY_PRIVATE);
    struct kap_comment_put_reply reply;
    struct kap_comment row = {SET(session, session), TEXT(content, "Let me in")};
    cr_assert_eq(comment_put(other, row, &reply, NULL), KAP_INVALID); /* reference to nothing */
    said(coach, "Note to myself", NULL);
    struct kap_comment_list_request list = {SET(session, session)};
    cr_assert_eq(service_call(&fx, other, KAP_OP_COMMENT_LIST, &list, NULL, NULL), KAP_NOT_FOUND);
    struct kap_comment_list_reply found = listed(other, (struct kap_comment_list_request){SET(author, coach.user)});
    cr_assert_eq(found.n_comments, 0);
    cr_assert_eq(found.end->total, 0);
    service_fixture_close(&fx);
}

Test(comments, with_replies_leave_their_place_when_deleted)
{
    world_open(KAP_VISIBILITY_PUBLIC);
    struct kap_id first = said(other, "Nice", NULL), answer = said(coach, "Thanks", &first);
    struct kap_row_delete_request delete = {SET(kind, KAP_KIND_COMMENT), SET(id, first)};
    cr_assert_eq(service_call(&fx, third, KAP_OP_ROW_DELETE, &delete, NULL, NULL), KAP_FORBIDDEN);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_ROW_DELETE, &delete, NULL, NULL), KAP_OK);
    struct kap_comment_list_reply list = listed(third, (struct kap_comment_list_request){SET(session, session)});
    cr_assert_eq(list.end->total, 2);
    cr_assert(list.comments[0].has_removed_at && !list.comments[0].has_content);
    struct kap_comment_put_reply reply;
    struct kap_comment row = {SET(session, session), SET(parent, first), TEXT(content, "To nobody")};
    cr_assert_eq(comment_put(third, row, &reply, NULL), KAP_INVALID);
    struct kap_sys sys = {SET(id, first)};
    row = (struct kap_comment){.sys = &sys, TEXT(content, "Back")};
    cr_assert_eq(comment_put(other, row, &reply, NULL), KAP_STATE_CONFLICT);
    delete.id = answer;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_ROW_DELETE, &delete, NULL, NULL), KAP_OK);
    delete.id = first;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_ROW_DELETE, &delete, NULL, NULL), KAP_OK);
    list = listed(third, (struct kap_comment_list_request){SET(session, session)});
    cr_assert_eq(list.end->total, 0);
    said(other, "Again", NULL);
    struct kap_session_delete_request gone = {SET(id, session)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_DELETE, &gone, NULL, NULL), KAP_OK);
    list = listed(other, (struct kap_comment_list_request){SET(author, other.user)});
    cr_assert_eq(list.end->total, 0);
    service_fixture_close(&fx);
}

static struct kap_notification_list_reply inbox(struct kap_principal who, int32_t state)
{
    struct kap_list_page page = {SET(want_count, true)};
    struct kap_notification_list_request list = {.page = &page, .has_state = state != 0, .state = state};
    struct kap_notification_list_reply reply;
    cr_assert_eq(service_call(&fx, who, KAP_OP_NOTIFICATION_LIST, &list, &reply, NULL), KAP_OK);
    return reply;
}

Test(notifications, tell_owners_and_authors_and_are_marked_as_read)
{
    world_open(KAP_VISIBILITY_PUBLIC);
    struct kap_id first = said(other, "Nice", NULL);
    said(third, "Yes", &first);
    said(coach, "Thanks", &first); /* nobody is told of their own words */
    struct kap_notification_list_reply list = inbox(coach, 0);
    cr_assert_eq(list.end->total, 2);
    cr_assert_eq(list.unread, 2);
    cr_assert(kap_bytes_eq(list.notifications[1].topic, kap_bytes_str("comment.new")));
    cr_assert(kap_bytes_eq(list.notifications[1].message, kap_bytes_str("Someone commented on Tuesday")));
    cr_assert(kap_id_eq(list.notifications[1].object, first));
    struct kap_id one = list.notifications[1].sys->id;
    cr_assert_eq(inbox(other, 0).end->total, 2);
    cr_assert_eq(inbox(third, 0).end->total, 0);
    struct kap_notification_mark_request mark = {.n_ids = 1, .ids = &one};
    struct kap_notification_mark_reply marked;
    cr_assert_eq(service_call(&fx, other, KAP_OP_NOTIFICATION_MARK, &mark, NULL, NULL), KAP_NOT_FOUND);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_NOTIFICATION_MARK, &mark, &marked, NULL), KAP_OK);
    cr_assert_eq(marked.changed, 1);
    cr_assert_eq(marked.unread, 1);
    list = inbox(coach, KAP_NOTIFICATION_STATE_UNREAD);
    cr_assert_eq(list.n_notifications, 1);
    cr_assert_eq(list.end->total, 1);
    list = inbox(coach, 0);
    cr_assert(kap_id_eq(list.notifications[1].sys->id, one) && list.notifications[1].has_read_at); /* unread first */
    mark = (struct kap_notification_mark_request){SET(all, true)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_NOTIFICATION_MARK, &mark, &marked, NULL), KAP_OK);
    cr_assert_eq(marked.changed, 1);
    cr_assert_eq(marked.unread, 0);
    mark = (struct kap_notification_mark_request){SET(all, true), SET(state, KAP_NOTIFICATION_STATE_UNREAD)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_NOTIFICATION_MARK, &mark, &marked, NULL), KAP_OK);
    cr_assert_eq(marked.unread, 2);
    mark = (struct kap_notification_mark_request){0};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_NOTIFICATION_MARK, &mark, NULL, NULL), KAP_INVALID);
    service_fixture_close(&fx);
}

Test(favorites, are_ones_own_counted_for_all_and_go_with_their_target)
{
    world_open(KAP_VISIBILITY_PUBLIC);
    struct kap_favorite_set_request set = {SET(target_kind, KAP_KIND_SESSION), SET(target, session), TEXT(folder, "A")};
    struct kap_favorite_set_reply reply;
    cr_assert_eq(service_call(&fx, other, KAP_OP_FAVORITE_SET, &set, &reply, NULL), KAP_OK);
    cr_assert_eq(reply.favorites, 1);
    cr_assert_eq(service_call(&fx, other, KAP_OP_FAVORITE_SET, &set, &reply, NULL), KAP_OK); /* the same again */
    cr_assert_eq(reply.favorites, 1);
    set.has_folder = false;
    cr_assert_eq(service_call(&fx, third, KAP_OP_FAVORITE_SET, &set, &reply, NULL), KAP_OK);
    cr_assert_eq(reply.favorites, 2);
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_FAVORITE_SET, &set, NULL, NULL), KAP_FORBIDDEN); /* no account */
    struct kap_list_page page = {SET(want_count, true)};
    struct kap_favorite_list_request list = {.page = &page};
    struct kap_favorite_list_reply listed_out;
    cr_assert_eq(service_call(&fx, other, KAP_OP_FAVORITE_LIST, &list, &listed_out, NULL), KAP_OK);
    cr_assert_eq(listed_out.n_favorites, 1);
    cr_assert_eq(listed_out.end->total, 1);
    cr_assert(kap_bytes_eq(listed_out.favorites[0].folder, kap_bytes_str("A")));
    list = (struct kap_favorite_list_request){SET(target_kind, KAP_KIND_SESSION), SET(target, session)};
    cr_assert_eq(service_call(&fx, other, KAP_OP_FAVORITE_LIST, &list, &listed_out, NULL), KAP_OK);
    cr_assert_eq(listed_out.n_favorites, 1);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_FAVORITE_LIST, &list, &listed_out, NULL), KAP_OK);
    cr_assert_eq(listed_out.n_favorites, 0);
    set.has_remove = set.remove = true;
    cr_assert_eq(service_call(&fx, third, KAP_OP_FAVORITE_SET, &set, &reply, NULL), KAP_OK);
    cr_assert(!reply.is_favorite && reply.favorites == 1);
    cr_assert_eq(service_call(&fx, third, KAP_OP_FAVORITE_SET, &set, &reply, NULL), KAP_OK);
    struct kap_session_delete_request gone = {SET(id, session)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_DELETE, &gone, NULL, NULL), KAP_OK);
    list = (struct kap_favorite_list_request){.page = &page};
    cr_assert_eq(service_call(&fx, other, KAP_OP_FAVORITE_LIST, &list, &listed_out, NULL), KAP_OK);
    cr_assert_eq(listed_out.end->total, 0);
    set = (struct kap_favorite_set_request){SET(target_kind, KAP_KIND_SESSION), SET(target, session)};
    cr_assert_eq(service_call(&fx, other, KAP_OP_FAVORITE_SET, &set, NULL, NULL), KAP_INVALID);
    service_fixture_close(&fx);
}
