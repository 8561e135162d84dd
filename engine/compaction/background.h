/* background.h - what flush, compaction and housekeeping share with the store, and their step functions.
 *
 * Two workers: one flushes sealed memtables and keeps house (spare log files, closing and unlinking of files no version
 * names, the superblock's durable mark, snapshots); the other compacts. Both change the file set under the manifest's edit
 * lock.
 *
 * Threads  fields without _Atomic are set before the workers start and then read only, or belong to the worker named. */
#pragma once

#include "engine/compaction/segment_writer.h"
#include "engine/manifest/manifest_log.h"
#include "engine/wal/wal_slots.h"

struct kap_background {
    struct kap_env *env;
    const char *directory;
    struct kap_versions *versions;
    struct kap_manifest_log *manifest;
    struct kap_wal_slots *slots;
    uint64_t wal_file_bytes, file_bytes, level1_bytes;
    uint32_t l0_files;
    bool (*is_expired)(struct kap_bytes key, struct kap_bytes value, int64_t now_us); /* may be NULL */
    struct kap_spin wake_lock; /* the workers wake each other while one of them may be gone */
    struct kap_worker *flusher, *compactor;
    _Atomic uint64_t next_file_id;
    _Atomic uint64_t durable_seq, durable_frame; /* the reactor's news */
    _Atomic uint64_t mark_wanted; /* superblock mark asked for (a frame number) */
    _Atomic uint64_t flushed_seq;
    _Atomic uint32_t compact_all; /* rounds of full compaction still asked for */
    _Atomic bool compaction_paused;
    _Atomic bool stopping;
    _Atomic int failed; /* kap_status: final */
    _Atomic int full; /* KAP_NO_SPACE while the disk refuses output */
    _Atomic uint64_t flushes, flush_bytes, compactions, compaction_read_bytes, compaction_written_bytes;
    _Atomic uint64_t compaction_wanted;
    struct kap_flush *flush; /* flusher's */
    struct kap_compaction *compaction; /* compactor's */
    struct kap_snapshot_job *snapshot; /* flusher's; store's while none runs */
    void (*notify)(void *context); /* wakes the reactor: something it waits for has happened; any thread */
    void *notify_context;
};

KAP_CHECKED kap_status kap_background_start(struct kap_background *background, struct kap_error *error);
/* Asks both workers to finish what they are at and waits for them; then closes files in the graveyard. */
void kap_background_stop(struct kap_background *background, struct kap_queue *queue);
void kap_background_wake(struct kap_background *background);
void kap_background_wake_flusher(struct kap_background *background);
void kap_background_wake_compactor(struct kap_background *background);
/* From inside the worker's own step. */
void kap_background_sleep_flusher(struct kap_background *background, int64_t ns);
void kap_background_sleep_compactor(struct kap_background *background, int64_t ns);

/* Tells the reactor that something it may wait for has happened. */
void kap_background_notify(struct kap_background *background);

/* Fatal: stops the store. Logs once. */
void kap_background_fail(struct kap_background *background, kap_status status, const char *what);

/* Creation of spare log files, also used at start-up. */
struct kap_wal_spare {
    struct kap_io_chain chain;
    struct kap_io io;
    char path[KAP_PATH_BYTES_MAX];
    uint8_t *zeros;
    uint32_t number;
    uint64_t offset;
    struct kap_file *file;
    kap_status status;
    bool busy, active;
};
/* Moves the making of one spare on; KAP_PENDING while I/O is under way, KAP_OK when nothing is left to do. */
KAP_CHECKED kap_status kap_wal_spare_step(struct kap_background *background, struct kap_wal_spare *spare,
                                          struct kap_queue *queue);

/* Each one's step; see enum kap_step. */
enum kap_step kap_flusher_step(void *background, struct kap_queue *queue);
enum kap_step kap_compactor_step(void *background, struct kap_queue *queue);
/* Bytes a level may hold; level 0 counts files instead. */
uint64_t kap_level_target(const struct kap_background *background, int level);

KAP_CHECKED kap_status kap_flush_create(struct kap_background *background);
void kap_flush_destroy(struct kap_background *background);
KAP_CHECKED kap_status kap_compaction_create(struct kap_background *background);
void kap_compaction_destroy(struct kap_background *background);
