#include "engine/compaction/background.h"

#include <stdio.h>

#include "engine/base/log.h"
#include "engine/env/file_name.h"

void kap_background_notify(struct kap_background *background)
{
    kap_spin_lock(&background->wake_lock);
    void (*notify)(void *) = background->notify;
    void *context = background->notify_context;
    kap_spin_unlock(&background->wake_lock);
    if (notify)
        notify(context);
}

void kap_background_fail(struct kap_background *background, kap_status status, const char *what)
{
    int none = KAP_OK;
    if (!atomic_compare_exchange_strong(&background->failed, &none, (int)status))
        return;
    if (status != KAP_CRASHED)
        kap_log(KAP_LOG_ERROR, "store", "msg=\"%s failed; no further write is acknowledged\" status=%s", what,
                kap_status_name(status));
    kap_background_notify(background);
}

static void wake(struct kap_background *background, struct kap_worker *const *worker)
{
    kap_spin_lock(&background->wake_lock);
    if (*worker)
        kap_worker_wake(*worker);
    kap_spin_unlock(&background->wake_lock);
}

void kap_background_wake_flusher(struct kap_background *background)
{
    wake(background, &background->flusher);
}

void kap_background_wake_compactor(struct kap_background *background)
{
    wake(background, &background->compactor);
}

/* A worker that is being stopped is no longer in its slot and needs no alarm. */
static void sleep_in(struct kap_background *background, struct kap_worker *const *worker, int64_t ns)
{
    kap_spin_lock(&background->wake_lock);
    if (*worker)
        kap_worker_sleep(*worker, ns);
    kap_spin_unlock(&background->wake_lock);
}

void kap_background_sleep_flusher(struct kap_background *background, int64_t ns)
{
    sleep_in(background, &background->flusher, ns);
}

void kap_background_sleep_compactor(struct kap_background *background, int64_t ns)
{
    sleep_in(background, &background->compactor, ns);
}

void kap_background_wake(struct kap_background *background)
{
    kap_background_wake_flusher(background);
    kap_background_wake_compactor(background);
}

static void worker_end(struct kap_background *background, struct kap_worker **slot)
{
    kap_spin_lock(&background->wake_lock);
    struct kap_worker *worker = *slot;
    *slot = NULL;
    kap_spin_unlock(&background->wake_lock);
    kap_worker_stop(worker);
}

kap_status kap_background_start(struct kap_background *background, struct kap_error *error)
{
    kap_status status = kap_flush_create(background);
    if (status == KAP_OK)
        status = kap_compaction_create(background);
    if (status == KAP_OK)
        status = kap_worker_start(background->env, "flush", kap_flusher_step, background, &background->flusher);
    if (status == KAP_OK)
        status = kap_worker_start(background->env, "compaction", kap_compactor_step, background,
                                  &background->compactor);
    if (status != KAP_OK)
        kap_error_set(error, status, "cannot start the background workers: %s", kap_status_sentence(status));
    return status;
}

static void file_close(struct kap_background *background, struct kap_version_file *file, struct kap_queue *queue)
{
    char name[KAP_FILE_NAME_BYTES], path[KAP_PATH_BYTES_MAX];
    struct kap_io_chain chain;
    kap_io_chain_init(&chain);
    kap_io_chain_add(&chain, KAP_IO_CLOSE)->file = file->file;
    if (atomic_load(&file->obsolete)) {
        kap_file_name_print(KAP_FILE_SEGMENT, file->meta.file_id, name);
        snprintf(path, sizeof path, "%s/%s", background->directory, name);
        kap_io_chain_add(&chain, KAP_IO_UNLINK)->name = path;
    }
    if (kap_io_chain_wait(&chain, queue) != KAP_OK)
        kap_log(KAP_LOG_DEBUG, "store", "msg=\"an obsolete file stays behind; the next start removes it\" file=%llu",
                (unsigned long long)file->meta.file_id);
    kap_version_file_destroy(background->versions, file);
}

void kap_background_stop(struct kap_background *background, struct kap_queue *queue)
{
    atomic_store(&background->stopping, true);
    kap_background_wake(background);
    worker_end(background, &background->compactor);
    worker_end(background, &background->flusher);
    kap_flush_destroy(background);
    kap_compaction_destroy(background);
    struct kap_version_file *file;
    while ((file = kap_versions_exhume(background->versions)))
        file_close(background, file, queue);
}

static void spare_chain_done(struct kap_io_chain *chain)
{
    struct kap_wal_spare *spare = chain->context;
    spare->busy = false;
    spare->status = chain->status;
}

static void spare_io_done(struct kap_io *io)
{
    struct kap_wal_spare *spare = io->context;
    spare->busy = false;
    spare->status = io->status;
}

enum { ZERO_BYTES = 1024 * 1024 };

