#include "engine/base/checksum.h"
#include "engine/btree/btree_builder.h"
#include "engine/segment/block_image.h"
#include "engine/segment/segment_builder.h"
#include "engine/segment/segment_cursor.h"
#include "engine/segment/segment_format.h"
#include "tests/lib/test.h"
#include "tests/unit/segment/segment_fixture.h"

/* What a disk or an attacker may hand us: never a crash, never an answer that differs. */

static void flip(const struct kap_bytes bytes, size_t bit)
{
    uint8_t *at = (uint8_t *)(uintptr_t)bytes.data + bit / 8;
    *at ^= (uint8_t)(1u << bit % 8);
}

/* Scans until the first fault; everything before it must agree with the oracle. */
static kap_status scan(const struct fixture *f, const struct kap_segment *segment, struct kap_memory *memory)
{
    struct kap_block_image image;
    struct kap_segment_cursor cursor;
    uint32_t slot = 0;
    kap_block_image_init(&image, memory, kap_buffer_bytes(&f->file), 0);
    kap_segment_cursor_init(&cursor, segment, &image.source);
    kap_status status = kap_cursor_seek(&cursor.cursor, kap_bytes(NULL, 0), KAP_SEQ_MAX);
    while (status == KAP_OK) {
        cr_assert_lt(slot, f->count);
        cr_assert(fixture_entry_eq(&cursor.cursor.entry, &f->entries[slot]));
        slot++;
        status = kap_cursor_next(&cursor.cursor);
    }
    if (status == KAP_END)
        cr_assert_eq(slot, f->count);
    if (status == KAP_CORRUPT)
        cr_assert_not_null(strstr(image.error.text, "offset"));
    kap_block_image_deinit(&image);
    return status;
}

static kap_status open_tail(struct fixture *f, const struct kap_segment_meta *meta, struct kap_bytes tail)
{
    struct kap_segment *segment = NULL;
    struct kap_error error = {0};
    kap_status status = kap_segment_open(&f->memory, meta, tail, &segment, &error);
    if (status == KAP_CORRUPT)
        cr_assert_not_null(strstr(error.text, "segment"));
    kap_segment_close(segment);
    return status;
}

static const struct fixture_shape shape_small = {.seed = 21,
                                                 .count = 900,
                                                 .key_bytes = 300,
                                                 .value_bytes = 40,
                                                 .large_every = 300,
                                                 .text = true,
                                                 .trees = {KAP_TREE_ROWS, KAP_TREE_UNIQUE}};

Test(segment_trust, every_flipped_bit_of_the_tail_is_refused)
{
    struct fixture f;
    fixture_init(&f, shape_small, 3);
    struct kap_bytes tail = fixture_tail(&f);
    for (size_t bit = 0; bit < tail.len * 8; bit++) {
        flip(tail, bit);
        cr_assert_eq(open_tail(&f, &f.meta, tail), KAP_CORRUPT, "bit %zu", bit);
        flip(tail, bit);
    }
    cr_assert_eq(open_tail(&f, &f.meta, tail), KAP_OK);
    fixture_deinit(&f);
}

Test(segment_trust, a_cut_tail_and_a_wrong_manifest_are_refused)
{
    struct fixture f;
    fixture_init(&f, shape_small, 3);
    struct kap_bytes tail = fixture_tail(&f);
    for (size_t len = 0; len < tail.len; len++) {
        struct kap_segment_meta meta = f.meta;
        cr_assert_eq(open_tail(&f, &meta, kap_bytes(tail.data, len)), KAP_CORRUPT);
        meta.tail_bytes = (uint32_t)len; /* the manifest agrees with the cut */
        cr_assert_eq(open_tail(&f, &meta, kap_bytes(tail.data, len)), KAP_CORRUPT);
        meta.file_bytes = meta.tail_offset + len;
        cr_assert_eq(open_tail(&f, &meta, kap_bytes(tail.data, len)), KAP_CORRUPT);
        meta = f.meta;
        meta.tail_offset += tail.len - len;
        meta.tail_bytes = (uint32_t)len;
        cr_assert_eq(open_tail(&f, &meta, kap_bytes(tail.data + tail.len - len, len)), KAP_CORRUPT);
    }
    struct kap_segment_meta wrong[10];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        wrong[i] = f.meta;
    wrong[0].file_id++;
    wrong[1].tail_checksum++;
    wrong[2].entries++;
    wrong[3].deletes++;
    wrong[4].seq_min++;
    wrong[5].seq_max++;
    wrong[6].raw_bytes++;
    wrong[7].content_hash++;
    wrong[8].smallest.len--;
    wrong[9].largest = wrong[9].smallest;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(open_tail(&f, &wrong[i], tail), KAP_CORRUPT, "field %zu", i);
    fixture_deinit(&f);
}

