/* block_cache_internal.h - the table (block_cache.c), the queues (block_cache_policy.c) and the contexts
 * (read_context.c) of one cache. */
#pragma once

#include "engine/segment/block_cache.h"

enum cache_state {
    CACHE_WANTED = 1,
    CACHE_LOADING,
    CACHE_READY,
    CACHE_FAILED,
};

/* A context that waits for an entry. */
struct cache_wait {
    struct cache_wait *next;
    struct kap_read_context *context;
};

struct cache_entry {
    struct cache_entry *chain;
    struct kap_list queue; /* small or main when ready, wanted when nobody reads it yet */
    struct kap_list file_link;
    struct kap_block_ref ref;
    struct kap_block *block; /* when ready */
    struct cache_wait *waits;
    uint64_t context_number; /* the last context that pinned it */
    size_t charged_bytes;
    uint32_t pins;
    kap_status failure;
    uint8_t state; /* enum cache_state */
    uint8_t uses; /* since it came or was last passed over, up to 3 */
    bool queued, main; /* in the small queue or the main one */
    bool doomed; /* its file is gone: drop it with its last pin */
};

struct cache_file {
    struct cache_file *chain;
    uint64_t file_id;
    struct kap_list entries;
};

enum { KAP_GHOST_WAYS = 4, KAP_CACHE_FILES = 1024 };

struct cache_ghosts {
    uint32_t fingerprints[KAP_GHOST_WAYS]; /* newest first; 0 is empty */
};

struct kap_block_cache {
    struct kap_memory *memory;
    uint64_t budget_bytes, used_bytes, pinned_bytes;
    uint64_t small_bytes;
    uint64_t evictable; /* queued entries without a pin */
    struct kap_list small, main; /* oldest first */
    struct kap_list wanted, ready; /* entries; contexts */
    struct cache_entry **buckets;
    struct cache_ghosts *ghosts;
    uint32_t bucket_count, ghost_count; /* powers of two */
    uint64_t context_number;
    struct kap_block_cache_stats stats;
    struct cache_file *files[KAP_CACHE_FILES];
};

struct cache_entry *cache_entry_find(const struct kap_block_cache *cache, uint64_t file_id, uint64_t offset);
/* Loading and unpinned; NULL when there is no memory. */
struct cache_entry *cache_entry_create(struct kap_block_cache *cache, const struct kap_block_ref *ref);
void cache_entry_drop(struct kap_block_cache *cache, struct cache_entry *entry);
void cache_entry_pin(struct kap_block_cache *cache, struct cache_entry *entry);
void cache_entry_unpin(struct kap_block_cache *cache, struct cache_entry *entry);

/* Into small, or into main when its fingerprint is among the ghosts. */
void cache_queue_enter(struct kap_block_cache *cache, struct cache_entry *entry);
void cache_queue_leave(struct kap_block_cache *cache, struct cache_entry *entry);
/* Evicts until the budget holds or everything left is pinned. */
void cache_shrink(struct kap_block_cache *cache);
