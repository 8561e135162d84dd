/* For every index the kind feeds: the entries of the old row, those of the new one, both sorted by key, and a merge of the
 * two. A row has few entries per index (one, or one per element of a repeated parent), so lists are small. */
#include "engine/index/index.h"

#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/varint.h"

struct entry {
    struct kap_bytes key, count_key, value;
};

struct entries {
    struct entry *at;
    uint32_t n, cap;
};

struct differ {
    const struct kap_schema *schema;
    struct kap_id id;
    struct kap_arena *arena;
    const struct kap_index_sink *sink;
};

void kap_index_key_init(struct kap_key *key, uint16_t index)
{
    kap_key_init(key, (uint16_t)(KAP_TREE_INDEX_FIRST + index));
}

void kap_index_count_key_init(struct kap_key *key, uint16_t index)
{
    kap_key_init(key, KAP_TREE_COUNT);
    kap_key_put_u16(key, index);
}

void kap_index_unique_key_init(struct kap_key *key, uint16_t unique)
{
    kap_key_init(key, KAP_TREE_UNIQUE);
    kap_key_put_u16(key, unique);
}

static bool column_is_set(uint8_t type, const struct kap_column *column)
{
    struct kap_id id;
    if (!column->present)
        return false;
    if (type != KAP_COLUMN_ID)
        return true;
    if (column->bytes.len != sizeof id.bytes)
        return false;
    memcpy(id.bytes, column->bytes.data, sizeof id.bytes);
    return !kap_id_is_nil(id);
}

static kap_status when_holds(const struct kap_index_source *source, struct kap_bytes row, bool *holds_out)
{
    *holds_out = true;
    for (uint8_t i = 0; i < source->n_when && *holds_out; i++) {
        struct kap_column column;
        kap_status status = kap_row_column(row, source->when[i].field, 0, &column);
        if (status != KAP_OK)
            return status;
        if (!source->when[i].by_value) {
            *holds_out = column_is_set(source->when[i].type, &column) == source->when[i].set;
            continue;
        }
        bool is_listed = false;
        for (uint8_t n = 0; n < source->when[i].n_values; n++)
            is_listed |= column.present && column.number == source->when[i].values[n];
        *holds_out = is_listed;
    }
    return KAP_OK;
}

/* The bytes of all occurrences of one field, with their tags, in the row. They stand together: rows are canonical. */
static kap_status field_span(struct kap_bytes row, uint16_t field, struct kap_bytes *span_out)
{
    const uint8_t *at = row.data, *end = row.data + row.len;
    const uint8_t *from = NULL, *to = NULL;
    while (at < end) {
        const uint8_t *start = at;
        uint64_t tag, value;
        at = kap_varint_read(at, end, &tag);
        if (!at)
            return KAP_CORRUPT;
        uint64_t left = (uint64_t)(end - at), skip = 0;
        switch (tag & 7) {
        case 0:
            at = kap_varint_read(at, end, &value);
            break;
        case 1:
            skip = 8;
            break;
        case 2:
            at = kap_varint_read(at, end, &skip);
            left = at ? (uint64_t)(end - at) : 0;
            break;
        case 5:
            skip = 4;
            break;
        default:
            return KAP_CORRUPT;
        }
        if (!at || skip > left)
            return KAP_CORRUPT;
        at += skip;
        if (tag >> 3 > field)
            break;
        if (tag >> 3 == field) {
            from = from ? from : start;
            to = at;
        }
    }
    *span_out = from ? kap_bytes(from, (size_t)(to - from)) : kap_bytes("", 0);
    return KAP_OK;
}

static kap_status cover_build(const struct differ *differ, const struct kap_index_source *source, struct kap_bytes row,
                              struct kap_bytes *value_out)
{
    struct kap_bytes spans[KAP_ARRAY_LEN(source->cover)];
    size_t total = 0, at = 0;
    bool has_sys = false;
    for (uint8_t i = 0; i < source->n_cover; i++) {
        uint16_t field = source->cover[i];
        spans[i] = kap_bytes("", 0);
        if (field & 0x8000) {
            if (has_sys)
                continue;
            has_sys = true;
            field = 1;
        }
        kap_status status = field_span(row, field, &spans[i]);
        if (status != KAP_OK)
            return status;
        total += spans[i].len;
    }
    uint8_t *data = kap_arena_push_bytes(differ->arena, total);
    if (!data)
        return KAP_NO_MEMORY;
    for (uint8_t i = 0; i < source->n_cover; i++) {
        memcpy(data + at, spans[i].data, spans[i].len);
        at += spans[i].len;
    }
    *value_out = kap_bytes(data, total);
    return KAP_OK;
}

