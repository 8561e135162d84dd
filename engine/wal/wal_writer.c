/* A frame buffer's life:  free -> open (commits are appended) -> in flight -> free
 * Two may be in flight and one open. A write that completes before an older one waits as "landed". */
#include "engine/wal/wal_writer.h"

#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/wal/wal_format.h"

enum { FRAMES_IN_FLIGHT_MAX = 2, BUFFERS = FRAMES_IN_FLIGHT_MAX + 1, BUFFER_BYTES_FIRST = 256 * 1024 };

enum buffer_state { BUFFER_FREE, BUFFER_OPEN, BUFFER_IN_FLIGHT, BUFFER_LANDED };

struct frame_buffer {
    enum buffer_state state;
    uint8_t *data; /* aligned; header first */
    size_t cap, len;
    uint32_t commits;
    uint64_t first_seq, last_seq, frame_no;
    struct kap_io io;
    struct kap_wal_writer *writer;
};

struct kap_wal_writer {
    struct kap_env *env;
    struct kap_wal_slots *slots;
    uint64_t file_bytes;
    struct kap_wal_position position;
    struct kap_wal_slot slot; /* current; file NULL before the first frame and after one is full */
    uint64_t slot_at;         /* where the next frame goes */
    uint64_t slot_first_frame;
    uint64_t incarnation;
    uint64_t durable_seq, durable_frame;
    uint32_t in_flight;
    kap_status poison;
    struct frame_buffer buffers[BUFFERS];
    struct frame_buffer *open;
    size_t commit_at; /* where the commit that is being built starts */
    struct kap_wal_counters counters;
    void (*callback)(void *context);
    void *callback_context;
};

kap_status kap_wal_writer_create(struct kap_env *env, struct kap_wal_slots *slots, uint64_t file_bytes,
                                 const struct kap_wal_position *position, struct kap_wal_writer **writer_out)
{
    struct kap_wal_writer *writer = kap_memory_alloc(&env->memory, sizeof *writer);
    if (!writer)
        return KAP_NO_MEMORY;
    KAP_ASSERT(file_bytes % KAP_WAL_ALIGN == 0);
    writer->env = env;
    writer->slots = slots;
    writer->file_bytes = file_bytes;
    writer->position = *position;
    writer->durable_seq = position->last_seq;
    writer->durable_frame = position->next_frame_no - 1;
    for (int i = 0; i < BUFFERS; i++)
        writer->buffers[i].writer = writer;
    *writer_out = writer;
    return KAP_OK;
}

void kap_wal_writer_destroy(struct kap_wal_writer *writer)
{
    if (!writer)
        return;
    KAP_ASSERT(writer->in_flight == 0);
    for (int i = 0; i < BUFFERS; i++)
        kap_memory_free(&writer->env->memory, writer->buffers[i].data);
    kap_memory_free(&writer->env->memory, writer);
}

static size_t frame_bytes_max(const struct kap_wal_writer *writer)
{
    return KAP_MIN((size_t)KAP_WAL_FRAME_BYTES_MAX, writer->file_bytes);
}

static kap_status buffer_reserve(struct kap_wal_writer *writer, struct frame_buffer *buffer, size_t bytes)
{
    size_t want = buffer->len + bytes;
    if (want <= buffer->cap)
        return KAP_OK;
    size_t cap = buffer->cap ? buffer->cap : KAP_MIN((size_t)BUFFER_BYTES_FIRST, frame_bytes_max(writer));
    while (cap < want)
        cap *= 2;
    uint8_t *data = kap_memory_alloc_aligned(&writer->env->memory, KAP_DIRECT_ALIGN, cap);
    if (!data)
        return KAP_NO_MEMORY;
    if (buffer->len)
        memcpy(data, buffer->data, buffer->len);
    kap_memory_free(&writer->env->memory, buffer->data);
    buffer->data = data;
    buffer->cap = cap;
    return KAP_OK;
}

static kap_status frame_open(struct kap_wal_writer *writer)
{
    for (int i = 0; i < BUFFERS && !writer->open; i++) {
        struct frame_buffer *buffer = &writer->buffers[i];
        if (buffer->state != BUFFER_FREE)
            continue;
        buffer->len = 0;
        kap_status status = buffer_reserve(writer, buffer, sizeof(struct wal_frame));
        if (status != KAP_OK)
            return status;
        buffer->len = sizeof(struct wal_frame);
        buffer->commits = 0;
        buffer->state = BUFFER_OPEN;
        writer->open = buffer;
    }
    return writer->open ? KAP_OK : KAP_OVERLOADED;
}

