#include "engine/segment/filter.h"

#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/segment/segment_format.h"

static size_t line_of(uint64_t hash, uint32_t line_count)
{
    return (size_t)((hash >> 32) * line_count >> 32);
}

void kap_filter_build(const uint64_t *hashes, size_t count, struct kap_buffer *out)
{
    const size_t line_bits = KAP_FILTER_LINE_BYTES * 8;
    size_t line_count = (count * KAP_FILTER_BITS_PER_KEY + line_bits - 1) / line_bits;
    size_t bytes = sizeof(struct filter_header) + line_count * KAP_FILTER_LINE_BYTES;
    KAP_ASSERT(line_count <= UINT32_MAX / KAP_FILTER_LINE_BYTES);
    if (!kap_buffer_reserve(out, bytes))
        return;
    uint8_t *at = out->data + out->len, *lines = at + sizeof(struct filter_header);
    memset(at, 0, bytes);
    for (size_t i = 0; i < count; i++) {
        uint8_t *line = lines + line_of(hashes[i], (uint32_t)line_count) * KAP_FILTER_LINE_BYTES;
        uint64_t mix = hashes[i] * KAP_FILTER_MIX;
        for (int probe = 0; probe < KAP_FILTER_PROBES; probe++, mix <<= 9)
            line[mix >> 58] |= (uint8_t)(1u << (mix >> 55 & 7));
    }
    struct filter_header header = {
        .items = kap_le64_of(count),
        .line_count = kap_le32_of((uint32_t)line_count),
        .kind = KAP_FILTER_BLOOM,
        .probes = KAP_FILTER_PROBES,
    };
    memcpy(at, &header, sizeof header);
    kap_le64_store(at, kap_checksum(at + 8, bytes - 8, KAP_SEED_FILTER));
    out->len += bytes;
}

bool kap_filter_open(struct kap_bytes stored, struct kap_filter *filter_out)
{
    struct filter_header header;
    if (stored.len < sizeof header)
        return false;
    memcpy(&header, stored.data, sizeof header);
    if (kap_le64_get(header.checksum) != kap_checksum(stored.data + 8, stored.len - 8, KAP_SEED_FILTER))
        return false;
    uint64_t line_count = kap_le32_get(header.line_count);
    if (header.kind != KAP_FILTER_BLOOM || header.probes != KAP_FILTER_PROBES ||
        stored.len != sizeof header + line_count * KAP_FILTER_LINE_BYTES)
        return false;
    for (size_t i = 0; i < sizeof header.reserved; i++)
        if (header.reserved[i] != 0)
            return false;
    *filter_out = (struct kap_filter){.lines = stored.data + sizeof header, .line_count = (uint32_t)line_count};
    return true;
}

bool kap_filter_may_contain(const struct kap_filter *filter, uint64_t hash)
{
    if (filter->line_count == 0)
        return false;
    const uint8_t *line = filter->lines + line_of(hash, filter->line_count) * KAP_FILTER_LINE_BYTES;
    uint64_t mix = hash * KAP_FILTER_MIX;
    unsigned missing = 0;
    for (int probe = 0; probe < KAP_FILTER_PROBES; probe++, mix <<= 9)
        missing |= ~(unsigned)line[mix >> 58] & 1u << (mix >> 55 & 7);
    return missing == 0;
}
