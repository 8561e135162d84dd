#include "tests/lib/test.h"

#include "engine/base/assert.h"
#include "engine/env/env_losing.h"
#include "engine/env/sync_points.h"
#include "tests/unit/env/env_fixture.h"

enum { CREATE = KAP_OPEN_WRITE | KAP_OPEN_CREATE, MODES = 3 };

static struct ops machine_up(uint64_t seed, const struct kap_losing_options *options)
{
    struct ops ops = {.env = kap_losing_create(seed, options)};
    cr_assert_not_null(ops.env);
    cr_assert_eq(kap_queue_create(ops.env, 8, &ops.queue, NULL), KAP_OK);
    return ops;
}

static void machine_down(struct ops *ops)
{
    kap_queue_destroy(ops->queue);
    kap_losing_destroy(ops->env);
}

/* The content of a file as text; "(none)" when there is no such file. */
static const char *text_of(struct ops *ops, const char *name)
{
    static char text[8192];
    size_t len;
    if (kap_losing_read(ops->env, name, 0, text, sizeof text - 1, &len) != KAP_OK)
        return "(none)";
    text[len] = '\0';
    return text;
}

static struct kap_file *create(struct ops *ops, const char *name, const char *text)
{
    struct kap_file *file;
    cr_assert_eq(ops_open(ops, name, CREATE, &file), KAP_OK);
    cr_assert_eq(ops_write(ops, file, 0, text, strlen(text), 0), KAP_OK);
    return file;
}

static void create_durable(struct ops *ops, const char *name, const char *text)
{
    struct kap_file *file = create(ops, name, text);
    cr_assert_eq(ops_file(ops, KAP_IO_SYNC, file), KAP_OK);
    cr_assert_eq(ops_file(ops, KAP_IO_CLOSE, file), KAP_OK);
    cr_assert_eq(ops_name(ops, KAP_IO_SYNC_DIR, "/", NULL), KAP_OK);
}

Test(env_losing, synced_data_stays_and_unsynced_data_goes)
{
    struct ops ops = machine_up(1, NULL);
    struct kap_file *file = create(&ops, "a", "synced");
    cr_assert_eq(ops_file(&ops, KAP_IO_SYNC, file), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_SYNC_DIR, ".", NULL), KAP_OK);
    cr_assert_eq(ops_write(&ops, file, 0, "SYN", 3, 0), KAP_OK);
    cr_assert_eq(ops_write(&ops, file, 6, " and not", 8, 0), KAP_OK);
    cr_assert_str_eq(text_of(&ops, "a"), "SYNced and not");
    kap_losing_restart(ops.env, KAP_LOSING_ALL_LOST);
    cr_assert_str_eq(text_of(&ops, "a"), "synced");
    cr_assert_eq(kap_losing_open_files(ops.env), 0u);
    machine_down(&ops);
}

Test(env_losing, everything_stays_when_the_disk_was_fast_enough)
{
    struct ops ops = machine_up(1, NULL);
    create(&ops, "a", "not synced");
    cr_assert_eq(ops_name(&ops, KAP_IO_MKDIR, "d", NULL), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_RENAME, "a", "d/b"), KAP_OK);
    kap_losing_restart(ops.env, KAP_LOSING_ALL_KEPT);
    cr_assert_str_eq(text_of(&ops, "a"), "(none)");
    cr_assert_str_eq(text_of(&ops, "d/b"), "not synced");
    machine_down(&ops);
}

Test(env_losing, a_synced_file_without_a_synced_name_is_gone)
{
    struct ops ops = machine_up(1, NULL);
    struct kap_file *file = create(&ops, "a", "data");
    cr_assert_eq(ops_file(&ops, KAP_IO_SYNC, file), KAP_OK);
    kap_losing_restart(ops.env, KAP_LOSING_ALL_LOST);
    cr_assert_str_eq(text_of(&ops, "a"), "(none)");
    machine_down(&ops);
}