static size_t align_up(size_t bytes)
{
    return (bytes + KAP_WAL_ALIGN - 1) & ~(size_t)(KAP_WAL_ALIGN - 1);
}

kap_status kap_wal_begin(struct kap_wal_writer *writer, uint64_t seq, int64_t wall_us, uint32_t operations,
                         size_t bytes)
{
    size_t body = operations * sizeof(struct wal_operation) + bytes;
    size_t need = sizeof(struct wal_commit) + body;
    if (writer->poison != KAP_OK)
        return writer->poison;
    if (sizeof(struct wal_frame) + need > frame_bytes_max(writer))
        return KAP_TOO_LARGE;
    kap_status status = frame_open(writer);
    if (status != KAP_OK)
        return status;
    struct frame_buffer *frame = writer->open;
    if (align_up(frame->len + need) > frame_bytes_max(writer))
        return KAP_OVERLOADED;
    status = buffer_reserve(writer, frame, align_up(need) + KAP_WAL_ALIGN);
    if (status != KAP_OK)
        return status;
    KAP_ASSERT(seq > writer->position.last_seq);
    struct wal_commit *commit = (struct wal_commit *)(frame->data + frame->len);
    commit->seq = kap_le64_of(seq);
    commit->wall_us = kap_le64_of((uint64_t)wall_us);
    commit->bytes = kap_le32_of((uint32_t)body);
    commit->operations = kap_le32_of(operations);
    writer->commit_at = frame->len;
    frame->len += sizeof *commit;
    if (frame->commits++ == 0)
        frame->first_seq = seq;
    frame->last_seq = seq;
    writer->position.last_seq = seq;
    return KAP_OK;
}

void kap_wal_operation(struct kap_wal_writer *writer, const struct kap_entry *entry)
{
    struct frame_buffer *frame = writer->open;
    struct wal_operation *operation = (struct wal_operation *)(frame->data + frame->len);
    operation->type = entry->type;
    operation->reserved = 0;
    operation->key_bytes = kap_le16_of((uint16_t)entry->key.len);
    operation->value_bytes = kap_le32_of((uint32_t)entry->value.len);
    frame->len += sizeof *operation;
    memcpy(frame->data + frame->len, entry->key.data, entry->key.len);
    frame->len += entry->key.len;
    if (entry->value.len)
        memcpy(frame->data + frame->len, entry->value.data, entry->value.len);
    frame->len += entry->value.len;
}

void kap_wal_end(struct kap_wal_writer *writer)
{
    const struct frame_buffer *frame = writer->open;
    const struct wal_commit *commit = (const struct wal_commit *)(frame->data + writer->commit_at);
    KAP_ASSERT(frame->len == writer->commit_at + sizeof *commit + kap_le32_get(commit->bytes));
    writer->counters.commits++;
}

/* The prefix of completed frames becomes durable, in frame order. */
static void prefix_advance(struct kap_wal_writer *writer)
{
    bool moved;
    do {
        moved = false;
        for (int i = 0; i < BUFFERS; i++) {
            struct frame_buffer *frame = &writer->buffers[i];
            if (frame->state != BUFFER_LANDED || frame->frame_no != writer->durable_frame + 1)
                continue;
            writer->durable_frame = frame->frame_no;
            writer->durable_seq = frame->last_seq;
            frame->state = BUFFER_FREE;
            moved = true;
        }
    } while (moved);
}

static void frame_written(struct kap_io *io)
{
    struct frame_buffer *frame = io->context;
    struct kap_wal_writer *writer = frame->writer;
    writer->in_flight--;
    frame->state = BUFFER_LANDED;
    if (io->status != KAP_OK && writer->poison == KAP_OK)
        writer->poison = io->status == KAP_CRASHED ? KAP_CRASHED : KAP_IO;
    if (writer->poison == KAP_OK)
        prefix_advance(writer);
    else
        frame->state = BUFFER_FREE;
    if (writer->callback)
        writer->callback(writer->callback_context);
}

