/* store_internal.h - what the files of store/ share. */
#pragma once

#include "engine/blob/blob_store.h"
#include "engine/compaction/background.h"
#include "engine/compaction/snapshot.h"
#include "engine/store/store.h"
#include "engine/wal/wal_reader.h"
#include "engine/wal/wal_writer.h"

/* After a restart numbering jumps ahead, past anything that an undurable commit may have been called. */
enum { STORE_SEQ_SKIP = 65536, STORE_LOADS_MAX = 128, STORE_SNAPSHOTS_MAX = 256 };

/* With so many files on level 0 a full memtable waits for compaction, which then always has a job: every read asks each of
 * them. */
enum { STORE_LEVEL0_MAX = 24 };

struct store_load {
    struct kap_io io;
    struct kap_store *store;
    struct kap_block_ref ref;
    struct kap_version_file *file;
    uint8_t *data;
};

struct kap_store {
    struct kap_env *env;
    struct kap_queue *queue;
    struct kap_store_options options;
    char directory[KAP_PATH_BYTES_MAX / 4];
    struct kap_file *lock;
    struct kap_versions versions;
    struct kap_version_table *active; /* the table commits go to; only the sequencer changes it */
    struct kap_manifest_log manifest;
    struct kap_wal_slots slots;
    struct kap_wal_writer *wal;
    struct kap_block_cache *cache;
    struct kap_blob_store *blobs;
    struct kap_background background;
    struct kap_snapshot_job snapshot;
    bool background_started;
    uint64_t head_seq, next_seq;
    int64_t last_wall_us;
    uint64_t wal_file_seen; /* rotation is noticed by this changing */
    uint64_t recovered_commits;
    uint32_t loads;         /* block reads under way */
    const char *delay;
    int64_t space_checked_ns;
    uint64_t space_free;
    bool txn_open;
    void (*on_durable)(void *context);
    void *on_durable_context;
    void (*snapshot_done)(void *context, kap_status status, const struct kap_snapshot_info *info);
    void *snapshot_context;
    struct kap_snapshot_info snapshots[STORE_SNAPSHOTS_MAX];
    uint32_t n_snapshots;
};

/* Superblock, manifest, segments and log into memory; on return the store is whole but has no workers yet. */
KAP_CHECKED kap_status store_recover(struct kap_store *store, struct kap_error *error);
/* Reads DIR/snapshots. */
KAP_CHECKED kap_status store_snapshots_load(struct kap_store *store, struct kap_error *error);
/* Takes the result of a snapshot job that has ended and tells whoever asked. */
void store_snapshot_collect(struct kap_store *store);
/* Makes the active memtable a sealed one. KAP_OVERLOADED: too many are sealed. */
KAP_CHECKED kap_status store_seal(struct kap_store *store);
