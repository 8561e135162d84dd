/* What should be there goes into a memtable, which sorts it; then each tree is walked beside the stored one. */
#include "engine/model/check.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/memtable/memtable.h"
#include "engine/model/model_internal.h"

struct checking {
    struct kap_view *view;
    const struct kap_schema *schema;
    struct kap_memory *memory;
    struct kap_memtable *derived; /* index entries, unique keys, locators */
    struct kap_memtable *counts; /* one entry per row counted, told apart by seq */
    struct kap_model_check_result *result;
    struct kap_arena arena;
    uint64_t n;
    struct kap_id row_id;
    /* Of the tree under the walk. */
    struct kap_id root;
    bool has_head;
    struct kap_tree_head head, sum;
    uint64_t tree_rev_least; /* the newest commit of its rows */
};

__attribute__((format(printf, 3, 4))) static void fault(struct checking *c, struct kap_bytes key, const char *format,
                                                        ...)
{
    va_list arguments;
    if (c->result->faults++ > 0)
        return;
    va_start(arguments, format);
    int at = vsnprintf(c->result->first_fault, sizeof c->result->first_fault, format, arguments);
    va_end(arguments);
    KAP_ASSERT(at >= 0);
    for (size_t i = 0; i < key.len && at + 3 < (int)sizeof c->result->first_fault; i++)
        at += snprintf(c->result->first_fault + at, sizeof c->result->first_fault - (size_t)at, "%s%02x",
                       i ? "" : " at ", key.data[i]);
}

static kap_status derived_add(struct checking *c, struct kap_bytes key, struct kap_bytes value)
{
    const struct kap_entry entry = {.key = key, .value = value, .seq = ++c->n, .type = KAP_ENTRY_PUT};
    return kap_memtable_add(c->derived, &entry);
}

static kap_status entry_derive(void *context, struct kap_bytes key, const struct kap_bytes *value)
{
    struct checking *c = context;
    c->result->index_entries++;
    return derived_add(c, key, *value);
}

static kap_status count_derive(void *context, struct kap_bytes key, int64_t delta)
{
    struct checking *c = context;
    for (int64_t i = 0; i < delta; i++) {
        const struct kap_entry entry = {.key = key, .value = kap_bytes("", 0), .seq = ++c->n, .type = KAP_ENTRY_PUT};
        kap_status status = kap_memtable_add(c->counts, &entry);
        if (status != KAP_OK)
            return status;
    }
    return KAP_OK;
}

static kap_status unique_derive(void *context, const struct kap_unique_desc *unique, struct kap_bytes key, bool is_put)
{
    struct checking *c = context;
    (void)unique;
    KAP_ASSERT(is_put);
    c->result->uniques++;
    return derived_add(c, key, kap_bytes(c->row_id.bytes, 16));
}

static uint32_t value_or_0(bool has, uint32_t value)
{
    return has ? value : 0;
}

/* The tree is behind us: does its head say what was counted? */
static void head_compare(struct checking *c)
{
    struct kap_tree_head *head = &c->head, *sum = &c->sum;
    struct kap_bytes key = kap_bytes(c->root.bytes, 16);
    bool is_equal = value_or_0(head->has_sequence_minutes, head->sequence_minutes) == sum->sequence_minutes;
    for (int slot = 0; slot < MODEL_COUNTED_KINDS; slot++) {
        bool *has, *ignored;
        uint32_t *value, *counted;
        model_head_counter(head, slot, &has, &value);
        model_head_counter(sum, slot, &ignored, &counted);
        is_equal = is_equal && value_or_0(*has, *value) == *counted;
    }
    if (c->has_head && !is_equal)
        fault(c, key, "the head of a tree does not count its rows");
    if (c->has_head && head->tree_rev < c->tree_rev_least)
        fault(c, key, "tree_rev is older than a row of the tree");
    c->has_head = false;
    c->sum = (struct kap_tree_head){0};
    c->tree_rev_least = 0;
}

