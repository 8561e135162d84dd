/* request.c - one request of a connection, from its frame to its one reply.
 *
 * free -> assembling -> running -> free      a body in MORE frames is gathered first
 *                    -> swallowing -> free   answered early: the rest of its frames is skipped
 *         running -> chunk done -> chunk due -> running   a stream, chunk by chunk (stream.c)
 *
 * The service may look at a call once more after done(), so an answered request waits on the pool's finished list until
 * the next frame or round. */
#include <stdio.h>

#include "engine/base/assert.h"
#include "proto/wire.h"
#include "server/connection_internal.h"

enum { FREE_REQUESTS_MAX = 1024, KEPT_BODY_BYTES = 16 * 1024, REQUESTS_CAP_MIN = 8, ASSEMBLING_BYTES_FACTOR = 2 };

static void request_done(struct kap_call *call);

static struct request *request_take(struct kap_connection_pool *pool)
{
    if (!kap_list_empty(&pool->free_requests)) {
        struct request *request = KAP_OWNER(pool->free_requests.next, struct request, link);
        kap_list_remove(&request->link);
        pool->n_free_requests--;
        return request;
    }
    struct request *request = kap_memory_alloc(pool->memory, sizeof *request);
    if (!request)
        return NULL;
    kap_call_init(pool->service, &request->call, 0);
    kap_buffer_init(&request->body, pool->memory);
    kap_list_init(&request->link);
    return request;
}

static void request_give(struct kap_connection_pool *pool, struct request *request)
{
    kap_call_reset(&request->call);
    kap_buffer_clear(&request->body);
    if (request->body.cap > KEPT_BODY_BYTES)
        kap_buffer_deinit(&request->body);
    request->state = REQUEST_FREE;
    request->connection = NULL;
    if (pool->n_free_requests < FREE_REQUESTS_MAX) {
        kap_list_push_front(&pool->free_requests, &request->link);
        pool->n_free_requests++;
        return;
    }
    kap_call_deinit(&request->call);
    kap_buffer_deinit(&request->body);
    kap_memory_free(pool->memory, request);
}

void requests_reap(struct kap_connection_pool *pool)
{
    while (!kap_list_empty(&pool->finished_requests)) {
        struct request *request = KAP_OWNER(pool->finished_requests.next, struct request, link);
        kap_list_remove(&request->link);
        request_give(pool, request);
    }
}

void requests_free(struct kap_connection_pool *pool)
{
    requests_reap(pool);
    while (!kap_list_empty(&pool->free_requests)) {
        struct request *request = KAP_OWNER(pool->free_requests.next, struct request, link);
        kap_list_remove(&request->link);
        kap_call_deinit(&request->call);
        kap_buffer_deinit(&request->body);
        kap_memory_free(pool->memory, request);
    }
    pool->n_free_requests = 0;
}

struct request *request_find(struct kap_connection *connection, uint64_t id)
{
    for (uint32_t i = 0; i < connection->n_requests; i++)
        if (connection->ids[i] == id)
            return connection->requests[i];
    return NULL;
}

static bool slots_grow(struct kap_connection *connection)
{
    if (connection->n_requests < connection->cap_requests)
        return true;
    struct kap_memory *memory = connection->pool->memory;
    uint32_t cap = connection->cap_requests ? connection->cap_requests * 2 : REQUESTS_CAP_MIN;
    uint64_t *ids = kap_memory_resize(memory, connection->ids, cap * sizeof *ids);
    if (ids)
        connection->ids = ids;
    struct request **requests = kap_memory_resize(memory, connection->requests, cap * sizeof(struct request *));
    if (requests)
        connection->requests = requests;
    if (!ids || !requests)
        return false;
    connection->cap_requests = cap;
    return true;
}

static struct request *request_begin(struct kap_connection *connection, const struct kap_frame *frame)
{
    struct request *request = slots_grow(connection) ? request_take(connection->pool) : NULL;
    if (!request)
        return NULL;
    request->connection = connection;
    request->id = frame->request_id;
    request->op = frame->op;
    request->meta_len = 0;
    request->stream = (struct request_stream){0};
    request->slot = connection->n_requests++;
    connection->ids[request->slot] = request->id;
    connection->requests[request->slot] = request;
    connection->pool->stats.in_flight++;
    return request;
}

/* Out of the connection's tables; where it goes then is the caller's. */
static void request_unlink(struct request *request)
{
    struct kap_connection *connection = request->connection;
    uint32_t last = --connection->n_requests;
    connection->requests[request->slot] = connection->requests[last];
    connection->ids[request->slot] = connection->ids[last];
    connection->requests[request->slot]->slot = request->slot;
    if (request->state == REQUEST_ASSEMBLING || request->state == REQUEST_SWALLOWING) {
        connection->n_assembling--;
        connection->assembling_bytes -= request->body.len;
    } else {
        connection->request_bytes -= request->body.len;
    }
    if (request->stream.on)
        connection->n_streams--;
    kap_list_remove(&request->link);
    connection->pool->stats.in_flight--;
    connection_touch(connection);
}