Test(env_losing, a_synced_name_without_synced_data_is_an_empty_file)
{
    struct ops ops = machine_up(1, NULL);
    create(&ops, "a", "data");
    cr_assert_eq(ops_name(&ops, KAP_IO_SYNC_DIR, "", NULL), KAP_OK);
    kap_losing_restart(ops.env, KAP_LOSING_ALL_LOST);
    cr_assert_str_eq(text_of(&ops, "a"), "");
    machine_down(&ops);
}

Test(env_losing, a_dsync_write_is_durable_alone_and_supersedes_what_was_unsynced_there)
{
    struct ops ops = machine_up(1, NULL);
    create_durable(&ops, "a", "0123456789");
    for (int mode = 0; mode < MODES; mode++) {
        struct kap_file *file;
        cr_assert_eq(ops_open(&ops, "a", KAP_OPEN_WRITE, &file), KAP_OK);
        cr_assert_eq(ops_write(&ops, file, 0, "0123456789", 10, KAP_WRITE_DSYNC), KAP_OK);
        cr_assert_eq(ops_write(&ops, file, 2, "abcdef", 6, 0), KAP_OK);
        cr_assert_eq(ops_write(&ops, file, 4, "XY", 2, KAP_WRITE_DSYNC), KAP_OK);
        kap_losing_restart(ops.env, (enum kap_losing_mode)mode);
        const char *text = text_of(&ops, "a");
        cr_assert_eq(memcmp(text + 4, "XY", 2), 0);
        cr_assert_eq(memcmp(text, "01", 2), 0);
        cr_assert_str_eq(text + 8, "89");
        if (mode == KAP_LOSING_ALL_LOST)
            cr_assert_str_eq(text, "0123XY6789");
        if (mode == KAP_LOSING_ALL_KEPT)
            cr_assert_str_eq(text, "01abXYef89");
    }
    machine_down(&ops);
}

Test(env_losing, truncation_is_unsynced_until_a_sync_and_a_dsync_write_after_it_carries_it)
{
    struct ops ops = machine_up(1, NULL);
    create_durable(&ops, "a", "0123456789");
    struct kap_file *file;
    cr_assert_eq(ops_open(&ops, "a", KAP_OPEN_WRITE, &file), KAP_OK);
    struct kap_io truncate = {.op = KAP_IO_TRUNCATE, .file = file, .len = 3};
    cr_assert_eq(kap_io_wait(ops.queue, &truncate), KAP_OK);
    cr_assert_str_eq(text_of(&ops, "a"), "012");
    kap_losing_restart(ops.env, KAP_LOSING_ALL_LOST);
    cr_assert_str_eq(text_of(&ops, "a"), "0123456789");
    cr_assert_eq(ops_open(&ops, "a", KAP_OPEN_WRITE, &file), KAP_OK);
    truncate.file = file;
    cr_assert_eq(kap_io_wait(ops.queue, &truncate), KAP_OK);
    cr_assert_eq(ops_write(&ops, file, 3, "xy", 2, KAP_WRITE_DSYNC), KAP_OK);
    kap_losing_restart(ops.env, KAP_LOSING_ALL_LOST);
    cr_assert_str_eq(text_of(&ops, "a"), "012xy");
    machine_down(&ops);
}

Test(env_losing, a_rename_is_old_or_new_and_never_nothing)
{
    int old = 0, new = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct ops ops = machine_up(seed, NULL);
        create_durable(&ops, "final", "old");
        create_durable(&ops, "final.tmp", "new");
        cr_assert_eq(ops_name(&ops, KAP_IO_RENAME, "final.tmp", "final"), KAP_OK);
        cr_assert_str_eq(text_of(&ops, "final"), "new");
        kap_losing_restart(ops.env, KAP_LOSING_TORN);
        bool is_new = strcmp(text_of(&ops, "final"), "new") == 0;
        cr_assert_str_eq(text_of(&ops, "final"), is_new ? "new" : "old");
        cr_assert_str_eq(text_of(&ops, "final.tmp"), is_new ? "(none)" : "new");
        is_new ? new ++ : old++;
        machine_down(&ops);
    }
    cr_assert_gt(old, 20);
    cr_assert_gt(new, 20);
}

