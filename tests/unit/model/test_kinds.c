/* Kinds that need no more than their messages, and templates. */
#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "engine/base/assert.h"
#include "proto/wire.h"

static struct service_fixture fx;
static struct kap_id sport, level;
static struct kap_principal coach, other, curator;

static void world_open(void)
{
    service_fixture_open(&fx, 23);
    sport = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
    level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
    coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    other = fixture_user(&fx, "other@example.org", KAP_ROLE_COACH);
    curator = fixture_user(&fx, "curator@example.org", KAP_ROLE_CURATOR);
}

#define TEXT(FIELD, VALUE) .has_##FIELD = true, .FIELD = kap_bytes_str(VALUE)
#define SET(FIELD, VALUE) .has_##FIELD = true, .FIELD = VALUE

Test(kinds, preferences_are_ones_own_and_come_with_the_account)
{
    world_open();
    struct kap_preferences row = {SET(theme, KAP_THEME_DARK), SET(default_sport, sport), SET(default_duration, 90)};
    struct kap_preferences_save_request save = {.preferences = &row};
    struct kap_preferences_save_reply saved;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_PREFERENCES_SAVE, &save, &saved, NULL), KAP_OK);
    cr_assert_eq(saved.rev, 1);
    row = (struct kap_preferences){SET(view, KAP_VIEW_MODE_LIST)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_PREFERENCES_SAVE, &save, &saved, NULL), KAP_OK);
    cr_assert_eq(saved.rev, 2);
    struct kap_user_get_request get = {SET(id, coach.user)};
    struct kap_user_get_reply got;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_USER_GET, &get, &got, NULL), KAP_OK);
    cr_assert(got.preferences && got.counts);
    cr_assert_eq(got.preferences->theme, KAP_THEME_DARK);
    cr_assert_eq(got.preferences->view, KAP_VIEW_MODE_LIST);
    cr_assert_eq(got.counts->sessions, 0);
    /* A profile makes the account visible to others, the preferences stay out of it. */
    struct kap_profile profile = {TEXT(username, "coach.one")};
    struct kap_profile_save_request profile_save = {.profile = &profile};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_PROFILE_SAVE, &profile_save, NULL, NULL), KAP_OK);
    cr_assert_eq(service_call(&fx, other, KAP_OP_USER_GET, &get, &got, NULL), KAP_OK);
    cr_assert(!got.preferences && !got.counts && got.profile);
    row = (struct kap_preferences){SET(user, coach.user), SET(theme, KAP_THEME_LIGHT)};
    kap_status status = service_call(&fx, other, KAP_OP_PREFERENCES_SAVE, &save, NULL, NULL);
    cr_assert(status == KAP_ALREADY_EXISTS || status == KAP_FORBIDDEN);
    service_fixture_close(&fx);
}

static struct kap_exercise_node *first_exercise(struct kap_session_save_request *save)
{
    return &save->sequences[0].exercises[0];
}

