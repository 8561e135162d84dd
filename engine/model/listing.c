#include "engine/model/listing.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/model/model_internal.h"

/* A cursor: version 1, op 2, digest of the filters 8, key of the last entry, keyed checksum 16. */
enum { CURSOR_VERSION = 1, CURSOR_KEY_AT = 11, CURSOR_SUM_BYTES = 16, CURSOR_BYTES_MAX = 512 };

uint64_t kap_list_digest(uint64_t digest, const void *data, size_t len)
{
    const uint8_t *at = data;
    digest ^= UINT64_C(0xcbf29ce484222325) + len; /* FNV-1a; the checksum, not this, keeps cursors honest */
    for (size_t i = 0; i < len; i++)
        digest = (digest ^ at[i]) * UINT64_C(0x100000001b3);
    return digest;
}

static kap_status cursor_sum(const struct kap_list_scope *scope, struct kap_bytes bytes,
                             uint8_t sum_out[CURSOR_SUM_BYTES])
{
    uint8_t whole[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    /* Whose cursor it is stands in the checksum alone: another's is as good as a forged one. */
    uint8_t signed_bytes[CURSOR_BYTES_MAX + sizeof scope->principal.bytes];
    KAP_ASSERT(bytes.len <= CURSOR_BYTES_MAX);
    memcpy(signed_bytes, scope->principal.bytes, sizeof scope->principal.bytes);
    memcpy(signed_bytes + sizeof scope->principal.bytes, bytes.data, bytes.len);
    if (!HMAC(EVP_sha256(), scope->cursor_key, KAP_CURSOR_KEY_BYTES, signed_bytes,
              sizeof scope->principal.bytes + bytes.len, whole, &len))
        return KAP_NO_MEMORY;
    KAP_ASSERT(len >= CURSOR_SUM_BYTES);
    memcpy(sum_out, whole, CURSOR_SUM_BYTES);
    return KAP_OK;
}

static kap_status cursor_make(struct kap_model *model, const struct kap_listing *list, struct kap_bytes key,
                              struct kap_bytes *cursor_out)
{
    size_t body = CURSOR_KEY_AT + key.len;
    uint8_t *cursor = kap_arena_push_bytes(model->arena, body + CURSOR_SUM_BYTES);
    if (!cursor)
        return KAP_NO_MEMORY;
    KAP_ASSERT(body + CURSOR_SUM_BYTES <= CURSOR_BYTES_MAX);
    cursor[0] = CURSOR_VERSION;
    kap_le16_store(cursor + 1, list->scope->op);
    kap_le64_store(cursor + 3, list->filter_digest);
    memcpy(cursor + CURSOR_KEY_AT, key.data, key.len);
    *cursor_out = kap_bytes(cursor, body + CURSOR_SUM_BYTES);
    return cursor_sum(list->scope, kap_bytes(cursor, body), cursor + body);
}

static kap_status cursor_read(struct kap_model *model, const struct kap_listing *list, struct kap_bytes cursor,
                              struct kap_bytes *key_out)
{
    uint8_t sum[CURSOR_SUM_BYTES];
    bool is_ours = cursor.len >= CURSOR_KEY_AT + CURSOR_SUM_BYTES && cursor.len <= CURSOR_BYTES_MAX;
    size_t body = is_ours ? cursor.len - CURSOR_SUM_BYTES : 0;
    kap_status status = is_ours ? cursor_sum(list->scope, kap_bytes(cursor.data, body), sum) : KAP_OK;
    if (status != KAP_OK)
        return status;
    is_ours = is_ours && memcmp(sum, cursor.data + body, sizeof sum) == 0 && cursor.data[0] == CURSOR_VERSION &&
              kap_le16_load(cursor.data + 1) == list->scope->op &&
              kap_le64_load(cursor.data + 3) == list->filter_digest;
    if (is_ours)
        *key_out = kap_bytes(cursor.data + CURSOR_KEY_AT, body - CURSOR_KEY_AT);
    if (!is_ours || !kap_bytes_starts(*key_out, kap_key_bytes(&list->prefix)))
        return kap_model_refuse(
            model, KAP_BAD_CURSOR,
            "the cursor is not one of this list, of these filters and of this run of the server: start "
            "again without one");
    return KAP_OK;
}

static kap_status scan_open(struct kap_model *model, const struct kap_listing *list, struct kap_bytes after,
                            struct kap_scan *scan)
{
    struct kap_key lo, hi;
    if (after.len == 0)
        return kap_scan_init_prefix(scan, model->view, model->arena, kap_key_bytes(&list->prefix));
    lo.len = 0;
    lo.failed = false;
    kap_key_put(&lo, after.data, after.len);
    kap_key_put_u8(&lo, 0); /* the first key behind it */
    kap_key_prefix_end(&hi, kap_key_bytes(&list->prefix));
    return lo.failed ? KAP_BAD_CURSOR
                     : kap_scan_init(scan, model->view, model->arena, kap_key_bytes(&lo), kap_key_bytes(&hi));
}

static kap_status entry_ask(struct kap_model *model, struct kap_listing *list, const struct kap_scan *scan)
{
    struct kap_list_entry entry = {.key = scan->entry.key, .value = scan->entry.value};
    if (entry.key.len < list->prefix.len + sizeof entry.id.bytes)
        return kap_model_refuse(model, KAP_CORRUPT, "a key of an index has the wrong size");
    memcpy(entry.id.bytes, entry.key.data + entry.key.len - sizeof entry.id.bytes, sizeof entry.id.bytes);
    model->entries_scanned++;
    return list->keep(list->context, &entry);
}

static kap_status page_fill(struct kap_model *model, struct kap_listing *list, uint32_t limit, struct kap_bytes after,
                            struct kap_list_end *end)
{
    struct kap_scan scan;
    struct kap_key last = {0};
    uint32_t n = 0, scanned = 0;
    kap_status status = scan_open(model, list, after, &scan);
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
        if (n == limit || scanned++ == KAP_LIST_SCAN_MAX) { /* there is more: the client comes again */
            end->has_next = true;
            return cursor_make(model, list, kap_key_bytes(&last), &end->next);
        }
        status = entry_ask(model, list, &scan);
        n += status == KAP_OK;
        status = status == KAP_NOT_FOUND ? KAP_OK : status;
        last.len = 0;
        kap_key_put(&last, scan.entry.key.data, scan.entry.key.len);
    }
    return status == KAP_END ? KAP_OK : status;
}

