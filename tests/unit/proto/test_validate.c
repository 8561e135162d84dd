#include "tests/lib/test.h"

#include "proto/kap_entities.h"
#include "proto/kap_requests.h"
#include "proto/text.h"
#include "proto/validate.h"

static struct kap_memory memory;
static struct kap_arena arena;
static struct kap_faults faults;

static void begin(void)
{
    kap_arena_init(&arena, &memory, 65536, 0);
    kap_faults_init(&faults, &arena);
}

static void end(void)
{
    kap_arena_deinit(&arena);
    cr_assert_eq(kap_memory_used(&memory), 0);
}

static const struct kap_fault *fault_at(const char *path)
{
    for (size_t i = 0; i < faults.n; i++)
        if (strcmp(faults.at[i].path, path) == 0)
            return &faults.at[i];
    return NULL;
}

Test(validate, all_faults_of_a_tree_are_told_at_once_with_limit_and_actual)
{
    begin();
    char long_title[201 + 1];
    memset(long_title, 'x', sizeof long_title);
    long_title[201] = 0;
    struct kap_exercise exercise = {.has_title = true,
                                    .title = kap_bytes_str(long_title),
                                    .has_duration = true,
                                    .duration = 1441,
                                    .has_progression_level = true};
    struct kap_variation variation = {.has_difficulty_delta = true, .difficulty_delta = -4};
    struct kap_exercise_node nodes[2] = {{.exercise = &exercise}, {.n_variations = 1, .variations = &variation}};
    struct kap_sequence sequence = {.has_type = true, .type = 9};
    struct kap_sequence_node sequences[3] = {{.sequence = &sequence},
                                             {.sequence = &sequence},
                                             {.sequence = &sequence, .n_exercises = 2, .exercises = nodes}};
    struct kap_session session = {.has_participants_min = true,
                                  .participants_min = 12,
                                  .has_participants_max = true,
                                  .participants_max = 8,
                                  .has_club = true};
    struct kap_session_save_request request = {.session = &session, .n_sequences = 3, .sequences = sequences};
    cr_assert_eq(kap_validate(&kap_session_save_request_msg, &request, KAP_VALIDATE_REQUEST, NULL, &arena, &faults),
                 KAP_INVALID);
    const struct kap_fault *fault = fault_at("sequences[2].exercises[0].exercise.title");
    cr_assert_not_null(fault);
    cr_assert_str_eq(fault->code, "too_long");
    cr_assert_eq(fault->limit, 200);
    cr_assert_eq(fault->actual, 201);
    cr_assert_eq(fault_at("sequences[2].exercises[0].exercise.duration")->limit, 1440);
    cr_assert_eq(fault_at("sequences[2].exercises[0].exercise.progression_level")->limit, 1);
    cr_assert_eq(fault_at("sequences[2].exercises[1].variations[0].difficulty_delta")->actual, -4);
    cr_assert_str_eq(fault_at("sequences[2].exercises[1].exercise")->code, "required");
    cr_assert_str_eq(fault_at("sequences[1].sequence.type")->code, "unknown_value");
    cr_assert_eq(fault_at("session.participants_max")->limit, 12);
    cr_assert_str_eq(fault_at("session.club")->code, "bad_id");
    cr_assert_eq(faults.n, 10);
    end();
}

Test(validate, a_row_must_be_whole_and_a_patch_need_not_be)
{
    begin();
    struct kap_sequence sequence = {.has_title = true, .title = kap_bytes_str("Corps")};
    struct kap_path above = {NULL, "sequences", 4};
    cr_assert_eq(kap_validate(&kap_sequence_msg, &sequence, KAP_VALIDATE_REQUEST, NULL, &arena, &faults), KAP_OK);
    cr_assert_eq(kap_validate(&kap_sequence_msg, &sequence, KAP_VALIDATE_ROW, &above, &arena, &faults), KAP_INVALID);
    cr_assert_eq(faults.n, 4);
    cr_assert_not_null(fault_at("sequences[4].session"));
    cr_assert_not_null(fault_at("sequences[4].objective"));
    struct kap_error_reply reply;
    cr_assert_eq(kap_faults_reply(&faults, KAP_INVALID, &arena, &reply), KAP_OK);
    cr_assert_eq(reply.code, KAP_INVALID);
    cr_assert_eq(reply.n_faults, 4);
    cr_assert(kap_bytes_eq(reply.path, kap_bytes_str("sequences[4].session")));
    end();
}

