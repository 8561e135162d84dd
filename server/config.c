#include "server/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"

enum config_type {
    CONFIG_TEXT,
    CONFIG_COUNT,
    CONFIG_BYTES,
    CONFIG_MS,
};

struct config_key {
    const char *name;
    enum config_type type;
    size_t at;
    const char *fallback;
    uint64_t min, max;
    const char *help;
};

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define KEY(name, type, field, fallback, min, max, help)                                                               \
    {                                                                                                                  \
        name, type, offsetof(struct kap_config, field), fallback, min, max, help                                       \
    }

/* Ascending by name. */
static const struct config_key keys[] = {
    KEY("auth.unix_roles", CONFIG_TEXT, unix_roles, "", 0, 0,
        "roles of users on the unix socket: UID:ROLE, ...; the owner of the directory is admin"),
    KEY("log.level", CONFIG_TEXT, log_level, "info", 0, 0, "debug, info, warn, error or off"),
    KEY("memory.budget", CONFIG_BYTES, memory_bytes, "0", 0, 1024 * GIB, "all memory kapd takes; 0: no limit"),
    KEY("net.connections", CONFIG_COUNT, connections, "4096", 1, 65536, "open at the same time"),
    KEY("net.drain_grace", CONFIG_MS, drain_grace_ms, "5s", 0, 3600000, "for clients to finish after SIGTERM"),
    KEY("net.hello_timeout", CONFIG_MS, hello_ms, "10s", 100, 600000, "for a new client to say hello"),
    KEY("net.http", CONFIG_TEXT, http, "", 0, 0, "metrics over HTTP: not available in this version"),
    KEY("net.idle_ping", CONFIG_MS, idle_ping_ms, "30s", 1000, 3600000, "silence before a ping; three misses close"),
    KEY("net.in_flight", CONFIG_COUNT, in_flight, "256", 1, 4096, "requests of one connection under way"),
    KEY("net.listen", CONFIG_TEXT, listen, "127.0.0.1:7411", 0, 0, "HOST:PORT, port 0: any; - for none"),
    KEY("net.max_frame", CONFIG_BYTES, max_frame, "1MiB", 64 * KIB, 16 * MIB, "largest body of a frame"),
    KEY("net.socket", CONFIG_TEXT, socket, "", 0, 0, "unix socket; empty: DIR/kapd.sock; - for none"),
    KEY("net.unread", CONFIG_BYTES, unread_bytes, "8MiB", MIB, GIB, "of one connection before reading from it stops"),
    KEY("store.block_cache", CONFIG_BYTES, block_cache_bytes, "256MiB", MIB, 1024 * GIB,
        "blocks of segments in memory"),
    KEY("store.directory", CONFIG_TEXT, directory, "", 0, 0, "the data directory, as -D"),
    KEY("store.l0_files", CONFIG_COUNT, l0_files, "4", 1, 64, "flushed files before they are compacted"),
    KEY("store.level1", CONFIG_BYTES, level1_bytes, "256MiB", MIB, 1024 * GIB,
        "target of level 1; each further 8 times"),
    KEY("store.memtable", CONFIG_BYTES, memtable_bytes, "64MiB", 256 * KIB, 16 * GIB, "recent rows before a flush"),
    KEY("store.segment_file", CONFIG_BYTES, segment_file_bytes, "32MiB", MIB, GIB,
        "a segment below level 0 is cut here"),
    KEY("store.space_floor", CONFIG_BYTES, space_floor_bytes, "64MiB", MIB, 1024 * GIB,
        "free space below which writes are refused"),
    KEY("store.wal_file", CONFIG_BYTES, wal_file_bytes, "64MiB", MIB, GIB, "a file of the log, of a new store"),
};

/* ---- values */

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit byte_units[] = {{"", 1},      {"B", 1},     {"KiB", KIB},    {"MiB", MIB},
                                         {"GiB", GIB}, {"kB", 1000}, {"MB", 1000000}, {"GB", 1000000000},
                                         {"K", KIB},   {"M", MIB},   {"G", GIB}};
