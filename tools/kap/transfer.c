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

/* Heads of trees and references of blobs are made by the server; blobs themselves travel as files; tokens are secrets and
 * stay where they are. Kinds without a message are of a later version. */
static bool kind_travels(int32_t kind)
{
    return kap_message_of_kind((uint32_t)kind) && kind != KAP_KIND_TREE_HEAD && kind != KAP_KIND_BLOB &&
           kind != KAP_KIND_BLOB_REF && kind != KAP_KIND_AUTH_TOKEN;
}

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
static kap_status blob_write(struct kap_tool *tool, const char *directory, struct kap_bytes hash, struct kap_error *error)
{
    char text[HASH_TEXT], path[1200];
    struct stat stat_buffer;
    hash_print(hash, text);
    snprintf(path, sizeof path, "%.1000s/%s", directory, text);
    if (stat(path, &stat_buffer) == 0)
        return KAP_OK;
    FILE *file = fopen(path, "we");
    if (!file)
        return kap_error_set(error, KAP_INVALID, "cannot write %s (%s)", path, strerrorname_np(errno));
    kap_status status = kap_blob_download(tool->client, hash.data, 0, UINT64_MAX, blob_sink, file, error);
    if (fclose(file) != 0 && status == KAP_OK)
        status = kap_error_set(error, KAP_NO_SPACE, "cannot write %s", path);
    if (status != KAP_OK)
        remove(path); /* half a blob must not pass for one that is there */
    return status;
}

/* Every blob that a row names, at whatever depth its message does. */
static kap_status blobs_write(struct kap_tool *tool, const char *directory, const struct kap_msg *msg, const void *in,
                              struct kap_error *error)
{
    kap_status status = KAP_OK;
    for (uint16_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        for (size_t n = 0; n < kap_field_count(field, in) && status == KAP_OK; n++) {
            const void *item = kap_field_item(field, in, n);
            if (field->type == KAP_FIELD_MESSAGE)
                status = blobs_write(tool, directory, field->msg, item, error);
            else if (field->type == KAP_FIELD_BYTES && field->rules && (field->rules->flags & KAP_FIELD_HASH))
                status = blob_write(tool, directory, *(const struct kap_bytes *)item, error);
        }
    }
    return status;
}

/* The row as it leaves the store: without its commit_seq, which is a position in this store's log and means nothing in
 * another. Its blobs are written on the way. */
static kap_status row_prepare(struct kap_tool *tool, const char *blobs, struct kap_typed_row *row, struct kap_arena *arena,
                              struct kap_error *error)
{
    const struct kap_msg *msg = kap_message_of_kind((uint32_t)row->kind);
    void *in = kap_arena_push(arena, msg->size);
    if (!in)
        return KAP_NO_MEMORY;
    if (kap_wire_decode(msg, row->row, arena, KAP_WIRE_STORED, in, NULL) != KAP_OK)
        return kap_error_set(error, KAP_DECODE, "a row of kind %s cannot be read", msg->name);
    kap_status status = blobs ? blobs_write(tool, blobs, msg, in, error) : KAP_OK;
    struct kap_sys *sys = *(struct kap_sys **)in; /* field 1 of every row */
    if (sys)
        sys->has_commit_seq = false;
    row->row = kap_wire_encode_in(msg, in, arena);
    return status == KAP_OK && !row->row.data ? KAP_NO_MEMORY : status;
}

static kap_status page_print(struct kap_tool *tool, const struct kap_dump_rows_reply *page, const char *blobs,
                             struct kap_arena *arena, struct kap_buffer *line, struct kap_error *error)
{
    for (size_t i = 0; i < page->n_rows; i++) {
        kap_buffer_clear(line);
        struct kap_typed_row row = page->rows[i];
        kap_status status = row_prepare(tool, blobs, &row, arena, error);
        if (status == KAP_OK)
            status = kap_json_print(&kap_typed_row_msg, &row, 0, arena, line);
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
        if (!kind_travels(value->number) || (kind && strcmp(kind, value->name) != 0))
            continue;
        any = true;
        kap_status status = kind_export(tool, value->number, blobs, &error);
        if (status != KAP_OK)
            return kap_tool_fail(status, &error);
    }
    return any ? 0 : kap_tool_usage("--kind names no kind of row; kinds are in docs/reference");
}

/* ---- import */

/* A batch is all or nothing, so one that is refused is sent again row by row; rows that refer to what comes later are
 * refused then, and go in with the next round over the file. */
struct restore {
    struct kap_tool *tool;
    struct kap_arena arena; /* of the rows gathered */
    struct kap_typed_row rows[RESTORE_ROWS];
    size_t n_rows, bytes;
    uint64_t created, replaced, unchanged, refused; /* of this round */
    struct kap_error first;                         /* why the first was refused */
};

static kap_status rows_send(struct restore *restore, struct kap_typed_row *rows, size_t n, struct kap_error *error)
{
    struct kap_restore_rows_request request = {.n_rows = n, .rows = rows};
    struct kap_restore_rows_reply reply;
    kap_status status =
        kap_client_send(restore->tool->client, KAP_OP_RESTORE_ROWS, NULL, &request, &restore->arena, &reply, error);
    if (status == KAP_OK) {
        restore->created += reply.created;
        restore->replaced += reply.replaced;
        restore->unchanged += reply.unchanged;
    }
    return status;
}

