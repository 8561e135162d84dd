#include "tests/lib/test.h"

#include "proto/clients/c/reassembly.h"

static struct kap_bytes text(const char *at)
{
    return kap_bytes_str(at);
}

Test(reassembly, gives_a_single_frame_as_it_is)
{
    struct kap_memory memory = {0};
    struct reassembly replies;
    struct kap_bytes whole, frame = text("alone");
    reassembly_init(&replies, &memory, 100);
    cr_assert_eq(reassembly_add(&replies, 1, false, frame, &whole), KAP_OK);
    cr_assert(whole.data == frame.data);
    reassembly_deinit(&replies);
    cr_assert_eq(kap_memory_used(&memory), 0u);
}

Test(reassembly, keeps_alternating_replies_apart)
{
    struct kap_memory memory = {0};
    struct reassembly replies;
    struct kap_bytes whole;
    reassembly_init(&replies, &memory, 100);
    cr_assert_eq(reassembly_add(&replies, 1, true, text("ab"), &whole), KAP_PENDING);
    cr_assert_eq(reassembly_add(&replies, 2, true, text("12"), &whole), KAP_PENDING);
    cr_assert_eq(reassembly_add(&replies, 3, false, text("between"), &whole), KAP_OK);
    cr_assert_eq(reassembly_add(&replies, 1, true, text("cd"), &whole), KAP_PENDING);
    cr_assert_eq(reassembly_add(&replies, 2, false, text("34"), &whole), KAP_OK);
    cr_assert(kap_bytes_eq(whole, text("1234")));
    cr_assert_eq(reassembly_add(&replies, 1, false, text(""), &whole), KAP_OK);
    cr_assert(kap_bytes_eq(whole, text("abcd")));
    cr_assert_eq(replies.bytes, 0u);
    reassembly_deinit(&replies);
    cr_assert_eq(kap_memory_used(&memory), 0u);
}

Test(reassembly, refuses_more_than_its_limit_and_forgets_at_clear)
{
    struct kap_memory memory = {0};
    struct reassembly replies;
    struct kap_bytes whole;
    reassembly_init(&replies, &memory, 5);
    cr_assert_eq(reassembly_add(&replies, 1, true, text("abc"), &whole), KAP_PENDING);
    cr_assert_eq(reassembly_add(&replies, 2, true, text("def"), &whole), KAP_TOO_LARGE);
    reassembly_clear(&replies);
    cr_assert_eq(reassembly_add(&replies, 1, false, text("new"), &whole), KAP_OK);
    cr_assert(kap_bytes_eq(whole, text("new")));
    reassembly_deinit(&replies);
    cr_assert_eq(kap_memory_used(&memory), 0u);
}

static int refuse_all(void *context, size_t bytes)
{
    (void)context;
    (void)bytes;
    return 0;
}

Test(reassembly, says_when_there_is_no_memory)
{
    struct kap_memory memory = {.allow = refuse_all};
    struct reassembly replies;
    struct kap_bytes whole;
    reassembly_init(&replies, &memory, 100);
    cr_assert_eq(reassembly_add(&replies, 1, true, text("abc"), &whole), KAP_NO_MEMORY);
    reassembly_deinit(&replies);
}
