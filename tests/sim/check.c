#include "tests/sim/check.h"

#include "proto/ops.h"
#include "proto/wire.h"

static const char *verdicts_print(const struct doing *d)
{
    static char text[200];
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < d->n_verdicts && at < sizeof text - 32; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? " or " : "", kap_status_name(d->verdicts[i]));
    return d->n_verdicts ? text : "OK";
}

static const char *message_print(struct model *model, const struct sim_answer *answer)
{
    const struct kap_error_reply *error;
    if (answer->status == KAP_OK || answer->reply.len == 0)
        return "";
    error = check_decode(model, &kap_error_reply_msg, answer->reply);
    return kap_arena_printf(model->arena, "%.*s %.*s", (int)error->message.len, (const char *)error->message.data,
                            (int)error->path.len, (const char *)error->path.data);
}

void *check_decode(struct model *model, const struct kap_msg *msg, struct kap_bytes bytes)
{
    void *message = sim_alloc(model->arena, msg->size);
    struct kap_bytes copy = sim_copy(model->arena, bytes);
    if (kap_wire_decode(msg, copy, model->arena, KAP_WIRE_STORED, message, NULL) != KAP_OK)
        sim_fail("the server sent a %s that cannot be decoded", msg->name);
    return message;
}

bool check_who(const struct model *model, const struct sim_request *request, struct sim_who *who_out)
{
    *who_out = request->who;
    if (!request->meta.has_on_behalf_of)
        return true;
    struct kap_id account = request->meta.on_behalf_of;
    if (!who_is(&request->who, KAP_ROLE_SERVICE) && !who_is(&request->who, KAP_ROLE_ADMIN))
        return kap_id_eq(account, request->who.user);
    const struct sim_row *user = model_find(model, KAP_KIND_USER, account);
    if (!user || fields_number(&user->fields, 3, 0) != KAP_USER_STATUS_ACTIVE)
        return false;
    struct kap_bytes roles = fields_bytes(&user->fields, 4);
    *who_out = (struct sim_who){.user = account, .roles = roles.len ? 0 : 1u << KAP_ROLE_COACH};
    for (size_t i = 0; i < roles.len; i++)
        who_out->roles |= (uint16_t)(1u << roles.data[i]);
    return true;
}

void check_number(const char *what, uint64_t want, bool has, uint64_t found)
{
    if (!has || want != found)
        sim_fail("%s: expected %llu, found %s%llu", what, (unsigned long long)want, has ? "" : "nothing, or ",
                 (unsigned long long)found);
}

void check_id(struct model *model, struct doing *doing, const struct sim_row *row, bool has, struct kap_id id)
{
    if (!has || kap_id_is_nil(id))
        sim_fail("no id is told");
    if (!model_is_placeholder(row->id)) {
        if (!kap_id_eq(row->id, id))
            sim_fail("expected the id %s, found %s", sim_id(row->id), sim_id(id));
        return;
    }
    if (model_find_any(model, id))
        sim_fail("the server gave a new row the id %s, which is in use", sim_id(id));
    if (doing)
        doing_rename(doing, row->id, id);
    else
        model_rename(model, 0, row->id, id);
}

static void sys_check(const struct sim_row *row, const struct sim_fields *sys)
{
    struct kap_id by = fields_id(sys, 5), changed_by = fields_id(sys, 6);
    if (!kap_id_eq(fields_id(sys, 1), row->id))
        sim_fail("expected the %s %s, found %s", model_kind_name(row->kind), sim_id(row->id),
                 sim_id(fields_id(sys, 1)));
    check_number("rev of a row", row->rev, fields_has(sys, 2), fields_number(sys, 2, 0));
    check_number("created_at of a row", (uint64_t)row->created_at, fields_has(sys, 3), fields_number(sys, 3, 0));
    check_number("updated_at of a row", (uint64_t)row->updated_at, fields_has(sys, 4), fields_number(sys, 4, 0));
    check_number("commit_seq of a row", row->commit_seq, fields_has(sys, 7), fields_number(sys, 7, 0));
    if (!kap_id_eq(by, row->created_by) || !kap_id_eq(changed_by, row->updated_by))
        sim_fail("the %s %s: wrong author", model_kind_name(row->kind), sim_id(row->id));
}

