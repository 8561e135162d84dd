/* sim.h - what every file of the simulator uses: draws from the seed, memory of a seed, events, and how it fails.
 *
 * Memory   one arena for a whole seed: nothing is freed before its end, so rows of the model may be shared at will.
 * Failure  sim_fail prints the seed, the command that repeats it, the last events and what was expected, and exits. */
#pragma once

#include <stdio.h>

#include "engine/base/arena.h"
#include "engine/base/bytes.h"
#include "engine/base/status.h"

struct sim_random {
    uint64_t state;
};
uint64_t sim_draw64(struct sim_random *random);
/* 0 .. below - 1 */
uint32_t sim_draw(struct sim_random *random, uint32_t below);
bool sim_chance(struct sim_random *random, uint32_t percent);

/* seed: the one being run; command: how to run it again. */
void sim_begin(uint64_t seed, const char *command, bool is_verbose);
void sim_event(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Zeroed; never NULL. */
void *sim_alloc(struct kap_arena *arena, size_t bytes);
struct kap_bytes sim_copy(struct kap_arena *arena, struct kap_bytes bytes);
/* The first 4 and last 4 hex digits: enough to tell ids of one world apart. Four may be used in one printf. */
const char *sim_id(struct kap_id id);
