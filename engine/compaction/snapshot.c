/* wanted -> flushed far enough -> edit lock: copy of the state, version pinned, unlocked -> NAME.tmp made, files linked one
 * a step -> manifest and superblock written -> directory synced -> renamed -> parent synced. */
#include "engine/compaction/snapshot.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/env/file_name.h"

enum stage { STAGE_MKDIR, STAGE_LINKS, STAGE_PACKS, STAGE_BOOKS, STAGE_RENAME, STAGE_CLEAN, STAGE_END };

struct snapshot_work {
    enum stage stage;
    struct kap_version version;
    struct kap_io_chain chain;
    struct kap_buffer manifest;
    uint8_t *copies;
    char info[256];
    char base[KAP_PATH_BYTES_MAX / 2], temp[KAP_PATH_BYTES_MAX], final[KAP_PATH_BYTES_MAX];
    char from[KAP_PATH_BYTES_MAX], to[KAP_PATH_BYTES_MAX], extra[KAP_PATH_BYTES_MAX];
    int level;
    uint32_t slot;
    uint64_t pack;
    bool absent_is_fine;
};

static void work_free(struct kap_background *background, struct snapshot_work *work)
{
    kap_version_unpin(background->versions, work->version);
    kap_buffer_deinit(&work->manifest);
    kap_memory_free(&background->env->memory, work->copies);
    kap_memory_free(&background->env->memory, work);
}

static void job_done(struct kap_background *background, kap_status status)
{
    struct kap_snapshot_job *job = background->snapshot;
    if (job->work)
        work_free(background, job->work);
    job->work = NULL;
    job->status = status;
    atomic_store(&job->state, KAP_SNAPSHOT_DONE);
    kap_background_notify(background);
}

/* The state as of now becomes the snapshot's first manifest record; no log belongs to it. */
static kap_status picture_take(struct kap_background *background, struct snapshot_work *work)
{
    struct kap_snapshot_job *job = background->snapshot;
    struct kap_manifest_state state = background->manifest->state; /* shallow: only read below */
    struct kap_superblock superblock = {.store_id = background->manifest->superblock.store_id,
                                        .generation = 1,
                                        .manifest_no = 1,
                                        .wal_bytes = background->manifest->superblock.wal_bytes};
    state.wal_first_file_no = state.wal_first_frame_no = 1;
    kap_manifest_record_state(&work->manifest, kap_store_hash(superblock.store_id), &state);
    kap_superblock_encode(&superblock, work->copies);
    job->commit_seq = state.flushed_seq;
    job->created_us = kap_env_wall_us(background->env);
    work->version = kap_version_pin(background->versions);
    return work->manifest.failed ? KAP_NO_MEMORY : KAP_OK;
}

static kap_status work_begin(struct kap_background *background)
{
    struct kap_snapshot_job *job = background->snapshot;
    struct snapshot_work *work = kap_memory_alloc(&background->env->memory, sizeof *work);
    if (!work)
        return KAP_NO_MEMORY;
    job->work = work;
    kap_buffer_init(&work->manifest, &background->env->memory);
    work->copies = kap_memory_alloc_aligned(&background->env->memory, KAP_DIRECT_ALIGN, 2 * 4096);
    if (!work->copies)
        return KAP_NO_MEMORY;
    snprintf(work->base, sizeof work->base, "%s/snapshots", background->directory);
    snprintf(work->temp, sizeof work->temp, "%s/%s.tmp", work->base, job->name);
    snprintf(work->final, sizeof work->final, "%s/%s", work->base, job->name);
    job->files = job->bytes = 0;
    work->stage = job->remove ? STAGE_CLEAN : STAGE_MKDIR;
    if (!job->remove)
        return picture_take(background, work);
    work->version = kap_version_pin(background->versions);
    return KAP_OK;
}

static void mkdir_start(struct snapshot_work *work)
{
    snprintf(work->extra, sizeof work->extra, "%s/blobs", work->temp);
    kap_io_chain_add(&work->chain, KAP_IO_MKDIR)->name = work->temp;
    kap_io_chain_add(&work->chain, KAP_IO_MKDIR)->name = work->extra;
}

