/* wal_slots.h - the files of the log: which are in use, which are spare.
 *
 * A slot is a file of the log's fixed size with an open handle. It is made once by writing zeros (converting unwritten
 * extents would cost every commit as much as growing the file), then used again and again: spare -> current -> full ->
 * spare, once everything in it has been flushed.
 *
 * Ownership  the struct holds open handles; deinit expects them closed (kap_wal_slots_close).
 * Threads    any; a spin lock guards the lists. */
#pragma once

#include "engine/base/spin.h"
#include "engine/env/env.h"

enum { KAP_WAL_SLOTS_MAX = 64, KAP_WAL_SPARES_WANTED = 2 };

struct kap_wal_slot {
    uint32_t number;  /* of the file's name */
    uint64_t file_no; /* 0: spare */
    struct kap_file *file;
};

struct kap_wal_slots {
    struct kap_spin lock;
    uint32_t count;
    uint32_t next_number;
    struct kap_wal_slot slots[KAP_WAL_SLOTS_MAX];
};

/* A spare becomes the slot of file_no. false: there is none. */
bool kap_wal_slots_take(struct kap_wal_slots *slots, uint64_t file_no, struct kap_wal_slot *slot_out);
/* Adds an open slot (spare when its file_no is 0). false: KAP_WAL_SLOTS_MAX are open. */
bool kap_wal_slots_add(struct kap_wal_slots *slots, struct kap_wal_slot slot);
/* Slots of uses below file_no become spare. Returns how many did. */
uint32_t kap_wal_slots_release(struct kap_wal_slots *slots, uint64_t file_no);
uint32_t kap_wal_slots_spares(struct kap_wal_slots *slots);
/* Bytes that a restart would read, for file_bytes a slot. */
uint32_t kap_wal_slots_live(struct kap_wal_slots *slots);
/* A number no slot has. */
uint32_t kap_wal_slots_number(struct kap_wal_slots *slots);
