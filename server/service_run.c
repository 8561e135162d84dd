/* One run of a request: read it, ask for rights, carry it out on a view or in a transaction, answer. */
#include <openssl/evp.h>

#include "engine/base/assert.h"
#include "proto/kap_schema.h"
#include "proto/validate.h"
#include "proto/wire.h"
#include "server/service_internal.h"

enum { IDEMPOTENCY_REPLY_MAX = 240 * 1024 };
#define IDEMPOTENCY_KEPT_US (24 * 3600 * INT64_C(1000000))

kap_status service_reply_encode(struct kap_call *call, const struct kap_op_desc *op, void *reply, uint64_t seq)
{
    const struct kap_field *field = kap_message_field(op->reply, 1);
    KAP_ASSERT(field && field->type == KAP_FIELD_FIXED64);
    memcpy((uint8_t *)reply + field->value_at, &seq, sizeof seq);
    *((bool *)reply + field->has_at) = true;
    struct kap_bytes bytes = kap_wire_encode_in(op->reply, reply, &call->arena);
    if (!bytes.data)
        return KAP_NO_MEMORY;
    call->status = KAP_OK;
    call->reply = bytes;
    call->commit_seq = seq;
    return KAP_OK;
}

static bool is_retryable(kap_status status)
{
    return status == KAP_OVERLOADED || status == KAP_NO_MEMORY || status == KAP_SHUTTING_DOWN || status == KAP_DEADLINE;
}

void service_reply_error(struct kap_call *call, struct kap_run *run, kap_status status, uint64_t seq)
{
    static const uint8_t empty[1];
    struct kap_error_reply reply = run ? run->model.error : (struct kap_error_reply){0};
    if (run && run->model.faults.n > 0 && (status == KAP_INVALID || status == KAP_TOO_LARGE || status == KAP_DECODE)) {
        struct kap_error_reply faults;
        if (kap_faults_reply(&run->model.faults, status, &call->arena, &faults) == KAP_OK) {
            reply.n_faults = faults.n_faults;
            reply.faults = faults.faults;
            reply.has_path = faults.has_path;
            reply.path = faults.path;
            if (!reply.has_message) {
                reply.has_message = faults.has_message;
                reply.message = faults.message;
            }
        }
    }
    reply.has_commit_seq = true;
    reply.commit_seq = seq;
    reply.has_code = true;
    reply.code = (uint32_t)status;
    reply.has_name = true;
    reply.name = kap_bytes_str(kap_status_name(status));
    if (!reply.has_message) {
        reply.has_message = true;
        reply.message = kap_bytes_str(kap_status_sentence(status));
    }
    reply.has_retryable = is_retryable(status);
    reply.retryable = reply.has_retryable;
    reply.has_committed_unknown = status == KAP_IO && call->state == KAP_CALL_HELD;
    reply.committed_unknown = reply.has_committed_unknown;
    struct kap_bytes bytes = kap_wire_encode_in(&kap_error_reply_msg, &reply, &call->arena);
    call->status = status;
    call->reply = bytes.data ? bytes : kap_bytes(empty, 0); /* without memory the code alone must do */
    call->commit_seq = seq;
}

void service_reply_text(struct kap_call *call, kap_status status, const char *text)
{
    struct kap_run run = {.call = call};
    run.model.error.has_message = text != NULL;
    run.model.error.message = kap_bytes_str(text ? text : "");
    service_reply_error(call, &run, status, kap_store_durable_seq(call->service->store));
}

kap_status service_request_read(struct kap_run *run, const struct kap_op_desc *op, struct kap_bytes body,
                                void **request_out)
{
    struct kap_faults *faults = &run->model.faults;
    void *request = kap_arena_push(run->arena, op->request->size ? op->request->size : 1);
    if (!request)
        return KAP_NO_MEMORY;
    kap_status status = kap_wire_decode(op->request, body, run->arena, KAP_WIRE_CLIENT, request, faults);
    if (status != KAP_OK && status != KAP_INVALID)
        return status;
    kap_status valid = kap_validate(op->request, request, KAP_VALIDATE_REQUEST, NULL, run->arena, faults);
    *request_out = request;
    return status != KAP_OK ? status : valid;
}

static kap_handler handler_find(const struct kap_service *service, uint16_t op)
{
    for (uint32_t i = 0; i < service->n_handlers; i++)
        if (service->handlers[i].op == op)
            return service->handlers[i].handler;
    return kap_dispatch_find(op);
}

