#include "engine/base/memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"

/* The budget counts what the allocator really handed out, so that a block's size need not be stored beside it. */
static int charge(struct kap_memory *memory, size_t bytes)
{
    if (memory->allow && !memory->allow(memory->allow_context, bytes))
        return 0;
    return memory->budget_bytes == 0 || atomic_load(&memory->used_bytes) + bytes <= memory->budget_bytes;
}

static void account(struct kap_memory *memory, size_t bytes)
{
    uint64_t used = atomic_fetch_add(&memory->used_bytes, bytes) + bytes;
    uint64_t peak = atomic_load(&memory->peak_bytes);
    while (used > peak && !atomic_compare_exchange_weak(&memory->peak_bytes, &peak, used))
        ;
}

void *kap_memory_alloc(struct kap_memory *memory, size_t bytes)
{
    if (!charge(memory, bytes))
        return NULL;
    void *pointer = calloc(1, bytes ? bytes : 1);
    if (pointer)
        account(memory, malloc_usable_size(pointer));
    return pointer;
}

void *kap_memory_alloc_aligned(struct kap_memory *memory, size_t alignment, size_t bytes)
{
    KAP_ASSERT((alignment & (alignment - 1)) == 0);
    if (!charge(memory, bytes))
        return NULL;
    void *pointer = NULL;
    if (posix_memalign(&pointer, alignment, bytes ? bytes : alignment) != 0)
        return NULL;
    account(memory, malloc_usable_size(pointer));
    return pointer;
}

void *kap_memory_resize(struct kap_memory *memory, void *pointer, size_t bytes)
{
    size_t old = pointer ? malloc_usable_size(pointer) : 0;
    if (bytes > old && !charge(memory, bytes - old))
        return NULL;
    void *moved = realloc(pointer, bytes ? bytes : 1);
    if (moved) {
        account(memory, malloc_usable_size(moved));
        atomic_fetch_sub(&memory->used_bytes, old);
    }
    return moved;
}

void kap_memory_free(struct kap_memory *memory, void *pointer)
{
    if (!pointer)
        return;
    atomic_fetch_sub(&memory->used_bytes, malloc_usable_size(pointer));
    free(pointer);
}

uint64_t kap_memory_used(struct kap_memory *memory)
{
    return atomic_load(&memory->used_bytes);
}
