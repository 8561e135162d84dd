/* A chunk: filled in memory -> written at the pack's end -> (finish) pack synced -> its reference counts.
 * A pack:  created with the first chunk of a run or when the last is full -> appended to -> full; read at any time. */
#include "engine/blob/blob_store.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/base/log.h"
#include "engine/blob/blob_format.h"
#include "engine/env/file_name.h"

enum { PACKS_OPEN_MAX = 64 };
#define BLOB_BYTES_MAX (UINT64_C(4) << 30)

struct pack {
    uint64_t number;
    struct kap_file *file;
    uint64_t last_use;
    uint32_t users; /* I/O under way */
    bool dirty;     /* written since its last sync: keeps its handle */
};

struct kap_blob_store {
    struct kap_env *env;
    struct kap_queue *queue;
    char directory[KAP_PATH_BYTES_MAX / 2];
    uint64_t store_hash;
    struct pack packs[PACKS_OPEN_MAX];
    uint64_t last_number; /* of any pack on disk */
    uint64_t current;     /* number of the pack that is appended to; 0: none yet */
    uint64_t current_end;
    uint64_t clock;
    uint32_t busy;
};

enum upload_state { UPLOAD_FILLING, UPLOAD_WRITING, UPLOAD_SYNCING, UPLOAD_DONE };

struct kap_blob_upload {
    struct kap_blob_store *store;
    enum upload_state state;
    uint64_t size, received;
    uint8_t *chunk; /* header and data */
    size_t chunk_len;
    uint64_t first_pack, last_pack;
    struct kap_buffer refs;
    EVP_MD_CTX *sha;
    struct kap_io_chain chain;
    struct kap_io io;
    struct pack *pack;
    char path[KAP_PATH_BYTES_MAX];
    uint64_t pack_number, pack_offset;
    kap_status status;
    bool finishing, ended;
    uint64_t sync_at;
    uint8_t sha256[32];
    void (*done)(void *context, kap_status status, const uint8_t sha256[32], struct kap_bytes chunk_refs);
    void *context;
};

static kap_status pack_found(void *context, const char *name)
{
    struct kap_blob_store *store = context;
    struct kap_file_name parsed;
    if (kap_file_name_parse(name, &parsed) && parsed.kind == KAP_FILE_PACK && parsed.number > store->last_number)
        store->last_number = parsed.number;
    return KAP_OK;
}

kap_status kap_blob_store_open(struct kap_env *env, struct kap_queue *queue, const char *directory, uint64_t store_hash,
                               struct kap_blob_store **store_out, struct kap_error *error)
{
    struct kap_blob_store *store = kap_memory_alloc(&env->memory, sizeof *store);
    if (!store)
        return KAP_NO_MEMORY;
    store->env = env;
    store->queue = queue;
    store->store_hash = store_hash;
    snprintf(store->directory, sizeof store->directory, "%s/blobs", directory);
    kap_status status = kap_env_list(env, store->directory, pack_found, store);
    if (status != KAP_OK) {
        kap_error_set(error, status, "cannot list %s: %s", store->directory, kap_status_sentence(status));
        kap_memory_free(&env->memory, store);
        return status;
    }
    *store_out = store;
    return KAP_OK;
}

static void pack_close(struct kap_blob_store *store, struct pack *pack)
{
    struct kap_io io = {.op = KAP_IO_CLOSE, .file = pack->file};
    if (pack->file && kap_io_wait(store->queue, &io) != KAP_OK)
        kap_log(KAP_LOG_DEBUG, "blob", "msg=\"closing a pack failed\" pack=%llu", (unsigned long long)pack->number);
    *pack = (struct pack){0};
}

void kap_blob_store_close(struct kap_blob_store *store)
{
    if (!store)
        return;
    KAP_ASSERT(store->busy == 0);
    for (int i = 0; i < PACKS_OPEN_MAX; i++)
        pack_close(store, &store->packs[i]);
    kap_memory_free(&store->env->memory, store);
}

bool kap_blob_store_busy(const struct kap_blob_store *store)
{
    return store->busy > 0;
}

