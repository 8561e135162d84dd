#include "tests/lib/test.h"

#include <errno.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/env/env.h"
#include "engine/env/env_uring.h"

struct world {
    struct kap_env *env;
    struct kap_queue *queue;
    char dir[64];
};

static char *path(struct world *world, const char *name)
{
    static char paths[4][256];
    static int next;
    char *at = paths[next++ % 4];
    snprintf(at, sizeof paths[0], "%s/%s", world->dir, name);
    return at;
}

static kap_status remove_each(void *context, const char *name)
{
    unlink(path(context, name));
    rmdir(path(context, name));
    return KAP_OK;
}

static struct world world_up(uint32_t depth)
{
    struct world world = {.dir = "/tmp/kap-env-XXXXXX"};
    cr_assert_not_null(mkdtemp(world.dir));
    struct kap_error error = {0};
    cr_assert_eq(kap_env_uring_create(&world.env, &error), KAP_OK, "%s", error.text);
    cr_assert_eq(kap_queue_create(world.env, depth, &world.queue, &error), KAP_OK, "%s", error.text);
    return world;
}

static void world_down(struct world *world)
{
    kap_queue_destroy(world->queue);
    cr_assert_eq(kap_env_list(world->env, world->dir, remove_each, world), KAP_OK);
    cr_assert_eq(rmdir(world->dir), 0);
    cr_assert_eq(kap_memory_used(&world->env->memory), 0u);
    kap_env_uring_destroy(world->env);
}

static kap_status do_named(struct world *world, enum kap_io_op op, const char *name, const char *name_to)
{
    struct kap_io io = {.op = op, .name = name, .name_to = name_to};
    return kap_io_wait(world->queue, &io);
}

static kap_status do_open(struct world *world, const char *name, uint32_t flags, struct kap_file **file_out)
{
    struct kap_io io = {.op = KAP_IO_OPEN, .name = name, .flags = flags};
    kap_status status = kap_io_wait(world->queue, &io);
    *file_out = io.file_out;
    return status;
}

static kap_status do_file(struct world *world, enum kap_io_op op, struct kap_file *file)
{
    struct kap_io io = {.op = op, .file = file};
    return kap_io_wait(world->queue, &io);
}

static kap_status do_write(struct world *world, struct kap_file *file, uint64_t offset, void *data, size_t len,
                           uint32_t flags)
{
    struct kap_io io = {.op = KAP_IO_WRITE, .file = file, .offset = offset, .data = data, .len = len, .flags = flags};
    return kap_io_wait(world->queue, &io);
}

static kap_status do_read(struct world *world, struct kap_file *file, uint64_t offset, void *data, size_t len,
                          size_t *got_out)
{
    struct kap_io io = {.op = KAP_IO_READ, .file = file, .offset = offset, .data = data, .len = len};
    kap_status status = kap_io_wait(world->queue, &io);
    *got_out = io.transferred;
    return status;
}

static uint64_t size_of(struct world *world, struct kap_file *file)
{
    struct kap_io io = {.op = KAP_IO_SIZE, .file = file};
    cr_assert_eq(kap_io_wait(world->queue, &io), KAP_OK);
    return io.size_out;
}

