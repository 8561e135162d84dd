/* pipe.c - requests without waiting for each: submit, flush, take replies as they come. */
#include <stdio.h>

#include "engine/base/assert.h"
#include "proto/clients/c/client_internal.h"
#include "proto/ops.h"
#include "proto/wire.h"

kap_status kap_pipe_open(struct kap_client *client, struct kap_pipe **pipe_out, struct kap_error *error)
{
    return client_take(client, pipe_out, error);
}

void kap_pipe_close(struct kap_pipe *pipe)
{
    client_give(pipe);
}

/* Larger than a frame: several with MORE. */
kap_status kap_pipe_submit(struct kap_pipe *pipe, uint16_t op, const struct kap_meta *meta, struct kap_bytes body,
                           uint64_t *request_id_out, struct kap_error *error)
{
    uint8_t meta_bytes[256];
    size_t meta_len = meta ? kap_wire_size(&kap_meta_msg, meta) : 0;
    if (pipe->fd < 0)
        return kap_error_set(error, KAP_UNREACHABLE, "the connection was lost");
    if (meta_len > sizeof meta_bytes)
        return kap_error_set(error, KAP_INVALID, "meta is larger than %zu bytes", sizeof meta_bytes);
    if (meta_len > 0)
        kap_wire_encode(&kap_meta_msg, meta, meta_bytes);
    uint64_t id = ++pipe->next_id;
    for (size_t at = 0;;) {
        size_t room = pipe->send_bytes_max - (at == 0 ? meta_len : 0), len = KAP_MIN(room, body.len - at);
        bool last = at + len == body.len;
        struct kap_frame frame = {.kind = KAP_FRAME_REQUEST,
                                  .op = op,
                                  .flags = last ? (at > 0 ? KAP_FRAME_END : 0) : KAP_FRAME_MORE,
                                  .request_id = id,
                                  .meta = kap_bytes(meta_bytes, at == 0 ? meta_len : 0),
                                  .body = kap_bytes(body.data + at, len)};
        kap_status status = link_frame(pipe, &frame, error);
        if (status != KAP_OK)
            return status;
        at += len;
        if (last)
            break;
    }
    pipe->in_flight++;
    *request_id_out = id;
    return KAP_OK;
}

/* A reply in MORE frames is put together, but for streams, whose frames are messages of their own. */
kap_status kap_pipe_next(struct kap_pipe *pipe, uint32_t timeout_ms, struct kap_pipe_reply *reply_out,
                         struct kap_error *error)
{
    for (;;) {
        struct kap_frame frame;
        kap_status status = link_read(pipe, timeout_ms, &frame, error);
        if (status != KAP_OK)
            return status;
        if (frame.kind != KAP_FRAME_REPLY)
            continue;
        if (frame.request_id == 0) { /* about the connection itself: it ends */
            kap_client_explain((kap_status)frame.status, frame.body, error);
            link_close(pipe);
            return KAP_UNREACHABLE;
        }
        bool more = (frame.flags & KAP_FRAME_MORE) != 0;
        const struct kap_op_desc *op = kap_op_find(frame.op);
        bool stream = op && op->stream;
        if (!stream) {
            status = reassembly_add(&pipe->replies, frame.request_id, more, frame.body, &frame.body);
            if (status == KAP_PENDING)
                continue;
            if (status != KAP_OK) { /* the rest of this reply would be taken for another */
                link_close(pipe);
                return kap_error_set(error, status, "a reply in several frames: %s", kap_status_sentence(status));
            }
        }
        pipe->in_flight -= !more && pipe->in_flight > 0;
        *reply_out = (struct kap_pipe_reply){.request_id = frame.request_id,
                                             .op = frame.op,
                                             .status = (kap_status)frame.status,
                                             .more = more,
                                             .body = frame.body};
        return KAP_OK;
    }
}

static kap_status control(struct kap_pipe *pipe, uint16_t op, const struct kap_msg *msg, const void *request,
                          struct kap_error *error)
{
    uint8_t body[64];
    size_t len = kap_wire_size(msg, request);
    KAP_ASSERT(len <= sizeof body);
    if (pipe->fd < 0)
        return kap_error_set(error, KAP_UNREACHABLE, "the connection was lost");
    kap_wire_encode(msg, request, body);
    struct kap_frame frame = {.kind = KAP_FRAME_CONTROL, .op = op, .body = kap_bytes(body, len)};
    return link_frame(pipe, &frame, error);
}

kap_status kap_pipe_cancel(struct kap_pipe *pipe, uint64_t request_id, struct kap_error *error)
{
    struct kap_cancel_request request = {.has_request_id = true, .request_id = request_id};
    return control(pipe, KAP_OP_CANCEL, &kap_cancel_request_msg, &request, error);
}

kap_status kap_pipe_credit(struct kap_pipe *pipe, uint64_t request_id, uint32_t bytes, struct kap_error *error)
{
    struct kap_credit_request request = {
        .has_request_id = true, .request_id = request_id, .has_bytes = true, .bytes = bytes};
    return control(pipe, KAP_OP_CREDIT, &kap_credit_request_msg, &request, error);
}

int kap_pipe_fd(const struct kap_pipe *pipe)
{
    return pipe->fd;
}

uint32_t kap_pipe_in_flight(const struct kap_pipe *pipe)
{
    return pipe->in_flight;
}
