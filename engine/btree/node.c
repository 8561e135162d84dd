#include "engine/btree/node.h"

#include "engine/base/assert.h"
#include "engine/schema/cursor.h"

struct kap_node kap_node_of(const uint8_t *payload)
{
    struct node_header header;
    memcpy(&header, payload, sizeof header);
    struct kap_node node = {
        .slots = (const struct node_slot *)(const void *)(payload + sizeof header),
        .prefix_bytes = kap_le16_get(header.prefix_bytes),
        .child_count = kap_le16_get(header.child_count),
        .level = header.level,
    };
    node.prefix = payload + sizeof header + node.child_count * sizeof(struct node_slot);
    node.separators = node.prefix + node.prefix_bytes;
    return node;
}

/* Without the prefix. slot > 0. */
static struct kap_separator separator_of(const struct kap_node *node, uint32_t slot)
{
    uint32_t start = kap_le16_get(node->slots[slot - 1].separator_end);
    uint32_t end = kap_le16_get(node->slots[slot].separator_end);
    uint64_t seq = KAP_SEQ_MAX;
    if (kap_le16_get(node->slots[slot].flags) & KAP_NODE_SLOT_SEQ) {
        end -= 8;
        seq = kap_le64_load(node->separators + end);
    }
    return (struct kap_separator){.key = kap_bytes(node->separators + start, end - start), .seq = seq};
}

static int separator_cmp(const struct kap_separator *separator, struct kap_bytes key, uint64_t seq)
{
    int order = kap_bytes_cmp(separator->key, key);
    if (order != 0)
        return order;
    return separator->seq > seq ? -1 : separator->seq < seq;
}

static bool slots_are_valid(const struct kap_node *node, size_t separator_bytes)
{
    uint32_t end_before = 0;
    for (uint32_t slot = 0; slot < node->child_count; slot++) {
        uint32_t end = kap_le16_get(node->slots[slot].separator_end), flags = kap_le16_get(node->slots[slot].flags);
        uint32_t seq_bytes = flags & KAP_NODE_SLOT_SEQ ? 8 : 0;
        if ((flags & ~(uint32_t)KAP_NODE_SLOT_SEQ) != 0 || end < end_before || end - end_before < seq_bytes ||
            end > separator_bytes || (slot == 0 && end != 0))
            return false;
        if (node->prefix_bytes + (end - end_before) - seq_bytes > KAP_KEY_BYTES_MAX)
            return false;
        end_before = end;
    }
    return end_before == separator_bytes;
}

bool kap_node_check(struct kap_bytes payload, struct kap_node *node_out)
{
    struct node_header header;
    if (payload.len < sizeof header || payload.len > KAP_NODE_BYTES_MAX)
        return false;
    memcpy(&header, payload.data, sizeof header);
    size_t fixed_bytes =
        sizeof header + kap_le16_get(header.child_count) * sizeof(struct node_slot) + kap_le16_get(header.prefix_bytes);
    if (kap_le16_get(header.child_count) == 0 || header.level == 0 || header.level >= KAP_BTREE_HEIGHT_MAX ||
        (header.reserved[0] | header.reserved[1] | header.reserved[2]) != 0 || fixed_bytes > payload.len)
        return false;
    struct kap_node node = kap_node_of(payload.data);
    if (!slots_are_valid(&node, payload.len - fixed_bytes))
        return false;
    for (uint32_t slot = 2; slot < node.child_count; slot++) {
        struct kap_separator before = separator_of(&node, slot - 1), separator = separator_of(&node, slot);
        if (separator_cmp(&before, separator.key, separator.seq) >= 0)
            return false;
    }
    *node_out = node;
    return true;
}

uint32_t kap_node_search(const struct kap_node *node, struct kap_bytes key, uint64_t seq)
{
    size_t prefix_bytes = node->prefix_bytes;
    if (prefix_bytes > 0) {
        struct kap_bytes head = kap_bytes(key.data, KAP_MIN(key.len, prefix_bytes));
        int order = kap_bytes_cmp(head, kap_bytes(node->prefix, prefix_bytes));
        if (order != 0)
            return order < 0 ? 0 : node->child_count - 1u;
    }
    struct kap_bytes rest = kap_bytes(key.data + prefix_bytes, key.len - prefix_bytes);
    uint32_t low = 0, high = node->child_count - 1u;
    while (low < high) {
        uint32_t middle = (low + high + 1) / 2;
        struct kap_separator separator = separator_of(node, middle);
        if (separator_cmp(&separator, rest, seq) <= 0)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}
