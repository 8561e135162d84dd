/* Creating and changing one row.
 *
 *   find -> right to write, expected rev -> merge -> equal? untouched -> rules -> references -> root -> write */
#include "engine/base/assert.h"
#include "engine/base/uuid.h"
#include "engine/model/model_internal.h"

struct putting {
    struct kap_model *model;
    const struct kap_put *put;
    const struct kap_kind_desc *desc;
    const struct kap_msg *msg;
    struct kap_id id;
    const struct kap_row *old; /* NULL: create */
    struct kap_row found;
    struct kap_sys_view sys; /* as it will be */
    void *message; /* as it will be */
    struct kap_bytes bytes;
    bool is_restore;
};

static kap_status exists_refuse(struct putting *p)
{
    return kap_model_refuse_row(p->model, KAP_ALREADY_EXISTS, p->desc->kind, p->id,
                                "the id is in use; send the request without an id to get a new one");
}

/* Somebody else's row is not told from any other id that is taken. */
static kap_status right_check(struct putting *p)
{
    bool may = false;
    if (p->put->is_trusted)
        return KAP_OK;
    kap_status status = kap_model_may(p->model, KAP_MAY_WRITE, p->old, &may);
    if (status != KAP_OK || may)
        return status;
    status = kap_model_may(p->model, KAP_MAY_READ, p->old, &may);
    if (status != KAP_OK)
        return status;
    if (may)
        return kap_model_refuse_row(p->model, KAP_FORBIDDEN, p->desc->kind, p->id,
                                    "you may read this %s but not change it", p->desc->name);
    if (p->put->is_by_key)
        return kap_model_refuse(p->model, KAP_FORBIDDEN, "this is not yours to change");
    if (p->put->has_expected_rev)
        return kap_model_refuse_row(p->model, KAP_NOT_FOUND, p->desc->kind, p->id,
                                    "there is no such %s, or none you may see", p->desc->name);
    return exists_refuse(p);
}

static kap_status rev_check(struct putting *p)
{
    struct kap_sys_view sys = {0};
    if (!p->put->has_expected_rev)
        return KAP_OK;
    if (!p->old && p->put->expected_rev != 0)
        return kap_model_refuse_row(p->model, KAP_NOT_FOUND, p->desc->kind, p->id,
                                    "there is no such %s, or none you may see", p->desc->name);
    kap_status status = p->old ? kap_row_sys(p->old->bytes, &sys) : KAP_OK;
    if (status != KAP_OK || sys.rev == p->put->expected_rev)
        return status;
    p->model->error.has_current_rev = true;
    p->model->error.current_rev = sys.rev;
    return kap_model_refuse_row(p->model, KAP_REV_CONFLICT, p->desc->kind, p->id,
                                "the %s was changed by someone else: its rev is %llu, not %llu", p->desc->name,
                                (unsigned long long)sys.rev, (unsigned long long)p->put->expected_rev);
}

static void clear_apply(struct putting *p)
{
    struct kap_path here = {p->put->path, "clear", 0};
    for (size_t i = 0; i < p->put->n_clear; i++) {
        const struct kap_field *field = kap_message_field(p->msg, p->put->clear[i]);
        here.slot = (int64_t)i;
        if (!field || field->number == 1)
            kap_faults_add_limit(&p->model->faults, &here, "unknown_field", 0, p->put->clear[i], "%s has no field %u",
                                 p->desc->name, p->put->clear[i]);
        else if (field->rules->flags & (KAP_FIELD_REQUIRED | KAP_FIELD_OUTPUT))
            kap_faults_add(&p->model->faults, &here, "not_allowed", "%s cannot be cleared", field->name);
        else
            kap_wire_clear_field(p->msg, p->message, field->number);
    }
}

static kap_status message_make(struct putting *p)
{
    void *patch = kap_arena_push(p->model->arena, p->msg->size);
    if (!patch)
        return KAP_NO_MEMORY;
    memcpy(patch, p->put->message, p->msg->size);
    if (p->put->keep_output)
        *model_sys_of(patch) = NULL;
    else
        kap_wire_clear_output(p->msg, patch);
    p->message = patch;
    if (p->old) {
        kap_status status = kap_model_decode(p->model, p->desc->kind, p->old->bytes, &p->message);
        if (status == KAP_OK)
            status = kap_row_sys(p->old->bytes, &p->sys);
        if (status != KAP_OK)
            return status;
        clear_apply(p);
        kap_wire_merge(p->msg, p->message, patch);
        if (p->put->n_clear > 0) /* a status or visibility that is cleared is what a new row has, not none */
            kap_defaults_apply(p->msg, p->message);
        return KAP_OK;
    }
    clear_apply(p);
    p->sys = (struct kap_sys_view){.id = p->id, .created_at = p->model->now_us, .created_by = p->model->actor};
    kap_defaults_apply(p->msg, p->message);
    return model_refs_default(p->model, p->desc->kind, p->message);
}

