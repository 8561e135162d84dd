/* options.h - the flags that the verbs share. */
#pragma once

#include <stdint.h>

#include "bench/kapbench/gen.h"

enum { KAPBENCH_STEPS_MAX = 16 };

struct kapbench_options {
    const char *url;      /* NULL: from the environment */
    enum kap_gen_scale scale;
    uint64_t seed;
    const char *mix;      /* run */
    uint32_t connections[KAPBENCH_STEPS_MAX], n_connections;
    uint32_t depth;
    double seconds;
    const char *json;     /* file for the JSON lines, or NULL */
};

/* 0, or an exit code after a message on standard error. */
int kapbench_options_parse(int argc, char **argv, struct kapbench_options *options_out);
