/* import.c - rows as export wrote them: ids, revisions and times are kept.
 *
 * The lines are looked through once for their kinds, then sent in the order in which rows refer to each other: blobs first,
 * then what others refer to, whatever the order of the file. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "proto/json.h"
#include "proto/json_value.h"
#include "proto/wire.h"
#include "tools/kap/hash_set.h"
#include "tools/kap/kap.h"

enum { RESTORE_ROWS = 200, RESTORE_BYTES = 768 * 1024, LINES_CAP_MIN = 1024, SPOOL_BYTES = 64 * 1024 };

struct line {
    const uint8_t *data;
    uint32_t len;
    uint32_t number; /* in the file, from 1 */
    uint8_t kind;
    bool is_done;
    struct kap_bytes created; /* the text of sys.created_at; empty: none */
};

struct import {
    struct kap_tool *tool;
    const char *blobs; /* NULL: lines of blobs are passed over */
    bool dry_run;
    struct kap_bytes text;
    struct line *lines;
    size_t n_lines, cap_lines;
    struct kap_arena arena; /* of the rows gathered */
    struct kap_typed_row rows[RESTORE_ROWS];
    struct line *line_of[RESTORE_ROWS];
    size_t n_rows, bytes;
    struct hash_set sent; /* blobs */
    uint64_t refused; /* in this round */
    struct kap_error first_refusal;
    uint64_t created, replaced, unchanged, uploaded, already;
};

/* ---- the lines */

/* {"kind":"session", as export writes it; any other order of members is parsed whole. */
static kap_status kind_of(struct import *import, struct kap_bytes line, int32_t *kind_out, struct kap_error *error)
{
    static const char start[] = "{\"kind\":\"";
    struct kap_bytes prefix = kap_bytes(start, sizeof start - 1);
    const uint8_t *name = line.data + prefix.len;
    const uint8_t *quote = kap_bytes_starts(line, prefix) ? memchr(name, '"', line.len - prefix.len) : NULL;
    for (uint16_t i = 0; quote && i < kap_kind_enum.n_values; i++) {
        if (!kap_bytes_eq(kap_bytes(name, (size_t)(quote - name)), kap_bytes_str(kap_kind_enum.values[i].name)))
            continue;
        *kind_out = kap_kind_enum.values[i].number;
        return KAP_OK;
    }
    struct kap_typed_row row;
    kap_arena_reset(&import->arena);
    kap_status status = kap_json_parse(&kap_typed_row_msg, line, &import->arena, &row, error);
    if (status == KAP_OK && !row.has_kind)
        return kap_error_set(error, KAP_INVALID, "\"kind\" is missing");
    if (status == KAP_OK)
        *kind_out = row.kind;
    return status;
}

static bool lines_grow(struct import *import)
{
    if (import->n_lines < import->cap_lines)
        return true;
    size_t cap = import->cap_lines ? import->cap_lines * 2 : LINES_CAP_MIN;
    struct line *lines = kap_memory_resize(&import->tool->memory, import->lines, cap * sizeof *lines);
    if (!lines)
        return false;
    import->lines = lines;
    import->cap_lines = cap;
    return true;
}

static struct kap_bytes created_of(struct kap_bytes line)
{
    static const char member[] = "\"created_at\":\""; /* inside a text its quotes would be escaped */
    const uint8_t *at = memmem(line.data, line.len, member, sizeof member - 1);
    if (!at)
        return kap_bytes(NULL, 0);
    at += sizeof member - 1;
    const uint8_t *end = memchr(at, '"', line.len - (size_t)(at - line.data));
    return kap_bytes(at, end ? (size_t)(end - at) : 0);
}

/* A row was made after those of its kind that it refers to: sources, originals of copies, scopes. */
static int line_cmp(const void *a, const void *b)
{
    const struct line *left = a, *right = b;
    if (left->kind != right->kind)
        return left->kind < right->kind ? -1 : 1;
    int order = kap_bytes_cmp(left->created, right->created);
    if (order != 0)
        return order;
    return left->number < right->number ? -1 : left->number > right->number;
}