kap_status service_op_run(struct kap_run *run, const struct kap_op_desc *op, void *request, void *reply)
{
    kap_handler handler = handler_find(run->service, op->op);
    kap_status status = kap_access_op(run->access.principal, op);
    if (status == KAP_FORBIDDEN)
        return kap_model_refuse(&run->model, status, "%s is not for your role", op->name);
    if (status != KAP_OK)
        return status;
    if (!handler)
        return kap_model_refuse(&run->model, KAP_UNKNOWN_OP, "this server does not carry out %s", op->name);
    return handler(run, request, reply);
}

static kap_status may_ask(void *context, enum kap_may may, const struct kap_row *row, bool *may_out)
{
    struct kap_run *run = context;
    return kap_access_row(&run->access, may == KAP_MAY_READ ? KAP_RIGHT_READ : KAP_RIGHT_WRITE, row->kind, row->root,
                          row->id, row->bytes, may_out);
}

/* The view is there: who asks is settled now, because an account may stand behind a service. */
static kap_status run_prepare(struct kap_run *run, struct kap_view *view, struct kap_txn *txn, int64_t now_us)
{
    struct kap_env *env = kap_store_env(run->service->store);
    struct kap_faults faults = run->model.faults;
    kap_status status = KAP_OK;
    kap_access_init(&run->access, run->call->principal, view, run->arena);
    if (run->meta->has_on_behalf_of)
        status = kap_access_on_behalf_of(&run->access, run->meta->on_behalf_of);
    kap_model_init(&run->model, &kap_schema, view, txn, run->arena, env, run->access.principal.user, now_us);
    run->model.faults = faults;
    run->model.may = may_ask;
    run->model.may_context = run;
    run->model.is_admin = kap_access_is(&run->access, KAP_ROLE_ADMIN);
    if (status == KAP_FORBIDDEN)
        return kap_model_refuse(&run->model, status, "you may not act for this account");
    return status;
}

static void park_or_defer(struct kap_run *run)
{
    service_call_park(run->call, run->is_deferred  ? KAP_CALL_WAITS_WORK
                                 : run->waits_slot ? KAP_CALL_WAITS_SLOT
                                                   : KAP_CALL_WAITS_BLOCKS);
}

static void read_run(struct kap_run *run, void *request, void *reply)
{
    struct kap_call *call = run->call;
    struct kap_store *store = run->service->store;
    struct kap_view view;
    run->service->stats.reads++;
    kap_store_view_begin(store, &view, &call->context);
    kap_status status = run_prepare(run, &view, NULL, kap_env_wall_us(kap_store_env(store)));
    if (status == KAP_OK)
        status = service_op_run(run, run->op, request, reply);
    uint64_t seq = view.seq;
    if (status == KAP_OK)
        status = service_reply_encode(call, run->op, reply, seq);
    if (status != KAP_OK && status != KAP_PENDING)
        service_reply_error(call, run, status, seq);
    kap_store_view_end(store, &view);
    if (status == KAP_PENDING)
        park_or_defer(run);
    else
        service_call_finish(call);
}

/* What the key stands for: the op, whom it is for, and every byte of the body. */
static kap_status digest_make(const struct kap_run *run, uint8_t digest_out[32])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const uint8_t op[2] = {(uint8_t)run->op->op, (uint8_t)(run->op->op >> 8)};
    bool is_ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                 EVP_DigestUpdate(context, op, sizeof op) == 1 &&
                 EVP_DigestUpdate(context, run->access.principal.user.bytes, 16) == 1 &&
                 EVP_DigestUpdate(context, run->call->body.data, run->call->body.len) == 1 &&
                 EVP_DigestFinal_ex(context, digest_out, NULL) == 1;
    EVP_MD_CTX_free(context);
    return is_ok ? KAP_OK : KAP_NO_MEMORY;
}

bool kap_service_is_expired(struct kap_bytes key, struct kap_bytes value, int64_t now_us)
{
    struct kap_column at;
    return kap_tree_of(key) == KAP_TREE_IDEMPOTENCY && kap_row_column(value, 5, 0, &at) == KAP_OK && at.present &&
           (int64_t)at.number + IDEMPOTENCY_KEPT_US < now_us;
}

