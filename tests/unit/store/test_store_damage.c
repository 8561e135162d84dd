#include "tests/lib/test.h"

#include <stdio.h>

#include "engine/base/log.h"
#include "tests/lib/store_fixture.h"

/* Damage behind the store's back: the right one of cut, refuse, error; never a wrong answer, never a crash. */

static struct fixture fixture;

static void quiet(void *context, enum kap_log_level level, const char *line)
{
    (void)context, (void)level, (void)line;
}

static struct kap_env *world(uint64_t seed, int commits, bool flush, bool clean_stop)
{
    struct kap_env *env = kap_losing_create(seed, NULL);
    kap_log_set_sink(quiet, NULL);
    fixture_init(&fixture, env, (uint32_t)seed);
    fixture.options.l0_files = 1000; /* no compaction: files keep their names */
    cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
    for (int i = 0; i < commits; i++)
        cr_assert_eq(fixture_commit(&fixture), KAP_OK);
    if (flush)
        cr_assert_eq(fixture_flush(&fixture), KAP_OK);
    if (!clean_stop)
        kap_losing_power_cut(env);
    fixture_close(&fixture);
    if (!clean_stop)
        kap_losing_restart(env, KAP_LOSING_ALL_LOST);
    return env;
}

/* Where the n-th log frame starts, in the first slot: frames are padded to 4 KiB. */
static uint64_t frame_offset(struct kap_env *env, int n)
{
    uint64_t at = 0;
    for (int i = 1; i < n; i++) {
        uint8_t header[96];
        size_t len;
        uint32_t payload;
        cr_assert_eq(kap_losing_read(env, "/data/wal-00000000.log", at, header, sizeof header, &len), KAP_OK);
        memcpy(&payload, header + 80, 4);
        at += (96 + payload + 4095) / 4096 * 4096;
    }
    return at;
}

Test(store_damage, a_bad_frame_below_the_durable_promise_is_refused_by_name)
{
    struct kap_env *env = world(21, 6, false, false);
    cr_assert_eq(kap_losing_flip(env, "/data/wal-00000000.log", frame_offset(env, 3) + 200, 4), KAP_OK);
    cr_assert_eq(fixture_open(&fixture), KAP_CORRUPT);
    cr_assert_not_null(strstr(fixture.error.text, "wal-00000000.log"), "%s", fixture.error.text);
    cr_assert_not_null(strstr(fixture.error.text, "frame 3"), "%s", fixture.error.text);
    kap_losing_destroy(env);
}

Test(store_damage, a_bad_first_frame_is_refused_whether_others_follow_it_or_not)
{
    for (int commits = 1; commits <= 5; commits += 4) {
        struct kap_env *env = world(21, commits, false, true);
        cr_assert_eq(kap_losing_flip(env, "/data/wal-00000000.log", 120, 1), KAP_OK);
        cr_assert_eq(fixture_open(&fixture), KAP_CORRUPT, "%d commits", commits);
        cr_assert_not_null(strstr(fixture.error.text, "log is damaged"), "%s", fixture.error.text);
        kap_losing_destroy(env);
    }
    /* Also when everything before it has been flushed away. */
    struct kap_env *env = world(27, 12, true, false);
    cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
    cr_assert_eq(fixture_commit(&fixture), KAP_OK);
    fixture_close(&fixture);
    char name[64];
    for (int slot = 0; slot < 4; slot++) { /* whichever slot the commit went to */
        snprintf(name, sizeof name, "/data/wal-%08x.log", slot);
        uint64_t bytes;
        if (kap_losing_file_size(env, name, &bytes) == KAP_OK)
            cr_assert_eq(kap_losing_flip(env, name, 120, 1), KAP_OK);
    }
    cr_assert_eq(fixture_open(&fixture), KAP_CORRUPT);
    kap_losing_destroy(env);
}

Test(store_damage, a_bad_last_frame_after_a_power_cut_is_a_torn_tail)
{
    struct kap_env *env = world(21, 6, false, false);
    cr_assert_eq(kap_losing_flip(env, "/data/wal-00000000.log", frame_offset(env, 6) + 200, 4), KAP_OK);
    fixture.acked_seq = fixture.commits[4].seq;
    cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
    fixture_check(&fixture, "cut");
    cr_assert_eq(fixture.n_commits, 5u);
    fixture_close(&fixture);
    kap_losing_destroy(env);
}