static kap_status lines_find(struct import *import, struct kap_error *error)
{
    uint32_t number = 0;
    for (size_t at = 0; at < import->text.len;) {
        const uint8_t *data = import->text.data + at, *end = memchr(data, '\n', import->text.len - at);
        size_t len = end ? (size_t)(end - data) : import->text.len - at;
        int32_t kind = 0;
        struct kap_error why = {0};
        number++;
        at += len + 1;
        if (len > 0 && data[len - 1] == '\r')
            len--;
        if (len == 0)
            continue;
        kap_status status = len < UINT32_MAX ? kind_of(import, kap_bytes(data, len), &kind, &why) : KAP_TOO_LARGE;
        if (status != KAP_OK)
            return kap_error_set(error, status, "line %u: %s", number, why.text);
        if (!lines_grow(import))
            return kap_error_set(error, KAP_NO_MEMORY, "no memory for so many lines");
        import->lines[import->n_lines++] = (struct line){.data = data,
                                                         .len = (uint32_t)len,
                                                         .number = number,
                                                         .kind = (uint8_t)kind,
                                                         .created = created_of(kap_bytes(data, len))};
    }
    return KAP_OK;
}

/* ---- blobs */

static kap_status file_import(struct import *import, const char *name, const char *type, struct kap_error *error)
{
    char path[1200], text[HASH_TEXT_BYTES];
    uint8_t hash[32];
    uint64_t size;
    bool was_there, is_new;
    snprintf(path, sizeof path, "%.1000s/%.64s", import->blobs, name);
    if (import->dry_run)
        return access(path, R_OK) == 0 ? KAP_OK : kap_error_set(error, KAP_INVALID, "%s cannot be read", path);
    kap_status status = kap_blob_upload_file(import->tool->client, path, type, hash, &size, &was_there, error);
    if (status != KAP_OK)
        return status;
    hash_print(hash, text);
    if (strcmp(text, name) != 0)
        return kap_error_set(error, KAP_CORRUPT, "%s does not hold what its name says", path);
    *(was_there ? &import->already : &import->uploaded) += 1;
    return hash_set_add(&import->sent, hash, &is_new);
}

static kap_status blob_import(struct import *import, const struct kap_typed_row *row, struct kap_error *error)
{
    struct kap_blob blob;
    char name[HASH_TEXT_BYTES], type[101];
    kap_status status = kap_wire_decode(&kap_blob_msg, row->row, &import->arena, KAP_WIRE_STORED, &blob, NULL);
    if (status != KAP_OK || blob.hash.len != 32)
        return kap_error_set(error, KAP_INVALID, "the line of a blob has no hash");
    hash_print(blob.hash.data, name);
    snprintf(type, sizeof type, "%.*s", (int)KAP_MIN(blob.media_type.len, 100u), (const char *)blob.media_type.data);
    return file_import(import, name, blob.has_media_type ? type : NULL, error);
}

/* ---- rows */

/* A row begins with its Sys, and that with the id: tag, length, tag, 16, id. */
static bool row_id(const struct kap_typed_row *row, struct kap_id *id_out)
{
    static const uint8_t id_start[] = {0x0a, 0x10};
    size_t at = row->row.len > 1 && row->row.data[0] == 0x0a ? 2 : SIZE_MAX;
    if (at == SIZE_MAX || row->row.data[1] >= 0x80 || row->row.len < at + sizeof id_start + sizeof *id_out ||
        memcmp(row->row.data + at, id_start, sizeof id_start) != 0)
        return false;
    memcpy(id_out, row->row.data + at + sizeof id_start, sizeof *id_out);
    return true;
}

static const struct kap_typed_row *row_in(const struct kap_bulk_read_reply *stored, struct kap_id id)
{
    for (size_t i = 0; i < stored->n_rows; i++) {
        struct kap_id found;
        if (row_id(&stored->rows[i], &found) && kap_id_eq(found, id))
            return &stored->rows[i];
    }
    return NULL;
}

