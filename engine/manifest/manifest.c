#include "engine/manifest/manifest.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/base/varint.h"
#include "engine/manifest/manifest_format.h"

void kap_manifest_state_init(struct kap_manifest_state *state, struct kap_memory *memory)
{
    *state = (struct kap_manifest_state){.memory = memory, .next_file_id = 1, .wal_first_file_no = 1,
                                          .wal_first_frame_no = 1};
}

static void file_keys_free(struct kap_manifest_state *state, struct kap_manifest_file *file)
{
    kap_memory_free(state->memory, (void *)(uintptr_t)file->meta.smallest.data); /* one block holds both keys */
}

void kap_manifest_state_deinit(struct kap_manifest_state *state)
{
    for (uint32_t i = 0; i < state->n_files; i++)
        file_keys_free(state, &state->files[i]);
    kap_memory_free(state->memory, state->files);
    kap_memory_free(state->memory, state->indexes);
    kap_memory_free(state->memory, state->descriptor_set);
    *state = (struct kap_manifest_state){.memory = state->memory};
}

static struct kap_manifest_file *file_find(struct kap_manifest_state *state, uint64_t file_id)
{
    for (uint32_t i = 0; i < state->n_files; i++)
        if (state->files[i].meta.file_id == file_id)
            return &state->files[i];
    return NULL;
}

static bool file_copy(struct kap_manifest_state *state, const struct kap_manifest_file *file,
                      struct kap_manifest_file *copy_out)
{
    const struct kap_segment_meta *meta = &file->meta;
    uint8_t *keys = kap_memory_alloc(state->memory, meta->smallest.len + meta->largest.len + 1);
    if (!keys)
        return false;
    *copy_out = *file;
    if (meta->smallest.len)
        memcpy(keys, meta->smallest.data, meta->smallest.len);
    if (meta->largest.len)
        memcpy(keys + meta->smallest.len, meta->largest.data, meta->largest.len);
    copy_out->meta.smallest = kap_bytes(keys, meta->smallest.len);
    copy_out->meta.largest = kap_bytes(keys + meta->smallest.len, meta->largest.len);
    return true;
}

static bool files_reserve(struct kap_manifest_state *state, uint32_t more)
{
    if (state->n_files + more <= state->cap_files)
        return true;
    uint32_t cap = state->cap_files ? state->cap_files * 2 : 16;
    while (cap < state->n_files + more)
        cap *= 2;
    struct kap_manifest_file *files = kap_memory_resize(state->memory, state->files, cap * sizeof *files);
    if (!files)
        return false;
    state->files = files;
    state->cap_files = cap;
    return true;
}

kap_status kap_manifest_state_apply(struct kap_manifest_state *state, const struct kap_manifest_edit *edit)
{
    for (uint32_t i = 0; i < edit->n_remove; i++)
        if (!file_find(state, edit->remove[i]))
            return KAP_CORRUPT;
    if (!files_reserve(state, edit->n_add))
        return KAP_NO_MEMORY;
    uint32_t added = 0;
    for (; added < edit->n_add; added++) { /* beyond n_files until all of them are there */
        bool moved = false;                /* a trivial move removes and adds the same file */
        for (uint32_t r = 0; r < edit->n_remove; r++)
            moved |= edit->remove[r] == edit->add[added].meta.file_id;
        if (!moved && file_find(state, edit->add[added].meta.file_id))
            break;
        if (!file_copy(state, &edit->add[added], &state->files[state->n_files + added]))
            break;
    }
    if (added < edit->n_add) {
        bool twice = file_find(state, edit->add[added].meta.file_id) != NULL;
        while (added > 0)
            file_keys_free(state, &state->files[state->n_files + --added]);
        return twice ? KAP_CORRUPT : KAP_NO_MEMORY;
    }
    for (uint32_t i = 0; i < edit->n_remove; i++) {
        struct kap_manifest_file *file = file_find(state, edit->remove[i]);
        file_keys_free(state, file);
        *file = state->files[--state->n_files];
        if (edit->n_add) /* the added ones stand right behind: the last of them fills the hole */
            state->files[state->n_files] = state->files[state->n_files + edit->n_add];
    }
    state->n_files += edit->n_add;
    if (edit->flushed_seq)
        state->flushed_seq = edit->flushed_seq;
    if (edit->wal_first_file_no)
        state->wal_first_file_no = edit->wal_first_file_no;
    if (edit->wal_first_frame_no)
        state->wal_first_frame_no = edit->wal_first_frame_no;
    if (edit->next_file_id)
        state->next_file_id = edit->next_file_id;
    return KAP_OK;
}

