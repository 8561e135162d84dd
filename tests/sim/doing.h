/* doing.h - one request carried out on the model: all of it or nothing.
 *
 * A request may break several rules at once, and which of them the server looks at first is not promised. So a doing
 * gathers every reason to refuse that it comes across up to where it cannot go on; the server must refuse with one of
 * them, and must not refuse when there is none. */
#pragma once

#include "tests/sim/rules.h"

enum { DOING_VERDICTS_MAX = 16, DOING_TREES_MAX = 64, DOING_CHANGES_MAX = 1200 };

struct sim_told { /* what a save says it did to a row */
    uint8_t kind;
    struct kap_id id;
    uint64_t rev;
    int32_t op;
};

struct doing {
    struct model *model;
    struct sim_who who;
    int64_t now_us;
    uint64_t seq;
    uint32_t mark; /* length of the log before */
    uint32_t n_verdicts;
    kap_status verdicts[DOING_VERDICTS_MAX];
    uint32_t n_checked, n_touched;
    struct kap_id checked[DOING_TREES_MAX]; /* trees whose state allows edits */
    struct kap_id touched[DOING_TREES_MAX];
};

void doing_begin(struct doing *d, struct model *model, const struct sim_who *who, uint64_t seq, int64_t now_us);
void doing_refuse(struct doing *d, kap_status status);
bool doing_refused(const struct doing *d);
bool doing_allows(const struct doing *d, kap_status status);
/* Writes the heads of the trees touched. */
void doing_finish(struct doing *d);
/* The server chose the id of a row that this doing made. */
void doing_rename(struct doing *d, struct kap_id from, struct kap_id to);
/* tree_rev when all is done. */
uint64_t doing_tree_rev(const struct doing *d, struct kap_id root);

struct sim_put {
    uint8_t kind;
    struct kap_id id; /* nil: the server makes one */
    struct sim_fields patch;
    const uint32_t *clear;
    size_t n_clear;
    bool has_rev, is_trusted, create_only, is_by_key;
    uint64_t rev;
};
/* The row as it is then; NULL: refused. op_out: 0 when nothing changed. */
struct sim_row *doing_put(struct doing *d, const struct sim_put *put, int32_t *op_out);

struct sim_delete {
    bool has_rev, force, dry_run, is_trusted;
    uint64_t rev;
};
/* How many rows go; 0: refused. */
uint32_t doing_delete(struct doing *d, struct sim_row *row, const struct sim_delete *options);

/* A row that exists for the principal; else refuses with NOT_FOUND. */
struct sim_row *doing_get(struct doing *d, uint8_t kind, struct kap_id id);
void doing_expect_tree(struct doing *d, struct kap_id root, bool has_expected, uint64_t expected);

/* Fields of a row's struct as a request brings it: no system fields, no output fields. */
struct sim_fields doing_fields(struct doing *d, uint8_t kind, const void *message);
/* The id in its system fields, or nil. */
struct kap_id message_id(const void *message);
