/* wal_format.h - the bytes of a log file.
 *
 * The log is a chain of frames over a few fixed slots (wal-XXXXXXXX.log), each zero-written once and then recycled. A
 * frame is one group commit, one write, and starts and ends on a 4 KiB boundary so that no sector is written twice. The
 * first frame of a slot stands at offset 0; which use of the slot it is, the frames say themselves.
 *
 * Frame header. Zero bytes are the unwritten tail, so a zero magic is invalid.
 *  offset size field         meaning
 *       0    8 checksum      XXH3-64 of bytes 8 .. 96 + payload_bytes, seed KAP_SEED_WAL
 *       8    8 magic         KAP_WAL_MAGIC; the last two characters are the version
 *      16    8 store_hash    of the store's UUID: frames of another store never pass
 *      24    8 incarnation   random, new with every use of a slot: frames of an earlier use never pass
 *      32    8 file_no       dense, from 1, counts uses of slots
 *      40    8 frame_no      dense, from 1
 *      48    8 first_seq     commit_seq of the first commit
 *      56    8 last_seq      and of the last
 *      64    8 durable_upto  highest frame_no known durable when this frame was built: an invalid frame at or below any
 *                            such promise is corruption, one above it is a torn tail
 *      72    8 previous      checksum of frame_no - 1
 *      80    4 payload_bytes after the header, before the padding
 *      84    4 commits       in the payload
 *      88    8 reserved      zero
 *
 * Payload: commits back to back, each
 *       0    8 seq           commit_seq, ascending
 *       8    8 wall_us       microseconds since 1970, for humans and retention; order never depends on it
 *      16    4 bytes         of the operations that follow
 *      20    4 operations
 * and each operation
 *       0    1 type          enum kap_entry_type
 *       1    1 reserved      zero
 *       2    2 key_bytes     1 .. KAP_KEY_BYTES_MAX
 *       4    4 value_bytes   0 .. KAP_VALUE_BYTES_MAX; 0 for a delete
 *       8      key, value
 * Explicit puts and deletes of every tree, indexes included: replay needs no reads and no schema. */
#pragma once

#include <stddef.h>

#include "engine/base/le.h"

#define KAP_WAL_MAGIC UINT64_C(0x31304c415750414b) /* "KAPWAL01" */

enum {
    KAP_WAL_ALIGN = 4096,
    KAP_WAL_FRAME_BYTES_MAX = 24 * 1024 * 1024, /* the largest batch with its indexes and history, and room */
};

struct wal_frame {
    kap_le64 checksum, magic, store_hash, incarnation, file_no, frame_no, first_seq, last_seq, durable_upto, previous;
    kap_le32 payload_bytes, commits;
    kap_le64 reserved;
};
_Static_assert(sizeof(struct wal_frame) == 96, "wal_frame: size");
_Static_assert(offsetof(struct wal_frame, payload_bytes) == 80, "wal_frame: payload_bytes");

struct wal_commit {
    kap_le64 seq, wall_us;
    kap_le32 bytes, operations;
};
_Static_assert(sizeof(struct wal_commit) == 24, "wal_commit: size");

struct wal_operation {
    uint8_t type, reserved;
    kap_le16 key_bytes;
    kap_le32 value_bytes;
};
_Static_assert(sizeof(struct wal_operation) == 8, "wal_operation: size");