static const struct unit time_units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"m", 60000}, {"h", 3600000}};
static const struct unit count_units[] = {{"", 1}};

static const struct unit *units_of(enum config_type type, size_t *n_out)
{
    *n_out = type == CONFIG_BYTES ? KAP_ARRAY_LEN(byte_units) : type == CONFIG_MS ? KAP_ARRAY_LEN(time_units) : 1;
    return type == CONFIG_BYTES ? byte_units : type == CONFIG_MS ? time_units : count_units;
}

static bool number_parse(const struct config_key *key, const char *text, uint64_t *number_out)
{
    char *end;
    size_t n_units;
    const struct unit *units = units_of(key->type, &n_units);
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    end += strspn(end, " ");
    for (size_t i = 0; i < n_units; i++)
        if (strcasecmp(end, units[i].name) == 0 && errno == 0 && number <= UINT64_MAX / units[i].factor) {
            *number_out = number * units[i].factor;
            return true;
        }
    return key->type == CONFIG_MS && number == 0 && *end == '\0' ? (*number_out = 0, true) : false;
}

static void number_print(const struct config_key *key, uint64_t number, char text[32])
{
    size_t n_units;
    const struct unit *best = NULL, *units = units_of(key->type, &n_units);
    for (size_t i = 0; i < n_units; i++)
        if (number % units[i].factor == 0 && (number > 0 || units[i].factor == 1) &&
            (!best || units[i].factor > best->factor) && (key->type != CONFIG_BYTES || i < 5))
            best = &units[i];
    snprintf(text, 32, "%llu%s", (unsigned long long)(number / best->factor), best->name);
}

static const char *example_of(enum config_type type)
{
    return type == CONFIG_BYTES ? "a size such as 64MiB"
           : type == CONFIG_MS  ? "a time such as 10s or 2h"
                                : "a whole number";
}

static kap_status value_set(struct kap_config *config, const struct config_key *key, const char *value,
                            const char *where, struct kap_error *error)
{
    void *field = (char *)config + key->at;
    uint64_t number = 0;
    if (key->type == CONFIG_TEXT) {
        if (strlen(value) >= KAP_CONFIG_TEXT_BYTES)
            return kap_error_set(error, KAP_INVALID, "%s: %s is longer than %d bytes", where, key->name,
                                 KAP_CONFIG_TEXT_BYTES - 1);
        memcpy(field, value, strlen(value) + 1);
        return KAP_OK;
    }
    if (!number_parse(key, value, &number))
        return kap_error_set(error, KAP_INVALID, "%s: %s = \"%.40s\" is not %s", where, key->name, value,
                             example_of(key->type));
    if (number < key->min || number > key->max) {
        char low[32], high[32];
        number_print(key, key->min, low);
        number_print(key, key->max, high);
        return kap_error_set(error, KAP_INVALID, "%s: %s = %.40s is out of range: %s to %s", where, key->name, value,
                             low, high);
    }
    memcpy(field, &number, sizeof number);
    return KAP_OK;
}

/* ---- names */

static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);
    if (n >= KAP_ARRAY_LEN(row))
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = KAP_MIN(change, KAP_MIN(row[j], row[j + 1]) + 1);
        }
    }
    return row[n];
}

const char *kap_config_nearest(const char *word, const char *const *names, size_t n_names)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 1;
    for (size_t i = 0; i < n_names; i++) {
        size_t d = distance(word, names[i]);
        const char *tail = strrchr(names[i], '.');
        if (tail && strcmp(tail + 1, word) == 0)
            d = 0; /* "listen" for "net.listen" */
        if (d <= best_distance && (!best || d < best_distance)) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}

