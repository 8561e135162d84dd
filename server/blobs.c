/* blobs.c
 *
 * An upload:  filling -> finishing   the first blob.commit with all bytes there
 *             finishing -> whole     hashed and durable: commits write the row from here on, however often
 *                       -> failed    the disk's answer, given to whoever asks until it is begun again
 * It leaves the table when its place is needed and nobody has touched it for upload_idle_ns, and when begun anew. */
#include "server/blobs.h"

#include "engine/base/assert.h"
#include "engine/blob/blob_format.h"
#include "engine/blob/blob_store.h"
#include "engine/model/blob.h"

enum { UPLOADS_MAX = 64, PLACEMENT_BYTES_MAX = 65536, MEDIA_TYPE_BYTES = 100 };

/* The list of a blob's chunks must fit into its row. */
#define BLOB_BYTES_MAX ((uint64_t)(PLACEMENT_BYTES_MAX / KAP_CHUNK_REF_BYTES) * KAP_CHUNK_BYTES)

static const int64_t upload_idle_ns = INT64_C(600) * 1000000000;
static const int64_t gap_wait_ns = INT64_C(5) * 1000000000; /* for earlier writes of one pipeline to be taken */

enum upload_state {
    UPLOAD_NONE,
    UPLOAD_FILLING,
    UPLOAD_FINISHING,
    UPLOAD_WHOLE,
    UPLOAD_FAILED,
};

struct upload {
    struct kap_blobs *blobs;
    enum upload_state state;
    struct kap_id id;
    struct kap_principal owner;
    uint8_t hash[32], found[32];
    uint64_t size;
    char media_type[MEDIA_TYPE_BYTES + 1];
    struct kap_blob_upload *bytes; /* NULL once whole */
    struct kap_buffer refs;
    kap_status status;
    int64_t touched_ns, stalled_ns;
};

struct kap_blobs {
    struct kap_service *service;
    struct kap_store *store;
    struct kap_env *env;
    struct upload uploads[UPLOADS_MAX];
    uint32_t reads; /* under way */
};

static int64_t now_ns(const struct kap_blobs *blobs)
{
    return kap_env_mono_ns(blobs->env);
}

/* ---- the table */

static void upload_clear(struct upload *upload)
{
    kap_blob_upload_end(upload->bytes);
    kap_buffer_deinit(&upload->refs);
    *upload = (struct upload){0};
}

static bool is_owner(const struct upload *upload, const struct kap_run *run)
{
    return kap_id_eq(upload->owner.user, run->access.principal.user) &&
           upload->owner.roles == run->access.principal.roles;
}

static struct upload *upload_find(struct kap_blobs *blobs, const struct kap_run *run, struct kap_id id)
{
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (blobs->uploads[i].state != UPLOAD_NONE && kap_id_eq(blobs->uploads[i].id, id) &&
            is_owner(&blobs->uploads[i], run)) {
            blobs->uploads[i].touched_ns = now_ns(blobs);
            return &blobs->uploads[i];
        }
    return NULL;
}

static struct upload *upload_of_hash(struct kap_blobs *blobs, const struct kap_run *run,
                                     const struct kap_blob_begin_request *begin)
{
    for (size_t i = 0; i < UPLOADS_MAX; i++) {
        struct upload *upload = &blobs->uploads[i];
        if (upload->state != UPLOAD_NONE && is_owner(upload, run) && upload->size == begin->size &&
            memcmp(upload->hash, begin->hash.data, sizeof upload->hash) == 0)
            return upload;
    }
    return NULL;
}

/* A free place, or that of the one that was left alone longest. */
static struct upload *upload_place(struct kap_blobs *blobs)
{
    struct upload *oldest = NULL;
    for (size_t i = 0; i < UPLOADS_MAX; i++) {
        struct upload *upload = &blobs->uploads[i];
        if (upload->state == UPLOAD_NONE)
            return upload;
        bool is_over = upload->state == UPLOAD_WHOLE || upload->state == UPLOAD_FAILED;
        if (upload->state != UPLOAD_FINISHING && (!oldest || upload->touched_ns < oldest->touched_ns) &&
            (is_over || now_ns(blobs) - upload->touched_ns > upload_idle_ns))
            oldest = upload;
    }
    if (oldest)
        upload_clear(oldest);
    return oldest;
}

