/* loop.c - the only file that speaks io_uring for sockets.
 *
 * A socket:  live -> gone      the peer closed or failed: the connection ends once its last send has come back
 *                 -> lingering the connection is over: the write side is shut, what still comes is thrown away, so that
 *                              the peer can read our last words before the reset
 *                 -> ended     nothing armed any more: closed and freed
 * One receive and one send are in the ring per socket at most. Receives take a buffer of a shared ring when bytes are
 * there, so an idle socket holds none; it is given back before the next completion is looked at. */
#include "server/loop.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/env/env_uring.h"

enum {
    BUFFER_BYTES = 16 * 1024,
    BUFFERS = 128, /* a power of two */
    BUFFER_GROUP = 1,
    LISTENERS_MAX = 4,
    TICK_MS = 1000,
    WAITING_TICK_MS = 2, /* somebody waits for room, which a background thread makes */
    DRAIN_TICK_MS = 20,
    DRAIN_QUIET_MS = 100, /* after goodbye, before silent connections are closed */
    LINGER_MS = 2000,
    ACCEPT_RETRY_MS = 100,
};

enum loop_op_kind {
    LOOP_ACCEPT = 1,
    LOOP_RECV,
    LOOP_SEND,
    LOOP_SIGNAL,
    LOOP_CANCEL,
};

struct loop_op {
    enum loop_op_kind kind;
    void *owner;
};

struct loop_socket {
    struct kap_list link;
    struct kap_loop *loop;
    struct kap_connection *connection; /* NULL: lingering or ended */
    int fd;
    bool recv_armed, send_armed, gone;
    int64_t linger_until_ns;
    struct loop_op recv, send;
};

struct loop_listener {
    struct kap_listener listener;
    struct loop_op op, cancel;
    struct kap_loop *loop;
    bool armed;
    int64_t retry_ns;
};

struct kap_loop {
    struct kap_service *service;
    struct kap_store *store;
    struct kap_env *env;
    struct kap_queue *queue;
    struct io_uring *ring;
    struct kap_connection_pool pool;
    struct kap_list sockets; /* live first by age, then lingering */
    uint32_t n_sockets, n_lingering;
    struct loop_listener listeners[LISTENERS_MAX];
    uint32_t n_listeners;
    int signal_fd;
    struct loop_op signal_op;
    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffers;
    bool buffers_short; /* a receive found no buffer: arm it again */
    uint32_t drain_grace_ms;
    int64_t tick_ns, drain_ns; /* next tick; begin of the drain, 0: not yet */
    int signals;
};

static int64_t now_ns(const struct kap_loop *loop)
{
    return kap_env_mono_ns(loop->env);
}

static struct io_uring_sqe *entry_of(struct kap_loop *loop)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(loop->ring);
    while (!sqe) {
        (void)io_uring_submit(loop->ring);
        sqe = io_uring_get_sqe(loop->ring);
    }
    return sqe;
}

/* After the prep, which clears it. */
static void entry_mark(struct io_uring_sqe *sqe, struct loop_op *op)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)op | 1);
}

/* ---- buffers */

static void buffer_give(struct kap_loop *loop, uint16_t slot)
{
    io_uring_buf_ring_add(loop->buffer_ring, loop->buffers + (size_t)slot * BUFFER_BYTES, BUFFER_BYTES, slot,
                          io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(loop->buffer_ring, 1);
}

static kap_status buffers_create(struct kap_loop *loop, struct kap_error *error)
{
    size_t ring_bytes = BUFFERS * sizeof(struct io_uring_buf);
    loop->buffer_ring = kap_memory_alloc_aligned(&loop->env->memory, 4096, (ring_bytes + 4095) / 4096 * 4096);
    loop->buffers = kap_memory_alloc_aligned(&loop->env->memory, 4096, (size_t)BUFFERS * BUFFER_BYTES);
    if (!loop->buffer_ring || !loop->buffers)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for the receive buffers");
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)loop->buffer_ring, .ring_entries = BUFFERS, .bgid = BUFFER_GROUP};
    int result = io_uring_register_buf_ring(loop->ring, &registration, 0);
    if (result < 0)
        return kap_error_set(error, KAP_NOT_PERMITTED,
                             "this kernel's io_uring has no buffer rings (%s); Linux 5.19 or newer is needed",
                             strerrorname_np(-result));
    io_uring_buf_ring_init(loop->buffer_ring);
    for (uint16_t slot = 0; slot < BUFFERS; slot++)
        buffer_give(loop, slot);
    return KAP_OK;
}

/* ---- arming */

