#include "proto/clients/c/kap_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/assert.h"
#include "proto/clients/c/client_internal.h"
#include "proto/ops.h"
#include "proto/wire.h"

enum {
    POOL_DEFAULT = 4,
    TIMEOUT_MS_DEFAULT = 30000,
    ATTEMPTS_MAX = 4,
    RETRY_MS = 20,
    TOKEN_BYTES_MAX = 128,
    REPLIES_BYTES_MAX = 64 * 1024 * 1024
};

/* ---- life */

static char *text_copy(struct kap_client *client, const char *text)
{
    char *copy = kap_memory_alloc(&client->memory, strlen(text) + 1);
    if (copy)
        memcpy(copy, text, strlen(text) + 1);
    return copy;
}

static kap_status token_read(struct kap_client *client, const char *path, struct kap_error *error)
{
    char token[TOKEN_BYTES_MAX + 2] = "";
    FILE *file = fopen(path, "re");
    if (!file || !fgets(token, sizeof token, file)) {
        if (file)
            fclose(file);
        return kap_error_set(error, KAP_INVALID, "cannot read a token from %s, which KAP_TOKEN_FILE names", path);
    }
    fclose(file);
    token[strcspn(token, "\r\n")] = '\0';
    client->token = text_copy(client, token);
    explicit_bzero(token, sizeof token);
    return client->token ? KAP_OK : kap_error_set(error, KAP_NO_MEMORY, "no memory for the token");
}

static kap_status client_fill(struct kap_client *client, const struct kap_client_options *options,
                              struct kap_error *error)
{
    const char *url = options->url ? options->url : getenv("KAP_URL");
    const char *token_file = getenv("KAP_TOKEN_FILE");
    kap_status status = client_address_parse(url && url[0] ? url : "kap://127.0.0.1:7411", &client->address, error);
    if (status != KAP_OK)
        return status;
    uint32_t pool = options->pool ? options->pool : client->address.pool;
    uint32_t timeout_ms = options->timeout_ms ? options->timeout_ms : client->address.timeout_ms;
    client->pool_max = KAP_MIN(pool ? pool : POOL_DEFAULT, (uint32_t)CLIENT_POOL_MAX);
    client->timeout_ms = timeout_ms ? timeout_ms : TIMEOUT_MS_DEFAULT;
    client->lz4 = options->lz4;
    client->name = text_copy(client, options->name ? options->name : "libkap");
    if (options->token)
        client->token = text_copy(client, options->token);
    if (!client->name || (options->token && !client->token))
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a client");
    return options->token || !token_file || !token_file[0] ? KAP_OK : token_read(client, token_file, error);
}

kap_status kap_client_open(const struct kap_client_options *options, struct kap_client **client_out,
                           struct kap_error *error)
{
    struct kap_memory outside = {0};
    struct kap_client *client = kap_memory_alloc(&outside, sizeof *client);
    if (!client)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a client");
    pthread_mutex_init(&client->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&client->freed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    kap_arena_init(&client->hello_arena, &client->memory, 4096, 0);
    kap_status status = client_fill(client, options, error);
    if (status != KAP_OK) {
        kap_client_close(client);
        return status;
    }
    *client_out = client;
    return KAP_OK;
}

static void pipe_free(struct kap_pipe *pipe)
{
    struct kap_client *client = pipe->client;
    link_close(pipe);
    kap_buffer_deinit(&pipe->in);
    kap_buffer_deinit(&pipe->out);
    reassembly_deinit(&pipe->replies);
    kap_arena_deinit(&pipe->scratch);
    kap_memory_free(&client->memory, pipe);
}

void kap_client_close(struct kap_client *client)
{
    struct kap_memory outside = {0};
    while (client->idle) {
        struct kap_pipe *pipe = client->idle;
        client->idle = pipe->next;
        pipe_free(pipe);
    }
    if (client->token)
        explicit_bzero(client->token, strlen(client->token));
    kap_memory_free(&client->memory, client->token);
    kap_memory_free(&client->memory, client->name);
    kap_arena_deinit(&client->hello_arena);
    pthread_mutex_destroy(&client->lock);
    pthread_cond_destroy(&client->freed);
    kap_memory_free(&outside, client);
}

/* ---- the pool */

static struct kap_pipe *pipe_new(struct kap_client *client)
{
    struct kap_pipe *pipe = kap_memory_alloc(&client->memory, sizeof *pipe);
    if (!pipe)
        return NULL;
    pipe->client = client;
    pipe->memory = &client->memory;
    pipe->fd = -1;
    kap_buffer_init(&pipe->in, &client->memory);
    kap_buffer_init(&pipe->out, &client->memory);
    reassembly_init(&pipe->replies, &client->memory, REPLIES_BYTES_MAX);
    kap_arena_init(&pipe->scratch, &client->memory, 4096, 0);
    return pipe;
}

kap_status client_take(struct kap_client *client, struct kap_pipe **pipe_out, struct kap_error *error)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += client->timeout_ms / 1000;
    until.tv_nsec += client->timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&client->lock);
    int waited = 0;
    while (!client->idle && client->n_pipes == client->pool_max && waited == 0)
        waited = pthread_cond_timedwait(&client->freed, &client->lock, &until);
    struct kap_pipe *pipe = client->idle;
    if (pipe) {
        client->idle = pipe->next;
    } else if (client->n_pipes < client->pool_max) {
        pipe = pipe_new(client);
        client->n_pipes += pipe != NULL;
        waited = 0;
    }
    pthread_mutex_unlock(&client->lock);
    if (!pipe && waited != 0)
        return kap_error_set(error, KAP_DEADLINE, "all %u connections of the pool are in use; give it more: pool=N",
                             client->pool_max);
    if (!pipe)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a connection");
    if (!link_is_stale(pipe)) {
        *pipe_out = pipe;
        return KAP_OK;
    }
    link_close(pipe);
    kap_status status = link_connect(pipe, error);
    if (status == KAP_OK)
        *pipe_out = pipe;
    else
        client_give(pipe);
    return status;
}

