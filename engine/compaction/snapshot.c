/* create  wanted -> flushed far enough -> edit lock: copy of the state, version pinned, unlocked -> what an earlier attempt
 *         left under NAME.tmp removed -> NAME.tmp made, files linked one a step -> manifest and superblock written ->
 *         directory synced -> renamed -> parent synced
 * remove  renamed to NAME.tmp, parent synced: it is gone -> its files unlinked one a step -> the directory removed */
#include "engine/compaction/snapshot.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/env/file_name.h"

enum stage { STAGE_CLEAR, STAGE_MKDIR, STAGE_LINKS, STAGE_PACKS, STAGE_BOOKS, STAGE_RENAME, STAGE_AWAY, STAGE_END };

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
    bool links_pack; /* the chain under way ends with the size of a pack */
    /* Of STAGE_CLEAR: the names under NAME.tmp, each with its NUL. */
    enum stage after_clear;
    struct kap_buffer names;
    size_t names_at;
    bool is_listed, is_in_blobs;
    uint8_t directories_gone;
    bool is_away; /* the snapshot no longer has its name: nothing that fails later brings it back */
};

static void work_free(struct kap_background *background, struct snapshot_work *work)
{
    kap_version_unpin(background->versions, work->version);
    kap_buffer_deinit(&work->manifest);
    kap_buffer_deinit(&work->names);
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
    kap_buffer_init(&work->names, &background->env->memory);
    work->copies = kap_memory_alloc_aligned(&background->env->memory, KAP_DIRECT_ALIGN, 2 * 4096);
    if (!work->copies)
        return KAP_NO_MEMORY;
    snprintf(work->base, sizeof work->base, "%s/snapshots", background->directory);
    snprintf(work->temp, sizeof work->temp, "%s/%s.tmp", work->base, job->name);
    snprintf(work->final, sizeof work->final, "%s/%s", work->base, job->name);
    job->files = job->bytes = 0;
    snprintf(work->extra, sizeof work->extra, "%s/blobs", work->temp);
    work->stage = STAGE_CLEAR;
    work->after_clear = job->remove ? STAGE_AWAY : STAGE_MKDIR;
    if (!job->remove)
        return picture_take(background, work);
    work->version = kap_version_pin(background->versions);
    return KAP_OK;
}

static void mkdir_start(struct snapshot_work *work)
{
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
    struct kap_io *open = kap_io_chain_add(&work->chain, KAP_IO_OPEN);
    open->name = work->to;
    open->flags = KAP_OPEN_READ;
    kap_io_chain_add(&work->chain, KAP_IO_SIZE);
    kap_io_chain_add(&work->chain, KAP_IO_CLOSE);
    work->absent_is_fine = work->links_pack = true;
    return true;
}

static void pack_count(struct kap_background *background, const struct snapshot_work *work)
{
    background->snapshot->files++;
    background->snapshot->bytes += work->chain.io[2].size_out;
}

static kap_status name_note(void *context, const char *name)
{
    struct snapshot_work *work = context;
    if (!work->is_in_blobs && strcmp(name, "blobs") == 0)
        return KAP_OK;
    if (work->is_in_blobs)
        kap_buffer_append(&work->names, "blobs/", 6);
    kap_buffer_append(&work->names, name, strlen(name) + 1);
    return work->names.failed ? KAP_NO_MEMORY : KAP_OK;
}

static kap_status names_list(struct kap_background *background, struct snapshot_work *work)
{
    kap_buffer_clear(&work->names);
    work->names_at = 0;
    work->directories_gone = 0;
    work->is_listed = true;
    work->is_in_blobs = false;
    kap_status status = kap_env_list(background->env, work->temp, name_note, work);
    if (status == KAP_NO_FILE) {
        work->directories_gone = 2;
        return KAP_OK;
    }
    work->is_in_blobs = true;
    if (status == KAP_OK)
        status = kap_env_list(background->env, work->extra, name_note, work);
    return status == KAP_NO_FILE ? KAP_OK : status;
}

