/* env.h - the one seam between kap and the outside: files, clock, entropy, threads, memory.
 *
 * Nothing else in engine/ or server/ may call the system for these (tests/tidy.py refuses it), so a test can replace
 * the whole world: env_uring.c is the real one, env_failing.c fails the n-th operation of another, env_losing.c keeps a
 * disk in memory that forgets everything not synced, and steps workers from a seed.
 *
 * Files    submit and complete. An operation is a struct kap_io owned by its caller until done() is called; done() runs
 *          on the thread that polls the queue, never inside kap_queue_submit. Names are paths; their directory is what
 *          SYNC_DIR makes durable. A name of at most KAP_PATH_BYTES_MAX bytes.
 * Threads  a queue belongs to the thread that first submits to it or polls it; to change threads, make another. The
 *          clock, entropy and memory: any thread.
 * Steps    no module blocks and no module owns a thread: work is a step function that a worker drives. A step takes at
 *          most about 2 ms or 1 MiB of I/O.
 * Errors   KAP_IO with errno's meaning folded in: KAP_NO_SPACE, KAP_NO_FILE, KAP_EXISTS, KAP_LOCKED, KAP_NOT_PERMITTED.
 *          errno stops here. KAP_CRASHED: the simulated machine is off; nothing after it took effect.
 */
#pragma once

#include "engine/base/bytes.h"
#include "engine/base/memory.h"
#include "engine/base/status.h"

enum {
    KAP_PATH_BYTES_MAX = 1024,
    KAP_DIRECT_ALIGN = 4096, /* offset, length and memory of O_DIRECT transfers */
};

struct kap_env;
struct kap_queue;
struct kap_file;
struct kap_worker;

enum kap_io_op {
    KAP_IO_OPEN = 1, /* name, flags -> file_out */
    KAP_IO_CLOSE, /* file; the handle is gone whatever the status */
    KAP_IO_READ, /* file, data, len, offset -> transferred; less than len only at the end of the file */
    KAP_IO_WRITE, /* file, data, len, offset, flags & KAP_WRITE_DSYNC; all of it or an error */
    KAP_IO_SYNC, /* file: data and size durable, not its name */
    KAP_IO_TRUNCATE, /* file, len = new size */
    KAP_IO_SIZE, /* file -> size_out */
    KAP_IO_SYNC_DIR, /* name: the directory's entries (create, rename, link, unlink) durable */
    KAP_IO_RENAME, /* name -> name_to, replacing */
    KAP_IO_LINK, /* hard link name_to to name; KAP_EXISTS */
    KAP_IO_UNLINK, /* name; KAP_NO_FILE */
    KAP_IO_MKDIR, /* name; KAP_EXISTS */
    KAP_IO_RMDIR, /* name; must be empty */
};

enum {
    KAP_OPEN_READ = 1,
    KAP_OPEN_WRITE = 2, /* implies read */
    KAP_OPEN_CREATE = 4, /* make it if absent */
    KAP_OPEN_EXCLUSIVE = 8, /* with CREATE: KAP_EXISTS when it is there */
    /* Bypass the page cache; transfers aligned to KAP_DIRECT_ALIGN. Falls back silently where it does not exist. */
    KAP_OPEN_DIRECT = 16,
    KAP_OPEN_LOCK = 32, /* hold an exclusive lock while open; KAP_LOCKED when another process holds it */
    KAP_WRITE_DSYNC = 64, /* durable when done, with the size */
};

struct kap_io {
    /* Set by the caller. */
    enum kap_io_op op;
    uint32_t flags;
    struct kap_file *file;
    const char *name, *name_to; /* must live until done */
    void *data;
    size_t len;
    uint64_t offset;
    /* Names the sync this operation is, for the build that removes one sync at a time (-Dlose_sync); NULL otherwise.
     * See KAP_SYNC_POINT in sync_points.h. */
    const char *sync_point;
    void (*done)(struct kap_io *io);
    void *context;
    /* Set at completion. */
    kap_status status;
    size_t transferred;
    struct kap_file *file_out;
    uint64_t size_out;
    /* The environment's while under way. */
    void *env_private[4];
};

enum kap_step {
    KAP_STEP_AGAIN, /* more to do now */
    KAP_STEP_WAIT_IO, /* call again after a completion */
    KAP_STEP_IDLE, /* call again after kap_worker_wake, or when the time given by kap_worker_sleep passed */
    KAP_STEP_DONE, /* never call again */
};
typedef enum kap_step (*kap_step_fn)(void *context, struct kap_queue *queue);

