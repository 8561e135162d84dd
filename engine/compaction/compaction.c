/* The compactor's step function: pick -> merge inputs into new files -> edit lock -> manifest edit -> installed.
 *
 * Inputs are read in windows of 1 MiB past the block cache, so a compaction never cools it. Only the newest version of a
 * key survives (older ones are seen through pinned versions, which keep the input files); a delete survives unless no
 * deeper level can hold the key. */
#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/compaction/background.h"
#include "engine/compaction/picker.h"
#include "engine/schema/key.h"
#include "engine/segment/block_image.h"
#include "engine/segment/segment_cursor.h"

enum { WINDOW_BYTES = 1024 * 1024, OUTPUTS_MAX = 4096, ENTRIES_A_STEP = 2000 };

/* One input stream: one file of level 0, or all chosen files of a disjoint level one after the other. */
struct source {
    struct kap_version_file **files;
    uint32_t n, at;
    struct kap_segment_cursor cursor;
    struct kap_block_image image;
    uint8_t *window;
    size_t window_cap;
    uint64_t window_offset;
    struct kap_io io;
    bool loading, ended, positioned;
    bool has_last; /* last consumed entry, to find the place again after a window moved */
    uint64_t last_seq;
    struct kap_key last;
    kap_status status;
};

enum compaction_state { COMPACT_IDLE, COMPACT_MERGING, COMPACT_EDIT, COMPACT_EDITING, COMPACT_ABORTING };

struct kap_compaction {
    enum compaction_state state;
    uint32_t round[KAP_LEVELS];
    struct kap_version version;
    struct kap_pick pick;
    struct source *sources;
    uint32_t n_sources;
    struct kap_segment_writer writer;
    bool writing, closing_file;
    uint16_t writing_tree;
    struct kap_key last;
    bool has_last;
    struct kap_version_file **outputs;
    uint32_t n_outputs;
    struct kap_fileset *files;
    uint64_t entries_in;
    int64_t retry_at_ns;
};

kap_status kap_compaction_create(struct kap_background *background)
{
    background->compaction = kap_memory_alloc(&background->env->memory, sizeof *background->compaction);
    return background->compaction ? KAP_OK : KAP_NO_MEMORY;
}

void kap_compaction_destroy(struct kap_background *background)
{
    if (!background->compaction)
        return;
    KAP_ASSERT(background->compaction->state == COMPACT_IDLE);
    kap_memory_free(&background->env->memory, background->compaction);
    background->compaction = NULL;
}

uint64_t kap_level_target(const struct kap_background *background, int level)
{
    uint64_t target = background->level1_bytes;
    for (int i = 1; i < level; i++)
        target *= 8;
    return target;
}

static struct kap_pick_rules rules_of(const struct kap_background *background)
{
    struct kap_pick_rules rules = {.l0_files = background->l0_files,
                                   .everything = atomic_load(&background->compact_all) > 0};
    for (int level = 1; level < KAP_LEVELS; level++)
        rules.level_target[level] = kap_level_target(background, level);
    return rules;
}

static void window_loaded(struct kap_io *io)
{
    struct source *source = io->context;
    source->loading = false;
    source->status = io->status;
}

/* Starts reading the window that holds the missing block. */
static kap_status window_load(struct kap_background *background, struct source *source, struct kap_queue *queue)
{
    const struct kap_block_ref *ref = &source->image.missing;
    uint64_t from = ref->offset & ~(uint64_t)(KAP_DIRECT_ALIGN - 1);
    size_t want = KAP_MAX((size_t)WINDOW_BYTES, (size_t)(ref->offset - from) + ref->stored_bytes);
    want = (want + KAP_DIRECT_ALIGN - 1) & ~(size_t)(KAP_DIRECT_ALIGN - 1);
    kap_block_image_move(&source->image, kap_bytes(NULL, 0), 0);
    if (want > source->window_cap) {
        kap_memory_free(&background->env->memory, source->window);
        source->window_cap = 0;
        source->window = kap_memory_alloc_aligned(&background->env->memory, KAP_DIRECT_ALIGN, want);
        if (!source->window)
            return KAP_NO_MEMORY;
        source->window_cap = want;
    }
    source->window_offset = from;
    source->io = (struct kap_io){.op = KAP_IO_READ,
                                 .file = source->files[source->at]->file,
                                 .data = source->window,
                                 .len = want,
                                 .offset = from,
                                 .done = window_loaded,
                                 .context = source};
    source->loading = true;
    kap_queue_submit(queue, &source->io);
    return KAP_PENDING;
}

