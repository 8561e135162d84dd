/* What each writing operation does, and what its reply must say. */
#include "proto/wire.h"
#include "tests/sim/check.h"

static void user_create(struct doing *d, const struct kap_user_create_request *request,
                        const struct kap_user_create_reply *reply)
{
    const struct sim_put put = {.kind = KAP_KIND_USER,
                                .id = message_id(request->user),
                                .patch = doing_fields(d, KAP_KIND_USER, request->user),
                                .is_trusted = true,
                                .create_only = true};
    int32_t op;
    for (size_t i = 0; i < request->user->n_roles; i++)
        if (request->user->roles[i] >= KAP_ROLE_CURATOR && !who_is(&d->who, KAP_ROLE_ADMIN))
            doing_refuse(d, KAP_INVALID);
    struct sim_row *user = doing_put(d, &put, &op);
    if (user && request->profile) {
        struct sim_fields patch = doing_fields(d, KAP_KIND_PROFILE, request->profile);
        const struct sim_put profile = {.kind = KAP_KIND_PROFILE,
                                        .id = user->id,
                                        .patch = fields_with_id(d->model->arena, &patch, 2, user->id),
                                        .is_trusted = true,
                                        .create_only = true};
        doing_put(d, &profile, &op);
    }
    if (!reply || doing_refused(d))
        return;
    check_number("rev of the account", user->rev, reply->has_rev, reply->rev);
    check_id(d->model, d, user, reply->has_id, reply->id);
}

static void profile_save(struct doing *d, const struct kap_profile_save_request *request,
                         const struct kap_profile_save_reply *reply)
{
    struct kap_id id = message_id(request->profile);
    struct sim_fields patch = doing_fields(d, KAP_KIND_PROFILE, request->profile);
    int32_t op;
    if (kap_id_is_nil(id))
        id = request->profile->has_user ? request->profile->user : d->who.user;
    const struct sim_put put = {.kind = KAP_KIND_PROFILE,
                                .id = id,
                                .patch = fields_with_id(d->model->arena, &patch, 2, id),
                                .clear = request->clear,
                                .n_clear = request->n_clear,
                                .has_rev = request->has_expected_rev,
                                .rev = request->expected_rev};
    const struct sim_row *profile = doing_put(d, &put, &op);
    if (reply && profile)
        check_number("rev of the profile", profile->rev, reply->has_rev, reply->rev);
}

/* Whoever founds a club manages it. The id of that membership is not told: it is learnt when it is first seen. */
static void founder_join(struct doing *d, const struct sim_row *club)
{
    const struct sim_fields none = {0};
    struct kap_arena *arena = d->model->arena;
    struct sim_fields patch = fields_with_id(arena, &none, 2, club->id);
    int32_t op;
    patch = fields_with_id(arena, &patch, 3, d->who.user);
    const struct sim_put put = {.kind = KAP_KIND_MEMBERSHIP,
                                .patch = fields_with_number(arena, &patch, 4, KAP_CLUB_ROLE_MANAGER),
                                .is_trusted = true};
    if (!kap_id_is_nil(d->who.user))
        doing_put(d, &put, &op);
}

static void club_save(struct doing *d, const struct kap_club_save_request *request,
                      const struct kap_club_save_reply *reply)
{
    const struct sim_put put = {.kind = KAP_KIND_CLUB,
                                .id = message_id(request->club),
                                .patch = doing_fields(d, KAP_KIND_CLUB, request->club),
                                .clear = request->clear,
                                .n_clear = request->n_clear,
                                .has_rev = request->has_expected_rev,
                                .rev = request->expected_rev,
                                .is_trusted = !model_find(d->model, KAP_KIND_CLUB, message_id(request->club))};
    int32_t op;
    struct sim_row *club = doing_put(d, &put, &op);
    if (club && op == KAP_CHANGE_OP_CREATE)
        founder_join(d, club);
    if (!reply || doing_refused(d))
        return;
    check_number("rev of the club", club->rev, reply->has_rev, reply->rev);
    check_id(d->model, d, club, reply->has_id, reply->id);
}

