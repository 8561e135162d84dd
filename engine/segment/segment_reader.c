#include "engine/segment/segment_reader.h"

#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/segment/segment_internal.h"

_Static_assert((int)KAP_SEGMENT_FOOTER_BYTES == (int)sizeof(struct segment_footer), "the footer's length is public");

static kap_status corrupt(uint64_t file_id, uint64_t offset, const char *what, struct kap_error *error)
{
    kap_error_set(error, KAP_CORRUPT, "segment %llu, offset %llu: %s", (unsigned long long)file_id,
                  (unsigned long long)offset, what);
    return KAP_CORRUPT;
}

static kap_status footer_read(struct kap_bytes bytes, uint64_t file_id, uint64_t file_bytes,
                              struct segment_footer *footer_out, struct kap_error *error)
{
    struct segment_footer footer;
    uint64_t at = file_bytes - sizeof footer;
    if (bytes.len != sizeof footer || file_bytes < sizeof footer)
        return corrupt(file_id, 0, "too short for a footer", error);
    memcpy(&footer, bytes.data, sizeof footer);
    if (kap_checksum(&footer.magic, sizeof footer - 8, KAP_SEED_FOOTER) != kap_le64_get(footer.checksum))
        return corrupt(file_id, at, "the footer does not match its checksum", error);
    uint64_t magic = kap_le64_get(footer.magic);
    if (magic != KAP_SEGMENT_MAGIC && magic << 16 == KAP_SEGMENT_MAGIC << 16) {
        kap_error_set(error, KAP_NEWER_FORMAT, "segment %llu was written by a newer version",
                      (unsigned long long)file_id);
        return KAP_NEWER_FORMAT;
    }
    if (magic != KAP_SEGMENT_MAGIC)
        return corrupt(file_id, at, "not the footer of a segment", error);
    if (kap_le64_get(footer.file_id) != file_id || kap_le64_get(footer.file_bytes) != file_bytes)
        return corrupt(file_id, at, "the footer belongs to another file", error);
    uint64_t tail_offset = kap_le64_get(footer.tail_offset);
    if (file_bytes % KAP_SEGMENT_ALIGN != 0 || tail_offset > at || file_bytes - tail_offset > UINT32_MAX)
        return corrupt(file_id, at, "the tail does not lie within the file", error);
    *footer_out = footer;
    return KAP_OK;
}

static struct kap_segment_meta meta_of(const struct segment_footer *footer)
{
    uint64_t file_bytes = kap_le64_get(footer->file_bytes), tail_offset = kap_le64_get(footer->tail_offset);
    return (struct kap_segment_meta){
        .file_id = kap_le64_get(footer->file_id),
        .file_bytes = file_bytes,
        .tail_offset = tail_offset,
        .tail_bytes = (uint32_t)(file_bytes - tail_offset),
        .tail_checksum = kap_le64_get(footer->checksum),
        .entries = kap_le64_get(footer->entries),
        .deletes = kap_le64_get(footer->deletes),
        .seq_min = kap_le64_get(footer->seq_min),
        .seq_max = kap_le64_get(footer->seq_max),
        .raw_bytes = kap_le64_get(footer->raw_bytes),
        .content_hash = kap_le64_get(footer->content_hash),
        .tree_count = kap_le32_get(footer->tree_count),
    };
}

kap_status kap_segment_meta_of_footer(struct kap_bytes footer_bytes, uint64_t file_id, uint64_t file_bytes,
                                      struct kap_segment_meta *meta_out, struct kap_error *error)
{
    struct segment_footer footer;
    kap_status status = footer_read(footer_bytes, file_id, file_bytes, &footer, error);
    if (status == KAP_OK)
        *meta_out = meta_of(&footer);
    return status;
}

