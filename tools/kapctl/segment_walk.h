/* segment_walk.h - every entry of a segment whose bytes lie in memory, and every place where that fails. */
#pragma once

#include "engine/schema/cursor.h"
#include "engine/segment/segment_reader.h"

struct segment_walk {
    struct kap_memory *memory;
    const struct kap_segment *segment;
    struct kap_bytes file; /* from its start, the tail may be left out */
    /* Called for each entry in order; KAP_END stops. */
    kap_status (*entry)(void *context, const struct kap_entry *entry);
    /* Called for each damaged block or disorder; the walk goes on with the next tree. */
    void (*damage)(void *context, const char *text);
    void *context;
    /* Out. */
    uint64_t entries, deletes, damages;
    uint64_t seq_min, seq_max, content_hash;
};

/* KAP_OK also when damage was found; KAP_NO_MEMORY. Without damage the figures are compared with the footer's. */
KAP_CHECKED kap_status segment_walk(struct segment_walk *walk);
