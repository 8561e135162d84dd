#include "tests/lib/test.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/env/env_failing.h"
#include "engine/env/env_losing.h"
#include "tests/unit/env/env_fixture.h"

enum { CREATE = KAP_OPEN_WRITE | KAP_OPEN_CREATE, OPS_OF_SCRIPT = 11 };

/* Over the simulated machine, or over the real one in a directory of its own. */
struct stack {
    struct ops ops;
    struct kap_env *inner;
    bool real;
    char dir[40];
};

static struct stack stack_up(bool real)
{
    struct stack stack = {.real = real};
    if (real) {
        strcpy(stack.dir, "/tmp/kap-failing-XXXXXX");
        cr_assert_not_null(mkdtemp(stack.dir));
        cr_assert_eq(kap_env_uring_create(&stack.inner, NULL), KAP_OK);
    } else {
        strcpy(stack.dir, "");
        stack.inner = kap_losing_create(5, NULL);
    }
    stack.ops.env = kap_failing_create(stack.inner);
    cr_assert_not_null(stack.ops.env);
    cr_assert_eq(kap_queue_create(stack.ops.env, 4, &stack.ops.queue, NULL), KAP_OK);
    return stack;
}

static void stack_down(struct stack *stack)
{
    kap_queue_destroy(stack->ops.queue);
    cr_assert_eq(kap_memory_used(&stack->ops.env->memory), 0u);
    kap_failing_destroy(stack->ops.env);
    cr_assert_eq(kap_memory_used(&stack->inner->memory), 0u);
    if (stack->real) {
        kap_env_uring_destroy(stack->inner);
        cr_assert_eq(rmdir(stack->dir), 0);
    } else {
        kap_losing_destroy(stack->inner);
    }
}

/* One operation of every class but close, eleven in all, and everything removed again. The first failure is returned;
 * cleaning up is not given up. */
static kap_status script(struct stack *stack)
{
    struct ops *ops = &stack->ops;
    char d[64], a[64], b[64], c[64];
    struct kap_file *file = NULL;
    size_t len;
    uint8_t byte = 0;
    snprintf(d, sizeof d, "%s/d", stack->dir);
    snprintf(a, sizeof a, "%s/d/a", stack->dir);
    snprintf(b, sizeof b, "%s/d/b", stack->dir);
    snprintf(c, sizeof c, "%s/d/c", stack->dir);
    kap_status first = KAP_OK;
    kap_status results[OPS_OF_SCRIPT] = {0};
    results[0] = ops_name(ops, KAP_IO_MKDIR, d, NULL);
    if (results[0] == KAP_OK)
        results[1] = ops_open(ops, a, CREATE, &file);
    if (file) {
        results[2] = ops_write(ops, file, 0, "x", 1, KAP_WRITE_DSYNC);
        results[3] = ops_read(ops, file, 0, &byte, 1, &len);
        results[4] = ops_file(ops, KAP_IO_SYNC, file);
        cr_assert_eq(ops_file(ops, KAP_IO_CLOSE, file), KAP_OK, "a close is never failed");
        results[5] = ops_name(ops, KAP_IO_LINK, a, b);
        results[6] = ops_name(ops, KAP_IO_RENAME, a, c);
        results[7] = ops_name(ops, KAP_IO_SYNC_DIR, d, NULL);
    }
    for (int i = 0; i < OPS_OF_SCRIPT && first == KAP_OK; i++)
        first = results[i];
    const char *const names[] = {a, b, c};
    for (int i = 0; i < 3; i++)
        for (int attempt = 0; attempt < 2; attempt++) {
            kap_status status = ops_name(ops, KAP_IO_UNLINK, names[i], NULL);
            if (status != KAP_NO_FILE && first == KAP_OK)
                first = status;
        }
    for (int attempt = 0; attempt < 2; attempt++) {
        kap_status status = ops_name(ops, KAP_IO_RMDIR, d, NULL);
        if (status != KAP_NO_FILE && first == KAP_OK)
            first = status;
    }
    return first;
}

