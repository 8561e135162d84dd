#include "server/access.h"

#include "engine/base/assert.h"
#include "engine/index/index.h"
#include "engine/model/blob.h"
#include "engine/model/token.h"
#include "proto/kap_entities.h"
#include "proto/kap_schema.h"

enum { GROUP_GRAPH = 1 };

void kap_access_init(struct kap_access *access, struct kap_principal principal, struct kap_view *view,
                     struct kap_arena *arena)
{
    *access = (struct kap_access){.principal = principal, .view = view, .arena = arena};
}

uint16_t kap_access_roles(const int32_t *roles, size_t n_roles)
{
    uint16_t bits = 0;
    for (size_t i = 0; i < n_roles; i++)
        if (roles[i] > 0 && roles[i] <= KAP_ROLE_AUDITOR)
            bits |= (uint16_t)KAP_ROLE_BIT(roles[i]);
    return bits ? bits : (uint16_t)KAP_ROLE_BIT(KAP_ROLE_COACH);
}

kap_status kap_access_op(struct kap_principal principal, const struct kap_op_desc *op)
{
    if (op->check == KAP_CHECK_NONE_BEFORE_LOGIN)
        return KAP_OK;
    if (principal.roles == 0)
        return KAP_UNAUTHENTICATED;
    return principal.roles & op->roles ? KAP_OK : KAP_FORBIDDEN;
}

/* The account's own row, and what it is good for. */
static kap_status account_read(struct kap_view *view, struct kap_id user, uint16_t *roles_out)
{
    struct kap_bytes row;
    struct kap_column column;
    struct kap_key key;
    int32_t roles[8];
    size_t n_roles = 0;
    kap_key_row(&key, GROUP_GRAPH, user, KAP_KIND_USER, user);
    kap_status status = kap_view_get(view, kap_key_bytes(&key), &row);
    if (status == KAP_OK)
        status = kap_row_column(row, 3, 0, &column); /* user.status */
    if (status == KAP_OK && column.number != KAP_USER_STATUS_ACTIVE)
        return KAP_NOT_FOUND;
    if (status == KAP_OK)
        status = kap_row_column(row, 4, 0, &column); /* user.roles, packed */
    for (size_t i = 0; status == KAP_OK && column.present && i < column.bytes.len && n_roles < 8; i++)
        roles[n_roles++] = column.bytes.data[i]; /* roles are below 128: one byte each */
    if (status == KAP_OK)
        *roles_out = kap_access_roles(roles, n_roles);
    return status;
}

kap_status kap_access_on_behalf_of(struct kap_access *access, struct kap_id user)
{
    uint16_t roles;
    if (!kap_access_is(access, KAP_ROLE_SERVICE) && !kap_access_is(access, KAP_ROLE_ADMIN))
        return kap_id_eq(access->principal.user, user) ? KAP_OK : KAP_FORBIDDEN;
    kap_status status = account_read(access->view, user, &roles);
    if (status == KAP_NOT_FOUND)
        return KAP_FORBIDDEN;
    if (status == KAP_OK)
        access->principal = (struct kap_principal){.user = user, .roles = roles};
    return status;
}

kap_status kap_access_by_token(struct kap_view *view, struct kap_arena *arena, struct kap_bytes token, int64_t now_us,
                               struct kap_principal *principal_out)
{
    struct kap_auth_token row;
    uint16_t roles;
    kap_status status = kap_token_find(view, arena, token, &row);
    if (status == KAP_NOT_FOUND || (status == KAP_OK && row.has_expires_at && row.expires_at <= now_us))
        return KAP_BAD_CREDENTIALS;
    if (status != KAP_OK)
        return status;
    *principal_out = (struct kap_principal){.user = row.has_user ? row.user : (struct kap_id){{0}},
                                            .roles = (uint16_t)KAP_ROLE_BIT(row.role)};
    if (!row.has_user) {
        principal_out->credential = row.sys->id;
        return KAP_OK;
    }
    status = account_read(view, row.user, &roles);
    return status == KAP_NOT_FOUND ? KAP_BAD_CREDENTIALS : status;
}

