/* tree.h - every key starts with the number of its tree, big-endian, 2 bytes.
 *
 * One memtable and one L0 segment hold all trees; from level 1 down a file holds one. */
#pragma once

#include <stdbool.h>

#include "engine/base/bytes.h"

enum kap_tree {
    KAP_TREE_ROWS = 1, /* [group 1][root 16][kind 1][id 16] -> row message */
    KAP_TREE_LOCATOR = 2, /* [id 16][kind 1] -> root 16, for rows whose root is not their id */
    KAP_TREE_HISTORY = 3, /* [root 16][kind 1][id 16][~commit_seq 8] -> history record */
    KAP_TREE_TRASH = 4, /* [owner 16][~deleted_at 8][kind 1][root 16] -> trash record */
    KAP_TREE_IDEMPOTENCY = 5, /* [principal 16][key 16] -> digest, commit_seq, reply */
    KAP_TREE_COUNT = 6, /* [index 2][parent ...][bucket ...] -> u64 little-endian, absolute */
    KAP_TREE_UNIQUE = 7, /* [index 2][folded key ...] -> id 16 */
    KAP_TREE_BLOB = 8, /* [sha256 32] -> blob row */
    KAP_TREE_UPLOAD = 9, /* [upload id 16] -> upload state */
    KAP_TREE_META = 10, /* [name ...] -> store-level numbers, u64 little-endian */
    KAP_TREE_MARK = 12, /* [id 16][kind 1] -> commit_seq: deleted, while rows refer to it */
    KAP_TREE_JOB = 13, /* [job 1][kind 1][id 16] -> JobRecord: work that goes on after its commit */
    KAP_TREE_INDEX_FIRST = 256, /* 256 + index id: relation indexes */
};

enum { KAP_TREE_BYTES = 2, KAP_KEY_BYTES_MAX = 1024, KAP_VALUE_BYTES_MAX = 256 * 1024 };

/* How segments treat a tree; tables for the numbers above, the index rule for the rest. */
struct kap_tree_traits {
    uint16_t prefix_bytes; /* after these many key bytes (tree number included) a scan's prefix ends: what the prefix
                            * filter holds; 0 = no prefix filter */
    bool point_filter; /* whole keys are looked up */
    bool compress; /* values worth LZ4 */
};

struct kap_tree_traits kap_tree_traits(uint16_t tree);

static inline uint16_t kap_tree_of(struct kap_bytes key)
{
    return key.len < 2 ? 0 : (uint16_t)(key.data[0] << 8 | key.data[1]);
}
