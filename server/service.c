/* A call is on one list at a time:
 *
 * blocks  a read found blocks missing       resume
 * commit  min_commit_seq is not durable yet poll
 * room    the log or the memtable is full   poll, in order
 * work    a deferral will finish it         kap_service_finish
 * held    its newest commit is not durable  poll, in order of seq */
#include "server/service.h"

#include "engine/base/assert.h"
#include "server/service_internal.h"

enum { CALL_ARENA_BLOCK_BYTES = 16 * 1024, CALL_ARENA_CAP_BYTES = 64 * 1024 * 1024 };

kap_status kap_service_create(struct kap_store *store, struct kap_service **service_out)
{
    struct kap_env *env = kap_store_env(store);
    uint16_t missing;
    if (kap_store_indexes_building(store, &missing, 1) > 0)
        return KAP_NOT_READY;
    struct kap_service *service = kap_memory_alloc(&env->memory, sizeof *service);
    if (!service)
        return KAP_NO_MEMORY;
    service->store = store;
    kap_list_init(&service->blocks);
    kap_list_init(&service->room);
    kap_list_init(&service->commit);
    kap_list_init(&service->held);
    kap_list_init(&service->work);
    kap_list_init(&service->slots);
    /* Cursors do not outlive the process: a client starts its list again. */
    kap_env_random(env, service->cursor_key, sizeof service->cursor_key);
    service->started_us = kap_env_wall_us(env);
    service_jobs_init(service);
    *service_out = service;
    return KAP_OK;
}

void kap_service_destroy(struct kap_service *service)
{
    if (!service)
        return;
    kap_store_snapshot_abandon(service->store);
    KAP_ASSERT(service->stats.waiting == 0);
    service_jobs_deinit(service);
    kap_memory_free(&kap_store_env(service->store)->memory, service);
}

struct kap_store *kap_service_store(struct kap_service *service)
{
    return service->store;
}

int64_t kap_service_started_us(const struct kap_service *service)
{
    return service->started_us;
}

void kap_service_list_scope(const struct kap_run *run, struct kap_list_scope *scope_out)
{
    *scope_out = (struct kap_list_scope){.op = run->op->op,
                                         .is_admin = kap_access_is(&run->access, KAP_ROLE_ADMIN),
                                         .is_expert = kap_access_is(&run->access, KAP_ROLE_EXPERT),
                                         .user = run->access.principal.user,
                                         .principal = kap_principal_id(&run->access.principal)};
    memcpy(scope_out->cursor_key, run->service->cursor_key, sizeof scope_out->cursor_key);
}

void kap_service_set_handler(struct kap_service *service, uint16_t op, kap_handler handler, void *context)
{
    struct service_handler *slot = NULL;
    for (uint32_t i = 0; i < service->n_handlers && !slot; i++)
        if (service->handlers[i].op == op)
            slot = &service->handlers[i];
    if (!slot) {
        KAP_ASSERT(service->n_handlers < SERVICE_HANDLERS_MAX);
        slot = &service->handlers[service->n_handlers++];
    }
    *slot = (struct service_handler){.op = op, .handler = handler, .context = context};
}

void *kap_service_handler_context(const struct kap_run *run)
{
    for (uint32_t i = 0; i < run->service->n_handlers; i++)
        if (run->service->handlers[i].op == run->op->op)
            return run->service->handlers[i].context;
    return NULL;
}

void kap_call_init(struct kap_service *service, struct kap_call *call, size_t arena_cap)
{
    *call = (struct kap_call){.service = service};
    kap_arena_init(&call->arena, &kap_store_env(service->store)->memory, CALL_ARENA_BLOCK_BYTES,
                   arena_cap ? arena_cap : CALL_ARENA_CAP_BYTES);
    kap_list_init(&call->link);
    kap_store_context_init(service->store, &call->context);
    call->context.owner = call;
}

void kap_call_reset(struct kap_call *call)
{
    KAP_ASSERT(call->state == KAP_CALL_IDLE || call->state == KAP_CALL_FINISHED);
    kap_arena_reset(&call->arena);
    call->state = KAP_CALL_IDLE;
    call->reply = kap_bytes("", 0);
    call->meta = (struct kap_meta){0};
    call->status = KAP_OK;
    call->commit_seq = call->wait_seq = 0;
    call->runs = 0;
    call->cancelled = false;
    call->deadline_ns = 0;
}

void kap_call_deinit(struct kap_call *call)
{
    KAP_ASSERT(call->state == KAP_CALL_IDLE || call->state == KAP_CALL_FINISHED);
    kap_read_context_release(&call->context);
    kap_arena_deinit(&call->arena);
}

