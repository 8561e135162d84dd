/* Decoded messages as values: clear, copy, merge, compare. */
#include "engine/base/assert.h"
#include "proto/wire.h"

static struct kap_bytes *unknown_of(const struct kap_msg *msg, void *message)
{
    return (struct kap_bytes *)(void *)((uint8_t *)message + msg->unknown_at);
}

void kap_wire_clear(const struct kap_msg *msg, void *message)
{
    memset(message, 0, msg->size);
}

static void field_clear(const struct kap_field *field, void *message)
{
    uint8_t *base = message;
    if (field->repeated)
        memset(base + field->has_at, 0, sizeof(size_t));
    else if (field->type != KAP_FIELD_MESSAGE)
        memset(base + field->has_at, 0, sizeof(bool));
    bool is_pointer = field->repeated || field->type == KAP_FIELD_MESSAGE;
    memset(base + field->value_at, 0, is_pointer ? sizeof(void *) : field->item_size);
}

bool kap_wire_clear_field(const struct kap_msg *msg, void *message, uint32_t number)
{
    const struct kap_field *field = kap_message_field(msg, number);
    if (!field)
        return false;
    field_clear(field, message);
    return true;
}

void kap_wire_clear_output(const struct kap_msg *msg, void *message)
{
    for (size_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        if (field->rules->flags & KAP_FIELD_OUTPUT || (msg->kind != 0 && field->number == 1))
            field_clear(field, message);
        else if (field->type == KAP_FIELD_MESSAGE && field->msg->kind == 0)
            for (size_t n = 0; n < kap_field_count(field, message); n++)
                kap_wire_clear_output(field->msg, (void *)(uintptr_t)kap_field_item(field, message, n));
    }
}

static kap_status value_copy(const struct kap_field *field, struct kap_arena *arena, void *at)
{
    struct kap_bytes *bytes = at;
    if (field->type != KAP_FIELD_STRING && field->type != KAP_FIELD_BYTES)
        return KAP_OK;
    *bytes = kap_arena_copy(arena, *bytes);
    return bytes->data ? KAP_OK : KAP_NO_MEMORY;
}

/* Gives the field of out, so far the same pointer as in the original, memory of its own. */
static kap_status field_copy(const struct kap_field *field, struct kap_arena *arena, uint8_t *out)
{
    size_t n = kap_field_count(field, out);
    if (n == 0)
        return KAP_OK;
    if (!field->repeated && field->type != KAP_FIELD_MESSAGE)
        return value_copy(field, arena, out + field->value_at);
    const uint8_t *from = kap_field_item(field, out, 0);
    uint8_t *to = kap_arena_push(arena, n * field->item_size);
    if (!to)
        return KAP_NO_MEMORY;
    memcpy(to, from, n * field->item_size);
    memcpy(out + field->value_at, &to, sizeof to);
    for (size_t i = 0; i < n; i++) {
        size_t at = i * field->item_size;
        kap_status status = field->type == KAP_FIELD_MESSAGE ? kap_wire_copy(field->msg, from + at, arena, to + at)
                                                             : value_copy(field, arena, to + at);
        if (status != KAP_OK)
            return status;
    }
    return KAP_OK;
}

kap_status kap_wire_copy(const struct kap_msg *msg, const void *from, struct kap_arena *arena, void *out)
{
    if (out != from)
        memcpy(out, from, msg->size);
    for (size_t i = 0; i < msg->n_fields; i++) {
        kap_status status = field_copy(&msg->fields[i], arena, out);
        if (status != KAP_OK)
            return status;
    }
    if (!msg->unknown_at || unknown_of(msg, out)->len == 0)
        return KAP_OK;
    *unknown_of(msg, out) = kap_arena_copy(arena, *unknown_of(msg, out));
    return unknown_of(msg, out)->data ? KAP_OK : KAP_NO_MEMORY;
}

void kap_wire_merge(const struct kap_msg *msg, void *base, const void *patch)
{
    uint8_t *to = base;
    const uint8_t *from = patch;
    for (size_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        if (kap_field_count(field, patch) == 0)
            continue;
        bool is_pointer = field->repeated || field->type == KAP_FIELD_MESSAGE;
        memcpy(to + field->value_at, from + field->value_at, is_pointer ? sizeof(void *) : field->item_size);
        if (field->repeated)
            memcpy(to + field->has_at, from + field->has_at, sizeof(size_t));
        else if (!is_pointer)
            to[field->has_at] = true;
    }
}

static bool value_equal(const struct kap_field *field, const void *a, const void *b)
{
    switch (field->type) {
    case KAP_FIELD_STRING:
    case KAP_FIELD_BYTES:
        return kap_bytes_eq(*(const struct kap_bytes *)a, *(const struct kap_bytes *)b);
    case KAP_FIELD_MESSAGE:
        return kap_wire_equal(field->msg, a, b);
    default:
        return memcmp(a, b, field->item_size) == 0;
    }
}

bool kap_wire_equal(const struct kap_msg *msg, const void *a, const void *b)
{
    for (size_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        size_t n = kap_field_count(field, a);
        if (n != kap_field_count(field, b))
            return false;
        for (size_t slot = 0; slot < n; slot++)
            if (!value_equal(field, kap_field_item(field, a, slot), kap_field_item(field, b, slot)))
                return false;
    }
    if (!msg->unknown_at)
        return true;
    const struct kap_bytes *unknown_a = (const void *)((const uint8_t *)a + msg->unknown_at);
    const struct kap_bytes *unknown_b = (const void *)((const uint8_t *)b + msg->unknown_at);
    return kap_bytes_eq(*unknown_a, *unknown_b);
}
