/* link.c - one connection of libkap: connect, hello, frames out and in. Non-blocking socket, waits with poll. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "proto/clients/c/client_internal.h"
#include "proto/wire.h"

enum { READ_BYTES = 64 * 1024, REPLY_BYTES_MAX = 64 * 1024 * 1024 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static kap_status lost(struct kap_pipe *pipe, const char *what, struct kap_error *error)
{
    bool is_unix = pipe->client->address.is_unix;
    link_close(pipe);
    return kap_error_set(error, KAP_UNREACHABLE, "the connection to %s%s%s was lost: %s", pipe->client->address.host,
                         is_unix ? "" : ":", is_unix ? "" : pipe->client->address.port, what);
}

static kap_status wait_for(struct kap_pipe *pipe, short events, int64_t until_ms, struct kap_error *error)
{
    for (;;) {
        struct pollfd ready = {.fd = pipe->fd, .events = events};
        int64_t left = until_ms < 0 ? -1 : KAP_MAX(until_ms - now_ms(), 0);
        int result = poll(&ready, 1, (int)KAP_MIN(left, 1000000));
        if (result > 0)
            return KAP_OK;
        if (result < 0 && errno != EINTR)
            return lost(pipe, strerrorname_np(errno), error);
        if (result == 0 && until_ms >= 0 && now_ms() >= until_ms)
            return kap_error_set(error, KAP_DEADLINE, "no answer from the server in time");
    }
}

/* ---- connecting */

static int socket_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* connect that gives up in time; errno says why. */
static bool connect_within(int fd, const struct addrinfo *info, uint32_t timeout_ms)
{
    int why = 0;
    socklen_t len = sizeof why;
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    if (connect(fd, info->ai_addr, info->ai_addrlen) == 0)
        return true;
    if (errno != EINPROGRESS)
        return false;
    if (poll(&ready, 1, (int)KAP_MIN(timeout_ms, 1000000u)) <= 0)
        why = ETIMEDOUT;
    else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) < 0)
        why = errno;
    errno = why;
    return why == 0;
}

