/* The file operations over a ring.
 *
 * begin -> ready     what needs no ring (sizes, empty transfers, refusals): finished, done() at the next poll
 * begin -> waiting   depth operations are with the kernel
 * begin -> ring      entry prepared, given to the kernel by the next poll
 * ring -> ring       short transfer, EINTR, EAGAIN, the next stage of SYNC_DIR
 * ring -> done       completed() */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/env/uring_internal.h"

enum {
    PRIVATE_NEXT, /* in a fifo */
    PRIVATE_DIR_FD, /* SYNC_DIR: the directory's descriptor + 1 once it is open */
    PRIVATE_FILE, /* OPEN: the handle to be */
    TRANSFER_MAX = 1 << 30, /* the kernel moves at most 2 GiB - 4 KiB at once */
};

static void fifo_push(struct uring_fifo *fifo, struct kap_io *io)
{
    io->env_private[PRIVATE_NEXT] = NULL;
    if (fifo->last)
        fifo->last->env_private[PRIVATE_NEXT] = io;
    else
        fifo->first = io;
    fifo->last = io;
}

static struct kap_io *fifo_pop(struct uring_fifo *fifo)
{
    struct kap_io *io = fifo->first;
    if (!io)
        return NULL;
    fifo->first = io->env_private[PRIVATE_NEXT];
    if (!fifo->first)
        fifo->last = NULL;
    return io;
}

static struct uring_file *file_of(struct kap_io *io)
{
    return (struct uring_file *)io->file;
}

/* What the status leaves out of errno is told here, once, by the only layer that knows it. */
static kap_status status_of(struct kap_io *io, int error)
{
    static const char *const names[] = {
        [KAP_IO_OPEN] = "open",   [KAP_IO_CLOSE] = "close",       [KAP_IO_READ] = "read",
        [KAP_IO_WRITE] = "write", [KAP_IO_SYNC] = "sync",         [KAP_IO_TRUNCATE] = "truncate",
        [KAP_IO_SIZE] = "size",   [KAP_IO_SYNC_DIR] = "sync_dir", [KAP_IO_RENAME] = "rename",
        [KAP_IO_LINK] = "link",   [KAP_IO_UNLINK] = "unlink",     [KAP_IO_MKDIR] = "mkdir",
        [KAP_IO_RMDIR] = "rmdir",
    };
    kap_status status = uring_status_of(error);
    if (status == KAP_IO)
        kap_log(KAP_LOG_WARN, "env", "msg=\"operation failed\" op=%s errno=%s offset=%llu", names[io->op],
                strerrorname_np(error), (unsigned long long)io->offset);
    return status;
}

static void open_prepare(struct io_uring_sqe *sqe, struct kap_io *io)
{
    int flags = O_CLOEXEC | (io->flags & KAP_OPEN_WRITE ? O_RDWR : O_RDONLY);
    if (io->flags & KAP_OPEN_CREATE)
        flags |= O_CREAT;
    if (io->flags & KAP_OPEN_EXCLUSIVE)
        flags |= O_EXCL;
    io_uring_prep_openat(sqe, AT_FDCWD, io->name, flags, 0600);
}

static void transfer_prepare(struct io_uring_sqe *sqe, struct kap_io *io)
{
    uint8_t *at = (uint8_t *)io->data + io->transferred;
    unsigned len = (unsigned)KAP_MIN(io->len - io->transferred, (size_t)TRANSFER_MAX);
    uint64_t offset = io->offset + io->transferred;
    if (io->op == KAP_IO_READ) {
        io_uring_prep_read(sqe, file_of(io)->fd, at, len, offset);
    } else {
        io_uring_prep_write(sqe, file_of(io)->fd, at, len, offset);
        if (io->flags & KAP_WRITE_DSYNC)
            sqe->rw_flags = RWF_DSYNC;
    }
}

