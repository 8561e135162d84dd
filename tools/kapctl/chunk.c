#include "tools/kapctl/chunk.h"

#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/blob/blob_format.h"

const char *chunk_check(struct kap_bytes from_here, uint64_t offset, struct chunk_check *check_out)
{
    struct blob_chunk header;
    *check_out = (struct chunk_check){0};
    if (from_here.len < sizeof header)
        return "the file ends before the chunk's header does";
    memcpy(&header, from_here.data, sizeof header);
    uint64_t checksum = kap_checksum(from_here.data + 8, sizeof header - 8, KAP_SEED_PACK);
    if (kap_le64_get(header.magic) != KAP_CHUNK_MAGIC)
        return "there is no chunk";
    if (checksum != kap_le64_get(header.checksum))
        return "the chunk's header does not match its checksum";
    uint32_t bytes = kap_le32_get(header.bytes);
    if (bytes == 0 || bytes > KAP_CHUNK_BYTES || kap_le64_get(header.offset) != offset)
        return "the chunk's header belongs elsewhere";
    *check_out = (struct chunk_check){.bytes = bytes,
                                      .checksum_low = (uint32_t)checksum,
                                      .pack = kap_le64_get(header.pack),
                                      .offset = offset,
                                      .store_hash = kap_le64_get(header.store_hash)};
    if (from_here.len - sizeof header < bytes)
        return "the file ends before the chunk does";
    const uint8_t *data = from_here.data + sizeof header;
    for (uint32_t from = 0; from < bytes; from += KAP_PIECE_BYTES, check_out->pieces++) {
        uint32_t len = KAP_MIN(bytes - from, (uint32_t)KAP_PIECE_BYTES);
        if (kap_checksum(data + from, len, KAP_SEED_PACK) == kap_le64_get(header.pieces[from / KAP_PIECE_BYTES]))
            continue;
        if (check_out->bad_pieces++ == 0)
            check_out->first_bad = from;
    }
    return NULL;
}
