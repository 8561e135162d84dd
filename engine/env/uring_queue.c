/* One ring: binding to its thread, waiting, reaping, waking. The operations themselves are in uring_io.c.
 *
 * user_data is a kap_io (aligned, so its low bits are clear), WAKE for the read of the eventfd, or foreign (bit 0). */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/env/uring_internal.h"

enum { WAKE = 2, FOREIGN_BIT = 1 };

static _Thread_local char thread_mark;

kap_status uring_queue_create(struct kap_env *base, uint32_t depth, struct kap_queue **queue_out,
                              struct kap_error *error)
{
    struct uring_env *env = KAP_OWNER(base, struct uring_env, base);
    struct uring_queue *queue = kap_memory_alloc(&base->memory, sizeof *queue);
    if (!queue)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for an I/O queue");
    queue->base.env = base;
    queue->depth = KAP_MAX(depth, 1);
    kap_status status;
    queue->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (queue->wake_fd < 0) {
        status =
            kap_error_set(error, KAP_IO, "no file descriptor is left for an I/O queue; raise the limit (ulimit -n)");
        goto free_queue;
    }
    status = uring_ring_setup(env, queue->depth + 1, &queue->ring, error);
    if (status != KAP_OK)
        goto close_wake;
    *queue_out = &queue->base;
    return KAP_OK;
close_wake:
    close(queue->wake_fd);
free_queue:
    kap_memory_free(&base->memory, queue);
    return status;
}

void uring_queue_destroy(struct kap_queue *base)
{
    struct uring_queue *queue = KAP_OWNER(base, struct uring_queue, base);
    KAP_ASSERT(queue->owned == 0);
    /* The registration of the ring's descriptor belongs to the owner's thread and ended with it: giving it back from
     * here would take away a slot of this thread's. */
    if (queue->owner != &thread_mark)
        queue->ring.int_flags = 0;
    io_uring_queue_exit(&queue->ring);
    close(queue->wake_fd);
    kap_memory_free(&base->env->memory, queue);
}

/* Debian's shared liburing lacks io_uring_enable_rings, hence the plain system call. */
static void queue_bind(struct uring_queue *queue)
{
    if (queue->owner) {
        KAP_ASSERT(queue->owner == &thread_mark);
        return;
    }
    queue->owner = &thread_mark;
    long result = syscall(__NR_io_uring_register, queue->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    KAP_ASSERT(result == 0);
    (void)io_uring_register_ring_fd(&queue->ring); /* cheaper entries; works without */
}

static void wake_arm(struct uring_queue *queue)
{
    if (queue->wake_armed)
        return;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring);
    if (!sqe)
        return; /* the ring is full, so something else will end the wait; armed for the next */
    io_uring_prep_read(sqe, queue->wake_fd, &queue->wake_value, sizeof queue->wake_value, 0);
    io_uring_sqe_set_data64(sqe, WAKE);
    queue->wake_armed = true;
}

/* Nobody may find out about a broken ring later: what is not transient is our bug. */
static void enter_check(int result)
{
    if (result >= 0 || result == -EINTR || result == -ETIME || result == -EAGAIN || result == -EBUSY ||
        result == -ENOMEM)
        return;
    kap_log(KAP_LOG_ERROR, "env", "msg=\"io_uring_enter failed\" errno=%s", strerrorname_np(-result));
    KAP_ASSERT(result >= 0);
}

