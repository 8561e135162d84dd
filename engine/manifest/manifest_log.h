/* manifest_log.h - the open manifest and superblock: edits made durable, one at a time.
 *
 * Whoever wants to change the file set takes the edit lock, submits one edit (or mark), polls its queue until it is no
 * longer running, installs the result for readers and unlocks. Past KAP_MANIFEST_REWRITE_BYTES an edit writes a new
 * manifest instead of a record, then the superblock, then removes the old one.
 *
 * Threads  the lock's holder; try_lock from any.
 * Errors   final: failed() stays set and every later edit returns it. */
#pragma once

#include <stdatomic.h>

#include "engine/env/io_chain.h"
#include "engine/manifest/manifest.h"

enum { KAP_MANIFEST_REWRITE_BYTES = 4 * 1024 * 1024 };

struct kap_manifest_log {
    struct kap_env *env;
    const char *directory;
    struct kap_manifest_state state;
    struct kap_superblock superblock;
    struct kap_file *file, *superblock_file;
    uint64_t offset, edits;
    _Atomic bool locked;
    _Atomic int failed; /* kap_status */
    struct kap_buffer record;
    uint8_t *copies; /* two superblock copies, aligned */
    struct kap_io_chain chain;
    bool rewriting;
    char new_path[KAP_PATH_BYTES_MAX], old_path[KAP_PATH_BYTES_MAX];
};

/* state and superblock are filled in by whoever read them or made them up; files are NULL. */
KAP_CHECKED kap_status kap_manifest_log_init(struct kap_manifest_log *log, struct kap_env *env, const char *directory);
/* Handles are closed (kap_manifest_log_close) or the machine has crashed. */
void kap_manifest_log_deinit(struct kap_manifest_log *log);
void kap_manifest_log_close(struct kap_manifest_log *log, struct kap_queue *queue); /* waits */

bool kap_manifest_log_try_lock(struct kap_manifest_log *log);
void kap_manifest_log_unlock(struct kap_manifest_log *log);

/* Applies edit to the state and starts making it durable. Returns at once; KAP_NO_MEMORY or KAP_CORRUPT: nothing was
 * started. */
KAP_CHECKED kap_status kap_manifest_log_edit(struct kap_manifest_log *log, struct kap_queue *queue,
                                             const struct kap_manifest_edit *edit);
/* Starts writing the superblock with this durable mark. */
void kap_manifest_log_mark(struct kap_manifest_log *log, struct kap_queue *queue, uint64_t durable_frame);
/* Starts a new manifest holding the whole state (start-up, and by itself when the old one is long). first: there is no
 * older manifest to remove. */
KAP_CHECKED kap_status kap_manifest_log_rewrite(struct kap_manifest_log *log, struct kap_queue *queue, bool first);
bool kap_manifest_log_running(const struct kap_manifest_log *log);
/* The outcome of what was started last; final unless KAP_OK. Call once it no longer runs. */
kap_status kap_manifest_log_result(struct kap_manifest_log *log);
