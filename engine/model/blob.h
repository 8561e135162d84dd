/* blob.h - what rows know of blobs: the blob's own row under its hash, and who uses it.
 *
 * The bytes are engine/blob's. A blob is readable when a row that uses it is; whoever has uploaded one in full uses it
 * too, through a reference of the account, until the blob store's clean-up takes that back. */
#pragma once

#include "engine/model/model.h"

enum { KAP_BLOB_HASH_BYTES = 32 };

/* KAP_NOT_FOUND without words. */
KAP_CHECKED kap_status kap_blob_find(struct kap_model *model, struct kap_bytes hash, struct kap_blob **blob_out);
/* Creates or replaces the row; blob->hash must be set, sys is made. */
KAP_CHECKED kap_status kap_blob_put(struct kap_model *model, struct kap_blob *blob);
/* KAP_REFERENCED while a row uses it. */
KAP_CHECKED kap_status kap_blob_remove(struct kap_model *model, struct kap_bytes hash);
/* Rows that use it. */
KAP_CHECKED kap_status kap_blob_referrer_count(struct kap_model *model, struct kap_bytes hash, uint64_t *count_out);
/* The account has uploaded all of it: it may read it and name it in rows. */
KAP_CHECKED kap_status kap_blob_grant(struct kap_model *model, struct kap_bytes hash, struct kap_id user);
/* Calls each with the rows that use the blob until it says KAP_END. */
KAP_CHECKED kap_status kap_blob_referrers(struct kap_view *view, struct kap_arena *arena, struct kap_bytes hash,
                                          kap_status (*each)(void *context, uint8_t kind, struct kap_id id),
                                          void *context);
