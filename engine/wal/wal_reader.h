/* wal_reader.h - the log read back after a restart.
 *
 * Finds the slots of a directory, opens them, walks the chain of frames from the first file that the manifest still needs
 * and hands every operation of every commit above after_seq to the caller, in order. Then decides what the end is: a torn
 * tail (nothing that follows was promised durable: cut there) or corruption (a later frame or the superblock's durable
 * mark promises more: refuse, naming file and offset). What it accepted is durable when it returns, unless read_only.
 *
 * Waits  on its own I/O: start-up and tools only.
 * Errors KAP_CORRUPT; KAP_IO; KAP_NO_MEMORY; whatever the callback returned. On error all slots are closed again. */
#pragma once

#include "engine/env/env.h"
#include "engine/schema/cursor.h"
#include "engine/wal/wal_slots.h"
#include "engine/wal/wal_writer.h"

struct kap_wal_read {
    /* In. */
    struct kap_env *env;
    struct kap_queue *queue;
    const char *directory;
    uint64_t store_hash;
    uint64_t file_bytes;
    uint64_t first_file_no; /* files before it are not needed any more */
    uint64_t first_frame_no; /* the first frame of that file */
    uint64_t after_seq;     /* commits up to here are in segments already */
    uint64_t durable_frame; /* the superblock's mark: frames up to here must be there */
    /* entry->seq is the commit's. */
    kap_status (*operation)(void *context, const struct kap_entry *entry, int64_t wall_us);
    void *context;
    bool read_only;         /* for tools: open for reading, keep nothing open */
    /* Out. */
    struct kap_wal_slots *slots; /* open handles, spare or with their file_no; untouched when read_only */
    struct kap_wal_position position; /* where a writer continues: always in a new file */
    uint64_t commits, frames, bytes;
    bool cut;               /* a torn tail was left behind */
    int64_t last_wall_us;
};

KAP_CHECKED kap_status kap_wal_read(struct kap_wal_read *read, struct kap_error *error);

/* Prints the frames of one log file as text, one line each, for inspect: line() gets no newline. */
KAP_CHECKED kap_status kap_wal_describe(struct kap_bytes file, void (*line)(void *context, const char *text),
                                        void *context);