uint64_t kap_blob_store_packs(const struct kap_blob_store *store)
{
    return store->last_number;
}

static void pack_path(const struct kap_blob_store *store, uint64_t number, char path[KAP_PATH_BYTES_MAX])
{
    char name[KAP_FILE_NAME_BYTES];
    kap_file_name_print(KAP_FILE_PACK, number, name);
    snprintf(path, KAP_PATH_BYTES_MAX, "%s/%s", store->directory, name);
}

static struct pack *pack_find(struct kap_blob_store *store, uint64_t number)
{
    for (int i = 0; i < PACKS_OPEN_MAX; i++)
        if (store->packs[i].file && store->packs[i].number == number) {
            store->packs[i].last_use = ++store->clock;
            return &store->packs[i];
        }
    return NULL;
}

/* A place for one more open pack: a free one, or the least recently used that nobody is using. Its handle is given back to
 * be closed by whoever opens the next. NULL: all are in use. */
static struct pack *pack_place(struct kap_blob_store *store, struct kap_file **evicted_out)
{
    struct pack *oldest = NULL;
    *evicted_out = NULL;
    for (int i = 0; i < PACKS_OPEN_MAX; i++) {
        struct pack *pack = &store->packs[i];
        if (!pack->file && pack->users == 0)
            return pack;
        if (pack->users == 0 && !pack->dirty && pack->number != store->current && (!oldest || pack->last_use < oldest->last_use))
            oldest = pack;
    }
    if (oldest) {
        *evicted_out = oldest->file;
        *oldest = (struct pack){0};
    }
    return oldest;
}

kap_status kap_blob_upload_begin(struct kap_blob_store *store, uint64_t size, struct kap_blob_upload **upload_out)
{
    struct kap_memory *memory = &store->env->memory;
    if (size == 0)
        return KAP_INVALID;
    if (size > BLOB_BYTES_MAX)
        return KAP_TOO_LARGE;
    struct kap_blob_upload *upload = kap_memory_alloc(memory, sizeof *upload);
    if (!upload)
        return KAP_NO_MEMORY;
    upload->store = store;
    upload->size = size;
    kap_buffer_init(&upload->refs, memory);
    size_t room = size < KAP_CHUNK_BYTES ? (size_t)size : KAP_CHUNK_BYTES;
    upload->chunk = kap_memory_alloc(memory, sizeof(struct blob_chunk) + room);
    upload->sha = EVP_MD_CTX_new();
    if (!upload->chunk || !upload->sha || EVP_DigestInit_ex(upload->sha, EVP_sha256(), NULL) != 1) {
        kap_blob_upload_end(upload);
        return KAP_NO_MEMORY;
    }
    *upload_out = upload;
    return KAP_OK;
}

static void upload_free(struct kap_blob_upload *upload)
{
    struct kap_memory *memory = &upload->store->env->memory;
    EVP_MD_CTX_free(upload->sha);
    kap_memory_free(memory, upload->chunk);
    kap_buffer_deinit(&upload->refs);
    kap_memory_free(memory, upload);
}

void kap_blob_upload_end(struct kap_blob_upload *upload)
{
    if (!upload)
        return;
    upload->ended = true;
    if (upload->state == UPLOAD_FILLING || upload->state == UPLOAD_DONE)
        upload_free(upload);
}

static void upload_next(struct kap_blob_upload *upload);

static void upload_over(struct kap_blob_upload *upload)
{
    upload->state = UPLOAD_DONE;
    if (upload->ended)
        upload_free(upload);
    else if (upload->done)
        upload->done(upload->context, upload->status, upload->sha256, kap_buffer_bytes(&upload->refs));
}

/* The end of one piece of I/O: on to the next, or back to the caller. */
static void upload_step_done(struct kap_blob_upload *upload, kap_status status)
{
    upload->store->busy--;
    if (upload->pack)
        upload->pack->users--;
    if (status != KAP_OK && upload->status == KAP_OK)
        upload->status = status;
    upload_next(upload);
}

