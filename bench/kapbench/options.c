#include "bench/kapbench/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number_parse(const char *flag, const char *text, uint64_t low, uint64_t high, uint64_t *value_out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || value < low || value > high) {
        fprintf(stderr, "kapbench: --%s takes a number from %llu to %llu, not '%s'\n", flag, (unsigned long long)low,
                (unsigned long long)high, text);
        return 2;
    }
    *value_out = value;
    return 0;
}

static int connections_parse(char *text, struct kapbench_options *options)
{
    options->n_connections = 0;
    for (char *part = strtok(text, ","); part; part = strtok(NULL, ",")) {
        uint64_t value;
        if (options->n_connections == KAPBENCH_STEPS_MAX) {
            fprintf(stderr, "kapbench: --connections takes at most %d numbers\n", KAPBENCH_STEPS_MAX);
            return 2;
        }
        int code = number_parse("connections", part, 1, 1000, &value);
        if (code != 0)
            return code;
        options->connections[options->n_connections++] = (uint32_t)value;
    }
    return options->n_connections ? 0 : 2;
}

static int scale_parse(const char *text, struct kapbench_options *options)
{
    if (strcmp(text, "tiny") == 0)
        options->scale = KAP_GEN_TINY;
    else if (strcmp(text, "small") == 0)
        options->scale = KAP_GEN_SMALL;
    else {
        fprintf(stderr, "kapbench: --scale is tiny or small, not '%s'\n", text);
        return 2;
    }
    return 0;
}

int kapbench_options_parse(int argc, char **argv, struct kapbench_options *options_out)
{
    static const struct option flags[] = {{"url", required_argument, NULL, 'u'},
                                          {"scale", required_argument, NULL, 's'},
                                          {"seed", required_argument, NULL, 'r'},
                                          {"mix", required_argument, NULL, 'm'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"depth", required_argument, NULL, 'd'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {"json", required_argument, NULL, 'j'},
                                          {0}};
    char *args[64] = {(char[]){"kapbench"}};
    int n = 1, flag, code = 0;
    uint64_t value = 0;
    *options_out = (struct kapbench_options){
        .seed = 1, .depth = 1, .seconds = 5, .n_connections = 3, .connections = {1, 8, 64}};
    for (int i = 0; i < argc && n < 63; i++)
        args[n++] = argv[i];
    optind = 1;
    while (code == 0 && (flag = getopt_long(n, args, "u:", flags, NULL)) != -1) {
        switch (flag) {
        case 'u':
            options_out->url = optarg;
            break;
        case 's':
            code = scale_parse(optarg, options_out);
            break;
        case 'r':
            code = number_parse("seed", optarg, 0, UINT64_MAX, &options_out->seed);
            break;
        case 'm':
            options_out->mix = optarg;
            break;
        case 'c':
            code = connections_parse(optarg, options_out);
            break;
        case 'd':
            code = number_parse("depth", optarg, 1, 64, &value);
            options_out->depth = (uint32_t)value;
            break;
        case 't':
            code = number_parse("seconds", optarg, 1, 86400, &value);
            options_out->seconds = (double)value;
            break;
        case 'j':
            options_out->json = optarg;
            break;
        default:
            code = 2;
        }
    }
    if (code == 0 && optind < n) {
        fprintf(stderr, "kapbench: unexpected argument '%s'\n", args[optind]);
        code = 2;
    }
    return code;
}