static struct sim_row *membership_find(const struct doing *d, struct kap_id club, struct kap_id user)
{
    const struct sim_rows *rows = &d->model->kinds[KAP_KIND_MEMBERSHIP];
    for (uint32_t i = 0; i < rows->n; i++)
        if (kap_id_eq(fields_id(&rows->at[i]->fields, 2), club) && kap_id_eq(fields_id(&rows->at[i]->fields, 3), user))
            return rows->at[i];
    return NULL;
}

static void membership_set(struct doing *d, const struct kap_membership_set_request *request,
                           const struct kap_membership_set_reply *reply)
{
    struct sim_row *row = membership_find(d, request->club, request->user);
    const struct sim_fields none = {0};
    int32_t op = 0;
    if (row && model_is_placeholder(row->id) && reply && reply->has_id)
        check_id(d->model, NULL, row, true, reply->id);
    if (request->has_remove && request->remove) {
        static const struct sim_delete delete;
        if (row)
            doing_delete(d, row, &delete);
        return;
    }
    struct sim_fields patch = fields_with_id(d->model->arena, &none, 2, request->club);
    patch = fields_with_id(d->model->arena, &patch, 3, request->user);
    if (request->has_role)
        patch = fields_with_number(d->model->arena, &patch, 4, (uint64_t)request->role);
    const struct sim_put put = {
        .kind = KAP_KIND_MEMBERSHIP, .id = row ? row->id : (struct kap_id){{0}}, .patch = patch, .is_by_key = true};
    row = doing_put(d, &put, &op);
    if (!reply || !row)
        return;
    check_number("rev of the membership", row->rev, reply->has_rev, reply->rev);
    check_id(d->model, d, row, reply->has_id, reply->id);
}

/* The rows a save made get the ids that the reply tells, in order; then both lists must be the same set. */
static void told_check(struct doing *d, struct sim_saved *saved, const struct kap_row_change *changes, size_t n)
{
    for (uint32_t i = 0; i < saved->n_told; i++) {
        struct sim_told *told = &saved->told[i];
        for (size_t k = 0; model_is_placeholder(told->id) && k < n; k++) {
            bool is_taken = changes[k].kind != told->kind || changes[k].op != KAP_CHANGE_OP_CREATE;
            for (uint32_t j = 0; !is_taken && j < saved->n_told; j++)
                is_taken = kap_id_eq(saved->told[j].id, changes[k].id);
            if (is_taken)
                continue;
            if (model_find_any(d->model, changes[k].id))
                sim_fail("the server gave a new row the id %s, which is in use", sim_id(changes[k].id));
            doing_rename(d, told->id, changes[k].id);
            told->id = changes[k].id;
        }
    }
    for (uint32_t i = 0; i < saved->n_told; i++) {
        const struct sim_told *told = &saved->told[i];
        bool is_found = false;
        for (size_t k = 0; k < n && !is_found; k++)
            is_found = changes[k].kind == told->kind && kap_id_eq(changes[k].id, told->id) &&
                       changes[k].rev == told->rev && changes[k].op == told->op;
        for (size_t k = 0; !is_found && k < n; k++)
            sim_event("told    kind %d %s rev %llu op %d", changes[k].kind, sim_id(changes[k].id),
                      (unsigned long long)changes[k].rev, changes[k].op);
        if (!is_found)
            sim_fail("expected a change of the %s %s to rev %llu (%s), which is not told", model_kind_name(told->kind),
                     sim_id(told->id), (unsigned long long)told->rev, kap_enum_name(&kap_change_op_enum, told->op));
    }
    check_number("number of changes told", saved->n_told, true, n);
}

static void session_save(struct doing *d, const struct kap_session_save_request *request,
                         const struct kap_session_save_reply *reply)
{
    struct sim_saved *saved = sim_alloc(d->model->arena, sizeof *saved);
    trees_save(d, request, saved);
    if (!reply || doing_refused(d))
        return;
    check_number("rev of the session", saved->session->rev, reply->has_rev, reply->rev);
    check_number("tree_rev of a save", doing_tree_rev(d, saved->session->id), reply->has_tree_rev, reply->tree_rev);
    check_number("minutes of the sequences", saved->minutes, reply->has_sequence_minutes, reply->sequence_minutes);
    told_check(d, saved, reply->changes, reply->n_changes);
    check_id(d->model, d, saved->session, reply->has_id, reply->id);
}

