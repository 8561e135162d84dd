#include "engine/memtable/memtable.h"

#include <stdatomic.h>

#include "engine/base/arena.h"
#include "engine/base/assert.h"

enum { HEIGHT_MAX = 12, ARENA_BLOCK_BYTES = 256 * 1024, ARENA_BLOCK_SMALL_BYTES = 4096 };

struct node {
    uint64_t seq;
    uint32_t value_bytes;
    uint16_t key_bytes;
    uint8_t type, height;
    /* Links, then key bytes, then value bytes. */
    _Atomic(struct node *) next[];
};

struct kap_memtable {
    struct kap_memory *memory;
    struct kap_arena arena;
    _Atomic size_t bytes;
    _Atomic uint64_t count;
    uint64_t seq_min, seq_max; /* writer's until sealed */
    uint32_t coin;             /* xorshift state of the height lottery */
    _Atomic int height;
    struct node *head;
};

static uint8_t *node_data(const struct node *node)
{
    return (uint8_t *)(uintptr_t)node + sizeof *node + node->height * sizeof(struct node *);
}

static struct kap_bytes node_key(const struct node *node)
{
    return kap_bytes(node_data(node), node->key_bytes);
}

static struct kap_bytes node_value(const struct node *node)
{
    return kap_bytes(node_data(node) + node->key_bytes, node->value_bytes);
}

static struct node *node_next(const struct node *node, int level)
{
    return atomic_load_explicit(&((struct node *)(uintptr_t)node)->next[level], memory_order_acquire);
}

/* Is node before (key, seq)? */
static bool node_before(const struct node *node, struct kap_bytes key, uint64_t seq)
{
    int order = kap_bytes_cmp(node_key(node), key);
    return order < 0 || (order == 0 && node->seq > seq);
}

kap_status kap_memtable_create(struct kap_memory *memory, struct kap_memtable **memtable_out)
{
    struct kap_memtable *memtable = kap_memory_alloc(memory, sizeof *memtable);
    if (!memtable)
        return KAP_NO_MEMORY;
    memtable->memory = memory;
    /* Small blocks first: write sets and tests hold a few rows. The block grows with what was taken. */
    kap_arena_init(&memtable->arena, memory, ARENA_BLOCK_SMALL_BYTES, 0);
    memtable->coin = 0x9e3779b9;
    atomic_init(&memtable->height, 1);
    memtable->head = kap_arena_push(&memtable->arena, sizeof *memtable->head + HEIGHT_MAX * sizeof memtable->head->next[0]);
    if (!memtable->head) {
        kap_memtable_destroy(memtable);
        return KAP_NO_MEMORY;
    }
    memtable->head->height = HEIGHT_MAX;
    *memtable_out = memtable;
    return KAP_OK;
}

void kap_memtable_destroy(struct kap_memtable *memtable)
{
    if (!memtable)
        return;
    kap_arena_deinit(&memtable->arena);
    kap_memory_free(memtable->memory, memtable);
}

static int height_draw(struct kap_memtable *memtable)
{
    uint32_t x = memtable->coin;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    memtable->coin = x;
    int height = 1;
    while (height < HEIGHT_MAX && (x & 3) == 0) { /* p = 1/4 */
        height++;
        x >>= 2;
    }
    return height;
}

/* The last node before (key, seq) on each level. */
static void path_find(const struct kap_memtable *memtable, struct kap_bytes key, uint64_t seq,
                      struct node *path[HEIGHT_MAX])
{
    struct node *node = memtable->head;
    for (int level = HEIGHT_MAX - 1; level >= 0; level--) {
        struct node *next;
        while ((next = node_next(node, level)) && node_before(next, key, seq))
            node = next;
        path[level] = node;
    }
}

static void blocks_grow(struct kap_memtable *memtable)
{
    if (memtable->arena.used_bytes >= 4 * ARENA_BLOCK_SMALL_BYTES)
        memtable->arena.block_bytes = ARENA_BLOCK_BYTES;
}

