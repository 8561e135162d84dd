/* manifest.h - the durable truth about which files are the store.
 *
 * A state is the set of segments by level, the log position they cover, the schema and the catalogue of indexes. Every
 * record of the manifest carries the checksum of the whole set after it: order-free, the sum over all files of a hash of
 * (level, file id, bytes, tail checksum), plus a hash of flushed_seq.
 *
 * Order of durability: new segment and its name; the record; only then is the change visible and may old files go. A
 * failed record is final: the caller stops the store, and nothing is deleted after it.
 *
 * Threads  one at a time (the store's edit lock). */
#pragma once

#include "engine/base/buffer.h"
#include "engine/env/io_chain.h"
#include "engine/schema/descriptor.h"
#include "engine/segment/segment_meta.h"

enum { KAP_LEVELS = 7 };

enum kap_index_state {
    KAP_INDEX_PUBLIC = 1, /* complete, may be read */
    KAP_INDEX_BUILDING = 2,
};

struct kap_manifest_file {
    uint8_t level;
    struct kap_segment_meta meta; /* keys owned by the state */
};

struct kap_manifest_index {
    uint16_t id;
    uint64_t definition_hash;
    uint8_t state; /* enum kap_index_state */
};

struct kap_manifest_state {
    struct kap_memory *memory;
    uint64_t flushed_seq, wal_first_file_no, next_file_id;
    uint64_t wal_first_frame_no; /* the first frame of log file wal_first_file_no: replay must find it if it was durable */
    uint32_t schema_version;
    uint64_t schema_hash;
    uint8_t *descriptor_set; /* owned */
    size_t descriptor_set_bytes;
    struct kap_manifest_file *files; /* owned, unordered */
    uint32_t n_files, cap_files;
    struct kap_manifest_index *indexes; /* owned, by id */
    uint32_t n_indexes, cap_indexes;
};

/* One change, applied whole or not at all. Borrowed until the call returns. */
struct kap_manifest_edit {
    const struct kap_manifest_file *add;
    uint32_t n_add;
    const uint64_t *remove;
    uint32_t n_remove;
    uint64_t flushed_seq, wal_first_file_no, wal_first_frame_no, next_file_id; /* 0: unchanged */
};

struct kap_superblock {
    struct kap_id store_id;
    uint64_t generation, manifest_no, durable_frame, wal_bytes;
};

void kap_manifest_state_init(struct kap_manifest_state *state, struct kap_memory *memory);
void kap_manifest_state_deinit(struct kap_manifest_state *state);
/* Takes over schema and catalogue. KAP_NEWER_FORMAT: the state knows an index or a schema version that schema does not.
 * Indexes that schema has and the state lacks are added as PUBLIC when the state holds no segment and no log (fresh) and
 * as BUILDING otherwise. */
KAP_CHECKED kap_status kap_manifest_state_adopt(struct kap_manifest_state *state, const struct kap_schema *schema,
                                                bool fresh, struct kap_error *error);
bool kap_manifest_state_index_public(const struct kap_manifest_state *state, uint16_t id);
/* KAP_CORRUPT: removes a file that is not there, adds one twice. KAP_NO_MEMORY: the state is unchanged. */
KAP_CHECKED kap_status kap_manifest_state_apply(struct kap_manifest_state *state, const struct kap_manifest_edit *edit);
uint64_t kap_manifest_state_checksum(const struct kap_manifest_state *state);

/* Appends one padded record to out: an edit (the state already has it applied), or the whole state as record 1. */
void kap_manifest_record_edit(struct kap_buffer *out, uint64_t store_hash, uint64_t edit_no,
                              const struct kap_manifest_edit *edit, uint64_t set_checksum);
void kap_manifest_record_state(struct kap_buffer *out, uint64_t store_hash, const struct kap_manifest_state *state);

/* All records of a manifest file. A bad last record is a torn edit and is left out; anything else bad is KAP_CORRUPT.
 * edits_out: how many records there were. */
KAP_CHECKED kap_status kap_manifest_parse(struct kap_bytes file, uint64_t store_hash, const char *name,
                                          struct kap_manifest_state *state, uint64_t *edits_out,
                                          struct kap_error *error);
/* One line of text per record, for inspect. */
void kap_manifest_describe(struct kap_bytes file, void (*line)(void *context, const char *text), void *context);

/* The copy that generation goes to is 2 * (generation mod 2) and the next. copies_out: 2 * KAP_SUPERBLOCK_COPY_BYTES. */
void kap_superblock_encode(const struct kap_superblock *superblock, uint8_t *copies_out);
uint64_t kap_superblock_offset(uint64_t generation);
/* The newest whole copy. KAP_CORRUPT: none is; KAP_NEWER_FORMAT. */
KAP_CHECKED kap_status kap_superblock_parse(struct kap_bytes file, struct kap_superblock *superblock_out,
                                            struct kap_error *error);

static inline uint64_t kap_store_hash(struct kap_id store_id)
{
    uint64_t hash;
    memcpy(&hash, store_id.bytes, sizeof hash);
    return hash;
}
