#include <inttypes.h>

#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/base/varint.h"
#include "proto/text.h"
#include "proto/wire.h"

/* Wire types of protobuf. */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_GROUP = 3, WIRE_GROUP_END = 4, WIRE_32 = 5 };
enum { GROUP_DEPTH_MAX = 100 };

struct decoder {
    struct kap_arena *arena;
    enum kap_wire_mode mode;
    struct kap_faults *faults;
    kap_status malformed; /* what malformed bytes are called in this mode */
    struct kap_bytes whole; /* of the outermost message: offsets count from its begin */
};

/* One field as it stands in the bytes. */
struct item {
    uint32_t number;
    uint32_t wire;
    uint64_t value; /* of a varint, 64-bit or 32-bit field */
    struct kap_bytes bytes; /* of a length-delimited one */
    const uint8_t *start;
};

static const uint8_t *tag_read(const uint8_t *at, const uint8_t *end, struct item *item_out)
{
    uint64_t tag;
    const uint8_t *from = at;
    if (at < end && *at < 0x80) /* numbers below 16, nearly always */
        tag = *at++;
    else
        at = kap_varint_read(at, end, &tag);
    /* As the official decoders: a tag is at most five bytes and 32 bits. */
    if (!at || tag > UINT32_MAX || at - from > 5 || tag >> 3 == 0)
        return NULL;
    item_out->start = from;
    item_out->number = (uint32_t)(tag >> 3);
    item_out->wire = tag & 7;
    return at;
}

/* Past the end tag of the group `number`; its content is only skipped. */
static const uint8_t *group_skip(const uint8_t *at, const uint8_t *end, uint32_t number, int depth);

static const uint8_t *value_read(const uint8_t *at, const uint8_t *end, struct item *item, int depth)
{
    switch (item->wire) {
    case WIRE_VARINT:
        return kap_varint_read(at, end, &item->value);
    case WIRE_64:
        if (end - at < 8)
            return NULL;
        item->value = kap_le64_load(at);
        return at + 8;
    case WIRE_32:
        if (end - at < 4)
            return NULL;
        item->value = kap_le32_load(at);
        return at + 4;
    case WIRE_BYTES: {
        uint64_t len;
        at = kap_varint_read(at, end, &len);
        if (!at || len > (uint64_t)(end - at))
            return NULL;
        item->bytes = kap_bytes(at, (size_t)len);
        return at + len;
    }
    case WIRE_GROUP:
        return group_skip(at, end, item->number, depth);
    default:
        return NULL;
    }
}

static const uint8_t *group_skip(const uint8_t *at, const uint8_t *end, uint32_t number, int depth)
{
    if (depth >= GROUP_DEPTH_MAX)
        return NULL;
    while (at < end) {
        struct item item;
        at = tag_read(at, end, &item);
        if (!at)
            return NULL;
        if (item.wire == WIRE_GROUP_END)
            return item.number == number ? at : NULL;
        at = value_read(at, end, &item, depth + 1);
        if (!at)
            return NULL;
    }
    return NULL;
}

static const uint8_t *item_read(const uint8_t *at, const uint8_t *end, struct item *item_out)
{
    at = tag_read(at, end, item_out);
    return at ? value_read(at, end, item_out, 0) : NULL;
}

