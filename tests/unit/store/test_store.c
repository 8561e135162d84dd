#include "tests/lib/test.h"

#include "tests/lib/store_fixture.h"

static struct fixture fixture;

static void work(struct fixture *f, int commits)
{
    for (int i = 0; i < commits; i++)
        cr_assert_eq(fixture_commit(f), KAP_OK);
}

Test(store, keeps_what_was_committed_over_clean_stops)
{
    struct kap_env *env = kap_losing_create(7, NULL);
    fixture_init(&fixture, env, 7);
    for (int round = 0; round < 4; round++) {
        cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
        fixture_check(&fixture, "opened");
        work(&fixture, 150);
        fixture_check(&fixture, "written");
        cr_assert_eq(fixture_flush(&fixture), KAP_OK);
        fixture_check(&fixture, "flushed");
        cr_assert_eq(fixture_compact(&fixture), KAP_OK);
        fixture_check(&fixture, "compacted");
        fixture_close(&fixture);
        cr_assert_eq(kap_losing_open_files(env), 0u);
    }
    cr_assert_eq(kap_memory_used(&env->memory), 0u);
    kap_losing_destroy(env);
}

Test(store, a_snapshot_opens_as_a_store_of_its_own)
{
    struct kap_env *env = kap_losing_create(9, NULL);
    fixture_init(&fixture, env, 9);
    cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
    work(&fixture, 200);
    cr_assert_eq(fixture_snapshot(&fixture, "one"), KAP_OK);
    cr_assert_eq(fixture_snapshot(&fixture, "one"), KAP_ALREADY_EXISTS);
    cr_assert_eq(fixture_snapshot(&fixture, "../x"), KAP_INVALID);
    static struct fixture at_snapshot;
    at_snapshot = fixture;
    work(&fixture, 200);
    cr_assert_eq(fixture_compact(&fixture), KAP_OK);
    fixture_check(&fixture, "the original");
    fixture_close(&fixture);
    at_snapshot.store = NULL;
    at_snapshot.options.directory = "/data/snapshots/one";
    at_snapshot.options.create = false;
    cr_assert_eq(fixture_open(&at_snapshot), KAP_OK, "%s", at_snapshot.error.text);
    uint32_t commits = at_snapshot.n_commits;
    fixture_check(&at_snapshot, "the snapshot");
    cr_assert_eq(at_snapshot.n_commits, commits);
    fixture_close(&at_snapshot);
    kap_losing_destroy(env);
}

struct card {
    uint32_t n;
    struct kap_snapshot_info last;
};

static void card_note(void *context, const struct kap_snapshot_info *info)
{
    struct card *card = context;
    card->n++;
    card->last = *info;
}

static struct card cards(void)
{
    struct card card = {0};
    cr_assert_eq(kap_store_snapshot_list(fixture.store, card_note, &card), KAP_OK);
    return card;
}

static kap_status entry_count(void *context, const char *name)
{
    (void)name;
    ++*(uint32_t *)context;
    return KAP_OK;
}

Test(store, a_deleted_snapshot_gives_back_its_files_and_its_name)
{
    struct kap_env *env = kap_losing_create(9, NULL);
    fixture_init(&fixture, env, 9);
    cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
    work(&fixture, 200);
    cr_assert_eq(fixture_flush(&fixture), KAP_OK);
    cr_assert_eq(fixture_snapshot(&fixture, "Without-Blobs_1"), KAP_OK);
    struct card before = cards();
    cr_assert_eq(fixture_blob(&fixture), KAP_OK);
    cr_assert_eq(fixture_flush(&fixture), KAP_OK);
    cr_assert_eq(fixture_snapshot_delete(&fixture, "Without-Blobs_1"), KAP_OK);
    for (int i = 0; i < 3; i++) {
        uint32_t left = 0;
        cr_assert_eq(fixture_snapshot(&fixture, "again"), KAP_OK);
        struct card card = cards();
        cr_assert_eq(card.n, 1u);
        cr_assert_gt(card.last.files, before.last.files); /* the pack of the blob */
        cr_assert_gt(card.last.bytes, before.last.bytes);
        cr_assert_eq(fixture_snapshot_delete(&fixture, "again"), KAP_OK);
        cr_assert_eq(cards().n, 0u);
        cr_assert_eq(kap_env_list(env, "/data/snapshots", entry_count, &left), KAP_OK);
        cr_assert_eq(left, 0u);
    }
    cr_assert_eq(fixture_snapshot_delete(&fixture, "again"), KAP_NOT_FOUND);
    cr_assert_eq(fixture_snapshot(&fixture, "with.dot"), KAP_INVALID);
    fixture_check(&fixture, "after it all");
    fixture_close(&fixture);
    cr_assert_eq(kap_memory_used(&env->memory), 0u);
    kap_losing_destroy(env);
}

Test(store, a_directory_in_use_and_one_that_is_not_there_are_refused)
{
    struct kap_env *env = kap_losing_create(3, NULL);
    static struct fixture second;
    fixture_init(&fixture, env, 3);
    fixture_init(&second, env, 3);
    second.options.create = false;
    cr_assert_eq(fixture_open(&second), KAP_NO_FILE);
    cr_assert_eq(fixture_open(&fixture), KAP_OK);
    cr_assert_eq(fixture_open(&second), KAP_LOCKED);
    cr_assert_not_null(strstr(second.error.text, "in use"));
    fixture_close(&fixture);
    kap_losing_destroy(env);
}

/* Found by the simulator: a store that had been recovered let go of its whole log by a flush, lost power before the next
 * frame was written, and then took the frames it did not need any more for proof that others were missing. */
Test(store, opens_after_a_flush_that_follows_recovery_and_a_second_power_cut)
{
    struct kap_env *env = kap_losing_create(5, NULL);
    fixture_init(&fixture, env, 5);
    fixture.options.memtable_bytes = 1024 * 1024;
    fixture.options.wal_file_bytes = 1024 * 1024;
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
        if (round == 0)
            work(&fixture, 10);
        else
            cr_assert_eq(fixture_flush(&fixture), KAP_OK);
        kap_losing_power_cut(env);
        fixture_close(&fixture);
        kap_losing_restart(env, KAP_LOSING_ALL_KEPT);
    }
    cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
    fixture_check(&fixture, "recovered twice");
    work(&fixture, 10);
    fixture_check(&fixture, "written");
    fixture_close(&fixture);
    kap_losing_destroy(env);
}
