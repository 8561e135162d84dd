/* le.h - little-endian integers of stored formats, big-endian ones of keys.
 *
 * kap_le16/32/64 are structs of bytes: no padding, no alignment, no accidental assignment from a host integer. */
#pragma once

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "kap runs on little-endian machines");

typedef struct kap_le16 {
    uint8_t bytes[2];
} kap_le16;
typedef struct kap_le32 {
    uint8_t bytes[4];
} kap_le32;
typedef struct kap_le64 {
    uint8_t bytes[8];
} kap_le64;

#define KAP_LE_FUNCTIONS(bits)                                        \
    static inline uint##bits##_t kap_le##bits##_get(kap_le##bits le)  \
    {                                                                 \
        uint##bits##_t host;                                          \
        memcpy(&host, le.bytes, sizeof host);                         \
        return host;                                                  \
    }                                                                 \
    static inline kap_le##bits kap_le##bits##_of(uint##bits##_t host) \
    {                                                                 \
        kap_le##bits le;                                              \
        memcpy(le.bytes, &host, sizeof host);                         \
        return le;                                                    \
    }                                                                 \
    static inline uint##bits##_t kap_le##bits##_load(const void *at)  \
    {                                                                 \
        uint##bits##_t host;                                          \
        memcpy(&host, at, sizeof host);                               \
        return host;                                                  \
    }                                                                 \
    static inline void kap_le##bits##_store(void *at, uint##bits##_t host) \
    {                                                                 \
        memcpy(at, &host, sizeof host);                               \
    }                                                                 \
    static inline uint##bits##_t kap_be##bits##_load(const void *at)  \
    {                                                                 \
        uint##bits##_t host;                                          \
        memcpy(&host, at, sizeof host);                               \
        return __builtin_bswap##bits(host);                           \
    }                                                                 \
    static inline void kap_be##bits##_store(void *at, uint##bits##_t host) \
    {                                                                 \
        host = __builtin_bswap##bits(host);                           \
        memcpy(at, &host, sizeof host);                               \
    }

KAP_LE_FUNCTIONS(16)
KAP_LE_FUNCTIONS(32)
KAP_LE_FUNCTIONS(64)
#undef KAP_LE_FUNCTIONS
