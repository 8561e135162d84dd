#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/uuid.h"
#include "proto/json.h"
#include "proto/json_embed.h"
#include "proto/json_value.h"
#include "proto/ops.h"
#include "proto/wire.h"

struct printer {
    struct kap_buffer *out;
    struct kap_arena *arena;
    unsigned indent;
    bool failed;
};

static void message_print(struct printer *printer, const struct kap_msg *msg, const void *message, unsigned level);

const struct kap_msg *json_embedded(const struct kap_msg *msg, const struct kap_field *field, const void *message)
{
    const struct kap_field_rules *rules = field->rules;
    if (rules->embed == KAP_EMBED_NONE)
        return NULL;
    const struct kap_field *which = kap_message_field(msg, rules->embed_field);
    if (!which || kap_field_count(which, message) == 0)
        return NULL;
    uint32_t number = *(const uint32_t *)kap_field_item(which, message, 0);
    if (rules->embed == KAP_EMBED_KIND)
        return kap_message_of_kind(number);
    const struct kap_op_desc *op = kap_op_find(number);
    return !op ? NULL : rules->embed == KAP_EMBED_OP_REQUEST ? op->request : op->reply;
}

static void newline(struct printer *printer, unsigned level)
{
    if (printer->indent == 0)
        return;
    kap_buffer_append_u8(printer->out, '\n');
    for (unsigned i = 0; i < level * printer->indent; i++)
        kap_buffer_append_u8(printer->out, ' ');
}

static void text_print(struct printer *printer, struct kap_bytes text)
{
    static const char escapes[] = "btn_fr"; /* of 8 to 13; 11 has none */
    kap_buffer_append_u8(printer->out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\')
            kap_buffer_printf(printer->out, "\\%c", c);
        else if (c >= 8 && c <= 13 && c != 11)
            kap_buffer_printf(printer->out, "\\%c", escapes[c - 8]);
        else if (c < 0x20 || c == 0x7f)
            kap_buffer_printf(printer->out, "\\u%04x", c);
        else
            kap_buffer_append_u8(printer->out, c);
    }
    kap_buffer_append_u8(printer->out, '"');
}

