/* auth.h - who a client is: what hello checks and what it agrees on.
 *
 *   unix socket  the kernel says the uid: the owner of the data directory is admin, others have the role their uid is
 *                given in the configuration, and who has none is refused
 *   token        on any transport: the principal of the token, instead of the uid's
 * A service then acts for a user named in each request's meta (on_behalf_of); the service layer checks that. */
#pragma once

#include "server/connection.h"

enum { KAP_AUTH_UIDS_MAX = 64 };

struct kap_auth_uid {
    uint32_t uid;
    uint8_t role; /* enum kap_role */
};

struct kap_auth {
    struct kap_connection_options limits;
    uint32_t owner_uid; /* of the data directory */
    uint32_t n_uids;
    struct kap_auth_uid uids[KAP_AUTH_UIDS_MAX];
    const char *version;
};

/* Becomes the handler of hello. auth must live as long as the service. */
void kap_auth_install(struct kap_auth *auth, struct kap_service *service);
/* "1000:admin, 33:service". KAP_INVALID. */
KAP_CHECKED kap_status kap_auth_uids_parse(const char *text, struct kap_auth *auth, struct kap_error *error);
