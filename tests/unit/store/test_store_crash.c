#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/env/env_failing.h"
#include "engine/env/sync_points.h"
#include "tests/lib/store_fixture.h"

static struct fixture fixture;

static void quiet(void *context, enum kap_log_level level, const char *line)
{
    (void)context, (void)level, (void)line;
}

static bool gone_is_acknowledged; /* the deletion of the snapshot "gone" */

/* A second snapshot comes and goes, and its name is free again. */
static kap_status snapshot_come_and_go(struct fixture *f)
{
    uint32_t commits = f->snapshot_commits; /* of the one that stays */
    kap_status status = fixture_snapshot(f, "gone");
    if (status == KAP_OK)
        status = fixture_snapshot_delete(f, "gone");
    gone_is_acknowledged = status == KAP_OK;
    f->snapshot_commits = commits;
    return status;
}

/* What the issue calls save, flush, compaction, recovery, snapshot and log rotation, in one life of a store. Stops at the
 * first failure. */
static kap_status life(struct fixture *f)
{
    gone_is_acknowledged = false;
    kap_status status = fixture_open(f);
    for (int round = 0; round < 3 && status == KAP_OK; round++) {
        for (int i = 0; i < 14 && status == KAP_OK; i++)
            status = fixture_commit(f);
        if (status == KAP_OK && round == 0)
            status = fixture_blob(f);
        if (status == KAP_OK && round == 1)
            status = fixture_snapshot(f, "snap");
        if (status == KAP_OK && round == 2)
            status = snapshot_come_and_go(f);
        if (status == KAP_OK)
            status = fixture_flush(f);
        if (status == KAP_OK && round > 0)
            status = fixture_compact(f);
        if (round == 1) {
            fixture_close(f);
            status = status == KAP_OK ? fixture_open(f) : status;
        }
    }
    return status;
}

static uint64_t life_operations(uint32_t seed)
{
    struct kap_env *env = kap_losing_create(seed, NULL);
    fixture_init(&fixture, env, seed);
    cr_assert_eq(life(&fixture), KAP_OK, "%s", fixture.error.text);
    fixture_close(&fixture);
    uint64_t count = kap_losing_io_count(env);
    kap_losing_destroy(env);
    return count;
}

/* Opens what survived; when the very making of the store was cut short there may be none, and then nothing was
 * acknowledged. */
static void survivor_check(struct fixture *f, const char *where)
{
    kap_status status = fixture_open(f);
    cr_assert_eq(status, KAP_OK, "%s: the store does not open again: %s (%s)", where, kap_status_name(status),
                 f->error.text);
    fixture_check(f, where);
    fixture_blob_check(f, where);
    cr_assert_eq(fixture_commit(f), KAP_OK, "%s: no commit after recovery", where);
    fixture_check(f, where);
    fixture_close(f);
}

struct sought {
    const char *name;
    bool is_there;
};

static void listed(void *context, const struct kap_snapshot_info *info)
{
    struct sought *sought = context;
    sought->is_there |= strcmp(info->name, sought->name) == 0;
}

static bool snapshot_listed(struct fixture *f, const char *name)
{
    struct sought sought = {name, false};
    cr_assert_eq(kap_store_snapshot_list(f->store, listed, &sought), KAP_OK);
    return sought.is_there;
}

static kap_status temporary_seen(void *context, const char *name)
{
    *(bool *)context |= strlen(name) > 4 && strcmp(name + strlen(name) - 4, ".tmp") == 0;
    return KAP_OK;
}

