/* store_fixture.h - a store on a machine in memory, and a tiny oracle beside it.
 *
 * The oracle maps small keys to values by commit and knows which commits were acknowledged; after a crash the store must
 * equal the oracle at one commit at or above every acknowledged one. */
#pragma once

#include "engine/env/env_losing.h"
#include "engine/store/store.h"

enum { FIXTURE_KEYS = 48, FIXTURE_COMMITS_MAX = 4096 };

struct fixture_write {
    uint8_t key; /* index of the key */
    bool deleted;
    uint32_t value; /* names the value's bytes */
    uint32_t bytes;
};

struct fixture_commit {
    uint64_t seq;
    uint32_t n;
    struct fixture_write writes[6];
};

struct fixture {
    struct kap_env *env;
    struct kap_queue *queue;
    struct kap_store *store;
    struct kap_error error;
    struct kap_store_options options;
    struct fixture_commit commits[FIXTURE_COMMITS_MAX];
    uint32_t n_commits;
    uint64_t acked_seq; /* durable, as the store told us */
    uint32_t snapshot_commits; /* how many there were when a snapshot was acknowledged; 0: none was */
    bool blob_acked;
    uint32_t random;
};

/* Small limits, so that a few commits seal, flush, rotate and compact. env may be a wrapper around a losing one. */
void fixture_init(struct fixture *fixture, struct kap_env *env, uint32_t seed);
KAP_CHECKED kap_status fixture_open(struct fixture *fixture);
void fixture_close(struct fixture *fixture);
uint32_t fixture_draw(struct fixture *fixture, uint32_t below);
/* One commit of a few random writes, waited for until durable. Not KAP_OK: the machine crashed or the operation failed;
 * the commit may or may not have happened. */
KAP_CHECKED kap_status fixture_commit(struct fixture *fixture);
/* Polls until condition(fixture) or failure. */
KAP_CHECKED kap_status fixture_wait(struct fixture *fixture, bool (*condition)(struct fixture *fixture));
KAP_CHECKED kap_status fixture_flush(struct fixture *fixture);
KAP_CHECKED kap_status fixture_compact(struct fixture *fixture);
KAP_CHECKED kap_status fixture_snapshot_delete(struct fixture *fixture, const char *name);
kap_status fixture_snapshot(struct fixture *fixture, const char *name);
/* Reads every key by get and by scan and compares with the oracle at the store's durable state: aborts with a message when
 * acknowledged data is missing or half a commit shows. Commits that did not survive are forgotten. */
void fixture_check(struct fixture *fixture, const char *where);
/* Uploads FIXTURE_BLOB_BYTES, then commits a key that holds the references. */
enum { FIXTURE_BLOB_BYTES = 150000 };
KAP_CHECKED kap_status fixture_blob(struct fixture *fixture);
/* If the key is there the blob is whole; if it was acknowledged it is there. */
void fixture_blob_check(struct fixture *fixture, const char *where);
