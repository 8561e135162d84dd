/* block_image.h - a block source over a piece of a file that lies in memory: for compaction, verify and tests.
 *
 * A window is the bytes from some offset on. A block outside it is KAP_PENDING and noted in .missing; the caller moves
 * the window there (one large read serves many blocks of a scan) and seeks again.
 * Ownership  the bytes stay the caller's and must live as long as the window; blocks live until release. */
#pragma once

#include "engine/segment/block_source.h"

struct kap_block_image {
    struct kap_block_source source;
    struct kap_memory *memory;
    struct kap_bytes bytes;
    uint64_t offset; /* of bytes in the file */
    struct kap_block **blocks; /* by offset, ascending */
    uint32_t block_count, block_cap;
    struct kap_block_ref missing; /* after KAP_PENDING */
    struct kap_error error; /* after a fault */
};

void kap_block_image_init(struct kap_block_image *image, struct kap_memory *memory, struct kap_bytes bytes,
                          uint64_t offset);
/* Forgets all blocks and looks at other bytes. */
void kap_block_image_move(struct kap_block_image *image, struct kap_bytes bytes, uint64_t offset);
void kap_block_image_deinit(struct kap_block_image *image);
