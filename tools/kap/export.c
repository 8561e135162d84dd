/* export.c - all rows as ndjson: {"kind": "session", "row": {...}} a line, in (kind, id) order.
 *
 * Equal stores give equal bytes: members stand by field number, kinds by number, rows by id, and the commit_seq, which is a
 * store's own, is left out. With --blobs the blobs that the
 * rows use come last: a line with size and media type in the order of their hashes, and a file with the bytes. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "proto/json.h"
#include "proto/wire.h"
#include "tools/kap/hash_set.h"
#include "tools/kap/kap.h"

enum { PAGE_ROWS = 200, PATH_BYTES = 1200 };

struct export
{
    struct kap_tool *tool;
    FILE *out;
    const char *blobs; /* NULL: without */
    struct hash_set hashes;
    struct kap_arena arena; /* of one page */
    struct kap_buffer line;
};

static kap_status line_write(struct export *export, const struct kap_typed_row *row, struct kap_error *error)
{
    kap_buffer_clear(&export->line);
    kap_status status = kap_json_print(&kap_typed_row_msg, row, 0, &export->arena, &export->line);
    if (status != KAP_OK)
        return kap_error_set(error, status, "no memory for a row");
    kap_buffer_append_u8(&export->line, '\n');
    if (export->line.failed)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a row");
    if (fwrite(export->line.data, 1, export->line.len, export->out) != export->line.len)
        return kap_error_set(error, KAP_NO_SPACE, "cannot write the export (%s)", strerrorname_np(errno));
    return KAP_OK;
}

/* ---- rows */

kap_status kap_row_portable(struct kap_typed_row *row, struct kap_arena *arena, void **message_out)
{
    const struct kap_msg *msg = kap_message_of_kind((uint32_t)row->kind);
    void *message = msg ? kap_arena_push(arena, msg->size) : NULL;
    if (!message)
        return msg ? KAP_NO_MEMORY : KAP_INVALID;
    kap_status status = kap_wire_decode(msg, row->row, arena, KAP_WIRE_STORED, message, NULL);
    if (status != KAP_OK)
        return status;
    struct kap_sys **sys = (struct kap_sys **)((uint8_t *)message + msg->fields[0].value_at);
    if (*sys) {
        (*sys)->has_commit_seq = false;
        row->row = kap_wire_encode_in(msg, message, arena);
    }
    if (message_out)
        *message_out = message;
    return row->row.data ? KAP_OK : KAP_NO_MEMORY;
}

static kap_status row_export(struct export *export, struct kap_typed_row *row, struct kap_error *error)
{
    void *message;
    kap_status status = kap_row_portable(row, &export->arena, &message);
    if (status == KAP_OK && export->blobs)
        status = hash_set_add_message(&export->hashes, kap_message_of_kind((uint32_t)row->kind), message);
    if (status != KAP_OK)
        return kap_error_set(error, status, "a row cannot be read: %s", kap_status_sentence(status));
    return line_write(export, row, error);
}

static kap_status kind_export(struct export *export, int32_t kind, struct kap_error *error)
{
    struct kap_dump_rows_request request = {.has_kind = true, .kind = kind, .has_limit = true, .limit = PAGE_ROWS};
    struct kap_dump_rows_reply page;
    kap_status status;
    do {
        kap_arena_reset(&export->arena);
        status = kap_client_send(export->tool->client, KAP_OP_DUMP_ROWS, &export->tool->meta, &request, &export->arena,
                                 &page, error);
        for (size_t i = 0; status == KAP_OK && i < page.n_rows; i++)
            status = row_export(export, &page.rows[i], error);
        request.has_after = true;
        request.after = page.next;
    } while (status == KAP_OK && page.has_next);
    return status;
}

/* ---- blobs */

static kap_status file_sink(void *context, struct kap_bytes bytes)
{
    return fwrite(bytes.data, 1, bytes.len, context) == bytes.len ? KAP_OK : KAP_NO_SPACE;
}

/* Under its hash once it is whole; one that is there is left alone. */
static kap_status blob_file(struct export *export, const uint8_t hash[32], uint64_t size, struct kap_error *error)
{
    char text[HASH_TEXT_BYTES], path[PATH_BYTES], part[PATH_BYTES + 8];
    struct stat stat_buffer;
    hash_print(hash, text);
    snprintf(path, sizeof path, "%.1000s/%s", export->blobs, text);
    snprintf(part, sizeof part, "%s.part", path);
    if (stat(path, &stat_buffer) == 0 && (uint64_t)stat_buffer.st_size == size)
        return KAP_OK;
    FILE *file = fopen(part, "we");
    if (!file)
        return kap_error_set(error, KAP_NO_SPACE, "cannot write %s (%s)", part, strerrorname_np(errno));
    kap_status status = kap_blob_download(export->tool->client, hash, 0, UINT64_MAX, file_sink, file, error);
    if ((fclose(file) != 0 || (status == KAP_OK && rename(part, path) != 0)) && status == KAP_OK)
        status = kap_error_set(error, KAP_NO_SPACE, "cannot write %s (%s)", path, strerrorname_np(errno));
    if (status != KAP_OK)
        (void)unlink(part);
    return status;
}

