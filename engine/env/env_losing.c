#include "engine/env/env_losing.h"

#include <stdlib.h>

#include "engine/env/losing_internal.h"

enum { TOTAL_BYTES_UNLIMITED_LOG2 = 40 };
static const int64_t WALL_START_US = 1704067200000000; /* 2024-01-01 */

/* splitmix64: small, and any state is a good one. */
uint64_t losing_chance(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void losing_trace(struct losing_env *env, uint64_t value)
{
    uint64_t state = env->trace ^ value;
    env->trace = losing_chance(&state);
}

/* The machine itself has memory enough; the store's is limited through kap_env.memory. */
void *losing_alloc(struct losing_env *env, size_t bytes)
{
    void *pointer = kap_memory_alloc(&env->memory, bytes);
    KAP_ASSERT(pointer);
    return pointer;
}

void losing_free(struct losing_env *env, void *pointer)
{
    kap_memory_free(&env->memory, pointer);
}

char *losing_strdup(struct losing_env *env, const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(losing_alloc(env, bytes), text, bytes);
}

struct kap_env *kap_losing_create(uint64_t seed, const struct kap_losing_options *options)
{
    struct kap_memory outside = {0};
    struct losing_env *env = kap_memory_alloc(&outside, sizeof *env);
    if (!env)
        return NULL;
    env->base.ops = &losing_ops;
    if (options)
        env->options = *options;
    env->chance_schedule = losing_chance(&seed); /* apart, so that drawing more of one does not shift the others */
    env->chance_entropy = losing_chance(&seed);
    env->chance_damage = losing_chance(&seed);
    env->root = losing_node_add(env, true);
    kap_losing_lose_sync(&env->base, getenv("KAP_LOSE_SYNC"));
    return &env->base;
}

void kap_losing_destroy(struct kap_env *base)
{
    if (!base)
        return;
    struct losing_env *env = losing_env_of(base);
    KAP_ASSERT(!env->workers && !env->queues);
    kap_losing_restart(base, KAP_LOSING_ALL_LOST); /* frees handles and changes */
    while (env->nodes) {
        struct losing_node *node = env->nodes;
        env->nodes = node->next;
        losing_node_free(env, node);
    }
    KAP_ASSERT(kap_memory_used(&env->memory) == 0);
    struct kap_memory outside = {0};
    kap_memory_free(&outside, env);
}

void kap_losing_crash_at(struct kap_env *env, uint64_t n)
{
    losing_env_of(env)->crash_in = n;
}

bool kap_losing_crashed(struct kap_env *env)
{
    return losing_env_of(env)->crashed;
}

void kap_losing_restart(struct kap_env *base, enum kap_losing_mode mode)
{
    struct losing_env *env = losing_env_of(base);
    kap_losing_power_cut(base);
    KAP_ASSERT(!env->workers);
    for (struct losing_queue *queue = env->queues; queue; queue = queue->next)
        KAP_ASSERT(queue->in_flight.count == 0 && queue->finished.count == 0);
    while (env->files)
        losing_file_free(env, env->files);
    if (mode == KAP_LOSING_KILLED) {
        losing_sweep(env);
        losing_trace(env, 0x2000 + (uint64_t)mode);
        env->crashed = false;
        return;
    }
    /* A profile per crash: mostly lost, mostly kept and anything between all happen. */
    unsigned keep_names = (unsigned)(losing_chance(&env->chance_damage) % 5) * 25;
    unsigned keep_data = (unsigned)(losing_chance(&env->chance_damage) % 5) * 25;
    losing_names_survive(env, mode, keep_names);
    for (struct losing_node *node = env->nodes; node; node = node->next)
        if (!node->directory)
            losing_data_survive(env, node, mode, keep_data);
    losing_trace(env, 0x2000 + (uint64_t)mode);
    env->crashed = false;
}

uint64_t kap_losing_io_count(struct kap_env *env)
{
    return losing_env_of(env)->io_count;
}

uint64_t kap_losing_trace_hash(struct kap_env *env)
{
    return losing_env_of(env)->trace;
}

uint32_t kap_losing_open_files(struct kap_env *env)
{
    uint32_t count = 0;
    for (struct losing_file *file = losing_env_of(env)->files; file; file = file->next)
        count++;
    return count;
}

void kap_losing_set_capacity(struct kap_env *env, uint64_t bytes)
{
    losing_env_of(env)->options.capacity_bytes = bytes;
}

bool kap_losing_lose_sync(struct kap_env *env, const char *sync_point)
{
#ifdef KAP_LOSE_SYNC_BUILD
    losing_env_of(env)->lost_sync = sync_point;
    return true;
#else
    (void)env;
    (void)sync_point;
    return false;
#endif
}

static struct losing_node *file_find(struct kap_env *env, const char *name)
{
    struct losing_node *node = losing_find(losing_env_of(env), name);
    return node && !node->directory ? node : NULL;
}

kap_status kap_losing_file_size(struct kap_env *env, const char *name, uint64_t *bytes_out)
{
    struct losing_node *node = file_find(env, name);
    if (!node)
        return KAP_NO_FILE;
    *bytes_out = node->live.len;
    return KAP_OK;
}

kap_status kap_losing_read(struct kap_env *env, const char *name, uint64_t offset, void *data, size_t len,
                           size_t *len_out)
{
    struct losing_node *node = file_find(env, name);
    if (!node)
        return KAP_NO_FILE;
    *len_out = offset < node->live.len ? (size_t)KAP_MIN((uint64_t)len, node->live.len - offset) : 0;
    if (*len_out > 0)
        memcpy(data, node->live.data + offset, *len_out);
    return KAP_OK;
}

kap_status kap_losing_overwrite(struct kap_env *env, const char *name, uint64_t offset, const void *data, size_t len)
{
    struct losing_node *node = file_find(env, name);
    if (!node)
        return KAP_NO_FILE;
    if (offset > node->live.len || len > node->live.len - offset)
        return KAP_INVALID;
    if (len > 0)
        losing_write(losing_env_of(env), node, offset, data, len, true);
    return KAP_OK;
}

kap_status kap_losing_flip(struct kap_env *env, const char *name, uint64_t offset, uint8_t mask)
{
    uint8_t byte;
    size_t len;
    kap_status status = kap_losing_read(env, name, offset, &byte, 1, &len);
    if (status != KAP_OK)
        return status;
    byte ^= mask;
    return len == 1 ? kap_losing_overwrite(env, name, offset, &byte, 1) : KAP_INVALID;
}

static kap_status losing_list(struct kap_env *base, const char *directory,
                              kap_status (*each)(void *context, const char *name), void *context)
{
    struct losing_env *env = losing_env_of(base);
    if (env->crashed)
        return KAP_CRASHED;
    struct losing_node *dir = losing_find(env, directory);
    if (!dir)
        return KAP_NO_FILE;
    if (!dir->directory)
        return KAP_IO;
    kap_status status = KAP_OK;
    for (size_t i = 0; i < dir->live_names.count && status == KAP_OK; i++)
        status = each(context, dir->live_names.list[i].name);
    return status;
}

static kap_status losing_space(struct kap_env *base, const char *directory, uint64_t *free_out, uint64_t *total_out)
{
    struct losing_env *env = losing_env_of(base);
    if (env->crashed)
        return KAP_CRASHED;
    if (!losing_find(env, directory))
        return KAP_NO_FILE;
    uint64_t used = losing_used_bytes(env);
    *total_out = env->options.capacity_bytes ? env->options.capacity_bytes : UINT64_C(1) << TOTAL_BYTES_UNLIMITED_LOG2;
    *free_out = *total_out > used ? *total_out - used : 0;
    return KAP_OK;
}

static int64_t losing_wall_us(struct kap_env *base)
{
    struct losing_env *env = losing_env_of(base);
    return WALL_START_US + env->wall_offset_us + env->now_ns / 1000;
}

void kap_losing_set_wall(struct kap_env *base, int64_t wall_us)
{
    losing_env_of(base)->wall_offset_us += wall_us - losing_wall_us(base);
}

static int64_t losing_mono_ns(struct kap_env *env)
{
    return losing_env_of(env)->now_ns;
}

static void losing_random(struct kap_env *env, void *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)data)[i] = (uint8_t)losing_chance(&losing_env_of(env)->chance_entropy);
}

const struct kap_env_ops losing_ops = {
    .queue_create = losing_queue_create,
    .queue_destroy = losing_queue_destroy,
    .submit = losing_submit,
    .poll = losing_poll,
    .list = losing_list,
    .space = losing_space,
    .wall_us = losing_wall_us,
    .mono_ns = losing_mono_ns,
    .random = losing_random,
    .worker_start = losing_worker_start,
    .worker_wake = losing_worker_wake,
    .worker_sleep = losing_worker_sleep,
    .worker_stop = losing_worker_stop,
};
