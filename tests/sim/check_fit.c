/* What a request must be by itself, whatever is stored: whole, and within limits. The server looks at that first. */
#include "tests/sim/check.h"

static bool row_fits(struct doing *d, uint8_t kind, const void *message)
{
    if (!message)
        return false;
    struct sim_fields fields = doing_fields(d, kind, message);
    return rules_within_limits(kind, &fields);
}

static bool save_fits(struct doing *d, const struct kap_session_save_request *request)
{
    bool fits = row_fits(d, KAP_KIND_SESSION, request->session);
    for (size_t i = 0; i < request->n_objectives; i++)
        fits = fits && row_fits(d, KAP_KIND_OBJECTIVE, &request->objectives[i]);
    for (size_t i = 0; fits && i < request->n_sequences; i++) {
        const struct kap_sequence_node *node = &request->sequences[i];
        fits = row_fits(d, KAP_KIND_SEQUENCE, node->sequence);
        for (size_t k = 0; k < node->n_objectives; k++)
            fits = fits && row_fits(d, KAP_KIND_OBJECTIVE, &node->objectives[k]);
        for (size_t k = 0; fits && k < node->n_exercises; k++) {
            fits = row_fits(d, KAP_KIND_EXERCISE, node->exercises[k].exercise);
            for (size_t v = 0; v < node->exercises[k].n_variations; v++)
                fits = fits && row_fits(d, KAP_KIND_VARIATION, &node->exercises[k].variations[v]);
        }
    }
    return fits;
}

static bool ref_fits(struct doing *d, const struct kap_ref_put_request *request)
{
    return (!request->item || row_fits(d, KAP_KIND_REF_ITEM, request->item)) &&
           (!request->principle || row_fits(d, KAP_KIND_TACTICAL_PRINCIPLE, request->principle)) &&
           (!request->tag || row_fits(d, KAP_KIND_TAG, request->tag));
}

static bool row_delete_fits(const struct kap_row_delete_request *request)
{
    static const uint8_t kinds[] = {
        KAP_KIND_SESSION, KAP_KIND_SEQUENCE,   KAP_KIND_OBJECTIVE,          KAP_KIND_EXERCISE, KAP_KIND_VARIATION,
        KAP_KIND_CLUB,    KAP_KIND_MEMBERSHIP, KAP_KIND_TACTICAL_PRINCIPLE, KAP_KIND_TAG,      KAP_KIND_REF_ITEM};
    for (size_t i = 0; i < sizeof kinds; i++)
        if (request->kind == kinds[i])
            return request->has_kind && request->has_id;
    return false; /* accounts are erased, tokens revoked */
}

bool check_fits(struct doing *d, uint16_t op, const void *message)
{
    switch (op) {
    case KAP_OP_USER_CREATE:
        return row_fits(d, KAP_KIND_USER, ((const struct kap_user_create_request *)message)->user);
    case KAP_OP_PROFILE_SAVE:
        return row_fits(d, KAP_KIND_PROFILE, ((const struct kap_profile_save_request *)message)->profile);
    case KAP_OP_CLUB_SAVE:
        return row_fits(d, KAP_KIND_CLUB, ((const struct kap_club_save_request *)message)->club);
    case KAP_OP_MEMBERSHIP_SET:
        return ((const struct kap_membership_set_request *)message)->has_club &&
               ((const struct kap_membership_set_request *)message)->has_user;
    case KAP_OP_SESSION_SAVE:
        return save_fits(d, message);
    case KAP_OP_SESSION_DELETE:
        return ((const struct kap_session_delete_request *)message)->has_id;
    case KAP_OP_SEQUENCE_PUT:
        return row_fits(d, KAP_KIND_SEQUENCE, ((const struct kap_sequence_put_request *)message)->sequence);
    case KAP_OP_OBJECTIVE_PUT:
        return row_fits(d, KAP_KIND_OBJECTIVE, ((const struct kap_objective_put_request *)message)->objective);
    case KAP_OP_VARIATION_PUT:
        return row_fits(d, KAP_KIND_VARIATION, ((const struct kap_variation_put_request *)message)->variation);
    case KAP_OP_EXERCISE_PUT:
        return row_fits(d, KAP_KIND_EXERCISE, ((const struct kap_exercise_put_request *)message)->exercise);
    case KAP_OP_PART_REORDER:
        return ((const struct kap_part_reorder_request *)message)->has_relation &&
               ((const struct kap_part_reorder_request *)message)->has_parent;
    case KAP_OP_ROW_DELETE:
        return row_delete_fits(message);
    case KAP_OP_REF_PUT:
        return ref_fits(d, message);
    case KAP_OP_REF_DELETE:
        return ((const struct kap_ref_delete_request *)message)->has_kind &&
               ((const struct kap_ref_delete_request *)message)->has_id;
    default:
        return true;
    }
}
