/* segment_fixture.h - random sorted entries, the segment built from them, and the sorted array as oracle. */
#pragma once

#include "engine/base/buffer.h"
#include "engine/schema/cursor.h"
#include "engine/schema/tree.h"
#include "engine/segment/segment_meta.h"
#include "engine/segment/segment_reader.h"

struct fixture_shape {
    uint64_t seed;
    uint32_t count; /* about: equal (key, seq) fall together */
    uint32_t keys; /* distinct key bodies to draw from; 0: practically all different */
    uint32_t key_bytes; /* after the tree number; 0: 1 .. 40 */
    uint32_t value_bytes; /* 0: 0 .. 40 */
    uint32_t large_every; /* every so many values is 16 KiB .. 256 KiB; 0: none */
    uint32_t delete_every;
    uint16_t trees[4]; /* 0 ends; none: KAP_TREE_UNIQUE */
    bool text; /* values that LZ4 can pack */
};

struct fixture {
    struct kap_memory memory;
    uint64_t random;
    struct kap_entry *entries; /* sorted; keys and values allocated one by one */
    uint32_t count;
    struct kap_buffer file;
    struct kap_segment_meta meta;
    uint8_t smallest[KAP_KEY_BYTES_MAX], largest[KAP_KEY_BYTES_MAX];
    struct kap_segment *segment;
};

uint64_t fixture_random(uint64_t *state);

/* Draws the entries, builds, opens. */
void fixture_init(struct fixture *fixture, struct fixture_shape shape, uint64_t file_id);
void fixture_deinit(struct fixture *fixture); /* checks that nothing leaks */

/* The steps, for tests that let them fail. */
void fixture_draw(struct fixture *fixture, struct fixture_shape shape);
kap_status fixture_build(struct fixture *fixture, struct kap_memory *memory, uint64_t file_id);
struct kap_bytes fixture_tail(const struct fixture *fixture);

/* First entry at or after (key, seq), or count. */
uint32_t fixture_find(const struct fixture *fixture, struct kap_bytes key, uint64_t seq);
bool fixture_entry_eq(const struct kap_entry *a, const struct kap_entry *b);
