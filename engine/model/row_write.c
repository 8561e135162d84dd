/* The one place that writes rows: the row, its locator, its index entries and counts, its history, and then what its tree
 * and its blobs want to know. */
#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/model/model_internal.h"

struct writer {
    struct kap_model *model;
    uint8_t kind;
    struct kap_id id;
};

static kap_status entry_write(void *context, struct kap_bytes key, const struct kap_bytes *value)
{
    struct writer *writer = context;
    return value ? kap_txn_put(writer->model->txn, key, *value) : kap_txn_delete(writer->model->txn, key);
}

static kap_status count_write(void *context, struct kap_bytes key, int64_t delta)
{
    struct writer *writer = context;
    struct kap_model *model = writer->model;
    struct kap_bytes value;
    uint8_t bytes[8];
    int64_t count = 0;
    kap_status status = kap_txn_get(model->txn, key, &value);
    if (status == KAP_OK && value.len != sizeof bytes)
        return kap_model_refuse(model, KAP_CORRUPT, "a count is not a number");
    if (status == KAP_OK)
        count = (int64_t)kap_le64_load(value.data);
    else if (status != KAP_NOT_FOUND)
        return status;
    count += delta;
    if (count < 0)
        return kap_model_refuse(model, KAP_CORRUPT, "a count is lower than the number of rows it counts");
    if (count == 0)
        return kap_txn_delete(model->txn, key);
    kap_le64_store(bytes, (uint64_t)count);
    return kap_txn_put(model->txn, key, kap_bytes(bytes, sizeof bytes));
}

static kap_status unique_write(void *context, const struct kap_unique_desc *unique, struct kap_bytes key, bool is_put)
{
    struct writer *writer = context;
    struct kap_model *model = writer->model;
    struct kap_bytes holder;
    if (!is_put)
        return kap_txn_delete(model->txn, key);
    kap_status status = kap_txn_get(model->txn, key, &holder);
    if (status == KAP_OK && !kap_bytes_eq(holder, kap_bytes(writer->id.bytes, sizeof writer->id.bytes))) {
        model->error.has_message_key = true;
        model->error.message_key = kap_bytes_str(unique->name);
        return kap_model_refuse_row(model, KAP_UNIQUE, writer->kind, writer->id,
                                    "another %s has this value of the unique key %s",
                                    kap_model_kind_name(model, writer->kind), unique->name);
    }
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    return kap_txn_put(model->txn, key, kap_bytes(writer->id.bytes, sizeof writer->id.bytes));
}

/* What this transaction itself has put under a key; false when nothing. */
static bool own_get(const struct kap_txn *txn, struct kap_bytes key, struct kap_bytes *value_out)
{
    struct kap_memtable_cursor cursor;
    kap_memtable_cursor_init(&cursor, txn->writes);
    if (txn->n_writes == 0 || kap_cursor_seek(&cursor.cursor, key, KAP_SEQ_MAX) != KAP_OK)
        return false;
    const struct kap_entry *entry = &cursor.cursor.entry;
    if (!kap_bytes_eq(entry->key, key) || entry->type != KAP_ENTRY_PUT)
        return false;
    *value_out = entry->value;
    return true;
}

static kap_status record_put(struct kap_model *model, const struct kap_key *key,
                             const struct kap_history_record *record)
{
    struct kap_bytes bytes = kap_wire_encode_in(&kap_history_record_msg, record, model->arena);
    return bytes.data ? kap_txn_put(model->txn, kap_key_bytes(key), bytes) : KAP_NO_MEMORY;
}

/* A second change of the row in one transaction keeps the image of the first: history speaks of commits. */
static kap_status history_again(struct kap_model *model, const struct kap_key *key, struct kap_bytes stored,
                                const struct kap_bytes *after)
{
    struct kap_history_record record;
    kap_status status = kap_wire_decode(&kap_history_record_msg, stored, model->arena, KAP_WIRE_STORED, &record, NULL);
    if (status != KAP_OK)
        return status;
    if (!after && record.op == KAP_CHANGE_OP_CREATE) /* it came and went within the commit */
        return kap_txn_delete(model->txn, kap_key_bytes(key));
    record.op = !after ? KAP_CHANGE_OP_DELETE : record.op == KAP_CHANGE_OP_DELETE ? KAP_CHANGE_OP_UPDATE : record.op;
    return record_put(model, key, &record);
}

