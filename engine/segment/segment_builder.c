#include "engine/segment/segment_builder.h"

#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/segment/block.h"
#include "engine/segment/segment_internal.h"

/* filling -> finished   kap_segment_builder_finish()
 * filling -> failed     any allocation refused
 * Everything lives in the owner's thread. */

enum { OUTPUT_BYTES_FIRST = 256 * 1024, ENTRIES_EXPECTED_MAX = 1 << 24 };

kap_status kap_segment_builder_create(struct kap_memory *memory, uint64_t file_id, uint64_t entries_expected,
                                      struct kap_segment_builder **builder_out)
{
    struct kap_segment_builder *builder = kap_memory_alloc(memory, sizeof *builder);
    if (!builder)
        return KAP_NO_MEMORY;
    builder->memory = memory;
    builder->file_id = file_id;
    builder->seq_min = KAP_SEQ_MAX;
    kap_buffer_init(&builder->output, memory);
    kap_buffer_init(&builder->payload, memory);
    kap_buffer_init(&builder->point_hashes, memory);
    kap_buffer_init(&builder->prefix_hashes, memory);
    kap_leaf_builder_init(&builder->leaf, memory);
    uint64_t hashes = KAP_MIN(entries_expected, (uint64_t)ENTRIES_EXPECTED_MAX);
    if (!segment_output_reserve(builder, OUTPUT_BYTES_FIRST) ||
        !kap_buffer_reserve(&builder->point_hashes, hashes * sizeof(uint64_t))) {
        kap_segment_builder_destroy(builder);
        return KAP_NO_MEMORY;
    }
    *builder_out = builder;
    return KAP_OK;
}

void kap_segment_builder_destroy(struct kap_segment_builder *builder)
{
    if (!builder)
        return;
    for (uint32_t slot = 0; slot < builder->tree_count; slot++)
        kap_btree_builder_deinit(&builder->trees[slot].btree);
    kap_memory_free(builder->memory, builder->trees);
    kap_leaf_builder_deinit(&builder->leaf);
    kap_buffer_deinit(&builder->output);
    kap_buffer_deinit(&builder->payload);
    kap_buffer_deinit(&builder->point_hashes);
    kap_buffer_deinit(&builder->prefix_hashes);
    kap_memory_free(builder->memory, builder);
}

/* Output: an aligned buffer whose first part the caller has written already. */

bool segment_output_reserve(struct kap_segment_builder *builder, size_t bytes)
{
    struct kap_buffer *output = &builder->output;
    if (output->cap - output->len >= bytes)
        return true;
    size_t kept = output->len - builder->output_start, cap = output->cap ? output->cap : OUTPUT_BYTES_FIRST;
    while (cap < kept + bytes)
        cap *= 2;
    uint8_t *data = output->data;
    if (cap > output->cap) {
        data = kap_memory_alloc_aligned(builder->memory, KAP_SEGMENT_ALIGN, cap);
        if (!data)
            return false;
    }
    if (kept > 0)
        memmove(data, output->data + builder->output_start, kept);
    if (data != output->data) {
        kap_memory_free(builder->memory, output->data);
        output->data = data;
        output->cap = cap;
    }
    builder->output_offset += builder->output_start;
    builder->output_start = 0;
    output->len = kept;
    return true;
}

uint64_t segment_output_end(const struct kap_segment_builder *builder)
{
    return builder->output_offset + builder->output.len;
}

struct kap_bytes kap_segment_builder_output(const struct kap_segment_builder *builder)
{
    size_t start = builder->output_start;
    return kap_bytes(builder->output.data + start, builder->output.len - start);
}

void kap_segment_builder_drained(struct kap_segment_builder *builder, size_t n)
{
    KAP_ASSERT(n <= builder->output.len - builder->output_start);
    builder->output_start += n;
}

uint64_t kap_segment_builder_bytes(const struct kap_segment_builder *builder)
{
    uint64_t open_bytes = builder->leaf.entry_count ? kap_leaf_builder_bytes(&builder->leaf) : 0;
    return segment_output_end(builder) + open_bytes;
}

uint64_t kap_segment_builder_entries(const struct kap_segment_builder *builder)
{
    return builder->entries;
}

/* Blocks. */

static struct builder_tree *tree_now(struct kap_segment_builder *builder)
{
    return &builder->trees[builder->tree_count - 1];
}

