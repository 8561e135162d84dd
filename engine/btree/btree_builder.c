#include "engine/btree/btree_builder.h"

#include "engine/base/assert.h"
#include "engine/btree/trailer.h"
#include "engine/schema/cursor.h"

/* A child waiting for its parent: a node_slot whose separator_end is the length of the separator that follows it. */

/* Where finish writes to. */
struct sink {
    struct kap_buffer *out;
    uint64_t file_id, out_offset;
};

/* Neighbouring children that will be one node. The first one's separator belongs to the parent. */
struct group {
    const uint8_t *first; /* child record */
    size_t record_bytes;
    uint32_t child_count;
    struct kap_bytes first_separator, second_separator;
    size_t prefix_bytes; /* of all separators but the first */
    size_t separator_bytes; /* of the same, prefixes included */
};

void kap_btree_builder_init(struct kap_btree_builder *builder, struct kap_memory *memory)
{
    *builder = (struct kap_btree_builder){0};
    kap_buffer_init(&builder->children, memory);
}

void kap_btree_builder_deinit(struct kap_btree_builder *builder)
{
    kap_buffer_deinit(&builder->children);
}

static kap_status child_append(struct kap_btree_builder *builder, const struct kap_block_ref *ref,
                               struct kap_bytes separator, uint16_t flags)
{
    struct node_slot record = {
        .offset = kap_le64_of(ref->offset),
        .checksum = kap_le64_of(ref->checksum),
        .stored_bytes = kap_le32_of(ref->stored_bytes),
        .separator_end = kap_le16_of((uint16_t)separator.len),
        .flags = kap_le16_of(flags),
    };
    kap_buffer_append(&builder->children, &record, sizeof record);
    kap_buffer_append(&builder->children, separator.data, separator.len);
    builder->child_count++;
    return builder->children.failed ? KAP_NO_MEMORY : KAP_OK;
}

kap_status kap_btree_builder_add(struct kap_btree_builder *builder, const struct kap_block_ref *leaf,
                                 const struct kap_separator *separator)
{
    uint8_t bytes[KAP_KEY_BYTES_MAX + 8];
    if (builder->child_count == 0)
        return child_append(builder, leaf, kap_bytes(NULL, 0), 0);
    KAP_ASSERT(separator->key.len <= KAP_KEY_BYTES_MAX);
    if (separator->seq == KAP_SEQ_MAX)
        return child_append(builder, leaf, separator->key, 0);
    memcpy(bytes, separator->key.data, separator->key.len);
    kap_le64_store(bytes + separator->key.len, separator->seq);
    return child_append(builder, leaf, kap_bytes(bytes, separator->key.len + 8), KAP_NODE_SLOT_SEQ);
}

static struct kap_bytes record_separator(const uint8_t *at, struct node_slot *record_out)
{
    memcpy(record_out, at, sizeof *record_out);
    return kap_bytes(at + sizeof *record_out, kap_le16_get(record_out->separator_end));
}

/* The seq behind a separator is not part of what can be shared. */
static size_t prefix_common(struct kap_bytes a, struct kap_bytes b, size_t most)
{
    size_t common = 0;
    while (common < most && common < a.len && common < b.len && a.data[common] == b.data[common])
        common++;
    return common;
}

static size_t node_bytes(uint32_t child_count, size_t separator_bytes, size_t prefix_bytes)
{
    size_t separators = child_count - 1;
    size_t shared = separators > 0 ? (separators - 1) * prefix_bytes : 0;
    return sizeof(struct node_header) + child_count * sizeof(struct node_slot) + separator_bytes - shared;
}

/* Takes the child at `at` into the group; false: the node would pass its target. */
static bool group_take(struct group *group, const uint8_t *at)
{
    struct node_slot record;
    struct kap_bytes separator = record_separator(at, &record);
    size_t key_bytes = separator.len - (kap_le16_get(record.flags) & KAP_NODE_SLOT_SEQ ? 8 : 0);
    if (group->child_count == 0) {
        *group = (struct group){.first = at, .first_separator = separator};
    } else {
        size_t prefix_bytes = key_bytes;
        if (group->child_count > 1)
            prefix_bytes = prefix_common(group->second_separator, separator, KAP_MIN(key_bytes, group->prefix_bytes));
        size_t separator_bytes = group->separator_bytes + separator.len;
        if (group->child_count > 1 &&
            node_bytes(group->child_count + 1, separator_bytes, prefix_bytes) > KAP_NODE_BYTES_TARGET)
            return false;
        if (group->child_count == 1)
            group->second_separator = separator;
        group->prefix_bytes = prefix_bytes;
        group->separator_bytes = separator_bytes;
    }
    group->child_count++;
    group->record_bytes += sizeof record + separator.len;
    return true;
}