uint64_t kap_manifest_state_checksum(const struct kap_manifest_state *state)
{
    uint64_t sum = kap_checksum(&state->flushed_seq, sizeof state->flushed_seq, KAP_SEED_FILE_SET);
    for (uint32_t i = 0; i < state->n_files; i++) {
        const struct kap_segment_meta *meta = &state->files[i].meta;
        uint64_t words[4] = {state->files[i].level, meta->file_id, meta->file_bytes, meta->tail_checksum};
        sum += kap_checksum(words, sizeof words, KAP_SEED_FILE_SET);
    }
    return sum;
}

static int index_cmp(const void *a, const void *b)
{
    return (int)((const struct kap_manifest_index *)a)->id - (int)((const struct kap_manifest_index *)b)->id;
}

static struct kap_manifest_index *index_find(const struct kap_manifest_state *state, uint16_t id)
{
    for (uint32_t i = 0; i < state->n_indexes; i++)
        if (state->indexes[i].id == id)
            return &state->indexes[i];
    return NULL;
}

static kap_status index_add(struct kap_manifest_state *state, struct kap_manifest_index index)
{
    if (state->n_indexes == state->cap_indexes) {
        uint32_t cap = state->cap_indexes ? state->cap_indexes * 2 : 32;
        struct kap_manifest_index *grown = kap_memory_resize(state->memory, state->indexes, cap * sizeof *grown);
        if (!grown)
            return KAP_NO_MEMORY;
        state->indexes = grown;
        state->cap_indexes = cap;
    }
    state->indexes[state->n_indexes++] = index;
    qsort(state->indexes, state->n_indexes, sizeof state->indexes[0], index_cmp);
    return KAP_OK;
}

static kap_status descriptor_set_take(struct kap_manifest_state *state, struct kap_bytes bytes)
{
    uint8_t *copy = kap_memory_alloc(state->memory, bytes.len + 1);
    if (!copy)
        return KAP_NO_MEMORY;
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    kap_memory_free(state->memory, state->descriptor_set);
    state->descriptor_set = copy;
    state->descriptor_set_bytes = bytes.len;
    return KAP_OK;
}

kap_status kap_manifest_state_adopt(struct kap_manifest_state *state, const struct kap_schema *schema, bool fresh,
                                    struct kap_error *error)
{
    if (state->schema_version > schema->version)
        return kap_error_set(error, KAP_NEWER_FORMAT,
                             "the store's catalogue has schema version %u and this kapd knows version %u; use a newer kapd",
                             state->schema_version, schema->version);
    for (uint32_t i = 0; i < state->n_indexes; i++) {
        const struct kap_index_desc *desc = kap_schema_index(schema, state->indexes[i].id);
        if (!desc)
            return kap_error_set(error, KAP_NEWER_FORMAT,
                                 "the store's catalogue has index %u, which this kapd does not know; use a newer kapd",
                                 state->indexes[i].id);
        if (desc->definition_hash != state->indexes[i].definition_hash)
            return kap_error_set(error, KAP_NEWER_FORMAT,
                                 "index %u (%s) was built under another definition (%016llx, this kapd has %016llx); use "
                                 "the kapd that wrote the store",
                                 desc->id, desc->name, (unsigned long long)state->indexes[i].definition_hash,
                                 (unsigned long long)desc->definition_hash);
    }
    for (uint16_t i = 0; i < schema->n_indexes; i++) {
        const struct kap_index_desc *desc = &schema->indexes[i];
        if (index_find(state, desc->id))
            continue;
        kap_status status = index_add(state, (struct kap_manifest_index){
                                                 .id = desc->id,
                                                 .definition_hash = desc->definition_hash,
                                                 .state = fresh ? KAP_INDEX_PUBLIC : KAP_INDEX_BUILDING});
        if (status != KAP_OK)
            return status;
    }
    state->schema_version = schema->version;
    state->schema_hash = schema->hash;
    return descriptor_set_take(state, schema->descriptor_set);
}

bool kap_manifest_state_index_public(const struct kap_manifest_state *state, uint16_t id)
{
    const struct kap_manifest_index *index = index_find(state, id);
    return index && index->state == KAP_INDEX_PUBLIC;
}

/* Encoding. */

static void key_append(struct kap_buffer *out, struct kap_bytes key)
{
    kap_buffer_append_varint(out, key.len);
    kap_buffer_append(out, key.data, key.len);
}