static bool block_append(struct kap_segment_builder *builder, enum kap_block_type type, struct kap_bytes payload,
                         struct kap_block_ref *ref_out)
{
    if (!segment_output_reserve(builder, payload.len + sizeof(struct block_trailer)))
        return false;
    kap_block_seal(&builder->output, builder->file_id, segment_output_end(builder), type,
                   tree_now(builder)->traits.compress, payload, ref_out);
    return true;
}

kap_status segment_leaf_flush(struct kap_segment_builder *builder)
{
    struct kap_block_ref ref;
    if (builder->leaf.entry_count == 0)
        return KAP_OK;
    kap_buffer_clear(&builder->payload);
    if (kap_leaf_builder_failed(&builder->leaf))
        return KAP_NO_MEMORY;
    kap_leaf_builder_finish(&builder->leaf, &builder->payload);
    if (builder->payload.failed || !block_append(builder, KAP_BLOCK_LEAF, kap_buffer_bytes(&builder->payload), &ref))
        return KAP_NO_MEMORY;
    struct builder_tree *tree = tree_now(builder);
    struct kap_separator separator = {
        .key = kap_bytes(builder->separator, builder->separator_bytes),
        .seq = builder->separator_seq,
    };
    tree->leaf_count++;
    tree->leaf_bytes += ref.stored_bytes;
    return kap_btree_builder_add(&tree->btree, &ref, &separator);
}

/* Between the last key and this first key of a leaf: as short as tells them apart, with a seq if only that does. */
static void separator_set(struct kap_segment_builder *builder, const struct kap_entry *entry, size_t shared)
{
    bool same_key = shared == entry->key.len;
    builder->separator_bytes = same_key ? shared : shared + 1;
    builder->separator_seq = same_key ? entry->seq : KAP_SEQ_MAX;
    memcpy(builder->separator, entry->key.data, builder->separator_bytes);
}

static kap_status tree_begin(struct kap_segment_builder *builder, uint16_t number)
{
    kap_status status = segment_leaf_flush(builder);
    if (status != KAP_OK)
        return status;
    KAP_ASSERT(builder->tree_count < KAP_SEGMENT_TREES_MAX);
    if (builder->tree_count == builder->tree_cap) {
        uint32_t cap = builder->tree_cap ? builder->tree_cap * 2 : 8;
        struct builder_tree *trees = kap_memory_resize(builder->memory, builder->trees, cap * sizeof *trees);
        if (!trees)
            return KAP_NO_MEMORY;
        builder->trees = trees;
        builder->tree_cap = cap;
    }
    struct builder_tree *tree = &builder->trees[builder->tree_count++];
    *tree = (struct builder_tree){.number = number, .traits = kap_tree_traits(number)};
    kap_btree_builder_init(&tree->btree, builder->memory);
    return KAP_OK;
}

static bool overflow_append(struct kap_segment_builder *builder, struct kap_bytes value, struct leaf_overflow *out)
{
    struct kap_block_ref ref;
    KAP_ASSERT(value.len <= KAP_VALUE_BYTES_MAX);
    if (!block_append(builder, KAP_BLOCK_OVERFLOW, value, &ref))
        return false;
    tree_now(builder)->overflow_bytes += ref.stored_bytes;
    *out = (struct leaf_overflow){
        .offset = kap_le64_of(ref.offset),
        .checksum = kap_le64_of(ref.checksum),
        .stored_bytes = kap_le32_of(ref.stored_bytes),
        .raw_bytes = kap_le32_of((uint32_t)value.len),
    };
    return true;
}

/* Entries. */

static size_t key_shared(const struct kap_segment_builder *builder, struct kap_bytes key)
{
    size_t shared = 0, most = KAP_MIN(builder->key_bytes, key.len);
    while (most - shared >= 8) {
        uint64_t difference = kap_le64_load(builder->key + shared) ^ kap_le64_load(key.data + shared);
        if (difference != 0)
            return shared + (size_t)__builtin_ctzll(difference) / 8;
        shared += 8;
    }
    while (shared < most && builder->key[shared] == key.data[shared])
        shared++;
    return shared;
}

