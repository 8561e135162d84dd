/* open -> (lock) -> (books) -> (segments, log) -> (view) -> closed; every step in brackets may be left out or fail. */
#include "engine/store/offline.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/env/file_name.h"
#include "engine/wal/wal_format.h"

enum { OFFLINE_CACHE_BYTES = 64 * 1024 * 1024 };

static void file_close(struct kap_offline *offline, struct kap_file *file)
{
    struct kap_io io = {.op = KAP_IO_CLOSE, .file = file};
    if (file && kap_io_wait(offline->queue, &io) != KAP_OK)
        return; /* opened for reading: the handle is gone either way and nothing was written */
}

void kap_offline_path(const struct kap_offline *offline, const char *name, char path_out[KAP_PATH_BYTES_MAX])
{
    snprintf(path_out, KAP_PATH_BYTES_MAX, "%s/%s", offline->directory, name);
}

static kap_status range_read(struct kap_offline *offline, struct kap_file *file, uint64_t offset, size_t len,
                             uint8_t **data_out, size_t *len_out)
{
    struct kap_memory *memory = &offline->env->memory;
    struct kap_io size = {.op = KAP_IO_SIZE, .file = file};
    kap_status status = kap_io_wait(offline->queue, &size);
    if (status != KAP_OK)
        return status;
    uint64_t left = offset < size.size_out ? size.size_out - offset : 0;
    size_t want = len == 0 || len > left ? (size_t)left : len;
    uint8_t *data = kap_memory_alloc_aligned(memory, KAP_DIRECT_ALIGN, want + 1);
    if (!data)
        return KAP_NO_MEMORY;
    struct kap_io read = {.op = KAP_IO_READ, .file = file, .data = data, .len = want, .offset = offset};
    if (want > 0)
        status = kap_io_wait(offline->queue, &read);
    if (status != KAP_OK) {
        kap_memory_free(memory, data);
        return status;
    }
    *data_out = data;
    *len_out = read.transferred;
    return KAP_OK;
}

kap_status kap_offline_read(struct kap_offline *offline, const char *name, uint64_t offset, size_t len,
                            uint8_t **data_out, size_t *len_out)
{
    char path[KAP_PATH_BYTES_MAX];
    kap_offline_path(offline, name, path);
    struct kap_io open = {.op = KAP_IO_OPEN, .name = path, .flags = KAP_OPEN_READ};
    kap_status status = kap_io_wait(offline->queue, &open);
    if (status != KAP_OK)
        return status;
    status = range_read(offline, open.file_out, offset, len, data_out, len_out);
    file_close(offline, open.file_out);
    return status;
}

/* Blocks for a view: from the cache, or read on the spot. */

static kap_status block_load(struct kap_offline *offline, const struct kap_block_ref *ref)
{
    struct kap_memory *memory = &offline->env->memory;
    struct kap_version_file *file = kap_versions_find(&offline->versions, ref->file_id);
    KAP_ASSERT(file); /* the view that asks pins it */
    uint8_t *data = kap_memory_alloc_aligned(memory, KAP_DIRECT_ALIGN, ref->stored_bytes);
    struct kap_io read = {
        .op = KAP_IO_READ, .file = file->file, .data = data, .len = ref->stored_bytes, .offset = ref->offset};
    kap_status status = data ? kap_io_wait(offline->queue, &read) : KAP_NO_MEMORY;
    if (status == KAP_OK && read.transferred < read.len)
        status =
            kap_error_set(&offline->block_error, KAP_CORRUPT, "segment %llu, offset %llu: the file ends in a block",
                          (unsigned long long)ref->file_id, (unsigned long long)ref->offset);
    if (status == KAP_OK)
        status = kap_block_cache_insert(offline->cache, ref, kap_bytes(data, ref->stored_bytes), &offline->block_error);
    else
        kap_block_cache_fail(offline->cache, ref, status);
    kap_memory_free(memory, data);
    kap_version_file_release(&offline->versions, file);
    return status;
}

