/* One thread, many connections, closed loop: every connection has `depth` requests in flight and sends the next when one
 * is answered. Latency is from submit to reply. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench/kapbench/gen.h"
#include "bench/kapbench/histogram.h"
#include "bench/kapbench/kapbench.h"
#include "bench/kapbench/options.h"
#include "engine/base/assert.h"
#include "proto/clients/c/kap_client.h"

enum { CONNECTIONS_MAX = 1000, DEPTH_MAX = 64, EDIT_SESSIONS = 256, SEQUENCES_MAX = 16 };

/* The application's flows and their weights. */
enum flow {
    FLOW_LIST,
    FLOW_GRAPH,
    FLOW_COMMENTS,
    FLOW_GET,
    FLOW_EXERCISES,
    FLOW_COMMENT,
    FLOW_REORDER,
    FLOW_SAVE,
    FLOW_LOGIN,
    FLOWS
};
static const struct {
    const char *name;
    uint16_t op;
    uint32_t weight;
} flows[FLOWS] = {
    [FLOW_LIST] = {"list_sessions", KAP_OP_SESSION_LIST, 25},
    [FLOW_GRAPH] = {"session_graph", KAP_OP_SESSION_GRAPH, 25},
    [FLOW_COMMENTS] = {"list_comments", KAP_OP_COMMENT_LIST, 15},
    [FLOW_GET] = {"get_by_id", KAP_OP_SESSION_GET, 12},
    [FLOW_EXERCISES] = {"list_exercises", KAP_OP_EXERCISE_LIST, 10},
    [FLOW_COMMENT] = {"add_comment", KAP_OP_COMMENT_PUT, 4},
    [FLOW_REORDER] = {"reorder", KAP_OP_PART_REORDER, 3},
    [FLOW_SAVE] = {"save_session", KAP_OP_SESSION_SAVE, 3},
    [FLOW_LOGIN] = {"login", KAP_OP_USER_FIND, 3},
};

struct edited { /* a session that saves and reorders work on */
    struct kap_id id, owner;
    struct kap_id sequences[SEQUENCES_MAX];
    uint32_t n_sequences;
};

struct pending {
    uint64_t request_id, sent_ns;
    enum flow flow;
};

struct connection {
    struct kap_pipe *pipe;
    struct pending pending[DEPTH_MAX];
};

