#include "engine/segment/block.h"

#include <lz4.h>

#include "engine/base/assert.h"
#include "engine/btree/trailer.h"

static uint32_t raw_bytes_max(uint8_t type)
{
    return type == KAP_BLOCK_LEAF ? KAP_LEAF_BYTES_MAX : KAP_VALUE_BYTES_MAX;
}

static kap_status corrupt(const struct kap_block_ref *ref, const char *what, struct kap_error *error)
{
    return kap_error_set(error, KAP_CORRUPT, "block of %u bytes at offset %llu of segment %llu: %s", ref->stored_bytes,
                         (unsigned long long)ref->offset, (unsigned long long)ref->file_id, what);
}

static bool payload_unpack(struct kap_bytes packed, uint8_t compression, uint8_t *to, uint32_t raw_bytes)
{
    switch (compression) {
    case KAP_COMPRESSION_NONE:
        if (packed.len != raw_bytes)
            return false;
        memcpy(to, packed.data, raw_bytes);
        return true;
    case KAP_COMPRESSION_LZ4:
        return LZ4_decompress_safe((const char *)packed.data, (char *)to, (int)packed.len, (int)raw_bytes) ==
               (int)raw_bytes;
    default:
        return false;
    }
}

kap_status kap_block_load(struct kap_memory *memory, const struct kap_block_ref *ref, struct kap_bytes stored,
                          struct kap_block **block_out, struct kap_error *error)
{
    struct block_trailer trailer;
    if (ref->type != KAP_BLOCK_LEAF && ref->type != KAP_BLOCK_OVERFLOW)
        return corrupt(ref, "neither a leaf nor a value", error);
    if (!kap_trailer_check(ref, stored, &trailer))
        return corrupt(ref, "checksum or place does not match the pointer", error);
    uint32_t raw_bytes = kap_le32_get(trailer.raw_bytes);
    if (raw_bytes == 0 || raw_bytes > raw_bytes_max(ref->type))
        return corrupt(ref, "length out of range", error);
    /* Not zeroed, and on a cache line: the first bytes of a leaf are its restarts. */
    size_t head_bytes = (sizeof(struct kap_block) + 63) / 64 * 64;
    struct kap_block *block = kap_memory_alloc_aligned(memory, 64, head_bytes + raw_bytes);
    if (!block)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a block of %u bytes", raw_bytes);
    *block = (struct kap_block){.ref = *ref, .memory_bytes = head_bytes + raw_bytes};
    uint8_t *raw = (uint8_t *)block + head_bytes;
    struct kap_bytes packed = kap_bytes(stored.data, stored.len - sizeof trailer);
    bool valid = payload_unpack(packed, trailer.compression, raw, raw_bytes);
    if (valid && ref->type == KAP_BLOCK_LEAF)
        valid = kap_leaf_check(kap_bytes(raw, raw_bytes), &block->leaf);
    if (!valid) {
        kap_block_free(memory, block);
        return corrupt(ref, "payload is not well formed", error);
    }
    if (ref->type == KAP_BLOCK_OVERFLOW)
        block->value = kap_bytes(raw, raw_bytes);
    *block_out = block;
    return KAP_OK;
}

void kap_block_free(struct kap_memory *memory, struct kap_block *block)
{
    kap_memory_free(memory, block);
}

/* 12.5 %: below that, unpacking on every load costs more than the bytes saved. */
static uint32_t packed_bytes_max(size_t raw_bytes)
{
    return (uint32_t)(raw_bytes - raw_bytes / 8);
}

void kap_block_seal(struct kap_buffer *out, uint64_t file_id, uint64_t offset, enum kap_block_type type, bool compress,
                    struct kap_bytes payload, struct kap_block_ref *ref_out)
{
    KAP_ASSERT(payload.len > 0 && payload.len <= raw_bytes_max((uint8_t)type));
    if (!kap_buffer_reserve(out, payload.len + sizeof(struct block_trailer)))
        return;
    uint8_t *at = out->data + out->len;
    enum kap_compression compression = KAP_COMPRESSION_NONE;
    int packed_bytes = 0;
    if (compress)
        packed_bytes = LZ4_compress_default((const char *)payload.data, (char *)at, (int)payload.len,
                                            (int)packed_bytes_max(payload.len));
    if (packed_bytes > 0) {
        compression = KAP_COMPRESSION_LZ4;
    } else {
        packed_bytes = (int)payload.len;
        memcpy(at, payload.data, payload.len);
    }
    kap_trailer_seal(at, (size_t)packed_bytes, (uint32_t)payload.len, file_id, offset, type, compression, ref_out);
    out->len += ref_out->stored_bytes;
}
