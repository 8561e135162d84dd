/* Deleting a row and all it owns: into history with a full image each, a root into the trash too. Rows that only refer to
 * it keep their reference, which reads as absent (NULLIFY), or forbid it (RESTRICT).
 *
 * The commit of the delete takes at most KAP_TREE_ROWS_MAX rows, and always the whole graph of a root, which has no more.
 * What else belongs to one of them by some reference, like thousands of comments, goes by a job (job.h), all that does so by
 * the same reference or none. */
#include "engine/base/assert.h"
#include "engine/model/job.h"
#include "engine/model/model_internal.h"

enum { REFERRERS_MAX = 10, REFERRERS_SCANNED_MAX = 2000 };

struct deleting {
    struct kap_model *model;
    const struct kap_delete *options;
    struct kap_rows rows; /* what goes in this commit; the first is what was asked for */
    bool is_large; /* the discussion of the tree is not among them: look for it by its references */
    struct kap_rows later; /* rows of which some of what belongs to them goes by a job */
    uint64_t n_later; /* that many rows */
};

static bool goes(const struct deleting *d, uint8_t kind, struct kap_id id)
{
    for (uint32_t i = 0; i < d->rows.n; i++)
        if (d->rows.at[i].kind == kind && kap_id_eq(d->rows.at[i].id, id))
            return true;
    return false;
}

static kap_status goes_add(struct deleting *d, const struct kap_row *row)
{
    return kap_rows_add(&d->rows, d->model->arena, row);
}

/* Whom a part belongs to is what gives it its root. */
static kap_status parent_of(const struct kap_model *model, const struct kap_row *row, struct kap_id *parent_out)
{
    const struct kap_kind_desc *desc = kap_schema_kind(model->schema, row->kind);
    *parent_out = (struct kap_id){{0}};
    kap_status status = KAP_OK;
    for (size_t i = 0; i < KAP_ARRAY_LEN(desc->root_field) && desc->root_field[i] && kap_id_is_nil(*parent_out); i++)
        status = model_row_id(row->bytes, desc->root_field[i], parent_out);
    return status;
}

static kap_status parts_gather(struct deleting *d, const struct kap_rows *tree)
{
    bool grew = true;
    while (grew) {
        grew = false;
        for (uint32_t i = 0; i < tree->n; i++) {
            struct kap_row *row = &tree->at[i];
            struct kap_id parent;
            if (row->kind == KAP_KIND_TREE_HEAD || goes(d, row->kind, row->id))
                continue;
            kap_status status = parent_of(d->model, row, &parent);
            bool belongs = false;
            for (uint32_t n = 0; n < d->rows.n && !belongs && !kap_id_is_nil(parent); n++)
                belongs = kap_id_eq(d->rows.at[n].id, parent);
            if (status == KAP_OK && belongs) {
                status = goes_add(d, row);
                grew = true;
            }
            if (status != KAP_OK)
                return status;
        }
    }
    return KAP_OK;
}

static kap_status group_gather(struct deleting *d, const struct kap_row *row, uint8_t group, bool is_root)
{
    uint32_t n = d->rows.n, max = group == MODEL_GROUP_GRAPH ? KAP_TREE_SCAN_MAX : KAP_TREE_ROWS_MAX;
    struct kap_rows tree;
    bool is_all;
    kap_status status = model_tree_first(d->model, group, row->root, max, &tree, &is_all);
    if (status == KAP_OK && group == MODEL_GROUP_GRAPH && !is_all)
        return kap_model_refuse_row(d->model, KAP_TOO_LARGE, row->kind, row->id,
                                    "the tree has more than %u rows: delete its parts first", max);
    if (status == KAP_OK && !is_root)
        return parts_gather(d, &tree);
    for (uint32_t i = 0; status == KAP_OK && is_all && i < tree.n; i++)
        if (tree.at[i].kind != KAP_KIND_TREE_HEAD && !goes(d, tree.at[i].kind, tree.at[i].id))
            status = goes_add(d, &tree.at[i]);
    if (group == MODEL_GROUP_GRAPH || (is_all && d->rows.n <= KAP_TREE_ROWS_MAX))
        return status;
    d->rows.n = n;
    d->is_large = true;
    return status;
}

/* A root takes its whole range, of every group; a part takes what belongs to it, which is of the graph. */
static kap_status tree_gather(struct deleting *d, const struct kap_row *row)
{
    bool is_root = model_is_root(d->model->schema, row->kind, row->root, row->id);
    kap_status status = KAP_OK;
    for (uint8_t group = MODEL_GROUP_GRAPH; group <= MODEL_GROUP_LAST && status == KAP_OK; group++)
        status = group_gather(d, row, group, is_root);
    return status;
}