/* What would change, by comparing: rows of earlier batches, which these refer to, are not written in a dry run. */
static kap_status rows_compare(struct import *import, struct kap_error *error)
{
    struct kap_row_name names[RESTORE_ROWS];
    struct kap_bulk_read_request request = {.n_rows = import->n_rows, .rows = names};
    struct kap_bulk_read_reply stored;
    for (size_t i = 0; i < import->n_rows; i++) {
        names[i] = (struct kap_row_name){.has_kind = true, .kind = import->rows[i].kind, .has_id = true};
        if (!row_id(&import->rows[i], &names[i].id))
            return kap_error_set(error, KAP_INVALID, "a row has no \"sys\" with an \"id\"");
    }
    kap_status status = kap_client_send(import->tool->client, KAP_OP_BULK_READ, &import->tool->meta, &request,
                                        &import->arena, &stored, error);
    for (size_t i = 0; i < import->n_rows && status == KAP_OK; i++) {
        const struct kap_typed_row *found = row_in(&stored, names[i].id);
        struct kap_typed_row there = found ? *found : (struct kap_typed_row){0};
        if (found)
            status = kap_row_portable(&there, &import->arena, NULL);
        if (status == KAP_OK)
            status = kap_row_portable(&import->rows[i], &import->arena, NULL);
        bool equal = found && kap_bytes_eq(there.row, import->rows[i].row);
        *(!found ? &import->created : equal ? &import->unchanged : &import->replaced) += 1;
    }
    return status;
}

static kap_status restore(struct import *import, size_t first, size_t n, struct kap_error *error)
{
    struct kap_restore_rows_request request = {.n_rows = n, .rows = &import->rows[first]};
    struct kap_restore_rows_reply reply;
    kap_status status = kap_client_send(import->tool->client, KAP_OP_RESTORE_ROWS, &import->tool->meta, &request,
                                        &import->arena, &reply, error);
    if (status != KAP_OK)
        return status;
    import->created += reply.created;
    import->replaced += reply.replaced;
    import->unchanged += reply.unchanged;
    for (size_t i = first; i < first + n; i++)
        import->line_of[i]->is_done = true;
    return KAP_OK;
}

/* All or nothing; a refused batch goes again row by row, and what is refused then waits for the next round: it may refer to
 * a row that comes later. */
static kap_status rows_restore(struct import *import, struct kap_error *error)
{
    struct kap_error why = {0};
    kap_status status = restore(import, 0, import->n_rows, &why);
    if (status != KAP_OK && kap_status_class(status) != KAP_CLASS_REQUEST)
        return kap_error_set(error, status, "%s", why.text);
    for (size_t i = 0; i < import->n_rows && status != KAP_OK; i++) {
        struct kap_error alone = {0};
        kap_status single = restore(import, i, 1, &alone);
        if (single != KAP_OK && kap_status_class(single) != KAP_CLASS_REQUEST)
            return kap_error_set(error, single, "%s", alone.text);
        if (single != KAP_OK && import->refused++ == 0)
            kap_error_set(&import->first_refusal, single, "line %u: %s", import->line_of[i]->number, alone.text);
    }
    return KAP_OK;
}

static kap_status rows_send(struct import *import, struct kap_error *error)
{
    if (import->n_rows == 0)
        return KAP_OK;
    kap_status status = import->dry_run ? rows_compare(import, error) : rows_restore(import, error);
    import->n_rows = import->bytes = 0;
    kap_arena_reset(&import->arena);
    return status;
}

