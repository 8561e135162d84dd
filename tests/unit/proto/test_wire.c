#include "tests/lib/test.h"

#include <stdlib.h>

#include "engine/base/buffer.h"
#include "engine/schema/descriptor.h"
#include "proto/kap_entities.h"
#include "proto/kap_requests.h"
#include "proto/kap_schema.h"
#include "proto/ops.h"
#include "proto/rights.h"
#include "proto/wire.h"

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

static struct kap_sys sys_whole(uint8_t seed)
{
    struct kap_sys sys = {.has_id = true,
                          .has_rev = true,
                          .rev = 7,
                          .has_created_at = true,
                          .created_at = -5,
                          .has_updated_at = true,
                          .updated_at = 6,
                          .has_created_by = true,
                          .has_updated_by = true,
                          .has_commit_seq = true,
                          .commit_seq = 9};
    memset(sys.id.bytes, seed, 16);
    return sys;
}

static struct kap_bytes encoded(const struct kap_msg *msg, const void *in)
{
    struct kap_bytes bytes = kap_wire_encode_in(msg, in, &arena);
    cr_assert_not_null(bytes.data);
    return bytes;
}

Test(wire, the_system_message_lies_where_the_engine_patches_it)
{
    begin();
    struct kap_sys sys = sys_whole(0xab);
    struct kap_tag tag = {.sys = &sys, .has_name = true, .name = kap_bytes_str("tir")};
    struct kap_bytes row = encoded(&kap_tag_msg, &tag);
    cr_assert_eq(row.len, KAP_SYS_BYTES + 5);
    cr_assert_eq(row.data[0], 0x0a);
    cr_assert_eq(row.data[1], KAP_SYS_BYTES - 2);
    cr_assert_eq(row.data[KAP_SYS_ID_AT], 0xab);
    cr_assert_eq(row.data[KAP_SYS_REV_AT], 7);
    cr_assert_eq(row.data[KAP_SYS_CREATED_AT_AT], 0xfb);
    cr_assert_eq(row.data[KAP_SYS_UPDATED_AT_AT], 6);
    cr_assert_eq(row.data[KAP_SYS_CREATED_BY_AT - 1], 16);
    cr_assert_eq(row.data[KAP_SYS_UPDATED_BY_AT - 1], 16);
    cr_assert_eq(row.data[KAP_SYS_COMMIT_SEQ_AT], 9);
    end();
}

static struct kap_session_save_request *sample_tree(void)
{
    static struct kap_session_save_request request;
    static struct kap_session session;
    static struct kap_sequence sequence;
    static struct kap_exercise exercise;
    static struct kap_variation variations[2];
    static struct kap_exercise_node exercise_node;
    static struct kap_sequence_node sequence_node;
    static struct kap_bytes steps[3];
    static uint32_t clear[3] = {5, 300, 70000};
    steps[0] = kap_bytes_str("un");
    steps[1] = kap_bytes_str("");
    steps[2] = kap_bytes_str("trois");
    session = (struct kap_session){.has_title = true,
                                   .title = kap_bytes_str("Relance \xc3\xa0 six"),
                                   .has_status = true,
                                   .status = KAP_SESSION_STATUS_DRAFT,
                                   .has_duration = true,
                                   .duration = 90};
    exercise = (struct kap_exercise){.has_title = true, .title = kap_bytes_str("Passe"), .n_steps = 3, .steps = steps};
    variations[0] = (struct kap_variation){.has_difficulty_delta = true, .difficulty_delta = -3};
    variations[1] = (struct kap_variation){.has_title = true, .title = kap_bytes_str("plus vite")};
    exercise_node = (struct kap_exercise_node){.exercise = &exercise, .n_variations = 2, .variations = variations};
    sequence_node = (struct kap_sequence_node){.sequence = &sequence, .n_exercises = 1, .exercises = &exercise_node};
    request = (struct kap_session_save_request){.session = &session,
                                                .n_sequences = 1,
                                                .sequences = &sequence_node,
                                                .has_expected_tree_rev = true,
                                                .expected_tree_rev = 12345,
                                                .n_clear = 3,
                                                .clear = clear};
    return &request;
}