static void entry_prepare(struct io_uring_sqe *sqe, struct kap_io *io)
{
    switch (io->op) {
    case KAP_IO_OPEN:
        open_prepare(sqe, io);
        break;
    case KAP_IO_CLOSE:
        io_uring_prep_close(sqe, file_of(io)->fd);
        break;
    case KAP_IO_READ:
    case KAP_IO_WRITE:
        transfer_prepare(sqe, io);
        break;
    case KAP_IO_SYNC: /* fdatasync writes the size too whenever reading the data back needs it */
        io_uring_prep_fsync(sqe, file_of(io)->fd, IORING_FSYNC_DATASYNC);
        break;
    case KAP_IO_SYNC_DIR:
        if (io->env_private[PRIVATE_DIR_FD])
            io_uring_prep_fsync(sqe, (int)(intptr_t)io->env_private[PRIVATE_DIR_FD] - 1, 0);
        else
            io_uring_prep_openat(sqe, AT_FDCWD, io->name, O_CLOEXEC | O_RDONLY | O_DIRECTORY, 0);
        break;
    case KAP_IO_RENAME:
        io_uring_prep_renameat(sqe, AT_FDCWD, io->name, AT_FDCWD, io->name_to, 0);
        break;
    case KAP_IO_LINK:
        io_uring_prep_linkat(sqe, AT_FDCWD, io->name, AT_FDCWD, io->name_to, 0);
        break;
    case KAP_IO_UNLINK:
        io_uring_prep_unlinkat(sqe, AT_FDCWD, io->name, 0);
        break;
    case KAP_IO_MKDIR:
        io_uring_prep_mkdirat(sqe, AT_FDCWD, io->name, 0700);
        break;
    case KAP_IO_RMDIR:
        io_uring_prep_unlinkat(sqe, AT_FDCWD, io->name, AT_REMOVEDIR);
        break;
    case KAP_IO_TRUNCATE:
    case KAP_IO_SIZE:
        KAP_ASSERT(!"needs no ring");
    }
    io_uring_sqe_set_data(sqe, io);
}

/* False: depth is reached or the ring is full (sockets may share it). */
static bool ring_take(struct uring_queue *queue, struct kap_io *io)
{
    if (queue->in_ring == queue->depth)
        return false;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring);
    if (!sqe) {
        (void)io_uring_submit(&queue->ring);
        sqe = io_uring_get_sqe(&queue->ring);
    }
    if (!sqe)
        return false;
    entry_prepare(sqe, io);
    queue->in_ring++;
    return true;
}

static void finish_ready(struct uring_queue *queue, struct kap_io *io, kap_status status)
{
    io->status = status;
    fifo_push(&queue->ready, io);
}

/* Quick and never blocking on data, so a plain system call. */
static kap_status direct_call(struct kap_io *io)
{
    int result;
    if (io->op == KAP_IO_TRUNCATE) {
        do
            result = ftruncate(file_of(io)->fd, (off_t)io->len);
        while (result != 0 && errno == EINTR);
        return result == 0 ? KAP_OK : status_of(io, errno);
    }
    struct stat stat;
    result = fstat(file_of(io)->fd, &stat);
    if (result != 0)
        return status_of(io, errno);
    io->size_out = (uint64_t)stat.st_size;
    return KAP_OK;
}

static void transfer_check(const struct kap_io *io)
{
    KAP_ASSERT(io->data || io->len == 0);
    if (((const struct uring_file *)io->file)->direct_asked)
        KAP_ASSERT((((uintptr_t)io->data | io->len | io->offset) & (KAP_DIRECT_ALIGN - 1)) == 0);
}

void uring_begin(struct uring_queue *queue, struct kap_io *io)
{
    io->status = KAP_OK;
    io->transferred = 0;
    io->file_out = NULL;
    io->env_private[PRIVATE_DIR_FD] = io->env_private[PRIVATE_FILE] = NULL;
    queue->owned++;
    switch (io->op) {
    case KAP_IO_TRUNCATE:
    case KAP_IO_SIZE:
        finish_ready(queue, io, direct_call(io));
        return;
    case KAP_IO_READ:
    case KAP_IO_WRITE:
        transfer_check(io);
        if (io->len == 0) {
            finish_ready(queue, io, KAP_OK);
            return;
        }
        break;
    case KAP_IO_OPEN:
        io->env_private[PRIVATE_FILE] = kap_memory_alloc(&queue->base.env->memory, sizeof(struct uring_file));
        if (!io->env_private[PRIVATE_FILE]) {
            finish_ready(queue, io, KAP_NO_MEMORY);
            return;
        }
        break;
    default:
        break;
    }
    if (queue->waiting.first || !ring_take(queue, io))
        fifo_push(&queue->waiting, io);
}

