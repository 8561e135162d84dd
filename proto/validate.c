#include "proto/validate.h"

#include <inttypes.h>

#include "engine/base/assert.h"
#include "proto/text.h"

/* Years 1 to 9999, so that every stored time has an RFC 3339 text. */
#define TIME_US_MIN (-62135596800000000)
#define TIME_US_MAX 253402300799999999

enum { HASH_BYTES = 32 };

struct validator {
    enum kap_validate_mode mode;
    struct kap_arena *arena;
    struct kap_faults *faults;
};

static kap_status message_check(const struct validator *validator, const struct kap_msg *msg, void *message,
                                const struct kap_path *path, bool is_top);

static bool is_letter_or_digit(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_email(struct kap_bytes text)
{
    const uint8_t *at_sign = text.len ? memchr(text.data, '@', text.len) : NULL;
    if (!at_sign || at_sign == text.data || at_sign + 1 == text.data + text.len)
        return false;
    if (memchr(at_sign + 1, '@', (size_t)(text.data + text.len - at_sign - 1)))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] == 0x7f)
            return false;
    return true;
}

/* NULL when the text has the format, else what the format is. */
static const char *format_fault(uint8_t format, struct kap_bytes text)
{
    if (format == KAP_FORMAT_EMAIL)
        return is_email(text) ? NULL : "must be an e-mail address: one @ with something on both sides, no space";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (format == KAP_FORMAT_USERNAME && ((c >= 'A' && c <= 'Z') || !(is_letter_or_digit(c) || strchr("._-", c))))
            return "may hold a-z, 0-9, dot, underscore and hyphen only";
        if (format == KAP_FORMAT_SLUG && !(is_letter_or_digit(c) || c == '_' || c == '-'))
            return "may hold letters without accents, digits, underscore and hyphen only";
        if (format == KAP_FORMAT_COUNTRY && (c < 'A' || c > 'Z'))
            return "must be the two capital letters of ISO 3166";
    }
    if (format == KAP_FORMAT_COUNTRY && text.len != 2)
        return "must be the two capital letters of ISO 3166";
    return NULL;
}

static void length_check(const struct validator *validator, const struct kap_field *field, size_t len,
                         const struct kap_path *path)
{
    const struct kap_field_rules *rules = field->rules;
    if (rules->max_bytes != 0 && len > rules->max_bytes)
        kap_faults_add_limit(validator->faults, path, "too_long", rules->max_bytes, (int64_t)len,
                             "at most %" PRIu32 " bytes, there are %zu", rules->max_bytes, len);
    if (len < rules->min_bytes)
        kap_faults_add_limit(validator->faults, path, "too_short", rules->min_bytes, (int64_t)len,
                             "at least %" PRIu32 " bytes, there are %zu", rules->min_bytes, len);
}

static kap_status text_check(const struct validator *validator, const struct kap_field *field, struct kap_bytes *text,
                             const struct kap_path *path)
{
    kap_status status = kap_text_nfc(*text, validator->arena, text);
    if (status != KAP_OK)
        return status;
    length_check(validator, field, text->len, path);
    const char *fault = field->rules->format ? format_fault(field->rules->format, *text) : NULL;
    if (fault)
        kap_faults_add(validator->faults, path, "bad_format", "%s", fault);
    if (field->rules->flags & KAP_FIELD_JSON && !kap_text_is_json_object(*text))
        kap_faults_add(validator->faults, path, "bad_json", "must be one JSON object, nested at most 32 deep");
    return KAP_OK;
}

static void bytes_check(const struct validator *validator, const struct kap_field *field, struct kap_bytes bytes,
                        const struct kap_path *path)
{
    if (!(field->rules->flags & KAP_FIELD_HASH))
        length_check(validator, field, bytes.len, path);
    else if (bytes.len != HASH_BYTES)
        kap_faults_add_limit(validator->faults, path, "bad_hash", HASH_BYTES, (int64_t)bytes.len,
                             "a SHA-256 is 32 bytes, there are %zu", bytes.len);
}

/* As a signed number; what is above INT64_MAX stays above every limit. */
static int64_t number_of(const struct kap_field *field, const void *at)
{
    switch (field->type) {
    case KAP_FIELD_BOOL:
        return *(const bool *)at;
    case KAP_FIELD_UINT32:
        return *(const uint32_t *)at;
    case KAP_FIELD_INT32:
    case KAP_FIELD_SINT32:
    case KAP_FIELD_ENUM:
        return *(const int32_t *)at;
    case KAP_FIELD_UINT64:
    case KAP_FIELD_FIXED64:
        return *(const uint64_t *)at > INT64_MAX ? INT64_MAX : (int64_t) * (const uint64_t *)at;
    default:
        return *(const int64_t *)at;
    }
}

static void number_check(const struct validator *validator, const struct kap_field *field, const void *at,
                         const struct kap_path *path)
{
    const struct kap_field_rules *rules = field->rules;
    if (field->type == KAP_FIELD_DOUBLE)
        return;
    int64_t number = number_of(field, at);
    if (rules->flags & KAP_FIELD_HAS_MIN && number < rules->min)
        kap_faults_add_limit(validator->faults, path, "too_small", rules->min, number,
                             "at least %" PRId64 ", it is %" PRId64, rules->min, number);
    if (rules->flags & KAP_FIELD_HAS_MAX && number > rules->max)
        kap_faults_add_limit(validator->faults, path, "too_large", rules->max, number,
                             "at most %" PRId64 ", it is %" PRId64, rules->max, number);
    if (rules->flags & KAP_FIELD_TIME && (number < TIME_US_MIN || number > TIME_US_MAX))
        kap_faults_add_limit(validator->faults, path, "too_large", TIME_US_MAX, number,
                             "a time lies in the years 1 to 9999; it is in microseconds since 1970");
}

