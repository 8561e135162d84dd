#include "engine/segment/block_cache.h"
#include "engine/segment/segment_cursor.h"
#include "tests/lib/test.h"
#include "tests/unit/segment/segment_fixture.h"

/* The world: one file of many leaves, a cache, and the reads somebody would do. */
struct world {
    struct fixture f;
    struct kap_memory memory;
    struct kap_block_cache *cache;
    struct kap_block_ref refs[4096];
    uint32_t ref_count;
};

static void world_init(struct world *w, uint32_t entries, uint64_t budget_bytes)
{
    struct fixture_shape shape = {.seed = 31, .count = entries, .key_bytes = 16, .value_bytes = 900};
    fixture_init(&w->f, shape, 9);
    w->memory = (struct kap_memory){0};
    w->ref_count = 0;
    cr_assert_eq(kap_block_cache_create(&w->memory, budget_bytes, &w->cache), KAP_OK);
    for (uint32_t slot = 0; slot < w->f.count; slot++) {
        struct kap_block_ref ref;
        cr_assert(kap_segment_leaf_of(w->f.segment, w->f.entries[slot].key, w->f.entries[slot].seq, &ref));
        if (w->ref_count == 0 || w->refs[w->ref_count - 1].offset != ref.offset)
            w->refs[w->ref_count++] = ref;
        cr_assert_lt(w->ref_count, 4096u);
    }
}

static void world_deinit(struct world *w)
{
    kap_block_cache_destroy(w->cache);
    cr_assert_eq(kap_memory_used(&w->memory), 0u);
    fixture_deinit(&w->f);
}

static struct kap_bytes stored(const struct world *w, const struct kap_block_ref *ref)
{
    return kap_bytes(w->f.file.data + ref->offset, ref->stored_bytes);
}

static uint32_t read_missing(struct world *w)
{
    struct kap_block_ref ref;
    uint32_t reads = 0;
    for (; kap_block_cache_missing(w->cache, &ref); reads++)
        cr_assert_eq(kap_block_cache_insert(w->cache, &ref, stored(w, &ref), NULL), KAP_OK);
    return reads;
}

static kap_status get(struct kap_read_context *context, const struct kap_block_ref *ref, const struct kap_block **out)
{
    return kap_block_source_get(&context->source, ref, out);
}

/* Gets one block as a request does: wait, read, run again. true: it was cached. */
static bool touch(struct world *w, struct kap_read_context *context, uint32_t slot)
{
    const struct kap_block *block = NULL;
    kap_status status = get(context, &w->refs[slot], &block);
    bool cached = status == KAP_OK;
    if (!cached) {
        cr_assert_eq(status, KAP_PENDING);
        cr_assert_eq(read_missing(w), 1u);
        cr_assert_eq(kap_block_cache_ready(w->cache), context);
        cr_assert_eq(get(context, &w->refs[slot], &block), KAP_OK);
    }
    cr_assert_eq(block->ref.offset, w->refs[slot].offset);
    return cached;
}

static bool touch_once(struct world *w, uint32_t slot)
{
    struct kap_read_context context;
    kap_read_context_init(&context, w->cache);
    bool cached = touch(w, &context, slot);
    kap_read_context_release(&context);
    return cached;
}

static struct world w;