Test(env_failing, every_class_fails_once_where_it_was_told_to_and_counts_go_on)
{
    for (int real = 0; real < 2; real++)
        for (int class = KAP_FAILING_OPEN; class <= KAP_FAILING_ANY; class ++) {
            struct stack stack = stack_up(real);
            cr_assert_eq(script(&stack), KAP_OK);
            uint64_t count = kap_failing_count(stack.ops.env, (enum kap_failing_class) class);
            cr_assert_gt(count, 0u);
            for (uint64_t n = 1; n <= count; n++) {
                uint64_t before = kap_failing_failures(stack.ops.env);
                kap_failing_at(stack.ops.env, (enum kap_failing_class) class, n, KAP_NO_SPACE, false);
                cr_assert_eq(script(&stack), KAP_NO_SPACE, "class %d n %d", class, (int)n);
                cr_assert_eq(kap_failing_failures(stack.ops.env), before + 1);
            }
            kap_failing_at(stack.ops.env, (enum kap_failing_class) class, 1000, KAP_IO, false);
            cr_assert_eq(script(&stack), KAP_OK, "past the end nothing fails");
            stack_down(&stack);
        }
}

Test(env_failing, a_sticky_failure_stays_until_it_is_lifted_and_below_nothing_happened)
{
    struct stack stack = stack_up(false);
    struct kap_file *file;
    uint64_t size;
    cr_assert_eq(ops_open(&stack.ops, "a", CREATE, &file), KAP_OK);
    cr_assert_eq(ops_write(&stack.ops, file, 0, "12345", 5, 0), KAP_OK);
    kap_failing_at(stack.ops.env, KAP_FAILING_WRITE, 2, KAP_IO, true);
    cr_assert_eq(ops_write(&stack.ops, file, 5, "6", 1, 0), KAP_OK);
    uint64_t below = kap_losing_io_count(stack.inner);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(ops_write(&stack.ops, file, 6, "7", 1, 0), KAP_IO);
    cr_assert_eq(kap_losing_io_count(stack.inner), below);
    cr_assert_eq(kap_losing_file_size(stack.inner, "a", &size), KAP_OK);
    cr_assert_eq(size, 6u);
    kap_failing_at(stack.ops.env, KAP_FAILING_WRITE, 0, KAP_OK, false);
    cr_assert_eq(ops_write(&stack.ops, file, 6, "7", 1, 0), KAP_OK);
    cr_assert_eq(kap_failing_count(stack.ops.env, KAP_FAILING_WRITE), 8u);
    cr_assert_eq(kap_failing_failures(stack.ops.env), 5u);
    cr_assert_eq(ops_file(&stack.ops, KAP_IO_CLOSE, file), KAP_OK);
    stack_down(&stack);
}

Test(env_failing, a_failed_sync_leaves_the_data_to_be_lost)
{
    struct stack stack = stack_up(false);
    struct kap_file *file;
    uint64_t size = 1;
    cr_assert_eq(ops_open(&stack.ops, "a", CREATE, &file), KAP_OK);
    cr_assert_eq(ops_name(&stack.ops, KAP_IO_SYNC_DIR, "/", NULL), KAP_OK);
    cr_assert_eq(ops_write(&stack.ops, file, 0, "12345", 5, 0), KAP_OK);
    kap_failing_at(stack.ops.env, KAP_FAILING_SYNC, 1, KAP_IO, false);
    cr_assert_eq(ops_file(&stack.ops, KAP_IO_SYNC, file), KAP_IO);
    kap_losing_restart(stack.inner, KAP_LOSING_ALL_LOST);
    cr_assert_eq(kap_losing_file_size(stack.inner, "a", &size), KAP_OK);
    cr_assert_eq(size, 0u);
    stack_down(&stack);
}

