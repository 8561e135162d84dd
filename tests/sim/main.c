/* kap_sim --seeds A-B [--steps N] [--crashes] [--twice] [--verbose] [--trace]: runs worlds, one after the other. */
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "tests/sim/generate.h"

struct options {
    uint64_t first, last;
    uint32_t steps;
    bool crashes, twice, is_verbose, trace;
};

static void quiet(void *context, enum kap_log_level level, const char *line)
{
    (void)context, (void)level, (void)line;
}

static void power_cut(struct world *world)
{
    static const char *const modes[] = {"all lost", "all kept", "torn"};
    struct sim_random *random = &world->random;
    enum kap_losing_mode mode = (enum kap_losing_mode)sim_draw(random, 3);
    world->counts.crashes++;
    if (sim_chance(random, 30)) /* nothing may be acknowledged by a machine that is off */
        for (int i = 0; i < 20; i++)
            world_turn(world);
    world_shut(world);
    kap_losing_restart(world->env, mode);
    sim_event("the power failed; %s", modes[mode]);
    for (int again = 0; again < 3 && sim_chance(random, 30); again++) {
        kap_losing_crash_at(world->env, 1 + sim_draw(random, 40));
        if (world_open(world) == KAP_OK)
            world_shut(world);
        mode = (enum kap_losing_mode)sim_draw(random, 3);
        kap_losing_restart(world->env, mode);
        sim_event("the power failed during recovery; %s", modes[mode]);
    }
    if (world_open(world) != KAP_OK)
        sim_fail("no recovery although the power is on");
    recovery_check(world, "after a power cut");
}

static void restart(struct world *world)
{
    if (!world_drain(world)) {
        power_cut(world);
        return;
    }
    kap_losing_crash_at(world->env, 0);
    world_shut(world);
    recovery_check_snapshots(world);
    if (world_open(world) != KAP_OK)
        sim_fail("the store does not open");
    world->counts.restarts++;
    recovery_check(world, "after a restart");
}

static void world_live(struct world *world, const struct options *options)
{
    struct sim_random *random = &world->random;
    for (uint32_t step = 0; step < options->steps; step++) {
        uint32_t n = sim_draw(random, 3);
        if (options->crashes && sim_chance(random, 1) && !world_crashed(world))
            kap_losing_crash_at(world->env, 1 + sim_draw(random, 200));
        for (uint32_t i = 0; i < n; i++)
            if (!world_send(world, generator_next(world)))
                break;
        world_turn(world);
        if (world_crashed(world))
            power_cut(world);
        else if (sim_draw(random, 300) == 0)
            restart(world);
    }
    kap_losing_crash_at(world->env, 0);
    restart(world);
}

static uint64_t seed_run(uint64_t seed, const struct options *options, struct sim_counts *total)
{
    char command[160];
    snprintf(command, sizeof command, "kap_sim --seeds %llu-%llu --steps %u%s --verbose", (unsigned long long)seed,
             (unsigned long long)seed, options->steps, options->crashes ? " --crashes" : "");
    sim_begin(seed, command, options->is_verbose);
    struct world *world = world_create(seed);
    if (world_open(world) != KAP_OK)
        sim_fail("no store can be made");
    world->generator = generator_create(world);
    generator_setup(world);
    world_live(world, options);
    world_shut(world);
    uint64_t hash = kap_losing_trace_hash(world->env);
    const uint64_t *from = (const uint64_t *)&world->counts;
    for (size_t i = 0; i < sizeof *total / sizeof(uint64_t); i++)
        ((uint64_t *)total)[i] += from[i];
    world_destroy(world);
    return hash;
}

static bool arguments_read(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--crashes") == 0) {
            options->crashes = true;
        } else if (strcmp(argv[i], "--twice") == 0) {
            options->twice = true;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            options->is_verbose = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            options->trace = true;
        } else if (strcmp(argv[i], "--steps") == 0) {
            options->steps = (uint32_t)strtoul(value, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            char *end;
            options->first = options->last = strtoull(value, &end, 10);
            if (*end == '-')
                options->last = strtoull(end + 1, NULL, 10);
            i++;
        } else {
            return false;
        }
    }
    return options->first > 0 && options->last >= options->first && options->steps > 0;
}

int main(int argc, char **argv)
{
    struct options options = {.first = 1, .last = 1, .steps = 400};
    struct sim_counts total = {0};
    if (!arguments_read(argc, argv, &options)) {
        fprintf(stderr, "kap_sim --seeds A-B [--steps N] [--crashes] [--twice] [--verbose] [--trace]\n");
        return 2;
    }
    kap_log_set_sink(quiet, NULL);
    for (uint64_t seed = options.first; seed <= options.last; seed++) {
        uint64_t hash = seed_run(seed, &options, &total);
        if (options.trace)
            printf("seed %llu: trace %016llx\n", (unsigned long long)seed, (unsigned long long)hash);
        /* The same seed is the same world: a sample of them is lived twice. */
        if ((options.twice && seed % 8 == 1) && seed_run(seed, &options, &total) != hash)
            sim_fail("lived twice, its trace is not the same");
    }
    printf("%llu seeds: %llu requests, %llu commits, %llu refusals, %llu reads, %llu pages, %llu replays; %llu power "
           "cuts, "
           "%llu restarts, %llu snapshots opened\n",
           (unsigned long long)(options.last - options.first + 1), (unsigned long long)total.requests,
           (unsigned long long)total.commits, (unsigned long long)total.refusals, (unsigned long long)total.reads,
           (unsigned long long)total.pages, (unsigned long long)total.replays, (unsigned long long)total.crashes,
           (unsigned long long)total.restarts, (unsigned long long)total.snapshots);
    return 0;
}
