#include "tools/kapctl/key_text.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/base/uuid.h"
#include "engine/schema/tree.h"
#include "proto/json.h"
#include "proto/kap_numbers.h"
#include "proto/kap_schema.h"
#include "proto/wire.h"
#include "tools/kapctl/out.h"

static const char *const tree_names[] = {
    [KAP_TREE_ROWS] = "rows",
    [KAP_TREE_LOCATOR] = "locator",
    [KAP_TREE_HISTORY] = "history",
    [KAP_TREE_TRASH] = "trash",
    [KAP_TREE_IDEMPOTENCY] = "idempotency",
    [KAP_TREE_COUNT] = "count",
    [KAP_TREE_UNIQUE] = "unique",
    [KAP_TREE_BLOB] = "blob",
    [KAP_TREE_UPLOAD] = "upload",
    [KAP_TREE_META] = "meta",
    [KAP_TREE_MARK] = "mark",
    [KAP_TREE_JOB] = "job",
};

/* What each built-in tree's key is made of after the tree number. */
static const char *const tree_parts[] = {
    [KAP_TREE_ROWS] = "gikI",      [KAP_TREE_LOCATOR] = "ik", [KAP_TREE_HISTORY] = "ikIS", [KAP_TREE_TRASH] = "iSkI",
    [KAP_TREE_IDEMPOTENCY] = "iI", [KAP_TREE_COUNT] = "x",    [KAP_TREE_UNIQUE] = "u",     [KAP_TREE_BLOB] = "h",
    [KAP_TREE_UPLOAD] = "i",       [KAP_TREE_META] = "t",     [KAP_TREE_MARK] = "ik",      [KAP_TREE_JOB] = "gkI",
};

struct key_reader {
    struct kap_bytes rest;
    char *text;
    size_t at;
};

static void part_put(struct key_reader *reader, const char *text)
{
    int wrote = snprintf(reader->text + reader->at, KEY_TEXT_BYTES - reader->at, "%s%s", reader->at ? " " : "", text);
    reader->at = KAP_MIN(reader->at + (size_t)(wrote > 0 ? wrote : 0), (size_t)KEY_TEXT_BYTES - 1);
}

/* The next len bytes, inverted when the part descends; false: there are not so many. */
static bool take(struct key_reader *reader, size_t len, bool descending, uint8_t *bytes_out)
{
    if (reader->rest.len < len)
        return false;
    for (size_t i = 0; i < len; i++)
        bytes_out[i] = descending ? (uint8_t)~reader->rest.data[i] : reader->rest.data[i];
    reader->rest = kap_bytes(reader->rest.data + len, reader->rest.len - len);
    return true;
}

static bool id_put(struct key_reader *reader)
{
    struct kap_id id;
    char text[KAP_UUID_TEXT_BYTES];
    if (!take(reader, sizeof id.bytes, false, id.bytes))
        return false;
    kap_uuid_print(id, text);
    part_put(reader, text);
    return true;
}

static bool number_put(struct key_reader *reader, size_t width, bool descending, bool is_signed)
{
    uint8_t bytes[8];
    char text[32];
    uint64_t number = 0;
    if (!take(reader, width, descending, bytes))
        return false;
    for (size_t i = 0; i < width; i++)
        number = number << 8 | bytes[i];
    if (is_signed)
        snprintf(text, sizeof text, "%lld", (long long)(number ^ UINT64_C(1) << 63));
    else
        snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    part_put(reader, text);
    return true;
}

static bool kind_put(struct key_reader *reader)
{
    uint8_t kind;
    if (!take(reader, 1, false, &kind))
        return false;
    const struct kap_kind_desc *desc = kap_schema_kind(&kap_schema, kind);
    char number[16];
    snprintf(number, sizeof number, "kind %u", kind);
    part_put(reader, desc && desc->name ? desc->name : number);
    return true;
}

static bool string_put(struct key_reader *reader, bool descending)
{
    char text[KAP_KEY_BYTES_MAX + 3] = "\"";
    size_t len = 1;
    uint8_t byte = 0;
    while (take(reader, 1, descending, &byte) && byte != 0)
        text[len++] = byte < 0x20 ? '?' : (char)byte;
    text[len++] = '"';
    text[len] = 0;
    part_put(reader, text);
    return true;
}

static bool column_put(struct key_reader *reader, const struct kap_key_part *part)
{
    switch (part->type) {
    case KAP_COLUMN_ID:
        return id_put(reader);
    case KAP_COLUMN_TEXT:
        return string_put(reader, part->descending);
    case KAP_COLUMN_BYTES:
        return false;
    default:
        return number_put(reader, 8, part->descending, part->type != KAP_COLUMN_U64);
    }
}

static bool columns_put(struct key_reader *reader, const struct kap_key_part *parts, uint8_t n)
{
    for (uint8_t i = 0; i < n; i++)
        if (!column_put(reader, &parts[i]))
            return false;
    return true;
}

static const struct kap_unique_desc *unique_find(uint16_t id)
{
    for (uint16_t i = 0; i < kap_schema.n_uniques; i++)
        if (kap_schema.uniques[i].id == id)
            return &kap_schema.uniques[i];
    return NULL;
}

