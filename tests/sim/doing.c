#include "tests/sim/doing.h"

#include "proto/wire.h"

void doing_begin(struct doing *d, struct model *model, const struct sim_who *who, uint64_t seq, int64_t now_us)
{
    *d = (struct doing){.model = model, .who = *who, .now_us = now_us, .seq = seq, .mark = model->n_log};
}

void doing_refuse(struct doing *d, kap_status status)
{
    if (!doing_allows(d, status) && d->n_verdicts < DOING_VERDICTS_MAX)
        d->verdicts[d->n_verdicts++] = status;
}

bool doing_refused(const struct doing *d)
{
    return d->n_verdicts > 0;
}

bool doing_allows(const struct doing *d, kap_status status)
{
    for (uint32_t i = 0; i < d->n_verdicts; i++)
        if (d->verdicts[i] == status)
            return true;
    return false;
}

static bool is_in(const struct kap_id *ids, uint32_t n, struct kap_id id)
{
    for (uint32_t i = 0; i < n; i++)
        if (kap_id_eq(ids[i], id))
            return true;
    return false;
}

static void add(struct kap_id *ids, uint32_t *n, struct kap_id id)
{
    if (is_in(ids, *n, id))
        return;
    if (*n == DOING_TREES_MAX)
        sim_fail("a request of the simulator touches too many trees");
    ids[(*n)++] = id;
}

uint64_t doing_tree_rev(const struct doing *d, struct kap_id root)
{
    return is_in(d->touched, d->n_touched, root) ? d->seq : model_tree_rev(d->model, root);
}

void doing_rename(struct doing *d, struct kap_id from, struct kap_id to)
{
    model_rename(d->model, d->mark, from, to);
    for (uint32_t i = 0; i < d->n_touched; i++)
        if (kap_id_eq(d->touched[i], from))
            d->touched[i] = to;
    for (uint32_t i = 0; i < d->n_checked; i++)
        if (kap_id_eq(d->checked[i], from))
            d->checked[i] = to;
}

static struct sim_row *row_new(struct doing *d, const struct sim_row *from)
{
    struct sim_row *row = sim_alloc(d->model->arena, sizeof *row);
    if (from)
        *row = *from;
    return row;
}

void doing_finish(struct doing *d)
{
    for (uint32_t i = 0; i < d->n_touched; i++) {
        struct kap_id root = d->touched[i];
        struct sim_row *head = model_find(d->model, KAP_KIND_TREE_HEAD, root), *after = NULL;
        if (model_find_any(d->model, root)) {
            after = row_new(d, NULL);
            *after = (struct sim_row){.kind = KAP_KIND_TREE_HEAD, .root = root, .id = root, .commit_seq = d->seq};
        }
        if (head || after)
            model_change(d->model, d->seq, head, after);
    }
}

struct kap_id message_id(const void *message)
{
    const struct kap_sys *sys = *(struct kap_sys *const *)message;
    return sys && sys->has_id ? sys->id : (struct kap_id){{0}};
}

struct sim_fields doing_fields(struct doing *d, uint8_t kind, const void *message)
{
    struct sim_fields fields;
    struct kap_bytes bytes = kap_wire_encode_in(kap_message_of_kind(kind), message, d->model->arena);
    if (!bytes.data || !fields_parse(d->model->arena, bytes, &fields))
        sim_fail("a %s of a request cannot be read back", model_kind_name(kind));
    fields = fields_without(d->model->arena, &fields, 1);
    for (uint32_t number = 2; number < 64; number++)
        if (rules_is_output(kind, number) && fields_has(&fields, number))
            fields = fields_without(d->model->arena, &fields, number);
    return fields;
}

struct sim_row *doing_get(struct doing *d, uint8_t kind, struct kap_id id)
{
    struct sim_row *row = model_find(d->model, kind, id);
    if (row && rules_may_read(d->model, &d->who, row))
        return row;
    doing_refuse(d, KAP_NOT_FOUND);
    return NULL;
}

void doing_expect_tree(struct doing *d, struct kap_id root, bool has_expected, uint64_t expected)
{
    if (has_expected && model_tree_rev(d->model, root) != expected)
        doing_refuse(d, KAP_REV_CONFLICT);
}

/* ---- trees */

