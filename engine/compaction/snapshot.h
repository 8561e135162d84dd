/* snapshot.h - a second directory that names the same segments: hard links, a manifest of its own, the superblock last.
 *
 * Taken after a flush, so it needs no log: it holds exactly the commits up to the flushed seq. Built under NAME.tmp and
 * renamed, so a directory that is there is whole.
 *
 * Threads  filled in by the store while no job runs (state SNAPSHOT_NONE), then the flusher's until state is
 *          SNAPSHOT_DONE, when the store takes the result. */
#pragma once

#include "engine/compaction/background.h"

enum kap_snapshot_state { KAP_SNAPSHOT_NONE, KAP_SNAPSHOT_WANTED, KAP_SNAPSHOT_RUNNING, KAP_SNAPSHOT_DONE };

struct kap_snapshot_job {
    _Atomic int state; /* enum kap_snapshot_state */
    bool remove;       /* instead of create */
    char name[65];
    uint64_t flushed_wanted; /* create once this much is flushed */
    uint64_t packs;          /* blob packs 1 .. packs are linked where they exist */
    kap_status status;
    uint64_t commit_seq, files, bytes;
    int64_t created_us;
    void *work; /* the flusher's */
};

enum kap_step kap_snapshot_step(struct kap_background *background, struct kap_queue *queue);