static void node_write(const struct group *group, uint8_t level, uint8_t *to, size_t payload_bytes)
{
    struct node_header header = {
        .child_count = kap_le16_of((uint16_t)group->child_count),
        .prefix_bytes = kap_le16_of((uint16_t)group->prefix_bytes),
        .level = level,
    };
    const uint8_t *at = group->first;
    uint8_t *slot_to = to + sizeof header;
    uint8_t *separators = slot_to + group->child_count * sizeof(struct node_slot);
    memcpy(to, &header, sizeof header);
    if (group->prefix_bytes > 0)
        memcpy(separators, group->second_separator.data, group->prefix_bytes);
    separators += group->prefix_bytes;
    size_t separator_end = 0;
    for (uint32_t child = 0; child < group->child_count; child++) {
        struct node_slot record;
        struct kap_bytes separator = record_separator(at, &record);
        at += sizeof record + separator.len;
        if (child == 0) {
            record.flags = kap_le16_of(0);
        } else {
            memcpy(separators + separator_end, separator.data + group->prefix_bytes,
                   separator.len - group->prefix_bytes);
            separator_end += separator.len - group->prefix_bytes;
        }
        record.separator_end = kap_le16_of((uint16_t)separator_end);
        memcpy(slot_to, &record, sizeof record);
        slot_to += sizeof record;
    }
    KAP_ASSERT((size_t)(separators + separator_end - to) == payload_bytes);
}

/* Writes the node of a group and notes it as a child of the level above. */
static kap_status group_finish(const struct group *group, uint8_t level, const struct sink *sink,
                               struct kap_btree_builder *parents)
{
    struct node_slot first;
    struct kap_block_ref ref;
    size_t payload_bytes = node_bytes(group->child_count, group->separator_bytes, group->prefix_bytes);
    KAP_ASSERT(payload_bytes <= KAP_NODE_BYTES_MAX);
    if (!kap_buffer_reserve(sink->out, payload_bytes + sizeof(struct block_trailer)))
        return KAP_NO_MEMORY;
    uint8_t *to = sink->out->data + sink->out->len;
    node_write(group, level, to, payload_bytes);
    kap_trailer_seal(to, payload_bytes, (uint32_t)payload_bytes, sink->file_id, sink->out_offset + sink->out->len,
                     KAP_BLOCK_INNER, KAP_COMPRESSION_NONE, &ref);
    sink->out->len += ref.stored_bytes;
    memcpy(&first, group->first, sizeof first);
    return child_append(parents, &ref, group->first_separator, kap_le16_get(first.flags));
}

static kap_status level_build(const struct kap_btree_builder *children, uint8_t level, const struct sink *sink,
                              struct kap_btree_builder *parents)
{
    const uint8_t *at = children->children.data, *end = at + children->children.len;
    struct group group = {0};
    kap_status status = KAP_OK;
    while (status == KAP_OK && at < end) {
        if (group_take(&group, at)) {
            at = group.first + group.record_bytes;
            continue;
        }
        status = group_finish(&group, level, sink, parents);
        group = (struct group){0};
    }
    return status == KAP_OK ? group_finish(&group, level, sink, parents) : status;
}

kap_status kap_btree_builder_finish(struct kap_btree_builder *builder, uint64_t file_id, uint64_t out_offset,
                                    struct kap_buffer *out, struct kap_btree_built *built_out)
{
    struct sink sink = {.out = out, .file_id = file_id, .out_offset = out_offset};
    struct kap_btree_built built = {.height = 1};
    size_t out_before = out->len;
    KAP_ASSERT(builder->child_count > 0);
    while (builder->child_count > 1) {
        struct kap_btree_builder parents;
        kap_btree_builder_init(&parents, builder->children.memory);
        kap_status status = level_build(builder, built.height, &sink, &parents);
        kap_btree_builder_deinit(builder);
        *builder = parents;
        if (status != KAP_OK)
            return status;
        KAP_ASSERT(built.height < KAP_BTREE_HEIGHT_MAX - 1);
        built.inner_count += builder->child_count;
        built.height++;
    }
    struct node_slot root;
    memcpy(&root, builder->children.data, sizeof root);
    built.inner_bytes = out->len - out_before;
    built.root = (struct kap_block_ref){
        .file_id = file_id,
        .offset = kap_le64_get(root.offset),
        .checksum = kap_le64_get(root.checksum),
        .stored_bytes = kap_le32_get(root.stored_bytes),
        .type = built.height == 1 ? KAP_BLOCK_LEAF : KAP_BLOCK_INNER,
    };
    *built_out = built;
    return KAP_OK;
}
