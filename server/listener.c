#include "server/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/assert.h"

enum { BACKLOG = 1024, HOST_BYTES = 128, PORT_BYTES = 16 };

/* ---- TCP */

static kap_status address_split(const char *address, char host[HOST_BYTES], char port[PORT_BYTES],
                                struct kap_error *error)
{
    const char *colon = strrchr(address, ':');
    size_t host_len = colon ? (size_t)(colon - address) : 0;
    const char *start = address;
    if (host_len >= 2 && address[0] == '[' && address[host_len - 1] == ']') {
        start++;
        host_len -= 2;
    }
    if (!colon || host_len == 0 || host_len >= HOST_BYTES || strlen(colon + 1) == 0 ||
        strlen(colon + 1) >= PORT_BYTES || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return kap_error_set(error, KAP_INVALID,
                             "\"%.100s\" is not an address to listen on; write HOST:PORT, for "
                             "example 127.0.0.1:7411, [::1]:7411, or port 0 for any",
                             address);
    memcpy(host, start, host_len);
    host[host_len] = '\0';
    snprintf(port, PORT_BYTES, "%s", colon + 1);
    return KAP_OK;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, address, sizeof v6);
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

static void address_print(const struct sockaddr_storage *address, socklen_t len, char *text, size_t cap)
{
    char host[HOST_BYTES], port[PORT_BYTES];
    if (getnameinfo((const struct sockaddr *)address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(text, cap, "?");
    else
        snprintf(text, cap, address->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static kap_status tcp_listen(const struct addrinfo *info, const char *address, int *fd_out, struct kap_error *error)
{
    int one = 1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return kap_error_set(error, KAP_IO, "no socket for %s (%s)", address, strerrorname_np(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        kap_error_set(error, KAP_IO,
                      errno == EADDRINUSE
                          ? "%s is in use (%s): another kapd? choose another port with --listen, 0 for any"
                          : "cannot listen on %s (%s); choose another address with --listen",
                      address, strerrorname_np(errno));
        close(fd);
        return KAP_IO;
    }
    *fd_out = fd;
    return KAP_OK;
}

kap_status kap_listener_tcp(const char *address, struct kap_listener *listener_out, struct kap_error *error)
{
    char host[HOST_BYTES], port[PORT_BYTES];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *info;
    kap_status status = address_split(address, host, port, error);
    if (status != KAP_OK)
        return status;
    int result = getaddrinfo(host, port, &hints, &info);
    if (result != 0)
        return kap_error_set(error, KAP_INVALID, "cannot listen on %s: %s", address, gai_strerror(result));
    int fd = -1;
    if (!is_loopback(info->ai_addr))
        status =
            kap_error_set(error, KAP_INVALID,
                          "refusing to listen on %s: this version has no TLS, so tokens and data would cross the "
                          "network readable by anyone. Listen on a loopback address such as 127.0.0.1:7411 and let "
                          "a TLS proxy or an SSH tunnel carry it to other machines",
                          address);
    else
        status = tcp_listen(info, address, &fd, error);
    freeaddrinfo(info);
    if (status != KAP_OK)
        return status;
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    *listener_out = (struct kap_listener){.fd = fd, .kind = KAP_PEER_TCP};
    if (getsockname(fd, (struct sockaddr *)&bound, &len) == 0)
        address_print(&bound, len, listener_out->address, sizeof listener_out->address);
    return KAP_OK;
}

/* ---- unix */

/* The socket of a daemon that died; of one that lives is left alone. */
static bool is_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool stale = connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

kap_status kap_listener_unix(const char *path, struct kap_listener *listener_out, struct kap_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return kap_error_set(error, KAP_INVALID,
                             "the path of the unix socket is longer than the system allows (%zu bytes): %s; give a "
                             "shorter one with --socket PATH, or --socket - for none",
                             sizeof address.sun_path - 1, path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return kap_error_set(error, KAP_IO, "no socket for %s (%s)", path, strerrorname_np(errno));
    int result = bind(fd, (const struct sockaddr *)&address, sizeof address);
    if (result < 0 && errno == EADDRINUSE && is_stale(&address) && unlink(path) == 0)
        result = bind(fd, (const struct sockaddr *)&address, sizeof address);
    /* Whoever may reach the path may connect; who it is, the kernel says, and hello decides. */
    if (result < 0 || chmod(path, 0666) < 0 || listen(fd, BACKLOG) < 0) {
        kap_error_set(error, KAP_IO, "cannot listen on the unix socket %s (%s); choose another with --socket PATH",
                      path, strerrorname_np(errno));
        close(fd);
        return KAP_IO;
    }
    *listener_out = (struct kap_listener){.fd = fd, .kind = KAP_PEER_UNIX};
    snprintf(listener_out->address, sizeof listener_out->address, "%s", path);
    return KAP_OK;
}

void kap_listener_close(struct kap_listener *listener)
{
    if (listener->fd < 0)
        return;
    if (listener->kind == KAP_PEER_UNIX)
        (void)unlink(listener->address);
    close(listener->fd);
    listener->fd = -1;
}

void kap_listener_accepted(const struct kap_listener *listener, int fd, struct kap_peer *peer_out)
{
    *peer_out = (struct kap_peer){.kind = listener->kind, .uid = UINT32_MAX};
    if (listener->kind == KAP_PEER_UNIX) {
        struct ucred peer;
        socklen_t len = sizeof peer;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
            peer_out->uid = peer.uid;
        snprintf(peer_out->address, sizeof peer_out->address, "uid:%u", peer_out->uid);
        return;
    }
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getpeername(fd, (struct sockaddr *)&address, &len) == 0)
        address_print(&address, len, peer_out->address, sizeof peer_out->address);
}

/* ---- the process */

kap_status kap_listener_signals(int *fd_out, struct kap_error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    int fd = sigprocmask(SIG_BLOCK, &set, NULL) == 0 ? signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK) : -1;
    if (fd < 0)
        return kap_error_set(error, KAP_IO, "no descriptor for signals (%s)", strerrorname_np(errno));
    *fd_out = fd;
    return KAP_OK;
}

int kap_listener_signal_take(int fd)
{
    struct signalfd_siginfo info;
    ssize_t got = read(fd, &info, sizeof info);
    return got == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

uint32_t kap_listener_owner_of(const char *directory)
{
    struct stat stat_buffer;
    return stat(directory, &stat_buffer) == 0 ? stat_buffer.st_uid : geteuid();
}
