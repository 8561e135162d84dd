#include "engine/base/assert.h"
#include "engine/index/index.h"
#include "server/handlers/handlers.h"

static struct kap_sys *sys_with_id(struct kap_run *run, struct kap_id id)
{
    struct kap_sys *sys = kap_arena_push(run->arena, sizeof *sys);
    if (sys)
        *sys = (struct kap_sys){.has_id = true, .id = id};
    return sys;
}

/* A service signs people up; only an administrator makes one of them more than an expert. */
static kap_status roles_check(struct kap_run *run, const struct kap_user *user, const struct kap_path *path)
{
    struct kap_path here = {path, "roles", 0};
    bool is_admin = kap_access_is(&run->access, KAP_ROLE_ADMIN);
    for (size_t i = 0; i < user->n_roles; i++) {
        here.slot = (int64_t)i;
        if (user->roles[i] >= KAP_ROLE_CURATOR && !is_admin)
            kap_faults_add(&run->model.faults, &here, "not_allowed", "only an administrator gives the role %s",
                           kap_enum_name(&kap_role_enum, user->roles[i]));
    }
    return run->model.faults.n_total > 0 ? KAP_INVALID : KAP_OK;
}

kap_status handle_user_create(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_user_create_request *request = request_bytes;
    struct kap_user_create_reply *reply = reply_bytes;
    static const struct kap_path user_path = {NULL, "user", -1}, profile_path = {NULL, "profile", -1};
    const struct kap_put put = {
        .kind = KAP_KIND_USER, .message = request->user, .path = &user_path, .is_trusted = true, .create_only = true};
    struct kap_put_result result, ignored;
    kap_status status = roles_check(run, request->user, &user_path);
    if (status == KAP_OK)
        status = kap_model_put(&run->model, &put, &result);
    if (status != KAP_OK)
        return status;
    if (request->profile) {
        request->profile->sys = sys_with_id(run, result.row.id);
        request->profile->has_user = true;
        request->profile->user = result.row.id;
        const struct kap_put profile = {.kind = KAP_KIND_PROFILE,
                                        .message = request->profile,
                                        .path = &profile_path,
                                        .is_trusted = true,
                                        .create_only = true};
        status = request->profile->sys ? kap_model_put(&run->model, &profile, &ignored) : KAP_NO_MEMORY;
    }
    reply->has_id = true;
    reply->id = result.row.id;
    reply->has_rev = true;
    reply->rev = result.rev;
    return status;
}

