#include "engine/model/reindex.h"

#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/base/log.h"
#include "engine/index/index.h"
#include "engine/schema/key.h"

enum { INDEXES_MAX = 1024, WIPE_KEYS = 1000, FILL_ROWS = 200 };

struct building {
    struct kap_store *store;
    uint16_t ids[INDEXES_MAX];
    uint32_t n_ids;
    bool is_building[INDEXES_MAX];
    struct kap_arena arena; /* of one step */
    struct kap_read_context context;
    struct kap_txn txn;
    uint32_t wiped; /* of ids */
    struct kap_key after, next_after; /* rows done: as committed, and once this step is */
    uint64_t rows;
};

typedef kap_status (*step_fn)(struct building *b, bool *more_out);

static void machine_turn(struct building *b)
{
    kap_store_pump(b->store);
    kap_queue_poll(kap_store_queue(b->store), 1000000);
}

/* One transaction; again from its top when blocks or room are missing. */
static kap_status step_run(struct building *b, step_fn step, bool *more_out)
{
    for (;;) {
        uint64_t seq;
        kap_arena_reset(&b->arena);
        *more_out = false;
        kap_status status = kap_store_txn_begin(b->store, &b->txn, &b->arena, &b->context);
        if (status == KAP_OK) {
            status = step(b, more_out);
            if (status == KAP_OK)
                status = kap_store_txn_commit(b->store, &b->txn, &seq);
            else
                kap_store_txn_abort(b->store, &b->txn);
        }
        if (status != KAP_PENDING && status != KAP_OVERLOADED) {
            kap_read_context_release(&b->context);
            kap_store_context_init(b->store, &b->context);
            return status;
        }
        machine_turn(b);
        while (status == KAP_PENDING && kap_store_next_ready(b->store) != &b->context)
            machine_turn(b);
    }
}

static kap_status prefix_wipe(struct building *b, const struct kap_key *prefix, uint32_t *n)
{
    struct kap_scan *scan = kap_arena_push(&b->arena, sizeof *scan);
    if (!scan)
        return KAP_NO_MEMORY;
    kap_status status = kap_scan_init_prefix(scan, &b->txn.view, &b->arena, kap_key_bytes(prefix));
    while (status == KAP_OK && *n < WIPE_KEYS && (status = kap_scan_next(scan)) == KAP_OK) {
        struct kap_bytes key = kap_arena_copy(&b->arena, scan->entry.key);
        status = key.data ? kap_txn_delete(&b->txn, key) : KAP_NO_MEMORY;
        ++*n;
    }
    return status == KAP_END ? KAP_OK : status;
}

static kap_status wipe_step(struct building *b, bool *more_out)
{
    struct kap_key prefix;
    uint32_t n = 0;
    if (b->wiped == b->n_ids)
        return KAP_OK;
    kap_index_key_init(&prefix, b->ids[b->wiped]);
    kap_status status = prefix_wipe(b, &prefix, &n);
    kap_index_count_key_init(&prefix, b->ids[b->wiped]);
    if (status == KAP_OK)
        status = prefix_wipe(b, &prefix, &n);
    if (status == KAP_OK && n < WIPE_KEYS)
        b->wiped++;
    *more_out = status == KAP_OK;
    return status;
}

static kap_status entry_put(void *context, struct kap_bytes key, const struct kap_bytes *value)
{
    struct building *b = context;
    uint16_t id = (uint16_t)(kap_tree_of(key) - KAP_TREE_INDEX_FIRST);
    return id < INDEXES_MAX && b->is_building[id] ? kap_txn_put(&b->txn, key, *value) : KAP_OK;
}

static kap_status count_add(void *context, struct kap_bytes key, int64_t delta)
{
    struct building *b = context;
    uint16_t id = (uint16_t)(key.data[KAP_TREE_BYTES] << 8 | key.data[KAP_TREE_BYTES + 1]);
    struct kap_bytes value;
    uint8_t bytes[8];
    int64_t count = 0;
    if (id >= INDEXES_MAX || !b->is_building[id])
        return KAP_OK;
    kap_status status = kap_txn_get(&b->txn, key, &value);
    if (status == KAP_OK)
        count = (int64_t)kap_le64_load(value.data);
    else if (status != KAP_NOT_FOUND)
        return status;
    kap_le64_store(bytes, (uint64_t)(count + delta));
    return kap_txn_put(&b->txn, key, kap_bytes(bytes, sizeof bytes));
}

