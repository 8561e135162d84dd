/* service_internal.h - what the files of the service share. */
#pragma once

#include "engine/model/listing.h"
#include "server/service.h"

enum { SERVICE_HANDLERS_MAX = 32, SERVICE_DEFERRALS_MAX = 36, SERVICE_DEFERRALS_RESERVED = 4 };

struct kap_deferral {
    struct kap_service *service;
    struct kap_call *call; /* NULL: the client is gone */
    bool in_use;
    bool (*is_done)(struct kap_service *service);
    void *reply;
};

struct service_handler {
    uint16_t op;
    kap_handler handler;
    void *context;
};

/* jobs.c: idle -> due (a commit has begun a job, or the start) -> waits for blocks, for its commit or for room -> due or
 * idle. */
struct service_jobs {
    bool is_due, waits_blocks;
    uint64_t wait_seq; /* of the last step; the next begins when that is durable */
    int64_t not_before_ns; /* after a refusal for want of room; 0: none */
    uint64_t rows; /* done of the job under way */
    struct kap_arena arena;
    struct kap_read_context context;
};

struct kap_service {
    struct kap_store *store;
    struct kap_list blocks, room, commit, held, work, slots; /* calls by what they wait for; held: by rising wait_seq */
    struct service_handler handlers[SERVICE_HANDLERS_MAX];
    uint32_t n_handlers;
    struct kap_deferral deferrals[SERVICE_DEFERRALS_MAX];
    uint8_t cursor_key[KAP_CURSOR_KEY_BYTES];
    int64_t started_us;
    struct service_jobs jobs;
    struct kap_service_stats stats;
};

void service_jobs_init(struct kap_service *service);
void service_jobs_deinit(struct kap_service *service);
void service_jobs_poll(struct kap_service *service);
/* When poll has something to do for them; INT64_MAX: not by time. */
int64_t service_jobs_deadline(const struct kap_service *service);

/* Runs the call from the top; parks, holds or finishes it. */
void service_call_run(struct kap_call *call);
void service_call_park(struct kap_call *call, enum kap_call_state state);
/* Takes it off its list and calls done. */
void service_call_finish(struct kap_call *call);
/* The status and words of a refusal become the reply. run may be NULL. */
void service_reply_error(struct kap_call *call, struct kap_run *run, kap_status status, uint64_t seq);
void service_reply_text(struct kap_call *call, kap_status status, const char *text);
/* Sets commit_seq and encodes. */
kap_status service_reply_encode(struct kap_call *call, const struct kap_op_desc *op, void *reply, uint64_t seq);
/* Decodes and validates a request of an op; faults go to the model. */
kap_status service_request_read(struct kap_run *run, const struct kap_op_desc *op, struct kap_bytes body,
                                void **request_out);
/* Rights, then the handler. */
kap_status service_op_run(struct kap_run *run, const struct kap_op_desc *op, void *request, void *reply);
