#include "engine/segment/segment_cursor.h"

#include "engine/base/assert.h"
#include "engine/segment/segment_internal.h"

/* Large values are blocks of their own; everything else lies in the leaf. */
static kap_status value_fetch(struct kap_segment_cursor *cursor, struct kap_bytes *value_out)
{
    struct leaf_overflow overflow;
    const struct kap_block *block = NULL;
    memcpy(&overflow, cursor->iter.value, sizeof overflow);
    struct kap_block_ref ref = {
        .file_id = cursor->segment->meta.file_id,
        .offset = kap_le64_get(overflow.offset),
        .checksum = kap_le64_get(overflow.checksum),
        .stored_bytes = kap_le32_get(overflow.stored_bytes),
        .type = KAP_BLOCK_OVERFLOW,
    };
    uint64_t leaves_end = cursor->segment->meta.tail_offset;
    cursor->source->failed = ref;
    if (ref.offset > leaves_end || ref.stored_bytes > leaves_end - ref.offset)
        return KAP_CORRUPT;
    kap_status status = kap_block_source_get(cursor->source, &ref, &block);
    if (status != KAP_OK)
        return status;
    if (block->value.len != kap_le32_get(overflow.raw_bytes))
        return KAP_CORRUPT;
    *value_out = block->value;
    return KAP_OK;
}

static kap_status entry_show(struct kap_segment_cursor *cursor)
{
    const struct kap_leaf_iter *iter = &cursor->iter;
    struct kap_entry entry = {
        .key = kap_bytes(iter->key, iter->key_bytes),
        .value = kap_bytes(iter->value, iter->value_bytes),
        .seq = iter->seq,
        .type = iter->type == KAP_LEAF_DELETE ? KAP_ENTRY_DELETE : KAP_ENTRY_PUT,
    };
    if (__builtin_expect(iter->type == KAP_LEAF_PUT_LARGE, 0)) {
        kap_status status = value_fetch(cursor, &entry.value);
        if (status != KAP_OK)
            return status;
    }
    cursor->cursor.entry = entry;
    return KAP_OK;
}

static kap_status leaf_fetch(struct kap_segment_cursor *cursor, const struct kap_block_ref *ref,
                             const struct kap_leaf **leaf_out)
{
    const struct kap_block *block = NULL;
    kap_status status = kap_block_source_get(cursor->source, ref, &block);
    if (status == KAP_OK)
        *leaf_out = &block->leaf;
    return status;
}

/* To the first entry of the leaf after this one, in this tree or the next. */
static kap_status leaf_after(struct kap_segment_cursor *cursor)
{
    const struct kap_segment *segment = cursor->segment;
    const struct kap_leaf *leaf = NULL;
    struct kap_block_ref ref;
    if (!kap_btree_next(&cursor->path, &ref)) {
        if (++cursor->tree_slot == segment->tree_count)
            return KAP_END;
        ref = kap_btree_seek(&segment->trees[cursor->tree_slot].btree, kap_bytes(NULL, 0), KAP_SEQ_MAX, &cursor->path);
    }
    kap_status status = leaf_fetch(cursor, &ref, &leaf);
    if (status != KAP_OK)
        return status;
    kap_leaf_first(&cursor->iter, leaf);
    return entry_show(cursor);
}

static kap_status seek_within(struct kap_segment_cursor *cursor, struct kap_bytes key, uint64_t seq)
{
    const struct kap_segment *segment = cursor->segment;
    const struct kap_leaf *leaf = NULL;
    cursor->tree_slot = segment_tree_slot(segment, key);
    if (cursor->tree_slot == segment->tree_count)
        return KAP_END;
    struct kap_block_ref ref = kap_btree_seek(&segment->trees[cursor->tree_slot].btree, key, seq, &cursor->path);
    kap_status status = leaf_fetch(cursor, &ref, &leaf);
    if (status != KAP_OK)
        return status;
    return kap_leaf_seek(&cursor->iter, leaf, key, seq) ? entry_show(cursor) : leaf_after(cursor);
}

/* The position is lost with anything but KAP_OK: a leaf of NULL says so. */
static kap_status outcome(struct kap_segment_cursor *cursor, kap_status status)
{
    if (status != KAP_OK)
        cursor->iter.leaf = NULL;
    return status;
}

static kap_status cursor_seek(struct kap_cursor *base, struct kap_bytes key, uint64_t seq)
{
    struct kap_segment_cursor *cursor = KAP_OWNER(base, struct kap_segment_cursor, cursor);
    return outcome(cursor, seek_within(cursor, key, seq));
}

static kap_status cursor_next(struct kap_cursor *base)
{
    struct kap_segment_cursor *cursor = KAP_OWNER(base, struct kap_segment_cursor, cursor);
    KAP_ASSERT(cursor->iter.leaf);
    return outcome(cursor, kap_leaf_next(&cursor->iter) ? entry_show(cursor) : leaf_after(cursor));
}

void kap_segment_cursor_init(struct kap_segment_cursor *cursor, const struct kap_segment *segment,
                             struct kap_block_source *source)
{
    static const struct kap_cursor_ops ops = {.seek = cursor_seek, .next = cursor_next};
    cursor->cursor = (struct kap_cursor){.ops = &ops};
    cursor->segment = segment;
    cursor->source = source;
    cursor->iter.leaf = NULL;
}
