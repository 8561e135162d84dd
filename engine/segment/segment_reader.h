/* segment_reader.h - an open segment: its tail resident, verified, searched in place.
 *
 * Ownership  open copies the tail and the keys; close frees. Whoever pins the version keeps the segment open.
 * Threads    immutable after open: any number of readers.
 * Errors     open never trusts the tail. KAP_CORRUPT says which file and where; KAP_NEWER_FORMAT; KAP_NO_MEMORY. */
#pragma once

#include "engine/base/memory.h"
#include "engine/base/status.h"
#include "engine/btree/block_ref.h"
#include "engine/schema/cursor.h"
#include "engine/segment/segment_meta.h"

struct kap_segment;

enum { KAP_SEGMENT_FOOTER_BYTES = 256 };

/* What one tree of a file weighs, for inspect and for picking. */
struct kap_segment_tree_stats {
    uint16_t tree;
    uint8_t height; /* 1: one leaf */
    uint64_t entries, deletes, raw_bytes;
    uint64_t leaf_count, leaf_bytes, overflow_bytes; /* stored */
    uint64_t inner_count, inner_bytes; /* resident */
};

/* tail: bytes tail_offset .. file_bytes of the file. Every field of meta is compared with the file's own. */
KAP_CHECKED kap_status kap_segment_open(struct kap_memory *memory, const struct kap_segment_meta *meta,
                                        struct kap_bytes tail, struct kap_segment **segment_out,
                                        struct kap_error *error);
void kap_segment_close(struct kap_segment *segment); /* NULL is allowed */
/* Without a manifest: meta from the last KAP_SEGMENT_FOOTER_BYTES of a file, all but the keys (open accepts that). */
KAP_CHECKED kap_status kap_segment_meta_of_footer(struct kap_bytes footer, uint64_t file_id, uint64_t file_bytes,
                                                  struct kap_segment_meta *meta_out, struct kap_error *error);

const struct kap_segment_meta *kap_segment_meta(const struct kap_segment *segment);
uint64_t kap_segment_memory_bytes(const struct kap_segment *segment); /* resident, for the budget */
uint32_t kap_segment_tree_count(const struct kap_segment *segment);
struct kap_segment_tree_stats kap_segment_tree_stats(const struct kap_segment *segment, uint32_t slot);

/* false: no version of the key is in the file. true says nothing. */
bool kap_segment_may_contain(const struct kap_segment *segment, struct kap_bytes key);
/* false: no key of the file begins with prefix. A prefix shorter than the tree's filter prefix is always true. */
bool kap_segment_may_contain_prefix(const struct kap_segment *segment, struct kap_bytes prefix);
/* The leaf where (key, seq) is or would be, for prefetching; false when every entry is before it. */
bool kap_segment_leaf_of(const struct kap_segment *segment, struct kap_bytes key, uint64_t seq,
                         struct kap_block_ref *ref_out);

/* What meta.content_hash sums up: of key, seq, type and value. */
uint64_t kap_segment_entry_hash(const struct kap_entry *entry);
