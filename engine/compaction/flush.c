/* The flusher's step function: one job at a time, in this order of urgency: a sealed memtable, a spare log file, buried
 * files, the superblock's mark, a snapshot.
 *
 * flush: waiting for its commits to be durable -> writing the segment -> edit lock -> manifest edit -> installed */
#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/compaction/background.h"
#include "engine/compaction/snapshot.h"
#include "engine/env/file_name.h"
#include "engine/schema/key.h"

#include <stdio.h>

enum flush_state { FLUSH_IDLE, FLUSH_WRITING, FLUSH_READY, FLUSH_EDITING, FLUSH_ABORTING };

struct kap_flush {
    enum flush_state state;
    struct kap_version version; /* pins the table */
    struct kap_version_table *table;
    struct kap_memtable_cursor cursor;
    bool entry_there, source_ended, finished;
    struct kap_key last;
    struct kap_segment_writer writer;
    struct kap_version_file *file;
    struct kap_fileset *files;
    uint64_t file_id;
    struct kap_wal_spare spare;
    struct kap_io_chain burial;
    struct kap_version_file *buried;
    char burial_path[KAP_PATH_BYTES_MAX];
    bool marking;
    int64_t retry_at_ns; /* after a full disk */
};

kap_status kap_flush_create(struct kap_background *background)
{
    background->flush = kap_memory_alloc(&background->env->memory, sizeof *background->flush);
    return background->flush ? KAP_OK : KAP_NO_MEMORY;
}

void kap_flush_destroy(struct kap_background *background)
{
    struct kap_flush *flush = background->flush;
    if (!flush)
        return;
    KAP_ASSERT(flush->state == FLUSH_IDLE && !flush->spare.active && !flush->buried && !flush->marking);
    kap_memory_free(&background->env->memory, flush);
    background->flush = NULL;
}

/* Only the newest version of a key goes to disk: a reader that needs an older one pins the memtable. */
static kap_status entries_move(struct kap_flush *flush)
{
    while (!flush->source_ended && kap_segment_writer_wants(&flush->writer)) {
        const struct kap_entry *entry = &flush->cursor.cursor.entry;
        if (!flush->entry_there || !kap_bytes_eq(entry->key, kap_key_bytes(&flush->last))) {
            kap_status status = kap_segment_writer_add(&flush->writer, entry);
            if (status != KAP_OK)
                return status;
            flush->last.len = 0;
            flush->last.failed = false;
            kap_key_put(&flush->last, entry->key.data, entry->key.len);
            flush->entry_there = true;
        }
        flush->source_ended = kap_cursor_next(&flush->cursor.cursor) == KAP_END;
    }
    return KAP_OK;
}

static void flush_end(struct kap_background *background)
{
    struct kap_flush *flush = background->flush;
    kap_version_unpin(background->versions, flush->version);
    flush->version = (struct kap_version){0};
    flush->table = NULL;
    flush->state = FLUSH_IDLE;
}

/* A full disk is waited out; anything else on output that nothing refers to is final as well, because the memtable can
 * go nowhere. */
static void flush_give_up(struct kap_background *background, kap_status status)
{
    struct kap_flush *flush = background->flush;
    flush->state = FLUSH_ABORTING;
    if (status == KAP_NO_SPACE || status == KAP_NO_MEMORY) {
        if (atomic_exchange(&background->full, (int)status) == KAP_OK)
            kap_log(KAP_LOG_WARN, "flush", "msg=\"waiting until it can be written\" status=%s", kap_status_name(status));
        flush->retry_at_ns = kap_env_mono_ns(background->env) + 200 * 1000000ll;
        return;
    }
    kap_background_fail(background, status == KAP_CRASHED ? KAP_CRASHED : KAP_IO, "writing a segment");
}

static enum kap_step flush_begin(struct kap_background *background, struct kap_queue *queue)
{
    struct kap_flush *flush = background->flush;
    flush->version = kap_version_pin(background->versions);
    const struct kap_tableset *tables = flush->version.tables;
    flush->table = tables->n_sealed ? tables->sealed[tables->n_sealed - 1] : NULL;
    bool durable = flush->table && atomic_load(&background->durable_seq) >= flush->table->seq_max;
    if (!durable || kap_env_mono_ns(background->env) < flush->retry_at_ns) {
        bool waiting = flush->table != NULL;
        flush_end(background);
        if (waiting && durable)
            kap_background_sleep_flusher(background, 50 * 1000000ll);
        return KAP_STEP_IDLE;
    }
    flush->entry_there = flush->finished = false;
    kap_memtable_cursor_init(&flush->cursor, flush->table->memtable);
    flush->source_ended = kap_cursor_seek(&flush->cursor.cursor, kap_bytes("", 0), KAP_SEQ_MAX) == KAP_END;
    flush->file_id = atomic_fetch_add(&background->next_file_id, 1);
    kap_status status =
        kap_segment_writer_start(&flush->writer, background->env, queue, background->directory, flush->file_id,
                                 kap_memtable_count(flush->table->memtable));
    flush->state = FLUSH_WRITING;
    if (status != KAP_OK)
        flush_give_up(background, status);
    return KAP_STEP_AGAIN;
}

