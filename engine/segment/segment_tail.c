#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/segment/segment_builder.h"
#include "engine/segment/segment_internal.h"

/* The builder's last act: everything above the leaves, in the order in which segment_format.h draws it. */

struct tail {
    struct kap_buffer bytes;
    struct segment_footer footer;
    uint64_t offset; /* in the file */
};

static kap_le32 tail_mark(const struct tail *tail)
{
    return kap_le32_of((uint32_t)tail->bytes.len);
}

static void filters_append(struct tail *tail, const struct kap_segment_builder *builder)
{
    const struct kap_buffer *points = &builder->point_hashes, *prefixes = &builder->prefix_hashes;
    tail->footer.point_offset = tail_mark(tail);
    kap_filter_build((const uint64_t *)(const void *)points->data, points->len / sizeof(uint64_t), &tail->bytes);
    tail->footer.point_bytes = tail_mark(tail);
    tail->footer.prefix_offset = tail_mark(tail);
    kap_filter_build((const uint64_t *)(const void *)prefixes->data, prefixes->len / sizeof(uint64_t), &tail->bytes);
    tail->footer.prefix_bytes = kap_le32_of((uint32_t)(tail->bytes.len - kap_le32_get(tail->footer.prefix_offset)));
}

static struct segment_tree tree_record(const struct builder_tree *tree, const struct kap_btree_built *built)
{
    unsigned flags = (tree->traits.point_filter ? KAP_SEGMENT_TREE_POINT : 0) |
                     (tree->traits.prefix_bytes > 0 ? KAP_SEGMENT_TREE_PREFIX : 0);
    return (struct segment_tree){
        .tree = kap_le16_of(tree->number),
        .prefix_bytes = kap_le16_of(tree->traits.prefix_bytes),
        .height = built->height,
        .flags = (uint8_t)flags,
        .root_offset = kap_le64_of(built->root.offset),
        .root_checksum = kap_le64_of(built->root.checksum),
        .root_bytes = kap_le32_of(built->root.stored_bytes),
        .inner_count = kap_le32_of((uint32_t)built->inner_count),
        .inner_bytes = kap_le64_of(built->inner_bytes),
        .leaf_count = kap_le64_of(tree->leaf_count),
        .leaf_bytes = kap_le64_of(tree->leaf_bytes),
        .overflow_bytes = kap_le64_of(tree->overflow_bytes),
        .entries = kap_le64_of(tree->entries),
        .deletes = kap_le64_of(tree->deletes),
        .raw_bytes = kap_le64_of(tree->raw_bytes),
    };
}

static kap_status trees_append(struct tail *tail, struct kap_segment_builder *builder)
{
    struct kap_buffer directory;
    kap_status status = KAP_OK;
    uint64_t deletes = 0, raw_bytes = 0;
    uint32_t inner_offset = (uint32_t)tail->bytes.len;
    kap_buffer_init(&directory, builder->memory);
    for (uint32_t slot = 0; status == KAP_OK && slot < builder->tree_count; slot++) {
        struct builder_tree *tree = &builder->trees[slot];
        struct kap_btree_built built;
        status = kap_btree_builder_finish(&tree->btree, builder->file_id, tail->offset, &tail->bytes, &built);
        if (status != KAP_OK)
            break;
        struct segment_tree record = tree_record(tree, &built);
        kap_buffer_append(&directory, &record, sizeof record);
        deletes += tree->deletes;
        raw_bytes += tree->raw_bytes;
    }
    tail->footer.inner_offset = kap_le32_of(inner_offset);
    tail->footer.inner_bytes = kap_le32_of((uint32_t)tail->bytes.len - inner_offset);
    tail->footer.directory_offset = tail_mark(tail);
    tail->footer.tree_count = kap_le32_of(builder->tree_count);
    tail->footer.deletes = kap_le64_of(deletes);
    tail->footer.raw_bytes = kap_le64_of(raw_bytes);
    kap_buffer_append(&tail->bytes, directory.data, directory.len);
    if (directory.failed)
        status = KAP_NO_MEMORY;
    kap_buffer_deinit(&directory);
    return status;
}

