/* blob_format.h - pack files: chunks of blobs, one after the other.
 *
 * blobs/pack-XXXXXXXX.blob, append-only, at most KAP_PACK_BYTES_MAX; every start of a store begins a new pack, so a torn
 * end of an older one is never written behind. A chunk is this header and then its bytes:
 *  offset size field      meaning
 *       0    8 checksum   XXH3-64 of bytes 8 .. 176, seed KAP_SEED_PACK
 *       8    8 magic      KAP_CHUNK_MAGIC
 *      16    8 store_hash
 *      24    8 pack       number of the file
 *      32    8 offset     of this header in it
 *      40    4 bytes      of data, 1 .. KAP_CHUNK_BYTES
 *      44    4 reserved   zero
 *      48  128 pieces     XXH3-64 of each 64 KiB of the data, so that a range read verifies only what it sends
 * What points to a chunk: KAP_CHUNK_REF_BYTES in the blob's row: pack (8), offset (8), bytes (4), the header's low
 * checksum half (4), all little-endian. */
#pragma once

#include <stddef.h>

#include "engine/base/le.h"

#define KAP_CHUNK_MAGIC UINT64_C(0x31304b4e4843504b)

enum {
    KAP_CHUNK_BYTES = 1024 * 1024,
    KAP_PIECE_BYTES = 64 * 1024,
    KAP_CHUNK_PIECES = KAP_CHUNK_BYTES / KAP_PIECE_BYTES,
    KAP_CHUNK_REF_BYTES = 24,
    KAP_PACK_BYTES_MAX = 128 * 1024 * 1024,
};

struct blob_chunk {
    kap_le64 checksum, magic, store_hash, pack, offset;
    kap_le32 bytes, reserved;
    kap_le64 pieces[KAP_CHUNK_PIECES];
};
_Static_assert(sizeof(struct blob_chunk) == 176, "blob_chunk: size");
_Static_assert(offsetof(struct blob_chunk, pieces) == 48, "blob_chunk: pieces");
