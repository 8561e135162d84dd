#include "proto/text.h"

#include <utf8proc.h>

#include "engine/base/assert.h"
#include "engine/base/le.h"

#define HIGH_BITS 0x8080808080808080u

/* Length of the well-formed sequence at `at`, 0 when there is none. RFC 3629, table of section 4. */
static size_t sequence_length(const uint8_t *at, const uint8_t *end)
{
    uint8_t lead = at[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (len == 0 || (size_t)(end - at) < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((lead == 0xe0 && at[1] < 0xa0) || (lead == 0xed && at[1] >= 0xa0) || (lead == 0xf0 && at[1] < 0x90) ||
        (lead == 0xf4 && at[1] >= 0x90))
        return 0;
    return len;
}

size_t kap_text_utf8_len(struct kap_bytes text)
{
    const uint8_t *at = text.data, *end = at + text.len;
    while (at < end) {
        if (end - at >= 8 && (kap_le64_load(at) & HIGH_BITS) == 0) {
            at += 8;
            continue;
        }
        size_t len = sequence_length(at, end);
        if (len == 0)
            break;
        at += len;
    }
    return (size_t)(at - text.data);
}

bool kap_text_is_utf8(struct kap_bytes text)
{
    return kap_text_utf8_len(text) == text.len;
}

ptrdiff_t kap_text_control_at(struct kap_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f)
            return (ptrdiff_t)i;
        if (byte == 0xc2 && i + 1 < text.len && text.data[i + 1] < 0xa0)
            return (ptrdiff_t)i;
    }
    return -1;
}

/* Nothing below U+0300 combines or decomposes anew, nor does the part of General Punctuation from U+2010 on: that is all
 * of French, dashes and typographic quotes included, so most texts never reach the tables. */
static bool is_surely_composed(struct kap_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        if (byte < 0xcc)
            continue;
        if (byte == 0xe2 && text.data[i + 1] == 0x80 && text.data[i + 2] >= 0x90) {
            i += 2;
            continue;
        }
        return false;
    }
    return true;
}

kap_status kap_text_nfc(struct kap_bytes text, struct kap_arena *arena, struct kap_bytes *text_out)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    if (is_surely_composed(text)) {
        *text_out = text;
        return KAP_OK;
    }
    utf8proc_ssize_t points = utf8proc_decompose(text.data, (utf8proc_ssize_t)text.len, NULL, 0, options);
    KAP_ASSERT(points >= 0); /* only malformed UTF-8 fails, and that was refused before */
    /* One code point more: reencode writes a final NUL. */
    utf8proc_int32_t *buffer = kap_arena_push(arena, sizeof *buffer * ((size_t)points + 1));
    if (!buffer)
        return KAP_NO_MEMORY;
    points = utf8proc_decompose(text.data, (utf8proc_ssize_t)text.len, buffer, points, options);
    KAP_ASSERT(points >= 0);
    utf8proc_ssize_t len = utf8proc_reencode(buffer, points, options);
    KAP_ASSERT(len >= 0);
    struct kap_bytes composed = kap_bytes(buffer, (size_t)len);
    *text_out = kap_bytes_eq(composed, text) ? text : composed;
    return KAP_OK;
}

/* ---- JSON, only to know that it is; RFC 8259 */

enum { JSON_DEPTH_MAX = 32 };

struct json_scan {
    const uint8_t *at, *end;
    int depth;
};

static bool json_value(struct json_scan *scan);

static void json_space(struct json_scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
        scan->at++;
}

static bool json_take(struct json_scan *scan, char byte)
{
    if (scan->at == scan->end || *scan->at != byte)
        return false;
    scan->at++;
    return true;
}

static bool json_word(struct json_scan *scan, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
        return false;
    scan->at += len;
    return true;
}

static bool json_hex4(struct json_scan *scan)
{
    for (int i = 0; i < 4; i++, scan->at++) {
        if (scan->at == scan->end)
            return false;
        uint8_t c = *scan->at;
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            return false;
    }
    return true;
}

static bool json_string(struct json_scan *scan)
{
    if (!json_take(scan, '"'))
        return false;
    while (scan->at < scan->end) {
        uint8_t c = *scan->at++;
        if (c == '"')
            return true;
        if (c < 0x20)
            return false;
        if (c != '\\')
            continue;
        if (scan->at == scan->end)
            return false;
        c = *scan->at++;
        if (c == 'u' ? !json_hex4(scan) : !strchr("\"\\/bfnrt", c) || c == 0)
            return false;
    }
    return false;
}

static bool json_digits(struct json_scan *scan)
{
    const uint8_t *from = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > from;
}

static bool json_number(struct json_scan *scan)
{
    json_take(scan, '-');
    const uint8_t *from = scan->at;
    if (!json_digits(scan) || (*from == '0' && scan->at - from > 1))
        return false;
    if (json_take(scan, '.') && !json_digits(scan))
        return false;
    if (json_take(scan, 'e') || json_take(scan, 'E')) {
        if (!json_take(scan, '+'))
            json_take(scan, '-');
        return json_digits(scan);
    }
    return true;
}

/* Members of an object or elements of an array, after the opening bracket. */
static bool json_items(struct json_scan *scan, bool object)
{
    char close = object ? '}' : ']';
    if (++scan->depth > JSON_DEPTH_MAX)
        return false;
    json_space(scan);
    if (!json_take(scan, close)) {
        do {
            json_space(scan);
            if (object) {
                if (!json_string(scan))
                    return false;
                json_space(scan);
                if (!json_take(scan, ':'))
                    return false;
            }
            if (!json_value(scan))
                return false;
            json_space(scan);
        } while (json_take(scan, ','));
        if (!json_take(scan, close))
            return false;
    }
    scan->depth--;
    return true;
}

static bool json_value(struct json_scan *scan)
{
    json_space(scan);
    if (scan->at == scan->end)
        return false;
    switch (*scan->at) {
    case '{':
        scan->at++;
        return json_items(scan, true);
    case '[':
        scan->at++;
        return json_items(scan, false);
    case '"':
        return json_string(scan);
    case 't':
        return json_word(scan, "true");
    case 'f':
        return json_word(scan, "false");
    case 'n':
        return json_word(scan, "null");
    default:
        return json_number(scan);
    }
}

bool kap_text_is_json_object(struct kap_bytes text)
{
    struct json_scan scan = {.at = text.data, .end = text.data + text.len};
    json_space(&scan);
    if (scan.at == scan.end || *scan.at != '{' || !json_value(&scan))
        return false;
    json_space(&scan);
    return scan.at == scan.end;
}
