/* Workers, queues and time, on one thread and from one seed.
 *
 * ready -> running -> ready     AGAIN
 *                  -> waiting   WAIT_IO: a completion or a wake-up makes it ready
 *                  -> idle      IDLE: as waiting, and so does the time it asked for
 *                  -> ended     DONE, or IDLE while stopping */
#include "engine/env/losing_internal.h"

enum worker_state { WORKER_READY, WORKER_WAITING, WORKER_IDLE, WORKER_ENDED };
enum { WORKER_QUEUE_DEPTH = 64 };

struct losing_worker {
    struct kap_worker base;
    struct losing_worker *next;
    kap_step_fn step;
    void *context;
    struct losing_queue *queue;
    enum worker_state state;
    int64_t wake_at_ns; /* INT64_MAX: no time was asked for */
    bool stopping;
};

kap_status losing_queue_create(struct kap_env *base, uint32_t depth, struct kap_queue **queue_out,
                               struct kap_error *error)
{
    (void)error;
    struct losing_env *env = losing_env_of(base);
    struct losing_queue *queue = losing_alloc(env, sizeof *queue), **end = &env->queues;
    queue->base.env = base;
    queue->depth = KAP_MAX(depth, 1);
    while (*end)
        end = &(*end)->next;
    *end = queue;
    *queue_out = &queue->base;
    return KAP_OK;
}

void losing_queue_destroy(struct kap_queue *base)
{
    struct losing_queue *queue = KAP_OWNER(base, struct losing_queue, base);
    struct losing_env *env = losing_env_of(base->env);
    KAP_ASSERT(queue->in_flight.count == 0 && queue->finished.count == 0);
    struct losing_queue **at = &env->queues;
    while (*at != queue)
        at = &(*at)->next;
    *at = queue->next;
    losing_free(env, queue);
}

static void worker_rouse(struct losing_worker *worker)
{
    if (worker->state != WORKER_ENDED)
        worker->state = WORKER_READY;
}

static bool worker_ready(const struct losing_env *env, const struct losing_worker *worker)
{
    return worker->state == WORKER_READY || (worker->state == WORKER_IDLE && worker->wake_at_ns <= env->now_ns);
}

/* The state is set before the step, so that a wake-up from inside it (by itself, or by what it calls) is not lost. */
static void worker_step(struct losing_env *env, struct losing_worker *worker)
{
    bool stopping = worker->stopping;
    worker->wake_at_ns = INT64_MAX;
    worker->state = WORKER_WAITING;
    env->running = worker;
    enum kap_step next = worker->step(worker->context, &worker->queue->base);
    env->running = NULL;
    losing_trace(env, 0x1000 + (uint64_t)next);
    if (next == KAP_STEP_DONE || (next == KAP_STEP_IDLE && stopping))
        worker->state = WORKER_ENDED;
    else if (next == KAP_STEP_AGAIN)
        worker->state = WORKER_READY;
    else if (next == KAP_STEP_IDLE && worker->state == WORKER_WAITING)
        worker->state = WORKER_IDLE;
}

static void queue_complete_one(struct losing_env *env, struct losing_queue *queue)
{
    uint32_t among = KAP_MIN(queue->depth, queue->in_flight.count);
    uint32_t position = (uint32_t)(losing_chance(&env->chance_schedule) % among);
    struct kap_io *io = queue->in_flight.first;
    for (uint32_t i = 0; i < position; i++)
        io = io->env_private[LOSING_NEXT];
    losing_execute(env, io); /* still in flight, should the power fail at it */
    losing_fifo_take(&queue->in_flight, position);
    if (!queue->worker) {
        losing_fifo_push(&queue->finished, io);
        return;
    }
    worker_rouse(queue->worker);
    io->done(io);
}

static uint32_t candidates(const struct losing_env *env)
{
    uint32_t count = 0;
    for (const struct losing_worker *worker = env->workers; worker; worker = worker->next)
        count += worker_ready(env, worker);
    for (const struct losing_queue *queue = env->queues; queue; queue = queue->next)
        count += queue->in_flight.count > 0;
    return count;
}

