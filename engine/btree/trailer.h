/* trailer.h - the end of every block: made once, checked on every load. */
#pragma once

#include "engine/base/bytes.h"
#include "engine/btree/block_ref.h"

/* at: the payload as stored, with room for the trailer behind it. Fills the trailer and ref_out. */
void kap_trailer_seal(uint8_t *at, size_t payload_bytes, uint32_t raw_bytes, uint64_t file_id, uint64_t offset,
                      enum kap_block_type type, enum kap_compression compression, struct kap_block_ref *ref_out);
/* Length, checksum against content and against ref, file, offset, type, reserved bytes. On success trailer_out is what
 * the block says of itself: raw_bytes and compression are still to be judged. */
bool kap_trailer_check(const struct kap_block_ref *ref, struct kap_bytes stored, struct block_trailer *trailer_out);
