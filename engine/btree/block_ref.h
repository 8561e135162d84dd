/* block_ref.h - where a block lies and what it must hash to: the pointer of the B+tree. */
#pragma once

#include "engine/btree/btree_format.h"

struct kap_block_ref {
    uint64_t file_id;
    uint64_t offset; /* in the file, unaligned */
    uint64_t checksum; /* of the block's trailer: proves that it is the block meant, in its newest state */
    uint32_t stored_bytes; /* what to read, trailer included */
    uint8_t type; /* enum kap_block_type */
};
