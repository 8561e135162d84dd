#include "engine/wal/wal_reader.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/env/file_name.h"
#include "engine/schema/tree.h"
#include "engine/wal/wal_format.h"

struct log_file {
    uint32_t number;
    uint64_t size;
    struct kap_file *file;
    bool first_valid; /* its first frame is whole */
    uint64_t file_no, incarnation, first_frame;
    uint64_t previous; /* of the first frame */
};

struct walk {
    struct kap_wal_read *read;
    struct kap_error *error;
    struct log_file files[KAP_WAL_SLOTS_MAX];
    uint32_t count;
    uint8_t *bytes; /* of one file at a time */
    size_t cap;
    uint64_t expected, previous; /* frame_no and checksum that the next frame must carry */
    bool started;
};

/* A whole, well-formed frame at bytes + at; its padded length, or 0. */
static size_t frame_check(const struct kap_wal_read *read, const uint8_t *bytes, size_t size, size_t at,
                          struct wal_frame *header_out)
{
    if (size - at < sizeof *header_out)
        return 0;
    memcpy(header_out, bytes + at, sizeof *header_out);
    uint64_t payload = kap_le32_get(header_out->payload_bytes);
    if (kap_le64_get(header_out->magic) != KAP_WAL_MAGIC)
        return 0;
    if (read && kap_le64_get(header_out->store_hash) != read->store_hash)
        return 0;
    if (payload > size - at - sizeof *header_out)
        return 0;
    size_t len = sizeof *header_out + payload;
    if (kap_checksum(bytes + at + 8, len - 8, KAP_SEED_WAL) != kap_le64_get(header_out->checksum))
        return 0;
    return (len + KAP_WAL_ALIGN - 1) & ~(size_t)(KAP_WAL_ALIGN - 1);
}

static void path_of(const struct kap_wal_read *read, uint32_t number, char path[KAP_PATH_BYTES_MAX])
{
    char name[KAP_FILE_NAME_BYTES];
    kap_file_name_print(KAP_FILE_WAL, number, name);
    snprintf(path, KAP_PATH_BYTES_MAX, "%s/%s", read->directory, name);
}

static kap_status file_found(void *context, const char *name)
{
    struct walk *walk = context;
    struct kap_file_name parsed;
    if (!kap_file_name_parse(name, &parsed) || parsed.kind != KAP_FILE_WAL)
        return KAP_OK;
    if (walk->count == KAP_WAL_SLOTS_MAX)
        return kap_error_set(walk->error, KAP_CORRUPT, "more than %d log files in %s", KAP_WAL_SLOTS_MAX,
                             walk->read->directory);
    walk->files[walk->count++].number = (uint32_t)parsed.number;
    return KAP_OK;
}

static kap_status file_open(struct walk *walk, struct log_file *file)
{
    struct kap_wal_read *read = walk->read;
    char path[KAP_PATH_BYTES_MAX];
    path_of(read, file->number, path);
    struct kap_io open = {.op = KAP_IO_OPEN,
                          .name = path,
                          .flags = read->read_only ? KAP_OPEN_READ : KAP_OPEN_WRITE | KAP_OPEN_DIRECT};
    kap_status status = kap_io_wait(read->queue, &open);
    if (status != KAP_OK)
        return kap_error_set(walk->error, status, "cannot open %s: %s", path, kap_status_sentence(status));
    file->file = open.file_out;
    struct kap_io size = {.op = KAP_IO_SIZE, .file = file->file};
    status = kap_io_wait(read->queue, &size);
    file->size = size.size_out;
    return status;
}

/* The whole file into walk->bytes. */
static kap_status file_load(struct walk *walk, const struct log_file *file, size_t *len_out)
{
    struct kap_memory *memory = &walk->read->env->memory;
    size_t want = (file->size + KAP_WAL_ALIGN - 1) & ~(size_t)(KAP_WAL_ALIGN - 1);
    if (want > walk->cap) {
        kap_memory_free(memory, walk->bytes);
        walk->cap = 0;
        walk->bytes = kap_memory_alloc_aligned(memory, KAP_DIRECT_ALIGN, want);
        if (!walk->bytes)
            return KAP_NO_MEMORY;
        walk->cap = want;
    }
    struct kap_io io = {.op = KAP_IO_READ, .file = file->file, .data = walk->bytes, .len = want};
    kap_status status = want ? kap_io_wait(walk->read->queue, &io) : KAP_OK;
    if (status != KAP_OK)
        return kap_error_set(walk->error, status, "cannot read log file wal-%08x.log: %s", file->number,
                             kap_status_sentence(status));
    *len_out = want ? io.transferred : 0;
    return KAP_OK;
}