/* To the entry after the last consumed one, or the file's first. */
static kap_status source_seek(struct source *source)
{
    if (!source->has_last)
        return kap_cursor_seek(&source->cursor.cursor, kap_bytes("", 0), KAP_SEQ_MAX);
    kap_status status = kap_cursor_seek(&source->cursor.cursor, kap_key_bytes(&source->last), source->last_seq);
    const struct kap_entry *entry = &source->cursor.cursor.entry;
    if (status == KAP_OK && entry->seq == source->last_seq && kap_bytes_eq(entry->key, kap_key_bytes(&source->last)))
        status = kap_cursor_next(&source->cursor.cursor);
    return status;
}

static void source_file_open(struct source *source)
{
    source->has_last = false;
    source->positioned = false;
    kap_block_image_move(&source->image, kap_bytes(NULL, 0), 0);
    kap_segment_cursor_init(&source->cursor, source->files[source->at]->segment, &source->image.source);
}

/* KAP_OK: stands on an entry or has ended. */
static kap_status source_ready(struct kap_background *background, struct source *source, struct kap_queue *queue)
{
    while (!source->ended && !source->positioned) {
        if (source->loading)
            return KAP_PENDING;
        if (source->status != KAP_OK)
            return source->status;
        if (source->window_cap && source->io.transferred) {
            kap_block_image_move(&source->image, kap_bytes(source->window, source->io.transferred),
                                 source->window_offset);
            source->io.transferred = 0;
        }
        kap_status status = source_seek(source);
        if (status == KAP_OK) {
            source->positioned = true;
        } else if (status == KAP_END) {
            if (++source->at == source->n)
                source->ended = true;
            else
                source_file_open(source);
        } else if (status == KAP_PENDING) {
            return window_load(background, source, queue);
        } else {
            return status;
        }
    }
    return KAP_OK;
}

static void source_consume(struct source *source)
{
    const struct kap_entry *entry = &source->cursor.cursor.entry;
    source->last.len = 0;
    source->last.failed = false;
    kap_key_put(&source->last, entry->key.data, entry->key.len);
    source->last_seq = entry->seq;
    source->has_last = true;
    source->positioned = kap_cursor_next(&source->cursor.cursor) == KAP_OK;
}

static void sources_free(struct kap_background *background)
{
    struct kap_compaction *compaction = background->compaction;
    for (uint32_t i = 0; i < compaction->n_sources; i++) {
        kap_block_image_deinit(&compaction->sources[i].image);
        kap_memory_free(&background->env->memory, compaction->sources[i].window);
    }
    kap_memory_free(&background->env->memory, compaction->sources);
    compaction->sources = NULL;
    compaction->n_sources = 0;
}

static void job_end(struct kap_background *background)
{
    struct kap_compaction *compaction = background->compaction;
    sources_free(background);
    kap_memory_free(&background->env->memory, compaction->pick.inputs);
    kap_memory_free(&background->env->memory, compaction->outputs);
    compaction->pick.inputs = NULL;
    compaction->outputs = NULL;
    compaction->n_outputs = 0;
    kap_version_unpin(background->versions, compaction->version);
    compaction->version = (struct kap_version){0};
    compaction->state = COMPACT_IDLE;
    kap_background_wake_flusher(background); /* it buries what was replaced */
    kap_background_notify(background);
}

