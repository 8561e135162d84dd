/* dispatch.h - from the number of an operation to the function that carries it out.
 *
 * A handler is a pure function of (view, request): whatever it returns but KAP_OK undoes its writes, and on KAP_PENDING it
 * runs again from the top when the blocks are there. It fills the reply struct (zeroed); commit_seq, first field of every
 * reply, is set by the service. What it allocates comes from the run's arena. */
#pragma once

#include "engine/model/model.h"
#include "proto/ops.h"
#include "server/access.h"

struct kap_call;
struct kap_service;

struct kap_run {
    struct kap_service *service;
    struct kap_call *call;
    const struct kap_op_desc *op;
    struct kap_arena *arena;
    struct kap_access access;
    struct kap_model model; /* model.txn is NULL for a read */
    const struct kap_meta *meta; /* never NULL */
    bool in_batch;
    bool is_dry; /* what was written is not to be kept */
    bool is_deferred; /* the handler took a deferral */
    bool waits_slot; /* the handler wants one and none is free */
};

typedef kap_status (*kap_handler)(struct kap_run *run, void *request, void *reply);

/* The built-in handler of an operation; NULL: the daemon's own layers give it (kap_service_set_handler). */
kap_handler kap_dispatch_find(uint16_t op);
/* May it stand in a txn.batch? */
bool kap_dispatch_in_batch(uint16_t op);
