/* descriptor.h - what the generated tables say of rows: kinds, roots, indexes, unique keys, references.
 *
 * The engine below model/ sees a row as bytes plus these tables; a row is a protobuf message whose field 1 is the
 * fixed-size system message. There is no second row format. The tables are generated from proto/kap/ (static const) and
 * handed over when a store is opened.
 *
 * Columns are read straight from the stored bytes by field number: no decode, no allocation. A field path is one number
 * for a top-level field, or KAP_SYS(n) for a field of the system message. */
#pragma once

#include <stdbool.h>

#include "engine/base/bytes.h"
#include "engine/base/buffer.h"
#include "engine/base/status.h"

/* System message, field 1 of every row, always all of it and always this size, so that the sequencer patches it in place:
 *   1 id bytes(16)  2 rev fixed64  3 created_at sfixed64 us  4 updated_at sfixed64 us  5 created_by bytes(16)
 *   6 updated_by bytes(16)  7 commit_seq fixed64
 *  offset in the row: 0 tag(1) 1 length(1) 2 id tag+len, 4 id, 20 tag, 21 rev, 29 tag, 30 created_at, 38 tag,
 *  39 updated_at, 47 tag+len, 49 created_by, 65 tag+len, 67 updated_by, 83 tag, 84 commit_seq, 92 end. */
enum {
    KAP_SYS_BYTES = 92, /* with its own tag and length */
    KAP_SYS_ID_AT = 4,
    KAP_SYS_REV_AT = 21,
    KAP_SYS_CREATED_AT_AT = 30,
    KAP_SYS_UPDATED_AT_AT = 39,
    KAP_SYS_CREATED_BY_AT = 49,
    KAP_SYS_UPDATED_BY_AT = 67,
    KAP_SYS_COMMIT_SEQ_AT = 84,
};
#define KAP_SYS(field) (0x8000u | (field)) /* field of the system message */

enum kap_column_type {
    KAP_COLUMN_ID = 1, /* bytes(16) */
    KAP_COLUMN_U64, /* varint: uint32, uint64, bool, enum */
    KAP_COLUMN_S64, /* sint32, sint64: zigzag varint */
    KAP_COLUMN_F64LE, /* sfixed64: signed, 8 bytes */
    KAP_COLUMN_TEXT, /* string: NFC and case-folded when a key is built */
    KAP_COLUMN_BYTES, /* bytes of any length */
};

struct kap_key_part {
    uint16_t field; /* number, or KAP_SYS(n) */
    uint8_t type; /* enum kap_column_type */
    bool descending; /* stored as bitwise not */
    bool repeated; /* one entry per element; at most one part of an index */
};

/* A relation index: [256 + id][parent parts][order parts][child id 16] -> covering value.
 * Missing columns: an index whose parent column is unset (or an all-zero id) has no entry for the row; a missing order
 * column counts as 0 / "". The covering value is the row's own encoding of the covered fields, in field order, so that it
 * decodes as a partial row. */
struct kap_index_source {
    uint8_t kind; /* rows of this kind feed the index */
    uint8_t n_parent, n_order, n_count_by, n_cover, n_when;
    struct kap_key_part parent[4]; /* fixed width for ids and enums, so that a count key is well formed */
    struct kap_key_part order[4];
    struct kap_key_part count_by[2]; /* enums: buckets of the exact count */
    uint16_t cover[16]; /* field numbers; KAP_SYS(n) covers bring the whole system message */
    struct { /* all must hold for the row to have an entry */
        uint16_t field;
        uint8_t type;
        bool set; /* true: field present (and not nil); false: absent */
        bool by_value; /* instead: the enum or number is one of values */
        uint8_t n_values;
        uint8_t values[8];
    } when[3];
};

struct kap_index_desc {
    uint16_t id; /* tree = KAP_TREE_INDEX_FIRST + id; never reused */
    const char *name; /* "P1_session_by_owner" */
    uint64_t definition_hash; /* of everything that shapes its keys; a change under an old id fails the build */
    bool counted;
    uint8_t n_sources; /* several (kind, field) may feed one index; equal entries of one row collapse */
    const struct kap_index_source *sources;
};

