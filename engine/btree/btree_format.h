/* btree_format.h - the stored form of leaves, inner nodes and the trailer that ends every block.
 *
 * A block is a payload, LZ4-compressed or not, and a trailer; the length of both stands in the pointer to it. */
#pragma once

#include <stddef.h>

#include "engine/base/le.h"
#include "engine/schema/tree.h"

enum kap_block_type {
    KAP_BLOCK_LEAF = 1,
    KAP_BLOCK_INNER = 2,
    KAP_BLOCK_OVERFLOW = 3, /* one large value, nothing else */
};

enum kap_compression {
    KAP_COMPRESSION_NONE = 1,
    KAP_COMPRESSION_LZ4 = 2,
};

/* What a leaf entry is; the two first are enum kap_entry_type. */
enum kap_leaf_type {
    KAP_LEAF_PUT = 1,
    KAP_LEAF_DELETE = 2,
    KAP_LEAF_PUT_LARGE = 3, /* the value is a leaf_overflow: where the real one lies */
};

enum {
    KAP_LEAF_BYTES_TARGET = 16 * 1024, /* payload; a leaf with several entries never passes it */
    KAP_LEAF_BYTES_MAX = 20 * 1024, /* payload of a leaf with one entry */
    KAP_LEAF_VALUE_BYTES_MAX = 16 * 1024, /* larger values get an overflow block */
    KAP_LEAF_RESTART_EVERY = 16,
    KAP_NODE_BYTES_TARGET = 16 * 1024,
    KAP_NODE_BYTES_MAX = 20 * 1024,
    KAP_BTREE_HEIGHT_MAX = 8, /* leaves included; 15 children a node at worst: more leaves than a file can hold */
};

/* The end of every block.
 *  offset size field        meaning
 *       0    8 file_id      the file it was written to
 *       8    8 offset       where in that file the block starts
 *      16    4 raw_bytes    payload after decompression
 *      20    1 type         enum kap_block_type
 *      21    1 compression  enum kap_compression
 *      22    2 reserved     zero; a reader rejects anything else
 *      24    8 checksum     XXH3-64 of everything before it, payload included; seed KAP_SEED_NODE for inner nodes,
 *                           KAP_SEED_BLOCK for the others. The same value stands in the pointer to the block. */
struct block_trailer {
    kap_le64 file_id, offset;
    kap_le32 raw_bytes;
    uint8_t type, compression, reserved[2];
    kap_le64 checksum;
};
_Static_assert(sizeof(struct block_trailer) == 32, "block_trailer: size");
_Static_assert(offsetof(struct block_trailer, type) == 20, "block_trailer: type");
_Static_assert(offsetof(struct block_trailer, checksum) == 24, "block_trailer: checksum");

/* Payload of a leaf: header, restarts, keys, values. Keys lie together and apart from the values, so that a search
 * walks a few cache lines and not one per 1 KB row.
 *  offset size field        meaning
 *       0    4 entry_count  1 ..
 *       4    4 key_bytes    length of the key part; the rest of the payload is the values, end to end
 *       8    8 seq_base     seq of the first entry
 *      16    4 restart[..]  one leaf_restart for entries 0, 16, 32 ..
 *          ..  keys         per entry: varint shared, varint unshared, varint value_bytes * 4 + enum kap_leaf_type,
 *                           varint zigzag(seq - seq of the entry before), unshared key bytes.
 *                           shared is exactly the common prefix with the key before; at a restart it is 0 and the seq
 *                           counts from seq_base.
 *          ..  values       in the order of the entries */
struct leaf_header {
    kap_le32 entry_count, key_bytes;
    kap_le64 seq_base;
};
_Static_assert(sizeof(struct leaf_header) == 16, "leaf_header: size");
_Static_assert(offsetof(struct leaf_header, seq_base) == 8, "leaf_header: seq_base");

/*  offset size field         meaning
 *       0    2 key_offset    of the entry within the keys
 *       2    2 value_offset  of its value within the values */
struct leaf_restart {
    kap_le16 key_offset, value_offset;
};
_Static_assert(sizeof(struct leaf_restart) == 4, "leaf_restart: size");
_Static_assert(KAP_LEAF_BYTES_MAX <= UINT16_MAX, "offsets in a leaf fit 16 bits");

/* Value of a KAP_LEAF_PUT_LARGE entry.
 *  offset size field         meaning
 *       0    8 offset        of the overflow block, in the same file, before this leaf
 *       8    8 checksum      its trailer's
 *      16    4 stored_bytes  trailer included
 *      20    4 raw_bytes     of the value: KAP_LEAF_VALUE_BYTES_MAX + 1 .. KAP_VALUE_BYTES_MAX */
struct leaf_overflow {
    kap_le64 offset, checksum;
    kap_le32 stored_bytes, raw_bytes;
};
_Static_assert(sizeof(struct leaf_overflow) == 24, "leaf_overflow: size");
_Static_assert(offsetof(struct leaf_overflow, stored_bytes) == 16, "leaf_overflow: stored_bytes");

/* Payload of an inner node: header, slots, prefix, separators. Never compressed: it is searched where it was read.
 *  offset size field         meaning
 *       0    2 child_count   1 ..
 *       2    2 prefix_bytes  common prefix of all separators, stored once
 *       4    1 level         1 when the children are leaves
 *       5    3 reserved      zero
 *       8   24 slot[..]      one node_slot per child
 *          ..  prefix
 *          ..  separators    the rest of each, end to end */
struct node_header {
    kap_le16 child_count, prefix_bytes;
    uint8_t level, reserved[3];
};
_Static_assert(sizeof(struct node_header) == 8, "node_header: size");

enum { KAP_NODE_SLOT_SEQ = 1 }; /* 8 bytes of seq, little-endian, follow the separator's key */

/* A child and the separator before it: every entry of the child is at or after it, every one of the child before is in
 * front of it. Child 0 has none. When versions of one key lie on both sides, the separator is that key and a seq.
 *  offset size field          meaning
 *       0    8 offset         of the child in the file
 *       8    8 checksum       its trailer's
 *      16    4 stored_bytes   trailer included
 *      20    2 separator_end  within the separators; it starts where the one before ends
 *      22    2 flags          KAP_NODE_SLOT_SEQ */
struct node_slot {
    kap_le64 offset, checksum;
    kap_le32 stored_bytes;
    kap_le16 separator_end, flags;
};
_Static_assert(sizeof(struct node_slot) == 24, "node_slot: size");
_Static_assert(offsetof(struct node_slot, stored_bytes) == 16, "node_slot: stored_bytes");
_Static_assert(offsetof(struct node_slot, separator_end) == 20, "node_slot: separator_end");