/* Puts the parts, with element slot of the repeated one. has_all_out: every part is set. */
static kap_status parts_put(const struct kap_key_part *parts, uint8_t n_parts, struct kap_bytes row, uint32_t slot,
                            size_t text_cut, struct kap_key *key, bool *has_all_out)
{
    *has_all_out = true;
    for (uint8_t i = 0; i < n_parts; i++) {
        struct kap_column column;
        kap_status status = kap_row_column(row, parts[i].field, parts[i].repeated ? slot : 0, &column);
        if (status != KAP_OK)
            return status;
        *has_all_out &= column_is_set(parts[i].type, &column);
        kap_key_put_part(key, &parts[i], &column, text_cut);
    }
    return KAP_OK;
}

static kap_status entry_add(const struct differ *differ, struct entries *entries, struct kap_bytes key,
                            struct kap_bytes count_key, struct kap_bytes value)
{
    if (entries->n == entries->cap) {
        uint32_t cap = entries->cap ? entries->cap * 2 : 8;
        struct entry *at = kap_arena_push(differ->arena, cap * sizeof *at);
        if (!at)
            return KAP_NO_MEMORY;
        if (entries->n)
            memcpy(at, entries->at, entries->n * sizeof *at);
        entries->at = at;
        entries->cap = cap;
    }
    struct entry entry = {.key = kap_arena_copy(differ->arena, key),
                          .count_key = kap_arena_copy(differ->arena, count_key),
                          .value = value};
    if (!entry.key.data || !entry.count_key.data)
        return KAP_NO_MEMORY;
    entries->at[entries->n++] = entry;
    return KAP_OK;
}

/* The entry of one element of the source's repeated parent (slot 0 when there is none). end_out: no such element. */
static kap_status entry_build(const struct differ *differ, const struct kap_index_desc *index,
                              const struct kap_index_source *source, struct kap_bytes row, uint32_t slot,
                              struct kap_bytes value, struct entries *entries, bool *end_out)
{
    struct kap_key key, count_key;
    bool has_parent, ignored;
    kap_index_key_init(&key, index->id);
    kap_status status =
        parts_put(source->parent, source->n_parent, row, slot, KAP_KEY_TEXT_BYTES_MAX, &key, &has_parent);
    if (status != KAP_OK)
        return status;
    if (!has_parent) {
        *end_out = true;
        return KAP_OK;
    }
    kap_index_count_key_init(&count_key, index->id);
    kap_key_put(&count_key, key.data + KAP_TREE_BYTES, (size_t)key.len - KAP_TREE_BYTES);
    status = parts_put(source->count_by, source->n_count_by, row, 0, 0, &count_key, &ignored);
    if (status == KAP_OK)
        status = parts_put(source->order, source->n_order, row, slot, KAP_KEY_TEXT_BYTES_MAX, &key, &ignored);
    if (status != KAP_OK)
        return status;
    kap_key_put_id(&key, differ->id);
    if (key.failed || count_key.failed)
        return KAP_INVALID;
    return entry_add(differ, entries, kap_key_bytes(&key), kap_key_bytes(&count_key), value);
}

static bool has_repeated(const struct kap_index_source *source)
{
    bool found = false;
    for (uint8_t i = 0; i < source->n_parent; i++)
        found |= source->parent[i].repeated;
    for (uint8_t i = 0; i < source->n_order; i++)
        found |= source->order[i].repeated;
    return found;
}

static kap_status source_build(const struct differ *differ, const struct kap_index_desc *index,
                               const struct kap_index_source *source, struct kap_bytes row, struct entries *entries)
{
    bool holds, end = false, is_repeated = has_repeated(source);
    struct kap_bytes value = kap_bytes("", 0);
    kap_status status = when_holds(source, row, &holds);
    if (status != KAP_OK || !holds)
        return status;
    status = cover_build(differ, source, row, &value);
    for (uint32_t slot = 0; status == KAP_OK && !end; slot++) {
        status = entry_build(differ, index, source, row, slot, value, entries, &end);
        end |= !is_repeated;
    }
    return status;
}

static int entry_order(const void *a, const void *b)
{
    return kap_bytes_cmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static kap_status entries_build(const struct differ *differ, const struct kap_index_desc *index, uint8_t kind,
                                const struct kap_bytes *row, struct entries *entries)
{
    *entries = (struct entries){0};
    kap_status status = KAP_OK;
    for (uint8_t i = 0; row && i < index->n_sources && status == KAP_OK; i++)
        if (index->sources[i].kind == kind)
            status = source_build(differ, index, &index->sources[i], *row, entries);
    if (status != KAP_OK || entries->n < 2)
        return status;
    qsort(entries->at, entries->n, sizeof *entries->at, entry_order);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < entries->n; i++)
        if (!kap_bytes_eq(entries->at[i].key, entries->at[kept - 1].key))
            entries->at[kept++] = entries->at[i];
    entries->n = kept;
    return KAP_OK;
}