struct run {
    const struct kapbench_options *options;
    struct kap_client *client;
    struct kap_memory memory;
    struct kap_arena arena;
    struct kap_draw draw;
    struct edited edited[EDIT_SESSIONS];
    struct connection connections[CONNECTIONS_MAX];
    struct pollfd fds[CONNECTIONS_MAX];
    struct kap_histogram histograms[FLOWS + 1];
    uint64_t conflicts, failures;
    kap_status first_failure;
    struct kap_error error;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static uint64_t session_draw(struct run *run)
{
    return kap_draw_zipf(&run->draw, (uint32_t)kap_gen_sessions(run->options->scale), 0.99);
}

#define SET(message, field, value) ((message)->has_##field = true, (message)->field = (value))

static struct kap_id part_id(const struct edited *edited, uint32_t slot)
{
    struct kap_id id = edited->id;
    id.bytes[14] ^= (uint8_t)(slot + 1);
    id.bytes[15] ^= 0x5a;
    return id;
}

/* The same rows every time, all their text new. */
static struct kap_bytes save_encode(struct run *run, struct edited *edited)
{
    struct kap_session_save_request request;
    kap_gen_session(&run->draw, &run->arena, edited->id, edited->owner, 4, 3, &request);
    edited->n_sequences = (uint32_t)request.n_sequences;
    for (uint32_t i = 0; i < request.n_sequences; i++) {
        edited->sequences[i] = part_id(edited, i * 8);
        request.sequences[i].sequence->sys->id = edited->sequences[i];
        for (uint32_t j = 0; j < request.sequences[i].n_exercises; j++)
            request.sequences[i].exercises[j].exercise->sys->id = part_id(edited, i * 8 + 1 + j);
    }
    return kap_wire_encode_in(&kap_session_save_request_msg, &request, &run->arena);
}

static struct kap_bytes reorder_encode(struct run *run, struct edited *edited)
{
    struct kap_part_reorder_request request = {.n_ids = edited->n_sequences, .ids = edited->sequences};
    uint32_t a = kap_draw_below(&run->draw, edited->n_sequences), b = kap_draw_below(&run->draw, edited->n_sequences);
    struct kap_id swapped = edited->sequences[a];
    edited->sequences[a] = edited->sequences[b];
    edited->sequences[b] = swapped;
    SET(&request, relation, KAP_RELATION_SESSION_SEQUENCES);
    SET(&request, parent, edited->id);
    return kap_wire_encode_in(&kap_part_reorder_request_msg, &request, &run->arena);
}

static struct kap_bytes list_encode(struct run *run)
{
    struct kap_list_page page = {0};
    struct kap_session_list_request request = {.page = &page};
    SET(&page, limit, 9);
    SET(&page, want_count, true);
    SET(&request, owner, kap_gen_session_owner(run->options->scale, run->options->seed, session_draw(run)));
    return kap_wire_encode_in(&kap_session_list_request_msg, &request, &run->arena);
}

static struct kap_bytes comments_encode(struct run *run)
{
    struct kap_list_page page = {0};
    struct kap_comment_list_request request = {.page = &page};
    SET(&page, limit, 20);
    SET(&request, session, kap_gen_session_id(run->options->seed, session_draw(run)));
    return kap_wire_encode_in(&kap_comment_list_request_msg, &request, &run->arena);
}

static struct kap_bytes exercises_encode(struct run *run)
{
    struct kap_list_page page = {0};
    struct kap_exercise_list_request request = {.page = &page};
    struct kap_id session = kap_gen_session_id(run->options->seed, session_draw(run));
    SET(&page, limit, 20);
    SET(&request, sequence, kap_gen_sequence_id(session, kap_draw_below(&run->draw, KAP_GEN_SEQUENCES_MIN)));
    return kap_wire_encode_in(&kap_exercise_list_request_msg, &request, &run->arena);
}

/* An administrator has no account to sign with, so the session's owner writes. */
static struct kap_bytes comment_encode(struct run *run, struct kap_meta *meta)
{
    struct kap_comment_put_request request;
    uint64_t session = session_draw(run);
    SET(meta, on_behalf_of, kap_gen_session_owner(run->options->scale, run->options->seed, session));
    kap_gen_comment(&run->draw, &run->arena, kap_gen_session_id(run->options->seed, session), &request);
    return kap_wire_encode_in(&kap_comment_put_request_msg, &request, &run->arena);
}

static struct kap_bytes body_encode(struct run *run, enum flow flow, struct kap_meta *meta)
{
    struct edited *edited = &run->edited[kap_draw_below(&run->draw, EDIT_SESSIONS)];
    struct kap_session_graph_request graph = {0};
    struct kap_session_get_request get = {0};
    struct kap_user_find_request find = {0};
    char email[64];
    switch (flow) {
    case FLOW_LIST:
        return list_encode(run);
    case FLOW_GRAPH:
        SET(&graph, id, kap_gen_session_id(run->options->seed, session_draw(run)));
        return kap_wire_encode_in(&kap_session_graph_request_msg, &graph, &run->arena);
    case FLOW_GET:
        SET(&get, id, kap_gen_session_id(run->options->seed, session_draw(run)));
        return kap_wire_encode_in(&kap_session_get_request_msg, &get, &run->arena);
    case FLOW_COMMENTS:
        return comments_encode(run);
    case FLOW_EXERCISES:
        return exercises_encode(run);
    case FLOW_COMMENT:
        return comment_encode(run, meta);
    case FLOW_REORDER:
        return reorder_encode(run, edited);
    case FLOW_SAVE:
        return save_encode(run, edited);
    case FLOW_LOGIN:
        snprintf(email, sizeof email, "coach%u@example.org",
                 kap_draw_below(&run->draw, (uint32_t)kap_gen_users(run->options->scale)));
        SET(&find, email, kap_bytes_str(email));
        return kap_wire_encode_in(&kap_user_find_request_msg, &find, &run->arena);
    default:
        return kap_bytes(NULL, 0);
    }
}

static enum flow flow_draw(struct run *run)
{
    uint32_t total = 0, flow = 0;
    for (int i = 0; i < FLOWS; i++)
        total += flows[i].weight;
    uint32_t mix = kap_draw_below(&run->draw, total);
    while (mix >= flows[flow].weight)
        mix -= flows[flow++].weight;
    return (enum flow)flow;
}

static bool request_submit(struct run *run, struct connection *connection, struct pending *pending)
{
    kap_arena_reset(&run->arena);
    pending->flow = flow_draw(run);
    struct kap_meta meta = {0};
    struct kap_bytes body = body_encode(run, pending->flow, &meta);
    pending->sent_ns = now_ns();
    return body.data && kap_pipe_submit(connection->pipe, flows[pending->flow].op, &meta, body, &pending->request_id,
                                        &run->error) == KAP_OK;
}

static void reply_count(struct run *run, const struct pending *pending, kap_status status, bool measure)
{
    uint64_t took = now_ns() - pending->sent_ns;
    if (status == KAP_REV_CONFLICT)
        run->conflicts++;
    else if (status != KAP_OK) {
        if (run->failures++ == 0)
            run->first_failure = status;
    } else if (measure) {
        kap_histogram_add(&run->histograms[pending->flow], took);
        kap_histogram_add(&run->histograms[FLOWS], took);
    }
}

/* Takes what has come on one connection and sends as many again. */
static bool connection_turn(struct run *run, struct connection *connection, bool measure, bool more)
{
    struct kap_pipe_reply reply;
    kap_status status;
    while ((status = kap_pipe_next(connection->pipe, 0, &reply, &run->error)) == KAP_OK) {
        for (uint32_t i = 0; i < run->options->depth; i++) {
            struct pending *pending = &connection->pending[i];
            if (pending->request_id != reply.request_id)
                continue;
            reply_count(run, pending, reply.status, measure);
            pending->request_id = 0;
            if (more && !request_submit(run, connection, pending))
                return false;
            break;
        }
    }
    return status == KAP_DEADLINE && kap_pipe_flush(connection->pipe, &run->error) == KAP_OK;
}

static bool phase(struct run *run, uint32_t n, double seconds, bool measure)
{
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    for (uint32_t i = 0; i < n; i++) {
        struct connection *connection = &run->connections[i];
        for (uint32_t d = 0; d < run->options->depth; d++)
            if (!request_submit(run, connection, &connection->pending[d]))
                return false;
        if (kap_pipe_flush(connection->pipe, &run->error) != KAP_OK)
            return false;
    }
    uint32_t in_flight = n;
    while (in_flight > 0) {
        bool more = now_ns() < end;
        if (poll(run->fds, n, 1000) < 0)
            return false;
        in_flight = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (run->fds[i].revents && !connection_turn(run, &run->connections[i], measure, more))
                return false;
            in_flight += kap_pipe_in_flight(run->connections[i].pipe) > 0;
        }
    }
    return true;
}