Test(store_damage, a_bad_last_frame_after_a_clean_stop_is_refused)
{
    struct kap_env *env = world(21, 6, false, true);
    cr_assert_eq(kap_losing_flip(env, "/data/wal-00000000.log", frame_offset(env, 6) + 200, 4), KAP_OK);
    cr_assert_eq(fixture_open(&fixture), KAP_CORRUPT);
    cr_assert_not_null(strstr(fixture.error.text, "superblock says"), "%s", fixture.error.text);
    kap_losing_destroy(env);
}

Test(store_damage, one_pair_of_superblock_copies_may_be_lost_and_both_are_refused)
{
    for (int pair = 0; pair < 3; pair++) {
        struct kap_env *env = world(22, 6, false, true);
        for (uint64_t copy = 0; copy < 4; copy++)
            if (pair == 2 || (int)copy / 2 == pair) { /* a pair that was never written is already not whole */
                kap_status status = kap_losing_flip(env, "/data/superblock", copy * 4096 + 30, 1);
                cr_assert(status == KAP_OK || status == KAP_INVALID);
            }
        kap_status status = fixture_open(&fixture);
        if (pair == 2)
            cr_assert_eq(status, KAP_CORRUPT);
        else
            cr_assert(status == KAP_OK || status == KAP_CORRUPT, "%s", fixture.error.text);
        if (status == KAP_OK) {
            fixture_check(&fixture, "superblock");
            fixture_close(&fixture);
        } else {
            cr_assert_neq(fixture.error.text[0], 0);
        }
        kap_losing_destroy(env);
    }
}

Test(store_damage, a_damaged_manifest_or_segment_tail_is_refused_by_name)
{
    struct kap_env *env = world(23, 30, true, true);
    char name[64];
    uint64_t bytes = 0;
    for (int n = 1; n < 6 && bytes == 0; n++) {
        snprintf(name, sizeof name, "/data/manifest-%08x", n);
        if (kap_losing_file_size(env, name, &bytes) != KAP_OK)
            bytes = 0;
    }
    cr_assert_gt(bytes, 0u);
    cr_assert_eq(kap_losing_flip(env, name, 50, 1), KAP_OK);
    cr_assert_eq(fixture_open(&fixture), KAP_CORRUPT, "%s %s", name, fixture.error.text);
    cr_assert_not_null(strstr(fixture.error.text, "manifest-"), "%s", fixture.error.text);
    cr_assert_eq(kap_losing_flip(env, name, 50, 1), KAP_OK);
    cr_assert_eq(kap_losing_file_size(env, "/data/seg-00000001.kap", &bytes), KAP_OK);
    for (uint64_t back = 1; back < 2000; back += 37) {
        cr_assert_eq(kap_losing_flip(env, "/data/seg-00000001.kap", bytes - back, 8), KAP_OK);
        cr_assert_eq(fixture_open(&fixture), KAP_CORRUPT, "%llu before the end", (unsigned long long)back);
        cr_assert_neq(fixture.error.text[0], 0);
        cr_assert_eq(kap_losing_flip(env, "/data/seg-00000001.kap", bytes - back, 8), KAP_OK);
    }
    cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
    fixture_check(&fixture, "mended");
    fixture_close(&fixture);
    kap_losing_destroy(env);
}