Test(kinds, criteria_and_progressions_are_saved_read_and_copied_with_their_exercise)
{
    world_open();
    struct kap_session_save_request *save = fixture_session(&fx, sport, level, "S", 1, 2);
    struct kap_success_criterion criteria[] = {{TEXT(description, "8 of 10"), SET(target_value, 0.8)},
                                               {TEXT(description, "calm")}};
    struct kap_technical_progression progression = {TEXT(skill, "pass"), SET(current_level, 2), SET(target_level, 4)};
    first_exercise(save)->n_criteria = 2;
    first_exercise(save)->criteria = criteria;
    first_exercise(save)->n_progressions = 1;
    first_exercise(save)->progressions = &progression;
    struct kap_session_save_reply saved;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, save, &saved, NULL), KAP_OK);
    struct kap_session_graph_request graph = {SET(id, saved.id)};
    struct kap_session_graph_reply got;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_GRAPH, &graph, &got, NULL), KAP_OK);
    cr_assert_eq(got.head->n_criteria, 2);
    cr_assert_eq(got.head->n_progressions, 1);
    size_t n_rows = got.n_rows;
    int32_t parts[] = {KAP_GRAPH_PART_SEQUENCES, KAP_GRAPH_PART_CRITERIA};
    graph.n_include = 2;
    graph.include = parts;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_GRAPH, &graph, &got, NULL), KAP_OK);
    cr_assert_eq(got.n_rows, 1 + 1 + 2);
    struct kap_session_clone_request clone = {SET(id, saved.id)};
    struct kap_session_clone_reply cloned;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_CLONE, &clone, &cloned, NULL), KAP_OK);
    cr_assert_eq(cloned.rows, n_rows);
    for (size_t i = 0; i < saved.n_changes; i++) {
        if (saved.changes[i].kind != KAP_KIND_EXERCISE)
            continue;
        struct kap_exercise_get_request get = {SET(id, saved.changes[i].id)};
        struct kap_exercise_get_reply exercise;
        cr_assert_eq(service_call(&fx, coach, KAP_OP_EXERCISE_GET, &get, &exercise, NULL), KAP_OK);
        if (exercise.n_criteria == 0)
            continue;
        cr_assert_eq(exercise.n_criteria, 2);
        cr_assert_eq(exercise.n_progressions, 1);
        cr_assert(exercise.criteria[0].target_value == 0.8);
        /* One more, at the end; then the two change places. */
        struct kap_success_criterion third = {SET(exercise, get.id), TEXT(description, "fast")};
        struct kap_criterion_put_request put = {.criterion = &third};
        struct kap_put_reply put_reply;
        cr_assert_eq(service_call(&fx, coach, KAP_OP_CRITERION_PUT, &put, &put_reply, NULL), KAP_OK);
        cr_assert_eq(put_reply.position, 2);
        struct kap_id ids[] = {put_reply.id, exercise.criteria[0].sys->id, exercise.criteria[1].sys->id};
        struct kap_part_reorder_request reorder = {SET(relation, KAP_RELATION_EXERCISE_CRITERIA), SET(parent, get.id),
                                                   .n_ids = 3, .ids = ids};
        struct kap_part_reorder_reply reordered;
        cr_assert_eq(service_call(&fx, coach, KAP_OP_PART_REORDER, &reorder, &reordered, NULL), KAP_OK);
        cr_assert_eq(reordered.n_changes, 3);
        progression = (struct kap_technical_progression){SET(exercise, get.id), TEXT(skill, "pass"),
                                                         SET(current_level, 5), SET(target_level, 4)};
        struct kap_progression_put_request wrong = {.progression = &progression};
        cr_assert_eq(service_call(&fx, coach, KAP_OP_PROGRESSION_PUT, &wrong, NULL, NULL), KAP_INVALID);
        struct kap_row_delete_request delete = {SET(kind, KAP_KIND_SUCCESS_CRITERION), SET(id, put_reply.id)};
        cr_assert_eq(service_call(&fx, coach, KAP_OP_ROW_DELETE, &delete, NULL, NULL), KAP_OK);
    }
    service_fixture_close(&fx);
}

static struct kap_template_variation variation;
static struct kap_template_exercise exercise;
static struct kap_template_objective objective;
static struct kap_template_sequence sequences[2];
static struct kap_template_structure structure;

