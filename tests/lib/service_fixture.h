/* service_fixture.h - a store and a service on a machine in memory, and calls that wait for their answer. */
#pragma once

#include "engine/env/env_losing.h"
#include "proto/kap_schema.h"
#include "server/service.h"

struct service_fixture {
    struct kap_env *env;
    struct kap_queue *queue;
    struct kap_store *store;
    struct kap_service *service;
    struct kap_call call; /* the last one */
    bool is_done;
    struct kap_arena arena; /* of what the test builds and decodes */
    struct kap_principal admin;
    const struct kap_schema *schema; /* of the store; NULL: all of it */
    uint32_t n_built; /* indexes, when it was opened last */
};

void service_fixture_open(struct service_fixture *fixture, uint64_t seed);
void service_fixture_open_as(struct service_fixture *fixture, uint64_t seed, const struct kap_schema *schema);
/* close checks first (kap_model_check). */
void service_fixture_check(struct service_fixture *fixture);
void service_fixture_close(struct service_fixture *fixture);
/* Closes and opens the store again, with nothing cached. */
void service_fixture_reopen(struct service_fixture *fixture);
/* Encodes request, runs the op until it is answered, decodes the reply into reply_out (a struct of the op's reply; may be
 * NULL) or, when refused, into error_out (may be NULL). */
kap_status service_call(struct service_fixture *fixture, struct kap_principal who, uint16_t op, const void *request,
                        void *reply_out, struct kap_error_reply *error_out);
/* The same with meta and a body of any bytes. */
kap_status service_call_raw(struct service_fixture *fixture, struct kap_principal who, uint16_t op,
                            const struct kap_meta *meta, struct kap_bytes body, void *reply_out,
                            struct kap_error_reply *error_out);

/* An account; its principal. */
struct kap_principal fixture_user(struct service_fixture *fixture, const char *email, enum kap_role role);
struct kap_id fixture_ref(struct service_fixture *fixture, enum kap_ref_kind list, const char *value);
/* A complete session request: n_sequences with n_exercises each, and an objective. sport and level must exist. */
struct kap_session_save_request *fixture_session(struct service_fixture *fixture, struct kap_id sport,
                                                 struct kap_id level, const char *title, uint32_t n_sequences,
                                                 uint32_t n_exercises);