static void fields_check(struct model *model, struct sim_row *row, const struct sim_fields *found,
                         const struct sim_fields *want)
{
    struct sim_fields sys;
    if (!fields_parse(model->arena, fields_bytes(found, 1), &sys))
        sim_fail("a row without system fields");
    if (model_is_placeholder(row->id))
        check_id(model, NULL, row, true, fields_id(&sys, 1));
    sys_check(row, &sys);
    struct sim_fields rest = fields_without(model->arena, found, 1);
    uint32_t differs = fields_differ(want, &rest);
    if (differs)
        sim_fail("the %s %s differs in field %u (rev %llu): expected %llu '%.*s', found %llu '%.*s'",
                 model_kind_name(row->kind), sim_id(row->id), differs, (unsigned long long)row->rev,
                 (unsigned long long)fields_number(want, differs, 0), (int)fields_bytes(want, differs).len,
                 (const char *)fields_bytes(want, differs).data, (unsigned long long)fields_number(&rest, differs, 0),
                 (int)fields_bytes(&rest, differs).len, (const char *)fields_bytes(&rest, differs).data);
}

void check_row(struct model *model, struct sim_row *row, struct kap_bytes bytes)
{
    struct sim_fields found;
    if (!fields_parse(model->arena, sim_copy(model->arena, bytes), &found))
        sim_fail("a %s that is not a message", model_kind_name(row->kind));
    struct sim_fields want = rules_seen(model, row->kind, &row->fields);
    fields_check(model, row, &found, &want);
}

void check_message(struct model *model, struct sim_row *row, const void *message, const uint8_t *shown)
{
    struct sim_fields found, want = rules_seen(model, row->kind, &row->fields);
    if (!message)
        sim_fail("expected the %s %s, found nothing", model_kind_name(row->kind), sim_id(row->id));
    struct kap_bytes bytes = kap_wire_encode_in(kap_message_of_kind(row->kind), message, model->arena);
    if (!fields_parse(model->arena, bytes, &found))
        sim_fail("a %s that cannot be read", model_kind_name(row->kind));
    for (uint32_t number = 2; shown && number < 64; number++)
        if (!strchr((const char *)shown, (int)number))
            want = fields_without(model->arena, &want, number);
    fields_check(model, row, &found, &want);
}

/* What the server says of a body that is not what the simulator would send. NULL: it cannot be read at all. */
static const void *request_read(struct doing *d, const struct sim_request *request)
{
    const struct kap_op_desc *op = kap_op_find(request->op);
    void *message = sim_alloc(d->model->arena, op->request->size);
    struct kap_faults faults;
    kap_faults_init(&faults, d->model->arena);
    kap_status status = kap_wire_decode(op->request, request->body, d->model->arena, KAP_WIRE_CLIENT, message, &faults);
    if (status == KAP_OK)
        return message;
    doing_refuse(d, KAP_DECODE);
    doing_refuse(d, KAP_INVALID);
    return NULL;
}

/* A dry run keeps nothing, its key neither. */
static bool is_keyed(const struct sim_request *request, const void *message)
{
    bool dry = false;
    if (message && request->op == KAP_OP_SESSION_DELETE)
        dry = ((const struct kap_session_delete_request *)message)->dry_run;
    else if (message && request->op == KAP_OP_ROW_DELETE)
        dry = ((const struct kap_row_delete_request *)message)->dry_run;
    else if (message && request->op == KAP_OP_REF_DELETE)
        dry = ((const struct kap_ref_delete_request *)message)->dry_run;
    return request->meta.has_idempotency_key && !dry;
}