void client_give(struct kap_pipe *pipe)
{
    struct kap_client *client = pipe->client;
    if (pipe->in_flight > 0 || pipe->leaving)
        link_close(pipe); /* answers of others would come in: a closed connection cancels all */
    pthread_mutex_lock(&client->lock);
    pipe->next = client->idle;
    client->idle = pipe;
    pthread_cond_signal(&client->freed);
    pthread_mutex_unlock(&client->lock);
}

kap_status kap_client_hello(struct kap_client *client, struct kap_hello_reply *hello_out, struct kap_error *error)
{
    struct kap_pipe *pipe;
    kap_status status = client_take(client, &pipe, error);
    if (status != KAP_OK)
        return status;
    client_give(pipe);
    pthread_mutex_lock(&client->lock);
    if (client->has_hello)
        *hello_out = client->hello;
    else
        status = kap_error_set(error, KAP_NO_MEMORY, "no memory for the answer to hello");
    pthread_mutex_unlock(&client->lock);
    return status;
}

/* ---- calls */

void kap_client_explain(kap_status status, struct kap_bytes body, struct kap_error *error)
{
    struct kap_memory outside = {0};
    struct kap_arena arena;
    struct kap_error_reply reply;
    kap_arena_init(&arena, &outside, 4096, 0);
    if (kap_wire_decode(&kap_error_reply_msg, body, &arena, KAP_WIRE_STORED, &reply, NULL) != KAP_OK)
        reply = (struct kap_error_reply){0};
    struct kap_bytes text = reply.has_message ? reply.message : kap_bytes_str(kap_status_sentence(status));
    const struct kap_field_fault *fault = reply.n_faults > 0 ? &reply.faults[0] : NULL;
    kap_error_set(error, status, "%.*s%s%.*s%s%.*s%s%.*s", (int)KAP_MIN(text.len, 300), (const char *)text.data,
                  fault ? "; " : "", fault ? (int)KAP_MIN(fault->path.len, 100) : 0,
                  fault ? (const char *)fault->path.data : "", fault ? ": " : "",
                  fault ? (int)KAP_MIN(fault->text.len, 200) : 0, fault ? (const char *)fault->text.data : "",
                  reply.has_hint ? ". " : "", reply.has_hint ? (int)KAP_MIN(reply.hint.len, 200) : 0,
                  reply.has_hint ? (const char *)reply.hint.data : "");
    kap_arena_deinit(&arena);
}

/* How long to wait before the next attempt; -1: the answer stands. */
static int64_t retry_after_ms(struct kap_bytes body)
{
    struct kap_memory outside = {0};
    struct kap_arena arena;
    struct kap_error_reply reply;
    int64_t wait_ms = -1;
    kap_arena_init(&arena, &outside, 4096, 0);
    if (kap_wire_decode(&kap_error_reply_msg, body, &arena, KAP_WIRE_STORED, &reply, NULL) == KAP_OK && reply.retryable)
        wait_ms = reply.has_retry_after_ms ? reply.retry_after_ms : RETRY_MS;
    kap_arena_deinit(&arena);
    return wait_ms;
}

