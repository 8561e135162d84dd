#include "engine/env/env_failing.h"

#include "engine/base/assert.h"
#include "engine/base/spin.h"

struct failing_order {
    uint64_t left; /* 0: no order, or it was carried out; 1: the next one */
    kap_status status;
    bool sticky;
};

struct failing_env {
    struct kap_env base;
    struct kap_env *inner;
    struct kap_spin lock; /* guards the three below */
    struct failing_order orders[KAP_FAILING_CLASSES];
    uint64_t counts[KAP_FAILING_CLASSES];
    uint64_t failures;
};

struct failing_queue {
    struct kap_queue base;
    struct kap_queue *inner;
    struct kap_io *first, *last; /* failed, done() is due; linked by env_private[0] */
};

struct failing_worker {
    struct kap_worker base;
    struct kap_worker *inner;
    kap_step_fn step;
    void *context;
    struct failing_queue queue;
};

static const struct kap_env_ops failing_ops;

static struct failing_env *env_of(struct kap_env *base)
{
    KAP_ASSERT(base->ops == &failing_ops);
    return KAP_OWNER(base, struct failing_env, base);
}

/* One more of a class; the caller holds the lock. KAP_OK: let it through. */
static kap_status order_take(struct failing_env *env, enum kap_failing_class class)
{
    struct failing_order *order = &env->orders[class];
    env->counts[class]++;
    if (order->left == 0)
        return KAP_OK;
    if (order->left > 1) {
        order->left--;
        return KAP_OK;
    }
    if (!order->sticky)
        order->left = 0;
    return order->status;
}

static int allow(void *context, size_t bytes)
{
    (void)bytes;
    struct failing_env *env = context;
    kap_spin_lock(&env->lock);
    kap_status status = order_take(env, KAP_FAILING_ALLOC);
    env->failures += status != KAP_OK;
    kap_spin_unlock(&env->lock);
    return status == KAP_OK;
}

struct kap_env *kap_failing_create(struct kap_env *inner)
{
    struct failing_env *env = kap_memory_alloc(&inner->memory, sizeof *env);
    if (!env)
        return NULL;
    env->base.ops = &failing_ops;
    env->base.memory.allow = allow;
    env->base.memory.allow_context = env;
    env->inner = inner;
    return &env->base;
}

void kap_failing_destroy(struct kap_env *base)
{
    if (base)
        kap_memory_free(&env_of(base)->inner->memory, env_of(base));
}

void kap_failing_at(struct kap_env *base, enum kap_failing_class class, uint64_t n, kap_status status, bool sticky)
{
    struct failing_env *env = env_of(base);
    KAP_ASSERT(n == 0 || status != KAP_OK);
    kap_spin_lock(&env->lock);
    env->orders[class] = (struct failing_order){.left = n, .status = status, .sticky = sticky};
    kap_spin_unlock(&env->lock);
}

uint64_t kap_failing_count(struct kap_env *base, enum kap_failing_class class)
{
    struct failing_env *env = env_of(base);
    kap_spin_lock(&env->lock);
    uint64_t count = env->counts[class];
    kap_spin_unlock(&env->lock);
    return count;
}

uint64_t kap_failing_failures(struct kap_env *base)
{
    struct failing_env *env = env_of(base);
    kap_spin_lock(&env->lock);
    uint64_t failures = env->failures;
    kap_spin_unlock(&env->lock);
    return failures;
}

struct kap_queue *kap_failing_inner_queue(struct kap_queue *base)
{
    KAP_ASSERT(base->env->ops == &failing_ops);
    return KAP_OWNER(base, struct failing_queue, base)->inner;
}

static kap_status failing_queue_create(struct kap_env *base, uint32_t depth, struct kap_queue **queue_out,
                                       struct kap_error *error)
{
    struct kap_env *inner = env_of(base)->inner;
    struct failing_queue *queue = kap_memory_alloc(&inner->memory, sizeof *queue);
    if (!queue)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for an I/O queue");
    queue->base.env = base;
    kap_status status = kap_queue_create(inner, depth, &queue->inner, error);
    if (status != KAP_OK) {
        kap_memory_free(&inner->memory, queue);
        return status;
    }
    *queue_out = &queue->base;
    return KAP_OK;
}

static void failing_queue_destroy(struct kap_queue *base)
{
    struct failing_queue *queue = KAP_OWNER(base, struct failing_queue, base);
    KAP_ASSERT(!queue->first);
    kap_queue_destroy(queue->inner);
    kap_memory_free(&env_of(base->env)->inner->memory, queue);
}

static enum kap_failing_class class_of(const struct kap_io *io)
{
    switch (io->op) {
    case KAP_IO_OPEN:
        return KAP_FAILING_OPEN;
    case KAP_IO_READ:
    case KAP_IO_SIZE:
        return KAP_FAILING_READ;
    case KAP_IO_WRITE:
    case KAP_IO_TRUNCATE:
        return KAP_FAILING_WRITE;
    case KAP_IO_SYNC:
    case KAP_IO_SYNC_DIR:
        return KAP_FAILING_SYNC;
    case KAP_IO_RENAME:
        return KAP_FAILING_RENAME;
    case KAP_IO_LINK:
        return KAP_FAILING_LINK;
    case KAP_IO_UNLINK:
    case KAP_IO_RMDIR:
        return KAP_FAILING_UNLINK;
    case KAP_IO_MKDIR:
        return KAP_FAILING_MKDIR;
    case KAP_IO_CLOSE:
        break;
    }
    return KAP_FAILING_CLASSES;
}

