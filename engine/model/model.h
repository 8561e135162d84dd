/* model.h - rows of the model over a view or a transaction: find, put, delete, and what goes with them.
 *
 * A put or delete keeps up, in the same commit: relation indexes, counts, unique keys, the locator, history, the head of
 * the tree (when kap_model_finish is called), and the uses of blobs.
 *
 * Life     one struct kap_model per run of a request; everything it hands out lives in its arena or as long as the view.
 * Errors   a refusal returns its status and fills `error` (and `faults` for KAP_INVALID) in words. KAP_PENDING: run again
 *          from the top. KAP_CORRUPT: a stored row is not what was written. After anything but KAP_OK the transaction must
 *          be aborted. */
#pragma once

#include "engine/env/env.h"
#include "engine/txn/txn.h"
#include "proto/faults.h"
#include "proto/kap_requests.h"

enum {
    KAP_ROW_BYTES_MAX = 255 * 1024, /* leaves room for the record around it in history */
    KAP_TREE_ROWS_MAX = 1000, /* of one save, and that a delete takes with it in its own commit */
    KAP_TREE_SCAN_MAX = 20000, /* rows a graph is read with */
    KAP_MODEL_TREES_MAX = 1000, /* trees one transaction may change */
};

enum kap_may { KAP_MAY_READ = 1, KAP_MAY_WRITE };

struct kap_row {
    uint8_t kind;
    struct kap_id root, id;
    struct kap_bytes bytes; /* as it is answered: without references to what is gone */
    struct kap_bytes stored; /* what a write of it replaces */
};

struct kap_rows {
    struct kap_row *at;
    uint32_t n, cap;
};

struct kap_tree_change;

struct kap_model {
    const struct kap_schema *schema;
    struct kap_view *view;
    struct kap_txn *txn; /* NULL: reads only */
    struct kap_arena *arena;
    struct kap_env *env;
    struct kap_id actor; /* nil: the server, a service */
    int64_t now_us;
    bool is_admin; /* may force states */
    kap_status (*may)(void *context, enum kap_may may, const struct kap_row *row, bool *may_out); /* NULL: all */
    void *may_context;
    struct kap_faults faults;
    struct kap_error_reply error; /* of a refusal; message absent: the sentence of the status */
    struct kap_tree_change *trees; /* changed so far; newest first */
    uint64_t rows_read, entries_scanned;
    uint8_t marks_known, cascades_known; /* gone.c */
    bool has_begun_job;
    bool sees_all; /* rows too that are no longer there for readers (job.h) */
};

/* txn NULL: view only; else view is &txn->view. */
void kap_model_init(struct kap_model *model, const struct kap_schema *schema, struct kap_view *view,
                    struct kap_txn *txn, struct kap_arena *arena, struct kap_env *env, struct kap_id actor,
                    int64_t now_us);
