/* hash_set.h - the blobs that rows name: each once, found by walking a row's message table. */
#pragma once

#include "engine/base/arena.h"
#include "engine/base/status.h"
#include "proto/message.h"

struct hash_set_entry {
    uint8_t hash[32];
};

struct hash_set {
    struct kap_memory *memory;
    struct hash_set_entry *entries; /* in the order they came, until sorted */
    size_t n, cap;
    uint32_t *slots; /* 1 + entry; 0: free */
    size_t n_slots; /* a power of two */
};

void hash_set_init(struct hash_set *set, struct kap_memory *memory);
void hash_set_deinit(struct hash_set *set);
/* *is_new_out: was not there. KAP_NO_MEMORY. */
KAP_CHECKED kap_status hash_set_add(struct hash_set *set, const uint8_t hash[32], bool *is_new_out);
/* Every hash that a field of the message or of one inside it holds. */
KAP_CHECKED kap_status hash_set_add_message(struct hash_set *set, const struct kap_msg *msg, const void *message);
/* In memcmp order; the set takes no more afterwards. */
void hash_set_sort(struct hash_set *set);

enum { HASH_TEXT_BYTES = 65 };
void hash_print(const uint8_t hash[32], char text_out[HASH_TEXT_BYTES]);
