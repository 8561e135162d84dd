/* frame.h - frames out of a byte stream and into one. No I/O, no state: the stream is the caller's buffer.
 *
 * Ownership  meta and body point into the stream, or into the arena when the body was compressed.
 * Errors     see kap_frame_parse: which of them lose the framing, so that the connection must close, and which do not. */
#pragma once

#include "engine/base/arena.h"
#include "engine/base/status.h"
#include "proto/frame_format.h"

struct kap_frame {
    uint8_t kind; /* enum kap_frame_kind */
    uint16_t op;
    uint16_t flags; /* enum kap_frame_flag */
    uint16_t status;
    uint64_t request_id;
    struct kap_bytes meta, body; /* body without meta, unpacked */
};

struct kap_frame_limits {
    uint32_t body_bytes_max; /* as sent, meta included */
    uint32_t raw_bytes_max; /* unpacked */
};

/* Takes one frame from the front of the stream.
 *   KAP_OK          frame_out is filled; *used_out bytes belong to it
 *   KAP_PENDING     not all there; call again with at least *used_out bytes
 *   KAP_BAD_FRAME   magic, layout, header checksum, kind or flags are wrong: the framing is lost, close
 *   KAP_CHECKSUM    the body is damaged          } frame_out has the header, so that an answer is possible; the
 *   KAP_TOO_LARGE   larger than limits allow     } frame is *used_out bytes long, some of which may not have come
 *   KAP_DECODE      the LZ4 block is not one     } yet: skip them and go on, or close
 *   KAP_NO_MEMORY   the arena is full            } */
KAP_CHECKED kap_status kap_frame_parse(struct kap_bytes stream, const struct kap_frame_limits *limits,
                                       struct kap_arena *arena, struct kap_frame *frame_out, size_t *used_out);

enum kap_frame_build {
    KAP_FRAME_BUILD_SUM = 1, /* checksum the body: not under TLS */
    KAP_FRAME_BUILD_LZ4 = 2, /* compress if that saves an eighth; never for credentials */
};

/* Room that kap_frame_write needs for a frame with this much meta and body. */
size_t kap_frame_bytes_max(size_t meta_len, size_t body_len);
/* Writes the frame; returns its length. frame->flags: MORE, END, NO_REPLY; the others follow from meta and build. */
size_t kap_frame_write(const struct kap_frame *frame, unsigned build, uint8_t *out);
/* The same when meta and body already stand behind the header, at out + KAP_FRAME_HEADER_BYTES: frame->meta and body are
 * only read for their lengths, so a reply can be encoded in place. */
size_t kap_frame_seal(const struct kap_frame *frame, unsigned build, uint8_t *out);
