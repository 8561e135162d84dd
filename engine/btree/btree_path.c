#include "engine/btree/btree_path.h"

#include "engine/base/assert.h"
#include "engine/btree/node.h"
#include "engine/btree/trailer.h"

static struct kap_block_ref child_ref(const struct kap_btree *tree, const struct kap_node *node, uint32_t slot)
{
    const struct node_slot *child = &node->slots[slot];
    return (struct kap_block_ref){
        .file_id = tree->root.file_id,
        .offset = kap_le64_get(child->offset),
        .checksum = kap_le64_get(child->checksum),
        .stored_bytes = kap_le32_get(child->stored_bytes),
        .type = node->level == 1 ? KAP_BLOCK_LEAF : KAP_BLOCK_INNER,
    };
}

/* Check. Nodes of a level and leaves were written in key order, so every pointer must lie behind the one before it on
 * its level: no node is visited twice, whatever the bytes say, and the walk is as long as the tree. */

struct check {
    const struct kap_btree *tree;
    size_t nodes_bytes;
    uint64_t next[KAP_BTREE_HEIGHT_MAX]; /* by level, 0 = leaves: the lowest offset allowed */
    struct kap_btree_check *out;
};

static bool leaf_is_valid(struct check *check, const struct kap_block_ref *ref)
{
    check->out->fault_offset = ref->offset;
    if (ref->stored_bytes <= sizeof(struct block_trailer) || ref->offset < check->next[0] ||
        ref->offset > check->tree->leaves_end || ref->stored_bytes > check->tree->leaves_end - ref->offset)
        return false;
    check->next[0] = ref->offset + ref->stored_bytes;
    check->out->leaf_count++;
    check->out->leaf_bytes += ref->stored_bytes;
    return true;
}

static bool node_is_valid(struct check *check, const struct kap_block_ref *ref, unsigned level)
{
    const struct kap_btree *tree = check->tree;
    check->out->fault_offset = ref->offset;
    if (ref->offset < tree->nodes_offset || ref->offset < check->next[level])
        return false;
    uint64_t at = ref->offset - tree->nodes_offset;
    if (at > check->nodes_bytes || ref->stored_bytes > check->nodes_bytes - at)
        return false;
    struct kap_bytes stored = kap_bytes(tree->nodes + at, ref->stored_bytes);
    struct block_trailer trailer;
    struct kap_node node;
    if (!kap_trailer_check(ref, stored, &trailer) || trailer.compression != KAP_COMPRESSION_NONE)
        return false;
    struct kap_bytes payload = kap_bytes(stored.data, stored.len - sizeof trailer);
    if (kap_le32_get(trailer.raw_bytes) != payload.len || !kap_node_check(payload, &node) || node.level != level)
        return false;
    check->next[level] = ref->offset + ref->stored_bytes;
    check->out->inner_count++;
    check->out->inner_bytes += ref->stored_bytes;
    for (uint32_t slot = 0; slot < node.child_count; slot++) {
        struct kap_block_ref child = child_ref(tree, &node, slot);
        if (level == 1 ? !leaf_is_valid(check, &child) : !node_is_valid(check, &child, level - 1))
            return false;
    }
    return true;
}

bool kap_btree_check(const struct kap_btree *tree, size_t nodes_bytes, struct kap_btree_check *check_out)
{
    struct check check = {.tree = tree, .nodes_bytes = nodes_bytes, .out = check_out};
    *check_out = (struct kap_btree_check){.fault_offset = tree->root.offset};
    if (tree->height == 0 || tree->height > KAP_BTREE_HEIGHT_MAX)
        return false;
    return tree->height == 1 ? leaf_is_valid(&check, &tree->root)
                             : node_is_valid(&check, &tree->root, tree->height - 1u);
}

/* Search. */

static struct kap_node node_at(const struct kap_btree_path *path, unsigned level)
{
    return kap_node_of(path->tree->nodes + path->at[level].node);
}

struct kap_block_ref kap_btree_seek(const struct kap_btree *tree, struct kap_bytes key, uint64_t seq,
                                    struct kap_btree_path *path_out)
{
    struct kap_block_ref ref = tree->root;
    path_out->tree = tree;
    for (unsigned level = tree->height - 1u; level > 0; level--) {
        path_out->at[level].node = (uint32_t)(ref.offset - tree->nodes_offset);
        struct kap_node node = node_at(path_out, level);
        path_out->at[level].slot = kap_node_search(&node, key, seq);
        ref = child_ref(tree, &node, path_out->at[level].slot);
    }
    return ref;
}

bool kap_btree_next(struct kap_btree_path *path, struct kap_block_ref *ref_out)
{
    const struct kap_btree *tree = path->tree;
    for (unsigned level = 1; level < tree->height; level++) {
        struct kap_node node = node_at(path, level);
        if (path->at[level].slot + 1 == node.child_count)
            continue;
        struct kap_block_ref ref = child_ref(tree, &node, ++path->at[level].slot);
        while (--level > 0) {
            path->at[level].node = (uint32_t)(ref.offset - tree->nodes_offset);
            path->at[level].slot = 0;
            node = node_at(path, level);
            ref = child_ref(tree, &node, 0);
        }
        *ref_out = ref;
        return true;
    }
    return false;
}
