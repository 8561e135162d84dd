#include "tests/lib/store_fixture.h"

#include "tests/lib/test.h"

#include "engine/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

static const struct kap_schema fixture_schema = {.version = 1, .hash = 1};

void fixture_init(struct fixture *fixture, struct kap_env *env, uint32_t seed)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->env = env;
    fixture->random = seed * 2654435761u + 1;
    fixture->options = (struct kap_store_options){.directory = "/data",
                                                  .schema = &fixture_schema,
                                                  .create = true,
                                                  .memtable_bytes = 24 * 1024,
                                                  .wal_file_bytes = 64 * 1024,
                                                  .block_cache_bytes = 64 * 1024,
                                                  .file_bytes = 32 * 1024,
                                                  .level1_bytes = 48 * 1024,
                                                  .l0_files = 2,
                                                  .space_floor_bytes = 1};
}

kap_status fixture_open(struct fixture *fixture)
{
    fixture->error = (struct kap_error){0};
    kap_status status = kap_queue_create(fixture->env, 64, &fixture->queue, &fixture->error);
    if (status != KAP_OK)
        return status;
    status = kap_store_open(fixture->env, fixture->queue, &fixture->options, &fixture->store, &fixture->error);
    if (status != KAP_OK) {
        kap_queue_destroy(fixture->queue);
        fixture->store = NULL;
    }
    return status;
}

void fixture_close(struct fixture *fixture)
{
    if (!fixture->store)
        return;
    kap_store_close(fixture->store);
    kap_queue_destroy(fixture->queue);
    fixture->store = NULL;
}

uint32_t fixture_draw(struct fixture *fixture, uint32_t below)
{
    fixture->random = fixture->random * 1664525u + 1013904223u;
    return (fixture->random >> 9) % below;
}

static void key_of(uint8_t index, struct kap_key *key)
{
    struct kap_id root = {{(uint8_t)(index / 8 + 1)}}, id = {{index}};
    if (index % 3 == 0) { /* an index tree as well as the row tree */
        kap_key_init(key, (uint16_t)(KAP_TREE_INDEX_FIRST + 1 + index % 2));
        kap_key_put_id(key, root);
        kap_key_put_id(key, id);
        return;
    }
    kap_key_row(key, 1, root, 5, id);
}

static struct kap_bytes value_of(uint32_t value, uint32_t bytes, uint8_t *buffer)
{
    uint32_t state = value * 747796405u + 1;
    for (uint32_t i = 0; i < bytes; i++) {
        state = state * 1664525u + 1013904223u;
        buffer[i] = (uint8_t)(state >> 24);
    }
    if (bytes >= 4)
        memcpy(buffer, &value, 4);
    return kap_bytes(buffer, bytes);
}

kap_status fixture_wait(struct fixture *fixture, bool (*condition)(struct fixture *fixture))
{
    for (int rounds = 0; !condition(fixture); rounds++) {
        kap_store_pump(fixture->store);
        kap_queue_poll(fixture->queue, 1000000);
        kap_status failed = kap_store_failed(fixture->store);
        if (failed != KAP_OK)
            return failed;
        cr_assert_lt(rounds, 200000, "nothing moves");
    }
    return KAP_OK;
}

static bool head_durable(struct fixture *fixture)
{
    return kap_store_durable_seq(fixture->store) >= kap_store_head_seq(fixture->store);
}

/* Runs one transaction to its commit, loading what it lacks; the writes are known beforehand, reads are none. */
static kap_status commit_once(struct fixture *fixture, const struct fixture_commit *commit, uint64_t *seq_out)
{
    static uint8_t buffer[32 * 1024];
    struct kap_arena arena;
    struct kap_read_context context;
    struct kap_txn txn;
    kap_arena_init(&arena, &fixture->env->memory, 4096, 0);
    kap_store_context_init(fixture->store, &context);
    kap_status status = kap_store_txn_begin(fixture->store, &txn, &arena, &context);
    for (uint32_t i = 0; i < commit->n && status == KAP_OK; i++) {
        const struct fixture_write *write = &commit->writes[i];
        struct kap_key key;
        key_of(write->key, &key);
        if (write->deleted)
            status = kap_txn_delete(&txn, kap_key_bytes(&key));
        else
            status = kap_txn_put(&txn, kap_key_bytes(&key), value_of(write->value, write->bytes, buffer));
        if (status != KAP_OK)
            kap_store_txn_abort(fixture->store, &txn);
    }
    if (status == KAP_OK)
        status = kap_store_txn_commit(fixture->store, &txn, seq_out);
    kap_read_context_release(&context);
    kap_arena_deinit(&arena);
    return status;
}

