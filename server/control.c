/* control.c - what a client says about its connection: ping, cancel, credit, goodbye.
 *
 * As request frames they are answered like any other. As control frames they are not, but for a ping without END, which is
 * given back with END; a ping with END is the answer to ours. */
#include "proto/validate.h"
#include "proto/wire.h"
#include "server/connection_internal.h"

static uint64_t durable_seq(const struct kap_connection *connection)
{
    return kap_store_durable_seq(kap_service_store(connection->pool->service));
}

/* Answers the faults itself; false: nothing to carry out. */
static bool body_decode(struct kap_connection *connection, const struct kap_frame *frame, const struct kap_msg *msg,
                        void *request_out)
{
    struct kap_arena *scratch = &connection->pool->scratch;
    struct kap_faults faults;
    struct kap_error_reply reply;
    kap_faults_init(&faults, scratch);
    kap_status status = kap_wire_decode(msg, frame->body, scratch, KAP_WIRE_CLIENT, request_out, &faults);
    if (status == KAP_OK)
        status = kap_validate(msg, request_out, KAP_VALIDATE_REQUEST, NULL, scratch, &faults);
    if (status == KAP_OK)
        return true;
    if (faults.n > 0 && kap_faults_reply(&faults, status, scratch, &reply) == KAP_OK)
        connection_answer(connection, frame->op, frame->request_id, status, &kap_error_reply_msg, &reply);
    else
        connection_error(connection, frame->op, frame->request_id, status, NULL);
    return false;
}

static void ping_frame(struct kap_connection *connection, const struct kap_frame *frame, bool answer)
{
    struct kap_ping_request request;
    if (!answer) {
        struct kap_frame back = {
            .kind = KAP_FRAME_CONTROL, .op = KAP_OP_PING, .flags = KAP_FRAME_END, .request_id = frame->request_id};
        if (!(frame->flags & KAP_FRAME_END))
            connection_frame(connection, &back, KAP_FRAME_BUILD_SUM);
        return;
    }
    if (!body_decode(connection, frame, &kap_ping_request_msg, &request))
        return;
    struct kap_ping_reply reply = {.has_commit_seq = true,
                                   .commit_seq = durable_seq(connection),
                                   .has_echo = request.has_echo,
                                   .echo = request.echo,
                                   .has_server_time = true,
                                   .server_time = kap_env_wall_us(connection->pool->env)};
    connection_reply(connection, frame->op, frame->request_id, &kap_ping_reply_msg, &reply);
}

static void cancel_frame(struct kap_connection *connection, const struct kap_frame *frame, bool answer)
{
    struct kap_cancel_request request;
    if (!body_decode(connection, frame, &kap_cancel_request_msg, &request))
        return;
    struct request *target = request_find(connection, request.request_id);
    struct kap_cancel_reply reply = {
        .has_commit_seq = true, .commit_seq = durable_seq(connection), .has_found = true, .found = target != NULL};
    if (target)
        request_cancel(target);
    if (answer)
        connection_reply(connection, frame->op, frame->request_id, &kap_cancel_reply_msg, &reply);
}

static void credit_frame(struct kap_connection *connection, const struct kap_frame *frame, bool answer)
{
    struct kap_credit_request request;
    if (!body_decode(connection, frame, &kap_credit_request_msg, &request))
        return;
    struct request *target = request_find(connection, request.request_id);
    struct kap_credit_reply reply = {.has_commit_seq = true, .commit_seq = durable_seq(connection)};
    if (target)
        stream_credit(target, request.bytes);
    if (answer)
        connection_reply(connection, frame->op, frame->request_id, &kap_credit_reply_msg, &reply);
}

static void goodbye_frame(struct kap_connection *connection, const struct kap_frame *frame, bool answer)
{
    struct kap_goodbye_reply reply = {.has_commit_seq = true, .commit_seq = durable_seq(connection)};
    if (answer)
        connection_reply(connection, frame->op, frame->request_id, &kap_goodbye_reply_msg, &reply);
    /* Nothing more is read: bodies whose last frame did not come are given up, streams need no further credit. */
    for (uint32_t i = connection->n_requests; i-- > 0;) {
        struct request *request_open = connection->requests[i];
        if (request_open->state == REQUEST_ASSEMBLING || request_open->state == REQUEST_SWALLOWING)
            request_end(request_open);
        else
            request_open->stream.credit = INT64_MAX / 2;
    }
    connection->state = CONNECTION_LEAVING;
    connection_touch(connection);
}

bool control_frame(struct kap_connection *connection, const struct kap_frame *frame)
{
    bool control = frame->kind == KAP_FRAME_CONTROL, request = frame->kind == KAP_FRAME_REQUEST;
    bool answer = request && frame->request_id != 0;
    bool greeted = connection->state != CONNECTION_GREETING;
    if ((!control && !answer) || (request && request_find(connection, frame->request_id)) ||
        frame->flags & (KAP_FRAME_MORE | KAP_FRAME_NO_REPLY))
        return false;
    if (frame->op == KAP_OP_PING)
        ping_frame(connection, frame, answer);
    else if (frame->op == KAP_OP_CANCEL && greeted)
        cancel_frame(connection, frame, answer);
    else if (frame->op == KAP_OP_CREDIT && greeted)
        credit_frame(connection, frame, answer);
    else if (frame->op == KAP_OP_GOODBYE)
        goodbye_frame(connection, frame, answer);
    else
        return false;
    return true;
}