static void order_assert(const struct kap_segment_builder *builder, const struct kap_entry *entry, size_t shared)
{
    KAP_ASSERT(entry->key.len >= KAP_TREE_BYTES && entry->key.len <= KAP_KEY_BYTES_MAX);
    KAP_ASSERT(entry->type == KAP_ENTRY_PUT || (entry->type == KAP_ENTRY_DELETE && entry->value.len == 0));
    if (builder->entries == 0)
        return;
    if (shared == builder->key_bytes)
        KAP_ASSERT(entry->key.len > shared || entry->seq < builder->seq);
    else
        KAP_ASSERT(entry->key.len > shared && entry->key.data[shared] > builder->key[shared]);
}

/* Versions of a key are neighbours, as are keys of a prefix, so each is hashed once. */
static bool filters_add(struct kap_segment_builder *builder, struct kap_bytes key, size_t shared)
{
    const struct kap_tree_traits *traits = &tree_now(builder)->traits;
    bool first = builder->entries == 0;
    if (traits->point_filter && (first || shared < key.len || builder->key_bytes != key.len)) {
        uint64_t hash = kap_hash(key);
        kap_buffer_append(&builder->point_hashes, &hash, sizeof hash);
    }
    if (traits->prefix_bytes > 0 && key.len >= traits->prefix_bytes && (first || shared < traits->prefix_bytes)) {
        uint64_t hash = kap_hash(kap_bytes(key.data, traits->prefix_bytes));
        kap_buffer_append(&builder->prefix_hashes, &hash, sizeof hash);
    }
    return !builder->point_hashes.failed && !builder->prefix_hashes.failed;
}

static void statistics_add(struct kap_segment_builder *builder, const struct kap_entry *entry)
{
    struct builder_tree *tree = tree_now(builder);
    builder->content_hash += kap_segment_entry_hash(entry);
    builder->entries++;
    builder->seq_min = KAP_MIN(builder->seq_min, entry->seq);
    builder->seq_max = KAP_MAX(builder->seq_max, entry->seq);
    tree->entries++;
    tree->deletes += entry->type == KAP_ENTRY_DELETE;
    tree->raw_bytes += entry->key.len + entry->value.len;
    if (builder->entries == 1) {
        memcpy(builder->smallest, entry->key.data, entry->key.len);
        builder->smallest_bytes = entry->key.len;
    }
    memcpy(builder->key, entry->key.data, entry->key.len);
    builder->key_bytes = entry->key.len;
    builder->seq = entry->seq;
}

static kap_status entry_add(struct kap_segment_builder *builder, const struct kap_entry *entry)
{
    struct leaf_overflow overflow;
    struct kap_bytes value = entry->value;
    enum kap_leaf_type type = entry->type == KAP_ENTRY_PUT ? KAP_LEAF_PUT : KAP_LEAF_DELETE;
    size_t shared = key_shared(builder, entry->key);
    uint16_t number = kap_tree_of(entry->key);
    kap_status status = KAP_OK;
    order_assert(builder, entry, shared);
    if (builder->tree_count == 0 || tree_now(builder)->number != number)
        status = tree_begin(builder, number);
    if (status == KAP_OK && value.len > KAP_LEAF_VALUE_BYTES_MAX) {
        status = overflow_append(builder, value, &overflow) ? KAP_OK : KAP_NO_MEMORY;
        type = KAP_LEAF_PUT_LARGE;
        value = kap_bytes(&overflow, sizeof overflow);
    }
    size_t leaf_bytes = kap_leaf_builder_bytes(&builder->leaf);
    if (status == KAP_OK && leaf_bytes + kap_leaf_entry_bytes_max(entry->key.len, value.len) > KAP_LEAF_BYTES_TARGET)
        status = segment_leaf_flush(builder);
    if (status != KAP_OK)
        return status;
    if (builder->leaf.entry_count == 0)
        separator_set(builder, entry, shared);
    kap_leaf_builder_add(&builder->leaf, entry->key, shared, entry->seq, type, value);
    if (!filters_add(builder, entry->key, shared) || kap_leaf_builder_failed(&builder->leaf))
        return KAP_NO_MEMORY;
    statistics_add(builder, entry);
    return KAP_OK;
}

kap_status kap_segment_builder_add(struct kap_segment_builder *builder, const struct kap_entry *entry)
{
    KAP_ASSERT(!builder->finished && !builder->failed);
    kap_status status = entry_add(builder, entry);
    builder->failed = status != KAP_OK;
    return status;
}
