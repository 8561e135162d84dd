/* store.h - the store of one data directory, from open to close.
 *
 *   DIR/lock, superblock, manifest-N, wal-N.log, seg-N.kap, blobs/, snapshots/NAME/, lost/
 *
 * Threads  everything here is called on the reactor's thread, with the queue given at open. Flush and compaction run as
 *          workers of the environment and meet the reactor only through versions, the slot list and atomics.
 * Reads    view_begin pins a snapshot of durable commits. A read that is KAP_PENDING has noted its blocks in its read
 *          context: pump starts loading them, next_ready tells which context can run again.
 * Writes   txn_begin .. handler .. txn_commit. The reply to a commit, and to anything else that looked at the head, may
 *          leave when durable_seq has reached the seq it looked at.
 * Errors   a failed log, manifest or superblock write is final: kap_store_failed() is not KAP_OK any more, nothing is
 *          acknowledged, the daemon exits with 70. */
#pragma once

#include "engine/blob/blob_store.h"
#include "engine/segment/block_cache.h"
#include "engine/txn/txn.h"

struct kap_store;

struct kap_store_options {
    const char *directory;
    const struct kap_schema *schema;
    bool create; /* make the directory and the store if there is none */
    uint64_t memtable_bytes; /* sealed when it holds this much; 0: 64 MiB */
    uint64_t wal_file_bytes; /* of a new store; 0: 64 MiB */
    uint64_t block_cache_bytes; /* 0: 256 MiB */
    uint64_t file_bytes; /* a segment below level 0 is cut here; 0: 32 MiB */
    uint64_t level1_bytes; /* target of level 1, each further level 8 times it; 0: 256 MiB */
    uint32_t l0_files; /* compact at so many; 0: 4 */
    uint64_t space_floor_bytes; /* refuse writes when less is free on the disk; 0: 64 MiB */
    /* Compaction leaves out what this says nobody may read any more, whatever its versions; called from its thread. NULL:
     * nothing expires. */
    bool (*is_expired)(struct kap_bytes key, struct kap_bytes value, int64_t now_us);
};

KAP_CHECKED kap_status kap_store_open(struct kap_env *env, struct kap_queue *queue,
                                      const struct kap_store_options *options, struct kap_store **store_out,
                                      struct kap_error *error);
/* Waits for what is in flight, stops the workers, marks the log's end in the superblock. Views and transactions are all
 * ended. After a crash of the simulated machine it just frees. */
void kap_store_close(struct kap_store *store);

struct kap_env *kap_store_env(struct kap_store *store);
struct kap_queue *kap_store_queue(struct kap_store *store);
const struct kap_schema *kap_store_schema(const struct kap_store *store);
const char *kap_store_directory(const struct kap_store *store);
struct kap_id kap_store_id(const struct kap_store *store);
struct kap_blob_store *kap_store_blobs(struct kap_store *store);
kap_status kap_store_failed(const struct kap_store *store);

uint64_t kap_store_head_seq(const struct kap_store *store); /* newest commit, durable or not */
uint64_t kap_store_durable_seq(const struct kap_store *store); /* newest that readers see */

/* context was given kap_read_context_init by kap_store_context_init. */
void kap_store_context_init(struct kap_store *store, struct kap_read_context *context);
void kap_store_view_begin(struct kap_store *store, struct kap_view *view, struct kap_read_context *context);
void kap_store_view_end(struct kap_store *store,
                        struct kap_view *view); /* unpins the version; the context is released by its owner */

/* At most one transaction at a time. */
KAP_CHECKED kap_status kap_store_txn_begin(struct kap_store *store, struct kap_txn *txn, struct kap_arena *arena,
                                           struct kap_read_context *context);
/* Numbers it, appends it to the log's open frame and to the memtable. Without writes nothing happens and the seq of the
 * head is given. KAP_OVERLOADED: no room until a frame has been written, nothing happened: run it again later.
 * KAP_NO_SPACE, KAP_READ_ONLY, KAP_NO_MEMORY, KAP_IO: nothing happened. Ends the transaction whatever it returns. */
KAP_CHECKED kap_status kap_store_txn_commit(struct kap_store *store, struct kap_txn *txn, uint64_t *seq_out);
void kap_store_txn_abort(struct kap_store *store, struct kap_txn *txn);