static void spare_chain_start(struct kap_wal_spare *spare, struct kap_queue *queue)
{
    spare->chain.done = spare_chain_done;
    spare->chain.context = spare;
    spare->busy = true;
    kap_io_chain_start(&spare->chain, queue);
}

static kap_status spare_begin(struct kap_background *background, struct kap_wal_spare *spare, struct kap_queue *queue)
{
    char name[KAP_FILE_NAME_BYTES];
    spare->zeros = kap_memory_alloc_aligned(&background->env->memory, KAP_DIRECT_ALIGN, ZERO_BYTES);
    if (!spare->zeros)
        return KAP_NO_MEMORY;
    memset(spare->zeros, 0, ZERO_BYTES);
    spare->number = kap_wal_slots_number(background->slots);
    spare->offset = 0;
    spare->status = KAP_OK;
    spare->active = true;
    kap_file_name_print(KAP_FILE_WAL, spare->number, name);
    snprintf(spare->path, sizeof spare->path, "%s/%s", background->directory, name);
    kap_io_chain_init(&spare->chain);
    struct kap_io *open = kap_io_chain_add(&spare->chain, KAP_IO_OPEN);
    open->name = spare->path;
    open->flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE | KAP_OPEN_DIRECT;
    spare_chain_start(spare, queue);
    return KAP_PENDING;
}

/* The zeros are synced for speed: a commit's write then changes no metadata. Safety needs only the name. */
static void spare_sync(struct kap_background *background, struct kap_wal_spare *spare, struct kap_queue *queue)
{
    kap_io_chain_init(&spare->chain);
    struct kap_io *sync = kap_io_chain_add(&spare->chain, KAP_IO_SYNC);
    sync->file = spare->file;
    struct kap_io *dir = kap_io_chain_add(&spare->chain, KAP_IO_SYNC_DIR);
    dir->name = background->directory;
    dir->sync_point = "wal_create_dir";
    spare->offset++; /* past the size: the last stage */
    spare_chain_start(spare, queue);
}

static void spare_write(struct kap_background *background, struct kap_wal_spare *spare, struct kap_queue *queue)
{
    uint64_t left = background->wal_file_bytes - spare->offset;
    spare->io = (struct kap_io){.op = KAP_IO_WRITE,
                                .file = spare->file,
                                .data = spare->zeros,
                                .len = left < ZERO_BYTES ? (size_t)left : ZERO_BYTES,
                                .offset = spare->offset,
                                .done = spare_io_done,
                                .context = spare};
    spare->offset += spare->io.len;
    spare->busy = true;
    kap_queue_submit(queue, &spare->io);
}

static void spare_end(struct kap_background *background, struct kap_wal_spare *spare)
{
    kap_memory_free(&background->env->memory, spare->zeros);
    spare->zeros = NULL;
    spare->file = NULL;
    spare->active = false;
}

static kap_status spare_fail(struct kap_background *background, struct kap_wal_spare *spare, struct kap_queue *queue)
{
    kap_status status = spare->status;
    if (spare->path[0]) { /* first time here: take the half-made file away again */
        struct kap_file *file = spare->file ? spare->file : spare->chain.file;
        kap_io_chain_init(&spare->chain);
        kap_io_chain_add(&spare->chain, KAP_IO_UNLINK)->name = spare->path;
        if (file)
            kap_io_chain_add(&spare->chain, KAP_IO_CLOSE)->file = file;
        spare_chain_start(spare, queue);
        spare->file = NULL;
        spare->offset = (uint64_t)status; /* carried through the clean-up */
        if (spare->busy) {
            spare->path[0] = 0;
            return KAP_PENDING;
        }
    }
    status = (kap_status)spare->offset;
    spare_end(background, spare);
    return status;
}

kap_status kap_wal_spare_step(struct kap_background *background, struct kap_wal_spare *spare, struct kap_queue *queue)
{
    if (spare->busy)
        return KAP_PENDING;
    if (!spare->active) {
        if (kap_wal_slots_spares(background->slots) >= KAP_WAL_SPARES_WANTED)
            return KAP_OK;
        return spare_begin(background, spare, queue);
    }
    if (spare->path[0] == 0 || spare->status != KAP_OK)
        return spare_fail(background, spare, queue);
    if (!spare->file)
        spare->file = spare->chain.file;
    if (spare->offset < background->wal_file_bytes) {
        spare_write(background, spare, queue);
        return KAP_PENDING;
    }
    if (spare->offset == background->wal_file_bytes) {
        spare_sync(background, spare, queue);
        return KAP_PENDING;
    }
    struct kap_wal_slot slot = {.number = spare->number, .file = spare->file};
    if (!kap_wal_slots_add(background->slots, slot)) {
        spare->status = KAP_OVERLOADED;
        return spare_fail(background, spare, queue);
    }
    spare_end(background, spare);
    kap_background_notify(background);
    return KAP_OK;
}