/* The shortest text that reads back as the same number. */
static void double_print(struct printer *printer, double value)
{
    char text[40];
    if (!isfinite(value)) {
        kap_buffer_printf(printer->out, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    if (value == 0 && signbit(value)) {
        kap_buffer_printf(printer->out, "-0.0"); /* "-0" would be read as an integer, without its sign */
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    kap_buffer_printf(printer->out, "%s", text);
}

static void time_print(struct printer *printer, int64_t unix_us)
{
    char text[KAP_TIME_TEXT_BYTES];
    if (kap_time_print(unix_us, text))
        kap_buffer_printf(printer->out, "\"%s\"", text);
    else
        kap_buffer_printf(printer->out, "\"%" PRId64 "\"", unix_us);
}

static void enum_print(struct printer *printer, const struct kap_enum *enumeration, int32_t number)
{
    const char *name = kap_enum_name(enumeration, number);
    if (name)
        kap_buffer_printf(printer->out, "\"%s\"", name);
    else
        kap_buffer_printf(printer->out, "%" PRId32, number);
}

static void base64_print(struct printer *printer, struct kap_bytes bytes)
{
    kap_buffer_append_u8(printer->out, '"');
    kap_base64_print(bytes, printer->out);
    kap_buffer_append_u8(printer->out, '"');
}

/* Opened when it is a message we know and well formed, else base64. */
static void bytes_print(struct printer *printer, const struct kap_field *field, struct kap_bytes bytes,
                        const struct kap_msg *embedded, unsigned level)
{
    if (field->rules->flags & KAP_FIELD_HASH) {
        kap_buffer_append_u8(printer->out, '"');
        kap_hex_print(bytes, printer->out);
        kap_buffer_append_u8(printer->out, '"');
        return;
    }
    void *inner = embedded ? kap_arena_push(printer->arena, embedded->size) : NULL;
    kap_status status = KAP_DECODE;
    if (inner)
        status = kap_wire_decode(embedded, bytes, printer->arena, KAP_WIRE_STORED, inner, NULL);
    if (status == KAP_OK)
        message_print(printer, embedded, inner, level);
    else
        base64_print(printer, bytes);
    printer->failed |= status == KAP_NO_MEMORY || (embedded && !inner);
}

static void scalar_print(struct printer *printer, const struct kap_field *field, const void *at)
{
    char uuid[KAP_UUID_TEXT_BYTES];
    switch (field->type) {
    case KAP_FIELD_BOOL:
        kap_buffer_printf(printer->out, "%s", *(const bool *)at ? "true" : "false");
        break;
    case KAP_FIELD_UINT32:
        kap_buffer_printf(printer->out, "%" PRIu32, *(const uint32_t *)at);
        break;
    case KAP_FIELD_INT32:
    case KAP_FIELD_SINT32:
        kap_buffer_printf(printer->out, "%" PRId32, *(const int32_t *)at);
        break;
    case KAP_FIELD_UINT64:
    case KAP_FIELD_FIXED64:
        kap_buffer_printf(printer->out, "\"%" PRIu64 "\"", *(const uint64_t *)at);
        break;
    case KAP_FIELD_DOUBLE:
        double_print(printer, *(const double *)at);
        break;
    case KAP_FIELD_ENUM:
        enum_print(printer, field->enumeration, *(const int32_t *)at);
        break;
    case KAP_FIELD_STRING:
        text_print(printer, *(const struct kap_bytes *)at);
        break;
    case KAP_FIELD_ID:
        kap_uuid_print(*(const struct kap_id *)at, uuid);
        kap_buffer_printf(printer->out, "\"%s\"", uuid);
        break;
    default:
        if (field->rules->flags & KAP_FIELD_TIME)
            time_print(printer, *(const int64_t *)at);
        else
            kap_buffer_printf(printer->out, "\"%" PRId64 "\"", *(const int64_t *)at);
    }
}

static void value_print(struct printer *printer, const struct kap_field *field, const void *at,
                        const struct kap_msg *embedded, unsigned level)
{
    if (field->type == KAP_FIELD_MESSAGE)
        message_print(printer, field->msg, at, level);
    else if (field->type == KAP_FIELD_BYTES)
        bytes_print(printer, field, *(const struct kap_bytes *)at, embedded, level);
    else
        scalar_print(printer, field, at);
}

static void list_print(struct printer *printer, const struct kap_field *field, const void *message, unsigned level)
{
    size_t n = kap_field_count(field, message);
    kap_buffer_append_u8(printer->out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            kap_buffer_append_u8(printer->out, ',');
        newline(printer, level + 1);
        value_print(printer, field, kap_field_item(field, message, i), NULL, level + 1);
    }
    newline(printer, level);
    kap_buffer_append_u8(printer->out, ']');
}

static void name_print(struct printer *printer, const char *name, bool *first, unsigned level)
{
    if (!*first)
        kap_buffer_append_u8(printer->out, ',');
    *first = false;
    newline(printer, level);
    kap_buffer_printf(printer->out, printer->indent ? "\"%s\": " : "\"%s\":", name);
}

static void message_print(struct printer *printer, const struct kap_msg *msg, const void *message, unsigned level)
{
    bool first = true;
    kap_buffer_append_u8(printer->out, '{');
    for (size_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        if (kap_field_count(field, message) == 0)
            continue;
        name_print(printer, field->name, &first, level + 1);
        if (field->repeated)
            list_print(printer, field, message, level + 1);
        else
            value_print(printer, field, kap_field_item(field, message, 0), json_embedded(msg, field, message),
                        level + 1);
    }
    if (msg->unknown_at) {
        const struct kap_bytes *unknown = (const void *)((const uint8_t *)message + msg->unknown_at);
        if (unknown->len > 0) {
            name_print(printer, "_unknown", &first, level + 1);
            base64_print(printer, *unknown);
        }
    }
    if (!first)
        newline(printer, level);
    kap_buffer_append_u8(printer->out, '}');
}

kap_status kap_json_print(const struct kap_msg *msg, const void *message, unsigned indent, struct kap_arena *arena,
                          struct kap_buffer *out)
{
    struct printer printer = {.out = out, .arena = arena, .indent = indent};
    message_print(&printer, msg, message, 0);
    return printer.failed || out->failed ? KAP_NO_MEMORY : KAP_OK;
}
