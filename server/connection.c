#include "server/connection.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "proto/wire.h"
#include "server/connection_internal.h"

enum { PINGS_MAX = 3, KEPT_BUFFER_BYTES = 64 * 1024, QUIET_NS = 1000000000, REFUSED_RETRY_MS = 1000 };

void kap_connection_options_default(struct kap_connection_options *options)
{
    *options = (struct kap_connection_options){.connections_max = 4096,
                                               .frame_bytes_max = KAP_FRAME_BODY_BYTES_DEFAULT,
                                               .in_flight_max = 256,
                                               .unread_bytes_max = 8 * 1024 * 1024,
                                               .idle_ping_s = 30,
                                               .hello_ms = 10000};
}

void kap_connection_pool_init(struct kap_connection_pool *pool, struct kap_service *service,
                              const struct kap_connection_options *options)
{
    struct kap_env *env = kap_store_env(kap_service_store(service));
    *pool = (struct kap_connection_pool){.options = *options, .service = service, .env = env, .memory = &env->memory};
    kap_list_init(&pool->all);
    kap_list_init(&pool->ready);
    kap_list_init(&pool->free_requests);
    kap_list_init(&pool->finished_requests);
    kap_arena_init(&pool->scratch, pool->memory, 16 * 1024, 0);
}

void kap_connection_pool_deinit(struct kap_connection_pool *pool)
{
    KAP_ASSERT(kap_list_empty(&pool->all));
    requests_free(pool);
    kap_arena_deinit(&pool->scratch);
}

/* ---- life */

kap_status kap_connection_open(struct kap_connection_pool *pool, const struct kap_peer *peer, void *owner,
                               struct kap_connection **connection_out)
{
    if (pool->draining || pool->stats.open >= pool->options.connections_max) {
        pool->stats.refused++;
        return pool->draining ? KAP_SHUTTING_DOWN : KAP_OVERLOADED;
    }
    struct kap_connection *connection = kap_memory_alloc(pool->memory, sizeof *connection);
    if (!connection)
        return KAP_NO_MEMORY;
    connection->pool = pool;
    connection->owner = owner;
    connection->peer = *peer;
    connection->state = CONNECTION_GREETING;
    connection->limits = (struct kap_frame_limits){.body_bytes_max = CONNECTION_HELLO_BYTES_MAX,
                                                   .raw_bytes_max = CONNECTION_HELLO_BYTES_MAX};
    connection->send_bytes_max = pool->options.frame_bytes_max;
    connection->build = KAP_FRAME_BUILD_SUM;
    connection->opened_ns = connection->heard_ns = kap_env_mono_ns(pool->env);
    kap_buffer_init(&connection->input, pool->memory);
    kap_buffer_init(&connection->output, pool->memory);
    kap_buffer_init(&connection->sending, pool->memory);
    kap_list_init(&connection->ready_link);
    kap_list_init(&connection->streams);
    kap_list_push_back(&pool->all, &connection->all_link);
    pool->stats.open++;
    pool->stats.opened++;
    *connection_out = connection;
    return KAP_OK;
}

void kap_connection_close(struct kap_connection *connection)
{
    struct kap_connection_pool *pool = connection->pool;
    while (connection->n_requests > 0)
        request_drop(connection->requests[connection->n_requests - 1]);
    kap_list_remove(&connection->all_link);
    kap_list_remove(&connection->ready_link);
    kap_memory_free(pool->memory, connection->ids);
    kap_memory_free(pool->memory, connection->requests);
    kap_buffer_deinit(&connection->input);
    kap_buffer_deinit(&connection->output);
    kap_buffer_deinit(&connection->sending);
    kap_memory_free(pool->memory, connection);
    pool->stats.open--;
}

void *kap_connection_owner(const struct kap_connection *connection)
{
    return connection->owner;
}

void kap_connection_welcome(struct kap_connection *connection, struct kap_principal principal, uint32_t frame_bytes_max,
                            bool lz4)
{
    connection->principal = principal;
    connection->limits.body_bytes_max = connection->pool->options.frame_bytes_max;
    connection->limits.raw_bytes_max = CONNECTION_BATCH_BYTES_MAX;
    connection->send_bytes_max = KAP_MIN(frame_bytes_max, connection->pool->options.frame_bytes_max);
    connection->build = KAP_FRAME_BUILD_SUM | (lz4 ? KAP_FRAME_BUILD_LZ4 : 0);
    connection->state = CONNECTION_OPEN;
}

const struct kap_peer *kap_connection_peer(const struct kap_connection *connection)
{
    return &connection->peer;
}