/* Once per run: every club the account is in, from the covering entries of one index range. */
static kap_status memberships_load(struct kap_access *access)
{
    enum { MEMBERSHIPS_MAX = 4096 };
    struct kap_scan scan;
    struct kap_key prefix;
    uint32_t cap = 0;
    if (access->memberships_loaded || kap_id_is_nil(access->principal.user)) {
        access->memberships_loaded = true;
        return KAP_OK;
    }
    kap_index_key_init(&prefix, KAP_INDEX_MEMBERSHIP_BY_USER);
    kap_key_put_id(&prefix, access->principal.user);
    kap_status status = kap_scan_init_prefix(&scan, access->view, access->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK && access->n_memberships < MEMBERSHIPS_MAX) {
        struct kap_column club, role;
        if (access->n_memberships == cap) {
            cap = cap ? cap * 2 : 8;
            struct kap_membership_seen *at = kap_arena_push(access->arena, cap * sizeof *at);
            if (!at)
                return KAP_NO_MEMORY;
            if (access->n_memberships)
                memcpy(at, access->memberships, access->n_memberships * sizeof *at);
            access->memberships = at;
        }
        status = kap_row_column(scan.entry.value, 2, 0, &club);
        if (status == KAP_OK)
            status = kap_row_column(scan.entry.value, 4, 0, &role);
        if (status == KAP_OK && club.bytes.len == 16) {
            struct kap_membership_seen *seen = &access->memberships[access->n_memberships++];
            memcpy(seen->club.bytes, club.bytes.data, 16);
            seen->role = role.present ? (int32_t)role.number : KAP_CLUB_ROLE_MEMBER;
        }
    }
    if (status != KAP_END && status != KAP_OK) {
        access->n_memberships = 0;
        return status;
    }
    access->memberships_loaded = true;
    return KAP_OK;
}

struct question {
    struct kap_access *access;
    enum kap_right right;
    uint8_t kind;
    struct kap_id root, id;
    struct kap_bytes row;
};

static kap_status test_holds(const struct question *q, const struct kap_rule_test *test, bool *holds_out)
{
    struct kap_column column;
    *holds_out = true;
    if (test->test == KAP_TEST_ALWAYS)
        return KAP_OK;
    kap_status status = kap_row_column(q->row, test->field, 0, &column);
    if (status != KAP_OK)
        return status;
    if (test->test != KAP_TEST_IN) {
        *holds_out = column.present == (test->test == KAP_TEST_SET);
        return KAP_OK;
    }
    *holds_out = false;
    for (uint8_t i = 0; i < test->n_values; i++)
        *holds_out |= column.present && column.number == test->values[i];
    return KAP_OK;
}

static kap_status tests_hold(const struct question *q, const struct kap_rule *rule, bool *hold_out)
{
    kap_status status = test_holds(q, &rule->tests[0], hold_out);
    return status == KAP_OK && *hold_out ? test_holds(q, &rule->tests[1], hold_out) : status;
}

static kap_status named_id(const struct question *q, uint16_t field, struct kap_id *id_out)
{
    struct kap_column column;
    *id_out = q->id;
    if (field == 0)
        return KAP_OK;
    kap_status status = kap_row_column(q->row, field, 0, &column);
    *id_out = (struct kap_id){{0}};
    if (status == KAP_OK && column.present && column.bytes.len == sizeof id_out->bytes)
        memcpy(id_out->bytes, column.bytes.data, sizeof id_out->bytes);
    return status;
}

static kap_status is_member(const struct question *q, const struct kap_rule *rule, int32_t least, bool *is_out)
{
    struct kap_access *access = q->access;
    struct kap_id club;
    *is_out = false;
    kap_status status = named_id(q, rule->who_field, &club);
    if (status != KAP_OK || kap_id_is_nil(club))
        return status;
    status = memberships_load(access);
    for (uint32_t i = 0; status == KAP_OK && i < access->n_memberships && !*is_out; i++)
        *is_out = kap_id_eq(access->memberships[i].club, club) && access->memberships[i].role >= least;
    return status;
}

