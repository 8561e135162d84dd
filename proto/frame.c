#include "proto/frame.h"

#include <lz4.h>

#include "engine/base/assert.h"
#include "engine/base/checksum.h"

static uint32_t head_sum(const struct kap_frame_header *header)
{
    return (uint32_t)kap_checksum(header, offsetof(struct kap_frame_header, head_sum), 0);
}

static uint32_t body_sum(const uint8_t *body, size_t len, uint64_t request_id)
{
    return (uint32_t)kap_checksum(body, len, request_id);
}

/* Another protocol is told at the first bytes, before 32 of them have come. */
static bool starts_like_a_frame(struct kap_bytes stream)
{
    static const uint8_t start[3] = {KAP_FRAME_MAGIC & 0xff, KAP_FRAME_MAGIC >> 8, KAP_FRAME_LAYOUT};
    return memcmp(stream.data, start, KAP_MIN(stream.len, sizeof start)) == 0;
}

static bool header_is_sound(const struct kap_frame_header *header)
{
    uint16_t flags = kap_le16_get(header->flags), meta_len = kap_le16_get(header->meta_len);
    return header->kind >= KAP_FRAME_REQUEST && header->kind <= KAP_FRAME_CONTROL && (flags & ~KAP_FRAME_FLAGS) == 0 &&
           (flags & KAP_FRAME_META) == (meta_len ? KAP_FRAME_META : 0) && meta_len <= kap_le32_get(header->body_len) &&
           (flags & KAP_FRAME_BODY_SUM || kap_le32_get(header->body_sum) == 0);
}

static kap_status body_unpack(const struct kap_frame_limits *limits, struct kap_arena *arena, struct kap_bytes *body)
{
    if (body->len < KAP_FRAME_LZ4_LENGTH_BYTES)
        return KAP_DECODE;
    uint32_t raw_len = kap_le32_load(body->data);
    if (raw_len > limits->raw_bytes_max)
        return KAP_TOO_LARGE;
    uint8_t *raw = kap_arena_push_bytes(arena, raw_len + 1);
    if (!raw)
        return KAP_NO_MEMORY;
    int len = LZ4_decompress_safe((const char *)body->data + KAP_FRAME_LZ4_LENGTH_BYTES, (char *)raw,
                                  (int)(body->len - KAP_FRAME_LZ4_LENGTH_BYTES), (int)raw_len);
    if (len < 0 || (uint32_t)len != raw_len)
        return KAP_DECODE;
    *body = kap_bytes(raw, raw_len);
    return KAP_OK;
}

kap_status kap_frame_parse(struct kap_bytes stream, const struct kap_frame_limits *limits, struct kap_arena *arena,
                           struct kap_frame *frame_out, size_t *used_out)
{
    struct kap_frame_header header;
    KAP_ASSERT(limits->body_bytes_max <= KAP_FRAME_BODY_BYTES_MAX && limits->raw_bytes_max <= INT32_MAX);
    *used_out = KAP_FRAME_HEADER_BYTES;
    if (stream.len > 0 && !starts_like_a_frame(stream))
        return KAP_BAD_FRAME;
    if (stream.len < KAP_FRAME_HEADER_BYTES)
        return KAP_PENDING;
    memcpy(&header, stream.data, sizeof header);
    if (kap_le32_get(header.head_sum) != head_sum(&header) || !header_is_sound(&header))
        return KAP_BAD_FRAME;
    uint32_t body_len = kap_le32_get(header.body_len);
    uint16_t meta_len = kap_le16_get(header.meta_len);
    *used_out = KAP_FRAME_HEADER_BYTES + (size_t)body_len;
    *frame_out = (struct kap_frame){.kind = header.kind,
                                    .op = kap_le16_get(header.op),
                                    .flags = kap_le16_get(header.flags),
                                    .status = kap_le16_get(header.status),
                                    .request_id = kap_le64_get(header.request_id)};
    if (body_len > limits->body_bytes_max)
        return KAP_TOO_LARGE;
    if (stream.len < *used_out)
        return KAP_PENDING;
    const uint8_t *body = stream.data + KAP_FRAME_HEADER_BYTES;
    if (frame_out->flags & KAP_FRAME_BODY_SUM &&
        kap_le32_get(header.body_sum) != body_sum(body, body_len, frame_out->request_id))
        return KAP_CHECKSUM;
    frame_out->meta = kap_bytes(body, meta_len);
    struct kap_bytes message = kap_bytes(body + meta_len, body_len - meta_len);
    if (frame_out->flags & KAP_FRAME_LZ4) {
        kap_status status = body_unpack(limits, arena, &message);
        if (status != KAP_OK)
            return status;
    }
    frame_out->body = message;
    return KAP_OK;
}

