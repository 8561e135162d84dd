#include "proto/faults.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "proto/kap_requests.h"

enum { FAULT_TEXT_BYTES_MAX = 320, PATH_BYTES_MAX = 256 };

void kap_faults_init(struct kap_faults *faults, struct kap_arena *arena)
{
    faults->arena = arena;
    faults->n = 0;
    faults->n_total = 0;
}

/* Outermost first, so the chain is walked by recursion; its depth is that of messages, at most 16. */
static size_t path_write(const struct kap_path *path, char *text, size_t cap)
{
    if (!path)
        return 0;
    size_t at = path_write(path->up, text, cap);
    if (!path->name || at + 1 >= cap)
        return at;
    int wrote = path->slot >= 0
                    ? snprintf(text + at, cap - at, "%s%s[%lld]", at ? "." : "", path->name, (long long)path->slot)
                    : snprintf(text + at, cap - at, "%s%s", at ? "." : "", path->name);
    KAP_ASSERT(wrote > 0);
    return KAP_MIN(at + (size_t)wrote, cap - 1);
}

const char *kap_path_print(const struct kap_path *path, struct kap_arena *arena)
{
    char text[PATH_BYTES_MAX] = "";
    size_t len = path_write(path, text, sizeof text);
    struct kap_bytes copy = kap_arena_copy(arena, kap_bytes(text, len + 1));
    return (const char *)copy.data;
}

static struct kap_fault *fault_next(struct kap_faults *faults, const struct kap_path *path, const char *code,
                                    const char *format, va_list arguments)
{
    char text[FAULT_TEXT_BYTES_MAX];
    faults->n_total++;
    if (faults->n == KAP_FAULTS_MAX)
        return NULL;
    int len = vsnprintf(text, sizeof text, format, arguments);
    KAP_ASSERT(len >= 0);
    const char *path_text = kap_path_print(path, faults->arena);
    struct kap_bytes copy = kap_arena_copy(faults->arena, kap_bytes(text, KAP_MIN((size_t)len, sizeof text - 1) + 1));
    if (!path_text || !copy.data)
        return NULL;
    struct kap_fault *fault = &faults->at[faults->n++];
    *fault = (struct kap_fault){.path = path_text, .code = code, .text = (const char *)copy.data};
    return fault;
}

void kap_faults_add(struct kap_faults *faults, const struct kap_path *path, const char *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fault_next(faults, path, code, format, arguments);
    va_end(arguments);
}

void kap_faults_add_limit(struct kap_faults *faults, const struct kap_path *path, const char *code, int64_t limit,
                          int64_t actual, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct kap_fault *fault = fault_next(faults, path, code, format, arguments);
    va_end(arguments);
    if (!fault)
        return;
    fault->has_limit = true;
    fault->limit = limit;
    fault->actual = actual;
}

kap_status kap_faults_reply(const struct kap_faults *faults, kap_status code, struct kap_arena *arena,
                            struct kap_error_reply *reply_out)
{
    struct kap_field_fault *list = kap_arena_push(arena, sizeof *list * (faults->n ? faults->n : 1));
    char *message = kap_arena_printf(arena, "%s: %zu fault%s", kap_status_sentence(code), faults->n_total,
                                     faults->n_total == 1 ? "" : "s");
    if (!list || !message)
        return KAP_NO_MEMORY;
    for (size_t i = 0; i < faults->n; i++) {
        const struct kap_fault *fault = &faults->at[i];
        list[i] = (struct kap_field_fault){.has_path = true,
                                           .path = kap_bytes_str(fault->path),
                                           .has_code = true,
                                           .code = kap_bytes_str(fault->code),
                                           .has_text = true,
                                           .text = kap_bytes_str(fault->text),
                                           .has_limit = fault->has_limit,
                                           .limit = fault->limit,
                                           .has_actual = fault->has_limit,
                                           .actual = fault->actual};
    }
    *reply_out = (struct kap_error_reply){.has_code = true,
                                          .code = (uint32_t)code,
                                          .has_name = true,
                                          .name = kap_bytes_str(kap_status_name(code)),
                                          .has_message = true,
                                          .message = kap_bytes_str(message),
                                          .has_message_key = true,
                                          .message_key = kap_bytes_str(code == KAP_DECODE ? "decode" : "invalid"),
                                          .n_faults = faults->n,
                                          .faults = list};
    if (faults->n > 0) {
        reply_out->has_path = true;
        reply_out->path = kap_bytes_str(faults->at[0].path);
    }
    return KAP_OK;
}
