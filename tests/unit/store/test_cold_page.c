/* A page and its count from a store with nothing cached: how many blocks that reads. */
#include "tests/lib/service_fixture.h"

#include <stdio.h>

#include "tests/lib/test.h"

#include "engine/base/assert.h"
#include "engine/segment/segment_reader.h"
#include "engine/store/store_internal.h"
#include "proto/kap_numbers.h"

enum { SESSIONS = 700, PAGE = 25 };

static struct service_fixture fx;

static void settle(void)
{
    struct kap_store_stats stats;
    uint64_t seq;
    cr_assert_eq(kap_store_flush(fx.store, &seq), KAP_OK);
    kap_store_compact_all(fx.store);
    do {
        kap_store_pump(fx.store);
        kap_queue_poll(fx.queue, 1000000);
        kap_store_stats(fx.store, &stats);
    } while (stats.flushed_seq < seq || stats.compaction_wanted > 0);
}

/* The height of the one sorted run that holds a tree; the store is compacted, so there is one. */
static uint32_t height_of(uint16_t tree)
{
    struct kap_version version = kap_version_pin(&fx.store->versions);
    uint32_t height = 0, runs = 0;
    for (int level = 0; level < KAP_LEVELS; level++) {
        bool is_here = false;
        for (uint32_t i = 0; i < version.files->n_files[level]; i++) {
            const struct kap_segment *segment = version.files->files[level][i]->segment;
            for (uint32_t slot = 0; slot < kap_segment_tree_count(segment); slot++) {
                struct kap_segment_tree_stats stats = kap_segment_tree_stats(segment, slot);
                if (stats.tree != tree)
                    continue;
                is_here = true;
                height = KAP_MAX(height, stats.height);
            }
        }
        runs += is_here;
    }
    kap_version_unpin(&fx.store->versions, version);
    cr_assert_eq(runs, 1u, "tree %u lies in %u sorted runs", tree, runs);
    return height;
}

static uint64_t loads(void)
{
    struct kap_store_stats stats;
    kap_store_stats(fx.store, &stats);
    return stats.cache.loads;
}

Test(cold_page, reads_at_most_height_plus_one_blocks_of_each_run)
{
    service_fixture_open(&fx, 17);
    struct kap_id sport = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
    struct kap_id level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    for (int i = 0; i < SESSIONS; i++) {
        char title[32];
        struct kap_session_save_reply saved;
        snprintf(title, sizeof title, "Session %d", i);
        struct kap_session_save_request *save = fixture_session(&fx, sport, level, title, 0, 0);
        cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, save, &saved, NULL), KAP_OK);
    }
    settle();
    uint32_t index = height_of(KAP_TREE_INDEX_FIRST + KAP_INDEX_SESSION_BY_OWNER), count = height_of(KAP_TREE_COUNT);
    cr_assert_geq(index, 2u);
    service_fixture_reopen(&fx);
    struct kap_list_page page = {.has_limit = true, .limit = PAGE, .has_want_count = true, .want_count = true};
    struct kap_session_list_request request = {.page = &page, .has_owner = true, .owner = coach.user};
    struct kap_session_list_reply reply;
    uint64_t before = loads();
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_LIST, &request, &reply, NULL), KAP_OK);
    uint64_t read = loads() - before;
    cr_assert_eq(reply.n_sessions, PAGE);
    cr_assert_eq(reply.end->total, SESSIONS);
    cr_assert_gt(read, 0u);
    cr_assert_leq(read, index + 1 + count + 1, "%llu blocks for runs of height %u and %u", (unsigned long long)read,
                  index, count);
    fprintf(stderr, "%llu blocks read, heights %u and %u\n", (unsigned long long)read, index, count);
    /* Warm, it reads none. */
    before = loads();
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_LIST, &request, &reply, NULL), KAP_OK);
    cr_assert_eq(loads(), before);
    service_fixture_close(&fx);
}
