#include "engine/store/store_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/env/file_name.h"

static bool name_valid(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

/* Unfinished, or deleted. What else stands there is not ours to touch. */
static bool name_temporary(const char *name)
{
    size_t len = strlen(name);
    return len > 4 && strcmp(name + len - 4, ".tmp") == 0;
}

static struct kap_snapshot_info *snapshot_find(struct kap_store *store, const char *name)
{
    for (uint32_t i = 0; i < store->n_snapshots; i++)
        if (strcmp(store->snapshots[i].name, name) == 0)
            return &store->snapshots[i];
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct kap_snapshot_info *)a)->name, ((const struct kap_snapshot_info *)b)->name);
}

static void snapshot_note(struct kap_store *store, const struct kap_snapshot_info *info)
{
    store->snapshots[store->n_snapshots++] = *info;
    qsort(store->snapshots, store->n_snapshots, sizeof store->snapshots[0], by_name);
}

struct names {
    struct kap_store *store;
    char name[STORE_SNAPSHOTS_MAX][80];
    uint32_t n;
};

static kap_status name_collect(void *context, const char *name)
{
    struct names *names = context;
    if (names->n < STORE_SNAPSHOTS_MAX && strlen(name) < sizeof names->name[0])
        snprintf(names->name[names->n++], sizeof names->name[0], "%s", name);
    return KAP_OK;
}

static kap_status entry_note(void *context, const char *name)
{
    struct kap_buffer *entries = context;
    kap_buffer_append(entries, name, strlen(name) + 1);
    return entries->failed ? KAP_NO_MEMORY : KAP_OK;
}

/* A snapshot that was not finished, or was being deleted: two levels of directories at most. The names are gathered first:
 * a directory that is read while it is emptied may leave some out. */
static kap_status tree_remove(struct kap_store *store, const char *path)
{
    struct kap_buffer entries;
    kap_buffer_init(&entries, &store->env->memory);
    kap_status status = kap_env_list(store->env, path, entry_note, &entries);
    for (size_t at = 0; at < entries.len && status == KAP_OK;) {
        const char *name = (const char *)entries.data + at;
        char below[KAP_PATH_BYTES_MAX + 80];
        at += strlen(name) + 1;
        snprintf(below, sizeof below, "%s/%s", path, name);
        struct kap_io unlink = {.op = KAP_IO_UNLINK, .name = below};
        status = strcmp(name, "blobs") == 0 ? tree_remove(store, below) : kap_io_wait(store->queue, &unlink);
    }
    kap_buffer_deinit(&entries);
    struct kap_io rmdir = {.op = KAP_IO_RMDIR, .name = path};
    return status == KAP_OK ? kap_io_wait(store->queue, &rmdir) : status;
}

static kap_status info_read(struct kap_store *store, const char *name, struct kap_snapshot_info *info)
{
    char path[KAP_PATH_BYTES_MAX], text[257] = {0};
    unsigned long long seq, files, bytes;
    long long created;
    snprintf(path, sizeof path, "%s/snapshots/%s/info", store->directory, name);
    struct kap_io open = {.op = KAP_IO_OPEN, .name = path, .flags = KAP_OPEN_READ};
    kap_status status = kap_io_wait(store->queue, &open);
    if (status != KAP_OK)
        return status;
    struct kap_io read = {.op = KAP_IO_READ, .file = open.file_out, .data = text, .len = sizeof text - 1};
    struct kap_io close = {.op = KAP_IO_CLOSE, .file = open.file_out};
    status = kap_io_wait(store->queue, &read);
    kap_status closed = kap_io_wait(store->queue, &close);
    if (status != KAP_OK || closed != KAP_OK)
        return status != KAP_OK ? status : closed;
    if (sscanf(text, "commit_seq=%llu created_us=%lld files=%llu bytes=%llu", &seq, &created, &files, &bytes) != 4)
        return KAP_CORRUPT;
    *info = (struct kap_snapshot_info){.commit_seq = seq, .created_us = created, .files = files, .bytes = bytes};
    snprintf(info->name, sizeof info->name, "%s", name);
    return KAP_OK;
}

