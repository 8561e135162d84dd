#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/uuid.h"
#include "proto/faults.h"
#include "proto/json.h"
#include "proto/json_embed.h"
#include "proto/json_value.h"
#include "proto/wire.h"

struct parser {
    struct kap_arena *arena;
    struct kap_error *error;
};

static kap_status message_parse(const struct parser *parser, const struct kap_msg *msg, const json_t *object,
                                const struct kap_path *path, int depth, void *out);

static kap_status wrong(const struct parser *parser, const struct kap_path *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static kap_status wrong(const struct parser *parser, const struct kap_path *path, const char *format, ...)
{
    char text[320];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *where = kap_path_print(path, parser->arena);
    if (!where || !*where)
        return kap_error_set(parser->error, KAP_INVALID, "%s", text);
    return kap_error_set(parser->error, KAP_INVALID, "%s: %s", where, text);
}

/* ---- what was probably meant */

static size_t edit_distance(const char *a, const char *b)
{
    enum { LENGTH_MAX = 48 };
    size_t row[LENGTH_MAX + 1], n_a = strlen(a), n_b = strlen(b);
    if (n_a > LENGTH_MAX || n_b > LENGTH_MAX)
        return SIZE_MAX;
    for (size_t i = 0; i <= n_b; i++)
        row[i] = i;
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t n = 1; n <= n_b; n++) {
            size_t replaced = diagonal + (a[i - 1] != b[n - 1]);
            diagonal = row[n];
            row[n] = KAP_MIN(replaced, KAP_MIN(row[n], row[n - 1]) + 1);
        }
    }
    return row[n_b];
}

static void nearest_of(const char *candidate, const char *given, const char **best, size_t *best_distance)
{
    size_t distance = edit_distance(given, candidate);
    if (distance >= *best_distance)
        return;
    *best = candidate;
    *best_distance = distance;
}

static kap_status unknown_field(const struct parser *parser, const struct kap_msg *msg, const char *name,
                                const struct kap_path *path)
{
    const char *best = NULL;
    size_t distance = strlen(name) / 3 + 2;
    for (size_t i = 0; i < msg->n_fields; i++)
        nearest_of(msg->fields[i].name, name, &best, &distance);
    if (best)
        return wrong(parser, path, "%s has no field \"%s\"; did you mean \"%s\"?", msg->name, name, best);
    return wrong(parser, path, "%s has no field \"%s\"", msg->name, name);
}

static kap_status unknown_value(const struct parser *parser, const struct kap_enum *enumeration, const char *name,
                                const struct kap_path *path)
{
    const char *best = NULL;
    size_t distance = strlen(name) / 3 + 2;
    for (size_t i = 0; i < enumeration->n_values; i++)
        nearest_of(enumeration->values[i].name, name, &best, &distance);
    if (best)
        return wrong(parser, path, "\"%s\" is not a value of %s; did you mean \"%s\"?", name, enumeration->name, best);
    return wrong(parser, path, "\"%s\" is not a value of %s", name, enumeration->name);
}

/* ---- values */

static struct kap_bytes string_of(const json_t *value)
{
    return kap_bytes(json_string_value(value), json_string_length(value));
}

/* A whole number between low and high, from a number or (64-bit) from a string. */
static bool integer_read(const json_t *value, int64_t low, int64_t high, int64_t *number_out)
{
    char *end;
    if (json_is_integer(value)) {
        *number_out = json_integer_value(value);
    } else if (json_is_string(value) && json_string_length(value) > 0) {
        errno = 0;
        *number_out = strtoll(json_string_value(value), &end, 10);
        if (errno != 0 || *end != 0)
            return false;
    } else {
        return false;
    }
    return *number_out >= low && *number_out <= high;
}

static bool unsigned_read(const json_t *value, uint64_t *number_out)
{
    int64_t number;
    char *end;
    if (json_is_string(value) && json_string_value(value)[0] >= '0' && json_string_value(value)[0] <= '9') {
        errno = 0;
        *number_out = strtoull(json_string_value(value), &end, 10);
        return errno == 0 && *end == 0;
    }
    if (!json_is_integer(value) || !integer_read(value, 0, INT64_MAX, &number))
        return false;
    *number_out = (uint64_t)number;
    return true;
}