/* Over two directories the new name needs the new directory's sync, and the old one never goes first. */
Test(env_losing, a_rename_into_another_directory_needs_both_synced)
{
    const char *const synced[][2] = {{NULL, NULL}, {"/", NULL}, {"d", NULL}, {"d", "/"}};
    const char *const here[] = {"x", "x", "x", "(none)"}, *const there[] = {"(none)", "(none)", "x", "x"};
    for (int i = 0; i < 4; i++) {
        struct ops ops = machine_up(1, NULL);
        create_durable(&ops, "a", "x");
        cr_assert_eq(ops_name(&ops, KAP_IO_MKDIR, "d", NULL), KAP_OK);
        cr_assert_eq(ops_name(&ops, KAP_IO_SYNC_DIR, "/", NULL), KAP_OK);
        cr_assert_eq(ops_name(&ops, KAP_IO_RENAME, "a", "d/b"), KAP_OK);
        for (int s = 0; s < 2 && synced[i][s]; s++)
            cr_assert_eq(ops_name(&ops, KAP_IO_SYNC_DIR, synced[i][s], NULL), KAP_OK);
        kap_losing_restart(ops.env, KAP_LOSING_ALL_LOST);
        cr_assert_str_eq(text_of(&ops, "a"), here[i]);
        cr_assert_str_eq(text_of(&ops, "d/b"), there[i]);
        machine_down(&ops);
    }
}

Test(env_losing, links_and_removals_are_changes_of_their_directories)
{
    struct ops ops = machine_up(1, NULL);
    create_durable(&ops, "a", "x");
    cr_assert_eq(ops_name(&ops, KAP_IO_LINK, "a", "b"), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_LINK, "a", "b"), KAP_EXISTS);
    cr_assert_eq(ops_name(&ops, KAP_IO_SYNC_DIR, "/", NULL), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_UNLINK, "a", NULL), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_UNLINK, "a", NULL), KAP_NO_FILE);
    kap_losing_restart(ops.env, KAP_LOSING_ALL_LOST);
    cr_assert_str_eq(text_of(&ops, "a"), "x");
    cr_assert_str_eq(text_of(&ops, "b"), "x");
    cr_assert_eq(ops_name(&ops, KAP_IO_UNLINK, "a", NULL), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_MKDIR, "d", NULL), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_MKDIR, "d", NULL), KAP_EXISTS);
    cr_assert_eq(ops_name(&ops, KAP_IO_RENAME, "b", "d/b"), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_RMDIR, "d", NULL), KAP_EXISTS);
    cr_assert_eq(ops_name(&ops, KAP_IO_UNLINK, "d/b", NULL), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_RMDIR, "d", NULL), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_SYNC_DIR, "d", NULL), KAP_NO_FILE);
    cr_assert_eq(ops_name(&ops, KAP_IO_SYNC_DIR, "/", NULL), KAP_OK);
    kap_losing_restart(ops.env, KAP_LOSING_ALL_KEPT);
    cr_assert_str_eq(text_of(&ops, "a"), "(none)");
    uint64_t free_bytes, total_bytes;
    cr_assert_eq(kap_env_space(ops.env, "/", &free_bytes, &total_bytes), KAP_OK);
    cr_assert_eq(free_bytes, total_bytes);
    machine_down(&ops);
}

static void ignore(struct kap_io *io)
{
    *(kap_status *)io->context = io->status;
}