static kap_status unique_ignore(void *context, const struct kap_unique_desc *unique, struct kap_bytes key, bool is_put)
{
    (void)context, (void)unique, (void)key, (void)is_put;
    return KAP_OK;
}

static kap_status row_index(struct building *b, const struct kap_entry *entry)
{
    enum { KIND_AT = KAP_TREE_BYTES + 1 + 16, ID_AT = KIND_AT + 1 };
    const struct kap_index_sink sink = {.context = b, .entry = entry_put, .count = count_add, .unique = unique_ignore};
    struct kap_id id;
    if (entry->key.len != ID_AT + sizeof id.bytes)
        return KAP_CORRUPT;
    memcpy(id.bytes, entry->key.data + ID_AT, sizeof id.bytes);
    return kap_index_diff(kap_store_schema(b->store), entry->key.data[KIND_AT], id, NULL, &entry->value, &b->arena,
                          &sink);
}

static kap_status fill_step(struct building *b, bool *more_out)
{
    struct kap_scan *scan = kap_arena_push(&b->arena, sizeof *scan);
    struct kap_key lo, hi;
    uint32_t n = 0;
    if (!scan)
        return KAP_NO_MEMORY;
    kap_key_init(&lo, KAP_TREE_ROWS);
    kap_key_init(&hi, KAP_TREE_ROWS + 1);
    if (b->after.len > 0) {
        lo = b->after;
        kap_key_put_u8(&lo, 0); /* the first key behind it */
    }
    kap_status status = kap_scan_init(scan, &b->txn.view, &b->arena, kap_key_bytes(&lo), kap_key_bytes(&hi));
    while (status == KAP_OK && n < FILL_ROWS && (status = kap_scan_next(scan)) == KAP_OK) {
        status = row_index(b, &scan->entry);
        b->next_after.len = 0;
        b->next_after.failed = false;
        kap_key_put(&b->next_after, scan->entry.key.data, scan->entry.key.len);
        n++;
    }
    *more_out = status == KAP_OK;
    return status == KAP_END ? KAP_OK : status;
}

static kap_status build(struct building *b)
{
    bool more = true;
    kap_status status = KAP_OK;
    while (more && status == KAP_OK)
        status = step_run(b, wipe_step, &more);
    more = true;
    while (more && status == KAP_OK) {
        status = step_run(b, fill_step, &more);
        b->after = b->next_after;
    }
    while (status == KAP_OK && kap_store_durable_seq(b->store) < kap_store_head_seq(b->store)) {
        machine_turn(b);
        status = kap_store_failed(b->store);
    }
    return status;
}

kap_status kap_reindex(struct kap_store *store, uint32_t *n_out, struct kap_error *error)
{
    struct kap_memory *memory = &kap_store_env(store)->memory;
    struct building *b = kap_memory_alloc(memory, sizeof *b);
    if (!b)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory to look for indexes to build");
    *b = (struct building){.store = store};
    *n_out = b->n_ids = kap_store_indexes_building(store, b->ids, INDEXES_MAX);
    kap_status status = KAP_OK;
    if (b->n_ids > 0) {
        for (uint32_t i = 0; i < b->n_ids; i++)
            b->is_building[b->ids[i] % INDEXES_MAX] = true;
        kap_log(KAP_LOG_INFO, "model", "msg=\"building indexes that this store does not have yet\" indexes=%u",
                b->n_ids);
        kap_arena_init(&b->arena, memory, 256 * 1024, 0);
        kap_store_context_init(store, &b->context);
        status = build(b);
        kap_read_context_release(&b->context);
        kap_arena_deinit(&b->arena);
        if (status == KAP_OK)
            status = kap_store_indexes_publish(store);
        if (status != KAP_OK)
            kap_error_set(error, status, "cannot build the indexes that this store does not have yet: %s",
                          kap_status_sentence(status));
    }
    kap_memory_free(memory, b);
    return status;
}