/* The newest thing history knows of an id under this root. */
static kap_status last_change(struct putting *p, struct kap_id root, struct kap_history_record *record_out,
                              bool *found_out)
{
    struct kap_scan scan;
    struct kap_key key;
    kap_key_history(&key, root, p->desc->kind, p->id, 0);
    *found_out = false;
    kap_status status = kap_scan_init_prefix(&scan, p->model->view, p->model->arena, kap_bytes(key.data, key.len - 8u));
    if (status == KAP_OK)
        status = kap_scan_next(&scan);
    if (status == KAP_END)
        return KAP_OK;
    if (status == KAP_OK)
        status = kap_wire_decode(&kap_history_record_msg, scan.entry.value, p->model->arena, KAP_WIRE_STORED,
                                 record_out, NULL);
    *found_out = status == KAP_OK;
    return status;
}

/* A part that belongs to what was deleted, and that a job has yet to take away. */
static kap_status stored_still(struct putting *p, bool *is_out)
{
    struct kap_scan scan;
    struct kap_key prefix;
    kap_status status = model_any_cascade(p->model, is_out);
    if (status != KAP_OK || !*is_out)
        return status;
    kap_key_init(&prefix, KAP_TREE_LOCATOR);
    kap_key_put_id(&prefix, p->id);
    status = kap_scan_init_prefix(&scan, p->model->view, p->model->arena, kap_key_bytes(&prefix));
    if (status == KAP_OK)
        status = kap_scan_next(&scan);
    *is_out = status == KAP_OK && !model_shares_id(p->desc->kind);
    return status == KAP_END ? KAP_OK : status;
}

/* An id that the client chose: not of another kind, and not of something that was deleted. A part may come back into the
 * tree it was deleted from (undo); its revisions go on where they ended. */
static kap_status new_id_check(struct putting *p, struct kap_id root)
{
    struct kap_history_record record;
    struct kap_row other = {0};
    bool found;
    kap_status status = kap_model_kind_of(p->model, p->id, &other);
    bool is_companion = model_shares_id(p->desc->kind) && model_shares_id(other.kind);
    if (status == KAP_OK && !is_companion)
        return exists_refuse(p);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    bool is_gone;
    status = model_marked(p->model, p->desc->kind, p->id, &is_gone);
    if (status == KAP_OK && !is_gone)
        status = stored_still(p, &is_gone);
    if (status == KAP_OK && is_gone)
        return kap_model_refuse_row(p->model, KAP_GONE, p->desc->kind, p->id,
                                    "this id belonged to a row that was deleted; ids are not used twice");
    if (status != KAP_OK || !p->desc->history)
        return status;
    status = last_change(p, root, &record, &found);
    if (status != KAP_OK || !found || record.op != KAP_CHANGE_OP_DELETE)
        return status;
    if (model_is_root(p->model->schema, p->desc->kind, root, p->id))
        return kap_model_refuse_row(p->model, KAP_GONE, p->desc->kind, p->id,
                                    "this id belonged to a %s that was deleted; ids are not used twice", p->desc->name);
    p->sys.rev = record.rev;
    return KAP_OK;
}

static kap_status root_resolve(struct putting *p, struct kap_id *root_out)
{
    const struct kap_kind_desc *desc = p->desc;
    *root_out = p->id;
    if (desc->root_rule == KAP_ROOT_SELF)
        return KAP_OK;
    for (size_t i = 0; i < KAP_ARRAY_LEN(desc->root_field) && desc->root_field[i]; i++) {
        struct kap_ref_desc ref = {.target_kind = desc->root_target[i], .target_kind_field = desc->target_kind_field};
        struct kap_row parent;
        struct kap_id id;
        uint8_t kind;
        kap_status status = model_row_id(p->bytes, desc->root_field[i], &id);
        if (status == KAP_OK && kap_id_is_nil(id))
            continue;
        if (status == KAP_OK)
            status = model_ref_target(&ref, p->bytes, &kind);
        if (status == KAP_OK)
            status = kap_model_find(p->model, kind, id, &parent);
        if (status == KAP_OK)
            *root_out = parent.root;
        if (status == KAP_OK && kap_id_eq(parent.root, p->id) && !model_shares_id(desc->kind))
            return exists_refuse(p);
        if (status == KAP_NOT_FOUND)
            return kap_model_refuse_row(p->model, KAP_INVALID, kind, id,
                                        "the %s that this %s belongs to does not exist",
                                        kap_model_kind_name(p->model, kind), desc->name);
        return status;
    }
    return KAP_OK; /* FIELD_IF without the field: its own root */
}

