#include "tools/kapctl/verify.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/env/file_name.h"
#include "engine/model/check.h"
#include "proto/kap_schema.h"

void verify_line(struct verify *verify, const char *what, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_t *row = out_row(out_list(verify->document, "checks"));
    out_text(row, "what", "%s", what);
    out_text(row, "result", "%s", text);
    if (!verify->ctl->json) {
        printf("%-24s  %s\n", what, text);
        fflush(stdout);
    }
}

void verify_damage(struct verify *verify, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_array_append_new(out_list(verify->document, "damage"), json_vsprintf(format, arguments));
    va_end(arguments);
}

size_t verify_damages(const struct verify *verify)
{
    return json_array_size(json_object_get(verify->document, "damage"));
}

void verify_fault(struct verify *verify, kap_status status, const struct kap_error *error)
{
    const char *text = error && error->text[0] ? error->text : kap_status_sentence(status);
    if (status == KAP_CORRUPT) {
        verify_damage(verify, "%s", text);
        return;
    }
    verify->failed = status;
    kap_error_set(&verify->error, status, "%s", text);
}

static void books_check(struct verify *verify)
{
    char name[KAP_FILE_NAME_BYTES];
    struct kap_error error = {0};
    kap_status status = kap_offline_books(verify->offline, &error);
    if (status != KAP_OK) {
        verify_line(verify, "manifest", "%s", status == KAP_CORRUPT ? "damaged" : "not readable");
        verify_fault(verify, status, &error);
        if (status == KAP_CORRUPT)
            verify->failed = KAP_CORRUPT; /* what the store is made of is not known */
        return;
    }
    kap_file_name_print(KAP_FILE_MANIFEST, verify->offline->superblock.manifest_no, name);
    verify_line(verify, name, "%llu records, %u segments, schema version %u",
                (unsigned long long)verify->offline->edits, verify->offline->state.n_files,
                verify->offline->state.schema_version);
}

static void log_check(struct verify *verify)
{
    struct kap_error error = {0};
    kap_status status = kap_offline_log(verify->offline, &error);
    const struct kap_wal_read *log = &verify->offline->log;
    if (status != KAP_OK) {
        verify_line(verify, "log", "%s", status == KAP_CORRUPT ? "damaged" : "not readable");
        verify_fault(verify, status, &error);
        return;
    }
    verify_line(verify, "log", "%llu frames, %llu commits since the last flush%s", (unsigned long long)log->frames,
                (unsigned long long)log->commits, log->cut ? ", an unfinished frame at its end (kapd cuts it)" : "");
}

/* What follows from the rows against what is stored: indexes, counts, unique keys, locator, tree heads. */
static void model_check(struct verify *verify, struct kap_view *view)
{
    struct kap_model_check_result result = {0};
    kap_status status = kap_model_check(view, &kap_schema, &verify->offline->env->memory, &result);
    if (status != KAP_OK) {
        verify_line(verify, "rows", "not checked");
        verify_fault(verify, status, &verify->offline->block_error);
        return;
    }
    verify_line(
        verify, "rows", "%llu rows, %llu index entries, %llu counts, %llu unique keys, %llu locators, %llu heads%s",
        (unsigned long long)result.rows, (unsigned long long)result.index_entries, (unsigned long long)result.counts,
        (unsigned long long)result.uniques, (unsigned long long)result.locators, (unsigned long long)result.heads,
        result.faults ? ", not as the rows imply" : "");
    if (result.faults)
        verify_damage(verify, "%llu entries are not as the rows imply, the first: %s",
                      (unsigned long long)result.faults, result.first_fault);
}

static void all_check(struct verify *verify)
{
    struct kap_view view;
    verify_superblock(verify);
    if (verify->failed == KAP_OK)
        books_check(verify);
    if (verify->failed == KAP_OK)
        verify_segments(verify);
    if (verify->failed == KAP_OK)
        log_check(verify);
    if (verify->failed != KAP_OK)
        return;
    if (verify_damages(verify) > 0) { /* rows that are not all there would only look wrong a second time */
        verify_line(verify, "blobs and rows", "not checked: what they are read from is damaged");
        return;
    }
    kap_status status = kap_offline_view(verify->offline, &view);
    if (status != KAP_OK) {
        verify_fault(verify, status, NULL);
        return;
    }
    verify_blobs(verify, &view);
    if (verify->failed == KAP_OK)
        model_check(verify, &view);
    kap_offline_view_end(verify->offline, &view);
}

static enum ctl_exit verdict_print(struct verify *verify, const char *path)
{
    size_t damages = verify_damages(verify), slot;
    bool failed = verify->failed != KAP_OK && verify->failed != KAP_CORRUPT;
    json_t *text;
    const char *verdict = failed ? "failed" : damages ? "corrupt" : "ok";
    out_text(verify->document, "directory", "%s", path);
    out_text(verify->document, "verdict", "%s", verdict);
    if (verify->ctl->json) {
        out_print(verify->document, true);
    } else {
        json_array_foreach(json_object_get(verify->document, "damage"), slot, text)
            printf("damage: %s\n", json_string_value(text));
        if (damages)
            printf("%zu damage%s found; restore %s from a snapshot or backup\n", damages, damages == 1 ? "" : "s",
                   path);
        else
            printf("%s\n", verdict);
        json_decref(verify->document);
    }
    if (failed) {
        ctl_fail(&verify->error);
        return CTL_FAILED;
    }
    return damages ? CTL_CORRUPT : CTL_OK;
}

enum ctl_exit verify_run(const struct ctl *ctl)
{
    struct offline_run run;
    struct kap_error error = {0};
    if (ctl->argc != 1)
        return ctl_usage("verify wants one DIR");
    kap_status status = offline_begin(&run, ctl->argv[0], &error);
    if (status == KAP_OK)
        status = kap_offline_lock(run.offline, &error);
    if (status != KAP_OK) {
        offline_end(&run);
        ctl_fail(&error);
        return CTL_FAILED;
    }
    struct verify verify = {.ctl = ctl, .offline = run.offline, .document = json_object()};
    out_list(verify.document, "checks");
    out_list(verify.document, "damage");
    all_check(&verify);
    enum ctl_exit result = verdict_print(&verify, ctl->argv[0]);
    offline_end(&run);
    return result;
}
