#include "server/auth.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/base/log.h"
#include "proto/kap_requests.h"

enum {
    PROTOCOL_VERSION = 1,
    FRAME_BYTES_MIN = 4096,
    LIST_MAX = 200,
    BATCH_OPS_MAX = 1000,
    BATCH_BYTES_MAX = 4 * 1024 * 1024,
    TREE_ROWS_MAX = 1000,
};

static uint16_t role_of_uid(const struct kap_auth *auth, uint32_t uid)
{
    for (uint32_t i = 0; i < auth->n_uids; i++)
        if (auth->uids[i].uid == uid)
            return (uint16_t)KAP_ROLE_BIT(auth->uids[i].role);
    return uid == auth->owner_uid ? KAP_ROLE_BIT(KAP_ROLE_ADMIN) : 0;
}

static kap_status principal_of(struct kap_run *run, const struct kap_auth *auth, const struct kap_peer *peer,
                               const struct kap_hello_request *hello, struct kap_principal *principal_out)
{
    if (hello->has_token && hello->token.len > 0)
        return kap_access_by_token(run->access.view, run->arena, hello->token,
                                   kap_env_wall_us(kap_store_env(kap_service_store(run->service))), principal_out);
    *principal_out = (struct kap_principal){0};
    if (peer->kind != KAP_PEER_UNIX)
        return KAP_UNAUTHENTICATED;
    principal_out->roles = role_of_uid(auth, peer->uid);
    memcpy(principal_out->credential.bytes, "unix uid", 8); /* no UUID: the version would be 7 */
    kap_le32_store(principal_out->credential.bytes + 12, peer->uid);
    if (principal_out->roles != 0)
        return KAP_OK;
    kap_log(KAP_LOG_WARN, "auth", "msg=\"refused: give this uid a role in auth.unix_roles or send a token\" uid=%u",
            peer->uid);
    return KAP_FORBIDDEN;
}

static int32_t highest_role(uint16_t roles)
{
    static const uint8_t order[] = {KAP_ROLE_ADMIN,   KAP_ROLE_OPS,    KAP_ROLE_SERVICE, KAP_ROLE_AUDITOR,
                                    KAP_ROLE_CURATOR, KAP_ROLE_EXPERT, KAP_ROLE_COACH,   KAP_ROLE_VIEWER};
    for (size_t i = 0; i < sizeof order; i++)
        if (roles & KAP_ROLE_BIT(order[i]))
            return order[i];
    return KAP_ROLE_UNSPECIFIED;
}

static struct kap_server_limits *limits_of(struct kap_arena *arena, const struct kap_connection_options *options,
                                           uint32_t frame_bytes_max)
{
    struct kap_server_limits *limits = kap_arena_push(arena, sizeof *limits);
    if (!limits)
        return NULL;
    *limits = (struct kap_server_limits){.has_max_frame = true,
                                         .max_frame = frame_bytes_max,
                                         .has_max_in_flight = true,
                                         .max_in_flight = options->in_flight_max,
                                         .has_max_batch_ops = true,
                                         .max_batch_ops = BATCH_OPS_MAX,
                                         .has_max_batch_bytes = true,
                                         .max_batch_bytes = BATCH_BYTES_MAX,
                                         .has_max_list = true,
                                         .max_list = LIST_MAX,
                                         .has_max_tree_rows = true,
                                         .max_tree_rows = TREE_ROWS_MAX,
                                         .has_max_nesting = true,
                                         .max_nesting = KAP_MESSAGE_DEPTH_MAX,
                                         .has_idle_ping_s = true,
                                         .idle_ping_s = options->idle_ping_s};
    return limits;
}