/* Before a part changes: what is under review or archived stays; what was validated becomes a draft. */
static void state_edit(struct doing *d, struct kap_id root)
{
    struct sim_row *session = model_find(d->model, KAP_KIND_SESSION, root);
    if (is_in(d->checked, d->n_checked, root))
        return;
    add(d->checked, &d->n_checked, root);
    if (!session || who_is(&d->who, KAP_ROLE_ADMIN))
        return;
    uint64_t status = fields_number(&session->fields, 25, KAP_SESSION_STATUS_DRAFT);
    if (status == KAP_SESSION_STATUS_PENDING || status == KAP_SESSION_STATUS_ARCHIVED)
        doing_refuse(d, KAP_STATE_CONFLICT);
    if (status != KAP_SESSION_STATUS_VALIDATED)
        return;
    struct sim_fields seen = rules_seen(d->model, KAP_KIND_SESSION, &session->fields);
    struct sim_row *draft = row_new(d, session);
    draft->fields = fields_with_number(d->model->arena, &seen, 25, KAP_SESSION_STATUS_DRAFT);
    draft->rev += session->commit_seq != d->seq;
    draft->commit_seq = d->seq;
    draft->updated_at = d->now_us;
    draft->updated_by = d->who.user;
    model_change(d->model, d->seq, session, draft);
}

static void tree_touch(struct doing *d, const struct sim_row *row)
{
    bool is_root = kap_id_eq(row->root, row->id) && row->kind != KAP_KIND_PROFILE;
    if (is_root && !rules_has_head(row->kind))
        return;
    add(d->touched, &d->n_touched, row->root);
    if (!is_root)
        state_edit(d, row->root);
}

/* ---- put */

/* The state a session may be put into by one who is no administrator. */
static void session_rules(struct doing *d, const struct sim_row *old, struct sim_fields *fields)
{
    uint64_t to = fields_number(fields, 25, KAP_SESSION_STATUS_DRAFT);
    uint64_t from = old ? fields_number(&old->fields, 25, KAP_SESSION_STATUS_DRAFT) : KAP_SESSION_STATUS_DRAFT;
    if (who_is(&d->who, KAP_ROLE_ADMIN))
        return;
    if (from == KAP_SESSION_STATUS_PENDING || from == KAP_SESSION_STATUS_ARCHIVED ||
        (to != from && to != KAP_SESSION_STATUS_DRAFT))
        doing_refuse(d, KAP_STATE_CONFLICT);
    if (from == KAP_SESSION_STATUS_VALIDATED)
        *fields = fields_with_number(d->model->arena, fields, 25, KAP_SESSION_STATUS_DRAFT);
}

static bool ref_holds(const struct doing *d, const struct sim_ref *ref, const struct sim_fields *fields,
                      struct kap_id self, struct kap_id id)
{
    uint8_t kind = ref->target ? ref->target : (uint8_t)fields_number(fields, 2, 0);
    const struct sim_row *target = model_find(d->model, kind, id);
    if (!target)
        return false;
    if (kind != KAP_KIND_USER && !kap_id_eq(target->root, self) && !rules_may_read(d->model, &d->who, target))
        return false;
    return ref->list == 0 || fields_number(&target->fields, 2, 0) == ref->list;
}

/* Every reference that the write brings leads to a row that is there, may be read and is of the right list. */
static void refs_check(struct doing *d, uint8_t kind, struct kap_id self, const struct sim_row *old,
                       const struct sim_fields *fields)
{
    for (uint32_t i = 0; i < sim_n_refs; i++) {
        const struct sim_ref *ref = &sim_refs[i];
        const struct sim_field *field = ref->kind == kind ? fields_get(fields, ref->field) : NULL;
        for (uint16_t n = 0; field && n < field->n; n++) {
            struct kap_id id = value_id(&field->values[n]);
            bool is_old = old && fields_holds_id(&old->fields, ref->field, id);
            if (!is_old && !kap_id_is_nil(id) && !ref_holds(d, ref, fields, self, id))
                doing_refuse(d, KAP_INVALID);
        }
    }
}

/* False: what it belongs to does not exist. */
static bool root_resolve(const struct doing *d, uint8_t kind, struct kap_id id, const struct sim_fields *fields,
                         struct kap_id *root_out)
{
    static const uint8_t parents[][2] = {{KAP_KIND_SEQUENCE, KAP_KIND_SESSION},
                                         {KAP_KIND_EXERCISE, KAP_KIND_SEQUENCE},
                                         {KAP_KIND_VARIATION, KAP_KIND_EXERCISE},
                                         {KAP_KIND_MEMBERSHIP, KAP_KIND_CLUB},
                                         {KAP_KIND_PROFILE, KAP_KIND_USER}};
    uint8_t parent_kind = kind == KAP_KIND_OBJECTIVE ? (uint8_t)fields_number(fields, 2, 0) : 0;
    struct kap_id parent_id = fields_id(fields, model_parent_field(kind) ? model_parent_field(kind) : 63);
    for (size_t i = 0; i < sizeof parents / sizeof parents[0]; i++)
        if (parents[i][0] == kind)
            parent_kind = parents[i][1];
    *root_out = id;
    if (parent_kind == 0 || (kind == KAP_KIND_EXERCISE && kap_id_is_nil(parent_id)))
        return true;
    const struct sim_row *parent = model_find(d->model, parent_kind, parent_id);
    if (parent)
        *root_out = parent->root;
    return parent != NULL;
}

