#include "engine/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/varint.h"

void kap_buffer_init(struct kap_buffer *buffer, struct kap_memory *memory)
{
    *buffer = (struct kap_buffer){.memory = memory};
}

void kap_buffer_deinit(struct kap_buffer *buffer)
{
    kap_memory_free(buffer->memory, buffer->data);
    buffer->data = NULL;
    buffer->len = buffer->cap = 0;
}

void kap_buffer_clear(struct kap_buffer *buffer)
{
    buffer->len = 0;
    buffer->failed = false;
}

bool kap_buffer_reserve(struct kap_buffer *buffer, size_t bytes)
{
    if (buffer->cap - buffer->len >= bytes)
        return true;
    size_t cap = buffer->cap ? buffer->cap * 2 : 256;
    while (cap < buffer->len + bytes)
        cap *= 2;
    uint8_t *data = kap_memory_resize(buffer->memory, buffer->data, cap);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->cap = cap;
    return true;
}

void kap_buffer_append(struct kap_buffer *buffer, const void *data, size_t len)
{
    if (len == 0 || !kap_buffer_reserve(buffer, len))
        return;
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
}

void kap_buffer_append_u8(struct kap_buffer *buffer, uint8_t value)
{
    kap_buffer_append(buffer, &value, 1);
}

void kap_buffer_append_varint(struct kap_buffer *buffer, uint64_t value)
{
    if (!kap_buffer_reserve(buffer, KAP_VARINT_BYTES_MAX))
        return;
    buffer->len = (size_t)(kap_varint_write(buffer->data + buffer->len, value) - buffer->data);
}

void kap_buffer_printf(struct kap_buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len >= 0 && kap_buffer_reserve(buffer, (size_t)len + 1)) {
        vsnprintf((char *)buffer->data + buffer->len, (size_t)len + 1, format, again);
        buffer->len += (size_t)len;
    }
    va_end(again);
}
