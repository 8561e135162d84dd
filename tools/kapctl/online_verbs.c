#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/base/assert.h"
#include "engine/manifest/manifest.h"
#include "tools/kapctl/online.h"

/* One request, its reply printed as it is. */
static enum ctl_exit call_print(const struct ctl *ctl, uint16_t op, json_t *request)
{
    struct online online;
    struct kap_error error = {0};
    json_t *reply = NULL;
    kap_status status = online_begin(&online, ctl, &error);
    if (status == KAP_OK)
        status = online_call(&online, op, request, &reply, &error);
    else
        json_decref(request);
    online_end(&online);
    if (status != KAP_OK)
        return ctl_fail(&error);
    out_print(reply, ctl->json);
    return CTL_OK;
}

static double stat_of(json_t *stats, const char *name)
{
    size_t slot;
    json_t *stat;
    json_array_foreach(json_object_get(stats, "stats"), slot,
                       stat) if (strcmp(json_string_value(json_object_get(stat, "name")), name) ==
                                 0) return json_number_value(json_object_get(stat, "value"));
    return 0;
}

static void stats_fill(json_t *stats, json_t *document)
{
    static const struct {
        const char *section, *name, *stat;
    } wanted[] = {
        {"commits", "head_seq", "kap_head_seq"},
        {"commits", "durable_seq", "kap_durable_seq"},
        {"commits", "flushed_seq", "kap_flushed_seq"},
        {"memory", "memtable_bytes", "kap_memtable_bytes"},
        {"memory", "memtable_entries", "kap_memtable_entries"},
        {"memory", "memtables_sealed", "kap_memtables_sealed"},
        {"cache", "used_bytes", "kap_cache_used_bytes"},
        {"cache", "budget_bytes", "kap_cache_budget_bytes"},
        {"cache", "blocks", "kap_cache_blocks"},
        {"cache", "hits", "kap_cache_hits_total"},
        {"cache", "misses", "kap_cache_misses_total"},
        {"cache", "evictions", "kap_cache_evictions_total"},
        {"log", "frames", "kap_wal_frames_total"},
        {"log", "bytes", "kap_wal_bytes_total"},
        {"log", "files_live", "kap_wal_files_live"},
        {"log", "files_spare", "kap_wal_files_spare"},
        {"segments", "files", "kap_segment_files"},
        {"segments", "bytes", "kap_segment_bytes"},
        {"compaction", "levels_over_target", "kap_compaction_wanted"},
        {"compaction", "done", "kap_compactions_total"},
        {"compaction", "read_bytes", "kap_compaction_read_bytes_total"},
        {"compaction", "written_bytes", "kap_compaction_written_bytes_total"},
        {"requests", "started", "kap_calls_total"},
        {"requests", "refused", "kap_refused_total"},
        {"requests", "waiting", "kap_calls_waiting"},
    };
    for (size_t i = 0; i < KAP_ARRAY_LEN(wanted); i++)
        out_number(out_section(document, wanted[i].section), wanted[i].name, (uint64_t)stat_of(stats, wanted[i].stat));
    for (int level = 0; level < KAP_LEVELS; level++) {
        char name[32], files[32], bytes[32];
        snprintf(files, sizeof files, "kap_level%d_files", level);
        if (stat_of(stats, files) == 0)
            continue;
        snprintf(bytes, sizeof bytes, "kap_level%d_bytes", level);
        snprintf(name, sizeof name, "level%d", level);
        out_number(out_section(document, name), "files", (uint64_t)stat_of(stats, files));
        out_number(out_section(document, name), "bytes", (uint64_t)stat_of(stats, bytes));
    }
}

static time_t time_of(json_t *document, const char *name)
{
    struct tm parts = {0};
    const char *text = json_string_value(json_object_get(document, name));
    return text && strptime(text, "%Y-%m-%dT%H:%M:%S", &parts) ? timegm(&parts) : 0;
}

enum ctl_exit status_run(const struct ctl *ctl)
{
    struct online online;
    struct kap_error error = {0};
    json_t *document = NULL, *stats = NULL;
    if (ctl->argc != 0)
        return ctl_usage("status takes no argument");
    kap_status status = online_begin(&online, ctl, &error);
    if (status == KAP_OK)
        status = online_call(&online, KAP_OP_SERVER_STATUS, json_object(), &document, &error);
    if (status == KAP_OK)
        status = online_call(&online, KAP_OP_SERVER_STATS, json_object(), &stats, &error);
    online_end(&online);
    if (status != KAP_OK) {
        json_decref(document);
        return ctl_fail(&error);
    }
    out_number(document, "uptime_s", (uint64_t)(time_of(document, "server_time") - time_of(document, "started_at")));
    stats_fill(stats, document);
    json_decref(stats);
    out_print(document, ctl->json);
    return CTL_OK;
}

