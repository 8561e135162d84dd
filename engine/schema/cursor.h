/* cursor.h - the one interface of everything sorted: memtables, segments, levels, merges.
 *
 * An entry is a version of a key. Order: key ascending by memcmp, then seq descending (newest first), so the first entry
 * at or after (key, S) with that key is the version a snapshot at S sees.
 * Pending  KAP_PENDING says that blocks are missing; the cursor has noted which (read/pending.h through its block
 *          source). After it the position is lost: load the blocks and seek again.
 * Bytes    entry.key and entry.value stay valid until the next call on this cursor.
 * Threads  one at a time. Whoever creates a cursor pins what it reads from. */
#pragma once

#include "engine/base/bytes.h"
#include "engine/base/status.h"

enum kap_entry_type {
    KAP_ENTRY_PUT = 1,
    KAP_ENTRY_DELETE = 2,
};

#define KAP_SEQ_MAX UINT64_MAX /* sees every version */

struct kap_entry {
    struct kap_bytes key;
    struct kap_bytes value; /* empty for a delete */
    uint64_t seq; /* commit_seq that wrote it, from 1 */
    uint8_t type; /* enum kap_entry_type */
};

struct kap_cursor;

struct kap_cursor_ops {
    /* To the first entry at or after (key, seq). KAP_OK, KAP_END, KAP_PENDING or a fault. */
    kap_status (*seek)(struct kap_cursor *cursor, struct kap_bytes key, uint64_t seq);
    /* To the next entry; only after KAP_OK. */
    kap_status (*next)(struct kap_cursor *cursor);
};

struct kap_cursor {
    const struct kap_cursor_ops *ops;
    struct kap_entry entry; /* valid after KAP_OK */
};

static inline KAP_CHECKED kap_status kap_cursor_seek(struct kap_cursor *cursor, struct kap_bytes key, uint64_t seq)
{
    return cursor->ops->seek(cursor, key, seq);
}

static inline KAP_CHECKED kap_status kap_cursor_next(struct kap_cursor *cursor)
{
    return cursor->ops->next(cursor);
}

/* (key, seq) order of two entries. */
static inline int kap_entry_cmp(const struct kap_entry *a, const struct kap_entry *b)
{
    int order = kap_bytes_cmp(a->key, b->key);
    if (order != 0)
        return order;
    return a->seq > b->seq ? -1 : a->seq < b->seq;
}
