#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/checksum.h"
#include "engine/base/uuid.h"
#include "engine/blob/blob_format.h"
#include "engine/env/file_name.h"
#include "engine/manifest/manifest.h"
#include "engine/manifest/manifest_format.h"
#include "engine/segment/segment_format.h"
#include "engine/wal/wal_format.h"
#include "engine/wal/wal_reader.h"
#include "tools/kapctl/chunk.h"
#include "tools/kapctl/inspect.h"

static void damage_note(json_t *document, uint64_t offset, const char *what)
{
    json_array_append_new(out_list(document, "damage"),
                          json_sprintf("offset %llu: %s", (unsigned long long)offset, what));
}

struct lines {
    json_t *list;
    bool as_json;
};

/* Records differ in what they hold: lines for people, objects for programs. */
static void line_add(void *context, const char *text)
{
    const struct lines *lines = context;
    if (lines->as_json)
        out_pairs(lines->list, text + strspn(text, " "));
    else
        json_array_append_new(lines->list, json_string(text));
}

static enum ctl_exit inspect_wal(const struct inspect_input *input, json_t *document)
{
    struct lines lines = {out_list(document, "frames"), input->ctl->json};
    return ctl_exit_of(kap_wal_describe(input->bytes, line_add, &lines));
}

static enum ctl_exit inspect_manifest(const struct inspect_input *input, json_t *document)
{
    struct lines lines = {out_list(document, "records"), input->ctl->json};
    kap_manifest_describe(input->bytes, line_add, &lines);
    if (json_array_size(lines.list) > 1)
        return CTL_OK;
    damage_note(document, 0, "no whole record");
    return CTL_CORRUPT;
}

static enum ctl_exit inspect_superblock(const struct inspect_input *input, json_t *document)
{
    static const uint8_t unwritten[KAP_SUPERBLOCK_COPY_BYTES];
    enum ctl_exit result = CTL_OK;
    for (uint32_t i = 0; i < KAP_SUPERBLOCK_COPIES; i++) {
        struct superblock_copy copy;
        char id[KAP_UUID_TEXT_BYTES];
        struct kap_id store_id;
        uint64_t at = (uint64_t)i * sizeof copy;
        json_t *row = out_row(out_list(document, "copies"));
        out_number(row, "offset", at);
        if (at + sizeof copy > input->bytes.len || memcmp(input->bytes.data + at, unwritten, sizeof unwritten) == 0) {
            out_text(row, "state", "unwritten");
            continue;
        }
        memcpy(&copy, input->bytes.data + at, sizeof copy);
        bool whole = kap_le64_get(copy.magic) == KAP_SUPERBLOCK_MAGIC &&
                     kap_checksum(input->bytes.data + at + 8, sizeof copy - 8, KAP_SEED_SUPERBLOCK) ==
                         kap_le64_get(copy.checksum);
        out_text(row, "state", whole ? "whole" : "damaged");
        if (!whole) {
            damage_note(document, at, "the copy does not match its checksum");
            result = CTL_CORRUPT;
            continue;
        }
        memcpy(store_id.bytes, copy.store_id, sizeof store_id.bytes);
        kap_uuid_print(store_id, id);
        out_number(row, "format", kap_le32_get(copy.format));
        out_number(row, "generation", kap_le64_get(copy.generation));
        out_text(row, "store_id", "%s", id);
        out_text(row, "manifest", "manifest-%08llx", (unsigned long long)kap_le64_get(copy.manifest_no));
        out_number(row, "durable_frame", kap_le64_get(copy.durable_frame));
        out_number(row, "wal_bytes", kap_le64_get(copy.wal_bytes));
    }
    return result;
}

/* The next whole chunk header at or after at; the end of the file when there is none. */
static uint64_t chunk_find(struct kap_bytes file, uint64_t at)
{
    struct chunk_check check;
    kap_le64 magic = kap_le64_of(KAP_CHUNK_MAGIC);
    while (at + 8 < file.len) {
        const uint8_t *found = memmem(file.data + at + 8, file.len - at - 8, &magic, sizeof magic);
        if (!found)
            return file.len;
        at = (uint64_t)(found - file.data) - 8;
        if (!chunk_check(kap_bytes(file.data + at, file.len - at), at, &check))
            return at;
        at++;
    }
    return file.len;
}

enum ctl_exit inspect_pack(const struct inspect_input *input, json_t *document)
{
    struct kap_bytes file = input->bytes;
    enum ctl_exit result = CTL_OK;
    for (uint64_t at = 0; at < file.len;) {
        struct chunk_check check;
        json_t *row = out_row(out_list(document, "chunks"));
        const char *fault = chunk_check(kap_bytes(file.data + at, file.len - at), at, &check);
        out_number(row, "offset", at);
        if (fault) { /* what an upload that was cut short leaves, or damage: verify knows whether a blob needs it */
            uint64_t next = chunk_find(file, at + 1);
            out_number(row, "bytes", next - at);
            out_text(row, "state", "%s", fault);
            at = next;
            continue;
        }
        out_number(row, "bytes", check.bytes);
        out_number(row, "pieces", check.pieces);
        out_text(row, "store_hash", "%016llx", (unsigned long long)check.store_hash);
        out_text(row, "state", check.bad_pieces ? "damaged" : "whole");
        if (check.bad_pieces) {
            damage_note(document, at + sizeof(struct blob_chunk) + check.first_bad,
                        "a piece of the chunk does not match its checksum");
            result = CTL_CORRUPT;
        }
        at += sizeof(struct blob_chunk) + check.bytes;
    }
    return result;
}

