#include "engine/btree/leaf.h"

#include "engine/base/assert.h"
#include "engine/base/varint.h"

/* The fixed part of an entry. */
struct record {
    uint64_t shared, unshared, tag, delta;
};

static uint64_t unzigzag(uint64_t stored)
{
    return stored >> 1 ^ (0 - (stored & 1));
}

/* In a checked leaf a varint always ends; nearly all are one byte long. */
static inline uint64_t varint_take(const uint8_t **at)
{
    uint64_t value = *(*at)++;
    if (__builtin_expect(value < 0x80, 1))
        return value;
    value &= 0x7f;
    for (unsigned shift = 7;; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
}

static inline const uint8_t *record_take(const uint8_t *at, struct record *record_out)
{
    record_out->shared = varint_take(&at);
    record_out->unshared = varint_take(&at);
    record_out->tag = varint_take(&at);
    record_out->delta = varint_take(&at);
    return at;
}

static const uint8_t *record_read(const uint8_t *at, const uint8_t *end, struct record *record_out)
{
    uint64_t *fields[] = {&record_out->shared, &record_out->unshared, &record_out->tag, &record_out->delta};
    for (size_t i = 0; i < KAP_ARRAY_LEN(fields); i++) {
        at = kap_varint_read(at, end, fields[i]);
        if (!at)
            return NULL;
    }
    return at;
}

static struct leaf_restart restart_at(const struct kap_leaf *leaf, uint32_t number)
{
    struct leaf_restart restart;
    memcpy(&restart, leaf->restarts + number * sizeof restart, sizeof restart);
    return restart;
}

/* Check: the walk of a reader, with every bound and every promise of the format looked at. */

struct check {
    const uint8_t *key_at, *value_at, *values_end;
    uint64_t seq;
    size_t key_bytes;
    uint8_t key[KAP_KEY_BYTES_MAX];
};

static bool value_is_valid(const uint8_t *value, uint64_t value_bytes, unsigned type)
{
    struct leaf_overflow overflow;
    switch (type) {
    case KAP_LEAF_PUT:
        return value_bytes <= KAP_LEAF_VALUE_BYTES_MAX;
    case KAP_LEAF_DELETE:
        return value_bytes == 0;
    case KAP_LEAF_PUT_LARGE:
        if (value_bytes != sizeof overflow)
            return false;
        memcpy(&overflow, value, sizeof overflow);
        uint32_t raw_bytes = kap_le32_get(overflow.raw_bytes), stored_bytes = kap_le32_get(overflow.stored_bytes);
        return raw_bytes > KAP_LEAF_VALUE_BYTES_MAX && raw_bytes <= KAP_VALUE_BYTES_MAX &&
               stored_bytes > sizeof(struct block_trailer) && stored_bytes <= raw_bytes + sizeof(struct block_trailer);
    default:
        return false;
    }
}

/* Strictly after the entry before? rest: the unshared bytes. Because shared is the whole common prefix, the first byte
 * decides; at a restart everything is compared. */
static bool order_is_valid(const struct check *check, const struct record *record, const uint8_t *rest, uint64_t seq,
                           bool restart)
{
    if (restart) {
        int order = kap_bytes_cmp(kap_bytes(rest, record->unshared), kap_bytes(check->key, check->key_bytes));
        return order > 0 || (order == 0 && seq < check->seq);
    }
    if (record->shared < check->key_bytes)
        return record->unshared > 0 && rest[0] > check->key[record->shared];
    return record->unshared > 0 || seq < check->seq;
}

static bool entry_check(struct check *check, const struct kap_leaf *leaf, uint32_t slot)
{
    struct record record;
    bool restart = slot % KAP_LEAF_RESTART_EVERY == 0;
    if (restart) {
        struct leaf_restart at = restart_at(leaf, slot / KAP_LEAF_RESTART_EVERY);
        if (kap_le16_get(at.key_offset) != check->key_at - leaf->keys ||
            kap_le16_get(at.value_offset) != check->value_at - leaf->values)
            return false;
    }
    const uint8_t *rest = record_read(check->key_at, leaf->keys_end, &record);
    if (!rest || record.shared > (restart ? 0 : check->key_bytes) ||
        record.unshared > KAP_KEY_BYTES_MAX - record.shared || record.unshared > (size_t)(leaf->keys_end - rest))
        return false;
    uint64_t value_bytes = record.tag >> 2;
    if (value_bytes > (size_t)(check->values_end - check->value_at) ||
        !value_is_valid(check->value_at, value_bytes, record.tag & 3))
        return false;
    uint64_t seq = (restart ? leaf->seq_base : check->seq) + unzigzag(record.delta);
    if (slot > 0 && !order_is_valid(check, &record, rest, seq, restart))
        return false;
    memcpy(check->key + record.shared, rest, record.unshared);
    check->key_bytes = record.shared + record.unshared;
    check->seq = seq;
    check->key_at = rest + record.unshared;
    check->value_at += value_bytes;
    return true;
}

bool kap_leaf_check(struct kap_bytes payload, struct kap_leaf *leaf_out)
{
    struct leaf_header header;
    if (payload.len < sizeof header || payload.len > KAP_LEAF_BYTES_MAX)
        return false;
    memcpy(&header, payload.data, sizeof header);
    uint64_t entry_count = kap_le32_get(header.entry_count), key_bytes = kap_le32_get(header.key_bytes);
    uint64_t restart_count = (entry_count + KAP_LEAF_RESTART_EVERY - 1) / KAP_LEAF_RESTART_EVERY;
    uint64_t fixed_bytes = sizeof header + restart_count * sizeof(struct leaf_restart);
    if (entry_count == 0 || fixed_bytes > payload.len || key_bytes > payload.len - fixed_bytes)
        return false;
    struct kap_leaf leaf = {
        .restarts = payload.data + sizeof header,
        .keys = payload.data + fixed_bytes,
        .keys_end = payload.data + fixed_bytes + key_bytes,
        .values = payload.data + fixed_bytes + key_bytes,
        .seq_base = kap_le64_get(header.seq_base),
        .entry_count = (uint32_t)entry_count,
        .restart_count = (uint32_t)restart_count,
    };
    struct check check;
    check.key_at = leaf.keys;
    check.value_at = leaf.values;
    check.values_end = payload.data + payload.len;
    check.seq = leaf.seq_base;
    check.key_bytes = 0;
    for (uint32_t slot = 0; slot < entry_count; slot++)
        if (!entry_check(&check, &leaf, slot))
            return false;
    if (check.key_at != leaf.keys_end || check.value_at != check.values_end)
        return false;
    *leaf_out = leaf;
    return true;
}

/* Search and walk. */

static inline void entry_take(struct kap_leaf_iter *iter, const struct record *record, const uint8_t *rest)
{
    uint64_t before = iter->slot % KAP_LEAF_RESTART_EVERY == 0 ? iter->leaf->seq_base : iter->seq;
    memcpy(iter->key + record->shared, rest, record->unshared);
    iter->key_bytes = (uint32_t)(record->shared + record->unshared);
    iter->key_at = rest + record->unshared;
    iter->value = iter->value_at;
    iter->value_bytes = (uint32_t)(record->tag >> 2);
    iter->value_at += iter->value_bytes;
    iter->type = record->tag & 3;
    iter->seq = before + unzigzag(record->delta);
    iter->slot++;
}

static void iter_place(struct kap_leaf_iter *iter, const struct kap_leaf *leaf, uint32_t restart_number)
{
    struct leaf_restart restart = restart_at(leaf, restart_number);
    iter->leaf = leaf;
    iter->slot = restart_number * KAP_LEAF_RESTART_EVERY;
    iter->key_at = leaf->keys + kap_le16_get(restart.key_offset);
    iter->value_at = leaf->values + kap_le16_get(restart.value_offset);
}

bool kap_leaf_next(struct kap_leaf_iter *iter)
{
    struct record record;
    if (iter->slot == iter->leaf->entry_count)
        return false;
    const uint8_t *rest = record_take(iter->key_at, &record);
    entry_take(iter, &record, rest);
    return true;
}

void kap_leaf_first(struct kap_leaf_iter *iter, const struct kap_leaf *leaf)
{
    iter_place(iter, leaf, 0);
    bool found = kap_leaf_next(iter);
    KAP_ASSERT(found);
}

/* The last restart at or before (key, seq), or the first. */
static uint32_t restart_search(const struct kap_leaf *leaf, struct kap_bytes key, uint64_t seq)
{
    uint32_t low = 0, high = leaf->restart_count - 1;
    while (low < high) {
        uint32_t middle = (low + high + 1) / 2;
        struct record record;
        const uint8_t *rest = record_take(leaf->keys + kap_le16_get(restart_at(leaf, middle).key_offset), &record);
        int order = kap_bytes_cmp(kap_bytes(rest, record.unshared), key);
        if (order < 0 || (order == 0 && leaf->seq_base + unzigzag(record.delta) >= seq))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* From the restart on, matched is the common prefix of the target and the last entry seen, which is before it. How much
 * the next entry shares with that one mostly decides without looking at its bytes:
 *   more than matched  it differs from the target at the same place: still before it
 *   less               it is greater there than the last one, which equals the target there: after it
 *   as much            compare the rest */
bool kap_leaf_seek(struct kap_leaf_iter *iter, const struct kap_leaf *leaf, struct kap_bytes key, uint64_t seq)
{
    iter_place(iter, leaf, restart_search(leaf, key, seq));
    size_t matched = 0;
    while (iter->slot < leaf->entry_count) {
        struct record record;
        const uint8_t *rest = record_take(iter->key_at, &record);
        entry_take(iter, &record, rest);
        if (record.shared > matched)
            continue;
        if (record.shared < matched)
            return true;
        size_t end = KAP_MIN(iter->key_bytes, key.len);
        while (matched < end && iter->key[matched] == key.data[matched])
            matched++;
        if (matched == key.len) {
            if (iter->key_bytes > key.len || iter->seq <= seq)
                return true;
        } else if (matched < iter->key_bytes && iter->key[matched] > key.data[matched]) {
            return true;
        }
    }
    return false;
}