static bool double_read(const json_t *value, double *number_out)
{
    static const struct {
        const char *text;
        double value;
    } words[] = {{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
    if (json_is_number(value)) {
        *number_out = json_number_value(value);
        return true;
    }
    for (size_t i = 0; json_is_string(value) && i < KAP_ARRAY_LEN(words); i++) {
        if (strcmp(json_string_value(value), words[i].text) == 0) {
            *number_out = words[i].value;
            return true;
        }
    }
    return false;
}

static kap_status enum_parse(const struct parser *parser, const struct kap_field *field, const json_t *value,
                             const struct kap_path *path, int32_t *number_out)
{
    int64_t number;
    if (json_is_integer(value) && integer_read(value, INT32_MIN, INT32_MAX, &number)) {
        *number_out = (int32_t)number;
        return KAP_OK;
    }
    if (!json_is_string(value))
        return wrong(parser, path, "must be the name of a %s", field->enumeration->name);
    for (size_t i = 0; i < field->enumeration->n_values; i++) {
        if (strcmp(field->enumeration->values[i].name, json_string_value(value)) == 0) {
            *number_out = field->enumeration->values[i].number;
            return KAP_OK;
        }
    }
    return unknown_value(parser, field->enumeration, json_string_value(value), path);
}

static kap_status number_parse(const struct parser *parser, const struct kap_field *field, const json_t *value,
                               const struct kap_path *path, void *at)
{
    int64_t number = 0;
    switch (field->type) {
    case KAP_FIELD_UINT32:
        if (!integer_read(value, 0, UINT32_MAX, &number))
            return wrong(parser, path, "must be a whole number from 0 to %" PRIu32, UINT32_MAX);
        *(uint32_t *)at = (uint32_t)number;
        return KAP_OK;
    case KAP_FIELD_INT32:
    case KAP_FIELD_SINT32:
        if (!integer_read(value, INT32_MIN, INT32_MAX, &number))
            return wrong(parser, path, "must be a whole number of 32 bits");
        *(int32_t *)at = (int32_t)number;
        return KAP_OK;
    case KAP_FIELD_UINT64:
    case KAP_FIELD_FIXED64:
        if (!unsigned_read(value, at))
            return wrong(parser, path, "must be a whole number from 0, best as a string");
        return KAP_OK;
    case KAP_FIELD_DOUBLE:
        if (!double_read(value, at))
            return wrong(parser, path, "must be a number");
        return KAP_OK;
    default:
        if (field->rules->flags & KAP_FIELD_TIME && json_is_string(value) && kap_time_parse(string_of(value), at))
            return KAP_OK;
        if (!integer_read(value, INT64_MIN, INT64_MAX, &number))
            return wrong(parser, path,
                         field->rules->flags & KAP_FIELD_TIME ? "must be a time such as 2024-09-01T18:30:00Z"
                                                              : "must be a whole number of 64 bits, best as a string");
        *(int64_t *)at = number;
        return KAP_OK;
    }
}

/* An opened row or body becomes its encoding. */
static kap_status embedded_parse(const struct parser *parser, const struct kap_msg *embedded, const json_t *value,
                                 const struct kap_path *path, int depth, struct kap_bytes *bytes_out)
{
    if (!embedded)
        return wrong(parser, path, "an object can stand here only when the field that names its type is set");
    void *inner = kap_arena_push(parser->arena, embedded->size);
    if (!inner)
        return KAP_NO_MEMORY;
    kap_status status = message_parse(parser, embedded, value, path, depth + 1, inner);
    if (status != KAP_OK)
        return status;
    *bytes_out = kap_wire_encode_in(embedded, inner, parser->arena);
    return bytes_out->data ? KAP_OK : KAP_NO_MEMORY;
}

static kap_status bytes_parse(const struct parser *parser, const struct kap_field *field,
                              const struct kap_msg *embedded, const json_t *value, const struct kap_path *path,
                              int depth, struct kap_bytes *bytes_out)
{
    bool is_hash = field->rules->flags & KAP_FIELD_HASH;
    if (field->rules->embed != KAP_EMBED_NONE && json_is_object(value))
        return embedded_parse(parser, embedded, value, path, depth, bytes_out);
    if (json_is_string(value))
        *bytes_out = is_hash ? kap_hex_parse(string_of(value), parser->arena)
                             : kap_base64_parse(string_of(value), parser->arena);
    if (!json_is_string(value) || !bytes_out->data)
        return wrong(parser, path, is_hash ? "must be a hash of 64 hex digits" : "must be base64");
    return KAP_OK;
}

static kap_status value_parse(const struct parser *parser, const struct kap_field *field,
                              const struct kap_msg *embedded, const json_t *value, const struct kap_path *path,
                              int depth, void *at)
{
    switch (field->type) {
    case KAP_FIELD_BOOL:
        if (!json_is_boolean(value))
            return wrong(parser, path, "must be true or false");
        *(bool *)at = json_is_true(value);
        return KAP_OK;
    case KAP_FIELD_ENUM:
        return enum_parse(parser, field, value, path, at);
    case KAP_FIELD_STRING:
        if (!json_is_string(value))
            return wrong(parser, path, "must be a string");
        *(struct kap_bytes *)at = kap_arena_copy(parser->arena, string_of(value));
        return ((struct kap_bytes *)at)->data ? KAP_OK : KAP_NO_MEMORY;
    case KAP_FIELD_BYTES:
        return bytes_parse(parser, field, embedded, value, path, depth, at);
    case KAP_FIELD_ID:
        if (!json_is_string(value) || kap_uuid_parse(string_of(value), at) != KAP_OK)
            return wrong(parser, path, "must be a UUID such as 0190a3b1-7c00-7abc-8def-0123456789ab");
        return KAP_OK;
    case KAP_FIELD_MESSAGE:
        return message_parse(parser, field->msg, value, path, depth + 1, at);
    default:
        return number_parse(parser, field, value, path, at);
    }
}

static kap_status list_parse(const struct parser *parser, const struct kap_field *field, const json_t *value,
                             const struct kap_path *path, int depth, uint8_t *out)
{
    struct kap_path here = {path, field->name, -1};
    if (!json_is_array(value))
        return wrong(parser, &here, "must be a list");
    size_t n = json_array_size(value);
    if (n == 0)
        return KAP_OK;
    uint8_t *list = kap_arena_push(parser->arena, n * field->item_size);
    if (!list)
        return KAP_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        here.slot = (int64_t)i;
        kap_status status =
            value_parse(parser, field, NULL, json_array_get(value, i), &here, depth, list + i * field->item_size);
        if (status != KAP_OK)
            return status;
    }
    memcpy(out + field->value_at, &list, sizeof list);
    memcpy(out + field->has_at, &n, sizeof n);
    return KAP_OK;
}

static kap_status field_parse(const struct parser *parser, const struct kap_msg *msg, const struct kap_field *field,
                              const json_t *value, const struct kap_path *path, int depth, uint8_t *out)
{
    struct kap_path here = {path, field->name, -1};
    if (field->repeated)
        return list_parse(parser, field, value, path, depth, out);
    if (field->type == KAP_FIELD_MESSAGE) {
        void *inner = kap_arena_push(parser->arena, field->msg->size);
        if (!inner)
            return KAP_NO_MEMORY;
        memcpy(out + field->value_at, &inner, sizeof inner);
        return message_parse(parser, field->msg, value, &here, depth + 1, inner);
    }
    out[field->has_at] = true;
    return value_parse(parser, field, json_embedded(msg, field, out), value, &here, depth, out + field->value_at);
}

static kap_status unknown_parse(const struct parser *parser, const struct kap_msg *msg, const json_t *value,
                                const struct kap_path *path, uint8_t *out)
{
    struct kap_bytes *unknown = (struct kap_bytes *)(void *)(out + msg->unknown_at);
    if (json_is_string(value))
        *unknown = kap_base64_parse(string_of(value), parser->arena);
    return unknown->data ? KAP_OK : wrong(parser, path, "_unknown must be base64");
}

static kap_status message_parse(const struct parser *parser, const struct kap_msg *msg, const json_t *object,
                                const struct kap_path *path, int depth, void *out)
{
    memset(out, 0, msg->size);
    if (!json_is_object(object))
        return wrong(parser, path, "must be an object: a %s", msg->name);
    if (depth > 2 * KAP_MESSAGE_DEPTH_MAX)
        return wrong(parser, path, "nested too deep");
    const char *name;
    json_t *value;
    /* jansson's loop wants a pointer that is not const and does not write through it. */
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        bool is_unknown = msg->unknown_at && strcmp(name, "_unknown") == 0;
        if (!is_unknown && !kap_message_field_named(msg, kap_bytes_str(name)))
            return unknown_field(parser, msg, name, path);
        if (!is_unknown)
            continue;
        kap_status status = unknown_parse(parser, msg, value, path, out);
        if (status != KAP_OK)
            return status;
    }
    /* By field number, so that the field which names an embedded message is there before the message. */
    for (size_t i = 0; i < msg->n_fields; i++) {
        value = json_object_get(object, msg->fields[i].name);
        if (!value || json_is_null(value))
            continue;
        kap_status status = field_parse(parser, msg, &msg->fields[i], value, path, depth, out);
        if (status != KAP_OK)
            return status;
    }
    return KAP_OK;
}

kap_status kap_json_parse(const struct kap_msg *msg, struct kap_bytes text, struct kap_arena *arena, void *out,
                          struct kap_error *error)
{
    struct parser parser = {.arena = arena, .error = error};
    json_error_t where;
    json_t *root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return kap_error_set(error, KAP_INVALID, "not JSON, line %d column %d: %s", where.line, where.column,
                             where.text);
    kap_status status = message_parse(&parser, msg, root, NULL, 1, out);
    json_decref(root);
    if (status == KAP_NO_MEMORY)
        kap_error_set(error, status, "%s", kap_status_sentence(status));
    return status;
}