static kap_status tree_follow(struct checking *c, const struct kap_row *row)
{
    struct kap_sys_view sys;
    if (!kap_id_eq(row->root, c->root)) {
        head_compare(c);
        c->root = row->root;
    }
    if (row->kind == KAP_KIND_TREE_HEAD) {
        c->has_head = true;
        c->result->heads++;
        return kap_wire_decode(&kap_tree_head_msg, row->bytes, &c->arena, KAP_WIRE_STORED, &c->head, NULL);
    }
    kap_status status = kap_row_sys(row->bytes, &sys);
    if (status != KAP_OK)
        return status;
    c->tree_rev_least = KAP_MAX(c->tree_rev_least, sys.commit_seq);
    if (model_is_root(c->schema, row->kind, row->root, row->id)) {
        if (model_kind_has_head(c->schema, row->kind) && !c->has_head)
            fault(c, kap_bytes(row->id.bytes, 16), "a tree has no head");
        return KAP_OK;
    }
    int slot = model_counted_slot(row->kind);
    if (slot >= 0) {
        bool *ignored;
        uint32_t *counted;
        model_head_counter(&c->sum, slot, &ignored, &counted);
        (*counted)++;
    }
    if (row->kind == KAP_KIND_SEQUENCE) {
        struct kap_column minutes;
        status = kap_row_column(row->bytes, 10, 0, &minutes);
        c->sum.sequence_minutes += (uint32_t)minutes.number;
    }
    return status;
}

static kap_status row_derive(struct checking *c, const struct kap_entry *entry)
{
    const struct kap_index_sink sink = {
        .context = c, .entry = entry_derive, .count = count_derive, .unique = unique_derive};
    enum { GROUP_AT = KAP_TREE_BYTES, ROOT_AT = GROUP_AT + 1, KIND_AT = ROOT_AT + 16, ID_AT = KIND_AT + 1 };
    struct kap_sys_view sys;
    struct kap_row row = {.bytes = entry->value};
    if (entry->key.len != ID_AT + 16 || kap_row_sys(entry->value, &sys) != KAP_OK ||
        memcmp(sys.id.bytes, entry->key.data + ID_AT, 16) != 0) {
        fault(c, entry->key, "a stored row is not one");
        return KAP_OK;
    }
    row.kind = entry->key.data[KIND_AT];
    memcpy(row.root.bytes, entry->key.data + ROOT_AT, 16);
    row.id = c->row_id = sys.id;
    const struct kap_kind_desc *desc = kap_schema_kind(c->schema, row.kind);
    if (!desc || desc->group != entry->key.data[GROUP_AT]) {
        fault(c, entry->key, "a row of an unknown kind, or in the wrong group");
        return KAP_OK;
    }
    kap_arena_reset(&c->arena);
    c->result->rows++;
    kap_status status = desc->group == MODEL_GROUP_GRAPH ? tree_follow(c, &row) : KAP_OK;
    if (status == KAP_OK && !model_is_root(c->schema, row.kind, row.root, row.id)) {
        struct kap_key key;
        kap_key_locator(&key, row.id, row.kind);
        c->result->locators++;
        status = derived_add(c, kap_key_bytes(&key), kap_bytes(row.root.bytes, 16));
    }
    return status == KAP_OK ? kap_index_diff(c->schema, row.kind, row.id, NULL, &row.bytes, &c->arena, &sink) : status;
}

static kap_status rows_walk(struct checking *c)
{
    struct kap_arena scan_arena;
    struct kap_scan *scan;
    struct kap_key prefix;
    kap_arena_init(&scan_arena, c->memory, 64 * 1024, 0);
    scan = kap_arena_push(&scan_arena, sizeof *scan);
    kap_key_init(&prefix, KAP_TREE_ROWS);
    kap_status status = scan ? kap_scan_init_prefix(scan, c->view, &scan_arena, kap_key_bytes(&prefix)) : KAP_NO_MEMORY;
    while (status == KAP_OK && (status = kap_scan_next(scan)) == KAP_OK)
        status = row_derive(c, &scan->entry);
    head_compare(c);
    kap_arena_deinit(&scan_arena);
    return status == KAP_END ? KAP_OK : status;
}