static struct kap_template template_of(int32_t kind, const char *name)
{
    variation = (struct kap_template_variation){TEXT(title, "with two balls")};
    exercise = (struct kap_template_exercise){TEXT(title, "Drill"), TEXT(description, "Run"), .n_variations = 1,
                                              .variations = &variation};
    objective = (struct kap_template_objective){TEXT(description, "Learn"),
                                                SET(objective_type, KAP_OBJECTIVE_TYPE_APPRENTISSAGE)};
    for (size_t i = 0; i < KAP_ARRAY_LEN(sequences); i++)
        sequences[i] = (struct kap_template_sequence){
            TEXT(title, "Part"), SET(type, KAP_SEQUENCE_TYPE_MAIN), SET(duration, 20), TEXT(objective, "Do"),
            .n_objectives = 1,   .objectives = &objective,          .n_exercises = 1,  .exercises = &exercise};
    structure = (struct kap_template_structure){.sequences = sequences};
    if (kind == KAP_TEMPLATE_KIND_SESSION) {
        structure.n_objectives = 1;
        structure.objectives = &objective;
        structure.n_sequences = 2;
    } else if (kind == KAP_TEMPLATE_KIND_SEQUENCE) {
        structure.n_sequences = 1;
    } else {
        structure.n_exercises = 1;
        structure.exercises = &exercise;
    }
    return (struct kap_template){TEXT(name, name),
                                 SET(kind, kind),
                                 SET(sport, sport),
                                 SET(level, level),
                                 SET(age_category, KAP_AGE_CATEGORY_U15),
                                 .structure = &structure};
}

static kap_status template_save(struct kap_principal who, struct kap_template *row,
                                struct kap_template_save_reply *reply, struct kap_error_reply *error)
{
    struct kap_template_save_request save = {.template = row};
    return service_call(&fx, who, KAP_OP_TEMPLATE_SAVE, &save, reply, error);
}

static kap_status status_set(struct kap_principal who, struct kap_id id, int32_t status, struct kap_error_reply *error)
{
    struct kap_sys sys = {SET(id, id)};
    struct kap_template row = {.sys = &sys, SET(status, status)};
    struct kap_template_save_reply reply;
    return template_save(who, &row, &reply, error);
}

Test(templates, go_from_draft_to_published_to_retired_and_count_versions)
{
    world_open();
    struct kap_template row = template_of(KAP_TEMPLATE_KIND_SESSION, "Base");
    struct kap_template_save_reply saved, again;
    struct kap_error_reply error;
    cr_assert_eq(template_save(coach, &row, &saved, NULL), KAP_OK);
    cr_assert_eq(saved.version, 1);
    struct kap_sys sys = {SET(id, saved.id)};
    row.sys = &sys;
    cr_assert_eq(template_save(coach, &row, &again, NULL), KAP_OK); /* nothing new */
    cr_assert_eq(again.rev, 1);
    sequences[1].duration = 25;
    cr_assert_eq(template_save(coach, &row, &again, NULL), KAP_OK);
    cr_assert_eq(again.version, 2);
    row = (struct kap_template){.sys = &sys, TEXT(description, "new words, same structure")};
    cr_assert_eq(template_save(coach, &row, &again, NULL), KAP_OK);
    cr_assert_eq(again.version, 2);
    cr_assert_eq(again.rev, 3);
    cr_assert_eq(status_set(coach, saved.id, KAP_TEMPLATE_STATUS_RETIRED, &error), KAP_STATE_CONFLICT);
    cr_assert(kap_bytes_eq(error.message, kap_bytes_str("the template goes from draft to published, not to retired")));
    cr_assert_eq(status_set(coach, saved.id, KAP_TEMPLATE_STATUS_PUBLISHED, NULL), KAP_OK);
    cr_assert_eq(status_set(coach, saved.id, KAP_TEMPLATE_STATUS_DRAFT, &error), KAP_STATE_CONFLICT);
    cr_assert_eq(status_set(coach, saved.id, KAP_TEMPLATE_STATUS_RETIRED, NULL), KAP_OK);
    cr_assert_eq(status_set(coach, saved.id, KAP_TEMPLATE_STATUS_PUBLISHED, &error), KAP_STATE_CONFLICT);
    struct kap_template_instantiate_request make = {SET(id, saved.id)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_TEMPLATE_INSTANTIATE, &make, NULL, NULL), KAP_STATE_CONFLICT);
    row = template_of(KAP_TEMPLATE_KIND_SESSION, "Base");
    cr_assert_eq(template_save(coach, &row, &again, NULL), KAP_UNIQUE);
    cr_assert_eq(template_save(other, &row, &again, NULL), KAP_OK);
    row = template_of(KAP_TEMPLATE_KIND_EXERCISE, "Not one");
    structure.n_exercises = 0;
    cr_assert_eq(template_save(coach, &row, &again, &error), KAP_INVALID);
    cr_assert(kap_bytes_eq(error.faults[0].path, kap_bytes_str("template.structure.exercises")));
    service_fixture_close(&fx);
}