static void job_give_up(struct kap_background *background, kap_status status)
{
    background->compaction->state = COMPACT_ABORTING;
    background->compaction->retry_at_ns = kap_env_mono_ns(background->env) + 500 * 1000000ll;
    if (status == KAP_CRASHED)
        kap_background_fail(background, status, "compaction");
    else
        kap_log(KAP_LOG_WARN, "compaction", "msg=\"given up; its inputs stay\" status=%s", kap_status_name(status));
}

static kap_status sources_open(struct kap_background *background)
{
    struct kap_compaction *compaction = background->compaction;
    const struct kap_pick *pick = &compaction->pick;
    uint32_t upper = pick->level == 0 ? pick->n_upper : 1, n = upper + (pick->n_lower ? 1 : 0);
    compaction->sources = kap_memory_alloc(&background->env->memory, n * sizeof compaction->sources[0]);
    compaction->outputs = kap_memory_alloc(&background->env->memory, OUTPUTS_MAX * sizeof compaction->outputs[0]);
    if (!compaction->sources || !compaction->outputs)
        return KAP_NO_MEMORY;
    compaction->n_sources = n;
    for (uint32_t i = 0; i < n; i++) {
        struct source *source = &compaction->sources[i];
        source->files = i < upper ? pick->inputs + i : pick->inputs + pick->n_upper;
        source->n = i < upper ? (pick->level == 0 ? 1 : pick->n_upper) : pick->n_lower;
        kap_block_image_init(&source->image, &background->env->memory, kap_bytes(NULL, 0), 0);
        source_file_open(source);
    }
    return KAP_OK;
}

static enum kap_step job_begin(struct kap_background *background)
{
    struct kap_compaction *compaction = background->compaction;
    struct kap_pick_rules rules = rules_of(background);
    compaction->version = kap_version_pin(background->versions);
    const struct kap_fileset *files = compaction->version.files;
    uint32_t total = 1;
    for (int level = 0; level < KAP_LEVELS; level++)
        total += files->n_files[level];
    atomic_store(&background->compaction_wanted, kap_pick_wanted(files, &rules));
    compaction->pick = (struct kap_pick){.level = -1};
    compaction->pick.inputs = kap_memory_alloc(&background->env->memory, total * sizeof(struct kap_version_file *));
    bool may = compaction->pick.inputs && !atomic_load(&background->compaction_paused) &&
               kap_env_mono_ns(background->env) >= compaction->retry_at_ns;
    if (may)
        kap_pick(files, &rules, compaction->round, &compaction->pick);
    if (compaction->pick.level < 0) {
        bool everything_done = may && rules.everything;
        if (everything_done)
            atomic_store(&background->compact_all, 0);
        kap_memory_free(&background->env->memory, compaction->pick.inputs);
        compaction->pick.inputs = NULL;
        kap_version_unpin(background->versions, compaction->version);
        compaction->version = (struct kap_version){0};
        if (everything_done)
            kap_background_notify(background);
        if (!may)
            kap_background_sleep_compactor(background, 100 * 1000000ll);
        return KAP_STEP_IDLE;
    }
    compaction->round[compaction->pick.level]++;
    compaction->has_last = false;
    compaction->writing = compaction->closing_file = false;
    compaction->state = COMPACT_MERGING;
    compaction->entries_in = 0;
    for (uint32_t i = 0; i < compaction->pick.n_upper + compaction->pick.n_lower; i++)
        compaction->entries_in += compaction->pick.inputs[i]->meta.entries;
    kap_status status = sources_open(background);
    if (status != KAP_OK)
        job_give_up(background, status);
    return KAP_STEP_AGAIN;
}

/* Could a level below the output hold an older version of the key? */
static bool deeper_may_hold(const struct kap_compaction *compaction, struct kap_bytes key)
{
    const struct kap_fileset *files = compaction->version.files;
    for (int level = compaction->pick.level + 2; level < KAP_LEVELS; level++)
        for (uint32_t i = 0; i < files->n_files[level]; i++)
            if (kap_bytes_cmp(files->files[level][i]->meta.smallest, key) <= 0 &&
                kap_bytes_cmp(key, files->files[level][i]->meta.largest) <= 0)
                return true;
    return false;
}