/* An id that the client chose must be nobody's and never have been a root's. */
static void new_id_check(struct doing *d, const struct sim_put *put, struct kap_id root)
{
    const struct sim_row *other = model_find_any(d->model, put->id);
    bool is_companion = other && ((put->kind == KAP_KIND_PROFILE && other->kind == KAP_KIND_USER) ||
                                  (put->kind == KAP_KIND_USER && other->kind == KAP_KIND_PROFILE));
    if (other && !is_companion)
        doing_refuse(d, KAP_ALREADY_EXISTS);
    if (kap_id_eq(root, put->id) && model_find_tomb(d->model, root, put->kind, put->id))
        doing_refuse(d, KAP_GONE);
}

static void right_check(struct doing *d, const struct sim_put *put, const struct sim_row *old)
{
    if (put->is_trusted || rules_may_write(d->model, &d->who, old))
        return;
    doing_refuse(d, rules_may_read(d->model, &d->who, old) ? KAP_FORBIDDEN
                    : put->has_rev                         ? KAP_NOT_FOUND
                    : put->is_by_key                       ? KAP_FORBIDDEN
                                                           : KAP_ALREADY_EXISTS);
}

static struct sim_row *row_store(struct doing *d, const struct sim_put *put, struct sim_row *old, struct kap_id root,
                                 const struct sim_fields *fields)
{
    struct model *model = d->model;
    struct sim_row *row = row_new(d, old);
    struct sim_row *tomb = old ? NULL : model_find_tomb(model, root, put->kind, put->id);
    row->kind = put->kind;
    row->id = put->id;
    row->root = root;
    row->fields = *fields;
    if (!old) {
        row->rev = tomb ? tomb->rev : 0;
        row->created_at = d->now_us;
        row->created_by = d->who.user;
        row->created_seq = d->seq;
    }
    row->rev += !old || old->commit_seq != d->seq;
    row->updated_at = d->now_us;
    row->updated_by = d->who.user;
    row->commit_seq = d->seq;
    if (tomb)
        model_change(model, d->seq, tomb, NULL);
    model_change(model, d->seq, old, row);
    tree_touch(d, row);
    return row;
}

static struct sim_fields fields_make(struct doing *d, const struct sim_put *put, const struct sim_row *old)
{
    struct kap_arena *arena = d->model->arena;
    struct sim_fields fields = old ? old->fields : put->patch;
    for (size_t i = 0; i < put->n_clear; i++) {
        bool is_known = put->clear[i] > 1 && kap_message_field(kap_message_of_kind(put->kind), put->clear[i]);
        if (!is_known || rules_is_required(put->kind, put->clear[i]) || rules_is_output(put->kind, put->clear[i]))
            doing_refuse(d, KAP_INVALID);
        else
            fields = fields_without(arena, &fields, put->clear[i]);
    }
    if (old)
        fields = fields_merge(arena, &fields, &put->patch);
    if (old && put->n_clear == 0)
        return fields;
    return rules_defaults(d->model, put->kind, &fields, !old);
}

struct sim_row *doing_put(struct doing *d, const struct sim_put *asked, int32_t *op_out)
{
    struct sim_put put = *asked;
    bool id_is_given = !kap_id_is_nil(put.id);
    struct sim_row *old = id_is_given ? model_find(d->model, put.kind, put.id) : NULL;
    struct kap_id root;
    *op_out = 0;
    if (!id_is_given)
        put.id = model_placeholder(d->model);
    if (old)
        right_check(d, &put, old);
    if (put.has_rev && !old && put.rev != 0)
        doing_refuse(d, KAP_NOT_FOUND);
    if (put.has_rev && old && put.rev != old->rev)
        doing_refuse(d, KAP_REV_CONFLICT);
    if (doing_refused(d))
        return NULL;
    struct sim_row seen, *stored = old;
    if (old) { /* what a write begins from is what a reader sees; the row itself is what it replaces */
        seen = *old;
        seen.fields = rules_seen(d->model, put.kind, &old->fields);
        old = &seen;
    }
    struct sim_fields fields = fields_make(d, &put, old);
    if (old && !doing_refused(d) && fields_equal(&fields, &old->fields))
        return stored;
    if (old && put.create_only)
        doing_refuse(d, KAP_ALREADY_EXISTS);
    if (!rules_complete(put.kind, &fields) || !rules_within_limits(put.kind, &fields))
        doing_refuse(d, KAP_INVALID);
    if (put.kind == KAP_KIND_SESSION)
        session_rules(d, old, &fields);
    refs_check(d, put.kind, put.id, old, &fields);
    if (!root_resolve(d, put.kind, put.id, &fields, &root) || (old && !kap_id_eq(root, old->root)))
        doing_refuse(d, KAP_INVALID);
    struct sim_row as_new = {.kind = put.kind, .root = root, .id = put.id, .fields = fields};
    if (!put.is_trusted && !rules_may_write(d->model, &d->who, &as_new))
        doing_refuse(d, KAP_FORBIDDEN);
    if (!old && id_is_given)
        new_id_check(d, &put, root);
    if (rules_same_key(d->model, put.kind, put.id, &fields))
        doing_refuse(d, KAP_UNIQUE);
    if (doing_refused(d)) {
        tree_touch(d, &as_new); /* for a state that forbids it too */
        return NULL;
    }
    *op_out = old ? KAP_CHANGE_OP_UPDATE : KAP_CHANGE_OP_CREATE;
    return row_store(d, &put, stored, root, &fields);
}

