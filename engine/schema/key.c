#include "engine/schema/key.h"

#include <utf8proc.h>

#include "engine/base/le.h"

void kap_key_init(struct kap_key *key, uint16_t tree)
{
    key->len = 0;
    key->failed = false;
    kap_key_put_u16(key, tree);
}

void kap_key_put(struct kap_key *key, const void *data, size_t len)
{
    if (key->failed || len > sizeof key->data - key->len) {
        key->failed = true;
        return;
    }
    if (len)
        memcpy(key->data + key->len, data, len);
    key->len = (uint16_t)(key->len + len);
}

void kap_key_put_u8(struct kap_key *key, uint8_t value)
{
    kap_key_put(key, &value, 1);
}

void kap_key_put_u16(struct kap_key *key, uint16_t value)
{
    uint8_t bytes[2];
    kap_be16_store(bytes, value);
    kap_key_put(key, bytes, sizeof bytes);
}

void kap_key_put_u64(struct kap_key *key, uint64_t value)
{
    uint8_t bytes[8];
    kap_be64_store(bytes, value);
    kap_key_put(key, bytes, sizeof bytes);
}

void kap_key_put_u64_desc(struct kap_key *key, uint64_t value)
{
    kap_key_put_u64(key, ~value);
}

void kap_key_put_id(struct kap_key *key, struct kap_id id)
{
    kap_key_put(key, id.bytes, sizeof id.bytes);
}

static bool ascii_fold(struct kap_bytes text, uint8_t *out)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x80)
            return false;
        out[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
    }
    return true;
}

/* utf8proc writes code points into a caller's buffer and re-encodes them in place: no allocation. A code point takes 4
 * bytes there and folding can triple the count, hence the working room. */
kap_status kap_text_fold(struct kap_bytes text, uint8_t *out, size_t cap, size_t *len_out)
{
    enum { CODEPOINTS_MAX = 1536 };
    utf8proc_int32_t points[CODEPOINTS_MAX];
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD;
    if (text.len <= cap && ascii_fold(text, out)) {
        *len_out = text.len;
        return KAP_OK;
    }
    utf8proc_ssize_t n = utf8proc_decompose(text.data, (utf8proc_ssize_t)text.len, points, CODEPOINTS_MAX, options);
    if (n == UTF8PROC_ERROR_INVALIDUTF8 || n == UTF8PROC_ERROR_NOTASSIGNED)
        return KAP_INVALID;
    if (n < 0 || n >= CODEPOINTS_MAX)
        return KAP_TOO_LARGE;
    utf8proc_ssize_t len = utf8proc_reencode(points, n, options);
    if (len < 0)
        return KAP_INVALID;
    if ((size_t)len > cap)
        return KAP_TOO_LARGE;
    memcpy(out, points, (size_t)len);
    *len_out = (size_t)len;
    return KAP_OK;
}

/* Cutting must not split a code point: step back over continuation bytes. */
static size_t text_cut(const uint8_t *text, size_t len, size_t cut)
{
    if (cut == 0 || len <= cut)
        return len;
    while (cut > 0 && (text[cut] & 0xc0) == 0x80)
        cut--;
    return cut;
}

void kap_key_put_text(struct kap_key *key, struct kap_bytes text, size_t cut_bytes)
{
    uint8_t folded[KAP_KEY_BYTES_MAX];
    size_t len = 0;
    /* Only a prefix of long text can reach a cut key; four bytes of source per folded byte is more than enough. */
    if (cut_bytes)
        text.len = text_cut(text.data, text.len, cut_bytes * 4);
    if (kap_text_fold(text, folded, sizeof folded, &len) != KAP_OK) {
        key->failed = true;
        return;
    }
    kap_key_put(key, folded, text_cut(folded, len, cut_bytes));
    kap_key_put_u8(key, 0);
}

static void number_put(struct kap_key *key, const struct kap_key_part *part, uint64_t value)
{
    if (part->type == KAP_COLUMN_S64)
        value = (value >> 1) ^ (0 - (value & 1));
    if (part->type == KAP_COLUMN_S64 || part->type == KAP_COLUMN_F64LE)
        value ^= UINT64_C(1) << 63;
    kap_key_put_u64(key, value);
}

void kap_key_put_part(struct kap_key *key, const struct kap_key_part *part, const struct kap_column *column,
                      size_t text_cut_bytes)
{
    uint16_t start = key->len;
    switch (part->type) {
    case KAP_COLUMN_ID: {
        struct kap_id id = {{0}};
        if (column->present && column->bytes.len == sizeof id.bytes)
            memcpy(id.bytes, column->bytes.data, sizeof id.bytes);
        kap_key_put_id(key, id);
        break;
    }
    case KAP_COLUMN_TEXT:
        kap_key_put_text(key, column->present ? column->bytes : kap_bytes("", 0), text_cut_bytes);
        break;
    case KAP_COLUMN_BYTES:
        if (column->present)
            kap_key_put(key, column->bytes.data, column->bytes.len);
        break;
    default:
        number_put(key, part, column->present ? column->number : 0);
        break;
    }
    if (part->descending)
        for (uint16_t i = start; i < key->len; i++)
            key->data[i] = (uint8_t)~key->data[i];
}

void kap_key_prefix_end(struct kap_key *key, struct kap_bytes prefix)
{
    key->failed = false;
    key->len = 0;
    kap_key_put(key, prefix.data, prefix.len);
    while (key->len > 0 && key->data[key->len - 1] == 0xff)
        key->len--;
    if (key->len > 0)
        key->data[key->len - 1]++;
}

void kap_key_row_prefix(struct kap_key *key, uint8_t group, struct kap_id root)
{
    kap_key_init(key, KAP_TREE_ROWS);
    kap_key_put_u8(key, group);
    kap_key_put_id(key, root);
}

void kap_key_row(struct kap_key *key, uint8_t group, struct kap_id root, uint8_t kind, struct kap_id id)
{
    kap_key_row_prefix(key, group, root);
    kap_key_put_u8(key, kind);
    kap_key_put_id(key, id);
}

void kap_key_locator(struct kap_key *key, struct kap_id id, uint8_t kind)
{
    kap_key_init(key, KAP_TREE_LOCATOR);
    kap_key_put_id(key, id);
    kap_key_put_u8(key, kind);
}

void kap_key_history(struct kap_key *key, struct kap_id root, uint8_t kind, struct kap_id id, uint64_t commit_seq)
{
    kap_key_init(key, KAP_TREE_HISTORY);
    kap_key_put_id(key, root);
    kap_key_put_u8(key, kind);
    kap_key_put_id(key, id);
    kap_key_put_u64_desc(key, commit_seq);
}

void kap_key_trash(struct kap_key *key, struct kap_id owner, int64_t deleted_at, uint8_t kind, struct kap_id root)
{
    kap_key_init(key, KAP_TREE_TRASH);
    kap_key_put_id(key, owner);
    kap_key_put_u64_desc(key, (uint64_t)deleted_at);
    kap_key_put_u8(key, kind);
    kap_key_put_id(key, root);
}

void kap_key_idempotency(struct kap_key *key, struct kap_id principal, const uint8_t idempotency_key[16])
{
    kap_key_init(key, KAP_TREE_IDEMPOTENCY);
    kap_key_put_id(key, principal);
    kap_key_put(key, idempotency_key, 16);
}
