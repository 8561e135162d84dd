/* offline.h - the files of a data directory read in place by a tool: nothing is repaired, moved, cut or written.
 *
 *   open -> lock -> books -> segments -> log -> view .. release -> close
 *
 * Each step proves what it reads and names file and offset when that is not what it should be, and a later step can be
 * tried after an earlier one failed where that makes sense (segments one by one; the log without segments), so a tool can
 * list all damage of a directory and not only the first.
 *
 * Waits    on its own I/O: tools and tests only.
 * Threads  one at a time.
 * Errors   KAP_CORRUPT: the bytes are not what was written. KAP_LOCKED: a kapd runs on it. KAP_IO, KAP_NO_MEMORY. */
#pragma once

#include "engine/env/env.h"
#include "engine/manifest/manifest.h"
#include "engine/manifest/version.h"
#include "engine/read/view.h"
#include "engine/segment/block_cache.h"
#include "engine/wal/wal_reader.h"

struct kap_offline {
    struct kap_env *env;
    struct kap_queue *queue;
    char directory[KAP_PATH_BYTES_MAX / 4];
    struct kap_file *lock;
    struct kap_superblock superblock;
    struct kap_manifest_state state;
    uint64_t edits;
    struct kap_versions versions;
    struct kap_fileset *set; /* opened so far, installed by the view */
    struct kap_wal_read log; /* figures of the replay */
    struct kap_block_cache *cache;
    struct kap_block_source source; /* of views: loads what it lacks, is never KAP_PENDING */
    struct kap_read_context context; /* pins of source */
    struct kap_error block_error; /* of the last block that could not be loaded */
    uint64_t log_seq_max; /* highest seq replayed; 0: none */
};

/* Only memory: the directory is looked at by the steps. */
KAP_CHECKED kap_status kap_offline_open(struct kap_env *env, struct kap_queue *queue, const char *directory,
                                        struct kap_offline **offline_out, struct kap_error *error);
void kap_offline_close(struct kap_offline *offline);

/* Until close. Makes the lock file when there is none: the one thing a tool may leave behind. */
KAP_CHECKED kap_status kap_offline_lock(struct kap_offline *offline, struct kap_error *error);
/* Superblock and the manifest it names. */
KAP_CHECKED kap_status kap_offline_books(struct kap_offline *offline, struct kap_error *error);
/* Opens a segment of the manifest for the view: its tail is verified, its blocks are not. */
KAP_CHECKED kap_status kap_offline_segment(struct kap_offline *offline, const struct kap_manifest_file *file,
                                           const struct kap_segment **segment_out, struct kap_error *error);
/* Replays into memory what no segment holds yet; figures in offline->log. */
KAP_CHECKED kap_status kap_offline_log(struct kap_offline *offline, struct kap_error *error);

/* The newest state of what was opened. Its blocks are loaded when they are asked for and stay until release. */
KAP_CHECKED kap_status kap_offline_view(struct kap_offline *offline, struct kap_view *view_out);
/* Lets go of the blocks: keys and values that came from the view end here, the view itself can be read again. */
void kap_offline_view_release(struct kap_offline *offline);
void kap_offline_view_end(struct kap_offline *offline, struct kap_view *view);

/* DIR/name in path. */
void kap_offline_path(const struct kap_offline *offline, const char *name, char path_out[KAP_PATH_BYTES_MAX]);
/* [offset, offset + len) of DIR/name into fresh memory of the environment's, len 0: all of it. KAP_NO_FILE. The end of the
 * file cuts the range. */
KAP_CHECKED kap_status kap_offline_read(struct kap_offline *offline, const char *name, uint64_t offset, size_t len,
                                        uint8_t **data_out, size_t *len_out);
