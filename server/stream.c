/* stream.c - a blob read in chunks, as its receiver grants credit.
 *
 * Every chunk is a call of its own for the next part of the range, so nothing is held while the client does not read and
 * the right to read is asked each time. The streams of a connection take turns, one chunk each. */
#include <stdio.h>

#include "engine/base/assert.h"
#include "proto/wire.h"
#include "server/connection_internal.h"

kap_status stream_begin(struct request *request, struct kap_bytes body)
{
    struct kap_connection *connection = request->connection;
    struct kap_blob_read_request read;
    struct kap_faults faults;
    kap_faults_init(&faults, &connection->pool->scratch);
    kap_status status =
        kap_wire_decode(&kap_blob_read_request_msg, body, &connection->pool->scratch, KAP_WIRE_CLIENT, &read, &faults);
    if (status != KAP_OK || !read.has_hash || read.hash.len != sizeof request->stream.hash)
        return KAP_INVALID; /* the service will say what is wrong with it */
    if (connection->n_streams == CONNECTION_STREAMS_MAX) {
        connection_error(connection, request->op, request->id, KAP_OVERLOADED,
                         "a connection may have 32 streams open; wait for one to end");
        request_end(request);
        return KAP_OK;
    }
    uint64_t offset = read.has_offset ? read.offset : 0;
    uint64_t end = read.has_length && read.length < UINT64_MAX - offset ? offset + read.length : UINT64_MAX;
    request->stream =
        (struct request_stream){.on = true, .next = offset, .end = end, .credit = CONNECTION_STREAM_CREDIT};
    memcpy(request->stream.hash, read.hash.data, sizeof request->stream.hash);
    connection->n_streams++;
    request->state = REQUEST_CHUNK_DUE;
    kap_list_push_back(&connection->streams, &request->link);
    stream_run(connection);
    return KAP_OK;
}

static void chunk_start(struct request *request)
{
    struct kap_connection *connection = request->connection;
    struct request_stream *stream = &request->stream;
    struct kap_call *call = &request->call;
    struct kap_meta meta = call->meta;
    uint64_t length = KAP_MIN(stream->end - stream->next, (uint64_t)CONNECTION_STREAM_CHUNK);
    struct kap_blob_read_request read = {.has_hash = true,
                                         .hash = kap_bytes(stream->hash, sizeof stream->hash),
                                         .has_offset = true,
                                         .offset = stream->next,
                                         .has_length = true,
                                         .length = KAP_MIN(length, (uint64_t)stream->credit)};
    size_t size = kap_wire_size(&kap_blob_read_request_msg, &read);
    connection->request_bytes -= request->body.len;
    request->body.len = request->meta_len; /* meta stays where it is: it points there */
    KAP_ASSERT(request->body.cap - request->body.len >= size); /* REQUEST_CHUNK_ROOM */
    kap_wire_encode(&kap_blob_read_request_msg, &read, request->body.data + request->meta_len);
    request->body.len += size;
    connection->request_bytes += request->body.len;
    kap_call_reset(call);
    call->op = request->op;
    call->body = kap_bytes(request->body.data + request->meta_len, size);
    call->meta = meta;
    call->principal = connection->principal;
    request->state = REQUEST_RUNNING;
    kap_list_remove(&request->link);
    kap_service_start(connection->pool->service, call);
}

/* One frame per chunk; an error may come after data. */
void stream_chunk_done(struct request *request, kap_status status)
{
    struct kap_connection *connection = request->connection;
    struct request_stream *stream = &request->stream;
    struct kap_call *call = &request->call;
    struct kap_blob_read_reply reply;
    if (status == KAP_OK &&
        kap_wire_decode(&kap_blob_read_reply_msg, call->reply, &call->arena, KAP_WIRE_STORED, &reply, NULL) != KAP_OK)
        status = KAP_INTERNAL;
    bool last = true;
    if (status == KAP_OK) {
        stream->end = KAP_MIN(stream->end, reply.size);
        stream->next += reply.data.len;
        stream->credit -= (int64_t)reply.data.len;
        last = stream->next >= stream->end || reply.data.len == 0;
    }
    struct kap_frame frame = {.kind = KAP_FRAME_REPLY,
                              .op = request->op,
                              .flags = last ? KAP_FRAME_END : KAP_FRAME_MORE,
                              .status = (uint16_t)status,
                              .request_id = request->id,
                              .body = call->reply};
    connection_frame(connection, &frame, KAP_FRAME_BUILD_SUM); /* media is compressed already */
    if (last) {
        request_end(request);
        return;
    }
    if (stream->ended) { /* cancelled while this chunk was past the point of return */
        connection_error(connection, request->op, request->id, KAP_CANCELLED, NULL);
        request_end(request);
        return;
    }
    request->state = REQUEST_CHUNK_DONE;
    kap_list_push_back(&connection->streams, &request->link);
}

void stream_run(struct kap_connection *connection)
{
    uint32_t turns = connection->n_streams;
    while (turns-- > 0 && !kap_list_empty(&connection->streams) &&
           connection_backlog(connection) < CONNECTION_STREAM_BACKLOG) {
        struct request *request = KAP_OWNER(connection->streams.next, struct request, link);
        kap_list_remove(&request->link);
        kap_list_push_back(&connection->streams, &request->link);
        request->state = REQUEST_CHUNK_DUE;
        if (request->stream.credit > 0)
            chunk_start(request);
    }
}

void stream_credit(struct request *request, uint32_t bytes)
{
    if (!request->stream.on)
        return;
    request->stream.credit += bytes;
    connection_touch(request->connection);
}