kap_status kap_memtable_reserve(struct kap_memtable *memtable, uint64_t entries, size_t bytes)
{
    size_t node = sizeof(struct node) + HEIGHT_MAX * sizeof(struct node *) + 16;
    blocks_grow(memtable);
    return kap_arena_reserve(&memtable->arena, entries * node + bytes) ? KAP_OK : KAP_NO_MEMORY;
}

kap_status kap_memtable_add(struct kap_memtable *memtable, const struct kap_entry *entry)
{
    struct node *path[HEIGHT_MAX];
    int height = height_draw(memtable);
    size_t bytes = sizeof(struct node) + (size_t)height * sizeof(struct node *) + entry->key.len + entry->value.len;
    blocks_grow(memtable);
    struct node *node = kap_arena_push(&memtable->arena, bytes);
    if (!node)
        return KAP_NO_MEMORY;
    node->seq = entry->seq;
    node->type = entry->type;
    node->height = (uint8_t)height;
    node->key_bytes = (uint16_t)entry->key.len;
    node->value_bytes = (uint32_t)entry->value.len;
    uint8_t *data = node_data(node);
    memcpy(data, entry->key.data, entry->key.len);
    if (entry->value.len)
        memcpy(data + entry->key.len, entry->value.data, entry->value.len);
    path_find(memtable, entry->key, entry->seq, path);
    for (int level = 0; level < height; level++) {
        atomic_store_explicit(&node->next[level], node_next(path[level], level), memory_order_relaxed);
        atomic_store_explicit(&path[level]->next[level], node, memory_order_release);
    }
    if (height > atomic_load_explicit(&memtable->height, memory_order_relaxed))
        atomic_store_explicit(&memtable->height, height, memory_order_relaxed);
    if (memtable->seq_min == 0 || entry->seq < memtable->seq_min)
        memtable->seq_min = entry->seq;
    if (entry->seq > memtable->seq_max)
        memtable->seq_max = entry->seq;
    atomic_fetch_add_explicit(&memtable->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&memtable->count, 1, memory_order_relaxed);
    return KAP_OK;
}

size_t kap_memtable_bytes(const struct kap_memtable *memtable)
{
    return atomic_load_explicit(&((struct kap_memtable *)(uintptr_t)memtable)->bytes, memory_order_relaxed);
}

uint64_t kap_memtable_count(const struct kap_memtable *memtable)
{
    return atomic_load_explicit(&((struct kap_memtable *)(uintptr_t)memtable)->count, memory_order_relaxed);
}

uint64_t kap_memtable_seq_max(const struct kap_memtable *memtable)
{
    return memtable->seq_max;
}

uint64_t kap_memtable_seq_min(const struct kap_memtable *memtable)
{
    return memtable->seq_min;
}

static kap_status cursor_stand(struct kap_memtable_cursor *cursor, const struct node *node)
{
    cursor->node = node;
    if (!node)
        return KAP_END;
    cursor->cursor.entry = (struct kap_entry){
        .key = node_key(node), .value = node_value(node), .seq = node->seq, .type = node->type};
    return KAP_OK;
}

static kap_status cursor_seek(struct kap_cursor *base, struct kap_bytes key, uint64_t seq)
{
    struct kap_memtable_cursor *cursor = (struct kap_memtable_cursor *)base;
    const struct kap_memtable *memtable = cursor->memtable;
    const struct node *node = memtable->head;
    int top = atomic_load_explicit(&((struct kap_memtable *)(uintptr_t)memtable)->height, memory_order_relaxed);
    for (int level = top - 1; level >= 0; level--) {
        const struct node *next;
        while ((next = node_next(node, level)) && node_before(next, key, seq))
            node = next;
    }
    return cursor_stand(cursor, node_next(node, 0));
}

static kap_status cursor_next(struct kap_cursor *base)
{
    struct kap_memtable_cursor *cursor = (struct kap_memtable_cursor *)base;
    return cursor_stand(cursor, node_next(cursor->node, 0));
}

void kap_memtable_cursor_init(struct kap_memtable_cursor *cursor, const struct kap_memtable *memtable)
{
    static const struct kap_cursor_ops ops = {.seek = cursor_seek, .next = cursor_next};
    *cursor = (struct kap_memtable_cursor){.cursor = {.ops = &ops}, .memtable = memtable};
}
