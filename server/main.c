/* main.c - kapd: options, open, run, close. */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "engine/env/env_uring.h"
#include "engine/model/reindex.h"
#include "proto/kap_schema.h"
#include "server/auth.h"
#include "server/blobs.h"
#include "server/config.h"
#include "server/loop.h"

enum {
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_REFUSED = 4,
    EXIT_CORRUPT = 5,
    EXIT_STORAGE = 70,
    QUEUE_DEPTH = 1024,
    DIRECTORY_MODE = 0700,
};

struct daemon {
    struct kap_config config;
    struct kap_auth auth;
    bool ephemeral, check_only;
    struct kap_env *env;
    struct kap_queue *queue;
    struct kap_store *store;
    struct kap_service *service;
    struct kap_blobs *blobs;
    struct kap_loop *loop;
    struct kap_listener listeners[2];
    uint32_t n_listeners;
    int signal_fd;
};

static const char usage[] =
    "kapd - storage daemon of the coaching platform\n"
    "\n"
    "  kapd -D DIR [-c FILE] [options]\n"
    "\n"
    "  -D DIR               data directory, made if it is not there\n"
    "  -c FILE              configuration file (INI); see --check-config for all keys\n"
    "      --listen H:P     TCP address, default 127.0.0.1:7411; port 0: any; - for none\n"
    "      --socket PATH    unix socket, default DIR/kapd.sock; - for none\n"
    "      --http H:P       metrics: not available in this version\n"
    "      --set KEY=VALUE  any key of the configuration; sizes as 64MiB, times as 30s\n"
    "      --ephemeral      temporary directory and any port; all is gone at the end\n"
    "      --check-config   print the configuration that would hold, with a line on each key, and end\n"
    "      --help, --version\n"
    "\n"
    "Ready is one line on standard output: kapd ready tcp=HOST:PORT unix=PATH http=- pid=N\n"
    "SIGTERM ends it in order. Exit: 0 ok, 1 failed, 2 usage, 4 refused (directory in use, written by a newer "
    "version),\n"
    "5 corruption found, 70 the storage failed.\n";

static int fail_usage(const char *text)
{
    fprintf(stderr, "kapd: %s\n", text);
    return EXIT_USAGE;
}

/* ---- options */

static const struct option options[] = {
    {"listen", required_argument, NULL, 'l'},
    {"socket", required_argument, NULL, 's'},
    {"http", required_argument, NULL, 'H'},
    {"set", required_argument, NULL, 'S'},
    {"ephemeral", no_argument, NULL, 'e'},
    {"check-config", no_argument, NULL, 'C'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"directory", required_argument, NULL, 'D'},
    {"config", required_argument, NULL, 'c'},
    {NULL, 0, NULL, 0},
};

static int unknown_option(const char *word)
{
    const char *names[KAP_ARRAY_LEN(options)];
    size_t n = 0;
    for (; options[n].name; n++)
        names[n] = options[n].name;
    char bare[64];
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(word + strspn(word, "-"), "="), word + strspn(word, "-"));
    const char *nearest = kap_config_nearest(bare, names, n);
    if (nearest)
        fprintf(stderr, "kapd: unknown option %s; did you mean --%s?\n", word, nearest);
    else
        fprintf(stderr, "kapd: unknown option %s; kapd --help lists them\n", word);
    return EXIT_USAGE;
}

static kap_status set_pair(struct kap_config *config, const char *pair, struct kap_error *error)
{
    char key[128];
    const char *equals = strchr(pair, '=');
    if (!equals || equals == pair || (size_t)(equals - pair) >= sizeof key)
        return kap_error_set(error, KAP_INVALID, "--set takes key=value, not \"%.80s\"", pair);
    snprintf(key, sizeof key, "%.*s", (int)(equals - pair), pair);
    return kap_config_set(config, key, equals + 1, "--set", error);
}