static void keys_append(struct tail *tail, const struct kap_segment_builder *builder)
{
    tail->footer.keys_offset = tail_mark(tail);
    tail->footer.smallest_bytes = kap_le16_of((uint16_t)builder->smallest_bytes);
    tail->footer.largest_bytes = kap_le16_of((uint16_t)builder->key_bytes);
    kap_buffer_append(&tail->bytes, builder->smallest, builder->smallest_bytes);
    kap_buffer_append(&tail->bytes, builder->key, builder->key_bytes);
}

/* Zeros up to where the footer ends the file on a multiple of KAP_SEGMENT_ALIGN, then the footer. */
static kap_status footer_append(struct tail *tail, const struct kap_segment_builder *builder)
{
    struct segment_footer *footer = &tail->footer;
    uint64_t end = tail->offset + tail->bytes.len + sizeof *footer;
    size_t zeros = (size_t)(0 - end) % KAP_SEGMENT_ALIGN;
    if (!kap_buffer_reserve(&tail->bytes, zeros + sizeof *footer) || tail->bytes.failed)
        return KAP_NO_MEMORY;
    memset(tail->bytes.data + tail->bytes.len, 0, zeros);
    tail->bytes.len += zeros;
    footer->magic = kap_le64_of(KAP_SEGMENT_MAGIC);
    footer->file_id = kap_le64_of(builder->file_id);
    footer->file_bytes = kap_le64_of(end + zeros);
    footer->tail_offset = kap_le64_of(tail->offset);
    footer->body_checksum = kap_le64_of(kap_checksum(tail->bytes.data, tail->bytes.len, KAP_SEED_FOOTER));
    footer->entries = kap_le64_of(builder->entries);
    footer->seq_min = kap_le64_of(builder->entries ? builder->seq_min : 0);
    footer->seq_max = kap_le64_of(builder->seq_max);
    footer->content_hash = kap_le64_of(builder->content_hash);
    footer->checksum = kap_le64_of(kap_checksum(&footer->magic, sizeof *footer - 8, KAP_SEED_FOOTER));
    kap_buffer_append(&tail->bytes, footer, sizeof *footer);
    return KAP_OK;
}

static struct kap_segment_meta meta_of(const struct tail *tail, const struct kap_segment_builder *builder)
{
    const struct segment_footer *footer = &tail->footer;
    return (struct kap_segment_meta){
        .file_id = builder->file_id,
        .file_bytes = tail->offset + tail->bytes.len,
        .tail_offset = tail->offset,
        .tail_bytes = (uint32_t)tail->bytes.len,
        .tail_checksum = kap_le64_get(footer->checksum),
        .entries = builder->entries,
        .deletes = kap_le64_get(footer->deletes),
        .seq_min = kap_le64_get(footer->seq_min),
        .seq_max = builder->seq_max,
        .raw_bytes = kap_le64_get(footer->raw_bytes),
        .content_hash = builder->content_hash,
        .tree_count = builder->tree_count,
        .smallest = kap_bytes(builder->smallest, builder->smallest_bytes),
        .largest = kap_bytes(builder->key, builder->key_bytes),
    };
}

static kap_status tail_build(struct tail *tail, struct kap_segment_builder *builder)
{
    kap_status status = segment_leaf_flush(builder);
    if (status != KAP_OK)
        return status;
    tail->offset = segment_output_end(builder);
    filters_append(tail, builder);
    if (tail->bytes.failed)
        return KAP_NO_MEMORY;
    status = trees_append(tail, builder);
    if (status != KAP_OK)
        return status;
    keys_append(tail, builder);
    status = footer_append(tail, builder);
    if (status != KAP_OK)
        return status;
    KAP_ASSERT(tail->bytes.len <= UINT32_MAX);
    return segment_output_reserve(builder, tail->bytes.len) ? KAP_OK : KAP_NO_MEMORY;
}

kap_status kap_segment_builder_finish(struct kap_segment_builder *builder, struct kap_segment_meta *meta_out)
{
    struct tail tail = {0};
    KAP_ASSERT(!builder->finished && !builder->failed);
    kap_buffer_init(&tail.bytes, builder->memory);
    kap_status status = tail_build(&tail, builder);
    if (status == KAP_OK) {
        kap_buffer_append(&builder->output, tail.bytes.data, tail.bytes.len);
        *meta_out = meta_of(&tail, builder);
    }
    builder->failed = status != KAP_OK;
    builder->finished = true;
    kap_buffer_deinit(&tail.bytes);
    return status;
}