kap_status store_snapshots_load(struct kap_store *store, struct kap_error *error)
{
    char base[KAP_PATH_BYTES_MAX], path[KAP_PATH_BYTES_MAX + 100];
    struct names *names = kap_memory_alloc(&store->env->memory, sizeof *names);
    if (!names)
        return KAP_NO_MEMORY;
    snprintf(base, sizeof base, "%s/snapshots", store->directory);
    kap_status status = kap_env_list(store->env, base, name_collect, names);
    /* A process that was killed may have renamed one and not synced the name; from here on it is listed. */
    struct kap_io sync = {.op = KAP_IO_SYNC_DIR, .name = base, .sync_point = "recovered_snapshots"};
    if (status == KAP_OK)
        status = kap_io_wait(store->queue, &sync);
    for (uint32_t i = 0; i < names->n && status == KAP_OK; i++) {
        struct kap_snapshot_info info;
        if (!name_valid(names->name[i])) {
            if (!name_temporary(names->name[i])) {
                kap_log(KAP_LOG_WARN, "store", "msg=\"not a snapshot's name; left alone\" name=%s", names->name[i]);
                continue;
            }
            snprintf(path, sizeof path, "%s/%s", base, names->name[i]);
            if (tree_remove(store, path) == KAP_CRASHED)
                status = KAP_CRASHED;
            continue;
        }
        status = info_read(store, names->name[i], &info);
        if (status == KAP_OK)
            snapshot_note(store, &info);
        else if (status != KAP_CRASHED && status != KAP_NO_MEMORY) { /* it pins nothing here: report it and go on */
            kap_log(KAP_LOG_WARN, "store", "msg=\"a snapshot cannot be read and is not listed\" name=%s status=%s",
                    names->name[i], kap_status_name(status));
            status = KAP_OK;
        }
    }
    kap_memory_free(&store->env->memory, names);
    if (status != KAP_OK)
        kap_error_set(error, status, "cannot read %s: %s", base, kap_status_sentence(status));
    return status;
}

static kap_status job_prepare(struct kap_store *store, const char *name, bool remove)
{
    if (!name_valid(name))
        return KAP_INVALID;
    if (atomic_load(&store->snapshot.state) != KAP_SNAPSHOT_NONE)
        return KAP_OVERLOADED;
    bool there = snapshot_find(store, name) != NULL;
    if (there != remove)
        return remove ? KAP_NOT_FOUND : KAP_ALREADY_EXISTS;
    if (!remove && store->n_snapshots == STORE_SNAPSHOTS_MAX)
        return KAP_QUOTA;
    snprintf(store->snapshot.name, sizeof store->snapshot.name, "%s", name);
    store->snapshot.remove = remove;
    store->snapshot.packs = kap_blob_store_packs(store->blobs);
    return kap_store_failed(store);
}

kap_status kap_store_snapshot_create(struct kap_store *store, const char *name,
                                     void (*done)(void *context, kap_status status,
                                                  const struct kap_snapshot_info *info),
                                     void *context)
{
    kap_status status = job_prepare(store, name, false);
    if (status == KAP_OK)
        status = kap_store_flush(store, &store->snapshot.flushed_wanted);
    if (status != KAP_OK)
        return status;
    store->snapshot_done = done;
    store->snapshot_context = context;
    atomic_store(&store->snapshot.state, KAP_SNAPSHOT_WANTED);
    kap_background_wake_flusher(&store->background);
    return KAP_OK;
}

kap_status kap_store_snapshot_delete(struct kap_store *store, const char *name,
                                     void (*done)(void *context, kap_status status,
                                                  const struct kap_snapshot_info *info),
                                     void *context)
{
    kap_status status = job_prepare(store, name, true);
    if (status != KAP_OK)
        return status;
    store->snapshot_done = done;
    store->snapshot_context = context;
    atomic_store(&store->snapshot.state, KAP_SNAPSHOT_WANTED);
    kap_background_wake_flusher(&store->background);
    return KAP_OK;
}

void kap_store_snapshot_abandon(struct kap_store *store)
{
    store->snapshot_done = NULL;
}

void store_snapshot_collect(struct kap_store *store)
{
    struct kap_snapshot_job *job = &store->snapshot;
    if (atomic_load(&job->state) != KAP_SNAPSHOT_DONE)
        return;
    struct kap_snapshot_info info = {
        .commit_seq = job->commit_seq, .created_us = job->created_us, .files = job->files, .bytes = job->bytes};
    snprintf(info.name, sizeof info.name, "%s", job->name);
    kap_status status = job->status;
    if (status == KAP_OK && job->remove) {
        struct kap_snapshot_info *old = snapshot_find(store, job->name);
        info = *old;
        *old = store->snapshots[--store->n_snapshots];
        qsort(store->snapshots, store->n_snapshots, sizeof store->snapshots[0], by_name);
    } else if (status == KAP_OK) {
        snapshot_note(store, &info);
    }
    atomic_store(&job->state, KAP_SNAPSHOT_NONE);
    if (store->snapshot_done)
        store->snapshot_done(store->snapshot_context, status, &info);
}

kap_status kap_store_snapshot_list(struct kap_store *store,
                                   void (*each)(void *context, const struct kap_snapshot_info *info), void *context)
{
    for (uint32_t i = 0; i < store->n_snapshots; i++)
        each(context, &store->snapshots[i]);
    return KAP_OK;
}
