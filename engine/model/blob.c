#include "engine/model/blob.h"

#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/base/uuid.h"
#include "engine/model/model_internal.h"

enum { BLOBS_PER_ROW_MAX = 32 };

/* Fields that name a blob; inner: the field of the messages in it that does. */
static const struct blob_field {
    uint8_t kind;
    uint16_t field, inner;
} blob_fields[] = {
    {KAP_KIND_PROFILE, 5, 0},
    {KAP_KIND_SESSION, 19, 0},
    {KAP_KIND_EXERCISE, 33, 1},
};

struct use {
    uint16_t field;
    uint32_t slot;
    struct kap_bytes hash;
};

struct uses {
    struct use at[BLOBS_PER_ROW_MAX];
    uint32_t n;
};

static const struct blob_field *field_of_kind(uint8_t kind)
{
    for (size_t i = 0; i < KAP_ARRAY_LEN(blob_fields); i++)
        if (blob_fields[i].kind == kind)
            return &blob_fields[i];
    return NULL;
}

static kap_status uses_read(const struct blob_field *field, const struct kap_bytes *row, struct uses *uses)
{
    uses->n = 0;
    for (uint32_t slot = 0; row && uses->n < BLOBS_PER_ROW_MAX; slot++) {
        struct kap_column column;
        kap_status status = kap_row_column(*row, field->field, slot, &column);
        if (status != KAP_OK || !column.present)
            return status;
        if (field->inner)
            status = kap_row_column(column.bytes, field->inner, 0, &column);
        if (status != KAP_OK)
            return status;
        if (column.present && column.bytes.len == KAP_BLOB_HASH_BYTES)
            uses->at[uses->n++] = (struct use){.field = field->field, .slot = slot, .hash = column.bytes};
        if (!field->inner)
            break;
    }
    return KAP_OK;
}

static bool uses_hold(const struct uses *uses, const struct use *use, bool any_place)
{
    for (uint32_t i = 0; i < uses->n; i++)
        if (kap_bytes_eq(uses->at[i].hash, use->hash) && (any_place || uses->at[i].slot == use->slot))
            return true;
    return false;
}

static void blob_key(struct kap_key *key, struct kap_bytes hash)
{
    kap_key_init(key, KAP_TREE_BLOB);
    kap_key_put(key, hash.data, hash.len);
}

static struct kap_id half_of(struct kap_bytes hash)
{
    struct kap_id id;
    memcpy(id.bytes, hash.data, sizeof id.bytes);
    return id;
}

kap_status kap_blob_find(struct kap_model *model, struct kap_bytes hash, struct kap_blob **blob_out)
{
    struct kap_bytes bytes;
    struct kap_key key;
    void *message;
    if (hash.len != KAP_BLOB_HASH_BYTES)
        return KAP_NOT_FOUND;
    blob_key(&key, hash);
    kap_status status = kap_view_get(model->view, kap_key_bytes(&key), &bytes);
    if (status == KAP_OK)
        status = kap_model_decode(model, KAP_KIND_BLOB, bytes, &message);
    if (status == KAP_OK)
        *blob_out = message;
    return status;
}

kap_status kap_blob_put(struct kap_model *model, struct kap_blob *blob)
{
    struct kap_bytes stored, bytes;
    struct kap_key key;
    KAP_ASSERT(model->txn && blob->has_hash && blob->hash.len == KAP_BLOB_HASH_BYTES);
    struct kap_sys_view sys = {.id = half_of(blob->hash), .created_at = model->now_us, .created_by = model->actor};
    blob_key(&key, blob->hash);
    kap_status status = kap_txn_get(model->txn, kap_key_bytes(&key), &stored);
    if (status == KAP_OK)
        status = kap_row_sys(stored, &sys);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    sys.rev++;
    sys.updated_at = model->now_us;
    sys.updated_by = model->actor;
    sys.commit_seq = model->txn->commit_seq;
    status = model_row_encode(model, KAP_KIND_BLOB, blob, &sys, &bytes);
    return status == KAP_OK ? kap_txn_put(model->txn, kap_key_bytes(&key), bytes) : status;
}

kap_status kap_blob_referrer_count(struct kap_model *model, struct kap_bytes hash, uint64_t *count_out)
{
    struct kap_key key;
    kap_index_count_key_init(&key, KAP_INDEX_BLOB_REF_BY_BLOB);
    kap_key_put(&key, hash.data, hash.len);
    return kap_model_count(model, &key, count_out);
}

kap_status kap_blob_remove(struct kap_model *model, struct kap_bytes hash)
{
    struct kap_key key;
    uint64_t count;
    kap_status status = kap_blob_referrer_count(model, hash, &count);
    if (status == KAP_OK && count > 0)
        return kap_model_refuse(model, KAP_REFERENCED, "%llu rows use the blob", (unsigned long long)count);
    blob_key(&key, hash);
    return status == KAP_OK ? kap_txn_delete(model->txn, kap_key_bytes(&key)) : status;
}

kap_status kap_blob_referrers(struct kap_view *view, struct kap_arena *arena, struct kap_bytes hash,
                              kap_status (*each)(void *context, uint8_t kind, struct kap_id id), void *context)
{
    struct kap_scan scan;
    struct kap_key prefix;
    kap_index_key_init(&prefix, KAP_INDEX_BLOB_REF_BY_BLOB);
    kap_key_put(&prefix, hash.data, hash.len);
    kap_status status = kap_scan_init_prefix(&scan, view, arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK) {
        struct kap_column kind;
        struct kap_id id;
        status = kap_row_column(scan.entry.value, 3, 0, &kind);
        if (status == KAP_OK)
            status = model_row_id(scan.entry.value, 4, &id);
        if (status == KAP_OK)
            status = each(context, (uint8_t)kind.number, id);
    }
    return status == KAP_END ? KAP_OK : status;
}