Test(block_cache, scans_through_a_cursor_agree_with_the_array_and_the_budget_holds)
{
    struct kap_read_context context;
    struct kap_segment_cursor cursor;
    world_init(&w, 6000, 1 << 20);
    kap_read_context_init(&context, w.cache);
    kap_segment_cursor_init(&cursor, w.f.segment, &context.source);
    uint64_t random = 1;
    for (int round = 0; round < 2000; round++) {
        uint32_t slot = (uint32_t)(fixture_random(&random) % w.f.count), steps = 0, runs = 0;
        kap_status status = KAP_PENDING;
        while (steps < 40 && slot + steps < w.f.count) { /* a request: all of it again after every KAP_PENDING */
            cr_assert_lt(runs++, 10u);
            const struct kap_entry *entry = &w.f.entries[slot];
            status = kap_cursor_seek(&cursor.cursor, entry->key, entry->seq);
            for (steps = 0; status == KAP_OK && steps < 40; steps++) {
                cr_assert(fixture_entry_eq(&cursor.cursor.entry, &w.f.entries[slot + steps]));
                status = kap_cursor_next(&cursor.cursor);
            }
            if (status == KAP_PENDING) {
                steps = 0;
                cr_assert_eq(read_missing(&w), 1u);
                cr_assert_eq(kap_block_cache_ready(w.cache), &context);
            } else if (status == KAP_END) {
                break;
            }
        }
        kap_read_context_release(&context);
        struct kap_block_cache_stats stats = kap_block_cache_stats(w.cache);
        cr_assert_leq(stats.used_bytes, stats.budget_bytes);
        cr_assert_eq(stats.pinned_bytes, 0u);
        cr_assert_leq(stats.used_bytes, kap_memory_used(&w.memory) + 4096);
    }
    cr_assert_gt(kap_block_cache_stats(w.cache).evictions, 100u);
    cr_assert_gt(kap_block_cache_stats(w.cache).hits, 100u);
    world_deinit(&w);
}

Test(block_cache, many_contexts_wait_for_one_read)
{
    struct kap_read_context contexts[50];
    struct kap_block_ref ref;
    const struct kap_block *block = NULL;
    world_init(&w, 200, 1 << 20);
    for (int i = 0; i < 50; i++) {
        kap_read_context_init(&contexts[i], w.cache);
        cr_assert_eq(get(&contexts[i], &w.refs[0], &block), KAP_PENDING);
        cr_assert_eq(get(&contexts[i], &w.refs[0], &block), KAP_PENDING); /* asked twice, waits once */
        cr_assert_eq(contexts[i].waiting, 1u);
    }
    cr_assert(kap_block_cache_missing(w.cache, &ref));
    cr_assert_eq(ref.offset, w.refs[0].offset);
    cr_assert_not(kap_block_cache_missing(w.cache, &ref));
    struct kap_read_context late;
    kap_read_context_init(&late, w.cache); /* comes while the read is under way */
    cr_assert_eq(get(&late, &w.refs[0], &block), KAP_PENDING);
    cr_assert_not(kap_block_cache_missing(w.cache, &ref));
    cr_assert_null(kap_block_cache_ready(w.cache));
    kap_read_context_release(&contexts[7]); /* one gives up */
    cr_assert_eq(kap_block_cache_insert(w.cache, &w.refs[0], stored(&w, &w.refs[0]), NULL), KAP_OK);
    int ready = 0;
    for (struct kap_read_context *context; (context = kap_block_cache_ready(w.cache)); ready++) {
        cr_assert_neq(context, &contexts[7]);
        cr_assert_eq(get(context, &w.refs[0], &block), KAP_OK);
    }
    cr_assert_eq(ready, 50);
    cr_assert_eq(kap_block_cache_stats(w.cache).loads, 1u);
    for (int i = 0; i < 50; i++)
        kap_read_context_release(&contexts[i]);
    kap_read_context_release(&late);
    world_deinit(&w);
}

Test(block_cache, pinned_blocks_stay_past_the_budget_until_released)
{
    struct kap_read_context context;
    const struct kap_block *blocks[300];
    world_init(&w, 6000, 600000);
    cr_assert_gt(w.ref_count, 300u);
    kap_read_context_init(&context, w.cache);
    for (uint32_t slot = 0; slot < 300; slot++) {
        touch(&w, &context, slot);
        cr_assert_eq(get(&context, &w.refs[slot], &blocks[slot]), KAP_OK);
        touch_once(&w, 300 + slot % (w.ref_count - 300)); /* pressure by others */
    }
    cr_assert_gt(kap_block_cache_stats(w.cache).used_bytes, 300 * 15000u);
    for (uint32_t slot = 0; slot < 300; slot++) {
        const struct kap_block *again = NULL;
        cr_assert_eq(get(&context, &w.refs[slot], &again), KAP_OK);
        cr_assert_eq(again, blocks[slot]);
        struct kap_leaf_iter iter;
        kap_leaf_first(&iter, &again->leaf);
        cr_assert_lt(fixture_find(&w.f, kap_bytes(iter.key, iter.key_bytes), iter.seq), w.f.count);
    }
    kap_read_context_release(&context);
    struct kap_block_cache_stats stats = kap_block_cache_stats(w.cache);
    cr_assert_leq(stats.used_bytes, stats.budget_bytes);
    cr_assert_eq(stats.pinned_bytes, 0u);
    kap_block_cache_set_budget(w.cache, 0);
    cr_assert_eq(kap_block_cache_stats(w.cache).blocks, 0u);
    world_deinit(&w);
}

