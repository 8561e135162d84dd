/* manifest_format.h - which files are the store, and the log of changes to that set.
 *
 * superblock: 4 copies of 4 KiB, two pairs. Generation g is written to both copies of pair g mod 2, so the pair of g - 1
 * stays whole whatever happens meanwhile.
 *  offset size field          meaning
 *       0    8 checksum       XXH3-64 of bytes 8 .. 4096, seed KAP_SEED_SUPERBLOCK
 *       8    8 magic          KAP_SUPERBLOCK_MAGIC
 *      16    4 format         of the whole directory; KAP_STORE_FORMAT
 *      20    4 reserved       zero
 *      24    8 generation     from 1
 *      32   16 store_id       UUID of the store
 *      48    8 manifest_no    manifest-%08x is the current one
 *      56    8 durable_frame  log frames up to here are durable
 *      64    8 wal_bytes      size of a log slot
 *      72 4024 reserved       zero
 *
 * manifest: records, each a multiple of 4 KiB and synced before the next is written, so only the last can be torn.
 *       0    8 checksum       XXH3-64 of bytes 8 .. 48 + payload_bytes, seed KAP_SEED_MANIFEST
 *       8    8 magic          KAP_MANIFEST_MAGIC
 *      16    8 store_hash     first 8 bytes of the store's UUID
 *      24    8 edit_no        from 1, dense in a file; 1 is a snapshot of the whole state
 *      32    8 set_checksum   of the file set after this edit (manifest.h)
 *      40    4 payload_bytes
 *      44    4 reserved       zero
 * payload: varint fields, one after the other; a tag (enum manifest_tag), then its values. */
#pragma once

#include <stddef.h>

#include "engine/base/le.h"

#define KAP_SUPERBLOCK_MAGIC UINT64_C(0x313050555350414b) /* "KAPSUP01" */
#define KAP_MANIFEST_MAGIC UINT64_C(0x31304e414d50414b) /* "KAPMAN01" */

enum {
    KAP_STORE_FORMAT = 1,
    KAP_SUPERBLOCK_COPY_BYTES = 4096,
    KAP_SUPERBLOCK_COPIES = 4,
    KAP_SUPERBLOCK_BYTES = KAP_SUPERBLOCK_COPY_BYTES * KAP_SUPERBLOCK_COPIES,
    KAP_MANIFEST_ALIGN = 4096,
};

struct superblock_copy {
    kap_le64 checksum, magic;
    kap_le32 format, reserved;
    kap_le64 generation;
    uint8_t store_id[16];
    kap_le64 manifest_no, durable_frame, wal_bytes;
    uint8_t reserved_tail[4024];
};
_Static_assert(sizeof(struct superblock_copy) == KAP_SUPERBLOCK_COPY_BYTES, "superblock_copy: size");
_Static_assert(offsetof(struct superblock_copy, manifest_no) == 48, "superblock_copy: manifest_no");

struct manifest_record {
    kap_le64 checksum, magic, store_hash, edit_no, set_checksum;
    kap_le32 payload_bytes, reserved;
};
_Static_assert(sizeof(struct manifest_record) == 48, "manifest_record: size");

enum manifest_tag {
    MANIFEST_FLUSHED_SEQ = 1, /* value: commits up to here are in segments */
    MANIFEST_WAL_FIRST = 2, /* value: the oldest log file_no that replay needs */
    MANIFEST_NEXT_FILE_ID = 3, /* value */
    MANIFEST_ADD = 4, /* level, then the segment's meta (manifest.c) */
    MANIFEST_REMOVE = 5, /* file id */
    MANIFEST_SCHEMA = 6, /* version, hash, bytes, descriptor set */
    MANIFEST_INDEX = 7, /* id, definition hash, state */
    MANIFEST_WAL_FRAME = 8, /* value: number of the first frame in that log file */
};