static int lowest_source(const struct kap_compaction *compaction)
{
    int lowest = -1;
    for (uint32_t i = 0; i < compaction->n_sources; i++) {
        const struct source *source = &compaction->sources[i];
        if (!source->ended && (lowest < 0 || kap_entry_cmp(&source->cursor.cursor.entry,
                                                           &compaction->sources[lowest].cursor.cursor.entry) < 0))
            lowest = (int)i;
    }
    return lowest;
}

/* The file being written is full, or the next entry belongs to another tree: from level 1 down a file holds one tree. */
static bool output_must_end(const struct kap_background *background, const struct kap_entry *entry)
{
    const struct kap_compaction *compaction = background->compaction;
    return kap_tree_of(entry->key) != compaction->writing_tree ||
           kap_segment_builder_bytes(compaction->writer.builder) >= background->file_bytes;
}

static kap_status output_take(struct kap_background *background)
{
    struct kap_compaction *compaction = background->compaction;
    struct kap_version_file *file;
    if (compaction->n_outputs == OUTPUTS_MAX)
        return KAP_OVERLOADED;
    kap_status status = kap_version_file_create(background->versions, (uint8_t)(compaction->pick.level + 1),
                                                compaction->writer.segment, compaction->writer.file, &file);
    if (status != KAP_OK)
        return status;
    struct kap_segment *segment;
    struct kap_file *handle;
    kap_segment_writer_take(&compaction->writer, &segment, &handle);
    compaction->outputs[compaction->n_outputs++] = file;
    compaction->writing = compaction->closing_file = false;
    return KAP_OK;
}

static kap_status output_start(struct kap_background *background, struct kap_queue *queue,
                               const struct kap_entry *entry)
{
    struct kap_compaction *compaction = background->compaction;
    uint64_t file_id = atomic_fetch_add(&background->next_file_id, 1);
    kap_status status = kap_segment_writer_start(&compaction->writer, background->env, queue, background->directory,
                                                 file_id, KAP_MIN(compaction->entries_in, UINT64_C(65536)));
    compaction->writing = status == KAP_OK;
    compaction->writing_tree = kap_tree_of(entry->key);
    return status;
}

/* Moves one entry. KAP_PENDING: wait for I/O; KAP_END: all inputs are consumed. */
static kap_status merge_one(struct kap_background *background, struct kap_queue *queue)
{
    struct kap_compaction *compaction = background->compaction;
    for (uint32_t i = 0; i < compaction->n_sources; i++) {
        kap_status status = source_ready(background, &compaction->sources[i], queue);
        if (status != KAP_OK)
            return status;
    }
    int lowest = lowest_source(compaction);
    if (lowest < 0)
        return KAP_END;
    const struct kap_entry *entry = &compaction->sources[lowest].cursor.cursor.entry;
    bool older = compaction->has_last && kap_bytes_eq(entry->key, kap_key_bytes(&compaction->last));
    bool drop = older || (entry->type == KAP_ENTRY_DELETE && !deeper_may_hold(compaction, entry->key)) ||
                (entry->type == KAP_ENTRY_PUT && background->is_expired &&
                 background->is_expired(entry->key, entry->value, kap_env_wall_us(background->env)));
    if (!drop) {
        if (compaction->writing && output_must_end(background, entry)) {
            if (!kap_segment_writer_wants(&compaction->writer))
                return KAP_PENDING;
            compaction->closing_file = true;
            return kap_segment_writer_finish(&compaction->writer);
        }
        if (!compaction->writing)
            return output_start(background, queue, entry);
        if (!kap_segment_writer_wants(&compaction->writer))
            return KAP_PENDING;
        kap_status status = kap_segment_writer_add(&compaction->writer, entry);
        if (status != KAP_OK)
            return status;
    }
    if (!older) {
        compaction->last.len = 0;
        compaction->last.failed = false;
        kap_key_put(&compaction->last, entry->key.data, entry->key.len);
        compaction->has_last = true;
    }
    source_consume(&compaction->sources[lowest]);
    return KAP_OK;
}