kap_status fixture_commit(struct fixture *fixture)
{
    cr_assert_lt(fixture->n_commits, FIXTURE_COMMITS_MAX);
    struct fixture_commit *commit = &fixture->commits[fixture->n_commits];
    commit->n = 1 + fixture_draw(fixture, 6);
    for (uint32_t i = 0; i < commit->n; i++) {
        struct fixture_write *write = &commit->writes[i];
        write->key = (uint8_t)fixture_draw(fixture, FIXTURE_KEYS);
        write->deleted = fixture_draw(fixture, 6) == 0;
        write->value = fixture->n_commits * 8 + i + 1;
        write->bytes = 4 + fixture_draw(fixture, 600);
        if (fixture_draw(fixture, 60) == 0)
            write->bytes = 17000 + fixture_draw(fixture, 3000);
    }
    kap_status status;
    while ((status = commit_once(fixture, commit, &commit->seq)) == KAP_OVERLOADED) {
        kap_store_pump(fixture->store);
        kap_queue_poll(fixture->queue, 1000000);
        if (kap_store_failed(fixture->store) != KAP_OK)
            return kap_store_failed(fixture->store);
    }
    if (status != KAP_OK)
        return status;
    fixture->n_commits++;
    status = fixture_wait(fixture, head_durable);
    if (status == KAP_OK)
        fixture->acked_seq = commit->seq;
    return status;
}

static uint64_t flush_wanted;
static bool flushed(struct fixture *fixture)
{
    struct kap_store_stats stats;
    kap_store_stats(fixture->store, &stats);
    return stats.flushed_seq >= flush_wanted;
}

kap_status fixture_flush(struct fixture *fixture)
{
    kap_status status;
    while ((status = kap_store_flush(fixture->store, &flush_wanted)) == KAP_OVERLOADED) {
        kap_store_pump(fixture->store);
        kap_queue_poll(fixture->queue, 1000000);
        if (kap_store_failed(fixture->store) != KAP_OK)
            return kap_store_failed(fixture->store);
    }
    return status == KAP_OK ? fixture_wait(fixture, flushed) : status;
}

static bool compacted(struct fixture *fixture)
{
    struct kap_store_stats stats;
    kap_store_stats(fixture->store, &stats);
    return stats.compaction_wanted == 0;
}

kap_status fixture_compact(struct fixture *fixture)
{
    kap_store_compact_all(fixture->store);
    return fixture_wait(fixture, compacted);
}

static int snapshot_status;
static void snapshot_done(void *context, kap_status status, const struct kap_snapshot_info *info)
{
    (void)context, (void)info;
    snapshot_status = (int)status;
}

static bool snapshot_over(struct fixture *fixture)
{
    (void)fixture;
    return snapshot_status >= 0;
}

kap_status fixture_snapshot(struct fixture *fixture, const char *name)
{
    snapshot_status = -1;
    kap_status status = kap_store_snapshot_create(fixture->store, name, snapshot_done, NULL);
    if (status == KAP_OK)
        status = fixture_wait(fixture, snapshot_over);
    if (status == KAP_OK && snapshot_status == KAP_OK)
        fixture->snapshot_commits = fixture->n_commits;
    return status == KAP_OK ? (kap_status)snapshot_status : status;
}

kap_status fixture_snapshot_delete(struct fixture *fixture, const char *name)
{
    snapshot_status = -1;
    kap_status status = kap_store_snapshot_delete(fixture->store, name, snapshot_done, NULL);
    if (status == KAP_OK)
        status = fixture_wait(fixture, snapshot_over);
    return status == KAP_OK ? (kap_status)snapshot_status : status;
}

struct expected {
    bool present;
    uint32_t value, bytes;
};

static void oracle_at(const struct fixture *fixture, uint32_t n_commits, struct expected *expected)
{
    memset(expected, 0, FIXTURE_KEYS * sizeof expected[0]);
    for (uint32_t i = 0; i < n_commits; i++)
        for (uint32_t w = 0; w < fixture->commits[i].n; w++) {
            const struct fixture_write *write = &fixture->commits[i].writes[w];
            expected[write->key] =
                (struct expected){.present = !write->deleted, .value = write->value, .bytes = write->bytes};
        }
}

