#include "engine/model/job.h"

#include "engine/base/assert.h"
#include "engine/model/model_internal.h"

static void record_key(struct kap_key *key, int32_t job, uint8_t kind, struct kap_id id)
{
    kap_key_init(key, KAP_TREE_JOB);
    kap_key_put_u8(key, (uint8_t)job);
    kap_key_put_u8(key, kind);
    kap_key_put_id(key, id);
}

kap_status kap_job_begin(struct kap_model *model, enum kap_job job, uint8_t kind, struct kap_id id)
{
    const struct kap_job_record record = {.has_job = true,
                                          .job = (int32_t)job,
                                          .has_kind = true,
                                          .kind = kind,
                                          .has_id = true,
                                          .id = id,
                                          .has_commit_seq = true,
                                          .commit_seq = model->txn->commit_seq,
                                          .has_at = true,
                                          .at = model->now_us,
                                          .has_actor = !kap_id_is_nil(model->actor),
                                          .actor = model->actor};
    struct kap_bytes bytes;
    struct kap_key key;
    record_key(&key, (int32_t)job, kind, id);
    kap_status status = kap_view_get(model->view, kap_key_bytes(&key), &bytes);
    if (status != KAP_NOT_FOUND)
        return status;
    model->has_begun_job = true;
    bytes = kap_wire_encode_in(&kap_job_record_msg, &record, model->arena);
    status = bytes.data ? kap_txn_put(model->txn, kap_key_bytes(&key), bytes) : KAP_NO_MEMORY;
    return status == KAP_OK ? model_cascades_add(model, 1) : status;
}

kap_status kap_jobs_count(struct kap_model *model, uint64_t *count_out)
{
    return model_cascades_count(model, count_out);
}

static kap_status first_find(struct kap_model *model, struct kap_job_record *record_out)
{
    struct kap_scan scan;
    struct kap_key prefix;
    kap_key_init(&prefix, KAP_TREE_JOB);
    kap_status status = kap_scan_init_prefix(&scan, model->view, model->arena, kap_key_bytes(&prefix));
    if (status == KAP_OK)
        status = kap_scan_next(&scan);
    if (status == KAP_OK)
        status =
            kap_wire_decode(&kap_job_record_msg, scan.entry.value, model->arena, KAP_WIRE_STORED, record_out, NULL);
    return status;
}

/* Rows that belong to this one by ref, at most max of them. */
static kap_status belongings_take(struct kap_model *model, const struct kap_ref_desc *ref, uint8_t kind,
                                  struct kap_id id, uint32_t max, struct kap_rows *rows)
{
    struct kap_scan scan;
    struct kap_key prefix;
    model_referrers_prefix(ref, kind, id, &prefix);
    kap_status status = kap_scan_init_prefix(&scan, model->view, model->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && rows->n < max && (status = kap_scan_next(&scan)) == KAP_OK) {
        struct kap_row row;
        struct kap_id referrer;
        memcpy(referrer.bytes, scan.entry.key.data + scan.entry.key.len - sizeof referrer.bytes, sizeof referrer.bytes);
        status = kap_model_find(model, ref->kind, referrer, &row);
        if (status == KAP_OK)
            status = kap_rows_add(rows, model->arena, &row);
        else if (status == KAP_NOT_FOUND)
            return kap_model_refuse_row(model, KAP_CORRUPT, ref->kind, referrer,
                                        "an index names a row that is not there");
    }
    return status == KAP_END ? KAP_OK : status;
}

static kap_status belongings_of(struct kap_model *model, uint8_t kind, struct kap_id id, uint32_t max,
                                struct kap_rows *rows)
{
    kap_status status = KAP_OK;
    for (uint16_t i = 0; i < model->schema->n_refs && status == KAP_OK && rows->n < max; i++) {
        const struct kap_ref_desc *ref = &model->schema->refs[i];
        if (model_refers_to(ref, kind, KAP_ON_DELETE_CASCADE))
            status = belongings_take(model, ref, kind, id, max, rows);
    }
    return status;
}

static kap_status row_remove(struct kap_model *model, const struct kap_row *row)
{
    struct kap_rows own = {0};
    kap_status status = belongings_of(model, row->kind, row->id, 1, &own);
    if (status == KAP_OK && own.n > 0)
        status = kap_job_begin(model, KAP_JOB_CASCADE, row->kind, row->id);
    if (status == KAP_OK)
        status = model_row_write(model, row->kind, row->root, row->id, &row->stored, NULL, KAP_CHANGE_OP_DELETE);
    return status == KAP_OK ? model_named_mark(model, row) : status;
}

static kap_status cascade_step(struct kap_model *model, const struct kap_job_record *record, struct kap_job_step *step)
{
    struct kap_rows rows = {0};
    kap_status status = belongings_of(model, step->kind, step->id, KAP_JOB_STEP_ROWS + 1, &rows);
    step->is_done = rows.n <= KAP_JOB_STEP_ROWS;
    for (; status == KAP_OK && step->rows < rows.n && step->rows < KAP_JOB_STEP_ROWS; step->rows++)
        status = row_remove(model, &rows.at[step->rows]);
    if (status != KAP_OK || !step->is_done)
        return status;
    struct kap_key key;
    record_key(&key, record->job, step->kind, step->id);
    status = kap_txn_delete(model->txn, kap_key_bytes(&key));
    return status == KAP_OK ? model_cascades_add(model, -1) : status;
}

kap_status kap_job_step(struct kap_model *model, struct kap_job_step *step_out)
{
    struct kap_job_record *record = kap_arena_push(model->arena, sizeof *record);
    *step_out = (struct kap_job_step){0};
    if (!record)
        return KAP_NO_MEMORY;
    model->sees_all = true;
    kap_status status = first_find(model, record);
    if (status != KAP_OK)
        return status == KAP_END ? KAP_OK : status;
    if (record->job != KAP_JOB_CASCADE)
        return kap_model_refuse(model, KAP_CORRUPT, "a job of the unknown kind %d is stored", record->job);
    model->actor = record->actor;
    struct kap_job_step step = {.job = record->job, .kind = (uint8_t)record->kind, .id = record->id};
    status = cascade_step(model, record, &step);
    if (status == KAP_OK)
        *step_out = step;
    return status;
}