/* Both orders count it, and the one of its own class is the more particular. */
static kap_status io_decide(struct failing_env *env, const struct kap_io *io)
{
    enum kap_failing_class class = class_of(io);
    if (class == KAP_FAILING_CLASSES)
        return KAP_OK;
    kap_spin_lock(&env->lock);
    kap_status own = order_take(env, class), any = order_take(env, KAP_FAILING_ANY);
    kap_status status = own != KAP_OK ? own : any;
    env->failures += status != KAP_OK;
    kap_spin_unlock(&env->lock);
    return status;
}

static void failing_submit(struct kap_queue *base, struct kap_io *io)
{
    struct failing_queue *queue = KAP_OWNER(base, struct failing_queue, base);
    kap_status status = io_decide(env_of(base->env), io);
    if (status == KAP_OK) {
        kap_queue_submit(queue->inner, io);
        return;
    }
    io->status = status;
    io->transferred = 0;
    io->file_out = NULL;
    io->env_private[0] = NULL;
    if (queue->last)
        queue->last->env_private[0] = io;
    else
        queue->first = io;
    queue->last = io;
}

/* Only those that failed before: done() may submit more. */
static int failed_tell(struct failing_queue *queue)
{
    struct kap_io *io = queue->first;
    queue->first = queue->last = NULL;
    int count = 0;
    for (struct kap_io *next; io; io = next, count++) {
        next = io->env_private[0];
        io->done(io);
    }
    return count;
}

static int failing_poll(struct kap_queue *base, int64_t wait_ns)
{
    struct failing_queue *queue = KAP_OWNER(base, struct failing_queue, base);
    int count = failed_tell(queue);
    return count + kap_queue_poll(queue->inner, count > 0 ? 0 : wait_ns);
}

static kap_status failing_list(struct kap_env *base, const char *directory,
                               kap_status (*each)(void *context, const char *name), void *context)
{
    return kap_env_list(env_of(base)->inner, directory, each, context);
}

static kap_status failing_space(struct kap_env *base, const char *directory, uint64_t *free_out, uint64_t *total_out)
{
    return kap_env_space(env_of(base)->inner, directory, free_out, total_out);
}

static int64_t failing_wall_us(struct kap_env *base)
{
    return kap_env_wall_us(env_of(base)->inner);
}

static int64_t failing_mono_ns(struct kap_env *base)
{
    return kap_env_mono_ns(env_of(base)->inner);
}

static void failing_random(struct kap_env *base, void *data, size_t len)
{
    kap_env_random(env_of(base)->inner, data, len);
}

/* The environment below drives this step and knows nothing of failed operations: they are told here, between two steps
 * as any completion, and the worker may not rest while some are due. */
static enum kap_step failing_step(void *context, struct kap_queue *inner)
{
    struct failing_worker *worker = context;
    worker->queue.inner = inner;
    failed_tell(&worker->queue);
    enum kap_step next = worker->step(worker->context, &worker->queue.base);
    if (next == KAP_STEP_DONE)
        while (worker->queue.first)
            failed_tell(&worker->queue);
    return worker->queue.first ? KAP_STEP_AGAIN : next;
}

static kap_status failing_worker_start(struct kap_env *base, const char *name, kap_step_fn step, void *context,
                                       struct kap_worker **worker_out)
{
    struct kap_env *inner = env_of(base)->inner;
    *worker_out = NULL;
    struct failing_worker *worker = kap_memory_alloc(&inner->memory, sizeof *worker);
    if (!worker)
        return KAP_NO_MEMORY;
    worker->base.env = worker->queue.base.env = base;
    worker->step = step;
    worker->context = context;
    *worker_out = &worker->base;
    kap_status status = kap_worker_start(inner, name, failing_step, worker, &worker->inner);
    if (status != KAP_OK) {
        *worker_out = NULL;
        kap_memory_free(&inner->memory, worker);
    }
    return status;
}

static void failing_worker_wake(struct kap_worker *base)
{
    kap_worker_wake(KAP_OWNER(base, struct failing_worker, base)->inner);
}

static void failing_worker_sleep(struct kap_worker *base, int64_t ns)
{
    kap_worker_sleep(KAP_OWNER(base, struct failing_worker, base)->inner, ns);
}

static void failing_worker_stop(struct kap_worker *base)
{
    struct failing_worker *worker = KAP_OWNER(base, struct failing_worker, base);
    kap_worker_stop(worker->inner);
    KAP_ASSERT(!worker->queue.first);
    kap_memory_free(&env_of(base->env)->inner->memory, worker);
}

static const struct kap_env_ops failing_ops = {
    .queue_create = failing_queue_create,
    .queue_destroy = failing_queue_destroy,
    .submit = failing_submit,
    .poll = failing_poll,
    .list = failing_list,
    .space = failing_space,
    .wall_us = failing_wall_us,
    .mono_ns = failing_mono_ns,
    .random = failing_random,
    .worker_start = failing_worker_start,
    .worker_wake = failing_worker_wake,
    .worker_sleep = failing_worker_sleep,
    .worker_stop = failing_worker_stop,
};