Test(env_failing, allocations_of_the_store_fail_and_those_below_do_not)
{
    struct stack stack = stack_up(false);
    struct kap_memory *memory = &stack.ops.env->memory;
    kap_failing_at(stack.ops.env, KAP_FAILING_ALLOC, 2, KAP_NO_MEMORY, false);
    void *one = kap_memory_alloc(memory, 10), *two = kap_memory_alloc(memory, 10);
    void *three = kap_memory_alloc_aligned(memory, 4096, 4096);
    cr_assert_not_null(one);
    cr_assert_null(two);
    cr_assert_not_null(three);
    kap_failing_at(stack.ops.env, KAP_FAILING_ALLOC, 1, KAP_NO_MEMORY, true);
    cr_assert_eq(script(&stack), KAP_OK);
    cr_assert_null(kap_memory_alloc(memory, 1));
    cr_assert_eq(kap_failing_count(stack.ops.env, KAP_FAILING_ALLOC), 4u);
    kap_memory_free(memory, one);
    kap_memory_free(memory, three);
    stack_down(&stack);
}

/* Opens, writes five times, closes; retries whatever fails; then idles until it is stopped. */
struct stubborn {
    struct kap_worker *worker;
    struct kap_io io;
    uint8_t byte;
    _Atomic int writes, failures, finished;
    bool busy;
};

static void stubborn_done(struct kap_io *io)
{
    struct stubborn *stubborn = io->context;
    stubborn->busy = false;
    if (io->status != KAP_OK)
        atomic_fetch_add(&stubborn->failures, 1);
    else if (io->op == KAP_IO_OPEN)
        io->file = io->file_out;
    else if (io->op == KAP_IO_WRITE)
        atomic_fetch_add(&stubborn->writes, 1);
    else
        atomic_store(&stubborn->finished, 1);
}

static enum kap_step stubborn_step(void *context, struct kap_queue *queue)
{
    struct stubborn *stubborn = context;
    if (stubborn->busy)
        return KAP_STEP_WAIT_IO;
    if (atomic_load(&stubborn->finished)) {
        kap_worker_sleep(stubborn->worker, 1000000);
        return KAP_STEP_IDLE;
    }
    struct kap_io *io = &stubborn->io;
    io->op = !io->file ? KAP_IO_OPEN : atomic_load(&stubborn->writes) < 5 ? KAP_IO_WRITE : KAP_IO_CLOSE;
    io->flags = io->op == KAP_IO_OPEN ? CREATE : 0;
    stubborn->busy = true;
    kap_queue_submit(queue, io);
    return KAP_STEP_WAIT_IO;
}

Test(env_failing, a_worker_hears_of_its_failures_over_either_environment)
{
    for (int real = 0; real < 2; real++) {
        struct stack stack = stack_up(real);
        struct stubborn stubborn = {0};
        char name[64];
        snprintf(name, sizeof name, "%s/w", stack.dir);
        stubborn.io = (struct kap_io){
            .name = name, .data = &stubborn.byte, .len = 1, .done = stubborn_done, .context = &stubborn};
        kap_failing_at(stack.ops.env, KAP_FAILING_OPEN, 1, KAP_IO, false);
        kap_failing_at(stack.ops.env, KAP_FAILING_WRITE, 3, KAP_NO_SPACE, false);
        cr_assert_eq(kap_worker_start(stack.ops.env, "stubborn", stubborn_step, &stubborn, &stubborn.worker), KAP_OK);
        for (int i = 0; i < 5000 && !atomic_load(&stubborn.finished); i++) {
            if (real)
                usleep(1000);
            else
                cr_assert(kap_losing_run(stack.inner));
        }
        kap_worker_wake(stubborn.worker);
        kap_worker_stop(stubborn.worker);
        cr_assert_eq(atomic_load(&stubborn.finished), 1);
        cr_assert_eq(atomic_load(&stubborn.writes), 5);
        cr_assert_eq(atomic_load(&stubborn.failures), 2);
        cr_assert_eq(ops_name(&stack.ops, KAP_IO_UNLINK, name, NULL), KAP_OK);
        stack_down(&stack);
    }
}
