/* wal_writer.h - append commits to the log, in order, and make them durable.
 *
 * The sequencer appends commits to the open frame; submit closes it and writes it as soon as fewer than two frames are in
 * flight, without any artificial delay: what arrives meanwhile rides on the next. Frames may complete out of order; only
 * the completed prefix counts as durable.
 *
 * Owns     frame buffers, the current slot. Slots and their files belong to kap_wal_slots.
 * Threads  one: the reactor that holds the sequencer.
 * Errors   a failed write is final: the writer is poisoned with its status and every later call returns it, because
 *          nobody knows what reached the disk. KAP_NO_SPACE cannot come from here once a slot exists: it is full size. */
#pragma once

#include "engine/base/memory.h"
#include "engine/schema/cursor.h"
#include "engine/wal/wal_slots.h"

struct kap_wal_writer;

struct kap_wal_position {
    uint64_t store_hash;
    uint64_t next_file_no;  /* the use of a slot that the next frame starts */
    uint64_t next_frame_no;
    uint64_t previous_checksum; /* of frame next_frame_no - 1; 0 for the first */
    uint64_t last_seq;      /* durable so far */
};

struct kap_wal_counters {
    uint64_t frames, commits, payload_bytes, written_bytes;
};

KAP_CHECKED kap_status kap_wal_writer_create(struct kap_env *env, struct kap_wal_slots *slots, uint64_t file_bytes,
                                             const struct kap_wal_position *position,
                                             struct kap_wal_writer **writer_out);
/* Nothing may be in flight. */
void kap_wal_writer_destroy(struct kap_wal_writer *writer);

/* A commit is begun, gets its operations, and is ended; nothing else happens in between. KAP_OVERLOADED: the open frame
 * has no room for bytes more (sum of keys and values), submit and come back; KAP_NO_MEMORY: as if never begun. */
KAP_CHECKED kap_status kap_wal_begin(struct kap_wal_writer *writer, uint64_t seq, int64_t wall_us, uint32_t operations,
                                     size_t bytes);
void kap_wal_operation(struct kap_wal_writer *writer, const struct kap_entry *entry);
void kap_wal_end(struct kap_wal_writer *writer);

/* Writes the open frame if it holds commits and a place is free. Returns the poison if there is one, KAP_PENDING when
 * a spare slot is needed and there is none yet. */
KAP_CHECKED kap_status kap_wal_submit(struct kap_wal_writer *writer, struct kap_queue *queue);

/* Every commit up to here is durable. */
uint64_t kap_wal_durable_seq(const struct kap_wal_writer *writer);
uint64_t kap_wal_durable_frame(const struct kap_wal_writer *writer);
/* The file that the next commit goes to, or an earlier one: where replay of later commits must begin. */
uint64_t kap_wal_next_file_no(const struct kap_wal_writer *writer);
/* And the number of the first frame in that file. */
uint64_t kap_wal_next_file_frame(const struct kap_wal_writer *writer);
uint32_t kap_wal_in_flight(const struct kap_wal_writer *writer);
bool kap_wal_open_frame_empty(const struct kap_wal_writer *writer);
kap_status kap_wal_poison(const struct kap_wal_writer *writer);
struct kap_wal_counters kap_wal_counters(const struct kap_wal_writer *writer);
/* called whenever the durable prefix has moved or the writer was poisoned; from kap_queue_poll. */
void kap_wal_on_durable(struct kap_wal_writer *writer, void (*callback)(void *context), void *context);
