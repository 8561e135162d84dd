#include "engine/model/token.h"

#include "server/handlers/handlers.h"

kap_status handle_token_create(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    return kap_token_create(&run->model, request_bytes, reply_bytes);
}

kap_status handle_token_revoke(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_token_revoke_request *request = request_bytes;
    const struct kap_delete delete = {.dry_run = request->has_dry_run && request->dry_run};
    struct kap_row row;
    uint32_t rows;
    (void)reply_bytes;
    kap_status status = kap_model_get(&run->model, KAP_KIND_AUTH_TOKEN, request->id, &row);
    return status == KAP_OK ? kap_model_delete(&run->model, &row, &delete, &rows) : status;
}