/* Fills error.message (printf rules) and returns status. */
kap_status kap_model_refuse(struct kap_model *model, kap_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, naming a row. */
kap_status kap_model_refuse_row(struct kap_model *model, kap_status status, uint8_t kind, struct kap_id id,
                                const char *format, ...) __attribute__((format(printf, 5, 6)));
struct kap_id kap_model_new_id(struct kap_model *model);
const char *kap_model_kind_name(const struct kap_model *model, uint8_t kind);

/* KAP_NOT_FOUND (without words). root: where it is, when the caller knows; NULL: the locator tells. */
KAP_CHECKED kap_status kap_model_find(struct kap_model *model, uint8_t kind, struct kap_id id, struct kap_row *row_out);
KAP_CHECKED kap_status kap_model_find_in(struct kap_model *model, uint8_t kind, struct kap_id root, struct kap_id id,
                                         struct kap_row *row_out);
/* The same, for a principal: refused as NOT_FOUND, in words, when there is none or it may not be read. */
KAP_CHECKED kap_status kap_model_get(struct kap_model *model, uint8_t kind, struct kap_id id, struct kap_row *row_out);
KAP_CHECKED kap_status kap_model_may(struct kap_model *model, enum kap_may may, const struct kap_row *row,
                                     bool *may_out);
/* By the unique key with these parts, in the order of its descriptor. KAP_NOT_FOUND without words. */
struct kap_unique_value {
    uint64_t number;
    struct kap_bytes bytes;
};
KAP_CHECKED kap_status kap_model_find_unique(struct kap_model *model, uint16_t unique,
                                             const struct kap_unique_value *values, struct kap_id *id_out);
/* Of any kind: what an id names. kind_out 0: nothing. */
KAP_CHECKED kap_status kap_model_kind_of(struct kap_model *model, struct kap_id id, struct kap_row *row_out);
/* The root's own row. */
KAP_CHECKED kap_status kap_model_root_row(struct kap_model *model, struct kap_id root, struct kap_row *row_out);
/* All rows of a group of a tree in key order, the head among them; at most max (KAP_TOO_LARGE). */
KAP_CHECKED kap_status kap_model_tree(struct kap_model *model, uint8_t group, struct kap_id root, uint32_t max,
                                      struct kap_rows *rows_out);
/* The struct of a stored row, into the arena. */
KAP_CHECKED kap_status kap_model_decode(struct kap_model *model, uint8_t kind, struct kap_bytes bytes,
                                        void **message_out);
KAP_CHECKED kap_status kap_rows_add(struct kap_rows *rows, struct kap_arena *arena, const struct kap_row *row);

/* ---- put */

struct kap_put {
    uint8_t kind;
    void *message; /* of the kind; what is set changes; its sys is ignored but for the id, output fields too */
    const uint32_t *clear;
    size_t n_clear;
    bool has_expected_rev;
    uint64_t expected_rev;
    const struct kap_path *path; /* where message stands in the request */
    bool is_known; /* known says what is stored: nobody need look */
    const struct kap_row *known; /* NULL: nothing */
    bool is_trusted; /* the caller has asked for the right to write */
    bool is_by_key; /* the stored row was found by what it says, not by an id that the client gave */
    bool create_only; /* an existing row is ALREADY_EXISTS, unless nothing would change */
    bool keep_output; /* output fields of message count: set by the server itself */
};

struct kap_put_result {
    struct kap_row row;
    uint64_t rev;
    enum kap_change_op op; /* 0: equal to what is stored, nothing written */
};
KAP_CHECKED kap_status kap_model_put(struct kap_model *model, const struct kap_put *put,
                                     struct kap_put_result *result_out);

/* A row as an export wrote it: id, revision and times stay. References are checked. */
KAP_CHECKED kap_status kap_model_restore(struct kap_model *model, uint8_t kind, struct kap_bytes row,
                                         const struct kap_path *path, struct kap_put_result *result_out);

/* ---- delete */

struct kap_delete {
    bool has_expected_rev;
    uint64_t expected_rev;
    bool force; /* a library exercise goes although copies name it as their source */
    bool dry_run; /* only says what would go */
    bool is_trusted;
};
/* The row and everything it owns: what is more than KAP_TREE_ROWS_MAX rows is not there from this commit on, and goes in the
 * steps of a job. KAP_REFERENCED lists who refers to it. rows_out: how many go in all. */
KAP_CHECKED kap_status kap_model_delete(struct kap_model *model, const struct kap_row *row,
                                        const struct kap_delete *delete, uint32_t *rows_out);

/* ---- trees */

/* tree_rev as this transaction found it; 0: no such tree. */
KAP_CHECKED kap_status kap_model_tree_rev(struct kap_model *model, struct kap_id root, uint64_t *rev_out);
/* KAP_REV_CONFLICT with the current one. */
KAP_CHECKED kap_status kap_model_expect_tree(struct kap_model *model, struct kap_id root, bool has_expected,
                                             uint64_t expected);
/* tree_rev after this transaction. */
KAP_CHECKED kap_status kap_model_tree_rev_after(struct kap_model *model, struct kap_id root, uint64_t *rev_out);
/* Writes the heads of all trees changed; once, before the commit. */
KAP_CHECKED kap_status kap_model_finish(struct kap_model *model);

/* ---- counts */

/* Exact number of entries of a counted index under a parent, all buckets. key: kap_index_count_key_init and the parent. */
KAP_CHECKED kap_status kap_model_count(struct kap_model *model, const struct kap_key *key, uint64_t *count_out);
