#include "engine/base/assert.h"
#include "engine/store/store_internal.h"

void kap_store_context_init(struct kap_store *store, struct kap_read_context *context)
{
    kap_read_context_init(context, store->cache);
}

void kap_store_view_begin(struct kap_store *store, struct kap_view *view, struct kap_read_context *context)
{
    *view = (struct kap_view){.version = kap_version_pin(&store->versions),
                              .seq = kap_store_durable_seq(store),
                              .blocks = &context->source};
}

void kap_store_view_end(struct kap_store *store, struct kap_view *view)
{
    kap_version_unpin(&store->versions, view->version);
    view->version = (struct kap_version){0};
}

kap_status kap_store_txn_begin(struct kap_store *store, struct kap_txn *txn, struct kap_arena *arena,
                               struct kap_read_context *context)
{
    KAP_ASSERT(!store->txn_open);
    *txn = (struct kap_txn){.arena = arena, .commit_seq = store->next_seq};
    kap_status status = kap_memtable_create(&store->env->memory, &txn->writes);
    if (status != KAP_OK)
        return status;
    txn->view = (struct kap_view){.version = kap_version_pin(&store->versions),
                                  .seq = KAP_SEQ_MAX,
                                  .blocks = &context->source,
                                  .own = txn->writes};
    txn->now_us = KAP_MAX(kap_env_wall_us(store->env), store->last_wall_us + 1);
    store->txn_open = true;
    return KAP_OK;
}

void kap_store_txn_abort(struct kap_store *store, struct kap_txn *txn)
{
    kap_version_unpin(&store->versions, txn->view.version);
    kap_memtable_destroy(txn->writes);
    *txn = (struct kap_txn){0};
    store->txn_open = false;
}

/* Walks the write set and calls each on the newest write of every key. */
static void writes_walk(const struct kap_txn *txn, void (*each)(void *context, const struct kap_entry *entry),
                        void *context)
{
    struct kap_memtable_cursor cursor;
    struct kap_bytes last = {0};
    bool first = true;
    kap_memtable_cursor_init(&cursor, txn->writes);
    kap_status status = kap_cursor_seek(&cursor.cursor, kap_bytes("", 0), KAP_SEQ_MAX);
    for (; status == KAP_OK; status = kap_cursor_next(&cursor.cursor)) {
        struct kap_entry entry = cursor.cursor.entry;
        if (!first && kap_bytes_eq(entry.key, last))
            continue;
        first = false;
        last = entry.key; /* borrows from the write set, which stays */
        entry.seq = txn->commit_seq;
        each(context, &entry);
    }
}

struct write_sum {
    uint32_t operations;
    size_t bytes;
};

static void write_count(void *context, const struct kap_entry *entry)
{
    struct write_sum *sum = context;
    sum->operations++;
    sum->bytes += entry->key.len + entry->value.len;
}

static void write_apply(void *context, const struct kap_entry *entry)
{
    struct kap_store *store = context;
    kap_wal_operation(store->wal, entry);
    kap_status status = kap_memtable_add(store->active->memtable, entry);
    KAP_ASSERT(status == KAP_OK); /* reserved */
}

/* Looks at the disk at most ten times a second: statvfs is cheap but not free. */
static bool disk_full(struct kap_store *store)
{
    int64_t now = kap_env_mono_ns(store->env);
    if (store->space_checked_ns == 0 || now - store->space_checked_ns > 100 * 1000000ll) {
        uint64_t total;
        store->space_checked_ns = now;
        if (kap_env_space(store->env, store->directory, &store->space_free, &total) != KAP_OK)
            store->space_free = UINT64_MAX; /* unknown is not full */
    }
    return store->space_free < store->options.space_floor_bytes;
}

static kap_status room_make(struct kap_store *store)
{
    if (kap_memtable_bytes(store->active->memtable) < store->options.memtable_bytes)
        return KAP_OK;
    if (kap_versions_level0(&store->versions) >= KAP_MAX((uint32_t)STORE_LEVEL0_MAX, 2 * store->options.l0_files)) {
        store->delay = "compaction";
        kap_background_wake_compactor(&store->background);
        return KAP_OVERLOADED;
    }
    kap_status status = store_seal(store);
    if (status == KAP_OVERLOADED && atomic_load(&store->background.full) != KAP_OK)
        return (kap_status)atomic_load(&store->background.full);
    if (status == KAP_OVERLOADED)
        store->delay = "flush";
    return status;
}

