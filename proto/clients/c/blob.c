/* blob.c - blobs up and down: hashed, in pieces, resumed where they stopped. */
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "proto/clients/c/client_internal.h"
#include "proto/wire.h"

enum { WRITE_BYTES = 256 * 1024 };

struct upload {
    struct kap_client *client;
    struct kap_arena arena; /* reset between requests */
    uint8_t *piece; /* WRITE_BYTES */
    kap_blob_source source;
    void *context;
    uint64_t size;
    struct kap_id id;
};

/* The next bytes of the source, as many as fit; fewer only at its end. */
static kap_status piece_fill(struct upload *upload, size_t want, size_t *len_out, struct kap_error *error)
{
    size_t len = 0;
    while (len < want) {
        ptrdiff_t got = upload->source(upload->context, upload->piece + len, want - len);
        if (got < 0)
            return kap_error_set(error, KAP_INVALID, "the source of a blob could not be read");
        if (got == 0)
            return kap_error_set(error, KAP_INVALID, "the source of a blob is shorter than it was said to be");
        len += (size_t)got;
    }
    *len_out = len;
    return KAP_OK;
}

static kap_status upload_bytes(struct upload *upload, uint64_t have, struct kap_error *error)
{
    for (uint64_t at = 0; at < upload->size;) {
        uint64_t until = at < have ? have : upload->size; /* what the server has is read, not sent */
        size_t len = 0;
        kap_status status = piece_fill(upload, (size_t)KAP_MIN(until - at, (uint64_t)WRITE_BYTES), &len, error);
        if (status != KAP_OK)
            return status;
        if (at >= have) {
            struct kap_blob_write_reply reply;
            struct kap_blob_write_request request = {.has_upload = true,
                                                     .upload = upload->id,
                                                     .has_offset = true,
                                                     .offset = at,
                                                     .has_data = true,
                                                     .data = kap_bytes(upload->piece, len)};
            kap_arena_reset(&upload->arena);
            status = kap_client_send(upload->client, KAP_OP_BLOB_WRITE, NULL, &request, &upload->arena, &reply, error);
            if (status != KAP_OK)
                return status;
        }
        at += len;
    }
    return KAP_OK;
}

static kap_status upload_run(struct upload *upload, const uint8_t hash[32], const char *media_type, bool *was_there_out,
                             struct kap_error *error)
{
    struct kap_blob_begin_reply begun;
    struct kap_blob_begin_request begin = {.has_hash = true,
                                           .hash = kap_bytes(hash, 32),
                                           .has_size = true,
                                           .size = upload->size,
                                           .has_media_type = media_type != NULL,
                                           .media_type = kap_bytes_str(media_type ? media_type : "")};
    kap_status status = kap_client_send(upload->client, KAP_OP_BLOB_BEGIN, NULL, &begin, &upload->arena, &begun, error);
    if (status != KAP_OK)
        return status;
    *was_there_out = begun.has_already_complete && begun.already_complete;
    if (*was_there_out)
        return KAP_OK;
    upload->id = begun.upload;
    status = upload_bytes(upload, begun.has_have_up_to ? begun.have_up_to : 0, error);
    if (status != KAP_OK)
        return status;
    struct kap_blob_commit_reply committed;
    struct kap_blob_commit_request commit = {.has_upload = true, .upload = upload->id};
    kap_arena_reset(&upload->arena);
    return kap_client_send(upload->client, KAP_OP_BLOB_COMMIT, NULL, &commit, &upload->arena, &committed, error);
}

kap_status kap_blob_upload(struct kap_client *client, const uint8_t hash[32], uint64_t size, const char *media_type,
                           kap_blob_source source, void *context, bool *was_there_out, struct kap_error *error)
{
    struct upload upload = {.client = client, .source = source, .context = context, .size = size};
    upload.piece = kap_memory_alloc(&client->memory, WRITE_BYTES);
    if (!upload.piece)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for an upload");
    kap_arena_init(&upload.arena, &client->memory, 4096, 0);
    kap_status status = upload_run(&upload, hash, media_type, was_there_out, error);
    kap_arena_deinit(&upload.arena);
    kap_memory_free(&client->memory, upload.piece);
    return status;
}

static ptrdiff_t file_source(void *context, void *data, size_t len)
{
    return read(*(int *)context, data, len);
}

