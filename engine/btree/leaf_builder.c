#include "engine/base/assert.h"
#include "engine/base/varint.h"
#include "engine/btree/leaf.h"

void kap_leaf_builder_init(struct kap_leaf_builder *builder, struct kap_memory *memory)
{
    *builder = (struct kap_leaf_builder){0};
    kap_buffer_init(&builder->keys, memory);
    kap_buffer_init(&builder->values, memory);
    kap_buffer_init(&builder->restarts, memory);
}

void kap_leaf_builder_deinit(struct kap_leaf_builder *builder)
{
    kap_buffer_deinit(&builder->keys);
    kap_buffer_deinit(&builder->values);
    kap_buffer_deinit(&builder->restarts);
}

/* Four varints of at most 2, 2, 3 and 10 bytes; the restart may be a new one. */
size_t kap_leaf_entry_bytes_max(size_t key_bytes, size_t value_bytes)
{
    return sizeof(struct leaf_restart) + 17 + key_bytes + value_bytes;
}

size_t kap_leaf_builder_bytes(const struct kap_leaf_builder *builder)
{
    return sizeof(struct leaf_header) + builder->restarts.len + builder->keys.len + builder->values.len;
}

bool kap_leaf_builder_failed(const struct kap_leaf_builder *builder)
{
    return builder->keys.failed || builder->values.failed || builder->restarts.failed;
}

void kap_leaf_builder_add(struct kap_leaf_builder *builder, struct kap_bytes key, size_t shared, uint64_t seq,
                          enum kap_leaf_type type, struct kap_bytes value)
{
    KAP_ASSERT(key.len <= KAP_KEY_BYTES_MAX && value.len <= KAP_LEAF_VALUE_BYTES_MAX && shared <= key.len);
    KAP_ASSERT(kap_leaf_builder_bytes(builder) + kap_leaf_entry_bytes_max(key.len, value.len) <= KAP_LEAF_BYTES_MAX);
    if (builder->entry_count == 0)
        builder->seq_base = seq;
    if (builder->entry_count % KAP_LEAF_RESTART_EVERY == 0) {
        struct leaf_restart restart = {
            .key_offset = kap_le16_of((uint16_t)builder->keys.len),
            .value_offset = kap_le16_of((uint16_t)builder->values.len),
        };
        kap_buffer_append(&builder->restarts, &restart, sizeof restart);
        builder->seq_last = builder->seq_base;
        shared = 0;
    }
    uint64_t difference = seq - builder->seq_last;
    builder->seq_last = seq;
    builder->entry_count++;
    if (!kap_buffer_reserve(&builder->keys, kap_leaf_entry_bytes_max(key.len, 0)))
        return;
    uint8_t *at = builder->keys.data + builder->keys.len;
    at = kap_varint_write(at, shared);
    at = kap_varint_write(at, key.len - shared);
    at = kap_varint_write(at, (uint64_t)value.len << 2 | type);
    at = kap_varint_write(at, difference << 1 ^ (0 - (difference >> 63)));
    memcpy(at, key.data + shared, key.len - shared);
    builder->keys.len = (size_t)(at + key.len - shared - builder->keys.data);
    kap_buffer_append(&builder->values, value.data, value.len);
}

void kap_leaf_builder_finish(struct kap_leaf_builder *builder, struct kap_buffer *out)
{
    struct leaf_header header = {
        .entry_count = kap_le32_of(builder->entry_count),
        .key_bytes = kap_le32_of((uint32_t)builder->keys.len),
        .seq_base = kap_le64_of(builder->seq_base),
    };
    kap_buffer_append(out, &header, sizeof header);
    kap_buffer_append(out, builder->restarts.data, builder->restarts.len);
    kap_buffer_append(out, builder->keys.data, builder->keys.len);
    kap_buffer_append(out, builder->values.data, builder->values.len);
    kap_buffer_clear(&builder->keys);
    kap_buffer_clear(&builder->values);
    kap_buffer_clear(&builder->restarts);
    builder->entry_count = 0;
}
