#include "engine/model/session.h"

#include "server/handlers/handlers.h"

enum { SAVE_BODY_BYTES_MAX = 4 * 1024 * 1024 };

kap_status handle_session_save(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    if (run->call->body.len > SAVE_BODY_BYTES_MAX)
        return kap_model_refuse(&run->model, KAP_TOO_LARGE, "a saved tree has at most %d bytes, this one has %zu",
                                SAVE_BODY_BYTES_MAX, run->call->body.len);
    return kap_session_save(&run->model, request_bytes, reply_bytes);
}

kap_status handle_session_graph(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    return kap_session_graph(&run->model, request_bytes, reply_bytes);
}

kap_status handle_session_get(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_session_get_request *request = request_bytes;
    struct kap_session_get_reply *reply = reply_bytes;
    struct kap_row row;
    void *session;
    kap_status status = kap_model_get(&run->model, KAP_KIND_SESSION, request->id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(&run->model, KAP_KIND_SESSION, row.bytes, &session);
    if (status == KAP_OK)
        reply->session = session;
    return status;
}

kap_status handle_session_delete(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_session_delete_request *request = request_bytes;
    struct kap_session_delete_reply *reply = reply_bytes;
    const struct kap_delete delete = {.has_expected_rev = request->has_expected_rev,
                                      .expected_rev = request->expected_rev,
                                      .dry_run = request->has_dry_run && request->dry_run};
    struct kap_row row;
    kap_status status = kap_model_get(&run->model, KAP_KIND_SESSION, request->id, &row);
    if (status == KAP_OK)
        status =
            kap_model_expect_tree(&run->model, row.root, request->has_expected_tree_rev, request->expected_tree_rev);
    if (status == KAP_OK)
        status = kap_model_delete(&run->model, &row, &delete, &reply->rows);
    reply->has_rows = true;
    return status;
}