static void recv_arm(struct loop_socket *socket)
{
    struct io_uring_sqe *sqe = entry_of(socket->loop);
    io_uring_prep_recv(sqe, socket->fd, NULL, BUFFER_BYTES, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    entry_mark(sqe, &socket->recv);
    socket->recv_armed = true;
}

static void send_arm(struct loop_socket *socket, struct kap_bytes bytes)
{
    struct io_uring_sqe *sqe = entry_of(socket->loop);
    io_uring_prep_send(sqe, socket->fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_WAITALL);
    entry_mark(sqe, &socket->send);
    socket->send_armed = true;
}

static void accept_arm(struct loop_listener *listener)
{
    struct io_uring_sqe *sqe = entry_of(listener->loop);
    io_uring_prep_multishot_accept(sqe, listener->listener.fd, NULL, NULL, SOCK_CLOEXEC);
    entry_mark(sqe, &listener->op);
    listener->armed = true;
    listener->retry_ns = 0;
}

static void signal_arm(struct kap_loop *loop)
{
    struct io_uring_sqe *sqe = entry_of(loop);
    io_uring_prep_poll_add(sqe, loop->signal_fd, POLLIN);
    entry_mark(sqe, &loop->signal_op);
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
static void socket_gone(struct loop_socket *socket)
{
    socket->gone = true;
    if (socket->connection && !socket->send_armed) {
        kap_connection_close(socket->connection);
        socket->connection = NULL;
    }
    socket_end(socket);
}

static void socket_linger(struct loop_socket *socket)
{
    kap_connection_close(socket->connection);
    socket->connection = NULL;
    socket->linger_until_ns = now_ns(socket->loop) + (int64_t)LINGER_MS * 1000000;
    socket->loop->n_lingering++;
    kap_list_remove(&socket->link);
    kap_list_push_back(&socket->loop->sockets, &socket->link);
    (void)shutdown(socket->fd, SHUT_WR);
    if (!socket->recv_armed)
        recv_arm(socket);
}

/* What the connection wants of its socket now. */
static void socket_update(struct loop_socket *socket)
{
    struct kap_connection *connection = socket->connection;
    if (!connection || socket->gone)
        return;
    if (!socket->send_armed) {
        struct kap_bytes output = kap_connection_output(connection);
        if (output.len > 0) {
            send_arm(socket, output);
        } else if (kap_connection_is_over(connection)) {
            socket_linger(socket);
            return;
        }
    }
    if (!socket->recv_armed && kap_connection_wants(connection))
        recv_arm(socket);
}

static void recv_done(struct loop_socket *socket, int32_t result, uint32_t flags)
{
    struct kap_loop *loop = socket->loop;
    uint16_t slot = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
    socket->recv_armed = false;
    if (result > 0 && socket->connection && !socket->gone)
        kap_connection_feed(socket->connection, kap_bytes(loop->buffers + (size_t)slot * BUFFER_BYTES, (size_t)result));
    if (flags & IORING_CQE_F_BUFFER)
        buffer_give(loop, slot);
    if (result == -ENOBUFS || result == -EINTR || result == -EAGAIN) {
        loop->buffers_short = true;
        return;
    }
    if (result <= 0 || socket->gone)
        socket_gone(socket);
    else if (!socket->connection)
        recv_arm(socket); /* lingering */
}

static void send_done(struct loop_socket *socket, int32_t result)
{
    socket->send_armed = false;
    if (socket->gone || result < 0) {
        socket_gone(socket);
        return;
    }
    kap_connection_sent(socket->connection, (size_t)result);
}

/* ---- accepting */

static void refuse(struct kap_loop *loop, int fd, const struct kap_peer *peer, kap_status status)
{
    kap_log(KAP_LOG_WARN, "loop", "msg=\"connection refused\" reason=%s peer=%s open=%u", kap_status_name(status),
            peer->address, loop->pool.stats.open);
    close(fd);
}

static void accepted(struct loop_listener *listener, int fd)
{
    struct kap_loop *loop = listener->loop;
    struct kap_peer peer;
    kap_listener_accepted(&listener->listener, fd, &peer);
    struct loop_socket *socket = kap_memory_alloc(&loop->env->memory, sizeof *socket);
    kap_status status = socket ? kap_connection_open(&loop->pool, &peer, socket, &socket->connection) : KAP_NO_MEMORY;
    if (status != KAP_OK) {
        kap_memory_free(&loop->env->memory, socket);
        refuse(loop, fd, &peer, status);
        return;
    }
    socket->loop = loop;
    socket->fd = fd;
    socket->recv = (struct loop_op){.kind = LOOP_RECV, .owner = socket};
    socket->send = (struct loop_op){.kind = LOOP_SEND, .owner = socket};
    kap_list_push_front(&loop->sockets, &socket->link);
    loop->n_sockets++;
    recv_arm(socket);
}

static void accept_done(struct loop_listener *listener, int32_t result, uint32_t flags)
{
    struct kap_loop *loop = listener->loop;
    listener->armed = (flags & IORING_CQE_F_MORE) != 0;
    if (result >= 0) {
        accepted(listener, result);
        if (!listener->armed && loop->drain_ns == 0)
            accept_arm(listener);
        return;
    }
    if (listener->armed || loop->drain_ns != 0)
        return;
    if (result == -EMFILE || result == -ENFILE || result == -ENOMEM)
        kap_log(KAP_LOG_WARN, "loop", "msg=\"cannot accept; raise the limit of open files\" errno=%s",
                strerrorname_np(-result));
    listener->retry_ns = now_ns(loop) + (int64_t)ACCEPT_RETRY_MS * 1000000;
}

static void foreign(void *context, uint64_t user_data, int32_t result, uint32_t flags)
{
    struct kap_loop *loop = context;
    struct loop_op *op = (struct loop_op *)(uintptr_t)(user_data & ~(uint64_t)1); // NOLINT
    switch (op->kind) {
    case LOOP_ACCEPT:
        accept_done(op->owner, result, flags);
        break;
    case LOOP_RECV:
        recv_done(op->owner, result, flags);
        break;
    case LOOP_SEND:
        send_done(op->owner, result);
        break;
    case LOOP_SIGNAL:
        while (kap_listener_signal_take(loop->signal_fd) != 0)
            loop->signals++;
        signal_arm(loop);
        break;
    case LOOP_CANCEL:
        break;
    }
}

/* ---- time */

static void sockets_tick(struct kap_loop *loop, int64_t now)
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
            socket_update(socket);
    }
    loop->buffers_short = false;
}

