/* loop_internal.h - what loop.c (rounds, listeners, the end) and loop_socket.c (one socket's life) share. */
#pragma once

#include <liburing.h>

#include "server/loop.h"

enum {
    LOOP_BUFFER_BYTES = 16 * 1024,
    LOOP_BUFFERS = 128, /* a power of two */
    LOOP_BUFFER_GROUP = 1,
    LOOP_LISTENERS_MAX = 4,
};

enum loop_op_kind {
    LOOP_ACCEPT = 1,
    LOOP_RECV,
    LOOP_SEND,
    LOOP_SIGNAL,
    LOOP_CANCEL,
};

struct loop_op {
    enum loop_op_kind kind;
    void *owner;
};

struct loop_socket {
    struct kap_list link;
    struct kap_loop *loop;
    struct kap_connection *connection; /* NULL: lingering or ended */
    int fd;
    bool recv_armed, send_armed, gone;
    int64_t linger_until_ns;
    struct loop_op recv, send;
};

struct loop_listener {
    struct kap_listener listener;
    struct loop_op op, cancel;
    struct kap_loop *loop;
    bool armed;
    int64_t retry_ns;
};

struct kap_loop {
    struct kap_service *service;
    struct kap_store *store;
    struct kap_env *env;
    struct kap_queue *queue;
    struct io_uring *ring;
    struct kap_connection_pool pool;
    struct kap_list sockets; /* live first by age, then lingering */
    uint32_t n_sockets, n_lingering;
    int64_t refused_logged_ns; /* a flood of connections is one line a second */
    uint64_t refused_unlogged;
    struct loop_listener listeners[LOOP_LISTENERS_MAX];
    uint32_t n_listeners;
    int signal_fd;
    struct loop_op signal_op;
    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffers;
    bool buffers_short; /* a receive found no buffer: arm it again */
    uint32_t drain_grace_ms;
    int64_t tick_ns, drain_ns; /* next tick; begin of the drain, 0: not yet */
    int signals;
};

int64_t loop_now_ns(const struct kap_loop *loop);
/* A free place of the ring. loop_entry_mark comes after the prep, which clears it. */
struct io_uring_sqe *loop_entry(struct kap_loop *loop);
void loop_entry_mark(struct io_uring_sqe *sqe, struct loop_op *op);

/* loop_socket.c */
KAP_CHECKED kap_status loop_buffers_create(struct kap_loop *loop, struct kap_error *error);
void loop_buffers_free(struct kap_loop *loop);
/* A connection on fd, or, when there is no room for it, its last words on fd; fd is taken over. */
void loop_socket_open(struct kap_loop *loop, int fd, const struct kap_peer *peer);
/* What the connection wants of its socket now. */
void loop_socket_update(struct loop_socket *socket);
void loop_socket_received(struct loop_socket *socket, int32_t result, uint32_t flags);
void loop_socket_sent(struct loop_socket *socket, int32_t result);
/* The peer is not there any more, or we give it up. */
void loop_socket_gone(struct loop_socket *socket);
void loop_sockets_tick(struct kap_loop *loop, int64_t now);
/* One step of the drain; true: none is left. quiet: those with nothing in flight may go; enough: all. */
bool loop_sockets_drain(struct kap_loop *loop, bool quiet, bool enough);