static void figures_print(struct run *run, uint32_t n, double seconds, double cpu, FILE *json)
{
    printf("\n%u connections, %u deep: %.0f requests/s; client %.0f %% of a core; %llu conflicts, %llu failures\n", n,
           run->options->depth, (double)run->histograms[FLOWS].count / seconds, cpu / seconds * 100,
           (unsigned long long)run->conflicts, (unsigned long long)run->failures);
    printf("%-14s %10s %9s %9s %9s %9s\n", "request", "per s", "p50 us", "p99 us", "p99.9 us", "max us");
    for (int i = 0; i <= FLOWS; i++) {
        const struct kap_histogram *h = &run->histograms[i];
        const char *name = i == FLOWS ? "all" : flows[i].name;
        double p50 = (double)kap_histogram_at(h, 0.5) / 1e3, p99 = (double)kap_histogram_at(h, 0.99) / 1e3;
        double p999 = (double)kap_histogram_at(h, 0.999) / 1e3;
        printf("%-14s %10.0f %9.1f %9.1f %9.1f %9.1f\n", name, (double)h->count / seconds, p50, p99, p999,
               (double)h->max / 1e3);
        if (json)
            fprintf(
                json,
                "{\"connections\":%u,\"depth\":%u,\"request\":\"%s\",\"per_s\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
                "\"p999_us\":%.1f,\"max_us\":%.1f,\"failures\":%llu}\n",
                n, run->options->depth, name, (double)h->count / seconds, p50, p99, p999, (double)h->max / 1e3,
                (unsigned long long)run->failures);
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static bool step(struct run *run, uint32_t n, FILE *json)
{
    memset(run->histograms, 0, sizeof run->histograms);
    run->conflicts = run->failures = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (kap_pipe_open(run->client, &run->connections[i].pipe, &run->error) != KAP_OK)
            return false;
        run->fds[i] = (struct pollfd){.fd = kap_pipe_fd(run->connections[i].pipe), .events = POLLIN};
    }
    bool fine = phase(run, n, 0.5, false);
    double cpu = cpu_seconds();
    uint64_t start = now_ns();
    fine = fine && phase(run, n, run->options->seconds, true);
    double seconds = (double)(now_ns() - start) / 1e9;
    for (uint32_t i = 0; i < n; i++)
        kap_pipe_close(run->connections[i].pipe);
    if (fine)
        figures_print(run, n, seconds, cpu_seconds() - cpu, json);
    return fine;
}

/* Sessions of the benchmark's own, so that edits do not disturb what other flows read. */
static bool edited_make(struct run *run)
{
    for (uint32_t i = 0; i < EDIT_SESSIONS; i++) {
        struct edited *edited = &run->edited[i];
        struct kap_draw draw;
        struct kap_buffer reply;
        bool from_server;
        kap_draw_init(&draw, (run->options->seed ^ 0xed17ed) * 1000 + i);
        edited->id = kap_draw_id(&draw);
        edited->owner = kap_gen_session_owner(run->options->scale, run->options->seed, i);
        kap_arena_reset(&run->arena);
        kap_buffer_init(&reply, &run->memory);
        struct kap_bytes body = save_encode(run, edited);
        kap_status status =
            kap_client_call(run->client, KAP_OP_SESSION_SAVE, NULL, body, &reply, &from_server, &run->error);
        kap_buffer_deinit(&reply);
        if (status != KAP_OK)
            return false;
    }
    return true;
}

int kapbench_run(int argc, char **argv)
{
    static struct run run;
    struct kapbench_options options;
    int code = kapbench_options_parse(argc, argv, &options);
    if (code != 0)
        return code;
    if (!options.mix || strcmp(options.mix, "app") != 0) {
        fprintf(stderr, "kapbench: run needs --mix app\n");
        return 2;
    }
    FILE *json = options.json ? fopen(options.json, "w") : NULL;
    if (options.json && !json) {
        fprintf(stderr, "kapbench: cannot write %s\n", options.json);
        return 1;
    }
    run.options = &options;
    kap_draw_init(&run.draw, options.seed + 99);
    kap_arena_init(&run.arena, &run.memory, 256 * 1024, 0);
    struct kap_client_options connect = {.url = options.url, .name = "kapbench", .pool = CONNECTIONS_MAX + 1};
    if (kap_client_open(&connect, &run.client, &run.error) != KAP_OK) {
        fprintf(stderr, "kapbench: %s\n", run.error.text);
        return 3;
    }
    bool fine = edited_make(&run);
    printf("mix app, %g s a step after 0.5 s of warm-up\n", options.seconds);
    for (uint32_t i = 0; i < options.n_connections && fine; i++)
        fine = step(&run, options.connections[i], json);
    kap_client_close(run.client);
    kap_arena_deinit(&run.arena);
    if (json && fclose(json) != 0)
        fine = false;
    if (!fine || run.failures > 0) {
        fprintf(stderr, "kapbench: %s %s\n", run.failures ? kap_status_name(run.first_failure) : "", run.error.text);
        return 1;
    }
    return 0;
}