/* As kap_losing_run, but the clock goes no further than until_ns. */
static bool run_until(struct losing_env *env, int64_t until_ns)
{
    KAP_ASSERT(!env->running); /* a step may not drive the others */
    uint32_t count = candidates(env);
    if (count == 0) {
        int64_t soonest = INT64_MAX;
        for (const struct losing_worker *worker = env->workers; worker; worker = worker->next)
            if (worker->state == WORKER_IDLE)
                soonest = KAP_MIN(soonest, worker->wake_at_ns);
        if (soonest == INT64_MAX || soonest > until_ns)
            return false;
        env->now_ns = soonest;
        return true;
    }
    uint64_t choice = losing_chance(&env->chance_schedule) % count;
    losing_trace(env, choice);
    for (struct losing_worker *worker = env->workers; worker; worker = worker->next)
        if (worker_ready(env, worker) && choice-- == 0) {
            worker_step(env, worker);
            return true;
        }
    for (struct losing_queue *queue = env->queues; queue; queue = queue->next)
        if (queue->in_flight.count > 0 && choice-- == 0) {
            queue_complete_one(env, queue);
            return true;
        }
    return true;
}

bool kap_losing_run(struct kap_env *base)
{
    return run_until(losing_env_of(base), INT64_MAX);
}

void kap_losing_settle(struct kap_env *base)
{
    struct losing_env *env = losing_env_of(base);
    while (run_until(env, env->now_ns))
        ;
}

void kap_losing_advance(struct kap_env *base, int64_t ns)
{
    KAP_ASSERT(ns >= 0);
    losing_env_of(base)->now_ns += ns;
}

static int finished_tell(struct losing_queue *queue)
{
    int count = 0;
    for (uint32_t left = queue->finished.count; left > 0; left--, count++) {
        struct kap_io *io = losing_fifo_take(&queue->finished, 0);
        io->done(io);
    }
    return count;
}

/* Inside a step only this queue's own operations move: the step is one turn of the executor. */
static int poll_inside_step(struct losing_env *env, struct losing_queue *queue)
{
    if (queue->in_flight.count == 0)
        return finished_tell(queue);
    queue_complete_one(env, queue);
    return queue->worker ? 1 : finished_tell(queue);
}

int losing_poll(struct kap_queue *base, int64_t wait_ns)
{
    struct losing_queue *queue = KAP_OWNER(base, struct losing_queue, base);
    struct losing_env *env = losing_env_of(base->env);
    if (env->running)
        return poll_inside_step(env, queue);
    if (wait_ns < 0 && queue->in_flight.count == 0 && queue->finished.count == 0)
        return 0;
    int64_t until_ns = wait_ns < 0 ? INT64_MAX : env->now_ns + wait_ns;
    while (queue->finished.count == 0) {
        bool moved = run_until(env, until_ns);
        if (wait_ns == 0)
            break;
        if (!moved) {
            env->now_ns = until_ns;
            break;
        }
    }
    return finished_tell(queue);
}

kap_status losing_worker_start(struct kap_env *base, const char *name, kap_step_fn step, void *context,
                               struct kap_worker **worker_out)
{
    (void)name;
    struct losing_env *env = losing_env_of(base);
    struct losing_worker *worker = losing_alloc(env, sizeof *worker), **end = &env->workers;
    struct kap_queue *queue;
    kap_status status = losing_queue_create(base, WORKER_QUEUE_DEPTH, &queue, NULL);
    KAP_ASSERT(status == KAP_OK);
    *worker = (struct losing_worker){.base.env = base,
                                     .step = step,
                                     .context = context,
                                     .queue = KAP_OWNER(queue, struct losing_queue, base),
                                     .wake_at_ns = INT64_MAX};
    worker->queue->worker = worker;
    while (*end)
        end = &(*end)->next;
    *end = worker;
    *worker_out = &worker->base;
    return KAP_OK;
}

void losing_worker_wake(struct kap_worker *base)
{
    worker_rouse(KAP_OWNER(base, struct losing_worker, base));
}

void losing_worker_sleep(struct kap_worker *base, int64_t ns)
{
    struct losing_worker *worker = KAP_OWNER(base, struct losing_worker, base);
    struct losing_env *env = losing_env_of(base->env);
    KAP_ASSERT(env->running == worker);
    worker->wake_at_ns = env->now_ns + KAP_MAX(ns, 1);
}

void losing_worker_stop(struct kap_worker *base)
{
    struct losing_worker *worker = KAP_OWNER(base, struct losing_worker, base);
    struct losing_env *env = losing_env_of(base->env);
    worker->stopping = true;
    worker_rouse(worker);
    while (worker->state != WORKER_ENDED || worker->queue->in_flight.count > 0) {
        bool moved = run_until(env, INT64_MAX);
        KAP_ASSERT(moved); /* else it waits for I/O that it never asked for */
    }
    struct losing_worker **at = &env->workers;
    while (*at != worker)
        at = &(*at)->next;
    *at = worker->next;
    losing_queue_destroy(&worker->queue->base);
    losing_free(env, worker);
}
