/* access.h - who asks, and what they may: the op, the row, the field. Default deny.
 *
 * The rules come from the generated tables (proto/ops.h, proto/rights.h) and are asked about stored bytes, so also about
 * the covering value of an index. A part of a tree is asked about by its root alone.
 *
 * Ownership  a struct kap_access lives as long as one run of a request: memberships and the last root are remembered in
 *            its arena and come from its view.
 * Errors     KAP_OK with may_out; KAP_PENDING, KAP_CORRUPT and the like from the view. */
#pragma once

#include <stdbool.h>

#include "engine/read/view.h"
#include "proto/ops.h"
#include "proto/rights.h"

enum kap_right {
    KAP_RIGHT_READ = 1,
    KAP_RIGHT_WRITE,
};

/* Whom a connection speaks for. roles: KAP_ROLE_BIT of each role held; 0: nobody has logged in. */
struct kap_principal {
    struct kap_id user; /* nil: a service or operator without an account */
    uint16_t roles;
    struct kap_id credential; /* without an account: the token, or made from the uid of a unix peer */
};

/* Who it is, for what is kept apart by principal: the account, else what it logged in with. */
static inline struct kap_id kap_principal_id(const struct kap_principal *principal)
{
    return kap_id_is_nil(principal->user) ? principal->credential : principal->user;
}

struct kap_membership_seen {
    struct kap_id club;
    int32_t role;
};

struct kap_access {
    struct kap_principal principal; /* after on_behalf_of */
    struct kap_view *view;
    struct kap_arena *arena;
    bool memberships_loaded;
    uint32_t n_memberships;
    struct kap_membership_seen *memberships;
    struct kap_id root; /* of the last tree asked about */
    uint8_t root_kind;
    struct kap_bytes root_row;
};

void kap_access_init(struct kap_access *access, struct kap_principal principal, struct kap_view *view,
                     struct kap_arena *arena);
/* The account takes the place of the service that acts for it: its roles, its rows. KAP_FORBIDDEN: the principal may not
 * act for others, or the account is suspended, erased or not there. */
KAP_CHECKED kap_status kap_access_on_behalf_of(struct kap_access *access, struct kap_id user);
/* KAP_FORBIDDEN, KAP_UNAUTHENTICATED. */
KAP_CHECKED kap_status kap_access_op(struct kap_principal principal, const struct kap_op_desc *op);

/* May the principal read or write this row? root is the row's root (its own id when it is one). row may be a covering
 * value that holds the fields the rule asks about. */
KAP_CHECKED kap_status kap_access_row(struct kap_access *access, enum kap_right right, uint8_t kind, struct kap_id root,
                                      struct kap_id id, struct kap_bytes row, bool *may_out);
/* A blob is readable when some row that uses it is. */
KAP_CHECKED kap_status kap_access_blob(struct kap_access *access, struct kap_bytes hash, bool *may_out);

static inline bool kap_access_is(const struct kap_access *access, enum kap_role role)
{
    return (access->principal.roles & KAP_ROLE_BIT(role)) != 0;
}
/* Roles as stored with an account, or the one of a token, as bits; an account without roles is a coach. */
uint16_t kap_access_roles(const int32_t *roles, size_t n_roles);
/* Clears what the principal may not see of a row that it may see otherwise. message: a struct of the row's message. */
void kap_access_mask(const struct kap_access *access, uint8_t kind, struct kap_id id, void *message);

/* The principal of a token as a client sends it. KAP_BAD_CREDENTIALS: no such token, expired, or its account is not
 * active; all alike. now_us: wall time. */
KAP_CHECKED kap_status kap_access_by_token(struct kap_view *view, struct kap_arena *arena, struct kap_bytes token,
                                           int64_t now_us, struct kap_principal *principal_out);
