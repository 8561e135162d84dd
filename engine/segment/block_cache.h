/* block_cache.h - decoded blocks of all segments within one byte budget, and who waits for which.
 *
 * A request reads through its kap_read_context, a block source. A cached block is pinned in the context; a missing one
 * makes the context wait (KAP_PENDING). The module does no I/O:
 *
 *   while (kap_block_cache_missing(cache, &ref)) start reading ref;          one read however many contexts wait
 *   on completion: kap_block_cache_insert(cache, &ref, bytes, ..) or kap_block_cache_fail(cache, &ref, status)
 *   while ((context = kap_block_cache_ready(cache))) run its request again;  what it waited for is pinned in it
 *
 * Budget   blocks, entries, tables and reads under way all count. Pinned blocks are never evicted: with all of it
 *          pinned the cache grows past the budget and shrinks when they are released.
 * Policy   S3-FIFO: a small queue (10 %) for what is read once, a main queue, a ghost of evicted fingerprints.
 * Threads  one at a time: it belongs to a reactor, as do its contexts. */
#pragma once

#include "engine/base/list.h"
#include "engine/base/memory.h"
#include "engine/segment/block_source.h"

struct kap_block_cache;
struct cache_entry;

struct kap_block_cache_stats {
    uint64_t hits, misses, loads, failures, evictions;
    uint64_t used_bytes, budget_bytes, pinned_bytes;
    uint64_t blocks;
};

enum { KAP_READ_CONTEXT_PINS = 16, KAP_READ_CONTEXT_WAITS_MAX = 1024 };

/* Not to be moved while in use. */
struct kap_read_context {
    struct kap_block_source source; /* hand out &c.source */
    struct kap_block_cache *cache;
    uint64_t number; /* of this use; blocks remember the last context that pinned them */
    struct cache_entry **pins;
    uint32_t pin_count, pin_cap;
    uint32_t waiting; /* blocks it still waits for; at most KAP_READ_CONTEXT_WAITS_MAX are asked for at a time */
    struct kap_list ready;
    void *owner; /* the caller's, untouched: whom to run when it is ready */
    struct cache_entry *pins_inline[KAP_READ_CONTEXT_PINS];
};

KAP_CHECKED kap_status kap_block_cache_create(struct kap_memory *memory, uint64_t budget_bytes,
                                              struct kap_block_cache **cache_out);
/* No context may hold pins. */
void kap_block_cache_destroy(struct kap_block_cache *cache);
void kap_block_cache_set_budget(struct kap_block_cache *cache, uint64_t budget_bytes);
struct kap_block_cache_stats kap_block_cache_stats(const struct kap_block_cache *cache);

/* A block that contexts wait for and nobody reads yet. true: the caller reads it and must insert or fail it. */
bool kap_block_cache_missing(struct kap_block_cache *cache, struct kap_block_ref *ref_out);
/* Verifies and decodes. Without anyone waiting it is kept as a block read once. A fault is returned for the log and
 * handed to every waiting context. */
KAP_CHECKED kap_status kap_block_cache_insert(struct kap_block_cache *cache, const struct kap_block_ref *ref,
                                              struct kap_bytes stored, struct kap_error *error);
void kap_block_cache_fail(struct kap_block_cache *cache, const struct kap_block_ref *ref, kap_status status);
/* A context with nothing left to wait for, once; NULL when there is none. */
struct kap_read_context *kap_block_cache_ready(struct kap_block_cache *cache);
bool kap_block_cache_contains(const struct kap_block_cache *cache, uint64_t file_id, uint64_t offset);
/* The file is no longer in any version: drops its blocks, pinned ones when they are released. */
void kap_block_cache_forget_file(struct kap_block_cache *cache, uint64_t file_id);

void kap_read_context_init(struct kap_read_context *context, struct kap_block_cache *cache);
/* Unpins all and stops waiting; the context can be used again. Required before it goes away. */
void kap_read_context_release(struct kap_read_context *context);