Test(env_uring, what_is_written_is_read_and_the_end_of_the_file_shortens_a_read)
{
    struct world world = world_up(4);
    struct kap_file *file;
    char text[] = "eleven byte", back[64];
    size_t got;
    cr_assert_eq(do_open(&world, path(&world, "a"), KAP_OPEN_READ, &file), KAP_NO_FILE);
    cr_assert_null(file);
    uint32_t flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE | KAP_OPEN_EXCLUSIVE;
    cr_assert_eq(do_open(&world, path(&world, "a"), flags, &file), KAP_OK);
    cr_assert_eq(do_write(&world, file, 100, text, sizeof text, 0), KAP_OK);
    cr_assert_eq(do_write(&world, file, 0, text, sizeof text, KAP_WRITE_DSYNC), KAP_OK);
    cr_assert_eq(do_file(&world, KAP_IO_SYNC, file), KAP_OK);
    cr_assert_eq(size_of(&world, file), 100 + sizeof text);
    cr_assert_eq(do_read(&world, file, 100, back, sizeof back, &got), KAP_OK);
    cr_assert_eq(got, sizeof text);
    cr_assert_str_eq(back, text);
    cr_assert_eq(do_read(&world, file, 5000, back, sizeof back, &got), KAP_OK);
    cr_assert_eq(got, 0u);
    struct kap_io truncate = {.op = KAP_IO_TRUNCATE, .file = file, .len = 5};
    cr_assert_eq(kap_io_wait(world.queue, &truncate), KAP_OK);
    cr_assert_eq(size_of(&world, file), 5u);
    cr_assert_eq(do_file(&world, KAP_IO_CLOSE, file), KAP_OK);
    cr_assert_eq(do_open(&world, path(&world, "a"), flags, &file), KAP_EXISTS);
    world_down(&world);
}

Test(env_uring, names_are_made_moved_linked_and_removed)
{
    struct world world = world_up(4);
    struct kap_file *file;
    uint32_t flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE;
    cr_assert_eq(do_named(&world, KAP_IO_MKDIR, path(&world, "d"), NULL), KAP_OK);
    cr_assert_eq(do_named(&world, KAP_IO_MKDIR, path(&world, "d"), NULL), KAP_EXISTS);
    cr_assert_eq(do_open(&world, path(&world, "d/one"), flags, &file), KAP_OK);
    cr_assert_eq(do_file(&world, KAP_IO_CLOSE, file), KAP_OK);
    cr_assert_eq(do_named(&world, KAP_IO_SYNC_DIR, path(&world, "d"), NULL), KAP_OK);
    cr_assert_eq(do_named(&world, KAP_IO_SYNC_DIR, path(&world, "nowhere"), NULL), KAP_NO_FILE);
    cr_assert_eq(do_named(&world, KAP_IO_LINK, path(&world, "d/one"), path(&world, "two")), KAP_OK);
    cr_assert_eq(do_named(&world, KAP_IO_LINK, path(&world, "d/one"), path(&world, "two")), KAP_EXISTS);
    cr_assert_eq(do_named(&world, KAP_IO_RMDIR, path(&world, "d"), NULL), KAP_EXISTS);
    cr_assert_eq(do_named(&world, KAP_IO_RENAME, path(&world, "d/one"), path(&world, "two")), KAP_OK);
    cr_assert_eq(do_named(&world, KAP_IO_UNLINK, path(&world, "d/one"), NULL), KAP_OK, "same inode: both stay");
    cr_assert_eq(do_named(&world, KAP_IO_UNLINK, path(&world, "d/one"), NULL), KAP_NO_FILE);
    cr_assert_eq(do_named(&world, KAP_IO_RENAME, path(&world, "two"), path(&world, "three")), KAP_OK);
    cr_assert_eq(do_named(&world, KAP_IO_UNLINK, path(&world, "two"), NULL), KAP_NO_FILE);
    cr_assert_eq(do_named(&world, KAP_IO_RMDIR, path(&world, "d"), NULL), KAP_OK);
    world_down(&world);
}

