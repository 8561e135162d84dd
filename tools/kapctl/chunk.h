/* chunk.h - one chunk of a pack file, proved: header, then every piece. */
#pragma once

#include "engine/base/bytes.h"

struct chunk_check {
    uint32_t bytes; /* of data, after the header */
    uint32_t checksum_low; /* of the header: what a reference to it repeats */
    uint64_t pack, offset, store_hash; /* as the header says */
    uint32_t pieces, bad_pieces;
    uint32_t first_bad; /* offset of the first bad piece in the data */
};

/* What bytes, which stand at offset in a pack, begin with. NULL: a chunk, its bad pieces counted. Otherwise why not. */
const char *chunk_check(struct kap_bytes bytes, uint64_t offset, struct chunk_check *check_out);
