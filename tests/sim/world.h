/* world.h - one seed: a losing machine, a store and a service on it, virtual clients, and the model beside them.
 *
 * A step lets clients send what they like, then gives the machine one turn. After every entry into the service the world
 * looks which requests it has carried out, in which order, and lets the model do the same; an answer counts as
 * acknowledged when the service hands it out. */
#pragma once

#include "engine/env/env_losing.h"
#include "server/service.h"
#include "tests/sim/check.h"

enum { WORLD_SLOTS_MAX = 48, WORLD_RETRIES_MAX = 256, WORLD_PRINCIPALS = 12, WORLD_SNAPSHOTS_MAX = 16 };

struct sim_slot {
    struct kap_call call;
    struct sim_request *request; /* NULL: free */
    bool is_done; /* the service has handed out the answer */
    bool is_checked; /* the model has done it too */
    uint32_t held_behind; /* how many of those that were carried out with it came later */
    struct sim_answer answer; /* as first seen */
};

struct sim_counts {
    uint64_t requests, commits, refusals, reads, pages, replays, crashes, restarts, snapshots;
};

struct world {
    struct kap_memory memory; /* of the simulator */
    struct kap_arena arena;
    struct sim_random random;
    struct kap_env *env;
    struct kap_queue *queue;
    struct kap_store *store;
    struct kap_service *service;
    struct kap_store_options options;
    struct model model;
    uint32_t n_slots;
    struct sim_slot slots[WORLD_SLOTS_MAX];
    uint64_t acked_seq; /* newest commit that an answer named */
    int64_t entered_us; /* wall time when the service was entered last */
    uint32_t rounds_idle;
    uint32_t incarnation; /* of the server: cursors die with it */
    struct sim_request *retries[WORLD_RETRIES_MAX]; /* to be sent again under the same key */
    uint32_t n_retries;
    struct generator *generator;
    uint32_t n_principals;
    struct sim_who principals[WORLD_PRINCIPALS];
    struct {
        char name[32];
        uint64_t seq;
    } snapshots[WORLD_SNAPSHOTS_MAX];
    uint32_t n_snapshots;
    struct sim_counts counts;
};

struct world *world_create(uint64_t seed);
void world_destroy(struct world *world);
/* Opens the store and the service; KAP_CRASHED when the power fails meanwhile. */
kap_status world_open(struct world *world);
/* What was under way is forgotten, what has a key will be sent again; everything in memory is gone. */
void world_shut(struct world *world);

/* NULL: no slot is free. */
struct sim_slot *world_send(struct world *world, struct sim_request *request);
/* One turn of the machine and of the service. */
void world_turn(struct world *world);
/* Turns until every request is answered; false: the power failed. */
bool world_drain(struct world *world);
/* Sends and waits; the power must not fail. */
kap_status world_call(struct world *world, struct sim_request *request, struct sim_answer *answer_out);
bool world_crashed(struct world *world);

/* ---- recovery.c */

/* What is stored is the model at one commit, not older than what was acknowledged; the model goes on from there. */
void recovery_check(struct world *world, const char *where);
/* Opens every snapshot that was acknowledged; the store must be shut. */
void recovery_check_snapshots(struct world *world);
