/* key_text.h - trees, keys and values of a store in words. */
#pragma once

#include "engine/base/arena.h"
#include "engine/schema/cursor.h"

enum { KEY_TEXT_BYTES = 512, TREE_TEXT_BYTES = 96 };

/* "rows", "P1_session_by_owner"; "tree 4711" when the schema does not know it. */
void tree_text(uint16_t tree, char text_out[TREE_TEXT_BYTES]);
/* The parts of a key as its tree draws them (engine/schema/tree.h); what does not fit that drawing as hex. */
void key_text(struct kap_bytes key, char text_out[KEY_TEXT_BYTES]);
/* A row as JSON, credentials and tokens excepted; counts as numbers; anything else as hex of its beginning. In the arena;
 * NULL without memory. */
const char *value_text(const struct kap_entry *entry, struct kap_arena *arena);
