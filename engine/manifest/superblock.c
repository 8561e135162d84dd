#include "engine/base/checksum.h"
#include "engine/manifest/manifest.h"
#include "engine/manifest/manifest_format.h"

void kap_superblock_encode(const struct kap_superblock *superblock, uint8_t *copies_out)
{
    struct superblock_copy *copy = (struct superblock_copy *)copies_out;
    *copy = (struct superblock_copy){
        .magic = kap_le64_of(KAP_SUPERBLOCK_MAGIC),
        .format = kap_le32_of(KAP_STORE_FORMAT),
        .generation = kap_le64_of(superblock->generation),
        .manifest_no = kap_le64_of(superblock->manifest_no),
        .durable_frame = kap_le64_of(superblock->durable_frame),
        .wal_bytes = kap_le64_of(superblock->wal_bytes),
    };
    memcpy(copy->store_id, superblock->store_id.bytes, sizeof copy->store_id);
    copy->checksum = kap_le64_of(kap_checksum(copies_out + 8, sizeof *copy - 8, KAP_SEED_SUPERBLOCK));
    memcpy(copies_out + sizeof *copy, copies_out, sizeof *copy);
}

uint64_t kap_superblock_offset(uint64_t generation)
{
    return (generation % 2) * 2 * KAP_SUPERBLOCK_COPY_BYTES;
}

kap_status kap_superblock_parse(struct kap_bytes file, struct kap_superblock *superblock_out, struct kap_error *error)
{
    bool found = false;
    for (size_t at = 0; at + KAP_SUPERBLOCK_COPY_BYTES <= file.len; at += KAP_SUPERBLOCK_COPY_BYTES) {
        struct superblock_copy copy;
        memcpy(&copy, file.data + at, sizeof copy);
        if (kap_le64_get(copy.magic) != KAP_SUPERBLOCK_MAGIC ||
            kap_checksum(file.data + at + 8, sizeof copy - 8, KAP_SEED_SUPERBLOCK) != kap_le64_get(copy.checksum))
            continue;
        if (kap_le32_get(copy.format) != KAP_STORE_FORMAT)
            return kap_error_set(error, KAP_NEWER_FORMAT,
                                 "the store has format %u and this version reads format %u; use a newer kapd",
                                 kap_le32_get(copy.format), KAP_STORE_FORMAT);
        if (found && kap_le64_get(copy.generation) <= superblock_out->generation)
            continue;
        found = true;
        *superblock_out = (struct kap_superblock){.generation = kap_le64_get(copy.generation),
                                                  .manifest_no = kap_le64_get(copy.manifest_no),
                                                  .durable_frame = kap_le64_get(copy.durable_frame),
                                                  .wal_bytes = kap_le64_get(copy.wal_bytes)};
        memcpy(superblock_out->store_id.bytes, copy.store_id, sizeof copy.store_id);
    }
    if (!found)
        return kap_error_set(error, KAP_CORRUPT,
                             "none of the %d copies in the superblock is whole: this is no kap store, or a restore into it "
                             "was cut short; restore it again",
                             KAP_SUPERBLOCK_COPIES);
    return KAP_OK;
}