static void key_remember(struct doing *d, const struct sim_request *request, const struct sim_answer *answer)
{
    struct sim_row *key = sim_alloc(d->model->arena, sizeof *key);
    *key = (struct sim_row){.kind = MODEL_KEY,
                            .op = request->op,
                            .root = d->who.user,
                            .id = request->meta.idempotency_key,
                            .commit_seq = d->seq,
                            .body = request->body,
                            .reply = sim_copy(d->model->arena, answer->reply)};
    model_change(d->model, d->seq, NULL, key);
}

/* Was it answered before? Then the same bytes again, and nothing happens. */
static bool replay_check(struct doing *d, const struct sim_request *request, const void *message,
                         const struct sim_answer *answer)
{
    const struct sim_row *key =
        is_keyed(request, message) ? model_find_key(d->model, d->who.user, request->meta.idempotency_key) : NULL;
    if (!key)
        return false;
    if (key->op != request->op || !kap_bytes_eq(key->body, request->body)) {
        doing_refuse(d, KAP_IDEMPOTENCY_MISMATCH);
        return false;
    }
    if (doing_refused(d))
        return false;
    if (answer->status != KAP_OK || !kap_bytes_eq(key->reply, answer->reply) || answer->commit_seq != key->commit_seq)
        sim_fail("a retry of commit %llu was answered differently: %s as of %llu", (unsigned long long)key->commit_seq,
                 kap_status_name(answer->status), (unsigned long long)answer->commit_seq);
    return true;
}

static void commit_check(struct doing *d, const struct sim_request *request, const void *message,
                         const struct sim_answer *answer)
{
    struct model *model = d->model;
    bool keyed = is_keyed(request, message), commits = model->n_log > d->mark || keyed;
    if (keyed)
        key_remember(d, request, answer);
    check_number(commits ? "commit_seq of a write" : "commit_seq of a write that changed nothing",
                 commits ? d->seq : model->head_seq, true, answer->commit_seq);
    if (!commits)
        return;
    if (d->seq <= model->seen_seq)
        sim_fail("%s: commit %llu was used before a crash, up to %llu", request->text, (unsigned long long)d->seq,
                 (unsigned long long)model->seen_seq);
    model->head_seq = model->seen_seq = d->seq;
    model->last_us = d->now_us;
    model->may_skip = false;
}

void check_write(struct model *model, const struct sim_request *request, const struct sim_answer *answer)
{
    bool is_commit = answer->status == KAP_OK && answer->commit_seq > model->head_seq;
    int64_t now_us = answer->wall_us > model->last_us ? answer->wall_us : model->last_us + 1;
    const struct kap_op_desc *op = kap_op_find(request->op);
    struct sim_who who;
    struct doing *d = sim_alloc(model->arena, sizeof *d);
    bool is_next = answer->looked_at == model->head_seq + is_commit || (is_commit && model->may_skip);
    if (answer->looked_at && !is_next)
        sim_fail("%s looked at commit %llu, the newest is %llu", request->text, (unsigned long long)answer->looked_at,
                 (unsigned long long)model->head_seq);
    bool may_act = check_who(model, request, &who);
    doing_begin(d, model, &who, is_commit ? answer->commit_seq : model->head_seq + 1, now_us);
    if (!may_act || !rules_may_send(&who, request->op))
        doing_refuse(d, KAP_FORBIDDEN);
    const void *message = request_read(d, request);
    if (message && !check_fits(d, request->op, message))
        doing_refuse(d, KAP_INVALID);
    if (replay_check(d, request, message, answer))
        return;
    const void *reply = answer->status == KAP_OK ? check_decode(model, op->reply, answer->reply) : NULL;
    if (message && !doing_refused(d))
        check_carry_out(d, request->op, message, reply);
    if (doing_refused(d) || answer->status != KAP_OK) {
        model_undo_to(model, d->mark);
        if (!doing_allows(d, answer->status))
            sim_fail("%s: expected %s, found %s: %s", request->text, verdicts_print(d), kap_status_name(answer->status),
                     message_print(model, answer));
        return;
    }
    commit_check(d, request, message, answer);
}