static int by_file_no(const void *a, const void *b)
{
    const struct log_file *x = a, *y = b;
    if (x->first_valid != y->first_valid)
        return x->first_valid ? -1 : 1;
    return x->file_no < y->file_no ? -1 : x->file_no > y->file_no;
}

/* Opens every file and reads its first frame. A frame can be as large as the file, so this loads them all; the log is
 * bounded by design. */
static kap_status files_open(struct walk *walk)
{
    kap_status status = kap_env_list(walk->read->env, walk->read->directory, file_found, walk);
    for (uint32_t i = 0; i < walk->count && status == KAP_OK; i++) {
        struct log_file *file = &walk->files[i];
        struct wal_frame header;
        size_t len;
        status = file_open(walk, file);
        if (status == KAP_OK)
            status = file_load(walk, file, &len);
        if (status != KAP_OK || frame_check(walk->read, walk->bytes, len, 0, &header) == 0)
            continue;
        file->first_valid = true;
        file->file_no = kap_le64_get(header.file_no);
        file->incarnation = kap_le64_get(header.incarnation);
        file->first_frame = kap_le64_get(header.frame_no);
        file->previous = kap_le64_get(header.previous);
    }
    if (status == KAP_OK)
        qsort(walk->files, walk->count, sizeof walk->files[0], by_file_no);
    return status;
}

static kap_status malformed(struct walk *walk, const struct log_file *file, size_t at, const char *what)
{
    return kap_error_set(walk->error, KAP_CORRUPT,
                         "log file wal-%08x.log, frame at offset %zu: %s although its checksum matches", file->number, at,
                         what);
}

static kap_status frame_replay(struct walk *walk, const struct log_file *file, size_t frame_at,
                               const struct wal_frame *header)
{
    struct kap_wal_read *read = walk->read;
    const uint8_t *at = walk->bytes + frame_at + sizeof *header;
    const uint8_t *end = at + kap_le32_get(header->payload_bytes);
    for (uint32_t left = kap_le32_get(header->commits); left > 0; left--) {
        struct wal_commit commit;
        if ((size_t)(end - at) < sizeof commit)
            return malformed(walk, file, frame_at, "a commit is cut off");
        memcpy(&commit, at, sizeof commit);
        at += sizeof commit;
        uint64_t seq = kap_le64_get(commit.seq);
        if (kap_le32_get(commit.bytes) > (size_t)(end - at) || seq <= read->position.last_seq)
            return malformed(walk, file, frame_at, "a commit does not fit or its number does not rise");
        const uint8_t *commit_end = at + kap_le32_get(commit.bytes);
        for (uint32_t n = kap_le32_get(commit.operations); n > 0; n--) {
            struct wal_operation operation;
            if ((size_t)(commit_end - at) < sizeof operation)
                return malformed(walk, file, frame_at, "an operation is cut off");
            memcpy(&operation, at, sizeof operation);
            at += sizeof operation;
            size_t key = kap_le16_get(operation.key_bytes), value = kap_le32_get(operation.value_bytes);
            if (key + value > (size_t)(commit_end - at) || key < KAP_TREE_BYTES || key > KAP_KEY_BYTES_MAX ||
                value > KAP_VALUE_BYTES_MAX)
                return malformed(walk, file, frame_at, "an operation does not fit");
            struct kap_entry entry = {
                .key = kap_bytes(at, key), .value = kap_bytes(at + key, value), .seq = seq, .type = operation.type};
            at += key + value;
            if (seq <= read->after_seq)
                continue;
            kap_status status = read->operation(read->context, &entry, (int64_t)kap_le64_get(commit.wall_us));
            if (status != KAP_OK)
                return status;
        }
        if (at != commit_end)
            return malformed(walk, file, frame_at, "a commit has bytes left over");
        read->position.last_seq = seq;
        read->last_wall_us = (int64_t)kap_le64_get(commit.wall_us);
        read->commits += seq > read->after_seq;
    }
    return KAP_OK;
}

/* After the walk ended at walk->expected: does anything promise that frame durable? Looks at every 4 KiB boundary of
 * what was loaded, since a frame can start at any of them. */