/* ---- delete */

static bool goes(const struct sim_rows *rows, const struct sim_row *row)
{
    for (uint32_t i = 0; i < rows->n; i++)
        if (rows->at[i] == row)
            return true;
    return false;
}

static bool refers(const struct sim_ref *ref, const struct sim_row *row, const struct sim_row *target)
{
    uint8_t kind = ref->target ? ref->target : (uint8_t)fields_number(&row->fields, 2, 0);
    return ref->kind == row->kind && kind == target->kind && fields_holds_id(&row->fields, ref->field, target->id);
}

/* Everything that hangs on it by CASCADE. */
static void owned_gather(struct doing *d, struct sim_rows *rows)
{
    for (uint32_t n = 0; n < rows->n; n++)
        for (uint32_t i = 0; i < sim_n_refs; i++) {
            const struct sim_rows *all = &d->model->kinds[sim_refs[i].kind];
            for (uint32_t k = 0; sim_refs[i].verb == VERB_CASCADE && k < all->n; k++)
                if (refers(&sim_refs[i], all->at[k], rows->at[n]) && !goes(rows, all->at[k]))
                    rows_add(d->model->arena, rows, all->at[k]);
        }
}

static bool is_in_use(const struct doing *d, const struct sim_rows *rows, bool force)
{
    for (uint32_t i = 0; i < sim_n_refs; i++) {
        const struct sim_ref *ref = &sim_refs[i];
        const struct sim_rows *all = &d->model->kinds[ref->kind];
        bool is_source = ref->kind == KAP_KIND_EXERCISE && ref->target == KAP_KIND_EXERCISE;
        if (ref->verb != VERB_RESTRICT || (is_source && force))
            continue;
        for (uint32_t k = 0; k < all->n; k++)
            for (uint32_t n = 0; n < rows->n; n++)
                if (refers(ref, all->at[k], rows->at[n]) && !goes(rows, all->at[k]))
                    return true;
    }
    return false;
}

/* What remains of a row: its revision. One that came and went within the commit leaves what there was before it. */
static void tomb_write(struct doing *d, const struct sim_row *row)
{
    struct sim_row *tomb = row_new(d, NULL);
    uint64_t rev = row->commit_seq == d->seq ? row->rev - 1 : row->rev;
    if (rev == 0)
        return;
    *tomb = (struct sim_row){
        .kind = MODEL_TOMB, .of_kind = row->kind, .root = row->root, .id = row->id, .rev = rev, .commit_seq = d->seq};
    model_change(d->model, d->seq, NULL, tomb);
}

uint32_t doing_delete(struct doing *d, struct sim_row *row, const struct sim_delete *options)
{
    struct sim_rows rows = {0};
    if (!options->is_trusted && !rules_may_write(d->model, &d->who, row))
        doing_refuse(d, KAP_FORBIDDEN);
    if (options->has_rev && options->rev != row->rev)
        doing_refuse(d, KAP_REV_CONFLICT);
    rows_add(d->model->arena, &rows, row);
    owned_gather(d, &rows);
    if (is_in_use(d, &rows, options->force))
        doing_refuse(d, KAP_REFERENCED);
    if (options->dry_run || doing_refused(d)) {
        if (!options->dry_run && !kap_id_eq(row->root, row->id))
            tree_touch(d, row);
        return doing_refused(d) ? 0 : rows.n;
    }
    if (kap_id_eq(row->root, row->id))
        add(d->checked, &d->n_checked, row->root); /* going altogether is no edit */
    for (uint32_t i = rows.n; i-- > 0;) {
        model_change(d->model, d->seq, rows.at[i], NULL);
        tomb_write(d, rows.at[i]);
        tree_touch(d, rows.at[i]);
    }
    return doing_refused(d) ? 0 : rows.n;
}
