/* refusal.c - what went wrong, for people: the server's ErrorReply in lines, and the operation that was probably meant. */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/uuid.h"
#include "proto/ops.h"
#include "tools/kap/kap.h"

enum { NAME_BYTES_MAX = 48, DISTANCE_MAX = 4 };

static void text_line(struct kap_buffer *out, const char *label, struct kap_bytes text)
{
    if (text.len > 0)
        kap_buffer_printf(out, "\n  %s%.*s", label, (int)KAP_MIN(text.len, 1024u), (const char *)text.data);
}

static void row_line(struct kap_buffer *out, const char *label, int32_t kind, struct kap_id id)
{
    char text[KAP_UUID_TEXT_BYTES];
    const char *name = kap_enum_name(&kap_kind_enum, kind);
    kap_uuid_print(id, text);
    kap_buffer_printf(out, "\n  %s%s %s", label, name ? name : "row", text);
}

void kap_refusal_print(kap_status status, const struct kap_error_reply *reply, struct kap_buffer *out)
{
    struct kap_bytes message = reply->has_message ? reply->message : kap_bytes_str(kap_status_sentence(status));
    kap_buffer_printf(out, "%s (%d): %.*s", kap_status_name(status), (int)status, (int)KAP_MIN(message.len, 1024u),
                      (const char *)message.data);
    if (reply->n_faults == 0 && reply->has_path)
        text_line(out, "at ", reply->path);
    for (size_t i = 0; i < reply->n_faults; i++) {
        const struct kap_field_fault *fault = &reply->faults[i];
        kap_buffer_printf(out, "\n  %.*s: %.*s", (int)KAP_MIN(fault->path.len, 256u), (const char *)fault->path.data,
                          (int)KAP_MIN(fault->text.len, 512u), (const char *)fault->text.data);
    }
    if (reply->has_id)
        row_line(out, "row ", reply->kind, reply->id);
    if (reply->has_current_rev)
        kap_buffer_printf(out, "\n  its revision is %llu", (unsigned long long)reply->current_rev);
    if (reply->has_current_tree_rev)
        kap_buffer_printf(out, "\n  its tree revision is %llu", (unsigned long long)reply->current_tree_rev);
    for (size_t i = 0; i < reply->n_referrers; i++)
        row_line(out, "referred to by ", reply->referrers[i].kind, reply->referrers[i].id);
    if (reply->referrer_count > reply->n_referrers)
        kap_buffer_printf(out, "\n  %llu refer to it in all", (unsigned long long)reply->referrer_count);
    text_line(out, "hint: ", reply->hint);
    if (reply->retryable)
        kap_buffer_printf(out, "\n  it may be tried again%s", reply->has_retry_after_ms ? " a little later" : "");
    if (reply->committed_unknown)
        kap_buffer_printf(out, "\n  whether it was written is unknown");
}

/* Letters to insert, drop or replace. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES_MAX + 1], n = strlen(b);
    if (n > NAME_BYTES_MAX || strlen(a) > NAME_BYTES_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t above = row[j], replaced = corner + (a[i - 1] != b[j - 1]);
            row[j] = KAP_MIN(replaced, KAP_MIN(above, row[j - 1]) + 1);
            corner = above;
        }
    }
    return row[n];
}

kap_status kap_op_refuse(const char *name, struct kap_error *error)
{
    const char *nearest = NULL, *dot = strchr(name, '.');
    size_t best = DISTANCE_MAX;
    for (size_t i = 0; i < kap_n_ops; i++) {
        size_t apart = distance(name, kap_ops[i].name);
        if (apart < best) {
            best = apart;
            nearest = kap_ops[i].name;
        }
    }
    for (size_t i = 0; !nearest && i < kap_n_ops; i++) /* of the same entity at least */
        if (strncmp(kap_ops[i].name, name, dot ? (size_t)(dot - name) + 1 : strlen(name)) == 0)
            nearest = kap_ops[i].name;
    if (nearest)
        return kap_error_set(error, KAP_UNKNOWN_OP, "there is no operation \"%.60s\"; did you mean %s?", name, nearest);
    return kap_error_set(error, KAP_UNKNOWN_OP, "there is no operation \"%.60s\"; kap ops lists them", name);
}
