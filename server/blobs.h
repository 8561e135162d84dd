/* blobs.h - the operations of blobs: uploads under way, and reading a piece.
 *
 * Upload   blob.begin names hash and size; blob.write brings bytes in order; blob.commit makes them durable, compares the
 *          hash and writes the blob's row in its own transaction. Begun again by the same account it goes on where it
 *          stopped, as long as the daemon runs and for upload_idle_ns after its last byte.
 * Dedupe   "already complete" is told only to who may read the blob. Others upload it in full, then it is theirs too.
 * Waiting  writes and commits that must wait for the disk are run again by the service (KAP_OVERLOADED inside).
 * Read     at most KAP_BLOBS_READ_BYTES a call; a connection makes a stream of such calls.
 * Threads  the reactor's. */
#pragma once

#include "server/service.h"

enum { KAP_BLOBS_READ_BYTES = 256 * 1024 };

struct kap_blobs;

/* Sets the handlers of blob.begin, write, commit, stat and read. */
KAP_CHECKED kap_status kap_blobs_create(struct kap_service *service, struct kap_blobs **blobs_out);
/* No call is under way. Waits for I/O of blobs. */
void kap_blobs_destroy(struct kap_blobs *blobs);