bool kap_connection_is_greeted(const struct kap_connection *connection)
{
    return connection->state != CONNECTION_GREETING;
}

struct kap_connection *kap_connection_of_call(const struct kap_call *call)
{
    return ((const struct request *)call->owner)->connection;
}

void connection_touch(struct kap_connection *connection)
{
    if (kap_list_empty(&connection->ready_link))
        kap_list_push_back(&connection->pool->ready, &connection->ready_link);
}

void connection_shut(struct kap_connection *connection)
{
    connection->state = CONNECTION_CLOSING;
    connection_touch(connection);
}

/* ---- output */

size_t connection_backlog(const struct kap_connection *connection)
{
    return connection->output.len + connection->sending.len - connection->sending_at;
}

void connection_frame(struct kap_connection *connection, const struct kap_frame *frame, unsigned build)
{
    struct kap_buffer *output = &connection->output;
    connection_touch(connection);
    if (!kap_buffer_reserve(output, kap_frame_bytes_max(frame->meta.len, frame->body.len))) {
        connection_shut(connection); /* a reply would be lost: the client must not wait for it */
        return;
    }
    output->len += kap_frame_write(frame, build, output->data + output->len);
}

void connection_answer(struct kap_connection *connection, uint16_t op, uint64_t id, kap_status status,
                       const struct kap_msg *msg, const void *reply)
{
    struct kap_bytes body = kap_wire_encode_in(msg, reply, &connection->pool->scratch);
    struct kap_frame frame = {
        .kind = KAP_FRAME_REPLY, .op = op, .status = (uint16_t)status, .request_id = id, .body = body};
    if (body.data)
        connection_frame(connection, &frame, KAP_FRAME_BUILD_SUM);
    else
        connection_shut(connection);
}

void connection_reply(struct kap_connection *connection, uint16_t op, uint64_t id, const struct kap_msg *msg,
                      const void *reply)
{
    connection_answer(connection, op, id, KAP_OK, msg, reply);
}

static struct kap_error_reply error_reply(const struct kap_connection_pool *pool, kap_status status,
                                          const char *message)
{
    return (struct kap_error_reply){
        .has_commit_seq = true,
        .commit_seq = kap_store_durable_seq(kap_service_store(pool->service)),
        .has_code = true,
        .code = status,
        .has_name = true,
        .name = kap_bytes_str(kap_status_name(status)),
        .has_message = true,
        .message = kap_bytes_str(message ? message : kap_status_sentence(status)),
        .has_retryable = true,
        .retryable = status == KAP_SHUTTING_DOWN || status == KAP_OVERLOADED || status == KAP_CHECKSUM,
    };
}

void connection_error(struct kap_connection *connection, uint16_t op, uint64_t id, kap_status status,
                      const char *message)
{
    struct kap_error_reply reply = error_reply(connection->pool, status, message);
    connection_answer(connection, op, id, status, &kap_error_reply_msg, &reply);
}

struct kap_bytes kap_connection_refusal(struct kap_connection_pool *pool, kap_status status)
{
    char text[160];
    const char *message = NULL;
    kap_arena_reset(&pool->scratch);
    if (status == KAP_OVERLOADED) {
        snprintf(
            text, sizeof text,
            "%u connections are open, which is the limit (net.connections): close idle ones, share one, or raise it",
            pool->options.connections_max);
        message = text;
    }
    struct kap_error_reply reply = error_reply(pool, status, message);
    reply.has_retry_after_ms = true;
    reply.retry_after_ms = REFUSED_RETRY_MS;
    struct kap_bytes body = kap_wire_encode_in(&kap_error_reply_msg, &reply, &pool->scratch);
    struct kap_frame frame = {.kind = KAP_FRAME_REPLY, .status = (uint16_t)status, .body = body};
    uint8_t *bytes = body.data ? kap_arena_push_bytes(&pool->scratch, kap_frame_bytes_max(0, body.len)) : NULL;
    return bytes ? kap_bytes(bytes, kap_frame_write(&frame, KAP_FRAME_BUILD_SUM, bytes)) : kap_bytes("", 0);
}

struct kap_bytes kap_connection_output(struct kap_connection *connection)
{
    struct kap_buffer *sending = &connection->sending;
    if (connection->sending_at == sending->len) {
        struct kap_buffer filled = connection->output;
        connection->output = *sending;
        *sending = filled;
        connection->sending_at = 0;
        kap_buffer_clear(&connection->output);
    }
    return kap_bytes(sending->data + connection->sending_at, sending->len - connection->sending_at);
}

