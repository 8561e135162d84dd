/* Deleting a row and all it owns: into history with a full image each, a root into the trash too. Rows that only refer to
 * it keep their reference, which reads as absent (NULLIFY), or forbid it (RESTRICT). */
#include "engine/base/assert.h"
#include "engine/model/model_internal.h"

enum { REFERRERS_MAX = 10, REFERRERS_SCANNED_MAX = 2000 };

struct deleting {
    struct kap_model *model;
    const struct kap_delete *options;
    struct kap_rows rows; /* what goes; the first is what was asked for */
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
    if (d->rows.n == KAP_TREE_ROWS_MAX)
        return kap_model_refuse_row(
            d->model, KAP_TOO_LARGE, d->rows.at[0].kind, d->rows.at[0].id,
            "a delete takes at most %d rows with it, this one would take more: delete its parts "
            "first",
            KAP_TREE_ROWS_MAX);
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

/* A root takes its whole range, of every group; a part takes what belongs to it. */
static kap_status tree_gather(struct deleting *d, const struct kap_row *row)
{
    bool is_root = model_is_root(d->model->schema, row->kind, row->root, row->id);
    for (uint8_t group = MODEL_GROUP_GRAPH; group <= MODEL_GROUP_LAST; group++) {
        struct kap_rows tree;
        kap_status status = kap_model_tree(d->model, group, row->root, KAP_TREE_SCAN_MAX, &tree);
        if (status == KAP_OK && !is_root)
            status = parts_gather(d, &tree);
        for (uint32_t i = 0; is_root && status == KAP_OK && i < tree.n; i++)
            if (tree.at[i].kind != KAP_KIND_TREE_HEAD && !goes(d, tree.at[i].kind, tree.at[i].id))
                status = goes_add(d, &tree.at[i]);
        if (status != KAP_OK)
            return status;
    }
    return KAP_OK;
}

/* [index][the parent that names this row]; by kind too where the field's target is said by a sibling. */
static void referrers_prefix(const struct kap_ref_desc *ref, const struct kap_row *row, struct kap_key *key)
{
    if (ref->target_kind == 0)
        kap_key_put_u64(key, row->kind);
    kap_key_put_id(key, row->id);
}

static bool refers_to(const struct kap_ref_desc *ref, uint8_t kind, uint8_t verb)
{
    return ref->on_delete == verb && ref->index != 0 && (ref->target_kind == kind || ref->target_kind == 0);
}

typedef kap_status (*referrer_fn)(struct deleting *d, const struct kap_ref_desc *ref, struct kap_id id, void *context);

static kap_status referrers_walk(struct deleting *d, const struct kap_ref_desc *ref, const struct kap_row *row,
                                 referrer_fn each, void *context)
{
    struct kap_scan scan;
    struct kap_key prefix;
    kap_index_key_init(&prefix, ref->index);
    referrers_prefix(ref, row, &prefix);
    kap_status status = kap_scan_init_prefix(&scan, d->model->view, d->model->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
        struct kap_id id;
        memcpy(id.bytes, scan.entry.key.data + scan.entry.key.len - sizeof id.bytes, sizeof id.bytes);
        d->model->entries_scanned++;
        status = each(d, ref, id, context);
    }
    return status == KAP_END ? KAP_OK : status;
}

static kap_status cascade_add(struct deleting *d, const struct kap_ref_desc *ref, struct kap_id id, void *context)
{
    struct kap_row row;
    (void)context;
    if (goes(d, ref->kind, id))
        return KAP_OK;
    kap_status status = kap_model_find(d->model, ref->kind, id, &row);
    return status == KAP_OK ? goes_add(d, &row) : status;
}

/* What is owned from another tree, like the memberships of a user. */
static kap_status cascade_gather(struct deleting *d)
{
    const struct kap_schema *schema = d->model->schema;
    for (uint32_t n = 0; n < d->rows.n; n++) {
        for (uint16_t i = 0; i < schema->n_refs; i++) {
            const struct kap_ref_desc *ref = &schema->refs[i];
            const struct kap_kind_desc *desc = kap_schema_kind(schema, ref->kind);
            if (!refers_to(ref, d->rows.at[n].kind, KAP_ON_DELETE_CASCADE) || !desc ||
                desc->root_field[0] == ref->field || desc->root_field[1] == ref->field)
                continue;
            kap_status status = referrers_walk(d, ref, &d->rows.at[n], cascade_add, NULL);
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
    if (referrers->n < REFERRERS_MAX)
        referrers->names[referrers->n] =
            (struct kap_row_name){.has_kind = true, .kind = ref->kind, .has_id = true, .id = id};
    return ++referrers->n == REFERRERS_SCANNED_MAX ? KAP_END : KAP_OK;
}

static bool is_seen(const struct kap_schema *schema, uint16_t at, uint8_t kind)
{
    for (uint16_t i = 0; i < at; i++)
        if (schema->refs[i].index == schema->refs[at].index &&
            refers_to(&schema->refs[i], kind, KAP_ON_DELETE_RESTRICT))
            return true;
    return false;
}

/* Several fields share an index: each index is asked once. Past the scan's limit the exact count tells how many. */
static kap_status referrers_find(struct deleting *d, const struct kap_row *row, struct referrers *referrers)
{
    const struct kap_schema *schema = d->model->schema;
    for (uint16_t i = 0; i < schema->n_refs; i++) {
        const struct kap_ref_desc *ref = &schema->refs[i];
        if (!refers_to(ref, row->kind, KAP_ON_DELETE_RESTRICT) || is_seen(schema, i, row->kind))
            continue;
        if (ref->kind == KAP_KIND_EXERCISE && ref->target_kind == KAP_KIND_EXERCISE && d->options->force)
            continue;
        uint64_t before = referrers->n;
        kap_status status = referrers_walk(d, ref, row, restrict_add, referrers);
        if (status == KAP_OK && referrers->n - before >= REFERRERS_SCANNED_MAX) {
            struct kap_key key;
            uint64_t count = 0;
            kap_index_count_key_init(&key, ref->index);
            referrers_prefix(ref, row, &key);
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
                                      .rows = d->rows.n,
                                      .has_title = title.present,
                                      .title = title.bytes};
    struct kap_bytes bytes = kap_wire_encode_in(&kap_trash_record_msg, &record, model->arena);
    if (!bytes.data)
        return KAP_NO_MEMORY;
    kap_key_trash(&key, owner, model->now_us, row->kind, row->root);
    return kap_txn_put(model->txn, kap_key_bytes(&key), bytes);
}

/* Is the row still named by NULLIFY, from rows that stay? Those that go with it went before, or name it in vain. */
static kap_status named_mark(struct kap_model *model, const struct kap_row *row)
{
    const struct kap_schema *schema = model->schema;
    for (uint16_t i = 0; i < schema->n_refs; i++) {
        struct kap_scan scan;
        struct kap_key prefix;
        if (!refers_to(&schema->refs[i], row->kind, KAP_ON_DELETE_NULLIFY))
            continue;
        kap_index_key_init(&prefix, schema->refs[i].index);
        referrers_prefix(&schema->refs[i], row, &prefix);
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
            status = named_mark(d->model, row);
    }
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
        *rows_out = d.rows.n;
    return status;
}