static uint64_t received(const struct upload *upload)
{
    return upload->state == UPLOAD_FILLING ? kap_blob_upload_received(upload->bytes) : upload->size;
}

/* ---- begin */

static kap_status is_readable(struct kap_run *run, struct kap_bytes hash, bool *may_out)
{
    *may_out = kap_access_is(&run->access, KAP_ROLE_ADMIN);
    return *may_out ? KAP_OK : kap_access_blob(&run->access, hash, may_out);
}

static kap_status upload_start(struct kap_blobs *blobs, struct kap_run *run, const struct kap_blob_begin_request *begin,
                               struct upload **upload_out)
{
    struct upload *upload = upload_place(blobs);
    if (!upload)
        return kap_model_refuse(&run->model, KAP_QUOTA, "%d uploads are under way; finish one or come back later",
                                UPLOADS_MAX);
    kap_status status = kap_blob_upload_begin(kap_store_blobs(blobs->store), begin->size, &upload->bytes);
    if (status != KAP_OK)
        return kap_model_refuse(&run->model, status, "%llu bytes cannot be uploaded: %s",
                                (unsigned long long)begin->size, kap_status_sentence(status));
    upload->blobs = blobs;
    upload->state = UPLOAD_FILLING;
    upload->id = kap_model_new_id(&run->model);
    upload->owner = run->access.principal;
    upload->size = begin->size;
    upload->touched_ns = now_ns(blobs);
    memcpy(upload->hash, begin->hash.data, sizeof upload->hash);
    if (begin->has_media_type)
        memcpy(upload->media_type, begin->media_type.data, KAP_MIN(begin->media_type.len, (size_t)MEDIA_TYPE_BYTES));
    kap_buffer_init(&upload->refs, &blobs->env->memory);
    *upload_out = upload;
    return KAP_OK;
}

static kap_status begin_run(struct kap_run *run, void *request, void *reply)
{
    struct kap_blobs *blobs = kap_service_handler_context(run);
    const struct kap_blob_begin_request *begin = request;
    struct kap_blob_begin_reply *begun = reply;
    struct kap_blob *blob = NULL;
    bool may = false;
    if (begin->size == 0 || begin->size > BLOB_BYTES_MAX)
        return kap_model_refuse(&run->model, KAP_TOO_LARGE, "a blob has 1 to %llu bytes, not %llu",
                                (unsigned long long)BLOB_BYTES_MAX, (unsigned long long)begin->size);
    kap_status status = kap_blob_find(&run->model, begin->hash, &blob);
    if (status == KAP_OK)
        status = is_readable(run, begin->hash, &may);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    if (blob && may && blob->size != begin->size)
        return kap_model_refuse(&run->model, KAP_INVALID, "the blob of this hash has %llu bytes, not %llu",
                                (unsigned long long)blob->size, (unsigned long long)begin->size);
    if (blob && may) {
        begun->has_already_complete = begun->already_complete = true;
        begun->has_have_up_to = true;
        begun->have_up_to = blob->size;
        return KAP_OK;
    }
    struct upload *upload = upload_of_hash(blobs, run, begin);
    if (upload && upload->state == UPLOAD_FAILED) {
        upload_clear(upload);
        upload = NULL;
    }
    status = upload ? KAP_OK : upload_start(blobs, run, begin, &upload);
    if (status != KAP_OK)
        return status;
    begun->has_upload = begun->has_have_up_to = true;
    begun->upload = upload->id;
    begun->have_up_to = received(upload);
    return KAP_OK;
}

/* ---- write */