/* A snapshot that was acknowledged opens and holds what it held; one that is listed opens; anything else is gone. */
static void snapshot_check(struct fixture *f, bool was_listed, const char *where)
{
    static struct fixture snapshot;
    cr_assert_eq(fixture_open(f), KAP_OK, "%s: %s", where, f->error.text);
    bool is_listed = snapshot_listed(f, "snap"), is_left = false;
    cr_assert(!gone_is_acknowledged || !snapshot_listed(f, "gone"), "%s: a deleted snapshot is back", where);
    cr_assert_eq(kap_env_list(f->env, "/data/snapshots", temporary_seen, &is_left), KAP_OK);
    cr_assert(!is_left, "%s: an unfinished snapshot is left", where);
    fixture_close(f);
    cr_assert(is_listed || (f->snapshot_commits == 0 && !was_listed), "%s: an acknowledged snapshot is gone", where);
    if (!is_listed)
        return;
    snapshot = *f;
    snapshot.options.directory = "/data/snapshots/snap";
    snapshot.options.create = false;
    snapshot.acked_seq = f->snapshot_commits ? f->commits[f->snapshot_commits - 1].seq : 0;
    cr_assert_eq(fixture_open(&snapshot), KAP_OK, "%s: the snapshot does not open: %s", where, snapshot.error.text);
    fixture_check(&snapshot, where);
    fixture_close(&snapshot);
    cr_assert(f->snapshot_commits == 0 || snapshot.n_commits == f->snapshot_commits, "%s: not the snapshot's state",
              where);
}

static void crash_once(uint32_t seed, uint64_t n, enum kap_losing_mode mode)
{
    char where[80];
    snprintf(where, sizeof where, "seed %u, crash at operation %llu, mode %d", seed, (unsigned long long)n, (int)mode);
    struct kap_env *env = kap_losing_create(seed, NULL);
    fixture_init(&fixture, env, seed);
    kap_losing_crash_at(env, n);
    kap_status status = life(&fixture);
    fixture_close(&fixture);
    cr_assert(status == KAP_CRASHED || status == KAP_OK, "%s: %s", where, kap_status_name(status));
    cr_assert_eq(kap_memory_used(&env->memory), 0u, "%s: memory leaked", where);
    kap_losing_restart(env, mode);
    if (n % 3 == 0) { /* and a second power cut while it recovers */
        kap_losing_crash_at(env, 1 + n % 17);
        status = fixture_open(&fixture);
        if (status == KAP_OK)
            fixture_close(&fixture);
        kap_losing_restart(env, mode);
    }
    survivor_check(&fixture, where);
    snapshot_check(&fixture, false, where);
    cr_assert_eq(kap_memory_used(&env->memory), 0u, "%s: memory leaked", where);
    kap_losing_destroy(env);
}

Test(store_crash, a_power_cut_at_every_operation_loses_nothing_acknowledged, .timeout = 900)
{
    kap_log_set_sink(quiet, NULL);
    const char *all = getenv("KAP_CRASH_EVERY"); /* 1: every operation; the default samples to keep the test short */
    uint64_t step = all ? strtoull(all, NULL, 10) : 1;
    uint64_t count = life_operations(1);
    cr_assert_gt(count, 200u);
    for (uint64_t n = 1; n <= count; n += step)
        for (int mode = 0; mode < 3; mode++)
            crash_once(1 + (uint32_t)(n % 5), n, (enum kap_losing_mode)mode);
    /* While a store is being made names become durable one by one: more ways to tear few operations. */
    for (uint64_t n = 1; n <= 40; n++)
        for (uint32_t seed = 10; seed < 30; seed++)
            crash_once(seed, n, KAP_LOSING_TORN);
    fprintf(stderr, "%llu operations, each cut in 3 ways\n", (unsigned long long)count);
}

/* The process is killed, the next one serves what it finds, the power fails: what was served is still there. With m the
 * power also fails at the m-th operation of the second process's recovery. False: recovery has fewer. */