/* A profile is public, an account is not: of another's account only what the profile tells anyway. */
static kap_status user_fill(struct kap_run *run, struct kap_id id, struct kap_user **user_out,
                            struct kap_profile **profile_out)
{
    struct kap_row row;
    void *message;
    bool may;
    kap_status status = kap_model_find(&run->model, KAP_KIND_PROFILE, id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(&run->model, KAP_KIND_PROFILE, row.bytes, &message);
    if (status == KAP_OK) {
        kap_access_mask(&run->access, KAP_KIND_PROFILE, id, message);
        *profile_out = message;
    }
    if (status == KAP_OK || status == KAP_NOT_FOUND)
        status = kap_model_find(&run->model, KAP_KIND_USER, id, &row);
    if (status == KAP_OK)
        status = kap_model_may(&run->model, KAP_MAY_READ, &row, &may);
    if (status == KAP_OK && !may && !*profile_out)
        status = KAP_NOT_FOUND;
    if (status == KAP_OK)
        status = kap_model_decode(&run->model, KAP_KIND_USER, row.bytes, &message);
    if (status == KAP_NOT_FOUND)
        return kap_model_refuse_row(&run->model, status, KAP_KIND_USER, id,
                                    "there is no such user, or none you may see");
    if (status != KAP_OK)
        return status;
    kap_access_mask(&run->access, KAP_KIND_USER, id, message);
    *user_out = message;
    return KAP_OK;
}

/* What only the account itself is told. */
static kap_status private_fill(struct kap_run *run, struct kap_id id, struct kap_user_get_reply *reply)
{
    struct kap_key key;
    struct kap_row row;
    void *message;
    bool may = false;
    kap_status status = kap_model_find(&run->model, KAP_KIND_USER, id, &row);
    if (status == KAP_OK)
        status = kap_model_may(&run->model, KAP_MAY_READ, &row, &may);
    if (status != KAP_OK || !may)
        return status;
    reply->counts = kap_arena_push(run->arena, sizeof *reply->counts);
    if (!reply->counts)
        return KAP_NO_MEMORY;
    *reply->counts = (struct kap_user_counts){.has_sessions = true};
    kap_index_count_key_init(&key, KAP_INDEX_SESSION_BY_OWNER);
    kap_key_put_id(&key, id);
    status = kap_model_count(&run->model, &key, &reply->counts->sessions);
    if (status == KAP_OK)
        status = kap_model_find(&run->model, KAP_KIND_PREFERENCES, id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(&run->model, KAP_KIND_PREFERENCES, row.bytes, &message);
    if (status == KAP_OK)
        reply->preferences = message;
    return status == KAP_NOT_FOUND ? KAP_OK : status;
}

kap_status handle_user_get(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_user_get_request *request = request_bytes;
    struct kap_user_get_reply *reply = reply_bytes;
    kap_status status = user_fill(run, request->id, &reply->user, &reply->profile);
    return status == KAP_OK ? private_fill(run, request->id, reply) : status;
}

kap_status handle_user_find(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_user_find_request *request = request_bytes;
    struct kap_user_find_reply *reply = reply_bytes;
    struct kap_unique_value value = {.bytes = request->has_email ? request->email : request->username};
    struct kap_path path = {NULL, "email", -1};
    struct kap_row row;
    struct kap_id id;
    bool may = true;
    if (request->has_email == request->has_username) {
        kap_faults_add(&run->model.faults, &path, "one_of", "give email or username, one of them");
        return KAP_INVALID;
    }
    uint16_t unique = request->has_email ? KAP_UNIQUE_USER_EMAIL : KAP_UNIQUE_PROFILE_USERNAME;
    kap_status status = kap_model_find_unique(&run->model, unique, &value, &id);
    if (status == KAP_OK && request->has_email) { /* an address is found by those who may read it */
        status = kap_model_find(&run->model, KAP_KIND_USER, id, &row);
        if (status == KAP_OK)
            status = kap_model_may(&run->model, KAP_MAY_READ, &row, &may);
    }
    if (status == KAP_NOT_FOUND || (status == KAP_OK && !may))
        return kap_model_refuse(&run->model, KAP_NOT_FOUND, "there is no such user, or none you may see");
    return status == KAP_OK ? user_fill(run, id, &reply->user, &reply->profile) : status;
}

/* A row that goes with an account under its id: one's own unless the message names another. */
#define ACCOUNT_ROW_SAVE(NAME, KIND)                                                                                   \
    kap_status handle_##NAME##_save(struct kap_run *run, void *request_bytes, void *reply_bytes)                       \
    {                                                                                                                  \
        const struct kap_##NAME##_save_request *request = request_bytes;                                               \
        struct kap_##NAME##_save_reply *reply = reply_bytes;                                                           \
        static const struct kap_path path = {NULL, #NAME, -1};                                                         \
        struct kap_##NAME *row = request->NAME;                                                                        \
        struct kap_id id = run->access.principal.user;                                                                 \
        struct kap_put_result result;                                                                                  \
        if (row->sys && row->sys->has_id)                                                                              \
            id = row->sys->id;                                                                                         \
        else if (row->has_user)                                                                                        \
            id = row->user;                                                                                            \
        row->sys = sys_with_id(run, id);                                                                               \
        row->has_user = true;                                                                                          \
        row->user = id;                                                                                                \
        if (!row->sys)                                                                                                 \
            return KAP_NO_MEMORY;                                                                                      \
        const struct kap_put put = {.kind = KIND,                                                                      \
                                    .message = row,                                                                    \
                                    .clear = request->clear,                                                           \
                                    .n_clear = request->n_clear,                                                       \
                                    .has_expected_rev = request->has_expected_rev,                                     \
                                    .expected_rev = request->expected_rev,                                             \
                                    .path = &path};                                                                    \
        kap_status status = kap_model_put(&run->model, &put, &result);                                                 \
        reply->has_rev = status == KAP_OK;                                                                             \
        reply->rev = status == KAP_OK ? result.rev : 0;                                                                \
        return status;                                                                                                 \
    }

ACCOUNT_ROW_SAVE(profile, KAP_KIND_PROFILE)
ACCOUNT_ROW_SAVE(preferences, KAP_KIND_PREFERENCES)