kap_status kap_config_set(struct kap_config *config, const char *name, const char *value, const char *where,
                          struct kap_error *error)
{
    const char *names[KAP_ARRAY_LEN(keys)];
    for (size_t i = 0; i < KAP_ARRAY_LEN(keys); i++) {
        names[i] = keys[i].name;
        if (strcmp(keys[i].name, name) == 0)
            return value_set(config, &keys[i], value, where, error);
    }
    const char *nearest = kap_config_nearest(name, names, KAP_ARRAY_LEN(names));
    if (nearest)
        return kap_error_set(error, KAP_INVALID, "%s: there is no key \"%.60s\"; did you mean %s?", where, name,
                             nearest);
    return kap_error_set(error, KAP_INVALID, "%s: there is no key \"%.60s\"; kapd --check-config shows all", where,
                         name);
}

void kap_config_default(struct kap_config *config)
{
    struct kap_error error = {0};
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < KAP_ARRAY_LEN(keys); i++) {
        kap_status status = value_set(config, &keys[i], keys[i].fallback, "default", &error);
        KAP_ASSERT(status == KAP_OK);
    }
}

/* ---- files */

struct file_reading {
    struct kap_config *config;
    struct kap_error *error;
    const char *path;
    kap_status status;
};

static int file_pair(void *context, const char *section, const char *name, const char *value)
{
    struct file_reading *reading = context;
    char key[128], where[200];
    if (reading->status != KAP_OK)
        return 1;
    snprintf(key, sizeof key, "%s%s%s", section, section[0] ? "." : "", name);
    snprintf(where, sizeof where, "%.160s", reading->path);
    reading->status = kap_config_set(reading->config, key, value, where, reading->error);
    return 1;
}

kap_status kap_config_file(struct kap_config *config, const char *path, struct kap_error *error)
{
    struct file_reading reading = {.config = config, .error = error, .path = path};
    int result = ini_parse(path, file_pair, &reading);
    if (reading.status != KAP_OK)
        return reading.status;
    if (result < 0)
        return kap_error_set(error, KAP_INVALID, "cannot read the configuration file %s (%s)", path,
                             strerrorname_np(errno));
    if (result > 0)
        return kap_error_set(error, KAP_INVALID, "%s line %d: neither [section] nor key = value", path, result);
    return KAP_OK;
}

kap_status kap_config_check(const struct kap_config *config, struct kap_error *error)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", "off"};
    bool level = false;
    for (size_t i = 0; i < KAP_ARRAY_LEN(levels); i++)
        level = level || strcmp(config->log_level, levels[i]) == 0;
    if (!level)
        return kap_error_set(error, KAP_INVALID, "log.level = \"%.40s\" is not debug, info, warn, error or off",
                             config->log_level);
    if (config->http[0] && strcmp(config->http, "-") != 0)
        return kap_error_set(error, KAP_INVALID,
                             "--http (net.http) is not available in this version; leave it out, and ask kapctl status "
                             "for figures");
    if (config->memory_bytes != 0 && config->memory_bytes < config->block_cache_bytes + 3 * config->memtable_bytes)
        return kap_error_set(error, KAP_INVALID,
                             "memory.budget is smaller than store.block_cache and three times store.memtable together");
    if (strcmp(config->listen, "-") == 0 && strcmp(config->socket, "-") == 0)
        return kap_error_set(error, KAP_INVALID, "both net.listen and net.socket are off: nobody could connect");
    return KAP_OK;
}

void kap_config_print(const struct kap_config *config, FILE *out)
{
    char section[32] = "";
    for (size_t i = 0; i < KAP_ARRAY_LEN(keys); i++) {
        const struct config_key *key = &keys[i];
        const char *dot = strchr(key->name, '.');
        const void *field = (const char *)config + key->at;
        char text[32];
        uint64_t number;
        if (strncmp(section, key->name, (size_t)(dot - key->name)) != 0 || section[dot - key->name] != '\0') {
            snprintf(section, sizeof section, "%.*s", (int)(dot - key->name), key->name);
            fprintf(out, "%s[%s]\n", i ? "\n" : "", section);
        }
        memcpy(&number, field, sizeof number);
        if (key->type != CONFIG_TEXT)
            number_print(key, number, text);
        fprintf(out, "; %s\n%s = %s\n", key->help, dot + 1, key->type == CONFIG_TEXT ? (const char *)field : text);
    }
}
