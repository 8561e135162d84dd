#include "engine/base/checksum.h"
#include "engine/segment/segment_internal.h"
#include "engine/segment/segment_reader.h"

const struct kap_segment_meta *kap_segment_meta(const struct kap_segment *segment)
{
    return &segment->meta;
}

uint64_t kap_segment_memory_bytes(const struct kap_segment *segment)
{
    return sizeof *segment + segment->meta.tail_bytes + segment->tree_count * sizeof *segment->trees;
}

uint32_t kap_segment_tree_count(const struct kap_segment *segment)
{
    return segment->tree_count;
}

struct kap_segment_tree_stats kap_segment_tree_stats(const struct kap_segment *segment, uint32_t slot)
{
    return segment->trees[slot].stats;
}

uint32_t segment_tree_slot(const struct kap_segment *segment, struct kap_bytes key)
{
    unsigned number = key.len == 0 ? 0 : key.len == 1 ? (unsigned)key.data[0] << 8 : kap_tree_of(key);
    uint32_t low = 0, high = segment->tree_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (segment->trees[middle].stats.tree < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct segment_tree_open *tree_of(const struct kap_segment *segment, struct kap_bytes key)
{
    uint32_t slot = segment_tree_slot(segment, key);
    if (slot == segment->tree_count || segment->trees[slot].stats.tree != kap_tree_of(key))
        return NULL;
    return &segment->trees[slot];
}

static bool prefix_may_be_in(const struct kap_segment *segment, const struct segment_tree_open *tree,
                             struct kap_bytes bytes)
{
    if (!(tree->flags & KAP_SEGMENT_TREE_PREFIX) || bytes.len < tree->prefix_bytes)
        return true;
    return kap_filter_may_contain(&segment->prefixes, kap_hash(kap_bytes(bytes.data, tree->prefix_bytes)));
}

bool kap_segment_may_contain(const struct kap_segment *segment, struct kap_bytes key)
{
    if (key.len < KAP_TREE_BYTES)
        return false;
    const struct segment_tree_open *tree = tree_of(segment, key);
    if (!tree)
        return false;
    if (tree->flags & KAP_SEGMENT_TREE_POINT)
        return kap_filter_may_contain(&segment->points, kap_hash(key));
    return prefix_may_be_in(segment, tree, key);
}

bool kap_segment_may_contain_prefix(const struct kap_segment *segment, struct kap_bytes prefix)
{
    if (prefix.len < KAP_TREE_BYTES)
        return true;
    const struct segment_tree_open *tree = tree_of(segment, prefix);
    return tree && prefix_may_be_in(segment, tree, prefix);
}

bool kap_segment_leaf_of(const struct kap_segment *segment, struct kap_bytes key, uint64_t seq,
                         struct kap_block_ref *ref_out)
{
    struct kap_btree_path path;
    uint32_t slot = segment_tree_slot(segment, key);
    if (slot == segment->tree_count)
        return false;
    *ref_out = kap_btree_seek(&segment->trees[slot].btree, key, seq, &path);
    return true;
}

uint64_t kap_segment_entry_hash(const struct kap_entry *entry)
{
    uint64_t key_hash = kap_checksum(entry->key.data, entry->key.len, KAP_SEED_ROW + entry->seq);
    return kap_checksum(entry->value.data, entry->value.len, key_hash + entry->type);
}