static kap_status line_take(struct import *import, struct line *line, struct kap_error *error)
{
    struct kap_typed_row *row = &import->rows[import->n_rows];
    kap_status status =
        kap_json_parse(&kap_typed_row_msg, kap_bytes(line->data, line->len), &import->arena, row, error);
    if (status != KAP_OK)
        return status;
    if (row->kind == KAP_KIND_BLOB) {
        status = import->blobs ? blob_import(import, row, error) : KAP_OK;
        kap_arena_reset(&import->arena);
        line->is_done = status == KAP_OK;
        return status;
    }
    import->line_of[import->n_rows++] = line;
    import->bytes += row->row.len;
    return import->n_rows == RESTORE_ROWS || import->bytes >= RESTORE_BYTES ? rows_send(import, error) : KAP_OK;
}

static kap_status kind_import(struct import *import, int32_t kind, struct kap_error *error)
{
    uint32_t first = 0, last = 0; /* lines of the batch */
    kap_status status = KAP_OK;
    struct kap_error why = {0};
    for (size_t i = 0; i < import->n_lines && status == KAP_OK; i++) {
        if (import->lines[i].kind != kind || import->lines[i].is_done)
            continue;
        if (import->n_rows == 0)
            first = last = import->lines[i].number;
        first = KAP_MIN(first, import->lines[i].number);
        last = KAP_MAX(last, import->lines[i].number);
        status = line_take(import, &import->lines[i], &why);
    }
    if (status == KAP_OK)
        status = rows_send(import, &why);
    if (status == KAP_OK)
        return KAP_OK;
    return kap_error_set(error, status, "among lines %u to %u: %s", first, last, why.text);
}

/* Blobs, then what others refer to, then the rest by number. An objective may be a sequence's, so sequences precede it.
 * Rows of one kind come in the order in which they were made. */
static const uint8_t first_kinds[] = {
    KAP_KIND_BLOB, KAP_KIND_REF_ITEM, KAP_KIND_TAG,      KAP_KIND_TACTICAL_PRINCIPLE, KAP_KIND_USER,
    KAP_KIND_CLUB, KAP_KIND_SESSION,  KAP_KIND_SEQUENCE, KAP_KIND_EXERCISE,
};

/* Files that no line names: an export of one kind, or of a version without lines of blobs. */
static kap_status files_import(struct import *import, struct kap_error *error)
{
    kap_status status = kind_import(import, KAP_KIND_BLOB, error);
    DIR *directory = status == KAP_OK ? opendir(import->blobs) : NULL;
    if (status == KAP_OK && !directory)
        return kap_error_set(error, KAP_INVALID, "cannot read %s (%s)", import->blobs, strerrorname_np(errno));
    for (const struct dirent *entry; status == KAP_OK && (entry = readdir(directory)) != NULL;) {
        struct kap_bytes hash = kap_hex_parse(kap_bytes_str(entry->d_name), &import->arena);
        bool is_new = false;
        if (hash.data && hash.len == 32)
            status = hash_set_add(&import->sent, hash.data, &is_new);
        if (status == KAP_OK && is_new)
            status = file_import(import, entry->d_name, NULL, error);
        kap_arena_reset(&import->arena);
    }
    if (directory)
        closedir(directory);
    return status;
}

static kap_status round_import(struct import *import, struct kap_error *error)
{
    bool present[256] = {false};
    kap_status status = KAP_OK;
    import->refused = 0;
    import->first_refusal = (struct kap_error){0};
    for (size_t i = 0; i < import->n_lines; i++)
        present[import->lines[i].kind] = true;
    for (size_t i = 0; i < KAP_ARRAY_LEN(first_kinds) + 256 && status == KAP_OK; i++) {
        size_t kind = i < KAP_ARRAY_LEN(first_kinds) ? first_kinds[i] : i - KAP_ARRAY_LEN(first_kinds);
        if (present[kind])
            status = kind_import(import, (int32_t)kind, error);
        present[kind] = false;
    }
    return status;
}