void uring_start_waiting(struct uring_queue *queue)
{
    while (queue->waiting.first && ring_take(queue, queue->waiting.first))
        fifo_pop(&queue->waiting);
}

/* O_DIRECT is switched on afterwards: open refuses it only after having created the file. */
static kap_status open_finish(struct kap_io *io, int fd)
{
    if ((io->flags & KAP_OPEN_LOCK) && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        kap_status status = errno == EWOULDBLOCK ? KAP_LOCKED : status_of(io, errno);
        close(fd);
        return status;
    }
    struct uring_file *file = io->env_private[PRIVATE_FILE];
    file->fd = fd;
    file->direct_asked = (io->flags & KAP_OPEN_DIRECT) != 0;
    if (file->direct_asked) {
        int flags = fcntl(fd, F_GETFL);
        file->direct = flags >= 0 && fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
    }
    io->file_out = io->env_private[PRIVATE_FILE];
    io->env_private[PRIVATE_FILE] = NULL;
    return KAP_OK;
}

/* True when more of the transfer is to be asked for. A direct read that ends between two sectors has met the end of the
 * file; going on from there would be unaligned. */
static bool transfer_more(struct kap_io *io, int result)
{
    io->transferred += (size_t)result;
    if (io->transferred == io->len)
        return false;
    if (io->op == KAP_IO_READ)
        return result > 0 && !(file_of(io)->direct && io->transferred % KAP_DIRECT_ALIGN != 0);
    if (result == 0)
        io->status = status_of(io, EIO);
    return result > 0;
}

/* Returns true when the operation goes on. */
static bool result_take(struct uring_queue *queue, struct kap_io *io, int result)
{
    if (result == -EINTR || result == -EAGAIN)
        return io->op != KAP_IO_CLOSE; /* Linux has closed it all the same */
    bool more = false;
    if (result < 0)
        io->status = status_of(io, -result);
    else if (io->op == KAP_IO_OPEN)
        io->status = open_finish(io, result);
    else if (io->op == KAP_IO_READ || io->op == KAP_IO_WRITE)
        more = transfer_more(io, result);
    if (io->op == KAP_IO_SYNC_DIR) {
        if (io->env_private[PRIVATE_DIR_FD]) {
            close((int)(intptr_t)io->env_private[PRIVATE_DIR_FD] - 1);
        } else if (result >= 0) {
            io->env_private[PRIVATE_DIR_FD] = (void *)(intptr_t)(result + 1); // NOLINT
            more = true;
        }
    }
    if (io->op == KAP_IO_CLOSE)
        kap_memory_free(&queue->base.env->memory, io->file);
    if (io->op == KAP_IO_OPEN)
        kap_memory_free(&queue->base.env->memory, io->env_private[PRIVATE_FILE]);
    return more;
}

int uring_completed(struct uring_queue *queue, struct kap_io *io, int result)
{
    queue->in_ring--;
    if (result_take(queue, io, result)) {
        if (!ring_take(queue, io))
            fifo_push(&queue->waiting, io);
        return 0;
    }
    queue->owned--;
    io->done(io);
    return 1;
}

/* Only those that are ready now: done() may add more. */
int uring_run_ready(struct uring_queue *queue)
{
    struct uring_fifo due = queue->ready;
    queue->ready = (struct uring_fifo){0};
    int count = 0;
    for (struct kap_io *io; (io = fifo_pop(&due)); count++) {
        queue->owned--;
        io->done(io);
    }
    return count;
}