static kap_status blocks_load(struct fixture *fixture, struct kap_read_context *context)
{
    for (int rounds = 0; rounds < 100000; rounds++) {
        kap_store_pump(fixture->store);
        if (kap_store_next_ready(fixture->store) == context)
            return KAP_OK;
        kap_queue_poll(fixture->queue, 1000000);
    }
    cr_assert_fail("blocks never arrive");
    return KAP_IO;
}

/* The stored value of each key as (present, first four bytes, length), verified to be whole. */
static void state_read(struct fixture *fixture, struct expected *found)
{
    static uint8_t buffer[32 * 1024];
    struct kap_read_context context;
    struct kap_view view;
    kap_store_context_init(fixture->store, &context);
    kap_store_view_begin(fixture->store, &view, &context);
    for (uint8_t i = 0; i < FIXTURE_KEYS; i++) {
        struct kap_key key;
        struct kap_bytes value;
        kap_status status;
        key_of(i, &key);
        while ((status = kap_view_get(&view, kap_key_bytes(&key), &value)) == KAP_PENDING)
            cr_assert_eq(blocks_load(fixture, &context), KAP_OK);
        cr_assert(status == KAP_OK || status == KAP_NOT_FOUND, "get: %s", kap_status_name(status));
        found[i] = (struct expected){.present = status == KAP_OK};
        if (status != KAP_OK)
            continue;
        memcpy(&found[i].value, value.data, 4);
        found[i].bytes = (uint32_t)value.len;
        cr_assert(kap_bytes_eq(value, value_of(found[i].value, found[i].bytes, buffer)), "a value is damaged");
    }
    kap_store_view_end(fixture->store, &view);
    kap_read_context_release(&context);
}

/* A scan over everything must give the same keys as the gets did. */
static void scan_compare(struct fixture *fixture, const struct expected *found)
{
    struct kap_read_context context;
    struct kap_view view;
    struct kap_arena arena;
    static const uint8_t lo[1] = {0}, hi[1] = {0xff};
    kap_arena_init(&arena, &fixture->env->memory, 4096, 0);
    kap_store_context_init(fixture->store, &context);
    kap_store_view_begin(fixture->store, &view, &context);
    for (;;) {
        struct kap_scan scan;
        uint32_t live = 0, want = 0;
        kap_arena_reset(&arena);
        kap_status status = kap_scan_init(&scan, &view, &arena, kap_bytes(lo, 1), kap_bytes(hi, 1));
        while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
            uint32_t value;
            if (kap_tree_of(scan.entry.key) == KAP_TREE_META)
                continue;
            memcpy(&value, scan.entry.value.data, 4);
            bool known = false;
            for (int i = 0; i < FIXTURE_KEYS; i++)
                known |= found[i].present && found[i].value == value;
            cr_assert(known, "the scan gives a value that no get gave");
            live++;
        }
        if (status == KAP_PENDING) {
            cr_assert_eq(blocks_load(fixture, &context), KAP_OK);
            continue;
        }
        cr_assert_eq(status, KAP_END, "%s", kap_status_name(status));
        for (int i = 0; i < FIXTURE_KEYS; i++)
            want += found[i].present;
        cr_assert_eq(live, want, "scan %u, gets %u", live, want);
        break;
    }
    kap_store_view_end(fixture->store, &view);
    kap_read_context_release(&context);
    kap_arena_deinit(&arena);
}

static bool state_equals(const struct expected *a, const struct expected *b)
{
    for (int i = 0; i < FIXTURE_KEYS; i++)
        if (a[i].present != b[i].present || (a[i].present && (a[i].value != b[i].value || a[i].bytes != b[i].bytes)))
            return false;
    return true;
}

void fixture_check(struct fixture *fixture, const char *where)
{
    struct expected found[FIXTURE_KEYS], expected[FIXTURE_KEYS];
    state_read(fixture, found);
    scan_compare(fixture, found);
    uint32_t acked = 0;
    while (acked < fixture->n_commits && fixture->commits[acked].seq <= fixture->acked_seq)
        acked++;
    for (uint32_t n = fixture->n_commits + 1; n-- > acked;) {
        oracle_at(fixture, n, expected);
        if (!state_equals(found, expected))
            continue;
        fixture->n_commits = n;
        return;
    }
    cr_assert_fail("%s: the store equals no state at or after the last acknowledged commit", where);
}