static kap_status source_get(struct kap_block_source *source, const struct kap_block_ref *ref,
                             const struct kap_block **block_out)
{
    struct kap_offline *offline = KAP_OWNER(source, struct kap_offline, source);
    struct kap_block_source *inner = &offline->context.source;
    struct kap_block_ref missing;
    kap_status status;
    while ((status = kap_block_source_get(inner, ref, block_out)) == KAP_PENDING) {
        offline->block_error = (struct kap_error){0};
        while (kap_block_cache_missing(offline->cache, &missing)) {
            status = block_load(offline, &missing);
            if (status == KAP_NO_MEMORY)
                return status;
        }
        while (kap_block_cache_ready(offline->cache))
            ; /* there is only the one context */
    }
    source->failed = inner->failed;
    return status;
}

kap_status kap_offline_open(struct kap_env *env, struct kap_queue *queue, const char *directory,
                            struct kap_offline **offline_out, struct kap_error *error)
{
    static const struct kap_block_source_ops ops = {.get = source_get};
    struct kap_offline *offline = kap_memory_alloc(&env->memory, sizeof *offline);
    if (!offline)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory to look at %s", directory);
    offline->env = env;
    offline->queue = queue;
    offline->source = (struct kap_block_source){.ops = &ops};
    kap_manifest_state_init(&offline->state, &env->memory);
    kap_list_init(&offline->versions.graveyard);
    kap_list_init(&offline->versions.all);
    offline->versions.memory = &env->memory;
    kap_status status = KAP_OK;
    if ((size_t)snprintf(offline->directory, sizeof offline->directory, "%s", directory) >= sizeof offline->directory)
        status = kap_error_set(error, KAP_INVALID, "the data directory's name is longer than %zu bytes",
                               sizeof offline->directory - 1);
    if (status == KAP_OK)
        status = kap_block_cache_create(&env->memory, OFFLINE_CACHE_BYTES, &offline->cache);
    if (status == KAP_OK)
        status = kap_versions_init(&offline->versions, &env->memory);
    if (status != KAP_OK) {
        kap_error_set(error, status, "no memory to look at %s", directory);
        kap_block_cache_destroy(offline->cache);
        kap_memory_free(&env->memory, offline);
        return status;
    }
    kap_read_context_init(&offline->context, offline->cache);
    *offline_out = offline;
    return KAP_OK;
}

void kap_offline_close(struct kap_offline *offline)
{
    struct kap_version_file *file;
    if (!offline)
        return;
    kap_offline_view_release(offline);
    if (offline->set)
        kap_fileset_release(&offline->versions, offline->set);
    kap_versions_deinit(&offline->versions);
    while ((file = kap_versions_exhume(&offline->versions))) {
        file_close(offline, file->file);
        kap_version_file_destroy(&offline->versions, file);
    }
    kap_block_cache_destroy(offline->cache);
    kap_manifest_state_deinit(&offline->state);
    file_close(offline, offline->lock);
    kap_memory_free(&offline->env->memory, offline);
}

kap_status kap_offline_lock(struct kap_offline *offline, struct kap_error *error)
{
    char path[KAP_PATH_BYTES_MAX];
    kap_offline_path(offline, "lock", path);
    struct kap_io open = {.op = KAP_IO_OPEN, .name = path, .flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE | KAP_OPEN_LOCK};
    kap_status status = kap_io_wait(offline->queue, &open);
    if (status == KAP_LOCKED)
        return kap_error_set(error, status,
                             "a kapd runs on %s; stop it first, or take a snapshot and look at that directory instead",
                             offline->directory);
    if (status == KAP_NO_FILE)
        return kap_error_set(error, status, "there is no data directory %s", offline->directory);
    if (status != KAP_OK)
        return kap_error_set(error, status, "cannot lock %s: %s", path, kap_status_sentence(status));
    offline->lock = open.file_out;
    return KAP_OK;
}