static kap_status restore_send(struct restore *restore, struct kap_error *error)
{
    struct kap_error why = {0};
    if (restore->n_rows == 0)
        return KAP_OK;
    kap_status status = rows_send(restore, restore->rows, restore->n_rows, &why);
    if (status != KAP_OK && kap_status_class(status) != KAP_CLASS_REQUEST)
        return kap_error_set(error, status, "%s", why.text);
    for (size_t i = 0; i < restore->n_rows && status != KAP_OK; i++) {
        struct kap_error single = {0};
        kap_status alone = rows_send(restore, &restore->rows[i], 1, &single);
        if (alone != KAP_OK && kap_status_class(alone) != KAP_CLASS_REQUEST)
            return kap_error_set(error, alone, "%s", single.text);
        if (alone != KAP_OK && restore->refused++ == 0)
            restore->first = single;
    }
    restore->n_rows = restore->bytes = 0;
    kap_arena_reset(&restore->arena);
    return KAP_OK;
}

static kap_status line_take(struct restore *restore, struct kap_bytes line, struct kap_error *error)
{
    struct kap_typed_row *row = &restore->rows[restore->n_rows];
    kap_status status = kap_json_parse(&kap_typed_row_msg, line, &restore->arena, row, error);
    if (status != KAP_OK)
        return status;
    restore->n_rows++;
    restore->bytes += row->row.len;
    return restore->n_rows == RESTORE_ROWS || restore->bytes >= RESTORE_BYTES ? restore_send(restore, error) : KAP_OK;
}

static kap_status round_import(struct restore *restore, struct kap_bytes text, struct kap_error *error)
{
    uint64_t number = 0;
    for (size_t at = 0; at < text.len;) {
        const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
        size_t len = end ? (size_t)(end - text.data) - at : text.len - at;
        struct kap_error why = {0};
        number++;
        kap_status status = len ? line_take(restore, kap_bytes(text.data + at, len), &why) : KAP_OK;
        if (status != KAP_OK)
            return kap_error_set(error, status, "line %llu: %s", (unsigned long long)number, why.text);
        at += len + 1;
    }
    return restore_send(restore, error);
}

/* Rounds until nothing is refused, or a round brought nothing new. The figures are of all rounds together. */
static kap_status ndjson_import(struct restore *restore, struct kap_bytes text, struct kap_error *error)
{
    uint64_t created = 0, replaced = 0, unchanged = 0;
    for (int round = 0;; round++) {
        restore->created = restore->replaced = restore->unchanged = restore->refused = 0;
        restore->first = (struct kap_error){0};
        kap_status status = round_import(restore, text, error);
        created += restore->created;
        replaced += restore->replaced;
        if (round == 0)
            unchanged = restore->unchanged;
        bool news = restore->created + restore->replaced > 0;
        if (status == KAP_OK && restore->refused > 0 && news)
            continue;
        if (status == KAP_OK && restore->refused > 0)
            status = kap_error_set(error, restore->first.status, "%llu rows refused; the first: %s",
                                   (unsigned long long)restore->refused, restore->first.text);
        restore->created = created;
        restore->replaced = replaced;
        restore->unchanged = unchanged;
        return status;
    }
}

/* What export --blobs wrote: every file is a blob; its name must be its hash. */
static kap_status blobs_import(struct kap_tool *tool, const char *directory, uint64_t *count_out, struct kap_error *error)
{
    DIR *dir = opendir(directory);
    const struct dirent *entry;
    kap_status status = KAP_OK;
    if (!dir)
        return kap_error_set(error, KAP_INVALID, "cannot open %s (%s)", directory, strerrorname_np(errno));
    while (status == KAP_OK && (entry = readdir(dir))) {
        char path[1200], text[HASH_TEXT];
        uint8_t hash[32];
        uint64_t size;
        bool was_there;
        if (strlen(entry->d_name) != HASH_TEXT - 1)
            continue;
        snprintf(path, sizeof path, "%.900s/%s", directory, entry->d_name);
        status = kap_blob_upload_file(tool->client, path, NULL, hash, &size, &was_there, error);
        hash_print(kap_bytes(hash, sizeof hash), text);
        if (status == KAP_OK && strcmp(text, entry->d_name) != 0)
            status = kap_error_set(error, KAP_CORRUPT, "%s holds other bytes than its name says", path);
        ++*count_out;
    }
    closedir(dir);
    return status;
}

static int import_ndjson(struct kap_tool *tool, const char *path, const char *blobs)
{
    struct kap_error error = {0};
    struct kap_buffer text;
    static struct restore restore; /* the rows' structs are too many for the stack */
    restore = (struct restore){.tool = tool};
    kap_buffer_init(&text, &tool->memory);
    kap_arena_init(&restore.arena, &tool->memory, 256 * 1024, 0);
    uint64_t uploaded = 0;
    kap_status status = kap_read_all(path, &text, &error);
    if (status == KAP_OK && blobs)
        status = blobs_import(tool, blobs, &uploaded, &error);
    if (status == KAP_OK)
        status = ndjson_import(&restore, kap_buffer_bytes(&text), &error);
    kap_arena_deinit(&restore.arena);
    kap_buffer_deinit(&text);
    printf("blobs %llu; rows created %llu, replaced %llu, unchanged %llu\n", (unsigned long long)uploaded,
           (unsigned long long)restore.created,
           (unsigned long long)restore.replaced, (unsigned long long)restore.unchanged);
    return status == KAP_OK ? 0 : kap_tool_fail(status, &error);
}

int kap_import_main(struct kap_tool *tool, int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "ndjson") == 0)
        return import_ndjson(tool, argv[2], NULL);
    if (argc == 5 && strcmp(argv[1], "ndjson") == 0 && strcmp(argv[3], "--blobs") == 0)
        return import_ndjson(tool, argv[2], argv[4]);
    if (argc == 3 && strcmp(argv[1], "free-exercise-db") == 0)
        return kap_import_exercises(tool, argv[2]);
    return kap_tool_usage("import ndjson PATH [--blobs DIR], or import free-exercise-db PATH");
}