Test(block_cache, a_scan_leaves_the_hot_set_alone)
{
    uint32_t hot = 20, kept = 0;
    world_init(&w, 6000, 40 * 17000);
    for (int round = 0; round < 6; round++)
        for (uint32_t slot = 0; slot < hot; slot++)
            touch_once(&w, slot);
    for (uint32_t slot = hot; slot < w.ref_count; slot++)
        touch_once(&w, slot);
    for (uint32_t slot = 0; slot < hot; slot++)
        kept += kap_block_cache_contains(w.cache, 9, w.refs[slot].offset);
    cr_log_info("%u of %u hot blocks kept through a scan of %u", kept, hot, w.ref_count - hot);
    cr_assert_geq(kept, hot * 9 / 10);
    world_deinit(&w);
}

Test(block_cache, a_ghost_that_comes_back_goes_to_main)
{
    world_init(&w, 6000, 40 * 17000);
    for (uint32_t slot = 0; slot < 60; slot++) /* 0 .. 19 or so leave as ghosts */
        touch_once(&w, slot);
    cr_assert_not(kap_block_cache_contains(w.cache, 9, w.refs[5].offset));
    cr_assert_not(touch_once(&w, 5));
    for (uint32_t slot = 100; slot < 110; slot++) /* new ones pass through small */
        touch_once(&w, slot);
    for (uint32_t slot = 110; slot < 200; slot++)
        touch_once(&w, slot);
    cr_assert(kap_block_cache_contains(w.cache, 9, w.refs[5].offset));
    world_deinit(&w);
}

Test(block_cache, a_failed_read_reaches_every_waiter_and_is_tried_again)
{
    struct kap_read_context a, b;
    struct kap_block_ref ref;
    struct kap_error error = {0};
    const struct kap_block *block = NULL;
    world_init(&w, 200, 1 << 20);
    kap_read_context_init(&a, w.cache);
    kap_read_context_init(&b, w.cache);
    cr_assert_eq(get(&a, &w.refs[0], &block), KAP_PENDING);
    cr_assert_eq(get(&b, &w.refs[0], &block), KAP_PENDING);
    cr_assert(kap_block_cache_missing(w.cache, &ref));
    kap_block_cache_fail(w.cache, &ref, KAP_IO);
    cr_assert_not_null(kap_block_cache_ready(w.cache));
    cr_assert_not_null(kap_block_cache_ready(w.cache));
    cr_assert_eq(get(&a, &w.refs[0], &block), KAP_IO);
    cr_assert_eq(a.source.failed.offset, w.refs[0].offset);
    kap_read_context_release(&a);
    cr_assert_eq(get(&b, &w.refs[0], &block), KAP_IO);
    kap_read_context_release(&b);
    cr_assert_eq(get(&a, &w.refs[0], &block), KAP_PENDING); /* the next request tries again */
    cr_assert(kap_block_cache_missing(w.cache, &ref));
    uint8_t *byte = &w.f.file.data[ref.offset + 100];
    *byte ^= 4;
    cr_assert_eq(kap_block_cache_insert(w.cache, &ref, stored(&w, &ref), &error), KAP_CORRUPT);
    cr_assert_not_null(strstr(error.text, "segment 9"));
    *byte ^= 4;
    cr_assert_eq(kap_block_cache_ready(w.cache), &a);
    cr_assert_eq(get(&a, &w.refs[0], &block), KAP_CORRUPT);
    kap_read_context_release(&a);
    cr_assert_not(touch_once(&w, 0));
    struct kap_block_ref wrong = w.refs[0];
    wrong.checksum++;
    cr_assert_eq(get(&a, &wrong, &block), KAP_CORRUPT);
    kap_read_context_release(&a);
    world_deinit(&w);
}