static kap_status history_write(struct kap_model *model, const struct kap_row *row, const struct kap_bytes *before,
                                const struct kap_bytes *after, enum kap_change_op op)
{
    struct kap_sys_view sys = {0};
    struct kap_bytes stored;
    struct kap_key key;
    kap_key_history(&key, row->root, row->kind, row->id, model->txn->commit_seq);
    if (own_get(model->txn, kap_key_bytes(&key), &stored))
        return history_again(model, &key, stored, after);
    kap_status status = before ? kap_row_sys(*before, &sys) : KAP_OK;
    if (status != KAP_OK)
        return status;
    struct kap_history_record record = {.has_commit_seq = true,
                                        .commit_seq = model->txn->commit_seq,
                                        .has_at = true,
                                        .at = model->now_us,
                                        .has_actor = !kap_id_is_nil(model->actor),
                                        .actor = model->actor,
                                        .has_op = true,
                                        .op = (int32_t)op,
                                        .has_rev = true,
                                        .rev = sys.rev,
                                        .has_format = true,
                                        .format = before ? KAP_IMAGE_FORMAT_FULL : KAP_IMAGE_FORMAT_MARKER,
                                        .has_image = before != NULL,
                                        .image = before ? *before : kap_bytes("", 0)};
    return record_put(model, &key, &record);
}

static kap_status locator_write(struct kap_model *model, const struct kap_row *row, bool exists)
{
    struct kap_key key;
    kap_key_locator(&key, row->id, row->kind);
    if (!exists)
        return kap_txn_delete(model->txn, kap_key_bytes(&key));
    return kap_txn_put(model->txn, kap_key_bytes(&key), kap_bytes(row->root.bytes, sizeof row->root.bytes));
}

kap_status model_row_write(struct kap_model *model, uint8_t kind, struct kap_id root, struct kap_id id,
                           const struct kap_bytes *before, const struct kap_bytes *after, enum kap_change_op op)
{
    const struct kap_kind_desc *desc = kap_schema_kind(model->schema, kind);
    struct writer writer = {.model = model, .kind = kind, .id = id};
    const struct kap_index_sink sink = {
        .context = &writer, .entry = entry_write, .count = count_write, .unique = unique_write};
    struct kap_row row = {.kind = kind, .root = root, .id = id};
    struct kap_key key;
    KAP_ASSERT(model->txn && desc && (before || after));
    if (after && after->len > KAP_ROW_BYTES_MAX)
        return kap_model_refuse_row(model, KAP_TOO_LARGE, kind, id, "a row has at most %d bytes, this %s has %zu",
                                    KAP_ROW_BYTES_MAX, desc->name, after->len);
    kap_key_row(&key, desc->group, root, kind, id);
    kap_status status =
        after ? kap_txn_put(model->txn, kap_key_bytes(&key), *after) : kap_txn_delete(model->txn, kap_key_bytes(&key));
    if (status == KAP_OK && !model_is_root(model->schema, kind, root, id) && (!before || !after))
        status = locator_write(model, &row, after != NULL);
    if (status == KAP_OK)
        status = kap_index_diff(model->schema, kind, id, before, after, model->arena, &sink);
    if (status == KAP_OK && desc->history)
        status = history_write(model, &row, before, after, op);
    if (status == KAP_OK && desc->group == MODEL_GROUP_GRAPH)
        status = model_tree_touch(model, kind, root, id, before, after);
    if (status == KAP_OK)
        status = model_blobs_follow(model, kind, root, id, before, after);
    return status;
}

kap_status model_row_encode(struct kap_model *model, uint8_t kind, void *message, const struct kap_sys_view *sys,
                            struct kap_bytes *bytes_out)
{
    struct kap_sys *full = kap_arena_push(model->arena, sizeof *full);
    if (!full)
        return KAP_NO_MEMORY;
    *full = (struct kap_sys){.has_id = true,
                             .has_rev = true,
                             .has_created_at = true,
                             .has_updated_at = true,
                             .has_created_by = true,
                             .has_updated_by = true,
                             .has_commit_seq = true};
    *model_sys_of(message) = full;
    struct kap_bytes bytes = kap_wire_encode_in(kap_message_of_kind(kind), message, model->arena);
    if (!bytes.data)
        return KAP_NO_MEMORY;
    KAP_ASSERT(bytes.len >= KAP_SYS_BYTES && bytes.data[1] == KAP_SYS_BYTES - 2);
    kap_row_sys_write((uint8_t *)(uintptr_t)bytes.data, sys);
    *bytes_out = bytes;
    return KAP_OK;
}
