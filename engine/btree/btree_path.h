/* btree_path.h - from the root of a resident tree to the leaf of a key, and on to the next leaf. */
#pragma once

#include "engine/btree/block_ref.h"

/* A bulk-loaded tree: its inner nodes resident in one piece, its leaves elsewhere. */
struct kap_btree {
    struct kap_block_ref root; /* an inner node, or a leaf when height is 1 */
    const uint8_t *nodes; /* resident bytes that hold all inner nodes */
    uint64_t leaves_end; /* leaves lie below this offset of the file */
    uint64_t nodes_offset; /* of them in the file */
    uint8_t height; /* leaves included */
};

struct kap_btree_path {
    const struct kap_btree *tree;
    struct {
        uint32_t node, slot; /* position of the payload in nodes; child taken */
    } at[KAP_BTREE_HEIGHT_MAX]; /* by level; 0, the leaves, is not used */
};

struct kap_btree_check {
    uint64_t leaf_count, leaf_bytes, inner_count, inner_bytes; /* what the walk saw */
    uint64_t fault_offset; /* in the file, when it failed */
};

/* Walks every inner node: trailers, both checksums, structure, levels, that children follow one another and lie within
 * their bounds. nodes_bytes: length of tree->nodes. */
bool kap_btree_check(const struct kap_btree *tree, size_t nodes_bytes, struct kap_btree_check *check_out);

/* To the leaf where (key, seq) is or would be. */
struct kap_block_ref kap_btree_seek(const struct kap_btree *tree, struct kap_bytes key, uint64_t seq,
                                    struct kap_btree_path *path_out);
/* To the leaf after; false: it was the last. */
bool kap_btree_next(struct kap_btree_path *path, struct kap_block_ref *ref_out);
