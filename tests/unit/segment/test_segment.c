#include "engine/segment/block_image.h"
#include "engine/segment/segment_builder.h"
#include "engine/segment/segment_cursor.h"
#include "tests/lib/test.h"
#include "tests/unit/segment/segment_fixture.h"

static void check_at(const struct fixture *f, kap_status status, const struct kap_cursor *cursor, uint32_t slot)
{
    if (slot == f->count) {
        cr_assert_eq(status, KAP_END);
        return;
    }
    cr_assert_eq(status, KAP_OK);
    cr_assert(fixture_entry_eq(&cursor->entry, &f->entries[slot]), "slot %u", slot);
}

static void check_seek(const struct fixture *f, struct kap_cursor *cursor, struct kap_bytes key, uint64_t seq)
{
    check_at(f, kap_cursor_seek(cursor, key, seq), cursor, fixture_find(f, key, seq));
}

/* At the entry, just before and after it, at its key's first and last version, between it and its neighbours. */
static void check_seeks_around(const struct fixture *f, struct kap_cursor *cursor, uint32_t slot)
{
    const struct kap_entry *entry = &f->entries[slot];
    uint8_t bytes[KAP_KEY_BYTES_MAX + 1];
    size_t len = entry->key.len;
    const uint64_t seqs[] = {entry->seq, entry->seq + 1, entry->seq - 1, KAP_SEQ_MAX, 0};
    for (size_t i = 0; i < sizeof seqs / sizeof *seqs; i++)
        check_seek(f, cursor, entry->key, seqs[i]);
    memcpy(bytes, entry->key.data, len);
    bytes[len] = 0;
    check_seek(f, cursor, kap_bytes(bytes, len + 1), KAP_SEQ_MAX);
    for (size_t cut = 0; cut < len; cut += 1 + cut / 4)
        check_seek(f, cursor, kap_bytes(bytes, cut), KAP_SEQ_MAX);
    bytes[len - 1]++;
    check_seek(f, cursor, kap_bytes(bytes, len), KAP_SEQ_MAX);
    bytes[len - 1] = (uint8_t)(bytes[len - 1] - 2);
    check_seek(f, cursor, kap_bytes(bytes, len), 5);
}

static void check_all(struct fixture_shape shape, uint32_t every)
{
    struct fixture f;
    struct kap_block_image image;
    struct kap_segment_cursor cursor;
    fixture_init(&f, shape, 77);
    kap_block_image_init(&image, &f.memory, kap_buffer_bytes(&f.file), 0);
    kap_segment_cursor_init(&cursor, f.segment, &image.source);
    struct kap_cursor *c = &cursor.cursor;
    check_at(&f, kap_cursor_seek(c, kap_bytes(NULL, 0), KAP_SEQ_MAX), c, 0);
    for (uint32_t slot = 1; slot <= f.count; slot++)
        check_at(&f, kap_cursor_next(c), c, slot);
    for (uint32_t slot = 0; slot < f.count; slot += every) {
        check_seeks_around(&f, c, slot);
        check_at(&f, kap_cursor_seek(c, f.entries[slot].key, f.entries[slot].seq), c, slot);
        for (uint32_t step = 1; step < 20 && slot + step <= f.count; step++)
            check_at(&f, kap_cursor_next(c), c, slot + step);
    }
    cr_log_info("%u entries, %llu bytes, tail %u", f.count, (unsigned long long)f.meta.file_bytes, f.meta.tail_bytes);
    kap_block_image_deinit(&image);
    fixture_deinit(&f);
}

Test(segment, answers_as_a_sorted_array_small_entries_in_several_trees)
{
    check_all(
        (struct fixture_shape){
            .seed = 1, .count = 20000, .delete_every = 7, .trees = {KAP_TREE_LOCATOR, KAP_TREE_COUNT, 300, 511}},
        3);
}

Test(segment, answers_as_a_sorted_array_rows_that_compress)
{
    check_all(
        (struct fixture_shape){
            .seed = 2, .count = 3000, .key_bytes = 34, .value_bytes = 900, .text = true, .trees = {KAP_TREE_ROWS}},
        1);
}

Test(segment, answers_as_a_sorted_array_large_values)
{
    check_all((struct fixture_shape){.seed = 3,
                                     .count = 400,
                                     .large_every = 4,
                                     .delete_every = 9,
                                     .trees = {KAP_TREE_ROWS, KAP_TREE_UNIQUE, KAP_TREE_HISTORY}},
              1);
}