Test(block_cache, a_cancelled_request_leaves_nothing_and_its_read_still_lands)
{
    struct kap_read_context a;
    struct kap_block_ref ref;
    const struct kap_block *block = NULL;
    world_init(&w, 200, 1 << 20);
    uint64_t empty = kap_block_cache_stats(w.cache).used_bytes;
    kap_read_context_init(&a, w.cache);
    cr_assert_eq(get(&a, &w.refs[0], &block), KAP_PENDING);
    cr_assert_eq(get(&a, &w.refs[1], &block), KAP_PENDING);
    cr_assert_eq(a.waiting, 2u);
    cr_assert(kap_block_cache_missing(w.cache, &ref)); /* 0 is being read, 1 is only wanted */
    kap_read_context_release(&a);
    struct kap_block_ref none;
    cr_assert_not(kap_block_cache_missing(w.cache, &none));
    cr_assert_eq(kap_block_cache_insert(w.cache, &ref, stored(&w, &ref), NULL), KAP_OK);
    cr_assert(kap_block_cache_contains(w.cache, 9, w.refs[0].offset));
    cr_assert_null(kap_block_cache_ready(w.cache));
    kap_block_cache_forget_file(w.cache, 9);
    cr_assert_eq(kap_block_cache_stats(w.cache).used_bytes, empty);
    world_deinit(&w);
}

Test(block_cache, a_forgotten_file_goes_at_once_but_for_what_is_pinned_or_being_read)
{
    struct kap_read_context a, b;
    struct kap_block_ref ref;
    const struct kap_block *block = NULL;
    world_init(&w, 2000, 1 << 22);
    uint64_t empty = kap_block_cache_stats(w.cache).used_bytes;
    kap_read_context_init(&a, w.cache);
    kap_read_context_init(&b, w.cache);
    for (uint32_t slot = 0; slot < 20; slot++)
        touch_once(&w, slot);
    touch(&w, &a, 3);
    cr_assert_eq(get(&b, &w.refs[50], &block), KAP_PENDING);
    cr_assert(kap_block_cache_missing(w.cache, &ref));
    kap_block_cache_forget_file(w.cache, 9);
    cr_assert_eq(kap_block_cache_stats(w.cache).blocks, 2u);
    cr_assert_eq(get(&a, &w.refs[3], &block), KAP_OK); /* the pin holds */
    cr_assert_eq(block->ref.offset, w.refs[3].offset);
    kap_read_context_release(&a);
    cr_assert_not(kap_block_cache_contains(w.cache, 9, w.refs[3].offset));
    cr_assert_eq(kap_block_cache_insert(w.cache, &ref, stored(&w, &ref), NULL), KAP_OK);
    cr_assert_eq(get(&b, &w.refs[50], &block), KAP_OK);
    kap_read_context_release(&b);
    cr_assert_eq(kap_block_cache_stats(w.cache).used_bytes, empty);
    kap_block_cache_forget_file(w.cache, 9);
    kap_block_cache_forget_file(w.cache, 12345);
    world_deinit(&w);
}