static void tick(struct kap_loop *loop)
{
    int64_t now = now_ns(loop);
    if (now < loop->tick_ns && !loop->buffers_short)
        return;
    if (now >= loop->tick_ns) {
        kap_connection_pool_tick(&loop->pool);
        loop->tick_ns = now + (int64_t)(loop->drain_ns ? DRAIN_TICK_MS : TICK_MS) * 1000000;
    }
    sockets_tick(loop, now);
    for (uint32_t i = 0; i < loop->n_listeners; i++)
        if (loop->listeners[i].retry_ns != 0 && now >= loop->listeners[i].retry_ns)
            accept_arm(&loop->listeners[i]);
}

static int64_t wait_of(struct kap_loop *loop)
{
    struct kap_service_stats stats;
    int64_t now = now_ns(loop), wait = INT64_MAX;
    int64_t deadline = kap_service_next_deadline(loop->service);
    kap_service_stats(loop->service, &stats);
    if (loop->buffers_short)
        return 0;
    if (deadline != INT64_MAX)
        wait = KAP_MAX(deadline - now, 0);
    if (stats.waiting > 0)
        wait = KAP_MIN(wait, (int64_t)WAITING_TICK_MS * 1000000);
    bool timed = loop->n_sockets > 0 || loop->drain_ns != 0;
    for (uint32_t i = 0; i < loop->n_listeners; i++)
        timed = timed || loop->listeners[i].retry_ns != 0;
    if (timed)
        wait = KAP_MIN(wait, KAP_MAX(loop->tick_ns - now, 0));
    return wait == INT64_MAX ? -1 : wait;
}

/* ---- the end */

static void drain_begin(struct kap_loop *loop)
{
    kap_log(KAP_LOG_INFO, "loop", "msg=\"draining\" connections=%u in_flight=%u", loop->pool.stats.open,
            loop->pool.stats.in_flight);
    loop->drain_ns = now_ns(loop);
    loop->tick_ns = loop->drain_ns;
    for (uint32_t i = 0; i < loop->n_listeners; i++) {
        struct loop_listener *listener = &loop->listeners[i];
        listener->retry_ns = 0;
        if (listener->armed) {
            struct io_uring_sqe *sqe = entry_of(loop);
            io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)&listener->op | 1, 0);
            entry_mark(sqe, &listener->cancel);
        }
        kap_listener_close(&listener->listener);
    }
    kap_connection_pool_drain(&loop->pool, loop->drain_grace_ms);
}

