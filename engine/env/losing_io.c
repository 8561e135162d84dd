/* Operations on the simulated disk.
 *
 * submitted -> executed   chosen by the executor among the first depth of its queue: the effect, or the crash
 * executed  -> done       at once in a worker's queue, in the next poll of any other */
#include "engine/base/checksum.h"
#include "engine/env/losing_internal.h"

void losing_fifo_push(struct losing_fifo *fifo, struct kap_io *io)
{
    io->env_private[LOSING_NEXT] = NULL;
    if (fifo->last)
        fifo->last->env_private[LOSING_NEXT] = io;
    else
        fifo->first = io;
    fifo->last = io;
    fifo->count++;
}

struct kap_io *losing_fifo_take(struct losing_fifo *fifo, uint32_t position)
{
    KAP_ASSERT(position < fifo->count);
    struct kap_io *before = NULL, *io = fifo->first;
    for (; position > 0; position--) {
        before = io;
        io = io->env_private[LOSING_NEXT];
    }
    if (before)
        before->env_private[LOSING_NEXT] = io->env_private[LOSING_NEXT];
    else
        fifo->first = io->env_private[LOSING_NEXT];
    if (fifo->last == io)
        fifo->last = before;
    fifo->count--;
    return io;
}

static struct losing_file *file_of(struct kap_io *io)
{
    return (struct losing_file *)io->file;
}

void losing_file_free(struct losing_env *env, struct losing_file *file)
{
    struct losing_file **at = &env->files;
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    file->node->opens--;
    if (file->locks)
        file->node->locked = false;
    losing_free(env, file);
}

static bool uses_file(const struct kap_io *io)
{
    return io->op == KAP_IO_CLOSE || io->op == KAP_IO_READ || io->op == KAP_IO_WRITE || io->op == KAP_IO_SYNC ||
           io->op == KAP_IO_TRUNCATE || io->op == KAP_IO_SIZE;
}

void losing_submit(struct kap_queue *base, struct kap_io *io)
{
    struct losing_queue *queue = KAP_OWNER(base, struct losing_queue, base);
    struct losing_env *env = losing_env_of(base->env);
    io->status = KAP_OK;
    io->transferred = 0;
    io->file_out = NULL;
    io->env_private[LOSING_HORIZON] = (void *)(uintptr_t)env->seq; // NOLINT
    if (uses_file(io)) {
        file_of(io)->in_flight++;
        if ((io->op == KAP_IO_READ || io->op == KAP_IO_WRITE) && file_of(io)->direct)
            KAP_ASSERT((((uintptr_t)io->data | io->len | io->offset) & (KAP_DIRECT_ALIGN - 1)) == 0);
    }
    losing_fifo_push(&queue->in_flight, io);
}

static size_t sync_point_slot(const char *sync_point)
{
    static const char *const names[] = {
#define SYNC_POINT_NAME(name) #name,
        KAP_SYNC_POINTS(SYNC_POINT_NAME)
#undef SYNC_POINT_NAME
    };
    size_t slot = 0;
    while (slot < KAP_SYNC_POINT_COUNT && strcmp(names[slot], sync_point) != 0)
        slot++;
    KAP_ASSERT(slot < KAP_SYNC_POINT_COUNT); /* or a test that enumerates them would miss it */
    return slot;
}

uint64_t kap_losing_sync_count(struct kap_env *env, const char *sync_point)
{
    return losing_env_of(env)->sync_counts[sync_point_slot(sync_point)];
}

/* Counts the sync and tells whether it is the one to skip. */
static bool sync_skipped(struct losing_env *env, const struct kap_io *io)
{
    if (!io->sync_point)
        return false;
    env->sync_counts[sync_point_slot(io->sync_point)]++;
    return env->lost_sync && strcmp(env->lost_sync, io->sync_point) == 0;
}

static kap_status open_execute(struct losing_env *env, struct kap_io *io)
{
    struct losing_node *node = losing_find(env, io->name);
    if (node && (io->flags & KAP_OPEN_CREATE) && (io->flags & KAP_OPEN_EXCLUSIVE))
        return KAP_EXISTS;
    if (node && node->directory)
        return KAP_IO;
    if (!node) {
        if (!(io->flags & KAP_OPEN_CREATE))
            return KAP_NO_FILE;
        kap_status status = losing_make(env, io->name, false, &node);
        if (status != KAP_OK)
            return status;
    }
    bool locks = (io->flags & KAP_OPEN_LOCK) != 0;
    if (locks && node->locked)
        return KAP_LOCKED;
    if (env->crashed)
        return KAP_CRASHED; /* under way when the power failed: the name may be there, the handle is not */
    struct losing_file *file = losing_alloc(env, sizeof *file);
    *file = (struct losing_file){
        .next = env->files, .node = node, .locks = locks, .direct = (io->flags & KAP_OPEN_DIRECT) != 0};
    env->files = file;
    node->opens++;
    node->locked |= locks;
    io->file_out = (struct kap_file *)file;
    return KAP_OK;
}

/* How much a file may grow to bytes: all of it, or up to what the disk has left. */
static uint64_t room(struct losing_env *env, const struct losing_node *node, uint64_t bytes)
{
    uint64_t capacity = env->options.capacity_bytes;
    if (capacity == 0 || bytes <= node->live.len)
        return bytes;
    uint64_t used = losing_used_bytes(env), left = capacity > used ? capacity - used : 0;
    return KAP_MIN(bytes, node->live.len + left);
}

