/* leaf.h - a leaf payload: build it entry by entry, check it once, search and walk it.
 *
 * Trust  only a payload that kap_leaf_check accepted may be searched: search and walk do no bounds checks. */
#pragma once

#include "engine/base/buffer.h"
#include "engine/btree/btree_format.h"
#include "engine/schema/cursor.h"

struct kap_leaf {
    const uint8_t *restarts, *keys, *keys_end, *values;
    uint64_t seq_base;
    uint32_t entry_count, restart_count;
};

/* Takes the payload apart and walks all of it: bounds, order, canonical prefixes, types. false: not a leaf. The leaf
 * points into payload. */
bool kap_leaf_check(struct kap_bytes payload, struct kap_leaf *leaf_out);

/* A position in a leaf. The current key is put together in key. */
struct kap_leaf_iter {
    const struct kap_leaf *leaf;
    const uint8_t *key_at; /* record of the next entry */
    const uint8_t *value_at; /* value of the next entry */
    uint32_t slot; /* of the next entry */
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint64_t seq;
    uint8_t type; /* enum kap_leaf_type */
    const uint8_t *value; /* leaf_overflow for KAP_LEAF_PUT_LARGE */
    uint8_t key[KAP_KEY_BYTES_MAX];
};

void kap_leaf_first(struct kap_leaf_iter *iter, const struct kap_leaf *leaf); /* to the first entry */
/* To the first entry at or after (key, seq); false: all are before it. */
bool kap_leaf_seek(struct kap_leaf_iter *iter, const struct kap_leaf *leaf, struct kap_bytes key, uint64_t seq);
bool kap_leaf_next(struct kap_leaf_iter *iter); /* false: it was the last */

/* Builder: entries in order; the previous key is the caller's to keep, since it has it for the separator too. */
struct kap_leaf_builder {
    struct kap_buffer keys, values, restarts;
    uint64_t seq_base, seq_last;
    uint32_t entry_count;
};

void kap_leaf_builder_init(struct kap_leaf_builder *builder, struct kap_memory *memory);
void kap_leaf_builder_deinit(struct kap_leaf_builder *builder);
/* shared: common prefix with the key added before. Failure shows in kap_leaf_builder_failed. */
void kap_leaf_builder_add(struct kap_leaf_builder *builder, struct kap_bytes key, size_t shared, uint64_t seq,
                          enum kap_leaf_type type, struct kap_bytes value);
/* Payload bytes so far; at most so many more with another entry. */
size_t kap_leaf_builder_bytes(const struct kap_leaf_builder *builder);
size_t kap_leaf_entry_bytes_max(size_t key_bytes, size_t value_bytes);
bool kap_leaf_builder_failed(const struct kap_leaf_builder *builder);
/* Appends the payload to out (see out->failed) and starts over. */
void kap_leaf_builder_finish(struct kap_leaf_builder *builder, struct kap_buffer *out);