/* A write of eight sectors is under way over old bytes when the power fails. */
Test(env_losing, a_write_under_way_is_torn_by_sector_and_not_outside)
{
    int mixed = 0;
    static uint8_t old[8192], new[4096], back[8192];
    memset(old, 'o', sizeof old);
    memset(new, 'n', sizeof new);
    const struct kap_losing_options whole = {.sectors_whole = true};
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct ops ops = machine_up(seed, seed % 2 ? &whole : NULL);
        struct kap_file *file;
        kap_status status = KAP_OK;
        size_t len;
        create_durable(&ops, "w", "");
        cr_assert_eq(ops_open(&ops, "w", KAP_OPEN_WRITE, &file), KAP_OK);
        cr_assert_eq(ops_write(&ops, file, 0, old, sizeof old, KAP_WRITE_DSYNC), KAP_OK);
        struct kap_io io = {.op = KAP_IO_WRITE,
                            .flags = KAP_WRITE_DSYNC,
                            .file = file,
                            .data = new,
                            .len = sizeof new,
                            .offset = 2048,
                            .done = ignore,
                            .context = &status};
        kap_losing_crash_at(ops.env, 1);
        kap_queue_submit(ops.queue, &io);
        cr_assert_eq(kap_queue_poll(ops.queue, -1), 1);
        cr_assert_eq(status, KAP_CRASHED);
        cr_assert_eq(ops_file(&ops, KAP_IO_CLOSE, file), KAP_CRASHED);
        kap_losing_restart(ops.env, KAP_LOSING_TORN);
        cr_assert_eq(kap_losing_read(ops.env, "w", 0, back, sizeof back, &len), KAP_OK);
        cr_assert_eq(len, sizeof old);
        cr_assert_eq(memcmp(back, old, 2048), 0);
        cr_assert_eq(memcmp(back + 6144, old, 2048), 0);
        int sectors_new = 0, sectors_old = 0;
        for (size_t at = 2048; at < 6144; at += 512) {
            sectors_new += memcmp(back + at, new, 512) == 0;
            sectors_old += memcmp(back + at, old, 512) == 0;
        }
        mixed += sectors_new > 0 && sectors_old > 0;
        if (seed % 2)
            cr_assert_eq(sectors_new + sectors_old, 8);
        machine_down(&ops);
    }
    cr_assert_gt(mixed, 10);
}

/* Replaces a file the careful way, three times; stops at the first failure. Returns how many replacements were
 * acknowledged. */
static int replace_thrice(struct ops *ops)
{
    for (int round = 1; round <= 3; round++) {
        char text[600];
        struct kap_file *file;
        memset(text, '0' + round, sizeof text);
        if (ops_open(ops, "dir/new", CREATE, &file) != KAP_OK)
            return round - 1;
        bool ok = ops_write(ops, file, 0, text, sizeof text, 0) == KAP_OK;
        ok = ok && ops_file(ops, KAP_IO_SYNC, file) == KAP_OK;
        kap_status closed = ops_file(ops, KAP_IO_CLOSE, file);
        ok = ok && closed == KAP_OK && ops_name(ops, KAP_IO_RENAME, "dir/new", "dir/now") == KAP_OK;
        struct kap_io io = {.op = KAP_IO_SYNC_DIR, .name = "dir", .sync_point = KAP_SYNC_POINT(manifest_new_dir)};
        if (!ok || kap_io_wait(ops->queue, &io) != KAP_OK)
            return round - 1;
    }
    return 3;
}

static struct ops machine_with_dir(uint64_t seed)
{
    struct ops ops = machine_up(seed, NULL);
    cr_assert_eq(ops_name(&ops, KAP_IO_MKDIR, "dir", NULL), KAP_OK);
    cr_assert_eq(ops_name(&ops, KAP_IO_SYNC_DIR, "/", NULL), KAP_OK);
    return ops;
}

static int round_on_disk(struct ops *ops)
{
    const char *text = text_of(ops, "dir/now");
    if (strcmp(text, "(none)") == 0)
        return 0;
    cr_assert_eq(strlen(text), 600u);
    cr_assert_eq(strspn(text, (char[]){text[0], '\0'}), 600u);
    return text[0] - '0';
}

