#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "engine/model/check.h"
#include "engine/model/reindex.h"
#include "proto/wire.h"

static void store_open(struct service_fixture *fixture)
{
    struct kap_error error = {0};
    const struct kap_store_options options = {.directory = "/data",
                                              .schema = fixture->schema ? fixture->schema : &kap_schema,
                                              .create = true,
                                              .memtable_bytes = 1024 * 1024,
                                              .wal_file_bytes = 1024 * 1024,
                                              .block_cache_bytes = 1024 * 1024,
                                              .space_floor_bytes = 1,
                                              .is_expired = kap_service_is_expired};
    cr_assert_eq(kap_queue_create(fixture->env, 64, &fixture->queue, &error), KAP_OK);
    cr_assert_eq(kap_store_open(fixture->env, fixture->queue, &options, &fixture->store, &error), KAP_OK, "%s",
                 error.text);
    cr_assert_eq(kap_reindex(fixture->store, &fixture->n_built, &error), KAP_OK, "%s", error.text);
    cr_assert_eq(kap_service_create(fixture->store, &fixture->service), KAP_OK);
    kap_call_init(fixture->service, &fixture->call, 0);
}

static void store_close(struct service_fixture *fixture)
{
    kap_call_deinit(&fixture->call);
    kap_service_destroy(fixture->service);
    kap_store_close(fixture->store);
    kap_queue_destroy(fixture->queue);
}

void service_fixture_open(struct service_fixture *fixture, uint64_t seed)
{
    service_fixture_open_as(fixture, seed, NULL);
}

void service_fixture_open_as(struct service_fixture *fixture, uint64_t seed, const struct kap_schema *schema)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->schema = schema;
    fixture->env = kap_losing_create(seed, NULL);
    cr_assert_not_null(fixture->env);
    kap_arena_init(&fixture->arena, &fixture->env->memory, 64 * 1024, 0);
    fixture->admin = (struct kap_principal){.roles = KAP_ROLE_BIT(KAP_ROLE_ADMIN)};
    store_open(fixture);
}

/* Everything that follows from the rows is as the rows say. */
void service_fixture_check(struct service_fixture *fixture)
{
    struct kap_read_context context;
    struct kap_model_check_result result;
    struct kap_view view;
    kap_status status = KAP_PENDING;
    kap_store_context_init(fixture->store, &context);
    while (status == KAP_PENDING) {
        kap_store_view_begin(fixture->store, &view, &context);
        status = kap_model_check(&view, &kap_schema, &fixture->env->memory, &result);
        kap_store_view_end(fixture->store, &view);
        for (bool ready = status != KAP_PENDING; !ready;) {
            kap_store_pump(fixture->store);
            kap_queue_poll(fixture->queue, 1000000);
            ready = kap_store_next_ready(fixture->store) == &context;
        }
    }
    kap_read_context_release(&context);
    cr_assert_eq(status, KAP_OK);
    cr_assert_eq(result.faults, 0, "%s", result.first_fault);
    cr_assert_gt(result.rows, 0);
}

void service_fixture_close(struct service_fixture *fixture)
{
    service_fixture_check(fixture);
    store_close(fixture);
    kap_arena_deinit(&fixture->arena);
    kap_losing_destroy(fixture->env);
}

void service_fixture_reopen(struct service_fixture *fixture)
{
    store_close(fixture);
    store_open(fixture);
}

static void call_done(struct kap_call *call)
{
    *(bool *)call->owner = true;
}

kap_status service_call_raw(struct service_fixture *fixture, struct kap_principal who, uint16_t op,
                            const struct kap_meta *meta, struct kap_bytes body, void *reply_out,
                            struct kap_error_reply *error_out)
{
    struct kap_call *call = &fixture->call;
    struct kap_read_context *context;
    kap_call_reset(call);
    fixture->is_done = false;
    call->op = op;
    call->body = body;
    if (meta)
        call->meta = *meta;
    call->principal = who;
    call->done = call_done;
    call->owner = &fixture->is_done;
    kap_service_start(fixture->service, call);
    for (int rounds = 0; !fixture->is_done; rounds++) {
        cr_assert_lt(rounds, 100000, "op %u is never answered", op);
        kap_store_pump(fixture->store);
        kap_queue_poll(fixture->queue, 1000000);
        while ((context = kap_store_next_ready(fixture->store)))
            kap_service_resume(fixture->service, context);
        kap_service_poll(fixture->service);
    }
    const struct kap_op_desc *desc = kap_op_find(op);
    const struct kap_msg *msg = call->status == KAP_OK ? desc->reply : &kap_error_reply_msg;
    void *out = call->status == KAP_OK ? reply_out : error_out;
    if (out) {
        struct kap_bytes copy = kap_arena_copy(&fixture->arena, call->reply);
        cr_assert_eq(kap_wire_decode(msg, copy, &fixture->arena, KAP_WIRE_STORED, out, NULL), KAP_OK);
    }
    return call->status;
}