/* false: no segment is left to link. */
static bool link_start(struct kap_background *background, struct snapshot_work *work)
{
    const struct kap_fileset *files = work->version.files;
    while (work->level < KAP_LEVELS && work->slot == files->n_files[work->level]) {
        work->level++;
        work->slot = 0;
    }
    if (work->level == KAP_LEVELS)
        return false;
    const struct kap_version_file *file = files->files[work->level][work->slot++];
    char name[KAP_FILE_NAME_BYTES];
    kap_file_name_print(KAP_FILE_SEGMENT, file->meta.file_id, name);
    snprintf(work->from, sizeof work->from, "%s/%s", background->directory, name);
    snprintf(work->to, sizeof work->to, "%s/%s", work->temp, name);
    struct kap_io *link = kap_io_chain_add(&work->chain, KAP_IO_LINK);
    link->name = work->from;
    link->name_to = work->to;
    background->snapshot->files++;
    background->snapshot->bytes += file->meta.file_bytes;
    return true;
}

static bool pack_start(struct kap_background *background, struct snapshot_work *work)
{
    if (work->pack == background->snapshot->packs)
        return false;
    char name[KAP_FILE_NAME_BYTES];
    kap_file_name_print(KAP_FILE_PACK, ++work->pack, name);
    snprintf(work->from, sizeof work->from, "%s/blobs/%s", background->directory, name);
    snprintf(work->to, sizeof work->to, "%s/blobs/%s", work->temp, name);
    struct kap_io *link = kap_io_chain_add(&work->chain, KAP_IO_LINK);
    link->name = work->from;
    link->name_to = work->to;
    work->absent_is_fine = true;
    return true;
}

static void file_add(struct snapshot_work *work, const char *path, void *data, size_t len, uint64_t offset,
                     const char *sync_point)
{
    struct kap_io *open = kap_io_chain_add(&work->chain, KAP_IO_OPEN);
    open->name = path;
    open->flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE;
    struct kap_io *write = kap_io_chain_add(&work->chain, KAP_IO_WRITE);
    write->data = data;
    write->len = len;
    write->offset = offset;
    write->flags = KAP_WRITE_DSYNC;
    write->sync_point = sync_point;
    kap_io_chain_add(&work->chain, KAP_IO_CLOSE);
}

/* Two rounds: manifest and the links' names first, the superblock last. */
static void books_start(struct kap_background *background, struct snapshot_work *work, bool superblock)
{
    char name[KAP_FILE_NAME_BYTES];
    if (superblock) {
        snprintf(work->from, sizeof work->from, "%s/superblock", work->temp);
        file_add(work, work->from, work->copies, 2 * 4096, kap_superblock_offset(1), "snapshot_superblock");
    } else {
        const struct kap_snapshot_job *job = background->snapshot;
        kap_file_name_print(KAP_FILE_MANIFEST, 1, name);
        snprintf(work->from, sizeof work->from, "%s/%s", work->temp, name);
        file_add(work, work->from, work->manifest.data, work->manifest.len, 0, "snapshot_manifest");
        int len = snprintf(work->info, sizeof work->info, "commit_seq=%llu\ncreated_us=%lld\nfiles=%llu\nbytes=%llu\n",
                           (unsigned long long)job->commit_seq, (long long)job->created_us,
                           (unsigned long long)job->files, (unsigned long long)job->bytes);
        snprintf(work->to, sizeof work->to, "%s/info", work->temp);
        file_add(work, work->to, work->info, (size_t)len, 0, "snapshot_manifest");
        struct kap_io *blobs = kap_io_chain_add(&work->chain, KAP_IO_SYNC_DIR);
        blobs->name = work->extra;
        blobs->sync_point = "snapshot_files_dir";
    }
    struct kap_io *dir = kap_io_chain_add(&work->chain, KAP_IO_SYNC_DIR);
    dir->name = work->temp;
    dir->sync_point = "snapshot_files_dir";
}