kap_status kap_offline_books(struct kap_offline *offline, struct kap_error *error)
{
    char name[KAP_FILE_NAME_BYTES];
    struct kap_memory *memory = &offline->env->memory;
    uint8_t *data;
    size_t len;
    kap_status status = kap_offline_read(offline, "superblock", 0, 0, &data, &len);
    if (status == KAP_NO_FILE)
        return kap_error_set(error, status, "%s holds no kap store: there is no superblock", offline->directory);
    if (status != KAP_OK)
        return kap_error_set(error, status, "cannot read %s/superblock: %s", offline->directory,
                             kap_status_sentence(status));
    struct kap_error parse = {0};
    status = kap_superblock_parse(kap_bytes(data, len), &offline->superblock, &parse);
    kap_memory_free(memory, data);
    if (status != KAP_OK)
        return kap_error_set(error, status, "superblock: %s", parse.text);
    kap_file_name_print(KAP_FILE_MANIFEST, offline->superblock.manifest_no, name);
    status = kap_offline_read(offline, name, 0, 0, &data, &len);
    if (status != KAP_OK)
        return kap_error_set(error, status == KAP_NO_FILE ? KAP_CORRUPT : status,
                             "%s, which the superblock names, cannot be read: %s", name, kap_status_sentence(status));
    status = kap_manifest_parse(kap_bytes(data, len), kap_store_hash(offline->superblock.store_id), name,
                                &offline->state, &offline->edits, error);
    kap_memory_free(memory, data);
    return status;
}

static kap_status set_derive(struct kap_offline *offline)
{
    if (offline->set)
        return KAP_OK;
    return kap_fileset_derive(&offline->versions, offline->state.n_files, &offline->set);
}

kap_status kap_offline_segment(struct kap_offline *offline, const struct kap_manifest_file *file,
                               const struct kap_segment **segment_out, struct kap_error *error)
{
    char name[KAP_FILE_NAME_BYTES], path[KAP_PATH_BYTES_MAX];
    struct kap_memory *memory = &offline->env->memory;
    const struct kap_segment_meta *meta = &file->meta;
    struct kap_segment *segment = NULL;
    struct kap_version_file *made = NULL;
    uint8_t *tail = NULL;
    size_t len = 0;
    kap_file_name_print(KAP_FILE_SEGMENT, meta->file_id, name);
    kap_offline_path(offline, name, path);
    struct kap_io open = {.op = KAP_IO_OPEN, .name = path, .flags = KAP_OPEN_READ};
    struct kap_error inner = {0};
    kap_status status = set_derive(offline);
    if (status == KAP_OK)
        status = kap_io_wait(offline->queue, &open);
    if (status == KAP_OK)
        status = range_read(offline, open.file_out, meta->tail_offset, meta->tail_bytes, &tail, &len);
    if (status == KAP_OK && len < meta->tail_bytes)
        status = kap_error_set(&inner, KAP_CORRUPT, "shorter than the %llu bytes that the manifest says",
                               (unsigned long long)meta->file_bytes);
    if (status == KAP_OK)
        status = kap_segment_open(memory, meta, kap_bytes(tail, len), &segment, &inner);
    kap_memory_free(memory, tail);
    if (status == KAP_OK)
        status = kap_version_file_create(&offline->versions, file->level, segment, open.file_out, &made);
    if (status != KAP_OK) {
        kap_segment_close(segment);
        file_close(offline, open.file_out);
        return kap_error_set(error, status == KAP_NO_FILE ? KAP_CORRUPT : status, "%s: %s", name,
                             inner.text[0] ? inner.text : kap_status_sentence(status));
    }
    kap_fileset_add(offline->set, made);
    kap_version_file_release(&offline->versions, made);
    *segment_out = segment;
    return KAP_OK;
}

static kap_status operation_add(void *context, const struct kap_entry *entry, int64_t wall_us)
{
    struct kap_offline *offline = context;
    (void)wall_us;
    offline->log_seq_max = KAP_MAX(offline->log_seq_max, entry->seq);
    return kap_memtable_add(offline->versions.current.tables->active->memtable, entry);
}

/* A log of which nothing was replayed is either not needed any more or has lost its very start; then later frames of the
 * same use of the slot lie behind it, and one of them or the superblock promises that the start was durable. */
struct log_look {
    struct kap_offline *offline;
    uint64_t first, promised; /* lowest whole frame that replay would need; highest that was durable */
    char file[KAP_FILE_NAME_BYTES]; /* where first stands */
    size_t offset;
};