static void enter_now(struct uring_queue *queue)
{
    unsigned flags = IO_URING_READ_ONCE(*queue->ring.sq.kflags);
    bool asked = (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    if (asked)
        enter_check(io_uring_submit_and_get_events(&queue->ring));
    else if (io_uring_sq_ready(&queue->ring) > 0)
        enter_check(io_uring_submit(&queue->ring));
}

/* Returns true when someone woke us or a signal came: the caller of poll should look around. */
static bool enter_and_sleep(struct uring_queue *queue, int64_t wait_ns)
{
    wake_arm(queue);
    atomic_store(&queue->sleeping, 1);
    int result = 0;
    if (!atomic_load(&queue->woken)) {
        struct __kernel_timespec timeout = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
        struct io_uring_cqe *cqe;
        result = io_uring_submit_and_wait_timeout(&queue->ring, &cqe, 1, wait_ns < 0 ? NULL : &timeout, NULL);
        enter_check(result);
    } else {
        enter_now(queue);
    }
    atomic_store(&queue->sleeping, 0);
    return atomic_exchange(&queue->woken, 0) != 0 || result == -EINTR;
}

static int completion_dispatch(struct uring_queue *queue, const struct io_uring_cqe *cqe)
{
    if (cqe->user_data & FOREIGN_BIT) {
        KAP_ASSERT(queue->foreign);
        queue->foreign(queue->foreign_context, cqe->user_data, cqe->res, cqe->flags);
        return 1;
    }
    if (cqe->user_data == WAKE) {
        queue->wake_armed = false;
        return 0;
    }
    return uring_completed(queue, (struct kap_io *)(uintptr_t)cqe->user_data, cqe->res); // NOLINT
}

/* One entry at a time, given back before its callback, which may use the ring. Only what is there now: a callback that
 * keeps submitting cannot keep us. */
static int reap(struct uring_queue *queue)
{
    struct io_uring_cq *cq = &queue->ring.cq;
    int count = 0;
    for (unsigned left = io_uring_cq_ready(&queue->ring); left > 0; left--) {
        struct io_uring_cqe cqe = cq->cqes[*cq->khead & cq->ring_mask];
        io_uring_cq_advance(&queue->ring, 1);
        count += completion_dispatch(queue, &cqe);
    }
    return count;
}

static int queue_poll(struct uring_queue *queue, int64_t wait_ns, bool sleep_alone)
{
    queue_bind(queue);
    struct kap_env *env = queue->base.env;
    int64_t until = wait_ns > 0 ? env->ops->mono_ns(env) + wait_ns : 0;
    for (bool woken = false;;) {
        uring_start_waiting(queue);
        int count = uring_run_ready(queue);
        bool sleep = !woken && count == 0 && wait_ns != 0 && (wait_ns > 0 || sleep_alone || queue->owned > 0);
        if (sleep && io_uring_cq_ready(&queue->ring) == 0)
            woken = enter_and_sleep(queue, wait_ns);
        else
            enter_now(queue);
        count += reap(queue);
        if (!sleep || woken || count > 0)
            return count;
        /* Part of a longer operation ended, or the wait did. */
        if (wait_ns > 0 && (wait_ns = until - env->ops->mono_ns(env)) <= 0)
            return 0;
    }
}

int uring_queue_poll(struct kap_queue *base, int64_t wait_ns)
{
    struct uring_queue *queue = KAP_OWNER(base, struct uring_queue, base);
    return queue_poll(queue, wait_ns, queue->foreign != NULL);
}

int uring_queue_wait(struct uring_queue *queue, int64_t wait_ns)
{
    return queue_poll(queue, wait_ns, true);
}

void uring_submit(struct kap_queue *base, struct kap_io *io)
{
    struct uring_queue *queue = KAP_OWNER(base, struct uring_queue, base);
    queue_bind(queue);
    uring_begin(queue, io);
}

struct io_uring *kap_env_uring_ring(struct kap_queue *base)
{
    KAP_ASSERT(base->env->ops == &uring_ops);
    struct uring_queue *queue = KAP_OWNER(base, struct uring_queue, base);
    queue_bind(queue);
    return &queue->ring;
}

void kap_env_uring_set_foreign(struct kap_queue *base, kap_uring_foreign_fn foreign, void *context)
{
    KAP_ASSERT(base->env->ops == &uring_ops);
    struct uring_queue *queue = KAP_OWNER(base, struct uring_queue, base);
    queue->foreign = foreign;
    queue->foreign_context = context;
}

/* woken is set before sleeping is read, and the sleeper does it the other way round: one of the two sees the other. */
void kap_env_uring_wake(struct kap_queue *base)
{
    KAP_ASSERT(base->env->ops == &uring_ops);
    struct uring_queue *queue = KAP_OWNER(base, struct uring_queue, base);
    if (atomic_exchange(&queue->woken, 1) != 0 || !atomic_load(&queue->sleeping))
        return;
    uint64_t one = 1;
    ssize_t written;
    do
        written = write(queue->wake_fd, &one, sizeof one);
    while (written < 0 && errno == EINTR);
}