static void chunk_written(struct kap_io *io)
{
    struct kap_blob_upload *upload = io->context;
    upload->chunk_len = 0;
    upload->pack->dirty = true; /* again: a sync may have started while it was under way */
    upload_step_done(upload, io->status);
}

static void chunk_write(struct kap_blob_upload *upload)
{
    upload->io = (struct kap_io){.op = KAP_IO_WRITE,
                                 .file = upload->pack->file,
                                 .data = upload->chunk,
                                 .len = sizeof(struct blob_chunk) + upload->chunk_len,
                                 .offset = upload->pack_offset,
                                 .done = chunk_written,
                                 .context = upload};
    upload->store->busy++;
    upload->pack->users++;
    upload->pack->dirty = true;
    kap_queue_submit(upload->store->queue, &upload->io);
}

static void pack_opened(struct kap_io_chain *chain)
{
    struct kap_blob_upload *upload = chain->context;
    struct pack *pack = upload->pack;
    upload->store->busy--;
    pack->users--;
    pack->file = chain->file;
    if (chain->status != KAP_OK) {
        if (chain->file) /* opened, but its name did not become durable: kept as a pack nobody appends to */
            pack->number = upload->pack_number;
        upload->pack = NULL;
        upload->store->current = 0;
        upload->status = chain->status;
        upload_next(upload);
        return;
    }
    chunk_write(upload);
}

/* A new pack and its name, made durable before the first chunk goes in. */
static void pack_create(struct kap_blob_upload *upload)
{
    struct kap_blob_store *store = upload->store;
    struct kap_file *evicted;
    upload->pack = pack_place(store, &evicted);
    if (!upload->pack) {
        upload->status = KAP_OVERLOADED;
        upload_next(upload);
        return;
    }
    *upload->pack = (struct pack){.number = upload->pack_number, .users = 1};
    pack_path(store, upload->pack_number, upload->path);
    kap_io_chain_init(&upload->chain);
    if (evicted)
        kap_io_chain_add(&upload->chain, KAP_IO_CLOSE)->file = evicted;
    struct kap_io *open = kap_io_chain_add(&upload->chain, KAP_IO_OPEN);
    open->name = upload->path;
    open->flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE | KAP_OPEN_EXCLUSIVE;
    struct kap_io *dir = kap_io_chain_add(&upload->chain, KAP_IO_SYNC_DIR);
    dir->name = store->directory;
    dir->sync_point = "pack_dir";
    upload->chain.done = pack_opened;
    upload->chain.context = upload;
    store->busy++;
    kap_io_chain_start(&upload->chain, store->queue);
}

static void header_fill(struct kap_blob_upload *upload)
{
    struct blob_chunk *header = (struct blob_chunk *)upload->chunk;
    const uint8_t *data = upload->chunk + sizeof *header;
    *header = (struct blob_chunk){.magic = kap_le64_of(KAP_CHUNK_MAGIC),
                                  .store_hash = kap_le64_of(upload->store->store_hash),
                                  .pack = kap_le64_of(upload->pack_number),
                                  .offset = kap_le64_of(upload->pack_offset),
                                  .bytes = kap_le32_of((uint32_t)upload->chunk_len)};
    for (size_t at = 0, piece = 0; at < upload->chunk_len; at += KAP_PIECE_BYTES, piece++)
        header->pieces[piece] = kap_le64_of(
            kap_checksum(data + at, KAP_MIN((size_t)KAP_PIECE_BYTES, upload->chunk_len - at), KAP_SEED_PACK));
    uint64_t checksum = kap_checksum(upload->chunk + 8, sizeof *header - 8, KAP_SEED_PACK);
    header->checksum = kap_le64_of(checksum);
    uint8_t ref[KAP_CHUNK_REF_BYTES];
    kap_le64_store(ref, upload->pack_number);
    kap_le64_store(ref + 8, upload->pack_offset);
    kap_le32_store(ref + 16, (uint32_t)upload->chunk_len);
    kap_le32_store(ref + 20, (uint32_t)checksum);
    kap_buffer_append(&upload->refs, ref, sizeof ref);
}

