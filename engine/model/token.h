/* token.h - tokens of services: "kap_" and 32 random bytes, told once; only the SHA-256 of the text is kept. */
#pragma once

#include "engine/model/model.h"

enum { KAP_TOKEN_TEXT_BYTES = 4 + 43 }; /* prefix, base64url without padding */

KAP_CHECKED kap_status kap_token_create(struct kap_model *model, const struct kap_token_create_request *request,
                                        struct kap_token_create_reply *reply);
/* The row of a token as a client sends it. KAP_NOT_FOUND: none, or not the form of one. */
KAP_CHECKED kap_status kap_token_find(struct kap_view *view, struct kap_arena *arena, struct kap_bytes token,
                                      struct kap_auth_token *row_out);