/* Do rows of this kind go with others? */
static bool belongs(const struct kap_schema *schema, uint8_t kind)
{
    for (uint16_t i = 0; i < schema->n_refs; i++)
        if (schema->refs[i].kind == kind && schema->refs[i].on_delete == KAP_ON_DELETE_CASCADE)
            return true;
    return false;
}

/* From the counts; KAP_NOT_FOUND when some bucket is neither wholly visible nor wholly hidden. */
static kap_status total_from_counts(struct kap_model *model, struct kap_listing *list, uint64_t *total_out)
{
    const struct kap_index_desc *index = kap_schema_index(model->schema, list->index);
    uint32_t n_parts = index->sources[0].n_count_by;
    struct kap_scan scan;
    struct kap_key prefix;
    uint64_t total = 0;
    bool any_cascade;
    if (!index->counted || list->is_filtered)
        return KAP_NOT_FOUND;
    /* Rows that a job has yet to take away are counted still, and are not there. */
    kap_status asked = model_any_cascade(model, &any_cascade);
    if (asked != KAP_OK || (any_cascade && belongs(model->schema, index->sources[0].kind)))
        return asked == KAP_OK ? KAP_NOT_FOUND : asked;
    kap_index_count_key_init(&prefix, list->index);
    kap_key_put(&prefix, list->prefix.data + KAP_TREE_BYTES, (size_t)list->prefix.len - KAP_TREE_BYTES);
    kap_status status = kap_scan_init_prefix(&scan, model->view, model->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
        enum kap_bucket bucket = KAP_BUCKET_VISIBLE;
        uint64_t parts[2];
        if (scan.entry.value.len != 8 || scan.entry.key.len != prefix.len + n_parts * 8)
            return kap_model_refuse(model, KAP_CORRUPT, "a count of the index %s has the wrong size", index->name);
        for (uint32_t i = 0; i < n_parts; i++)
            parts[i] = kap_be64_load(scan.entry.key.data + prefix.len + i * 8);
        if (list->bucket)
            bucket = list->bucket(list->context, parts, n_parts);
        if (bucket == KAP_BUCKET_MIXED)
            return KAP_NOT_FOUND;
        total += bucket == KAP_BUCKET_VISIBLE ? kap_le64_load(scan.entry.value.data) : 0;
    }
    *total_out = total;
    return status == KAP_END ? KAP_OK : status;
}