static kap_status call_once(struct kap_client *client, uint16_t op, const struct kap_meta *meta, struct kap_bytes body,
                            struct kap_buffer *reply, bool *from_server_out, bool *maybe_sent, struct kap_error *error)
{
    struct kap_pipe *pipe;
    struct kap_pipe_reply answer;
    uint64_t id;
    kap_buffer_clear(reply);
    *from_server_out = false;
    kap_status status = client_take(client, &pipe, error);
    if (status != KAP_OK)
        return status;
    uint32_t timeout_ms = meta && meta->has_deadline_ms ? meta->deadline_ms + 1000 : client->timeout_ms;
    *maybe_sent = true;
    status = kap_pipe_submit(pipe, op, meta, body, &id, error);
    do {
        if (status == KAP_OK)
            status = kap_pipe_next(pipe, timeout_ms, &answer, error);
        if (status == KAP_OK)
            kap_buffer_append(reply, answer.body.data, answer.body.len);
    } while (status == KAP_OK && answer.more);
    if (status == KAP_OK && reply->failed)
        status = kap_error_set(error, KAP_NO_MEMORY, "no memory for a reply");
    else if (status == KAP_OK && answer.request_id != id)
        status = kap_error_set(error, KAP_DECODE, "the server answered something that was not asked");
    if (status == KAP_OK) {
        *from_server_out = true;
        status = answer.status;
    }
    client_give(pipe);
    return status;
}

/* Jitter, so that many clients do not come back at once. */
static void pause_ms(int64_t ms, uint32_t attempt)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t us = (ms << attempt) * 1000;
    us = us / 2 + now.tv_nsec / 1000 % (us / 2 + 1);
    struct timespec wait = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    nanosleep(&wait, NULL);
}

kap_status kap_client_call(struct kap_client *client, uint16_t op, const struct kap_meta *meta, struct kap_bytes body,
                           struct kap_buffer *reply, bool *from_server_out, struct kap_error *error)
{
    const struct kap_op_desc *desc = kap_op_find(op);
    struct kap_meta keyed = meta ? *meta : (struct kap_meta){0};
    bool safe = desc && (desc->idempotent || desc->write), maybe_sent = false;
    if (desc && desc->write && !desc->idempotent && !keyed.has_idempotency_key) {
        keyed.has_idempotency_key = true;
        arc4random_buf(keyed.idempotency_key.bytes, sizeof keyed.idempotency_key.bytes);
    }
    for (uint32_t attempt = 0;; attempt++) {
        struct kap_error last = {0};
        kap_status status = call_once(client, op, &keyed, body, reply, from_server_out, &maybe_sent, &last);
        int64_t wait_ms = -1;
        if (status != KAP_OK && *from_server_out)
            wait_ms = retry_after_ms(kap_buffer_bytes(reply));
        else if (status == KAP_UNREACHABLE)
            wait_ms = RETRY_MS;
        if (status == KAP_OK || wait_ms < 0 || !safe || attempt + 1 == ATTEMPTS_MAX) {
            if (status != KAP_OK && *from_server_out)
                kap_client_explain(status, kap_buffer_bytes(reply), error);
            else if (status != KAP_OK)
                kap_error_set(error, status, "%s%s", last.text,
                              desc && desc->write && maybe_sent ? "; whether it was written is unknown" : "");
            return status;
        }
        pause_ms(wait_ms, attempt);
    }
}

kap_status kap_client_send(struct kap_client *client, uint16_t op, const struct kap_meta *meta, const void *request,
                           struct kap_arena *arena, void *reply_out, struct kap_error *error)
{
    const struct kap_op_desc *desc = kap_op_find(op);
    bool from_server;
    KAP_ASSERT(desc != NULL);
    struct kap_bytes body = kap_wire_encode_in(desc->request, request, arena);
    if (!body.data)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a request");
    struct kap_buffer reply;
    kap_buffer_init(&reply, &client->memory);
    kap_status status = kap_client_call(client, op, meta, body, &reply, &from_server, error);
    if (status == KAP_OK) {
        struct kap_bytes copy = kap_arena_copy(arena, kap_buffer_bytes(&reply));
        status =
            copy.data ? kap_wire_decode(desc->reply, copy, arena, KAP_WIRE_STORED, reply_out, NULL) : KAP_NO_MEMORY;
        if (status != KAP_OK)
            kap_error_set(error, status, "the reply to %s cannot be read: %s", desc->name, kap_status_sentence(status));
    }
    kap_buffer_deinit(&reply);
    return status;
}
