#include "engine/read/view.h"

#include "engine/base/assert.h"

/* The newest version of key that the cursor's source holds at or below seq: KAP_OK, or KAP_END when it has none. */
static kap_status source_probe(struct kap_cursor *cursor, struct kap_bytes key, uint64_t seq, struct kap_entry *entry_out)
{
    kap_status status = kap_cursor_seek(cursor, key, seq);
    if (status != KAP_OK)
        return status;
    if (!kap_bytes_eq(cursor->entry.key, key))
        return KAP_END;
    *entry_out = cursor->entry;
    return KAP_OK;
}

static kap_status table_probe(const struct kap_memtable *memtable, struct kap_bytes key, uint64_t seq,
                              struct kap_entry *entry_out)
{
    struct kap_memtable_cursor cursor;
    kap_memtable_cursor_init(&cursor, memtable);
    return source_probe(&cursor.cursor, key, seq, entry_out);
}

static bool file_covers(const struct kap_version_file *file, struct kap_bytes key)
{
    return kap_bytes_cmp(file->meta.smallest, key) <= 0 && kap_bytes_cmp(key, file->meta.largest) <= 0;
}

static kap_status file_probe(struct kap_view *view, const struct kap_version_file *file, struct kap_bytes key,
                             struct kap_entry *entry_out)
{
    struct kap_segment_cursor cursor;
    if (!file_covers(file, key) || !kap_segment_may_contain(file->segment, key))
        return KAP_END;
    view->sources_probed++;
    kap_segment_cursor_init(&cursor, file->segment, view->blocks);
    return source_probe(&cursor.cursor, key, view->seq, entry_out);
}

