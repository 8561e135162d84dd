/* model_internal.h - what the files of model/ share: the one place that writes rows, and its helpers. */
#pragma once

#include "engine/index/index.h"
#include "engine/model/model.h"
#include "proto/validate.h"
#include "proto/wire.h"

enum { MODEL_COUNTED_KINDS = 6 }; /* by model_counted_slot */
enum { MODEL_GROUP_GRAPH = 1, MODEL_GROUP_LAST = 4 };

/* What a transaction has done to a tree so far. */
struct kap_tree_change {
    struct kap_tree_change *next;
    struct kap_id root;
    uint8_t root_kind;
    bool is_deleted; /* the root itself goes */
    bool is_checked; /* the state of the root allows changes to its parts */
    bool is_changed; /* a row of group 1 */
    int64_t rows[MODEL_COUNTED_KINDS];
    int64_t minutes;
};

/* Writes one row: before NULL creates, after NULL deletes. Both with their system message as it shall be. op: what
 * history says. Everything that follows from the row is kept up. */
KAP_CHECKED kap_status model_row_write(struct kap_model *model, uint8_t kind, struct kap_id root, struct kap_id id,
                                       const struct kap_bytes *before, const struct kap_bytes *after,
                                       enum kap_change_op op);

/* model.c. The first max rows of a group of a tree, in key order. */
KAP_CHECKED kap_status model_tree_first(struct kap_model *model, uint8_t group, struct kap_id root, uint32_t max,
                                        struct kap_rows *rows_out, bool *is_all_out);

/* tree_head.c. Parts of a kind that the head counts: where in kap_tree_change.rows, or -1; and the counter in a head. */
int model_counted_slot(uint8_t kind);
void model_head_counter(struct kap_tree_head *head, int slot, bool **has_out, uint32_t **value_out);
bool model_kind_has_head(const struct kap_schema *schema, uint8_t kind);
KAP_CHECKED kap_status model_tree_touch(struct kap_model *model, uint8_t kind, struct kap_id root, struct kap_id id,
                                        const struct kap_bytes *before, const struct kap_bytes *after);
KAP_CHECKED kap_status model_tree_change(struct kap_model *model, struct kap_id root,
                                         struct kap_tree_change **change_out);
KAP_CHECKED kap_status model_head_find(struct kap_model *model, struct kap_id root, struct kap_bytes *bytes_out);

/* refs.c: new references of message (those that before does not hold) must exist, be of the right kind and readable.
 * Adds faults. is_restore: a reference that is kept (KEEP) may name what is gone. */
KAP_CHECKED kap_status model_refs_check(struct kap_model *model, uint8_t kind, const struct kap_bytes *before,
                                        struct kap_bytes after, const struct kap_path *path, bool is_restore);
/* Reference fields that have a default and are unset. */
KAP_CHECKED kap_status model_refs_default(struct kap_model *model, uint8_t kind, void *message);
KAP_CHECKED kap_status model_ref_target(const struct kap_ref_desc *ref, struct kap_bytes row, uint8_t *kind_out);

/* gone.c. Is this row deleted while others still refer to it? */
KAP_CHECKED kap_status model_marked(struct kap_model *model, uint8_t kind, struct kap_id id, bool *is_out);
KAP_CHECKED kap_status model_mark_put(struct kap_model *model, uint8_t kind, struct kap_id id);
/* A row, or what an index entry covers of one, as readers see it: stored itself, or a copy without some references. */
KAP_CHECKED kap_status model_row_answer(struct kap_model *model, uint8_t kind, struct kap_bytes stored,
                                        struct kap_bytes *row_out);
/* Entries under a parent that is gone are not there, whatever is stored. prefix: of the index's entries. */
KAP_CHECKED kap_status model_parent_gone(struct kap_model *model, uint16_t index, const struct kap_key *prefix,
                                         bool *is_out);

/* Rows that belong to what is deleted, until a job has taken them away (job.h). Is any such job under way; is this row one?
 * Both false when the model sees all. */
KAP_CHECKED kap_status model_any_cascade(struct kap_model *model, bool *any_out);
KAP_CHECKED kap_status model_orphaned(struct kap_model *model, uint8_t kind, struct kap_bytes stored, bool *is_out);
KAP_CHECKED kap_status model_cascades_count(struct kap_model *model, uint64_t *count_out);
KAP_CHECKED kap_status model_cascades_add(struct kap_model *model, int delta);

/* delete.c. Does ref point at rows of this kind, with this on-delete verb and an index to find who does? */
bool model_refers_to(const struct kap_ref_desc *ref, uint8_t kind, uint8_t verb);
/* Start of the index entries of those that name the row by ref. */
void model_referrers_prefix(const struct kap_ref_desc *ref, uint8_t kind, struct kap_id id, struct kap_key *key_out);
/* A row that goes while others name it by NULLIFY leaves a mark. */
KAP_CHECKED kap_status model_named_mark(struct kap_model *model, const struct kap_row *row);

/* blob.c: rows of blob_ref follow the blobs that a row names. */
KAP_CHECKED kap_status model_blobs_follow(struct kap_model *model, uint8_t kind, struct kap_id root, struct kap_id id,
                                          const struct kap_bytes *before, const struct kap_bytes *after);
KAP_CHECKED kap_status model_blobs_check(struct kap_model *model, uint8_t kind, const struct kap_bytes *before,
                                         struct kap_bytes after, const struct kap_path *path);

/* session_state.c: may parts of this root change now; a validated session becomes a draft again. */
KAP_CHECKED kap_status model_state_edit(struct kap_model *model, struct kap_id root);
KAP_CHECKED kap_status model_session_rules(struct kap_model *model, struct kap_id id, const struct kap_bytes *before,
                                           void *message);

/* template_rules.c */
KAP_CHECKED kap_status model_template_rules(struct kap_model *model, struct kap_id id, const struct kap_bytes *before,
                                            void *message, const struct kap_path *path);

/* comment_rules.c. is_restore: as an export wrote it. */
KAP_CHECKED kap_status model_comment_rules(struct kap_model *model, struct kap_id id, const struct kap_bytes *before,
                                           void *message, const struct kap_path *path, bool is_restore);

/* Its own root: a profile shares the id of its account, and is none. */
bool model_is_root(const struct kap_schema *schema, uint8_t kind, struct kap_id root, struct kap_id id);
/* Rows that carry the id of their account and are told apart by their kind alone. */
bool model_shares_id(uint8_t kind);
struct kap_id model_column_id(const struct kap_column *column);
/* The id in a field of a row; nil when unset. */
KAP_CHECKED kap_status model_row_id(struct kap_bytes row, uint16_t field, struct kap_id *id_out);
/* kap_model_decode of what an index entry covers: a row of which only some fields are there. */
KAP_CHECKED kap_status model_decode_entry(struct kap_model *model, uint8_t kind, struct kap_bytes bytes,
                                          void **message_out);
/* kap_model_put of a row that the server makes by itself: it may refer to what the principal does not see. */
KAP_CHECKED kap_status model_put_own(struct kap_model *model, const struct kap_put *put,
                                     struct kap_put_result *result_out);
/* sys of a decoded row, made when it is missing. */
struct kap_sys **model_sys_of(void *message);
KAP_CHECKED kap_status model_row_encode(struct kap_model *model, uint8_t kind, void *message,
                                        const struct kap_sys_view *sys, struct kap_bytes *bytes_out);
