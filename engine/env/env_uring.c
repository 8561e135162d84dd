#include "engine/env/env_uring.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>

#include "engine/base/assert.h"
#include "engine/env/uring_internal.h"

kap_status uring_status_of(int error)
{
    switch (error) {
    case 0:
        return KAP_OK;
    case ENOSPC:
    case EDQUOT:
        return KAP_NO_SPACE;
    case ENOENT:
        return KAP_NO_FILE;
    case EEXIST:
    case ENOTEMPTY:
        return KAP_EXISTS;
    case EPERM:
    case EACCES:
    case EROFS:
        return KAP_NOT_PERMITTED;
    case ENOMEM:
        return KAP_NO_MEMORY;
    default:
        return KAP_IO;
    }
}

static kap_status setup_failed(int code, struct kap_error *error)
{
    if (code == EPERM || code == ENOSYS || code == EACCES)
        return kap_error_set(
            error, KAP_NOT_PERMITTED,
            "io_uring is not permitted here (%s); allow it: set the sysctl kernel.io_uring_disabled to 0, "
            "and in a container use a seccomp profile that allows io_uring_setup, io_uring_enter and "
            "io_uring_register",
            strerrorname_np(code));
    if (code == ENOMEM)
        return kap_error_set(error, KAP_NO_MEMORY,
                             "the system has no memory for an io_uring; raise the memory or memlock limit");
    if (code == EMFILE || code == ENFILE)
        return kap_error_set(error, KAP_IO, "no file descriptor is left for an io_uring; raise the limit (ulimit -n)");
    return kap_error_set(error, KAP_IO, "io_uring_setup failed (%s)", strerrorname_np(code));
}

/* Disabled until its thread enables it: the ring can be refused here, where there is someone to tell, and still belong
 * to the thread that uses it. */
kap_status uring_ring_setup(struct uring_env *env, uint32_t entries, struct io_uring *ring, struct kap_error *error)
{
    struct io_uring_params params = {.flags = env->setup_flags | IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP};
    int result = io_uring_queue_init_params(entries, ring, &params);
    return result == 0 ? KAP_OK : setup_failed(-result, error);
}

/* Completions run when we ask for them, on one thread: no interrupts of the thread, no locks in the kernel. Older
 * kernels refuse the newer flags with EINVAL. */
static kap_status choose_flags(struct uring_env *env, struct kap_error *error)
{
    static const unsigned choices[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
            IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        0,
    };
    for (size_t i = 0; i < KAP_ARRAY_LEN(choices); i++) {
        struct io_uring ring;
        struct io_uring_params params = {.flags = choices[i] | IORING_SETUP_R_DISABLED};
        int result = io_uring_queue_init_params(2, &ring, &params);
        if (result == -EINVAL)
            continue;
        if (result < 0)
            return setup_failed(-result, error);
        env->setup_flags = choices[i];
        struct io_uring_probe *probe = io_uring_get_probe_ring(&ring);
        bool complete = probe && io_uring_opcode_supported(probe, IORING_OP_LINKAT);
        io_uring_free_probe(probe);
        io_uring_queue_exit(&ring);
        if (!complete)
            break;
        return KAP_OK;
    }
    return kap_error_set(error, KAP_NOT_PERMITTED, "this kernel's io_uring is too old; Linux 5.15 or newer is needed");
}

kap_status kap_env_uring_create(struct kap_env **env_out, struct kap_error *error)
{
    struct kap_memory outside = {0};
    struct uring_env *env = kap_memory_alloc(&outside, sizeof *env);
    if (!env)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for the environment");
    env->base.ops = &uring_ops;
    kap_status status = choose_flags(env, error);
    if (status != KAP_OK) {
        kap_memory_free(&outside, env);
        return status;
    }
    *env_out = &env->base;
    return KAP_OK;
}

void kap_env_uring_destroy(struct kap_env *env)
{
    struct kap_memory outside = {0}; /* the environment holds the memory, so it is not counted in it */
    kap_memory_free(&outside, env);
}

static kap_status uring_list(struct kap_env *env, const char *directory,
                             kap_status (*each)(void *context, const char *name), void *context)
{
    (void)env;
    DIR *dir = opendir(directory);
    if (!dir)
        return uring_status_of(errno);
    kap_status status = KAP_OK;
    while (status == KAP_OK) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            status = uring_status_of(errno);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = each(context, entry->d_name);
    }
    closedir(dir);
    return status;
}

static kap_status uring_space(struct kap_env *env, const char *directory, uint64_t *free_out, uint64_t *total_out)
{
    (void)env;
    struct statvfs space;
    int result;
    do
        result = statvfs(directory, &space);
    while (result != 0 && errno == EINTR);
    if (result != 0)
        return uring_status_of(errno);
    *free_out = (uint64_t)space.f_bavail * space.f_frsize;
    *total_out = (uint64_t)space.f_blocks * space.f_frsize;
    return KAP_OK;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t uring_wall_us(struct kap_env *env)
{
    (void)env;
    return clock_ns(CLOCK_REALTIME) / 1000;
}

static int64_t uring_mono_ns(struct kap_env *env)
{
    (void)env;
    return clock_ns(CLOCK_MONOTONIC);
}

static void uring_random(struct kap_env *env, void *data, size_t len)
{
    (void)env;
    arc4random_buf(data, len);
}

const struct kap_env_ops uring_ops = {
    .queue_create = uring_queue_create,
    .queue_destroy = uring_queue_destroy,
    .submit = uring_submit,
    .poll = uring_queue_poll,
    .list = uring_list,
    .space = uring_space,
    .wall_us = uring_wall_us,
    .mono_ns = uring_mono_ns,
    .random = uring_random,
    .worker_start = uring_worker_start,
    .worker_wake = uring_worker_wake,
    .worker_sleep = uring_worker_sleep,
    .worker_stop = uring_worker_stop,
};