/* Bytes that are there already are passed over; a gap waits a little for the writes before it. */
static kap_status bytes_take(struct kap_run *run, struct upload *upload, const struct kap_blob_write_request *write)
{
    uint64_t have = received(upload), end = write->offset + write->data.len;
    int64_t now = now_ns(upload->blobs);
    if (end < write->offset || end > upload->size)
        return kap_model_refuse(&run->model, KAP_INVALID, "byte %llu is behind the end of an upload of %llu",
                                (unsigned long long)end, (unsigned long long)upload->size);
    if (end <= have)
        return KAP_OK;
    if (write->offset > have && now - upload->stalled_ns < gap_wait_ns)
        return KAP_OVERLOADED;
    if (write->offset > have)
        return kap_model_refuse(&run->model, KAP_INVALID, "bytes come in order; go on from %llu",
                                (unsigned long long)have);
    size_t skip = (size_t)(have - write->offset);
    kap_status status =
        kap_blob_upload_write(upload->bytes, kap_bytes(write->data.data + skip, write->data.len - skip));
    if (status == KAP_OVERLOADED) {
        upload->stalled_ns = now;
    } else if (status != KAP_OK) {
        upload->state = UPLOAD_FAILED;
        upload->status = status;
        kap_blob_upload_end(upload->bytes);
        upload->bytes = NULL;
    }
    return status;
}

static kap_status no_upload(struct kap_run *run)
{
    return kap_model_refuse(&run->model, KAP_NOT_FOUND, "there is no such upload of yours under way; begin it again");
}

static kap_status write_run(struct kap_run *run, void *request, void *reply)
{
    const struct kap_blob_write_request *write = request;
    struct kap_blob_write_reply *written = reply;
    struct upload *upload = upload_find(kap_service_handler_context(run), run, write->upload);
    if (!upload)
        return no_upload(run);
    kap_status status = upload->state == UPLOAD_FAILED ? upload->status : KAP_OK;
    if (upload->state == UPLOAD_FILLING)
        status = bytes_take(run, upload, write);
    written->has_have_up_to = true;
    written->have_up_to = status == KAP_OK ? received(upload) : 0;
    return status;
}

/* ---- commit */

static void finished(void *context, kap_status status, const uint8_t sha256[32], struct kap_bytes chunk_refs)
{
    struct upload *upload = context;
    upload->state = status == KAP_OK ? UPLOAD_WHOLE : UPLOAD_FAILED;
    upload->status = status;
    if (status != KAP_OK)
        return;
    memcpy(upload->found, sha256, sizeof upload->found);
    kap_buffer_append(&upload->refs, chunk_refs.data, chunk_refs.len);
    if (!upload->refs.failed)
        return;
    upload->state = UPLOAD_FAILED;
    upload->status = KAP_NO_MEMORY;
}

static kap_status finish_start(struct kap_run *run, struct upload *upload)
{
    if (received(upload) < upload->size)
        return kap_model_refuse(&run->model, KAP_INVALID, "%llu of %llu bytes have come; send the rest first",
                                (unsigned long long)received(upload), (unsigned long long)upload->size);
    upload->state = UPLOAD_FINISHING;
    kap_status status = kap_blob_upload_finish(upload->bytes, finished, upload);
    if (status == KAP_OK || status == KAP_OVERLOADED) {
        if (status == KAP_OVERLOADED)
            upload->state = UPLOAD_FILLING; /* its last chunk is still being written */
        return KAP_OVERLOADED; /* come back when it is durable */
    }
    upload->state = UPLOAD_FAILED;
    upload->status = status;
    return status;
}

static kap_status row_write(struct kap_run *run, const struct upload *upload)
{
    struct kap_blob *stored;
    struct kap_bytes hash = kap_bytes(upload->hash, sizeof upload->hash);
    struct kap_blob blob = {.has_hash = true,
                            .hash = hash,
                            .has_size = true,
                            .size = upload->size,
                            .has_media_type = upload->media_type[0] != '\0',
                            .media_type = kap_bytes_str(upload->media_type),
                            .has_status = true,
                            .status = KAP_BLOB_STATUS_COMPLETE,
                            .has_chunks = true,
                            .chunks = (uint32_t)(upload->refs.len / KAP_CHUNK_REF_BYTES),
                            .has_placement = true,
                            .placement = kap_buffer_bytes(&upload->refs)};
    kap_status status = kap_blob_find(&run->model, hash, &stored);
    if (status == KAP_NOT_FOUND)
        status = kap_blob_put(&run->model, &blob);
    if (status == KAP_OK && !kap_id_is_nil(run->access.principal.user))
        status = kap_blob_grant(&run->model, hash, run->access.principal.user);
    return status;
}