/* The first file of a disjoint level whose largest key is at or above key. */
static uint32_t level_find(struct kap_version_file *const *files, uint32_t n, struct kap_bytes key)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (kap_bytes_cmp(files[middle]->meta.largest, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Sources hold newer versions the earlier they are asked: own writes, active, sealed, level 0 newest first, levels. */
static kap_status newest_find(struct kap_view *view, struct kap_bytes key, struct kap_entry *entry_out)
{
    const struct kap_tableset *tables = view->version.tables;
    const struct kap_fileset *files = view->version.files;
    kap_status status = KAP_END;
    if (view->own)
        status = table_probe(view->own, key, KAP_SEQ_MAX, entry_out);
    if (status == KAP_END)
        status = table_probe(tables->active->memtable, key, view->seq, entry_out);
    for (uint32_t i = 0; i < tables->n_sealed && status == KAP_END; i++)
        status = table_probe(tables->sealed[i]->memtable, key, view->seq, entry_out);
    for (uint32_t i = 0; i < files->n_files[0] && status == KAP_END; i++)
        status = file_probe(view, files->files[0][i], key, entry_out);
    for (int level = 1; level < KAP_LEVELS && status == KAP_END; level++) {
        uint32_t at = level_find(files->files[level], files->n_files[level], key);
        if (at < files->n_files[level])
            status = file_probe(view, files->files[level][at], key, entry_out);
    }
    return status;
}

kap_status kap_view_get(struct kap_view *view, struct kap_bytes key, struct kap_bytes *value_out)
{
    struct kap_entry entry;
    kap_status status = newest_find(view, key, &entry);
    if (status == KAP_END || (status == KAP_OK && entry.type == KAP_ENTRY_DELETE))
        return KAP_NOT_FOUND;
    if (status == KAP_OK && value_out)
        *value_out = entry.value;
    return status;
}

/* A level from 1 down as one cursor: files are disjoint and in key order. */
struct level_cursor {
    struct kap_cursor cursor;
    struct kap_view *view;
    struct kap_version_file *const *files;
    uint32_t n, at;
    struct kap_segment_cursor in_file;
};

static kap_status level_stand(struct level_cursor *level, kap_status status)
{
    while (status == KAP_END && ++level->at < level->n) {
        kap_segment_cursor_init(&level->in_file, level->files[level->at]->segment, level->view->blocks);
        status = kap_cursor_seek(&level->in_file.cursor, kap_bytes("", 0), KAP_SEQ_MAX);
    }
    if (status == KAP_OK)
        level->cursor.entry = level->in_file.cursor.entry;
    return status;
}

static kap_status level_seek(struct kap_cursor *base, struct kap_bytes key, uint64_t seq)
{
    struct level_cursor *level = (struct level_cursor *)base;
    level->at = level_find(level->files, level->n, key);
    if (level->at >= level->n)
        return KAP_END;
    kap_segment_cursor_init(&level->in_file, level->files[level->at]->segment, level->view->blocks);
    return level_stand(level, kap_cursor_seek(&level->in_file.cursor, key, seq));
}

static kap_status level_next(struct kap_cursor *base)
{
    struct level_cursor *level = (struct level_cursor *)base;
    return level_stand(level, kap_cursor_next(&level->in_file.cursor));
}

static const struct kap_cursor_ops level_ops = {.seek = level_seek, .next = level_next};

static void scan_add(struct kap_scan *scan, struct kap_cursor *cursor)
{
    scan->cursors[scan->n_cursors++] = cursor;
}

static kap_status scan_add_table(struct kap_scan *scan, struct kap_arena *arena, const struct kap_memtable *memtable)
{
    struct kap_memtable_cursor *cursor = kap_arena_push(arena, sizeof *cursor);
    if (!cursor)
        return KAP_NO_MEMORY;
    kap_memtable_cursor_init(cursor, memtable);
    scan_add(scan, &cursor->cursor);
    return KAP_OK;
}

static bool file_in_range(const struct kap_scan *scan, const struct kap_version_file *file, struct kap_bytes lo,
                          struct kap_bytes prefix)
{
    if (kap_bytes_cmp(file->meta.largest, lo) < 0 || file->meta.largest.len == 0)
        return false;
    if (scan->hi.len && kap_bytes_cmp(file->meta.smallest, kap_key_bytes(&scan->hi)) >= 0)
        return false;
    return prefix.len == 0 || kap_segment_may_contain_prefix(file->segment, prefix);
}

static kap_status scan_add_files(struct kap_scan *scan, struct kap_arena *arena, struct kap_bytes lo,
                                 struct kap_bytes prefix)
{
    const struct kap_fileset *files = scan->view->version.files;
    for (uint32_t i = 0; i < files->n_files[0]; i++) {
        if (!file_in_range(scan, files->files[0][i], lo, prefix))
            continue;
        struct kap_segment_cursor *cursor = kap_arena_push(arena, sizeof *cursor);
        if (!cursor)
            return KAP_NO_MEMORY;
        kap_segment_cursor_init(cursor, files->files[0][i]->segment, scan->view->blocks);
        scan_add(scan, &cursor->cursor);
    }
    for (int level = 1; level < KAP_LEVELS; level++) {
        uint32_t n = files->n_files[level], at = level_find(files->files[level], n, lo);
        if (at == n || !file_in_range(scan, files->files[level][at], lo, kap_bytes("", 0)))
            continue;
        /* Keys of one prefix can lie in two neighbouring files; only when the first is the only one does its filter
         * speak for the level. */
        bool alone = at + 1 == n || !file_in_range(scan, files->files[level][at + 1], lo, kap_bytes("", 0));
        if (alone && !file_in_range(scan, files->files[level][at], lo, prefix))
            continue;
        struct level_cursor *cursor = kap_arena_push(arena, sizeof *cursor);
        if (!cursor)
            return KAP_NO_MEMORY;
        *cursor = (struct level_cursor){
            .cursor = {.ops = &level_ops}, .view = scan->view, .files = files->files[level], .n = n};
        scan_add(scan, &cursor->cursor);
    }
    return KAP_OK;
}

static size_t common_prefix(struct kap_bytes a, struct kap_bytes b)
{
    size_t n = 0, shorter = KAP_MIN(a.len, b.len);
    while (n < shorter && a.data[n] == b.data[n])
        n++;
    return n;
}

static kap_status scan_start(struct kap_scan *scan, struct kap_view *view, struct kap_arena *arena, struct kap_bytes lo,
                             struct kap_bytes prefix)
{
    const struct kap_tableset *tables = view->version.tables;
    uint32_t sources = 2 + tables->n_sealed + view->version.files->n_files[0] + KAP_LEVELS;
    kap_status status = KAP_OK;
    scan->cursors = kap_arena_push(arena, sources * sizeof scan->cursors[0]);
    scan->ended = kap_arena_push(arena, sources * sizeof scan->ended[0]);
    if (!scan->cursors || !scan->ended)
        return KAP_NO_MEMORY;
    if (view->own)
        status = scan_add_table(scan, arena, view->own);
    if (status == KAP_OK)
        status = scan_add_table(scan, arena, tables->active->memtable);
    for (uint32_t i = 0; i < tables->n_sealed && status == KAP_OK; i++)
        status = scan_add_table(scan, arena, tables->sealed[i]->memtable);
    if (status == KAP_OK)
        status = scan_add_files(scan, arena, lo, prefix);
    if (status != KAP_OK)
        return status;
    view->sources_probed += scan->n_cursors;
    bool pending = false; /* ask all of them before giving up, so that one round loads what all need */
    for (uint32_t i = 0; i < scan->n_cursors; i++) {
        status = kap_cursor_seek(scan->cursors[i], lo, KAP_SEQ_MAX);
        scan->ended[i] = status == KAP_END;
        pending |= status == KAP_PENDING;
        if (status != KAP_OK && status != KAP_END && status != KAP_PENDING)
            return status;
    }
    return pending ? KAP_PENDING : KAP_OK;
}

kap_status kap_scan_init(struct kap_scan *scan, struct kap_view *view, struct kap_arena *arena, struct kap_bytes lo,
                         struct kap_bytes hi)
{
    scan->view = view;
    scan->n_cursors = 0;
    scan->has_last = false;
    scan->skipped = 0;
    scan->hi.len = 0;
    scan->hi.failed = false;
    kap_key_put(&scan->hi, hi.data, hi.len);
    return scan_start(scan, view, arena, lo, kap_bytes(lo.data, common_prefix(lo, hi)));
}

kap_status kap_scan_init_prefix(struct kap_scan *scan, struct kap_view *view, struct kap_arena *arena,
                                struct kap_bytes prefix)
{
    scan->view = view;
    scan->n_cursors = 0;
    scan->has_last = false;
    scan->skipped = 0;
    kap_key_prefix_end(&scan->hi, prefix);
    return scan_start(scan, view, arena, prefix, prefix);
}

/* The source that stands lowest; the earlier source wins a tie, though (key, seq) pairs do not repeat. */
static int lowest_find(const struct kap_scan *scan)
{
    int lowest = -1;
    for (uint32_t i = 0; i < scan->n_cursors; i++)
        if (!scan->ended[i] &&
            (lowest < 0 || kap_entry_cmp(&scan->cursors[i]->entry, &scan->cursors[lowest]->entry) < 0))
            lowest = (int)i;
    return lowest;
}

static kap_status source_advance(struct kap_scan *scan, int source)
{
    kap_status status = kap_cursor_next(scan->cursors[source]);
    if (status == KAP_END) {
        scan->ended[source] = true;
        return KAP_OK;
    }
    return status;
}

kap_status kap_scan_next(struct kap_scan *scan)
{
    for (;;) {
        int lowest = lowest_find(scan);
        if (lowest < 0)
            return KAP_END;
        struct kap_entry entry = scan->cursors[lowest]->entry;
        bool own = scan->view->own && lowest == 0;
        if (scan->hi.len && kap_bytes_cmp(entry.key, kap_key_bytes(&scan->hi)) >= 0)
            return KAP_END;
        bool visible = own || entry.seq <= scan->view->seq;
        bool older = scan->has_last && kap_bytes_eq(entry.key, kap_key_bytes(&scan->last));
        bool give = visible && !older && entry.type == KAP_ENTRY_PUT;
        if (visible && !older) {
            scan->last.len = 0;
            scan->last.failed = false;
            kap_key_put(&scan->last, entry.key.data, entry.key.len);
            scan->has_last = true;
        }
        scan->skipped += !give;
        if (give) {
            entry.key = kap_key_bytes(&scan->last);
            scan->entry = entry;
        }
        kap_status status = source_advance(scan, lowest);
        if (status != KAP_OK)
            return status;
        if (give)
            return KAP_OK;
    }
}
