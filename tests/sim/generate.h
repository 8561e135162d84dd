/* generate.h - requests, made up when they are sent, from what the model knows then: clients that have read the state a
 * moment ago, or a while ago, or got it wrong.
 *
 * Few ids and few names, so that requests get in each other's way. */
#pragma once

#include "tests/sim/world.h"

struct generator *generator_create(struct world *world);
/* Accounts, clubs and reference values, sent one by one. */
void generator_setup(struct world *world);
/* The next request of some client. */
struct sim_request *generator_next(struct world *world);
/* The answer to a request is known. */
void generator_saw(struct world *world, const struct sim_request *request, const struct sim_answer *answer);

/* ---- shared by the files of the generator */

enum { GENERATOR_IDS = 10, GENERATOR_PAGES_MAX = 24, GENERATOR_SENT_MAX = 64 };

struct sim_page { /* a list that is read page by page */
    uint16_t op;
    struct sim_who who;
    const void *request; /* of the op, without its page */
    struct kap_bytes cursor;
    uint32_t incarnation; /* of the cursor */
    bool has_last;
    struct kap_id last; /* of the last entry given */
    int64_t last_time; /* its place in a list ordered by time */
    struct kap_meta meta; /* of its first page: whose cursor it is */
};

struct generator {
    struct world *world;
    uint64_t serial; /* makes texts differ */
    struct kap_id ids[MODEL_KINDS][GENERATOR_IDS]; /* the few that clients choose from */
    struct sim_page *pages[GENERATOR_PAGES_MAX]; /* lists that go on */
    uint32_t n_pages;
    struct sim_request *sent[GENERATOR_SENT_MAX]; /* with a key, to be sent again */
    uint32_t n_sent;
    uint32_t n_snapshots;
    bool is_under_way; /* the world is set up */
};

uint32_t draw(struct generator *g, uint32_t below);
bool chance(struct generator *g, uint32_t percent);
void *make(struct generator *g, size_t bytes);
struct kap_bytes make_text(struct generator *g, const char *what, uint32_t bytes_max);
struct kap_id make_id(struct generator *g);
struct sim_row *pick_row(struct generator *g, uint8_t kind); /* NULL: none */
struct kap_id pick_id(struct generator *g, uint8_t kind); /* mostly of a row that is there */
struct kap_id pick_ref(struct generator *g, enum kap_ref_kind list); /* an item of the list, now and then another */
struct kap_sys *make_sys(struct generator *g, struct kap_id id);
struct kap_sys *make_sys_new(struct generator *g,
                             uint8_t kind); /* of a row to be made: NULL, a fresh id or one of few */
struct sim_who pick_who(struct generator *g);
struct sim_who who_may_write(struct generator *g, const struct sim_row *row); /* mostly one who may */
/* Encodes; meta is drawn. */
struct sim_request *make_request(struct generator *g, uint16_t op, struct sim_who who, const void *request,
                                 const char *format, ...) __attribute__((format(printf, 5, 6)));

void fill_session(struct generator *g, struct kap_session *session, bool is_whole);
void fill_sequence(struct generator *g, struct kap_sequence *sequence, bool is_whole);
void fill_exercise(struct generator *g, struct kap_exercise *exercise, bool is_whole);
void fill_variation(struct generator *g, struct kap_variation *variation, bool is_whole);
void fill_objective(struct generator *g, struct kap_objective *objective, bool is_whole);

struct sim_request *generate_save(struct generator *g);
struct sim_request *generate_part(struct generator *g);
struct sim_request *generate_reorder(struct generator *g);
struct sim_request *generate_people(struct generator *g);
struct sim_request *generate_ref(struct generator *g);
struct sim_request *generate_delete(struct generator *g);
struct sim_request *generate_read(struct generator *g);
struct sim_request *generate_list(struct generator *g);
struct sim_request *generate_snapshot(struct generator *g); /* or NULL */
