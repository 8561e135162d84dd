/* kap_client.h - libkap: requests to a kapd from C, blocking or pipelined.
 *
 *   struct kap_client *client;
 *   kap_client_open(&(struct kap_client_options){0}, &client, &error);      KAP_URL, KAP_TOKEN_FILE
 *   kap_client_send(client, KAP_OP_SESSION_GRAPH, NULL, &request, arena, &reply, &error);
 *
 * URL      kap://host:port/?pool=8&timeout=2s  or  kap+unix:///path; without one KAP_URL, then kap://127.0.0.1:7411.
 * Threads  a client: any; each call takes a connection of the pool for itself. A pipe: one thread at a time.
 * Retries  a call is sent again after a lost connection or a reply that says retryable only when that is safe: the
 *          operation is idempotent, or carries an idempotency key; writes are given one.
 * Errors   KAP_UNREACHABLE: no server there, or the connection was lost; KAP_DEADLINE: no answer in time. The words say
 *          so when a write may have happened nevertheless. Otherwise the status of the server's ErrorReply, its message
 *          in error. */
#pragma once

#include "engine/base/arena.h"
#include "engine/base/buffer.h"
#include "engine/base/status.h"
#include "proto/kap_requests.h"

struct kap_client;
struct kap_pipe;

struct kap_client_options {
    const char *url; /* NULL: KAP_URL, else the default */
    const char *token; /* NULL: the first line of the file KAP_TOKEN_FILE names, else none */
    const char *name; /* told to the server; NULL: "libkap" */
    uint32_t pool; /* connections; 0: 4 */
    uint32_t timeout_ms; /* of a call; 0: 30 s */
    bool lz4; /* ask for compressed replies */
};

KAP_CHECKED kap_status kap_client_open(const struct kap_client_options *options, struct kap_client **client_out,
                                       struct kap_error *error);
/* No call is under way and no pipe open. */
void kap_client_close(struct kap_client *client);
/* What the first hello told; connects when nobody has yet. Text in it lives as long as the client. */
KAP_CHECKED kap_status kap_client_hello(struct kap_client *client, struct kap_hello_reply *hello_out,
                                        struct kap_error *error);

/* Encoded body in, encoded reply out (an ErrorReply when the status is not KAP_OK and was the server's: then
 * *from_server_out). reply is cleared first. meta may be NULL. */
KAP_CHECKED kap_status kap_client_call(struct kap_client *client, uint16_t op, const struct kap_meta *meta,
                                       struct kap_bytes body, struct kap_buffer *reply, bool *from_server_out,
                                       struct kap_error *error);
/* The same with the structs of the op's messages; the reply's text and lists live in the arena. */
KAP_CHECKED kap_status kap_client_send(struct kap_client *client, uint16_t op, const struct kap_meta *meta,
                                       const void *request, struct kap_arena *arena, void *reply_out,
                                       struct kap_error *error);
/* The words of an encoded ErrorReply. */
void kap_client_explain(kap_status status, struct kap_bytes error_reply, struct kap_error *error);

/* ---- pipelined: one connection for oneself */

struct kap_pipe_reply {
    uint64_t request_id;
    uint16_t op;
    kap_status status;
    bool more; /* a stream: further replies with this id follow */
    struct kap_bytes body; /* until the next call on the pipe */
};

KAP_CHECKED kap_status kap_pipe_open(struct kap_client *client, struct kap_pipe **pipe_out, struct kap_error *error);
/* Requests without an answer yet are cancelled. */
void kap_pipe_close(struct kap_pipe *pipe);
/* Queues; sent by flush or next. */
KAP_CHECKED kap_status kap_pipe_submit(struct kap_pipe *pipe, uint16_t op, const struct kap_meta *meta,
                                       struct kap_bytes body, uint64_t *request_id_out, struct kap_error *error);
KAP_CHECKED kap_status kap_pipe_flush(struct kap_pipe *pipe, struct kap_error *error);
/* The next reply, in the order they come. KAP_DEADLINE after timeout_ms (0: only what is there; UINT32_MAX: for ever). */
KAP_CHECKED kap_status kap_pipe_next(struct kap_pipe *pipe, uint32_t timeout_ms, struct kap_pipe_reply *reply_out,
                                     struct kap_error *error);
KAP_CHECKED kap_status kap_pipe_cancel(struct kap_pipe *pipe, uint64_t request_id, struct kap_error *error);
KAP_CHECKED kap_status kap_pipe_credit(struct kap_pipe *pipe, uint64_t request_id, uint32_t bytes,
                                       struct kap_error *error);
int kap_pipe_fd(const struct kap_pipe *pipe); /* readable: next has something to do */
uint32_t kap_pipe_in_flight(const struct kap_pipe *pipe);

/* ---- blobs */

/* Gives up to len bytes; 0: the end; -1: failed. */
typedef ptrdiff_t (*kap_blob_source)(void *context, void *data, size_t len);
typedef kap_status (*kap_blob_sink)(void *context, struct kap_bytes bytes);

/* size and hash are of all that source will give. Goes on where an earlier upload stopped: source is then asked for the
 * bytes before, too, which are not sent again. */
KAP_CHECKED kap_status kap_blob_upload(struct kap_client *client, const uint8_t hash[32], uint64_t size,
                                       const char *media_type, kap_blob_source source, void *context,
                                       bool *was_there_out, struct kap_error *error);
/* Reads the file twice: for its hash, and to send it. */
KAP_CHECKED kap_status kap_blob_upload_file(struct kap_client *client, const char *path, const char *media_type,
                                            uint8_t hash_out[32], uint64_t *size_out, bool *was_there_out,
                                            struct kap_error *error);
/* length UINT64_MAX: to the end. A whole blob is checked against its hash (KAP_CORRUPT). */
KAP_CHECKED kap_status kap_blob_download(struct kap_client *client, const uint8_t hash[32], uint64_t offset,
                                         uint64_t length, kap_blob_sink sink, void *context, struct kap_error *error);