static struct kap_list *list_of(struct kap_service *service, enum kap_call_state state)
{
    switch (state) {
    case KAP_CALL_WAITS_BLOCKS:
        return &service->blocks;
    case KAP_CALL_WAITS_ROOM:
        return &service->room;
    case KAP_CALL_WAITS_COMMIT:
        return &service->commit;
    case KAP_CALL_WAITS_SLOT:
        return &service->slots;
    case KAP_CALL_WAITS_WORK:
        return &service->work;
    default:
        return &service->held;
    }
}

static void call_unlink(struct kap_call *call)
{
    if (kap_list_empty(&call->link))
        return;
    kap_list_remove(&call->link);
    call->service->stats.waiting--;
}

void service_call_park(struct kap_call *call, enum kap_call_state state)
{
    KAP_ASSERT(kap_list_empty(&call->link));
    call->state = state;
    kap_list_push_back(list_of(call->service, state), &call->link);
    call->service->stats.waiting++;
}

void service_call_finish(struct kap_call *call)
{
    call_unlink(call);
    kap_read_context_release(&call->context);
    call->state = KAP_CALL_FINISHED;
    call->service->stats.refused += call->status != KAP_OK;
    if (call->done)
        call->done(call);
}

static bool deadline_passed(const struct kap_call *call)
{
    return call->deadline_ns != 0 && kap_env_mono_ns(kap_store_env(call->service->store)) >= call->deadline_ns;
}

static void refuse(struct kap_call *call, kap_status status)
{
    service_reply_error(call, NULL, status, kap_store_durable_seq(call->service->store));
    service_call_finish(call);
}

void kap_service_start(struct kap_service *service, struct kap_call *call)
{
    KAP_ASSERT(call->service == service && call->state == KAP_CALL_IDLE);
    service->stats.calls++;
    if (call->meta.has_deadline_ms)
        call->deadline_ns = kap_env_mono_ns(kap_store_env(service->store)) + (int64_t)call->meta.deadline_ms * 1000000;
    service_call_run(call);
}

void kap_service_resume(struct kap_service *service, struct kap_read_context *context)
{
    struct kap_call *call = context->owner;
    if (context == &service->jobs.context) { /* the next poll takes the step */
        service->jobs.waits_blocks = false;
        return;
    }
    KAP_ASSERT(call->service == service);
    /* A handler may ask for a block and then end on something else (no room, a refusal): the block that arrives later finds
     * the call waiting elsewhere, and there it stays. */
    if (call->state != KAP_CALL_WAITS_BLOCKS)
        return;
    call_unlink(call);
    if (deadline_passed(call)) {
        refuse(call, KAP_DEADLINE);
        return;
    }
    service->stats.reruns++;
    service_call_run(call);
}

/* Only whoever is on the list now: a call that parks again waits for the next poll. */
static uint32_t rerun(struct kap_service *service, struct kap_list *waiting, bool wants_seq)
{
    struct kap_list ready;
    uint32_t finished = 0;
    bool is_full = false;
    kap_list_init(&ready);
    while (!kap_list_empty(waiting)) {
        struct kap_list *link = waiting->next;
        kap_list_remove(link);
        kap_list_push_back(&ready, link);
    }
    while (!kap_list_empty(&ready)) {
        struct kap_call *call = KAP_OWNER(ready.next, struct kap_call, link);
        kap_list_remove(&call->link);
        if (deadline_passed(call)) {
            service->stats.waiting--;
            refuse(call, KAP_DEADLINE);
            finished++;
            continue;
        }
        if (is_full || (wants_seq && call->wait_seq > kap_store_durable_seq(service->store))) {
            kap_list_push_back(waiting, &call->link);
            continue;
        }
        service->stats.waiting--;
        service_call_run(call);
        is_full = !wants_seq && !kap_list_empty(waiting); /* no room still: the others need not try */
        finished++;
    }
    return finished;
}

static uint32_t held_finish(struct kap_service *service)
{
    uint64_t durable = kap_store_durable_seq(service->store);
    kap_status failed = kap_store_failed(service->store);
    uint32_t finished = 0;
    while (!kap_list_empty(&service->held)) {
        struct kap_call *call = KAP_OWNER(service->held.next, struct kap_call, link);
        if (call->wait_seq > durable && failed == KAP_OK)
            break;
        if (call->wait_seq > durable) /* it may or may not have reached the disk */
            service_reply_error(call, NULL, failed, durable);
        service_call_finish(call);
        finished++;
    }
    return finished;
}

