/* transfer.c - export and import of all rows as ndjson: {"kind": "session", "row": {...}} a line, in (kind, id) order.
 *
 * Equal stores give equal bytes: members stand by field number, kinds by number, rows by id. An import keeps ids, revisions
 * and times; it is sent in the order of the kinds that others refer to. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/assert.h"
#include "proto/json.h"
#include "proto/wire.h"
#include "tools/kap/kap.h"

enum { PAGE_ROWS = 200, RESTORE_ROWS = 200, RESTORE_BYTES = 1024 * 1024, HASH_TEXT = 65 };

/* ---- export */

static kap_status blob_sink(void *context, struct kap_bytes bytes)
{
    return fwrite(bytes.data, 1, bytes.len, context) == bytes.len ? KAP_OK : KAP_NO_SPACE;
}

static void hash_print(struct kap_bytes hash, char text[HASH_TEXT])
{
    for (size_t i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", hash.data[i]);
}

/* Under its hash; one that is there is left alone. */
static kap_status blob_write(struct kap_tool *tool, const char *directory, struct kap_bytes row,
                             struct kap_arena *arena, struct kap_error *error)
{
    struct kap_blob blob;
    char hash[HASH_TEXT], path[1200];
    struct stat stat_buffer;
    kap_status status = kap_wire_decode(&kap_blob_msg, row, arena, KAP_WIRE_STORED, &blob, NULL);
    if (status != KAP_OK || blob.hash.len != 32)
        return kap_error_set(error, KAP_DECODE, "a blob's row cannot be read");
    hash_print(blob.hash, hash);
    snprintf(path, sizeof path, "%.1000s/%s", directory, hash);
    if (stat(path, &stat_buffer) == 0 && (uint64_t)stat_buffer.st_size == blob.size)
        return KAP_OK;
    FILE *file = fopen(path, "we");
    if (!file)
        return kap_error_set(error, KAP_INVALID, "cannot write %s (%s)", path, strerrorname_np(errno));
    status = kap_blob_download(tool->client, blob.hash.data, 0, UINT64_MAX, blob_sink, file, error);
    return fclose(file) == 0 || status != KAP_OK ? status : kap_error_set(error, KAP_NO_SPACE, "cannot write %s", path);
}

static kap_status page_print(struct kap_tool *tool, const struct kap_dump_rows_reply *page, const char *blobs,
                             struct kap_arena *arena, struct kap_buffer *line, struct kap_error *error)
{
    for (size_t i = 0; i < page->n_rows; i++) {
        kap_buffer_clear(line);
        kap_status status = kap_json_print(&kap_typed_row_msg, &page->rows[i], 0, arena, line);
        if (status == KAP_OK && blobs && page->rows[i].kind == KAP_KIND_BLOB)
            status = blob_write(tool, blobs, page->rows[i].row, arena, error);
        if (status != KAP_OK)
            return status;
        kap_buffer_append_u8(line, '\n');
        if (fwrite(line->data, 1, line->len, stdout) != line->len)
            return kap_error_set(error, KAP_NO_SPACE, "cannot write the export");
    }
    return KAP_OK;
}

static kap_status kind_export(struct kap_tool *tool, int32_t kind, const char *blobs, struct kap_error *error)
{
    struct kap_dump_rows_request request = {.has_kind = true, .kind = kind, .has_limit = true, .limit = PAGE_ROWS};
    struct kap_dump_rows_reply page;
    struct kap_arena arena;
    struct kap_buffer line;
    kap_status status;
    kap_arena_init(&arena, &tool->memory, 256 * 1024, 0);
    kap_buffer_init(&line, &tool->memory);
    do {
        kap_arena_reset(&arena);
        status = kap_client_send(tool->client, KAP_OP_DUMP_ROWS, NULL, &request, &arena, &page, error);
        if (status == KAP_OK)
            status = page_print(tool, &page, blobs, &arena, &line, error);
        request.has_after = true;
        request.after = page.next;
    } while (status == KAP_OK && page.has_next);
    kap_buffer_deinit(&line);
    kap_arena_deinit(&arena);
    return status;
}

int kap_export_main(struct kap_tool *tool, int argc, char **argv)
{
    static const struct option options[] = {
        {"kind", required_argument, NULL, 'k'}, {"blobs", required_argument, NULL, 'b'}, {0}};
    struct kap_error error = {0};
    const char *kind = NULL, *blobs = NULL;
    bool any = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == '?')
            return KAP_EXIT_USAGE;
        *(letter == 'k' ? &kind : &blobs) = optarg;
    }
    if (optind != argc)
        return kap_tool_usage("export [--kind K] [--blobs DIR]");
    if (blobs && mkdir(blobs, 0755) < 0 && errno != EEXIST) {
        fprintf(stderr, "kap: cannot make %s (%s)\n", blobs, strerrorname_np(errno));
        return KAP_EXIT_FAILED;
    }
    for (uint16_t i = 0; i < kap_kind_enum.n_values; i++) {
        const struct kap_enum_value *value = &kap_kind_enum.values[i];
        /* Heads of trees are made by the server; kinds without a message are of a later version. */
        if (!kap_message_of_kind((uint32_t)value->number) || value->number == KAP_KIND_TREE_HEAD ||
            (kind && strcmp(kind, value->name) != 0))
            continue;
        any = true;
        kap_status status = kind_export(tool, value->number, blobs, &error);
        if (status != KAP_OK)
            return kap_tool_fail(status, &error);
    }
    return any ? 0 : kap_tool_usage("--kind names no kind of row; kinds are in docs/reference");
}

