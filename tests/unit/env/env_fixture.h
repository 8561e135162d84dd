/* env_fixture.h - operations that wait, and a loop over everything a crash can leave, for tests of the environments. */
#pragma once

#include "engine/env/env.h"

struct ops {
    struct kap_env *env;
    struct kap_queue *queue;
};

static inline kap_status ops_name(struct ops *ops, enum kap_io_op op, const char *name, const char *name_to)
{
    struct kap_io io = {.op = op, .name = name, .name_to = name_to};
    return kap_io_wait(ops->queue, &io);
}

static inline kap_status ops_open(struct ops *ops, const char *name, uint32_t flags, struct kap_file **file_out)
{
    struct kap_io io = {.op = KAP_IO_OPEN, .name = name, .flags = flags};
    kap_status status = kap_io_wait(ops->queue, &io);
    *file_out = io.file_out;
    return status;
}

static inline kap_status ops_file(struct ops *ops, enum kap_io_op op, struct kap_file *file)
{
    struct kap_io io = {.op = op, .file = file};
    return kap_io_wait(ops->queue, &io);
}

static inline kap_status ops_write(struct ops *ops, struct kap_file *file, uint64_t offset, const void *data,
                                   size_t len, uint32_t flags)
{
    uint8_t copy[8192];
    memcpy(copy, data, len);
    struct kap_io io = {.op = KAP_IO_WRITE, .file = file, .offset = offset, .data = copy, .len = len, .flags = flags};
    return kap_io_wait(ops->queue, &io);
}

static inline kap_status ops_read(struct ops *ops, struct kap_file *file, uint64_t offset, void *data, size_t len,
                                  size_t *len_out)
{
    struct kap_io io = {.op = KAP_IO_READ, .file = file, .offset = offset, .data = data, .len = len};
    kap_status status = kap_io_wait(ops->queue, &io);
    *len_out = io.transferred;
    return status;
}
