#include "tests/unit/segment/segment_fixture.h"

#include "engine/base/assert.h"
#include "engine/segment/segment_builder.h"
#include "tests/lib/test.h"

uint64_t fixture_random(uint64_t *state)
{
    uint64_t mix = *state += 0x9e3779b97f4a7c15ull;
    mix = (mix ^ mix >> 30) * 0xbf58476d1ce4e5b9ull;
    mix = (mix ^ mix >> 27) * 0x94d049bb133111ebull;
    return mix ^ mix >> 31;
}

static int entry_order(const void *a, const void *b)
{
    return kap_entry_cmp(a, b);
}

/* The body follows from its number, so that a few keys get many versions and neighbours share prefixes. */
static struct kap_bytes key_draw(struct fixture *fixture, const struct fixture_shape *shape)
{
    uint32_t trees = 0;
    while (trees < KAP_ARRAY_LEN(shape->trees) && shape->trees[trees] != 0)
        trees++;
    uint64_t number = fixture_random(&fixture->random);
    if (shape->keys > 0)
        number %= shape->keys;
    uint64_t body = number;
    size_t len = shape->key_bytes ? shape->key_bytes : 1 + fixture_random(&body) % 40;
    uint16_t tree = trees ? shape->trees[fixture_random(&body) % trees] : KAP_TREE_UNIQUE;
    uint8_t *key = kap_memory_alloc(&fixture->memory, len + 2);
    cr_assert_not_null(key);
    kap_be16_store(key, tree);
    for (size_t at = 0; at < len; at++) {
        uint64_t draw = fixture_random(&body);
        key[2 + at] = (uint8_t)(at + 8 < len && len > 12 ? draw % 2 : draw);
    }
    return kap_bytes(key, len + 2);
}

static struct kap_bytes value_draw(struct fixture *fixture, const struct fixture_shape *shape, uint32_t slot)
{
    uint64_t *random = &fixture->random;
    size_t len = shape->value_bytes ? shape->value_bytes : fixture_random(random) % 41;
    if (shape->large_every && slot % shape->large_every == shape->large_every - 1) {
        len = 16 * 1024 + fixture_random(random) % (240 * 1024 + 1);
        if (slot % 3 == 0)
            len = slot % 2 ? 16 * 1024 : 16 * 1024 + 1;
    }
    uint8_t *value = kap_memory_alloc(&fixture->memory, len ? len : 1);
    cr_assert_not_null(value);
    for (size_t at = 0; at < len; at++)
        value[at] = (uint8_t)(shape->text ? 'a' + fixture_random(random) % 4 : fixture_random(random));
    return kap_bytes(value, len);
}

void fixture_draw(struct fixture *fixture, struct fixture_shape shape)
{
    uint32_t kept = 0;
    *fixture = (struct fixture){.random = shape.seed};
    kap_buffer_init(&fixture->file, &fixture->memory);
    fixture->entries = kap_memory_alloc(&fixture->memory, (shape.count + 1) * sizeof *fixture->entries);
    for (uint32_t slot = 0; slot < shape.count; slot++) {
        struct kap_entry *entry = &fixture->entries[slot];
        bool is_delete = shape.delete_every && slot % shape.delete_every == 0;
        entry->key = key_draw(fixture, &shape);
        entry->value = is_delete ? kap_bytes(NULL, 0) : value_draw(fixture, &shape, slot);
        entry->type = is_delete ? KAP_ENTRY_DELETE : KAP_ENTRY_PUT;
        entry->seq = 1000 + fixture_random(&fixture->random) % (slot % 5 ? 3 * shape.count : UINT64_MAX / 2);
    }
    qsort(fixture->entries, shape.count, sizeof *fixture->entries, entry_order);
    for (uint32_t slot = 0; slot < shape.count; slot++) {
        if (kept > 0 && kap_entry_cmp(&fixture->entries[kept - 1], &fixture->entries[slot]) == 0) {
            kap_memory_free(&fixture->memory, (void *)(uintptr_t)fixture->entries[slot].key.data);
            kap_memory_free(&fixture->memory, (void *)(uintptr_t)fixture->entries[slot].value.data);
        } else {
            fixture->entries[kept++] = fixture->entries[slot];
        }
    }
    fixture->count = kept;
}

