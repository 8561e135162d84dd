#include "engine/base/assert.h"
#include "engine/segment/block_cache_internal.h"

/* A context is used for one request from its first run to its answer. It pins what it was given and, while it waits,
 * what it asked for; a run after KAP_PENDING finds all of it. */

enum { USES_MAX = 3 };

static kap_status pin(struct kap_read_context *context, struct cache_entry *entry)
{
    if (context->pin_count == context->pin_cap) {
        struct kap_memory *memory = context->cache->memory;
        bool is_inline = context->pins == context->pins_inline;
        uint32_t cap = context->pin_cap * 2;
        struct cache_entry **pins = kap_memory_resize(memory, is_inline ? NULL : context->pins, cap * sizeof *pins);
        if (!pins)
            return KAP_NO_MEMORY;
        if (is_inline)
            memcpy(pins, context->pins_inline, sizeof context->pins_inline);
        context->pins = pins;
        context->pin_cap = cap;
    }
    context->pins[context->pin_count++] = entry;
    entry->context_number = context->number;
    cache_entry_pin(context->cache, entry);
    return KAP_OK;
}

static bool is_waiting_for(const struct kap_read_context *context, const struct cache_entry *entry)
{
    const struct cache_wait *wait = entry->waits;
    while (wait && wait->context != context)
        wait = wait->next;
    return wait != NULL;
}

/* Pins the entry on its way, so that it is there when this context runs again. */
static kap_status wait_for(struct kap_read_context *context, struct cache_entry *entry)
{
    struct kap_block_cache *cache = context->cache;
    if (is_waiting_for(context, entry) || context->waiting == KAP_READ_CONTEXT_WAITS_MAX)
        return KAP_PENDING;
    struct cache_wait *wait = kap_memory_alloc(cache->memory, sizeof *wait);
    if (!wait)
        return KAP_NO_MEMORY;
    if (pin(context, entry) != KAP_OK) {
        kap_memory_free(cache->memory, wait);
        return KAP_NO_MEMORY;
    }
    kap_list_remove(&context->ready); /* it asks for more before it was run again */
    wait->context = context;
    wait->next = entry->waits;
    entry->waits = wait;
    context->waiting++;
    return KAP_PENDING;
}

static kap_status miss(struct kap_read_context *context, const struct kap_block_ref *ref)
{
    struct kap_block_cache *cache = context->cache;
    cache->stats.misses++;
    if (context->waiting == KAP_READ_CONTEXT_WAITS_MAX)
        return KAP_PENDING; /* asked for when the others have come */
    struct cache_entry *entry = cache_entry_create(cache, ref);
    if (!entry)
        return KAP_NO_MEMORY;
    entry->state = CACHE_WANTED;
    kap_list_push_back(&cache->wanted, &entry->queue);
    kap_status status = wait_for(context, entry);
    if (status != KAP_PENDING)
        cache_entry_drop(cache, entry);
    return status;
}

static kap_status hit(struct kap_read_context *context, struct cache_entry *entry, const struct kap_block **block_out)
{
    if (entry->context_number != context->number) {
        kap_status status = pin(context, entry);
        if (status != KAP_OK)
            return status;
        if (entry->uses < USES_MAX)
            entry->uses++;
    }
    context->cache->stats.hits++;
    *block_out = entry->block;
    return KAP_OK;
}

static kap_status context_lookup(struct kap_read_context *context, const struct kap_block_ref *ref,
                                 const struct kap_block **block_out)
{
    struct cache_entry *entry = cache_entry_find(context->cache, ref->file_id, ref->offset);
    if (!entry)
        return miss(context, ref);
    if (entry->ref.checksum != ref->checksum || entry->ref.type != ref->type)
        return KAP_CORRUPT; /* two pointers disagree about one place */
    switch (entry->state) {
    case CACHE_READY:
        return hit(context, entry, block_out);
    case CACHE_FAILED:
        return entry->failure;
    default:
        return wait_for(context, entry);
    }
}

static kap_status context_get(struct kap_block_source *source, const struct kap_block_ref *ref,
                              const struct kap_block **block_out)
{
    struct kap_read_context *context = KAP_OWNER(source, struct kap_read_context, source);
    kap_status status = context_lookup(context, ref, block_out);
    if (status != KAP_OK && status != KAP_PENDING)
        source->failed = *ref;
    return status;
}

void kap_read_context_init(struct kap_read_context *context, struct kap_block_cache *cache)
{
    static const struct kap_block_source_ops ops = {.get = context_get};
    *context = (struct kap_read_context){
        .source = {.ops = &ops},
        .cache = cache,
        .number = ++cache->context_number,
        .pins = context->pins_inline,
        .pin_cap = KAP_READ_CONTEXT_PINS,
    };
    kap_list_init(&context->ready);
}

static void wait_cancel(struct kap_read_context *context, struct cache_entry *entry)
{
    struct cache_wait **at = &entry->waits;
    while (*at && (*at)->context != context)
        at = &(*at)->next;
    if (!*at)
        return;
    struct cache_wait *wait = *at;
    *at = wait->next;
    kap_memory_free(context->cache->memory, wait);
}

void kap_read_context_release(struct kap_read_context *context)
{
    struct kap_block_cache *cache = context->cache;
    for (uint32_t slot = 0; slot < context->pin_count; slot++) {
        if (context->waiting > 0)
            wait_cancel(context, context->pins[slot]);
        cache_entry_unpin(cache, context->pins[slot]);
    }
    if (context->pins != context->pins_inline)
        kap_memory_free(cache->memory, context->pins);
    kap_list_remove(&context->ready);
    context->pins = context->pins_inline;
    context->pin_cap = KAP_READ_CONTEXT_PINS;
    context->pin_count = 0;
    context->waiting = 0;
    context->number = ++cache->context_number;
    cache_shrink(cache);
}

struct kap_read_context *kap_block_cache_ready(struct kap_block_cache *cache)
{
    if (kap_list_empty(&cache->ready))
        return NULL;
    struct kap_read_context *context = KAP_OWNER(cache->ready.next, struct kap_read_context, ready);
    kap_list_remove(&context->ready);
    return context;
}