struct kap_env_ops {
    kap_status (*queue_create)(struct kap_env *env, uint32_t depth, struct kap_queue **queue_out,
                               struct kap_error *error);
    void (*queue_destroy)(struct kap_queue *queue);
    void (*submit)(struct kap_queue *queue, struct kap_io *io);
    int (*poll)(struct kap_queue *queue, int64_t wait_ns);
    kap_status (*list)(struct kap_env *env, const char *directory, kap_status (*each)(void *context, const char *name),
                       void *context);
    kap_status (*space)(struct kap_env *env, const char *directory, uint64_t *free_out, uint64_t *total_out);
    int64_t (*wall_us)(struct kap_env *env);
    int64_t (*mono_ns)(struct kap_env *env);
    void (*random)(struct kap_env *env, void *data, size_t len);
    kap_status (*worker_start)(struct kap_env *env, const char *name, kap_step_fn step, void *context,
                               struct kap_worker **worker_out);
    void (*worker_wake)(struct kap_worker *worker);
    void (*worker_sleep)(struct kap_worker *worker, int64_t ns);
    void (*worker_stop)(struct kap_worker *worker);
};

/* Every implementation's struct starts with this one; queues and workers start with a pointer to it. */
struct kap_env {
    const struct kap_env_ops *ops;
    struct kap_memory memory; /* what the store allocates from */
};
struct kap_queue {
    struct kap_env *env;
};
struct kap_worker {
    struct kap_env *env;
};

/* depth: operations in flight at once; more wait inside. */
static inline KAP_CHECKED kap_status kap_queue_create(struct kap_env *env, uint32_t depth, struct kap_queue **queue_out,
                                                      struct kap_error *error)
{
    return env->ops->queue_create(env, depth, queue_out, error);
}
/* Nothing may be in flight. On the thread that used it, or after that one has ended. */
static inline void kap_queue_destroy(struct kap_queue *queue)
{
    if (queue)
        queue->env->ops->queue_destroy(queue);
}
static inline void kap_queue_submit(struct kap_queue *queue, struct kap_io *io)
{
    queue->env->ops->submit(queue, io);
}
/* Calls done() of what has completed; waits for at least one for wait_ns (0: do not wait, -1: for ever) when nothing
 * has. Returns how many were called; 0 at once when nothing is in flight and wait_ns is -1. 0 also when somebody woke
 * the queue (env_uring.h) or a signal came. */
static inline int kap_queue_poll(struct kap_queue *queue, int64_t wait_ns)
{
    return queue->env->ops->poll(queue, wait_ns);
}
/* Names in a directory, unordered, without "." and "..". Blocks: only at start-up, in tools and in tests. */
static inline KAP_CHECKED kap_status kap_env_list(struct kap_env *env, const char *directory,
                                                  kap_status (*each)(void *context, const char *name), void *context)
{
    return env->ops->list(env, directory, each, context);
}
static inline KAP_CHECKED kap_status kap_env_space(struct kap_env *env, const char *directory, uint64_t *free_out,
                                                   uint64_t *total_out)
{
    return env->ops->space(env, directory, free_out, total_out);
}
/* Microseconds since 1970 UTC: may jump. Order never depends on it. */
static inline int64_t kap_env_wall_us(struct kap_env *env)
{
    return env->ops->wall_us(env);
}
/* Nanoseconds from an arbitrary start, never backwards. */
static inline int64_t kap_env_mono_ns(struct kap_env *env)
{
    return env->ops->mono_ns(env);
}
static inline void kap_env_random(struct kap_env *env, void *data, size_t len)
{
    env->ops->random(env, data, len);
}
/* A worker drives step on a thread (or from the simulator's executor) with a queue of its own. worker_out is set before
 * the first step runs; NULL on failure. A step may be called more often than it asked for. */
static inline KAP_CHECKED kap_status kap_worker_start(struct kap_env *env, const char *name, kap_step_fn step,
                                                      void *context, struct kap_worker **worker_out)
{
    return env->ops->worker_start(env, name, step, context, worker_out);
}
/* Any thread. */
static inline void kap_worker_wake(struct kap_worker *worker)
{
    worker->env->ops->worker_wake(worker);
}
/* From inside a step that returns IDLE: wake by itself after ns. */
static inline void kap_worker_sleep(struct kap_worker *worker, int64_t ns)
{
    worker->env->ops->worker_sleep(worker, ns);
}
/* Waits until the step function has returned DONE or IDLE once more after this call, then frees the worker. The caller
 * has told the step function to finish by its own means. */
static inline void kap_worker_stop(struct kap_worker *worker)
{
    if (worker)
        worker->env->ops->worker_stop(worker);
}

/* Submits and polls until done: only start-up recovery, tools and tests may wait. Returns io->status. */
KAP_CHECKED kap_status kap_io_wait(struct kap_queue *queue, struct kap_io *io);

/* The real one: io_uring for files, threads for workers. KAP_NOT_PERMITTED with the remedy when it is forbidden. */
KAP_CHECKED kap_status kap_env_uring_create(struct kap_env **env_out, struct kap_error *error);
void kap_env_uring_destroy(struct kap_env *env);
