#include "tests/lib/test.h"

#include <stdlib.h>

#include "engine/memtable/memtable.h"

struct version {
    char key[12];
    uint64_t seq;
    char value[24];
    int deleted;
};

static int version_cmp(const void *a, const void *b)
{
    const struct version *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : x->seq > y->seq ? -1 : x->seq < y->seq;
}

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

enum { VERSIONS = 4000 };
static struct version oracle[VERSIONS];

static struct kap_memtable *filled(struct kap_memory *memory, uint32_t seed)
{
    struct kap_memtable *memtable;
    cr_assert_eq(kap_memtable_create(memory, &memtable), KAP_OK);
    for (int i = 0; i < VERSIONS; i++) {
        struct version *v = &oracle[i];
        snprintf(v->key, sizeof v->key, "k%04u", draw(&seed) % 900);
        snprintf(v->value, sizeof v->value, "v%d", i);
        v->seq = (uint64_t)i + 1;
        v->deleted = draw(&seed) % 8 == 0;
        struct kap_entry entry = {.key = kap_bytes_str(v->key),
                                  .value = v->deleted ? kap_bytes("", 0) : kap_bytes_str(v->value),
                                  .seq = v->seq,
                                  .type = v->deleted ? KAP_ENTRY_DELETE : KAP_ENTRY_PUT};
        cr_assert_eq(kap_memtable_add(memtable, &entry), KAP_OK);
    }
    qsort(oracle, VERSIONS, sizeof oracle[0], version_cmp);
    return memtable;
}

static void same(const struct kap_entry *entry, const struct version *v)
{
    cr_assert(kap_bytes_eq(entry->key, kap_bytes_str(v->key)));
    cr_assert_eq(entry->seq, v->seq);
    cr_assert_eq(entry->type == KAP_ENTRY_DELETE, v->deleted != 0);
    if (!v->deleted)
        cr_assert(kap_bytes_eq(entry->value, kap_bytes_str(v->value)));
}

Test(memtable, walks_all_versions_in_key_order_newest_first)
{
    struct kap_memory memory = {0};
    struct kap_memtable *memtable = filled(&memory, 7);
    struct kap_memtable_cursor cursor;
    kap_memtable_cursor_init(&cursor, memtable);
    kap_status status = kap_cursor_seek(&cursor.cursor, kap_bytes("", 0), KAP_SEQ_MAX);
    for (int i = 0; i < VERSIONS; i++) {
        cr_assert_eq(status, KAP_OK);
        same(&cursor.cursor.entry, &oracle[i]);
        status = kap_cursor_next(&cursor.cursor);
    }
    cr_assert_eq(status, KAP_END);
    cr_assert_eq(kap_memtable_seq_max(memtable), (uint64_t)VERSIONS);
    kap_memtable_destroy(memtable);
    cr_assert_eq(kap_memory_used(&memory), 0u);
}

Test(memtable, seek_finds_the_version_a_snapshot_sees)
{
    struct kap_memory memory = {0};
    struct kap_memtable *memtable = filled(&memory, 11);
    struct kap_memtable_cursor cursor;
    kap_memtable_cursor_init(&cursor, memtable);
    uint32_t seed = 3;
    for (int round = 0; round < 5000; round++) {
        char key[12];
        snprintf(key, sizeof key, "k%04u", draw(&seed) % 950);
        uint64_t seq = draw(&seed) % (VERSIONS + 10);
        struct version want = {.seq = seq};
        memcpy(want.key, key, sizeof key);
        int at = 0;
        while (at < VERSIONS && version_cmp(&oracle[at], &want) < 0)
            at++;
        kap_status status = kap_cursor_seek(&cursor.cursor, kap_bytes_str(key), seq);
        if (at == VERSIONS) {
            cr_assert_eq(status, KAP_END);
            continue;
        }
        cr_assert_eq(status, KAP_OK);
        same(&cursor.cursor.entry, &oracle[at]);
    }
    kap_memtable_destroy(memtable);
}

Test(memtable, refused_memory_adds_nothing_and_leaks_nothing)
{
    struct kap_memory memory = {.budget_bytes = 100000};
    struct kap_memtable *memtable;
    cr_assert_eq(kap_memtable_create(&memory, &memtable), KAP_OK);
    char key[16];
    uint64_t added = 0;
    for (;;) {
        snprintf(key, sizeof key, "%08u", (unsigned)added);
        struct kap_entry entry = {
            .key = kap_bytes_str(key), .value = kap_bytes(key, 8), .seq = added + 1, .type = KAP_ENTRY_PUT};
        if (kap_memtable_add(memtable, &entry) == KAP_NO_MEMORY)
            break;
        added++;
    }
    cr_assert_gt(added, 100u);
    cr_assert_eq(kap_memtable_count(memtable), added);
    kap_memtable_destroy(memtable);
    cr_assert_eq(kap_memory_used(&memory), 0u);
}
