#include "tests/lib/test.h"

#include "engine/base/arena.h"
#include "engine/base/buffer.h"
#include "engine/base/uuid.h"
#include "engine/base/varint.h"

Test(uuid, text_survives_a_round_trip_and_bad_text_is_refused)
{
    struct kap_id id, back;
    char text[KAP_UUID_TEXT_BYTES];
    cr_assert_eq(kap_uuid_parse(kap_bytes_str("0190A3b1-7c00-7abc-8def-0123456789ab"), &id), KAP_OK);
    kap_uuid_print(id, text);
    cr_assert_str_eq(text, "0190a3b1-7c00-7abc-8def-0123456789ab");
    cr_assert_eq(kap_uuid_parse(kap_bytes_str(text), &back), KAP_OK);
    cr_assert(kap_id_eq(id, back));
    cr_assert_eq(kap_uuid_parse(kap_bytes_str("0190a3b1-7c00-7abc-8def-0123456789a"), &back), KAP_INVALID);
    cr_assert_eq(kap_uuid_parse(kap_bytes_str("0190a3b1-7c00-7abc-8def-0123456789ag"), &back), KAP_INVALID);
    cr_assert_eq(kap_uuid_parse(kap_bytes_str("0190a3b1x7c00-7abc-8def-0123456789ab"), &back), KAP_INVALID);
}

Test(uuid, version_5_matches_the_rfc_vector)
{
    struct kap_id dns;
    char text[KAP_UUID_TEXT_BYTES];
    cr_assert_eq(kap_uuid_parse(kap_bytes_str("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), &dns), KAP_OK);
    kap_uuid_print(kap_uuid_v5(dns, kap_bytes_str("www.example.com")), text);
    cr_assert_str_eq(text, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
}

Test(uuid, version_7_sorts_by_time)
{
    uint8_t high[10], low[10];
    memset(high, 0xff, sizeof high);
    memset(low, 0, sizeof low);
    for (int64_t us = 1700000000000000; us < 1700000000002000; us += 7) {
        struct kap_id a = kap_uuid_v7(us, high);
        struct kap_id b = kap_uuid_v7(us + 7, low);
        cr_assert_lt(kap_id_cmp(a, b), 0);
    }
}

Test(varint, every_width_survives_and_cut_ones_are_refused)
{
    for (int bit = 0; bit < 64; bit++) {
        uint8_t bytes[KAP_VARINT_BYTES_MAX];
        uint64_t value = UINT64_MAX >> bit, back = 0;
        uint8_t *end = kap_varint_write(bytes, value);
        cr_assert_eq((size_t)(end - bytes), kap_varint_size(value));
        cr_assert_eq(kap_varint_read(bytes, end, &back), end);
        cr_assert_eq(back, value);
        cr_assert_null(kap_varint_read(bytes, end - 1, &back));
    }
    const uint8_t too_long[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    uint64_t unused;
    cr_assert_null(kap_varint_read(too_long, too_long + sizeof too_long, &unused));
}

Test(arena, gives_back_all_it_took_and_honours_its_cap)
{
    struct kap_memory memory = {0};
    struct kap_arena arena;
    kap_arena_init(&arena, &memory, 1024, 10000);
    for (int round = 0; round < 3; round++) {
        size_t pushed = 0;
        for (size_t bytes = 1; bytes < 600; bytes += 37) {
            uint8_t *p = kap_arena_push(&arena, bytes);
            if (!p)
                break;
            cr_assert_eq((uintptr_t)p % 16, 0u);
            for (size_t i = 0; i < bytes; i++)
                cr_assert_eq(p[i], 0);
            memset(p, 0xaa, bytes);
            pushed += bytes;
        }
        cr_assert_gt(pushed, 3000u);
        cr_assert_null(kap_arena_push(&arena, 20000));
        cr_assert_not_null(kap_arena_printf(&arena, "%d", round));
        kap_arena_reset(&arena);
        cr_assert_leq(arena.used_bytes, 1024u);
    }
    kap_arena_deinit(&arena);
    cr_assert_eq(kap_memory_used(&memory), 0u);
}

Test(buffer, reports_a_refused_allocation_once_at_the_end)
{
    struct kap_memory memory = {.budget_bytes = 600};
    struct kap_buffer buffer;
    kap_buffer_init(&buffer, &memory);
    for (int i = 0; i < 200; i++)
        kap_buffer_printf(&buffer, "%d,", i);
    cr_assert(buffer.failed);
    cr_assert_leq(buffer.len, 600u);
    kap_buffer_deinit(&buffer);
    cr_assert_eq(kap_memory_used(&memory), 0u);
}
