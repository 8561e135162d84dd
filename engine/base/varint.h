/* varint.h - base-128 integers, least significant group first, as protobuf writes them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { KAP_VARINT_BYTES_MAX = 10 };

static inline size_t kap_varint_size(uint64_t value)
{
    return (size_t)(63 - __builtin_clzll(value | 1)) / 7 + 1;
}

/* Writes at most KAP_VARINT_BYTES_MAX bytes; returns the end. */
static inline uint8_t *kap_varint_write(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

/* Returns the byte after the integer, or NULL when it is cut off or longer than 64 bits. */
static inline const uint8_t *kap_varint_read(const uint8_t *at, const uint8_t *end, uint64_t *value_out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1)
            return NULL;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value_out = value;
            return at;
        }
    }
    return NULL;
}
