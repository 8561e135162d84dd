/* Who may what, as the comments of entities.proto and section 3 of the model's description say it. */
#include "proto/kap_requests.h"
#include "tests/sim/rules.h"

static bool is_user(const struct sim_who *who, struct kap_id id)
{
    return !kap_id_is_nil(id) && kap_id_eq(who->user, id);
}

static bool in_club(const struct model *model, const struct sim_who *who, struct kap_id club, uint64_t least)
{
    const struct sim_rows *rows = &model->kinds[KAP_KIND_MEMBERSHIP];
    for (uint32_t i = 0; i < rows->n && !kap_id_is_nil(club) && !kap_id_is_nil(who->user); i++) {
        const struct sim_fields *fields = &rows->at[i]->fields;
        if (kap_id_eq(fields_id(fields, 2), club) && kap_id_eq(fields_id(fields, 3), who->user) &&
            fields_number(fields, 4, KAP_CLUB_ROLE_MEMBER) >= least)
            return true;
    }
    return false;
}

static const struct sim_row *root_of(const struct model *model, const struct sim_row *row)
{
    const struct sim_row *root = model_find(model, KAP_KIND_SESSION, row->root);
    return root ? root : model_find(model, KAP_KIND_EXERCISE, row->root);
}

static bool session_may_read(const struct model *model, const struct sim_who *who, const struct sim_fields *session)
{
    uint64_t visibility = fields_number(session, 26, 0), status = fields_number(session, 25, 0);
    if (is_user(who, fields_id(session, 2)) || visibility == KAP_VISIBILITY_PUBLIC)
        return true;
    if (visibility == KAP_VISIBILITY_CLUB && in_club(model, who, fields_id(session, 3), KAP_CLUB_ROLE_MEMBER))
        return true;
    return who_is(who, KAP_ROLE_EXPERT) &&
           (status == KAP_SESSION_STATUS_PENDING || status == KAP_SESSION_STATUS_VALIDATED);
}

static bool is_part(const struct sim_row *row)
{
    return row->kind == KAP_KIND_SEQUENCE || row->kind == KAP_KIND_OBJECTIVE || row->kind == KAP_KIND_VARIATION ||
           (row->kind == KAP_KIND_EXERCISE && !kap_id_eq(row->root, row->id));
}

bool rules_may_read(const struct model *model, const struct sim_who *who, const struct sim_row *row)
{
    if (who->roles == 0)
        return false;
    if (is_part(row)) {
        const struct sim_row *root = root_of(model, row);
        return root && rules_may_read(model, who, root);
    }
    if (who_is(who, KAP_ROLE_ADMIN))
        return true;
    switch (row->kind) {
    case KAP_KIND_USER:
        return is_user(who, row->id) || who_is(who, KAP_ROLE_SERVICE);
    case KAP_KIND_MEMBERSHIP:
        return is_user(who, fields_id(&row->fields, 3)) ||
               in_club(model, who, fields_id(&row->fields, 2), KAP_CLUB_ROLE_MEMBER);
    case KAP_KIND_SESSION:
        return session_may_read(model, who, &row->fields);
    case KAP_KIND_EXERCISE:
        return is_user(who, fields_id(&row->fields, 34)) ||
               fields_number(&row->fields, 36, 0) == KAP_VISIBILITY_PUBLIC ||
               (who_is(who, KAP_ROLE_CURATOR) && !fields_has(&row->fields, 34));
    case KAP_KIND_PROFILE:
    case KAP_KIND_CLUB:
    case KAP_KIND_TACTICAL_PRINCIPLE:
    case KAP_KIND_TAG:
    case KAP_KIND_REF_ITEM:
        return true;
    default:
        return false;
    }
}

bool rules_may_write(const struct model *model, const struct sim_who *who, const struct sim_row *row)
{
    if (is_part(row)) {
        const struct sim_row *root = root_of(model, row);
        return root && rules_may_write(model, who, root);
    }
    if (who_is(who, KAP_ROLE_ADMIN))
        return true;
    switch (row->kind) {
    case KAP_KIND_USER:
    case KAP_KIND_PROFILE:
        return is_user(who, row->id);
    case KAP_KIND_CLUB:
        return in_club(model, who, row->id, KAP_CLUB_ROLE_COACH);
    case KAP_KIND_MEMBERSHIP:
        return in_club(model, who, fields_id(&row->fields, 2), KAP_CLUB_ROLE_COACH);
    case KAP_KIND_SESSION:
        return is_user(who, fields_id(&row->fields, 2));
    case KAP_KIND_EXERCISE:
        return is_user(who, fields_id(&row->fields, 34)) ||
               (who_is(who, KAP_ROLE_CURATOR) && !fields_has(&row->fields, 34)); /* the system's library */
    case KAP_KIND_TACTICAL_PRINCIPLE:
    case KAP_KIND_TAG:
    case KAP_KIND_REF_ITEM:
        return who_is(who, KAP_ROLE_CURATOR);
    default:
        return false;
    }
}

bool rules_may_send(const struct sim_who *who, uint16_t op)
{
    bool is_admin = who_is(who, KAP_ROLE_ADMIN);
    bool is_coach = is_admin || who_is(who, KAP_ROLE_COACH) || who_is(who, KAP_ROLE_EXPERT) ||
                    who_is(who, KAP_ROLE_CURATOR) || who_is(who, KAP_ROLE_SERVICE);
    bool is_viewer = is_coach || who_is(who, KAP_ROLE_VIEWER);
    switch (op) {
    case KAP_OP_USER_CREATE:
    case KAP_OP_USER_LIST:
        return is_admin || who_is(who, KAP_ROLE_SERVICE);
    case KAP_OP_REF_PUT:
    case KAP_OP_REF_DELETE:
        return is_admin || who_is(who, KAP_ROLE_CURATOR);
    case KAP_OP_COMPACTION_RUN:
    case KAP_OP_SNAPSHOT_CREATE:
    case KAP_OP_SNAPSHOT_DELETE:
        return is_admin || who_is(who, KAP_ROLE_OPS);
    case KAP_OP_DUMP_ROWS:
        return is_admin;
    case KAP_OP_CLUB_SAVE:
    case KAP_OP_MEMBERSHIP_SET:
    case KAP_OP_SESSION_SAVE:
    case KAP_OP_SESSION_CLONE:
    case KAP_OP_SESSION_DELETE:
    case KAP_OP_SEQUENCE_PUT:
    case KAP_OP_OBJECTIVE_PUT:
    case KAP_OP_VARIATION_PUT:
    case KAP_OP_EXERCISE_PUT:
    case KAP_OP_ROW_DELETE:
    case KAP_OP_PART_REORDER:
        return is_coach;
    default:
        return is_viewer;
    }
}
