#include "tests/sim/world.h"

#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/model/check.h"
#include "proto/kap_schema.h"
#include "proto/ops.h"
#include "tests/sim/generate.h"

struct world *world_create(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    static const uint32_t memtable[] = {16, 24, 32, 64}, wal[] = {64, 128, 256}, cache[] = {32, 64, 128, 512};
    if (!world)
        sim_fail("no memory for the world");
    kap_arena_init(&world->arena, &world->memory, 256 * 1024, 0);
    world->random.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    world->env = kap_losing_create(seed, NULL);
    model_init(&world->model, &world->arena);
    struct sim_random *random = &world->random;
    world->options = (struct kap_store_options){.directory = "/data",
                                                .is_expired = kap_service_is_expired,
                                                .schema = &kap_schema,
                                                .create = true,
                                                .memtable_bytes = memtable[sim_draw(random, 4)] * 1024,
                                                .wal_file_bytes = wal[sim_draw(random, 3)] * 1024,
                                                .block_cache_bytes = cache[sim_draw(random, 4)] * 1024,
                                                .file_bytes = (16u << sim_draw(random, 3)) * 1024,
                                                .level1_bytes = (48u << sim_draw(random, 3)) * 1024,
                                                .l0_files = 2 + sim_draw(random, 3),
                                                .space_floor_bytes = 1};
    world->n_slots = (1 + sim_draw(random, 8)) * (1 + sim_draw(random, 6));
    sim_event("memtable %u K, log files %u K, cache %u K, %u slots", (unsigned)(world->options.memtable_bytes / 1024),
              (unsigned)(world->options.wal_file_bytes / 1024), (unsigned)(world->options.block_cache_bytes / 1024),
              world->n_slots);
    return world;
}

void world_destroy(struct world *world)
{
    uint64_t left = kap_memory_used(&world->env->memory);
    if (left != 0)
        sim_fail("the store leaked %llu bytes", (unsigned long long)left);
    kap_losing_destroy(world->env);
    kap_arena_deinit(&world->arena);
    free(world);
}

bool world_crashed(struct world *world)
{
    return kap_losing_crashed(world->env);
}

kap_status world_open(struct world *world)
{
    struct kap_error error = {0};
    kap_status status = kap_queue_create(world->env, 64, &world->queue, &error);
    if (status == KAP_OK)
        status = kap_store_open(world->env, world->queue, &world->options, &world->store, &error);
    if (status == KAP_OK)
        status = kap_service_create(world->store, &world->service);
    if (status != KAP_OK) {
        kap_queue_destroy(world->queue);
        if (status != KAP_CRASHED)
            sim_fail("the store does not open: %s (%s)", kap_status_name(status), error.text);
        return status;
    }
    for (uint32_t i = 0; i < world->n_slots; i++)
        kap_call_init(world->service, &world->slots[i].call, 0);
    world->incarnation++;
    return KAP_OK;
}

static void retry_later(struct world *world, struct sim_request *request)
{
    if (request->meta.has_idempotency_key && world->n_retries < WORLD_RETRIES_MAX)
        world->retries[world->n_retries++] = request;
}

void world_shut(struct world *world)
{
    for (uint32_t i = 0; i < world->n_slots; i++) {
        struct sim_slot *slot = &world->slots[i];
        if (slot->request) {
            kap_service_drop(world->service, &slot->call);
            retry_later(world, slot->request);
            slot->request = NULL;
        }
        kap_call_deinit(&slot->call);
    }
    kap_service_destroy(world->service);
    kap_store_close(world->store);
    kap_queue_destroy(world->queue);
    world->service = NULL;
    world->store = NULL;
    if (kap_memory_used(&world->env->memory) != 0)
        sim_fail("the store leaked %llu bytes", (unsigned long long)kap_memory_used(&world->env->memory));
    if (!world_crashed(world) && kap_losing_open_files(world->env) != 0)
        sim_fail("the store left %u files open", kap_losing_open_files(world->env));
}

/* ---- what the service has carried out */

static bool is_write(const struct sim_slot *slot)
{
    return kap_op_find(slot->request->op)->write;
}

static bool is_power_gone(const struct world *world, kap_status status)
{
    return (status == KAP_CRASHED || status == KAP_IO) && kap_losing_crashed(world->env);
}

static bool is_news(const struct sim_slot *slot)
{
    return slot->request && !slot->is_checked &&
           (slot->is_done || (slot->call.state == KAP_CALL_HELD && is_write(slot)));
}

/* How many held calls stand behind this one in the service's list. */
static uint32_t held_behind(const struct world *world, const struct sim_slot *slot)
{
    const struct kap_list *link = slot->call.link.next;
    for (uint32_t n = 0;; n++, link = link->next) {
        bool is_call = false;
        for (uint32_t i = 0; i < world->n_slots && !is_call; i++)
            is_call = &world->slots[i].call.link == link;
        if (!is_call) /* the list's head */
            return n;
    }
}

/* The order in which they were carried out. Who was answered at once saw a head that was durable already, so it came before
 * whatever was committed in the same breath; the rest is held, and the service holds in order. */
static int order(const void *a, const void *b)
{
    const struct sim_slot *x = *(struct sim_slot *const *)a, *y = *(struct sim_slot *const *)b;
    if (x->is_done != y->is_done)
        return x->is_done ? -1 : 1;
    return x->held_behind > y->held_behind ? -1 : x->held_behind < y->held_behind;
}