/* KAP_END: answered before; the reply stands in call. */
static kap_status replay(struct kap_run *run, const struct kap_key *key, const uint8_t digest[32])
{
    struct kap_idempotency_record record;
    struct kap_bytes stored;
    kap_status status = kap_view_get(run->model.view, kap_key_bytes(key), &stored);
    if (status == KAP_NOT_FOUND)
        return KAP_OK;
    if (status == KAP_OK)
        status = kap_wire_decode(&kap_idempotency_record_msg, stored, run->arena, KAP_WIRE_STORED, &record, NULL);
    if (status != KAP_OK)
        return status;
    if (record.at + IDEMPOTENCY_KEPT_US < run->model.now_us)
        return KAP_OK;
    if (!kap_bytes_eq(record.digest, kap_bytes(digest, 32)))
        return kap_model_refuse(&run->model, KAP_IDEMPOTENCY_MISMATCH,
                                "this idempotency key was used for another request within the last 24 hours");
    if (!record.has_reply)
        return kap_model_refuse(&run->model, KAP_ALREADY_EXISTS,
                                "this request was carried out as commit %llu; its reply was too long to keep",
                                (unsigned long long)record.commit_seq);
    run->call->reply = kap_arena_copy(run->arena, record.reply);
    if (!run->call->reply.data)
        return KAP_NO_MEMORY;
    run->call->status = KAP_OK;
    run->call->commit_seq = record.commit_seq;
    run->service->stats.replays++;
    return KAP_END;
}

static kap_status record_write(struct kap_run *run, const struct kap_key *key, const uint8_t digest[32])
{
    struct kap_txn *txn = run->model.txn;
    /* The reply of token.create holds the secret, of which the store keeps only a hash: a repeat is told that it was done
     * and not the token. */
    bool fits = run->call->reply.len <= IDEMPOTENCY_REPLY_MAX && run->op->op != KAP_OP_TOKEN_CREATE;
    const struct kap_idempotency_record record = {.has_op = true,
                                                  .op = run->op->op,
                                                  .has_digest = true,
                                                  .digest = kap_bytes(digest, 32),
                                                  .has_commit_seq = true,
                                                  .commit_seq = txn->commit_seq,
                                                  .has_at = true,
                                                  .at = run->model.now_us,
                                                  .has_reply = fits,
                                                  .reply = run->call->reply};
    struct kap_bytes bytes = kap_wire_encode_in(&kap_idempotency_record_msg, &record, run->arena);
    return bytes.data ? kap_txn_put(txn, kap_key_bytes(key), bytes) : KAP_NO_MEMORY;
}

static bool deadline_passed(const struct kap_call *call)
{
    return call->deadline_ns != 0 && kap_env_mono_ns(kap_store_env(call->service->store)) >= call->deadline_ns;
}

/* A dry run says what would be, whatever the op: nothing of it is kept, its idempotency key neither. */
static bool is_dry(const struct kap_op_desc *op, const void *request)
{
    const struct kap_field *field = kap_message_field_named(op->request, kap_bytes_str("dry_run"));
    return field && *((const bool *)request + field->has_at) && *(const bool *)kap_field_value(field, request);
}

/* Everything inside the transaction but its commit. */
static kap_status write_apply(struct kap_run *run, void *request, void *reply)
{
    struct kap_txn *txn = run->model.txn;
    bool has_key = run->meta->has_idempotency_key && !run->is_dry;
    uint8_t digest[32];
    struct kap_key key;
    kap_status status = KAP_OK;
    if (has_key) {
        kap_key_idempotency(&key, kap_principal_id(&run->access.principal), run->meta->idempotency_key.bytes);
        status = digest_make(run, digest);
        if (status == KAP_OK)
            status = replay(run, &key, digest);
    }
    if (status == KAP_OK)
        status = service_op_run(run, run->op, request, reply);
    if (status == KAP_OK)
        status = kap_model_finish(&run->model);
    if (status != KAP_OK)
        return status;
    bool writes = has_key || txn->n_writes > 0;
    uint64_t seq = writes ? txn->commit_seq : kap_store_head_seq(run->service->store);
    status = service_reply_encode(run->call, run->op, reply, seq);
    if (status == KAP_OK && has_key)
        status = record_write(run, &key, digest);
    return status == KAP_OK && deadline_passed(run->call) ? KAP_DEADLINE : status;
}

/* Held until what it has seen is durable; at once when it is. */
static void hold(struct kap_call *call)
{
    call->wait_seq = kap_store_head_seq(call->service->store);
    if (call->wait_seq <= kap_store_durable_seq(call->service->store))
        service_call_finish(call);
    else
        service_call_park(call, KAP_CALL_HELD);
}

