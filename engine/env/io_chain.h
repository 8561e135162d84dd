/* io_chain.h - a few operations one after the other, without anyone waiting.
 *
 * The first error ends the chain, except that closes still run, so no handle leaks. Operations whose .file is NULL use
 * the file that the chain's last OPEN gave.
 * Ownership  the caller's memory, untouched until done() was called. done() runs from kap_queue_poll.
 * Threads    the queue's. */
#pragma once

#include "engine/env/env.h"

enum { KAP_IO_CHAIN_MAX = 8 };

struct kap_io_chain {
    struct kap_io io[KAP_IO_CHAIN_MAX];
    uint32_t count, at;
    struct kap_queue *queue;
    struct kap_file *file;  /* from the last OPEN that worked; NULL after CLOSE */
    kap_status status;      /* of the whole chain */
    bool running;
    void (*done)(struct kap_io_chain *chain); /* may be NULL: look at running */
    void *context;
};

void kap_io_chain_init(struct kap_io_chain *chain);
/* The next operation, to be filled in; at most KAP_IO_CHAIN_MAX. */
struct kap_io *kap_io_chain_add(struct kap_io_chain *chain, enum kap_io_op op);
/* Without operations it is done at once, from within this call. */
void kap_io_chain_start(struct kap_io_chain *chain, struct kap_queue *queue);
/* Starts it and polls until done: only start-up, tools and tests. */
KAP_CHECKED kap_status kap_io_chain_wait(struct kap_io_chain *chain, struct kap_queue *queue);
