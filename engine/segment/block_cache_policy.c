#include "engine/base/assert.h"
#include "engine/segment/block_cache_internal.h"

/* S3-FIFO. New blocks enter the small queue; one that was used again before it reaches the end moves to main, the
 * others leave and are remembered as ghosts. A ghost that comes back enters main at once. In main a used block gets
 * another round. A scan thus passes through a tenth of the cache and leaves the rest alone. */

static uint32_t fingerprint_of(const struct cache_entry *entry)
{
    uint64_t mix = (entry->ref.offset + entry->ref.file_id * 0x9e3779b97f4a7c15ull) * 0xd6e8feb86659fd93ull;
    return (uint32_t)(mix >> 32) | 1u;
}

static struct cache_ghosts *ghosts_of(struct kap_block_cache *cache, uint32_t fingerprint)
{
    return &cache->ghosts[(fingerprint >> 1) & (cache->ghost_count - 1)];
}

static void ghost_add(struct kap_block_cache *cache, uint32_t fingerprint)
{
    struct cache_ghosts *ghosts = ghosts_of(cache, fingerprint);
    memmove(ghosts->fingerprints + 1, ghosts->fingerprints, (KAP_GHOST_WAYS - 1) * sizeof(uint32_t));
    ghosts->fingerprints[0] = fingerprint;
}

static bool ghost_take(struct kap_block_cache *cache, uint32_t fingerprint)
{
    struct cache_ghosts *ghosts = ghosts_of(cache, fingerprint);
    for (int way = 0; way < KAP_GHOST_WAYS; way++)
        if (ghosts->fingerprints[way] == fingerprint) {
            ghosts->fingerprints[way] = 0;
            return true;
        }
    return false;
}

static void queue_push(struct kap_block_cache *cache, struct cache_entry *entry, bool main)
{
    entry->main = main;
    entry->queued = true;
    entry->uses = 0;
    if (!main)
        cache->small_bytes += entry->charged_bytes;
    kap_list_push_back(main ? &cache->main : &cache->small, &entry->queue);
}

static void queue_pull(struct kap_block_cache *cache, struct cache_entry *entry)
{
    if (!entry->main)
        cache->small_bytes -= entry->charged_bytes;
    entry->queued = false;
    kap_list_remove(&entry->queue);
}

void cache_queue_enter(struct kap_block_cache *cache, struct cache_entry *entry)
{
    queue_push(cache, entry, ghost_take(cache, fingerprint_of(entry)));
    if (entry->pins == 0)
        cache->evictable++;
}

void cache_queue_leave(struct kap_block_cache *cache, struct cache_entry *entry)
{
    if (!entry->queued) {
        kap_list_remove(&entry->queue); /* wanted, or nowhere */
        return;
    }
    if (entry->pins == 0)
        cache->evictable--;
    queue_pull(cache, entry);
}

void cache_entry_pin(struct kap_block_cache *cache, struct cache_entry *entry)
{
    if (entry->pins++ > 0)
        return;
    cache->pinned_bytes += entry->charged_bytes;
    if (entry->queued)
        cache->evictable--;
}

void cache_entry_unpin(struct kap_block_cache *cache, struct cache_entry *entry)
{
    KAP_ASSERT(entry->pins > 0);
    if (--entry->pins > 0)
        return;
    cache->pinned_bytes -= entry->charged_bytes;
    if (entry->queued)
        cache->evictable++;
    if (entry->state == CACHE_WANTED || entry->state == CACHE_FAILED || (entry->state == CACHE_READY && entry->doomed))
        cache_entry_drop(cache, entry);
}

/* Looks at the oldest of a queue: evicts it, or moves it on. */
static void oldest_judge(struct kap_block_cache *cache, bool main)
{
    struct kap_list *queue = main ? &cache->main : &cache->small;
    struct cache_entry *entry = KAP_OWNER(queue->next, struct cache_entry, queue);
    uint8_t uses = entry->uses;
    if (entry->pins > 0) {
        queue_pull(cache, entry);
        queue_push(cache, entry, main);
        entry->uses = uses;
    } else if (uses > 0) {
        queue_pull(cache, entry);
        queue_push(cache, entry, true);
        entry->uses = main ? (uint8_t)(uses - 1) : 0;
    } else {
        if (!main)
            ghost_add(cache, fingerprint_of(entry));
        cache->stats.evictions++;
        cache_entry_drop(cache, entry);
    }
}

/* An unpinned entry is passed over three times at most, so this ends as long as there is one. Small gives while it is
 * above its tenth; where pinned entries are in the way, both queues take turns. */
void cache_shrink(struct kap_block_cache *cache)
{
    uint64_t turns = 0;
    while (cache->used_bytes > cache->budget_bytes && cache->evictable > 0) {
        bool from_main = cache->small_bytes <= cache->budget_bytes / 10;
        if (++turns > cache->stats.blocks)
            from_main = turns % 2;
        if (kap_list_empty(from_main ? &cache->main : &cache->small))
            from_main = !from_main;
        oldest_judge(cache, from_main);
    }
}