static void file_append(struct kap_buffer *out, const struct kap_manifest_file *file)
{
    const struct kap_segment_meta *meta = &file->meta;
    const uint64_t numbers[] = {MANIFEST_ADD,     file->level,         meta->file_id, meta->file_bytes, meta->tail_offset,
                                meta->tail_bytes, meta->tail_checksum, meta->entries, meta->deletes,    meta->seq_min,
                                meta->seq_max,    meta->raw_bytes,     meta->content_hash, meta->tree_count};
    for (size_t i = 0; i < KAP_ARRAY_LEN(numbers); i++)
        kap_buffer_append_varint(out, numbers[i]);
    key_append(out, meta->smallest);
    key_append(out, meta->largest);
}

static void tagged_append(struct kap_buffer *out, enum manifest_tag tag, uint64_t value)
{
    if (value == 0)
        return;
    kap_buffer_append_varint(out, tag);
    kap_buffer_append_varint(out, value);
}

static size_t record_begin(struct kap_buffer *out)
{
    static const uint8_t zeros[sizeof(struct manifest_record)];
    size_t start = out->len;
    kap_buffer_append(out, zeros, sizeof zeros);
    return start;
}

static void record_end(struct kap_buffer *out, size_t start, uint64_t store_hash, uint64_t edit_no, uint64_t set_checksum)
{
    if (out->failed)
        return;
    size_t len = out->len - start;
    struct manifest_record record = {
        .magic = kap_le64_of(KAP_MANIFEST_MAGIC),
        .store_hash = kap_le64_of(store_hash),
        .edit_no = kap_le64_of(edit_no),
        .set_checksum = kap_le64_of(set_checksum),
        .payload_bytes = kap_le32_of((uint32_t)(len - sizeof record)),
    };
    memcpy(out->data + start, &record, sizeof record);
    kap_le64_store(out->data + start, kap_checksum(out->data + start + 8, len - 8, KAP_SEED_MANIFEST));
    size_t pad = (KAP_MANIFEST_ALIGN - len % KAP_MANIFEST_ALIGN) % KAP_MANIFEST_ALIGN;
    if (kap_buffer_reserve(out, pad)) {
        memset(out->data + out->len, 0, pad);
        out->len += pad;
    }
}

void kap_manifest_record_edit(struct kap_buffer *out, uint64_t store_hash, uint64_t edit_no,
                              const struct kap_manifest_edit *edit, uint64_t set_checksum)
{
    size_t start = record_begin(out);
    for (uint32_t i = 0; i < edit->n_remove; i++)
        tagged_append(out, MANIFEST_REMOVE, edit->remove[i]);
    for (uint32_t i = 0; i < edit->n_add; i++)
        file_append(out, &edit->add[i]);
    tagged_append(out, MANIFEST_FLUSHED_SEQ, edit->flushed_seq);
    tagged_append(out, MANIFEST_WAL_FIRST, edit->wal_first_file_no);
    tagged_append(out, MANIFEST_WAL_FRAME, edit->wal_first_frame_no);
    tagged_append(out, MANIFEST_NEXT_FILE_ID, edit->next_file_id);
    record_end(out, start, store_hash, edit_no, set_checksum);
}

void kap_manifest_record_state(struct kap_buffer *out, uint64_t store_hash, const struct kap_manifest_state *state)
{
    size_t start = record_begin(out);
    for (uint32_t i = 0; i < state->n_files; i++)
        file_append(out, &state->files[i]);
    tagged_append(out, MANIFEST_FLUSHED_SEQ, state->flushed_seq);
    tagged_append(out, MANIFEST_WAL_FIRST, state->wal_first_file_no);
    tagged_append(out, MANIFEST_WAL_FRAME, state->wal_first_frame_no);
    tagged_append(out, MANIFEST_NEXT_FILE_ID, state->next_file_id);
    kap_buffer_append_varint(out, MANIFEST_SCHEMA);
    kap_buffer_append_varint(out, state->schema_version);
    kap_buffer_append_varint(out, state->schema_hash);
    key_append(out, kap_bytes(state->descriptor_set, state->descriptor_set_bytes));
    for (uint32_t i = 0; i < state->n_indexes; i++) {
        kap_buffer_append_varint(out, MANIFEST_INDEX);
        kap_buffer_append_varint(out, state->indexes[i].id);
        kap_buffer_append_varint(out, state->indexes[i].definition_hash);
        kap_buffer_append_varint(out, state->indexes[i].state);
    }
    record_end(out, start, store_hash, 1, kap_manifest_state_checksum(state));
}

/* Decoding: the checksum has matched, so a payload that does not parse is a newer writer's or our own bug; either way it
 * is refused, not asserted. */

struct payload {
    const uint8_t *at, *end;
    bool bad;
};