static kap_status blob_export(struct export *export, const uint8_t hash[32], struct kap_error *error)
{
    struct kap_blob_stat_request request = {.has_hash = true, .hash = kap_bytes(hash, 32)};
    struct kap_blob_stat_reply found;
    kap_arena_reset(&export->arena);
    kap_status status = kap_client_send(export->tool->client, KAP_OP_BLOB_STAT, &export->tool->meta, &request,
                                        &export->arena, &found, error);
    if (status != KAP_OK)
        return status;
    struct kap_blob blob = {.has_hash = true,
                            .hash = request.hash,
                            .has_size = true,
                            .size = found.size,
                            .has_media_type = found.has_media_type,
                            .media_type = found.media_type};
    struct kap_typed_row row = {.has_kind = true, .kind = KAP_KIND_BLOB, .has_row = true};
    row.row = kap_wire_encode_in(&kap_blob_msg, &blob, &export->arena);
    if (!row.row.data)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a blob's line");
    status = blob_file(export, hash, found.size, error);
    return status == KAP_OK ? line_write(export, &row, error) : status;
}

static kap_status blobs_export(struct export *export, struct kap_error *error)
{
    kap_status status = KAP_OK;
    hash_set_sort(&export->hashes);
    for (size_t i = 0; i < export->hashes.n && status == KAP_OK; i++) {
        char text[HASH_TEXT_BYTES];
        struct kap_error why = {0};
        status = blob_export(export, export->hashes.entries[i].hash, &why);
        if (status != KAP_OK) {
            hash_print(export->hashes.entries[i].hash, text);
            kap_error_set(error, status, "blob %s: %s", text, why.text);
        }
    }
    return status;
}

/* ---- all */

/* The server makes heads of trees and uses of blobs anew; blobs go by their bytes; tokens stay where they are. */
static bool is_exported(int32_t kind)
{
    return kind != KAP_KIND_TREE_HEAD && kind != KAP_KIND_BLOB && kind != KAP_KIND_BLOB_REF &&
           kind != KAP_KIND_AUTH_TOKEN && kap_message_of_kind((uint32_t)kind) != NULL;
}

static kap_status kinds_export(struct export *export, const char *kind, struct kap_error *error)
{
    kap_status status = KAP_OK;
    for (uint16_t i = 0; i < kap_kind_enum.n_values && status == KAP_OK; i++) {
        const struct kap_enum_value *value = &kap_kind_enum.values[i];
        if (is_exported(value->number) && (!kind || strcmp(kind, value->name) == 0))
            status = kind_export(export, value->number, error);
    }
    return status == KAP_OK && export->blobs ? blobs_export(export, error) : status;
}

static bool kind_is_known(const char *kind)
{
    for (uint16_t i = 0; i < kap_kind_enum.n_values; i++)
        if (is_exported(kap_kind_enum.values[i].number) && strcmp(kind, kap_kind_enum.values[i].name) == 0)
            return true;
    fprintf(stderr, "kap: no rows of kind \"%.60s\" are exported; there are", kind);
    for (uint16_t i = 0; i < kap_kind_enum.n_values; i++)
        if (is_exported(kap_kind_enum.values[i].number))
            fprintf(stderr, " %s", kap_kind_enum.values[i].name);
    fputc('\n', stderr);
    return false;
}

static int export_run(struct export *export, const char *kind, const char *path)
{
    struct kap_error error = {0};
    export->out = path ? fopen(path, "we") : stdout;
    if (!export->out) {
        fprintf(stderr, "kap: cannot write %s (%s)\n", path, strerrorname_np(errno));
        return KAP_EXIT_FAILED;
    }
    kap_arena_init(&export->arena, &export->tool->memory, 256 * 1024, 0);
    kap_buffer_init(&export->line, &export->tool->memory);
    hash_set_init(&export->hashes, &export->tool->memory);
    kap_status status = kinds_export(export, kind, &error);
    if ((path ? fclose(export->out) : fflush(export->out)) != 0 && status == KAP_OK)
        status = kap_error_set(&error, KAP_NO_SPACE, "cannot write the export (%s)", strerrorname_np(errno));
    hash_set_deinit(&export->hashes);
    kap_buffer_deinit(&export->line);
    kap_arena_deinit(&export->arena);
    return status == KAP_OK ? 0 : kap_tool_fail(status, &error);
}

int kap_export_main(struct kap_tool *tool, int argc, char **argv)
{
    static const struct option options[] = {{"kind", required_argument, NULL, 'k'},
                                            {"blobs", required_argument, NULL, 'b'},
                                            {"output", required_argument, NULL, 'o'},
                                            {0}};
    struct export export = {.tool = tool};
    const char *kind = NULL, *path = NULL;
    int letter;
    while ((letter = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
        if (letter == '?')
            return KAP_EXIT_USAGE;
        *(letter == 'k' ? &kind : letter == 'o' ? &path : &export.blobs) = optarg;
    }
    if (optind != argc)
        return kap_tool_usage("export [--kind K] [--blobs DIR] [-o FILE]");
    if (kind && !kind_is_known(kind))
        return KAP_EXIT_USAGE;
    if (export.blobs && mkdir(export.blobs, 0755) < 0 && errno != EEXIST) {
        fprintf(stderr, "kap: cannot make %s (%s)\n", export.blobs, strerrorname_np(errno));
        return KAP_EXIT_FAILED;
    }
    return export_run(&export, kind, path);
}
