#include "engine/manifest/version.h"

#include "engine/base/assert.h"

kap_status kap_version_table_create(struct kap_versions *versions, struct kap_version_table **table_out)
{
    struct kap_version_table *table = kap_memory_alloc(versions->memory, sizeof *table);
    if (!table)
        return KAP_NO_MEMORY;
    kap_status status = kap_memtable_create(versions->memory, &table->memtable);
    if (status != KAP_OK) {
        kap_memory_free(versions->memory, table);
        return status;
    }
    atomic_init(&table->refs, 1);
    *table_out = table;
    return KAP_OK;
}

void kap_version_table_release(struct kap_versions *versions, struct kap_version_table *table)
{
    if (!table || atomic_fetch_sub(&table->refs, 1) > 1)
        return;
    kap_memtable_destroy(table->memtable);
    kap_memory_free(versions->memory, table);
}

kap_status kap_version_file_create(struct kap_versions *versions, uint8_t level, struct kap_segment *segment,
                                   struct kap_file *file, struct kap_version_file **file_out)
{
    struct kap_version_file *made = kap_memory_alloc(versions->memory, sizeof *made);
    if (!made)
        return KAP_NO_MEMORY;
    atomic_init(&made->refs, 1);
    atomic_init(&made->obsolete, false);
    made->level = level;
    made->segment = segment;
    made->meta = *kap_segment_meta(segment);
    made->file = file;
    kap_list_init(&made->grave);
    kap_spin_lock(&versions->lock);
    kap_list_push_back(&versions->all, &made->all);
    kap_spin_unlock(&versions->lock);
    *file_out = made;
    return KAP_OK;
}

void kap_version_file_release(struct kap_versions *versions, struct kap_version_file *file)
{
    if (!file || atomic_fetch_sub(&file->refs, 1) > 1)
        return;
    kap_spin_lock(&versions->lock);
    kap_list_push_back(&versions->graveyard, &file->grave);
    kap_spin_unlock(&versions->lock);
}

struct kap_version_file *kap_versions_find(struct kap_versions *versions, uint64_t file_id)
{
    struct kap_version_file *found = NULL;
    kap_spin_lock(&versions->lock);
    for (struct kap_list *node = versions->all.next; node != &versions->all && !found; node = node->next) {
        struct kap_version_file *file = KAP_OWNER(node, struct kap_version_file, all);
        uint32_t refs = atomic_load(&file->refs);
        if (file->meta.file_id != file_id)
            continue;
        while (refs > 0 && !found) /* at 0 it is on its way to the grave */
            if (atomic_compare_exchange_weak(&file->refs, &refs, refs + 1))
                found = file;
    }
    kap_spin_unlock(&versions->lock);
    return found;
}

struct kap_version_file *kap_versions_exhume(struct kap_versions *versions)
{
    struct kap_version_file *file = NULL;
    kap_spin_lock(&versions->lock);
    if (!kap_list_empty(&versions->graveyard)) {
        file = KAP_OWNER(versions->graveyard.next, struct kap_version_file, grave);
        kap_list_remove(&file->grave);
    }
    kap_spin_unlock(&versions->lock);
    return file;
}

void kap_version_file_destroy(struct kap_versions *versions, struct kap_version_file *file)
{
    kap_spin_lock(&versions->lock);
    kap_list_remove(&file->all);
    kap_spin_unlock(&versions->lock);
    kap_segment_close(file->segment);
    kap_memory_free(versions->memory, file);
}

/* Every level gets a full-size slice: a change may put all files into any of them. */
static struct kap_fileset *fileset_alloc(struct kap_versions *versions, uint32_t n_files)
{
    struct kap_fileset *files = kap_memory_alloc(
        versions->memory, sizeof *files + (size_t)n_files * KAP_LEVELS * sizeof files->storage[0]);
    if (!files)
        return NULL;
    atomic_init(&files->refs, 1);
    for (int level = 0; level < KAP_LEVELS; level++)
        files->files[level] = files->storage + (size_t)level * n_files;
    return files;
}

static struct kap_tableset *tableset_alloc(struct kap_versions *versions)
{
    struct kap_tableset *tables = kap_memory_alloc(versions->memory, sizeof *tables);
    if (tables)
        atomic_init(&tables->refs, 1);
    return tables;
}

static void tableset_release(struct kap_versions *versions, struct kap_tableset *tables)
{
    if (!tables || atomic_fetch_sub(&tables->refs, 1) > 1)
        return;
    kap_version_table_release(versions, tables->active);
    for (uint32_t i = 0; i < tables->n_sealed; i++)
        kap_version_table_release(versions, tables->sealed[i]);
    kap_memory_free(versions->memory, tables);
}

void kap_fileset_release(struct kap_versions *versions, struct kap_fileset *files)
{
    if (!files || atomic_fetch_sub(&files->refs, 1) > 1)
        return;
    for (int level = 0; level < KAP_LEVELS; level++)
        for (uint32_t i = 0; i < files->n_files[level]; i++)
            kap_version_file_release(versions, files->files[level][i]);
    kap_memory_free(versions->memory, files);
}

kap_status kap_versions_init(struct kap_versions *versions, struct kap_memory *memory)
{
    *versions = (struct kap_versions){.memory = memory};
    kap_list_init(&versions->graveyard);
    kap_list_init(&versions->all);
    versions->current.files = fileset_alloc(versions, 1);
    versions->current.tables = tableset_alloc(versions);
    kap_status status = KAP_NO_MEMORY;
    if (versions->current.files && versions->current.tables)
        status = kap_version_table_create(versions, &versions->current.tables->active);
    if (status != KAP_OK)
        kap_versions_deinit(versions);
    return status;
}

