/* check.h - one answer of the server against the model.
 *
 * A write is carried out on the model's head when the server has carried it out: in order of the commits it looked at. A
 * read is compared with the state of its own commit_seq. */
#pragma once

#include "proto/kap_requests.h"
#include "tests/sim/trees.h"

struct sim_request {
    uint16_t op;
    struct kap_bytes body;
    struct kap_meta meta;
    struct sim_who who; /* of the connection */
    struct sim_page *page; /* of a list: where it stands */
    char text[96]; /* for events */
};

struct sim_answer {
    kap_status status;
    struct kap_bytes reply;
    uint64_t commit_seq;
    uint64_t looked_at; /* head when it ran; 0: refused before it ran */
    int64_t wall_us; /* when it ran */
};

void check_write(struct model *model, const struct sim_request *request, const struct sim_answer *answer);
void check_read(struct model *model, const struct sim_request *request, const struct sim_answer *answer);

/* ---- for the files that check single operations */

/* Decodes into the model's arena; fails when the server sent what is no message. */
void *check_decode(struct model *model, const struct kap_msg *msg, struct kap_bytes bytes);
/* Who the request is for; false: it may not act for that account. */
bool check_who(const struct model *model, const struct sim_request *request, struct sim_who *who_out);
void check_number(const char *what, uint64_t want, bool has, uint64_t found);
/* A stored row as it was sent; an id that the server chose is learnt. */
void check_row(struct model *model, struct sim_row *row, struct kap_bytes bytes);
/* The same for a row that came as a struct; hidden fields are not expected, whatever the row says. */
void check_message(struct model *model, struct sim_row *row, const void *message, const uint8_t *shown);
/* The id the server gave: learnt when it is new, else it must be that of the row. doing: the one that made the row; NULL: it
 * is older. */
void check_id(struct model *model, struct doing *doing, const struct sim_row *row, bool has, struct kap_id id);

/* check_list.c. reply NULL: refused. */
void check_session_list(struct doing *d, const struct sim_request *asked,
                        const struct kap_session_list_request *request, const struct kap_session_list_reply *reply);
/* Is the request whole and within limits, whatever is stored? */
bool check_fits(struct doing *d, uint16_t op, const void *request);
/* One write, also inside a batch. reply NULL: the server refused; then only the verdicts matter. */
void check_carry_out(struct doing *d, uint16_t op, const void *request, const void *reply);
