#include "engine/btree/trailer.h"

#include "engine/base/checksum.h"

static uint64_t seed_of(uint8_t type)
{
    return type == KAP_BLOCK_INNER ? KAP_SEED_NODE : KAP_SEED_BLOCK;
}

void kap_trailer_seal(uint8_t *at, size_t payload_bytes, uint32_t raw_bytes, uint64_t file_id, uint64_t offset,
                      enum kap_block_type type, enum kap_compression compression, struct kap_block_ref *ref_out)
{
    struct block_trailer trailer = {
        .file_id = kap_le64_of(file_id),
        .offset = kap_le64_of(offset),
        .raw_bytes = kap_le32_of(raw_bytes),
        .type = (uint8_t)type,
        .compression = (uint8_t)compression,
    };
    size_t covered = payload_bytes + offsetof(struct block_trailer, checksum);
    memcpy(at + payload_bytes, &trailer, sizeof trailer);
    uint64_t checksum = kap_checksum(at, covered, seed_of((uint8_t)type));
    kap_le64_store(at + covered, checksum);
    *ref_out = (struct kap_block_ref){
        .file_id = file_id,
        .offset = offset,
        .checksum = checksum,
        .stored_bytes = (uint32_t)(payload_bytes + sizeof trailer),
        .type = (uint8_t)type,
    };
}

bool kap_trailer_check(const struct kap_block_ref *ref, struct kap_bytes stored, struct block_trailer *trailer_out)
{
    struct block_trailer trailer;
    if (stored.len != ref->stored_bytes || stored.len < sizeof trailer)
        return false;
    memcpy(&trailer, stored.data + stored.len - sizeof trailer, sizeof trailer);
    size_t covered = stored.len - sizeof trailer.checksum;
    if (kap_le64_get(trailer.checksum) != ref->checksum ||
        kap_checksum(stored.data, covered, seed_of(ref->type)) != ref->checksum)
        return false;
    if (kap_le64_get(trailer.file_id) != ref->file_id || kap_le64_get(trailer.offset) != ref->offset ||
        trailer.type != ref->type || trailer.reserved[0] != 0 || trailer.reserved[1] != 0)
        return false;
    *trailer_out = trailer;
    return true;
}