/* Pure until the end: it may run again when a token's blocks had to be read first. */
static kap_status hello_run(struct kap_run *run, void *request, void *reply)
{
    const struct kap_auth *auth = kap_service_handler_context(run);
    struct kap_connection *connection = kap_connection_of_call(run->call);
    const struct kap_peer *peer = kap_connection_peer(connection);
    const struct kap_hello_request *hello = request;
    struct kap_hello_reply *welcome = reply;
    struct kap_store *store = kap_service_store(run->service);
    struct kap_principal principal;
    if (hello->protocol_min > PROTOCOL_VERSION || hello->protocol_max < PROTOCOL_VERSION)
        return KAP_UNSUPPORTED_VERSION;
    if (hello->has_expected_server && !kap_id_eq(hello->expected_server, kap_store_id(store)))
        return KAP_GUARD_FAILED;
    kap_status status = principal_of(run, auth, peer, hello, &principal);
    if (status == KAP_BAD_CREDENTIALS)
        kap_log(KAP_LOG_WARN, "auth", "msg=\"refused: not a valid token\" peer=%s", peer->address);
    if (status != KAP_OK)
        return status;
    uint32_t frame_bytes_max = auth->limits.frame_bytes_max;
    if (hello->has_max_frame)
        frame_bytes_max = KAP_MAX(KAP_MIN(frame_bytes_max, hello->max_frame), FRAME_BYTES_MIN);
    const struct kap_schema *schema = kap_store_schema(store);
    char *server = kap_arena_printf(run->arena, "kapd %s", auth->version);
    struct kap_server_limits *limits = limits_of(run->arena, &auth->limits, frame_bytes_max);
    if (!server || !limits)
        return KAP_NO_MEMORY;
    *welcome = (struct kap_hello_reply){.has_protocol = true,
                                        .protocol = PROTOCOL_VERSION,
                                        .has_server = true,
                                        .server = kap_bytes_str(server),
                                        .has_server_id = true,
                                        .server_id = kap_store_id(store),
                                        .has_schema_version = true,
                                        .schema_version = schema->version,
                                        .has_schema_hash = true,
                                        .schema_hash = schema->hash,
                                        .has_server_time = true,
                                        .server_time = kap_env_wall_us(kap_store_env(store)),
                                        .limits = limits,
                                        .has_lz4 = true,
                                        .lz4 = hello->has_lz4 && hello->lz4,
                                        .has_role = true,
                                        .role = highest_role(principal.roles),
                                        .has_user = !kap_id_is_nil(principal.user),
                                        .user = principal.user};
    kap_connection_welcome(connection, principal, frame_bytes_max, welcome->lz4);
    return KAP_OK;
}

void kap_auth_install(struct kap_auth *auth, struct kap_service *service)
{
    kap_service_set_handler(service, KAP_OP_HELLO, hello_run, auth);
}

static uint8_t role_named(const char *name, size_t len)
{
    static const char *const names[] = {NULL,    "viewer", "coach",   "expert", "curator",
                                        "admin", "ops",    "service", "auditor"};
    for (uint8_t role = 1; role < KAP_ARRAY_LEN(names); role++)
        if (strlen(names[role]) == len && memcmp(names[role], name, len) == 0)
            return role;
    return 0;
}

kap_status kap_auth_uids_parse(const char *text, struct kap_auth *auth, struct kap_error *error)
{
    auth->n_uids = 0;
    for (const char *at = text; *(at += strspn(at, " ,")) != '\0';) {
        char *end;
        unsigned long uid = strtoul(at, &end, 10);
        size_t len = *end == ':' ? strcspn(end + 1, " ,") : 0;
        uint8_t role = len > 0 ? role_named(end + 1, len) : 0;
        if (end == at || role == 0 || uid > UINT32_MAX)
            return kap_error_set(
                error, KAP_INVALID,
                "auth.unix_roles: \"%.60s\" is not UID:ROLE; roles are viewer, coach, expert, curator, "
                "admin, ops, service, auditor; for example \"1000:admin, 33:service\"",
                at);
        if (auth->n_uids == KAP_AUTH_UIDS_MAX)
            return kap_error_set(error, KAP_INVALID, "auth.unix_roles: at most %d entries", KAP_AUTH_UIDS_MAX);
        auth->uids[auth->n_uids++] = (struct kap_auth_uid){.uid = (uint32_t)uid, .role = role};
        at = end + 1 + len;
    }
    return KAP_OK;
}
