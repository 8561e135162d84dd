/* segment_format.h - a segment file: leaf and overflow blocks, then the tail.
 *
 *   [blocks ..............][filters][inner nodes][directory][keys][zeros][footer]
 *   0                      tail_offset                                   file_bytes - 256, file_bytes = n * 4096
 *
 * The tail is read in one piece and stays resident. The footer's checksum covers the footer, the footer holds the
 * checksum of the rest of the tail, inner nodes hold those of the blocks: the manifest keeps the footer's and so proves
 * the whole file. Offsets of sections count from tail_offset. */
#pragma once

#include "engine/btree/btree_format.h"

#define KAP_SEGMENT_MAGIC 0x313047455350414bull /* "KAPSEG01" */

enum {
    KAP_SEGMENT_ALIGN = 4096,
    KAP_SEGMENT_TREES_MAX = 4096,
    KAP_FILTER_LINE_BYTES = 64,
    KAP_FILTER_BITS_PER_KEY = 10,
    KAP_FILTER_PROBES = 6,
    KAP_FILTER_BLOOM = 1, /* kind: blocked Bloom; a later kind may replace it */
};

/* A filter: this header, then the lines. An item is hashed with kap_hash; the upper half of the hash picks the line,
 * the product of the hash and KAP_FILTER_MIX gives six bit numbers of 9 bits, from the top.
 *  offset size field       meaning
 *       0    8 checksum    XXH3-64 of the rest of header and lines, seed KAP_SEED_FILTER
 *       8    8 items       added
 *      16    4 line_count  0 when there are no items
 *      20    1 kind        KAP_FILTER_BLOOM
 *      21    1 probes      KAP_FILTER_PROBES
 *      22   42 reserved    zero */
struct filter_header {
    kap_le64 checksum, items;
    kap_le32 line_count;
    uint8_t kind, probes, reserved[42];
};
_Static_assert(sizeof(struct filter_header) == KAP_FILTER_LINE_BYTES, "filter_header: size");
_Static_assert(offsetof(struct filter_header, kind) == 20, "filter_header: kind");
#define KAP_FILTER_MIX 0x9e3779b97f4a7c15ull

enum {
    KAP_SEGMENT_TREE_POINT = 1, /* whole keys are in the point filter */
    KAP_SEGMENT_TREE_PREFIX = 2, /* the first prefix_bytes of its keys are in the prefix filter */
};

/* One tree of the file. They stand in ascending order of number; every tree is a B+tree of its own.
 *  offset size field           meaning
 *       0    2 tree            its number: the first two bytes of its keys
 *       2    2 prefix_bytes    as the traits were when the file was built
 *       4    1 height          1: the root is a leaf
 *       5    1 flags           KAP_SEGMENT_TREE_*
 *       6    2 reserved        zero
 *       8    8 root_offset     in the file
 *      16    8 root_checksum
 *      24    4 root_bytes      stored
 *      28    4 inner_count     inner nodes
 *      32    8 inner_bytes     stored
 *      40    8 leaf_count
 *      48    8 leaf_bytes      stored
 *      56    8 overflow_bytes  stored
 *      64    8 entries
 *      72    8 deletes         of them
 *      80    8 raw_bytes       keys and values before truncation and compression */
struct segment_tree {
    kap_le16 tree, prefix_bytes;
    uint8_t height, flags, reserved[2];
    kap_le64 root_offset, root_checksum;
    kap_le32 root_bytes, inner_count;
    kap_le64 inner_bytes, leaf_count, leaf_bytes, overflow_bytes, entries, deletes, raw_bytes;
};
_Static_assert(sizeof(struct segment_tree) == 88, "segment_tree: size");
_Static_assert(offsetof(struct segment_tree, root_offset) == 8, "segment_tree: root_offset");
_Static_assert(offsetof(struct segment_tree, inner_bytes) == 32, "segment_tree: inner_bytes");

/* The last 256 bytes of the file.
 *  offset size field            meaning
 *       0    8 checksum         XXH3-64 of bytes 8 .. 256, seed KAP_SEED_FOOTER; the manifest's tail_checksum
 *       8    8 magic            KAP_SEGMENT_MAGIC; the last two characters are the version
 *      16    8 file_id
 *      24    8 file_bytes
 *      32    8 tail_offset
 *      40    8 body_checksum    XXH3-64 of the tail without the footer, seed KAP_SEED_FOOTER
 *      48    8 entries
 *      56    8 deletes
 *      64    8 seq_min          0 in an empty file
 *      72    8 seq_max
 *      80    8 raw_bytes        sum of the trees
 *      88    8 content_hash     sum over all entries of a hash of (key, seq, type, value): free of order and layout
 *      96    4 tree_count
 *     100    4 point_offset     filter of whole keys
 *     104    4 point_bytes
 *     108    4 prefix_offset    filter of prefixes
 *     112    4 prefix_bytes
 *     116    4 inner_offset     inner nodes: tree by tree, each from its lowest level to its root
 *     120    4 inner_bytes
 *     124    4 directory_offset tree_count times segment_tree
 *     128    4 keys_offset      smallest key, then largest key
 *     132    2 smallest_bytes
 *     134    2 largest_bytes
 *     136  120 reserved         zero */
struct segment_footer {
    kap_le64 checksum, magic, file_id, file_bytes, tail_offset, body_checksum;
    kap_le64 entries, deletes, seq_min, seq_max, raw_bytes, content_hash;
    kap_le32 tree_count, point_offset, point_bytes, prefix_offset, prefix_bytes;
    kap_le32 inner_offset, inner_bytes, directory_offset, keys_offset;
    kap_le16 smallest_bytes, largest_bytes;
    uint8_t reserved[120];
};
_Static_assert(sizeof(struct segment_footer) == 256, "segment_footer: size");
_Static_assert(offsetof(struct segment_footer, tree_count) == 96, "segment_footer: tree_count");
_Static_assert(offsetof(struct segment_footer, smallest_bytes) == 132, "segment_footer: smallest_bytes");
