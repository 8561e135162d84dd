/* listener.h - sockets before they are connections: addresses, listening, who connected, signals as a descriptor.
 *
 * With loop.c the only place of server/ that makes socket calls. None of these block.
 * Errors   what, where and what to do next, in error. errno stops here. */
#pragma once

#include "server/connection.h"

enum { KAP_LISTENER_ADDRESS_BYTES = 160 };

struct kap_listener {
    int fd; /* -1: none */
    uint8_t kind; /* enum kap_peer_kind */
    char address[KAP_LISTENER_ADDRESS_BYTES]; /* HOST:PORT with the port it got, or the path */
};

/* "HOST:PORT", "[V6]:PORT"; port 0: any. KAP_INVALID: not an address, or not a loopback one. */
KAP_CHECKED kap_status kap_listener_tcp(const char *address, struct kap_listener *listener_out,
                                        struct kap_error *error);
/* Takes the place of a socket that nobody listens on any more. */
KAP_CHECKED kap_status kap_listener_unix(const char *path, struct kap_listener *listener_out, struct kap_error *error);
/* Removes the socket of a unix listener, if it is still ours. */
void kap_listener_close(struct kap_listener *listener);
/* After accept: who it is, and the options of a connection. */
void kap_listener_accepted(const struct kap_listener *listener, int fd, struct kap_peer *peer_out);

/* SIGTERM and SIGINT as a readable descriptor. Call before any thread starts: they inherit the mask. */
KAP_CHECKED kap_status kap_listener_signals(int *fd_out, struct kap_error *error);
/* Reads one; the signal's number, 0: none is there. */
int kap_listener_signal_take(int fd);
/* Owner of a directory; this process's user when it is not there. */
uint32_t kap_listener_owner_of(const char *directory);