void kap_connection_sent(struct kap_connection *connection, size_t bytes)
{
    struct kap_buffer *sending = &connection->sending;
    KAP_ASSERT(bytes <= sending->len - connection->sending_at);
    connection->sending_at += bytes;
    connection->pool->stats.bytes_out += bytes;
    connection_touch(connection);
    if (connection->sending_at < sending->len)
        return;
    if (sending->cap > KEPT_BUFFER_BYTES)
        kap_buffer_deinit(sending);
    kap_buffer_clear(sending);
    connection->sending_at = 0;
}

/* ---- input */

static bool is_full(const struct kap_connection *connection)
{
    const struct kap_connection_options *options = &connection->pool->options;
    if (connection->state == CONNECTION_GREETING && connection->n_requests > 0)
        return true; /* what follows hello waits for its answer */
    return connection->n_requests >= options->in_flight_max || connection->request_bytes >= options->unread_bytes_max ||
           connection_backlog(connection) >= options->unread_bytes_max;
}

bool kap_connection_wants(const struct kap_connection *connection)
{
    return connection->state < CONNECTION_LEAVING && !is_full(connection);
}

bool kap_connection_is_idle(const struct kap_connection *connection)
{
    return connection->n_requests == 0 && connection_backlog(connection) == 0;
}

bool kap_connection_is_over(const struct kap_connection *connection)
{
    if (connection->state == CONNECTION_CLOSING)
        return connection_backlog(connection) == 0;
    return connection->state == CONNECTION_LEAVING && kap_connection_is_idle(connection);
}

/* Another protocol at our port: said in that protocol where one line does it. */
static void framing_lost(struct kap_connection *connection, struct kap_bytes stream)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
                               "This port speaks the kap protocol, not HTTP: use kap, kapctl or a client library.\n";
    static const uint8_t tls_alert[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46}; /* fatal, protocol_version */
    uint8_t first = connection->any_frame ? 0 : stream.data[0];
    const char *what = "bad frame";
    connection->pool->stats.bad_frames++;
    if (first == 'G' || first == 'P' || first == 'H') {
        what = "HTTP";
        kap_buffer_append(&connection->output, http, sizeof http - 1);
    } else if (first == 0x16) {
        what = "TLS, which this listener does not speak";
        kap_buffer_append(&connection->output, tls_alert, sizeof tls_alert);
    } else {
        connection_error(connection, 0, 0, KAP_BAD_FRAME, "the frame header is not valid; the connection is closed");
    }
    kap_log(KAP_LOG_WARN, "connection", "msg=\"closed: %s\" peer=%s", what, connection->peer.address);
    connection_shut(connection);
}

static void frame_refused(struct kap_connection *connection, const struct kap_frame *frame, kap_status status)
{
    char text[160];
    const char *message = NULL;
    connection->pool->stats.bad_frames++;
    if (status == KAP_TOO_LARGE) {
        snprintf(text, sizeof text, "a frame's body may have %u bytes %s; send larger ones as MORE frames",
                 connection->limits.body_bytes_max,
                 connection->state == CONNECTION_GREETING ? "before hello was answered" : "here");
        message = text;
    }
    request_refuse(connection, frame, status, message);
    if (connection->state == CONNECTION_GREETING)
        connection_shut(connection);
}

/* Frames at the front of bytes; returns how many bytes are done with. */
static size_t consume(struct kap_connection *connection, struct kap_bytes bytes)
{
    size_t at = KAP_MIN(connection->skip_bytes, bytes.len);
    connection->skip_bytes -= at;
    while (at < bytes.len && kap_connection_wants(connection)) {
        struct kap_frame frame;
        size_t used;
        struct kap_bytes rest = kap_bytes(bytes.data + at, bytes.len - at);
        kap_arena_reset(&connection->pool->scratch);
        kap_status status = kap_frame_parse(rest, &connection->limits, &connection->pool->scratch, &frame, &used);
        if (status == KAP_PENDING)
            break;
        if (status == KAP_BAD_FRAME) {
            framing_lost(connection, rest);
            break;
        }
        connection->any_frame = true;
        connection->pool->stats.frames_in++;
        if (status == KAP_OK)
            request_frame(connection, &frame);
        else
            frame_refused(connection, &frame, status);
        connection->skip_bytes = used > rest.len ? used - rest.len : 0;
        at += KAP_MIN(used, rest.len);
    }
    return at;
}

static void input_run(struct kap_connection *connection)
{
    struct kap_buffer *input = &connection->input;
    if (connection->input_at == input->len)
        return;
    connection->input_at +=
        consume(connection, kap_bytes(input->data + connection->input_at, input->len - connection->input_at));
    if (connection->input_at < input->len)
        return;
    kap_buffer_deinit(input);
    connection->input_at = 0;
}

