#include "engine/index/index.h"

#include "tests/lib/test.h"

#include "proto/kap_entities.h"
#include "proto/kap_schema.h"
#include "proto/wire.h"

static struct {
    uint32_t puts, deletes, uniques_put, uniques_deleted, counted;
    int64_t count_sum;
} seen;

static kap_status on_entry(void *context, struct kap_bytes key, const struct kap_bytes *value)
{
    (void)context;
    (void)key;
    if (value)
        seen.puts++;
    else
        seen.deletes++;
    return KAP_OK;
}

static kap_status on_count(void *context, struct kap_bytes key, int64_t delta)
{
    (void)context;
    cr_assert_eq(kap_tree_of(key), KAP_TREE_COUNT);
    cr_assert_neq(delta, 0);
    seen.counted++;
    seen.count_sum += delta;
    return KAP_OK;
}

static kap_status on_unique(void *context, const struct kap_unique_desc *unique, struct kap_bytes key, bool is_put)
{
    (void)context;
    (void)unique;
    cr_assert_eq(kap_tree_of(key), KAP_TREE_UNIQUE);
    if (is_put)
        seen.uniques_put++;
    else
        seen.uniques_deleted++;
    return KAP_OK;
}

static struct kap_memory memory;
static struct kap_arena arena;

static struct kap_bytes row_of(const struct kap_msg *msg, struct kap_sys **sys_at, const void *message)
{
    struct kap_sys sys = {.has_id = true,
                          .id = {{5}},
                          .has_rev = true,
                          .rev = 1,
                          .has_created_at = true,
                          .has_updated_at = true,
                          .has_created_by = true,
                          .has_updated_by = true,
                          .has_commit_seq = true};
    *sys_at = &sys;
    return kap_wire_encode_in(msg, message, &arena);
}

static void diff(uint8_t kind, const struct kap_bytes *before, const struct kap_bytes *after)
{
    const struct kap_index_sink sink = {.entry = on_entry, .count = on_count, .unique = on_unique};
    memset(&seen, 0, sizeof seen);
    cr_assert_eq(kap_index_diff(&kap_schema, kind, (struct kap_id){{5}}, before, after, &arena, &sink), KAP_OK);
}

Test(index, equal_parents_of_a_row_collapse_and_equal_entries_are_not_mentioned)
{
    kap_arena_init(&arena, &memory, 16 * 1024, 0);
    struct kap_id tags[] = {{{1}}, {{2}}, {{1}}};
    struct kap_exercise exercise = {.has_title = true, .title = kap_bytes_str("Plank"), .n_tags = 3, .tags = tags};
    struct kap_bytes row = row_of(&kap_exercise_msg, &exercise.sys, &exercise);
    diff(KAP_KIND_EXERCISE, NULL, &row);
    cr_assert_eq(seen.puts, 3); /* the library, and each tag once */
    cr_assert_eq(seen.count_sum, 3);
    cr_assert_eq(seen.uniques_put, 0);
    diff(KAP_KIND_EXERCISE, &row, &row);
    cr_assert_eq(seen.puts + seen.deletes + seen.counted, 0);
    exercise.n_tags = 1;
    exercise.has_slug = true;
    exercise.slug = kap_bytes_str("plank");
    struct kap_bytes changed = row_of(&kap_exercise_msg, &exercise.sys, &exercise);
    diff(KAP_KIND_EXERCISE, &row, &changed);
    cr_assert_eq(seen.deletes, 1);
    cr_assert_eq(seen.puts, 1); /* the library's entry carries the slug */
    cr_assert_eq(seen.uniques_put, 1);
    cr_assert_eq(seen.count_sum, -1);
    exercise.has_sequence = true; /* placed: out of the library and its names */
    exercise.sequence = (struct kap_id){{9}};
    struct kap_bytes placed = row_of(&kap_exercise_msg, &exercise.sys, &exercise);
    diff(KAP_KIND_EXERCISE, &changed, &placed);
    cr_assert_eq(seen.deletes, 1);
    cr_assert_eq(seen.uniques_deleted, 1);
    diff(KAP_KIND_EXERCISE, &placed, NULL);
    cr_assert_eq(seen.puts, 0);
    cr_assert_eq(seen.deletes, 2);
    kap_arena_deinit(&arena);
}

Test(index, a_truncated_row_is_corrupt_and_never_read_past)
{
    kap_arena_init(&arena, &memory, 16 * 1024, 0);
    struct kap_tag tag = {.has_name = true, .name = kap_bytes_str("defence")};
    struct kap_bytes row = row_of(&kap_tag_msg, &tag.sys, &tag);
    const struct kap_index_sink sink = {.entry = on_entry, .count = on_count, .unique = on_unique};
    for (size_t len = KAP_SYS_BYTES + 1; len < row.len; len++) {
        struct kap_bytes cut = kap_arena_copy(&arena, kap_bytes(row.data, len));
        cr_assert_eq(kap_index_diff(&kap_schema, KAP_KIND_TAG, (struct kap_id){{5}}, NULL, &cut, &arena, &sink),
                     KAP_CORRUPT, "%zu", len);
    }
    kap_arena_deinit(&arena);
}
