/* Pages of everything: the model makes them, these say for whom. */
#include "engine/index/index.h"
#include "engine/model/exercise.h"
#include "engine/model/ref_list.h"
#include "engine/model/row_list.h"
#include "engine/model/session.h"
#include "server/handlers/handlers.h"

#define LIST_HANDLER(NAME)                                                                                             \
    kap_status handle_##NAME##_list(struct kap_run *run, void *request_bytes, void *reply_bytes)                       \
    {                                                                                                                  \
        struct kap_list_scope scope;                                                                                   \
        kap_service_list_scope(run, &scope);                                                                           \
        return kap_##NAME##_list(&run->model, &scope, request_bytes, reply_bytes);                                     \
    }

LIST_HANDLER(session)
LIST_HANDLER(exercise)
LIST_HANDLER(ref)

kap_status handle_session_clone(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_session_clone_request *request = request_bytes;
    if (!request->has_owner && kap_id_is_nil(run->access.principal.user)) {
        struct kap_path path = {NULL, "owner", -1};
        kap_faults_add(&run->model.faults, &path, "required", "you have no account: say whose the copy is");
        return KAP_INVALID;
    }
    return kap_session_clone(&run->model, request, reply_bytes);
}

kap_status handle_exercise_get(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    return kap_exercise_get(&run->model, request_bytes, reply_bytes);
}

static bool user_wanted(void *context, const void *message)
{
    const struct kap_user_list_request *request = context;
    return ((const struct kap_user *)message)->status == request->status;
}

/* Users are counted by status; a filter by status needs no scan for its total. */
static enum kap_bucket user_bucket(void *context, const uint64_t *parts, uint32_t n_parts)
{
    (void)context;
    (void)parts;
    (void)n_parts;
    return KAP_BUCKET_VISIBLE; /* only for those who see every account */
}

kap_status handle_user_list(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    struct kap_user_list_request *request = request_bytes, unpaged = *request;
    struct kap_user_list_reply *reply = reply_bytes;
    struct kap_list_scope scope;
    struct kap_row_list list = {
        .kind = KAP_KIND_USER,
        .listing = {.scope = &scope, .page = request->page, .index = KAP_INDEX_USER_ALL, .bucket = user_bucket},
        .wanted = request->has_status ? user_wanted : NULL,
        .context = request};
    kap_service_list_scope(run, &scope);
    kap_index_key_init(&list.listing.prefix, KAP_INDEX_USER_ALL);
    unpaged.page = NULL;
    kap_status status =
        kap_row_list_digest(&run->model, &kap_user_list_request_msg, &unpaged, &list.listing.filter_digest);
    if (status == KAP_OK)
        status = kap_row_list_run(&run->model, &list, &reply->end);
    if (status != KAP_OK)
        return status;
    reply->users = kap_arena_push(run->arena, list.n * sizeof *reply->users + 1);
    if (!reply->users)
        return KAP_NO_MEMORY;
    for (; reply->n_users < list.n; reply->n_users++) {
        const struct kap_user *user = list.messages[reply->n_users];
        reply->users[reply->n_users] = (struct kap_user_card){.has_id = true,
                                                              .id = user->sys->id,
                                                              .has_email = true,
                                                              .email = user->email,
                                                              .has_status = true,
                                                              .status = user->status,
                                                              .n_roles = user->n_roles,
                                                              .roles = user->roles,
                                                              .has_created_at = true,
                                                              .created_at = user->sys->created_at};
    }
    return KAP_OK;
}

kap_status handle_token_list(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_token_list_request *request = request_bytes;
    struct kap_token_list_reply *reply = reply_bytes;
    struct kap_list_scope scope;
    struct kap_row_list list = {.kind = KAP_KIND_AUTH_TOKEN,
                                .listing = {.scope = &scope, .page = request->page, .index = KAP_INDEX_TOKEN_ALL}};
    kap_service_list_scope(run, &scope);
    kap_index_key_init(&list.listing.prefix, KAP_INDEX_TOKEN_ALL);
    kap_status status = kap_row_list_run(&run->model, &list, &reply->end);
    if (status != KAP_OK)
        return status;
    reply->tokens = kap_arena_push(run->arena, list.n * sizeof *reply->tokens + 1);
    if (!reply->tokens)
        return KAP_NO_MEMORY;
    for (; reply->n_tokens < list.n; reply->n_tokens++) {
        const struct kap_auth_token *token = list.messages[reply->n_tokens];
        reply->tokens[reply->n_tokens] = (struct kap_token_card){.has_id = true,
                                                                 .id = token->sys->id,
                                                                 .has_name = true,
                                                                 .name = token->name,
                                                                 .has_kind = token->has_kind,
                                                                 .kind = token->kind,
                                                                 .has_role = token->has_role,
                                                                 .role = token->role,
                                                                 .has_user = token->has_user,
                                                                 .user = token->user,
                                                                 .has_created_at = true,
                                                                 .created_at = token->sys->created_at,
                                                                 .has_expires_at = token->has_expires_at,
                                                                 .expires_at = token->expires_at};
    }
    return KAP_OK;
}

static kap_status members_list(struct kap_run *run, const struct kap_club_get_request *request, struct kap_id club,
                               struct kap_club_get_reply *reply)
{
    struct kap_list_scope scope;
    struct kap_row_list list = {
        .kind = KAP_KIND_MEMBERSHIP,
        .listing = {.scope = &scope, .page = request->members, .index = KAP_INDEX_MEMBERSHIP_BY_CLUB}};
    kap_service_list_scope(run, &scope);
    kap_index_key_init(&list.listing.prefix, KAP_INDEX_MEMBERSHIP_BY_CLUB);
    kap_key_put_id(&list.listing.prefix, club);
    kap_status status = kap_row_list_run(&run->model, &list, &reply->end);
    if (status != KAP_OK)
        return status;
    reply->members = kap_arena_push(run->arena, list.n * sizeof *reply->members + 1);
    if (!reply->members)
        return KAP_NO_MEMORY;
    for (; reply->n_members < list.n; reply->n_members++)
        reply->members[reply->n_members] = *(struct kap_membership *)list.messages[reply->n_members];
    return KAP_OK;
}

kap_status handle_club_get(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_club_get_request *request = request_bytes;
    struct kap_club_get_reply *reply = reply_bytes;
    struct kap_path path = {NULL, "id", -1};
    struct kap_id id = request->id;
    struct kap_row row;
    void *club;
    kap_status status = KAP_OK;
    if (request->has_id == request->has_slug) {
        kap_faults_add(&run->model.faults, &path, "one_of", "give id or slug, one of them");
        return KAP_INVALID;
    }
    if (request->has_slug) {
        const struct kap_unique_value slug = {.bytes = request->slug};
        status = kap_model_find_unique(&run->model, KAP_UNIQUE_CLUB_SLUG, &slug, &id);
        if (status == KAP_NOT_FOUND)
            return kap_model_refuse(&run->model, status, "there is no such club");
    }
    if (status == KAP_OK)
        status = kap_model_get(&run->model, KAP_KIND_CLUB, id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(&run->model, KAP_KIND_CLUB, row.bytes, &club);
    if (status != KAP_OK)
        return status;
    reply->club = club;
    return request->members ? members_list(run, request, id, reply) : KAP_OK;
}
