#include <stdio.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/uuid.h"
#include "engine/env/file_name.h"
#include "engine/store/offline.h"
#include "tools/kapctl/inspect.h"
#include "tools/kapctl/key_text.h"
#include "tools/kapctl/offline_run.h"

struct relation {
    uint16_t tree;
    uint32_t files;
    uint8_t height;
    uint64_t entries, deletes, inner_bytes, leaf_bytes, overflow_bytes, raw_bytes;
};

struct relations {
    struct relation *at;
    uint32_t n, cap;
};

static struct relation *relation_of(struct kap_memory *memory, struct relations *relations, uint16_t tree)
{
    for (uint32_t i = 0; i < relations->n; i++)
        if (relations->at[i].tree == tree)
            return &relations->at[i];
    if (relations->n == relations->cap) {
        uint32_t cap = relations->cap ? relations->cap * 2 : 64;
        struct relation *grown = kap_memory_resize(memory, relations->at, cap * sizeof *grown);
        if (!grown)
            return NULL;
        relations->at = grown;
        relations->cap = cap;
    }
    relations->at[relations->n] = (struct relation){.tree = tree};
    return &relations->at[relations->n++];
}

static int by_tree(const void *a, const void *b)
{
    return (int)((const struct relation *)a)->tree - (int)((const struct relation *)b)->tree;
}

static kap_status segment_sum(struct kap_memory *memory, const struct kap_segment *segment, struct relations *relations)
{
    for (uint32_t slot = 0; slot < kap_segment_tree_count(segment); slot++) {
        struct kap_segment_tree_stats stats = kap_segment_tree_stats(segment, slot);
        struct relation *relation = relation_of(memory, relations, stats.tree);
        if (!relation)
            return KAP_NO_MEMORY;
        relation->files++;
        relation->height = KAP_MAX(relation->height, stats.height);
        relation->entries += stats.entries;
        relation->deletes += stats.deletes;
        relation->inner_bytes += stats.inner_bytes;
        relation->leaf_bytes += stats.leaf_bytes;
        relation->overflow_bytes += stats.overflow_bytes;
        relation->raw_bytes += stats.raw_bytes;
    }
    return KAP_OK;
}

static void relations_fill(struct relations *relations, json_t *document)
{
    char name[TREE_TEXT_BYTES];
    if (relations->n > 0)
        qsort(relations->at, relations->n, sizeof relations->at[0], by_tree);
    for (uint32_t i = 0; i < relations->n; i++) {
        const struct relation *relation = &relations->at[i];
        json_t *row = out_row(out_list(document, "relations"));
        tree_text(relation->tree, name);
        out_text(row, "relation", "%s", name);
        out_number(row, "files", relation->files);
        out_number(row, "height", relation->height);
        out_number(row, "entries", relation->entries);
        out_number(row, "deletes", relation->deletes);
        out_number(row, "inner_bytes", relation->inner_bytes);
        out_number(row, "leaf_bytes", relation->leaf_bytes);
        out_number(row, "overflow_bytes", relation->overflow_bytes);
        out_number(row, "raw_bytes", relation->raw_bytes);
    }
}

static void books_fill(const struct kap_offline *offline, json_t *document)
{
    char id[KAP_UUID_TEXT_BYTES];
    const struct kap_superblock *superblock = &offline->superblock;
    const struct kap_manifest_state *state = &offline->state;
    kap_uuid_print(superblock->store_id, id);
    json_t *section = out_section(document, "superblock");
    out_text(section, "store_id", "%s", id);
    out_number(section, "generation", superblock->generation);
    out_text(section, "manifest", "manifest-%08llx", (unsigned long long)superblock->manifest_no);
    out_number(section, "durable_frame", superblock->durable_frame);
    out_number(section, "wal_bytes", superblock->wal_bytes);
    section = out_section(document, "manifest");
    out_number(section, "records", offline->edits);
    out_number(section, "flushed_seq", state->flushed_seq);
    out_number(section, "wal_first_file_no", state->wal_first_file_no);
    out_number(section, "next_file_id", state->next_file_id);
    out_number(section, "segments", state->n_files);
    out_number(section, "schema_version", state->schema_version);
    out_text(section, "schema_hash", "%016llx", (unsigned long long)state->schema_hash);
    out_number(section, "indexes", state->n_indexes);
}