Test(segment, answers_as_a_sorted_array_versions_across_blocks)
{
    check_all((struct fixture_shape){.seed = 4, .count = 6000, .keys = 5, .value_bytes = 200}, 1);
    check_all((struct fixture_shape){.seed = 5, .count = 6000, .keys = 1, .value_bytes = 30}, 1);
    check_all((struct fixture_shape){.seed = 6, .count = 3000, .keys = 40, .key_bytes = 900, .value_bytes = 9000}, 1);
}

Test(segment, answers_as_a_sorted_array_long_keys_in_a_high_tree)
{
    check_all((struct fixture_shape){.seed = 7, .count = 6000, .key_bytes = KAP_KEY_BYTES_MAX - 2, .value_bytes = 5},
              5);
    check_all((struct fixture_shape){.seed = 8, .count = 40000, .key_bytes = 60, .value_bytes = 300}, 101);
}

Test(segment, one_entry_and_none)
{
    check_all((struct fixture_shape){.seed = 9, .count = 1}, 1);
    check_all((struct fixture_shape){.seed = 10, .count = 1, .large_every = 1}, 1);
    check_all((struct fixture_shape){.seed = 11, .count = 0}, 1);
}

Test(segment, many_random_shapes)
{
    uint64_t random = 4711;
    for (int round = 0; round < 60; round++) {
        struct fixture_shape shape = {
            .seed = fixture_random(&random),
            .count = (uint32_t)(fixture_random(&random) % 700),
            .keys = fixture_random(&random) % 2 ? 0 : (uint32_t)(1 + fixture_random(&random) % 200),
            .key_bytes = fixture_random(&random) % 3 ? 0 : (uint32_t)(1 + fixture_random(&random) % 200),
            .value_bytes = fixture_random(&random) % 3 ? 0 : (uint32_t)(1 + fixture_random(&random) % 2000),
            .large_every = fixture_random(&random) % 4 ? 0 : 50,
            .delete_every = (uint32_t)(fixture_random(&random) % 5),
            .trees = {KAP_TREE_ROWS, 300},
            .text = fixture_random(&random) % 2,
        };
        check_all(shape, 3);
    }
}

/* Inner nodes of the tree must be as many as the height says, and everything must add up to the file. */
Test(segment, statistics_add_up_and_meta_comes_back_from_the_footer)
{
    struct fixture f;
    struct kap_segment_meta meta;
    struct fixture_shape shape = {.seed = 12,
                                  .count = 30000,
                                  .key_bytes = 40,
                                  .value_bytes = 100,
                                  .large_every = 997,
                                  .delete_every = 11,
                                  .trees = {KAP_TREE_ROWS, KAP_TREE_UNIQUE, 260, 261}};
    fixture_init(&f, shape, 5);
    uint64_t entries = 0, deletes = 0, stored = 0, hash = 0, seq_min = KAP_SEQ_MAX, seq_max = 0;
    for (uint32_t slot = 0; slot < kap_segment_tree_count(f.segment); slot++) {
        struct kap_segment_tree_stats stats = kap_segment_tree_stats(f.segment, slot);
        cr_assert_eq(stats.height, 2);
        cr_assert_eq(stats.inner_count, 1u);
        entries += stats.entries;
        deletes += stats.deletes;
        stored += stats.leaf_bytes + stats.overflow_bytes;
    }
    cr_assert_eq(kap_segment_tree_count(f.segment), 4u);
    cr_assert_eq(entries, f.count);
    cr_assert_eq(deletes, f.meta.deletes);
    cr_assert_eq(stored, f.meta.tail_offset);
    for (uint32_t slot = 0; slot < f.count; slot++) {
        hash += kap_segment_entry_hash(&f.entries[slot]);
        seq_min = f.entries[slot].seq < seq_min ? f.entries[slot].seq : seq_min;
        seq_max = f.entries[slot].seq > seq_max ? f.entries[slot].seq : seq_max;
    }
    cr_assert_eq(hash, f.meta.content_hash);
    cr_assert_eq(seq_min, f.meta.seq_min);
    cr_assert_eq(seq_max, f.meta.seq_max);
    cr_assert(kap_bytes_eq(f.meta.smallest, f.entries[0].key));
    cr_assert(kap_bytes_eq(f.meta.largest, f.entries[f.count - 1].key));
    struct kap_bytes footer = kap_bytes(f.file.data + f.file.len - KAP_SEGMENT_FOOTER_BYTES, KAP_SEGMENT_FOOTER_BYTES);
    cr_assert_eq(kap_segment_meta_of_footer(footer, 5, f.file.len, &meta, NULL), KAP_OK);
    kap_segment_close(f.segment);
    f.segment = NULL;
    cr_assert_eq(kap_segment_open(&f.memory, &meta, fixture_tail(&f), &f.segment, NULL), KAP_OK);
    cr_assert(kap_bytes_eq(kap_segment_meta(f.segment)->largest, f.meta.largest));
    cr_assert_eq(kap_segment_meta_of_footer(footer, 6, f.file.len, &meta, NULL), KAP_CORRUPT);
    fixture_deinit(&f);
}