Test(env_losing, a_crash_at_every_operation_keeps_what_was_acknowledged)
{
    struct ops whole = machine_with_dir(7);
    uint64_t before = kap_losing_io_count(whole.env);
    cr_assert_eq(replace_thrice(&whole), 3);
    uint64_t count = kap_losing_io_count(whole.env) - before;
    cr_assert_eq(count, 18u);
    cr_assert_eq(kap_losing_sync_count(whole.env, "manifest_new_dir"), 3u);
    machine_down(&whole);
    for (uint64_t n = 1; n <= count; n++)
        for (uint64_t seed = 0; seed < 12; seed++) {
            struct ops ops = machine_with_dir(seed);
            kap_losing_crash_at(ops.env, n);
            int acknowledged = replace_thrice(&ops);
            cr_assert(kap_losing_crashed(ops.env));
            cr_assert_eq(kap_losing_open_files(ops.env), 0u, "a handle is gone after close, whatever its status");
            kap_losing_restart(ops.env, (enum kap_losing_mode)(seed % MODES));
            int found = round_on_disk(&ops);
            cr_assert(found == acknowledged || found == acknowledged + 1, "n %d seed %d: %d of %d", (int)n, (int)seed,
                      found, acknowledged);
            cr_assert_eq(replace_thrice(&ops), 3, "the machine works on");
            machine_down(&ops);
        }
}

Test(env_losing, a_removed_sync_loses_what_it_protected_in_its_build_only)
{
    struct ops ops = machine_with_dir(7);
    bool removed = kap_losing_lose_sync(ops.env, KAP_SYNC_POINT(manifest_new_dir));
    cr_assert_eq(replace_thrice(&ops), 3);
    kap_losing_restart(ops.env, KAP_LOSING_ALL_LOST);
    cr_assert_eq(round_on_disk(&ops), removed ? 0 : 3);
#ifdef KAP_LOSE_SYNC_BUILD
    cr_assert(removed);
#else
    cr_assert_not(removed);
#endif
    machine_down(&ops);
}

struct ticker {
    struct kap_env *env;
    struct kap_worker *worker, *other;
    struct kap_io io;
    const char *name;
    uint8_t data[64];
    int ticks, writes, errors;
    int64_t period_ns;
    bool busy, quit;
};

static void ticker_done(struct kap_io *io)
{
    struct ticker *ticker = io->context;
    ticker->busy = false;
    ticker->errors += io->status != KAP_OK;
    if (io->op == KAP_IO_OPEN && io->status == KAP_OK)
        io->file = io->file_out;
    ticker->writes += io->op == KAP_IO_WRITE && io->status == KAP_OK;
    if (io->op == KAP_IO_CLOSE)
        io->file = NULL;
}

/* Opens its file, appends at every tick, closes when told to quit; wakes the other one after each write. */
static enum kap_step ticker_step(void *context, struct kap_queue *queue)
{
    struct ticker *ticker = context;
    if (ticker->busy)
        return KAP_STEP_WAIT_IO;
    bool last = ticker->quit || ticker->errors > 0;
    if (last && !ticker->io.file)
        return KAP_STEP_DONE;
    if (!last && ticker->io.file && kap_env_mono_ns(ticker->env) < ticker->ticks * ticker->period_ns) {
        kap_worker_sleep(ticker->worker, ticker->ticks * ticker->period_ns - kap_env_mono_ns(ticker->env));
        return KAP_STEP_IDLE;
    }
    ticker->io.op = last ? KAP_IO_CLOSE : ticker->io.file ? KAP_IO_WRITE : KAP_IO_OPEN;
    ticker->io.flags = ticker->io.op == KAP_IO_OPEN ? CREATE : 0;
    ticker->io.offset = (uint64_t)ticker->ticks * sizeof ticker->data;
    ticker->ticks += ticker->io.op == KAP_IO_WRITE;
    ticker->busy = true;
    kap_queue_submit(queue, &ticker->io);
    if (ticker->other)
        kap_worker_wake(ticker->other);
    return KAP_STEP_WAIT_IO;
}

