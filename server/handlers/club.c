#include "engine/base/assert.h"
#include "server/handlers/handlers.h"

/* Whoever founds a club manages it. */
static kap_status founder_join(struct kap_run *run, struct kap_id club)
{
    struct kap_id user = run->access.principal.user;
    struct kap_put_result result;
    struct kap_membership membership = {.has_club = true,
                                        .club = club,
                                        .has_user = true,
                                        .user = user,
                                        .has_role = true,
                                        .role = KAP_CLUB_ROLE_MANAGER};
    const struct kap_put put = {.kind = KAP_KIND_MEMBERSHIP, .message = &membership, .is_trusted = true};
    return kap_id_is_nil(user) ? KAP_OK : kap_model_put(&run->model, &put, &result);
}

kap_status handle_club_save(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_club_save_request *request = request_bytes;
    struct kap_club_save_reply *reply = reply_bytes;
    static const struct kap_path path = {NULL, "club", -1};
    const struct kap_sys *sys = request->club->sys;
    struct kap_put_result result;
    struct kap_row row;
    kap_status status = KAP_NOT_FOUND;
    if (sys && sys->has_id)
        status = kap_model_find(&run->model, KAP_KIND_CLUB, sys->id, &row);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    const struct kap_put put = {.kind = KAP_KIND_CLUB,
                                .message = request->club,
                                .clear = request->clear,
                                .n_clear = request->n_clear,
                                .has_expected_rev = request->has_expected_rev,
                                .expected_rev = request->expected_rev,
                                .path = &path,
                                .is_known = true,
                                .known = status == KAP_OK ? &row : NULL,
                                .is_trusted = status == KAP_NOT_FOUND}; /* any coach may found one */
    status = kap_model_put(&run->model, &put, &result);
    if (status == KAP_OK && result.op == KAP_CHANGE_OP_CREATE)
        status = founder_join(run, result.row.id);
    if (status != KAP_OK)
        return status;
    reply->has_id = true;
    reply->id = result.row.id;
    reply->has_rev = true;
    reply->rev = result.rev;
    return KAP_OK;
}

static kap_status member_remove(struct kap_run *run, const struct kap_row *row)
{
    static const struct kap_delete delete = {0};
    uint32_t rows;
    return kap_model_delete(&run->model, row, &delete, &rows);
}

kap_status handle_membership_set(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_membership_set_request *request = request_bytes;
    struct kap_membership_set_reply *reply = reply_bytes;
    const struct kap_unique_value pair[] = {{.bytes = kap_bytes(request->club.bytes, 16)},
                                            {.bytes = kap_bytes(request->user.bytes, 16)}};
    struct kap_sys sys = {0};
    struct kap_put_result result;
    struct kap_row row;
    kap_status status = kap_model_find_unique(&run->model, KAP_UNIQUE_MEMBERSHIP, pair, &sys.id);
    sys.has_id = status == KAP_OK;
    if (sys.has_id)
        status = kap_model_find(&run->model, KAP_KIND_MEMBERSHIP, sys.id, &row);
    if (status != KAP_OK && (status != KAP_NOT_FOUND || sys.has_id))
        return status;
    if (request->has_remove && request->remove) {
        reply->has_id = sys.has_id;
        reply->id = sys.id;
        return sys.has_id ? member_remove(run, &row) : KAP_OK;
    }
    struct kap_membership membership = {.sys = sys.has_id ? &sys : NULL,
                                        .has_club = true,
                                        .club = request->club,
                                        .has_user = true,
                                        .user = request->user,
                                        .has_role = request->has_role,
                                        .role = request->role};
    const struct kap_put put = {.kind = KAP_KIND_MEMBERSHIP,
                                .message = &membership,
                                .is_by_key = true,
                                .is_known = true,
                                .known = sys.has_id ? &row : NULL};
    status = kap_model_put(&run->model, &put, &result);
    if (status != KAP_OK)
        return status;
    reply->has_id = true;
    reply->id = result.row.id;
    reply->has_rev = true;
    reply->rev = result.rev;
    return KAP_OK;
}
