#include "engine/base/uuid.h"

#include <openssl/evp.h>

#include "engine/base/assert.h"

static const uint8_t dash_before[16] = {0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1};

void kap_uuid_print(struct kap_id id, char text_out[KAP_UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *at = text_out;
    for (int i = 0; i < 16; i++) {
        if (dash_before[i])
            *at++ = '-';
        *at++ = digits[id.bytes[i] >> 4];
        *at++ = digits[id.bytes[i] & 15];
    }
    *at = 0;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

kap_status kap_uuid_parse(struct kap_bytes text, struct kap_id *id_out)
{
    struct kap_id id;
    size_t at = 0;
    if (text.len != KAP_UUID_TEXT_BYTES - 1)
        return KAP_INVALID;
    for (int i = 0; i < 16; i++) {
        if (dash_before[i] && text.data[at++] != '-')
            return KAP_INVALID;
        int high = hex_digit(text.data[at]);
        int low = hex_digit(text.data[at + 1]);
        if (high < 0 || low < 0)
            return KAP_INVALID;
        id.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    *id_out = id;
    return KAP_OK;
}

static void version_set(struct kap_id *id, int version)
{
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0x0f) | version << 4);
    id->bytes[8] = (uint8_t)((id->bytes[8] & 0x3f) | 0x80);
}

struct kap_id kap_uuid_v7(int64_t unix_us, const uint8_t random[10])
{
    struct kap_id id;
    uint64_t ms = (uint64_t)unix_us / 1000;
    uint32_t fraction = (uint32_t)((uint64_t)unix_us % 1000 * 4096 / 1000);
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.bytes[6] = (uint8_t)(fraction >> 8);
    id.bytes[7] = (uint8_t)fraction;
    memcpy(id.bytes + 8, random, 8);
    version_set(&id, 7);
    return id;
}

struct kap_id kap_uuid_v5(struct kap_id namespace_id, struct kap_bytes name)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *sha1 = EVP_MD_CTX_new();
    KAP_ASSERT(sha1);
    KAP_ASSERT(EVP_DigestInit_ex(sha1, EVP_sha1(), NULL) == 1);
    KAP_ASSERT(EVP_DigestUpdate(sha1, namespace_id.bytes, 16) == 1);
    KAP_ASSERT(EVP_DigestUpdate(sha1, name.data, name.len) == 1);
    KAP_ASSERT(EVP_DigestFinal_ex(sha1, digest, NULL) == 1);
    EVP_MD_CTX_free(sha1);
    struct kap_id id;
    memcpy(id.bytes, digest, 16);
    version_set(&id, 5);
    return id;
}