static uint64_t number_read(struct payload *payload)
{
    uint64_t value = 0;
    const uint8_t *next = payload->bad ? NULL : kap_varint_read(payload->at, payload->end, &value);
    if (!next) {
        payload->bad = true;
        return 0;
    }
    payload->at = next;
    return value;
}

static struct kap_bytes bytes_read(struct payload *payload)
{
    uint64_t len = number_read(payload);
    if (payload->bad || len > (uint64_t)(payload->end - payload->at)) {
        payload->bad = true;
        return kap_bytes(NULL, 0);
    }
    struct kap_bytes bytes = kap_bytes(payload->at, (size_t)len);
    payload->at += len;
    return bytes;
}

static void file_read(struct payload *payload, struct kap_manifest_file *file)
{
    struct kap_segment_meta *meta = &file->meta;
    file->level = (uint8_t)number_read(payload);
    meta->file_id = number_read(payload);
    meta->file_bytes = number_read(payload);
    meta->tail_offset = number_read(payload);
    meta->tail_bytes = (uint32_t)number_read(payload);
    meta->tail_checksum = number_read(payload);
    meta->entries = number_read(payload);
    meta->deletes = number_read(payload);
    meta->seq_min = number_read(payload);
    meta->seq_max = number_read(payload);
    meta->raw_bytes = number_read(payload);
    meta->content_hash = number_read(payload);
    meta->tree_count = (uint32_t)number_read(payload);
    meta->smallest = bytes_read(payload);
    meta->largest = bytes_read(payload);
    if (file->level >= KAP_LEVELS)
        payload->bad = true;
}

static kap_status tag_apply(struct kap_manifest_state *state, struct payload *payload)
{
    struct kap_manifest_file file = {0};
    struct kap_manifest_edit edit = {0};
    uint64_t id;
    switch (number_read(payload)) {
    case MANIFEST_FLUSHED_SEQ:
        state->flushed_seq = number_read(payload);
        return KAP_OK;
    case MANIFEST_WAL_FIRST:
        state->wal_first_file_no = number_read(payload);
        return KAP_OK;
    case MANIFEST_WAL_FRAME:
        state->wal_first_frame_no = number_read(payload);
        return KAP_OK;
    case MANIFEST_NEXT_FILE_ID:
        state->next_file_id = number_read(payload);
        return KAP_OK;
    case MANIFEST_ADD:
        file_read(payload, &file);
        edit = (struct kap_manifest_edit){.add = &file, .n_add = 1};
        return payload->bad ? KAP_CORRUPT : kap_manifest_state_apply(state, &edit);
    case MANIFEST_REMOVE:
        id = number_read(payload);
        edit = (struct kap_manifest_edit){.remove = &id, .n_remove = 1};
        return payload->bad ? KAP_CORRUPT : kap_manifest_state_apply(state, &edit);
    case MANIFEST_SCHEMA:
        state->schema_version = (uint32_t)number_read(payload);
        state->schema_hash = number_read(payload);
        return descriptor_set_take(state, bytes_read(payload));
    case MANIFEST_INDEX: {
        struct kap_manifest_index index = {.id = (uint16_t)number_read(payload)};
        index.definition_hash = number_read(payload);
        index.state = (uint8_t)number_read(payload);
        return payload->bad ? KAP_CORRUPT : index_add(state, index);
    }
    default:
        payload->bad = true;
        return KAP_CORRUPT;
    }
}

/* The record at file + at; its padded length, or 0 when there is no whole one. */
static size_t record_check(struct kap_bytes file, size_t at, struct manifest_record *record_out)
{
    if (file.len - at < sizeof *record_out)
        return 0;
    memcpy(record_out, file.data + at, sizeof *record_out);
    uint64_t payload = kap_le32_get(record_out->payload_bytes);
    if (kap_le64_get(record_out->magic) != KAP_MANIFEST_MAGIC || payload > file.len - at - sizeof *record_out)
        return 0;
    size_t len = sizeof *record_out + payload;
    if (kap_checksum(file.data + at + 8, len - 8, KAP_SEED_MANIFEST) != kap_le64_get(record_out->checksum))
        return 0;
    return (len + KAP_MANIFEST_ALIGN - 1) / KAP_MANIFEST_ALIGN * KAP_MANIFEST_ALIGN;
}

static kap_status record_apply(struct kap_manifest_state *state, struct kap_bytes file, size_t at,
                               const struct manifest_record *record)
{
    struct payload payload = {.at = file.data + at + sizeof *record};
    payload.end = payload.at + kap_le32_get(record->payload_bytes);
    while (payload.at < payload.end) {
        kap_status status = tag_apply(state, &payload);
        if (status != KAP_OK || payload.bad)
            return status == KAP_NO_MEMORY ? status : KAP_CORRUPT;
    }
    return kap_manifest_state_checksum(state) == kap_le64_get(record->set_checksum) ? KAP_OK : KAP_CORRUPT;
}

