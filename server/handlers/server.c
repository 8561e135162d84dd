/* What operators ask: status, figures, compaction, snapshots. */
#include "engine/model/job.h"
#include "engine/base/assert.h"
#include "server/handlers/handlers.h"

enum { STATS_MAX = 96, SNAPSHOTS_MAX = 1000 };

static struct kap_bytes words(const char *text)
{
    return kap_bytes_str(text ? text : "");
}

kap_status handle_server_status(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    struct kap_server_status_reply *reply = reply_bytes;
    struct kap_store *store = kap_service_store(run->service);
    struct kap_store_stats stats;
    uint64_t disk_bytes = 0;
    (void)request_bytes;
    kap_store_stats(store, &stats);
    for (int level = 0; level < KAP_LEVELS; level++)
        disk_bytes += stats.level_bytes[level];
    uint64_t cascades;
    struct kap_bytes *jobs = kap_arena_push(run->arena, 3 * sizeof *jobs);
    kap_status status = jobs ? kap_jobs_count(&run->model, &cascades) : KAP_NO_MEMORY;
    if (status != KAP_OK)
        return status;
    jobs[0] = words(kap_arena_printf(run->arena, "compaction: %llu levels over their target",
                                     (unsigned long long)stats.compaction_wanted));
    jobs[1] = words(kap_arena_printf(run->arena, "writers wait for: %s", stats.delay));
    jobs[2] = words(
        kap_arena_printf(run->arena, "deletes: rows of %llu still to be taken away", (unsigned long long)cascades));
    *reply = (struct kap_server_status_reply){.has_version = true,
                                              .version = words(KAP_VERSION),
                                              .has_server_id = true,
                                              .server_id = kap_store_id(store),
                                              .has_state = true,
                                              .state = words(kap_store_failed(store) == KAP_OK ? "ready" : "failed"),
                                              .has_started_at = true,
                                              .started_at = kap_service_started_us(run->service),
                                              .has_server_time = true,
                                              .server_time = run->model.now_us,
                                              .has_disk_bytes = true,
                                              .disk_bytes = disk_bytes,
                                              .has_memory_bytes = true,
                                              .memory_bytes = kap_memory_used(&kap_store_env(store)->memory),
                                              .has_schema_version = true,
                                              .schema_version = kap_store_schema(store)->version,
                                              .has_data_dir = true,
                                              .data_dir = words(kap_store_directory(store)),
                                              .n_jobs = 3,
                                              .jobs = jobs};
    return KAP_OK;
}

struct stat_list {
    struct kap_bytes prefix;
    struct kap_server_stat at[STATS_MAX];
    size_t n;
};

static void stat_add(struct stat_list *list, const char *name, uint64_t value, const char *help)
{
    if (!kap_bytes_starts(words(name), list->prefix))
        return;
    KAP_ASSERT(list->n < STATS_MAX);
    list->at[list->n++] = (struct kap_server_stat){.has_name = true,
                                                   .name = words(name),
                                                   .has_value = true,
                                                   .value = (double)value,
                                                   .has_help = true,
                                                   .help = words(help)};
}

static void store_stats_add(struct stat_list *list, const struct kap_store_stats *stats)
{
    uint64_t files = 0, bytes = 0;
    for (int level = 0; level < KAP_LEVELS; level++) {
        files += stats->level_files[level];
        bytes += stats->level_bytes[level];
    }
    stat_add(list, "kap_head_seq", stats->head_seq, "newest commit");
    stat_add(list, "kap_durable_seq", stats->durable_seq, "newest commit that is on the device");
    stat_add(list, "kap_flushed_seq", stats->flushed_seq, "newest commit that is in segment files");
    stat_add(list, "kap_memtable_bytes", stats->memtable_bytes, "bytes of the active memtable");
    stat_add(list, "kap_memtable_entries", stats->memtable_entries, "versions in the active memtable");
    stat_add(list, "kap_memtables_sealed", stats->sealed, "memtables that wait for their flush");
    stat_add(list, "kap_wal_frames_total", stats->wal_frames, "frames written to the log");
    stat_add(list, "kap_wal_commits_total", stats->wal_commits, "commits written to the log");
    stat_add(list, "kap_wal_bytes_total", stats->wal_bytes, "bytes written to the log");
    stat_add(list, "kap_segment_files", files, "segment files");
    stat_add(list, "kap_segment_bytes", bytes, "bytes of segment files");
    stat_add(list, "kap_flushes_total", stats->flushes, "memtables flushed");
    stat_add(list, "kap_compactions_total", stats->compactions, "compactions done");
    stat_add(list, "kap_compaction_read_bytes_total", stats->compaction_read_bytes, "bytes read by compactions");
    stat_add(list, "kap_compaction_written_bytes_total", stats->compaction_written_bytes,
             "bytes written by compactions");
    stat_add(list, "kap_compaction_wanted", stats->compaction_wanted, "levels over their target");
    stat_add(list, "kap_recovered_commits", stats->recovered_commits, "commits replayed at the start");
    stat_add(list, "kap_versions_pinned", stats->versions_pinned, "snapshots readers hold");
    stat_add(list, "kap_cache_used_bytes", stats->cache.used_bytes, "bytes of cached blocks");
    stat_add(list, "kap_cache_blocks", stats->cache.blocks, "cached blocks");
    stat_add(list, "kap_cache_budget_bytes", stats->cache.budget_bytes, "what the cache may use");
    stat_add(list, "kap_cache_pinned_bytes", stats->cache.pinned_bytes, "bytes of blocks that requests hold");
    stat_add(list, "kap_cache_hits_total", stats->cache.hits, "blocks that were there");
    stat_add(list, "kap_cache_misses_total", stats->cache.misses, "blocks that had to be read");
    stat_add(list, "kap_cache_evictions_total", stats->cache.evictions, "blocks that made room");
    stat_add(list, "kap_wal_files_live", stats->wal_files_live, "log files that hold unflushed commits");
    stat_add(list, "kap_wal_files_spare", stats->wal_files_spare, "log files made ahead");
}