static void write_run(struct kap_run *run, void *request, void *reply)
{
    struct kap_call *call = run->call;
    struct kap_service *service = run->service;
    struct kap_txn txn;
    uint64_t seq = 0;
    run->is_dry = is_dry(run->op, request);
    service->stats.writes++;
    kap_status status = kap_store_txn_begin(service->store, &txn, run->arena, &call->context);
    if (status == KAP_OK) {
        status = run_prepare(run, &txn.view, &txn, txn.now_us);
        if (status == KAP_OK)
            status = write_apply(run, request, reply);
        bool is_noop = txn.n_writes == 0;
        if (run->is_dry && status == KAP_OK)
            status = service_reply_encode(call, run->op, reply, kap_store_head_seq(service->store));
        if (status == KAP_OK && !run->is_dry) {
            status = kap_store_txn_commit(service->store, &txn, &seq);
            service->jobs.is_due |= status == KAP_OK && run->model.has_begun_job;
            service->stats.commits += status == KAP_OK && !is_noop;
            service->stats.no_ops += status == KAP_OK && is_noop;
        } else {
            kap_store_txn_abort(service->store, &txn);
        }
    }
    if (status == KAP_PENDING) {
        park_or_defer(run);
    } else if (status == KAP_OVERLOADED) {
        service->stats.overloads++;
        service_call_park(call, KAP_CALL_WAITS_ROOM);
    } else {
        if (status != KAP_OK && status != KAP_END)
            service_reply_error(call, run, status, kap_store_head_seq(service->store));
        hold(call);
    }
}

static kap_status op_find(struct kap_run *run, uint16_t op)
{
    run->op = kap_op_find(op);
    if (!run->op)
        return kap_model_refuse(&run->model, KAP_UNKNOWN_OP, "there is no operation %u", op);
    if (run->meta->has_as_of)
        return kap_model_refuse(&run->model, KAP_INVALID, "%s does not answer as_of", run->op->name);
    kap_status status = kap_access_op(run->call->principal, run->op);
    /* What a service may not do itself the account it acts for may: asked again once that is known. */
    if (status == KAP_FORBIDDEN && run->meta->has_on_behalf_of)
        return KAP_OK;
    if (status == KAP_FORBIDDEN)
        return kap_model_refuse(&run->model, status, "%s is not for your role", run->op->name);
    return status;
}

/* min_commit_seq: KAP_PENDING and parked, or refused when nobody can have seen such a commit. */
static kap_status commit_wait(struct kap_run *run)
{
    struct kap_call *call = run->call;
    uint64_t want = run->meta->has_min_commit_seq ? run->meta->min_commit_seq : 0;
    if (want <= kap_store_durable_seq(run->service->store))
        return KAP_OK;
    if (want > kap_store_head_seq(run->service->store))
        return kap_model_refuse(&run->model, KAP_INVALID,
                                "min_commit_seq %llu is above the newest commit, which is %llu",
                                (unsigned long long)want, (unsigned long long)kap_store_head_seq(run->service->store));
    call->wait_seq = want;
    service_call_park(call, KAP_CALL_WAITS_COMMIT);
    return KAP_PENDING;
}

void service_call_run(struct kap_call *call)
{
    struct kap_service *service = call->service;
    void *request = NULL, *reply = NULL;
    kap_arena_reset(&call->arena);
    call->runs++;
    struct kap_run *run = kap_arena_push(&call->arena, sizeof *run);
    if (!run) {
        service_reply_error(call, NULL, KAP_NO_MEMORY, kap_store_durable_seq(service->store));
        service_call_finish(call);
        return;
    }
    *run = (struct kap_run){.service = service, .call = call, .arena = &call->arena, .meta = &call->meta};
    run->model.arena = run->arena;
    kap_faults_init(&run->model.faults, run->arena);
    kap_status status = op_find(run, call->op);
    if (status == KAP_OK && deadline_passed(call))
        status = KAP_DEADLINE;
    if (status == KAP_OK)
        status = service_request_read(run, run->op, call->body, &request);
    if (status == KAP_OK)
        status = commit_wait(run);
    if (status == KAP_PENDING)
        return;
    if (status == KAP_OK) {
        reply = kap_arena_push(run->arena, run->op->reply->size);
        status = reply ? KAP_OK : KAP_NO_MEMORY;
    }
    if (status != KAP_OK) {
        service_reply_error(call, run, status, kap_store_durable_seq(service->store));
        service_call_finish(call);
    } else if (run->op->write) {
        write_run(run, request, reply);
    } else {
        read_run(run, request, reply);
    }
}
