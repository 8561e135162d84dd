/* The states of a session: who may move it where, and what an edit does to them. Administrators may force any edge. */
#include "engine/model/model_internal.h"

static const char *status_name(int32_t status)
{
    const char *name = kap_enum_name(&kap_session_status_enum, status);
    return name ? name : "none";
}

static kap_status state_refuse(struct kap_model *model, struct kap_id id, int32_t from, const char *why)
{
    return kap_model_refuse_row(model, KAP_STATE_CONFLICT, KAP_KIND_SESSION, id, "the session is %s: %s",
                                status_name(from), why);
}

static kap_status edit_check(struct kap_model *model, struct kap_id id, int32_t from)
{
    if (from == KAP_SESSION_STATUS_PENDING)
        return state_refuse(model, id, from, "an expert reviews it as it is; withdraw it before you change it");
    if (from == KAP_SESSION_STATUS_ARCHIVED)
        return state_refuse(model, id, from, "restore it before you change it");
    return KAP_OK;
}

static kap_status status_of(struct kap_bytes row, int32_t *status_out)
{
    struct kap_column column;
    kap_status status = kap_row_column(row, 25, 0, &column);
    if (status == KAP_OK)
        *status_out = column.present ? (int32_t)column.number : KAP_SESSION_STATUS_DRAFT;
    return status;
}

/* Before a part of the tree changes. What was validated is not what the tree says any more: back to draft. */
kap_status model_state_edit(struct kap_model *model, struct kap_id root)
{
    struct kap_tree_change *change;
    struct kap_sys_view sys;
    struct kap_row row;
    struct kap_bytes after;
    void *message;
    int32_t from;
    kap_status status = model_tree_change(model, root, &change);
    if (status != KAP_OK)
        return status;
    change->is_checked = true;
    if (model->is_admin)
        return KAP_OK;
    status = kap_model_find_in(model, KAP_KIND_SESSION, root, root, &row);
    if (status == KAP_NOT_FOUND)
        return KAP_OK; /* another kind of tree */
    if (status == KAP_OK)
        status = status_of(row.bytes, &from);
    if (status == KAP_OK)
        status = edit_check(model, root, from);
    if (status != KAP_OK || from != KAP_SESSION_STATUS_VALIDATED)
        return status;
    status = kap_row_sys(row.bytes, &sys);
    if (status == KAP_OK)
        status = kap_model_decode(model, KAP_KIND_SESSION, row.bytes, &message);
    if (status != KAP_OK)
        return status;
    struct kap_session *session = message;
    session->status = KAP_SESSION_STATUS_DRAFT;
    sys.rev += sys.commit_seq != model->txn->commit_seq;
    sys.updated_at = model->now_us;
    sys.updated_by = model->actor;
    sys.commit_seq = model->txn->commit_seq;
    status = model_row_encode(model, KAP_KIND_SESSION, session, &sys, &after);
    if (status != KAP_OK)
        return status;
    return model_row_write(model, KAP_KIND_SESSION, root, root, &row.stored, &after, KAP_CHANGE_OP_UPDATE);
}

/* The row of a session as it will be stored, with something in it changed. */
kap_status model_session_rules(struct kap_model *model, struct kap_id id, const struct kap_bytes *before, void *message)
{
    struct kap_session *session = message;
    int32_t from = KAP_SESSION_STATUS_DRAFT;
    kap_status status = before ? status_of(*before, &from) : KAP_OK;
    if (status != KAP_OK || model->is_admin)
        return status;
    if (!before && session->status != KAP_SESSION_STATUS_DRAFT)
        return state_refuse(model, id, session->status, "a new session is a draft");
    status = edit_check(model, id, from);
    if (status != KAP_OK)
        return status;
    if (session->status != from && session->status != KAP_SESSION_STATUS_DRAFT)
        return kap_model_refuse_row(model, KAP_STATE_CONFLICT, KAP_KIND_SESSION, id,
                                    "a save moves a session from %s to draft only, not to %s", status_name(from),
                                    status_name(session->status));
    if (from == KAP_SESSION_STATUS_VALIDATED)
        session->status = KAP_SESSION_STATUS_DRAFT;
    return KAP_OK;
}