static kap_status all_import(struct import *import, struct kap_error *error)
{
    uint64_t before;
    kap_status status = lines_find(import, error);
    kap_arena_reset(&import->arena);
    if (status == KAP_OK && import->n_lines > 0)
        qsort(import->lines, import->n_lines, sizeof *import->lines, line_cmp);
    if (status == KAP_OK && import->blobs)
        status = files_import(import, error);
    do {
        before = import->created + import->replaced + import->unchanged;
        if (status == KAP_OK)
            status = round_import(import, error);
    } while (status == KAP_OK && import->refused > 0 &&
             import->created + import->replaced + import->unchanged > before);
    if (status == KAP_OK && import->refused > 0)
        return kap_error_set(error, import->first_refusal.status, "%llu rows refused; the first in %s",
                             (unsigned long long)import->refused, import->first_refusal.text);
    return status;
}

/* ---- the file */

/* Standard input may be a pipe: it is put into a file without a name first. */
static int spool(void)
{
    uint8_t piece[SPOOL_BYTES];
    FILE *file = tmpfile();
    size_t got;
    if (!file)
        return -1;
    while ((got = fread(piece, 1, sizeof piece, stdin)) > 0)
        if (fwrite(piece, 1, got, file) != got)
            break;
    bool failed = ferror(stdin) || fflush(file) != 0 || got > 0;
    int fd = failed ? -1 : dup(fileno(file));
    fclose(file);
    return fd;
}

static kap_status text_map(const char *path, struct kap_bytes *text_out, struct kap_error *error)
{
    struct stat stat_buffer;
    int fd = strcmp(path, "-") == 0 ? spool() : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat_buffer) < 0 || !S_ISREG(stat_buffer.st_mode)) {
        if (fd >= 0)
            close(fd);
        return kap_error_set(error, KAP_INVALID, "cannot read %s%s%s", path, fd < 0 ? ": " : "",
                             fd < 0 ? strerrorname_np(errno) : ", which is not a file");
    }
    size_t len = (size_t)stat_buffer.st_size;
    void *data = len > 0 ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (data == MAP_FAILED)
        return kap_error_set(error, KAP_NO_MEMORY, "cannot map %s (%s)", path, strerrorname_np(errno));
    *text_out = kap_bytes(data, len);
    return KAP_OK;
}

static int import_ndjson(struct import *import, const char *path)
{
    struct kap_error error = {0};
    kap_status status = text_map(path, &import->text, &error);
    if (status != KAP_OK)
        return kap_tool_usage(error.text);
    kap_arena_init(&import->arena, &import->tool->memory, 256 * 1024, 0);
    hash_set_init(&import->sent, &import->tool->memory);
    status = all_import(import, &error);
    hash_set_deinit(&import->sent);
    kap_arena_deinit(&import->arena);
    kap_memory_free(&import->tool->memory, import->lines);
    if (import->text.len > 0)
        munmap((void *)(uintptr_t)import->text.data, import->text.len);
    printf("%screated %llu replaced %llu unchanged %llu blobs uploaded %llu already %llu\n",
           import->dry_run ? "would be: " : "", (unsigned long long)import->created,
           (unsigned long long)import->replaced, (unsigned long long)import->unchanged,
           (unsigned long long)import->uploaded, (unsigned long long)import->already);
    return status == KAP_OK ? 0 : kap_tool_fail(status, &error);
}

int kap_import_main(struct kap_tool *tool, int argc, char **argv)
{
    static const struct option options[] = {
        {"blobs", required_argument, NULL, 'b'}, {"dry-run", no_argument, NULL, 'n'}, {0}};
    static struct import import; /* the rows' structs are too many for the stack */
    int letter;
    import = (struct import){.tool = tool};
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == '?')
            return KAP_EXIT_USAGE;
        if (letter == 'b')
            import.blobs = optarg;
        else
            import.dry_run = true;
    }
    const char *format = argc - optind == 2 ? argv[optind] : "";
    if (strcmp(format, "ndjson") == 0)
        return import_ndjson(&import, argv[optind + 1]);
    if (strcmp(format, "free-exercise-db") == 0 && !import.blobs && !import.dry_run)
        return kap_import_exercises(tool, argv[optind + 1]);
    return kap_tool_usage("import ndjson [--blobs DIR] [--dry-run] PATH | -, or import free-exercise-db PATH");
}