/* One range of stored keys beside what was derived for it. */
static kap_status range_compare(struct checking *c, uint16_t tree_lo, uint16_t tree_hi)
{
    struct kap_memtable_cursor derived;
    struct kap_scan *scan;
    struct kap_arena arena;
    struct kap_key lo, hi;
    kap_arena_init(&arena, c->memory, 64 * 1024, 0);
    scan = kap_arena_push(&arena, sizeof *scan);
    kap_key_init(&lo, tree_lo);
    kap_key_init(&hi, tree_hi);
    kap_memtable_cursor_init(&derived, c->derived);
    kap_status status =
        scan ? kap_scan_init(scan, c->view, &arena, kap_key_bytes(&lo), kap_key_bytes(&hi)) : KAP_NO_MEMORY;
    if (status != KAP_OK) {
        kap_arena_deinit(&arena);
        return status;
    }
    kap_status want = kap_cursor_seek(&derived.cursor, kap_key_bytes(&lo), KAP_SEQ_MAX);
    status = kap_scan_next(scan);
    for (;;) {
        bool has_want = want == KAP_OK && kap_bytes_cmp(derived.cursor.entry.key, kap_key_bytes(&hi)) < 0;
        bool has_stored = status == KAP_OK;
        if ((!has_want && !has_stored) || (status != KAP_OK && status != KAP_END))
            break;
        int order = !has_want ? 1 : !has_stored ? -1 : kap_bytes_cmp(derived.cursor.entry.key, scan->entry.key);
        if (order < 0)
            fault(c, derived.cursor.entry.key, "an entry is missing");
        else if (order > 0)
            fault(c, scan->entry.key, "an entry that no row asks for");
        else if (!kap_bytes_eq(derived.cursor.entry.value, scan->entry.value))
            fault(c, scan->entry.key, "an entry does not say what its row says");
        if (order <= 0)
            want = kap_cursor_next(&derived.cursor);
        if (order >= 0)
            status = kap_scan_next(scan);
    }
    kap_arena_deinit(&arena);
    return status == KAP_END ? KAP_OK : status;
}

static uint64_t counted(struct kap_memtable_cursor *cursor, struct kap_bytes key)
{
    uint64_t n = 0;
    kap_status status = kap_cursor_seek(&cursor->cursor, key, KAP_SEQ_MAX);
    for (; status == KAP_OK && kap_bytes_eq(cursor->cursor.entry.key, key); status = kap_cursor_next(&cursor->cursor))
        n++;
    return n;
}

/* Every stored count, and then that all of them together count everything. */
static kap_status counts_compare(struct checking *c)
{
    struct kap_memtable_cursor cursor;
    struct kap_scan *scan;
    struct kap_arena arena;
    struct kap_key prefix;
    uint64_t total = 0;
    kap_arena_init(&arena, c->memory, 64 * 1024, 0);
    scan = kap_arena_push(&arena, sizeof *scan);
    kap_key_init(&prefix, KAP_TREE_COUNT);
    kap_memtable_cursor_init(&cursor, c->counts);
    kap_status status = scan ? kap_scan_init_prefix(scan, c->view, &arena, kap_key_bytes(&prefix)) : KAP_NO_MEMORY;
    while (status == KAP_OK && (status = kap_scan_next(scan)) == KAP_OK) {
        uint64_t stored = scan->entry.value.len == 8 ? kap_le64_load(scan->entry.value.data) : 0;
        if (stored == 0 || stored != counted(&cursor, scan->entry.key))
            fault(c, scan->entry.key, "a count is %llu and not the number of rows", (unsigned long long)stored);
        total += stored;
        c->result->counts++;
    }
    if (status == KAP_END && total != kap_memtable_count(c->counts))
        fault(c, kap_key_bytes(&prefix), "rows are not counted");
    kap_arena_deinit(&arena);
    return status == KAP_END ? KAP_OK : status;
}

kap_status kap_model_check(struct kap_view *view, const struct kap_schema *schema, struct kap_memory *memory,
                           struct kap_model_check_result *result_out)
{
    struct checking c = {.view = view, .schema = schema, .memory = memory, .result = result_out};
    *result_out = (struct kap_model_check_result){0};
    kap_arena_init(&c.arena, memory, 64 * 1024, 0);
    kap_status status = kap_memtable_create(memory, &c.derived);
    if (status == KAP_OK)
        status = kap_memtable_create(memory, &c.counts);
    if (status == KAP_OK)
        status = rows_walk(&c);
    if (status == KAP_OK)
        status = range_compare(&c, KAP_TREE_LOCATOR, KAP_TREE_LOCATOR + 1);
    if (status == KAP_OK)
        status = range_compare(&c, KAP_TREE_UNIQUE, KAP_TREE_UNIQUE + 1);
    if (status == KAP_OK)
        status = range_compare(&c, KAP_TREE_INDEX_FIRST, UINT16_MAX);
    if (status == KAP_OK)
        status = counts_compare(&c);
    if (c.derived)
        kap_memtable_destroy(c.derived);
    if (c.counts)
        kap_memtable_destroy(c.counts);
    kap_arena_deinit(&c.arena);
    return status;
}
