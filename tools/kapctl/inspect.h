/* inspect.h - `kapctl inspect`: any file of a store, or a data directory, as text. */
#pragma once

#include "engine/base/bytes.h"
#include "engine/base/memory.h"
#include "tools/kapctl/kapctl.h"
#include "tools/kapctl/out.h"

/* What inspect_file gives to those who know a format. */
struct inspect_input {
    struct kap_memory *memory;
    const struct ctl *ctl;
    struct kap_bytes bytes; /* of the whole file */
    uint64_t number; /* from its name */
    bool has_number;
};

enum ctl_exit inspect_run(const struct ctl *ctl);

/* Each fills document; CTL_CORRUPT with what was found under "damage". */
enum ctl_exit inspect_segment(const struct inspect_input *input, json_t *document);
enum ctl_exit inspect_pack(const struct inspect_input *input, json_t *document);
enum ctl_exit inspect_directory(const struct ctl *ctl, const char *path, json_t *document);
