/* memory.h - the only place that calls malloc; every long-lived structure allocates through one of these.
 *
 * A memory has a budget (0: none) and a hook that tests use to fail the n-th allocation.
 * Threads  any; the counters are atomic. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/status.h"

struct kap_memory {
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t peak_bytes;
    uint64_t budget_bytes; /* set before use; 0 = unlimited */
    /* NULL, or asked before each allocation: false makes it fail. */
    int (*allow)(void *context, size_t bytes);
    void *allow_context;
};

/* Zeroed memory, or NULL when the system, the budget or the hook refuses. */
void *kap_memory_alloc(struct kap_memory *memory, size_t bytes) __attribute__((malloc, warn_unused_result));
/* Aligned to a power of two (O_DIRECT wants 4096). Not zeroed. Freed with kap_memory_free. */
void *kap_memory_alloc_aligned(struct kap_memory *memory, size_t alignment, size_t bytes)
    __attribute__((warn_unused_result));
/* As realloc; the new part is not zeroed. The old block stays valid on failure. pointer may be NULL. */
void *kap_memory_resize(struct kap_memory *memory, void *pointer, size_t bytes) __attribute__((warn_unused_result));
void kap_memory_free(struct kap_memory *memory, void *pointer); /* NULL is allowed */
uint64_t kap_memory_used(struct kap_memory *memory);
