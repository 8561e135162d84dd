/* What each reading operation must answer at the state of its commit_seq. */
#include "proto/ops.h"
#include "tests/sim/check.h"

static void head_check(const struct model *model, const struct kap_tree_head *head, struct kap_id root)
{
    static const uint8_t kinds[] = {KAP_KIND_OBJECTIVE, KAP_KIND_SEQUENCE, KAP_KIND_EXERCISE, KAP_KIND_VARIATION};
    uint32_t counts[4] = {0};
    for (int i = 0; i < 4; i++)
        for (uint32_t k = 0; k < model->kinds[kinds[i]].n; k++)
            counts[i] += kap_id_eq(model->kinds[kinds[i]].at[k]->root, root) &&
                         !kap_id_eq(model->kinds[kinds[i]].at[k]->id, root);
    if (!head)
        sim_fail("a tree without its head");
    check_number("tree_rev of a graph", model_tree_rev(model, root), head->has_tree_rev, head->tree_rev);
    check_number("objectives of a tree", counts[0], head->has_n_objectives, head->n_objectives);
    check_number("sequences of a tree", counts[1], head->has_n_sequences, head->n_sequences);
    check_number("exercises of a tree", counts[2], head->has_n_exercises, head->n_exercises);
    check_number("variations of a tree", counts[3], head->has_n_variations, head->n_variations);
    check_number("minutes of a tree", trees_minutes(model, root), head->has_sequence_minutes, head->sequence_minutes);
}

static bool is_included(const struct kap_session_graph_request *request, uint8_t kind)
{
    static const uint8_t kinds[] = {0, KAP_KIND_OBJECTIVE, KAP_KIND_SEQUENCE, KAP_KIND_EXERCISE, KAP_KIND_VARIATION};
    bool is_in = kind == KAP_KIND_SESSION || request->n_include == 0;
    for (size_t i = 0; i < request->n_include; i++)
        is_in |= kinds[request->include[i]] == kind;
    return is_in;
}

static void graph(struct doing *d, const struct kap_session_graph_request *request,
                  const struct kap_session_graph_reply *reply)
{
    const struct sim_row *session = doing_get(d, KAP_KIND_SESSION, request->id);
    size_t n = 0;
    if (!reply || !session)
        return;
    head_check(d->model, reply->head, session->id);
    if (request->has_if_none_match && request->if_none_match == model_tree_rev(d->model, session->id)) {
        if (!reply->has_unchanged || !reply->unchanged || reply->n_rows > 0)
            sim_fail("a graph that has not changed is sent again");
        return;
    }
    struct sim_rows tree = model_tree(d->model, session->id);
    for (uint32_t i = 0; i < tree.n; i++) {
        if (!is_included(request, tree.at[i]->kind))
            continue;
        if (n == reply->n_rows)
            sim_fail("the graph lacks the %s %s", model_kind_name(tree.at[i]->kind), sim_id(tree.at[i]->id));
        if (reply->rows[n].kind != tree.at[i]->kind)
            sim_fail("row %zu of the graph: expected the %s %s, found a row of kind %d", n,
                     model_kind_name(tree.at[i]->kind), sim_id(tree.at[i]->id), reply->rows[n].kind);
        check_row(d->model, tree.at[i], reply->rows[n++].row);
    }
    check_number("rows of a graph", n, true, reply->n_rows);
}

static void session_get(struct doing *d, const struct kap_session_get_request *request,
                        const struct kap_session_get_reply *reply)
{
    struct sim_row *session = doing_get(d, KAP_KIND_SESSION, request->id);
    if (reply && session)
        check_message(d->model, session, reply->session, NULL);
}

/* A profile is everybody's, but for the phone; of an account others see the level alone. */
static void user_show(struct doing *d, struct sim_row *user, const struct kap_user *found,
                      const struct kap_profile *found_profile)
{
    static const uint8_t account[] = {5, 0}, public[] = {2, 3, 4, 5, 6, 7, 8, 9, 0};
    bool is_own =
        kap_id_eq(user->id, d->who.user) || who_is(&d->who, KAP_ROLE_ADMIN) || who_is(&d->who, KAP_ROLE_SERVICE);
    struct sim_row *profile = model_find(d->model, KAP_KIND_PROFILE, user->id);
    if (!is_own && !profile) {
        doing_refuse(d, KAP_NOT_FOUND);
        return;
    }
    if (!found)
        return;
    check_message(d->model, user, found, is_own ? NULL : account);
    if (profile)
        check_message(d->model, profile, found_profile, is_own ? NULL : public);
    else if (found_profile)
        sim_fail("a profile where there is none");
}

static void user_get(struct doing *d, const struct kap_user_get_request *request,
                     const struct kap_user_get_reply *reply)
{
    struct sim_row *user = model_find(d->model, KAP_KIND_USER, request->id);
    if (!user)
        doing_refuse(d, KAP_NOT_FOUND);
    else
        user_show(d, user, reply ? reply->user : NULL, reply ? reply->profile : NULL);
}

static void carry_out(struct doing *d, const struct sim_request *request, const void *message, const void *reply)
{
    switch (request->op) {
    case KAP_OP_SESSION_GRAPH:
        graph(d, message, reply);
        break;
    case KAP_OP_SESSION_GET:
        session_get(d, message, reply);
        break;
    case KAP_OP_USER_GET:
        user_get(d, message, reply);
        break;
    case KAP_OP_SESSION_LIST:
        check_session_list(d, request, message, reply);
        break;
    default:
        sim_fail("the model does not know operation %u", request->op);
    }
}

void check_read(struct model *model, const struct sim_request *request, const struct sim_answer *answer)
{
    const struct kap_op_desc *op = kap_op_find(request->op);
    struct doing *d = sim_alloc(model->arena, sizeof *d);
    struct sim_who who;
    if (answer->commit_seq > model->head_seq)
        sim_fail("%s read commit %llu, the newest is %llu", request->text, (unsigned long long)answer->commit_seq,
                 (unsigned long long)model->head_seq);
    if (request->op == KAP_OP_SNAPSHOT_CREATE) { /* no row is read; what it holds is looked at when it is opened */
        if (answer->status != KAP_OK && answer->status != KAP_OVERLOADED && answer->status != KAP_FORBIDDEN)
            sim_fail("%s: found %s", request->text, kap_status_name(answer->status));
        return;
    }
    model_rewind(model, answer->commit_seq);
    bool may_act = check_who(model, request, &who);
    doing_begin(d, model, &who, answer->commit_seq, 0);
    if (!may_act || !rules_may_send(&who, request->op))
        doing_refuse(d, KAP_FORBIDDEN);
    const void *message = check_decode(model, op->request, request->body);
    const void *reply = answer->status == KAP_OK ? check_decode(model, op->reply, answer->reply) : NULL;
    if (!doing_refused(d))
        carry_out(d, request, message, reply);
    if (answer->status == KAP_OK ? doing_refused(d) : !doing_allows(d, answer->status))
        sim_fail("%s: expected %s, found %s", request->text, doing_refused(d) ? kap_status_name(d->verdicts[0]) : "OK",
                 kap_status_name(answer->status));
    model_forward(model);
}
