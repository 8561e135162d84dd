/* open: options checked -> directory locked -> recovered -> a spare log file made -> workers started
 * close: log drained -> workers stopped -> durable mark -> handles closed -> freed */
#include "engine/store/store_internal.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

static void options_fill(struct kap_store_options *options)
{
    const uint64_t mib = 1024 * 1024;
    options->memtable_bytes = or_default(options->memtable_bytes, 64 * mib);
    options->wal_file_bytes = or_default(options->wal_file_bytes, 64 * mib);
    options->block_cache_bytes = or_default(options->block_cache_bytes, 256 * mib);
    options->file_bytes = or_default(options->file_bytes, 32 * mib);
    options->level1_bytes = or_default(options->level1_bytes, 256 * mib);
    options->space_floor_bytes = or_default(options->space_floor_bytes, 64 * mib);
    if (options->l0_files == 0)
        options->l0_files = 4;
}

static void durable_moved(void *context)
{
    struct kap_store *store = context;
    kap_status poison = kap_wal_poison(store->wal);
    atomic_store(&store->background.durable_seq, kap_wal_durable_seq(store->wal));
    atomic_store(&store->background.durable_frame, kap_wal_durable_frame(store->wal));
    if (poison != KAP_OK)
        kap_background_fail(&store->background, poison, "writing the log");
    uint64_t sealed_seq;
    if (kap_versions_sealed(&store->versions, &sealed_seq) > 0)
        kap_background_wake_flusher(&store->background);
    if (store->on_durable)
        store->on_durable(store->on_durable_context);
}

static void background_fill(struct kap_store *store)
{
    struct kap_background *background = &store->background;
    background->env = store->env;
    background->directory = store->directory;
    background->versions = &store->versions;
    background->manifest = &store->manifest;
    background->slots = &store->slots;
    background->wal_file_bytes = store->options.wal_file_bytes;
    background->file_bytes = store->options.file_bytes;
    background->level1_bytes = store->options.level1_bytes;
    background->l0_files = store->options.l0_files;
    background->is_expired = store->options.is_expired;
    background->snapshot = &store->snapshot;
}

/* Without a spare slot the first commit would wait for one, and a store that cannot make one should say so now. */
static kap_status first_spare_make(struct kap_store *store, struct kap_error *error)
{
    struct kap_wal_spare spare = {0};
    kap_status status = KAP_OK;
    while (kap_wal_slots_spares(&store->slots) == 0 && status == KAP_OK)
        while ((status = kap_wal_spare_step(&store->background, &spare, store->queue)) == KAP_PENDING)
            kap_queue_poll(store->queue, -1);
    if (status != KAP_OK)
        kap_error_set(error, status, "cannot make a log file of %llu bytes in %s: %s",
                      (unsigned long long)store->options.wal_file_bytes, store->directory, kap_status_sentence(status));
    return status;
}

static void handle_close(struct kap_store *store, struct kap_file *file)
{
    struct kap_io io = {.op = KAP_IO_CLOSE, .file = file};
    if (file && kap_io_wait(store->queue, &io) != KAP_OK)
        kap_log(KAP_LOG_DEBUG, "store", "msg=\"closing a file failed\" status=%s", kap_status_name(io.status));
}

static void handles_close(struct kap_store *store)
{
    kap_manifest_log_close(&store->manifest, store->queue);
    for (uint32_t i = 0; i < store->slots.count; i++)
        handle_close(store, store->slots.slots[i].file);
    store->slots.count = 0;
    handle_close(store, store->lock);
    store->lock = NULL;
}

static void store_free(struct kap_store *store)
{
    struct kap_version_file *file;
    kap_blob_store_close(store->blobs);
    kap_wal_writer_destroy(store->wal);
    kap_block_cache_destroy(store->cache);
    kap_versions_deinit(&store->versions);
    while ((file = kap_versions_exhume(&store->versions))) {
        handle_close(store, file->file);
        kap_version_file_destroy(&store->versions, file);
    }
    handles_close(store);
    kap_manifest_log_deinit(&store->manifest);
    kap_memory_free(&store->env->memory, store);
}

static kap_status parts_make(struct kap_store *store)
{
    struct kap_memory *memory = &store->env->memory;
    kap_status status = kap_manifest_log_init(&store->manifest, store->env, store->directory);
    if (status == KAP_OK)
        status = kap_versions_init(&store->versions, memory);
    if (status == KAP_OK)
        store->active = store->versions.current.tables->active;
    if (status == KAP_OK)
        status = kap_block_cache_create(memory, store->options.block_cache_bytes, &store->cache);
    return status;
}

kap_status kap_store_open(struct kap_env *env, struct kap_queue *queue, const struct kap_store_options *options,
                          struct kap_store **store_out, struct kap_error *error)
{
    struct kap_store *store = kap_memory_alloc(&env->memory, sizeof *store);
    if (!store)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory to open a store");
    store->env = env;
    store->queue = queue;
    store->options = *options;
    store->delay = "none";
    options_fill(&store->options);
    kap_list_init(&store->versions.graveyard);
    kap_list_init(&store->versions.all);
    store->versions.memory = &env->memory;
    store->manifest.env = env;
    kap_status status = KAP_OK;
    if ((size_t)snprintf(store->directory, sizeof store->directory, "%s", options->directory) >=
        sizeof store->directory)
        status = kap_error_set(error, KAP_INVALID, "the data directory's name is longer than %zu bytes",
                               sizeof store->directory - 1);
    if (status == KAP_OK)
        status = parts_make(store);
    if (status == KAP_OK)
        status = store_recover(store, error);
    if (status == KAP_OK)
        status = kap_blob_store_open(env, queue, store->directory, kap_store_hash(kap_store_id(store)), &store->blobs,
                                     error);
    if (status == KAP_OK) {
        background_fill(store);
        status = first_spare_make(store, error);
    }
    if (status == KAP_OK) {
        kap_wal_on_durable(store->wal, durable_moved, store);
        store->background_started = true;
        status = kap_background_start(&store->background, error);
    }
    if (status == KAP_OK && kap_memtable_bytes(store->active->memtable) >= store->options.memtable_bytes)
        status = store_seal(store);
    if (status != KAP_OK) {
        kap_error_set(error, status, "cannot open the store in %s: %s", store->directory, kap_status_sentence(status));
        if (store->background_started)
            kap_background_stop(&store->background, queue);
        store_free(store);
        return status;
    }
    *store_out = store;
    return KAP_OK;
}

