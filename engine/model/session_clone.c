/* A deep copy of a session: every part with a new id under its new parent, in the order of the key range, so that parents
 * come before their parts. What says where something came from, how far it got and what experts said is not copied. */
#include "engine/base/assert.h"
#include "engine/model/model_internal.h"
#include "engine/model/part.h"
#include "engine/model/session.h"

struct cloning {
    struct kap_model *model;
    struct kap_rows tree;
    struct kap_id *new_ids; /* by slot of tree */
    uint32_t rows;
};

static kap_status new_id_of(const struct cloning *c, struct kap_id old, struct kap_id *new_out)
{
    for (uint32_t i = 0; i < c->tree.n; i++) {
        if (kap_id_eq(c->tree.at[i].id, old) && c->tree.at[i].kind != KAP_KIND_TREE_HEAD) {
            *new_out = c->new_ids[i];
            return KAP_OK;
        }
    }
    return kap_model_refuse(c->model, KAP_CORRUPT, "a part of the tree belongs to a row that is not in it");
}

static kap_status part_clone(struct cloning *c, uint32_t slot)
{
    const struct kap_row *row = &c->tree.at[slot];
    struct kap_put_result result;
    struct kap_row parent_row = {0};
    struct kap_id old_parent, parent = {{0}};
    void *message;
    kap_status status = kap_model_decode(c->model, row->kind, row->bytes, &message);
    if (status == KAP_OK)
        status = kap_part_parent(row, &old_parent);
    if (status == KAP_OK)
        status = new_id_of(c, old_parent, &parent);
    if (status != KAP_OK)
        return status;
    for (uint32_t i = 0; i < c->tree.n; i++)
        if (kap_id_eq(c->tree.at[i].id, old_parent) && c->tree.at[i].kind != KAP_KIND_TREE_HEAD)
            parent_row = c->tree.at[i];
    *model_sys_of(message) = NULL;
    struct kap_sys sys = {.has_id = true, .id = c->new_ids[slot]};
    *model_sys_of(message) = &sys;
    kap_part_set_parent(row->kind, message, parent_row.kind, parent);
    const struct kap_put put = {.kind = row->kind, .message = message, .is_known = true, .is_trusted = true};
    status = kap_model_put(c->model, &put, &result);
    c->rows += status == KAP_OK;
    return status;
}

static kap_status session_clone(struct cloning *c, const struct kap_session_clone_request *request,
                                const struct kap_row *row, struct kap_id id, struct kap_put_result *result_out)
{
    void *message;
    kap_status status = kap_model_decode(c->model, KAP_KIND_SESSION, row->bytes, &message);
    if (status != KAP_OK)
        return status;
    struct kap_session *session = message;
    struct kap_sys sys = {.has_id = true, .id = id};
    session->sys = &sys;
    session->has_owner = true;
    session->owner = request->has_owner ? request->owner : c->model->actor;
    session->has_cloned_from = true;
    session->cloned_from = row->id;
    session->has_status = session->has_visibility = true;
    session->status = KAP_SESSION_STATUS_DRAFT;
    session->visibility = KAP_VISIBILITY_PRIVATE;
    session->has_club = session->has_cycle = false;
    session->has_submitted_at = session->has_validated_at = session->has_validated_by = session->has_validated_rev =
        false;
    session->has_validation_feedback = session->has_archived_at = false;
    session->has_scheduled_start = session->has_scheduled_end = false;
    if (request->has_title) {
        session->has_title = true;
        session->title = request->title;
    }
    const struct kap_put put = {.kind = KAP_KIND_SESSION, .message = session, .create_only = true, .keep_output = true};
    status = kap_model_put(c->model, &put, result_out);
    c->rows += status == KAP_OK;
    return status;
}

/* Kinds are numbered so that a row's parent comes first in the range, but for objectives: sequences go before them. */
static kap_status parts_clone(struct cloning *c)
{
    static const uint8_t order[] = {KAP_KIND_SEQUENCE,  KAP_KIND_OBJECTIVE,         KAP_KIND_EXERCISE,
                                    KAP_KIND_VARIATION, KAP_KIND_SUCCESS_CRITERION, KAP_KIND_TECHNICAL_PROGRESSION};
    kap_status status = KAP_OK;
    for (size_t k = 0; k < KAP_ARRAY_LEN(order); k++)
        for (uint32_t i = 0; i < c->tree.n && status == KAP_OK; i++)
            if (c->tree.at[i].kind == order[k])
                status = part_clone(c, i);
    return status;
}

kap_status kap_session_clone(struct kap_model *model, const struct kap_session_clone_request *request,
                             struct kap_session_clone_reply *reply)
{
    struct cloning c = {.model = model};
    struct kap_put_result result;
    struct kap_row row;
    struct kap_id id = request->has_new_id ? request->new_id : kap_model_new_id(model);
    kap_status status = kap_model_get(model, KAP_KIND_SESSION, request->id, &row);
    if (status == KAP_OK)
        status = kap_model_expect_tree(model, row.root, request->has_expected_tree_rev, request->expected_tree_rev);
    if (status == KAP_OK)
        status = kap_model_tree(model, MODEL_GROUP_GRAPH, row.root, KAP_TREE_ROWS_MAX + 2, &c.tree);
    if (status != KAP_OK)
        return status;
    c.new_ids = kap_arena_push(model->arena, c.tree.n * sizeof *c.new_ids);
    if (!c.new_ids)
        return KAP_NO_MEMORY;
    for (uint32_t i = 0; i < c.tree.n; i++)
        c.new_ids[i] = c.tree.at[i].kind == KAP_KIND_SESSION ? id : kap_model_new_id(model);
    status = session_clone(&c, request, &row, id, &result);
    if (status == KAP_OK && result.op == 0)
        return kap_model_refuse_row(model, KAP_ALREADY_EXISTS, KAP_KIND_SESSION, id, "the id is in use");
    if (status == KAP_OK)
        status = parts_clone(&c);
    if (status == KAP_OK)
        status = kap_model_tree_rev_after(model, id, &reply->tree_rev);
    *reply = (struct kap_session_clone_reply){.has_id = true,
                                              .id = id,
                                              .has_rev = true,
                                              .rev = 1,
                                              .has_tree_rev = true,
                                              .tree_rev = reply->tree_rev,
                                              .has_rows = true,
                                              .rows = c.rows};
    return status;
}