Test(store_damage, a_damaged_block_is_an_error_for_what_lies_in_it_and_nothing_else)
{
    struct kap_env *env = world(24, 60, true, true);
    cr_assert_eq(kap_losing_flip(env, "/data/seg-00000001.kap", 300, 16), KAP_OK);
    cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
    struct kap_read_context context;
    struct kap_view view;
    int corrupt = 0, fine = 0;
    for (int tree = 0; tree < 3; tree++) {
        for (uint8_t i = 0; i < FIXTURE_KEYS; i++) {
            struct kap_key key;
            struct kap_bytes value;
            struct kap_id root = {{(uint8_t)(i / 8 + 1)}}, id = {{i}};
            if (i % 3 == 0) {
                kap_key_init(&key, (uint16_t)(KAP_TREE_INDEX_FIRST + 1 + i % 2));
                kap_key_put_id(&key, root);
                kap_key_put_id(&key, id);
            } else {
                kap_key_row(&key, 1, root, 5, id);
            }
            kap_store_context_init(fixture.store, &context);
            kap_store_view_begin(fixture.store, &view, &context);
            kap_status status;
            while ((status = kap_view_get(&view, kap_key_bytes(&key), &value)) == KAP_PENDING) {
                while (kap_store_next_ready(fixture.store) != &context) {
                    kap_store_pump(fixture.store);
                    kap_queue_poll(fixture.queue, 1000000);
                }
            }
            corrupt += status == KAP_CORRUPT;
            fine += status == KAP_OK || status == KAP_NOT_FOUND;
            cr_assert(status == KAP_CORRUPT || status == KAP_OK || status == KAP_NOT_FOUND, "%s", kap_status_name(status));
            kap_store_view_end(fixture.store, &view);
            kap_read_context_release(&context);
        }
    }
    cr_assert_gt(corrupt, 0);
    cr_assert_gt(fine, 0);
    cr_assert_eq(fixture_commit(&fixture), KAP_OK);
    fixture_close(&fixture);
    kap_losing_destroy(env);
}

Test(store_damage, a_store_half_copied_or_of_another_format_is_refused)
{
    struct kap_env *env = world(25, 30, true, true);
    struct kap_queue *queue;
    cr_assert_eq(kap_queue_create(env, 8, &queue, NULL), KAP_OK);
    struct kap_io away = {.op = KAP_IO_RENAME, .name = "/data/superblock", .name_to = "/data/elsewhere"};
    cr_assert_eq(kap_io_wait(queue, &away), KAP_OK);
    cr_assert_eq(fixture_open(&fixture), KAP_CORRUPT);
    cr_assert_not_null(strstr(fixture.error.text, "no superblock"), "%s", fixture.error.text);
    struct kap_io back = {.op = KAP_IO_RENAME, .name = "/data/elsewhere", .name_to = "/data/superblock"};
    cr_assert_eq(kap_io_wait(queue, &back), KAP_OK);
    static const struct kap_schema older = {.version = 0, .hash = 2};
    const struct kap_schema *ours = fixture.options.schema;
    fixture.options.schema = &older;
    cr_assert_eq(fixture_open(&fixture), KAP_NEWER_FORMAT);
    cr_assert_not_null(strstr(fixture.error.text, "schema version 1"), "%s", fixture.error.text);
    fixture.options.schema = ours;
    cr_assert_eq(fixture_open(&fixture), KAP_OK);
    fixture_close(&fixture);
    kap_queue_destroy(queue);
    kap_losing_destroy(env);
}

Test(store_damage, a_full_disk_refuses_writes_answers_reads_and_recovers)
{
    struct kap_env *env = world(26, 30, true, true);
    fixture.options.space_floor_bytes = 1;
    cr_assert_eq(fixture_open(&fixture), KAP_OK);
    kap_losing_set_capacity(env, 1);
    kap_status status = KAP_OK;
    for (int i = 0; i < 4000 && status == KAP_OK; i++)
        status = fixture_commit(&fixture);
    cr_assert(status == KAP_NO_SPACE, "%s", kap_status_name(status));
    fixture_check(&fixture, "full");
    kap_losing_set_capacity(env, 0);
    kap_losing_advance(env, 2000 * 1000000ll);
    for (int i = 0; i < 300 && (status = fixture_commit(&fixture)) == KAP_NO_SPACE; i++)
        kap_losing_advance(env, 100 * 1000000ll);
    cr_assert_eq(status, KAP_OK, "%s", kap_status_name(status));
    cr_assert_eq(fixture_flush(&fixture), KAP_OK);
    fixture_check(&fixture, "freed");
    fixture_close(&fixture);
    kap_losing_destroy(env);
}