/* A full disk takes what fits, as a real one does. */
static kap_status write_execute(struct losing_env *env, struct kap_io *io, bool power)
{
    if (io->len == 0)
        return KAP_OK;
    struct losing_node *node = file_of(io)->node;
    uint64_t end = room(env, node, io->offset + io->len);
    io->transferred = end > io->offset ? (size_t)(end - io->offset) : 0;
    bool all = io->transferred == io->len;
    bool durable = (io->flags & KAP_WRITE_DSYNC) && power && all && !sync_skipped(env, io);
    if (io->transferred > 0)
        losing_write(env, node, io->offset, io->data, io->transferred, durable);
    return all ? KAP_OK : KAP_NO_SPACE;
}

static kap_status read_execute(struct kap_io *io)
{
    const struct losing_image *image = &file_of(io)->node->live;
    if (io->offset < image->len)
        io->transferred = (size_t)KAP_MIN((uint64_t)io->len, image->len - io->offset);
    if (io->transferred > 0)
        memcpy(io->data, image->data + io->offset, io->transferred);
    return KAP_OK;
}

static kap_status truncate_execute(struct losing_env *env, struct kap_io *io)
{
    struct losing_node *node = file_of(io)->node;
    if (room(env, node, io->len) < io->len)
        return KAP_NO_SPACE;
    losing_truncate(env, node, io->len);
    return KAP_OK;
}

static kap_status sync_execute(struct losing_env *env, struct kap_io *io)
{
    uint64_t horizon = (uint64_t)(uintptr_t)io->env_private[LOSING_HORIZON];
    bool skipped = sync_skipped(env, io);
    if (io->op == KAP_IO_SYNC) {
        if (!skipped)
            losing_sync(env, file_of(io)->node, horizon);
        return KAP_OK;
    }
    if (skipped)
        return losing_find(env, io->name) ? KAP_OK : KAP_NO_FILE;
    return losing_sync_dir(env, io->name, horizon);
}

static kap_status effect(struct losing_env *env, struct kap_io *io)
{
    struct losing_node *made;
    switch (io->op) {
    case KAP_IO_OPEN:
        return open_execute(env, io);
    case KAP_IO_READ:
        return read_execute(io);
    case KAP_IO_WRITE:
        return write_execute(env, io, true);
    case KAP_IO_TRUNCATE:
        return truncate_execute(env, io);
    case KAP_IO_SIZE:
        io->size_out = file_of(io)->node->live.len;
        return KAP_OK;
    case KAP_IO_SYNC:
    case KAP_IO_SYNC_DIR:
        return sync_execute(env, io);
    case KAP_IO_RENAME:
        return losing_rename(env, io->name, io->name_to);
    case KAP_IO_LINK:
        return losing_link(env, io->name, io->name_to);
    case KAP_IO_UNLINK:
    case KAP_IO_RMDIR:
        return losing_remove(env, io->name, io->op == KAP_IO_RMDIR);
    case KAP_IO_MKDIR:
        return losing_make(env, io->name, true, &made);
    case KAP_IO_CLOSE:
        return KAP_OK;
    }
    KAP_ASSERT(!"unknown operation");
    return KAP_INVALID;
}

/* What was under way may have reached the disk in part: it counts as done and not synced. Whoever submitted two that
 * depend on each other will notice. */
static void cut_in_flight(struct losing_env *env, struct kap_io *io)
{
    switch (io->op) {
    case KAP_IO_WRITE:
        (void)write_execute(env, io, false);
        break;
    case KAP_IO_OPEN:
    case KAP_IO_TRUNCATE:
    case KAP_IO_RENAME:
    case KAP_IO_LINK:
    case KAP_IO_UNLINK:
    case KAP_IO_RMDIR:
    case KAP_IO_MKDIR:
        (void)effect(env, io);
        break;
    default:
        break;
    }
}

/* Also what is done but has not been told: nobody is there any more to hear it. */
static void forget_finished(struct losing_env *env, struct losing_queue *queue)
{
    for (struct kap_io *io = queue->finished.first; io; io = io->env_private[LOSING_NEXT]) {
        if (io->file_out)
            losing_file_free(env, (struct losing_file *)io->file_out);
        io->file_out = NULL;
        io->status = KAP_CRASHED;
    }
}

void kap_losing_power_cut(struct kap_env *base)
{
    struct losing_env *env = losing_env_of(base);
    if (env->crashed)
        return;
    env->crashed = true;
    env->crash_in = 0;
    for (struct losing_queue *queue = env->queues; queue; queue = queue->next) {
        struct kap_io *io = queue->in_flight.first;
        for (uint32_t left = KAP_MIN(queue->depth, queue->in_flight.count); left > 0; left--) {
            cut_in_flight(env, io);
            io = io->env_private[LOSING_NEXT];
        }
        forget_finished(env, queue);
    }
}

static void trace_io(struct losing_env *env, const struct kap_io *io)
{
    losing_trace(env, (uint64_t)io->op << 32 | io->status);
    losing_trace(env, io->offset);
    losing_trace(env, io->len << 20 ^ io->transferred);
    if (!uses_file(io))
        losing_trace(env, kap_hash(kap_bytes_str(io->name)));
    if ((io->op == KAP_IO_READ || io->op == KAP_IO_WRITE) && io->transferred > 0)
        losing_trace(env, kap_checksum(io->data, io->transferred, 0));
}

void losing_execute(struct losing_env *env, struct kap_io *io)
{
    if (env->crash_in != 0 && --env->crash_in == 0)
        kap_losing_power_cut(&env->base);
    io->transferred = 0;
    if (env->crashed) {
        io->status = KAP_CRASHED;
    } else {
        env->io_count++;
        io->status = effect(env, io);
    }
    trace_io(env, io);
    if (uses_file(io))
        file_of(io)->in_flight--;
    if (io->op == KAP_IO_CLOSE) {
        KAP_ASSERT(file_of(io)->in_flight ==
                   0); /* closing under an operation: the descriptor could be another file's */
        losing_file_free(env, file_of(io));
        losing_sweep(env);
    }
}