static void enum_check(const struct validator *validator, const struct kap_field *field, const void *at,
                       const struct kap_path *path)
{
    int32_t number = *(const int32_t *)at;
    const struct kap_field_rules *rules = field->rules;
    const char *name = kap_enum_name(field->enumeration, number);
    bool allowed = rules->n_kinds == 0;
    for (size_t i = 0; i < rules->n_kinds; i++)
        allowed |= rules->kinds[i] == number;
    if (!name)
        kap_faults_add_limit(validator->faults, path, "unknown_value", 0, number, "%" PRId32 " is not a value of %s",
                             number, field->enumeration->name);
    else if (!allowed)
        kap_faults_add_limit(validator->faults, path, "not_allowed", 0, number, "%s cannot stand here", name);
}

static kap_status value_check(const struct validator *validator, const struct kap_field *field, void *at,
                              const struct kap_path *path)
{
    switch (field->type) {
    case KAP_FIELD_STRING:
        return text_check(validator, field, at, path);
    case KAP_FIELD_BYTES:
        bytes_check(validator, field, *(struct kap_bytes *)at, path);
        return KAP_OK;
    case KAP_FIELD_ID:
        if (kap_id_is_nil(*(struct kap_id *)at))
            kap_faults_add(validator->faults, path, "bad_id", "the nil id names nothing; leave the field out");
        return KAP_OK;
    case KAP_FIELD_MESSAGE:
        return message_check(validator, field->msg, at, path, false);
    case KAP_FIELD_ENUM:
        enum_check(validator, field, at, path);
        return KAP_OK;
    default:
        number_check(validator, field, at, path);
        return KAP_OK;
    }
}

static void order_check(const struct validator *validator, const struct kap_msg *msg, const struct kap_field *field,
                        const void *message, const struct kap_path *path)
{
    const struct kap_field *low = kap_message_field(msg, field->rules->at_least);
    KAP_ASSERT(low);
    if (kap_field_count(low, message) == 0)
        return;
    int64_t floor = number_of(low, kap_field_item(low, message, 0));
    int64_t number = number_of(field, kap_field_item(field, message, 0));
    if (number < floor)
        kap_faults_add_limit(validator->faults, path, "too_small", floor, number,
                             "not below %s, which is %" PRId64 "; it is %" PRId64, low->name, floor, number);
}

static kap_status field_check(const struct validator *validator, const struct kap_msg *msg,
                              const struct kap_field *field, void *message, const struct kap_path *path,
                              bool is_required)
{
    size_t n = kap_field_count(field, message);
    struct kap_path here = {path, field->name, -1};
    if (n == 0) {
        if (is_required)
            kap_faults_add(validator->faults, &here, "required", "%s is required", field->name);
        return KAP_OK;
    }
    if (field->repeated && n > field->rules->max_items)
        kap_faults_add_limit(validator->faults, &here, "too_many", field->rules->max_items, (int64_t)n,
                             "at most %" PRIu32 " items, there are %zu", field->rules->max_items, n);
    for (size_t i = 0; i < n; i++) {
        if (field->repeated)
            here.slot = (int64_t)i;
        /* The message is ours to change; the accessor is const for those that only read. */
        void *at = (void *)(uintptr_t)kap_field_item(field, message, i);
        kap_status status = value_check(validator, field, at, &here);
        if (status != KAP_OK)
            return status;
    }
    if (field->rules->at_least)
        order_check(validator, msg, field, message, &here);
    return KAP_OK;
}

static kap_status message_check(const struct validator *validator, const struct kap_msg *msg, void *message,
                                const struct kap_path *path, bool is_top)
{
    bool is_row = msg->kind != 0;
    bool check_required = !is_row || (is_top && validator->mode == KAP_VALIDATE_ROW);
    for (size_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        if (is_row && field->number == 1)
            continue;
        bool is_required = check_required && field->rules->flags & KAP_FIELD_REQUIRED;
        kap_status status = field_check(validator, msg, field, message, path, is_required);
        if (status != KAP_OK)
            return status;
    }
    return KAP_OK;
}

kap_status kap_validate(const struct kap_msg *msg, void *message, enum kap_validate_mode mode,
                        const struct kap_path *above, struct kap_arena *arena, struct kap_faults *faults)
{
    struct validator validator = {.mode = mode, .arena = arena, .faults = faults};
    size_t before = faults->n_total;
    kap_status status = message_check(&validator, msg, message, above, true);
    if (status == KAP_OK && faults->n_total > before)
        return KAP_INVALID;
    return status;
}

static void default_set(const struct kap_field *field, void *message)
{
    uint8_t *at = (uint8_t *)message + field->value_at;
    const struct kap_field_rules *rules = field->rules;
    if (field->type == KAP_FIELD_STRING)
        *(struct kap_bytes *)(void *)at = kap_bytes_str(rules->default_text);
    else if (field->type == KAP_FIELD_BOOL)
        *(bool *)at = rules->default_number != 0;
    else if (field->item_size == 4)
        *(int32_t *)(void *)at = (int32_t)rules->default_number;
    else
        *(int64_t *)(void *)at = rules->default_number;
    *((uint8_t *)message + field->has_at) = true;
}

void kap_defaults_apply(const struct kap_msg *msg, void *message)
{
    for (size_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        bool has_text = field->type == KAP_FIELD_STRING && field->rules->default_text;
        bool has_number = field->rules->flags & KAP_FIELD_HAS_DEFAULT;
        if ((has_text || has_number) && kap_field_count(field, message) == 0)
            default_set(field, message);
    }
}