/* All bits of all trailers, one in 997 of the rest: a scan ends in KAP_CORRUPT before it shows anything wrong. */
Test(segment_trust, flipped_bits_of_blocks_are_found_when_loaded)
{
    struct fixture f;
    uint32_t flips = 0;
    fixture_init(&f, shape_small, 3);
    struct kap_bytes file = kap_buffer_bytes(&f.file);
    for (size_t bit = 0; bit < f.meta.tail_offset * 8; bit += 997, flips++) {
        flip(file, bit);
        cr_assert_eq(scan(&f, f.segment, &f.memory), KAP_CORRUPT, "bit %zu", bit);
        flip(file, bit);
    }
    struct kap_block_ref ref;
    cr_assert(kap_segment_leaf_of(f.segment, f.entries[f.count / 2].key, 0, &ref));
    struct kap_bytes stored = kap_bytes(f.file.data + ref.offset, ref.stored_bytes);
    for (size_t bit = (stored.len - sizeof(struct block_trailer)) * 8; bit < stored.len * 8; bit++, flips++) {
        struct kap_block *block = NULL;
        flip(stored, bit);
        cr_assert_eq(kap_block_load(&f.memory, &ref, stored, &block, NULL), KAP_CORRUPT);
        flip(stored, bit);
    }
    cr_log_info("%u flips", flips);
    cr_assert_eq(scan(&f, f.segment, &f.memory), KAP_END);
    fixture_deinit(&f);
}

/* A good block of another place or another file, or an older one at this place, is not the block asked for. */
Test(segment_trust, misdirected_and_stale_blocks_are_refused)
{
    struct fixture f, other;
    struct kap_block_ref ref, foreign;
    struct kap_block *block = NULL;
    fixture_init(&f, shape_small, 3);
    fixture_init(&other, shape_small, 4); /* the same entries */
    cr_assert(kap_segment_leaf_of(f.segment, f.entries[0].key, 0, &ref));
    cr_assert(kap_segment_leaf_of(other.segment, f.entries[0].key, 0, &foreign));
    cr_assert_eq(ref.offset, foreign.offset);
    cr_assert_eq(ref.stored_bytes, foreign.stored_bytes);
    struct kap_bytes stored = kap_bytes(other.file.data + ref.offset, ref.stored_bytes);
    cr_assert_eq(kap_block_load(&f.memory, &ref, stored, &block, NULL), KAP_CORRUPT);
    foreign.file_id = 3; /* even with its own checksum, the trailer says where it belongs */
    cr_assert_eq(kap_block_load(&f.memory, &foreign, stored, &block, NULL), KAP_CORRUPT);
    foreign.file_id = 4;
    foreign.offset++;
    cr_assert_eq(kap_block_load(&f.memory, &foreign, stored, &block, NULL), KAP_CORRUPT);
    foreign.offset--;
    foreign.type = KAP_BLOCK_OVERFLOW;
    cr_assert_eq(kap_block_load(&f.memory, &foreign, stored, &block, NULL), KAP_CORRUPT);
    fixture_deinit(&other);
    fixture_deinit(&f);
}

static void leaf_walk(const struct kap_leaf *leaf, uint64_t *random)
{
    static struct kap_leaf_iter iter;
    uint8_t key[KAP_KEY_BYTES_MAX];
    uint64_t sum = 0;
    kap_leaf_first(&iter, leaf);
    do {
        for (uint32_t at = 0; at < iter.key_bytes; at++)
            sum += iter.key[at];
        for (uint32_t at = 0; at < iter.value_bytes; at++)
            sum += iter.value[at];
        if (fixture_random(random) % 8 == 0) {
            memcpy(key, iter.key, iter.key_bytes);
            uint64_t seq = iter.seq;
            cr_assert(kap_leaf_seek(&iter, leaf, kap_bytes(key, iter.key_bytes), seq));
            cr_assert_eq(iter.seq, seq); /* a leaf that passed the check is in order */
        }
    } while (kap_leaf_next(&iter));
    for (size_t at = 0; at < sizeof key; at++)
        key[at] = (uint8_t)fixture_random(random);
    (void)kap_leaf_seek(&iter, leaf, kap_bytes(key, fixture_random(random) % sizeof key), 7);
    cr_assert_neq(sum, UINT64_MAX);
}