static kap_status total_from_scan(struct kap_model *model, struct kap_listing *list, uint64_t *total_out,
                                  bool *exact_out)
{
    struct kap_scan scan;
    uint32_t scanned = 0;
    list->is_counting = true;
    kap_status status = scan_open(model, list, kap_bytes("", 0), &scan);
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK && scanned++ < KAP_LIST_SCAN_MAX) {
        status = entry_ask(model, list, &scan);
        *total_out += status == KAP_OK;
        status = status == KAP_NOT_FOUND ? KAP_OK : status;
    }
    list->is_counting = false;
    *exact_out = status == KAP_END;
    return status == KAP_END ? KAP_OK : status;
}

static kap_status explain_make(struct kap_model *model, const struct kap_listing *list, bool is_counted,
                               struct kap_list_end *end)
{
    struct kap_list_explain *explain = kap_arena_push(model->arena, sizeof *explain);
    struct kap_bytes *steps = kap_arena_push(model->arena, 2 * sizeof *steps);
    if (!explain || !steps)
        return KAP_NO_MEMORY;
    steps[0] = kap_bytes_str(list->is_filtered ? "range of the index, entries filtered" : "range of the index");
    steps[1] = kap_bytes_str(is_counted ? "total from the counts of the index" : "total from a scan");
    *explain = (struct kap_list_explain){.has_index = true,
                                         .index = kap_bytes_str(kap_schema_index(model->schema, list->index)->name),
                                         .n_steps = end->has_total ? 2 : 1,
                                         .steps = steps,
                                         .has_entries_scanned = true,
                                         .entries_scanned = model->entries_scanned,
                                         .has_rows_read = true,
                                         .rows_read = model->rows_read};
    end->explain = explain;
    return KAP_OK;
}

kap_status kap_listing_run(struct kap_model *model, struct kap_listing *list, struct kap_list_end **end_out)
{
    struct kap_list_end *end = kap_arena_push(model->arena, sizeof *end);
    struct kap_bytes after = kap_bytes("", 0);
    const struct kap_list_page none = {0}, *page = list->page ? list->page : &none;
    bool is_counted = false, is_gone = false;
    kap_status status = end ? model_parent_gone(model, list->index, &list->prefix, &is_gone) : KAP_NO_MEMORY;
    if (status == KAP_OK && is_gone) { /* nothing belongs to it, and the entries that say so are of the past */
        end->has_total = end->has_total_is_exact = end->total_is_exact = page->has_want_count && page->want_count;
        *end_out = end;
        return KAP_OK;
    }
    if (status == KAP_OK && page->has_cursor)
        status = cursor_read(model, list, page->cursor, &after);
    if (status == KAP_OK)
        status = page_fill(model, list, page->has_limit ? page->limit : KAP_LIST_LIMIT_DEFAULT, after, end);
    if (status == KAP_OK && page->has_want_count && page->want_count) {
        end->has_total = end->has_total_is_exact = end->total_is_exact = true;
        status = total_from_counts(model, list, &end->total);
        is_counted = status == KAP_OK;
        if (status == KAP_NOT_FOUND)
            status = total_from_scan(model, list, &end->total, &end->total_is_exact);
    }
    if (status == KAP_OK && page->has_explain && page->explain)
        status = explain_make(model, list, is_counted, end);
    if (status == KAP_OK)
        *end_out = end;
    return status;
}

uint32_t kap_listing_limit(const struct kap_list_page *page)
{
    return page && page->has_limit ? page->limit : KAP_LIST_LIMIT_DEFAULT;
}
