/* job.h - work that goes on after the commit that asked for it, KAP_JOB_STEP_ROWS rows a commit.
 *
 * A job is a record in a tree of its own, written in the commit that begins it; every step is one commit, and what a step
 * has done is not there for the next, so a crash at any point goes on from there and no row is done twice.
 *
 *   cascade   a row was deleted, and more belongs to it than one commit takes: comments, favourites. From the commit of the
 *             delete on none of that is there for readers: while such a job is under way, a row is only there when what it
 *             belongs to is. The steps put the rows into history and drop their index entries, and begin a further job
 *             for what in turn belongs to them.
 *
 * Threads  the one that executes requests. Errors  as model.h. */
#pragma once

#include "engine/model/model.h"

enum { KAP_JOB_STEP_ROWS = 500 };

struct kap_job_step {
    int32_t job; /* enum kap_job; 0: there is nothing to do */
    uint8_t kind;
    struct kap_id id;
    uint32_t rows; /* done by this step */
    bool is_done; /* it was the job's last */
};

/* Begins one, in the transaction of what makes it needed; the one there is already stands for both. */
KAP_CHECKED kap_status kap_job_begin(struct kap_model *model, enum kap_job job, uint8_t kind, struct kap_id id);
/* One step of the first job there is, in a transaction of its own; commit it unless job is 0. Works with the rows that are
 * stored, whether readers see them or not. */
KAP_CHECKED kap_status kap_job_step(struct kap_model *model, struct kap_job_step *step_out);
/* Jobs that are not done. */
KAP_CHECKED kap_status kap_jobs_count(struct kap_model *model, uint64_t *count_out);
