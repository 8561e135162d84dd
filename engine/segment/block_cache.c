#include "engine/segment/block_cache_internal.h"

#include "engine/base/assert.h"

/* An entry, from the first miss on:
 *   wanted  -> loading  kap_block_cache_missing()   somebody reads it now
 *   loading -> ready    kap_block_cache_insert()    its waiters hold pins already
 *   loading -> failed   insert of bad bytes, kap_block_cache_fail()
 *   ready   -> gone     eviction, forget_file: never while pinned
 *   failed  -> gone     the last waiter lets go, so that the next request tries again
 *   wanted  -> gone     the last waiter lets go before anybody read it
 * A loading entry without waiters stays until the read comes back. All of it on the owner's thread. */

kap_status kap_block_cache_create(struct kap_memory *memory, uint64_t budget_bytes, struct kap_block_cache **cache_out)
{
    struct kap_block_cache *cache = kap_memory_alloc(memory, sizeof *cache);
    if (!cache)
        return KAP_NO_MEMORY;
    cache->memory = memory;
    cache->budget_bytes = budget_bytes;
    cache->bucket_count = 64;
    while (cache->bucket_count < budget_bytes / 8192 && cache->bucket_count < 1u << 24)
        cache->bucket_count *= 2;
    cache->ghost_count = cache->bucket_count / KAP_GHOST_WAYS;
    cache->buckets = kap_memory_alloc(memory, cache->bucket_count * sizeof *cache->buckets);
    cache->ghosts = kap_memory_alloc(memory, cache->ghost_count * sizeof *cache->ghosts);
    if (!cache->buckets || !cache->ghosts) {
        kap_memory_free(memory, cache->buckets);
        kap_memory_free(memory, cache->ghosts);
        kap_memory_free(memory, cache);
        return KAP_NO_MEMORY;
    }
    cache->used_bytes =
        sizeof *cache + cache->bucket_count * sizeof *cache->buckets + cache->ghost_count * sizeof *cache->ghosts;
    kap_list_init(&cache->small);
    kap_list_init(&cache->main);
    kap_list_init(&cache->wanted);
    kap_list_init(&cache->ready);
    *cache_out = cache;
    return KAP_OK;
}

void kap_block_cache_destroy(struct kap_block_cache *cache)
{
    if (!cache)
        return;
    for (size_t slot = 0; slot < KAP_ARRAY_LEN(cache->files); slot++)
        while (cache->files[slot]) {
            struct cache_entry *entry = KAP_OWNER(cache->files[slot]->entries.next, struct cache_entry, file_link);
            KAP_ASSERT(entry->pins == 0);
            cache_entry_drop(cache, entry);
        }
    kap_memory_free(cache->memory, cache->buckets);
    kap_memory_free(cache->memory, cache->ghosts);
    kap_memory_free(cache->memory, cache);
}

void kap_block_cache_set_budget(struct kap_block_cache *cache, uint64_t budget_bytes)
{
    cache->budget_bytes = budget_bytes;
    cache_shrink(cache);
}

struct kap_block_cache_stats kap_block_cache_stats(const struct kap_block_cache *cache)
{
    struct kap_block_cache_stats stats = cache->stats;
    stats.used_bytes = cache->used_bytes;
    stats.budget_bytes = cache->budget_bytes;
    stats.pinned_bytes = cache->pinned_bytes;
    return stats;
}

/* Table: entries by (file, offset), and by file for forget_file. */

static uint64_t place_hash(uint64_t file_id, uint64_t offset)
{
    uint64_t mix = (file_id * 0x9e3779b97f4a7c15ull) ^ (offset * 0xc2b2ae3d27d4eb4full);
    return (mix ^ mix >> 29) * 0xbf58476d1ce4e5b9ull;
}

static struct cache_entry **bucket_of(const struct kap_block_cache *cache, uint64_t file_id, uint64_t offset)
{
    return &cache->buckets[place_hash(file_id, offset) >> 32 & (cache->bucket_count - 1)];
}

struct cache_entry *cache_entry_find(const struct kap_block_cache *cache, uint64_t file_id, uint64_t offset)
{
    struct cache_entry *entry = *bucket_of(cache, file_id, offset);
    while (entry && (entry->ref.file_id != file_id || entry->ref.offset != offset))
        entry = entry->chain;
    return entry;
}

static struct cache_file **file_of(struct kap_block_cache *cache, uint64_t file_id)
{
    struct cache_file **at = &cache->files[file_id % KAP_ARRAY_LEN(cache->files)];
    while (*at && (*at)->file_id != file_id)
        at = &(*at)->chain;
    return at;
}

static struct cache_file *file_get(struct kap_block_cache *cache, uint64_t file_id)
{
    struct cache_file **at = file_of(cache, file_id);
    if (*at)
        return *at;
    struct cache_file *file = kap_memory_alloc(cache->memory, sizeof *file);
    if (!file)
        return NULL;
    file->file_id = file_id;
    kap_list_init(&file->entries);
    *at = file;
    cache->used_bytes += sizeof *file;
    return file;
}

static void file_put(struct kap_block_cache *cache, uint64_t file_id)
{
    struct cache_file **at = file_of(cache, file_id), *file = *at;
    if (!kap_list_empty(&file->entries))
        return;
    *at = file->chain;
    cache->used_bytes -= sizeof *file;
    kap_memory_free(cache->memory, file);
}

