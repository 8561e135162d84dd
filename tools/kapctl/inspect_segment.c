#include "engine/base/arena.h"
#include "engine/segment/segment_format.h"
#include "engine/segment/segment_reader.h"
#include "tools/kapctl/inspect.h"
#include "tools/kapctl/key_text.h"
#include "tools/kapctl/segment_walk.h"

struct entries {
    const struct inspect_input *input;
    json_t *document;
    struct kap_arena arena;
    unsigned long n;
};

static void figures_fill(const struct kap_segment *segment, json_t *document)
{
    const struct kap_segment_meta *meta = kap_segment_meta(segment);
    char key[KEY_TEXT_BYTES], tree[TREE_TEXT_BYTES];
    json_t *footer = out_section(document, "footer");
    out_number(footer, "file_id", meta->file_id);
    out_number(footer, "file_bytes", meta->file_bytes);
    out_number(footer, "tail_offset", meta->tail_offset);
    out_number(footer, "tail_bytes", meta->tail_bytes);
    out_text(footer, "tail_checksum", "%016llx", (unsigned long long)meta->tail_checksum);
    out_number(footer, "entries", meta->entries);
    out_number(footer, "deletes", meta->deletes);
    out_number(footer, "seq_min", meta->seq_min);
    out_number(footer, "seq_max", meta->seq_max);
    out_number(footer, "raw_bytes", meta->raw_bytes);
    out_text(footer, "content_hash", "%016llx", (unsigned long long)meta->content_hash);
    tree_text(kap_tree_of(meta->smallest), tree);
    key_text(meta->smallest, key);
    out_text(footer, "smallest", "%s %s", tree, key);
    tree_text(kap_tree_of(meta->largest), tree);
    key_text(meta->largest, key);
    out_text(footer, "largest", "%s %s", tree, key);
}

static void trees_fill(const struct kap_segment *segment, json_t *document)
{
    char name[TREE_TEXT_BYTES];
    for (uint32_t slot = 0; slot < kap_segment_tree_count(segment); slot++) {
        struct kap_segment_tree_stats stats = kap_segment_tree_stats(segment, slot);
        json_t *row = out_row(out_list(document, "trees"));
        tree_text(stats.tree, name);
        out_text(row, "relation", "%s", name);
        out_number(row, "tree", stats.tree);
        out_number(row, "entries", stats.entries);
        out_number(row, "deletes", stats.deletes);
        out_number(row, "height", stats.height);
        out_number(row, "leaves", stats.leaf_count);
        out_number(row, "leaf_bytes", stats.leaf_bytes);
        out_number(row, "overflow_bytes", stats.overflow_bytes);
        out_number(row, "inner_nodes", stats.inner_count);
        out_number(row, "inner_bytes", stats.inner_bytes);
        out_number(row, "raw_bytes", stats.raw_bytes);
    }
}

static kap_status entry_add(void *context, const struct kap_entry *entry)
{
    struct entries *entries = context;
    char tree[TREE_TEXT_BYTES], key[KEY_TEXT_BYTES];
    if (entries->n++ >= entries->input->ctl->entries_max)
        return KAP_END;
    kap_arena_reset(&entries->arena);
    const char *value = value_text(entry, &entries->arena);
    json_t *row = out_row(out_list(entries->document, "entries"));
    tree_text(kap_tree_of(entry->key), tree);
    key_text(entry->key, key);
    out_text(row, "relation", "%s", tree);
    out_text(row, "key", "%s", key);
    out_number(row, "seq", entry->seq);
    out_text(row, "type", "%s", entry->type == KAP_ENTRY_DELETE ? "delete" : "put");
    out_number(row, "bytes", entry->value.len);
    out_text(row, "value", "%s", value ? value : "");
    return KAP_OK;
}

static void damage_add(void *context, const char *text)
{
    struct entries *entries = context;
    json_array_append_new(out_list(entries->document, "damage"), json_string(text));
}

static kap_status entries_fill(const struct inspect_input *input, const struct kap_segment *segment, json_t *document)
{
    struct entries entries = {.input = input, .document = document};
    struct segment_walk walk = {.memory = input->memory,
                                .segment = segment,
                                .file = input->bytes,
                                .entry = entry_add,
                                .damage = damage_add,
                                .context = &entries};
    kap_arena_init(&entries.arena, input->memory, 64 * 1024, 0);
    kap_status status = segment_walk(&walk);
    kap_arena_deinit(&entries.arena);
    return status == KAP_OK && json_object_get(document, "damage") ? KAP_CORRUPT : status;
}

enum ctl_exit inspect_segment(const struct inspect_input *input, json_t *document)
{
    struct kap_segment_meta meta;
    struct kap_segment *segment = NULL;
    struct kap_error error = {0};
    struct kap_bytes file = input->bytes;
    if (file.len < KAP_SEGMENT_FOOTER_BYTES) {
        json_array_append_new(out_list(document, "damage"), json_string("the file is too short for a segment"));
        return CTL_CORRUPT;
    }
    struct kap_bytes footer_bytes =
        kap_bytes(file.data + file.len - KAP_SEGMENT_FOOTER_BYTES, KAP_SEGMENT_FOOTER_BYTES);
    struct segment_footer footer;
    memcpy(&footer, footer_bytes.data, sizeof footer);
    uint64_t file_id = input->has_number ? input->number : kap_le64_get(footer.file_id);
    kap_status status = kap_segment_meta_of_footer(footer_bytes, file_id, file.len, &meta, &error);
    if (status == KAP_OK)
        status =
            kap_segment_open(input->memory, &meta, kap_bytes(file.data + meta.tail_offset, file.len - meta.tail_offset),
                             &segment, &error);
    if (status == KAP_OK) {
        figures_fill(segment, document);
        trees_fill(segment, document);
        if (input->ctl->entries)
            status = entries_fill(input, segment, document);
    }
    kap_segment_close(segment);
    if (error.text[0])
        json_array_append_new(out_list(document, "damage"), json_string(error.text));
    return ctl_exit_of(status);
}
