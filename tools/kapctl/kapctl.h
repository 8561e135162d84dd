/* kapctl.h - what every verb of kapctl gets and gives back. */
#pragma once

#include <stdbool.h>

#include "engine/base/status.h"

enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_UNREACHABLE = 3,
    CTL_REFUSED = 4,
    CTL_CORRUPT = 5,
    CTL_STORAGE = 70,
};

struct ctl {
    const char *url; /* NULL: KAP_URL, else the default */
    bool json;
    bool dry_run, wait;
    const char *name, *role, *user, *expires; /* of token create */
    bool entries; /* --entries was given; entries_max of them */
    unsigned long entries_max;
    int argc; /* what follows the verb, options taken out */
    char **argv;
};

/* The exit code that belongs to a status. */
enum ctl_exit ctl_exit_of(kap_status status);
/* "kapctl: text" on standard error; returns the exit code of the status. */
enum ctl_exit ctl_fail(const struct kap_error *error);
enum ctl_exit ctl_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
