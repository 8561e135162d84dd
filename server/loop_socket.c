/* loop_socket.c - one socket's life.
 *
 *   live -> gone      the peer closed or failed: the connection ends once its last send has come back
 *        -> lingering the connection is over, or was refused: the write side is shut, what still comes is thrown away, so
 *                     that the peer can read our last words before the reset
 *        -> ended     nothing armed any more: closed and freed
 *
 * One receive and one send are in the ring per socket at most. Receives take a buffer of a shared ring when bytes are
 * there, so an idle socket holds none; it is given back before the next completion is looked at. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "server/loop_internal.h"

enum { LINGER_MS = 2000, REFUSED_LINGERING_MAX = 256, REFUSED_LOG_MS = 1000 };

/* ---- buffers */

static void buffer_give(struct kap_loop *loop, uint16_t slot)
{
    io_uring_buf_ring_add(loop->buffer_ring, loop->buffers + (size_t)slot * LOOP_BUFFER_BYTES, LOOP_BUFFER_BYTES, slot,
                          io_uring_buf_ring_mask(LOOP_BUFFERS), 0);
    io_uring_buf_ring_advance(loop->buffer_ring, 1);
}

kap_status loop_buffers_create(struct kap_loop *loop, struct kap_error *error)
{
    size_t ring_bytes = LOOP_BUFFERS * sizeof(struct io_uring_buf);
    loop->buffer_ring = kap_memory_alloc_aligned(&loop->env->memory, 4096, (ring_bytes + 4095) / 4096 * 4096);
    loop->buffers = kap_memory_alloc_aligned(&loop->env->memory, 4096, (size_t)LOOP_BUFFERS * LOOP_BUFFER_BYTES);
    if (!loop->buffer_ring || !loop->buffers)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for the receive buffers");
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)loop->buffer_ring, .ring_entries = LOOP_BUFFERS, .bgid = LOOP_BUFFER_GROUP};
    int result = io_uring_register_buf_ring(loop->ring, &registration, 0);
    if (result < 0)
        return kap_error_set(error, KAP_NOT_PERMITTED,
                             "this kernel's io_uring has no buffer rings (%s); Linux 5.19 or newer is needed",
                             strerrorname_np(-result));
    io_uring_buf_ring_init(loop->buffer_ring);
    for (uint16_t slot = 0; slot < LOOP_BUFFERS; slot++)
        buffer_give(loop, slot);
    return KAP_OK;
}

void loop_buffers_free(struct kap_loop *loop)
{
    kap_memory_free(&loop->env->memory, loop->buffers);
    kap_memory_free(&loop->env->memory, loop->buffer_ring);
}

/* ---- arming */