static kap_status promise_look(struct walk *walk, const struct log_file *file, size_t from, size_t len)
{
    for (size_t at = from; at + sizeof(struct wal_frame) <= len; at += KAP_WAL_ALIGN) {
        struct wal_frame header;
        if (frame_check(walk->read, walk->bytes, len, at, &header) == 0)
            continue;
        if (kap_le64_get(header.frame_no) > walk->expected && kap_le64_get(header.durable_upto) >= walk->expected)
            return kap_error_set(walk->error, KAP_CORRUPT,
                                 "the log is damaged: frame %llu is missing or bad, but frame %llu in wal-%08x.log at "
                                 "offset %zu proves that it was durable; restore the directory from a snapshot or backup",
                                 (unsigned long long)walk->expected,
                                 (unsigned long long)kap_le64_get(header.frame_no), file->number, at);
    }
    return KAP_OK;
}

/* Replays file from its start; at_out is where the chain stops in it. */
static kap_status file_replay(struct walk *walk, const struct log_file *file, size_t *at_out, size_t *len_out)
{
    size_t at = 0, len;
    kap_status status = file_load(walk, file, &len);
    while (status == KAP_OK) {
        struct wal_frame header;
        size_t bytes = frame_check(walk->read, walk->bytes, len, at, &header);
        if (bytes == 0 || kap_le64_get(header.incarnation) != file->incarnation)
            break;
        if (kap_le64_get(header.frame_no) != walk->expected)
            break;
        if (walk->started && kap_le64_get(header.previous) != walk->previous)
            break;
        walk->started = true;
        walk->expected = kap_le64_get(header.frame_no) + 1;
        walk->previous = kap_le64_get(header.checksum);
        status = frame_replay(walk, file, at, &header);
        walk->read->frames++;
        walk->read->bytes += bytes;
        at += bytes;
    }
    *at_out = at;
    *len_out = len;
    return status;
}

static bool chain_continues(const struct walk *walk, uint32_t next)
{
    const struct log_file *file = &walk->files[next];
    return next < walk->count && file->first_valid && file->first_frame == walk->expected &&
           file->previous == walk->previous;
}

/* Is there a frame of this very use of the slot, but not a whole one? Frames of an earlier use are no tail. */
static bool tail_torn(const struct walk *walk, const struct log_file *file, size_t at, size_t len)
{
    struct wal_frame header;
    if (len - at < sizeof header)
        return false;
    memcpy(&header, walk->bytes + at, sizeof header);
    return kap_le64_get(header.magic) == KAP_WAL_MAGIC && kap_le64_get(header.incarnation) == file->incarnation;
}

/* Files in the order of their use. A file may also begin a frame that a restart wrote again after cutting the same one
 * from an earlier file, so a successor is looked for among all later files. */
static kap_status chain_walk(struct walk *walk)
{
    uint32_t i = 0;
    size_t at = 0, len = 0;
    kap_status status = KAP_OK;
    while (i < walk->count && walk->files[i].first_valid && walk->files[i].file_no < walk->read->first_file_no)
        i++;
    if (i == walk->count || !walk->files[i].first_valid)
        return KAP_OK;
    if (walk->files[i].file_no > walk->read->first_file_no) /* uses of slots are numbered without gaps */
        return kap_error_set(walk->error, KAP_CORRUPT,
                             "the log is damaged: file number %llu is missing, the oldest there is %llu; restore the "
                             "directory from a snapshot or backup",
                             (unsigned long long)walk->read->first_file_no,
                             (unsigned long long)walk->files[i].file_no);
    for (;;) {
        status = file_replay(walk, &walk->files[i], &at, &len);
        if (status != KAP_OK)
            return status;
        status = promise_look(walk, &walk->files[i], at, len);
        if (status != KAP_OK)
            return status;
        walk->read->cut |= tail_torn(walk, &walk->files[i], at, len);
        uint32_t next = i + 1;
        while (next < walk->count && !chain_continues(walk, next))
            next++;
        if (next >= walk->count)
            return KAP_OK;
        i = next;
    }
}

/* Files whose first frame did not continue the chain may still prove that it goes on. */
static kap_status others_look(struct walk *walk)
{
    for (uint32_t i = 0; i < walk->count; i++) {
        size_t len;
        if (walk->files[i].first_valid && walk->files[i].first_frame < walk->expected)
            continue;
        kap_status status = file_load(walk, &walk->files[i], &len);
        if (status == KAP_OK)
            status = promise_look(walk, &walk->files[i], 0, len);
        if (status != KAP_OK)
            return status;
    }
    if (walk->expected <= walk->read->durable_frame)
        return kap_error_set(walk->error, KAP_CORRUPT,
                             "the log is damaged: it ends before frame %llu, but the superblock says that frame %llu is "
                             "durable; restore the directory from a snapshot or backup",
                             (unsigned long long)walk->expected, (unsigned long long)walk->read->durable_frame);
    return KAP_OK;
}