Test(wire, a_tree_survives_the_round_trip_and_its_bytes_are_canonical)
{
    begin();
    struct kap_session_save_request *request = sample_tree(), back, copy;
    struct kap_bytes bytes = encoded(&kap_session_save_request_msg, request);
    cr_assert_eq(kap_wire_decode(&kap_session_save_request_msg, bytes, &arena, KAP_WIRE_CLIENT, &back, &faults),
                 KAP_OK);
    cr_assert(kap_wire_equal(&kap_session_save_request_msg, request, &back));
    cr_assert_eq(back.sequences[0].exercises[0].variations[0].difficulty_delta, -3);
    cr_assert(back.sequences[0].sequence != NULL);
    cr_assert_not(back.sequences[0].sequence->has_title);
    cr_assert_eq(kap_wire_copy(&kap_session_save_request_msg, &back, &arena, &copy), KAP_OK);
    cr_assert(kap_wire_equal(&kap_session_save_request_msg, &copy, &back));
    cr_assert(copy.session->title.data != back.session->title.data);
    copy.sequences[0].exercises[0].variations[1].title = kap_bytes_str("moins vite");
    cr_assert_not(kap_wire_equal(&kap_session_save_request_msg, &copy, &back));
    cr_assert(kap_bytes_eq(encoded(&kap_session_save_request_msg, &back), bytes));
    end();
}

Test(wire, every_truncation_is_refused_or_is_a_message_of_its_own)
{
    begin();
    struct kap_bytes whole = encoded(&kap_session_save_request_msg, sample_tree());
    for (size_t len = 0; len < whole.len; len++) {
        /* A copy of just this size, so that a sanitizer sees a read past the end. */
        uint8_t *cut = malloc(len + 1);
        struct kap_session_save_request back;
        memcpy(cut, whole.data, len);
        kap_status status = kap_wire_decode(&kap_session_save_request_msg, kap_bytes(cut, len), &arena, KAP_WIRE_CLIENT,
                                            &back, &faults);
        cr_assert(status == KAP_OK || status == KAP_DECODE);
        if (status == KAP_OK)
            cr_assert_eq(kap_wire_size(&kap_session_save_request_msg, &back), len);
        free(cut);
    }
    end();
}

Test(wire, clients_hear_of_unknown_fields_and_values_with_number_and_path)
{
    begin();
    /* sequences[0] {sequence {type: 77, field 99: 1}}, field 120: 5 */
    static const uint8_t bytes[] = {0x1a, 7, 0x0a, 5, 0x38, 77, 0x98, 6, 1, 0xc0, 7, 5};
    struct kap_session_save_request back;
    cr_assert_eq(kap_wire_decode(&kap_session_save_request_msg, kap_bytes(bytes, sizeof bytes), &arena, KAP_WIRE_CLIENT,
                                 &back, &faults),
                 KAP_INVALID);
    cr_assert_eq(faults.n, 3);
    cr_assert_str_eq(faults.at[0].path, "sequences[0].sequence.type");
    cr_assert_eq(faults.at[0].actual, 77);
    cr_assert_str_eq(faults.at[1].path, "sequences[0].sequence");
    cr_assert_str_eq(faults.at[1].code, "unknown_field");
    cr_assert_eq(faults.at[1].actual, 99);
    cr_assert_str_eq(faults.at[2].path, "");
    cr_assert_eq(faults.at[2].actual, 120);
    cr_assert_eq(kap_wire_decode(&kap_session_save_request_msg, kap_bytes(bytes, sizeof bytes), &arena, KAP_WIRE_STORED,
                                 &back, NULL),
                 KAP_OK);
    end();
}

