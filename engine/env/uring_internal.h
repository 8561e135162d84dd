/* uring_internal.h - what the files of env_uring share. */
#pragma once

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#include "engine/env/env.h"
#include "engine/env/env_uring.h"

struct uring_env {
    struct kap_env base;
    unsigned setup_flags; /* what this kernel accepts, best first; found at create */
};

struct uring_file {
    int fd;
    bool direct; /* O_DIRECT is on */
    bool direct_asked; /* and was asked for: the alignment is checked even where the file system has none */
};

struct uring_fifo {
    struct kap_io *first, *last;
};

/* Fields belong to the owner's thread, except the three of the wake-up. */
struct uring_queue {
    struct kap_queue base;
    struct io_uring ring;
    const void *owner; /* a thread-local address of the owner; NULL before the first use */
    uint32_t depth, in_ring; /* in_ring: operations the kernel has, at most depth */
    uint64_t owned; /* submitted and not done */
    struct uring_fifo waiting; /* beyond depth */
    struct uring_fifo ready; /* finished without the ring; done() is due */
    kap_uring_foreign_fn foreign;
    void *foreign_context;
    int wake_fd;
    bool wake_armed;
    uint64_t wake_value;
    _Atomic int woken; /* a wake-up nobody has acted on */
    _Atomic int sleeping; /* the owner waits or is about to */
};

extern const struct kap_env_ops uring_ops;

kap_status uring_status_of(int error);
kap_status uring_ring_setup(struct uring_env *env, uint32_t entries, struct io_uring *ring, struct kap_error *error);

kap_status uring_queue_create(struct kap_env *env, uint32_t depth, struct kap_queue **queue_out,
                              struct kap_error *error);
void uring_queue_destroy(struct kap_queue *queue);
int uring_queue_poll(struct kap_queue *queue, int64_t wait_ns);
/* As poll, and -1 sleeps even when nothing is in flight: until a wake-up. */
int uring_queue_wait(struct uring_queue *queue, int64_t wait_ns);

void uring_submit(struct kap_queue *queue, struct kap_io *io);
/* Takes an operation: to the ring, to the ready ones when it needs none, or to the waiting ones. */
void uring_begin(struct uring_queue *queue, struct kap_io *io);
/* Hands waiting operations to the ring as far as depth allows. */
void uring_start_waiting(struct uring_queue *queue);
/* The kernel answered; returns 1 when the operation is finished and done() was called. */
int uring_completed(struct uring_queue *queue, struct kap_io *io, int result);
int uring_run_ready(struct uring_queue *queue);

kap_status uring_worker_start(struct kap_env *env, const char *name, kap_step_fn step, void *context,
                              struct kap_worker **worker_out);
void uring_worker_wake(struct kap_worker *worker);
void uring_worker_sleep(struct kap_worker *worker, int64_t ns);
void uring_worker_stop(struct kap_worker *worker);
