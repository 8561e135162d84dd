/* Several operations at once: all or nothing, each as if it came alone. The first that fails names itself. */
#include "engine/model/dump.h"
#include "proto/wire.h"
#include "server/handlers/handlers.h"
#include "server/service_internal.h"

enum { BATCH_BODY_BYTES_MAX = 4 * 1024 * 1024, BATCH_OPS_MAX = 1000 };

static kap_status guards_check(struct kap_run *run, const struct kap_txn_batch_request *request)
{
    struct kap_model *model = &run->model;
    for (size_t i = 0; i < request->n_guards; i++) {
        const struct kap_rev_guard *guard = &request->guards[i];
        struct kap_sys_view sys = {0};
        struct kap_row row;
        bool may = false;
        kap_status status = kap_model_find(model, (uint8_t)guard->kind, guard->id, &row);
        if (status == KAP_OK)
            status = kap_model_may(model, KAP_MAY_READ, &row, &may);
        if (status == KAP_OK && may)
            status = kap_row_sys(row.bytes, &sys);
        if (status != KAP_OK && status != KAP_NOT_FOUND)
            return status;
        if (sys.rev == guard->rev)
            continue;
        model->error.has_current_rev = true;
        model->error.current_rev = sys.rev;
        model->error.has_path = true;
        model->error.path = kap_bytes_str(kap_arena_printf(run->arena, "guards[%zu]", i));
        return kap_model_refuse_row(model, KAP_GUARD_FAILED, (uint8_t)guard->kind, guard->id,
                                    "guard %zu: the rev is %llu, not %llu", i, (unsigned long long)sys.rev,
                                    (unsigned long long)guard->rev);
    }
    return KAP_OK;
}

/* Paths of a fault inside an operation begin with the operation. */
static void paths_prefix(struct kap_run *run, size_t slot)
{
    struct kap_faults *faults = &run->model.faults;
    for (size_t i = 0; i < faults->n; i++) {
        const char *path =
            kap_arena_printf(run->arena, "ops[%zu]%s%s", slot, faults->at[i].path[0] ? "." : "", faults->at[i].path);
        faults->at[i].path = path ? path : faults->at[i].path;
    }
    if (!run->model.error.has_path) {
        const char *path = kap_arena_printf(run->arena, "ops[%zu]", slot);
        run->model.error.has_path = path != NULL;
        run->model.error.path = kap_bytes_str(path ? path : "");
    }
}

static kap_status batch_op_run(struct kap_run *run, const struct kap_batch_op *item, struct kap_batch_result *result)
{
    const struct kap_op_desc *op = kap_op_find((uint32_t)item->op), *outer = run->op;
    struct kap_path path = {NULL, "op", -1};
    void *request;
    if (!op || !kap_dispatch_in_batch((uint16_t)item->op)) {
        kap_faults_add(&run->model.faults, &path, "not_allowed", "%s cannot stand in a batch",
                       op ? op->name : "this number is no operation and");
        return KAP_INVALID;
    }
    kap_status status = service_request_read(run, op, item->body, &request);
    void *reply = kap_arena_push(run->arena, op->reply->size);
    if (status == KAP_OK && !reply)
        status = KAP_NO_MEMORY;
    if (status != KAP_OK)
        return status;
    run->op = op;
    run->in_batch = true;
    status = service_op_run(run, op, request, reply);
    run->op = outer;
    run->in_batch = false;
    if (status != KAP_OK)
        return status;
    const struct kap_field *seq = kap_message_field(op->reply, 1);
    memcpy((uint8_t *)reply + seq->value_at, &run->model.txn->commit_seq, sizeof(uint64_t));
    *((bool *)reply + seq->has_at) = true;
    *result = (struct kap_batch_result){
        .has_op = true, .op = op->op, .has_reply = true, .reply = kap_wire_encode_in(op->reply, reply, run->arena)};
    return result->reply.data ? KAP_OK : KAP_NO_MEMORY;
}

kap_status handle_txn_batch(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_txn_batch_request *request = request_bytes;
    struct kap_txn_batch_reply *reply = reply_bytes;
    if (run->call->body.len > BATCH_BODY_BYTES_MAX)
        return kap_model_refuse(&run->model, KAP_TOO_LARGE, "a batch has at most %d bytes, this one has %zu",
                                BATCH_BODY_BYTES_MAX, run->call->body.len);
    kap_status status = guards_check(run, request);
    reply->results = kap_arena_push(run->arena, request->n_ops * sizeof *reply->results + 1);
    if (status == KAP_OK && !reply->results)
        status = KAP_NO_MEMORY;
    for (size_t i = 0; i < request->n_ops && status == KAP_OK; i++) {
        status = batch_op_run(run, &request->ops[i], &reply->results[i]);
        if (status != KAP_OK && status != KAP_PENDING)
            paths_prefix(run, i);
        reply->n_results++;
    }
    return status;
}

/* Rows are answered as stored, but for fields that this principal may not see. */
static kap_status row_mask(struct kap_run *run, struct kap_typed_row *row)
{
    struct kap_sys_view sys;
    void *message;
    if (row->kind != KAP_KIND_PROFILE)
        return KAP_OK;
    kap_status status = kap_row_sys(row->row, &sys);
    if (status == KAP_OK)
        status = kap_model_decode(&run->model, (uint8_t)row->kind, row->row, &message);
    if (status != KAP_OK)
        return status;
    kap_access_mask(&run->access, (uint8_t)row->kind, sys.id, message);
    row->row = kap_wire_encode_in(kap_message_of_kind((uint32_t)row->kind), message, run->arena);
    return row->row.data ? KAP_OK : KAP_NO_MEMORY;
}

kap_status handle_bulk_read(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    struct kap_bulk_read_reply *reply = reply_bytes;
    kap_status status = kap_bulk_read(&run->model, request_bytes, reply);
    for (size_t i = 0; i < reply->n_rows && status == KAP_OK; i++)
        status = row_mask(run, &reply->rows[i]);
    return status;
}

kap_status handle_dump_rows(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    return kap_dump_rows(&run->model, request_bytes, reply_bytes);
}

kap_status handle_restore_rows(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    return kap_restore_rows(&run->model, request_bytes, reply_bytes);
}
