/* Drives what commits leave behind: one step of one job, then whatever clients want, then the next step when that one is
 * durable. */
#include "engine/model/job.h"

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/base/uuid.h"
#include "proto/kap_schema.h"
#include "server/service_internal.h"

enum { JOBS_ARENA_BLOCK_BYTES = 64 * 1024, JOBS_RETRY_MS = 50 };

void service_jobs_init(struct kap_service *service)
{
    struct service_jobs *jobs = &service->jobs;
    kap_arena_init(&jobs->arena, &kap_store_env(service->store)->memory, JOBS_ARENA_BLOCK_BYTES, 0);
    kap_store_context_init(service->store, &jobs->context);
    jobs->is_due = true; /* what the last run of the server has left */
}

void service_jobs_deinit(struct kap_service *service)
{
    kap_read_context_release(&service->jobs.context);
    kap_arena_deinit(&service->jobs.arena);
}

int64_t service_jobs_deadline(const struct kap_service *service)
{
    const struct service_jobs *jobs = &service->jobs;
    if (!jobs->is_due || jobs->waits_blocks || jobs->wait_seq > kap_store_durable_seq(service->store))
        return INT64_MAX;
    return jobs->not_before_ns; /* 0: at once */
}

static kap_status step(struct kap_service *service, struct kap_txn *txn, struct kap_job_step *step_out)
{
    struct kap_model *model = kap_arena_push(&service->jobs.arena, sizeof *model);
    if (!model)
        return KAP_NO_MEMORY;
    kap_model_init(model, &kap_schema, &txn->view, txn, &service->jobs.arena, kap_store_env(service->store),
                   (struct kap_id){{0}}, txn->now_us);
    model->is_admin = true;
    kap_status status = kap_job_step(model, step_out);
    if (status == KAP_OK)
        status = kap_model_finish(model);
    if (status != KAP_OK && status != KAP_PENDING)
        kap_log(KAP_LOG_ERROR, "jobs", "status=%s msg=\"%.*s\"", kap_status_name(status),
                (int)(model->error.has_message ? model->error.message.len : 0),
                model->error.has_message ? (const char *)model->error.message.data : "");
    return status;
}

static void step_done(struct kap_service *service, const struct kap_job_step *done, uint64_t seq)
{
    struct service_jobs *jobs = &service->jobs;
    char id[KAP_UUID_TEXT_BYTES];
    jobs->is_due = done->job != 0;
    if (done->job == 0)
        return;
    jobs->wait_seq = seq;
    jobs->rows += done->rows;
    service->stats.commits++;
    service->stats.job_steps++;
    if (!done->is_done)
        return;
    kap_uuid_print(done->id, id);
    kap_log(KAP_LOG_INFO, "jobs", "job=%s kind=%u id=%s rows=%llu", kap_enum_name(&kap_job_enum, done->job), done->kind,
            id, (unsigned long long)jobs->rows);
    jobs->rows = 0;
}

void service_jobs_poll(struct kap_service *service)
{
    struct service_jobs *jobs = &service->jobs;
    struct kap_env *env = kap_store_env(service->store);
    struct kap_job_step done = {0};
    struct kap_txn txn;
    uint64_t seq = 0;
    int64_t deadline = service_jobs_deadline(service);
    if (deadline == INT64_MAX || (deadline != 0 && deadline > kap_env_mono_ns(env)) ||
        kap_store_failed(service->store) != KAP_OK)
        return;
    jobs->not_before_ns = 0;
    kap_arena_reset(&jobs->arena);
    kap_status status = kap_store_txn_begin(service->store, &txn, &jobs->arena, &jobs->context);
    if (status == KAP_OK) {
        status = step(service, &txn, &done);
        if (status == KAP_OK && done.job != 0)
            status = kap_store_txn_commit(service->store, &txn, &seq);
        else
            kap_store_txn_abort(service->store, &txn);
    }
    if (status == KAP_PENDING) {
        jobs->waits_blocks = true;
        return;
    }
    kap_read_context_release(&jobs->context);
    if (status == KAP_OK)
        step_done(service, &done, seq);
    else if (status == KAP_OVERLOADED || status == KAP_NO_MEMORY || status == KAP_NO_SPACE)
        jobs->not_before_ns = kap_env_mono_ns(env) + JOBS_RETRY_MS * INT64_C(1000000);
    else
        jobs->is_due = false; /* logged; the next start tries again */
}