static int socket_tcp(const char *host, const char *port, uint32_t timeout_ms)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int fd = -1, one = 1;
    if (getaddrinfo(host, port, &hints, &list) != 0) {
        errno = EHOSTUNREACH;
        return -1;
    }
    for (struct addrinfo *info = list; info && fd < 0; info = info->ai_next) {
        fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0 && !connect_within(fd, info, timeout_ms)) {
            int why = errno;
            close(fd);
            errno = why;
            fd = -1;
        }
    }
    int why = errno;
    freeaddrinfo(list);
    errno = why;
    if (fd >= 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static kap_status hello(struct kap_pipe *pipe, struct kap_error *error)
{
    struct kap_client *client = pipe->client;
    struct kap_hello_request request = {.has_protocol_min = true,
                                        .protocol_min = 1,
                                        .has_protocol_max = true,
                                        .protocol_max = 1,
                                        .has_client = true,
                                        .client = kap_bytes_str(client->name),
                                        .has_lz4 = client->lz4,
                                        .lz4 = client->lz4,
                                        .has_token = client->token != NULL,
                                        .token = kap_bytes_str(client->token ? client->token : "")};
    struct kap_arena arena;
    struct kap_frame reply;
    struct kap_hello_reply welcome;
    kap_arena_init(&arena, &client->memory, 4096, 0);
    struct kap_bytes body = kap_wire_encode_in(&kap_hello_request_msg, &request, &arena);
    struct kap_frame frame = {
        .kind = KAP_FRAME_REQUEST, .op = KAP_OP_HELLO, .request_id = ++pipe->next_id, .body = body};
    kap_status status = body.data ? link_frame(pipe, &frame, error) : KAP_NO_MEMORY;
    if (status == KAP_OK)
        status = link_read(pipe, client->timeout_ms, &reply, error);
    if (status == KAP_OK && reply.status != 0) {
        status = (kap_status)reply.status;
        kap_client_explain(status, reply.body, error);
    } else if (status == KAP_OK &&
               kap_wire_decode(&kap_hello_reply_msg, reply.body, &arena, KAP_WIRE_STORED, &welcome, NULL) != KAP_OK) {
        status = kap_error_set(error, KAP_DECODE, "the answer to hello is not one");
    }
    if (status == KAP_OK && welcome.limits)
        pipe->send_bytes_max = welcome.limits->max_frame;
    if (status == KAP_OK) {
        pthread_mutex_lock(&client->lock);
        if (!client->has_hello)
            client->has_hello =
                kap_wire_copy(&kap_hello_reply_msg, &welcome, &client->hello_arena, &client->hello) == KAP_OK;
        pthread_mutex_unlock(&client->lock);
    }
    kap_arena_deinit(&arena);
    return status;
}

kap_status link_connect(struct kap_pipe *pipe, struct kap_error *error)
{
    const struct client_address *address = &pipe->client->address;
    pipe->fd = address->is_unix ? socket_unix(address->host)
                                : socket_tcp(address->host, address->port, pipe->client->timeout_ms);
    if (pipe->fd < 0)
        return kap_error_set(error, KAP_UNREACHABLE,
                             "no kapd answers at %s%s%s (%s); is it running? another address: -u URL or KAP_URL",
                             address->host, address->is_unix ? "" : ":", address->port, strerrorname_np(errno));
    (void)fcntl(pipe->fd, F_SETFL, O_NONBLOCK);
    pipe->limits =
        (struct kap_frame_limits){.body_bytes_max = KAP_FRAME_BODY_BYTES_MAX, .raw_bytes_max = REPLY_BYTES_MAX};
    pipe->send_bytes_max = 4096;
    pipe->leaving = false;
    kap_status status = hello(pipe, error);
    if (status != KAP_OK)
        link_close(pipe);
    return status;
}

void link_close(struct kap_pipe *pipe)
{
    if (pipe->fd >= 0)
        close(pipe->fd);
    pipe->fd = -1;
    pipe->in_flight = 0;
    kap_buffer_clear(&pipe->in);
    kap_buffer_clear(&pipe->out);
    reassembly_clear(&pipe->replies);
    pipe->in_at = pipe->out_at = 0;
}

bool link_is_stale(struct kap_pipe *pipe)
{
    char byte;
    if (pipe->fd < 0 || pipe->leaving)
        return true;
    ssize_t got = recv(pipe->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

/* ---- frames */

kap_status link_frame(struct kap_pipe *pipe, const struct kap_frame *frame, struct kap_error *error)
{
    struct kap_buffer *out = &pipe->out;
    if (!kap_buffer_reserve(out, kap_frame_bytes_max(frame->meta.len, frame->body.len)))
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a request");
    out->len += kap_frame_write(frame, KAP_FRAME_BUILD_SUM, out->data + out->len);
    return KAP_OK;
}

/* As much as the socket takes; true when all is out. */
static kap_status out_push(struct kap_pipe *pipe, bool *all_out, struct kap_error *error)
{
    while (pipe->out_at < pipe->out.len) {
        ssize_t sent = send(pipe->fd, pipe->out.data + pipe->out_at, pipe->out.len - pipe->out_at, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (sent < 0 && errno != EINTR)
            return lost(pipe, strerrorname_np(errno), error);
        pipe->out_at += sent > 0 ? (size_t)sent : 0;
    }
    *all_out = pipe->out_at == pipe->out.len;
    if (*all_out) {
        kap_buffer_clear(&pipe->out);
        pipe->out_at = 0;
    }
    return KAP_OK;
}

static kap_status in_pull(struct kap_pipe *pipe, struct kap_error *error)
{
    struct kap_buffer *in = &pipe->in;
    if (pipe->in_at > 0) {
        memmove(in->data, in->data + pipe->in_at, in->len - pipe->in_at);
        in->len -= pipe->in_at;
        pipe->in_at = 0;
    }
    if (!kap_buffer_reserve(in, READ_BYTES))
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a reply");
    ssize_t got = recv(pipe->fd, in->data + in->len, in->cap - in->len, 0);
    if (got == 0)
        return lost(pipe, "the server closed it", error);
    if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        return lost(pipe, strerrorname_np(errno), error);
    in->len += got > 0 ? (size_t)got : 0;
    return KAP_OK;
}

/* The server's own frames: a ping is given back, goodbye noted. */
static bool is_control(struct kap_pipe *pipe, const struct kap_frame *frame)
{
    if (frame->kind != KAP_FRAME_CONTROL)
        return false;
    struct kap_frame pong = {.kind = KAP_FRAME_CONTROL, .op = KAP_OP_PING, .flags = KAP_FRAME_END};
    if (frame->op == KAP_OP_GOODBYE)
        pipe->leaving = true;
    else if (frame->op == KAP_OP_PING && !(frame->flags & KAP_FRAME_END))
        (void)!link_frame(pipe, &pong, NULL);
    return true;
}

kap_status link_read(struct kap_pipe *pipe, uint32_t timeout_ms, struct kap_frame *frame_out, struct kap_error *error)
{
    int64_t until_ms = timeout_ms == UINT32_MAX ? -1 : now_ms() + timeout_ms;
    for (;;) {
        size_t used;
        bool all_out;
        struct kap_bytes rest = kap_bytes(pipe->in.data + pipe->in_at, pipe->in.len - pipe->in_at);
        kap_arena_reset(&pipe->scratch);
        kap_status status = kap_frame_parse(rest, &pipe->limits, &pipe->scratch, frame_out, &used);
        if (status == KAP_OK) {
            pipe->in_at += used;
            if (is_control(pipe, frame_out))
                continue;
            return KAP_OK;
        }
        if (status != KAP_PENDING)
            return lost(pipe, kap_status_sentence(status), error);
        if (pipe->fd < 0)
            return kap_error_set(error, KAP_UNREACHABLE, "the connection was lost");
        status = out_push(pipe, &all_out, error);
        if (status == KAP_OK)
            status = wait_for(pipe, (short)(POLLIN | (all_out ? 0 : POLLOUT)), until_ms, error);
        if (status == KAP_OK)
            status = in_pull(pipe, error);
        if (status != KAP_OK)
            return status;
    }
}

kap_status kap_pipe_flush(struct kap_pipe *pipe, struct kap_error *error)
{
    bool all_out;
    if (pipe->fd < 0)
        return kap_error_set(error, KAP_UNREACHABLE, "the connection was lost");
    for (;;) {
        kap_status status = out_push(pipe, &all_out, error);
        if (status != KAP_OK || all_out)
            return status;
        /* The server may be waiting for us to read. */
        status = wait_for(pipe, POLLIN | POLLOUT, now_ms() + pipe->client->timeout_ms, error);
        if (status == KAP_OK)
            status = in_pull(pipe, error);
        if (status != KAP_OK)
            return status;
    }
}