/* Well-checksummed nonsense: the check lets pass only what can be walked within bounds (the sanitizers watch). */
Test(segment_trust, a_changed_leaf_with_a_good_checksum_is_refused_or_harmless)
{
    struct fixture f;
    uint64_t random = 5;
    uint32_t passed = 0, rounds = 40000;
    fixture_init(&f, (struct fixture_shape){.seed = 22, .count = 300, .keys = 60, .large_every = 40}, 3);
    struct kap_block_ref ref;
    struct kap_block *block = NULL;
    cr_assert(kap_segment_leaf_of(f.segment, f.entries[f.count - 1].key, 0, &ref));
    size_t len = ref.stored_bytes - sizeof(struct block_trailer);
    struct kap_buffer sealed;
    kap_buffer_init(&sealed, &f.memory);
    for (uint32_t round = 0; round < rounds; round++) {
        uint8_t payload[KAP_LEAF_BYTES_MAX];
        memcpy(payload, f.file.data + ref.offset, len);
        for (uint64_t changes = 1 + fixture_random(&random) % 3; changes > 0; changes--) {
            size_t at = fixture_random(&random) % (round % 2 ? len : 200);
            payload[at] = (uint8_t)(round % 3 ? fixture_random(&random) : payload[at] + 1u);
        }
        struct kap_block_ref sealed_ref;
        kap_buffer_clear(&sealed);
        size_t cut = round % 7 ? len : fixture_random(&random) % len + 1;
        kap_block_seal(&sealed, 3, 0, KAP_BLOCK_LEAF, round % 5 == 0, kap_bytes(payload, cut), &sealed_ref);
        if (kap_block_load(&f.memory, &sealed_ref, kap_buffer_bytes(&sealed), &block, NULL) != KAP_OK)
            continue;
        passed++;
        leaf_walk(&block->leaf, &random);
        kap_block_free(&f.memory, block);
    }
    cr_log_info("%u of %u changed leaves pass the check", passed, rounds);
    cr_assert_gt(passed, 0u);
    kap_buffer_deinit(&sealed);
    fixture_deinit(&f);
}

Test(segment_trust, a_changed_node_with_a_good_checksum_is_refused_or_harmless)
{
    struct kap_memory memory = {0};
    struct kap_btree_builder builder;
    struct kap_btree_built built;
    struct kap_buffer out;
    uint64_t random = 6;
    uint32_t passed = 0, rounds = 100000;
    kap_btree_builder_init(&builder, &memory);
    kap_buffer_init(&out, &memory);
    for (uint32_t leaf = 0; leaf < 40; leaf++) {
        uint8_t key[12] = "prefix";
        kap_be32_store(key + 6, leaf / 2);
        struct kap_block_ref ref = {.offset = leaf * 1000, .stored_bytes = 1000, .type = KAP_BLOCK_LEAF};
        struct kap_separator separator = {.key = kap_bytes(key, 10), .seq = leaf % 2 ? 500 : KAP_SEQ_MAX};
        cr_assert_eq(kap_btree_builder_add(&builder, &ref, &separator), KAP_OK);
    }
    cr_assert_eq(kap_btree_builder_finish(&builder, 1, 40000, &out, &built), KAP_OK);
    cr_assert_eq(built.height, 2);
    size_t len = out.len - sizeof(struct block_trailer);
    uint8_t *payload = kap_memory_alloc(&memory, len); /* its own block, so that the sanitizer sees its end */
    for (uint32_t round = 0; round < rounds; round++) {
        struct kap_node node;
        uint8_t key[16] = "prefix";
        memcpy(payload, out.data, len);
        for (uint64_t changes = 1 + fixture_random(&random) % 3; changes > 0; changes--) {
            size_t at = fixture_random(&random) % len;
            payload[at] = (uint8_t)(round % 3 ? fixture_random(&random) : payload[at] + 1u);
        }
        if (!kap_node_check(kap_bytes(payload, len), &node))
            continue;
        passed++;
        kap_be64_store(key + 6, fixture_random(&random) >> 28);
        uint32_t slot =
            kap_node_search(&node, kap_bytes(key, fixture_random(&random) % 15), fixture_random(&random) % 999);
        cr_assert_lt(slot, node.child_count);
    }
    cr_log_info("%u of %u changed nodes pass the check", passed, rounds);
    kap_memory_free(&memory, payload);
    kap_btree_builder_deinit(&builder);
    kap_buffer_deinit(&out);
    cr_assert_eq(kap_memory_used(&memory), 0u);
}