static void levels_fill(const struct kap_manifest_state *state, json_t *document)
{
    for (int level = 0; level < KAP_LEVELS; level++) {
        uint64_t files = 0, bytes = 0, entries = 0, deletes = 0;
        for (uint32_t i = 0; i < state->n_files; i++) {
            if (state->files[i].level != level)
                continue;
            files++;
            bytes += state->files[i].meta.file_bytes;
            entries += state->files[i].meta.entries;
            deletes += state->files[i].meta.deletes;
        }
        if (files == 0)
            continue;
        json_t *row = out_row(out_list(document, "levels"));
        out_number(row, "level", (uint64_t)level);
        out_number(row, "files", files);
        out_number(row, "bytes", bytes);
        out_number(row, "entries", entries);
        out_number(row, "deletes", deletes);
    }
}

struct other {
    struct kap_offline *offline;
    json_t *document;
    const char *folder;
};

static kap_status other_add(void *context, const char *name)
{
    struct other *other = context;
    struct kap_file_name parsed;
    char path[KAP_PATH_BYTES_MAX], relative[KAP_FILE_NAME_BYTES * 2];
    if (!kap_file_name_parse(name, &parsed) || (parsed.kind != KAP_FILE_WAL && parsed.kind != KAP_FILE_PACK))
        return KAP_OK;
    snprintf(relative, sizeof relative, "%s%s", other->folder, name);
    kap_offline_path(other->offline, relative, path);
    struct kap_io open = {.op = KAP_IO_OPEN, .name = path, .flags = KAP_OPEN_READ};
    if (kap_io_wait(other->offline->queue, &open) != KAP_OK)
        return KAP_OK; /* gone meanwhile: a kapd may be running */
    struct kap_io size = {.op = KAP_IO_SIZE, .file = open.file_out};
    struct kap_io close = {.op = KAP_IO_CLOSE, .file = open.file_out};
    kap_status status = kap_io_wait(other->offline->queue, &size);
    kap_status closed = kap_io_wait(other->offline->queue, &close);
    if (status != KAP_OK || closed != KAP_OK)
        return status != KAP_OK ? status : closed;
    json_t *row = out_row(out_list(other->document, parsed.kind == KAP_FILE_WAL ? "log_files" : "packs"));
    out_text(row, "file", "%s", relative);
    out_number(row, "bytes", size.size_out);
    return KAP_OK;
}

static kap_status others_fill(struct kap_offline *offline, json_t *document)
{
    char path[KAP_PATH_BYTES_MAX];
    struct other logs = {offline, document, ""}, packs = {offline, document, "blobs/"};
    kap_status status = kap_env_list(offline->env, offline->directory, other_add, &logs);
    kap_offline_path(offline, "blobs", path);
    kap_status listed = kap_env_list(offline->env, path, other_add, &packs);
    return status != KAP_OK ? status : listed == KAP_NO_FILE ? KAP_OK : listed;
}

enum ctl_exit inspect_directory(const struct ctl *ctl, const char *path, json_t *document)
{
    struct offline_run run;
    struct kap_error error = {0};
    struct relations relations = {0};
    (void)ctl;
    kap_status status = offline_begin(&run, path, &error);
    if (status != KAP_OK)
        return ctl_fail(&error);
    struct kap_offline *offline = run.offline;
    out_text(document, "directory", "%s", path);
    status = kap_offline_books(offline, &error);
    if (status == KAP_OK)
        books_fill(offline, document);
    for (uint32_t i = 0; i < offline->state.n_files && status == KAP_OK; i++) {
        const struct kap_segment *segment;
        status = kap_offline_segment(offline, &offline->state.files[i], &segment, &error);
        if (status == KAP_OK)
            status = segment_sum(&run.env->memory, segment, &relations);
    }
    if (status == KAP_OK) {
        levels_fill(&offline->state, document);
        relations_fill(&relations, document);
        status = others_fill(offline, document);
    }
    kap_memory_free(&run.env->memory, relations.at);
    offline_end(&run);
    if (status == KAP_OK)
        return CTL_OK;
    kap_error_set(&error, status, "cannot look at %s: %s", path, kap_status_sentence(status));
    return ctl_fail(&error);
}
