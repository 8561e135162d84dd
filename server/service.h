/* service.h - the whole execution of one request, free of sockets: decode, validate, rights, read or commit, reply.
 *
 * The daemon and the simulator drive the same code:
 *
 *   kap_service_start(service, call)      runs it at once; done(call) may be called before this returns
 *   kap_store_pump(store)                 once per round
 *   while ((context = kap_store_next_ready(store)))
 *       kap_service_resume(service, context);
 *   kap_service_poll(service)             after completions: replies whose commit is durable now, calls that wait for
 *                                         room, for a commit or for their deadline
 *
 * Life     start -> running -> waits for blocks   (resume runs it from the top)
 *                           -> waits for room     (poll runs it from the top)
 *                           -> waits for a commit (min_commit_seq; poll runs it from the top)
 *                           -> held until durable (poll finishes it)
 *                           -> finished: done(call), once
 * Replies  every reply of a write, also a refusal, a no-op or a replay, is held until the newest commit it looked at is
 *          durable: no client learns what a crash can take back. Reads see durable commits only.
 * Memory   a call's arena and read context; its reply stays valid until kap_call_reset or kap_call_deinit.
 * Threads  the reactor's, all of it. */
#pragma once

#include "engine/base/list.h"
#include "engine/store/store.h"
#include "proto/kap_requests.h"
#include "server/access.h"
#include "server/dispatch.h"

struct kap_service;
struct kap_call;

enum kap_call_state {
    KAP_CALL_IDLE,
    KAP_CALL_WAITS_BLOCKS,
    KAP_CALL_WAITS_ROOM,
    KAP_CALL_WAITS_COMMIT,
    KAP_CALL_WAITS_SLOT, /* of work that others are doing: kap_service_defer_in_turn */
    KAP_CALL_WAITS_WORK, /* of a handler that called kap_service_defer */
    KAP_CALL_HELD, /* committed or refused, not yet durable */
    KAP_CALL_FINISHED,
};

struct kap_call {
    /* Set by the caller before start; body and meta must stay until done. */
    uint16_t op;
    struct kap_bytes body;
    struct kap_meta meta; /* zeroed: none */
    struct kap_principal principal;
    void (*done)(struct kap_call *call);
    void *owner;

    /* The result, from done on. */
    kap_status status; /* of the reply frame; KAP_OK: reply is the op's reply, else an ErrorReply */
    struct kap_bytes reply; /* encoded */
    uint64_t commit_seq; /* of the write, or of the snapshot read */

    /* The service's. */
    struct kap_service *service;
    struct kap_list link;
    enum kap_call_state state;
    struct kap_arena arena;
    struct kap_read_context context;
    int64_t deadline_ns; /* 0: none */
    uint64_t wait_seq; /* durable_seq to wait for */
    uint32_t runs;
    bool cancelled;
};

/* Arena blocks of 16 KiB, at most arena_cap bytes in all (0: 64 MiB). */
void kap_call_init(struct kap_service *service, struct kap_call *call, size_t arena_cap);
/* After done: forgets reply and pins; the call can be started again. */
void kap_call_reset(struct kap_call *call);
/* Not while it is under way. */
void kap_call_deinit(struct kap_call *call);

/* For kap_store_options: idempotency records that no longer count. Any thread. */
bool kap_service_is_expired(struct kap_bytes key, struct kap_bytes value, int64_t now_us);
/* KAP_NOT_READY: an index of the store is not built yet (reindex.h), and would be read. */
KAP_CHECKED kap_status kap_service_create(struct kap_store *store, struct kap_service **service_out);
/* No call may be under way. */
void kap_service_destroy(struct kap_service *service);
struct kap_store *kap_service_store(struct kap_service *service);

/* Gives or replaces the handler of an operation: the connection's (hello, cancel, ...) and the blob store's. context is
 * kap_service_handler_context(run) there. */
void kap_service_set_handler(struct kap_service *service, uint16_t op, kap_handler handler, void *context);
void *kap_service_handler_context(const struct kap_run *run);

void kap_service_start(struct kap_service *service, struct kap_call *call);
/* context: from kap_store_next_ready. */
void kap_service_resume(struct kap_service *service, struct kap_read_context *context);
/* Returns how many calls it finished. */
uint32_t kap_service_poll(struct kap_service *service);
/* The call finishes with CANCELLED, unless it is past its commit: then with its result. done may be called before this
 * returns; never after kap_service_drop. */
void kap_service_cancel(struct kap_service *service, struct kap_call *call);
/* The client is gone: forgets the call without calling done; what is committed stays committed. */
void kap_service_drop(struct kap_service *service, struct kap_call *call);
/* The earliest deadline of a waiting call as mono_ns; INT64_MAX: none. */
int64_t kap_service_next_deadline(const struct kap_service *service);

/* For a handler whose work goes on after it returns (a snapshot): it takes a deferral, starts the work and returns
 * KAP_PENDING; whoever ends the work calls finish, once, whether or not the client is still there. reply is a struct of the
 * op's reply message. NULL: too many are under way (answer KAP_OVERLOADED). Reads only. */
struct kap_deferral;
struct kap_deferral *kap_service_defer(struct kap_run *run);
/* The same for work that many do at once, like pieces of blobs: some deferrals are kept for others. NULL: the handler returns
 * KAP_PENDING and runs again from the top once there may be one. */
struct kap_deferral *kap_service_defer_in_turn(struct kap_run *run);
void kap_service_finish(struct kap_deferral *deferral, kap_status status, void *reply, const char *message);
/* The work could not be started after all: the handler answers itself. */
void kap_service_undefer(struct kap_run *run, struct kap_deferral *deferral);
/* Calls is_done in every poll until it says true; then the reply is sent. */
void kap_service_finish_when(struct kap_deferral *deferral, bool (*is_done)(struct kap_service *service), void *reply);

struct kap_list_scope;
/* Who lists, with which cursors. */
void kap_service_list_scope(const struct kap_run *run, struct kap_list_scope *scope_out);
int64_t kap_service_started_us(const struct kap_service *service);

struct kap_service_stats {
    uint64_t calls, reads, writes, refused, commits, no_ops, replays, reruns, overloads, job_steps;
    uint32_t waiting; /* now */
};
void kap_service_stats(const struct kap_service *service, struct kap_service_stats *stats_out);