static kap_status commit_run(struct kap_run *run, void *request, void *reply)
{
    const struct kap_blob_commit_request *commit = request;
    struct kap_blob_commit_reply *committed = reply;
    struct upload *upload = upload_find(kap_service_handler_context(run), run, commit->upload);
    if (!upload)
        return no_upload(run);
    if (upload->state == UPLOAD_FILLING)
        return finish_start(run, upload);
    if (upload->state == UPLOAD_FINISHING)
        return KAP_OVERLOADED;
    kap_blob_upload_end(upload->bytes);
    upload->bytes = NULL;
    if (upload->state == UPLOAD_FAILED)
        return upload->status;
    if (memcmp(upload->found, upload->hash, sizeof upload->hash) != 0) {
        upload->state = UPLOAD_FAILED;
        upload->status = KAP_INVALID;
        return kap_model_refuse(&run->model, KAP_INVALID,
                                "the bytes that came have another SHA-256 than blob.begin said; begin again");
    }
    kap_status status = row_write(run, upload);
    if (status != KAP_OK)
        return status;
    *committed = (struct kap_blob_commit_reply){
        .has_hash = true, .hash = kap_bytes(upload->hash, sizeof upload->hash), .has_size = true, .size = upload->size};
    return KAP_OK;
}

/* ---- stat and read */

static kap_status blob_get(struct kap_run *run, struct kap_bytes hash, struct kap_blob **blob_out)
{
    bool may = false;
    kap_status status = kap_blob_find(&run->model, hash, blob_out);
    if (status == KAP_OK)
        status = is_readable(run, hash, &may);
    if (status == KAP_OK && !may)
        status = KAP_NOT_FOUND;
    if (status == KAP_NOT_FOUND)
        return kap_model_refuse(&run->model, status, "there is no blob of this hash");
    return status;
}

static kap_status stat_run(struct kap_run *run, void *request, void *reply)
{
    const struct kap_blob_stat_request *ask = request;
    struct kap_blob_stat_reply *answer = reply;
    struct kap_blob *blob;
    kap_status status = blob_get(run, ask->hash, &blob);
    if (status == KAP_OK)
        status = kap_blob_referrer_count(&run->model, ask->hash, &answer->referrers);
    if (status != KAP_OK)
        return status;
    answer->has_referrers = answer->has_size = true;
    answer->size = blob->size;
    answer->has_media_type = blob->has_media_type;
    answer->media_type = blob->media_type;
    answer->has_status = blob->has_status;
    answer->status = blob->status;
    return KAP_OK;
}

/* One read on its way; the call may be gone when it comes back. */
struct piece {
    struct kap_blobs *blobs;
    struct kap_deferral *deferral; /* NULL: nobody waits */
    uint64_t size, offset;
    char media_type[MEDIA_TYPE_BYTES];
    size_t media_type_len, len;
    uint8_t data[];
};

static void piece_read(void *context, kap_status status)
{
    struct piece *piece = context;
    struct kap_blob_read_reply reply = {.has_size = true,
                                        .size = piece->size,
                                        .has_media_type = piece->media_type_len > 0,
                                        .media_type = kap_bytes(piece->media_type, piece->media_type_len),
                                        .has_offset = true,
                                        .offset = piece->offset,
                                        .has_data = true,
                                        .data = kap_bytes(piece->data, piece->len)};
    piece->blobs->reads--;
    if (piece->deferral)
        kap_service_finish(piece->deferral, status, &reply, NULL);
    kap_memory_free(&piece->blobs->env->memory, piece);
}