/* [index][the parent that names this row]; by kind too where the field's target is said by a sibling. */
static void referrers_prefix(const struct kap_ref_desc *ref, uint8_t kind, struct kap_id id, struct kap_key *key)
{
    if (ref->target_kind == 0)
        kap_key_put_u64(key, kind);
    kap_key_put_id(key, id);
}

void model_referrers_prefix(const struct kap_ref_desc *ref, uint8_t kind, struct kap_id id, struct kap_key *key_out)
{
    kap_index_key_init(key_out, ref->index);
    referrers_prefix(ref, kind, id, key_out);
}

bool model_refers_to(const struct kap_ref_desc *ref, uint8_t kind, uint8_t verb)
{
    return ref->on_delete == verb && ref->index != 0 && (ref->target_kind == kind || ref->target_kind == 0);
}

typedef kap_status (*referrer_fn)(struct deleting *d, const struct kap_ref_desc *ref, struct kap_id id, void *context);

static kap_status referrers_walk(struct deleting *d, const struct kap_ref_desc *ref, const struct kap_row *row,
                                 referrer_fn each, void *context)
{
    struct kap_scan scan;
    struct kap_key prefix;
    model_referrers_prefix(ref, row->kind, row->id, &prefix);
    kap_status status = kap_scan_init_prefix(&scan, d->model->view, d->model->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
        struct kap_id id;
        memcpy(id.bytes, scan.entry.key.data + scan.entry.key.len - sizeof id.bytes, sizeof id.bytes);
        d->model->entries_scanned++;
        status = each(d, ref, id, context);
    }
    return status == KAP_END ? KAP_OK : status;
}

/* What one row owns by one reference; the rows are complete when n is at most max. */
struct belongings {
    struct kap_rows rows;
    uint64_t n;
    uint32_t max;
};

static kap_status cascade_add(struct deleting *d, const struct kap_ref_desc *ref, struct kap_id id, void *context)
{
    struct belongings *own = context;
    struct kap_row row;
    if (goes(d, ref->kind, id))
        return KAP_OK;
    if (++own->n > own->max)
        return KAP_OK; /* only counted */
    kap_status status = kap_model_find(d->model, ref->kind, id, &row);
    if (status == KAP_NOT_FOUND) { /* it goes by a job already */
        own->n--;
        return KAP_OK;
    }
    return status == KAP_OK ? kap_rows_add(&own->rows, d->model->arena, &row) : status;
}

static kap_status cascade_take(struct deleting *d, const struct kap_ref_desc *ref, const struct kap_row *row)
{
    struct belongings own = {.max = d->rows.n < KAP_TREE_ROWS_MAX ? KAP_TREE_ROWS_MAX - d->rows.n : 0};
    kap_status status = referrers_walk(d, ref, row, cascade_add, &own);
    if (status != KAP_OK || own.n == 0)
        return status;
    for (uint32_t i = 0; own.n <= own.max && i < own.rows.n && status == KAP_OK; i++)
        status = goes_add(d, &own.rows.at[i]);
    if (own.n <= own.max)
        return status;
    d->n_later += own.n;
    return kap_rows_add(&d->later, d->model->arena, row);
}

/* What is owned from another tree, like the memberships of a user, and what of the own tree was not gathered. */
static kap_status cascade_gather(struct deleting *d)
{
    const struct kap_schema *schema = d->model->schema;
    for (uint32_t n = 0; n < d->rows.n; n++) {
        for (uint16_t i = 0; i < schema->n_refs; i++) {
            const struct kap_ref_desc *ref = &schema->refs[i];
            const struct kap_kind_desc *desc = kap_schema_kind(schema, ref->kind);
            if (!model_refers_to(ref, d->rows.at[n].kind, KAP_ON_DELETE_CASCADE) || !desc)
                continue;
            bool is_of_tree = desc->root_field[0] == ref->field || desc->root_field[1] == ref->field;
            if (is_of_tree && (!d->is_large || desc->group == MODEL_GROUP_GRAPH))
                continue;
            const struct kap_row row = d->rows.at[n]; /* the list may move while it grows */
            kap_status status = cascade_take(d, ref, &row);
            if (status != KAP_OK)
                return status;
        }
    }
    return KAP_OK;
}

struct referrers {
    struct kap_row_name *names;
    uint64_t n;
};

