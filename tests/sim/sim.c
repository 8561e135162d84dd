#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdlib.h>

enum { EVENTS_KEPT = 40, EVENT_BYTES = 240 };

static struct {
    uint64_t seed;
    const char *command;
    bool is_verbose;
    uint64_t n_events;
    char events[EVENTS_KEPT][EVENT_BYTES];
} sim;

uint64_t sim_draw64(struct sim_random *random)
{
    uint64_t mixed = random->state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

uint32_t sim_draw(struct sim_random *random, uint32_t below)
{
    return below ? (uint32_t)((sim_draw64(random) >> 32) * below >> 32) : 0;
}

bool sim_chance(struct sim_random *random, uint32_t percent)
{
    return sim_draw(random, 100) < percent;
}

void sim_begin(uint64_t seed, const char *command, bool is_verbose)
{
    sim.seed = seed;
    sim.command = command;
    sim.is_verbose = is_verbose;
    sim.n_events = 0;
}

void sim_event(const char *format, ...)
{
    char *line = sim.events[sim.n_events % EVENTS_KEPT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, EVENT_BYTES, format, arguments);
    va_end(arguments);
    if (sim.is_verbose)
        fprintf(stderr, "%6llu %s\n", (unsigned long long)sim.n_events, line);
    sim.n_events++;
}

void sim_fail(const char *format, ...)
{
    uint64_t first = sim.n_events > 30 ? sim.n_events - 30 : 0;
    va_list arguments;
    fflush(stdout);
    fprintf(stderr, "\nseed %llu FAILED; the last events:\n", (unsigned long long)sim.seed);
    for (uint64_t i = first; i < sim.n_events; i++)
        fprintf(stderr, "%6llu %s\n", (unsigned long long)i, sim.events[i % EVENTS_KEPT]);
    fprintf(stderr, "seed %llu: ", (unsigned long long)sim.seed);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nagain: %s\n", sim.command);
    exit(1);
}

void *sim_alloc(struct kap_arena *arena, size_t bytes)
{
    void *at = kap_arena_push(arena, bytes ? bytes : 1);
    if (!at)
        sim_fail("no memory for the simulator itself");
    return at;
}

struct kap_bytes sim_copy(struct kap_arena *arena, struct kap_bytes bytes)
{
    struct kap_bytes copy = kap_arena_copy(arena, bytes);
    if (!copy.data)
        sim_fail("no memory for the simulator itself");
    return copy;
}

const char *sim_id(struct kap_id id)
{
    static char texts[4][16];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    snprintf(text, sizeof texts[0], "%02x%02x..%02x%02x", id.bytes[0], id.bytes[1], id.bytes[14], id.bytes[15]);
    return text;
}