/* Starts what can be started: log frames, block reads. Call once per round of the loop, after the requests. */
void kap_store_pump(struct kap_store *store);
/* A context whose blocks have arrived (or failed: it will see that on its next read), once; NULL: none. */
struct kap_read_context *kap_store_next_ready(struct kap_store *store);
/* called when durable_seq has moved or the store has failed. */
void kap_store_on_durable(struct kap_store *store, void (*callback)(void *context), void *context);

/* called from any thread when a worker has done something the reactor may wait for (a spare log file, a flush, a snapshot):
 * it wakes the reactor's poll and nothing else. Set right after open; a simulator that steps workers itself needs none. */
void kap_store_on_progress(struct kap_store *store, void (*callback)(void *context), void *context);

/* Seals the memtable now and asks for its flush; compaction of everything into the lowest levels when asked. done by
 * looking at stats: flushed_seq >= the seq returned, compactions_wanted == 0. */
KAP_CHECKED kap_status kap_store_flush(struct kap_store *store, uint64_t *seq_out);
void kap_store_compact_all(struct kap_store *store);

/* Hard-link snapshot: DIR/snapshots/NAME, a directory that kapd -D opens. Reads its state once done() was called, on the
 * reactor's thread; one at a time (KAP_OVERLOADED). The name: letters, digits, _ and -, at most 64 (KAP_INVALID).
 * KAP_ALREADY_EXISTS, KAP_NOT_FOUND. */
struct kap_snapshot_info {
    char name[65];
    uint64_t commit_seq;
    int64_t created_us;
    uint64_t files, bytes; /* linked segments and packs, and their size */
};
KAP_CHECKED kap_status kap_store_snapshot_create(struct kap_store *store, const char *name,
                                                 void (*done)(void *context, kap_status status,
                                                              const struct kap_snapshot_info *info),
                                                 void *context);
KAP_CHECKED kap_status kap_store_snapshot_delete(struct kap_store *store, const char *name,
                                                 void (*done)(void *context, kap_status status,
                                                              const struct kap_snapshot_info *info),
                                                 void *context);
/* Whoever waits for the snapshot under way is gone: it goes on, and done is not called. */
void kap_store_snapshot_abandon(struct kap_store *store);
/* Calls each for every complete snapshot, by name. */
KAP_CHECKED kap_status kap_store_snapshot_list(struct kap_store *store,
                                               void (*each)(void *context, const struct kap_snapshot_info *info),
                                               void *context);

/* Indexes of the schema that the catalogue does not call public: their ids, at most cap; how many. Such an index is not to
 * be read. Publish says they are built, durably; everything they hold must be durable before. Before the loop begins. */
uint32_t kap_store_indexes_building(const struct kap_store *store, uint16_t *ids_out, uint32_t cap);
KAP_CHECKED kap_status kap_store_indexes_publish(struct kap_store *store);

struct kap_store_stats {
    uint64_t head_seq, durable_seq, flushed_seq;
    uint64_t memtable_bytes, memtable_entries, sealed;
    uint64_t wal_frames, wal_commits, wal_bytes, wal_files_live, wal_files_spare;
    uint64_t level_files[KAP_LEVELS], level_bytes[KAP_LEVELS];
    uint64_t flushes, flush_bytes, compactions, compaction_read_bytes, compaction_written_bytes;
    uint64_t compaction_wanted; /* levels over their target */
    uint64_t recovered_commits;
    uint64_t versions_pinned;
    struct kap_block_cache_stats cache;
    const char *delay; /* why writers wait now: "none", "flush", "compaction", "log", "log slot", "disk full" */
};
void kap_store_stats(struct kap_store *store, struct kap_store_stats *stats_out);

/* Per tree: what `kapctl inspect` and explain show. */
struct kap_tree_figures {
    uint16_t tree;
    uint32_t files;
    uint8_t height; /* highest of its files */
    uint64_t entries, leaf_bytes, inner_bytes;
};
/* Figures of all trees with segments, ascending; at most cap; returns how many there are. */
uint32_t kap_store_trees(struct kap_store *store, struct kap_tree_figures *figures_out, uint32_t cap);
