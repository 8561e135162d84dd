/* index.h - which entries of the relation indexes, counts and unique keys a change of one row adds and removes.
 *
 * Sees bytes and descriptors only. An entry that is equal before and after is not mentioned; equal entries of one row,
 * from a repeated parent or from several sources of an index, collapse into one.
 *
 * Keys    entry [256 + index][parent][order][row id] -> the row's own encoding of the covered fields
 *         count [KAP_TREE_COUNT][index][parent][bucket ...]
 *         unique [KAP_TREE_UNIQUE][unique][folded parts]
 * Bytes   keys and values given to the sink are valid during the call (values: as long as the arena).
 * Errors  KAP_CORRUPT: a row is not a message. KAP_INVALID: a key does not fit. KAP_NO_MEMORY. What the sink returns. */
#pragma once

#include "engine/base/arena.h"
#include "engine/schema/descriptor.h"
#include "engine/schema/key.h"

struct kap_index_sink {
    void *context;
    /* value NULL: the entry goes. */
    kap_status (*entry)(void *context, struct kap_bytes key, const struct kap_bytes *value);
    /* delta is never 0. */
    kap_status (*count)(void *context, struct kap_bytes key, int64_t delta);
    /* is_put false: the key goes. Keys that go are told before keys that come. */
    kap_status (*unique)(void *context, const struct kap_unique_desc *unique, struct kap_bytes key, bool is_put);
};

/* old_row or new_row NULL: the row is created or deleted. Both are of the kind and have this id. */
KAP_CHECKED kap_status kap_index_diff(const struct kap_schema *schema, uint8_t kind, struct kap_id id,
                                      const struct kap_bytes *old_row, const struct kap_bytes *new_row,
                                      struct kap_arena *arena, const struct kap_index_sink *sink);

/* [256 + index], to which the caller adds the parent columns: what a scan of children begins with. */
void kap_index_key_init(struct kap_key *key, uint16_t index);
/* [KAP_TREE_COUNT][index], to which the caller adds the parent columns. */
void kap_index_count_key_init(struct kap_key *key, uint16_t index);
/* [KAP_TREE_UNIQUE][unique], to which the caller adds the parts. */
void kap_index_unique_key_init(struct kap_key *key, uint16_t unique);
