/* connection.h - one client's state machine over bytes: frames in, calls of the service, frames out. Free of sockets: the
 * loop drives it, and so does the simulator.
 *
 *   greeting -> open      a successful hello
 *   open     -> leaving   the client's goodbye: what is in flight is finished, nothing new begins
 *   any      -> closing   framing lost, hello failed or late, no answer to pings: what is queued goes out, then the end
 *
 * Bytes    feed takes all it is given. Unread bytes wait inside while the connection is full (in_flight_max requests,
 *          unread_bytes_max of request bodies, or a client that does not read its replies): stop reading while
 *          kap_connection_wants is false.
 * Order    replies leave as their calls finish. next_ready gives every connection that has something new to send or
 *          could go on reading; ask it once per round after the service was polled.
 * Memory   the pool's: an idle connection holds its struct and nothing else. Requests are pooled.
 * Threads  the reactor's. */
#pragma once

#include "server/service.h"

enum kap_peer_kind {
    KAP_PEER_TCP = 1,
    KAP_PEER_UNIX,
};

struct kap_peer {
    uint8_t kind; /* enum kap_peer_kind */
    uint32_t uid; /* of a unix peer */
    char address[64]; /* for the log */
};

struct kap_connection;

struct kap_connection_options {
    uint32_t connections_max;
    uint32_t frame_bytes_max; /* bodies of frames, both ways; a client may ask for less */
    uint32_t in_flight_max; /* requests of one connection */
    uint64_t unread_bytes_max; /* bodies in flight, and replies not yet taken */
    uint32_t idle_ping_s; /* ping after so much silence, give up after three */
    uint32_t hello_ms; /* to say hello */
};

struct kap_connection_stats {
    uint64_t opened, refused, frames_in, bad_frames, bytes_in, bytes_out;
    uint32_t open, in_flight; /* now */
};

struct kap_connection_pool {
    struct kap_connection_options options;
    struct kap_service *service;
    struct kap_env *env;
    struct kap_memory *memory;
    struct kap_list all, ready;
    struct kap_list free_requests; /* done with, ready for the next */
    struct kap_list finished_requests; /* answered; the service may still look at their calls */
    uint32_t n_free_requests;
    struct kap_arena scratch; /* unpacked bodies and small replies, until the next frame */
    bool draining;
    struct kap_connection_stats stats;
};

void kap_connection_options_default(struct kap_connection_options *options);
void kap_connection_pool_init(struct kap_connection_pool *pool, struct kap_service *service,
                              const struct kap_connection_options *options);
/* All connections are closed. */
void kap_connection_pool_deinit(struct kap_connection_pool *pool);
/* The next one of those with something to do, each once; NULL: no more. It may be over now. */
struct kap_connection *kap_connection_next_ready(struct kap_connection_pool *pool);
/* Hello and idle timeouts; about once a second. */
void kap_connection_pool_tick(struct kap_connection_pool *pool);
/* Says goodbye to all clients; requests that come later are answered SHUTTING_DOWN. */
void kap_connection_pool_drain(struct kap_connection_pool *pool, uint32_t grace_ms);

/* KAP_OVERLOADED: connections_max are open. owner: the caller's, given back by kap_connection_owner. */
KAP_CHECKED kap_status kap_connection_open(struct kap_connection_pool *pool, const struct kap_peer *peer, void *owner,
                                           struct kap_connection **connection_out);
/* The last words to a peer that open refused: one frame, in the pool's scratch memory; empty without memory. */
struct kap_bytes kap_connection_refusal(struct kap_connection_pool *pool, kap_status status);
/* The client is gone, or the connection is over: drops its calls, frees it. */
void kap_connection_close(struct kap_connection *connection);
void *kap_connection_owner(const struct kap_connection *connection);

void kap_connection_feed(struct kap_connection *connection, struct kap_bytes bytes);
bool kap_connection_wants(const struct kap_connection *connection);
/* What to send next, in one piece; the same bytes until kap_connection_sent took all of them. Empty: nothing. */
struct kap_bytes kap_connection_output(struct kap_connection *connection);
void kap_connection_sent(struct kap_connection *connection, size_t bytes);
/* Nothing will come out any more: close it. */
bool kap_connection_is_over(const struct kap_connection *connection);
bool kap_connection_is_idle(const struct kap_connection *connection); /* no request in flight, nothing to send */

/* For the handler of hello: the connection a call came on, and what a good hello agrees on. */
struct kap_connection *kap_connection_of_call(const struct kap_call *call);
const struct kap_peer *kap_connection_peer(const struct kap_connection *connection);
bool kap_connection_is_greeted(const struct kap_connection *connection);
void kap_connection_welcome(struct kap_connection *connection, struct kap_principal principal, uint32_t frame_bytes_max,
                            bool lz4);