static bool meta_matches(const struct kap_segment_meta *a, const struct kap_segment_meta *b)
{
    return a->tail_offset == b->tail_offset && a->tail_bytes == b->tail_bytes && a->tail_checksum == b->tail_checksum &&
           a->entries == b->entries && a->deletes == b->deletes && a->seq_min == b->seq_min &&
           a->seq_max == b->seq_max && a->raw_bytes == b->raw_bytes && a->content_hash == b->content_hash &&
           a->tree_count == b->tree_count;
}

/* The sections follow one another without gaps; what is left before the footer is less than a page of zeros. */
static bool sections_are_valid(const struct segment_footer *footer, struct kap_bytes tail)
{
    const struct {
        uint64_t offset, bytes;
    } sections[] = {
        {kap_le32_get(footer->point_offset), kap_le32_get(footer->point_bytes)},
        {kap_le32_get(footer->prefix_offset), kap_le32_get(footer->prefix_bytes)},
        {kap_le32_get(footer->inner_offset), kap_le32_get(footer->inner_bytes)},
        {kap_le32_get(footer->directory_offset), kap_le32_get(footer->tree_count) * sizeof(struct segment_tree)},
        {kap_le32_get(footer->keys_offset),
         (uint64_t)kap_le16_get(footer->smallest_bytes) + kap_le16_get(footer->largest_bytes)},
    };
    uint64_t end = 0, body_bytes = tail.len - sizeof *footer;
    if (kap_le32_get(footer->tree_count) > KAP_SEGMENT_TREES_MAX)
        return false;
    for (size_t i = 0; i < KAP_ARRAY_LEN(sections); i++) {
        if (sections[i].offset != end || sections[i].bytes > body_bytes - end)
            return false;
        end += sections[i].bytes;
    }
    if (body_bytes - end >= KAP_SEGMENT_ALIGN)
        return false;
    for (uint64_t at = end; at < body_bytes; at++)
        if (tail.data[at] != 0)
            return false;
    for (size_t i = 0; i < sizeof footer->reserved; i++)
        if (footer->reserved[i] != 0)
            return false;
    return true;
}

static kap_status filters_open(struct kap_segment *segment, const struct segment_footer *footer,
                               struct kap_error *error)
{
    uint32_t point_offset = kap_le32_get(footer->point_offset), prefix_offset = kap_le32_get(footer->prefix_offset);
    struct kap_bytes points = kap_bytes(segment->tail + point_offset, kap_le32_get(footer->point_bytes));
    struct kap_bytes prefixes = kap_bytes(segment->tail + prefix_offset, kap_le32_get(footer->prefix_bytes));
    if (!kap_filter_open(points, &segment->points))
        return corrupt(segment->meta.file_id, segment->meta.tail_offset + point_offset, "not a filter", error);
    if (!kap_filter_open(prefixes, &segment->prefixes))
        return corrupt(segment->meta.file_id, segment->meta.tail_offset + prefix_offset, "not a filter", error);
    return KAP_OK;
}