static kap_status commit(struct kap_store *store, struct kap_txn *txn)
{
    struct write_sum sum = {0};
    kap_status status = kap_store_failed(store);
    if (status == KAP_OK && disk_full(store)) {
        store->delay = "disk full";
        return KAP_NO_SPACE;
    }
    if (status == KAP_OK)
        status = room_make(store);
    if (status != KAP_OK)
        return status;
    writes_walk(txn, write_count, &sum);
    status = kap_memtable_reserve(store->active->memtable, sum.operations, sum.bytes);
    if (status == KAP_OK)
        status = kap_wal_begin(store->wal, txn->commit_seq, txn->now_us, sum.operations, sum.bytes);
    if (status == KAP_OVERLOADED)
        store->delay = "log";
    if (status != KAP_OK)
        return status;
    writes_walk(txn, write_apply, store);
    kap_wal_end(store->wal);
    store->head_seq = txn->commit_seq;
    store->next_seq = txn->commit_seq + 1;
    store->last_wall_us = txn->now_us;
    store->delay = "none";
    return KAP_OK;
}

kap_status kap_store_txn_commit(struct kap_store *store, struct kap_txn *txn, uint64_t *seq_out)
{
    kap_status status = KAP_OK;
    if (txn->n_writes > 0)
        status = commit(store, txn);
    if (status == KAP_OK)
        *seq_out = store->head_seq;
    kap_store_txn_abort(store, txn);
    return status;
}

static void load_done(struct kap_io *io)
{
    struct store_load *load = io->context;
    struct kap_store *store = load->store;
    kap_status status = io->status;
    size_t skip = (size_t)(load->ref.offset - io->offset);
    if (status == KAP_OK && io->transferred < skip + load->ref.stored_bytes)
        status = KAP_CORRUPT; /* the file is shorter than its manifest says */
    struct kap_error error = {0};
    if (status == KAP_OK) /* a fault goes to the waiting requests, which answer with it */
        status = kap_block_cache_insert(store->cache, &load->ref, kap_bytes(load->data + skip, load->ref.stored_bytes),
                                        &error);
    else
        kap_block_cache_fail(store->cache, &load->ref, status);
    kap_version_file_release(&store->versions, load->file);
    kap_memory_free(&store->env->memory, load->data);
    kap_memory_free(&store->env->memory, load);
    store->loads--;
}

static void load_start(struct kap_store *store, const struct kap_block_ref *ref)
{
    struct kap_version_file *file = kap_versions_find(&store->versions, ref->file_id);
    struct store_load *load = file ? kap_memory_alloc(&store->env->memory, sizeof *load) : NULL;
    /* Segment files are open O_DIRECT: whole aligned pages around the block. */
    uint64_t from = ref->offset & ~(uint64_t)(KAP_DIRECT_ALIGN - 1);
    size_t len = ((size_t)(ref->offset - from) + ref->stored_bytes + KAP_DIRECT_ALIGN - 1) &
                 ~(size_t)(KAP_DIRECT_ALIGN - 1);
    uint8_t *data = load ? kap_memory_alloc_aligned(&store->env->memory, KAP_DIRECT_ALIGN, len) : NULL;
    if (!data) {
        kap_block_cache_fail(store->cache, ref, file ? KAP_NO_MEMORY : KAP_CORRUPT);
        kap_memory_free(&store->env->memory, load);
        kap_version_file_release(&store->versions, file);
        return;
    }
    *load = (struct store_load){.store = store, .ref = *ref, .file = file, .data = data};
    load->io = (struct kap_io){.op = KAP_IO_READ,
                               .file = file->file,
                               .data = data,
                               .len = len,
                               .offset = from,
                               .done = load_done,
                               .context = load};
    store->loads++;
    kap_queue_submit(store->queue, &load->io);
}

static void rotation_notice(struct kap_store *store)
{
    uint64_t file_no = kap_wal_next_file_no(store->wal);
    if (file_no == store->wal_file_seen)
        return;
    store->wal_file_seen = file_no;
    atomic_store(&store->background.mark_wanted, kap_wal_durable_frame(store->wal));
    kap_background_wake_flusher(&store->background); /* also to make the next spare */
}

void kap_store_pump(struct kap_store *store)
{
    struct kap_block_ref ref;
    kap_status status = kap_wal_submit(store->wal, store->queue);
    if (status == KAP_PENDING) {
        store->delay = "log slot";
        kap_background_wake_flusher(&store->background);
    }
    rotation_notice(store);
    while (store->loads < STORE_LOADS_MAX && kap_block_cache_missing(store->cache, &ref))
        load_start(store, &ref);
    store_snapshot_collect(store);
}

struct kap_read_context *kap_store_next_ready(struct kap_store *store)
{
    return kap_block_cache_ready(store->cache);
}
