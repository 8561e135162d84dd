/* env_uring.h - what a socket loop needs to share one ring with file I/O: one wait for both.
 *
 * These take a queue of kap_env_uring_create only.
 * Threads  a queue belongs to the thread that first submits to it or polls it (the kernel binds a single-issuer ring),
 *          and is destroyed by that thread or after it has ended. kap_env_uring_wake: any thread while the queue lives.
 * Units    a completion whose user_data has the low bit set is foreign: everything else in the ring is the queue's. */
#pragma once

#include "engine/env/env.h"

struct io_uring;

typedef void (*kap_uring_foreign_fn)(void *context, uint64_t user_data, int32_t result, uint32_t flags);

/* The ring, bound to the calling thread. Take submission entries from it as you like (when it is full,
 * io_uring_submit); never wait on it or reap it: kap_queue_poll submits, waits and reaps for both. */
struct io_uring *kap_env_uring_ring(struct kap_queue *queue);
/* From now on kap_queue_poll calls foreign for each foreign completion (counted in its result), and poll(-1) waits even
 * when no file operation is in flight. Set before the first poll. */
void kap_env_uring_set_foreign(struct kap_queue *queue, kap_uring_foreign_fn foreign, void *context);
/* Makes the poll that waits now, or the next one that would wait, return. One system call if it sleeps, else none. Post
 * to the mailbox first; look into it after every poll. */
void kap_env_uring_wake(struct kap_queue *queue);
