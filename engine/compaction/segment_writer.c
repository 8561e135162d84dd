#include "engine/compaction/segment_writer.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/env/file_name.h"

enum { WRITE_BYTES = 1024 * 1024 };

static void io_done(struct kap_io *io)
{
    struct kap_segment_writer *writer = io->context;
    writer->busy = false;
    if (io->status != KAP_OK && writer->status == KAP_OK)
        writer->status = io->status;
}

static void chain_done(struct kap_io_chain *chain)
{
    struct kap_segment_writer *writer = chain->context;
    writer->busy = false;
    if (chain->status != KAP_OK && writer->status == KAP_OK)
        writer->status = chain->status;
}

static void chain_start(struct kap_segment_writer *writer)
{
    writer->chain.done = chain_done;
    writer->chain.context = writer;
    writer->busy = true;
    kap_io_chain_start(&writer->chain, writer->queue);
}

kap_status kap_segment_writer_start(struct kap_segment_writer *writer, struct kap_env *env, struct kap_queue *queue,
                                    const char *directory, uint64_t file_id, uint64_t entries_expected)
{
    char name[KAP_FILE_NAME_BYTES];
    *writer = (struct kap_segment_writer){.env = env, .queue = queue, .directory = directory};
    kap_status status =
        kap_segment_builder_create(&env->memory, file_id, entries_expected, &writer->builder);
    if (status != KAP_OK)
        return status;
    kap_file_name_print(KAP_FILE_SEGMENT, file_id, name);
    snprintf(writer->path, sizeof writer->path, "%s/%s", directory, name);
    kap_io_chain_init(&writer->chain);
    struct kap_io *open = kap_io_chain_add(&writer->chain, KAP_IO_OPEN);
    open->name = writer->path;
    open->flags = KAP_OPEN_WRITE | KAP_OPEN_CREATE | KAP_OPEN_DIRECT;
    writer->state = WRITER_OPENING;
    chain_start(writer);
    return KAP_OK;
}

bool kap_segment_writer_wants(const struct kap_segment_writer *writer)
{
    return writer->state == WRITER_FILLING && !writer->busy &&
           kap_segment_builder_output(writer->builder).len < WRITE_BYTES;
}

kap_status kap_segment_writer_add(struct kap_segment_writer *writer, const struct kap_entry *entry)
{
    return kap_segment_builder_add(writer->builder, entry);
}

/* The tail is the last part of what has not been written yet; it stays resident as the open segment. */
kap_status kap_segment_writer_finish(struct kap_segment_writer *writer)
{
    KAP_ASSERT(writer->state == WRITER_FILLING && !writer->busy);
    kap_status status = kap_segment_builder_finish(writer->builder, &writer->meta);
    if (status != KAP_OK)
        return status;
    struct kap_bytes rest = kap_segment_builder_output(writer->builder);
    KAP_ASSERT(rest.len >= writer->meta.tail_bytes);
    struct kap_bytes tail = kap_bytes(rest.data + rest.len - writer->meta.tail_bytes, writer->meta.tail_bytes);
    status = kap_segment_open(&writer->env->memory, &writer->meta, tail, &writer->segment, NULL);
    if (status == KAP_OK)
        writer->state = WRITER_REST;
    return status;
}

static void output_write(struct kap_segment_writer *writer, size_t len)
{
    struct kap_bytes output = kap_segment_builder_output(writer->builder);
    writer->writing = len;
    writer->io = (struct kap_io){.op = KAP_IO_WRITE,
                                 .file = writer->file,
                                 .data = (void *)(uintptr_t)output.data,
                                 .len = len,
                                 .offset = writer->offset,
                                 .done = io_done,
                                 .context = writer};
    writer->busy = true;
    kap_queue_submit(writer->queue, &writer->io);
}

static void sync_start(struct kap_segment_writer *writer)
{
    kap_io_chain_init(&writer->chain);
    struct kap_io *sync = kap_io_chain_add(&writer->chain, KAP_IO_SYNC);
    sync->file = writer->file;
    sync->sync_point = "segment_data";
    struct kap_io *dir = kap_io_chain_add(&writer->chain, KAP_IO_SYNC_DIR);
    dir->name = writer->directory;
    dir->sync_point = "segment_dir";
    writer->state = WRITER_SYNCING;
    chain_start(writer);
}

kap_status kap_segment_writer_step(struct kap_segment_writer *writer)
{
    if (writer->busy)
        return KAP_PENDING;
    if (writer->status != KAP_OK)
        return writer->status;
    if (writer->state == WRITER_OPENING) {
        writer->file = writer->chain.file;
        writer->state = WRITER_FILLING;
        return KAP_OK;
    }
    if (writer->writing) {
        kap_segment_builder_drained(writer->builder, writer->writing);
        writer->offset += writer->writing;
        writer->writing = 0;
    }
    size_t waiting = kap_segment_builder_output(writer->builder).len;
    if (writer->state == WRITER_FILLING && waiting >= WRITE_BYTES) {
        output_write(writer, waiting & ~(size_t)(KAP_DIRECT_ALIGN - 1));
        return KAP_PENDING;
    }
    if (writer->state == WRITER_REST) {
        if (waiting)
            output_write(writer, KAP_MIN(waiting, (size_t)4 * WRITE_BYTES));
        else
            sync_start(writer);
        return KAP_PENDING;
    }
    if (writer->state == WRITER_SYNCING)
        writer->state = WRITER_READY;
    return KAP_OK;
}

bool kap_segment_writer_ready(const struct kap_segment_writer *writer)
{
    return writer->state == WRITER_READY;
}

static void parts_free(struct kap_segment_writer *writer)
{
    kap_segment_builder_destroy(writer->builder);
    writer->builder = NULL;
    writer->state = WRITER_IDLE;
}

void kap_segment_writer_take(struct kap_segment_writer *writer, struct kap_segment **segment_out,
                             struct kap_file **file_out)
{
    *segment_out = writer->segment;
    *file_out = writer->file;
    writer->segment = NULL;
    writer->file = NULL;
    parts_free(writer);
}

kap_status kap_segment_writer_abort(struct kap_segment_writer *writer)
{
    if (writer->state == WRITER_IDLE)
        return KAP_OK;
    if (writer->busy)
        return KAP_PENDING;
    if (writer->state == WRITER_OPENING)
        writer->file = writer->chain.file;
    if (writer->builder) {
        kap_segment_builder_destroy(writer->builder);
        writer->builder = NULL;
        kap_segment_close(writer->segment);
        writer->segment = NULL;
        kap_io_chain_init(&writer->chain);
        kap_io_chain_add(&writer->chain, KAP_IO_UNLINK)->name = writer->path;
        if (writer->file)
            kap_io_chain_add(&writer->chain, KAP_IO_CLOSE)->file = writer->file;
        writer->state = WRITER_REST;
        chain_start(writer);
        return KAP_PENDING;
    }
    writer->file = NULL;
    writer->state = WRITER_IDLE;
    return KAP_OK;
}
