/* env_failing.h - another environment whose n-th operation fails. Error paths are tested by counting: fail the first,
 * then the second, until a run fails nothing.
 *
 * A failed operation did not happen: the environment below never sees it. Everything else, workers and queues included,
 * goes through. A close is never failed, since the handle is gone whatever the status.
 * Memory   the store allocates from this environment's; allocations of the one below are neither counted nor failed.
 * Threads  any, as the environment below allows; the counts are exact. */
#pragma once

#include "engine/env/env.h"

enum kap_failing_class {
    KAP_FAILING_OPEN,
    KAP_FAILING_READ, /* and SIZE */
    KAP_FAILING_WRITE, /* and TRUNCATE */
    KAP_FAILING_SYNC, /* SYNC and SYNC_DIR; a DSYNC write is a write */
    KAP_FAILING_RENAME,
    KAP_FAILING_LINK,
    KAP_FAILING_UNLINK, /* and RMDIR */
    KAP_FAILING_MKDIR,
    KAP_FAILING_ANY, /* all of the above */
    KAP_FAILING_ALLOC, /* allocations; the status of fail_at plays no part */
    KAP_FAILING_CLASSES
};

/* inner outlives it. NULL when there is no memory. */
struct kap_env *kap_failing_create(struct kap_env *inner);
/* No worker and no queue may be left. */
void kap_failing_destroy(struct kap_env *env);
/* The n-th of its class from now on fails with status (1: the next; 0: none); if sticky, so do all after it. One order
 * at a time for each class; a new one replaces the old. */
void kap_failing_at(struct kap_env *env, enum kap_failing_class class, uint64_t n, kap_status status, bool sticky);
/* Operations asked for since create, failed ones included. */
uint64_t kap_failing_count(struct kap_env *env, enum kap_failing_class class);
/* Failures injected since create: 0 tells a counting loop that n is past the end. */
uint64_t kap_failing_failures(struct kap_env *env);
/* The queue below one of this environment's: what env_uring.h takes. Inside a worker's step, or the queue's thread. */
struct kap_queue *kap_failing_inner_queue(struct kap_queue *queue);
