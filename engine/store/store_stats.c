#include "engine/base/assert.h"
#include "engine/store/store_internal.h"

void kap_store_stats(struct kap_store *store, struct kap_store_stats *stats_out)
{
    struct kap_background *background = &store->background;
    struct kap_wal_counters wal = kap_wal_counters(store->wal);
    struct kap_version version = kap_version_pin(&store->versions);
    const struct kap_memtable *active = version.tables->active->memtable;
    *stats_out = (struct kap_store_stats){
        .head_seq = store->head_seq,
        .durable_seq = kap_store_durable_seq(store),
        .flushed_seq = atomic_load(&background->flushed_seq),
        .memtable_bytes = kap_memtable_bytes(active),
        .memtable_entries = kap_memtable_count(active),
        .sealed = version.tables->n_sealed,
        .wal_frames = wal.frames,
        .wal_commits = wal.commits,
        .wal_bytes = wal.written_bytes,
        .wal_files_live = kap_wal_slots_live(&store->slots),
        .wal_files_spare = kap_wal_slots_spares(&store->slots),
        .flushes = atomic_load(&background->flushes),
        .flush_bytes = atomic_load(&background->flush_bytes),
        .compactions = atomic_load(&background->compactions),
        .compaction_read_bytes = atomic_load(&background->compaction_read_bytes),
        .compaction_written_bytes = atomic_load(&background->compaction_written_bytes),
        .compaction_wanted = atomic_load(&background->compaction_wanted) + atomic_load(&background->compact_all),
        .recovered_commits = store->recovered_commits,
        .versions_pinned = atomic_load(&store->versions.pinned),
        .cache = kap_block_cache_stats(store->cache),
        .delay = store->delay,
    };
    for (int level = 0; level < KAP_LEVELS; level++) {
        stats_out->level_files[level] = version.files->n_files[level];
        for (uint32_t i = 0; i < version.files->n_files[level]; i++)
            stats_out->level_bytes[level] += version.files->files[level][i]->meta.file_bytes;
    }
    kap_version_unpin(&store->versions, version);
}

static void figures_add(struct kap_tree_figures *figures, uint32_t cap, uint32_t *n,
                        const struct kap_segment_tree_stats *tree)
{
    uint32_t at = 0;
    while (at < *n && at < cap && figures[at].tree < tree->tree)
        at++;
    if (at == *n || at >= cap || figures[at].tree != tree->tree) {
        if (at < cap) {
            uint32_t moved = KAP_MIN(*n, cap - 1);
            for (uint32_t i = moved; i > at; i--)
                figures[i] = figures[i - 1];
            figures[at] = (struct kap_tree_figures){.tree = tree->tree};
        }
        (*n)++;
    }
    if (at >= cap)
        return;
    figures[at].files++;
    figures[at].height = KAP_MAX(figures[at].height, tree->height);
    figures[at].entries += tree->entries;
    figures[at].leaf_bytes += tree->leaf_bytes + tree->overflow_bytes;
    figures[at].inner_bytes += tree->inner_bytes;
}

uint32_t kap_store_trees(struct kap_store *store, struct kap_tree_figures *figures_out, uint32_t cap)
{
    struct kap_version version = kap_version_pin(&store->versions);
    uint32_t n = 0;
    for (int level = 0; level < KAP_LEVELS; level++)
        for (uint32_t i = 0; i < version.files->n_files[level]; i++) {
            const struct kap_segment *segment = version.files->files[level][i]->segment;
            for (uint32_t slot = 0; slot < kap_segment_tree_count(segment); slot++) {
                struct kap_segment_tree_stats tree = kap_segment_tree_stats(segment, slot);
                figures_add(figures_out, cap, &n, &tree);
            }
        }
    kap_version_unpin(&store->versions, version);
    return n;
}
