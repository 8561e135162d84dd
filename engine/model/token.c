#include "engine/model/token.h"

#include <openssl/evp.h>

#include "engine/base/assert.h"
#include "engine/index/index.h"
#include "engine/model/model_internal.h"
#include "proto/kap_schema.h"

static const char token_prefix[] = "kap_";

static kap_status hash_of(struct kap_bytes text, uint8_t hash_out[32])
{
    unsigned int len = 0;
    if (EVP_Digest(text.data, text.len, hash_out, &len, EVP_sha256(), NULL) != 1)
        return KAP_NO_MEMORY; /* the only way a one-shot digest fails */
    KAP_ASSERT(len == 32);
    return KAP_OK;
}

static void text_make(const uint8_t random[32], char text_out[KAP_TOKEN_TEXT_BYTES])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t at = sizeof token_prefix - 1;
    memcpy(text_out, token_prefix, at);
    uint32_t bits = 0, n_bits = 0;
    for (size_t i = 0; i < 32; i++) {
        bits = bits << 8 | random[i];
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            text_out[at++] = letters[bits >> (n_bits - 6) & 63];
    }
    text_out[at++] = letters[bits << (6 - n_bits) & 63];
    KAP_ASSERT(at == KAP_TOKEN_TEXT_BYTES);
}

kap_status kap_token_create(struct kap_model *model, const struct kap_token_create_request *request,
                            struct kap_token_create_reply *reply)
{
    uint8_t random[32], hash[32];
    struct kap_put_result result;
    char *text = kap_arena_push(model->arena, KAP_TOKEN_TEXT_BYTES);
    if (!text)
        return KAP_NO_MEMORY;
    kap_env_random(model->env, random, sizeof random);
    text_make(random, text);
    kap_status status = hash_of(kap_bytes(text, KAP_TOKEN_TEXT_BYTES), hash);
    if (status != KAP_OK)
        return status;
    struct kap_auth_token token = {.has_name = true,
                                   .name = request->name,
                                   .has_hash = true,
                                   .hash = kap_bytes(hash, sizeof hash),
                                   .has_kind = true,
                                   .kind = KAP_TOKEN_KIND_API,
                                   .has_role = true,
                                   .role = request->role,
                                   .has_user = request->has_user,
                                   .user = request->user,
                                   .has_expires_at = request->has_expires_at,
                                   .expires_at = request->expires_at};
    const struct kap_put put = {.kind = KAP_KIND_AUTH_TOKEN, .message = &token, .is_trusted = true};
    status = kap_model_put(model, &put, &result);
    if (status != KAP_OK)
        return status;
    reply->has_id = true;
    reply->id = result.row.id;
    reply->has_token = true;
    reply->token = kap_bytes(text, KAP_TOKEN_TEXT_BYTES);
    return KAP_OK;
}

kap_status kap_token_find(struct kap_view *view, struct kap_arena *arena, struct kap_bytes token,
                          struct kap_auth_token *row_out)
{
    struct kap_model model;
    struct kap_row row;
    struct kap_id id;
    uint8_t hash[32];
    void *message;
    if (token.len != KAP_TOKEN_TEXT_BYTES || memcmp(token.data, token_prefix, sizeof token_prefix - 1) != 0)
        return KAP_NOT_FOUND;
    kap_status status = hash_of(token, hash);
    if (status != KAP_OK)
        return status;
    kap_model_init(&model, &kap_schema, view, NULL, arena, NULL, (struct kap_id){{0}}, 0);
    const struct kap_unique_value value = {.bytes = kap_bytes(hash, sizeof hash)};
    status = kap_model_find_unique(&model, KAP_UNIQUE_TOKEN_HASH, &value, &id);
    if (status == KAP_OK)
        status = kap_model_find(&model, KAP_KIND_AUTH_TOKEN, id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(&model, KAP_KIND_AUTH_TOKEN, row.bytes, &message);
    if (status == KAP_OK)
        *row_out = *(struct kap_auth_token *)message;
    return status;
}
