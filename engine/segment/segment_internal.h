/* segment_internal.h - what the files of this folder share: the builder's insides and an open segment's. */
#pragma once

#include "engine/base/buffer.h"
#include "engine/btree/btree_builder.h"
#include "engine/btree/btree_path.h"
#include "engine/btree/leaf.h"
#include "engine/segment/filter.h"
#include "engine/segment/segment_format.h"
#include "engine/segment/segment_reader.h"

struct builder_tree {
    uint16_t number;
    struct kap_tree_traits traits;
    struct kap_btree_builder btree;
    uint64_t entries, deletes, raw_bytes, leaf_count, leaf_bytes, overflow_bytes;
};

struct kap_segment_builder {
    struct kap_memory *memory;
    uint64_t file_id;
    struct kap_buffer output; /* aligned; never grown by its own functions */
    size_t output_start; /* drained so far */
    uint64_t output_offset; /* of output.data in the file */
    struct kap_leaf_builder leaf;
    struct kap_buffer payload;
    struct kap_buffer point_hashes, prefix_hashes;
    struct builder_tree *trees;
    uint32_t tree_count, tree_cap;
    uint64_t entries, seq_min, seq_max, content_hash;
    bool finished, failed;
    size_t key_bytes, smallest_bytes, separator_bytes;
    uint64_t seq; /* of the last entry */
    uint64_t separator_seq; /* before the leaf being filled */
    uint8_t key[KAP_KEY_BYTES_MAX];
    uint8_t smallest[KAP_KEY_BYTES_MAX];
    uint8_t separator[KAP_KEY_BYTES_MAX];
};

bool segment_output_reserve(struct kap_segment_builder *builder, size_t bytes);
uint64_t segment_output_end(const struct kap_segment_builder *builder);
kap_status segment_leaf_flush(struct kap_segment_builder *builder);

struct segment_tree_open {
    struct kap_btree btree;
    struct kap_segment_tree_stats stats;
    uint16_t prefix_bytes;
    uint8_t flags;
};

struct kap_segment {
    struct kap_memory *memory;
    struct kap_segment_meta meta;
    uint8_t *tail;
    struct kap_filter points, prefixes;
    struct segment_tree_open *trees; /* ascending by number */
    uint32_t tree_count;
};

/* The first tree that has keys at or after key; tree_count when there is none. */
uint32_t segment_tree_slot(const struct kap_segment *segment, struct kap_bytes key);