static int blob_status;
static uint8_t blob_refs[1024];
static size_t blob_refs_len;

static void blob_finished(void *context, kap_status status, const uint8_t sha256[32], struct kap_bytes refs)
{
    (void)context, (void)sha256;
    blob_status = (int)status;
    cr_assert_leq(refs.len, sizeof blob_refs);
    blob_refs_len = refs.len;
    if (refs.len)
        memcpy(blob_refs, refs.data, refs.len);
}

static void blob_read_done(void *context, kap_status status)
{
    (void)context;
    blob_status = (int)status;
}

static bool blob_over(struct fixture *fixture)
{
    (void)fixture;
    return blob_status >= 0;
}

static void blob_bytes(uint8_t *data)
{
    value_of(4711, FIXTURE_BLOB_BYTES, data);
}

static kap_status blob_key_commit(struct fixture *fixture)
{
    struct kap_arena arena;
    struct kap_read_context context;
    struct kap_txn txn;
    struct kap_key key;
    uint64_t seq;
    kap_key_init(&key, KAP_TREE_META);
    kap_arena_init(&arena, &fixture->env->memory, 4096, 0);
    kap_store_context_init(fixture->store, &context);
    kap_status status = kap_store_txn_begin(fixture->store, &txn, &arena, &context);
    if (status == KAP_OK) {
        status = kap_txn_put(&txn, kap_key_bytes(&key), kap_bytes(blob_refs, blob_refs_len));
        if (status == KAP_OK)
            status = kap_store_txn_commit(fixture->store, &txn, &seq);
        else
            kap_store_txn_abort(fixture->store, &txn);
    }
    kap_read_context_release(&context);
    kap_arena_deinit(&arena);
    return status == KAP_OK ? fixture_wait(fixture, head_durable) : status;
}

kap_status fixture_blob(struct fixture *fixture)
{
    static uint8_t data[FIXTURE_BLOB_BYTES];
    struct kap_blob_upload *upload;
    blob_bytes(data);
    blob_status = -1;
    kap_status status = kap_blob_upload_begin(kap_store_blobs(fixture->store), sizeof data, &upload);
    if (status != KAP_OK)
        return status;
    for (size_t at = 0; at < sizeof data && status == KAP_OK; at += 50000)
        status = kap_blob_upload_write(upload, kap_bytes(data + at, KAP_MIN((size_t)50000, sizeof data - at)));
    if (status == KAP_OK)
        status = kap_blob_upload_finish(upload, blob_finished, NULL);
    if (status == KAP_OK)
        status = fixture_wait(fixture, blob_over);
    if (status == KAP_OK)
        status = (kap_status)blob_status;
    kap_blob_upload_end(upload);
    if (status == KAP_OK)
        status = blob_key_commit(fixture);
    fixture->blob_acked |= status == KAP_OK;
    return status;
}

void fixture_blob_check(struct fixture *fixture, const char *where)
{
    static uint8_t data[FIXTURE_BLOB_BYTES], want[FIXTURE_BLOB_BYTES];
    struct kap_read_context context;
    struct kap_view view;
    struct kap_key key;
    struct kap_bytes refs;
    kap_status status;
    kap_key_init(&key, KAP_TREE_META);
    kap_store_context_init(fixture->store, &context);
    kap_store_view_begin(fixture->store, &view, &context);
    while ((status = kap_view_get(&view, kap_key_bytes(&key), &refs)) == KAP_PENDING)
        cr_assert_eq(blocks_load(fixture, &context), KAP_OK);
    cr_assert(status == KAP_OK || (status == KAP_NOT_FOUND && !fixture->blob_acked), "%s: an acknowledged blob is gone",
              where);
    if (status == KAP_OK) {
        size_t len;
        blob_status = -1;
        cr_assert_eq(kap_blob_read(kap_store_blobs(fixture->store), refs, sizeof data, 0, sizeof data, data, &len,
                                   blob_read_done, NULL),
                     KAP_OK);
        cr_assert_eq(fixture_wait(fixture, blob_over), KAP_OK);
        blob_bytes(want);
        cr_assert_eq(blob_status, KAP_OK, "%s: blob: %s", where, kap_status_name((kap_status)blob_status));
        cr_assert(len == sizeof data && memcmp(data, want, len) == 0, "%s: the blob's bytes differ", where);
        fixture->blob_acked = true; /* it has been seen */
    }
    kap_store_view_end(fixture->store, &view);
    kap_read_context_release(&context);
}