static uint32_t blocks_expire(struct kap_service *service)
{
    uint32_t finished = 0;
    for (struct kap_list *link = service->blocks.next, *next; link != &service->blocks; link = next) {
        struct kap_call *call = KAP_OWNER(link, struct kap_call, link);
        next = link->next;
        if (!deadline_passed(call))
            continue;
        refuse(call, KAP_DEADLINE);
        finished++;
        next = service->blocks.next; /* done may have dropped others */
    }
    return finished;
}

static void deferrals_check(struct kap_service *service)
{
    for (size_t i = 0; i < SERVICE_DEFERRALS_MAX; i++) {
        struct kap_deferral *deferral = &service->deferrals[i];
        if (deferral->in_use && deferral->is_done && deferral->is_done(service))
            kap_service_finish(deferral, KAP_OK, deferral->reply, NULL);
    }
}

uint32_t kap_service_poll(struct kap_service *service)
{
    uint32_t finished = held_finish(service);
    finished += rerun(service, &service->commit, true);
    finished += rerun(service, &service->room, false);
    finished += rerun(service, &service->slots, false);
    finished += blocks_expire(service);
    deferrals_check(service);
    service_jobs_poll(service);
    return finished;
}

void kap_service_cancel(struct kap_service *service, struct kap_call *call)
{
    KAP_ASSERT(call->service == service);
    if (call->state == KAP_CALL_IDLE || call->state == KAP_CALL_FINISHED || call->state == KAP_CALL_HELD)
        return;
    call->cancelled = true;
    for (size_t i = 0; i < SERVICE_DEFERRALS_MAX; i++)
        if (service->deferrals[i].call == call)
            service->deferrals[i].call = NULL;
    refuse(call, KAP_CANCELLED);
}

void kap_service_drop(struct kap_service *service, struct kap_call *call)
{
    if (call->state == KAP_CALL_IDLE || call->state == KAP_CALL_FINISHED)
        return;
    for (size_t i = 0; i < SERVICE_DEFERRALS_MAX; i++)
        if (service->deferrals[i].call == call)
            service->deferrals[i].call = NULL;
    call_unlink(call);
    kap_read_context_release(&call->context);
    call->state = KAP_CALL_FINISHED;
}

static int64_t earliest(const struct kap_list *head, int64_t than)
{
    for (const struct kap_list *link = head->next; link != head; link = link->next) {
        const struct kap_call *call = KAP_OWNER((void *)(uintptr_t)link, struct kap_call, link);
        if (call->deadline_ns != 0)
            than = KAP_MIN(than, call->deadline_ns);
    }
    return than;
}

int64_t kap_service_next_deadline(const struct kap_service *service)
{
    int64_t deadline = earliest(&service->blocks, INT64_MAX);
    deadline = earliest(&service->room, deadline);
    deadline = earliest(&service->slots, deadline);
    deadline = KAP_MIN(deadline, service_jobs_deadline(service));
    return earliest(&service->commit, deadline);
}

void kap_service_stats(const struct kap_service *service, struct kap_service_stats *stats_out)
{
    *stats_out = service->stats;
}

static struct kap_deferral *deferral_take(struct kap_run *run, size_t first)
{
    for (size_t i = first; i < SERVICE_DEFERRALS_MAX; i++) {
        struct kap_deferral *deferral = &run->service->deferrals[i];
        if (deferral->in_use)
            continue;
        *deferral = (struct kap_deferral){.service = run->service, .call = run->call, .in_use = true};
        run->is_deferred = true;
        return deferral;
    }
    return NULL;
}

struct kap_deferral *kap_service_defer(struct kap_run *run)
{
    return deferral_take(run, 0);
}

struct kap_deferral *kap_service_defer_in_turn(struct kap_run *run)
{
    struct kap_deferral *deferral = deferral_take(run, SERVICE_DEFERRALS_RESERVED);
    run->waits_slot = deferral == NULL;
    return deferral;
}

void kap_service_undefer(struct kap_run *run, struct kap_deferral *deferral)
{
    *deferral = (struct kap_deferral){0};
    run->is_deferred = false;
}

void kap_service_finish(struct kap_deferral *deferral, kap_status status, void *reply, const char *message)
{
    struct kap_call *call = deferral->call;
    uint64_t seq = kap_store_durable_seq(deferral->service->store);
    KAP_ASSERT(deferral->in_use);
    *deferral = (struct kap_deferral){0};
    if (!call)
        return;
    if (status == KAP_OK)
        status = service_reply_encode(call, kap_op_find(call->op), reply, seq);
    if (status != KAP_OK)
        service_reply_text(call, status, message);
    service_call_finish(call);
}

void kap_service_finish_when(struct kap_deferral *deferral, bool (*is_done)(struct kap_service *service), void *reply)
{
    deferral->is_done = is_done;
    deferral->reply = reply;
}