static bool holds_role(const struct kap_access *access, uint8_t who)
{
    const unsigned coaches = KAP_ROLE_BIT(KAP_ROLE_COACH) | KAP_ROLE_BIT(KAP_ROLE_EXPERT) |
                             KAP_ROLE_BIT(KAP_ROLE_CURATOR) | KAP_ROLE_BIT(KAP_ROLE_ADMIN) |
                             KAP_ROLE_BIT(KAP_ROLE_SERVICE);
    switch (who) {
    case KAP_WHO_EXPERT:
        return kap_access_is(access, KAP_ROLE_EXPERT);
    case KAP_WHO_CURATOR:
        return kap_access_is(access, KAP_ROLE_CURATOR);
    case KAP_WHO_ADMIN:
        return kap_access_is(access, KAP_ROLE_ADMIN);
    case KAP_WHO_OPS:
        return kap_access_is(access, KAP_ROLE_OPS);
    case KAP_WHO_SERVICE:
        return kap_access_is(access, KAP_ROLE_SERVICE);
    case KAP_WHO_COACH:
        return (access->principal.roles & coaches) != 0;
    default:
        return false;
    }
}

static kap_status question_answer(const struct question *q, bool *may_out);
static kap_status root_load(struct kap_access *access, struct kap_id root);

/* The same principal before the root of the row. */
static kap_status root_answer(const struct question *q, enum kap_right right, bool *may_out)
{
    *may_out = false;
    kap_status status = root_load(q->access, q->root);
    if (status != KAP_OK)
        return status == KAP_NOT_FOUND ? KAP_OK : status;
    const struct question above = {.access = q->access,
                                   .right = right,
                                   .kind = q->access->root_kind,
                                   .root = q->root,
                                   .id = q->root,
                                   .row = q->access->root_row};
    return question_answer(&above, may_out);
}

static kap_status who_is(const struct question *q, const struct kap_rule *rule, bool *is_out)
{
    const struct kap_access *access = q->access;
    struct kap_id id;
    kap_status status = KAP_OK;
    switch (rule->who) {
    case KAP_WHO_ANYONE:
        *is_out = access->principal.roles != 0;
        return KAP_OK;
    case KAP_WHO_OWNER:
    case KAP_WHO_SELF:
        status = named_id(q, rule->who == KAP_WHO_SELF ? 0 : rule->who_field, &id);
        *is_out = status == KAP_OK && !kap_id_is_nil(id) && kap_id_eq(id, access->principal.user);
        return status;
    case KAP_WHO_CLUB_MEMBER:
        return is_member(q, rule, KAP_CLUB_ROLE_MEMBER, is_out);
    case KAP_WHO_CLUB_MANAGER:
        return is_member(q, rule, KAP_CLUB_ROLE_COACH, is_out);
    case KAP_WHO_REFERRER: {
        struct kap_column hash;
        status = kap_row_column(q->row, 2, 0, &hash); /* blob.hash */
        *is_out = false;
        return status == KAP_OK && hash.present ? kap_access_blob(q->access, hash.bytes, is_out) : status;
    }
    case KAP_WHO_ROOT_READER:
    case KAP_WHO_ROOT_WRITER:
        *is_out = false;
        if (kap_id_eq(q->root, q->id))
            return KAP_OK;
        return root_answer(q, rule->who == KAP_WHO_ROOT_READER ? KAP_RIGHT_READ : KAP_RIGHT_WRITE, is_out);
    default:
        *is_out = holds_role(access, rule->who);
        return KAP_OK;
    }
}

static bool asks_root(const struct kap_rule *rules, uint8_t n)
{
    for (uint8_t i = 0; i < n; i++)
        if (rules[i].who == KAP_WHO_ROOT)
            return true;
    return false;
}

/* The root's own row: the first of its range that is not the head. Remembered, because the parts of a tree are asked
 * about one after the other. */