kap_status service_call(struct service_fixture *fixture, struct kap_principal who, uint16_t op, const void *request,
                        void *reply_out, struct kap_error_reply *error_out)
{
    struct kap_bytes body = kap_wire_encode_in(kap_op_find(op)->request, request, &fixture->arena);
    return service_call_raw(fixture, who, op, NULL, body, reply_out, error_out);
}

static struct kap_bytes text(const char *of)
{
    return kap_bytes_str(of);
}

struct kap_principal fixture_user(struct service_fixture *fixture, const char *email, enum kap_role role)
{
    int32_t roles[] = {role};
    struct kap_user user = {.has_email = true, .email = text(email), .n_roles = 1, .roles = roles};
    struct kap_profile profile = {
        .has_full_name = true, .full_name = text("Somebody"), .has_phone = true, .phone = text("0123")};
    struct kap_user_create_request request = {.user = &user, .profile = &profile};
    struct kap_user_create_reply reply;
    struct kap_error_reply error = {0};
    kap_status status = service_call(fixture, fixture->admin, KAP_OP_USER_CREATE, &request, &reply, &error);
    cr_assert_eq(status, KAP_OK, "%.*s %.*s", (int)error.message.len, (const char *)error.message.data,
                 (int)error.path.len, (const char *)error.path.data);
    return (struct kap_principal){.user = reply.id, .roles = (uint16_t)KAP_ROLE_BIT(role)};
}

struct kap_id fixture_ref(struct service_fixture *fixture, enum kap_ref_kind list, const char *value)
{
    struct kap_ref_item item = {.has_kind = true,
                                .kind = (int32_t)list,
                                .has_value = true,
                                .value = text(value),
                                .has_label = true,
                                .label = text(value)};
    struct kap_ref_put_request request = {.item = &item};
    struct kap_ref_put_reply reply;
    cr_assert_eq(service_call(fixture, fixture->admin, KAP_OP_REF_PUT, &request, &reply, NULL), KAP_OK);
    return reply.id;
}

static void *push(struct service_fixture *fixture, size_t bytes)
{
    void *at = kap_arena_push(&fixture->arena, bytes ? bytes : 1);
    cr_assert_not_null(at);
    return at;
}

static void exercise_fill(struct kap_exercise *exercise, const char *title)
{
    *exercise = (struct kap_exercise){.has_title = true,
                                      .title = text(title),
                                      .has_description = true,
                                      .description = text("Two lines of three, one ball, no dribbling.")};
}

static void sequence_fill(struct service_fixture *fixture, struct kap_sequence_node *node, uint32_t n_exercises)
{
    node->sequence = push(fixture, sizeof *node->sequence);
    *node->sequence = (struct kap_sequence){.has_title = true,
                                            .title = text("Warm-up"),
                                            .has_objective = true,
                                            .objective = text("Get warm"),
                                            .has_type = true,
                                            .type = KAP_SEQUENCE_TYPE_WARMUP,
                                            .has_duration = true,
                                            .duration = 15};
    node->n_exercises = n_exercises;
    node->exercises = push(fixture, n_exercises * sizeof *node->exercises);
    for (uint32_t i = 0; i < n_exercises; i++) {
        node->exercises[i].exercise = push(fixture, sizeof(struct kap_exercise));
        exercise_fill(node->exercises[i].exercise, i % 2 ? "Relay" : "Passing");
    }
}

struct kap_session_save_request *fixture_session(struct service_fixture *fixture, struct kap_id sport,
                                                 struct kap_id level, const char *title, uint32_t n_sequences,
                                                 uint32_t n_exercises)
{
    struct kap_session_save_request *request = push(fixture, sizeof *request);
    request->session = push(fixture, sizeof *request->session);
    *request->session = (struct kap_session){.has_title = true,
                                             .title = text(title),
                                             .has_objective = true,
                                             .objective = text("Fast break"),
                                             .has_sport = true,
                                             .sport = sport,
                                             .has_level = true,
                                             .level = level,
                                             .has_age_category = true,
                                             .age_category = KAP_AGE_CATEGORY_U15,
                                             .has_duration = true,
                                             .duration = 90,
                                             .has_participants_min = true,
                                             .participants_min = 6,
                                             .has_participants_max = true,
                                             .participants_max = 14};
    request->n_objectives = 1;
    request->objectives = push(fixture, sizeof *request->objectives);
    *request->objectives = (struct kap_objective){.has_description = true,
                                                  .description = text("Run"),
                                                  .has_objective_type = true,
                                                  .objective_type = KAP_OBJECTIVE_TYPE_DEVELOPPEMENT};
    request->n_sequences = n_sequences;
    request->sequences = push(fixture, n_sequences * sizeof *request->sequences);
    for (uint32_t i = 0; i < n_sequences; i++)
        sequence_fill(fixture, &request->sequences[i], n_exercises);
    return request;
}
