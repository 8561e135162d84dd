/* blob_store.h - the bytes of blobs: chunks in append-only packs. What a blob is called, who may read it and when it goes
 * is the model's business; this keeps bytes and gives them back verified.
 *
 * Upload  begin -> write .. -> finish -> (done) -> end. Bytes are hashed (SHA-256) and cut into 1 MiB chunks as they come;
 *         finish makes them durable. The reference list it yields goes into the blob's row, whose commit makes the blob
 *         exist. An upload that ends otherwise leaves garbage in its pack, nothing else.
 * Read    a piece of a blob at a time: the 64 KiB pieces that cover a range, verified.
 * Threads the reactor's; done callbacks run from kap_queue_poll.
 * Errors  KAP_NO_SPACE, KAP_IO: this upload is over; others go on. KAP_CORRUPT names pack and offset in the log. */
#pragma once

#include "engine/base/buffer.h"
#include "engine/env/io_chain.h"

struct kap_blob_store;
struct kap_blob_upload;

/* Waits. directory/blobs exists. Packs of earlier runs are opened when they are read. */
KAP_CHECKED kap_status kap_blob_store_open(struct kap_env *env, struct kap_queue *queue, const char *directory,
                                           uint64_t store_hash, struct kap_blob_store **store_out,
                                           struct kap_error *error);
/* Nothing is in flight (kap_blob_store_busy). Waits for handles to close. */
void kap_blob_store_close(struct kap_blob_store *store);
bool kap_blob_store_busy(const struct kap_blob_store *store);
/* Highest pack number in use; for snapshots. */
uint64_t kap_blob_store_packs(const struct kap_blob_store *store);

/* size: of the whole blob, 1 .. 4 GiB (KAP_TOO_LARGE). */
KAP_CHECKED kap_status kap_blob_upload_begin(struct kap_blob_store *store, uint64_t size,
                                             struct kap_blob_upload **upload_out);
/* Takes the next bytes, in order. KAP_OVERLOADED: a chunk is being written, come back after a completion (nothing was
 * taken; at most KAP_CHUNK_BYTES at a time). KAP_TOO_LARGE: more than size. */
KAP_CHECKED kap_status kap_blob_upload_write(struct kap_blob_upload *upload, struct kap_bytes bytes);
uint64_t kap_blob_upload_received(const struct kap_blob_upload *upload);
/* All bytes are in (KAP_INVALID otherwise): writes the rest, syncs, then done with the hash and the list of chunk
 * references (valid until end). */
KAP_CHECKED kap_status kap_blob_upload_finish(struct kap_blob_upload *upload,
                                              void (*done)(void *context, kap_status status, const uint8_t sha256[32],
                                                           struct kap_bytes chunk_refs),
                                              void *context);
/* At any time; I/O under way finishes by itself. */
void kap_blob_upload_end(struct kap_blob_upload *upload);

/* Reads [offset, offset + len) of a blob of this size; len at most KAP_CHUNK_BYTES and within one chunk or cut there:
 * *len_out says how much the read will give. data: room for len_out. done once, unless an error is returned at once:
 * KAP_CORRUPT: the references do not fit the size. KAP_INVALID: out of range. */
KAP_CHECKED kap_status kap_blob_read(struct kap_blob_store *store, struct kap_bytes chunk_refs, uint64_t size,
                                     uint64_t offset, size_t len, uint8_t *data, size_t *len_out,
                                     void (*done)(void *context, kap_status status), void *context);