/* Reserves the chunk's place at the end of the current pack; several uploads append side by side. */
static void chunk_start(struct kap_blob_upload *upload)
{
    struct kap_blob_store *store = upload->store;
    uint64_t bytes = sizeof(struct blob_chunk) + upload->chunk_len;
    struct pack *current = store->current ? pack_find(store, store->current) : NULL;
    bool fresh = !current || store->current_end + bytes > KAP_PACK_BYTES_MAX;
    upload->state = UPLOAD_WRITING;
    if (fresh) {
        store->current = ++store->last_number;
        store->current_end = 0;
    }
    upload->pack_number = store->current;
    upload->pack_offset = store->current_end;
    store->current_end += bytes;
    if (!upload->first_pack)
        upload->first_pack = upload->pack_number;
    upload->last_pack = upload->pack_number;
    header_fill(upload);
    if (upload->refs.failed) {
        upload->status = KAP_NO_MEMORY;
        upload_next(upload);
    } else if (fresh) {
        pack_create(upload);
    } else {
        upload->pack = current;
        chunk_write(upload);
    }
}

static void pack_synced(struct kap_io *io)
{
    struct kap_blob_upload *upload = io->context;
    upload->sync_at++;
    upload_step_done(upload, io->status);
}

/* Every pack from the first to the last chunk's: those of other uploads in between do no harm. */
static void sync_start(struct kap_blob_upload *upload)
{
    upload->state = UPLOAD_SYNCING;
    upload->pack = NULL;
    upload->sync_at = KAP_MAX(upload->sync_at, upload->first_pack);
    while (upload->sync_at <= upload->last_pack && !(upload->pack = pack_find(upload->store, upload->sync_at)))
        upload->sync_at++;
    if (!upload->pack) {
        upload_over(upload);
        return;
    }
    upload->io = (struct kap_io){.op = KAP_IO_SYNC,
                                 .file = upload->pack->file,
                                 .sync_point = "pack_data",
                                 .done = pack_synced,
                                 .context = upload};
    upload->store->busy++;
    upload->pack->users++;
    upload->pack->dirty = false; /* a write that ends meanwhile sets it again when its upload began it */
    kap_queue_submit(upload->store->queue, &upload->io);
}

static void upload_next(struct kap_blob_upload *upload)
{
    if (upload->status != KAP_OK || (upload->ended && upload->state != UPLOAD_DONE)) {
        if (upload->finishing || upload->ended)
            upload_over(upload);
        else
            upload->state = UPLOAD_FILLING; /* the next write reports it */
        return;
    }
    if (!upload->finishing)
        upload->state = UPLOAD_FILLING;
    else if (upload->chunk_len > 0)
        chunk_start(upload);
    else
        sync_start(upload);
}

kap_status kap_blob_upload_write(struct kap_blob_upload *upload, struct kap_bytes bytes)
{
    if (upload->status != KAP_OK)
        return upload->status;
    if (upload->state != UPLOAD_FILLING || bytes.len > KAP_CHUNK_BYTES)
        return KAP_OVERLOADED;
    if (upload->finishing || bytes.len > upload->size - upload->received)
        return KAP_TOO_LARGE;
    uint64_t chunk_room = KAP_MIN((uint64_t)KAP_CHUNK_BYTES, upload->size) - upload->chunk_len;
    if (bytes.len > chunk_room) { /* the chunk that is full goes first; what follows waits for it */
        chunk_start(upload);
        return KAP_OVERLOADED;
    }
    if (EVP_DigestUpdate(upload->sha, bytes.data, bytes.len) != 1)
        return KAP_INTERNAL;
    memcpy(upload->chunk + sizeof(struct blob_chunk) + upload->chunk_len, bytes.data, bytes.len);
    upload->chunk_len += bytes.len;
    upload->received += bytes.len;
    if (upload->chunk_len == KAP_CHUNK_BYTES)
        chunk_start(upload);
    return KAP_OK;
}

uint64_t kap_blob_upload_received(const struct kap_blob_upload *upload)
{
    return upload->received;
}

