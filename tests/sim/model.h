/* model.h - the state that the store should have: rows by kind, and a log of every change, so that the state of any commit
 * can be looked at.
 *
 * Plain arrays and linear searches; no code of the engine. Rows are immutable, but for model_rename.
 * Kinds    those of the schema, and three of the model's own: the head of a tree is KIND_TREE_HEAD (its commit_seq is the
 *          tree_rev), MODEL_TOMB remembers what was deleted, MODEL_KEY an idempotency key. */
#pragma once

#include "proto/kap_entities.h"
#include "tests/sim/fields.h"

enum { MODEL_TOMB = 200, MODEL_KEY = 201, MODEL_KINDS = 202 };

struct sim_row {
    uint8_t kind;
    uint8_t of_kind; /* of a tomb */
    uint16_t op; /* of a key */
    struct kap_id root, id; /* of a key: the account, the key */
    uint64_t rev, commit_seq, created_seq;
    int64_t created_at, updated_at;
    struct kap_id created_by, updated_by;
    struct sim_fields fields; /* without the system fields */
    struct kap_bytes body, reply; /* of a key */
};

struct sim_change {
    uint64_t seq;
    struct sim_row *before, *after; /* one may be NULL */
};

struct sim_rows {
    struct sim_row **at;
    uint32_t n, cap;
};

struct model {
    struct kap_arena *arena;
    struct sim_rows kinds[MODEL_KINDS];
    struct sim_change *log;
    uint32_t n_log, cap_log;
    uint32_t n_applied; /* entries of the log that the state shows */
    uint64_t head_seq; /* newest commit */
    uint64_t seen_seq; /* newest ever told: such a number is never used twice */
    bool may_skip; /* the store has been opened anew: it may leave numbers out */
    int64_t last_us; /* its time */
    uint64_t n_placeholders;
};

void model_init(struct model *model, struct kap_arena *arena);
/* NULL: none. */
struct sim_row *model_find(const struct model *model, uint8_t kind, struct kap_id id);
/* Any kind of the schema but heads; a profile has its account's id and counts as second. */
struct sim_row *model_find_any(const struct model *model, struct kap_id id);
struct sim_row *model_find_tomb(const struct model *model, struct kap_id root, uint8_t kind, struct kap_id id);
struct sim_row *model_find_key(const struct model *model, struct kap_id account, struct kap_id key);
/* tree_rev; 0: no head. */
uint64_t model_tree_rev(const struct model *model, struct kap_id root);

/* before NULL: a new row; after NULL: it goes. Only at the head. */
void model_change(struct model *model, uint64_t seq, struct sim_row *before, struct sim_row *after);
/* Takes back what was changed since the log was this long. */
void model_undo_to(struct model *model, uint32_t n_log);
/* Shows the state as of a commit; model_forward shows the head again. */
void model_rewind(struct model *model, uint64_t seq);
void model_forward(struct model *model);
/* Forgets every commit above seq. */
void model_truncate(struct model *model, uint64_t seq);

/* An id that the server chose and we do not know yet. */
struct kap_id model_placeholder(struct model *model);
bool model_is_placeholder(struct kap_id id);
/* Replaces an id wherever it stands in changes from log entry `first` on. */
void model_rename(struct model *model, uint32_t first, struct kap_id from, struct kap_id to);

void rows_add(struct kap_arena *arena, struct sim_rows *rows, struct sim_row *row);
/* Rows of a tree, without its head, in the order of their keys. */
struct sim_rows model_tree(const struct model *model, struct kap_id root);
/* Children by position, then id. parent_kind matters to objectives. */
struct sim_rows model_children(const struct model *model, uint8_t parent_kind, struct kap_id parent, uint8_t kind);
/* Number of the field of a part that names its parent, and of its position; 0: none. */
uint32_t model_parent_field(uint8_t kind);
uint32_t model_position_field(uint8_t kind);
const char *model_kind_name(uint8_t kind);
