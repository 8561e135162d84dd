#include "tools/kap/hash_set.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/assert.h"

enum { SLOTS_MIN = 64 };

void hash_set_init(struct hash_set *set, struct kap_memory *memory)
{
    *set = (struct hash_set){.memory = memory};
}

void hash_set_deinit(struct hash_set *set)
{
    kap_memory_free(set->memory, set->entries);
    kap_memory_free(set->memory, set->slots);
    *set = (struct hash_set){.memory = set->memory};
}

/* Where the hash stands, or the free slot where it belongs. A SHA-256 needs no further mixing. */
static uint32_t *slot_of(const struct hash_set *set, const uint8_t hash[32])
{
    uint64_t start;
    memcpy(&start, hash, sizeof start);
    for (size_t at = start;; at++) {
        uint32_t *slot = &set->slots[at & (set->n_slots - 1)];
        if (*slot == 0 || memcmp(set->entries[*slot - 1].hash, hash, 32) == 0)
            return slot;
    }
}

static bool grow(struct hash_set *set)
{
    if (set->n_slots > 0 && set->n < set->n_slots / 2)
        return true;
    size_t n_slots = set->n_slots ? set->n_slots * 2 : SLOTS_MIN;
    struct hash_set_entry *entries = kap_memory_resize(set->memory, set->entries, n_slots * sizeof *entries);
    if (!entries)
        return false;
    set->entries = entries;
    uint32_t *slots = kap_memory_alloc(set->memory, n_slots * sizeof *slots);
    if (!slots)
        return false;
    kap_memory_free(set->memory, set->slots);
    set->slots = slots;
    set->n_slots = set->cap = n_slots;
    for (size_t i = 0; i < set->n; i++)
        *slot_of(set, set->entries[i].hash) = (uint32_t)i + 1;
    return true;
}

kap_status hash_set_add(struct hash_set *set, const uint8_t hash[32], bool *is_new_out)
{
    if (!grow(set))
        return KAP_NO_MEMORY;
    uint32_t *slot = slot_of(set, hash);
    *is_new_out = *slot == 0;
    if (*slot != 0)
        return KAP_OK;
    KAP_ASSERT(set->n < set->cap);
    memcpy(set->entries[set->n++].hash, hash, 32);
    *slot = (uint32_t)set->n;
    return KAP_OK;
}

kap_status hash_set_add_message(struct hash_set *set, const struct kap_msg *msg, const void *message)
{
    kap_status status = KAP_OK;
    for (uint16_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        bool is_hash = field->type == KAP_FIELD_BYTES && field->rules && field->rules->flags & KAP_FIELD_HASH;
        size_t n = is_hash || field->type == KAP_FIELD_MESSAGE ? kap_field_count(field, message) : 0;
        for (size_t k = 0; k < n && status == KAP_OK; k++) {
            const void *item = kap_field_item(field, message, k);
            const struct kap_bytes *hash = item;
            bool is_new;
            if (!is_hash)
                status = hash_set_add_message(set, field->msg, item);
            else if (hash->len == 32)
                status = hash_set_add(set, hash->data, &is_new);
        }
    }
    return status;
}

static int entry_cmp(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct hash_set_entry));
}

void hash_set_sort(struct hash_set *set)
{
    if (set->n > 0)
        qsort(set->entries, set->n, sizeof *set->entries, entry_cmp);
}

void hash_print(const uint8_t hash[32], char text_out[HASH_TEXT_BYTES])
{
    for (size_t i = 0; i < 32; i++)
        snprintf(text_out + 2 * i, 3, "%02x", hash[i]);
}