/* Contexts come, wait, give up, files go, reads fail, the budget moves: the counts must always add up. */
Test(block_cache, random_life_keeps_its_books)
{
    enum { CONTEXTS = 12 };
    static struct kap_read_context contexts[CONTEXTS];
    struct kap_block_ref reading[512];
    uint32_t reading_count = 0;
    uint64_t random = 77;
    world_init(&w, 3000, 60 * 17000);
    for (int i = 0; i < CONTEXTS; i++)
        kap_read_context_init(&contexts[i], w.cache);
    for (int step = 0; step < 200000; step++) {
        struct kap_read_context *context = &contexts[fixture_random(&random) % CONTEXTS];
        uint64_t what = fixture_random(&random) % 100;
        if (what < 60) {
            uint64_t skew = fixture_random(&random) % w.ref_count;
            const struct kap_block_ref *ref = &w.refs[fixture_random(&random) % (skew + 1)];
            const struct kap_block *block = NULL;
            kap_status status = get(context, ref, &block);
            cr_assert(status == KAP_PENDING || status == KAP_IO || status == KAP_OK);
            if (status == KAP_OK)
                cr_assert_eq(block->ref.checksum, ref->checksum);
        } else if (what < 75) {
            if (reading_count < 512 && kap_block_cache_missing(w.cache, &reading[reading_count]))
                reading_count++;
        } else if (what < 90 && reading_count > 0) {
            uint32_t slot = (uint32_t)(fixture_random(&random) % reading_count);
            struct kap_block_ref ref = reading[slot];
            reading[slot] = reading[--reading_count];
            if (fixture_random(&random) % 20)
                cr_assert_eq(kap_block_cache_insert(w.cache, &ref, stored(&w, &ref), NULL), KAP_OK);
            else
                kap_block_cache_fail(w.cache, &ref, KAP_IO);
        } else if (what < 98) {
            kap_read_context_release(context);
        } else if (what == 98) {
            for (struct kap_read_context *ready; (ready = kap_block_cache_ready(w.cache));)
                cr_assert_eq(ready->waiting, 0u);
        } else if (fixture_random(&random) % 50 == 0) {
            kap_block_cache_forget_file(w.cache, 9);
        } else {
            kap_block_cache_set_budget(w.cache, (10 + fixture_random(&random) % 100) * 17000);
        }
        struct kap_block_cache_stats stats = kap_block_cache_stats(w.cache);
        cr_assert(stats.used_bytes <= stats.budget_bytes || stats.pinned_bytes > 0 || reading_count > 0);
    }
    for (int i = 0; i < CONTEXTS; i++)
        kap_read_context_release(&contexts[i]);
    cr_assert_eq(kap_block_cache_stats(w.cache).pinned_bytes, 0u);
    world_deinit(&w);
}

struct countdown {
    uint32_t left;
};

static int countdown_allow(void *context, size_t bytes)
{
    struct countdown *countdown = context;
    (void)bytes;
    return countdown->left == 0 || --countdown->left > 0;
}

static kap_status pin_forty(struct world *world)
{
    struct kap_read_context context;
    const struct kap_block *block = NULL;
    struct kap_block_ref ref;
    kap_status status = KAP_OK;
    kap_read_context_init(&context, world->cache);
    for (uint32_t slot = 0; (status == KAP_OK || status == KAP_PENDING) && slot < 40; slot++) {
        status = get(&context, &world->refs[slot], &block);
        while (kap_block_cache_missing(world->cache, &ref))
            (void)!kap_block_cache_insert(world->cache, &ref, stored(world, &ref), NULL);
        if (status == KAP_PENDING)
            status = get(&context, &world->refs[slot], &block);
    }
    kap_read_context_release(&context);
    return status;
}

Test(block_cache, a_refused_allocation_is_an_error_and_leaks_nothing)
{
    kap_status status = KAP_NO_MEMORY;
    world_init(&w, 1000, 1 << 20);
    kap_block_cache_destroy(w.cache);
    w.cache = NULL;
    uint32_t fail = 1;
    for (; status != KAP_OK; fail++) {
        struct countdown countdown = {.left = fail};
        w.memory.allow = countdown_allow;
        w.memory.allow_context = &countdown;
        status = kap_block_cache_create(&w.memory, 1 << 20, &w.cache);
        if (status == KAP_OK) {
            status = pin_forty(&w);
            cr_assert_eq(kap_block_cache_stats(w.cache).pinned_bytes, 0u);
            kap_block_cache_destroy(w.cache);
        }
        w.cache = NULL;
        cr_assert(status == KAP_NO_MEMORY || status == KAP_OK);
        cr_assert_eq(kap_memory_used(&w.memory), 0u, "allocation %u", fail);
    }
    cr_assert_gt(fail, 100u);
    w.memory.allow = NULL;
    world_deinit(&w);
}