static kap_status level_stats_add(struct kap_arena *arena, struct stat_list *list, const struct kap_store_stats *stats)
{
    for (int level = 0; level < KAP_LEVELS; level++) {
        const char *files = kap_arena_printf(arena, "kap_level%d_files", level);
        const char *bytes = kap_arena_printf(arena, "kap_level%d_bytes", level);
        if (!files || !bytes)
            return KAP_NO_MEMORY;
        stat_add(list, files, stats->level_files[level], "segment files of this level");
        stat_add(list, bytes, stats->level_bytes[level], "their bytes");
    }
    return KAP_OK;
}

static void service_stats_add(struct stat_list *list, const struct kap_service_stats *stats)
{
    stat_add(list, "kap_calls_total", stats->calls, "requests started");
    stat_add(list, "kap_reads_total", stats->reads, "runs on a snapshot");
    stat_add(list, "kap_writes_total", stats->writes, "runs in a transaction");
    stat_add(list, "kap_refused_total", stats->refused, "requests answered with an error");
    stat_add(list, "kap_commits_total", stats->commits, "transactions committed");
    stat_add(list, "kap_no_ops_total", stats->no_ops, "writes that changed nothing");
    stat_add(list, "kap_replays_total", stats->replays, "answers given again for an idempotency key");
    stat_add(list, "kap_reruns_total", stats->reruns, "requests run again once their blocks had been read");
    stat_add(list, "kap_overloads_total", stats->overloads, "commits that found no room at first");
    stat_add(list, "kap_calls_waiting", stats->waiting, "requests that wait now");
}

kap_status handle_server_stats(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_server_stats_request *request = request_bytes;
    struct kap_server_stats_reply *reply = reply_bytes;
    struct stat_list *list = kap_arena_push(run->arena, sizeof *list);
    struct kap_store_stats store;
    struct kap_service_stats service;
    if (!list)
        return KAP_NO_MEMORY;
    list->prefix = request->has_prefix ? request->prefix : kap_bytes("", 0);
    kap_store_stats(kap_service_store(run->service), &store);
    kap_service_stats(run->service, &service);
    store_stats_add(list, &store);
    service_stats_add(list, &service);
    if (level_stats_add(run->arena, list, &store) != KAP_OK)
        return KAP_NO_MEMORY;
    reply->n_stats = list->n;
    reply->stats = list->at;
    return KAP_OK;
}

static uint64_t bytes_to_compact(struct kap_service *service)
{
    struct kap_store_stats stats;
    uint64_t bytes = 0;
    kap_store_stats(kap_service_store(service), &stats);
    for (int level = 0; level + 1 < KAP_LEVELS; level++)
        bytes += stats.level_bytes[level];
    return bytes;
}

static bool compaction_is_done(struct kap_service *service)
{
    struct kap_store_stats stats;
    kap_store_stats(kap_service_store(service), &stats);
    return stats.compaction_wanted == 0 && stats.sealed == 0;
}

kap_status handle_compaction_run(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_compaction_run_request *request = request_bytes;
    struct kap_compaction_run_reply *reply = reply_bytes;
    struct kap_store *store = kap_service_store(run->service);
    bool is_dry = request->has_dry_run && request->dry_run;
    struct kap_deferral *deferral;
    uint64_t seq;
    reply->has_started = true;
    reply->started = !is_dry;
    reply->has_bytes_to_do = true;
    reply->bytes_to_do = bytes_to_compact(run->service);
    if (is_dry)
        return KAP_OK;
    kap_status status = kap_store_flush(store, &seq);
    if (status != KAP_OK)
        return kap_model_refuse(&run->model, status, "a flush is under way; try again when it is done");
    kap_store_compact_all(store);
    if (!request->has_wait || !request->wait)
        return KAP_OK;
    deferral = kap_service_defer(run);
    if (!deferral)
        return kap_model_refuse(&run->model, KAP_OVERLOADED, "too many requests wait for background work");
    kap_service_finish_when(deferral, compaction_is_done, reply);
    return KAP_PENDING;
}