static enum kap_step flush_write(struct kap_background *background)
{
    struct kap_flush *flush = background->flush;
    kap_status status = kap_segment_writer_step(&flush->writer);
    if (status == KAP_PENDING)
        return KAP_STEP_WAIT_IO;
    if (status == KAP_OK && kap_segment_writer_ready(&flush->writer)) {
        flush->state = FLUSH_READY;
        return KAP_STEP_AGAIN;
    }
    if (status == KAP_OK)
        status = entries_move(flush);
    if (status == KAP_OK && flush->source_ended && !flush->finished && kap_segment_writer_wants(&flush->writer)) {
        status = kap_segment_writer_finish(&flush->writer);
        flush->finished = status == KAP_OK;
    }
    if (status != KAP_OK)
        flush_give_up(background, status);
    return KAP_STEP_AGAIN;
}

static enum kap_step flush_edit(struct kap_background *background, struct kap_queue *queue)
{
    struct kap_flush *flush = background->flush;
    struct kap_segment *segment;
    struct kap_file *file;
    if (atomic_load(&background->failed) != KAP_OK) {
        flush->state = FLUSH_ABORTING;
        return KAP_STEP_AGAIN;
    }
    if (!kap_manifest_log_try_lock(background->manifest)) {
        kap_background_sleep_flusher(background, 1000000);
        return KAP_STEP_IDLE;
    }
    kap_status status = kap_fileset_derive(background->versions, 1, &flush->files);
    if (status == KAP_OK) {
        status = kap_version_file_create(background->versions, 0, flush->writer.segment, flush->writer.file,
                                         &flush->file);
        if (status != KAP_OK)
            kap_fileset_release(background->versions, flush->files);
    }
    if (status == KAP_OK) {
        kap_fileset_add(flush->files, flush->file);
        struct kap_manifest_file add = {.level = 0, .meta = flush->file->meta};
        struct kap_manifest_edit edit = {.add = &add,
                                         .n_add = 1,
                                         .flushed_seq = flush->table->seq_max,
                                         .wal_first_file_no = flush->table->wal_first_file_no,
                                         .wal_first_frame_no = flush->table->wal_first_frame_no,
                                         .next_file_id = atomic_load(&background->next_file_id)};
        status = kap_manifest_log_edit(background->manifest, queue, &edit);
        if (status != KAP_OK) { /* the writer still owns segment and handle */
            flush->file->segment = NULL;
            kap_fileset_release(background->versions, flush->files);
            kap_version_file_destroy(background->versions, flush->file);
        }
    }
    if (status != KAP_OK) {
        kap_manifest_log_unlock(background->manifest);
        flush_give_up(background, status);
        return KAP_STEP_AGAIN;
    }
    kap_segment_writer_take(&flush->writer, &segment, &file);
    flush->state = FLUSH_EDITING;
    return KAP_STEP_AGAIN;
}

static enum kap_step flush_install(struct kap_background *background)
{
    struct kap_flush *flush = background->flush;
    if (kap_manifest_log_running(background->manifest))
        return KAP_STEP_WAIT_IO;
    kap_status status = kap_manifest_log_result(background->manifest);
    uint64_t bytes = flush->file->meta.file_bytes;
    if (status == KAP_OK)
        status = kap_versions_install(background->versions, flush->files, flush->table);
    if (status == KAP_NO_MEMORY) /* the edit is durable: only the picture is missing, and it can wait */
        return KAP_STEP_AGAIN;
    if (status != KAP_OK)
        kap_fileset_release(background->versions, flush->files);
    kap_version_file_release(background->versions, flush->file);
    kap_manifest_log_unlock(background->manifest);
    if (status != KAP_OK) {
        kap_background_fail(background, status, "writing the manifest");
        flush_end(background);
        return KAP_STEP_AGAIN;
    }
    atomic_store(&background->flushed_seq, flush->table->seq_max);
    kap_wal_slots_release(background->slots, flush->table->wal_first_file_no);
    atomic_fetch_add(&background->flushes, 1);
    atomic_fetch_add(&background->flush_bytes, bytes);
    atomic_store(&background->full, KAP_OK);
    flush_end(background);
    kap_background_wake_compactor(background);
    kap_background_notify(background);
    return KAP_STEP_AGAIN;
}