Test(wire, stored_rows_keep_unknown_fields_through_a_partial_update)
{
    begin();
    /* name "a", field 100 varint 7, color "b", field 101 bytes "xy" */
    static const uint8_t bytes[] = {0x12, 1, 'a', 0xa0, 6, 7, 0x1a, 1, 'b', 0xaa, 6, 2, 'x', 'y'};
    static const uint8_t expected[] = {0x12, 1, 'z', 0x1a, 1, 'b', 0xa0, 6, 7, 0xaa, 6, 2, 'x', 'y'};
    struct kap_tag tag, patch = {.has_name = true, .name = kap_bytes_str("z")};
    cr_assert_eq(kap_wire_decode(&kap_tag_msg, kap_bytes(bytes, sizeof bytes), &arena, KAP_WIRE_STORED, &tag, NULL),
                 KAP_OK);
    kap_wire_merge(&kap_tag_msg, &tag, &patch);
    cr_assert(kap_bytes_eq(encoded(&kap_tag_msg, &tag), kap_bytes(expected, sizeof expected)));
    end();
}

Test(wire, later_values_win_and_pieces_of_a_message_merge)
{
    begin();
    /* hello.limits is message 8: {max_frame 1} {max_list 5}, {max_frame 2}; protocol 3 then 4 */
    static const uint8_t bytes[] = {0x10, 3, 0x42, 2, 8, 1, 0x42, 2, 0x28, 5, 0x10, 4, 0x42, 2, 8, 2};
    struct kap_hello_reply hello;
    cr_assert_eq(
        kap_wire_decode(&kap_hello_reply_msg, kap_bytes(bytes, sizeof bytes), &arena, KAP_WIRE_STORED, &hello, NULL),
        KAP_OK);
    cr_assert_eq(hello.protocol, 4);
    cr_assert_eq(hello.limits->max_frame, 2);
    cr_assert_eq(hello.limits->max_list, 5);
    end();
}

Test(wire, two_broken_pieces_do_not_make_a_whole)
{
    begin();
    /* snapshot twice: an unfinished tag, then bytes that would finish it; found by the oracle test */
    static const uint8_t bytes[] = {0x12, 3, 0x92, 0xf3, 0x8a, 0x12, 2, 0x12, 0};
    struct kap_snapshot_create_reply reply;
    cr_assert_eq(kap_wire_decode(&kap_snapshot_create_reply_msg, kap_bytes(bytes, sizeof bytes), &arena,
                                 KAP_WIRE_STORED, &reply, NULL),
                 KAP_CORRUPT);
    end();
}

Test(wire, lists_are_cut_at_their_limit_and_ids_must_have_16_bytes)
{
    begin();
    struct kap_buffer buffer;
    struct kap_session session;
    static const uint8_t tag[18] = {0x92, 1}; /* field 18, as two bytes of tag */
    kap_buffer_init(&buffer, &memory);
    for (int i = 0; i < 30; i++) {
        kap_buffer_append(&buffer, tag, 2);
        kap_buffer_append_u8(&buffer, i == 3 ? 15 : 16);
        kap_buffer_append(&buffer, tag, i == 3 ? 15 : 16);
    }
    cr_assert_eq(
        kap_wire_decode(&kap_session_msg, kap_buffer_bytes(&buffer), &arena, KAP_WIRE_CLIENT, &session, &faults),
        KAP_INVALID);
    cr_assert_eq(session.n_tags, 24);
    cr_assert_eq(faults.n, 2);
    cr_assert_str_eq(faults.at[0].code, "too_many");
    cr_assert_eq(faults.at[0].limit, 24);
    cr_assert_eq(faults.at[0].actual, 30);
    cr_assert_str_eq(faults.at[1].path, "tags[3]");
    kap_buffer_deinit(&buffer);
    end();
}

