/* segment_meta.h - what the manifest keeps of a segment: enough to find, order and prove it.
 *
 * Ownership  the keys are borrowed from whoever filled the struct: a builder until it is destroyed, an open segment
 *            until it is closed, the manifest's own copy as it says. */
#pragma once

#include "engine/base/bytes.h"

struct kap_segment_meta {
    uint64_t file_id;
    uint64_t file_bytes; /* a multiple of 4096: tail_offset + tail_bytes */
    uint64_t tail_offset;
    uint32_t tail_bytes;
    uint64_t tail_checksum; /* the footer's; proves the tail, which proves every block */
    uint64_t entries;
    uint64_t deletes; /* of them */
    uint64_t seq_min, seq_max;
    uint64_t raw_bytes; /* keys and values before truncation and compression */
    uint64_t content_hash; /* sum of the hashes of all entries: of two files holding the same, the same */
    uint32_t tree_count;
    struct kap_bytes smallest, largest; /* both included; empty in an empty file */
};