Test(env_uring, direct_files_read_what_they_wrote_up_to_an_odd_end)
{
    struct world world = world_up(4);
    struct kap_file *file, *plain;
    char tail[] = "tail";
    size_t got, bytes = 4 * KAP_DIRECT_ALIGN;
    uint8_t *data = kap_memory_alloc_aligned(&world.env->memory, KAP_DIRECT_ALIGN, bytes);
    cr_assert_not_null(data);
    memset(data, 7, bytes);
    uint32_t flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE | KAP_OPEN_EXCLUSIVE | KAP_OPEN_DIRECT;
    cr_assert_eq(do_open(&world, path(&world, "w"), flags, &file), KAP_OK);
    cr_assert_eq(do_write(&world, file, 0, data, bytes, KAP_WRITE_DSYNC), KAP_OK);
    cr_assert_eq(do_open(&world, path(&world, "w"), KAP_OPEN_WRITE, &plain), KAP_OK);
    cr_assert_eq(do_write(&world, plain, bytes, tail, 4, 0), KAP_OK);
    cr_assert_eq(do_file(&world, KAP_IO_SYNC, plain), KAP_OK);
    cr_assert_eq(do_read(&world, file, 3 * KAP_DIRECT_ALIGN, data, bytes, &got), KAP_OK);
    cr_assert_eq(got, (size_t)KAP_DIRECT_ALIGN + 4);
    cr_assert_eq(data[0], 7);
    cr_assert_eq(memcmp(data + KAP_DIRECT_ALIGN, "tail", 4), 0);
    kap_memory_free(&world.env->memory, data);
    cr_assert_eq(do_file(&world, KAP_IO_CLOSE, plain), KAP_OK);
    cr_assert_eq(do_file(&world, KAP_IO_CLOSE, file), KAP_OK);
    world_down(&world);
}

Test(env_uring, a_locked_file_is_refused_until_it_is_closed)
{
    struct world world = world_up(4);
    struct kap_file *one, *two;
    uint32_t flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE | KAP_OPEN_LOCK;
    cr_assert_eq(do_open(&world, path(&world, "lock"), flags, &one), KAP_OK);
    cr_assert_eq(do_open(&world, path(&world, "lock"), flags, &two), KAP_LOCKED);
    cr_assert_eq(do_file(&world, KAP_IO_CLOSE, one), KAP_OK);
    cr_assert_eq(do_open(&world, path(&world, "lock"), flags, &two), KAP_OK);
    cr_assert_eq(do_file(&world, KAP_IO_CLOSE, two), KAP_OK);
    world_down(&world);
}

/* A full device answers ENOSPC: /dev/full is one. A write that a limit cuts short is continued and then fails. */
Test(env_uring, a_full_disk_is_no_space_and_a_write_cut_short_is_an_error)
{
    struct world world = world_up(4);
    struct kap_file *file;
    char data[8192] = {1};
    cr_assert_eq(do_open(&world, "/dev/full", KAP_OPEN_WRITE, &file), KAP_OK);
    cr_assert_eq(do_write(&world, file, 0, data, sizeof data, 0), KAP_NO_SPACE);
    cr_assert_eq(do_file(&world, KAP_IO_CLOSE, file), KAP_OK);

    struct rlimit before, small;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 5000, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(do_open(&world, path(&world, "cut"), KAP_OPEN_WRITE | KAP_OPEN_CREATE, &file), KAP_OK);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct kap_io io = {.op = KAP_IO_WRITE, .file = file, .data = data, .len = sizeof data};
    kap_status status = kap_io_wait(world.queue, &io);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(status, KAP_IO);
    cr_assert_eq(io.transferred, 5000u, "the short part was written before the rest was refused");
    cr_assert_eq(do_file(&world, KAP_IO_CLOSE, file), KAP_OK);
    world_down(&world);
}

struct chain {
    struct kap_io io;
    struct kap_queue *queue;
    int *left, *done;
    uint8_t byte;
};

static void chain_done(struct kap_io *io)
{
    struct chain *chain = io->context;
    cr_assert_eq(io->status, KAP_OK);
    ++*chain->done;
    if (*chain->left > 0) {
        --*chain->left;
        io->offset += 64;
        kap_queue_submit(chain->queue, io);
    }
}