static kap_status root_check(struct putting *p, struct kap_id root)
{
    if (!p->old || kap_id_eq(root, p->old->root))
        return KAP_OK;
    struct kap_path here = {p->put->path, kap_message_field(p->msg, p->desc->root_field[0])->name, -1};
    kap_faults_add(&p->model->faults, &here, "other_tree",
                   "a %s does not move to another tree, or between library and tree: copy it there, with a new id and "
                   "`source` naming this one",
                   p->desc->name);
    return KAP_INVALID;
}

/* The bytes after the system message are what the row says. */
static bool is_equal(const struct kap_bytes *a, const struct kap_bytes *b)
{
    return a->len == b->len && memcmp(a->data + KAP_SYS_BYTES, b->data + KAP_SYS_BYTES, a->len - KAP_SYS_BYTES) == 0;
}

/* What the platform says of a kind beyond its fields. */
static kap_status kind_rules_check(struct putting *p, const struct kap_bytes *before)
{
    switch (p->desc->kind) {
    case KAP_KIND_SESSION:
        return model_session_rules(p->model, p->id, before, p->message);
    case KAP_KIND_TEMPLATE:
        return model_template_rules(p->model, p->id, before, p->message, p->put->path);
    case KAP_KIND_COMMENT:
        return model_comment_rules(p->model, p->id, before, p->message, p->put->path, p->is_restore);
    default:
        return KAP_OK;
    }
}

static kap_status rules_check(struct putting *p)
{
    kap_status status =
        kap_validate(p->msg, p->message, KAP_VALIDATE_ROW, p->put->path, p->model->arena, &p->model->faults);
    if (status == KAP_OK && p->model->faults.n_total > 0)
        return KAP_INVALID;
    const struct kap_bytes *before = p->old ? &p->old->bytes : NULL;
    if (status == KAP_OK)
        status = kind_rules_check(p, before);
    if (status != KAP_OK)
        return status;
    status = model_row_encode(p->model, p->desc->kind, p->message, &p->sys, &p->bytes);
    if (status == KAP_OK)
        status = model_refs_check(p->model, p->desc->kind, before, p->bytes, p->put->path, p->is_restore);
    if (status == KAP_OK)
        status = model_blobs_check(p->model, p->desc->kind, before, p->bytes, p->put->path);
    return status == KAP_OK && p->model->faults.n_total > 0 ? KAP_INVALID : status;
}

static void result_fill(const struct putting *p, struct kap_id root, enum kap_change_op op,
                        struct kap_put_result *result)
{
    *result = (struct kap_put_result){
        .row = {.kind = p->desc->kind, .root = root, .id = p->id, .bytes = p->bytes, .stored = p->bytes},
        .rev = p->sys.rev,
        .op = op};
}

/* The new row too must be one that the principal may write: nobody gives away what others own. */
static kap_status new_right_check(struct putting *p, struct kap_id root)
{
    struct kap_row row = {.kind = p->desc->kind, .root = root, .id = p->id, .bytes = p->bytes};
    bool may = true;
    if (p->put->is_trusted)
        return KAP_OK;
    kap_status status = kap_model_may(p->model, KAP_MAY_WRITE, &row, &may);
    if (status == KAP_OK && !may)
        return kap_model_refuse_row(p->model, KAP_FORBIDDEN, p->desc->kind, p->id,
                                    "you may not %s a %s like this: it would not be yours to write",
                                    p->old ? "make" : "create", p->desc->name);
    return status;
}

static kap_status row_store(struct putting *p, bool id_is_given, struct kap_put_result *result_out)
{
    struct kap_id root;
    kap_status status = root_resolve(p, &root);
    if (status == KAP_OK)
        status = root_check(p, root);
    if (status == KAP_OK)
        status = new_right_check(p, root);
    if (status == KAP_OK && !p->old && id_is_given)
        status = new_id_check(p, root);
    if (status != KAP_OK)
        return status;
    p->sys.rev += !p->old || p->sys.commit_seq != p->model->txn->commit_seq; /* once per commit */
    p->sys.updated_at = p->model->now_us;
    p->sys.updated_by = p->model->actor;
    p->sys.commit_seq = p->model->txn->commit_seq;
    kap_row_sys_write((uint8_t *)(uintptr_t)p->bytes.data, &p->sys);
    enum kap_change_op op = p->old ? KAP_CHANGE_OP_UPDATE : KAP_CHANGE_OP_CREATE;
    status = model_row_write(p->model, p->desc->kind, root, p->id, p->old ? &p->old->stored : NULL, &p->bytes, op);
    if (status == KAP_OK)
        result_fill(p, root, op, result_out);
    return status;
}

