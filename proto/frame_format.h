/* frame_format.h - what travels on a connection: a 32-byte header, then the body. Little-endian. */
#pragma once

#include <stddef.h>

#include "engine/base/le.h"

/* One frame.
 *  offset size field       meaning
 *       0    2 magic       0x504b, "KP" as the bytes 4b 50: another protocol shows at once
 *       2    1 layout      1; the rest of this table holds for layout 1 only
 *       3    1 kind        enum kap_frame_kind
 *       4    2 op          request type (numbers.proto, enum Op); a reply echoes it
 *       6    2 flags       enum kap_frame_flag; an unknown bit is an error
 *       8    4 body_len    bytes after the header, meta included; at most what hello agreed on
 *      12    2 meta_len    length of the Meta message at the start of the body; not 0 exactly when META is set
 *      14    2 status      of a reply: 0, or the code of the ErrorReply that is its body; else 0
 *      16    8 request_id  chosen by the client, unique while open; 0: the connection itself
 *      24    4 body_sum    with BODY_SUM: low half of XXH3-64 of the body as sent, seed request_id; else 0
 *      28    4 head_sum    low half of XXH3-64 of bytes 0 .. 27, seed 0; checked before body_len is believed
 * Body: the Meta message (meta_len bytes, never compressed), then the message of the op; with LZ4 that message is a
 * 4-byte length and one LZ4 block which unpacks to exactly that many bytes. */
struct kap_frame_header {
    kap_le16 magic;
    uint8_t layout, kind;
    kap_le16 op, flags;
    kap_le32 body_len;
    kap_le16 meta_len, status;
    kap_le64 request_id;
    kap_le32 body_sum, head_sum;
};
_Static_assert(sizeof(struct kap_frame_header) == 32, "kap_frame_header: size");
_Static_assert(offsetof(struct kap_frame_header, op) == 4, "kap_frame_header: op");
_Static_assert(offsetof(struct kap_frame_header, body_len) == 8, "kap_frame_header: body_len");
_Static_assert(offsetof(struct kap_frame_header, meta_len) == 12, "kap_frame_header: meta_len");
_Static_assert(offsetof(struct kap_frame_header, request_id) == 16, "kap_frame_header: request_id");
_Static_assert(offsetof(struct kap_frame_header, body_sum) == 24, "kap_frame_header: body_sum");
_Static_assert(offsetof(struct kap_frame_header, head_sum) == 28, "kap_frame_header: head_sum");

enum kap_frame_kind {
    KAP_FRAME_REQUEST = 1,
    KAP_FRAME_REPLY = 2,
    KAP_FRAME_PUSH = 3,
    KAP_FRAME_DATA = 4, /* chunk of a stream */
    KAP_FRAME_CONTROL = 5,
};

enum kap_frame_flag {
    KAP_FRAME_LZ4 = 1,
    KAP_FRAME_MORE = 2, /* further frames with this id follow */
    KAP_FRAME_END = 4, /* the last of them */
    KAP_FRAME_BODY_SUM = 8,
    KAP_FRAME_NO_REPLY = 16,
    KAP_FRAME_META = 32,
    KAP_FRAME_FLAGS = 63,
};

enum {
    KAP_FRAME_MAGIC = 0x504b,
    KAP_FRAME_LAYOUT = 1,
    KAP_FRAME_HEADER_BYTES = 32,
    KAP_FRAME_LZ4_LENGTH_BYTES = 4,
    KAP_FRAME_LZ4_BODY_BYTES_MIN = 512, /* shorter bodies are not worth it */
    KAP_FRAME_BODY_BYTES_DEFAULT = 1 << 20,
    KAP_FRAME_BODY_BYTES_MAX = 16 << 20,
};
