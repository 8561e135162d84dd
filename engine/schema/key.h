/* key.h - order-preserving keys: memcmp of the bytes is the order of the values.
 *
 * Integers big-endian, signed ones with the sign bit flipped, descending parts as bitwise not. Text is NFC and
 * case-folded, ends with 0x00 (text holds no NUL) and, in an order part, is cut at KAP_KEY_TEXT_BYTES_MAX so that keys
 * stay bounded: rows with equal prefixes then order by id. Unique keys are never cut. */
#pragma once

#include <stdbool.h>

#include "engine/base/bytes.h"
#include "engine/base/status.h"
#include "engine/schema/descriptor.h"
#include "engine/schema/tree.h"

enum { KAP_KEY_TEXT_BYTES_MAX = 128 };

struct kap_key {
    uint16_t len;
    bool failed; /* a part did not fit: check once at the end */
    uint8_t data[KAP_KEY_BYTES_MAX];
};

static inline struct kap_bytes kap_key_bytes(const struct kap_key *key)
{
    return kap_bytes(key->data, key->len);
}

void kap_key_init(struct kap_key *key, uint16_t tree);
void kap_key_put(struct kap_key *key, const void *data, size_t len);
void kap_key_put_u8(struct kap_key *key, uint8_t value);
void kap_key_put_u16(struct kap_key *key, uint16_t value);
void kap_key_put_u64(struct kap_key *key, uint64_t value);
void kap_key_put_u64_desc(struct kap_key *key, uint64_t value);
void kap_key_put_id(struct kap_key *key, struct kap_id id);
/* Folded text and its terminator; cut to at most cut_bytes (0: never). KAP_INVALID sets failed: not UTF-8. */
void kap_key_put_text(struct kap_key *key, struct kap_bytes text, size_t cut_bytes);
/* One part of an index or unique key from a column; an absent column counts as 0 or "". */
void kap_key_put_part(struct kap_key *key, const struct kap_key_part *part, const struct kap_column *column,
                      size_t text_cut_bytes);

/* The smallest key above every key with this prefix: where a prefix scan ends. len 0 when there is none. */
void kap_key_prefix_end(struct kap_key *key, struct kap_bytes prefix);

/* NFC + case fold of text into out (cap bytes). KAP_INVALID: not UTF-8. KAP_TOO_LARGE: does not fit. */
KAP_CHECKED kap_status kap_text_fold(struct kap_bytes text, uint8_t *out, size_t cap, size_t *len_out);

/* The trees' keys, each as tree.h draws it. */
void kap_key_row(struct kap_key *key, uint8_t group, struct kap_id root, uint8_t kind, struct kap_id id);
void kap_key_row_prefix(struct kap_key *key, uint8_t group, struct kap_id root);
void kap_key_locator(struct kap_key *key, struct kap_id id, uint8_t kind);
void kap_key_history(struct kap_key *key, struct kap_id root, uint8_t kind, struct kap_id id, uint64_t commit_seq);
void kap_key_trash(struct kap_key *key, struct kap_id owner, int64_t deleted_at, uint8_t kind, struct kap_id root);
void kap_key_idempotency(struct kap_key *key, struct kap_id principal, const uint8_t idempotency_key[16]);