/* The next thing under NAME.tmp that goes. KAP_END: nothing is left there. */
static kap_status clear_start(struct kap_background *background, struct snapshot_work *work)
{
    kap_status status = work->is_listed ? KAP_OK : names_list(background, work);
    if (status != KAP_OK)
        return status;
    if (work->names_at < work->names.len) {
        const char *name = (const char *)work->names.data + work->names_at;
        snprintf(work->from, sizeof work->from, "%.*s/%s", KAP_PATH_BYTES_MAX / 2, work->temp, name);
        work->names_at += strlen(name) + 1;
        kap_io_chain_add(&work->chain, KAP_IO_UNLINK)->name = work->from;
    } else if (work->directories_gone < 2) {
        kap_io_chain_add(&work->chain, KAP_IO_RMDIR)->name = work->directories_gone == 0 ? work->extra : work->temp;
        work->directories_gone++;
    } else {
        work->is_listed = false;
        return KAP_END;
    }
    work->absent_is_fine = true;
    return KAP_OK;
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

static void away_start(struct snapshot_work *work)
{
    struct kap_io *rename = kap_io_chain_add(&work->chain, KAP_IO_RENAME);
    rename->name = work->final;
    rename->name_to = work->temp;
    struct kap_io *dir = kap_io_chain_add(&work->chain, KAP_IO_SYNC_DIR);
    dir->name = work->base;
    dir->sync_point = "snapshot_dir";
}

/* Starts what the stage needs; KAP_END when the job is over. */
static kap_status stage_start(struct kap_background *background, struct snapshot_work *work)
{
    kap_status status;
    kap_io_chain_init(&work->chain);
    work->absent_is_fine = work->links_pack = false;
    switch (work->stage) {
    case STAGE_CLEAR:
        status = clear_start(background, work);
        if (status != KAP_END)
            return status;
        work->stage = work->after_clear;
        return stage_start(background, work);
    case STAGE_MKDIR:
        mkdir_start(work);
        work->stage = STAGE_LINKS;
        return KAP_OK;
    case STAGE_LINKS:
        if (link_start(background, work))
            return KAP_OK;
        work->stage = STAGE_PACKS;
        /* fall through */
    case STAGE_PACKS:
        if (pack_start(background, work))
            return KAP_OK;
        work->stage = STAGE_BOOKS;
        books_start(background, work, false);
        return KAP_OK;
    case STAGE_BOOKS:
        books_start(background, work, true);
        work->stage = STAGE_RENAME;
        return KAP_OK;
    case STAGE_RENAME:
        rename_start(work);
        work->stage = STAGE_END;
        return KAP_OK;
    case STAGE_AWAY:
        away_start(work);
        work->stage = STAGE_CLEAR;
        work->after_clear = STAGE_END;
        return KAP_OK;
    case STAGE_END:
        break;
    }
    return KAP_END;
}

/* After a step that failed: what is left under NAME.tmp the next attempt or the next start removes. */
static void job_fail(struct kap_background *background, const struct snapshot_work *work, kap_status status)
{
    if (work->is_away && status != KAP_CRASHED) {
        kap_log(KAP_LOG_WARN, "store", "msg=\"files of a deleted snapshot stay until the next start\" at=%s status=%s",
                work->temp, kap_status_name(status));
        status = KAP_OK;
    }
    job_done(background, status);
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
    if (status == KAP_OK && work->links_pack)
        pack_count(background, work);
    if (status == KAP_NO_FILE && work->absent_is_fine)
        status = KAP_OK;
    work->is_away |= job->remove && status == KAP_OK && work->after_clear == STAGE_END;
    if (status == KAP_OK)
        status = stage_start(background, work);
    if (status == KAP_END) {
        job_done(background, KAP_OK);
        return KAP_STEP_AGAIN;
    }
    if (status != KAP_OK) {
        job_fail(background, work, status);
        return KAP_STEP_AGAIN;
    }
    kap_io_chain_start(&work->chain, queue);
    return KAP_STEP_WAIT_IO;
}