static kap_status restrict_add(struct deleting *d, const struct kap_ref_desc *ref, struct kap_id id, void *context)
{
    struct referrers *referrers = context;
    const struct kap_kind_desc *desc = kap_schema_kind(d->model->schema, ref->kind);
    /* What stands in the tree by this very reference, like the members of a club, holds it: it does not just go along. */
    bool belongs_by_it = desc && (desc->root_field[0] == ref->field || desc->root_field[1] == ref->field);
    if (goes(d, ref->kind, id) && !belongs_by_it)
        return KAP_OK;
    bool any_cascade;
    struct kap_row row;
    kap_status status = model_any_cascade(d->model, &any_cascade);
    if (status == KAP_OK && any_cascade)
        status = kap_model_find(d->model, ref->kind, id, &row);
    if (status != KAP_OK) /* not found: a job has yet to take it away */
        return status == KAP_NOT_FOUND ? KAP_OK : status;
    if (referrers->n < REFERRERS_MAX)
        referrers->names[referrers->n] =
            (struct kap_row_name){.has_kind = true, .kind = ref->kind, .has_id = true, .id = id};
    return ++referrers->n == REFERRERS_SCANNED_MAX ? KAP_END : KAP_OK;
}

static bool is_seen(const struct kap_schema *schema, uint16_t at, uint8_t kind)
{
    for (uint16_t i = 0; i < at; i++)
        if (schema->refs[i].index == schema->refs[at].index &&
            model_refers_to(&schema->refs[i], kind, KAP_ON_DELETE_RESTRICT))
            return true;
    return false;
}

/* Several fields share an index: each index is asked once. Past the scan's limit the exact count tells how many. */
static kap_status referrers_find(struct deleting *d, const struct kap_row *row, struct referrers *referrers)
{
    const struct kap_schema *schema = d->model->schema;
    for (uint16_t i = 0; i < schema->n_refs; i++) {
        const struct kap_ref_desc *ref = &schema->refs[i];
        if (!model_refers_to(ref, row->kind, KAP_ON_DELETE_RESTRICT) || is_seen(schema, i, row->kind))
            continue;
        if (ref->kind == KAP_KIND_EXERCISE && ref->target_kind == KAP_KIND_EXERCISE && d->options->force)
            continue;
        uint64_t before = referrers->n;
        kap_status status = referrers_walk(d, ref, row, restrict_add, referrers);
        if (status == KAP_OK && referrers->n - before >= REFERRERS_SCANNED_MAX) {
            struct kap_key key;
            uint64_t count = 0;
            kap_index_count_key_init(&key, ref->index);
            referrers_prefix(ref, row->kind, row->id, &key);
            status = kap_model_count(d->model, &key, &count);
            referrers->n = KAP_MAX(referrers->n, before + count);
        }
        if (status != KAP_OK)
            return status;
    }
    return KAP_OK;
}

static kap_status restrict_check(struct deleting *d)
{
    struct kap_model *model = d->model;
    struct referrers referrers = {.names = kap_arena_push(model->arena, REFERRERS_MAX * sizeof *referrers.names)};
    if (!referrers.names)
        return KAP_NO_MEMORY;
    for (uint32_t i = 0; i < d->rows.n && referrers.n == 0; i++) {
        kap_status status = referrers_find(d, &d->rows.at[i], &referrers);
        if (status != KAP_OK)
            return status;
        if (referrers.n == 0)
            continue;
        model->error.n_referrers = KAP_MIN(referrers.n, (uint64_t)REFERRERS_MAX);
        model->error.referrers = referrers.names;
        model->error.has_referrer_count = true;
        model->error.referrer_count = referrers.n;
        return kap_model_refuse_row(model, KAP_REFERENCED, d->rows.at[i].kind, d->rows.at[i].id,
                                    "the %s is in use: %llu rows refer to it",
                                    kap_model_kind_name(model, d->rows.at[i].kind), (unsigned long long)referrers.n);
    }
    return KAP_OK;
}

static kap_status owner_of(const struct kap_row *row, struct kap_id *owner_out)
{
    struct kap_sys_view sys;
    uint16_t field = row->kind == KAP_KIND_SESSION ? 2 : row->kind == KAP_KIND_EXERCISE ? 34 : 0;
    kap_status status = kap_row_sys(row->bytes, &sys);
    if (status == KAP_OK)
        *owner_out = sys.created_by;
    return status == KAP_OK && field ? model_row_id(row->bytes, field, owner_out) : status;
}

static kap_status trash_write(struct deleting *d)
{
    const struct kap_row *row = &d->rows.at[0];
    struct kap_model *model = d->model;
    struct kap_column title = {0};
    struct kap_id owner;
    struct kap_key key;
    kap_status status = owner_of(row, &owner);
    uint16_t title_field = row->kind == KAP_KIND_SESSION || row->kind == KAP_KIND_EXERCISE ? 4 : 0;
    if (status == KAP_OK && title_field)
        status = kap_row_column(row->bytes, title_field, 0, &title);
    if (status != KAP_OK)
        return status;
    struct kap_trash_record record = {.has_root_kind = true,
                                      .root_kind = row->kind,
                                      .has_root = true,
                                      .root = row->root,
                                      .has_owner = true,
                                      .owner = owner,
                                      .has_deleted_at = true,
                                      .deleted_at = model->now_us,
                                      .has_deleted_by = true,
                                      .deleted_by = model->actor,
                                      .has_commit_seq = true,
                                      .commit_seq = model->txn->commit_seq,
                                      .has_rows = true,
                                      .rows = (uint32_t)KAP_MIN(d->rows.n + d->n_later, (uint64_t)UINT32_MAX),
                                      .has_title = title.present,
                                      .title = title.bytes};
    struct kap_bytes bytes = kap_wire_encode_in(&kap_trash_record_msg, &record, model->arena);
    if (!bytes.data)
        return KAP_NO_MEMORY;
    kap_key_trash(&key, owner, model->now_us, row->kind, row->root);
    return kap_txn_put(model->txn, kap_key_bytes(&key), bytes);
}

