/* lock -> superblock -> manifest -> segments opened -> log replayed and synced -> superblock synced -> a fresh manifest and
 * superblock -> strangers moved to lost/. Everything before the fresh books only reads, and they name the same state: a
 * crash anywhere leaves a directory that recovers to the same commits.
 *
 * What was read may be in no more than a cache: the last process may have been killed between a write and its sync. So all
 * that was accepted is made durable before anything is served or removed on the strength of it: the log by a sync of its
 * files, the file set by the fresh manifest, names by the sync of the directory that belongs to it. Segments and packs need
 * none: a record or commit that names them was only written after their own sync. */
#include "engine/store/store_internal.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/env/file_name.h"
#include "engine/manifest/manifest_format.h"

struct survey { /* what lies in the directory */
    struct kap_store *store;
    bool superblock, data;
    uint64_t *segments, *manifests; /* numbers */
    uint32_t n_segments, n_manifests, cap_segments, cap_manifests;
};

static kap_status number_add(struct kap_memory *memory, uint64_t **list, uint32_t *n, uint32_t *cap, uint64_t number)
{
    if (*n == *cap) {
        uint32_t grown_cap = *cap ? *cap * 2 : 64;
        uint64_t *grown = kap_memory_resize(memory, *list, grown_cap * sizeof **list);
        if (!grown)
            return KAP_NO_MEMORY;
        *list = grown;
        *cap = grown_cap;
    }
    (*list)[(*n)++] = number;
    return KAP_OK;
}

static kap_status survey_name(void *context, const char *name)
{
    struct survey *survey = context;
    struct kap_memory *memory = &survey->store->env->memory;
    struct kap_file_name parsed;
    if (!kap_file_name_parse(name, &parsed))
        return KAP_OK;
    switch (parsed.kind) {
    case KAP_FILE_SUPERBLOCK:
        survey->superblock = true;
        return KAP_OK;
    case KAP_FILE_WAL:
        survey->data = true;
        return KAP_OK;
    case KAP_FILE_SEGMENT:
        survey->data = true;
        return number_add(memory, &survey->segments, &survey->n_segments, &survey->cap_segments, parsed.number);
    case KAP_FILE_MANIFEST:
        return number_add(memory, &survey->manifests, &survey->n_manifests, &survey->cap_manifests, parsed.number);
    default:
        return KAP_OK;
    }
}

static void survey_free(struct survey *survey)
{
    kap_memory_free(&survey->store->env->memory, survey->segments);
    kap_memory_free(&survey->store->env->memory, survey->manifests);
}

static kap_status io_run(struct kap_store *store, struct kap_io *io)
{
    return kap_io_wait(store->queue, io);
}

static kap_status directory_make(struct kap_store *store, const char *path, bool own_parent_sync)
{
    char parent[KAP_PATH_BYTES_MAX];
    struct kap_io mkdir = {.op = KAP_IO_MKDIR, .name = path};
    kap_status status = io_run(store, &mkdir);
    if (status != KAP_OK && status != KAP_EXISTS)
        return status;
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (!slash || slash == parent)
        snprintf(parent, sizeof parent, slash ? "/" : ".");
    else
        *slash = 0;
    struct kap_io sync = {.op = KAP_IO_SYNC_DIR, .name = parent, .sync_point = "store_dir"};
    return own_parent_sync ? io_run(store, &sync) : KAP_OK;
}

/* The whole of a file into fresh memory, padded so that O_DIRECT could be used. */
static kap_status file_read(struct kap_store *store, const char *path, uint8_t **data_out, size_t *len_out)
{
    struct kap_io open = {.op = KAP_IO_OPEN, .name = path, .flags = KAP_OPEN_READ};
    kap_status status = io_run(store, &open);
    if (status != KAP_OK)
        return status;
    struct kap_io size = {.op = KAP_IO_SIZE, .file = open.file_out};
    struct kap_io read = {.op = KAP_IO_READ, .file = open.file_out};
    struct kap_io close = {.op = KAP_IO_CLOSE, .file = open.file_out};
    status = io_run(store, &size);
    if (status == KAP_OK) {
        read.len = (size_t)size.size_out;
        read.data = kap_memory_alloc_aligned(&store->env->memory, KAP_DIRECT_ALIGN, read.len + 1);
        status = read.data ? KAP_OK : KAP_NO_MEMORY;
    }
    if (status == KAP_OK && read.len > 0)
        status = io_run(store, &read);
    kap_status closed = io_run(store, &close);
    if (status == KAP_OK)
        status = closed;
    if (status != KAP_OK) {
        kap_memory_free(&store->env->memory, read.data);
        return status;
    }
    *data_out = read.data;
    *len_out = read.transferred;
    return KAP_OK;
}

