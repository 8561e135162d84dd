/* segment_cursor.h - struct kap_cursor over one segment, in the caller's memory.
 *
 * Holds pointers into blocks of its source: releasing the source loses the position, as KAP_PENDING does. Large values
 * are fetched when the cursor comes to them, so next may be KAP_PENDING too. Nothing to deinit. */
#pragma once

#include "engine/btree/btree_path.h"
#include "engine/btree/leaf.h"
#include "engine/schema/cursor.h"
#include "engine/segment/block_source.h"

struct kap_segment;

struct kap_segment_cursor {
    struct kap_cursor cursor; /* hand out &c.cursor */
    const struct kap_segment *segment;
    struct kap_block_source *source;
    struct kap_btree_path path;
    struct kap_leaf_iter iter;
    uint32_t tree_slot;
};

void kap_segment_cursor_init(struct kap_segment_cursor *cursor, const struct kap_segment *segment,
                             struct kap_block_source *source);