void kap_versions_deinit(struct kap_versions *versions)
{
    tableset_release(versions, versions->current.tables);
    kap_fileset_release(versions, versions->current.files);
    versions->current = (struct kap_version){0};
}

struct kap_version kap_version_pin(struct kap_versions *versions)
{
    kap_spin_lock(&versions->lock);
    struct kap_version version = versions->current;
    atomic_fetch_add(&version.tables->refs, 1);
    atomic_fetch_add(&version.files->refs, 1);
    kap_spin_unlock(&versions->lock);
    atomic_fetch_add(&versions->pinned, 1);
    return version;
}

void kap_version_unpin(struct kap_versions *versions, struct kap_version version)
{
    if (!version.files)
        return;
    tableset_release(versions, version.tables);
    kap_fileset_release(versions, version.files);
    atomic_fetch_sub(&versions->pinned, 1);
}

static void table_keep(struct kap_tableset *tables, struct kap_version_table *table)
{
    tables->sealed[tables->n_sealed++] = table;
    atomic_fetch_add(&table->refs, 1);
}

/* Only the sequencer adds tables and only it calls this, so the count cannot rise between the check and the swap. What is
 * dropped is released after the lock, because a release may need the lock for the graveyard. */
kap_status kap_versions_seal(struct kap_versions *versions, struct kap_version_table *table)
{
    struct kap_tableset *tables = tableset_alloc(versions);
    if (!tables)
        return KAP_NO_MEMORY;
    kap_spin_lock(&versions->lock);
    struct kap_tableset *old = versions->current.tables;
    bool full = old->n_sealed == KAP_SEALED_MAX;
    if (!full) {
        tables->active = table;
        table_keep(tables, old->active);
        for (uint32_t i = 0; i < old->n_sealed; i++)
            table_keep(tables, old->sealed[i]);
        versions->current.tables = tables;
    }
    kap_spin_unlock(&versions->lock);
    tableset_release(versions, full ? tables : old);
    return full ? KAP_OVERLOADED : KAP_OK;
}

uint32_t kap_versions_sealed(struct kap_versions *versions, uint64_t *seq_max_out)
{
    kap_spin_lock(&versions->lock);
    const struct kap_tableset *tables = versions->current.tables;
    uint32_t n = tables->n_sealed;
    *seq_max_out = n ? tables->sealed[0]->seq_max : 0;
    kap_spin_unlock(&versions->lock);
    return n;
}

uint32_t kap_versions_level0(struct kap_versions *versions)
{
    kap_spin_lock(&versions->lock);
    uint32_t n = versions->current.files->n_files[0];
    kap_spin_unlock(&versions->lock);
    return n;
}

kap_status kap_fileset_derive(struct kap_versions *versions, uint32_t n_add, struct kap_fileset **files_out)
{
    const struct kap_fileset *from = versions->current.files; /* the edit lock keeps it current */
    uint32_t n_files = n_add + 1;
    for (int level = 0; level < KAP_LEVELS; level++)
        n_files += from->n_files[level];
    struct kap_fileset *files = fileset_alloc(versions, n_files);
    if (!files)
        return KAP_NO_MEMORY;
    for (int level = 0; level < KAP_LEVELS; level++) {
        files->n_files[level] = from->n_files[level];
        for (uint32_t i = 0; i < from->n_files[level]; i++) {
            files->files[level][i] = from->files[level][i];
            atomic_fetch_add(&files->files[level][i]->refs, 1);
        }
    }
    *files_out = files;
    return KAP_OK;
}

/* Level 0 newest first (file ids rise with time), others by key. */
static bool file_before(const struct kap_version_file *a, const struct kap_version_file *b)
{
    if (a->level == 0)
        return a->meta.file_id > b->meta.file_id;
    return kap_bytes_cmp(a->meta.smallest, b->meta.smallest) < 0;
}

void kap_fileset_add(struct kap_fileset *set, struct kap_version_file *file)
{
    struct kap_version_file **files = set->files[file->level];
    uint32_t at = set->n_files[file->level]++;
    while (at > 0 && file_before(file, files[at - 1])) {
        files[at] = files[at - 1];
        at--;
    }
    files[at] = file;
    atomic_fetch_add(&file->refs, 1);
}

void kap_fileset_remove(struct kap_versions *versions, struct kap_fileset *set, const struct kap_version_file *file)
{
    struct kap_version_file **files = set->files[file->level];
    uint32_t n = set->n_files[file->level], at = 0;
    while (at < n && files[at] != file)
        at++;
    KAP_ASSERT(at < n);
    struct kap_version_file *removed = files[at];
    memmove(files + at, files + at + 1, (n - at - 1) * sizeof files[0]);
    set->n_files[file->level]--;
    kap_version_file_release(versions, removed);
}

kap_status kap_versions_install(struct kap_versions *versions, struct kap_fileset *files,
                                const struct kap_version_table *flushed)
{
    struct kap_tableset *tables = flushed ? tableset_alloc(versions) : NULL;
    if (flushed && !tables)
        return KAP_NO_MEMORY;
    kap_spin_lock(&versions->lock);
    struct kap_version old = versions->current;
    versions->current.files = files;
    if (flushed) {
        tables->active = old.tables->active;
        atomic_fetch_add(&tables->active->refs, 1);
        for (uint32_t i = 0; i < old.tables->n_sealed; i++)
            if (old.tables->sealed[i] != flushed)
                table_keep(tables, old.tables->sealed[i]);
        versions->current.tables = tables;
    }
    kap_spin_unlock(&versions->lock);
    kap_fileset_release(versions, old.files);
    if (flushed)
        tableset_release(versions, old.tables);
    return KAP_OK;
}
