/* segment_writer.h - sorted entries into one durable segment file, without anyone waiting.
 *
 *   start; while wants_entries: add ..; step .. until it is done; take
 *
 * Each step either makes progress or says that I/O is under way. At the end the file and its name are durable and the
 * segment is open. On any failure the file is removed (as far as the disk lets) and nothing refers to it.
 * Threads  one at a time. Errors  KAP_NO_SPACE, KAP_IO, KAP_NO_MEMORY: abort cleans up. */
#pragma once

#include "engine/env/io_chain.h"
#include "engine/manifest/version.h"
#include "engine/segment/segment_builder.h"

struct kap_segment_writer {
    struct kap_env *env;
    struct kap_queue *queue;
    char path[KAP_PATH_BYTES_MAX];
    const char *directory;
    struct kap_segment_builder *builder;
    struct kap_file *file;
    uint64_t offset;
    size_t writing; /* bytes of builder output under way */
    struct kap_io io;
    struct kap_io_chain chain;
    bool busy;
    enum { WRITER_IDLE, WRITER_OPENING, WRITER_FILLING, WRITER_REST, WRITER_SYNCING, WRITER_READY } state;
    kap_status status;
    struct kap_segment_meta meta;
    struct kap_segment *segment;
    uint8_t *tail;
};

KAP_CHECKED kap_status kap_segment_writer_start(struct kap_segment_writer *writer, struct kap_env *env,
                                                struct kap_queue *queue, const char *directory, uint64_t file_id,
                                                uint64_t entries_expected);
/* Room for entries now; false: step first. */
bool kap_segment_writer_wants(const struct kap_segment_writer *writer);
KAP_CHECKED kap_status kap_segment_writer_add(struct kap_segment_writer *writer, const struct kap_entry *entry);
/* No more entries will come. */
KAP_CHECKED kap_status kap_segment_writer_finish(struct kap_segment_writer *writer);
/* Moves on what can be moved. KAP_PENDING: I/O under way; KAP_OK: wants entries, or ready after finish; else failed. */
KAP_CHECKED kap_status kap_segment_writer_step(struct kap_segment_writer *writer);
bool kap_segment_writer_ready(const struct kap_segment_writer *writer);
/* Hands over the open segment and handle; the writer is idle again. */
void kap_segment_writer_take(struct kap_segment_writer *writer, struct kap_segment **segment_out,
                             struct kap_file **file_out);
/* Gives up: closes and removes the file. KAP_PENDING until that is done; call again after a completion. */
KAP_CHECKED kap_status kap_segment_writer_abort(struct kap_segment_writer *writer);