kap_status kap_manifest_parse(struct kap_bytes file, uint64_t store_hash, const char *name,
                              struct kap_manifest_state *state, uint64_t *edits_out, struct kap_error *error)
{
    uint64_t edits = 0;
    size_t at = 0, bytes;
    struct manifest_record record;
    while (at < file.len && (bytes = record_check(file, at, &record)) != 0) {
        if (kap_le64_get(record.edit_no) != edits + 1 || kap_le64_get(record.store_hash) != store_hash)
            return kap_error_set(error, KAP_CORRUPT, "%s, offset %zu: record %llu of another store or out of order", name,
                                 at, (unsigned long long)kap_le64_get(record.edit_no));
        kap_status status = record_apply(state, file, at, &record);
        if (status != KAP_OK)
            return kap_error_set(error, status, "%s, offset %zu: record %llu does not lead to the file set it states",
                                 name, at, (unsigned long long)edits + 1);
        edits++;
        at += bytes;
    }
    if (edits == 0)
        return kap_error_set(error, KAP_CORRUPT, "%s holds no whole record", name);
    for (size_t later = at + KAP_MANIFEST_ALIGN; later < file.len; later += KAP_MANIFEST_ALIGN)
        if (record_check(file, later, &record) != 0 && kap_le64_get(record.edit_no) > edits)
            return kap_error_set(error, KAP_CORRUPT,
                                 "%s, offset %zu: a record is damaged, a later one at %zu is whole; restore the directory "
                                 "from a snapshot or backup",
                                 name, at, later);
    *edits_out = edits;
    return KAP_OK;
}

void kap_manifest_describe(struct kap_bytes file, void (*line)(void *context, const char *text), void *context)
{
    size_t at = 0, bytes;
    struct manifest_record record;
    char text[256];
    while (at < file.len && (bytes = record_check(file, at, &record)) != 0) {
        snprintf(text, sizeof text, "offset=%zu edit_no=%llu set_checksum=%016llx payload_bytes=%u", at,
                 (unsigned long long)kap_le64_get(record.edit_no),
                 (unsigned long long)kap_le64_get(record.set_checksum), kap_le32_get(record.payload_bytes));
        line(context, text);
        struct payload payload = {.at = file.data + at + sizeof record};
        payload.end = payload.at + kap_le32_get(record.payload_bytes);
        while (payload.at < payload.end && !payload.bad) {
            struct kap_manifest_file added = {0};
            const uint8_t *tag_at = payload.at;
            uint64_t tag = number_read(&payload);
            if (tag == MANIFEST_ADD) {
                file_read(&payload, &added);
                snprintf(text, sizeof text, "  add level=%u file=%08llx bytes=%llu entries=%llu seq=%llu..%llu", added.level,
                         (unsigned long long)added.meta.file_id, (unsigned long long)added.meta.file_bytes,
                         (unsigned long long)added.meta.entries, (unsigned long long)added.meta.seq_min,
                         (unsigned long long)added.meta.seq_max);
            } else if (tag == MANIFEST_SCHEMA) {
                uint64_t version = number_read(&payload), hash = number_read(&payload);
                snprintf(text, sizeof text, "  schema version=%llu hash=%016llx descriptor_bytes=%zu",
                         (unsigned long long)version, (unsigned long long)hash, bytes_read(&payload).len);
            } else if (tag == MANIFEST_INDEX) {
                uint64_t id = number_read(&payload), hash = number_read(&payload);
                snprintf(text, sizeof text, "  index id=%llu definition=%016llx state=%llu", (unsigned long long)id,
                         (unsigned long long)hash, (unsigned long long)number_read(&payload));
            } else {
                static const char *const names[] = {"", "flushed_seq", "wal_first_file_no", "next_file_id", "", "remove", "", "", "wal_first_frame_no"};
                snprintf(text, sizeof text, "  %s=%llu", tag < KAP_ARRAY_LEN(names) ? names[tag] : "unknown",
                         (unsigned long long)number_read(&payload));
                payload.bad |= tag >= KAP_ARRAY_LEN(names);
            }
            KAP_ASSERT(payload.at > tag_at);
            line(context, text);
        }
        at += bytes;
    }
    snprintf(text, sizeof text, "no further record at offset=%zu of %zu", at, file.len);
    line(context, text);
}
