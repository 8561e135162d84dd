#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/base/varint.h"
#include "proto/wire.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2 };

/* The integer that a number field writes: zigzag for sint, sign-extended for int32 and enums. */
static uint64_t number_load(const struct kap_field *field, const void *at)
{
    switch (field->type) {
    case KAP_FIELD_BOOL:
        return *(const bool *)at;
    case KAP_FIELD_UINT32:
        return *(const uint32_t *)at;
    case KAP_FIELD_INT32:
    case KAP_FIELD_ENUM:
        return (uint64_t)(int64_t) * (const int32_t *)at;
    case KAP_FIELD_SINT32: {
        int32_t value = *(const int32_t *)at;
        return (uint32_t)value << 1 ^ (uint32_t)(value >> 31);
    }
    case KAP_FIELD_SINT64: {
        int64_t value = *(const int64_t *)at;
        return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    }
    default: {
        uint64_t bits;
        memcpy(&bits, at, 8);
        return bits;
    }
    }
}

static bool is_fixed64(const struct kap_field *field)
{
    return field->type == KAP_FIELD_FIXED64 || field->type == KAP_FIELD_SFIXED64 || field->type == KAP_FIELD_DOUBLE;
}

static bool is_number(const struct kap_field *field)
{
    return field->type <= KAP_FIELD_ENUM;
}

static uint64_t tag_of(const struct kap_field *field, uint32_t wire)
{
    return (uint64_t)field->number << 3 | wire;
}

/* Of a length-delimited value. */
static size_t content_size(const struct kap_field *field, const void *at)
{
    if (field->type == KAP_FIELD_ID)
        return sizeof(struct kap_id);
    if (field->type == KAP_FIELD_MESSAGE)
        return kap_wire_size(field->msg, at);
    return ((const struct kap_bytes *)at)->len;
}

static size_t number_size(const struct kap_field *field, const void *at)
{
    return is_fixed64(field) ? 8 : kap_varint_size(number_load(field, at));
}

static size_t packed_size(const struct kap_field *field, const void *in, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += number_size(field, kap_field_item(field, in, i));
    return size;
}

static size_t field_size(const struct kap_field *field, const void *in)
{
    size_t n = kap_field_count(field, in);
    size_t tag = kap_varint_size(tag_of(field, 0)), size = 0;
    if (n == 0)
        return 0;
    if (is_number(field)) {
        if (!field->repeated)
            return tag + number_size(field, kap_field_item(field, in, 0));
        size = packed_size(field, in, n);
        return tag + kap_varint_size(size) + size;
    }
    for (size_t i = 0; i < n; i++) {
        size_t content = content_size(field, kap_field_item(field, in, i));
        size += tag + kap_varint_size(content) + content;
    }
    return size;
}

size_t kap_wire_size(const struct kap_msg *msg, const void *in)
{
    size_t size = 0;
    for (size_t i = 0; i < msg->n_fields; i++)
        size += field_size(&msg->fields[i], in);
    if (msg->unknown_at)
        size += ((const struct kap_bytes *)(const void *)((const uint8_t *)in + msg->unknown_at))->len;
    return size;
}

static uint8_t *bytes_write(uint8_t *at, struct kap_bytes bytes)
{
    if (bytes.len > 0)
        memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

static uint8_t *number_write(const struct kap_field *field, const void *value, uint8_t *at)
{
    uint64_t number = number_load(field, value);
    if (!is_fixed64(field))
        return kap_varint_write(at, number);
    kap_le64_store(at, number);
    return at + 8;
}

static uint8_t *content_write(const struct kap_field *field, const void *value, uint8_t *at)
{
    at = kap_varint_write(at, content_size(field, value));
    if (field->type == KAP_FIELD_ID)
        return bytes_write(at, kap_bytes(value, sizeof(struct kap_id)));
    if (field->type == KAP_FIELD_MESSAGE)
        return kap_wire_encode(field->msg, value, at);
    return bytes_write(at, *(const struct kap_bytes *)value);
}

static uint8_t *field_write(const struct kap_field *field, const void *in, uint8_t *at)
{
    size_t n = kap_field_count(field, in);
    if (n == 0)
        return at;
    if (is_number(field) && field->repeated) {
        at = kap_varint_write(at, tag_of(field, WIRE_BYTES));
        at = kap_varint_write(at, packed_size(field, in, n));
        for (size_t i = 0; i < n; i++)
            at = number_write(field, kap_field_item(field, in, i), at);
        return at;
    }
    if (is_number(field)) {
        at = kap_varint_write(at, tag_of(field, is_fixed64(field) ? WIRE_64 : WIRE_VARINT));
        return number_write(field, kap_field_item(field, in, 0), at);
    }
    for (size_t i = 0; i < n; i++) {
        at = kap_varint_write(at, tag_of(field, WIRE_BYTES));
        at = content_write(field, kap_field_item(field, in, i), at);
    }
    return at;
}

uint8_t *kap_wire_encode(const struct kap_msg *msg, const void *in, uint8_t *out)
{
    for (size_t i = 0; i < msg->n_fields; i++)
        out = field_write(&msg->fields[i], in, out);
    if (msg->unknown_at)
        out = bytes_write(out, *(const struct kap_bytes *)(const void *)((const uint8_t *)in + msg->unknown_at));
    return out;
}

struct kap_bytes kap_wire_encode_in(const struct kap_msg *msg, const void *in, struct kap_arena *arena)
{
    size_t size = kap_wire_size(msg, in);
    uint8_t *out = kap_arena_push_bytes(arena, size + 1); /* an empty message is not NULL */
    if (!out)
        return kap_bytes(NULL, 0);
    uint8_t *end = kap_wire_encode(msg, in, out);
    KAP_ASSERT(end == out + size);
    return kap_bytes(out, size);
}