static struct kap_snapshot_card card_of(const struct kap_snapshot_info *info, struct kap_bytes name)
{
    return (struct kap_snapshot_card){.has_name = true,
                                      .name = name,
                                      .has_commit_seq = true,
                                      .commit_seq = info->commit_seq,
                                      .has_created_at = true,
                                      .created_at = info->created_us,
                                      .has_files = true,
                                      .files = (uint32_t)info->files,
                                      .has_bytes = true,
                                      .bytes = info->bytes};
}

static void snapshot_created(void *context, kap_status status, const struct kap_snapshot_info *info)
{
    struct kap_snapshot_card card = {0};
    struct kap_snapshot_create_reply reply = {.snapshot = &card};
    if (status == KAP_OK)
        card = card_of(info, words(info->name));
    kap_service_finish(context, status, &reply, NULL);
}

static void snapshot_deleted(void *context, kap_status status, const struct kap_snapshot_info *info)
{
    struct kap_snapshot_delete_reply reply = {.has_bytes = status == KAP_OK,
                                              .bytes = status == KAP_OK ? info->bytes : 0};
    kap_service_finish(context, status, &reply, NULL);
}

typedef kap_status (*snapshot_fn)(struct kap_store *store, const char *name,
                                  void (*done)(void *context, kap_status status, const struct kap_snapshot_info *info),
                                  void *context);

/* The store may refuse at once; then the deferral is given back unused. */
static kap_status snapshot_start(struct kap_run *run, struct kap_bytes name, snapshot_fn start,
                                 void (*done)(void *context, kap_status status, const struct kap_snapshot_info *info))
{
    char *text = kap_arena_printf(run->arena, "%.*s", (int)name.len, (const char *)name.data);
    struct kap_deferral *deferral = text ? kap_service_defer(run) : NULL;
    if (!deferral)
        return kap_model_refuse(&run->model, KAP_OVERLOADED, "too many requests wait for background work");
    kap_status status = start(kap_service_store(run->service), text, done, deferral);
    if (status == KAP_OK)
        return KAP_PENDING;
    kap_service_undefer(run, deferral);
    return kap_model_refuse(&run->model, status, "snapshot %s: %s", text, kap_status_sentence(status));
}

kap_status handle_snapshot_create(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_snapshot_create_request *request = request_bytes;
    const char *made = kap_arena_printf(run->arena, "s-%lld", (long long)run->model.now_us);
    (void)reply_bytes;
    return snapshot_start(run, request->has_name ? request->name : words(made), kap_store_snapshot_create,
                          snapshot_created);
}

struct snapshot_list {
    struct kap_arena *arena;
    struct kap_snapshot_card *at;
    size_t n;
};

static void snapshot_each(void *context, const struct kap_snapshot_info *info)
{
    struct snapshot_list *list = context;
    struct kap_bytes name = kap_arena_copy(list->arena, words(info->name));
    if (name.data && list->n < SNAPSHOTS_MAX)
        list->at[list->n++] = card_of(info, name);
}

kap_status handle_snapshot_list(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    struct kap_snapshot_list_reply *reply = reply_bytes;
    struct snapshot_list list = {.arena = run->arena,
                                 .at = kap_arena_push(run->arena, SNAPSHOTS_MAX * sizeof *list.at)};
    (void)request_bytes;
    if (!list.at)
        return KAP_NO_MEMORY;
    kap_status status = kap_store_snapshot_list(kap_service_store(run->service), snapshot_each, &list);
    reply->snapshots = list.at;
    reply->n_snapshots = list.n;
    return status;
}

struct snapshot_search {
    struct kap_bytes name;
    bool found;
    uint64_t bytes;
};

static void snapshot_match(void *context, const struct kap_snapshot_info *info)
{
    struct snapshot_search *search = context;
    if (!kap_bytes_eq(words(info->name), search->name))
        return;
    search->found = true;
    search->bytes = info->bytes;
}

kap_status handle_snapshot_delete(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_snapshot_delete_request *request = request_bytes;
    struct kap_snapshot_delete_reply *reply = reply_bytes;
    struct snapshot_search search = {.name = request->name};
    if (!request->has_dry_run || !request->dry_run)
        return snapshot_start(run, request->name, kap_store_snapshot_delete, snapshot_deleted);
    kap_status status = kap_store_snapshot_list(kap_service_store(run->service), snapshot_match, &search);
    if (status == KAP_OK && !search.found)
        return kap_model_refuse(&run->model, KAP_NOT_FOUND, "there is no such snapshot");
    reply->has_bytes = true;
    reply->bytes = search.bytes;
    return status;
}