/* Two passes, so that flags win over the file wherever they stand. -1: go on; else the exit code. */
static int options_pass(struct daemon *daemon, int argc, char **argv, bool file_only)
{
    struct kap_error error = {0};
    struct kap_config *config = &daemon->config;
    kap_status status = KAP_OK;
    int letter;
    opterr = 0;
    optind = 1;
    while (status == KAP_OK && (letter = getopt_long(argc, argv, ":D:c:", options, NULL)) != -1) {
        if (letter == '?')
            return unknown_option(argv[optind - 1]);
        if (letter == ':') {
            fprintf(stderr, "kapd: %s wants a value\n", argv[optind - 1]);
            return EXIT_USAGE;
        }
        if (letter == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (letter == 'V') {
            puts("kapd " KAP_VERSION);
            return 0;
        }
        if (letter == 'e')
            daemon->ephemeral = true;
        else if (letter == 'C')
            daemon->check_only = true;
        else if (letter == 'c' && file_only)
            status = kap_config_file(config, optarg, &error);
        else if (!file_only && letter != 'c')
            status = letter == 'S' ? set_pair(config, optarg, &error)
                                   : kap_config_set(config,
                                                    letter == 'D'   ? "store.directory"
                                                    : letter == 'l' ? "net.listen"
                                                    : letter == 's' ? "net.socket"
                                                                    : "net.http",
                                                    optarg, argv[optind - 1], &error);
    }
    if (status != KAP_OK)
        return fail_usage(error.text);
    if (optind < argc) {
        fprintf(stderr, "kapd: unexpected argument %s; the data directory is given with -D DIR\n", argv[optind]);
        return EXIT_USAGE;
    }
    return -1;
}

static int configure(struct daemon *daemon, int argc, char **argv)
{
    struct kap_error error = {0};
    kap_config_default(&daemon->config);
    int code = options_pass(daemon, argc, argv, true);
    if (code < 0)
        code = options_pass(daemon, argc, argv, false);
    if (code >= 0)
        return code;
    if (kap_config_check(&daemon->config, &error) != KAP_OK ||
        kap_auth_uids_parse(daemon->config.unix_roles, &daemon->auth, &error) != KAP_OK)
        return fail_usage(error.text);
    if (daemon->ephemeral && daemon->config.directory[0])
        return fail_usage("--ephemeral makes its own directory; leave -D out");
    if (!daemon->ephemeral && !daemon->config.directory[0] && !daemon->check_only)
        return fail_usage("give a data directory with -D DIR (made if it is not there), or --ephemeral");
    return -1;
}

/* ---- the directory */

static int remove_one(const char *path, const struct stat *stat_buffer, int type, struct FTW *ftw)
{
    (void)stat_buffer;
    (void)ftw;
    return type == FTW_DP ? rmdir(path) : unlink(path);
}

static int directory_make(struct daemon *daemon)
{
    struct kap_config *config = &daemon->config;
    if (daemon->ephemeral) {
        const char *base = getenv("TMPDIR");
        snprintf(config->directory, sizeof config->directory, "%.900s/kapd-XXXXXX", base && base[0] ? base : "/tmp");
        if (!mkdtemp(config->directory)) {
            fprintf(stderr, "kapd: cannot make a temporary directory %s (%s)\n", config->directory,
                    strerrorname_np(errno));
            return EXIT_FAILED;
        }
        if (strcmp(config->listen, "127.0.0.1:7411") == 0)
            snprintf(config->listen, sizeof config->listen, "127.0.0.1:0");
    } else if (mkdir(config->directory, DIRECTORY_MODE) < 0 && errno != EEXIST) {
        fprintf(stderr, "kapd: cannot make the data directory %s (%s)\n", config->directory, strerrorname_np(errno));
        return EXIT_FAILED;
    }
    if (!config->socket[0])
        snprintf(config->socket, sizeof config->socket, "%.1000s/kapd.sock", config->directory);
    daemon->auth.owner_uid = kap_listener_owner_of(config->directory);
    return -1;
}

/* ---- open and close */

static int exit_code_of(kap_status status)
{
    switch (status) {
    case KAP_LOCKED:
    case KAP_NEWER_FORMAT:
        return EXIT_REFUSED;
    case KAP_INVALID:
        return EXIT_USAGE;
    case KAP_CORRUPT:
        return EXIT_CORRUPT;
    case KAP_IO:
        return EXIT_STORAGE;
    default:
        return EXIT_FAILED;
    }
}

static void log_level_set(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error", "off"};
    for (size_t i = 0; i < KAP_ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            kap_log_set_level((enum kap_log_level)i);
}

/* Any thread: a worker has done something that a parked request may wait for. */
static void reactor_wake(void *queue)
{
    kap_env_uring_wake(queue);
}

static kap_status store_open(struct daemon *daemon, struct kap_error *error)
{
    const struct kap_config *config = &daemon->config;
    struct kap_store_options store_options = {.directory = config->directory,
                                              .schema = &kap_schema,
                                              .create = true,
                                              .memtable_bytes = config->memtable_bytes,
                                              .wal_file_bytes = config->wal_file_bytes,
                                              .block_cache_bytes = config->block_cache_bytes,
                                              .file_bytes = config->segment_file_bytes,
                                              .level1_bytes = config->level1_bytes,
                                              .l0_files = (uint32_t)config->l0_files,
                                              .space_floor_bytes = config->space_floor_bytes,
                                              .is_expired = kap_service_is_expired};
    uint32_t n_built;
    kap_status status = kap_env_uring_create(&daemon->env, error);
    if (status != KAP_OK)
        return status;
    daemon->env->memory.budget_bytes = config->memory_bytes;
    status = kap_queue_create(daemon->env, QUEUE_DEPTH, &daemon->queue, error);
    if (status == KAP_OK)
        status = kap_store_open(daemon->env, daemon->queue, &store_options, &daemon->store, error);
    if (status == KAP_OK)
        kap_store_on_progress(daemon->store, reactor_wake, daemon->queue);
    if (status == KAP_OK)
        status = kap_reindex(daemon->store, &n_built, error);
    if (status == KAP_OK)
        status = kap_service_create(daemon->store, &daemon->service);
    if (status == KAP_OK)
        status = kap_blobs_create(daemon->service, &daemon->blobs);
    return status;
}

static kap_status listen_all(struct daemon *daemon, struct kap_error *error)
{
    const struct kap_config *config = &daemon->config;
    kap_status status = KAP_OK;
    if (strcmp(config->socket, "-") != 0) {
        status = kap_listener_unix(config->socket, &daemon->listeners[daemon->n_listeners], error);
        daemon->n_listeners += status == KAP_OK;
    }
    if (status == KAP_OK && strcmp(config->listen, "-") != 0) {
        status = kap_listener_tcp(config->listen, &daemon->listeners[daemon->n_listeners], error);
        daemon->n_listeners += status == KAP_OK;
    }
    return status;
}

static kap_status loop_open(struct daemon *daemon, struct kap_error *error)
{
    const struct kap_config *config = &daemon->config;
    kap_connection_options_default(&daemon->auth.limits);
    daemon->auth.limits.connections_max = (uint32_t)config->connections;
    daemon->auth.limits.frame_bytes_max = (uint32_t)config->max_frame;
    daemon->auth.limits.in_flight_max = (uint32_t)config->in_flight;
    daemon->auth.limits.unread_bytes_max = config->unread_bytes;
    daemon->auth.limits.idle_ping_s = (uint32_t)(config->idle_ping_ms / 1000);
    daemon->auth.limits.hello_ms = (uint32_t)config->hello_ms;
    daemon->auth.version = KAP_VERSION;
    kap_auth_install(&daemon->auth, daemon->service);
    struct kap_loop_options loop_options = {.connection = daemon->auth.limits,
                                            .drain_grace_ms = (uint32_t)config->drain_grace_ms,
                                            .listeners = daemon->listeners,
                                            .n_listeners = daemon->n_listeners,
                                            .signal_fd = daemon->signal_fd};
    return kap_loop_create(daemon->service, &loop_options, &daemon->loop, error);
}

static void say_ready(const struct daemon *daemon)
{
    const char *tcp = "-", *local = "-";
    for (uint32_t i = 0; i < daemon->n_listeners; i++)
        *(daemon->listeners[i].kind == KAP_PEER_TCP ? &tcp : &local) = daemon->listeners[i].address;
    printf("kapd ready tcp=%s unix=%s http=- pid=%d\n", tcp, local, (int)getpid());
    fflush(stdout);
    kap_log(KAP_LOG_INFO, "kapd", "msg=ready version=%s directory=%s tcp=%s unix=%s", KAP_VERSION,
            daemon->config.directory, tcp, local);
}

/* After a storage failure nothing in memory may reach anybody: the process ends as it is. */
static void close_all(struct daemon *daemon)
{
    kap_blobs_destroy(daemon->blobs);
    if (daemon->loop)
        kap_loop_destroy(daemon->loop);
    else
        for (uint32_t i = 0; i < daemon->n_listeners; i++)
            kap_listener_close(&daemon->listeners[i]);
    if (daemon->service)
        kap_service_destroy(daemon->service);
    if (daemon->store)
        kap_store_close(daemon->store);
    if (daemon->queue)
        kap_queue_destroy(daemon->queue);
    if (daemon->env)
        kap_env_uring_destroy(daemon->env);
    if (daemon->ephemeral)
        (void)nftw(daemon->config.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int run(struct daemon *daemon)
{
    struct kap_error error = {0};
    kap_status status = kap_listener_signals(&daemon->signal_fd, &error);
    if (status == KAP_OK)
        status = store_open(daemon, &error);
    int code = exit_code_of(status);
    if (status == KAP_OK) {
        status = listen_all(daemon, &error);
        code = status == KAP_INVALID ? EXIT_USAGE : EXIT_FAILED; /* an address in use is no failure of the storage */
    }
    if (status == KAP_OK) {
        status = loop_open(daemon, &error);
        code = exit_code_of(status);
    }
    if (status != KAP_OK) {
        fprintf(stderr, "kapd: %s\n", error.text[0] ? error.text : kap_status_sentence(status));
        close_all(daemon);
        return code;
    }
    say_ready(daemon);
    status = kap_loop_run(daemon->loop);
    if (status != KAP_OK) {
        kap_log(KAP_LOG_ERROR, "kapd", "msg=\"the storage failed; ending so that nothing is acknowledged\" status=%s",
                kap_status_name(status));
        _exit(EXIT_STORAGE);
    }
    close_all(daemon);
    kap_log(KAP_LOG_INFO, "kapd", "msg=\"stopped in order\"");
    return 0;
}

int main(int argc, char **argv)
{
    static struct daemon daemon; /* large texts: not on the stack */
    int code = configure(&daemon, argc, argv);
    if (code >= 0)
        return code;
    if (daemon.check_only) {
        kap_config_print(&daemon.config, stdout);
        return 0;
    }
    log_level_set(daemon.config.log_level);
    code = directory_make(&daemon);
    return code >= 0 ? code : run(&daemon);
}
