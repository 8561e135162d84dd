#include "engine/base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/assert.h"

struct kap_arena_block {
    struct kap_arena_block *next;
    size_t bytes; /* of data */
    _Alignas(16) uint8_t data[];
};

void kap_arena_init(struct kap_arena *arena, struct kap_memory *memory, size_t block_bytes, size_t cap_bytes)
{
    *arena = (struct kap_arena){.memory = memory, .block_bytes = block_bytes, .cap_bytes = cap_bytes};
}

static void blocks_free(struct kap_arena *arena, struct kap_arena_block *block)
{
    while (block) {
        struct kap_arena_block *next = block->next;
        arena->used_bytes -= block->bytes;
        kap_memory_free(arena->memory, block);
        block = next;
    }
}

void kap_arena_deinit(struct kap_arena *arena)
{
    blocks_free(arena, arena->blocks);
    arena->blocks = NULL;
    arena->at = arena->end = NULL;
}

void kap_arena_reset(struct kap_arena *arena)
{
    struct kap_arena_block *keep = arena->blocks;
    while (keep && keep->bytes != arena->block_bytes) {
        struct kap_arena_block *next = keep->next;
        keep->next = NULL;
        blocks_free(arena, keep);
        keep = next;
    }
    if (keep) {
        blocks_free(arena, keep->next);
        keep->next = NULL;
        arena->at = keep->data;
        arena->end = keep->data + keep->bytes;
    } else {
        arena->at = arena->end = NULL;
    }
    arena->blocks = keep;
}

static uint8_t *grow(struct kap_arena *arena, size_t bytes)
{
    size_t want = bytes + 16 > arena->block_bytes ? bytes + 16 : arena->block_bytes;
    if (arena->cap_bytes && arena->used_bytes + want > arena->cap_bytes)
        return NULL;
    struct kap_arena_block *block =
        kap_memory_alloc_aligned(arena->memory, 16, sizeof *block + want);
    if (!block)
        return NULL;
    block->bytes = want;
    arena->used_bytes += want;
    if (want != arena->block_bytes && arena->blocks) { /* a large one: the open block keeps being filled */
        block->next = arena->blocks->next;
        arena->blocks->next = block;
        return block->data;
    }
    block->next = arena->blocks;
    arena->blocks = block;
    arena->at = block->data + bytes;
    arena->end = block->data + want;
    return block->data;
}

bool kap_arena_reserve(struct kap_arena *arena, size_t bytes)
{
    if ((size_t)(arena->end - arena->at) >= bytes)
        return true;
    size_t want = bytes + 16 > arena->block_bytes ? bytes + 16 : arena->block_bytes;
    if (arena->cap_bytes && arena->used_bytes + want > arena->cap_bytes)
        return false;
    struct kap_arena_block *block = kap_memory_alloc_aligned(arena->memory, 16, sizeof *block + want);
    if (!block)
        return false;
    *block = (struct kap_arena_block){.next = arena->blocks, .bytes = want};
    arena->used_bytes += want;
    arena->blocks = block;
    arena->at = block->data;
    arena->end = block->data + want;
    return true;
}

void *kap_arena_push(struct kap_arena *arena, size_t bytes)
{
    size_t pad = (size_t)(-(uintptr_t)arena->at & 15);
    uint8_t *start;
    if ((size_t)(arena->end - arena->at) >= bytes + pad) {
        start = arena->at + pad;
        arena->at = start + bytes;
    } else {
        start = grow(arena, bytes);
        if (!start)
            return NULL;
    }
    memset(start, 0, bytes);
    return start;
}

uint8_t *kap_arena_push_bytes(struct kap_arena *arena, size_t bytes)
{
    if ((size_t)(arena->end - arena->at) < bytes)
        return grow(arena, bytes);
    uint8_t *start = arena->at;
    arena->at += bytes;
    return start ? start : grow(arena, bytes);
}

struct kap_bytes kap_arena_copy(struct kap_arena *arena, struct kap_bytes bytes)
{
    uint8_t *copy = kap_arena_push_bytes(arena, bytes.len);
    if (!copy)
        return kap_bytes(NULL, 0);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    return kap_bytes(copy, bytes.len);
}

char *kap_arena_printf(struct kap_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = len < 0 ? NULL : (char *)kap_arena_push_bytes(arena, (size_t)len + 1);
    if (text)
        vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}