static bool frame_whole(const struct log_look *look, const uint8_t *bytes, size_t len, struct wal_frame *frame_out)
{
    memcpy(frame_out, bytes, sizeof *frame_out);
    uint64_t payload = kap_le32_get(frame_out->payload_bytes);
    return kap_le64_get(frame_out->magic) == KAP_WAL_MAGIC &&
           kap_le64_get(frame_out->store_hash) == kap_store_hash(look->offline->superblock.store_id) &&
           payload <= len - sizeof *frame_out &&
           kap_checksum(bytes + 8, sizeof *frame_out + payload - 8, KAP_SEED_WAL) == kap_le64_get(frame_out->checksum);
}

static kap_status log_file_look(void *context, const char *name)
{
    struct log_look *look = context;
    struct kap_file_name parsed;
    uint8_t *data;
    size_t len;
    if (!kap_file_name_parse(name, &parsed) || parsed.kind != KAP_FILE_WAL)
        return KAP_OK;
    kap_status status = kap_offline_read(look->offline, name, 0, 0, &data, &len);
    if (status != KAP_OK)
        return status;
    for (size_t at = 0; at + sizeof(struct wal_frame) <= len; at += KAP_WAL_ALIGN) {
        struct wal_frame frame;
        if (!frame_whole(look, data + at, len - at, &frame) ||
            kap_le64_get(frame.file_no) < look->offline->state.wal_first_file_no)
            continue;
        look->promised = KAP_MAX(look->promised, kap_le64_get(frame.durable_upto));
        if (look->first != 0 && look->first <= kap_le64_get(frame.frame_no))
            continue;
        look->first = kap_le64_get(frame.frame_no);
        look->offset = at;
        snprintf(look->file, sizeof look->file, "%s", name);
    }
    kap_memory_free(&look->offline->env->memory, data);
    return KAP_OK;
}

static kap_status log_start_look(struct kap_offline *offline, struct kap_error *error)
{
    struct log_look look = {.offline = offline, .promised = offline->superblock.durable_frame};
    kap_status status = kap_env_list(offline->env, offline->directory, log_file_look, &look);
    if (status != KAP_OK)
        return kap_error_set(error, status, "cannot read the log in %s: %s", offline->directory,
                             kap_status_sentence(status));
    if (look.first == 0 || look.first - 1 > look.promised)
        return KAP_OK;
    return kap_error_set(
        error, KAP_CORRUPT,
        "%s, before offset %zu: frame %llu, which was durable, is missing or bad, so that nothing of the "
        "log can be replayed",
        look.file, look.offset, (unsigned long long)look.first - 1);
}

kap_status kap_offline_log(struct kap_offline *offline, struct kap_error *error)
{
    offline->log = (struct kap_wal_read){.env = offline->env,
                                         .queue = offline->queue,
                                         .directory = offline->directory,
                                         .store_hash = kap_store_hash(offline->superblock.store_id),
                                         .file_bytes = offline->superblock.wal_bytes,
                                         .first_file_no = offline->state.wal_first_file_no,
                                         .first_frame_no = offline->state.wal_first_frame_no,
                                         .after_seq = offline->state.flushed_seq,
                                         .durable_frame = offline->superblock.durable_frame,
                                         .operation = operation_add,
                                         .context = offline,
                                         .read_only = true};
    kap_status status = kap_wal_read(&offline->log, error);
    return status == KAP_OK && offline->log.frames == 0 ? log_start_look(offline, error) : status;
}

kap_status kap_offline_view(struct kap_offline *offline, struct kap_view *view_out)
{
    if (offline->set) {
        kap_status status = kap_versions_install(&offline->versions, offline->set, NULL);
        if (status != KAP_OK)
            return status;
        offline->set = NULL;
    }
    *view_out = (struct kap_view){
        .version = kap_version_pin(&offline->versions), .seq = KAP_SEQ_MAX, .blocks = &offline->source};
    return KAP_OK;
}

void kap_offline_view_release(struct kap_offline *offline)
{
    kap_read_context_release(&offline->context);
}

void kap_offline_view_end(struct kap_offline *offline, struct kap_view *view)
{
    kap_offline_view_release(offline);
    kap_version_unpin(&offline->versions, view->version);
}