/* Takes what the builder has, in whole pages until the file is finished. */
static void output_take(struct fixture *fixture, struct kap_segment_builder *builder, bool all)
{
    struct kap_bytes output = kap_segment_builder_output(builder);
    size_t take = all ? output.len : output.len / 4096 * 4096;
    if (!all && take > 0)
        take = 4096 * (1 + fixture_random(&fixture->random) % (take / 4096));
    cr_assert_eq((uintptr_t)output.data % 4096, 0u);
    kap_buffer_append(&fixture->file, output.data, take);
    kap_segment_builder_drained(builder, take);
}

kap_status fixture_build(struct fixture *fixture, struct kap_memory *memory, uint64_t file_id)
{
    struct kap_segment_builder *builder = NULL;
    struct kap_segment_meta meta;
    kap_buffer_clear(&fixture->file);
    kap_status status = kap_segment_builder_create(memory, file_id, fixture->count, &builder);
    if (status != KAP_OK)
        return status;
    for (uint32_t slot = 0; status == KAP_OK && slot < fixture->count; slot++) {
        status = kap_segment_builder_add(builder, &fixture->entries[slot]);
        if (fixture_random(&fixture->random) % 16 == 0)
            output_take(fixture, builder, false);
    }
    if (status == KAP_OK)
        status = kap_segment_builder_finish(builder, &meta);
    if (status == KAP_OK) {
        output_take(fixture, builder, true);
        cr_assert_eq(fixture->file.len, meta.file_bytes);
        memcpy(fixture->smallest, meta.smallest.data, meta.smallest.len);
        memcpy(fixture->largest, meta.largest.data, meta.largest.len);
        meta.smallest.data = fixture->smallest;
        meta.largest.data = fixture->largest;
        fixture->meta = meta;
    }
    kap_segment_builder_destroy(builder);
    return status;
}

struct kap_bytes fixture_tail(const struct fixture *fixture)
{
    return kap_bytes(fixture->file.data + fixture->meta.tail_offset, fixture->meta.tail_bytes);
}

void fixture_init(struct fixture *fixture, struct fixture_shape shape, uint64_t file_id)
{
    struct kap_error error = {0};
    fixture_draw(fixture, shape);
    cr_assert_eq(fixture_build(fixture, &fixture->memory, file_id), KAP_OK);
    kap_status status =
        kap_segment_open(&fixture->memory, &fixture->meta, fixture_tail(fixture), &fixture->segment, &error);
    cr_assert_eq(status, KAP_OK, "%s", error.text);
}

void fixture_deinit(struct fixture *fixture)
{
    kap_segment_close(fixture->segment);
    for (uint32_t slot = 0; slot < fixture->count; slot++) {
        kap_memory_free(&fixture->memory, (void *)(uintptr_t)fixture->entries[slot].key.data);
        kap_memory_free(&fixture->memory, (void *)(uintptr_t)fixture->entries[slot].value.data);
    }
    kap_memory_free(&fixture->memory, fixture->entries);
    kap_buffer_deinit(&fixture->file);
    cr_assert_eq(kap_memory_used(&fixture->memory), 0u);
}

uint32_t fixture_find(const struct fixture *fixture, struct kap_bytes key, uint64_t seq)
{
    struct kap_entry target = {.key = key, .seq = seq};
    uint32_t low = 0, high = fixture->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (kap_entry_cmp(&fixture->entries[middle], &target) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool fixture_entry_eq(const struct kap_entry *a, const struct kap_entry *b)
{
    return kap_entry_cmp(a, b) == 0 && a->type == b->type && kap_bytes_eq(a->value, b->value);
}
