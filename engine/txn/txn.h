/* txn.h - one atomic change: reads at the head, writes gathered, then all or nothing.
 *
 * The sequencer is a role, played on the reactor's thread: a transaction is begun, its handler runs without interruption
 * and it is committed or aborted before the next begins. So the handler sees every commit before it (durable or not), its
 * own writes, and knows its commit_seq and time in advance. When a read is KAP_PENDING the whole transaction is aborted and
 * run again later: nothing was changed.
 *
 * Order    put and delete of one key: the last one counts.
 * Errors   KAP_TOO_LARGE: more than KAP_TXN_BYTES_MAX. KAP_NO_MEMORY. */
#pragma once

#include "engine/base/arena.h"
#include "engine/read/view.h"

enum { KAP_TXN_BYTES_MAX = 16 * 1024 * 1024 };

struct kap_txn {
    struct kap_view view;    /* head: every commit so far, and own writes */
    struct kap_arena *arena; /* of the request */
    uint64_t commit_seq;     /* what this change will be numbered */
    int64_t now_us;          /* its wall time: never before that of an earlier commit */
    struct kap_memtable *writes;
    uint64_t n_writes;
    size_t bytes;
};

KAP_CHECKED kap_status kap_txn_put(struct kap_txn *txn, struct kap_bytes key, struct kap_bytes value);
KAP_CHECKED kap_status kap_txn_delete(struct kap_txn *txn, struct kap_bytes key);
static inline KAP_CHECKED kap_status kap_txn_get(struct kap_txn *txn, struct kap_bytes key, struct kap_bytes *value_out)
{
    return kap_view_get(&txn->view, key, value_out);
}
