#include <openssl/evp.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/blob/blob_format.h"
#include "engine/env/file_name.h"
#include "engine/schema/key.h"
#include "proto/kap_entities.h"
#include "proto/wire.h"
#include "tools/kapctl/chunk.h"
#include "tools/kapctl/verify.h"

enum { BLOBS_PER_ROUND = 256 }; /* then the blocks read so far are let go */

struct blobs {
    struct verify *verify;
    struct kap_arena arena;
    EVP_MD_CTX *sha;
    uint64_t n, chunks, bytes;
    struct kap_key next; /* where the next round begins */
    uint32_t in_round;
};

/* One chunk that a row points to; hashes its data. false: damaged and told. */
static bool chunk_verify(struct blobs *blobs, const uint8_t *ref)
{
    struct kap_offline *offline = blobs->verify->offline;
    char name[KAP_FILE_NAME_BYTES], path[KAP_FILE_NAME_BYTES + 8];
    struct chunk_check check;
    uint64_t pack = kap_le64_load(ref), offset = kap_le64_load(ref + 8);
    uint32_t bytes = kap_le32_load(ref + 16);
    uint8_t *data;
    size_t len;
    kap_file_name_print(KAP_FILE_PACK, pack, name);
    snprintf(path, sizeof path, "blobs/%s", name);
    kap_status status = kap_offline_read(offline, path, offset, sizeof(struct blob_chunk) + bytes, &data, &len);
    if (status == KAP_NO_FILE) {
        verify_damage(blobs->verify, "%s is missing; a blob has a chunk in it at offset %llu", path,
                      (unsigned long long)offset);
        return false;
    }
    if (status != KAP_OK) {
        verify_fault(blobs->verify, status, NULL);
        return false;
    }
    const char *fault = chunk_check(kap_bytes(data, len), offset, &check);
    bool another =
        !fault && (check.pack != pack || check.bytes != bytes || check.checksum_low != kap_le32_load(ref + 20) ||
                   check.store_hash != kap_store_hash(offline->superblock.store_id));
    if (fault || another)
        verify_damage(blobs->verify, "%s, offset %llu: %s", path, (unsigned long long)offset,
                      fault ? fault : "another chunk than the blob's row means");
    else if (check.bad_pieces)
        verify_damage(blobs->verify, "%s, offset %llu: a piece of the chunk does not match its checksum", path,
                      (unsigned long long)(offset + sizeof(struct blob_chunk) + check.first_bad));
    bool whole = !fault && !another && check.bad_pieces == 0;
    if (whole && EVP_DigestUpdate(blobs->sha, data + sizeof(struct blob_chunk), bytes) != 1)
        verify_fault(blobs->verify, KAP_INTERNAL, NULL);
    blobs->chunks++;
    blobs->bytes += bytes;
    kap_memory_free(&offline->env->memory, data);
    return whole;
}

static void blob_verify(struct blobs *blobs, const struct kap_blob *blob)
{
    uint8_t sha256[32];
    char hash[65] = "";
    bool whole = true;
    for (size_t i = 0; i < blob->hash.len && i < 32; i++)
        snprintf(hash + 2 * i, 3, "%02x", blob->hash.data[i]);
    uint64_t chunks = (blob->size + KAP_CHUNK_BYTES - 1) / KAP_CHUNK_BYTES;
    if (blob->placement.len != chunks * KAP_CHUNK_REF_BYTES) {
        verify_damage(blobs->verify, "the row of blob %s names %zu bytes of chunk references, its size asks for %llu",
                      hash, blob->placement.len, (unsigned long long)(chunks * KAP_CHUNK_REF_BYTES));
        return;
    }
    if (EVP_DigestInit_ex(blobs->sha, EVP_sha256(), NULL) != 1) {
        verify_fault(blobs->verify, KAP_NO_MEMORY, NULL);
        return;
    }
    for (size_t at = 0; at < blob->placement.len && blobs->verify->failed == KAP_OK; at += KAP_CHUNK_REF_BYTES)
        whole &= chunk_verify(blobs, blob->placement.data + at);
    if (!whole || blobs->verify->failed != KAP_OK)
        return;
    if (EVP_DigestFinal_ex(blobs->sha, sha256, NULL) != 1 || blob->hash.len != sizeof sha256 ||
        memcmp(sha256, blob->hash.data, sizeof sha256) != 0)
        verify_damage(blobs->verify, "blob %s: its chunks are whole, but together they hash to something else", hash);
}

