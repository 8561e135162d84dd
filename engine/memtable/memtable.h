/* memtable.h - recent versions, sorted, in memory.
 *
 * A skip list in an arena (Pugh 1990), one writer, any number of lock-free readers: a node is filled before it is linked
 * bottom-up with release stores, and is never moved or removed. Several versions of a key stand side by side, newest
 * first.
 *
 * Life     active (the sequencer adds) -> sealed (nobody adds) -> gone with the last reference. References are counted
 *          by whoever shares it (manifest/version.h).
 * Threads  add: one thread at a time. Cursors, bytes, count: any thread.
 * Errors   KAP_NO_MEMORY from add: nothing was added. */
#pragma once

#include "engine/base/memory.h"
#include "engine/schema/cursor.h"

struct kap_memtable;

KAP_CHECKED kap_status kap_memtable_create(struct kap_memory *memory, struct kap_memtable **memtable_out);
void kap_memtable_destroy(struct kap_memtable *memtable);
/* Copies key and value. (key, seq) must not be in it yet. */
KAP_CHECKED kap_status kap_memtable_add(struct kap_memtable *memtable, const struct kap_entry *entry);
/* After KAP_OK, adding entries whose keys and values together have at most these bytes cannot fail. */
KAP_CHECKED kap_status kap_memtable_reserve(struct kap_memtable *memtable, uint64_t entries, size_t bytes);
/* Arena bytes taken so far, and versions held. */
size_t kap_memtable_bytes(const struct kap_memtable *memtable);
uint64_t kap_memtable_count(const struct kap_memtable *memtable);
/* Highest and lowest seq added; 0 when empty. Writer thread, or any once sealed. */
uint64_t kap_memtable_seq_max(const struct kap_memtable *memtable);
uint64_t kap_memtable_seq_min(const struct kap_memtable *memtable);

/* Caller's memory, no allocation; valid while the memtable is. Entries borrow from the memtable and stay valid as long
 * as it lives. */
struct kap_memtable_cursor {
    struct kap_cursor cursor;
    const struct kap_memtable *memtable;
    const void *node;
};
void kap_memtable_cursor_init(struct kap_memtable_cursor *cursor, const struct kap_memtable *memtable);