struct kap_unique_desc {
    uint16_t id; /* [KAP_TREE_UNIQUE][id][parts...] -> row id */
    const char *name;
    uint8_t kind;
    uint8_t n_parts;
    struct kap_key_part parts[4]; /* a row that lacks one of them has no key; text is terminated by 0x00 */
    struct {
        uint16_t field;
        uint8_t type;
        bool set;
    } when; /* field 0: always */
};

enum kap_on_delete {
    KAP_ON_DELETE_KEEP = 1, /* the reference stays as history */
    KAP_ON_DELETE_CASCADE,
    KAP_ON_DELETE_RESTRICT,
    KAP_ON_DELETE_NULLIFY,
};

struct kap_ref_desc {
    uint8_t kind; /* kind that holds the reference */
    uint16_t field;
    bool repeated;
    uint8_t target_kind; /* 0: by a sibling field, see target_kind_field */
    uint16_t target_kind_field;
    uint8_t on_delete; /* enum kap_on_delete */
    uint16_t index; /* index that answers "who refers to it"; 0 for KEEP */
};

enum kap_root_rule {
    KAP_ROOT_SELF = 1, /* the row is its own root */
    KAP_ROOT_FIELD, /* the root of the row that root_field points to (locator tells) */
    KAP_ROOT_FIELD_IF, /* as FIELD when root_field is set, else SELF (placed and library exercises) */
};

struct kap_kind_desc {
    uint8_t kind;
    const char *name; /* "session" */
    uint8_t group; /* 1 graph, 2 discussion, 3 reviews, 4 private */
    uint8_t root_rule;
    uint16_t root_field[2]; /* tried in order; each a ref whose target gives the root */
    uint8_t root_target[2]; /* kind of that target; 0: by the field target_kind_field */
    uint16_t target_kind_field;
    bool history; /* images kept on write */
    uint16_t position_field; /* order among siblings; 0 = none */
    uint16_t schema_version;
};

struct kap_schema {
    uint32_t version;
    uint64_t hash;
    struct kap_bytes descriptor_set; /* serialized FileDescriptorSet, kept in the manifest */
    const struct kap_kind_desc *kinds; /* by kind number; kind 0 and gaps have name NULL */
    uint16_t n_kinds;
    const struct kap_index_desc *indexes;
    uint16_t n_indexes;
    const struct kap_unique_desc *uniques;
    uint16_t n_uniques;
    const struct kap_ref_desc *refs;
    uint16_t n_refs;
};

const struct kap_kind_desc *kap_schema_kind(const struct kap_schema *schema, uint8_t kind); /* or NULL */
const struct kap_index_desc *kap_schema_index(const struct kap_schema *schema, uint16_t id); /* or NULL */

/* One column of a stored row. present is false when the field is absent. For a repeated field the n-th element.
 * KAP_CORRUPT when the bytes are not a message. value_out borrows from row. */
struct kap_column {
    bool present;
    uint64_t number; /* varints and fixed64 (raw bits) */
    struct kap_bytes bytes; /* length-delimited */
};
KAP_CHECKED kap_status kap_row_column(struct kap_bytes row, uint16_t field, uint32_t n, struct kap_column *column_out);

/* The field of a message that starts at *at: its number, its value, and whole_out all of its bytes, tag included; *at moves
 * behind it. KAP_END at end. */
KAP_CHECKED kap_status kap_row_field_next(const uint8_t **at, const uint8_t *end, uint32_t *number_out,
                                          struct kap_column *value_out, struct kap_bytes *whole_out);

/* The system message of a row; the row must be at least KAP_SYS_BYTES and start with it (KAP_CORRUPT otherwise). */
struct kap_sys_view {
    struct kap_id id, created_by, updated_by;
    uint64_t rev, commit_seq;
    int64_t created_at, updated_at;
};
KAP_CHECKED kap_status kap_row_sys(struct kap_bytes row, struct kap_sys_view *sys_out);
/* Writes the system message (KAP_SYS_BYTES bytes). */
void kap_row_sys_write(uint8_t *row, const struct kap_sys_view *sys);
