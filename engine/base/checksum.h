/* checksum.h - XXH3-64 with one seed per format, so that well-formed bytes of another format never pass. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/base/bytes.h"

enum kap_seed {
    KAP_SEED_WAL = 0x57414c31,
    KAP_SEED_BLOCK = 0x424c4b31,
    KAP_SEED_NODE = 0x4e4f4431,
    KAP_SEED_FOOTER = 0x464f4f31,
    KAP_SEED_FILTER = 0x46494c31,
    KAP_SEED_MANIFEST = 0x4d414e31,
    KAP_SEED_SUPERBLOCK = 0x53555031,
    KAP_SEED_PACK = 0x50414b31,
    KAP_SEED_FILE_SET = 0x53455431,
    KAP_SEED_ROW = 0x524f5731,
};

uint64_t kap_checksum(const void *data, size_t len, uint64_t seed);
/* Hash for tables and filters: stable across machines and versions, because filters are stored. */
uint64_t kap_hash(struct kap_bytes bytes);