static void part_put(struct doing *d, uint8_t kind, const void *message, const struct kap_sequence_put_request *how,
                     const struct kap_put_reply *reply)
{
    const struct sim_row *row = trees_put_part(d, kind, message, how->clear, how->n_clear, how->has_expected_rev,
                                               how->expected_rev, how->has_expected_tree_rev, how->expected_tree_rev);
    if (!reply || !row)
        return;
    check_number("rev of a part", row->rev, reply->has_rev, reply->rev);
    check_number("tree_rev of a put", doing_tree_rev(d, row->root), reply->has_tree_rev, reply->tree_rev);
    check_number("position of a part", fields_number(&row->fields, model_position_field(kind), 0), reply->has_position,
                 reply->position);
    check_id(d->model, d, row, reply->has_id, reply->id);
}

static void reorder(struct doing *d, const struct kap_part_reorder_request *request,
                    const struct kap_part_reorder_reply *reply)
{
    struct sim_saved *saved = sim_alloc(d->model->arena, sizeof *saved);
    trees_reorder(d, request, saved);
    if (!reply || doing_refused(d))
        return;
    check_number("tree_rev of a reorder", doing_tree_rev(d, saved->session->root), reply->has_tree_rev,
                 reply->tree_rev);
    told_check(d, saved, reply->changes, reply->n_changes);
}

static void session_delete(struct doing *d, const struct kap_session_delete_request *request,
                           const struct kap_session_delete_reply *reply)
{
    struct sim_row *session = doing_get(d, KAP_KIND_SESSION, request->id);
    const struct sim_delete delete = {.has_rev = request->has_expected_rev,
                                      .rev = request->expected_rev,
                                      .dry_run = request->has_dry_run && request->dry_run};
    if (!session)
        return;
    doing_expect_tree(d, session->id, request->has_expected_tree_rev, request->expected_tree_rev);
    uint32_t rows = doing_delete(d, session, &delete);
    if (reply && !doing_refused(d))
        check_number("rows that go with a session", rows, reply->has_rows, reply->rows);
}

static void row_delete(struct doing *d, const struct kap_row_delete_request *request,
                       const struct kap_row_delete_reply *reply)
{
    const struct sim_delete delete = {.has_rev = request->has_expected_rev,
                                      .rev = request->expected_rev,
                                      .force = request->has_force && request->force,
                                      .dry_run = request->has_dry_run && request->dry_run};
    struct sim_row *row = doing_get(d, (uint8_t)request->kind, request->id);
    if (!row)
        return;
    uint32_t rows = doing_delete(d, row, &delete);
    if (!reply || doing_refused(d))
        return;
    check_number("rows that go", rows, reply->has_rows, reply->rows);
    uint64_t tree_rev = doing_tree_rev(d, row->root);
    check_number("tree_rev of a delete", tree_rev, reply->has_tree_rev || tree_rev == 0, reply->tree_rev);
}