static enum kap_step flush_abort(struct kap_background *background)
{
    if (kap_segment_writer_abort(&background->flush->writer) == KAP_PENDING)
        return KAP_STEP_WAIT_IO;
    flush_end(background);
    return KAP_STEP_AGAIN;
}

/* Files that no version names: their handles are closed, and those the manifest gave up are unlinked. */
static bool burial_step(struct kap_background *background, struct kap_queue *queue)
{
    struct kap_flush *flush = background->flush;
    if (flush->buried) {
        if (flush->burial.running)
            return true;
        kap_version_file_destroy(background->versions, flush->buried);
        flush->buried = NULL;
    }
    if (atomic_load(&background->failed) != KAP_OK)
        return false; /* a failed manifest: no deletion ever follows */
    flush->buried = kap_versions_exhume(background->versions);
    if (!flush->buried)
        return false;
    char name[KAP_FILE_NAME_BYTES];
    kap_io_chain_init(&flush->burial);
    kap_io_chain_add(&flush->burial, KAP_IO_CLOSE)->file = flush->buried->file;
    if (atomic_load(&flush->buried->obsolete)) {
        kap_file_name_print(KAP_FILE_SEGMENT, flush->buried->meta.file_id, name);
        snprintf(flush->burial_path, sizeof flush->burial_path, "%s/%s", background->directory, name);
        kap_io_chain_add(&flush->burial, KAP_IO_UNLINK)->name = flush->burial_path;
    }
    kap_io_chain_start(&flush->burial, queue);
    return true;
}

static bool mark_step(struct kap_background *background, struct kap_queue *queue)
{
    struct kap_flush *flush = background->flush;
    if (flush->marking) {
        if (kap_manifest_log_running(background->manifest))
            return true;
        kap_status status = kap_manifest_log_result(background->manifest);
        flush->marking = false;
        kap_manifest_log_unlock(background->manifest);
        if (status != KAP_OK)
            kap_background_fail(background, status, "writing the superblock");
    }
    uint64_t wanted = atomic_load(&background->mark_wanted);
    if (atomic_load(&background->failed) != KAP_OK || wanted <= background->manifest->superblock.durable_frame)
        return false;
    if (!kap_manifest_log_try_lock(background->manifest)) {
        kap_background_sleep_flusher(background, 1000000);
        return false;
    }
    kap_manifest_log_mark(background->manifest, queue, wanted);
    flush->marking = true;
    return true;
}

static bool spare_step(struct kap_background *background, struct kap_queue *queue)
{
    struct kap_flush *flush = background->flush;
    bool quiet = atomic_load(&background->failed) != KAP_OK || atomic_load(&background->stopping);
    if (!flush->spare.active && (quiet || kap_env_mono_ns(background->env) < flush->retry_at_ns))
        return false;
    kap_status status = kap_wal_spare_step(background, &flush->spare, queue);
    if (status == KAP_PENDING || status == KAP_OK)
        return status == KAP_PENDING;
    if (status == KAP_CRASHED) {
        kap_background_fail(background, status, "making a log file");
        return false;
    }
    if (atomic_exchange(&background->full, (int)status) == KAP_OK)
        kap_log(KAP_LOG_WARN, "wal", "msg=\"no spare log file can be made; trying again\" status=%s",
                kap_status_name(status));
    flush->retry_at_ns = kap_env_mono_ns(background->env) + 200 * 1000000ll;
    kap_background_sleep_flusher(background, 200 * 1000000ll);
    return false;
}

enum kap_step kap_flusher_step(void *context, struct kap_queue *queue)
{
    struct kap_background *background = context;
    struct kap_flush *flush = background->flush;
    bool quiet = atomic_load(&background->failed) != KAP_OK || atomic_load(&background->stopping);
    switch (flush->state) {
    case FLUSH_WRITING:
        return flush_write(background);
    case FLUSH_READY:
        return flush_edit(background, queue);
    case FLUSH_EDITING:
        return flush_install(background);
    case FLUSH_ABORTING:
        return flush_abort(background);
    case FLUSH_IDLE:
        break;
    }
    bool busy = flush->marking || flush->buried || flush->spare.active; /* one thing at a time */
    if (!quiet && !busy && flush_begin(background, queue) == KAP_STEP_AGAIN)
        return KAP_STEP_AGAIN;
    if (spare_step(background, queue))
        return KAP_STEP_WAIT_IO;
    if (mark_step(background, queue) || burial_step(background, queue))
        return KAP_STEP_WAIT_IO;
    if (busy) /* it has just ended: a memtable may have been waiting for that */
        return KAP_STEP_AGAIN;
    return kap_snapshot_step(background, queue);
}
