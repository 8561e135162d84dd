#include "tools/kapctl/segment_walk.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/segment/block_image.h"
#include "engine/segment/segment_cursor.h"

struct before { /* the last entry, for the order */
    uint64_t seq;
    size_t len;
    uint8_t key[KAP_KEY_BYTES_MAX];
};

static void damage_tell(struct segment_walk *walk, const char *text)
{
    walk->damages++;
    walk->damage(walk->context, text);
}

static bool order_holds(struct before *before, const struct kap_entry *entry)
{
    struct kap_entry last = {.key = kap_bytes(before->key, before->len), .seq = before->seq};
    bool holds = before->len == 0 || kap_entry_cmp(&last, entry) < 0;
    memcpy(before->key, entry->key.data, entry->key.len);
    before->len = entry->key.len;
    before->seq = entry->seq;
    return holds;
}

static kap_status entry_take(struct segment_walk *walk, struct before *before, const struct kap_entry *entry)
{
    if (!order_holds(before, entry)) {
        damage_tell(walk, "two entries are not in order although their blocks match their checksums");
        return KAP_CORRUPT;
    }
    walk->entries++;
    walk->deletes += entry->type == KAP_ENTRY_DELETE;
    walk->seq_min = walk->entries == 1 ? entry->seq : KAP_MIN(walk->seq_min, entry->seq);
    walk->seq_max = KAP_MAX(walk->seq_max, entry->seq);
    walk->content_hash += kap_segment_entry_hash(entry);
    return walk->entry ? walk->entry(walk->context, entry) : KAP_OK;
}

/* KAP_OK: walked or damaged and told; KAP_END: whoever looks has enough. */
static kap_status tree_walk(struct segment_walk *walk, uint16_t tree, struct kap_block_image *image)
{
    struct kap_segment_cursor *cursor = kap_memory_alloc(walk->memory, sizeof *cursor);
    struct before *before = kap_memory_alloc(walk->memory, sizeof *before);
    uint8_t from[KAP_TREE_BYTES] = {(uint8_t)(tree >> 8), (uint8_t)tree};
    kap_status status = cursor && before ? KAP_OK : KAP_NO_MEMORY;
    if (status == KAP_OK) {
        kap_segment_cursor_init(cursor, walk->segment, &image->source);
        status = kap_cursor_seek(&cursor->cursor, kap_bytes(from, sizeof from), KAP_SEQ_MAX);
    }
    bool taken = false;
    while (status == KAP_OK && kap_tree_of(cursor->cursor.entry.key) == tree) {
        status = entry_take(walk, before, &cursor->cursor.entry);
        taken = status == KAP_END || status == KAP_CORRUPT;
        if (status == KAP_OK)
            status = kap_cursor_next(&cursor->cursor);
    }
    if (status == KAP_PENDING)
        damage_tell(walk, "a block lies beyond the end of the file");
    else if (status == KAP_CORRUPT && !taken)
        damage_tell(walk, image->error.text);
    image->error = (struct kap_error){0};
    kap_memory_free(walk->memory, cursor);
    kap_memory_free(walk->memory, before);
    if (status == KAP_NO_MEMORY || (status == KAP_END && taken))
        return status;
    return KAP_OK;
}

static void figures_compare(struct segment_walk *walk)
{
    const struct kap_segment_meta *meta = kap_segment_meta(walk->segment);
    if (walk->entries != meta->entries || walk->deletes != meta->deletes)
        damage_tell(walk, "the entries are not as many as the footer says");
    else if (walk->content_hash != meta->content_hash)
        damage_tell(walk, "the entries are not those that the footer's hash was made of");
    else if (walk->entries > 0 && (walk->seq_min != meta->seq_min || walk->seq_max != meta->seq_max))
        damage_tell(walk, "the sequence numbers are not those of the footer");
}

kap_status segment_walk(struct segment_walk *walk)
{
    struct kap_block_image image;
    kap_status status = KAP_OK;
    kap_block_image_init(&image, walk->memory, walk->file, 0);
    for (uint32_t slot = 0; slot < kap_segment_tree_count(walk->segment) && status == KAP_OK; slot++) {
        status = tree_walk(walk, kap_segment_tree_stats(walk->segment, slot).tree, &image);
        kap_block_image_move(&image, walk->file, 0);
    }
    kap_block_image_deinit(&image);
    if (status == KAP_OK && walk->damages == 0)
        figures_compare(walk);
    return status == KAP_END ? KAP_OK : status;
}
