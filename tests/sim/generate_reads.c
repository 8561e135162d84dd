/* Questions: a tree, a row, a page of a list. */
#include "tests/sim/generate.h"

static struct sim_request *graph(struct generator *g)
{
    struct kap_session_graph_request *request = make(g, sizeof *request);
    request->has_id = true;
    request->id = pick_id(g, KAP_KIND_SESSION);
    const struct sim_row *session = model_find(&g->world->model, KAP_KIND_SESSION, request->id);
    if (chance(g, 20)) {
        request->include = make(g, 2 * sizeof *request->include);
        request->n_include = 1 + draw(g, 2);
        for (size_t i = 0; i < request->n_include; i++)
            request->include[i] = 1 + (int32_t)draw(g, 4);
    }
    if ((request->has_if_none_match = chance(g, 20)))
        request->if_none_match = model_tree_rev(&g->world->model, request->id) - chance(g, 30);
    return make_request(g, KAP_OP_SESSION_GRAPH, chance(g, 60) ? who_may_write(g, session) : pick_who(g), request, "%s",
                        sim_id(request->id));
}

static struct sim_request *get(struct generator *g)
{
    struct kap_session_get_request *session = make(g, sizeof *session);
    struct kap_user_get_request *user = make(g, sizeof *user);
    if (chance(g, 30)) {
        user->has_id = true;
        user->id = pick_id(g, KAP_KIND_USER);
        return make_request(g, KAP_OP_USER_GET, pick_who(g), user, "%s", sim_id(user->id));
    }
    session->has_id = true;
    session->id = pick_id(g, KAP_KIND_SESSION);
    return make_request(g, KAP_OP_SESSION_GET, pick_who(g), session, "%s", sim_id(session->id));
}

struct sim_request *generate_read(struct generator *g)
{
    return chance(g, 60) ? graph(g) : get(g);
}