static kap_status root_load(struct kap_access *access, struct kap_id root)
{
    struct kap_scan scan;
    struct kap_key prefix;
    if (access->root_kind != 0 && kap_id_eq(access->root, root))
        return KAP_OK;
    kap_key_row_prefix(&prefix, GROUP_GRAPH, root);
    kap_status status = kap_scan_init_prefix(&scan, access->view, access->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
        uint8_t kind = scan.entry.key.data[prefix.len];
        if (kind == KAP_KIND_TREE_HEAD)
            continue;
        if (memcmp(scan.entry.key.data + prefix.len + 1, root.bytes, sizeof root.bytes) != 0)
            break;
        access->root = root;
        access->root_kind = kind;
        access->root_row = scan.entry.value;
        return KAP_OK;
    }
    return status == KAP_END || status == KAP_OK ? KAP_NOT_FOUND : status;
}

static kap_status question_answer(const struct question *q, bool *may_out)
{
    const struct kap_kind_rights *rights = kap_rights_of_kind(q->kind);
    *may_out = false;
    if (!rights)
        return KAP_OK;
    const struct kap_rule *rules = q->right == KAP_RIGHT_READ ? rights->read : rights->write;
    uint8_t n = q->right == KAP_RIGHT_READ ? rights->n_read : rights->n_write;
    if (asks_root(rules, n) && !kap_id_eq(q->root, q->id))
        return root_answer(q, q->right, may_out);
    for (uint8_t i = 0; i < n && !*may_out; i++) {
        bool holds = false, is = false;
        kap_status status = tests_hold(q, &rules[i], &holds);
        if (status == KAP_OK && holds)
            status = who_is(q, &rules[i], &is);
        if (status != KAP_OK)
            return status;
        *may_out = holds && is;
    }
    return KAP_OK;
}

kap_status kap_access_row(struct kap_access *access, enum kap_right right, uint8_t kind, struct kap_id root,
                          struct kap_id id, struct kap_bytes row, bool *may_out)
{
    const struct question q = {.access = access, .right = right, .kind = kind, .root = root, .id = id, .row = row};
    if (kap_id_eq(root, id) && kap_id_eq(access->root, root))
        access->root_kind = 0; /* it may be about to change */
    return question_answer(&q, may_out);
}

struct blob_question {
    struct kap_access *access;
    bool may;
};

/* The row that uses the blob, found as any other: by the locator, or as its own root. */
static kap_status referrer_ask(void *context, uint8_t kind, struct kap_id id)
{
    struct blob_question *q = context;
    struct kap_model model;
    struct kap_row row;
    kap_model_init(&model, &kap_schema, q->access->view, NULL, q->access->arena, NULL, q->access->principal.user, 0);
    kap_status status = kap_model_find(&model, kind, id, &row);
    if (status == KAP_OK)
        status = kap_access_row(q->access, KAP_RIGHT_READ, row.kind, row.root, row.id, row.bytes, &q->may);
    if (status == KAP_NOT_FOUND)
        return KAP_OK;
    return status == KAP_OK && q->may ? KAP_END : status;
}

kap_status kap_access_blob(struct kap_access *access, struct kap_bytes hash, bool *may_out)
{
    struct blob_question q = {.access = access};
    kap_status status = kap_blob_referrers(access->view, access->arena, hash, referrer_ask, &q);
    if (status == KAP_OK)
        *may_out = q.may;
    return status;
}

/* E-mail and what else is the account's own business; a token's hash is nobody's. */
void kap_access_mask(const struct kap_access *access, uint8_t kind, struct kap_id id, void *message)
{
    bool is_own = kap_id_eq(access->principal.user, id) || kap_access_is(access, KAP_ROLE_ADMIN) ||
                  kap_access_is(access, KAP_ROLE_SERVICE);
    if (kind == KAP_KIND_AUTH_TOKEN) {
        struct kap_auth_token *token = message;
        token->has_hash = false;
    } else if (kind == KAP_KIND_USER && !is_own) {
        struct kap_user *user = message;
        *user = (struct kap_user){.sys = user->sys,
                                  .has_expertise_level = user->has_expertise_level,
                                  .expertise_level = user->expertise_level};
    } else if (kind == KAP_KIND_PROFILE && !is_own) {
        struct kap_profile *profile = message;
        profile->has_phone = false;
    }
}