static bool io_under_way(const struct kap_compaction *compaction)
{
    bool busy = compaction->writer.busy;
    for (uint32_t i = 0; i < compaction->n_sources; i++)
        busy |= compaction->sources[i].loading;
    return busy;
}

static enum kap_step merge_step(struct kap_background *background, struct kap_queue *queue)
{
    struct kap_compaction *compaction = background->compaction;
    kap_status status = KAP_OK;
    if (atomic_load(&background->stopping) || atomic_load(&background->failed) != KAP_OK) {
        compaction->state = COMPACT_ABORTING;
        return KAP_STEP_AGAIN;
    }
    if (compaction->writing) {
        status = kap_segment_writer_step(&compaction->writer);
        if (status == KAP_OK && kap_segment_writer_ready(&compaction->writer))
            status = output_take(background);
        if (status == KAP_PENDING && compaction->closing_file)
            return KAP_STEP_WAIT_IO;
        if (status == KAP_PENDING)
            status = KAP_OK;
    }
    for (int i = 0; i < ENTRIES_A_STEP && status == KAP_OK && !compaction->closing_file; i++)
        status = merge_one(background, queue);
    if (status == KAP_OK)
        return KAP_STEP_AGAIN;
    if (status == KAP_PENDING)
        return io_under_way(compaction) ? KAP_STEP_WAIT_IO : KAP_STEP_AGAIN;
    if (status != KAP_END) {
        job_give_up(background, status);
        return KAP_STEP_AGAIN;
    }
    if (!compaction->writing) {
        compaction->state = COMPACT_EDIT;
        return KAP_STEP_AGAIN;
    }
    if (!kap_segment_writer_wants(&compaction->writer))
        return compaction->writer.busy ? KAP_STEP_WAIT_IO : KAP_STEP_AGAIN;
    compaction->closing_file = true;
    status = kap_segment_writer_finish(&compaction->writer);
    if (status != KAP_OK)
        job_give_up(background, status);
    return KAP_STEP_AGAIN;
}

static kap_status edit_submit(struct kap_background *background, struct kap_queue *queue)
{
    struct kap_compaction *compaction = background->compaction;
    struct kap_memory *memory = &background->env->memory;
    const struct kap_pick *pick = &compaction->pick;
    uint32_t n_in = pick->n_upper + pick->n_lower;
    uint32_t n_out = compaction->n_outputs;
    struct kap_manifest_file *add = kap_memory_alloc(memory, (n_out + 1) * sizeof *add);
    uint64_t *remove = kap_memory_alloc(memory, (n_in + 1) * sizeof *remove);
    kap_status status =
        add && remove ? kap_fileset_derive(background->versions, n_out, &compaction->files) : KAP_NO_MEMORY;
    if (status == KAP_OK) {
        for (uint32_t i = 0; i < n_in; i++) {
            remove[i] = pick->inputs[i]->meta.file_id;
            kap_fileset_remove(background->versions, compaction->files, pick->inputs[i]);
        }
        for (uint32_t i = 0; i < n_out; i++) {
            add[i] =
                (struct kap_manifest_file){.level = (uint8_t)(pick->level + 1), .meta = compaction->outputs[i]->meta};
            kap_fileset_add(compaction->files, compaction->outputs[i]);
        }
        struct kap_manifest_edit edit = {.add = add,
                                         .n_add = n_out,
                                         .remove = remove,
                                         .n_remove = n_in,
                                         .next_file_id = atomic_load(&background->next_file_id)};
        status = kap_manifest_log_edit(background->manifest, queue, &edit);
        if (status != KAP_OK)
            kap_fileset_release(background->versions, compaction->files);
    }
    kap_memory_free(memory, add);
    kap_memory_free(memory, remove);
    return status;
}

