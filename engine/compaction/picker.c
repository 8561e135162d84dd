#include "engine/compaction/picker.h"

static uint64_t level_bytes(const struct kap_fileset *files, int level)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < files->n_files[level]; i++)
        bytes += files->files[level][i]->meta.file_bytes;
    return bytes;
}

static int lowest_level(const struct kap_fileset *files)
{
    int lowest = 0;
    for (int level = 0; level < KAP_LEVELS; level++)
        if (files->n_files[level])
            lowest = level;
    return lowest;
}

/* How far over its target a level is; 1.0 and above wants a job. */
static double level_score(const struct kap_fileset *files, const struct kap_pick_rules *rules, int level)
{
    if (files->n_files[level] == 0 || level == KAP_LEVELS - 1)
        return 0;
    if (rules->everything) /* what is above the lowest level goes down; level 0 always */
        return level == 0 || level < lowest_level(files) ? 1.0 + (KAP_LEVELS - level) : 0;
    if (level == 0)
        return (double)files->n_files[0] / rules->l0_files;
    return (double)level_bytes(files, level) / (double)rules->level_target[level];
}

uint32_t kap_pick_wanted(const struct kap_fileset *files, const struct kap_pick_rules *rules)
{
    uint32_t wanted = 0;
    for (int level = 0; level < KAP_LEVELS; level++)
        wanted += level_score(files, rules, level) >= 1.0;
    return wanted;
}

static void span_of(struct kap_version_file *const *inputs, uint32_t n, struct kap_bytes *smallest_out,
                    struct kap_bytes *largest_out)
{
    *smallest_out = inputs[0]->meta.smallest;
    *largest_out = inputs[0]->meta.largest;
    for (uint32_t i = 1; i < n; i++) {
        if (kap_bytes_cmp(inputs[i]->meta.smallest, *smallest_out) < 0)
            *smallest_out = inputs[i]->meta.smallest;
        if (kap_bytes_cmp(inputs[i]->meta.largest, *largest_out) > 0)
            *largest_out = inputs[i]->meta.largest;
    }
}

void kap_pick(const struct kap_fileset *files, const struct kap_pick_rules *rules, const uint32_t round[KAP_LEVELS],
              struct kap_pick *pick)
{
    double best = 0.999999;
    pick->level = -1;
    for (int level = 0; level < KAP_LEVELS; level++) {
        double score = level_score(files, rules, level);
        if (score > best) {
            best = score;
            pick->level = level;
        }
    }
    if (pick->level < 0)
        return;
    int level = pick->level;
    pick->n_upper = pick->n_lower = 0;
    if (level == 0)
        for (uint32_t i = 0; i < files->n_files[0]; i++)
            pick->inputs[pick->n_upper++] = files->files[0][i];
    else
        pick->inputs[pick->n_upper++] = files->files[level][round[level] % files->n_files[level]];
    struct kap_bytes smallest, largest;
    span_of(pick->inputs, pick->n_upper, &smallest, &largest);
    for (uint32_t i = 0; i < files->n_files[level + 1]; i++) {
        struct kap_version_file *file = files->files[level + 1][i];
        if (kap_bytes_cmp(file->meta.largest, smallest) < 0 || kap_bytes_cmp(file->meta.smallest, largest) > 0)
            continue;
        pick->inputs[pick->n_upper + pick->n_lower++] = file;
    }
}