static kap_status directory_lock(struct kap_store *store, struct kap_error *error)
{
    char path[KAP_PATH_BYTES_MAX];
    kap_status status = KAP_OK;
    if (store->options.create)
        status = directory_make(store, store->directory, true);
    if (status != KAP_OK)
        return kap_error_set(error, status, "cannot make the data directory %s: %s", store->directory,
                             kap_status_sentence(status));
    snprintf(path, sizeof path, "%s/lock", store->directory);
    struct kap_io open = {.op = KAP_IO_OPEN, .name = path, .flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE | KAP_OPEN_LOCK};
    status = io_run(store, &open);
    if (status == KAP_LOCKED)
        return kap_error_set(error, status,
                             "the data directory %s is in use by another process; stop it or choose another directory",
                             store->directory);
    if (status == KAP_NO_FILE)
        return kap_error_set(error, status, "there is no data directory %s", store->directory);
    if (status != KAP_OK)
        return kap_error_set(error, status, "cannot open %s: %s", path, kap_status_sentence(status));
    store->lock = open.file_out;
    return KAP_OK;
}

static kap_status superblock_open(struct kap_store *store, struct kap_error *error)
{
    char path[KAP_PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%s/superblock", store->directory);
    struct kap_io open = {.op = KAP_IO_OPEN, .name = path, .flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE};
    kap_status status = io_run(store, &open);
    if (status != KAP_OK)
        return kap_error_set(error, status, "cannot open %s: %s", path, kap_status_sentence(status));
    store->manifest.superblock_file = open.file_out;
    return KAP_OK;
}

/* A store is made when there is none: no superblock, or an unwritten one beside no data (its making was cut short). */
static kap_status superblock_load(struct kap_store *store, const struct survey *survey, bool *fresh_out,
                                  struct kap_error *error)
{
    char path[KAP_PATH_BYTES_MAX];
    uint8_t *data = NULL;
    size_t len = 0;
    kap_status status = KAP_OK;
    *fresh_out = false;
    snprintf(path, sizeof path, "%s/superblock", store->directory);
    if (survey->superblock) {
        status = file_read(store, path, &data, &len);
        if (status != KAP_OK)
            return kap_error_set(error, status, "cannot read %s: %s", path, kap_status_sentence(status));
        struct kap_error parse = {0};
        status = kap_superblock_parse(kap_bytes(data, len), &store->manifest.superblock, &parse);
        kap_memory_free(&store->env->memory, data);
        if (status == KAP_OK)
            return KAP_OK;
        if (status != KAP_CORRUPT || survey->data)
            return kap_error_set(error, status, "%s: %s", path, parse.text);
    }
    if (survey->data)
        return kap_error_set(error, KAP_CORRUPT,
                             "%s has log or segment files but no superblock: a restore or copy was cut short; do it again "
                             "into an empty directory",
                             store->directory);
    if (!store->options.create)
        return kap_error_set(error, KAP_NO_FILE, "%s holds no kap store", store->directory);
    *fresh_out = true;
    struct kap_superblock *superblock = &store->manifest.superblock;
    superblock->wal_bytes = store->options.wal_file_bytes;
    kap_env_random(store->env, superblock->store_id.bytes, sizeof superblock->store_id.bytes);
    return KAP_OK;
}

static kap_status manifest_load(struct kap_store *store, struct kap_error *error)
{
    char name[KAP_FILE_NAME_BYTES], path[KAP_PATH_BYTES_MAX];
    uint8_t *data;
    size_t len;
    kap_file_name_print(KAP_FILE_MANIFEST, store->manifest.superblock.manifest_no, name);
    snprintf(path, sizeof path, "%s/%s", store->directory, name);
    kap_status status = file_read(store, path, &data, &len);
    if (status == KAP_NO_FILE)
        return kap_error_set(error, KAP_CORRUPT, "the superblock names %s, which is not there", path);
    if (status != KAP_OK)
        return kap_error_set(error, status, "cannot read %s: %s", path, kap_status_sentence(status));
    status = kap_manifest_parse(kap_bytes(data, len), kap_store_hash(store->manifest.superblock.store_id), path,
                                &store->manifest.state, &store->manifest.edits, error);
    kap_memory_free(&store->env->memory, data);
    return status;
}

static kap_status segment_load(struct kap_store *store, const struct kap_manifest_file *file, struct kap_fileset *set,
                               struct kap_error *error)
{
    char name[KAP_FILE_NAME_BYTES], path[KAP_PATH_BYTES_MAX];
    struct kap_memory *memory = &store->env->memory;
    struct kap_segment *segment = NULL;
    kap_file_name_print(KAP_FILE_SEGMENT, file->meta.file_id, name);
    snprintf(path, sizeof path, "%s/%s", store->directory, name);
    struct kap_io open = {.op = KAP_IO_OPEN, .name = path, .flags = KAP_OPEN_READ | KAP_OPEN_DIRECT};
    kap_status status = io_run(store, &open);
    if (status != KAP_OK)
        return kap_error_set(error, status == KAP_NO_FILE ? KAP_CORRUPT : status,
                             "the manifest names %s, which cannot be opened: %s", path, kap_status_sentence(status));
    uint64_t from = file->meta.tail_offset & ~(uint64_t)(KAP_DIRECT_ALIGN - 1);
    size_t len = (size_t)(file->meta.file_bytes - from), skip = (size_t)(file->meta.tail_offset - from);
    uint8_t *data = kap_memory_alloc_aligned(memory, KAP_DIRECT_ALIGN, len);
    struct kap_io read = {.op = KAP_IO_READ, .file = open.file_out, .data = data, .len = len, .offset = from};
    status = data ? io_run(store, &read) : KAP_NO_MEMORY;
    if (status == KAP_OK && read.transferred < len)
        status = kap_error_set(error, KAP_CORRUPT, "%s is shorter than the manifest says (%llu bytes)", path,
                               (unsigned long long)file->meta.file_bytes);
    if (status == KAP_OK)
        status = kap_segment_open(memory, &file->meta, kap_bytes(data + skip, len - skip), &segment, error);
    kap_memory_free(memory, data);
    struct kap_version_file *made = NULL;
    if (status == KAP_OK)
        status = kap_version_file_create(&store->versions, file->level, segment, open.file_out, &made);
    if (status != KAP_OK) {
        struct kap_io close = {.op = KAP_IO_CLOSE, .file = open.file_out};
        kap_segment_close(segment);
        if (io_run(store, &close) != KAP_OK)
            kap_log(KAP_LOG_DEBUG, "store", "msg=\"closing a segment failed\"");
        return status;
    }
    kap_fileset_add(set, made);
    kap_version_file_release(&store->versions, made);
    return KAP_OK;
}

static kap_status segments_load(struct kap_store *store, struct kap_error *error)
{
    struct kap_fileset *set;
    const struct kap_manifest_state *state = &store->manifest.state;
    kap_status status = kap_fileset_derive(&store->versions, state->n_files, &set);
    if (status != KAP_OK)
        return status;
    for (uint32_t i = 0; i < state->n_files && status == KAP_OK; i++)
        status = segment_load(store, &state->files[i], set, error);
    if (status != KAP_OK) {
        kap_fileset_release(&store->versions, set);
        return status;
    }
    return kap_versions_install(&store->versions, set, NULL);
}

static bool file_known(const struct kap_manifest_state *state, uint64_t file_id)
{
    for (uint32_t i = 0; i < state->n_files; i++)
        if (state->files[i].meta.file_id == file_id)
            return true;
    return false;
}

/* Segments that the manifest does not name are what a crash left of a flush or compaction. Only once the manifest that says
 * so is durable: an older one, which a power cut could bring back, may name them. They are moved aside, not
 * unlinked, in case the manifest is what is wrong. What lay in lost/ before goes now. */
static kap_status lost_empty(void *context, const char *name)
{
    struct kap_store *store = context;
    char path[KAP_PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%s/lost/%s", store->directory, name);
    struct kap_io unlink = {.op = KAP_IO_UNLINK, .name = path};
    kap_status status = io_run(store, &unlink);
    return status == KAP_CRASHED ? status : KAP_OK;
}

static kap_status strangers_move(struct kap_store *store, const struct survey *survey)
{
    char name[KAP_FILE_NAME_BYTES], path[KAP_PATH_BYTES_MAX], lost[KAP_PATH_BYTES_MAX], to[KAP_PATH_BYTES_MAX];
    snprintf(lost, sizeof lost, "%s/lost", store->directory);
    kap_status status = kap_env_list(store->env, lost, lost_empty, store);
    if (status == KAP_NO_FILE)
        status = KAP_OK;
    for (uint32_t i = 0; i < survey->n_segments && status == KAP_OK; i++) {
        if (file_known(&store->manifest.state, survey->segments[i]))
            continue;
        status = directory_make(store, lost, false);
        kap_file_name_print(KAP_FILE_SEGMENT, survey->segments[i], name);
        snprintf(path, sizeof path, "%s/%s", store->directory, name);
        snprintf(to, sizeof to, "%s/%s", lost, name);
        struct kap_io rename = {.op = KAP_IO_RENAME, .name = path, .name_to = to};
        if (status == KAP_OK)
            status = io_run(store, &rename);
        kap_log(KAP_LOG_INFO, "store", "msg=\"moved a file that the manifest does not name to lost/\" file=%s", name);
    }
    for (uint32_t i = 0; i < survey->n_manifests && status == KAP_OK; i++) {
        if (survey->manifests[i] == store->manifest.superblock.manifest_no)
            continue;
        kap_file_name_print(KAP_FILE_MANIFEST, survey->manifests[i], name);
        snprintf(path, sizeof path, "%s/%s", store->directory, name);
        struct kap_io unlink = {.op = KAP_IO_UNLINK, .name = path};
        status = io_run(store, &unlink);
        if (status == KAP_NO_FILE) /* the one that was read: the fresh one's writing has removed it */
            status = KAP_OK;
    }
    return status;
}

static kap_status replay_operation(void *context, const struct kap_entry *entry, int64_t wall_us)
{
    struct kap_store *store = context;
    (void)wall_us;
    return kap_memtable_add(store->active->memtable, entry);
}

static kap_status log_replay(struct kap_store *store, struct kap_error *error)
{
    struct kap_wal_read read = {.env = store->env,
                                .queue = store->queue,
                                .directory = store->directory,
                                .store_hash = kap_store_hash(store->manifest.superblock.store_id),
                                .file_bytes = store->options.wal_file_bytes,
                                .first_file_no = store->manifest.state.wal_first_file_no,
                                .first_frame_no = store->manifest.state.wal_first_frame_no,
                                .after_seq = store->manifest.state.flushed_seq,
                                .durable_frame = store->manifest.superblock.durable_frame,
                                .operation = replay_operation,
                                .context = store,
                                .slots = &store->slots};
    int64_t start = kap_env_mono_ns(store->env);
    kap_status status = kap_wal_read(&read, error);
    if (status != KAP_OK)
        return status;
    store->recovered_commits = read.commits;
    store->head_seq = read.position.last_seq;
    store->next_seq = store->head_seq + (store->head_seq ? STORE_SEQ_SKIP : 1);
    store->last_wall_us = read.last_wall_us;
    /* The books that are written next must know how far the log went: a flush may let go of all of it before the next
     * frame is written, and then nothing else does. */
    if (read.position.next_frame_no - 1 > store->manifest.superblock.durable_frame)
        store->manifest.superblock.durable_frame = read.position.next_frame_no - 1;
    if (read.commits > 0 || read.cut)
        kap_log(KAP_LOG_INFO, "store", "msg=\"log replayed\" commits=%llu frames=%llu bytes=%llu torn_tail=%s ms=%lld",
                (unsigned long long)read.commits, (unsigned long long)read.frames, (unsigned long long)read.bytes,
                read.cut ? "cut" : "no", (long long)((kap_env_mono_ns(store->env) - start) / 1000000));
    return kap_wal_writer_create(store->env, &store->slots, store->options.wal_file_bytes, &read.position, &store->wal);
}

/* The room for all copies is taken while the store is made: later, on a full disk, the superblock can still be written. */
static kap_status superblock_room(struct kap_store *store, struct kap_error *error)
{
    static uint8_t zeros[KAP_SUPERBLOCK_BYTES];
    struct kap_io write = {
        .op = KAP_IO_WRITE, .file = store->manifest.superblock_file, .data = zeros, .len = sizeof zeros};
    kap_status status = io_run(store, &write);
    if (status != KAP_OK)
        return kap_error_set(error, status, "cannot write the superblock in %s: %s", store->directory,
                             kap_status_sentence(status));
    return KAP_OK;
}

static kap_status books_write(struct kap_store *store, bool fresh, struct kap_error *error)
{
    /* Its name is there before the manifest's directory sync, which so covers both names. */
    kap_status status = superblock_open(store, error);
    if (status == KAP_OK && fresh)
        status = superblock_room(store, error);
    /* The copies that were read may not be durable, and the next ones go over those that are. */
    struct kap_io sync = {
        .op = KAP_IO_SYNC, .file = store->manifest.superblock_file, .sync_point = "recovered_superblock"};
    if (status == KAP_OK && (status = io_run(store, &sync)) != KAP_OK)
        return kap_error_set(error, status, "cannot sync the superblock in %s: %s", store->directory,
                             kap_status_sentence(status));
    if (status == KAP_OK)
        status = kap_manifest_log_rewrite(&store->manifest, store->queue, fresh);
    if (status != KAP_OK)
        return status;
    while (kap_manifest_log_running(&store->manifest))
        kap_queue_poll(store->queue, -1);
    status = kap_manifest_log_result(&store->manifest);
    if (status != KAP_OK)
        kap_error_set(error, status, "cannot write manifest and superblock in %s: %s", store->directory,
                      kap_status_sentence(status));
    return status;
}

static kap_status subdirectories_make(struct kap_store *store)
{
    static const char *const names[] = {"blobs", "snapshots"};
    char path[KAP_PATH_BYTES_MAX];
    kap_status status = KAP_OK;
    for (size_t i = 0; i < KAP_ARRAY_LEN(names) && status == KAP_OK; i++) {
        snprintf(path, sizeof path, "%s/%s", store->directory, names[i]);
        status = directory_make(store, path, false);
    }
    struct kap_io sync = {.op = KAP_IO_SYNC_DIR, .name = store->directory, .sync_point = "store_dir"};
    return status == KAP_OK ? io_run(store, &sync) : status;
}

kap_status store_recover(struct kap_store *store, struct kap_error *error)
{
    struct survey survey = {.store = store};
    bool fresh = false;
    kap_status status = directory_lock(store, error);
    if (status == KAP_OK)
        status = kap_env_list(store->env, store->directory, survey_name, &survey);
    if (status == KAP_OK)
        status = superblock_load(store, &survey, &fresh, error);
    if (status == KAP_OK && !fresh)
        status = manifest_load(store, error);
    /* The size of log slots is the store's, decided when it was made. */
    if (status == KAP_OK && store->manifest.superblock.wal_bytes)
        store->options.wal_file_bytes = store->manifest.superblock.wal_bytes;
    if (status == KAP_OK)
        status = kap_manifest_state_adopt(&store->manifest.state, store->options.schema, fresh, error);
    if (status == KAP_OK)
        status = subdirectories_make(store);
    if (status == KAP_OK && !fresh)
        status = segments_load(store, error);
    if (status == KAP_OK)
        status = log_replay(store, error);
    if (status == KAP_OK)
        status = books_write(store, fresh, error);
    if (status == KAP_OK && !fresh)
        status = strangers_move(store, &survey);
    if (status == KAP_OK) {
        atomic_store(&store->background.next_file_id, store->manifest.state.next_file_id);
        atomic_store(&store->background.flushed_seq, store->manifest.state.flushed_seq);
        atomic_store(&store->background.durable_seq, kap_wal_durable_seq(store->wal));
        store->wal_file_seen = kap_wal_next_file_no(store->wal);
        status = store_snapshots_load(store, error);
    }
    survey_free(&survey);
    return status;
}
