#include <stdio.h>
#include <unistd.h>

#include "engine/env/file_name.h"
#include "engine/wal/wal_slots.h"
#include "tools/kapctl/offline_run.h"
#include "tools/kapctl/online.h"

enum { SPACE_LOW_PERCENT = 15 };

struct doctor {
    const struct ctl *ctl;
    json_t *document;
    char directory[KAP_PATH_BYTES_MAX]; /* "" when nobody has said */
    bool failed;
};

/* advice: what to do; NULL when it is well. */
static void finding(struct doctor *doctor, const char *check, const char *result, const char *detail,
                    const char *advice)
{
    json_t *row = out_row(out_list(doctor->document, "checks"));
    out_text(row, "check", "%s", check);
    out_text(row, "result", "%s", result);
    out_text(row, "detail", advice ? "%s; %s" : "%s", detail, advice);
    doctor->failed |= strcmp(result, "failed") == 0;
}

static void server_look(struct doctor *doctor)
{
    struct online online;
    struct kap_error error = {0};
    json_t *status_reply = NULL, *snapshots = NULL;
    char detail[256];
    kap_status status = online_begin(&online, doctor->ctl, &error);
    if (status == KAP_OK)
        status = online_call(&online, KAP_OP_SERVER_STATUS, json_object(), &status_reply, &error);
    if (status != KAP_OK) {
        finding(doctor, "server", "failed", error.text, "start kapd, or name it with -u or KAP_URL");
        online_end(&online);
        return;
    }
    const char *state = json_string_value(json_object_get(status_reply, "state"));
    bool ready = state && strcmp(state, "ready") == 0;
    snprintf(detail, sizeof detail, "reachable, %s", state ? state : "state unknown");
    finding(doctor, "server", ready ? "ok" : "failed", detail, ready ? NULL : "look at its log");
    const char *directory = json_string_value(json_object_get(status_reply, "data_dir"));
    if (!doctor->directory[0] && directory)
        snprintf(doctor->directory, sizeof doctor->directory, "%s", directory);
    if (online_call(&online, KAP_OP_SNAPSHOT_LIST, json_object(), &snapshots, &error) == KAP_OK) {
        size_t n = json_array_size(json_object_get(snapshots, "snapshots"));
        snprintf(detail, sizeof detail, "%zu", n);
        finding(doctor, "snapshots", n ? "ok" : "warning", detail,
                n ? NULL : "there is nothing to go back to: kapctl snapshot create NAME");
    } else {
        finding(doctor, "snapshots", "failed", error.text, "list them with a token of an operator");
    }
    json_decref(snapshots);
    json_decref(status_reply);
    online_end(&online);
}

static kap_status slot_count(void *context, const char *name)
{
    struct kap_file_name parsed;
    if (kap_file_name_parse(name, &parsed) && parsed.kind == KAP_FILE_WAL)
        ++*(uint32_t *)context;
    return KAP_OK;
}

static void space_look(struct doctor *doctor, struct kap_env *env)
{
    uint64_t free_bytes, total;
    char detail[256];
    kap_status status = kap_env_space(env, doctor->directory, &free_bytes, &total);
    if (status != KAP_OK || total == 0) {
        finding(doctor, "disk space", "failed", "cannot be asked for", "look at the disk that holds the directory");
        return;
    }
    uint64_t percent = free_bytes / (total / 100 + 1);
    snprintf(detail, sizeof detail, "%llu MiB free of %llu MiB", (unsigned long long)(free_bytes >> 20),
             (unsigned long long)(total >> 20));
    bool low = percent < SPACE_LOW_PERCENT;
    finding(doctor, "disk space", low ? "warning" : "ok", detail,
            low ? "give it more, or delete snapshots; writes are refused when it is full" : NULL);
}

static void directory_look(struct doctor *doctor, struct kap_env *env)
{
    uint32_t slots = 0;
    char detail[KAP_PATH_BYTES_MAX + 64];
    if (access(doctor->directory, R_OK | W_OK | X_OK) != 0) {
        snprintf(detail, sizeof detail, "%s cannot be read and written by this user", doctor->directory);
        finding(doctor, "directory", "failed", detail, "make it, or run as the user of kapd");
        return;
    }
    finding(doctor, "directory", "ok", doctor->directory, NULL);
    space_look(doctor, env);
    kap_status status = kap_env_list(env, doctor->directory, slot_count, &slots);
    snprintf(detail, sizeof detail, "%u of at most %u", slots, KAP_WAL_SLOTS_MAX);
    if (status != KAP_OK || slots == 0)
        finding(doctor, "log slots", "warning", "none", "this is no data directory of a kapd, or a snapshot of one");
    else
        finding(doctor, "log slots", slots < KAP_WAL_SLOTS_MAX ? "ok" : "warning", detail,
                slots < KAP_WAL_SLOTS_MAX ? NULL : "flushes do not keep up: look at kapctl status");
}

enum ctl_exit doctor_run(const struct ctl *ctl)
{
    struct doctor doctor = {.ctl = ctl, .document = json_object()};
    struct kap_env *env = NULL;
    struct kap_queue *queue = NULL;
    struct kap_error error = {0};
    if (ctl->argc > 1)
        return ctl_usage("doctor takes at most one DIR");
    if (ctl->argc == 1)
        snprintf(doctor.directory, sizeof doctor.directory, "%s", ctl->argv[0]);
    kap_status status = kap_env_uring_create(&env, &error);
    if (status == KAP_OK)
        status = kap_queue_create(env, 8, &queue, &error);
    finding(&doctor, "io_uring", status == KAP_OK ? "ok" : "failed", status == KAP_OK ? "permitted" : error.text, NULL);
    server_look(&doctor);
    if (doctor.directory[0] && env)
        directory_look(&doctor, env);
    else
        finding(&doctor, "directory", "warning", "not looked at", "name it: kapctl doctor DIR");
    kap_queue_destroy(queue);
    if (env)
        kap_env_uring_destroy(env);
    out_print(doctor.document, ctl->json);
    return doctor.failed ? CTL_FAILED : CTL_OK;
}