/* Count and unique keys begin with the number of what they belong to. */
static void owned_put(struct key_reader *reader, bool unique)
{
    uint8_t bytes[2];
    if (!take(reader, sizeof bytes, false, bytes))
        return;
    uint16_t id = (uint16_t)(bytes[0] << 8 | bytes[1]);
    const struct kap_index_desc *index = unique ? NULL : kap_schema_index(&kap_schema, id);
    const struct kap_unique_desc *key = unique ? unique_find(id) : NULL;
    part_put(reader, index ? index->name : key ? key->name : "unknown");
    if (key)
        columns_put(reader, key->parts, key->n_parts);
    else if (index && columns_put(reader, index->sources[0].parent, index->sources[0].n_parent))
        columns_put(reader, index->sources[0].count_by, index->sources[0].n_count_by);
}

static void builtin_put(struct key_reader *reader, const char *parts)
{
    for (bool fits = true; *parts && fits; parts++)
        switch (*parts) {
        case 'g':
            fits = number_put(reader, 1, false, false);
            break;
        case 'i':
        case 'I':
            fits = id_put(reader);
            break;
        case 'k':
            fits = kind_put(reader);
            break;
        case 'S':
            fits = number_put(reader, 8, true, false);
            break;
        case 't':
            fits = string_put(reader, false);
            break;
        case 'x':
        case 'u':
            owned_put(reader, *parts == 'u');
            break;
        default:
            break; /* the hash: hex, as any rest */
        }
}

void tree_text(uint16_t tree, char text_out[TREE_TEXT_BYTES])
{
    const struct kap_index_desc *index = NULL;
    if (tree >= KAP_TREE_INDEX_FIRST)
        index = kap_schema_index(&kap_schema, (uint16_t)(tree - KAP_TREE_INDEX_FIRST));
    if (index)
        snprintf(text_out, TREE_TEXT_BYTES, "%s", index->name);
    else if (tree < KAP_ARRAY_LEN(tree_names) && tree_names[tree])
        snprintf(text_out, TREE_TEXT_BYTES, "%s", tree_names[tree]);
    else
        snprintf(text_out, TREE_TEXT_BYTES, "tree %u", tree);
}

void key_text(struct kap_bytes key, char text_out[KEY_TEXT_BYTES])
{
    uint16_t tree = kap_tree_of(key);
    size_t skip = KAP_MIN(key.len, (size_t)KAP_TREE_BYTES);
    struct key_reader reader = {.rest = kap_bytes(key.data + skip, key.len - skip), .text = text_out};
    text_out[0] = 0;
    const struct kap_index_desc *index =
        tree >= KAP_TREE_INDEX_FIRST ? kap_schema_index(&kap_schema, (uint16_t)(tree - KAP_TREE_INDEX_FIRST)) : NULL;
    if (index) {
        const struct kap_index_source *source = &index->sources[0];
        if (columns_put(&reader, source->parent, source->n_parent) &&
            columns_put(&reader, source->order, source->n_order))
            id_put(&reader);
    } else if (tree < KAP_ARRAY_LEN(tree_parts) && tree_parts[tree]) {
        builtin_put(&reader, tree_parts[tree]);
    }
    if (reader.rest.len > 0) {
        char hex[KEY_TEXT_BYTES];
        out_hex(reader.rest, 64, hex, sizeof hex);
        part_put(&reader, hex);
    }
}

/* The row as JSON, or NULL when it is a secret or not a row of the schema. */
static const char *row_text(const struct kap_entry *entry, struct kap_arena *arena)
{
    enum { ROW_KIND_AT = KAP_TREE_BYTES + 1 + 16 };
    uint8_t kind = entry->key.len > ROW_KIND_AT ? entry->key.data[ROW_KIND_AT] : 0;
    const struct kap_msg *msg = kap_message_of_kind(kind);
    if (!msg || kind == KAP_KIND_CREDENTIAL || kind == KAP_KIND_AUTH_TOKEN)
        return NULL;
    struct kap_buffer out;
    char *text = NULL;
    void *message = kap_arena_push(arena, msg->size);
    kap_buffer_init(&out, arena->memory);
    if (message && kap_wire_decode(msg, entry->value, arena, KAP_WIRE_STORED, message, NULL) == KAP_OK &&
        kap_json_print(msg, message, 0, arena, &out) == KAP_OK)
        text = kap_arena_printf(arena, "%.*s", (int)out.len, (const char *)out.data);
    kap_buffer_deinit(&out);
    return text;
}

const char *value_text(const struct kap_entry *entry, struct kap_arena *arena)
{
    char hex[256];
    uint16_t tree = kap_tree_of(entry->key);
    if (entry->type == KAP_ENTRY_DELETE)
        return "";
    const char *text = tree == KAP_TREE_ROWS ? row_text(entry, arena) : NULL;
    if (text)
        return text;
    if (tree == KAP_TREE_COUNT && entry->value.len == 8)
        return kap_arena_printf(arena, "%llu", (unsigned long long)kap_le64_load(entry->value.data));
    out_hex(entry->value, 48, hex, sizeof hex);
    return kap_arena_printf(arena, "%s", hex);
}