static bool sub_is(const struct ctl *ctl, const char *name, int arguments)
{
    return ctl->argc == 1 + arguments && strcmp(ctl->argv[0], name) == 0;
}

static enum ctl_exit compaction_status(const struct ctl *ctl)
{
    json_t *request = json_object();
    out_text(request, "prefix", "kap_compaction");
    return call_print(ctl, KAP_OP_SERVER_STATS, request);
}

enum ctl_exit compaction_run(const struct ctl *ctl)
{
    if (sub_is(ctl, "status", 0))
        return compaction_status(ctl);
    if (!sub_is(ctl, "run", 0))
        return ctl_usage("compaction run [--wait] [--dry-run], or compaction status");
    json_t *request = json_object();
    json_object_set_new(request, "wait", json_boolean(ctl->wait));
    json_object_set_new(request, "dry_run", json_boolean(ctl->dry_run));
    return call_print(ctl, KAP_OP_COMPACTION_RUN, request);
}

enum ctl_exit snapshot_run(const struct ctl *ctl)
{
    json_t *request = json_object();
    if (sub_is(ctl, "list", 0))
        return call_print(ctl, KAP_OP_SNAPSHOT_LIST, request);
    bool create = sub_is(ctl, "create", 1);
    if (!create && !sub_is(ctl, "delete", 1)) {
        json_decref(request);
        return ctl_usage("snapshot create NAME, snapshot list, or snapshot delete NAME [--dry-run]");
    }
    out_text(request, "name", "%s", ctl->argv[1]);
    if (create)
        return call_print(ctl, KAP_OP_SNAPSHOT_CREATE, request);
    json_object_set_new(request, "dry_run", json_boolean(ctl->dry_run));
    return call_print(ctl, KAP_OP_SNAPSHOT_DELETE, request);
}

/* "90d" from now as RFC 3339. */
static bool expiry_text(const char *duration, char text[32])
{
    static const char units[] = "smhdw";
    static const unsigned long seconds[] = {1, 60, 3600, 86400, 7 * 86400};
    char *end;
    unsigned long count = strtoul(duration, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (*duration < '0' || *duration > '9' || !unit || end[1] || count == 0 || count > 100000)
        return false;
    time_t at = time(NULL) + (time_t)(count * seconds[unit - units]);
    struct tm parts;
    return gmtime_r(&at, &parts) && strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0;
}

static enum ctl_exit token_create(const struct ctl *ctl)
{
    char expires[32];
    if (!ctl->name || !ctl->role)
        return ctl_usage("token create wants --name and --role");
    if (ctl->expires && !expiry_text(ctl->expires, expires))
        return ctl_usage("--expires %.20s is no time span; write it as 90d, 12h, 30m", ctl->expires);
    json_t *request = json_object();
    out_text(request, "name", "%s", ctl->name);
    out_text(request, "role", "%s", ctl->role);
    if (ctl->user)
        out_text(request, "user", "%s", ctl->user);
    if (ctl->expires)
        out_text(request, "expires_at", "%s", expires);
    return call_print(ctl, KAP_OP_TOKEN_CREATE, request);
}

/* All pages as one list. */
static enum ctl_exit token_list(const struct ctl *ctl)
{
    struct online online;
    struct kap_error error = {0};
    json_t *document = json_object(), *tokens = out_list(document, "tokens"), *cursor = NULL;
    kap_status status = online_begin(&online, ctl, &error);
    while (status == KAP_OK) {
        json_t *request = json_object(), *reply = NULL;
        if (cursor)
            json_object_set_new(out_section(request, "page"), "cursor", cursor);
        status = online_call(&online, KAP_OP_TOKEN_LIST, request, &reply, &error);
        if (status != KAP_OK)
            break;
        json_array_extend(tokens, json_object_get(reply, "tokens"));
        cursor = json_incref(json_object_get(json_object_get(reply, "end"), "next"));
        json_decref(reply);
        if (!cursor)
            break;
    }
    online_end(&online);
    if (status == KAP_OK) {
        out_print(document, ctl->json);
        return CTL_OK;
    }
    json_decref(document);
    return ctl_fail(&error);
}

enum ctl_exit token_run(const struct ctl *ctl)
{
    if (sub_is(ctl, "create", 0))
        return token_create(ctl);
    if (sub_is(ctl, "list", 0))
        return token_list(ctl);
    if (!sub_is(ctl, "revoke", 1))
        return ctl_usage("token create --name N --role R, token list, or token revoke ID [--dry-run]");
    json_t *request = json_object();
    out_text(request, "id", "%s", ctl->argv[1]);
    json_object_set_new(request, "dry_run", json_boolean(ctl->dry_run));
    return call_print(ctl, KAP_OP_TOKEN_REVOKE, request);
}