/* A process that was killed may have left frames in a cache. Whoever serves them must not lose them later. */
static kap_status files_sync(struct walk *walk)
{
    for (uint32_t i = 0; i < walk->count; i++) {
        struct log_file *file = &walk->files[i];
        if (!file->first_valid || file->file_no < walk->read->first_file_no)
            continue;
        struct kap_io io = {.op = KAP_IO_SYNC, .file = file->file, .sync_point = "recovered_log"};
        kap_status status = kap_io_wait(walk->read->queue, &io);
        if (status != KAP_OK)
            return kap_error_set(walk->error, status, "cannot sync log file wal-%08x.log: %s", file->number,
                                 kap_status_sentence(status));
    }
    return KAP_OK;
}

static void files_close(struct walk *walk)
{
    for (uint32_t i = 0; i < walk->count; i++) {
        struct kap_io io = {.op = KAP_IO_CLOSE, .file = walk->files[i].file};
        if (walk->files[i].file && kap_io_wait(walk->read->queue, &io) != KAP_OK)
            continue; /* the handle is gone either way */
    }
}

/* Every slot that ends up in use is at or after first_file_no; the writer never continues inside one of them. A slot of
 * another size (the setting changed) is kept until it is no longer needed, then forgotten by name: it is not handed out
 * as a spare. */
static void slots_hand_over(struct walk *walk)
{
    struct kap_wal_read *read = walk->read;
    uint64_t newest = read->first_file_no ? read->first_file_no - 1 : 0;
    for (uint32_t i = 0; i < walk->count; i++) {
        const struct log_file *file = &walk->files[i];
        bool live = file->first_valid && file->file_no >= read->first_file_no;
        if (live && file->file_no > newest)
            newest = file->file_no;
        struct kap_wal_slot slot = {.number = file->number, .file_no = live ? file->file_no : 0, .file = file->file};
        if (!live && file->size != read->file_bytes)
            slot.file_no = UINT64_MAX; /* never spare: too small or too large */
        KAP_ASSERT(kap_wal_slots_add(read->slots, slot));
    }
    read->position.next_file_no = newest + 1;
    read->position.next_frame_no = walk->expected;
    read->position.previous_checksum = walk->previous;
}

kap_status kap_wal_read(struct kap_wal_read *read, struct kap_error *error)
{
    struct kap_memory *memory = &read->env->memory;
    struct walk *walk = kap_memory_alloc(memory, sizeof *walk);
    if (!walk)
        return KAP_NO_MEMORY;
    walk->read = read;
    walk->error = error;
    walk->expected = read->first_frame_no ? read->first_frame_no : 1;
    read->position = (struct kap_wal_position){.store_hash = read->store_hash};
    kap_status status = files_open(walk);
    if (status == KAP_OK)
        status = chain_walk(walk);
    if (status == KAP_OK)
        status = others_look(walk);
    if (status == KAP_OK && !read->read_only)
        status = files_sync(walk);
    if (status == KAP_OK && read->position.last_seq < read->after_seq)
        read->position.last_seq = read->after_seq;
    if (status != KAP_OK || read->read_only)
        files_close(walk);
    else
        slots_hand_over(walk);
    kap_memory_free(memory, walk->bytes);
    kap_memory_free(memory, walk);
    return status;
}

kap_status kap_wal_describe(struct kap_bytes file, void (*line)(void *context, const char *text), void *context)
{
    char text[256];
    size_t at = 0;
    while (at + sizeof(struct wal_frame) <= file.len) {
        struct wal_frame header;
        size_t bytes = frame_check(NULL, file.data, file.len, at, &header);
        if (bytes == 0)
            break;
        snprintf(text, sizeof text,
                 "offset=%zu file_no=%llu frame_no=%llu seq=%llu..%llu commits=%u payload_bytes=%u durable_upto=%llu", at,
                 (unsigned long long)kap_le64_get(header.file_no), (unsigned long long)kap_le64_get(header.frame_no),
                 (unsigned long long)kap_le64_get(header.first_seq), (unsigned long long)kap_le64_get(header.last_seq),
                 kap_le32_get(header.commits), kap_le32_get(header.payload_bytes),
                 (unsigned long long)kap_le64_get(header.durable_upto));
        line(context, text);
        at += bytes;
    }
    snprintf(text, sizeof text, "no further frame at offset=%zu of %zu", at, file.len);
    line(context, text);
    return KAP_OK;
}
