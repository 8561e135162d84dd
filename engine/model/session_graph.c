#include "engine/base/assert.h"
#include "engine/model/model_internal.h"
#include "engine/model/session.h"

static bool is_included(const struct kap_session_graph_request *request, uint8_t kind)
{
    int32_t part = kind == KAP_KIND_OBJECTIVE               ? KAP_GRAPH_PART_OBJECTIVES
                   : kind == KAP_KIND_SEQUENCE              ? KAP_GRAPH_PART_SEQUENCES
                   : kind == KAP_KIND_EXERCISE              ? KAP_GRAPH_PART_EXERCISES
                   : kind == KAP_KIND_VARIATION             ? KAP_GRAPH_PART_VARIATIONS
                   : kind == KAP_KIND_SUCCESS_CRITERION     ? KAP_GRAPH_PART_CRITERIA
                   : kind == KAP_KIND_TECHNICAL_PROGRESSION ? KAP_GRAPH_PART_PROGRESSIONS
                                                            : 0;
    if (part == 0 || request->n_include == 0)
        return true;
    for (size_t i = 0; i < request->n_include; i++)
        if (request->include[i] == part)
            return true;
    return false;
}

static kap_status head_decode(struct kap_model *model, const struct kap_rows *tree,
                              struct kap_session_graph_reply *reply)
{
    void *head;
    if (tree->n == 0 || tree->at[0].kind != KAP_KIND_TREE_HEAD)
        return kap_model_refuse(model, KAP_CORRUPT, "a session has no tree head");
    kap_status status = kap_model_decode(model, KAP_KIND_TREE_HEAD, tree->at[0].bytes, &head);
    if (status == KAP_OK)
        reply->head = head;
    return status;
}

kap_status kap_session_graph(struct kap_model *model, const struct kap_session_graph_request *request,
                             struct kap_session_graph_reply *reply)
{
    struct kap_row session;
    struct kap_rows tree;
    kap_status status = kap_model_get(model, KAP_KIND_SESSION, request->id, &session);
    if (status == KAP_OK)
        status = kap_model_tree(model, MODEL_GROUP_GRAPH, request->id, KAP_TREE_SCAN_MAX, &tree);
    if (status == KAP_OK)
        status = head_decode(model, &tree, reply);
    if (status != KAP_OK)
        return status;
    if (request->has_if_none_match && request->if_none_match == reply->head->tree_rev) {
        reply->has_unchanged = true;
        reply->unchanged = true;
        return KAP_OK;
    }
    reply->rows = kap_arena_push(model->arena, tree.n * sizeof *reply->rows);
    if (!reply->rows)
        return KAP_NO_MEMORY;
    for (uint32_t i = 1; i < tree.n; i++)
        if (is_included(request, tree.at[i].kind))
            reply->rows[reply->n_rows++] = (struct kap_typed_row){
                .has_kind = true, .kind = tree.at[i].kind, .has_row = true, .row = tree.at[i].bytes};
    return KAP_OK;
}