/* ---- import */

struct restore {
    struct kap_tool *tool;
    struct kap_arena arena; /* of the rows gathered */
    struct kap_typed_row rows[RESTORE_ROWS];
    size_t n_rows, bytes;
    uint64_t created, replaced, unchanged;
};

static kap_status restore_send(struct restore *restore, struct kap_error *error)
{
    struct kap_restore_rows_request request = {.n_rows = restore->n_rows, .rows = restore->rows};
    struct kap_restore_rows_reply reply;
    if (restore->n_rows == 0)
        return KAP_OK;
    kap_status status =
        kap_client_send(restore->tool->client, KAP_OP_RESTORE_ROWS, NULL, &request, &restore->arena, &reply, error);
    if (status == KAP_OK) {
        restore->created += reply.created;
        restore->replaced += reply.replaced;
        restore->unchanged += reply.unchanged;
    }
    restore->n_rows = restore->bytes = 0;
    kap_arena_reset(&restore->arena);
    return status;
}

static kap_status line_take(struct restore *restore, struct kap_bytes line, int32_t only, struct kap_error *error)
{
    struct kap_typed_row *row = &restore->rows[restore->n_rows];
    kap_status status = kap_json_parse(&kap_typed_row_msg, line, &restore->arena, row, error);
    if (status != KAP_OK || row->kind != only)
        return status;
    restore->n_rows++;
    restore->bytes += row->row.len;
    return restore->n_rows == RESTORE_ROWS || restore->bytes >= RESTORE_BYTES ? restore_send(restore, error) : KAP_OK;
}

static kap_status kind_import(struct restore *restore, struct kap_bytes text, int32_t kind, const char *name,
                              struct kap_error *error)
{
    char start[64];
    uint64_t number = 0;
    int start_len = snprintf(start, sizeof start, "{\"kind\":\"%s\"", name);
    for (size_t at = 0; at < text.len;) {
        const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
        size_t len = end ? (size_t)(end - text.data) - at : text.len - at;
        struct kap_bytes line = kap_bytes(text.data + at, len);
        number++;
        at += len + 1;
        if (len == 0 || !kap_bytes_starts(line, kap_bytes(start, (size_t)start_len)))
            continue;
        struct kap_error why = {0};
        kap_status status = line_take(restore, line, kind, &why);
        if (status != KAP_OK)
            return kap_error_set(error, status, "near line %llu: %s", (unsigned long long)number, why.text);
    }
    return restore_send(restore, error);
}

/* What others refer to comes first; the rest by number. */
static const uint8_t first_kinds[] = {KAP_KIND_REF_ITEM, KAP_KIND_TAG,  KAP_KIND_TACTICAL_PRINCIPLE,
                                      KAP_KIND_USER,     KAP_KIND_CLUB, KAP_KIND_BLOB};

static kap_status ndjson_import(struct restore *restore, struct kap_bytes text, struct kap_error *error)
{
    bool done[256] = {false};
    for (size_t i = 0; i < KAP_ARRAY_LEN(first_kinds) + kap_kind_enum.n_values; i++) {
        size_t rest = i - KAP_ARRAY_LEN(first_kinds);
        int32_t kind = i < KAP_ARRAY_LEN(first_kinds) ? first_kinds[i] : kap_kind_enum.values[rest].number;
        if (done[kind & 255] || !kap_message_of_kind((uint32_t)kind))
            continue;
        done[kind & 255] = true;
        kap_status status = kind_import(restore, text, kind, kap_enum_name(&kap_kind_enum, kind), error);
        if (status != KAP_OK)
            return status;
    }
    return KAP_OK;
}

static int import_ndjson(struct kap_tool *tool, const char *path)
{
    struct kap_error error = {0};
    struct kap_buffer text;
    static struct restore restore; /* the rows' structs are too many for the stack */
    restore = (struct restore){.tool = tool};
    kap_buffer_init(&text, &tool->memory);
    kap_arena_init(&restore.arena, &tool->memory, 256 * 1024, 0);
    kap_status status = kap_read_all(path, &text, &error);
    if (status == KAP_OK)
        status = ndjson_import(&restore, kap_buffer_bytes(&text), &error);
    kap_arena_deinit(&restore.arena);
    kap_buffer_deinit(&text);
    printf("rows created %llu, replaced %llu, unchanged %llu\n", (unsigned long long)restore.created,
           (unsigned long long)restore.replaced, (unsigned long long)restore.unchanged);
    return status == KAP_OK ? 0 : kap_tool_fail(status, &error);
}

int kap_import_main(struct kap_tool *tool, int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "ndjson") == 0)
        return import_ndjson(tool, argv[2]);
    if (argc == 3 && strcmp(argv[1], "free-exercise-db") == 0)
        return kap_import_exercises(tool, argv[2]);
    return kap_tool_usage("import ndjson PATH, or import free-exercise-db PATH");
}
