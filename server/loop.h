/* loop.h - the reactor: sockets and files on one ring, one wait for both.
 *
 *   wait -> completions (bytes to connections, file I/O to the store) -> calls that can go on -> connections with
 *   something to send or to read on -> log frames and block reads -> submit, wait
 *
 * A durable commit takes one way through it on one thread: received, run, written to the log, completed, answered.
 *
 * Drain    on SIGTERM or SIGINT: no new connections, goodbye to all, what is in flight is finished, then run returns. A
 *          second signal, or drain_grace_ms, cuts that short.
 * Threads  the one that calls run; the store was opened with the same queue on it. */
#pragma once

#include "server/connection.h"
#include "server/listener.h"

struct kap_loop;

struct kap_loop_options {
    struct kap_connection_options connection;
    uint32_t drain_grace_ms;
    struct kap_listener *listeners; /* taken over */
    uint32_t n_listeners;
    int signal_fd; /* of kap_listener_signals */
};

KAP_CHECKED kap_status kap_loop_create(struct kap_service *service, const struct kap_loop_options *options,
                                       struct kap_loop **loop_out, struct kap_error *error);
/* Until a signal: KAP_OK; until the storage fails: what it failed with, and nothing was acknowledged after it. */
KAP_CHECKED kap_status kap_loop_run(struct kap_loop *loop);
void kap_loop_destroy(struct kap_loop *loop);
const struct kap_connection_pool *kap_loop_connections(const struct kap_loop *loop);
