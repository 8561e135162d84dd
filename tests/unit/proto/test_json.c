#include "tests/lib/test.h"

#include "proto/json.h"
#include "proto/json_value.h"
#include "proto/kap_entities.h"
#include "proto/kap_requests.h"
#include "proto/wire.h"

static struct kap_memory memory;
static struct kap_arena arena;

static void begin(void)
{
    kap_arena_init(&arena, &memory, 65536, 0);
}

static void end(void)
{
    kap_arena_deinit(&arena);
    cr_assert_eq(kap_memory_used(&memory), 0);
}

static void same_after_parse_and_print(const struct kap_msg *msg, const char *text)
{
    struct kap_buffer out;
    struct kap_error error = {0};
    void *message = kap_arena_push(&arena, msg->size);
    kap_buffer_init(&out, &memory);
    cr_assert_eq(kap_json_parse(msg, kap_bytes_str(text), &arena, message, &error), KAP_OK, "%s", error.text);
    cr_assert_eq(kap_json_print(msg, message, 0, &arena, &out), KAP_OK);
    cr_assert(kap_bytes_eq(kap_buffer_bytes(&out), kap_bytes_str(text)), "%.*s", (int)out.len, (const char *)out.data);
    kap_buffer_deinit(&out);
}

Test(json, a_row_reads_back_as_it_was_printed)
{
    begin();
    same_after_parse_and_print(
        &kap_session_msg,
        "{\"sys\":{\"id\":\"0190a3b1-7c00-7abc-8def-0123456789ab\",\"rev\":\"18446744073709551615\","
        "\"created_at\":\"2024-02-29T23:59:59.000001Z\",\"updated_at\":\"1969-12-31T23:59:59.999999Z\"},"
        "\"title\":\"\\\"Relance\\\" \xc3\xa0 6\\n\",\"age_category\":\"u13\",\"duration\":90,\"generation\":{},"
        "\"decision_making_focus\":[\"un\",\"\"],"
        "\"cover\":\"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\",\"status\":\"draft\","
        "\"_unknown\":\"oAYH\"}");
    same_after_parse_and_print(&kap_server_stat_msg, "{\"name\":\"x\",\"value\":0.1}");
    same_after_parse_and_print(&kap_server_stat_msg, "{\"value\":\"-Infinity\"}");
    same_after_parse_and_print(&kap_session_msg, "{}");
    end();
}

Test(json, rows_and_bodies_are_opened)
{
    begin();
    same_after_parse_and_print(&kap_bulk_read_reply_msg,
                               "{\"commit_seq\":\"5\",\"rows\":[{\"kind\":\"tag\",\"row\":{\"name\":\"tir\"}}]}");
    same_after_parse_and_print(
        &kap_txn_batch_request_msg,
        "{\"ops\":[{\"op\":\"session.get\",\"body\":{\"id\":\"0190a3b1-7c00-7abc-8def-0123456789ab\"}},"
        "{\"op\":\"server.status\",\"body\":{}}]}");
    same_after_parse_and_print(&kap_txn_batch_request_msg, "{\"ops\":[{\"body\":\"AAE=\"}]}");
    end();
}

Test(json, errors_say_where_and_what_was_meant)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"{\"sesion\":{}}", "session_save_request has no field \"sesion\"; did you mean \"session\"?"},
        {"{\"sequences\":[{},{\"exercises\":[{\"exercise\":{\"titel\":\"x\"}}]}]}",
         "sequences[1].exercises[0].exercise: exercise has no field \"titel\"; did you mean \"title\"?"},
        {"{\"session\":{\"status\":\"drafd\"}}",
         "session.status: \"drafd\" is not a value of session_status; did you mean \"draft\"?"},
        {"{\"session\":{\"owner\":\"me\"}}",
         "session.owner: must be a UUID such as 0190a3b1-7c00-7abc-8def-0123456789ab"},
        {"{\"session\":{\"duration\":-1}}", "session.duration: must be a whole number from 0 to 4294967295"},
        {"{\"session\":{\"scheduled_start\":\"2023-02-29T10:00:00Z\"}}",
         "session.scheduled_start: must be a time such as 2024-09-01T18:30:00Z"},
        {"{\"sequences\":{}}", "sequences: must be a list"},
        {"[]", "not JSON"},
        {"{\"mode\":\"merge\",}", "not JSON, line 1"},
        {"{\"zzzzzzzzzzz\":1}", "session_save_request has no field \"zzzzzzzzzzz\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        struct kap_session_save_request request;
        struct kap_error error = {0};
        cr_assert_eq(
            kap_json_parse(&kap_session_save_request_msg, kap_bytes_str(cases[i].text), &arena, &request, &error),
            KAP_INVALID);
        if (i == 7)
            cr_assert_str_eq(error.text, "must be an object: a session_save_request");
        else
            cr_assert(strncmp(error.text, cases[i].error, strlen(cases[i].error)) == 0, "%s", error.text);
        end();
    }
}

Test(json, times_of_every_day_of_nine_centuries_survive)
{
    for (int64_t day = -170000; day < 170000; day += 7) {
        char text[KAP_TIME_TEXT_BYTES];
        int64_t us = day * 86400000000 + 43210123456, back;
        cr_assert(kap_time_print(us, text));
        cr_assert(kap_time_parse(kap_bytes_str(text), &back), "%s", text);
        cr_assert_eq(back, us, "%s", text);
    }
    int64_t us;
    cr_assert(kap_time_parse(kap_bytes_str("2024-09-01T20:30:00.5+02:00"), &us));
    cr_assert_eq(us, 1725215400500000);
    cr_assert_not(kap_time_parse(kap_bytes_str("2024-09-01T20:30:00"), &us));
    cr_assert_not(kap_time_parse(kap_bytes_str("2024-13-01T20:30:00Z"), &us));
    cr_assert_not(kap_time_parse(kap_bytes_str("2024-09-01T20:30:00Zx"), &us));
    cr_assert_not(kap_time_print(INT64_MAX, (char[KAP_TIME_TEXT_BYTES]){0}));
}

Test(json, base64_of_every_length_survives)
{
    begin();
    uint8_t bytes[64];
    for (size_t len = 0; len < sizeof bytes; len++) {
        struct kap_buffer out;
        kap_buffer_init(&out, &memory);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)(i * 37 + len);
        kap_base64_print(kap_bytes(bytes, len), &out);
        struct kap_bytes back = kap_base64_parse(kap_buffer_bytes(&out), &arena);
        cr_assert_not_null(back.data);
        cr_assert(kap_bytes_eq(back, kap_bytes(bytes, len)));
        kap_buffer_deinit(&out);
    }
    cr_assert_null(kap_base64_parse(kap_bytes_str("A"), &arena).data);
    cr_assert_null(kap_base64_parse(kap_bytes_str("AB*D"), &arena).data);
    end();
}