Test(validate, more_faults_than_fit_are_counted)
{
    begin();
    struct kap_bytes steps[200];
    char long_step[2050];
    memset(long_step, 'y', sizeof long_step);
    for (size_t i = 0; i < 200; i++)
        steps[i] = kap_bytes(long_step, sizeof long_step);
    struct kap_exercise exercise = {.n_steps = 200, .steps = steps};
    cr_assert_eq(kap_validate(&kap_exercise_msg, &exercise, KAP_VALIDATE_REQUEST, NULL, &arena, &faults), KAP_INVALID);
    cr_assert_eq(faults.n, KAP_FAULTS_MAX);
    cr_assert_eq(faults.n_total, 201);
    cr_assert_str_eq(faults.at[0].code, "too_many");
    end();
}

Test(validate, text_is_composed_and_its_length_counts_after_that)
{
    begin();
    /* e + combining acute, 66 times: 198 bytes as sent, 132 composed; the name takes 64 */
    char apart[66 * 3 + 1];
    for (int i = 0; i < 66; i++)
        memcpy(apart + i * 3, "e\xcc\x81", 3);
    struct kap_tag tag = {.has_name = true, .name = kap_bytes(apart, 30 * 3)};
    cr_assert_eq(kap_validate(&kap_tag_msg, &tag, KAP_VALIDATE_ROW, NULL, &arena, &faults), KAP_OK);
    cr_assert_eq(tag.name.len, 60);
    cr_assert_eq(memcmp(tag.name.data, "\xc3\xa9\xc3\xa9", 4), 0);
    tag.name = kap_bytes(apart, 33 * 3);
    cr_assert_eq(kap_validate(&kap_tag_msg, &tag, KAP_VALIDATE_ROW, NULL, &arena, &faults), KAP_INVALID);
    cr_assert_eq(faults.at[0].actual, 66);
    struct kap_bytes french = kap_bytes_str(
                         "\xc2\xab L\xe2\x80\x99\xc3\xa9t\xc3\xa9 \xe2\x80\x94 d\xc3\xa9j\xc3\xa0 \xc2\xbb"),
                     out;
    cr_assert_eq(kap_text_nfc(french, &arena, &out), KAP_OK);
    cr_assert(out.data == french.data);
    end();
}

Test(validate, formats_are_told_apart)
{
    static const struct {
        const char *email, *username;
        size_t n_faults;
    } cases[] = {{"a@b", "jean.dupont-2_x", 0}, {"a@@b", "ab", 2},       {"@b", "Jean", 2},
                 {"a b@c", "abc/", 2},          {"a@", "j\xc3\xa9r", 2}, {"ab.c", "abc", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        struct kap_user user = {.has_email = true, .email = kap_bytes_str(cases[i].email)};
        struct kap_profile profile = {.has_username = true, .username = kap_bytes_str(cases[i].username)};
        struct kap_user_create_request request = {.user = &user, .profile = &profile};
        kap_status status =
            kap_validate(&kap_user_create_request_msg, &request, KAP_VALIDATE_REQUEST, NULL, &arena, &faults);
        cr_assert_eq(status, cases[i].n_faults ? KAP_INVALID : KAP_OK);
        cr_assert_geq(faults.n, cases[i].n_faults, "case %zu", i);
        end();
    }
}

Test(validate, opaque_json_must_be_one_object)
{
    static const char *const good[] = {"{}", " {\"a\":[1,-2.5e+3,true,null,\"\\u00e9\\n\"],\"b\":{\"c\":{}}} "};
    static const char *const bad[] = {"",         "[]",    "{\"a\":01}",      "{\"a\":1,}",
                                      "{\"a\"}",  "{} {}", "{\"a\":\"\\x\"}", "{\"a\":tru}",
                                      "{\"a\":1", "{a:1}", "{\"a\":\"\t\"}",  "{\"a\":-}"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert(kap_text_is_json_object(kap_bytes_str(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(kap_text_is_json_object(kap_bytes_str(bad[i])), "%s", bad[i]);
    char deep[400] = "{\"a\":";
    memset(deep + 5, '[', 100);
    cr_assert_not(kap_text_is_json_object(kap_bytes_str(deep)));
}

Test(validate, defaults_fill_what_is_unset)
{
    struct kap_session session = {.has_visibility = true, .visibility = KAP_VISIBILITY_PUBLIC};
    struct kap_profile profile = {.has_locale = false};
    kap_defaults_apply(&kap_session_msg, &session);
    kap_defaults_apply(&kap_profile_msg, &profile);
    cr_assert_eq(session.status, KAP_SESSION_STATUS_DRAFT);
    cr_assert_eq(session.visibility, KAP_VISIBILITY_PUBLIC);
    cr_assert_not(session.has_intensity);
    cr_assert(kap_bytes_eq(profile.time_zone, kap_bytes_str("Europe/Paris")));
}