static bool kill_once(uint32_t seed, uint64_t n, uint64_t m, enum kap_losing_mode mode)
{
    char where[100];
    snprintf(where, sizeof where, "seed %u, killed at operation %llu, power cut at %llu of recovery, mode %d", seed,
             (unsigned long long)n, (unsigned long long)m, (int)mode);
    struct kap_env *env = kap_losing_create(seed, NULL);
    fixture_init(&fixture, env, seed);
    kap_losing_crash_at(env, n);
    kap_status status = life(&fixture);
    fixture_close(&fixture);
    cr_assert(status == KAP_CRASHED || status == KAP_OK, "%s: %s", where, kap_status_name(status));
    kap_losing_restart(env, KAP_LOSING_KILLED);
    kap_losing_crash_at(env, m);
    status = fixture_open(&fixture);
    bool whole = status == KAP_OK, was_listed = false;
    cr_assert(whole || status == KAP_CRASHED, "%s: %s (%s)", where, kap_status_name(status), fixture.error.text);
    if (whole) {
        kap_losing_crash_at(env, 0);
        fixture_check(&fixture, where);
        if (fixture.n_commits > 0) /* what a reader has seen is as good as acknowledged */
            fixture.acked_seq = KAP_MAX(fixture.acked_seq, fixture.commits[fixture.n_commits - 1].seq);
        fixture_blob_check(&fixture, where);
        was_listed = snapshot_listed(&fixture, "snap");
        kap_losing_power_cut(env);
        fixture_close(&fixture);
    }
    kap_losing_restart(env, mode);
    survivor_check(&fixture, where);
    snapshot_check(&fixture, was_listed, where);
    cr_assert_eq(kap_memory_used(&env->memory), 0u, "%s: memory leaked", where);
    kap_losing_destroy(env);
    return !whole;
}

Test(store_crash, what_is_served_after_a_kill_survives_a_power_cut, .timeout = 900)
{
    kap_log_set_sink(quiet, NULL);
    uint64_t count = life_operations(1), cuts = 0;
    for (uint64_t n = 1; n <= count; n++) {
        for (int mode = 0; mode < 3; mode++)
            kill_once(1 + (uint32_t)(n % 5), n, 0, (enum kap_losing_mode)mode);
        /* A third of recovery's operations for each kill; the next kill has the next third. */
        for (uint64_t m = 1 + n % 3;
             kill_once(1 + (uint32_t)(n % 5), n, m, m % 4 ? KAP_LOSING_TORN : KAP_LOSING_ALL_LOST); m += 3)
            cuts++;
    }
    fprintf(stderr, "%llu kills, %llu power cuts during the recovery after one\n", (unsigned long long)count,
            (unsigned long long)cuts);
}

/* Opens the store up to its k-th operation. Was the superblock written by then? */
static bool open_until(struct kap_env *env, uint64_t k)
{
    uint64_t before = kap_losing_sync_count(env, "superblock");
    kap_losing_crash_at(env, k);
    kap_status status = fixture_open(&fixture);
    bool written = kap_losing_sync_count(env, "superblock") > before;
    kap_losing_power_cut(env);
    if (status == KAP_OK)
        fixture_close(&fixture);
    return written;
}

/* A store that was stopped, then a process killed in its k-th operation, then a power cut at the m-th of the next. */
static struct kap_env *stopped_killed_cut(uint32_t seed, uint64_t k, uint64_t m, bool *written_out)
{
    struct kap_env *env = kap_losing_create(seed, NULL);
    fixture_init(&fixture, env, seed);
    cr_assert_eq(fixture_open(&fixture), KAP_OK);
    cr_assert_eq(fixture_commit(&fixture), KAP_OK);
    fixture_close(&fixture);
    *written_out = open_until(env, k);
    if (m == 0)
        return env;
    kap_losing_restart(env, KAP_LOSING_KILLED);
    *written_out = open_until(env, m);
    return env;
}

