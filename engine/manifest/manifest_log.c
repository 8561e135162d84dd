#include "engine/manifest/manifest_log.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/env/file_name.h"
#include "engine/manifest/manifest_format.h"

kap_status kap_manifest_log_init(struct kap_manifest_log *log, struct kap_env *env, const char *directory)
{
    *log = (struct kap_manifest_log){.env = env, .directory = directory};
    kap_manifest_state_init(&log->state, &env->memory);
    kap_buffer_init(&log->record, &env->memory);
    log->copies = kap_memory_alloc_aligned(&env->memory, KAP_DIRECT_ALIGN, 2 * KAP_SUPERBLOCK_COPY_BYTES);
    return log->copies ? KAP_OK : KAP_NO_MEMORY;
}

void kap_manifest_log_deinit(struct kap_manifest_log *log)
{
    kap_manifest_state_deinit(&log->state);
    kap_buffer_deinit(&log->record);
    kap_memory_free(&log->env->memory, log->copies);
    log->copies = NULL;
}

static void handle_close(struct kap_queue *queue, struct kap_file **file)
{
    struct kap_io io = {.op = KAP_IO_CLOSE, .file = *file};
    if (*file && kap_io_wait(queue, &io) != KAP_OK)
        atomic_signal_fence(memory_order_relaxed); /* the handle is gone either way, and everything was synced */
    *file = NULL;
}

void kap_manifest_log_close(struct kap_manifest_log *log, struct kap_queue *queue)
{
    handle_close(queue, &log->file);
    handle_close(queue, &log->superblock_file);
}

bool kap_manifest_log_try_lock(struct kap_manifest_log *log)
{
    bool expected = false;
    return atomic_compare_exchange_strong(&log->locked, &expected, true);
}

void kap_manifest_log_unlock(struct kap_manifest_log *log)
{
    atomic_store(&log->locked, false);
}

static void superblock_write_add(struct kap_manifest_log *log)
{
    log->superblock.generation++;
    kap_superblock_encode(&log->superblock, log->copies);
    struct kap_io *io = kap_io_chain_add(&log->chain, KAP_IO_WRITE);
    io->file = log->superblock_file;
    io->data = log->copies;
    io->len = 2 * KAP_SUPERBLOCK_COPY_BYTES;
    io->offset = kap_superblock_offset(log->superblock.generation);
    io->flags = KAP_WRITE_DSYNC;
    io->sync_point = "superblock";
}

static void record_write_add(struct kap_manifest_log *log, struct kap_file *file, const char *sync_point)
{
    struct kap_io *io = kap_io_chain_add(&log->chain, KAP_IO_WRITE);
    io->file = file;
    io->data = log->record.data;
    io->len = log->record.len;
    io->offset = log->offset;
    io->flags = KAP_WRITE_DSYNC;
    io->sync_point = sync_point;
    log->offset += log->record.len;
}

static void manifest_path(const struct kap_manifest_log *log, uint64_t number, char path[KAP_PATH_BYTES_MAX])
{
    char name[KAP_FILE_NAME_BYTES];
    kap_file_name_print(KAP_FILE_MANIFEST, number, name);
    snprintf(path, KAP_PATH_BYTES_MAX, "%s/%s", log->directory, name);
}

kap_status kap_manifest_log_rewrite(struct kap_manifest_log *log, struct kap_queue *queue, bool first)
{
    kap_buffer_clear(&log->record);
    kap_manifest_record_state(&log->record, kap_store_hash(log->superblock.store_id), &log->state);
    if (log->record.failed)
        return KAP_NO_MEMORY;
    manifest_path(log, log->superblock.manifest_no, log->old_path);
    manifest_path(log, ++log->superblock.manifest_no, log->new_path);
    log->offset = 0;
    log->edits = 1;
    log->rewriting = true;
    kap_io_chain_init(&log->chain);
    struct kap_io *open = kap_io_chain_add(&log->chain, KAP_IO_OPEN);
    open->name = log->new_path;
    open->flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE;
    /* A crash between the new manifest and the superblock leaves one under this number: emptied, not trusted. */
    kap_io_chain_add(&log->chain, KAP_IO_TRUNCATE)->len = 0;
    record_write_add(log, NULL, "manifest_new");
    struct kap_io *dir = kap_io_chain_add(&log->chain, KAP_IO_SYNC_DIR);
    dir->name = log->directory;
    dir->sync_point = "manifest_new_dir";
    superblock_write_add(log);
    if (!first) {
        if (log->file)
            kap_io_chain_add(&log->chain, KAP_IO_CLOSE)->file = log->file;
        kap_io_chain_add(&log->chain, KAP_IO_UNLINK)->name = log->old_path;
    }
    kap_io_chain_start(&log->chain, queue);
    return KAP_OK;
}

kap_status kap_manifest_log_edit(struct kap_manifest_log *log, struct kap_queue *queue,
                                 const struct kap_manifest_edit *edit)
{
    KAP_ASSERT(atomic_load(&log->locked));
    if (atomic_load(&log->failed) != KAP_OK)
        return atomic_load(&log->failed);
    kap_buffer_clear(&log->record);
    if (!kap_buffer_reserve(&log->record, 64 * 1024)) /* before the state changes: an edit can still be refused */
        return KAP_NO_MEMORY;
    kap_status status = kap_manifest_state_apply(&log->state, edit);
    if (status != KAP_OK)
        return status;
    if (log->offset > KAP_MANIFEST_REWRITE_BYTES)
        return kap_manifest_log_rewrite(log, queue, false);
    kap_manifest_record_edit(&log->record, kap_store_hash(log->superblock.store_id), ++log->edits, edit,
                             kap_manifest_state_checksum(&log->state));
    if (log->record.failed) { /* the state is ahead of the disk now: final */
        atomic_store(&log->failed, KAP_NO_MEMORY);
        return KAP_NO_MEMORY;
    }
    log->rewriting = false;
    kap_io_chain_init(&log->chain);
    record_write_add(log, log->file, "manifest_edit");
    kap_io_chain_start(&log->chain, queue);
    return KAP_OK;
}

void kap_manifest_log_mark(struct kap_manifest_log *log, struct kap_queue *queue, uint64_t durable_frame)
{
    if (durable_frame > log->superblock.durable_frame)
        log->superblock.durable_frame = durable_frame;
    log->rewriting = false;
    kap_io_chain_init(&log->chain);
    superblock_write_add(log);
    kap_io_chain_start(&log->chain, queue);
}

bool kap_manifest_log_running(const struct kap_manifest_log *log)
{
    return log->chain.running;
}

kap_status kap_manifest_log_result(struct kap_manifest_log *log)
{
    kap_status status = log->chain.status;
    if (log->rewriting) {
        log->file = log->chain.io[0].file_out;
        log->rewriting = false;
    }
    if (status != KAP_OK && atomic_load(&log->failed) == KAP_OK)
        atomic_store(&log->failed, status == KAP_CRASHED ? KAP_CRASHED : KAP_IO);
    return atomic_load(&log->failed);
}
