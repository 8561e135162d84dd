#include "tools/kapctl/online.h"

#include <stdlib.h>

#include "proto/json.h"
#include "proto/ops.h"

kap_status online_begin(struct online *online, const struct ctl *ctl, struct kap_error *error)
{
    const struct kap_client_options options = {.url = ctl->url, .name = "kapctl " KAP_VERSION, .pool = 1};
    *online = (struct online){0};
    return kap_client_open(&options, &online->client, error);
}

void online_end(struct online *online)
{
    if (online->client)
        kap_client_close(online->client);
    online->client = NULL;
}

static kap_status reply_convert(const struct kap_op_desc *op, const void *reply, struct kap_arena *arena,
                                json_t **reply_out)
{
    struct kap_buffer text;
    kap_buffer_init(&text, arena->memory);
    kap_status status = kap_json_print(op->reply, reply, 0, arena, &text);
    json_t *made = status == KAP_OK ? json_loadb((const char *)text.data, text.len, 0, NULL) : NULL;
    kap_buffer_deinit(&text);
    if (status == KAP_OK && !made)
        status = KAP_NO_MEMORY;
    if (status == KAP_OK)
        *reply_out = made;
    return status;
}

kap_status online_call(struct online *online, uint16_t op, json_t *request, json_t **reply_out, struct kap_error *error)
{
    const struct kap_op_desc *desc = kap_op_find(op);
    struct kap_arena arena;
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    kap_arena_init(&arena, &online->memory, 64 * 1024, 0);
    void *in = kap_arena_push(&arena, desc->request->size + 1);
    void *out = kap_arena_push(&arena, desc->reply->size + 1);
    kap_status status = text && in && out ? KAP_OK : KAP_NO_MEMORY;
    if (status == KAP_OK)
        status = kap_json_parse(desc->request, kap_bytes_str(text), &arena, in, error);
    if (status == KAP_OK)
        status = kap_client_send(online->client, op, NULL, in, &arena, out, error);
    if (status == KAP_OK)
        status = reply_convert(desc, out, &arena, reply_out);
    kap_arena_deinit(&arena);
    free(text);
    if (status != KAP_OK)
        kap_error_set(error, status, "%s: %s", desc->name, kap_status_sentence(status));
    return status;
}