static kap_status entries_merge(const struct differ *differ, const struct entries *before, const struct entries *after)
{
    const struct kap_index_sink *sink = differ->sink;
    kap_status status = KAP_OK;
    uint32_t i = 0, j = 0;
    while (status == KAP_OK && (i < before->n || j < after->n)) {
        int order = i == before->n ? 1 : j == after->n ? -1 : entry_order(&before->at[i], &after->at[j]);
        if (order < 0)
            status = sink->entry(sink->context, before->at[i++].key, NULL);
        else if (order > 0 || !kap_bytes_eq(before->at[i].value, after->at[j].value))
            status = sink->entry(sink->context, after->at[j].key, &after->at[j].value);
        if (order >= 0)
            j++;
        if (order == 0)
            i++;
    }
    return status;
}

/* Bucket by bucket: how many more entries count there now. */
static kap_status counts_merge(const struct differ *differ, const struct entries *before, const struct entries *after)
{
    struct tally {
        struct kap_bytes key;
        int64_t delta;
    } *tallies = kap_arena_push(differ->arena, (before->n + after->n + 1) * sizeof *tallies);
    uint32_t n = 0;
    if (!tallies)
        return KAP_NO_MEMORY;
    for (uint32_t i = 0; i < before->n + after->n; i++) {
        bool is_new = i >= before->n;
        struct kap_bytes key = is_new ? after->at[i - before->n].count_key : before->at[i].count_key;
        uint32_t slot = 0;
        while (slot < n && !kap_bytes_eq(tallies[slot].key, key))
            slot++;
        if (slot == n)
            tallies[n++].key = key;
        tallies[slot].delta += is_new ? 1 : -1;
    }
    kap_status status = KAP_OK;
    for (uint32_t i = 0; i < n && status == KAP_OK; i++)
        if (tallies[i].delta != 0)
            status = differ->sink->count(differ->sink->context, tallies[i].key, tallies[i].delta);
    return status;
}

static bool feeds(const struct kap_index_desc *index, uint8_t kind)
{
    for (uint8_t i = 0; i < index->n_sources; i++)
        if (index->sources[i].kind == kind)
            return true;
    return false;
}

static kap_status unique_build(const struct kap_unique_desc *unique, const struct kap_bytes *row, struct kap_key *key,
                               bool *has_out)
{
    struct kap_column column;
    *has_out = false;
    if (!row)
        return KAP_OK;
    if (unique->when.field) {
        kap_status status = kap_row_column(*row, unique->when.field, 0, &column);
        if (status != KAP_OK || column_is_set(unique->when.type, &column) != unique->when.set)
            return status;
    }
    kap_index_unique_key_init(key, unique->id);
    kap_status status = parts_put(unique->parts, unique->n_parts, *row, 0, 0, key, has_out);
    if (status == KAP_OK && *has_out && key->failed)
        return KAP_INVALID;
    return status;
}

/* All keys that go before any that comes, so that two keys of one row may trade places. */
static kap_status uniques_diff(const struct differ *differ, uint8_t kind, const struct kap_bytes *old_row,
                               const struct kap_bytes *new_row)
{
    const struct kap_index_sink *sink = differ->sink;
    for (int pass = 0; pass < 2; pass++) {
        for (uint16_t i = 0; i < differ->schema->n_uniques; i++) {
            const struct kap_unique_desc *unique = &differ->schema->uniques[i];
            struct kap_key before, after;
            bool had, has;
            if (unique->kind != kind)
                continue;
            kap_status status = unique_build(unique, old_row, &before, &had);
            if (status == KAP_OK)
                status = unique_build(unique, new_row, &after, &has);
            if (status != KAP_OK)
                return status;
            if (had && has && kap_bytes_eq(kap_key_bytes(&before), kap_key_bytes(&after)))
                continue;
            if (pass == 0 && had)
                status = sink->unique(sink->context, unique, kap_key_bytes(&before), false);
            else if (pass == 1 && has)
                status = sink->unique(sink->context, unique, kap_key_bytes(&after), true);
            if (status != KAP_OK)
                return status;
        }
    }
    return KAP_OK;
}

kap_status kap_index_diff(const struct kap_schema *schema, uint8_t kind, struct kap_id id,
                          const struct kap_bytes *old_row, const struct kap_bytes *new_row, struct kap_arena *arena,
                          const struct kap_index_sink *sink)
{
    struct differ differ = {.schema = schema, .id = id, .arena = arena, .sink = sink};
    kap_status status = uniques_diff(&differ, kind, old_row, new_row);
    for (uint16_t i = 0; i < schema->n_indexes && status == KAP_OK; i++) {
        const struct kap_index_desc *index = &schema->indexes[i];
        struct entries before, after;
        if (!feeds(index, kind))
            continue;
        status = entries_build(&differ, index, kind, old_row, &before);
        if (status == KAP_OK)
            status = entries_build(&differ, index, kind, new_row, &after);
        if (status == KAP_OK)
            status = entries_merge(&differ, &before, &after);
        if (status == KAP_OK && index->counted)
            status = counts_merge(&differ, &before, &after);
    }
    return status;
}