Test(wire, text_that_is_not_utf8_or_holds_control_characters_is_refused)
{
    static const struct {
        const char *text;
        kap_status status;
    } cases[] = {{"\xc3\xa9\n\tok", KAP_OK},       {"\xff", KAP_DECODE},
                 {"\xed\xa0\x80", KAP_DECODE},     {"\xc0\x80", KAP_DECODE},
                 {"\xf4\x90\x80\x80", KAP_DECODE}, {"a\x01", KAP_INVALID},
                 {"\xc2\x85", KAP_INVALID},        {"\x7f", KAP_INVALID},
                 {"12345678\xe2\x82", KAP_DECODE}, {"\xf0\x9f\x8f\x80", KAP_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        struct kap_tag tag = {.has_name = true, .name = kap_bytes_str(cases[i].text)}, back;
        struct kap_bytes bytes = encoded(&kap_tag_msg, &tag);
        kap_status status = kap_wire_decode(&kap_tag_msg, bytes, &arena, KAP_WIRE_CLIENT, &back, &faults);
        cr_assert_eq(status, cases[i].status, "case %zu: %s", i, kap_status_name(status));
        end();
    }
}

/* A message that holds itself, which none of ours does: only so can the limit be reached. */
struct nest {
    struct nest *inner;
};
static const struct kap_msg nest_msg;
static const struct kap_field_rules nest_rules;
static const struct kap_field nest_fields[] = {{.number = 1,
                                                .type = KAP_FIELD_MESSAGE,
                                                .item_size = sizeof(struct nest *),
                                                .value_at = offsetof(struct nest, inner),
                                                .msg = &nest_msg,
                                                .rules = &nest_rules,
                                                .name = "inner"}};
static const uint8_t nest_slots[] = {0, 1};
static const struct kap_msg nest_msg = {.name = "nest",
                                        .full_name = "kap.Nest",
                                        .size = sizeof(struct nest),
                                        .n_fields = 1,
                                        .max_number = 1,
                                        .needs_count = true,
                                        .fields = nest_fields,
                                        .slots = nest_slots};

Test(wire, sixteen_levels_are_read_and_the_seventeenth_is_refused)
{
    for (int levels = 16; levels <= 17; levels++) {
        begin();
        struct nest out;
        uint8_t bytes[64];
        size_t len = 0;
        for (int inner = levels - 2; inner >= 0; inner--) {
            bytes[len++] = 0x0a;
            bytes[len++] = (uint8_t)(inner * 2);
        }
        kap_status status = kap_wire_decode(&nest_msg, kap_bytes(bytes, len), &arena, KAP_WIRE_CLIENT, &out, &faults);
        cr_assert_eq(status, levels == 16 ? KAP_OK : KAP_DECODE, "%d levels: %s", levels, kap_status_name(status));
        if (levels == 17)
            cr_assert_str_eq(faults.at[0].code, "too_deep");
        end();
    }
}

static const struct kap_fault *decode_fault(struct kap_bytes bytes)
{
    struct kap_session_save_request back;
    faults.n = faults.n_total = 0;
    kap_status status = kap_wire_decode(&kap_session_save_request_msg, bytes, &arena, KAP_WIRE_CLIENT, &back, &faults);
    cr_assert_eq(status, KAP_DECODE, "%s", kap_status_name(status));
    cr_assert_eq(faults.n, 1);
    return &faults.at[0];
}

Test(wire, malformed_bytes_are_named_with_path_and_offset)
{
    begin();
    struct kap_session session = {.has_title = true, .title = kap_bytes_str("S")};
    struct kap_exercise exercise = {.has_title = true, .title = kap_bytes_str("1234567890\xff!")};
    struct kap_exercise_node exercises[] = {{.exercise = &exercise}};
    struct kap_sequence empty = {0};
    struct kap_sequence_node nodes[] = {
        {.sequence = &empty}, {.sequence = &empty}, {.sequence = &empty, .n_exercises = 1, .exercises = exercises}};
    struct kap_session_save_request request = {.session = &session, .n_sequences = 3, .sequences = nodes};
    struct kap_bytes bytes = encoded(&kap_session_save_request_msg, &request);
    const struct kap_fault *fault = decode_fault(bytes);
    cr_assert_str_eq(fault->path, "sequences[2].exercises[0].exercise.title");
    cr_assert_str_eq(fault->code, "bad_utf8");
    cr_assert_eq(fault->actual, (uint8_t *)memchr(bytes.data, 0xff, bytes.len) - bytes.data);

    static const uint8_t no_tag[] = {0x0a, 0x03, 0x22, 0x05, 'x'}; /* session, 3 bytes: title, 5 bytes */
    fault = decode_fault(kap_bytes(no_tag, sizeof no_tag));
    cr_assert_str_eq(fault->path, "session.title");
    cr_assert_str_eq(fault->code, "malformed");
    cr_assert_eq(fault->actual, 2);

    static const uint8_t packed[] = {0x3a, 0x02, 0x01, 0x80}; /* clear = 7, packed, the last number is cut */
    fault = decode_fault(kap_bytes(packed, sizeof packed));
    cr_assert_str_eq(fault->path, "clear");
    end();
}

Test(wire, what_the_server_sets_is_cleared_from_a_request)
{
    begin();
    struct kap_sys sys = sys_whole(1);
    struct kap_session session = {.sys = &sys, .has_validated_at = true, .has_title = true};
    struct kap_sequence_node node = {.sequence = NULL};
    struct kap_session_save_request request = {.session = &session, .n_sequences = 1, .sequences = &node};
    kap_wire_clear_output(&kap_session_save_request_msg, &request);
    cr_assert(session.sys == &sys, "a row inside a request is for its handler to clear");
    kap_wire_clear_output(&kap_session_msg, &session);
    cr_assert_null(session.sys);
    cr_assert_not(session.has_validated_at);
    cr_assert(session.has_title);
    cr_assert(kap_wire_clear_field(&kap_session_msg, &session, 4));
    cr_assert_not(session.has_title);
    cr_assert_not(kap_wire_clear_field(&kap_session_msg, &session, 24));
    end();
}

Test(tables, operations_kinds_and_rights_are_found)
{
    const struct kap_op_desc *save = kap_op_find_named(kap_bytes_str("session.save"));
    cr_assert_not_null(save);
    cr_assert_eq(save->op, KAP_OP_SESSION_SAVE);
    cr_assert(kap_op_find(KAP_OP_SESSION_SAVE) == save);
    cr_assert(save->request == &kap_session_save_request_msg && save->reply == &kap_session_save_reply_msg);
    cr_assert(save->roles & KAP_ROLE_BIT(KAP_ROLE_SERVICE));
    cr_assert_not(save->roles & KAP_ROLE_BIT(KAP_ROLE_VIEWER));
    cr_assert_null(kap_op_find(0));
    cr_assert_null(kap_op_find(65535));
    for (size_t i = 1; i < kap_n_ops; i++)
        cr_assert_lt(kap_ops[i - 1].op, kap_ops[i].op);
    cr_assert(kap_message_of_kind(KAP_KIND_SESSION) == &kap_session_msg);
    cr_assert_null(kap_message_of_kind(0));
    cr_assert_eq(kap_rights_of_kind(KAP_KIND_SESSION)->read[0].who, KAP_WHO_OWNER);
    cr_assert_str_eq(kap_schema.kinds[KAP_KIND_SESSION].name, "session");
    for (size_t i = 0; i < kap_schema.n_refs; i++) {
        const struct kap_ref_desc *ref = &kap_schema.refs[i];
        bool found = ref->on_delete == KAP_ON_DELETE_KEEP;
        for (size_t n = 0; n < kap_schema.n_indexes; n++)
            found |= kap_schema.indexes[n].id == ref->index;
        cr_assert(found, "kind %d field %d", ref->kind, ref->field);
    }
}
