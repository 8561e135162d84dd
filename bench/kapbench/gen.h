/* gen.h - a made-up platform: clubs, coaches, an exercise library and a season of sessions, from one seed.
 *
 * Distributions are those of the model's description (sizes log-normal, Zipf choices, Pareto clubs); kinds that do not
 * exist yet are left out and said so. Requests come in an order in which every reference is already there.
 * Threads  one at a time. The same seed and scale give the same requests, ids included. */
#pragma once

#include "bench/kapbench/grammar.h"
#include "proto/kap_requests.h"
#include "proto/wire.h"

enum kap_gen_scale {
    KAP_GEN_TINY, /* 3 clubs, 60 users, 600 sessions */
    KAP_GEN_SMALL, /* 40 clubs, 1 k users, 20 k sessions */
};

struct kap_gen_counts {
    uint64_t ref_items, clubs, users, library, sessions, sequences, exercises, objectives, variations, comments,
        favorites;
};

/* One request, valid during the call. as_user: nil for the administrator, else whom it is made on behalf of.
 * Not KAP_OK: the generator stops and returns it. */
typedef kap_status (*kap_gen_emit)(void *context, uint16_t op, const struct kap_msg *msg, const void *request,
                                   struct kap_id as_user);

KAP_CHECKED kap_status kap_gen_run(struct kap_memory *memory, enum kap_gen_scale scale, uint64_t seed,
                                   kap_gen_emit emit, void *context, struct kap_gen_counts *counts_out);
/* The ids of the generated users and sessions without generating: what a benchmark reads. n < counts. */
struct kap_id kap_gen_user_id(uint64_t seed, uint64_t n);
struct kap_id kap_gen_session_id(uint64_t seed, uint64_t n);
struct kap_id kap_gen_session_owner(enum kap_gen_scale scale, uint64_t seed, uint64_t n);
/* Every generated session has at least KAP_GEN_SEQUENCES_MIN; slot counts from 0. */
enum { KAP_GEN_SEQUENCES_MIN = 3 };
struct kap_id kap_gen_sequence_id(struct kap_id session, uint32_t slot);
uint64_t kap_gen_sessions(enum kap_gen_scale scale);
uint64_t kap_gen_users(enum kap_gen_scale scale);
/* A comment with new words; who writes it is whom the request is made on behalf of. */
void kap_gen_comment(struct kap_draw *draw, struct kap_arena *arena, struct kap_id session,
                     struct kap_comment_put_request *request_out);
/* What a new session of this owner looks like: a tree of 4 sequences and 3 exercises each, for save workloads. */
void kap_gen_session(struct kap_draw *draw, struct kap_arena *arena, struct kap_id id, struct kap_id owner,
                     uint32_t n_sequences, uint32_t n_exercises, struct kap_session_save_request *request_out);