static kap_status file_hash(int fd, uint8_t hash_out[32])
{
    uint8_t piece[16 * 1024];
    ssize_t got = -1;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool good = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
    while (good && (got = read(fd, piece, sizeof piece)) > 0)
        good = EVP_DigestUpdate(digest, piece, (size_t)got);
    good = good && got == 0 && EVP_DigestFinal_ex(digest, hash_out, NULL);
    EVP_MD_CTX_free(digest);
    return good && lseek(fd, 0, SEEK_SET) == 0 ? KAP_OK : KAP_IO;
}

kap_status kap_blob_upload_file(struct kap_client *client, const char *path, const char *media_type,
                                uint8_t hash_out[32], uint64_t *size_out, bool *was_there_out, struct kap_error *error)
{
    struct stat stat_buffer;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat_buffer) < 0 || !S_ISREG(stat_buffer.st_mode) || stat_buffer.st_size == 0 ||
        file_hash(fd, hash_out) != KAP_OK) {
        if (fd >= 0)
            close(fd);
        return kap_error_set(error, KAP_INVALID, "%s is not a file that can be read and holds something", path);
    }
    *size_out = (uint64_t)stat_buffer.st_size;
    kap_status status =
        kap_blob_upload(client, hash_out, *size_out, media_type, file_source, &fd, was_there_out, error);
    close(fd);
    return status;
}

/* ---- down */

struct download {
    struct kap_pipe *pipe;
    uint64_t id;
    kap_blob_sink sink;
    void *context;
    EVP_MD_CTX *digest; /* of a whole blob */
};

static kap_status download_run(struct download *download, struct kap_error *error)
{
    struct kap_client *client = download->pipe->client;
    struct kap_arena arena;
    struct kap_pipe_reply answer = {.more = true};
    kap_status status = KAP_OK;
    kap_arena_init(&arena, &client->memory, 4096, 0);
    while (status == KAP_OK && answer.more) {
        struct kap_blob_read_reply part;
        kap_arena_reset(&arena);
        status = kap_pipe_next(download->pipe, client->timeout_ms, &answer, error);
        if (status == KAP_OK && answer.status != KAP_OK) {
            status = answer.status;
            kap_client_explain(status, answer.body, error);
        }
        if (status == KAP_OK)
            status = kap_wire_decode(&kap_blob_read_reply_msg, answer.body, &arena, KAP_WIRE_STORED, &part, NULL);
        if (status == KAP_OK && part.data.len > 0) {
            if (download->digest)
                EVP_DigestUpdate(download->digest, part.data.data, part.data.len);
            status = download->sink(download->context, part.data);
            if (status == KAP_OK && answer.more)
                status = kap_pipe_credit(download->pipe, download->id, (uint32_t)part.data.len, error);
        }
    }
    kap_arena_deinit(&arena);
    return status;
}

kap_status kap_blob_download(struct kap_client *client, const uint8_t hash[32], uint64_t offset, uint64_t length,
                             kap_blob_sink sink, void *context, struct kap_error *error)
{
    struct download download = {.sink = sink, .context = context};
    uint8_t body[128], found[32];
    struct kap_blob_read_request request = {.has_hash = true,
                                            .hash = kap_bytes(hash, 32),
                                            .has_offset = true,
                                            .offset = offset,
                                            .has_length = length != UINT64_MAX,
                                            .length = length};
    size_t len = kap_wire_size(&kap_blob_read_request_msg, &request);
    KAP_ASSERT(len <= sizeof body);
    kap_wire_encode(&kap_blob_read_request_msg, &request, body);
    kap_status status = kap_pipe_open(client, &download.pipe, error);
    if (status != KAP_OK)
        return status;
    if (offset == 0 && length == UINT64_MAX && (download.digest = EVP_MD_CTX_new()) != NULL)
        EVP_DigestInit_ex(download.digest, EVP_sha256(), NULL);
    status = kap_pipe_submit(download.pipe, KAP_OP_BLOB_READ, NULL, kap_bytes(body, len), &download.id, error);
    if (status == KAP_OK)
        status = download_run(&download, error);
    kap_pipe_close(download.pipe);
    if (status == KAP_OK && download.digest && EVP_DigestFinal_ex(download.digest, found, NULL) &&
        memcmp(found, hash, sizeof found) != 0)
        status = kap_error_set(error, KAP_CORRUPT, "what came is not the blob of this hash");
    EVP_MD_CTX_free(download.digest);
    return status;
}
