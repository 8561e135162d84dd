/* One thread per worker. A worker's life:
 *
 * started -> running   its thread drives step(), polling its queue in between
 * running -> ended     step() returned DONE, or IDLE while stopping; what is in flight is waited for first
 * ended   -> freed     stop joins the thread. A wake-up in between finds the queue and does nothing. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/env/uring_internal.h"

enum { WORKER_QUEUE_DEPTH = 64 };

struct uring_worker {
    struct kap_worker base;
    kap_step_fn step;
    void *context;
    struct kap_queue *queue;
    pthread_t thread;
    int64_t sleep_ns; /* the thread's own */
    _Atomic int stopping;
    char name[16];
};

static _Thread_local struct uring_worker *worker_here;

static void *worker_run(void *argument)
{
    struct uring_worker *worker = argument;
    struct uring_queue *queue = KAP_OWNER(worker->queue, struct uring_queue, base);
    worker_here = worker;
    pthread_setname_np(pthread_self(), worker->name);
    for (;;) {
        bool stopping = atomic_load(&worker->stopping) != 0;
        worker->sleep_ns = -1;
        enum kap_step next = worker->step(worker->context, worker->queue);
        if (next == KAP_STEP_DONE || (next == KAP_STEP_IDLE && stopping))
            break;
        if (next == KAP_STEP_AGAIN)
            uring_queue_poll(worker->queue, 0);
        else
            uring_queue_wait(queue, next == KAP_STEP_IDLE ? worker->sleep_ns : -1);
    }
    while (queue->owned > 0)
        uring_queue_poll(worker->queue, -1);
    return NULL;
}

/* Signals are for the main thread. */
static int thread_create(struct uring_worker *worker)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&worker->thread, NULL, worker_run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

/* worker_out is written before the thread starts, because the first step may want to sleep. */
kap_status uring_worker_start(struct kap_env *env, const char *name, kap_step_fn step, void *context,
                              struct kap_worker **worker_out)
{
    struct uring_worker *worker = kap_memory_alloc(&env->memory, sizeof *worker);
    if (!worker)
        return KAP_NO_MEMORY;
    worker->base.env = env;
    worker->step = step;
    worker->context = context;
    snprintf(worker->name, sizeof worker->name, "%s", name);
    kap_status status = uring_queue_create(env, WORKER_QUEUE_DEPTH, &worker->queue, NULL);
    if (status != KAP_OK)
        goto free_worker;
    *worker_out = &worker->base;
    int result = thread_create(worker);
    if (result != 0) {
        *worker_out = NULL;
        status = result == EAGAIN ? KAP_NO_MEMORY : KAP_IO;
        goto destroy_queue;
    }
    return KAP_OK;
destroy_queue:
    uring_queue_destroy(worker->queue);
free_worker:
    kap_memory_free(&env->memory, worker);
    return status;
}

void uring_worker_wake(struct kap_worker *base)
{
    kap_env_uring_wake(KAP_OWNER(base, struct uring_worker, base)->queue);
}

void uring_worker_sleep(struct kap_worker *base, int64_t ns)
{
    struct uring_worker *worker = KAP_OWNER(base, struct uring_worker, base);
    KAP_ASSERT(worker_here == worker);
    worker->sleep_ns = KAP_MAX(ns, 1);
}

void uring_worker_stop(struct kap_worker *base)
{
    struct uring_worker *worker = KAP_OWNER(base, struct uring_worker, base);
    atomic_store(&worker->stopping, 1);
    uring_worker_wake(base);
    pthread_join(worker->thread, NULL);
    uring_queue_destroy(worker->queue);
    kap_memory_free(&base->env->memory, worker);
}
