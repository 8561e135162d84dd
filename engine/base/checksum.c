#include "engine/base/checksum.h"

#include <xxhash.h>

uint64_t kap_checksum(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

uint64_t kap_hash(struct kap_bytes bytes)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.len, 0x6b617068);
}
