#include "engine/env/env.h"

static void wait_done(struct kap_io *io)
{
    *(bool *)io->context = true;
}

kap_status kap_io_wait(struct kap_queue *queue, struct kap_io *io)
{
    void (*done)(struct kap_io * io) = io->done;
    void *context = io->context;
    bool finished = false;
    io->done = wait_done;
    io->context = &finished;
    kap_queue_submit(queue, io);
    while (!finished)
        kap_queue_poll(queue, -1);
    io->done = done;
    io->context = context;
    return io->status;
}
