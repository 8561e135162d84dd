/* loop.c - the rounds of the reactor: listeners, signals, time, the end. With loop_socket.c the only one that speaks io_uring
 * for sockets. */
#include "server/loop.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/env/env_uring.h"
#include "server/loop_internal.h"

enum {
    TICK_MS = 1000,
    WAITING_TICK_MS = 2, /* somebody waits for room, which a background thread makes */
    DRAIN_TICK_MS = 20,
    DRAIN_QUIET_MS = 100, /* after goodbye, before silent connections are closed */
    ACCEPT_RETRY_MS = 100,
};

int64_t loop_now_ns(const struct kap_loop *loop)
{
    return kap_env_mono_ns(loop->env);
}

struct io_uring_sqe *loop_entry(struct kap_loop *loop)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(loop->ring);
    while (!sqe) {
        (void)io_uring_submit(loop->ring);
        sqe = io_uring_get_sqe(loop->ring);
    }
    return sqe;
}

/* After the prep, which clears it. */
void loop_entry_mark(struct io_uring_sqe *sqe, struct loop_op *op)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)op | 1);
}

/* ---- accepting */

static void accept_arm(struct loop_listener *listener)
{
    struct io_uring_sqe *sqe = loop_entry(listener->loop);
    io_uring_prep_multishot_accept(sqe, listener->listener.fd, NULL, NULL, SOCK_CLOEXEC);
    loop_entry_mark(sqe, &listener->op);
    listener->armed = true;
    listener->retry_ns = 0;
}

static void signal_arm(struct kap_loop *loop)
{
    struct io_uring_sqe *sqe = loop_entry(loop);
    io_uring_prep_poll_add(sqe, loop->signal_fd, POLLIN);
    loop_entry_mark(sqe, &loop->signal_op);
}

static void accept_done(struct loop_listener *listener, int32_t result, uint32_t flags)
{
    struct kap_loop *loop = listener->loop;
    listener->armed = (flags & IORING_CQE_F_MORE) != 0;
    if (result >= 0) {
        struct kap_peer peer;
        kap_listener_accepted(&listener->listener, result, &peer);
        loop_socket_open(loop, result, &peer);
        if (!listener->armed && loop->drain_ns == 0)
            accept_arm(listener);
        return;
    }
    if (listener->armed || loop->drain_ns != 0)
        return;
    if (result == -EMFILE || result == -ENFILE || result == -ENOMEM)
        kap_log(KAP_LOG_WARN, "loop", "msg=\"cannot accept; raise the limit of open files\" errno=%s",
                strerrorname_np(-result));
    listener->retry_ns = loop_now_ns(loop) + (int64_t)ACCEPT_RETRY_MS * 1000000;
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
        loop_socket_received(op->owner, result, flags);
        break;
    case LOOP_SEND:
        loop_socket_sent(op->owner, result);
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

static void tick(struct kap_loop *loop)
{
    int64_t now = loop_now_ns(loop);
    if (now < loop->tick_ns && !loop->buffers_short)
        return;
    if (now >= loop->tick_ns) {
        kap_connection_pool_tick(&loop->pool);
        loop->tick_ns = now + (int64_t)(loop->drain_ns ? DRAIN_TICK_MS : TICK_MS) * 1000000;
    }
    loop_sockets_tick(loop, now);
    for (uint32_t i = 0; i < loop->n_listeners; i++)
        if (loop->listeners[i].retry_ns != 0 && now >= loop->listeners[i].retry_ns)
            accept_arm(&loop->listeners[i]);
}

static int64_t wait_of(struct kap_loop *loop)
{
    struct kap_service_stats stats;
    int64_t now = loop_now_ns(loop), wait = INT64_MAX;
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
    loop->drain_ns = loop_now_ns(loop);
    loop->tick_ns = loop->drain_ns;
    for (uint32_t i = 0; i < loop->n_listeners; i++) {
        struct loop_listener *listener = &loop->listeners[i];
        listener->retry_ns = 0;
        if (listener->armed) {
            struct io_uring_sqe *sqe = loop_entry(loop);
            io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)&listener->op | 1, 0);
            loop_entry_mark(sqe, &listener->cancel);
        }
        kap_listener_close(&listener->listener);
    }
    kap_connection_pool_drain(&loop->pool, loop->drain_grace_ms);
}

static bool drain_step(struct kap_loop *loop)
{
    int64_t ms = (loop_now_ns(loop) - loop->drain_ns) / 1000000;
    bool enough = ms >= loop->drain_grace_ms || loop->signals > 1;
    return loop_sockets_drain(loop, ms >= DRAIN_QUIET_MS, enough);
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
        loop_socket_update(kap_connection_owner(connection));
    kap_store_pump(loop->store);
}

kap_status kap_loop_run(struct kap_loop *loop)
{
    for (uint32_t i = 0; i < loop->n_listeners; i++)
        accept_arm(&loop->listeners[i]);
    signal_arm(loop);
    loop->tick_ns = loop_now_ns(loop);
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
    KAP_ASSERT(options->n_listeners <= LOOP_LISTENERS_MAX);
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
    kap_status status = loop_buffers_create(loop, error);
    if (status != KAP_OK) {
        loop_buffers_free(loop);
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
    (void)io_uring_unregister_buf_ring(loop->ring, LOOP_BUFFER_GROUP);
    loop_buffers_free(loop);
    kap_memory_free(memory, loop);
}

const struct kap_connection_pool *kap_loop_connections(const struct kap_loop *loop)
{
    return &loop->pool;
}