Test(templates, are_seen_by_owner_and_once_published_by_those_they_are_for)
{
    world_open();
    struct kap_template row = template_of(KAP_TEMPLATE_KIND_SESSION, "Public");
    struct kap_template_save_reply mine, system;
    row.has_visibility = true;
    row.visibility = KAP_VISIBILITY_PUBLIC;
    cr_assert_eq(template_save(coach, &row, &mine, NULL), KAP_OK);
    row = template_of(KAP_TEMPLATE_KIND_SEQUENCE, "System");
    row.has_visibility = row.has_status = true;
    row.visibility = KAP_VISIBILITY_PUBLIC;
    row.status = KAP_TEMPLATE_STATUS_PUBLISHED;
    cr_assert_eq(template_save(curator, &row, &system, NULL), KAP_OK);
    struct kap_template_get_request get = {SET(id, mine.id)};
    cr_assert_eq(service_call(&fx, other, KAP_OP_TEMPLATE_GET, &get, NULL, NULL), KAP_NOT_FOUND);
    struct kap_list_page page = {SET(want_count, true), SET(explain, true)};
    struct kap_template_list_request list = {.page = &page};
    struct kap_template_list_reply reply;
    cr_assert_eq(service_call(&fx, other, KAP_OP_TEMPLATE_LIST, &list, &reply, NULL), KAP_OK);
    cr_assert_eq(reply.n_templates, 1);
    cr_assert_eq(reply.end->total, 1);
    cr_assert(reply.end->total_is_exact);
    cr_assert_eq(status_set(coach, mine.id, KAP_TEMPLATE_STATUS_PUBLISHED, NULL), KAP_OK);
    cr_assert_eq(service_call(&fx, other, KAP_OP_TEMPLATE_GET, &get, NULL, NULL), KAP_OK);
    cr_assert_eq(service_call(&fx, other, KAP_OP_TEMPLATE_LIST, &list, &reply, NULL), KAP_OK);
    cr_assert_eq(reply.n_templates, 2);
    cr_assert_eq(reply.end->explain->rows_read, 0);
    cr_assert(kap_bytes_eq(reply.templates[0].name, kap_bytes_str("Public"))); /* by name */
    list = (struct kap_template_list_request){.page = &page, SET(owner, coach.user)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_TEMPLATE_LIST, &list, &reply, NULL), KAP_OK);
    cr_assert_eq(reply.end->total, 1);
    list = (struct kap_template_list_request){.page = &page, SET(sport, sport), SET(kind, KAP_TEMPLATE_KIND_SEQUENCE)};
    cr_assert_eq(service_call(&fx, other, KAP_OP_TEMPLATE_LIST, &list, &reply, NULL), KAP_OK);
    cr_assert_eq(reply.n_templates, 1);
    cr_assert_eq(reply.end->total, 1);
    cr_assert_eq(status_set(other, mine.id, KAP_TEMPLATE_STATUS_RETIRED, NULL), KAP_FORBIDDEN);
    cr_assert_eq(status_set(other, system.id, KAP_TEMPLATE_STATUS_RETIRED, NULL), KAP_FORBIDDEN);
    cr_assert_eq(status_set(curator, system.id, KAP_TEMPLATE_STATUS_RETIRED, NULL), KAP_OK);
    service_fixture_close(&fx);
}