kap_status kap_blob_upload_finish(struct kap_blob_upload *upload,
                                  void (*done)(void *context, kap_status status, const uint8_t sha256[32],
                                               struct kap_bytes chunk_refs),
                                  void *context)
{
    if (upload->received != upload->size || upload->finishing)
        return KAP_INVALID;
    if (upload->status != KAP_OK)
        return upload->status;
    if (EVP_DigestFinal_ex(upload->sha, upload->sha256, NULL) != 1)
        return KAP_INTERNAL;
    upload->finishing = true;
    upload->done = done;
    upload->context = context;
    upload->sync_at = upload->first_pack ? upload->first_pack : upload->store->last_number;
    if (upload->state == UPLOAD_FILLING)
        upload_next(upload);
    return KAP_OK;
}

/* Reading: header first (it holds the piece checksums), then the pieces that cover the range. */

struct blob_read {
    struct kap_blob_store *store;
    struct pack *pack;
    struct kap_io_chain chain;
    struct kap_io io;
    char path[KAP_PATH_BYTES_MAX];
    uint64_t pack_number, chunk_offset;
    uint32_t chunk_bytes, checksum_low;
    size_t from, len; /* within the chunk's data */
    uint8_t *pieces;  /* whole pieces around the range */
    size_t pieces_from, pieces_len;
    struct blob_chunk header;
    uint8_t *data;
    void (*done)(void *context, kap_status status);
    void *context;
};

static void read_over(struct blob_read *read, kap_status status)
{
    struct kap_memory *memory = &read->store->env->memory;
    if (read->pack)
        read->pack->users--;
    read->store->busy--;
    if (status == KAP_CORRUPT)
        kap_log(KAP_LOG_ERROR, "blob", "msg=\"a chunk does not match its checksum\" pack=%llu offset=%llu",
                (unsigned long long)read->pack_number, (unsigned long long)read->chunk_offset);
    void (*done)(void *, kap_status) = read->done;
    void *context = read->context;
    kap_memory_free(memory, read->pieces);
    kap_memory_free(memory, read);
    done(context, status);
}

static void pieces_read(struct kap_io *io)
{
    struct blob_read *read = io->context;
    kap_status status = io->status;
    if (status == KAP_OK && io->transferred < read->pieces_len)
        status = KAP_CORRUPT;
    for (size_t at = 0; at < read->pieces_len && status == KAP_OK; at += KAP_PIECE_BYTES) {
        size_t piece = (read->pieces_from + at) / KAP_PIECE_BYTES;
        size_t len = KAP_MIN((size_t)KAP_PIECE_BYTES, read->pieces_len - at);
        if (kap_checksum(read->pieces + at, len, KAP_SEED_PACK) != kap_le64_get(read->header.pieces[piece]))
            status = KAP_CORRUPT;
    }
    if (status == KAP_OK)
        memcpy(read->data, read->pieces + (read->from - read->pieces_from), read->len);
    read_over(read, status);
}

static bool header_good(const struct blob_read *read)
{
    const struct blob_chunk *header = &read->header;
    uint64_t checksum = kap_checksum((const uint8_t *)header + 8, sizeof *header - 8, KAP_SEED_PACK);
    return checksum == kap_le64_get(header->checksum) && (uint32_t)checksum == read->checksum_low &&
           kap_le64_get(header->magic) == KAP_CHUNK_MAGIC && kap_le64_get(header->pack) == read->pack_number &&
           kap_le64_get(header->offset) == read->chunk_offset && kap_le32_get(header->bytes) == read->chunk_bytes;
}

static void header_read(struct kap_io *io)
{
    struct blob_read *read = io->context;
    if (io->status != KAP_OK || io->transferred < sizeof read->header || !header_good(read)) {
        read_over(read, io->status != KAP_OK ? io->status : KAP_CORRUPT);
        return;
    }
    read->io = (struct kap_io){.op = KAP_IO_READ,
                               .file = read->pack->file,
                               .data = read->pieces,
                               .len = read->pieces_len,
                               .offset = read->chunk_offset + sizeof read->header + read->pieces_from,
                               .done = pieces_read,
                               .context = read};
    kap_queue_submit(read->store->queue, &read->io);
}

