#include "engine/base/assert.h"
#include "engine/model/ref_list.h"
#include "server/handlers/handlers.h"

kap_status handle_ref_put(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    return kap_ref_put(&run->model, request_bytes, reply_bytes);
}

kap_status handle_ref_delete(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_ref_delete_request *request = request_bytes;
    const struct kap_delete delete = {.has_expected_rev = request->has_expected_rev,
                                      .expected_rev = request->expected_rev,
                                      .dry_run = request->has_dry_run && request->dry_run};
    struct kap_row row;
    uint32_t rows;
    (void)reply_bytes;
    kap_status status = kap_model_get(&run->model, (uint8_t)request->kind, request->id, &row);
    return status == KAP_OK ? kap_model_delete(&run->model, &row, &delete, &rows) : status;
}