/* One directory entry, and the tree under it. fault_out: where in the file, when it is not valid. */
static bool tree_open(const struct kap_segment *segment, const struct segment_footer *footer,
                      const struct segment_tree *record, struct segment_tree_open *tree_out, uint64_t *fault_out)
{
    uint32_t inner_offset = kap_le32_get(footer->inner_offset);
    struct segment_tree_open tree = {
        .btree = {.root = {.file_id = segment->meta.file_id,
                           .offset = kap_le64_get(record->root_offset),
                           .checksum = kap_le64_get(record->root_checksum),
                           .stored_bytes = kap_le32_get(record->root_bytes),
                           .type = record->height == 1 ? KAP_BLOCK_LEAF : KAP_BLOCK_INNER},
                  .nodes = segment->tail + inner_offset,
                  .leaves_end = segment->meta.tail_offset,
                  .nodes_offset = segment->meta.tail_offset + inner_offset,
                  .height = record->height},
        .stats = {.tree = kap_le16_get(record->tree),
                  .height = record->height,
                  .entries = kap_le64_get(record->entries),
                  .deletes = kap_le64_get(record->deletes),
                  .raw_bytes = kap_le64_get(record->raw_bytes),
                  .leaf_count = kap_le64_get(record->leaf_count),
                  .leaf_bytes = kap_le64_get(record->leaf_bytes),
                  .overflow_bytes = kap_le64_get(record->overflow_bytes),
                  .inner_count = kap_le32_get(record->inner_count),
                  .inner_bytes = kap_le64_get(record->inner_bytes)},
        .prefix_bytes = kap_le16_get(record->prefix_bytes),
        .flags = record->flags,
    };
    struct kap_btree_check check;
    bool has_prefix = (record->flags & KAP_SEGMENT_TREE_PREFIX) != 0;
    if ((record->flags & ~(KAP_SEGMENT_TREE_POINT | KAP_SEGMENT_TREE_PREFIX)) != 0 ||
        has_prefix != (tree.prefix_bytes > 0) || (record->reserved[0] | record->reserved[1]) != 0)
        return false;
    if (!kap_btree_check(&tree.btree, kap_le32_get(footer->inner_bytes), &check)) {
        *fault_out = check.fault_offset;
        return false;
    }
    *tree_out = tree;
    return check.leaf_count == tree.stats.leaf_count && check.leaf_bytes == tree.stats.leaf_bytes &&
           check.inner_count == tree.stats.inner_count && check.inner_bytes == tree.stats.inner_bytes;
}

static kap_status trees_open(struct kap_segment *segment, const struct segment_footer *footer, struct kap_error *error)
{
    uint64_t entries = 0, deletes = 0, raw_bytes = 0, inner_bytes = 0;
    uint32_t directory_offset = kap_le32_get(footer->directory_offset);
    uint16_t number_before = 0;
    for (uint32_t slot = 0; slot < segment->tree_count; slot++) {
        struct segment_tree record;
        uint32_t at = directory_offset + slot * (uint32_t)sizeof record;
        uint64_t fault = segment->meta.tail_offset + at;
        memcpy(&record, segment->tail + at, sizeof record);
        struct segment_tree_open *tree = &segment->trees[slot];
        if (!tree_open(segment, footer, &record, tree, &fault))
            return corrupt(segment->meta.file_id, fault, "a tree of the directory is not valid", error);
        if (slot > 0 && tree->stats.tree <= number_before)
            return corrupt(segment->meta.file_id, fault, "the directory is not in order", error);
        number_before = tree->stats.tree;
        entries += tree->stats.entries;
        deletes += tree->stats.deletes;
        raw_bytes += tree->stats.raw_bytes;
        inner_bytes += tree->stats.inner_bytes;
    }
    if (entries != segment->meta.entries || deletes != segment->meta.deletes || raw_bytes != segment->meta.raw_bytes ||
        inner_bytes != kap_le32_get(footer->inner_bytes))
        return corrupt(segment->meta.file_id, segment->meta.tail_offset + directory_offset,
                       "the trees do not add up to the file", error);
    return KAP_OK;
}

static kap_status keys_open(struct kap_segment *segment, const struct segment_footer *footer,
                            const struct kap_segment_meta *meta, struct kap_error *error)
{
    const uint8_t *at = segment->tail + kap_le32_get(footer->keys_offset);
    struct kap_bytes smallest = kap_bytes(at, kap_le16_get(footer->smallest_bytes));
    struct kap_bytes largest = kap_bytes(at + smallest.len, kap_le16_get(footer->largest_bytes));
    uint64_t offset = segment->meta.tail_offset + kap_le32_get(footer->keys_offset);
    bool valid = smallest.len <= KAP_KEY_BYTES_MAX && largest.len <= KAP_KEY_BYTES_MAX;
    if (segment->tree_count == 0)
        valid = valid && smallest.len == 0 && largest.len == 0;
    else
        valid = valid && smallest.len >= KAP_TREE_BYTES && kap_bytes_cmp(smallest, largest) <= 0 &&
                kap_tree_of(smallest) == segment->trees[0].stats.tree &&
                kap_tree_of(largest) == segment->trees[segment->tree_count - 1].stats.tree;
    if (!valid)
        return corrupt(segment->meta.file_id, offset, "the smallest or largest key is not valid", error);
    bool given = meta->smallest.len > 0 || meta->largest.len > 0;
    if (given && (!kap_bytes_eq(smallest, meta->smallest) || !kap_bytes_eq(largest, meta->largest)))
        return corrupt(segment->meta.file_id, offset, "the keys are not those of the manifest", error);
    segment->meta.smallest = smallest;
    segment->meta.largest = largest;
    return KAP_OK;
}

