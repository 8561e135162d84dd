/* picker.h - which files to merge next: a pure function of a file set.
 *
 * Leveled (LevelDB's scheme): level 0 by file count, each further level by bytes against its target. A job takes all of
 * level 0, or the one file of an overfull level that comes round next by key, plus what overlaps in the level below. */
#pragma once

#include "engine/manifest/version.h"

struct kap_pick_rules {
    uint32_t l0_files;
    uint64_t level_target[KAP_LEVELS];
    bool everything; /* push all data down, whatever the targets say */
};

struct kap_pick {
    int level;                        /* inputs come from here and the level below; -1: nothing to do */
    struct kap_version_file **inputs; /* caller's array, level first, then level + 1 */
    uint32_t n_upper, n_lower;
};

/* round: how many jobs a level has had, so that successive picks walk through its keys. inputs has room for every file. */
void kap_pick(const struct kap_fileset *files, const struct kap_pick_rules *rules, const uint32_t round[KAP_LEVELS],
              struct kap_pick *pick);
/* Levels that a pick would take from. */
uint32_t kap_pick_wanted(const struct kap_fileset *files, const struct kap_pick_rules *rules);