static uint32_t wire_of(uint8_t type)
{
    switch (type) {
    case KAP_FIELD_FIXED64:
    case KAP_FIELD_SFIXED64:
    case KAP_FIELD_DOUBLE:
        return WIRE_64;
    case KAP_FIELD_STRING:
    case KAP_FIELD_BYTES:
    case KAP_FIELD_ID:
    case KAP_FIELD_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

/* Notes where the bytes stop making sense; at: NULL when that place has no offset in the request. */
static kap_status malformed(const struct decoder *decoder, const struct kap_path *path, const char *code,
                            const uint8_t *at, const char *what)
{
    const struct kap_bytes whole = decoder->whole;
    if (decoder->mode != KAP_WIRE_CLIENT)
        return decoder->malformed;
    if (at && at >= whole.data && at <= whole.data + whole.len)
        kap_faults_add_limit(decoder->faults, path, code, 0, at - whole.data, "%s at byte %td of the body", what,
                             at - whole.data);
    else
        kap_faults_add(decoder->faults, path, code, "%s", what);
    return decoder->malformed;
}

/* The item that begins at `at` cannot be read: named when at least its tag can. */
static kap_status item_malformed(const struct decoder *decoder, const struct kap_msg *msg, const struct kap_path *path,
                                 const uint8_t *at, const uint8_t *end)
{
    struct item item = {0};
    const struct kap_field *field = tag_read(at, end, &item) ? kap_message_field(msg, item.number) : NULL;
    struct kap_path here = {path, field ? field->name : NULL, -1};
    return malformed(decoder, &here, "malformed", at,
                     field ? "the value is cut short or not of the protobuf encoding"
                           : "no field of the protobuf encoding");
}

/* The known field an item belongs to. A field in the wrong wire type is unknown, as protobuf has it, except that
 * repeated numbers may come packed or one by one. */
static const struct kap_field *field_of(const struct kap_msg *msg, const struct item *item, bool *packed_out)
{
    const struct kap_field *field = kap_message_field(msg, item->number);
    *packed_out = false;
    if (!field)
        return NULL;
    uint32_t wire = wire_of(field->type);
    if (item->wire == wire)
        return field;
    *packed_out = field->repeated && wire != WIRE_BYTES && item->wire == WIRE_BYTES;
    return *packed_out ? field : NULL;
}

/* ---- first pass: how long the lists are */

static bool packed_count(const struct kap_field *field, struct kap_bytes bytes, size_t *count)
{
    if (wire_of(field->type) == WIRE_64) {
        *count += bytes.len / 8;
        return bytes.len % 8 == 0;
    }
    for (size_t i = 0; i < bytes.len; i++)
        *count += bytes.data[i] < 0x80;
    return bytes.len == 0 || bytes.data[bytes.len - 1] < 0x80;
}

static kap_status lists_count(const struct decoder *decoder, const struct kap_msg *msg, struct kap_bytes bytes,
                              const struct kap_path *path, size_t counts[])
{
    const uint8_t *at = bytes.data, *end = at + bytes.len;
    while (at < end) {
        struct item item;
        bool packed;
        const uint8_t *from = at;
        at = item_read(at, end, &item);
        if (!at)
            return item_malformed(decoder, msg, path, from, end);
        const struct kap_field *field = field_of(msg, &item, &packed);
        if (!field)
            continue;
        size_t *count = &counts[field - msg->fields];
        if (!packed)
            (*count)++;
        else if (!packed_count(field, item.bytes, count))
            return item_malformed(decoder, msg, path, from, end);
    }
    return KAP_OK;
}

/* Allocates the lists and sets their n to 0; a list over its limit is a fault and gets only what the limit allows. */
static kap_status lists_allocate(const struct decoder *decoder, const struct kap_msg *msg, size_t counts[],
                                 const struct kap_path *path, uint8_t *out)
{
    for (size_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        if (!field->repeated || counts[i] == 0)
            continue;
        size_t limit = field->rules->max_items;
        if (decoder->mode == KAP_WIRE_CLIENT && counts[i] > limit) {
            struct kap_path here = {path, field->name, -1};
            kap_faults_add_limit(decoder->faults, &here, "too_many", (int64_t)limit, (int64_t)counts[i],
                                 "at most %zu items, there are %zu", limit, counts[i]);
            counts[i] = limit;
        }
        if (counts[i] > SIZE_MAX / 2 / field->item_size)
            return KAP_NO_MEMORY;
        void *list = kap_arena_push(decoder->arena, counts[i] * field->item_size);
        if (!list)
            return KAP_NO_MEMORY;
        memcpy(out + field->value_at, &list, sizeof list);
    }
    return KAP_OK;
}

/* ---- second pass: values */

static kap_status message_decode(const struct decoder *decoder, const struct kap_msg *msg, struct kap_bytes bytes,
                                 const struct kap_path *path, int depth, uint8_t *out);

static void number_store(const struct kap_field *field, uint64_t value, void *at)
{
    switch (field->type) {
    case KAP_FIELD_BOOL:
        *(bool *)at = value != 0;
        break;
    case KAP_FIELD_UINT32:
    case KAP_FIELD_INT32:
    case KAP_FIELD_ENUM:
        *(uint32_t *)at = (uint32_t)value;
        break;
    case KAP_FIELD_SINT32:
        *(uint32_t *)at = (uint32_t)value >> 1 ^ (0u - ((uint32_t)value & 1));
        break;
    case KAP_FIELD_SINT64:
        *(uint64_t *)at = value >> 1 ^ (0u - (value & 1));
        break;
    default:
        memcpy(at, &value, 8);
    }
}

static void enum_check(const struct decoder *decoder, const struct kap_field *field, const void *at,
                       const struct kap_path *path)
{
    int32_t number = *(const int32_t *)at;
    if (decoder->mode == KAP_WIRE_CLIENT && !kap_enum_name(field->enumeration, number))
        kap_faults_add_limit(decoder->faults, path, "unknown_value", 0, number, "%" PRId32 " is not a value of %s",
                             number, field->enumeration->name);
}

static kap_status text_check(const struct decoder *decoder, struct kap_bytes text, const struct kap_path *path)
{
    if (!kap_text_is_utf8(text))
        return malformed(decoder, path, "bad_utf8", text.data + kap_text_utf8_len(text),
                         "the text is not UTF-8, which it must be,");
    if (decoder->mode != KAP_WIRE_CLIENT)
        return KAP_OK;
    ptrdiff_t control = kap_text_control_at(text);
    if (control >= 0)
        kap_faults_add_limit(decoder->faults, path, "control_character", 0, control,
                             "control character 0x%02x at byte %td; only newline and tab may stand in text",
                             text.data[control] == 0xc2 ? text.data[control + 1] : text.data[control], control);
    return KAP_OK;
}

static kap_status id_store(const struct decoder *decoder, struct kap_bytes bytes, const struct kap_path *path, void *at)
{
    if (bytes.len == sizeof(struct kap_id)) {
        memcpy(at, bytes.data, sizeof(struct kap_id));
        return KAP_OK;
    }
    if (decoder->mode != KAP_WIRE_CLIENT)
        return decoder->malformed;
    kap_faults_add_limit(decoder->faults, path, "bad_id", 16, (int64_t)bytes.len, "an id is 16 bytes, there are %zu",
                         bytes.len);
    return KAP_OK;
}

/* One value of a field to where it belongs; at is the scalar, or the struct of a message. */
static kap_status value_store(const struct decoder *decoder, const struct kap_field *field, const struct item *item,
                              const struct kap_path *path, int depth, void *at)
{
    switch (field->type) {
    case KAP_FIELD_STRING:
        *(struct kap_bytes *)at = item->bytes;
        return text_check(decoder, item->bytes, path);
    case KAP_FIELD_BYTES:
        *(struct kap_bytes *)at = item->bytes;
        return KAP_OK;
    case KAP_FIELD_ID:
        return id_store(decoder, item->bytes, path, at);
    case KAP_FIELD_MESSAGE:
        return message_decode(decoder, field->msg, item->bytes, path, depth + 1, at);
    default:
        number_store(field, item->value, at);
        if (field->type == KAP_FIELD_ENUM)
            enum_check(decoder, field, at, path);
        return KAP_OK;
    }
}

static kap_status packed_store(const struct decoder *decoder, const struct kap_field *field, struct kap_bytes bytes,
                               const struct kap_path *path, size_t room, uint8_t *out)
{
    size_t *n = (size_t *)(void *)(out + field->has_at);
    uint8_t *list = *(uint8_t **)(void *)(out + field->value_at);
    const uint8_t *at = bytes.data, *end = at + bytes.len;
    while (at < end) {
        struct item item = {.number = field->number, .wire = wire_of(field->type)};
        struct kap_path here = {path, field->name, (int64_t)*n};
        const uint8_t *from = at;
        at = value_read(at, end, &item, 0);
        if (!at)
            return malformed(decoder, &here, "malformed", from, "the number is not of the protobuf encoding");
        if (*n == room)
            continue; /* the fault is noted; the rest must still be well formed */
        kap_status status = value_store(decoder, field, &item, &here, 0, list + *n * field->item_size);
        if (status != KAP_OK)
            return status;
        (*n)++;
    }
    return KAP_OK;
}

static kap_status list_add(const struct decoder *decoder, const struct kap_field *field, const struct item *item,
                           const struct kap_path *path, int depth, size_t room, uint8_t *out)
{
    size_t *n = (size_t *)(void *)(out + field->has_at);
    uint8_t *list = *(uint8_t **)(void *)(out + field->value_at);
    if (*n == room)
        return KAP_OK;
    struct kap_path here = {path, field->name, (int64_t)*n};
    (*n)++;
    return value_store(decoder, field, item, &here, depth, list + (*n - 1) * field->item_size);
}

static bool is_whole(struct kap_bytes piece)
{
    const uint8_t *at = piece.data, *end = at + piece.len;
    struct item item;
    while (at && at < end)
        at = item_read(at, end, &item);
    return at != NULL;
}

/* A singular sub-message that comes in pieces: protobuf merges them, and the encoding of a merge is the pieces one
 * after the other. Each must be a message for itself: two broken ones can make a whole. */
static kap_status pieces_join(const struct decoder *decoder, const struct kap_msg *msg, struct kap_bytes bytes,
                              const struct kap_field *field, const struct kap_path *path, struct kap_bytes *joined_out)
{
    uint8_t *joined = kap_arena_push_bytes(decoder->arena, bytes.len);
    const uint8_t *at = bytes.data, *end = at + bytes.len;
    size_t len = 0;
    if (!joined)
        return KAP_NO_MEMORY;
    while (at < end) {
        struct item item;
        bool packed;
        at = item_read(at, end, &item);
        KAP_ASSERT(at); /* the first pass has read it */
        if (field_of(msg, &item, &packed) != field)
            continue;
        if (!is_whole(item.bytes))
            return malformed(decoder, path, "malformed", item.start, "a piece of the message is cut short");
        if (item.bytes.len > 0)
            memcpy(joined + len, item.bytes.data, item.bytes.len);
        len += item.bytes.len;
    }
    *joined_out = kap_bytes(joined, len);
    return KAP_OK;
}

static kap_status submessage_store(const struct decoder *decoder, const struct kap_msg *msg, struct kap_bytes whole,
                                   const struct kap_field *field, struct kap_bytes bytes, bool in_pieces,
                                   const struct kap_path *path, int depth, uint8_t *out)
{
    struct kap_path here = {path, field->name, -1};
    void *inner = *(void **)(void *)(out + field->value_at);
    if (inner)
        return KAP_OK; /* a later piece; the first one has taken them all */
    if (in_pieces) {
        kap_status status = pieces_join(decoder, msg, whole, field, &here, &bytes);
        if (status != KAP_OK)
            return status;
    }
    inner = kap_arena_push(decoder->arena, field->msg->size);
    if (!inner)
        return KAP_NO_MEMORY;
    memcpy(out + field->value_at, &inner, sizeof inner);
    return message_decode(decoder, field->msg, bytes, &here, depth + 1, inner);
}

/* ---- what the schema does not know */

static void unknown_fault(const struct decoder *decoder, const struct kap_msg *msg, const struct item *item,
                          const struct kap_path *path)
{
    const struct kap_field *field = kap_message_field(msg, item->number);
    struct kap_path here = {path, field ? field->name : NULL, -1};
    if (field)
        kap_faults_add_limit(decoder->faults, &here, "wrong_type", 0, item->number,
                             "field %" PRIu32 " has wire type %" PRIu32 ", which is not its type", item->number,
                             item->wire);
    else
        kap_faults_add_limit(decoder->faults, path, "unknown_field", 0, item->number, "%s has no field %" PRIu32,
                             msg->name, item->number);
}

/* Appends raw bytes to the unknown ones. They are mostly few and adjacent: then the range just grows. */
static kap_status unknown_keep(const struct decoder *decoder, struct kap_bytes raw, struct kap_bytes *unknown)
{
    if (unknown->len == 0) {
        *unknown = raw;
        return KAP_OK;
    }
    if (unknown->data + unknown->len == raw.data) {
        unknown->len += raw.len;
        return KAP_OK;
    }
    uint8_t *both = kap_arena_push_bytes(decoder->arena, unknown->len + raw.len);
    if (!both)
        return KAP_NO_MEMORY;
    memcpy(both, unknown->data, unknown->len);
    memcpy(both + unknown->len, raw.data, raw.len);
    *unknown = kap_bytes(both, unknown->len + raw.len);
    return KAP_OK;
}

static kap_status item_store(const struct decoder *decoder, const struct kap_msg *msg, struct kap_bytes whole,
                             const struct item *item, const uint8_t *item_end, const size_t counts[],
                             const struct kap_path *path, int depth, uint8_t *out)
{
    bool packed;
    const struct kap_field *field = field_of(msg, item, &packed);
    if (!field) {
        if (decoder->mode == KAP_WIRE_CLIENT)
            unknown_fault(decoder, msg, item, path);
        else if (msg->unknown_at)
            return unknown_keep(decoder, kap_bytes(item->start, (size_t)(item_end - item->start)),
                                (struct kap_bytes *)(void *)(out + msg->unknown_at));
        return KAP_OK;
    }
    size_t slot = (size_t)(field - msg->fields);
    if (packed)
        return packed_store(decoder, field, item->bytes, path, counts[slot], out);
    if (field->repeated)
        return list_add(decoder, field, item, path, depth, counts[slot], out);
    if (field->type == KAP_FIELD_MESSAGE)
        return submessage_store(decoder, msg, whole, field, item->bytes, counts[slot] > 1, path, depth, out);
    *(bool *)(out + field->has_at) = true;
    struct kap_path here = {path, field->name, -1};
    return value_store(decoder, field, item, &here, depth, out + field->value_at);
}

static kap_status message_decode(const struct decoder *decoder, const struct kap_msg *msg, struct kap_bytes bytes,
                                 const struct kap_path *path, int depth, uint8_t *out)
{
    size_t counts[KAP_MESSAGE_FIELDS_MAX] = {0};
    const uint8_t *at = bytes.data, *end = at + bytes.len;
    if (depth > KAP_MESSAGE_DEPTH_MAX)
        return malformed(decoder, path, "too_deep", bytes.data, "messages are nested deeper than 16");
    memset(out, 0, msg->size);
    if (msg->needs_count) {
        kap_status status = lists_count(decoder, msg, bytes, path, counts);
        if (status == KAP_OK)
            status = lists_allocate(decoder, msg, counts, path, out);
        if (status != KAP_OK)
            return status;
    }
    while (at < end) {
        struct item item;
        const uint8_t *from = at;
        at = item_read(at, end, &item);
        if (!at)
            return item_malformed(decoder, msg, path, from, end);
        kap_status status = item_store(decoder, msg, bytes, &item, at, counts, path, depth, out);
        if (status != KAP_OK)
            return status;
    }
    return KAP_OK;
}

kap_status kap_wire_decode(const struct kap_msg *msg, struct kap_bytes bytes, struct kap_arena *arena,
                           enum kap_wire_mode mode, void *out, struct kap_faults *faults)
{
    KAP_ASSERT(mode == KAP_WIRE_STORED || faults);
    struct decoder decoder = {.arena = arena,
                              .mode = mode,
                              .faults = faults,
                              .malformed = mode == KAP_WIRE_CLIENT ? KAP_DECODE : KAP_CORRUPT,
                              .whole = bytes};
    size_t before = faults ? faults->n_total : 0;
    kap_status status = message_decode(&decoder, msg, bytes, NULL, 1, out);
    if (status == KAP_OK && faults && faults->n_total > before)
        return KAP_INVALID;
    return status;
}
