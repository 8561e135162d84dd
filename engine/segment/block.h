/* block.h - one leaf or overflow block, from its stored bytes to its verified form in memory and back.
 *
 * Trust   stored bytes are outside bytes. load compares both checksums, decompresses within bounds and walks the whole
 *         structure once, so that whoever reads a loaded block needs no bounds checks.
 * Errors  KAP_CORRUPT names file and offset in error. KAP_NO_MEMORY. */
#pragma once

#include "engine/base/buffer.h"
#include "engine/btree/block_ref.h"
#include "engine/btree/leaf.h"

struct kap_block {
    struct kap_block_ref ref;
    struct kap_leaf leaf; /* of a leaf block */
    struct kap_bytes value; /* of an overflow block */
    size_t memory_bytes; /* what the block costs, this struct included */
};

/* stored: exactly ref->stored_bytes. Copies what it needs. */
KAP_CHECKED kap_status kap_block_load(struct kap_memory *memory, const struct kap_block_ref *ref,
                                      struct kap_bytes stored, struct kap_block **block_out, struct kap_error *error);
void kap_block_free(struct kap_memory *memory, struct kap_block *block);

/* Appends payload (compressed if asked and worth it) and trailer to out, as the block at this file offset. Failure
 * shows in out->failed. ref_out is what points to it. */
void kap_block_seal(struct kap_buffer *out, uint64_t file_id, uint64_t offset, enum kap_block_type type, bool compress,
                    struct kap_bytes payload, struct kap_block_ref *ref_out);
