#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "proto/json.h"
#include "proto/ops.h"
#include "proto/wire.h"
#include "tools/kap/kap.h"

kap_status kap_read_all(const char *path, struct kap_buffer *out, struct kap_error *error)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    size_t got = 1;
    if (!file)
        return kap_error_set(error, KAP_INVALID, "cannot read %s (%s)", path, strerrorname_np(errno));
    while (got > 0 && kap_buffer_reserve(out, 64 * 1024)) {
        got = fread(out->data + out->len, 1, out->cap - out->len, file);
        out->len += got;
    }
    bool failed = ferror(file) != 0;
    if (file != stdin)
        fclose(file);
    if (failed || out->failed)
        return kap_error_set(error, KAP_INVALID, "cannot read all of %s", path);
    return KAP_OK;
}

static kap_status call_run(struct kap_tool *tool, const struct kap_op_desc *op, struct kap_bytes json, unsigned indent,
                           struct kap_arena *arena, struct kap_buffer *reply, struct kap_buffer *out,
                           struct kap_error *error)
{
    void *request = kap_arena_push(arena, op->request->size + 1);
    bool from_server = false;
    if (!request)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a request");
    kap_status status = kap_json_parse(op->request, json, arena, request, error);
    struct kap_bytes body = status == KAP_OK ? kap_wire_encode_in(op->request, request, arena) : kap_bytes(NULL, 0);
    if (status == KAP_OK && !body.data)
        status = kap_error_set(error, KAP_NO_MEMORY, "no memory for a request");
    if (status != KAP_OK)
        return status;
    status = kap_client_call(tool->client, op->op, &tool->meta, body, reply, &from_server, error);
    if (status != KAP_OK && !from_server)
        return status;
    const struct kap_msg *msg = status == KAP_OK ? op->reply : &kap_error_reply_msg;
    void *answer = kap_arena_push(arena, msg->size + 1);
    if (!answer)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for a reply");
    if (kap_wire_decode(msg, kap_buffer_bytes(reply), arena, KAP_WIRE_STORED, answer, NULL) != KAP_OK)
        return status != KAP_OK ? status : kap_error_set(error, KAP_DECODE, "the reply cannot be read");
    if (status != KAP_OK)
        kap_refusal_print(status, answer, out);
    else if (kap_json_print(msg, answer, indent, arena, out) != KAP_OK)
        status = kap_error_set(error, KAP_NO_MEMORY, "no memory for a reply");
    return status;
}

kap_status kap_json_call(struct kap_tool *tool, const char *op_name, struct kap_bytes json, unsigned indent,
                         struct kap_buffer *out, struct kap_error *error)
{
    const struct kap_op_desc *op = kap_op_find_named(kap_bytes_str(op_name));
    struct kap_arena arena;
    struct kap_buffer reply;
    kap_buffer_clear(out);
    if (!op)
        return kap_op_refuse(op_name, error);
    if (op->stream)
        return kap_error_set(error, KAP_INVALID, "%s answers in a stream; use kap blob get", op_name);
    kap_arena_init(&arena, &tool->memory, 64 * 1024, 0);
    kap_buffer_init(&reply, &tool->memory);
    kap_status status = call_run(tool, op, json, indent, &arena, &reply, out, error);
    kap_buffer_deinit(&reply);
    kap_arena_deinit(&arena);
    return status;
}

int kap_ops_main(struct kap_tool *tool, int argc, char **argv)
{
    (void)tool;
    (void)argv;
    if (argc != 1)
        return kap_tool_usage("ops takes no arguments");
    for (size_t i = 0; i < kap_n_ops; i++)
        printf("%-20s %s%s\n", kap_ops[i].name, kap_ops[i].write ? "writes" : "reads",
               kap_ops[i].stream ? ", answers in a stream" : "");
    return 0;
}

static int call_options(struct kap_tool *tool, int argc, char **argv)
{
    static const struct option options[] = {
        {"as", required_argument, NULL, 'a'}, {"idempotency-key", required_argument, NULL, 'i'}, {0}};
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (letter == '?' || !kap_tool_meta(tool, letter, optarg))
            return KAP_EXIT_USAGE;
    return argc - optind >= 1 && argc - optind <= 2
               ? 0
               : kap_tool_usage("call OP [JSON | -], for example: kap call session.get '{\"id\": \"...\"}'");
}

int kap_call_main(struct kap_tool *tool, int argc, char **argv)
{
    struct kap_error error = {0};
    struct kap_buffer text, out;
    kap_status status = KAP_OK;
    int code = call_options(tool, argc, argv);
    if (code != 0)
        return code;
    const char *op = argv[optind], *json = argc - optind == 2 ? argv[optind + 1] : "{}";
    kap_buffer_init(&text, &tool->memory);
    kap_buffer_init(&out, &tool->memory);
    if (strcmp(json, "-") == 0)
        status = kap_read_all("-", &text, &error);
    else
        kap_buffer_append(&text, json, strlen(json));
    if (status == KAP_OK)
        status = kap_json_call(tool, op, kap_buffer_bytes(&text), 2, &out, &error);
    if (status == KAP_OK) {
        kap_buffer_append_u8(&out, '\n');
        bool written = fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
        status = written ? KAP_OK : kap_error_set(&error, KAP_NO_SPACE, "cannot write the reply");
        code = status == KAP_OK ? 0 : kap_tool_fail(status, &error);
    } else if (out.len > 0) {
        fprintf(stderr, "kap: %.*s\n", (int)out.len, (const char *)out.data);
        code = kap_exit_of(status);
    } else {
        code = kap_tool_fail(status, &error);
        code = status == KAP_INVALID || status == KAP_UNKNOWN_OP ? KAP_EXIT_USAGE : code;
    }
    kap_buffer_deinit(&text);
    kap_buffer_deinit(&out);
    return code;
}
