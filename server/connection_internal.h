/* connection_internal.h - what connection.c, request.c and stream.c share. */
#pragma once

#include "proto/frame.h"
#include "server/connection.h"

enum {
    CONNECTION_STREAM_CREDIT = 256 * 1024, /* a stream begins with so much */
    CONNECTION_STREAM_CHUNK = 64 * 1024,
    CONNECTION_STREAM_BACKLOG = 256 * 1024, /* no further chunk while so much waits to be sent */
    CONNECTION_BATCH_BYTES_MAX = 4 * 1024 * 1024 + 64 * 1024, /* a body in MORE frames */
    CONNECTION_HELLO_BYTES_MAX = 16 * 1024,
    CONNECTION_STREAMS_MAX = 32,
    REQUEST_CHUNK_ROOM = 64, /* a request for one chunk of a blob */
};

enum connection_state {
    CONNECTION_GREETING = 1,
    CONNECTION_OPEN,
    CONNECTION_LEAVING,
    CONNECTION_CLOSING,
};

enum request_state {
    REQUEST_FREE,
    REQUEST_ASSEMBLING, /* its body comes in MORE frames */
    REQUEST_SWALLOWING, /* answered before its last frame: the rest is skipped */
    REQUEST_RUNNING, /* with the service */
    REQUEST_CHUNK_DONE, /* a stream between two chunks; the service may still look at the call */
    REQUEST_CHUNK_DUE, /* waits for credit or for room in the output */
};

struct request {
    struct kap_call call; /* call.owner is the request */
    struct kap_list link; /* free, finished, or streams of its connection */
    struct kap_connection *connection;
    uint64_t id;
    uint32_t slot; /* in connection->requests */
    uint16_t op;
    enum request_state state;
    size_t meta_len; /* of body */
    struct kap_buffer body;
    struct request_stream { /* of blob.read */
        bool on, ended;
        uint64_t next, end; /* bytes of the blob; end is UINT64_MAX until it is known */
        int64_t credit;
        uint8_t hash[32];
    } stream;
};

struct kap_connection {
    struct kap_connection_pool *pool;
    void *owner;
    struct kap_list all_link, ready_link, streams;
    struct kap_peer peer;
    enum connection_state state;
    struct kap_principal principal;
    struct kap_frame_limits limits;
    uint32_t send_bytes_max; /* of a frame's body */
    unsigned build; /* enum kap_frame_build */
    struct kap_buffer input; /* unparsed */
    size_t input_at;
    size_t skip_bytes; /* rest of a refused frame */
    struct kap_buffer output, sending;
    size_t sending_at;
    uint64_t *ids; /* of requests: looked through at every frame */
    struct request **requests;
    uint32_t n_requests, cap_requests, n_streams, n_assembling;
    uint64_t request_bytes, assembling_bytes; /* bodies running, and gathered */
    int64_t opened_ns, heard_ns;
    uint8_t pings;
    bool any_frame; /* at least one came whole: this is a client of ours */
};

/* connection.c */
void connection_touch(struct kap_connection *connection); /* on the ready list */
void connection_frame(struct kap_connection *connection, const struct kap_frame *frame, unsigned build);
void connection_error(struct kap_connection *connection, uint16_t op, uint64_t id, kap_status status,
                      const char *message);
void connection_answer(struct kap_connection *connection, uint16_t op, uint64_t id, kap_status status,
                       const struct kap_msg *msg, const void *reply);
void connection_reply(struct kap_connection *connection, uint16_t op, uint64_t id, const struct kap_msg *msg,
                      const void *reply);
void connection_shut(struct kap_connection *connection); /* to CLOSING */
size_t connection_backlog(const struct kap_connection *connection);

/* request.c */
void request_frame(struct kap_connection *connection, const struct kap_frame *frame);
/* The frame's header was good, its body was not. */
void request_refuse(struct kap_connection *connection, const struct kap_frame *frame, kap_status status,
                    const char *message);
struct request *request_find(struct kap_connection *connection, uint64_t id);
void request_cancel(struct request *request);
void request_end(struct request *request); /* answered: leaves the connection */
void request_drop(struct request *request); /* the client is gone */
void request_answer(struct request *request, kap_status status, struct kap_bytes body);
void requests_reap(struct kap_connection_pool *pool); /* finished -> free */
void requests_free(struct kap_connection_pool *pool);

/* control.c: ping, cancel, credit, goodbye; false when the op is none of these. */
bool control_frame(struct kap_connection *connection, const struct kap_frame *frame);

/* stream.c */
kap_status stream_begin(struct request *request, struct kap_bytes body);
void stream_chunk_done(struct request *request, kap_status status);
void stream_run(struct kap_connection *connection); /* starts chunks that have credit and room */
void stream_credit(struct request *request, uint32_t bytes);
