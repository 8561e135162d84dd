#include "tests/lib/test.h"

#include <stdlib.h>

#include "engine/base/checksum.h"
#include "proto/frame.h"

static struct kap_memory memory;
static struct kap_arena arena;
static const struct kap_frame_limits limits = {.body_bytes_max = 4096, .raw_bytes_max = 8192};

static void begin(void)
{
    kap_arena_init(&arena, &memory, 65536, 0);
}

static void end(void)
{
    kap_arena_deinit(&arena);
    cr_assert_eq(kap_memory_used(&memory), 0);
}

static struct kap_frame sample(struct kap_bytes body)
{
    return (struct kap_frame){.kind = KAP_FRAME_REQUEST,
                              .op = 401,
                              .flags = KAP_FRAME_END,
                              .request_id = 77,
                              .meta = kap_bytes("meta!", 5),
                              .body = body};
}

static bool same(const struct kap_frame *a, const struct kap_frame *b)
{
    return a->kind == b->kind && a->op == b->op && a->status == b->status && a->request_id == b->request_id &&
           kap_bytes_eq(a->meta, b->meta) && kap_bytes_eq(a->body, b->body);
}

/* A header whose checksum fits what was changed in it. */
static void seal_again(uint8_t *frame)
{
    kap_le32_store(frame + 28, (uint32_t)kap_checksum(frame, 28, 0));
}

Test(frame, every_split_of_the_stream_gives_the_same_frames)
{
    begin();
    uint8_t stream[2048];
    char text[900];
    memset(text, 'a', sizeof text);
    struct kap_frame first = sample(kap_bytes("body", 4)), second = sample(kap_bytes(text, sizeof text));
    second.meta = kap_bytes(NULL, 0);
    size_t len = kap_frame_write(&first, KAP_FRAME_BUILD_SUM, stream);
    len += kap_frame_write(&second, KAP_FRAME_BUILD_SUM | KAP_FRAME_BUILD_LZ4, stream + len);
    cr_assert_lt(len, 300, "the second body packs well");
    for (size_t split = 0; split <= len; split++) {
        size_t have = split, at = 0, used, found = 0;
        /* First what has come, in memory of just that size; then the rest. */
        for (int round = 0; round < 2; round++, have = len) {
            uint8_t *exact = malloc(have - at + 1);
            struct kap_frame frame;
            memcpy(exact, stream + at, have - at);
            size_t from = at;
            kap_status status;
            while ((status = kap_frame_parse(kap_bytes(exact + (at - from), have - at), &limits, &arena, &frame,
                                             &used)) == KAP_OK) {
                cr_assert(same(&frame, found == 0 ? &first : &second));
                found++;
                at += used;
            }
            cr_assert_eq(status, KAP_PENDING);
            cr_assert(used > have - at);
            free(exact);
        }
        cr_assert_eq(found, 2);
        cr_assert_eq(at, len);
    }
    end();
}

Test(frame, one_byte_wrong_anywhere_is_seen)
{
    begin();
    uint8_t stream[256];
    struct kap_frame frame = sample(kap_bytes("some body of some length", 24)), back;
    size_t len = kap_frame_write(&frame, KAP_FRAME_BUILD_SUM, stream), used;
    for (size_t i = 0; i < len; i++) {
        stream[i] ^= 0x10;
        kap_status status = kap_frame_parse(kap_bytes(stream, len), &limits, &arena, &back, &used);
        cr_assert_eq(status, i < 32 ? KAP_BAD_FRAME : KAP_CHECKSUM, "byte %zu: %s", i, kap_status_name(status));
        if (i >= 32) {
            cr_assert_eq(used, len);
            cr_assert_eq(back.request_id, 77);
        }
        stream[i] ^= 0x10;
    }
    /* The right body under another request id does not pass either. */
    kap_le64_store(stream + 16, 78);
    seal_again(stream);
    cr_assert_eq(kap_frame_parse(kap_bytes(stream, len), &limits, &arena, &back, &used), KAP_CHECKSUM);
    end();
}

Test(frame, another_protocol_is_told_at_its_first_bytes)
{
    struct kap_frame frame;
    size_t used;
    cr_assert_eq(kap_frame_parse(kap_bytes("", 0), &limits, &arena, &frame, &used), KAP_PENDING);
    cr_assert_eq(used, 32);
    cr_assert_eq(kap_frame_parse(kap_bytes("G", 1), &limits, &arena, &frame, &used), KAP_BAD_FRAME);
    cr_assert_eq(kap_frame_parse(kap_bytes("K", 1), &limits, &arena, &frame, &used), KAP_PENDING);
    cr_assert_eq(kap_frame_parse(kap_bytes("KP\x02", 3), &limits, &arena, &frame, &used), KAP_BAD_FRAME);
}

