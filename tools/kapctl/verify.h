/* verify.h - `kapctl verify DIR`: every byte that counts is read and proved; nothing is changed. */
#pragma once

#include "tools/kapctl/kapctl.h"
#include "tools/kapctl/offline_run.h"
#include "tools/kapctl/out.h"

struct verify {
    const struct ctl *ctl;
    struct kap_offline *offline;
    json_t *document; /* "checks" and "damage" */
    kap_status failed; /* why it could not go on, other than damage */
    struct kap_error error;
    char subject[KAP_PATH_BYTES_MAX]; /* what is being looked at, for damage found below */
};

/* One line: what was checked and what it came to. Printed at once when tables are wanted. */
void verify_line(struct verify *verify, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void verify_damage(struct verify *verify, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* KAP_CORRUPT becomes damage, anything else stops the verification. */
void verify_fault(struct verify *verify, kap_status status, const struct kap_error *error);
size_t verify_damages(const struct verify *verify);

enum ctl_exit verify_run(const struct ctl *ctl);

/* The parts. */
void verify_superblock(struct verify *verify);
void verify_segments(struct verify *verify);
void verify_blobs(struct verify *verify, struct kap_view *view);