size_t kap_frame_bytes_max(size_t meta_len, size_t body_len)
{
    return KAP_FRAME_HEADER_BYTES + meta_len + body_len;
}

/* Compresses the body at `to` (where `from` may not be); 0 when that saves less than an eighth. */
static size_t body_pack(struct kap_bytes from, uint8_t *to)
{
    if (from.len < KAP_FRAME_LZ4_BODY_BYTES_MIN || from.len > KAP_FRAME_BODY_BYTES_MAX)
        return 0;
    int room = (int)(from.len - from.len / 8) - KAP_FRAME_LZ4_LENGTH_BYTES;
    int len =
        LZ4_compress_default((const char *)from.data, (char *)to + KAP_FRAME_LZ4_LENGTH_BYTES, (int)from.len, room);
    if (len <= 0)
        return 0;
    kap_le32_store(to, (uint32_t)from.len);
    return (size_t)len + KAP_FRAME_LZ4_LENGTH_BYTES;
}

/* The header over what already stands behind it. */
static size_t header_write(const struct kap_frame *frame, uint16_t flags, size_t body_len, unsigned build, uint8_t *out)
{
    const uint8_t *body = out + KAP_FRAME_HEADER_BYTES;
    KAP_ASSERT(frame->meta.len <= UINT16_MAX && body_len <= KAP_FRAME_BODY_BYTES_MAX);
    flags |= frame->flags & (KAP_FRAME_MORE | KAP_FRAME_END | KAP_FRAME_NO_REPLY);
    flags |= frame->meta.len ? KAP_FRAME_META : 0;
    flags |= build & KAP_FRAME_BUILD_SUM ? KAP_FRAME_BODY_SUM : 0;
    struct kap_frame_header header = {
        .magic = kap_le16_of(KAP_FRAME_MAGIC),
        .layout = KAP_FRAME_LAYOUT,
        .kind = frame->kind,
        .op = kap_le16_of(frame->op),
        .flags = kap_le16_of(flags),
        .body_len = kap_le32_of((uint32_t)body_len),
        .meta_len = kap_le16_of((uint16_t)frame->meta.len),
        .status = kap_le16_of(frame->status),
        .request_id = kap_le64_of(frame->request_id),
    };
    if (build & KAP_FRAME_BUILD_SUM)
        header.body_sum = kap_le32_of(body_sum(body, body_len, frame->request_id));
    header.head_sum = kap_le32_of(head_sum(&header));
    memcpy(out, &header, sizeof header);
    return KAP_FRAME_HEADER_BYTES + body_len;
}

size_t kap_frame_seal(const struct kap_frame *frame, unsigned build, uint8_t *out)
{
    return header_write(frame, 0, frame->meta.len + frame->body.len, build, out);
}

size_t kap_frame_write(const struct kap_frame *frame, unsigned build, uint8_t *out)
{
    uint8_t *at = out + KAP_FRAME_HEADER_BYTES;
    if (frame->meta.len > 0)
        memcpy(at, frame->meta.data, frame->meta.len);
    at += frame->meta.len;
    size_t packed = build & KAP_FRAME_BUILD_LZ4 ? body_pack(frame->body, at) : 0;
    if (packed > 0)
        return header_write(frame, KAP_FRAME_LZ4, frame->meta.len + packed, build, out);
    if (frame->body.len > 0)
        memcpy(at, frame->body.data, frame->body.len);
    return header_write(frame, 0, frame->meta.len + frame->body.len, build, out);
}