static bool drain_step(struct kap_loop *loop)
{
    int64_t ms = (now_ns(loop) - loop->drain_ns) / 1000000;
    bool enough = ms >= loop->drain_grace_ms || loop->signals > 1;
    struct kap_list *next;
    for (struct kap_list *link = loop->sockets.next; link != &loop->sockets; link = next) {
        struct loop_socket *socket = KAP_OWNER(link, struct loop_socket, link);
        next = link->next;
        if (!socket->connection || socket->gone) {
            if (enough)
                socket_end(socket);
        } else if (enough || (ms >= DRAIN_QUIET_MS && kap_connection_is_idle(socket->connection))) {
            socket_gone(socket);
        }
    }
    return loop->n_sockets == 0;
}

static void round_run(struct kap_loop *loop)
{
    struct kap_read_context *context;
    struct kap_connection *connection;
    while ((context = kap_store_next_ready(loop->store)) != NULL)
        kap_service_resume(loop->service, context);
    (void)kap_service_poll(loop->service);
    tick(loop);
    while ((connection = kap_connection_next_ready(&loop->pool)) != NULL)
        socket_update(kap_connection_owner(connection));
    kap_store_pump(loop->store);
}

kap_status kap_loop_run(struct kap_loop *loop)
{
    for (uint32_t i = 0; i < loop->n_listeners; i++)
        accept_arm(&loop->listeners[i]);
    signal_arm(loop);
    loop->tick_ns = now_ns(loop);
    for (;;) {
        (void)kap_queue_poll(loop->queue, wait_of(loop));
        kap_status failed = kap_store_failed(loop->store);
        if (failed != KAP_OK)
            return failed;
        if (loop->signals > 0 && loop->drain_ns == 0)
            drain_begin(loop);
        round_run(loop);
        if (loop->drain_ns != 0 && drain_step(loop))
            return KAP_OK;
    }
}

/* ---- life */

kap_status kap_loop_create(struct kap_service *service, const struct kap_loop_options *options,
                           struct kap_loop **loop_out, struct kap_error *error)
{
    struct kap_store *store = kap_service_store(service);
    struct kap_env *env = kap_store_env(store);
    KAP_ASSERT(options->n_listeners <= LISTENERS_MAX);
    struct kap_loop *loop = kap_memory_alloc(&env->memory, sizeof *loop);
    if (!loop)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for the loop");
    loop->service = service;
    loop->store = store;
    loop->env = env;
    loop->queue = kap_store_queue(store);
    loop->ring = kap_env_uring_ring(loop->queue);
    loop->signal_fd = options->signal_fd;
    loop->signal_op = (struct loop_op){.kind = LOOP_SIGNAL, .owner = loop};
    loop->drain_grace_ms = options->drain_grace_ms;
    kap_list_init(&loop->sockets);
    kap_status status = buffers_create(loop, error);
    if (status != KAP_OK) {
        kap_memory_free(&env->memory, loop->buffers);
        kap_memory_free(&env->memory, loop->buffer_ring);
        kap_memory_free(&env->memory, loop);
        return status;
    }
    kap_env_uring_set_foreign(loop->queue, foreign, loop);
    kap_connection_pool_init(&loop->pool, service, &options->connection);
    for (uint32_t i = 0; i < options->n_listeners; i++) {
        struct loop_listener *listener = &loop->listeners[loop->n_listeners++];
        listener->listener = options->listeners[i];
        listener->loop = loop;
        listener->op = (struct loop_op){.kind = LOOP_ACCEPT, .owner = listener};
        listener->cancel = (struct loop_op){.kind = LOOP_CANCEL, .owner = listener};
    }
    *loop_out = loop;
    return KAP_OK;
}

/* The store still waits on the queue while it closes: what comes in for the sockets then is nobody's. */
static void foreign_ignored(void *context, uint64_t user_data, int32_t result, uint32_t flags)
{
    (void)context;
    (void)user_data;
    (void)result;
    (void)flags;
}

void kap_loop_destroy(struct kap_loop *loop)
{
    kap_env_uring_set_foreign(loop->queue, foreign_ignored, NULL);
    struct kap_memory *memory = &loop->env->memory;
    for (uint32_t i = 0; i < loop->n_listeners; i++)
        kap_listener_close(&loop->listeners[i].listener);
    kap_connection_pool_deinit(&loop->pool);
    (void)io_uring_unregister_buf_ring(loop->ring, BUFFER_GROUP);
    kap_memory_free(memory, loop->buffers);
    kap_memory_free(memory, loop->buffer_ring);
    kap_memory_free(memory, loop);
}

const struct kap_connection_pool *kap_loop_connections(const struct kap_loop *loop)
{
    return &loop->pool;
}