static void rename_start(struct snapshot_work *work)
{
    struct kap_io *rename = kap_io_chain_add(&work->chain, KAP_IO_RENAME);
    rename->name = work->temp;
    rename->name_to = work->final;
    struct kap_io *dir = kap_io_chain_add(&work->chain, KAP_IO_SYNC_DIR);
    dir->name = work->base;
    dir->sync_point = "snapshot_dir";
}

/* Starts what the stage needs; false when the job is over. */
static bool stage_start(struct kap_background *background, struct snapshot_work *work)
{
    kap_io_chain_init(&work->chain);
    work->absent_is_fine = false;
    switch (work->stage) {
    case STAGE_MKDIR:
        mkdir_start(work);
        work->stage = STAGE_LINKS;
        return true;
    case STAGE_LINKS:
        if (link_start(background, work))
            return true;
        work->stage = STAGE_PACKS;
        /* fall through */
    case STAGE_PACKS:
        if (pack_start(background, work))
            return true;
        work->stage = STAGE_BOOKS;
        books_start(background, work, false);
        return true;
    case STAGE_BOOKS:
        books_start(background, work, true);
        work->stage = STAGE_RENAME;
        return true;
    case STAGE_RENAME:
        rename_start(work);
        work->stage = STAGE_END;
        return true;
    case STAGE_CLEAN: /* a name that ends in .tmp is nobody's snapshot: the next start empties it */
        kap_io_chain_add(&work->chain, KAP_IO_RENAME)->name = work->final;
        work->chain.io[0].name_to = work->temp;
        kap_io_chain_add(&work->chain, KAP_IO_SYNC_DIR)->name = work->base;
        work->chain.io[1].sync_point = "snapshot_dir";
        work->stage = STAGE_END;
        return true;
    case STAGE_END:
        break;
    }
    return false;
}

static enum kap_step job_begin(struct kap_background *background)
{
    struct kap_snapshot_job *job = background->snapshot;
    bool quiet = atomic_load(&background->stopping) || atomic_load(&background->failed) != KAP_OK;
    if (quiet) {
        int failed = atomic_load(&background->failed);
        job_done(background, failed != KAP_OK ? (kap_status)failed : KAP_SHUTTING_DOWN);
        return KAP_STEP_IDLE;
    }
    if (!job->remove && atomic_load(&background->flushed_seq) < job->flushed_wanted)
        return KAP_STEP_IDLE; /* the flush that ends wakes nobody, but this same worker runs on */
    if (!kap_manifest_log_try_lock(background->manifest)) {
        kap_background_sleep_flusher(background, 1000000);
        return KAP_STEP_IDLE;
    }
    kap_status status = work_begin(background);
    kap_manifest_log_unlock(background->manifest);
    if (status != KAP_OK) {
        job_done(background, status);
        return KAP_STEP_AGAIN;
    }
    atomic_store(&job->state, KAP_SNAPSHOT_RUNNING);
    return KAP_STEP_AGAIN;
}

enum kap_step kap_snapshot_step(struct kap_background *background, struct kap_queue *queue)
{
    struct kap_snapshot_job *job = background->snapshot;
    int state = atomic_load(&job->state);
    if (state == KAP_SNAPSHOT_WANTED)
        return job_begin(background);
    if (state != KAP_SNAPSHOT_RUNNING)
        return KAP_STEP_IDLE;
    struct snapshot_work *work = job->work;
    if (work->chain.running)
        return KAP_STEP_WAIT_IO;
    kap_status status = work->chain.count ? work->chain.status : KAP_OK;
    if (status == KAP_NO_FILE && work->absent_is_fine)
        status = KAP_OK;
    if (status == KAP_OK && !stage_start(background, work)) {
        job_done(background, KAP_OK);
        return KAP_STEP_AGAIN;
    }
    if (status != KAP_OK) { /* what is left under NAME.tmp the next start removes */
        job_done(background, status);
        return KAP_STEP_AGAIN;
    }
    kap_io_chain_start(&work->chain, queue);
    return KAP_STEP_WAIT_IO;
}