static void ref_put(struct doing *d, const struct kap_ref_put_request *request, const struct kap_ref_put_reply *reply)
{
    uint8_t kind = request->item ? KAP_KIND_REF_ITEM : request->principle ? KAP_KIND_TACTICAL_PRINCIPLE : KAP_KIND_TAG;
    const void *message = request->item        ? (const void *)request->item
                          : request->principle ? (const void *)request->principle
                                               : (const void *)request->tag;
    int32_t op;
    if ((request->item != NULL) + (request->principle != NULL) + (request->tag != NULL) != 1) {
        doing_refuse(d, KAP_INVALID);
        return;
    }
    const struct sim_put put = {.kind = kind,
                                .id = message_id(message),
                                .patch = doing_fields(d, kind, message),
                                .clear = request->clear,
                                .n_clear = request->n_clear,
                                .has_rev = request->has_expected_rev,
                                .rev = request->expected_rev};
    struct sim_row *row = doing_put(d, &put, &op);
    /* A default item takes the flag from the one of its list and scope that had it. */
    const struct sim_rows *items = &d->model->kinds[KAP_KIND_REF_ITEM];
    bool is_default = row && op != 0 && kind == KAP_KIND_REF_ITEM && fields_number(&row->fields, 7, 0) != 0;
    for (uint32_t i = 0; is_default && i < items->n; i++) {
        const struct sim_row *other = items->at[i];
        const struct sim_fields none = {0};
        const struct sim_put no_default = {.kind = kind,
                                           .id = other->id,
                                           .patch = fields_with_number(d->model->arena, &none, 7, 0),
                                           .is_trusted = true};
        int32_t ignored;
        if (other != row && fields_number(&other->fields, 7, 0) != 0 &&
            fields_number(&other->fields, 2, 0) == fields_number(&row->fields, 2, 0) &&
            kap_id_eq(fields_id(&other->fields, 9), fields_id(&row->fields, 9)))
            doing_put(d, &no_default, &ignored);
    }
    if (!reply || doing_refused(d))
        return;
    check_number("rev of a reference value", row->rev, reply->has_rev, reply->rev);
    check_id(d->model, d, row, reply->has_id, reply->id);
}

static void ref_delete(struct doing *d, const struct kap_ref_delete_request *request)
{
    const struct sim_delete delete = {.has_rev = request->has_expected_rev,
                                      .rev = request->expected_rev,
                                      .dry_run = request->has_dry_run && request->dry_run};
    struct sim_row *row = doing_get(d, (uint8_t)request->kind, request->id);
    if (row)
        doing_delete(d, row, &delete);
}

/* The four puts of parts have requests of the same shape but for the row, which comes first. */
_Static_assert(sizeof(struct kap_sequence_put_request) == sizeof(struct kap_exercise_put_request), "put requests");
_Static_assert(sizeof(struct kap_sequence_put_request) == sizeof(struct kap_objective_put_request), "put requests");
_Static_assert(sizeof(struct kap_sequence_put_request) == sizeof(struct kap_variation_put_request), "put requests");

void check_carry_out(struct doing *d, uint16_t op, const void *request, const void *reply)
{
    switch (op) {
    case KAP_OP_USER_CREATE:
        user_create(d, request, reply);
        break;
    case KAP_OP_PROFILE_SAVE:
        profile_save(d, request, reply);
        break;
    case KAP_OP_CLUB_SAVE:
        club_save(d, request, reply);
        break;
    case KAP_OP_MEMBERSHIP_SET:
        membership_set(d, request, reply);
        break;
    case KAP_OP_SESSION_SAVE:
        session_save(d, request, reply);
        break;
    case KAP_OP_SESSION_DELETE:
        session_delete(d, request, reply);
        break;
    case KAP_OP_SEQUENCE_PUT:
        part_put(d, KAP_KIND_SEQUENCE, *(void *const *)request, request, reply);
        break;
    case KAP_OP_OBJECTIVE_PUT:
        part_put(d, KAP_KIND_OBJECTIVE, *(void *const *)request, request, reply);
        break;
    case KAP_OP_VARIATION_PUT:
        part_put(d, KAP_KIND_VARIATION, *(void *const *)request, request, reply);
        break;
    case KAP_OP_EXERCISE_PUT:
        part_put(d, KAP_KIND_EXERCISE, *(void *const *)request, request, reply);
        break;
    case KAP_OP_PART_REORDER:
        reorder(d, request, reply);
        break;
    case KAP_OP_ROW_DELETE:
        row_delete(d, request, reply);
        break;
    case KAP_OP_REF_PUT:
        ref_put(d, request, reply);
        break;
    case KAP_OP_REF_DELETE:
        ref_delete(d, request);
        break;
    default:
        sim_fail("the model does not know operation %u", op);
    }
    doing_finish(d);
}