void kap_connection_feed(struct kap_connection *connection, struct kap_bytes bytes)
{
    struct kap_buffer *input = &connection->input;
    connection->heard_ns = kap_env_mono_ns(connection->pool->env);
    connection->pings = 0;
    connection->pool->stats.bytes_in += bytes.len;
    connection_touch(connection);
    if (connection->state >= CONNECTION_LEAVING)
        return;
    requests_reap(connection->pool);
    if (input->len == 0) {
        size_t used = consume(connection, bytes);
        bytes = kap_bytes(bytes.data + used, bytes.len - used);
        if (connection->state >= CONNECTION_LEAVING)
            return;
    }
    if (bytes.len > 0 && connection->input_at > 0) { /* the part that is done with makes room */
        memmove(input->data, input->data + connection->input_at, input->len - connection->input_at);
        input->len -= connection->input_at;
        connection->input_at = 0;
    }
    kap_buffer_append(input, bytes.data, bytes.len);
    if (input->failed) {
        kap_log(KAP_LOG_ERROR, "connection", "msg=\"closed: no memory for a request\" peer=%s",
                connection->peer.address);
        connection_shut(connection);
        return;
    }
    if (bytes.len > 0)
        input_run(connection);
}

/* ---- rounds and time */

struct kap_connection *kap_connection_next_ready(struct kap_connection_pool *pool)
{
    requests_reap(pool);
    if (kap_list_empty(&pool->ready))
        return NULL;
    struct kap_connection *connection = KAP_OWNER(pool->ready.next, struct kap_connection, ready_link);
    input_run(connection);
    stream_run(connection);
    kap_list_remove(&connection->ready_link);
    return connection;
}

static void ping(struct kap_connection *connection)
{
    struct kap_frame frame = {.kind = KAP_FRAME_CONTROL, .op = KAP_OP_PING};
    connection->pings++;
    connection_frame(connection, &frame, KAP_FRAME_BUILD_SUM);
}

static void connection_tick(struct kap_connection *connection, int64_t now_ns)
{
    const struct kap_connection_options *options = &connection->pool->options;
    int64_t silence_ns = now_ns - connection->heard_ns, ping_ns = (int64_t)options->idle_ping_s * 1000000000;
    if (connection->state == CONNECTION_GREETING) {
        if (now_ns - connection->opened_ns < (int64_t)options->hello_ms * 1000000)
            return;
        connection_error(connection, KAP_OP_HELLO, 0, KAP_DEADLINE, "hello did not come in time");
        connection_shut(connection);
        return;
    }
    if (silence_ns >= QUIET_NS && kap_connection_is_idle(connection)) { /* an idle client costs its struct alone */
        kap_buffer_deinit(&connection->output);
        kap_buffer_deinit(&connection->sending);
        kap_buffer_clear(&connection->sending);
        connection->sending_at = 0;
    }
    if (ping_ns > 0 && silence_ns >= ping_ns * (connection->pings + 1)) {
        if (connection->pings < PINGS_MAX) {
            ping(connection);
            return;
        }
        kap_log(KAP_LOG_INFO, "connection", "msg=\"closed: no answer to %d pings\" peer=%s", PINGS_MAX,
                connection->peer.address);
        connection_shut(connection);
    }
}

void kap_connection_pool_tick(struct kap_connection_pool *pool)
{
    int64_t now_ns = kap_env_mono_ns(pool->env);
    kap_arena_reset(&pool->scratch);
    for (struct kap_list *link = pool->all.next; link != &pool->all; link = link->next)
        connection_tick(KAP_OWNER(link, struct kap_connection, all_link), now_ns);
}

void kap_connection_pool_drain(struct kap_connection_pool *pool, uint32_t grace_ms)
{
    struct kap_goodbye_request goodbye = {.has_reason = true,
                                          .reason = kap_bytes_str("the server is stopping"),
                                          .has_grace_ms = true,
                                          .grace_ms = grace_ms};
    pool->draining = true;
    kap_arena_reset(&pool->scratch);
    struct kap_bytes body = kap_wire_encode_in(&kap_goodbye_request_msg, &goodbye, &pool->scratch);
    for (struct kap_list *link = pool->all.next; body.data && link != &pool->all; link = link->next) {
        struct kap_connection *connection = KAP_OWNER(link, struct kap_connection, all_link);
        struct kap_frame frame = {.kind = KAP_FRAME_CONTROL, .op = KAP_OP_GOODBYE, .body = body};
        connection_frame(connection, &frame, KAP_FRAME_BUILD_SUM);
    }
}
