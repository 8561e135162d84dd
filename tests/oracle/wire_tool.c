/* wire_tool - our codec behind standard input, for the oracle tests: any message by name.
 *
 * Request:  u32 length of the rest, u8 verb, u8 length of the name, name, payload.
 * Verbs:    c decode as a client's, s decode as stored (both answer the re-encoding), j stored bytes to JSON, p JSON to
 *           bytes.
 * Reply:    u32 length of the rest, u16 kap_status, bytes (or, after a fault, its path and code). */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/le.h"
#include "proto/json.h"
#include "proto/wire.h"

static struct kap_memory memory;

static bool read_exactly(void *to, size_t len)
{
    return fread(to, 1, len, stdin) == len;
}

static void reply_write(kap_status status, struct kap_bytes bytes)
{
    uint8_t head[6];
    kap_le32_store(head, (uint32_t)(bytes.len + 2));
    kap_le16_store(head + 4, (uint16_t)status);
    fwrite(head, 1, sizeof head, stdout);
    if (bytes.len > 0)
        fwrite(bytes.data, 1, bytes.len, stdout);
    fflush(stdout);
}

static void decode_answer(const struct kap_msg *msg, struct kap_bytes payload, enum kap_wire_mode mode,
                          struct kap_arena *arena)
{
    struct kap_faults faults;
    void *message = kap_arena_push(arena, msg->size), *copy = kap_arena_push(arena, msg->size);
    kap_faults_init(&faults, arena);
    kap_status status = kap_wire_decode(msg, payload, arena, mode, message, &faults);
    if (status == KAP_INVALID) {
        char *text = kap_arena_printf(arena, "%s %s", faults.at[0].path, faults.at[0].code);
        reply_write(status, kap_bytes_str(text));
        return;
    }
    if (status != KAP_OK) {
        reply_write(status, kap_bytes(NULL, 0));
        return;
    }
    /* What goes back has been copied too, so that the oracle judges the copy as well. */
    if (kap_wire_copy(msg, message, arena, copy) != KAP_OK || !kap_wire_equal(msg, message, copy))
        abort();
    reply_write(status, kap_wire_encode_in(msg, copy, arena));
}

static void print_answer(const struct kap_msg *msg, struct kap_bytes payload, struct kap_arena *arena)
{
    struct kap_buffer out;
    void *message = kap_arena_push(arena, msg->size);
    kap_buffer_init(&out, &memory);
    kap_status status = kap_wire_decode(msg, payload, arena, KAP_WIRE_STORED, message, NULL);
    if (status == KAP_OK)
        status = kap_json_print(msg, message, 0, arena, &out);
    reply_write(status, kap_buffer_bytes(&out));
    kap_buffer_deinit(&out);
}

static void parse_answer(const struct kap_msg *msg, struct kap_bytes payload, struct kap_arena *arena)
{
    struct kap_error error = {0};
    void *message = kap_arena_push(arena, msg->size);
    kap_status status = kap_json_parse(msg, payload, arena, message, &error);
    reply_write(status, status == KAP_OK ? kap_wire_encode_in(msg, message, arena) : kap_bytes_str(error.text));
}

int main(void)
{
    uint8_t head[4];
    struct kap_arena arena;
    kap_arena_init(&arena, &memory, 1 << 20, 0);
    while (read_exactly(head, 4)) {
        size_t len = kap_le32_load(head);
        uint8_t *request = malloc(len); /* of just this size: a sanitizer sees a read past the end */
        if (!request || len < 2 || !read_exactly(request, len))
            return 1;
        const struct kap_msg *msg = kap_message_find(kap_bytes(request + 2, request[1]));
        struct kap_bytes payload = kap_bytes(request + 2 + request[1], len - 2 - request[1]);
        if (!msg)
            return 1;
        if (request[0] == 'j')
            print_answer(msg, payload, &arena);
        else if (request[0] == 'p')
            parse_answer(msg, payload, &arena);
        else
            decode_answer(msg, payload, request[0] == 'c' ? KAP_WIRE_CLIENT : KAP_WIRE_STORED, &arena);
        free(request);
        kap_arena_reset(&arena);
    }
    kap_arena_deinit(&arena);
    return 0;
}