Test(env_uring, operations_beyond_the_depth_wait_and_done_may_submit)
{
    struct world world = world_up(3);
    struct kap_file *file;
    struct chain chains[64];
    int left = 200, done = 0;
    cr_assert_eq(do_open(&world, path(&world, "many"), KAP_OPEN_WRITE | KAP_OPEN_CREATE, &file), KAP_OK);
    for (int i = 0; i < 64; i++) {
        chains[i] = (struct chain){.queue = world.queue, .left = &left, .done = &done, .byte = (uint8_t)i};
        chains[i].io = (struct kap_io){.op = i % 8 == 7 ? KAP_IO_SIZE : KAP_IO_WRITE,
                                       .file = file,
                                       .data = &chains[i].byte,
                                       .len = 1,
                                       .offset = (uint64_t)i,
                                       .done = chain_done,
                                       .context = &chains[i]};
        kap_queue_submit(world.queue, &chains[i].io);
    }
    cr_assert_eq(done, 0, "done never runs inside submit");
    while (kap_queue_poll(world.queue, -1) > 0)
        ;
    cr_assert_eq(done, 264);
    cr_assert_eq(do_file(&world, KAP_IO_CLOSE, file), KAP_OK);
    world_down(&world);
}

static void foreign_seen(void *context, uint64_t user_data, int32_t result, uint32_t flags)
{
    (void)flags;
    cr_assert_eq(result, 0);
    *(uint64_t *)context = user_data;
}

static void *wake_later(void *context)
{
    usleep(20000);
    kap_env_uring_wake(context);
    return NULL;
}

Test(env_uring, a_socket_loop_shares_the_ring_and_is_woken_from_outside)
{
    struct world world = world_up(4);
    uint64_t seen = 0;
    kap_env_uring_set_foreign(world.queue, foreign_seen, &seen);
    struct io_uring_sqe *sqe = io_uring_get_sqe(kap_env_uring_ring(world.queue));
    io_uring_prep_nop(sqe);
    io_uring_sqe_set_data64(sqe, 0x1235);
    cr_assert_eq(kap_queue_poll(world.queue, -1), 1);
    cr_assert_eq(seen, 0x1235u);

    kap_env_uring_wake(world.queue);
    cr_assert_eq(kap_queue_poll(world.queue, -1), 0, "woken before the wait");
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, wake_later, world.queue), 0);
        cr_assert_eq(kap_queue_poll(world.queue, -1), 0);
        pthread_join(thread, NULL);
    }
    int64_t before = kap_env_mono_ns(world.env);
    (void)kap_queue_poll(world.queue, 1000); /* takes what the last wake-up left behind */
    cr_assert_eq(kap_queue_poll(world.queue, 5000000), 0);
    cr_assert_geq(kap_env_mono_ns(world.env) - before, 5000000);
    world_down(&world);
}

struct counter {
    struct kap_worker *worker;
    struct kap_io io;
    char byte;
    const char *name;
    _Atomic int steps, wakes_seen, posted, stage;
};

/* open -> write -> close over WAIT_IO, then counts what was posted to it, then ticks by itself. */
static void counter_io_done(struct kap_io *io)
{
    struct counter *counter = io->context;
    cr_assert_eq(io->status, KAP_OK);
    if (io->op == KAP_IO_OPEN)
        io->file = io->file_out;
    atomic_fetch_add(&counter->stage, 1);
}

static enum kap_step counter_step(void *context, struct kap_queue *queue)
{
    static const enum kap_io_op ops[] = {KAP_IO_OPEN, KAP_IO_WRITE, KAP_IO_CLOSE};
    struct counter *counter = context;
    int stage = atomic_load(&counter->stage);
    atomic_fetch_add(&counter->steps, 1);
    if (stage % 2 == 0 && stage < 6) {
        counter->io.op = ops[stage / 2];
        counter->io.flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE;
        atomic_fetch_add(&counter->stage, 1);
        kap_queue_submit(queue, &counter->io);
        return KAP_STEP_WAIT_IO;
    }
    if (stage < 6)
        return KAP_STEP_WAIT_IO;
    atomic_store(&counter->wakes_seen, atomic_load(&counter->posted));
    kap_worker_sleep(counter->worker, 1000000);
    return KAP_STEP_IDLE;
}