static enum kap_step edit_begin(struct kap_background *background, struct kap_queue *queue)
{
    if (atomic_load(&background->failed) != KAP_OK) {
        background->compaction->state = COMPACT_ABORTING;
        return KAP_STEP_AGAIN;
    }
    if (!kap_manifest_log_try_lock(background->manifest)) {
        if (atomic_load(
                &background->stopping)) { /* whoever stops the worker does not wait for a turn at the manifest */
            background->compaction->state = COMPACT_ABORTING;
            return KAP_STEP_AGAIN;
        }
        kap_background_sleep_compactor(background, 1000000);
        return KAP_STEP_IDLE;
    }
    kap_status status = edit_submit(background, queue);
    if (status != KAP_OK) {
        kap_manifest_log_unlock(background->manifest);
        job_give_up(background, status);
        return KAP_STEP_AGAIN;
    }
    background->compaction->state = COMPACT_EDITING;
    return KAP_STEP_AGAIN;
}

static enum kap_step edit_end(struct kap_background *background)
{
    struct kap_compaction *compaction = background->compaction;
    const struct kap_pick *pick = &compaction->pick;
    uint64_t read = 0, written = 0;
    if (kap_manifest_log_running(background->manifest))
        return KAP_STEP_WAIT_IO;
    kap_status status = kap_manifest_log_result(background->manifest);
    if (status == KAP_OK)
        status = kap_versions_install(background->versions, compaction->files, NULL);
    if (status != KAP_OK) { /* never unlink after a failed edit */
        kap_fileset_release(background->versions, compaction->files);
        kap_background_fail(background, status, "writing the manifest");
    }
    for (uint32_t i = 0; i < pick->n_upper + pick->n_lower; i++) {
        read += pick->inputs[i]->meta.file_bytes;
        if (status == KAP_OK)
            atomic_store(&pick->inputs[i]->obsolete, true);
    }
    for (uint32_t i = 0; i < compaction->n_outputs; i++) {
        written += compaction->outputs[i]->meta.file_bytes;
        kap_version_file_release(background->versions, compaction->outputs[i]);
    }
    kap_manifest_log_unlock(background->manifest);
    atomic_fetch_add(&background->compactions, 1);
    atomic_fetch_add(&background->compaction_read_bytes, read);
    atomic_fetch_add(&background->compaction_written_bytes, written);
    job_end(background);
    return KAP_STEP_AGAIN;
}

static enum kap_step abort_step(struct kap_background *background)
{
    struct kap_compaction *compaction = background->compaction;
    bool waiting = false;
    if (compaction->writing)
        waiting = kap_segment_writer_abort(&compaction->writer) == KAP_PENDING;
    for (uint32_t i = 0; i < compaction->n_sources; i++)
        waiting |= compaction->sources[i].loading;
    if (waiting)
        return KAP_STEP_WAIT_IO;
    compaction->writing = false;
    for (uint32_t i = 0; i < compaction->n_outputs; i++) { /* whole files that nothing refers to */
        atomic_store(&compaction->outputs[i]->obsolete, true);
        kap_version_file_release(background->versions, compaction->outputs[i]);
    }
    job_end(background);
    return KAP_STEP_AGAIN;
}

enum kap_step kap_compactor_step(void *context, struct kap_queue *queue)
{
    struct kap_background *background = context;
    switch (background->compaction->state) {
    case COMPACT_MERGING:
        return merge_step(background, queue);
    case COMPACT_EDIT:
        return edit_begin(background, queue);
    case COMPACT_EDITING:
        return edit_end(background);
    case COMPACT_ABORTING:
        return abort_step(background);
    case COMPACT_IDLE:
        break;
    }
    if (atomic_load(&background->stopping) || atomic_load(&background->failed) != KAP_OK)
        return KAP_STEP_IDLE;
    return job_begin(background);
}
