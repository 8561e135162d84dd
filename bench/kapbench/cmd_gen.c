#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kapbench/gen.h"
#include "bench/kapbench/kapbench.h"
#include "bench/kapbench/options.h"
#include "proto/clients/c/kap_client.h"

enum { GEN_IN_FLIGHT = 32 };

struct load {
    struct kap_pipe *pipe;
    struct kap_arena arena;
    uint16_t op; /* of what is in flight: the next op waits for all of it, because it refers to it */
    uint64_t sent, existed;
    struct kap_error error;
};

static kap_status reply_take(struct load *load)
{
    struct kap_pipe_reply reply;
    kap_status status = kap_pipe_next(load->pipe, 30000, &reply, &load->error);
    if (status != KAP_OK)
        return status;
    if (reply.status == KAP_ALREADY_EXISTS || reply.status == KAP_UNIQUE) { /* an earlier run of the same seed */
        load->existed++;
        return KAP_OK;
    }
    if (reply.status != KAP_OK)
        kap_client_explain(reply.status, reply.body, &load->error);
    return reply.status;
}

static kap_status drain(struct load *load, uint32_t leave)
{
    kap_status status = KAP_OK;
    while (kap_pipe_in_flight(load->pipe) > leave && status == KAP_OK)
        status = reply_take(load);
    return status;
}

static kap_status request_send(void *context, uint16_t op, const struct kap_msg *msg, const void *request,
                               struct kap_id as_user)
{
    struct load *load = context;
    struct kap_meta meta = {.has_on_behalf_of = !kap_id_is_nil(as_user), .on_behalf_of = as_user};
    kap_status status = drain(load, op == load->op ? GEN_IN_FLIGHT - 1 : 0);
    if (status != KAP_OK)
        return status;
    load->op = op;
    kap_arena_reset(&load->arena);
    struct kap_bytes body = kap_wire_encode_in(msg, request, &load->arena);
    uint64_t id;
    load->sent++;
    status = body.data ? kap_pipe_submit(load->pipe, op, &meta, body, &id, &load->error) : KAP_NO_MEMORY;
    return status == KAP_OK ? kap_pipe_flush(load->pipe, &load->error) : status;
}

int kapbench_gen(int argc, char **argv)
{
    struct kapbench_options options;
    struct kap_memory memory = {0};
    struct kap_client *client;
    struct load load = {0};
    struct kap_gen_counts counts;
    int code = kapbench_options_parse(argc, argv, &options);
    if (code != 0)
        return code;
    struct kap_client_options connect = {.url = options.url, .name = "kapbench"};
    kap_status status = kap_client_open(&connect, &client, &load.error);
    if (status == KAP_OK)
        status = kap_pipe_open(client, &load.pipe, &load.error);
    if (status != KAP_OK) {
        fprintf(stderr, "kapbench: %s\n", load.error.text);
        return 3;
    }
    kap_arena_init(&load.arena, &memory, 64 * 1024, 0);
    status = kap_gen_run(&memory, options.scale, options.seed, request_send, &load, &counts);
    if (status == KAP_OK)
        status = drain(&load, 0);
    kap_pipe_close(load.pipe);
    kap_client_close(client);
    kap_arena_deinit(&load.arena);
    if (status != KAP_OK) {
        fprintf(stderr, "kapbench: request %llu: %s: %s\n", (unsigned long long)load.sent, kap_status_name(status),
                load.error.text);
        return 1;
    }
    printf("seed %llu: %llu reference items, %llu clubs, %llu users, %llu library exercises, %llu sessions with "
           "%llu sequences, %llu exercises, %llu objectives, %llu variations, %llu comments, %llu favourites; %llu "
           "were there already\n",
           (unsigned long long)options.seed, (unsigned long long)counts.ref_items, (unsigned long long)counts.clubs,
           (unsigned long long)counts.users, (unsigned long long)counts.library, (unsigned long long)counts.sessions,
           (unsigned long long)counts.sequences, (unsigned long long)counts.exercises,
           (unsigned long long)counts.objectives, (unsigned long long)counts.variations,
           (unsigned long long)counts.comments, (unsigned long long)counts.favorites, (unsigned long long)load.existed);
    printf("not generated: templates, validations, notifications; cycles and metrics do not exist yet\n");
    return 0;
}