/* The same use always has the same id, so that finding and removing it needs no search. */
static struct kap_id use_id(uint8_t kind, struct kap_id entity, const struct use *use)
{
    uint8_t name[1 + 2 + 4 + KAP_BLOB_HASH_BYTES];
    name[0] = kind;
    kap_be16_store(name + 1, use->field);
    kap_be32_store(name + 3, use->slot);
    memcpy(name + 7, use->hash.data, KAP_BLOB_HASH_BYTES);
    return kap_uuid_v5(entity, kap_bytes(name, sizeof name));
}

static kap_status use_add(struct kap_model *model, uint8_t kind, struct kap_id root, struct kap_id entity,
                          const struct use *use)
{
    struct kap_sys_view sys = {.id = use_id(kind, entity, use),
                               .rev = 1,
                               .created_at = model->now_us,
                               .updated_at = model->now_us,
                               .created_by = model->actor,
                               .updated_by = model->actor,
                               .commit_seq = model->txn->commit_seq};
    struct kap_blob_ref ref = {.has_blob = true,
                               .blob = use->hash,
                               .has_entity_kind = true,
                               .entity_kind = kind,
                               .has_entity = true,
                               .entity = entity,
                               .has_entity_field = true,
                               .entity_field = use->field,
                               .has_position = true,
                               .position = use->slot};
    struct kap_bytes bytes;
    kap_status status = model_row_encode(model, KAP_KIND_BLOB_REF, &ref, &sys, &bytes);
    if (status != KAP_OK)
        return status;
    return model_row_write(model, KAP_KIND_BLOB_REF, root, sys.id, NULL, &bytes, KAP_CHANGE_OP_CREATE);
}

static kap_status use_remove(struct kap_model *model, uint8_t kind, struct kap_id root, struct kap_id entity,
                             const struct use *use)
{
    struct kap_row row;
    kap_status status = kap_model_find_in(model, KAP_KIND_BLOB_REF, root, use_id(kind, entity, use), &row);
    if (status == KAP_NOT_FOUND)
        return kap_model_refuse(model, KAP_CORRUPT, "the use of a blob is not recorded");
    if (status != KAP_OK)
        return status;
    return model_row_write(model, KAP_KIND_BLOB_REF, root, row.id, &row.stored, NULL, KAP_CHANGE_OP_DELETE);
}

kap_status kap_blob_grant(struct kap_model *model, struct kap_bytes hash, struct kap_id user)
{
    const struct use use = {.hash = hash};
    struct kap_row row;
    kap_status status = kap_model_find_in(model, KAP_KIND_BLOB_REF, user, use_id(KAP_KIND_USER, user, &use), &row);
    return status == KAP_NOT_FOUND ? use_add(model, KAP_KIND_USER, user, user, &use) : status;
}

/* A row that goes takes its uses with it: they are rows of its tree and belong to it (delete.c). */
kap_status model_blobs_follow(struct kap_model *model, uint8_t kind, struct kap_id root, struct kap_id id,
                              const struct kap_bytes *before, const struct kap_bytes *after)
{
    const struct blob_field *field = field_of_kind(kind);
    struct uses had, has;
    if (!field || !after)
        return KAP_OK;
    kap_status status = uses_read(field, before, &had);
    if (status == KAP_OK)
        status = uses_read(field, after, &has);
    for (uint32_t i = 0; status == KAP_OK && i < had.n; i++)
        if (!uses_hold(&has, &had.at[i], false))
            status = use_remove(model, kind, root, id, &had.at[i]);
    for (uint32_t i = 0; status == KAP_OK && i < has.n; i++)
        if (!uses_hold(&had, &has.at[i], false))
            status = use_add(model, kind, root, id, &has.at[i]);
    return status;
}

static kap_status use_check(struct kap_model *model, const struct use *use, const struct kap_path *path)
{
    struct kap_row row = {.kind = KAP_KIND_BLOB, .root = half_of(use->hash), .id = half_of(use->hash)};
    struct kap_column state = {0};
    struct kap_key key;
    bool may = false;
    blob_key(&key, use->hash);
    kap_status status = kap_view_get(model->view, kap_key_bytes(&key), &row.bytes);
    if (status == KAP_OK)
        status = kap_row_column(row.bytes, 5, 0, &state);
    if (status == KAP_OK && state.number == KAP_BLOB_STATUS_COMPLETE)
        status = kap_model_may(model, KAP_MAY_READ, &row, &may);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    if (!may)
        kap_faults_add(&model->faults, path, "no_target", "no such blob, or none you may use: upload it first");
    return KAP_OK;
}

kap_status model_blobs_check(struct kap_model *model, uint8_t kind, const struct kap_bytes *before,
                             struct kap_bytes after, const struct kap_path *path)
{
    const struct blob_field *field = field_of_kind(kind);
    struct uses had, has;
    if (!field)
        return KAP_OK;
    kap_status status = uses_read(field, before, &had);
    if (status == KAP_OK)
        status = uses_read(field, &after, &has);
    for (uint32_t i = 0; status == KAP_OK && i < has.n; i++) {
        const char *name = kap_message_field(kap_message_of_kind(kind), field->field)->name;
        struct kap_path list = {path, name, field->inner ? (int64_t)has.at[i].slot : -1};
        struct kap_path inner = {&list, "blob", -1};
        if (!uses_hold(&had, &has.at[i], true))
            status = use_check(model, &has.at[i], field->inner ? &inner : &list);
    }
    return status;
}
