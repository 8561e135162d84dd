/* bytes.h - a borrowed range of bytes, and the 16-byte id.
 *
 * Ownership  none: the header of whoever hands one out says until when it is valid. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct kap_bytes {
    const uint8_t *data;
    size_t len;
};

static inline struct kap_bytes kap_bytes(const void *data, size_t len)
{
    return (struct kap_bytes){.data = data, .len = len};
}

static inline struct kap_bytes kap_bytes_str(const char *text)
{
    return kap_bytes(text, strlen(text));
}

/* memcmp order; a prefix sorts first. This is the order of every key in kap. */
static inline int kap_bytes_cmp(struct kap_bytes a, struct kap_bytes b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool kap_bytes_eq(struct kap_bytes a, struct kap_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool kap_bytes_starts(struct kap_bytes bytes, struct kap_bytes prefix)
{
    return bytes.len >= prefix.len && (prefix.len == 0 || memcmp(bytes.data, prefix.data, prefix.len) == 0);
}

/* UUID, raw, in the order of its canonical text; all zero means none. */
struct kap_id {
    uint8_t bytes[16];
};
_Static_assert(sizeof(struct kap_id) == 16, "kap_id: size");

static inline int kap_id_cmp(struct kap_id a, struct kap_id b)
{
    return memcmp(a.bytes, b.bytes, 16);
}

static inline bool kap_id_eq(struct kap_id a, struct kap_id b)
{
    return memcmp(a.bytes, b.bytes, 16) == 0;
}

static inline bool kap_id_is_nil(struct kap_id id)
{
    static const struct kap_id nil;
    return kap_id_eq(id, nil);
}
