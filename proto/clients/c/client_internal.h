/* client_internal.h - what the files of libkap share: an address, and one connection. */
#pragma once

#include <pthread.h>

#include "proto/clients/c/kap_client.h"
#include "proto/clients/c/reassembly.h"
#include "proto/frame.h"

enum { CLIENT_TEXT_BYTES = 256, CLIENT_POOL_MAX = 64 };

struct client_address {
    bool is_unix;
    char host[CLIENT_TEXT_BYTES]; /* or the path */
    char port[16];
    uint32_t pool, timeout_ms; /* 0: not said */
};

kap_status client_address_parse(const char *url, struct client_address *address_out, struct kap_error *error);

/* One connection. The client's pool owns it; a pipe or a call holds it meanwhile. */
struct kap_pipe {
    struct kap_client *client;
    struct kap_pipe *next; /* in the pool */
    int fd; /* -1: not connected */
    struct kap_memory *memory;
    struct kap_buffer in, out;
    struct reassembly replies;
    size_t in_at, out_at;
    struct kap_arena scratch; /* unpacked bodies */
    struct kap_frame_limits limits;
    uint32_t send_bytes_max;
    uint64_t next_id;
    uint32_t in_flight;
    bool leaving; /* the server said goodbye */
};

struct kap_client {
    struct kap_memory memory;
    struct client_address address;
    char *token, *name;
    uint32_t pool_max, timeout_ms, n_pipes;
    bool lz4;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct kap_pipe *idle;
    struct kap_arena hello_arena;
    struct kap_hello_reply hello;
    bool has_hello; /* of the first connection; never written again, as callers point into it */
};

/* link.c */
kap_status link_connect(struct kap_pipe *pipe, struct kap_error *error);
void link_close(struct kap_pipe *pipe);
bool link_is_stale(struct kap_pipe *pipe); /* the server has closed or left it meanwhile */
kap_status link_frame(struct kap_pipe *pipe, const struct kap_frame *frame, struct kap_error *error);
/* One frame; bytes valid until the next call. */
kap_status link_read(struct kap_pipe *pipe, uint32_t timeout_ms, struct kap_frame *frame_out, struct kap_error *error);

/* client.c */
kap_status client_take(struct kap_client *client, struct kap_pipe **pipe_out, struct kap_error *error);
void client_give(struct kap_pipe *pipe);