Test(templates, make_sessions_sequences_and_exercises)
{
    world_open();
    struct kap_template row = template_of(KAP_TEMPLATE_KIND_SESSION, "S");
    struct kap_template_save_reply of_session, of_sequence, of_exercise;
    struct kap_template_instantiate_reply session, made;
    struct kap_error_reply error;
    cr_assert_eq(template_save(coach, &row, &of_session, NULL), KAP_OK);
    row = template_of(KAP_TEMPLATE_KIND_SEQUENCE, "Q");
    cr_assert_eq(template_save(coach, &row, &of_sequence, NULL), KAP_OK);
    row = template_of(KAP_TEMPLATE_KIND_EXERCISE, "E");
    cr_assert_eq(template_save(coach, &row, &of_exercise, NULL), KAP_OK);

    struct kap_template_instantiate_request make = {SET(id, of_session.id)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_TEMPLATE_INSTANTIATE, &make, NULL, &error), KAP_INVALID);
    cr_assert_eq(error.n_faults, 2); /* how many players, at least and at most */
    struct kap_session with = {TEXT(title, "Tuesday"), SET(participants_min, 4), SET(participants_max, 12)};
    make.session = &with;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_TEMPLATE_INSTANTIATE, &make, &session, NULL), KAP_OK);
    cr_assert_eq(session.kind, KAP_KIND_SESSION);
    cr_assert_eq(session.rows, 1 + 1 + 2 * (1 + 1 + 1 + 1));
    struct kap_session_get_request get = {SET(id, session.id)};
    struct kap_session_get_reply got;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_GET, &get, &got, NULL), KAP_OK);
    cr_assert(kap_bytes_eq(got.session->title, kap_bytes_str("Tuesday")));
    cr_assert_eq(got.session->duration, 40);
    cr_assert(kap_id_eq(got.session->template, of_session.id));
    cr_assert(kap_id_eq(got.session->owner, coach.user));

    make = (struct kap_template_instantiate_request){SET(id, of_sequence.id), SET(parent, session.id)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_TEMPLATE_INSTANTIATE, &make, &made, NULL), KAP_OK);
    cr_assert_eq(made.kind, KAP_KIND_SEQUENCE);
    cr_assert_eq(made.rows, 4);
    make = (struct kap_template_instantiate_request){SET(id, of_exercise.id), SET(parent, made.id)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_TEMPLATE_INSTANTIATE, &make, &made, NULL), KAP_OK);
    cr_assert_eq(made.kind, KAP_KIND_EXERCISE);
    cr_assert_eq(made.rows, 2);
    make.parent = session.id;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_TEMPLATE_INSTANTIATE, &make, NULL, NULL), KAP_NOT_FOUND);
    make.has_parent = false;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_TEMPLATE_INSTANTIATE, &make, NULL, NULL), KAP_INVALID);

    struct kap_list_page page = {SET(want_count, true)};
    struct kap_session_list_request list = {.page = &page, SET(template, of_session.id)};
    struct kap_session_list_reply listed;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_LIST, &list, &listed, NULL), KAP_OK);
    cr_assert_eq(listed.n_sessions, 1);
    cr_assert_eq(listed.end->total, 1);
    struct kap_template_list_request templates = {SET(owner, coach.user), SET(want_usage, true)};
    struct kap_template_list_reply reply;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_TEMPLATE_LIST, &templates, &reply, NULL), KAP_OK);
    cr_assert_eq(reply.n_templates, 3);
    cr_assert_eq(reply.templates[2].sessions, 1); /* newest first */
    struct kap_row_delete_request delete = {SET(kind, KAP_KIND_TEMPLATE), SET(id, of_session.id)};
    cr_assert_eq(service_call(&fx, coach, KAP_OP_ROW_DELETE, &delete, NULL, &error), KAP_REFERENCED);
    delete.id = of_sequence.id;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_ROW_DELETE, &delete, NULL, NULL), KAP_OK);
    service_fixture_close(&fx);
}