static kap_status tail_open(struct kap_segment *segment, const struct segment_footer *footer,
                            const struct kap_segment_meta *meta, struct kap_error *error)
{
    kap_status status = filters_open(segment, footer, error);
    if (status == KAP_OK)
        status = trees_open(segment, footer, error);
    if (status == KAP_OK)
        status = keys_open(segment, footer, meta, error);
    return status;
}

static kap_status tail_check(const struct kap_segment_meta *meta, struct kap_bytes tail,
                             struct segment_footer *footer_out, struct kap_error *error)
{
    struct segment_footer footer;
    if (tail.len < sizeof footer || tail.len != meta->tail_bytes || meta->tail_offset + tail.len != meta->file_bytes)
        return corrupt(meta->file_id, meta->tail_offset, "the tail is not as long as the manifest says", error);
    struct kap_bytes footer_bytes = kap_bytes(tail.data + tail.len - sizeof footer, sizeof footer);
    kap_status status = footer_read(footer_bytes, meta->file_id, meta->file_bytes, &footer, error);
    if (status != KAP_OK)
        return status;
    struct kap_segment_meta own = meta_of(&footer);
    if (!meta_matches(&own, meta))
        return corrupt(meta->file_id, meta->file_bytes - sizeof footer, "the footer is not that of the manifest",
                       error);
    if (kap_checksum(tail.data, tail.len - sizeof footer, KAP_SEED_FOOTER) != kap_le64_get(footer.body_checksum))
        return corrupt(meta->file_id, meta->tail_offset, "the tail does not match its checksum", error);
    if (!sections_are_valid(&footer, tail))
        return corrupt(meta->file_id, meta->tail_offset, "the sections of the tail do not fit together", error);
    *footer_out = footer;
    return KAP_OK;
}

kap_status kap_segment_open(struct kap_memory *memory, const struct kap_segment_meta *meta, struct kap_bytes tail,
                            struct kap_segment **segment_out, struct kap_error *error)
{
    struct segment_footer footer;
    kap_status status = tail_check(meta, tail, &footer, error);
    if (status != KAP_OK)
        return status;
    struct kap_segment *segment = kap_memory_alloc(memory, sizeof *segment);
    if (!segment)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory to open segment %llu", (unsigned long long)meta->file_id);
    segment->memory = memory;
    segment->meta = meta_of(&footer);
    segment->tree_count = segment->meta.tree_count;
    segment->trees = kap_memory_alloc(memory, segment->tree_count * sizeof *segment->trees);
    segment->tail = kap_memory_alloc_aligned(memory, KAP_FILTER_LINE_BYTES, tail.len);
    if (!segment->trees || !segment->tail) {
        status = kap_error_set(error, KAP_NO_MEMORY, "no memory for the %zu bytes of the tail of segment %llu",
                               tail.len, (unsigned long long)meta->file_id);
    } else {
        memcpy(segment->tail, tail.data, tail.len);
        status = tail_open(segment, &footer, meta, error);
    }
    if (status != KAP_OK) {
        kap_segment_close(segment);
        return status;
    }
    *segment_out = segment;
    return KAP_OK;
}

void kap_segment_close(struct kap_segment *segment)
{
    if (!segment)
        return;
    kap_memory_free(segment->memory, segment->tail);
    kap_memory_free(segment->memory, segment->trees);
    kap_memory_free(segment->memory, segment);
}