static void header_start(struct blob_read *read)
{
    read->io = (struct kap_io){.op = KAP_IO_READ,
                               .file = read->pack->file,
                               .data = &read->header,
                               .len = sizeof read->header,
                               .offset = read->chunk_offset,
                               .done = header_read,
                               .context = read};
    kap_queue_submit(read->store->queue, &read->io);
}

static void read_pack_opened(struct kap_io_chain *chain)
{
    struct blob_read *read = chain->context;
    read->pack->file = chain->file;
    if (!chain->file) {
        read_over(read, chain->status == KAP_NO_FILE ? KAP_CORRUPT : chain->status);
        return;
    }
    header_start(read);
}

static void read_start(struct blob_read *read)
{
    struct kap_blob_store *store = read->store;
    struct kap_file *evicted = NULL;
    store->busy++;
    read->pack = pack_find(store, read->pack_number);
    if (read->pack) {
        read->pack->users++;
        header_start(read);
        return;
    }
    read->pack = pack_place(store, &evicted);
    if (!read->pack) {
        read_over(read, KAP_OVERLOADED);
        return;
    }
    *read->pack = (struct pack){.number = read->pack_number, .users = 1, .last_use = ++store->clock};
    pack_path(store, read->pack_number, read->path);
    kap_io_chain_init(&read->chain);
    if (evicted)
        kap_io_chain_add(&read->chain, KAP_IO_CLOSE)->file = evicted;
    struct kap_io *open = kap_io_chain_add(&read->chain, KAP_IO_OPEN);
    open->name = read->path;
    open->flags = KAP_OPEN_READ;
    read->chain.done = read_pack_opened;
    read->chain.context = read;
    kap_io_chain_start(&read->chain, store->queue);
}

kap_status kap_blob_read(struct kap_blob_store *store, struct kap_bytes chunk_refs, uint64_t size, uint64_t offset,
                         size_t len, uint8_t *data, size_t *len_out, void (*done)(void *context, kap_status status),
                         void *context)
{
    uint64_t slot = offset / KAP_CHUNK_BYTES;
    if (offset >= size || len == 0)
        return KAP_INVALID;
    if (chunk_refs.len != (size + KAP_CHUNK_BYTES - 1) / KAP_CHUNK_BYTES * KAP_CHUNK_REF_BYTES)
        return KAP_CORRUPT;
    struct blob_read *read = kap_memory_alloc(&store->env->memory, sizeof *read);
    if (!read)
        return KAP_NO_MEMORY;
    const uint8_t *ref = chunk_refs.data + slot * KAP_CHUNK_REF_BYTES;
    *read = (struct blob_read){.store = store,
                               .pack_number = kap_le64_load(ref),
                               .chunk_offset = kap_le64_load(ref + 8),
                               .chunk_bytes = kap_le32_load(ref + 16),
                               .checksum_low = kap_le32_load(ref + 20),
                               .data = data,
                               .done = done,
                               .context = context};
    read->from = (size_t)(offset - slot * KAP_CHUNK_BYTES);
    if (read->chunk_bytes != KAP_MIN(size - slot * KAP_CHUNK_BYTES, (uint64_t)KAP_CHUNK_BYTES)) {
        kap_memory_free(&store->env->memory, read);
        return KAP_CORRUPT;
    }
    read->len = KAP_MIN(len, read->chunk_bytes - read->from);
    read->pieces_from = read->from / KAP_PIECE_BYTES * KAP_PIECE_BYTES;
    read->pieces_len = KAP_MIN((read->from + read->len + KAP_PIECE_BYTES - 1) / KAP_PIECE_BYTES * KAP_PIECE_BYTES,
                               (size_t)read->chunk_bytes) - read->pieces_from;
    read->pieces = kap_memory_alloc(&store->env->memory, read->pieces_len);
    if (!read->pieces) {
        kap_memory_free(&store->env->memory, read);
        return KAP_NO_MEMORY;
    }
    *len_out = read->len;
    read_start(read);
    return KAP_OK;
}