void kap_store_close(struct kap_store *store)
{
    while (kap_wal_in_flight(store->wal) > 0 || store->loads > 0 || kap_blob_store_busy(store->blobs) ||
           (!kap_wal_open_frame_empty(store->wal) && kap_store_failed(store) == KAP_OK)) {
        kap_store_pump(store);
        kap_queue_poll(store->queue, 10 * 1000000);
    }
    kap_background_stop(&store->background, store->queue);
    store_snapshot_collect(store);
    if (kap_store_failed(store) == KAP_OK) {
        kap_manifest_log_mark(&store->manifest, store->queue, kap_wal_durable_frame(store->wal));
        while (kap_manifest_log_running(&store->manifest))
            kap_queue_poll(store->queue, -1);
        kap_status status = kap_manifest_log_result(&store->manifest);
        if (status != KAP_OK && status != KAP_CRASHED)
            kap_log(KAP_LOG_ERROR, "store", "msg=\"the superblock could not be written at the stop\" status=%s",
                    kap_status_name(status));
    }
    store_free(store);
}

struct kap_env *kap_store_env(struct kap_store *store)
{
    return store->env;
}

struct kap_queue *kap_store_queue(struct kap_store *store)
{
    return store->queue;
}

const struct kap_schema *kap_store_schema(const struct kap_store *store)
{
    return store->options.schema;
}

const char *kap_store_directory(const struct kap_store *store)
{
    return store->directory;
}

struct kap_id kap_store_id(const struct kap_store *store)
{
    return store->manifest.superblock.store_id;
}

struct kap_blob_store *kap_store_blobs(struct kap_store *store)
{
    return store->blobs;
}

kap_status kap_store_failed(const struct kap_store *store)
{
    return (kap_status)atomic_load(&((struct kap_store *)(uintptr_t)store)->background.failed);
}

uint64_t kap_store_head_seq(const struct kap_store *store)
{
    return store->head_seq;
}

uint64_t kap_store_durable_seq(const struct kap_store *store)
{
    return KAP_MIN(kap_wal_durable_seq(store->wal), store->head_seq);
}

void kap_store_on_durable(struct kap_store *store, void (*callback)(void *context), void *context)
{
    store->on_durable = callback;
    store->on_durable_context = context;
}

void kap_store_on_progress(struct kap_store *store, void (*callback)(void *context), void *context)
{
    kap_spin_lock(&store->background.wake_lock);
    store->background.notify = callback;
    store->background.notify_context = context;
    kap_spin_unlock(&store->background.wake_lock);
}

kap_status store_seal(struct kap_store *store)
{
    struct kap_version_table *active = store->active, *table;
    if (kap_memtable_count(active->memtable) == 0)
        return KAP_OK;
    kap_status status = kap_version_table_create(&store->versions, &table);
    if (status != KAP_OK)
        return status;
    active->seq_max = kap_memtable_seq_max(active->memtable);
    active->wal_first_file_no = kap_wal_next_file_no(store->wal);
    active->wal_first_frame_no = kap_wal_next_file_frame(store->wal);
    status = kap_versions_seal(&store->versions, table);
    if (status != KAP_OK) {
        kap_version_table_release(&store->versions, table);
        return status;
    }
    store->active = table;
    kap_background_wake_flusher(&store->background);
    return KAP_OK;
}

kap_status kap_store_flush(struct kap_store *store, uint64_t *seq_out)
{
    if (kap_memtable_count(store->active->memtable) > 0)
        *seq_out = kap_memtable_seq_max(store->active->memtable);
    else if (kap_versions_sealed(&store->versions, seq_out) == 0)
        *seq_out = atomic_load(&store->background.flushed_seq);
    return store_seal(store);
}

void kap_store_compact_all(struct kap_store *store)
{
    atomic_store(&store->background.compact_all, 1);
    kap_background_wake(&store->background);
}

uint32_t kap_store_indexes_building(const struct kap_store *store, uint16_t *ids_out, uint32_t cap)
{
    const struct kap_schema *schema = store->options.schema;
    uint32_t n = 0;
    for (uint16_t i = 0; i < schema->n_indexes; i++)
        if (!kap_manifest_state_index_public(&store->manifest.state, schema->indexes[i].id) && n < cap)
            ids_out[n++] = schema->indexes[i].id;
    return n;
}

kap_status kap_store_indexes_publish(struct kap_store *store)
{
    while (!kap_manifest_log_try_lock(&store->manifest)) /* a flush writes its edit */
        kap_queue_poll(store->queue, 1000000);
    for (uint32_t i = 0; i < store->manifest.state.n_indexes; i++)
        store->manifest.state.indexes[i].state = KAP_INDEX_PUBLIC;
    kap_status status = kap_manifest_log_rewrite(&store->manifest, store->queue, false);
    while (status == KAP_OK && kap_manifest_log_running(&store->manifest))
        kap_queue_poll(store->queue, -1);
    if (status == KAP_OK)
        status = kap_manifest_log_result(&store->manifest);
    kap_manifest_log_unlock(&store->manifest);
    return status;
}