struct cache_entry *cache_entry_create(struct kap_block_cache *cache, const struct kap_block_ref *ref)
{
    struct cache_entry *entry = kap_memory_alloc(cache->memory, sizeof *entry);
    struct cache_file *file = entry ? file_get(cache, ref->file_id) : NULL;
    if (!file) {
        kap_memory_free(cache->memory, entry);
        return NULL;
    }
    struct cache_entry **bucket = bucket_of(cache, ref->file_id, ref->offset);
    entry->ref = *ref;
    entry->state = CACHE_LOADING;
    entry->chain = *bucket;
    *bucket = entry;
    kap_list_push_back(&file->entries, &entry->file_link);
    kap_list_init(&entry->queue);
    /* A read under way counts with what it will about cost, so that a burst of misses evicts before it lands. */
    entry->charged_bytes = sizeof *entry + ref->stored_bytes;
    cache->used_bytes += entry->charged_bytes;
    cache->stats.blocks++;
    return entry;
}

void cache_entry_drop(struct kap_block_cache *cache, struct cache_entry *entry)
{
    KAP_ASSERT(entry->pins == 0 && !entry->waits);
    struct cache_entry **at = bucket_of(cache, entry->ref.file_id, entry->ref.offset);
    while (*at != entry)
        at = &(*at)->chain;
    *at = entry->chain;
    cache_queue_leave(cache, entry);
    kap_list_remove(&entry->file_link);
    file_put(cache, entry->ref.file_id);
    cache->used_bytes -= entry->charged_bytes;
    cache->stats.blocks--;
    kap_block_free(cache->memory, entry->block);
    kap_memory_free(cache->memory, entry);
}

bool kap_block_cache_contains(const struct kap_block_cache *cache, uint64_t file_id, uint64_t offset)
{
    const struct cache_entry *entry = cache_entry_find(cache, file_id, offset);
    return entry && entry->state == CACHE_READY;
}

void kap_block_cache_forget_file(struct kap_block_cache *cache, uint64_t file_id)
{
    struct cache_file *file = *file_of(cache, file_id);
    if (!file)
        return;
    struct kap_list *link = file->entries.next, *end = &file->entries;
    while (link != end) {
        struct cache_entry *entry = KAP_OWNER(link, struct cache_entry, file_link);
        link = link->next;
        bool last = link == end;
        if (entry->pins == 0 && entry->state == CACHE_READY)
            cache_entry_drop(cache, entry); /* with the last one the file goes too */
        else
            entry->doomed = true;
        if (last)
            break;
    }
}

/* Reads. */

bool kap_block_cache_missing(struct kap_block_cache *cache, struct kap_block_ref *ref_out)
{
    if (kap_list_empty(&cache->wanted))
        return false;
    struct cache_entry *entry = KAP_OWNER(cache->wanted.next, struct cache_entry, queue);
    kap_list_remove(&entry->queue);
    entry->state = CACHE_LOADING;
    *ref_out = entry->ref;
    return true;
}

/* Everybody who waited has one block less to wait for; the pins stay. */
static void waits_wake(struct kap_block_cache *cache, struct cache_entry *entry)
{
    while (entry->waits) {
        struct cache_wait *wait = entry->waits;
        entry->waits = wait->next;
        if (--wait->context->waiting == 0)
            kap_list_push_back(&cache->ready, &wait->context->ready);
        kap_memory_free(cache->memory, wait);
    }
}

static void entry_fail(struct kap_block_cache *cache, struct cache_entry *entry, kap_status status)
{
    KAP_ASSERT(entry->state != CACHE_READY);
    cache->stats.failures++;
    kap_list_remove(&entry->queue); /* it may be wanted still */
    entry->state = CACHE_FAILED;
    entry->failure = status;
    waits_wake(cache, entry);
    if (entry->pins == 0)
        cache_entry_drop(cache, entry);
}

static void entry_ready(struct kap_block_cache *cache, struct cache_entry *entry, struct kap_block *block)
{
    size_t charged_bytes = sizeof *entry + block->memory_bytes;
    cache->stats.loads++;
    cache->used_bytes += charged_bytes - entry->charged_bytes;
    if (entry->pins > 0)
        cache->pinned_bytes += charged_bytes - entry->charged_bytes;
    entry->charged_bytes = charged_bytes;
    entry->block = block;
    entry->state = CACHE_READY;
    kap_list_remove(&entry->queue);
    cache_queue_enter(cache, entry);
    waits_wake(cache, entry);
    if (entry->pins == 0 && entry->doomed)
        cache_entry_drop(cache, entry);
    cache_shrink(cache);
}

kap_status kap_block_cache_insert(struct kap_block_cache *cache, const struct kap_block_ref *ref,
                                  struct kap_bytes stored, struct kap_error *error)
{
    struct kap_block *block = NULL;
    struct cache_entry *entry = cache_entry_find(cache, ref->file_id, ref->offset);
    if (entry && entry->state == CACHE_READY)
        return KAP_OK;
    if (!entry)
        entry = cache_entry_create(cache, ref);
    if (!entry)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for an entry of the block cache");
    kap_status status = kap_block_load(cache->memory, &entry->ref, stored, &block, error);
    if (status == KAP_OK)
        entry_ready(cache, entry, block);
    else
        entry_fail(cache, entry, status);
    return status;
}

void kap_block_cache_fail(struct kap_block_cache *cache, const struct kap_block_ref *ref, kap_status status)
{
    struct cache_entry *entry = cache_entry_find(cache, ref->file_id, ref->offset);
    KAP_ASSERT(status != KAP_OK && status != KAP_PENDING);
    if (entry && entry->state != CACHE_READY)
        entry_fail(cache, entry, status);
}
