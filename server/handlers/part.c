#include "engine/model/part.h"

#include "engine/base/assert.h"
#include "engine/model/discussion.h"
#include "server/handlers/handlers.h"

#define PART_PUT(NAME, KIND)                                                                                           \
    kap_status handle_##NAME##_put(struct kap_run *run, void *request_bytes, void *reply_bytes)                        \
    {                                                                                                                  \
        const struct kap_##NAME##_put_request *request = request_bytes;                                                \
        static const struct kap_path path = {NULL, #NAME, -1};                                                         \
        const struct kap_part_put part = {.put = {.kind = KIND,                                                        \
                                                  .message = request->NAME,                                            \
                                                  .clear = request->clear,                                             \
                                                  .n_clear = request->n_clear,                                         \
                                                  .has_expected_rev = request->has_expected_rev,                       \
                                                  .expected_rev = request->expected_rev,                               \
                                                  .path = &path},                                                      \
                                          .has_expected_tree_rev = request->has_expected_tree_rev,                     \
                                          .expected_tree_rev = request->expected_tree_rev};                            \
        return kap_part_put(&run->model, &part, reply_bytes);                                                          \
    }

PART_PUT(sequence, KAP_KIND_SEQUENCE)
PART_PUT(objective, KAP_KIND_OBJECTIVE)
PART_PUT(variation, KAP_KIND_VARIATION)
PART_PUT(criterion, KAP_KIND_SUCCESS_CRITERION)
PART_PUT(progression, KAP_KIND_TECHNICAL_PROGRESSION)

/* A new exercise of the library belongs to whoever makes it, unless a curator leaves it to the system. */
kap_status handle_exercise_put(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_exercise_put_request *request = request_bytes;
    static const struct kap_path path = {NULL, "exercise", -1};
    struct kap_exercise *exercise = request->exercise;
    bool is_curator = kap_access_is(&run->access, KAP_ROLE_CURATOR) || kap_access_is(&run->access, KAP_ROLE_ADMIN);
    struct kap_row row;
    kap_status status = KAP_NOT_FOUND;
    if (exercise->sys && exercise->sys->has_id)
        status = kap_model_find(&run->model, KAP_KIND_EXERCISE, exercise->sys->id, &row);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    if (status == KAP_NOT_FOUND && !exercise->has_sequence && !exercise->has_owner && !is_curator) {
        exercise->has_owner = true;
        exercise->owner = run->access.principal.user;
    }
    const struct kap_part_put part = {.put = {.kind = KAP_KIND_EXERCISE,
                                              .message = exercise,
                                              .clear = request->clear,
                                              .n_clear = request->n_clear,
                                              .has_expected_rev = request->has_expected_rev,
                                              .expected_rev = request->expected_rev,
                                              .path = &path},
                                      .has_expected_tree_rev = request->has_expected_tree_rev,
                                      .expected_tree_rev = request->expected_tree_rev};
    return kap_part_put(&run->model, &part, reply_bytes);
}

kap_status handle_part_reorder(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    return kap_part_reorder(&run->model, request_bytes, reply_bytes);
}

/* Accounts go by erasure alone, tokens are revoked, memberships set; the rest of the kinds is kept by the server. */
static bool is_deletable(int32_t kind)
{
    static const uint8_t kinds[] = {
        KAP_KIND_SESSION,   KAP_KIND_SEQUENCE, KAP_KIND_OBJECTIVE,         KAP_KIND_EXERCISE,
        KAP_KIND_VARIATION, KAP_KIND_CLUB,     KAP_KIND_MEMBERSHIP,        KAP_KIND_TACTICAL_PRINCIPLE,
        KAP_KIND_TAG,       KAP_KIND_REF_ITEM, KAP_KIND_SUCCESS_CRITERION, KAP_KIND_TECHNICAL_PROGRESSION,
        KAP_KIND_TEMPLATE,  KAP_KIND_COMMENT,  KAP_KIND_FAVORITE,          KAP_KIND_NOTIFICATION};
    for (size_t i = 0; i < KAP_ARRAY_LEN(kinds); i++)
        if (kinds[i] == kind)
            return true;
    return false;
}

kap_status handle_row_delete(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_row_delete_request *request = request_bytes;
    struct kap_row_delete_reply *reply = reply_bytes;
    const struct kap_delete delete = {.has_expected_rev = request->has_expected_rev,
                                      .expected_rev = request->expected_rev,
                                      .force = request->has_force && request->force,
                                      .dry_run = request->has_dry_run && request->dry_run};
    struct kap_path path = {NULL, "kind", -1};
    struct kap_row row;
    if (!is_deletable(request->kind)) {
        kap_faults_add(&run->model.faults, &path, "not_allowed", "a %s cannot be deleted with row.delete",
                       kap_model_kind_name(&run->model, (uint8_t)request->kind));
        return KAP_INVALID;
    }
    bool kept = false;
    kap_status status = kap_model_get(&run->model, (uint8_t)request->kind, request->id, &row);
    if (status == KAP_OK && row.kind == KAP_KIND_COMMENT)
        status = kap_comment_remove(&run->model, &row, &delete, &kept);
    if (status == KAP_OK && !kept)
        status = kap_model_delete(&run->model, &row, &delete, &reply->rows);
    if (status == KAP_OK)
        status = kap_model_tree_rev_after(&run->model, row.root, &reply->tree_rev);
    reply->has_rows = true;
    reply->has_tree_rev = status == KAP_OK && reply->tree_rev != 0;
    return status;
}
