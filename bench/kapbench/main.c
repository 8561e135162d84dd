#include <stdio.h>
#include <string.h>

#include "bench/kapbench/kapbench.h"

static const char usage[] =
    "kapbench: a made-up platform, and benchmarks over the protocol\n"
    "\n"
    "  kapbench gen [--scale tiny|small] [--seed N] [-u URL]\n"
    "        generates clubs, coaches, an exercise library and a season of sessions into a kapd\n"
    "  kapbench run --mix app [--connections N,N,..] [--depth N] [--seconds S] [--scale tiny|small] [--seed N] [-u URL]\n"
    "               [--json FILE]\n"
    "        the application's flows, closed loop, on what `gen` of the same scale and seed made\n"
    "\n"
    "URL: kap://host:port or kap+unix:///path; without one KAP_URL. Token: KAP_TOKEN_FILE.\n"
    "Exit: 0 ok, 1 failed, 2 usage, 3 unreachable.\n";

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "gen") == 0)
        return kapbench_gen(argc - 2, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "run") == 0)
        return kapbench_run(argc - 2, argv + 2);
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc >= 2)
        fprintf(stderr, "kapbench: no verb '%s'; there are gen and run\n", argv[1]);
    fputs(usage, stderr);
    return 2;
}