/* One pair of superblock copies is written while the other is what the store lives by: it must not be in a cache only. */
Test(store_crash, a_superblock_that_only_a_cache_holds_is_synced_before_the_other_is_overwritten, .timeout = 900)
{
    kap_log_set_sink(quiet, NULL);
    uint64_t k = 0, m = 0;
    bool written = false;
    while (!written) /* the operation after the write is the first that finds it done */
        kap_losing_destroy(stopped_killed_cut(1, ++k, 0, &written));
    k--;
    written = false;
    while (!written)
        kap_losing_destroy(stopped_killed_cut(1, k, ++m, &written));
    m--;
    for (uint32_t seed = 1; seed <= 4000; seed++) {
        struct kap_env *env = stopped_killed_cut(seed, k, m, &written);
        kap_losing_restart(env, KAP_LOSING_TORN);
        cr_assert_eq(fixture_open(&fixture), KAP_OK, "seed %u, the store does not open again: %s", seed,
                     fixture.error.text);
        fixture_check(&fixture, "both pairs");
        fixture_close(&fixture);
        kap_losing_destroy(env);
    }
}

/* The n-th operation of a class fails: no crash, no leak, nothing acknowledged is lost. */
static bool fail_once(enum kap_failing_class class, uint64_t n, kap_status with, bool sticky)
{
    char where[80];
    snprintf(where, sizeof where, "class %d, operation %llu fails with %s%s", (int)class, (unsigned long long)n,
             kap_status_name(with), sticky ? ", sticky" : "");
    struct kap_env *inner = kap_losing_create(3, NULL);
    struct kap_env *env = kap_failing_create(inner);
    cr_assert_not_null(env);
    fixture_init(&fixture, env, 3);
    kap_failing_at(env, class, n, with, sticky);
    kap_status status = life(&fixture);
    bool failed = kap_failing_failures(env) > 0;
    kap_failing_at(env, class, 0, KAP_OK, false);
    fixture_close(&fixture);
    if (!failed)
        cr_assert_eq(status, KAP_OK, "%s: %s", where, kap_status_name(status));
    cr_assert_eq(kap_memory_used(&env->memory), 0u, "%s: memory leaked", where);
    cr_assert_eq(kap_losing_open_files(inner), 0u, "%s: a handle leaked", where);
    kap_losing_restart(inner, KAP_LOSING_ALL_LOST);
    survivor_check(&fixture, where);
    kap_failing_destroy(env);
    kap_losing_destroy(inner);
    return failed;
}

static void fail_loop(enum kap_failing_class class, kap_status with, uint64_t step)
{
    uint64_t n = 1;
    const char *all = getenv("KAP_FAIL_EVERY");
    if (all)
        step = strtoull(all, NULL, 10);
    while (fail_once(class, n, with, false))
        n += step;
    fprintf(stderr, "class %d: failed at each of 1 .. %llu, step %llu\n", (int)class, (unsigned long long)n,
            (unsigned long long)step);
}

Test(store_fail, the_nth_open_fails, .timeout = 900)
{
    kap_log_set_sink(quiet, NULL);
    fail_loop(KAP_FAILING_OPEN, KAP_IO, 1);
}

Test(store_fail, the_nth_write_fails, .timeout = 900)
{
    kap_log_set_sink(quiet, NULL);
    fail_loop(KAP_FAILING_WRITE, KAP_IO, 1);
    fail_loop(KAP_FAILING_WRITE, KAP_NO_SPACE, 1);
}

Test(store_fail, the_nth_read_or_sync_fails, .timeout = 900)
{
    kap_log_set_sink(quiet, NULL);
    fail_loop(KAP_FAILING_SYNC, KAP_IO, 1);
    fail_loop(KAP_FAILING_READ, KAP_IO, 1);
}

Test(store_fail, the_nth_rename_link_or_unlink_fails, .timeout = 900)
{
    kap_log_set_sink(quiet, NULL);
    fail_loop(KAP_FAILING_RENAME, KAP_IO, 1);
    fail_loop(KAP_FAILING_LINK, KAP_IO, 1);
    fail_loop(KAP_FAILING_UNLINK, KAP_IO, 1);
    fail_loop(KAP_FAILING_MKDIR, KAP_IO, 1);
}

Test(store_fail, the_nth_allocation_fails, .timeout = 900)
{
    kap_log_set_sink(quiet, NULL);
    fail_loop(KAP_FAILING_ALLOC, KAP_NO_MEMORY, 7);
}