void request_end(struct request *request)
{
    struct kap_connection_pool *pool = request->connection->pool;
    request_unlink(request);
    kap_list_push_back(&pool->finished_requests, &request->link);
}

void request_drop(struct request *request)
{
    struct kap_connection_pool *pool = request->connection->pool;
    if (request->state == REQUEST_RUNNING)
        kap_service_drop(pool->service, &request->call);
    request_unlink(request);
    request_give(pool, request);
}

/* ---- the body */

/* Answers now; frames that still come for it are skipped. */
static void request_refuse_early(struct request *request, kap_status status, const char *message, bool more)
{
    struct kap_connection *connection = request->connection;
    connection_error(connection, request->op, request->id, status, message);
    if (!more) {
        request_end(request);
        return;
    }
    connection->assembling_bytes -= request->body.len;
    kap_buffer_deinit(&request->body);
    request->state = REQUEST_SWALLOWING;
}

static bool is_more(const struct kap_frame *frame)
{
    return (frame->flags & KAP_FRAME_MORE) != 0;
}

void request_refuse(struct kap_connection *connection, const struct kap_frame *frame, kap_status status,
                    const char *message)
{
    if (frame->kind != KAP_FRAME_REQUEST) {
        connection_error(connection, frame->op, frame->request_id, status, message);
        return;
    }
    struct request *request = request_find(connection, frame->request_id);
    if (request && request->state == REQUEST_ASSEMBLING) {
        request_refuse_early(request, status, message, is_more(frame));
    } else if (request && request->state == REQUEST_SWALLOWING) {
        if (!is_more(frame))
            request_end(request);
    } else if (!request && is_more(frame) && (request = request_begin(connection, frame)) != NULL) {
        request->state = REQUEST_ASSEMBLING;
        connection->n_assembling++;
        request_refuse_early(request, status, message, true);
    } else {
        connection_error(connection, frame->op, frame->request_id, status, message);
    }
}

static bool meta_decode(struct request *request)
{
    struct kap_connection *connection = request->connection;
    struct kap_faults faults;
    struct kap_arena *scratch = &connection->pool->scratch;
    struct kap_bytes meta = kap_bytes(request->body.data, request->meta_len);
    struct kap_error_reply reply;
    kap_faults_init(&faults, scratch);
    kap_status status = kap_wire_decode(&kap_meta_msg, meta, scratch, KAP_WIRE_CLIENT, &request->call.meta, &faults);
    if (status == KAP_OK)
        return true;
    if (faults.n > 0 && kap_faults_reply(&faults, status, scratch, &reply) == KAP_OK) {
        struct kap_bytes body = kap_wire_encode_in(&kap_error_reply_msg, &reply, scratch);
        if (body.data) {
            request_answer(request, status, body);
            request_end(request);
            return false;
        }
    }
    connection_error(connection, request->op, request->id, status, "the meta message before the body is not valid");
    request_end(request);
    return false;
}

static void request_run(struct request *request)
{
    struct kap_connection *connection = request->connection;
    struct kap_call *call = &request->call;
    const struct kap_op_desc *op = kap_op_find(request->op);
    request->state = REQUEST_RUNNING;
    connection->request_bytes += request->body.len;
    if (op && op->stream && !kap_buffer_reserve(&request->body, REQUEST_CHUNK_ROOM)) { /* meta will point into it */
        connection_error(connection, request->op, request->id, KAP_NO_MEMORY, NULL);
        request_end(request);
        return;
    }
    call->op = request->op;
    call->body = kap_bytes(request->body.data + request->meta_len, request->body.len - request->meta_len);
    call->meta = (struct kap_meta){0};
    call->principal = connection->principal;
    call->done = request_done;
    call->owner = request;
    if (request->meta_len > 0 && !meta_decode(request))
        return;
    if (op && op->stream && stream_begin(request, call->body) == KAP_OK)
        return;
    kap_service_start(connection->pool->service, call);
}

/* ---- frames */

static void request_append(struct request *request, const struct kap_frame *frame)
{
    struct kap_connection *connection = request->connection;
    uint64_t limit = CONNECTION_BATCH_BYTES_MAX;
    if (request->body.len + frame->body.len > limit ||
        connection->assembling_bytes + frame->body.len > limit * ASSEMBLING_BYTES_FACTOR) {
        request_refuse_early(request, KAP_TOO_LARGE,
                             "a request in MORE frames may have 4 MiB, and those of one "
                             "connection that are under way 8 MiB together",
                             is_more(frame));
        return;
    }
    kap_buffer_append(&request->body, frame->body.data, frame->body.len);
    connection->assembling_bytes += request->body.failed ? 0 : frame->body.len;
    if (request->body.failed) {
        request_refuse_early(request, KAP_NO_MEMORY, NULL, is_more(frame));
    } else if (!is_more(frame)) {
        connection->n_assembling--;
        connection->assembling_bytes -= request->body.len;
        request_run(request);
    }
}