static void row_verify(struct blobs *blobs, const struct kap_entry *entry)
{
    struct kap_blob blob;
    char hex[80];
    kap_arena_reset(&blobs->arena);
    blobs->n++;
    if (kap_wire_decode(&kap_blob_msg, entry->value, &blobs->arena, KAP_WIRE_STORED, &blob, NULL) != KAP_OK) {
        out_hex(entry->key, 34, hex, sizeof hex);
        verify_damage(blobs->verify, "the blob row under key %s is not a row", hex);
        return;
    }
    if (blob.has_placement)
        blob_verify(blobs, &blob);
}

/* KAP_OK: there may be more; KAP_END. */
static kap_status round_run(struct blobs *blobs, struct kap_view *view, struct kap_scan *scan, struct kap_arena *arena)
{
    struct kap_key end;
    const uint8_t prefix[KAP_TREE_BYTES] = {0, KAP_TREE_BLOB};
    kap_key_prefix_end(&end, kap_bytes(prefix, sizeof prefix));
    kap_arena_reset(arena);
    blobs->in_round = 0;
    kap_status status = kap_scan_init(scan, view, arena, kap_key_bytes(&blobs->next), kap_key_bytes(&end));
    while (status == KAP_OK && blobs->in_round < BLOBS_PER_ROUND && blobs->verify->failed == KAP_OK) {
        status = kap_scan_next(scan);
        if (status != KAP_OK)
            break;
        row_verify(blobs, &scan->entry);
        blobs->in_round++;
        blobs->next.len = 0;
        kap_key_put(&blobs->next, scan->entry.key.data, scan->entry.key.len);
        kap_key_put_u8(&blobs->next, 0); /* the first key after it */
    }
    kap_offline_view_release(blobs->verify->offline);
    return status;
}

void verify_blobs(struct verify *verify, struct kap_view *view)
{
    struct kap_memory *memory = &verify->offline->env->memory;
    struct blobs *blobs = kap_memory_alloc(memory, sizeof *blobs);
    struct kap_scan *scan = kap_memory_alloc(memory, sizeof *scan);
    struct kap_arena arena;
    kap_status status = blobs && scan ? KAP_OK : KAP_NO_MEMORY;
    size_t before = verify_damages(verify);
    kap_arena_init(&arena, memory, 64 * 1024, 0);
    if (status == KAP_OK) {
        blobs->verify = verify;
        blobs->sha = EVP_MD_CTX_new();
        kap_arena_init(&blobs->arena, memory, 64 * 1024, 0);
        kap_key_init(&blobs->next, KAP_TREE_BLOB);
        while (status == KAP_OK && verify->failed == KAP_OK)
            status = round_run(blobs, view, scan, &arena);
        if (status == KAP_END || status == KAP_OK)
            verify_line(verify, "blobs", "%llu blobs, %llu chunks, %llu bytes%s", (unsigned long long)blobs->n,
                        (unsigned long long)blobs->chunks, (unsigned long long)blobs->bytes,
                        verify_damages(verify) > before ? ", damaged" : "");
        EVP_MD_CTX_free(blobs->sha);
        kap_arena_deinit(&blobs->arena);
    }
    if (status != KAP_OK && status != KAP_END)
        verify_fault(verify, status, &verify->offline->block_error);
    kap_arena_deinit(&arena);
    kap_memory_free(memory, scan);
    kap_memory_free(memory, blobs);
}