static void recv_arm(struct loop_socket *socket)
{
    struct io_uring_sqe *sqe = loop_entry(socket->loop);
    io_uring_prep_recv(sqe, socket->fd, NULL, LOOP_BUFFER_BYTES, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = LOOP_BUFFER_GROUP;
    loop_entry_mark(sqe, &socket->recv);
    socket->recv_armed = true;
}

static void send_arm(struct loop_socket *socket, struct kap_bytes bytes)
{
    struct io_uring_sqe *sqe = loop_entry(socket->loop);
    io_uring_prep_send(sqe, socket->fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_WAITALL);
    loop_entry_mark(sqe, &socket->send);
    socket->send_armed = true;
}

/* ---- sockets */

static void socket_free(struct loop_socket *socket)
{
    struct kap_loop *loop = socket->loop;
    close(socket->fd);
    kap_list_remove(&socket->link);
    loop->n_sockets--;
    loop->n_lingering -= socket->linger_until_ns != 0;
    kap_memory_free(&loop->env->memory, socket);
}

/* Frees it once nothing is armed. */
static void socket_end(struct loop_socket *socket)
{
    if (socket->recv_armed || socket->send_armed)
        (void)shutdown(socket->fd, SHUT_RDWR); /* what is armed comes back */
    else
        socket_free(socket);
}

/* The peer is not there any more, or we give it up: a send still under way reads from the connection's memory. */
void loop_socket_gone(struct loop_socket *socket)
{
    socket->gone = true;
    if (socket->connection && !socket->send_armed) {
        kap_connection_close(socket->connection);
        socket->connection = NULL;
    }
    socket_end(socket);
}

static void linger(struct loop_socket *socket)
{
    socket->linger_until_ns = loop_now_ns(socket->loop) + (int64_t)LINGER_MS * 1000000;
    socket->loop->n_lingering++;
    kap_list_remove(&socket->link);
    kap_list_push_back(&socket->loop->sockets, &socket->link);
    (void)shutdown(socket->fd, SHUT_WR);
    if (!socket->recv_armed)
        recv_arm(socket);
}

/* What the connection wants of its socket now. */
void loop_socket_update(struct loop_socket *socket)
{
    struct kap_connection *connection = socket->connection;
    if (!connection || socket->gone)
        return;
    if (!socket->send_armed) {
        struct kap_bytes output = kap_connection_output(connection);
        if (output.len > 0) {
            send_arm(socket, output);
        } else if (kap_connection_is_over(connection)) {
            kap_connection_close(connection);
            socket->connection = NULL;
            linger(socket);
            return;
        }
    }
    if (!socket->recv_armed && kap_connection_wants(connection))
        recv_arm(socket);
}

void loop_socket_received(struct loop_socket *socket, int32_t result, uint32_t flags)
{
    struct kap_loop *loop = socket->loop;
    uint16_t slot = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
    socket->recv_armed = false;
    if (result > 0 && socket->connection && !socket->gone)
        kap_connection_feed(socket->connection,
                            kap_bytes(loop->buffers + (size_t)slot * LOOP_BUFFER_BYTES, (size_t)result));
    if (flags & IORING_CQE_F_BUFFER)
        buffer_give(loop, slot);
    if (result == -ENOBUFS || result == -EINTR || result == -EAGAIN) {
        loop->buffers_short = true;
        return;
    }
    if (result <= 0 || socket->gone)
        loop_socket_gone(socket);
    else if (!socket->connection)
        recv_arm(socket); /* lingering */
}

void loop_socket_sent(struct loop_socket *socket, int32_t result)
{
    socket->send_armed = false;
    if (socket->gone || result < 0) {
        loop_socket_gone(socket);
        return;
    }
    kap_connection_sent(socket->connection, (size_t)result);
}

/* ---- opening */

/* What is written at once is all that is said: a peer whose socket has no room for one frame is not waited for. */
static void refuse(struct loop_socket *socket, const struct kap_peer *peer, kap_status status)
{
    struct kap_loop *loop = socket->loop;
    struct kap_bytes words = kap_connection_refusal(&loop->pool, status);
    int64_t now = loop_now_ns(loop);
    if (now - loop->refused_logged_ns < REFUSED_LOG_MS * INT64_C(1000000)) {
        loop->refused_unlogged++;
    } else {
        kap_log(KAP_LOG_WARN, "loop", "msg=\"connection refused\" reason=%s peer=%s open=%u more_before=%llu",
                kap_status_name(status), peer->address, loop->pool.stats.open,
                (unsigned long long)loop->refused_unlogged);
        loop->refused_logged_ns = now;
        loop->refused_unlogged = 0;
    }
    (void)send(socket->fd, words.data, words.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (loop->n_lingering >= REFUSED_LINGERING_MAX)
        socket_free(socket);
    else
        linger(socket);
}

void loop_socket_open(struct kap_loop *loop, int fd, const struct kap_peer *peer)
{
    struct loop_socket *socket = kap_memory_alloc(&loop->env->memory, sizeof *socket);
    if (!socket) {
        kap_log(KAP_LOG_WARN, "loop", "msg=\"connection refused: no memory\" peer=%s", peer->address);
        close(fd);
        return;
    }
    socket->loop = loop;
    socket->fd = fd;
    socket->recv = (struct loop_op){.kind = LOOP_RECV, .owner = socket};
    socket->send = (struct loop_op){.kind = LOOP_SEND, .owner = socket};
    kap_list_push_front(&loop->sockets, &socket->link);
    loop->n_sockets++;
    kap_status status = kap_connection_open(&loop->pool, peer, socket, &socket->connection);
    if (status == KAP_OK)
        recv_arm(socket);
    else
        refuse(socket, peer, status);
}

/* ---- time */

void loop_sockets_tick(struct kap_loop *loop, int64_t now)
{
    struct kap_list *next;
    for (struct kap_list *link = loop->sockets.next; link != &loop->sockets; link = next) {
        struct loop_socket *socket = KAP_OWNER(link, struct loop_socket, link);
        next = link->next;
        if (socket->linger_until_ns != 0 && now >= socket->linger_until_ns)
            socket_end(socket);
        else if (loop->buffers_short && !socket->gone && !socket->recv_armed && !socket->connection)
            recv_arm(socket);
        else if (loop->buffers_short)
            loop_socket_update(socket);
    }
    loop->buffers_short = false;
}

bool loop_sockets_drain(struct kap_loop *loop, bool quiet, bool enough)
{
    struct kap_list *next;
    for (struct kap_list *link = loop->sockets.next; link != &loop->sockets; link = next) {
        struct loop_socket *socket = KAP_OWNER(link, struct loop_socket, link);
        next = link->next;
        if (!socket->connection || socket->gone) {
            if (enough)
                socket_end(socket);
        } else if (enough || (quiet && kap_connection_is_idle(socket->connection))) {
            loop_socket_gone(socket);
        }
    }
    return loop->n_sockets == 0;
}