/* A tail changed anywhere, with footer and body checksums made good again, as the manifest would have it. */
Test(segment_trust, a_changed_tail_with_good_checksums_is_refused_or_harmless)
{
    struct fixture f;
    uint64_t random = 7;
    uint32_t passed = 0, rounds = 30000;
    struct segment_footer footer;
    fixture_init(&f, shape_small, 3);
    struct kap_bytes tail = fixture_tail(&f);
    uint8_t *copy = kap_memory_alloc(&f.memory, tail.len);
    memcpy(&footer, tail.data + tail.len - sizeof footer, sizeof footer);
    size_t inner_offset = kap_le32_get(footer.inner_offset);
    size_t used = kap_le32_get(footer.keys_offset) + kap_le16_get(footer.smallest_bytes);
    for (uint32_t round = 0; round < rounds; round++) {
        struct kap_segment *segment = NULL;
        size_t body = tail.len - sizeof footer;
        memcpy(copy, tail.data, tail.len);
        for (uint64_t changes = 1 + fixture_random(&random) % 2; changes > 0; changes--) {
            size_t at = inner_offset + fixture_random(&random) % (used - inner_offset);
            if (round % 2)
                at = body + 48 + fixture_random(&random) % 100;
            copy[at] = (uint8_t)(round % 3 ? fixture_random(&random) : copy[at] + 1u);
        }
        memcpy(&footer, copy + body, sizeof footer);
        footer.body_checksum = kap_le64_of(kap_checksum(copy, body, KAP_SEED_FOOTER));
        footer.checksum = kap_le64_of(kap_checksum(&footer.magic, sizeof footer - 8, KAP_SEED_FOOTER));
        memcpy(copy + body, &footer, sizeof footer);
        struct kap_segment_meta meta;
        if (kap_segment_meta_of_footer(kap_bytes(copy + body, sizeof footer), 3, f.meta.file_bytes, &meta, NULL) !=
                KAP_OK ||
            meta.tail_bytes != tail.len ||
            kap_segment_open(&f.memory, &meta, kap_bytes(copy, tail.len), &segment, NULL) != KAP_OK)
            continue;
        passed++;
        for (uint32_t slot = 0; slot < f.count; slot += 97) {
            struct kap_block_ref ref;
            (void)kap_segment_may_contain(segment, f.entries[slot].key);
            (void)kap_segment_may_contain_prefix(segment, f.entries[slot].key);
            if (kap_segment_leaf_of(segment, f.entries[slot].key, 1, &ref))
                cr_assert_leq(ref.offset + ref.stored_bytes, f.meta.tail_offset);
        }
        kap_segment_close(segment);
    }
    cr_log_info("%u of %u changed tails open", passed, rounds);
    kap_memory_free(&f.memory, copy);
    fixture_deinit(&f);
}

struct countdown {
    uint32_t left, calls;
};

static int countdown_allow(void *context, size_t bytes)
{
    struct countdown *countdown = context;
    (void)bytes;
    countdown->calls++;
    return countdown->left == 0 || --countdown->left > 0;
}

static kap_status build_open_scan(struct fixture *f, struct kap_memory *memory)
{
    struct kap_segment *segment = NULL;
    kap_status status = fixture_build(f, memory, 8);
    if (status == KAP_OK)
        status = kap_segment_open(memory, &f->meta, fixture_tail(f), &segment, NULL);
    if (status == KAP_OK)
        status = scan(f, segment, memory);
    kap_segment_close(segment);
    return status;
}

Test(segment_trust, a_refused_allocation_is_an_error_and_leaks_nothing)
{
    struct fixture f;
    uint32_t fail = 1;
    fixture_draw(&f, (struct fixture_shape){.seed = 23,
                                            .count = 3000,
                                            .key_bytes = 700,
                                            .value_bytes = 300,
                                            .large_every = 200,
                                            .trees = {KAP_TREE_ROWS, KAP_TREE_UNIQUE, 300}});
    for (;; fail++) {
        struct countdown countdown = {.left = fail};
        struct kap_memory memory = {.allow = countdown_allow, .allow_context = &countdown};
        kap_status status = build_open_scan(&f, &memory);
        cr_assert_eq(kap_memory_used(&memory), 0u, "allocation %u", fail);
        if (status == KAP_END) {
            cr_assert_eq(countdown.calls, fail - 1 + (countdown.left == 0));
            break;
        }
        cr_assert_eq(status, KAP_NO_MEMORY, "allocation %u", fail);
    }
    cr_log_info("%u allocations", fail - 1);
    fixture_deinit(&f);
}