/* The slot with room for the frame: the current one, or the next spare under a new file number. */
static kap_status slot_ready(struct kap_wal_writer *writer, size_t frame_bytes)
{
    if (writer->slot.file && writer->slot_at + frame_bytes <= writer->file_bytes)
        return KAP_OK;
    if (!kap_wal_slots_take(writer->slots, writer->position.next_file_no, &writer->slot))
        return KAP_PENDING;
    writer->position.next_file_no++;
    writer->slot_at = 0;
    writer->slot_first_frame = writer->position.next_frame_no;
    kap_env_random(writer->env, &writer->incarnation, sizeof writer->incarnation);
    return KAP_OK;
}

static void header_write(struct kap_wal_writer *writer, struct frame_buffer *frame)
{
    struct wal_frame *header = (struct wal_frame *)frame->data;
    size_t payload = frame->len - sizeof *header;
    frame->frame_no = writer->position.next_frame_no++;
    *header = (struct wal_frame){
        .magic = kap_le64_of(KAP_WAL_MAGIC),
        .store_hash = kap_le64_of(writer->position.store_hash),
        .incarnation = kap_le64_of(writer->incarnation),
        .file_no = kap_le64_of(writer->slot.file_no),
        .frame_no = kap_le64_of(frame->frame_no),
        .first_seq = kap_le64_of(frame->first_seq),
        .last_seq = kap_le64_of(frame->last_seq),
        .durable_upto = kap_le64_of(writer->durable_frame),
        .previous = kap_le64_of(writer->position.previous_checksum),
        .payload_bytes = kap_le32_of((uint32_t)payload),
        .commits = kap_le32_of(frame->commits),
    };
    uint64_t checksum = kap_checksum(frame->data + 8, frame->len - 8, KAP_SEED_WAL);
    header->checksum = kap_le64_of(checksum);
    writer->position.previous_checksum = checksum;
}

kap_status kap_wal_submit(struct kap_wal_writer *writer, struct kap_queue *queue)
{
    struct frame_buffer *frame = writer->open;
    if (writer->poison != KAP_OK)
        return writer->poison;
    if (!frame || frame->commits == 0 || writer->in_flight >= FRAMES_IN_FLIGHT_MAX)
        return KAP_OK;
    size_t bytes = align_up(frame->len);
    kap_status status = slot_ready(writer, bytes);
    if (status != KAP_OK)
        return status;
    KAP_ASSERT(bytes <= frame->cap);
    header_write(writer, frame);
    memset(frame->data + frame->len, 0, bytes - frame->len);
    frame->io = (struct kap_io){.op = KAP_IO_WRITE,
                                .flags = KAP_WRITE_DSYNC,
                                .sync_point = "wal_frame",
                                .file = writer->slot.file,
                                .data = frame->data,
                                .len = bytes,
                                .offset = writer->slot_at,
                                .done = frame_written,
                                .context = frame};
    frame->state = BUFFER_IN_FLIGHT;
    writer->open = NULL;
    writer->in_flight++;
    writer->slot_at += bytes;
    writer->counters.frames++;
    writer->counters.written_bytes += bytes;
    writer->counters.payload_bytes += frame->len - sizeof(struct wal_frame);
    kap_queue_submit(queue, &frame->io);
    return KAP_OK;
}

uint64_t kap_wal_durable_seq(const struct kap_wal_writer *writer)
{
    return writer->durable_seq;
}

uint64_t kap_wal_durable_frame(const struct kap_wal_writer *writer)
{
    return writer->durable_frame;
}

uint64_t kap_wal_next_file_no(const struct kap_wal_writer *writer)
{
    return writer->slot.file ? writer->slot.file_no : writer->position.next_file_no;
}

uint64_t kap_wal_next_file_frame(const struct kap_wal_writer *writer)
{
    return writer->slot.file ? writer->slot_first_frame : writer->position.next_frame_no;
}

uint32_t kap_wal_in_flight(const struct kap_wal_writer *writer)
{
    return writer->in_flight;
}

bool kap_wal_open_frame_empty(const struct kap_wal_writer *writer)
{
    return !writer->open || writer->open->commits == 0;
}

kap_status kap_wal_poison(const struct kap_wal_writer *writer)
{
    return writer->poison;
}

struct kap_wal_counters kap_wal_counters(const struct kap_wal_writer *writer)
{
    return writer->counters;
}

void kap_wal_on_durable(struct kap_wal_writer *writer, void (*callback)(void *context), void *context)
{
    writer->callback = callback;
    writer->callback_context = context;
}
