/* buffer.h - a growing byte string with one owner.
 *
 * Errors  appending sets .failed instead of returning: check once at the end. A failed buffer keeps what it had. */
#pragma once

#include <stdbool.h>

#include "engine/base/bytes.h"
#include "engine/base/memory.h"

struct kap_buffer {
    struct kap_memory *memory;
    uint8_t *data;
    size_t len, cap;
    bool failed;
};

void kap_buffer_init(struct kap_buffer *buffer, struct kap_memory *memory);
void kap_buffer_deinit(struct kap_buffer *buffer);
void kap_buffer_clear(struct kap_buffer *buffer); /* keeps the memory */
/* Room for bytes more at data + len; false (and .failed) when there is none. Does not move len. */
bool kap_buffer_reserve(struct kap_buffer *buffer, size_t bytes);
void kap_buffer_append(struct kap_buffer *buffer, const void *data, size_t len);
void kap_buffer_append_u8(struct kap_buffer *buffer, uint8_t value);
void kap_buffer_append_varint(struct kap_buffer *buffer, uint64_t value);
void kap_buffer_printf(struct kap_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline struct kap_bytes kap_buffer_bytes(const struct kap_buffer *buffer)
{
    return kap_bytes(buffer->data, buffer->len);
}
