/* message.h - the tables that describe a message: what the generator writes and the wire, validation and JSON walk.
 *
 * A message is a plain struct (proto/kap_entities.h, proto/kap_requests.h, generated): per singular scalar `bool has_x` and
 * the value, per singular message a pointer that is NULL when absent, per repeated field `size_t n_x` and an array.
 * Everything here is static const. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/bytes.h"

enum kap_field_type {
    KAP_FIELD_BOOL = 1,
    KAP_FIELD_UINT32,
    KAP_FIELD_UINT64,
    KAP_FIELD_INT32,
    KAP_FIELD_INT64,
    KAP_FIELD_SINT32,
    KAP_FIELD_SINT64,
    KAP_FIELD_FIXED64,
    KAP_FIELD_SFIXED64,
    KAP_FIELD_DOUBLE,
    KAP_FIELD_ENUM, /* int32_t in the struct */
    KAP_FIELD_STRING, /* struct kap_bytes, UTF-8 */
    KAP_FIELD_BYTES, /* struct kap_bytes */
    KAP_FIELD_ID, /* struct kap_id; bytes(16) on the wire */
    KAP_FIELD_MESSAGE, /* pointer, or contiguous array */
};

enum kap_field_flag {
    KAP_FIELD_REQUIRED = 1 << 0, /* in a request always, in a row when it is created */
    KAP_FIELD_HASH = 1 << 1, /* bytes(32), hex in JSON */
    KAP_FIELD_TIME = 1 << 2, /* microseconds since 1970, RFC 3339 in JSON */
    KAP_FIELD_JSON = 1 << 3, /* text of one JSON object */
    KAP_FIELD_OUTPUT = 1 << 4, /* the server sets it, clients do not */
    KAP_FIELD_SECRET = 1 << 5, /* never in a log line */
    KAP_FIELD_HAS_MIN = 1 << 6,
    KAP_FIELD_HAS_MAX = 1 << 7,
    KAP_FIELD_HAS_DEFAULT = 1 << 8,
};

enum kap_format {
    KAP_FORMAT_NONE,
    KAP_FORMAT_USERNAME,
    KAP_FORMAT_SLUG,
    KAP_FORMAT_EMAIL,
    KAP_FORMAT_COUNTRY,
};

enum kap_embed { /* bytes that are a message: which one, a sibling field says */
                 KAP_EMBED_NONE,
                 KAP_EMBED_KIND,
                 KAP_EMBED_OP_REQUEST,
                 KAP_EMBED_OP_REPLY,
};

/* Limits and meaning of a field; the cold half. */
struct kap_field_rules {
    uint16_t flags; /* enum kap_field_flag */
    uint8_t format;
    uint8_t embed;
    uint16_t embed_field;
    uint16_t at_least; /* number of the sibling that this one is not below; 0 = none */
    uint32_t min_bytes, max_bytes, max_items;
    int64_t min, max;
    int64_t default_number;
    const char *default_text; /* of a reference: the `value` of the ref_item that stands when none is given */
    uint8_t ref_kind; /* kind the id points to; 0 = no reference, or ref_kind_field says */
    uint16_t ref_kind_field;
    uint8_t ref_list; /* enum kap_ref_kind: the list a ref_item must come from; 0 = any */
    uint8_t n_kinds; /* of a kind: only these */
    uint8_t kinds[8];
};

struct kap_enum {
    const char *name;
    const struct kap_enum_value {
        int32_t number;
        const char *name; /* short: "draft" */
    } * values; /* ascending, without zero */
    uint16_t n_values;
};

struct kap_msg;

struct kap_field {
    uint16_t number;
    uint8_t type; /* enum kap_field_type */
    bool repeated;
    uint16_t item_size; /* of one value in the struct */
    uint32_t has_at; /* offset of has_x, or of n_x; of a singular message not used */
    uint32_t value_at; /* offset of the value, or of the pointer */
    const struct kap_msg *msg;
    const struct kap_enum *enumeration;
    const struct kap_field_rules *rules;
    const char *name;
};

struct kap_msg {
    const char *name; /* "session" */
    const char *full_name; /* "kap.Session" */
    uint32_t size; /* of the struct */
    uint32_t unknown_at; /* offset of `struct kap_bytes unknown`, or 0: rows, records and their parts have one */
    uint16_t n_fields;
    uint16_t max_number;
    uint8_t kind; /* of a row; 0 otherwise */
    bool needs_count; /* has repeated or message fields */
    const struct kap_field *fields; /* ascending numbers */
    const uint8_t *slots; /* [number] -> 1 + index into fields, 0 = no such field */
};

enum { KAP_MESSAGE_FIELDS_MAX = 64, KAP_MESSAGE_DEPTH_MAX = 16 };

/* All messages, by full_name; kap_messages has kap_n_messages entries (generated). */
extern const struct kap_msg *const kap_messages[];
extern const size_t kap_n_messages;

/* "session" or "kap.Session"; NULL when there is none. */
const struct kap_msg *kap_message_find(struct kap_bytes name);
/* The message of a kind of row; NULL when the kind has none. */
const struct kap_msg *kap_message_of_kind(uint32_t kind);
/* NULL when there is none. */
const struct kap_field *kap_message_field(const struct kap_msg *msg, uint32_t number);
const struct kap_field *kap_message_field_named(const struct kap_msg *msg, struct kap_bytes name);
/* "draft"; NULL when the number is not a value. */
const char *kap_enum_name(const struct kap_enum *enumeration, int32_t number);

/* Reads a struct by its table. Repeated: slot < kap_field_count. */
static inline const void *kap_field_value(const struct kap_field *field, const void *message)
{
    return (const uint8_t *)message + field->value_at;
}

/* How many values there are: 0 or 1 for a singular field. */
static inline size_t kap_field_count(const struct kap_field *field, const void *message)
{
    const uint8_t *base = message;
    if (field->repeated)
        return *(const size_t *)(const void *)(base + field->has_at);
    if (field->type == KAP_FIELD_MESSAGE)
        return *(void *const *)(const void *)(base + field->value_at) != NULL;
    return *(const bool *)(base + field->has_at);
}

/* The n-th value: a pointer to the scalar, or to the struct of a message. */
static inline const void *kap_field_item(const struct kap_field *field, const void *message, size_t n)
{
    const uint8_t *at = (const uint8_t *)message + field->value_at;
    if (!field->repeated && field->type != KAP_FIELD_MESSAGE)
        return at;
    return *(const uint8_t *const *)(const void *)at + n * field->item_size;
}