/* Is the row still named by NULLIFY, from rows that stay? Those that go with it went before, or name it in vain. */
kap_status model_named_mark(struct kap_model *model, const struct kap_row *row)
{
    const struct kap_schema *schema = model->schema;
    for (uint16_t i = 0; i < schema->n_refs; i++) {
        struct kap_scan scan;
        struct kap_key prefix;
        if (!model_refers_to(&schema->refs[i], row->kind, KAP_ON_DELETE_NULLIFY))
            continue;
        model_referrers_prefix(&schema->refs[i], row->kind, row->id, &prefix);
        kap_status status = kap_scan_init_prefix(&scan, model->view, model->arena, kap_key_bytes(&prefix));
        if (status == KAP_OK)
            status = kap_scan_next(&scan);
        if (status == KAP_OK)
            return model_mark_put(model, row->kind, row->id);
        if (status != KAP_END)
            return status;
    }
    return KAP_OK;
}

/* Parts before what they belong to: the first row goes last. */
static kap_status rows_remove(struct deleting *d)
{
    const struct kap_row *first = &d->rows.at[0];
    bool is_root = model_is_root(d->model->schema, first->kind, first->root, first->id);
    struct kap_tree_change *change;
    kap_status status = is_root ? model_tree_change(d->model, first->root, &change) : KAP_OK;
    if (status == KAP_OK && is_root)
        change->is_checked = true; /* going altogether is no edit of what is under review */
    for (uint32_t i = d->rows.n; i-- > 0 && status == KAP_OK;) {
        const struct kap_row *row = &d->rows.at[i];
        status = model_row_write(d->model, row->kind, row->root, row->id, &row->stored, NULL, KAP_CHANGE_OP_DELETE);
        if (status == KAP_OK)
            status = model_named_mark(d->model, row);
    }
    for (uint32_t i = 0; i < d->later.n && status == KAP_OK; i++)
        status = kap_job_begin(d->model, KAP_JOB_CASCADE, d->later.at[i].kind, d->later.at[i].id);
    const struct kap_kind_desc *desc = kap_schema_kind(d->model->schema, first->kind);
    return status == KAP_OK && is_root && desc->history ? trash_write(d) : status;
}

static kap_status delete_check(struct kap_model *model, const struct kap_row *row, const struct kap_delete *options)
{
    struct kap_sys_view sys;
    bool may = true;
    kap_status status = kap_row_sys(row->bytes, &sys);
    if (status == KAP_OK && !options->is_trusted)
        status = kap_model_may(model, KAP_MAY_WRITE, row, &may);
    if (status != KAP_OK)
        return status;
    if (!may)
        return kap_model_refuse_row(model, KAP_FORBIDDEN, row->kind, row->id, "you may read this %s but not delete it",
                                    kap_model_kind_name(model, row->kind));
    if (!options->has_expected_rev || sys.rev == options->expected_rev)
        return KAP_OK;
    model->error.has_current_rev = true;
    model->error.current_rev = sys.rev;
    return kap_model_refuse_row(
        model, KAP_REV_CONFLICT, row->kind, row->id, "the %s was changed by someone else: its rev is %llu, not %llu",
        kap_model_kind_name(model, row->kind), (unsigned long long)sys.rev, (unsigned long long)options->expected_rev);
}

kap_status kap_model_delete(struct kap_model *model, const struct kap_row *row, const struct kap_delete *options,
                            uint32_t *rows_out)
{
    struct deleting d = {.model = model, .options = options};
    kap_status status = delete_check(model, row, options);
    if (status == KAP_OK)
        status = goes_add(&d, row);
    if (status == KAP_OK)
        status = tree_gather(&d, row);
    if (status == KAP_OK)
        status = cascade_gather(&d);
    if (status == KAP_OK)
        status = restrict_check(&d);
    if (status == KAP_OK && !options->dry_run)
        status = rows_remove(&d);
    if (status == KAP_OK)
        *rows_out = (uint32_t)KAP_MIN(d.rows.n + d.n_later, (uint64_t)UINT32_MAX);
    return status;
}