static enum ctl_exit inspect_info(const struct inspect_input *input, json_t *document)
{
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)input->bytes.len, (const char *)input->bytes.data);
    for (char *at = text; (at = strchr(at, '\n'));)
        *at = ' ';
    out_pairs(out_list(document, "snapshot"), text);
    return CTL_OK;
}

/* By its name, else by the magic that stands in it. 0: nothing of ours. */
static enum kap_file_kind kind_of(const char *base, struct inspect_input *input)
{
    struct kap_file_name name;
    if (kap_file_name_parse(base, &name)) {
        input->number = name.number;
        input->has_number = name.of == KAP_FILE_SEGMENT;
        return name.of;
    }
    uint64_t first = input->bytes.len >= 16 ? kap_le64_load(input->bytes.data + 8) : 0;
    uint64_t last = input->bytes.len >= KAP_SEGMENT_ALIGN
                        ? kap_le64_load(input->bytes.data + input->bytes.len - sizeof(struct segment_footer) + 8)
                        : 0;
    if (last == KAP_SEGMENT_MAGIC)
        return KAP_FILE_SEGMENT;
    switch (first) {
    case KAP_WAL_MAGIC:
        return KAP_FILE_WAL;
    case KAP_MANIFEST_MAGIC:
        return KAP_FILE_MANIFEST;
    case KAP_SUPERBLOCK_MAGIC:
        return KAP_FILE_SUPERBLOCK;
    case KAP_CHUNK_MAGIC:
        return KAP_FILE_PACK;
    default:
        return 0;
    }
}

static enum ctl_exit file_describe(const char *path, struct inspect_input *input, json_t *document)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    struct kap_error error = {0};
    out_text(document, "file", "%s", path);
    out_number(document, "bytes", input->bytes.len);
    if (strcmp(base, "info") == 0)
        return inspect_info(input, document);
    switch (kind_of(base, input)) {
    case KAP_FILE_WAL:
        return inspect_wal(input, document);
    case KAP_FILE_MANIFEST:
        return inspect_manifest(input, document);
    case KAP_FILE_SUPERBLOCK:
        return inspect_superblock(input, document);
    case KAP_FILE_SEGMENT:
        return inspect_segment(input, document);
    case KAP_FILE_PACK:
        return inspect_pack(input, document);
    default:
        kap_error_set(&error, KAP_INVALID,
                      "%s is not a file of a store; there are wal-*.log, seg-*.kap, manifest-*, superblock, "
                      "blobs/pack-*.blob and snapshots/NAME/info",
                      path);
        return ctl_fail(&error);
    }
}

static kap_status file_load(struct kap_memory *memory, const char *path, uint64_t bytes, uint8_t **data_out)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = kap_memory_alloc_aligned(memory, 4096, (size_t)bytes + 1);
    size_t got = file && data ? fread(data, 1, (size_t)bytes, file) : 0;
    if (file)
        fclose(file);
    if (!data || got != bytes) {
        kap_memory_free(memory, data);
        return data ? KAP_IO : KAP_NO_MEMORY;
    }
    *data_out = data;
    return KAP_OK;
}

enum ctl_exit inspect_run(const struct ctl *ctl)
{
    struct stat about;
    struct kap_error error = {0};
    struct kap_memory memory = {0};
    uint8_t *data = NULL;
    enum ctl_exit result;
    if (ctl->argc != 1)
        return ctl_usage("inspect wants one FILE or DIR");
    const char *path = ctl->argv[0];
    if (stat(path, &about) != 0) {
        kap_error_set(&error, KAP_NO_FILE, "cannot look at %s: %s", path, strerror(errno));
        return ctl_fail(&error);
    }
    json_t *document = json_object();
    if (S_ISDIR(about.st_mode)) {
        result = inspect_directory(ctl, path, document);
    } else {
        kap_status status = file_load(&memory, path, (uint64_t)about.st_size, &data);
        if (status != KAP_OK) {
            json_decref(document);
            kap_error_set(&error, status, "cannot read %s: %s", path, kap_status_sentence(status));
            return ctl_fail(&error);
        }
        struct inspect_input input = {.memory = &memory, .ctl = ctl, .bytes = kap_bytes(data, (size_t)about.st_size)};
        result = file_describe(path, &input, document);
    }
    if (result == CTL_OK || result == CTL_CORRUPT)
        out_print(document, ctl->json);
    else
        json_decref(document);
    kap_memory_free(&memory, data);
    return result;
}
