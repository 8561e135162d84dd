/* env_losing.h - a machine in memory: a disk that forgets what was not synced, a clock, entropy and threads, all from
 * one seed.
 *
 * Disk     SYNC makes a file's data and size durable, not its name; SYNC_DIR makes names durable, of what had completed
 *          when it was submitted. A DSYNC write is durable when done. What is under way when the power fails is as
 *          unsynced as the rest. A rename is atomic: over two directories, the new name needs the new directory's sync
 *          and the old name goes with the old directory's, never first.
 * Steps    nothing happens by itself: kap_losing_run, or a poll, lets one step of one worker run or one operation
 *          complete, chosen by the seed. done() of a worker's operations runs between its steps; of any other queue's,
 *          in its poll.
 * Time     moves only by kap_losing_advance, or to the next sleeper when nothing else can happen.
 * Threads  one. The same seed and the same calls give the same trace hash.
 * Crash    every operation completes with KAP_CRASHED and changes nothing; workers go on stepping so that the store can
 *          be destroyed. Then kap_losing_restart.
 *
 * These take an environment of kap_losing_create only. */
#pragma once

#include "engine/env/env.h"

enum { KAP_LOSING_SECTOR = 512 };

struct kap_losing_options {
    uint64_t capacity_bytes; /* of all files together; 0 = no limit */
    bool sectors_whole; /* TORN leaves a sector old or new, never a mixture or garbage */
};

enum kap_losing_mode {
    KAP_LOSING_ALL_LOST, /* everything unsynced is gone */
    KAP_LOSING_ALL_KEPT, /* everything reached the disk, also what was under way */
    KAP_LOSING_TORN, /* each unsynced sector and name by chance: old, new, cut or garbage. Garbage stays within the
                          * bytes of the unsynced write: what a sync covered is never harmed */
    KAP_LOSING_KILLED, /* only the process ended: everything can be read, also what was under way, and what was not
                        * synced still is not: a power cut after the restart can take it */
};

/* options: NULL for none. NULL when there is no memory. */
struct kap_env *kap_losing_create(uint64_t seed, const struct kap_losing_options *options);
/* No worker may be left, and no queue. */
void kap_losing_destroy(struct kap_env *env);

/* The power fails at the n-th operation from now on (1: the next), instead of it; 0: never. */
void kap_losing_crash_at(struct kap_env *env, uint64_t n);
void kap_losing_power_cut(struct kap_env *env);
bool kap_losing_crashed(struct kap_env *env);
/* The power is back (it is cut first, if it was on): the disk is what survived. KILLED: a new process begins. Every file handle is invalid; no worker
 * may be left and nothing in flight. Takes back crash_at. */
void kap_losing_restart(struct kap_env *env, enum kap_losing_mode mode);

/* Operations that took effect since create. */
uint64_t kap_losing_io_count(struct kap_env *env);
/* Of every operation, completion order and step so far. */
uint64_t kap_losing_trace_hash(struct kap_env *env);
/* Handles not closed: a leak when the store is closed. */
uint32_t kap_losing_open_files(struct kap_env *env);
void kap_losing_set_capacity(struct kap_env *env, uint64_t bytes); /* 0: lifted */

/* One step or one completion; the clock moves to the next sleeper when there is neither. False: nothing can ever happen
 * without the caller. */
bool kap_losing_run(struct kap_env *env);
/* Runs until only the passing of time could cause anything. */
void kap_losing_settle(struct kap_env *env);
void kap_losing_advance(struct kap_env *env, int64_t ns);
void kap_losing_set_wall(struct kap_env *env, int64_t wall_us); /* the wall clock jumps */

/* The disk behind the store's back, durable and cached alike; not operations. KAP_NO_FILE; overwrite and flip stay
 * within the file: KAP_INVALID. */
KAP_CHECKED kap_status kap_losing_file_size(struct kap_env *env, const char *name, uint64_t *bytes_out);
KAP_CHECKED kap_status kap_losing_read(struct kap_env *env, const char *name, uint64_t offset, void *data, size_t len,
                                       size_t *len_out);
KAP_CHECKED kap_status kap_losing_overwrite(struct kap_env *env, const char *name, uint64_t offset, const void *data,
                                            size_t len);
KAP_CHECKED kap_status kap_losing_flip(struct kap_env *env, const char *name, uint64_t offset, uint8_t mask);

/* From now on syncs of this name (sync_points.h; NULL: none) succeed without effect. Also chosen by the environment
 * variable KAP_LOSE_SYNC at create. False, and no effect, unless built with -Dlose_sync=true. */
bool kap_losing_lose_sync(struct kap_env *env, const char *sync_point);
/* How many syncs of this name took place. */
uint64_t kap_losing_sync_count(struct kap_env *env, const char *sync_point);
