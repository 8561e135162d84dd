/* view.h - reading at one snapshot: point gets and range scans over memtables and segments, newest wins.
 *
 * A view is a pinned version, a seq it sees up to, a block source, and optionally a write set whose changes it sees first.
 * Pending  KAP_PENDING: some block is not in memory, the block source has noted it; load and do everything again from the
 *          top. A handler is a pure function of (snapshot, request), so that gives the same answer.
 * Bytes    values and keys stay valid until the view is released (scan keys: until the next call on the scan).
 * Threads  one at a time. */
#pragma once

#include "engine/base/arena.h"
#include "engine/manifest/version.h"
#include "engine/schema/key.h"
#include "engine/segment/block_source.h"
#include "engine/segment/segment_cursor.h"

struct kap_view {
    struct kap_version version;  /* pinned by whoever made the view */
    uint64_t seq;                /* sees commits up to here */
    struct kap_block_source *blocks;
    const struct kap_memtable *own; /* changes not yet committed, or NULL */
    uint64_t sources_probed;     /* for explain and tests */
};

/* KAP_NOT_FOUND when there is no live version. value_out may be NULL. */
KAP_CHECKED kap_status kap_view_get(struct kap_view *view, struct kap_bytes key, struct kap_bytes *value_out);

/* Live entries with lo <= key < hi, ascending. Allocates its cursors from the arena. */
struct kap_scan {
    struct kap_view *view;
    struct kap_key hi;
    struct kap_key last; /* key of the last entry given: older versions of it are skipped */
    struct kap_cursor **cursors; /* in the arena, as many as the version has sources */
    bool *ended;
    uint32_t n_cursors;
    bool has_last;
    uint64_t skipped; /* versions and tombstones passed over */
    struct kap_entry entry; /* after KAP_OK: key valid until the next call, value until the view's release */
};

/* Positions before the first entry. A common prefix of lo and hi lets files without it be left out. KAP_NO_MEMORY when the
 * arena is full; KAP_PENDING. */
KAP_CHECKED kap_status kap_scan_init(struct kap_scan *scan, struct kap_view *view, struct kap_arena *arena,
                                     struct kap_bytes lo, struct kap_bytes hi);
/* All keys that start with prefix. */
KAP_CHECKED kap_status kap_scan_init_prefix(struct kap_scan *scan, struct kap_view *view, struct kap_arena *arena,
                                            struct kap_bytes prefix);
/* KAP_OK with scan->entry, KAP_END, KAP_PENDING or a fault. */
KAP_CHECKED kap_status kap_scan_next(struct kap_scan *scan);