static void ticker_start(struct ticker *ticker, struct ops *ops, const char *name, int64_t period_ns)
{
    *ticker = (struct ticker){.env = ops->env, .name = name, .period_ns = period_ns};
    ticker->io = (struct kap_io){
        .name = name, .data = ticker->data, .len = sizeof ticker->data, .done = ticker_done, .context = ticker};
    kap_env_random(ops->env, ticker->data, sizeof ticker->data);
    cr_assert_eq(kap_worker_start(ops->env, name, ticker_step, ticker, &ticker->worker), KAP_OK);
}

static uint64_t tickers_run(uint64_t seed, uint64_t crash_at, int *writes_out)
{
    struct ops ops = machine_up(seed, NULL);
    struct ticker a, b;
    kap_losing_crash_at(ops.env, crash_at);
    ticker_start(&a, &ops, "a", 1000);
    ticker_start(&b, &ops, "b", 700);
    a.other = b.worker;
    while (a.writes + b.writes < 100 && a.errors + b.errors == 0)
        cr_assert(kap_losing_run(ops.env));
    a.quit = b.quit = true;
    a.other = NULL;
    kap_worker_wake(a.worker);
    kap_worker_stop(a.worker);
    kap_worker_stop(b.worker);
    cr_assert_eq(kap_losing_open_files(ops.env), 0u);
    *writes_out = a.writes + b.writes;
    uint64_t hash = kap_losing_trace_hash(ops.env);
    machine_down(&ops);
    return hash;
}

Test(env_losing, the_same_seed_is_the_same_run_and_another_is_not)
{
    int writes, differ = 0;
    uint64_t first = tickers_run(0, 0, &writes);
    cr_assert_geq(writes, 100);
    for (uint64_t seed = 0; seed < 10; seed++) {
        uint64_t hash = tickers_run(seed, 0, &writes);
        cr_assert_eq(tickers_run(seed, 0, &writes), hash);
        differ += hash != first;
    }
    cr_assert_eq(differ, 9);
}

Test(env_losing, workers_can_be_stopped_after_a_crash_at_any_operation)
{
    int writes;
    for (uint64_t n = 1; n < 60; n++)
        (void)tickers_run(n, n, &writes);
}

Test(env_losing, time_moves_only_when_nothing_else_can_happen)
{
    struct ops ops = machine_up(3, NULL);
    struct ticker ticker;
    ticker_start(&ticker, &ops, "a", 1000000);
    kap_losing_settle(ops.env);
    cr_assert_eq(ticker.writes, 1);
    cr_assert_eq(kap_env_mono_ns(ops.env), 0);
    kap_losing_advance(ops.env, 999999);
    kap_losing_settle(ops.env);
    cr_assert_eq(ticker.writes, 1);
    kap_losing_advance(ops.env, 1);
    kap_losing_settle(ops.env);
    cr_assert_eq(ticker.writes, 2);
    cr_assert_eq(kap_queue_poll(ops.queue, 5000000), 0, "a wait of the main thread drives the others");
    cr_assert_eq(kap_env_mono_ns(ops.env), 6000000);
    cr_assert_geq(ticker.writes, 6);
    int64_t wall = kap_env_wall_us(ops.env);
    kap_losing_set_wall(ops.env, wall - 86400000000);
    cr_assert_eq(kap_env_wall_us(ops.env), wall - 86400000000);
    cr_assert_eq(kap_env_mono_ns(ops.env), 6000000);
    ticker.quit = true;
    kap_worker_stop(ticker.worker);
    cr_assert_not(kap_losing_run(ops.env));
    machine_down(&ops);
}

