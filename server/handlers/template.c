#include "engine/model/template.h"

#include "server/handlers/handlers.h"

/* A new template belongs to whoever makes it; a curator or administrator without an account makes the system's. */
kap_status handle_template_save(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_template_save_request *request = request_bytes;
    struct kap_template_save_reply *reply = reply_bytes;
    static const struct kap_path path = {NULL, "template", -1};
    struct kap_template *template = request->template;
    struct kap_put_result result;
    struct kap_row old;
    kap_status status = KAP_NOT_FOUND;
    if (template->sys && template->sys->has_id)
        status = kap_model_find(&run->model, KAP_KIND_TEMPLATE, template->sys->id, &old);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    bool is_new = status == KAP_NOT_FOUND;
    bool is_curator = kap_access_is(&run->access, KAP_ROLE_CURATOR) || kap_access_is(&run->access, KAP_ROLE_ADMIN);
    if (is_new && !template->has_owner && !is_curator) {
        template->has_owner = true;
        template->owner = run->access.principal.user;
    }
    const struct kap_put put = {.kind = KAP_KIND_TEMPLATE,
                                .message = template,
                                .clear = request->clear,
                                .n_clear = request->n_clear,
                                .has_expected_rev = request->has_expected_rev,
                                .expected_rev = request->expected_rev,
                                .path = &path,
                                .is_known = true,
                                .known = is_new ? NULL : &old};
    status = kap_model_put(&run->model, &put, &result);
    if (status != KAP_OK)
        return status;
    struct kap_column version;
    status = kap_row_column(result.row.bytes, 11, 0, &version);
    reply->has_id = reply->has_rev = reply->has_version = true;
    reply->id = result.row.id;
    reply->rev = result.rev;
    reply->version = (uint32_t)version.number;
    return status;
}

kap_status handle_template_get(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    return kap_template_get(&run->model, request_bytes, reply_bytes);
}

kap_status handle_template_list(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    struct kap_list_scope scope;
    kap_service_list_scope(run, &scope);
    return kap_template_list(&run->model, &scope, request_bytes, reply_bytes);
}

kap_status handle_template_instantiate(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    return kap_template_instantiate(&run->model, request_bytes, reply_bytes);
}