static void request_continue(struct request *request, const struct kap_frame *frame)
{
    if (request->state == REQUEST_ASSEMBLING && frame->op == request->op && frame->meta.len == 0) {
        request_append(request, frame);
    } else if (request->state == REQUEST_SWALLOWING) {
        if (!is_more(frame))
            request_end(request);
    } else {
        /* An answer under this id could not be told from that of the request that has it. */
        connection_error(request->connection, frame->op, 0, KAP_INVALID,
                         "a request id was used while it is open; the connection is closed");
        connection_shut(request->connection);
    }
}

static const char *refusal(const struct kap_connection *connection, const struct kap_frame *frame,
                           kap_status *status_out)
{
    *status_out = KAP_INVALID;
    if (frame->kind != KAP_FRAME_REQUEST)
        return "clients send request and control frames";
    if (frame->request_id == 0)
        return "request id 0 is the connection itself; choose another";
    if (frame->flags & KAP_FRAME_NO_REPLY)
        return "this request must be answered: send it without NO_REPLY";
    if (connection->state == CONNECTION_GREETING && frame->op != KAP_OP_HELLO) {
        *status_out = KAP_NOT_READY;
        return "say hello first: only hello and ping are answered before it";
    }
    *status_out = KAP_STATE_CONFLICT;
    if (connection->state != CONNECTION_GREETING && frame->op == KAP_OP_HELLO)
        return "hello was said already";
    *status_out = KAP_SHUTTING_DOWN;
    return connection->pool->draining ? "the server is stopping; connect again a little later" : NULL;
}

void request_frame(struct kap_connection *connection, const struct kap_frame *frame)
{
    kap_status status;
    if (control_frame(connection, frame))
        return;
    struct request *request = request_find(connection, frame->request_id);
    if (request) {
        request_continue(request, frame);
        return;
    }
    const char *message = refusal(connection, frame, &status);
    if (message) {
        request_refuse(connection, frame, status, message);
        return;
    }
    request = request_begin(connection, frame);
    if (!request) {
        connection_error(connection, frame->op, frame->request_id, KAP_NO_MEMORY, NULL);
        return;
    }
    request->meta_len = frame->meta.len;
    kap_buffer_append(&request->body, frame->meta.data, frame->meta.len);
    request->state = REQUEST_ASSEMBLING;
    connection->n_assembling++;
    connection->assembling_bytes += request->body.len;
    request_append(request, frame);
}

/* ---- the reply */

/* Larger than a frame: several with MORE, the last with END. */
void request_answer(struct request *request, kap_status status, struct kap_bytes body)
{
    struct kap_connection *connection = request->connection;
    size_t max = connection->send_bytes_max;
    unsigned build = connection->build;
    if (request->op == KAP_OP_HELLO || request->op == KAP_OP_TOKEN_CREATE)
        build &= ~(unsigned)KAP_FRAME_BUILD_LZ4; /* credentials are never compressed */
    for (size_t at = 0;;) {
        size_t len = KAP_MIN(max, body.len - at);
        bool last = at + len == body.len;
        struct kap_frame frame = {.kind = KAP_FRAME_REPLY,
                                  .op = request->op,
                                  .flags = last ? (at > 0 ? KAP_FRAME_END : 0) : KAP_FRAME_MORE,
                                  .status = (uint16_t)status,
                                  .request_id = request->id,
                                  .body = kap_bytes(body.data + at, len)};
        connection_frame(connection, &frame, build);
        at += len;
        if (last)
            return;
    }
}

/* From the service: the call is finished; it must not be started or given back from here. */
static void request_done(struct kap_call *call)
{
    struct request *request = call->owner;
    struct kap_connection *connection = request->connection;
    if (request->stream.on) {
        stream_chunk_done(request, call->status);
        return;
    }
    request_answer(request, call->status, call->reply);
    if (request->op == KAP_OP_HELLO && call->status != KAP_OK)
        connection_shut(connection);
    request_end(request);
}

void request_cancel(struct request *request)
{
    struct kap_connection *connection = request->connection;
    switch (request->state) {
    case REQUEST_RUNNING:
        request->stream.ended = true;
        kap_service_cancel(connection->pool->service, &request->call);
        break;
    case REQUEST_ASSEMBLING:
        request_refuse_early(request, KAP_CANCELLED, NULL, true);
        break;
    case REQUEST_CHUNK_DONE:
    case REQUEST_CHUNK_DUE:
        connection_error(connection, request->op, request->id, KAP_CANCELLED, NULL);
        request_end(request);
        break;
    default:
        break;
    }
}
