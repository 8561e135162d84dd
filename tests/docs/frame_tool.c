/* frame_tool - kap_frame_write and kap_frame_parse behind standard input, for the examples of docs/protocol.md.
 *
 * Request: u8 kind, u8 0, u16 op, u16 flags, u16 status, u64 request_id, u32 meta_len, u32 body_len, meta, body.
 * Reply:   u32 length, the frame; read back before it is given. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/le.h"
#include "proto/frame.h"

static struct kap_memory memory;

static bool read_exactly(void *to, size_t len)
{
    return fread(to, 1, len, stdin) == len;
}

static bool reads_back(const struct kap_frame *frame, struct kap_bytes written)
{
    const struct kap_frame_limits limits = {.body_bytes_max = 1 << 20, .raw_bytes_max = 1 << 20};
    struct kap_frame back;
    struct kap_arena arena;
    size_t used;
    kap_arena_init(&arena, &memory, 1 << 16, 0);
    kap_status status = kap_frame_parse(written, &limits, &arena, &back, &used);
    bool same = status == KAP_OK && used == written.len && back.kind == frame->kind && back.op == frame->op &&
                back.status == frame->status && back.request_id == frame->request_id &&
                kap_bytes_eq(back.meta, frame->meta) && kap_bytes_eq(back.body, frame->body);
    kap_arena_deinit(&arena);
    return same;
}

int main(void)
{
    uint8_t head[24];
    while (read_exactly(head, sizeof head)) {
        size_t meta_len = kap_le32_load(head + 16), body_len = kap_le32_load(head + 20);
        uint8_t *in = malloc(meta_len + body_len + 1);
        uint8_t *out = malloc(kap_frame_bytes_max(meta_len, body_len));
        if (!in || !out || !read_exactly(in, meta_len + body_len))
            return 1;
        struct kap_frame frame = {.kind = head[0],
                                  .op = kap_le16_load(head + 2),
                                  .flags = kap_le16_load(head + 4),
                                  .status = kap_le16_load(head + 6),
                                  .request_id = kap_le64_load(head + 8),
                                  .meta = kap_bytes(in, meta_len),
                                  .body = kap_bytes(in + meta_len, body_len)};
        size_t len = kap_frame_write(&frame, KAP_FRAME_BUILD_SUM, out);
        uint8_t length[4];
        kap_le32_store(length, (uint32_t)len);
        if (!reads_back(&frame, kap_bytes(out, len)))
            return 1;
        fwrite(length, 1, sizeof length, stdout);
        fwrite(out, 1, len, stdout);
        fflush(stdout);
        free(in);
        free(out);
    }
    return 0;
}