static kap_status old_find(struct putting *p)
{
    if (p->put->is_known) {
        p->old = p->put->known;
        return KAP_OK;
    }
    kap_status status = kap_model_find(p->model, p->desc->kind, p->id, &p->found);
    if (status == KAP_OK)
        p->old = &p->found;
    return status == KAP_NOT_FOUND ? KAP_OK : status;
}

kap_status kap_model_put(struct kap_model *model, const struct kap_put *put, struct kap_put_result *result_out)
{
    struct putting p = {.model = model,
                        .put = put,
                        .desc = kap_schema_kind(model->schema, put->kind),
                        .msg = kap_message_of_kind(put->kind)};
    const struct kap_sys *sys = *model_sys_of(put->message);
    bool id_is_given = sys && sys->has_id && !kap_id_is_nil(sys->id);
    KAP_ASSERT(model->txn && p.desc && p.msg);
    p.id = id_is_given ? sys->id : kap_model_new_id(model);
    kap_status status = id_is_given ? old_find(&p) : KAP_OK;
    if (status == KAP_OK && p.old)
        status = right_check(&p);
    if (status == KAP_OK)
        status = rev_check(&p);
    if (status == KAP_OK)
        status = message_make(&p);
    if (status == KAP_OK)
        status = model_row_encode(model, put->kind, p.message, &p.sys, &p.bytes);
    if (status != KAP_OK)
        return status;
    if (p.old && model->faults.n_total == 0 && is_equal(&p.old->bytes, &p.bytes)) {
        p.bytes = p.old->bytes;
        result_fill(&p, p.old->root, 0, result_out);
        result_out->row.stored = p.old->stored;
        return KAP_OK;
    }
    if (p.old && put->create_only)
        return exists_refuse(&p);
    status = rules_check(&p);
    return status == KAP_OK ? row_store(&p, id_is_given, result_out) : status;
}

kap_status model_put_own(struct kap_model *model, const struct kap_put *put, struct kap_put_result *result_out)
{
    kap_status (*may)(void *, enum kap_may, const struct kap_row *, bool *) = model->may;
    model->may = NULL;
    kap_status status = kap_model_put(model, put, result_out);
    model->may = may;
    return status;
}

kap_status kap_model_restore(struct kap_model *model, uint8_t kind, struct kap_bytes row, const struct kap_path *path,
                             struct kap_put_result *result_out)
{
    struct kap_put put = {.kind = kind, .path = path, .keep_output = true, .is_trusted = true};
    struct putting p = {.model = model,
                        .put = &put,
                        .desc = kap_schema_kind(model->schema, kind),
                        .msg = kap_message_of_kind(kind),
                        .is_restore = true};
    struct kap_id root;
    KAP_ASSERT(p.desc && p.msg);
    p.message = kap_arena_push(model->arena, p.msg->size);
    if (!p.message)
        return KAP_NO_MEMORY;
    kap_status status = kap_wire_decode(p.msg, row, model->arena, KAP_WIRE_STORED, p.message, NULL);
    const struct kap_sys *sys = status == KAP_OK ? *model_sys_of(p.message) : NULL;
    if (!sys || !sys->has_id || kap_id_is_nil(sys->id)) {
        struct kap_path here = {path, "sys", -1};
        kap_faults_add(&model->faults, &here, "required", "a row of an export has its system fields");
        return KAP_INVALID;
    }
    p.id = sys->id;
    p.sys = (struct kap_sys_view){.id = sys->id,
                                  .rev = KAP_MAX(sys->rev, 1u),
                                  .created_at = sys->created_at,
                                  .updated_at = sys->updated_at,
                                  .created_by = sys->created_by,
                                  .updated_by = sys->updated_by,
                                  .commit_seq = model->txn->commit_seq};
    status = old_find(&p);
    if (status == KAP_OK)
        status = model_row_encode(model, kind, p.message, &p.sys, &p.bytes);
    if (status == KAP_OK && p.old && memcmp(p.old->bytes.data, p.bytes.data, KAP_SYS_COMMIT_SEQ_AT) == 0 &&
        is_equal(&p.old->bytes, &p.bytes)) {
        result_fill(&p, p.old->root, 0, result_out);
        return KAP_OK;
    }
    if (status == KAP_OK)
        status = rules_check(&p);
    if (status == KAP_OK)
        status = root_resolve(&p, &root);
    if (status == KAP_OK)
        status = root_check(&p, root);
    if (status != KAP_OK)
        return status;
    enum kap_change_op op = p.old ? KAP_CHANGE_OP_UPDATE : KAP_CHANGE_OP_CREATE;
    status = model_row_write(model, kind, root, p.id, p.old ? &p.old->stored : NULL, &p.bytes, op);
    if (status == KAP_OK)
        result_fill(&p, root, op, result_out);
    return status;
}