Test(env_losing, a_full_disk_refuses_takes_what_fits_and_recovers)
{
    const struct kap_losing_options small = {.capacity_bytes = 100};
    struct ops ops = machine_up(1, &small);
    uint8_t data[80] = {1};
    uint64_t size, free_bytes, total_bytes;
    struct kap_file *file = create(&ops, "a", "");
    cr_assert_eq(ops_write(&ops, file, 0, data, 80, 0), KAP_OK);
    cr_assert_eq(ops_write(&ops, file, 0, data, 80, 0), KAP_OK, "overwriting needs no room");
    cr_assert_eq(ops_write(&ops, file, 80, data, 80, KAP_WRITE_DSYNC), KAP_NO_SPACE);
    cr_assert_eq(kap_losing_file_size(ops.env, "a", &size), KAP_OK);
    cr_assert_eq(size, 100u);
    cr_assert_eq(kap_env_space(ops.env, "/", &free_bytes, &total_bytes), KAP_OK);
    cr_assert_eq(free_bytes, 0u);
    cr_assert_eq(total_bytes, 100u);
    kap_losing_set_capacity(ops.env, 0);
    cr_assert_eq(ops_write(&ops, file, 80, data, 80, KAP_WRITE_DSYNC), KAP_OK);
    machine_down(&ops);
}

Test(env_losing, locks_last_as_long_as_the_handle_and_rot_can_be_planted)
{
    struct ops ops = machine_up(1, NULL);
    struct kap_file *one, *two;
    create_durable(&ops, "a", "hello");
    cr_assert_eq(ops_open(&ops, "a", KAP_OPEN_WRITE | KAP_OPEN_LOCK, &one), KAP_OK);
    cr_assert_eq(ops_open(&ops, "a", KAP_OPEN_WRITE | KAP_OPEN_LOCK, &two), KAP_LOCKED);
    cr_assert_eq(ops_open(&ops, "a", CREATE | KAP_OPEN_EXCLUSIVE, &two), KAP_EXISTS);
    cr_assert_eq(ops_open(&ops, "nowhere/a", CREATE, &two), KAP_NO_FILE);
    cr_assert_eq(ops_file(&ops, KAP_IO_CLOSE, one), KAP_OK);
    cr_assert_eq(ops_open(&ops, "a", KAP_OPEN_WRITE | KAP_OPEN_LOCK, &one), KAP_OK);
    cr_assert_eq(kap_losing_flip(ops.env, "a", 0, 0x20), KAP_OK);
    cr_assert_eq(kap_losing_overwrite(ops.env, "a", 1, "EL", 2), KAP_OK);
    cr_assert_eq(kap_losing_flip(ops.env, "a", 5, 1), KAP_INVALID);
    cr_assert_eq(kap_losing_overwrite(ops.env, "a", 4, "xx", 2), KAP_INVALID);
    cr_assert_eq(kap_losing_flip(ops.env, "b", 0, 1), KAP_NO_FILE);
    kap_losing_restart(ops.env, KAP_LOSING_ALL_LOST);
    cr_assert_str_eq(text_of(&ops, "a"), "HELlo");
    cr_assert_eq(ops_open(&ops, "a", KAP_OPEN_WRITE | KAP_OPEN_LOCK, &one), KAP_OK, "the lock died with the machine");
    machine_down(&ops);
}

/* A sync covers what had completed when it was submitted, so one submitted beside the write promises nothing. */
Test(env_losing, a_sync_beside_a_write_does_not_cover_it)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct ops ops = machine_up(seed, NULL);
        create_durable(&ops, "a", "old");
        struct kap_file *file;
        kap_status written, synced;
        char data[] = "new";
        cr_assert_eq(ops_open(&ops, "a", KAP_OPEN_WRITE, &file), KAP_OK);
        struct kap_io write = {
            .op = KAP_IO_WRITE, .file = file, .data = data, .len = 3, .done = ignore, .context = &written};
        struct kap_io sync = {.op = KAP_IO_SYNC, .file = file, .done = ignore, .context = &synced};
        kap_queue_submit(ops.queue, &write);
        kap_queue_submit(ops.queue, &sync);
        while (kap_queue_poll(ops.queue, -1) > 0)
            ;
        cr_assert_eq(written, KAP_OK);
        cr_assert_eq(synced, KAP_OK);
        kap_losing_restart(ops.env, KAP_LOSING_ALL_LOST);
        cr_assert_str_eq(text_of(&ops, "a"), "old");
        machine_down(&ops);
    }
}
