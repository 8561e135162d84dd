#include "engine/env/io_chain.h"

#include "engine/base/assert.h"

void kap_io_chain_init(struct kap_io_chain *chain)
{
    *chain = (struct kap_io_chain){0};
}

struct kap_io *kap_io_chain_add(struct kap_io_chain *chain, enum kap_io_op op)
{
    KAP_ASSERT(chain->count < KAP_IO_CHAIN_MAX);
    struct kap_io *io = &chain->io[chain->count++];
    *io = (struct kap_io){.op = op};
    return io;
}

static bool op_needs_file(enum kap_io_op op)
{
    return op == KAP_IO_CLOSE || op == KAP_IO_READ || op == KAP_IO_WRITE || op == KAP_IO_SYNC ||
           op == KAP_IO_TRUNCATE || op == KAP_IO_SIZE;
}

static void chain_next(struct kap_io_chain *chain);

static void chain_io_done(struct kap_io *io)
{
    struct kap_io_chain *chain = io->context;
    if (io->op == KAP_IO_OPEN && io->status == KAP_OK)
        chain->file = io->file_out;
    if (io->op == KAP_IO_CLOSE && io->file == chain->file)
        chain->file = NULL;
    if (io->status != KAP_OK && chain->status == KAP_OK)
        chain->status = io->status;
    chain->at++;
    chain_next(chain);
}

static void chain_next(struct kap_io_chain *chain)
{
    while (chain->at < chain->count) {
        struct kap_io *io = &chain->io[chain->at];
        bool inherits = op_needs_file(io->op) && !io->file;
        bool runs = chain->status == KAP_OK || io->op == KAP_IO_CLOSE;
        if (inherits)
            io->file = chain->file;
        if (!runs || (op_needs_file(io->op) && !io->file)) {
            chain->at++;
            continue;
        }
        io->done = chain_io_done;
        io->context = chain;
        kap_queue_submit(chain->queue, io);
        return;
    }
    chain->running = false;
    if (chain->done)
        chain->done(chain);
}

void kap_io_chain_start(struct kap_io_chain *chain, struct kap_queue *queue)
{
    chain->queue = queue;
    chain->running = true;
    chain->at = 0;
    chain->status = KAP_OK;
    chain_next(chain);
}

kap_status kap_io_chain_wait(struct kap_io_chain *chain, struct kap_queue *queue)
{
    kap_io_chain_start(chain, queue);
    while (chain->running)
        kap_queue_poll(queue, -1);
    return chain->status;
}