static void wait_until(_Atomic int *value, int at_least)
{
    for (int i = 0; i < 5000 && atomic_load(value) < at_least; i++)
        usleep(1000);
    cr_assert_geq(atomic_load(value), at_least);
}

Test(env_uring, a_worker_waits_for_io_is_woken_and_wakes_by_itself)
{
    struct world world = world_up(4);
    struct counter counter = {.name = path(&world, "worker")};
    counter.io = (struct kap_io){
        .name = counter.name, .data = &counter.byte, .len = 1, .done = counter_io_done, .context = &counter};
    cr_assert_eq(kap_worker_start(world.env, "counter", counter_step, &counter, &counter.worker), KAP_OK);
    wait_until(&counter.stage, 6);
    for (int i = 1; i <= 100; i++) {
        atomic_store(&counter.posted, i);
        kap_worker_wake(counter.worker);
    }
    wait_until(&counter.wakes_seen, 100);
    int steps = atomic_load(&counter.steps);
    wait_until(&counter.steps, steps + 10); /* nobody wakes it now */
    kap_worker_stop(counter.worker);
    world_down(&world);
}

static enum kap_step idle_step(void *context, struct kap_queue *queue)
{
    (void)queue;
    return atomic_fetch_add((_Atomic int *)context, 1) < 3 ? KAP_STEP_AGAIN : KAP_STEP_DONE;
}

Test(env_uring, a_worker_that_is_done_is_not_called_again)
{
    struct world world = world_up(4);
    _Atomic int steps = 0;
    struct kap_worker *worker;
    cr_assert_eq(kap_worker_start(world.env, "a-name-longer-than-15", idle_step, &steps, &worker), KAP_OK);
    wait_until(&steps, 4);
    kap_worker_wake(worker);
    kap_worker_wake(worker);
    kap_worker_stop(worker);
    cr_assert_eq(atomic_load(&steps), 4);
    world_down(&world);
}

Test(env_uring, the_world_has_space_time_and_entropy)
{
    struct world world = world_up(1);
    uint64_t free_bytes, total_bytes;
    cr_assert_eq(kap_env_space(world.env, world.dir, &free_bytes, &total_bytes), KAP_OK);
    cr_assert_gt(total_bytes, 0u);
    cr_assert_leq(free_bytes, total_bytes);
    cr_assert_gt(kap_env_wall_us(world.env), 1600000000000000);
    int64_t before = kap_env_mono_ns(world.env);
    cr_assert_geq(kap_env_mono_ns(world.env), before);
    uint8_t one[16], two[16];
    kap_env_random(world.env, one, sizeof one);
    kap_env_random(world.env, two, sizeof two);
    cr_assert_neq(memcmp(one, two, sizeof one), 0);
    cr_assert_eq(kap_env_list(world.env, path(&world, "none"), remove_each, &world), KAP_NO_FILE);
    world_down(&world);
}

/* What a container's default seccomp profile does: io_uring_setup is answered with an errno. Returns 0 when the refusal
 * is told in full. */
static int create_while_refused_with(int refusal)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)refusal),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 1;
    struct kap_env *env;
    struct kap_error error = {0};
    if (kap_env_uring_create(&env, &error) != KAP_NOT_PERMITTED)
        return 2;
    return strstr(error.text, "kernel.io_uring_disabled") && strstr(error.text, "seccomp") ? 0 : 3;
}

Test(env_uring, a_system_that_forbids_it_is_told_how_to_allow_it)
{
    const int refusals[] = {EPERM, ENOSYS};
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0)
            _exit(create_while_refused_with(refusals[i]));
        int status = 0;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert_eq(status, 0);
    }
}