Test(segment, filters_miss_nothing_and_let_little_through)
{
    struct fixture f;
    uint64_t random = 99;
    uint32_t wrong = 0, wrong_prefix = 0, asked = 20000;
    fixture_init(&f, (struct fixture_shape){.seed = 13, .count = 20000, .key_bytes = 30, .trees = {KAP_TREE_ROWS}}, 1);
    for (uint32_t slot = 0; slot < f.count; slot++) {
        struct kap_bytes key = f.entries[slot].key;
        cr_assert(kap_segment_may_contain(f.segment, key));
        for (size_t len = 0; len <= key.len; len++)
            cr_assert(kap_segment_may_contain_prefix(f.segment, kap_bytes(key.data, len)));
    }
    for (uint32_t i = 0; i < asked; i++) {
        uint8_t key[32] = {0, KAP_TREE_ROWS};
        for (size_t at = 2; at < sizeof key; at++)
            key[at] = (uint8_t)(2 + fixture_random(&random) % 254);
        wrong += kap_segment_may_contain(f.segment, kap_bytes(key, sizeof key));
        wrong_prefix += kap_segment_may_contain_prefix(f.segment, kap_bytes(key, sizeof key));
        key[1] = KAP_TREE_BLOB;
        cr_assert_not(kap_segment_may_contain(f.segment, kap_bytes(key, sizeof key)));
        cr_assert_not(kap_segment_may_contain_prefix(f.segment, kap_bytes(key, 2)));
    }
    cr_log_info("false positives of %u: keys %u, prefixes %u", asked, wrong, wrong_prefix);
    cr_assert_lt(wrong, asked / 50);
    cr_assert_lt(wrong_prefix, asked / 50);
    fixture_deinit(&f);
}

/* How compaction reads: a piece of the file at a time, seeking again after every KAP_PENDING. */
Test(segment, a_moving_window_sees_every_entry)
{
    struct fixture f;
    struct kap_block_image image;
    struct kap_segment_cursor cursor;
    uint8_t key[KAP_KEY_BYTES_MAX];
    fixture_init(&f, (struct fixture_shape){.seed = 14, .count = 5000, .value_bytes = 300, .large_every = 500}, 1);
    kap_block_image_init(&image, &f.memory, kap_bytes(NULL, 0), 0);
    kap_segment_cursor_init(&cursor, f.segment, &image.source);
    kap_status status = kap_cursor_seek(&cursor.cursor, kap_bytes(NULL, 0), KAP_SEQ_MAX);
    uint32_t slot = 0, moves = 0;
    while (status != KAP_END) {
        if (status == KAP_PENDING) {
            uint64_t from = image.missing.offset > 300000 ? image.missing.offset - 300000 : 0;
            size_t len = f.file.len - from < 600000 ? f.file.len - from : 600000;
            kap_block_image_move(&image, kap_bytes(f.file.data + from, len), from);
            moves++;
            struct kap_bytes at = slot ? f.entries[slot - 1].key : kap_bytes(NULL, 0);
            if (at.len)
                memcpy(key, at.data, at.len);
            status = kap_cursor_seek(&cursor.cursor, kap_bytes(key, at.len),
                                     slot ? f.entries[slot - 1].seq - 1 : KAP_SEQ_MAX);
            continue;
        }
        check_at(&f, status, &cursor.cursor, slot++);
        status = kap_cursor_next(&cursor.cursor);
    }
    cr_assert_eq(slot, f.count);
    cr_assert_lt(moves, 30u);
    kap_block_image_deinit(&image);
    fixture_deinit(&f);
}