static void slot_check(struct world *world, struct sim_slot *slot)
{
    const struct sim_answer *answer = &slot->answer;
    uint64_t head = world->model.head_seq;
    slot->is_checked = true;
    if (is_power_gone(world, answer->status)) {
        sim_event("lost    %s", slot->request->text);
        return;
    }
    sim_event("%-7s %s: %s at %llu", answer->status == KAP_OK ? "done" : "refused", slot->request->text,
              kap_status_name(answer->status), (unsigned long long)answer->commit_seq);
    if (is_write(slot)) {
        check_write(&world->model, slot->request, answer);
        world->counts.commits += world->model.head_seq > head;
        world->counts.replays += answer->status == KAP_OK && answer->commit_seq < head;
    } else {
        check_read(&world->model, slot->request, answer);
        world->counts.reads++;
    }
    world->counts.refusals += answer->status != KAP_OK;
    generator_saw(world, slot->request, answer);
}

static void answer_take(struct world *world, struct sim_slot *slot)
{
    const struct kap_call *call = &slot->call;
    bool ran = is_write(slot) && call->wait_seq != 0;
    slot->answer = (struct sim_answer){.status = call->status,
                                       .reply = sim_copy(&world->arena, call->reply),
                                       .commit_seq = call->commit_seq,
                                       .looked_at = ran ? call->wait_seq : 0,
                                       .wall_us = world->entered_us};
}

/* The answer goes out: nothing that it says may be lost from now on, and it is what was seen when it was made. */
static void slot_finish(struct world *world, struct sim_slot *slot)
{
    const struct kap_call *call = &slot->call;
    if (!is_power_gone(world, call->status)) {
        if (call->status != slot->answer.status || call->commit_seq != slot->answer.commit_seq ||
            !kap_bytes_eq(call->reply, slot->answer.reply))
            sim_fail("%s: the answer changed between being made and being sent", slot->request->text);
        if (call->commit_seq > kap_store_durable_seq(world->store))
            sim_fail("%s: the answer names commit %llu, which is not durable", slot->request->text,
                     (unsigned long long)call->commit_seq);
        world->acked_seq = KAP_MAX(world->acked_seq, call->commit_seq);
    } else {
        retry_later(world, slot->request);
    }
    slot->request = NULL;
    world->rounds_idle = 0;
}

static void look(struct world *world)
{
    struct sim_slot *news[WORLD_SLOTS_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < world->n_slots; i++) {
        if (!is_news(&world->slots[i]))
            continue;
        answer_take(world, &world->slots[i]);
        world->slots[i].held_behind = world->slots[i].is_done ? 0 : held_behind(world, &world->slots[i]);
        news[n++] = &world->slots[i];
    }
    qsort(news, n, sizeof news[0], order);
    for (uint32_t i = 0; i < n; i++) /* writes first: a read may see what was committed in the same breath */
        if (is_write(news[i]))
            slot_check(world, news[i]);
    for (uint32_t i = 0; i < n; i++)
        if (!is_write(news[i]))
            slot_check(world, news[i]);
    for (uint32_t i = 0; i < world->n_slots; i++)
        if (world->slots[i].request && world->slots[i].is_done)
            slot_finish(world, &world->slots[i]);
}

static void call_done(struct kap_call *call)
{
    ((struct sim_slot *)call->owner)->is_done = true;
}

static void enter(struct world *world)
{
    world->entered_us = kap_env_wall_us(world->env);
}

struct sim_slot *world_send(struct world *world, struct sim_request *request)
{
    struct sim_slot *slot = NULL;
    for (uint32_t i = 0; i < world->n_slots && !slot; i++)
        if (!world->slots[i].request)
            slot = &world->slots[i];
    if (!slot)
        return NULL;
    slot->request = request;
    slot->is_done = slot->is_checked = false;
    kap_call_reset(&slot->call);
    slot->call.op = request->op;
    slot->call.body = request->body;
    slot->call.meta = request->meta;
    slot->call.principal = (struct kap_principal){.user = request->who.user, .roles = request->who.roles};
    slot->call.done = call_done;
    slot->call.owner = slot;
    world->counts.requests++;
    sim_event("send    %s", request->text);
    enter(world);
    kap_service_start(world->service, &slot->call);
    look(world);
    return slot;
}

void world_turn(struct world *world)
{
    struct kap_read_context *context;
    int64_t wait_ns = world->rounds_idle > 200 ? 1000000 : 0;
    kap_store_pump(world->store);
    kap_queue_poll(world->queue, wait_ns);
    while ((context = kap_store_next_ready(world->store))) {
        enter(world);
        kap_service_resume(world->service, context);
        look(world);
    }
    enter(world);
    kap_service_poll(world->service);
    look(world);
    if (++world->rounds_idle > 200000) {
        struct kap_store_stats stats;
        kap_store_stats(world->store, &stats);
        sim_fail("nothing moves: writers wait for '%s', %llu sealed, head %llu, durable %llu", stats.delay,
                 (unsigned long long)stats.sealed, (unsigned long long)stats.head_seq,
                 (unsigned long long)stats.durable_seq);
    }
}

static bool is_idle(const struct world *world)
{
    for (uint32_t i = 0; i < world->n_slots; i++)
        if (world->slots[i].request)
            return false;
    return true;
}

bool world_drain(struct world *world)
{
    world->rounds_idle = 0;
    while (!is_idle(world) && !world_crashed(world))
        world_turn(world);
    return !world_crashed(world);
}

kap_status world_call(struct world *world, struct sim_request *request, struct sim_answer *answer_out)
{
    struct sim_slot *slot = world_send(world, request);
    if (!slot || !world_drain(world))
        sim_fail("%s: no answer", request->text);
    if (answer_out)
        *answer_out = slot->answer;
    return slot->answer.status;
}