static kap_status piece_start(struct kap_blobs *blobs, struct kap_run *run, const struct kap_blob *blob,
                              uint64_t offset, size_t len)
{
    struct kap_deferral *deferral = kap_service_defer_in_turn(run);
    if (!deferral)
        return KAP_PENDING;
    struct piece *piece = kap_memory_alloc_aligned(&blobs->env->memory, 64, sizeof *piece + len);
    if (!piece) {
        kap_service_undefer(run, deferral);
        return KAP_NO_MEMORY;
    }
    *piece = (struct piece){.blobs = blobs, .deferral = deferral, .size = blob->size, .offset = offset};
    piece->media_type_len = blob->has_media_type ? KAP_MIN(blob->media_type.len, sizeof piece->media_type) : 0;
    if (piece->media_type_len > 0)
        memcpy(piece->media_type, blob->media_type.data, piece->media_type_len);
    kap_status status = kap_blob_read(kap_store_blobs(blobs->store), blob->placement, blob->size, offset, len,
                                      piece->data, &piece->len, piece_read, piece);
    if (status != KAP_OK) {
        kap_service_undefer(run, deferral);
        kap_memory_free(&blobs->env->memory, piece);
        return status;
    }
    blobs->reads++;
    return KAP_PENDING;
}

static kap_status read_run(struct kap_run *run, void *request, void *reply)
{
    struct kap_blobs *blobs = kap_service_handler_context(run);
    const struct kap_blob_read_request *ask = request;
    struct kap_blob_read_reply *answer = reply;
    struct kap_blob *blob;
    kap_status status = blob_get(run, ask->hash, &blob);
    if (status != KAP_OK)
        return status;
    uint64_t offset = ask->has_offset ? ask->offset : 0;
    if (offset > blob->size)
        return kap_model_refuse(&run->model, KAP_INVALID, "the blob has %llu bytes; there is no byte %llu",
                                (unsigned long long)blob->size, (unsigned long long)offset);
    uint64_t rest = blob->size - offset, length = ask->has_length ? KAP_MIN(ask->length, rest) : rest;
    if (length > 0)
        return piece_start(blobs, run, blob, offset, (size_t)KAP_MIN(length, (uint64_t)KAP_BLOBS_READ_BYTES));
    *answer = (struct kap_blob_read_reply){
        .has_size = true, .size = blob->size, .has_offset = true, .offset = offset, .has_data = true};
    answer->data = kap_bytes("", 0);
    return KAP_OK;
}

/* ---- life */

kap_status kap_blobs_create(struct kap_service *service, struct kap_blobs **blobs_out)
{
    struct kap_store *store = kap_service_store(service);
    struct kap_blobs *blobs = kap_memory_alloc(&kap_store_env(store)->memory, sizeof *blobs);
    if (!blobs)
        return KAP_NO_MEMORY;
    blobs->service = service;
    blobs->store = store;
    blobs->env = kap_store_env(store);
    kap_service_set_handler(service, KAP_OP_BLOB_BEGIN, begin_run, blobs);
    kap_service_set_handler(service, KAP_OP_BLOB_WRITE, write_run, blobs);
    kap_service_set_handler(service, KAP_OP_BLOB_COMMIT, commit_run, blobs);
    kap_service_set_handler(service, KAP_OP_BLOB_STAT, stat_run, blobs);
    kap_service_set_handler(service, KAP_OP_BLOB_READ, read_run, blobs);
    *blobs_out = blobs;
    return KAP_OK;
}

void kap_blobs_destroy(struct kap_blobs *blobs)
{
    struct kap_blob_store *store;
    if (!blobs)
        return;
    store = kap_store_blobs(blobs->store);
    while (kap_blob_store_busy(store) || blobs->reads > 0)
        (void)kap_queue_poll(kap_store_queue(blobs->store), INT64_C(10000000));
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (blobs->uploads[i].state != UPLOAD_NONE)
            upload_clear(&blobs->uploads[i]);
    kap_memory_free(&blobs->env->memory, blobs);
}