Test(frame, headers_that_contradict_themselves_are_refused)
{
    static const struct {
        size_t at;
        uint16_t value;
    } cases[] = {{6, 64 | 32}, {6, 0}, {6, 32768}, {12, 0}, {12, 500}, {24, 1}};
    uint8_t stream[256];
    struct kap_frame frame = sample(kap_bytes("x", 1)), back;
    size_t used, len = kap_frame_write(&frame, 0, stream);
    begin();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t copy[256];
        memcpy(copy, stream, len);
        kap_le16_store(copy + cases[i].at, cases[i].value);
        seal_again(copy);
        cr_assert_eq(kap_frame_parse(kap_bytes(copy, len), &limits, &arena, &back, &used), KAP_BAD_FRAME, "case %zu",
                     i);
    }
    for (int kind = 0; kind < 256; kind++) {
        stream[3] = (uint8_t)kind;
        seal_again(stream);
        cr_assert_eq(kap_frame_parse(kap_bytes(stream, len), &limits, &arena, &back, &used),
                     kind >= 1 && kind <= 5 ? KAP_OK : KAP_BAD_FRAME);
    }
    end();
}

Test(frame, lengths_over_the_limit_are_refused_before_the_body_comes)
{
    begin();
    static uint8_t body[5000];
    uint8_t *stream = malloc(kap_frame_bytes_max(5, sizeof body));
    struct kap_frame frame = sample(kap_bytes(body, sizeof body)), back;
    size_t used, len = kap_frame_write(&frame, KAP_FRAME_BUILD_SUM, stream);
    cr_assert_eq(kap_frame_parse(kap_bytes(stream, 32), &limits, &arena, &back, &used), KAP_TOO_LARGE);
    cr_assert_eq(used, len);
    cr_assert_eq(back.op, 401);
    free(stream);
    end();
}

Test(frame, compressed_bodies_cannot_lie_about_their_length)
{
    begin();
    static uint8_t body[8000], stream[9000];
    struct kap_frame frame = sample(kap_bytes(body, sizeof body)), back;
    size_t used, len = kap_frame_write(&frame, KAP_FRAME_BUILD_LZ4, stream);
    cr_assert_eq(kap_frame_parse(kap_bytes(stream, len), &limits, &arena, &back, &used), KAP_OK);
    cr_assert(same(&frame, &back));
    kap_le32_store(stream + 37, 8193);
    cr_assert_eq(kap_frame_parse(kap_bytes(stream, len), &limits, &arena, &back, &used), KAP_TOO_LARGE);
    kap_le32_store(stream + 37, 7999);
    cr_assert_eq(kap_frame_parse(kap_bytes(stream, len), &limits, &arena, &back, &used), KAP_DECODE);
    kap_le32_store(stream + 37, 8001);
    cr_assert_eq(kap_frame_parse(kap_bytes(stream, len), &limits, &arena, &back, &used), KAP_DECODE);
    kap_le32_store(stream + 8, 5 + 3);
    seal_again(stream);
    cr_assert_eq(kap_frame_parse(kap_bytes(stream, len), &limits, &arena, &back, &used), KAP_DECODE);
    end();
}

Test(frame, what_does_not_compress_is_sent_as_it_is)
{
    begin();
    static uint8_t noise[4000], stream[5000], sealed[5000];
    uint32_t state = 12345;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)((state = state * 1664525 + 1013904223) >> 24);
    struct kap_frame frame = sample(kap_bytes(noise, sizeof noise)), back;
    size_t used, len = kap_frame_write(&frame, KAP_FRAME_BUILD_LZ4 | KAP_FRAME_BUILD_SUM, stream);
    cr_assert_eq(len, kap_frame_bytes_max(5, sizeof noise));
    cr_assert_eq(kap_frame_parse(kap_bytes(stream, len), &limits, &arena, &back, &used), KAP_OK);
    cr_assert_not(back.flags & KAP_FRAME_LZ4);
    /* Encoded in place, then sealed: the same bytes. */
    memcpy(sealed + 32, "meta!", 5);
    memcpy(sealed + 37, noise, sizeof noise);
    cr_assert_eq(kap_frame_seal(&frame, KAP_FRAME_BUILD_SUM, sealed), len);
    cr_assert_eq(memcmp(sealed, stream, len), 0);
    end();
}
