/* arena.h - memory with one owner and one lifetime: pushed bit by bit, given back at once.
 *
 * Ownership  blocks come from the kap_memory given at init; deinit gives them all back.
 * Threads    one at a time. Pointers stay put until reset or deinit.
 * Errors     push returns NULL when the memory refuses or the cap is passed; nothing is lost. */
#pragma once

#include <stddef.h>

#include "engine/base/bytes.h"
#include "engine/base/memory.h"

struct kap_arena_block;

struct kap_arena {
    struct kap_memory *memory;
    struct kap_arena_block *blocks; /* newest first */
    uint8_t *at, *end;              /* free part of the newest block */
    size_t block_bytes;             /* size of ordinary blocks */
    size_t cap_bytes;               /* at most this much in all; 0 = no cap */
    size_t used_bytes;              /* taken from memory so far */
};

void kap_arena_init(struct kap_arena *arena, struct kap_memory *memory, size_t block_bytes, size_t cap_bytes);
void kap_arena_deinit(struct kap_arena *arena);
/* Forgets everything pushed; keeps one ordinary block for the next round. */
void kap_arena_reset(struct kap_arena *arena);
/* Zeroed, aligned for any type. */
void *kap_arena_push(struct kap_arena *arena, size_t bytes) __attribute__((warn_unused_result));
/* After true, pushes of together at most bytes (16 each for alignment included) cannot fail. */
bool kap_arena_reserve(struct kap_arena *arena, size_t bytes);
/* Unaligned, not zeroed: for byte strings. */
uint8_t *kap_arena_push_bytes(struct kap_arena *arena, size_t bytes) __attribute__((warn_unused_result));
/* A copy; .data is NULL when there is no memory (and for an empty range a valid pointer is still given). */
struct kap_bytes kap_arena_copy(struct kap_arena *arena, struct kap_bytes bytes);
/* printf into the arena, NUL-terminated; NULL when there is no memory. */
char *kap_arena_printf(struct kap_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
