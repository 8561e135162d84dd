/* trees.h - what the model does with whole sessions and ordered parts: save, put of one part, reorder. */
#pragma once

#include "proto/kap_requests.h"
#include "tests/sim/doing.h"

struct sim_saved {
    struct sim_row *session;
    uint32_t n_told;
    struct sim_told told[DOING_CHANGES_MAX];
    uint32_t minutes; /* of its sequences together */
};
void trees_save(struct doing *d, const struct kap_session_save_request *request, struct sim_saved *saved_out);

/* row_out NULL: refused. message: a sequence, objective, exercise or variation. */
struct sim_row *trees_put_part(struct doing *d, uint8_t kind, const void *message, const uint32_t *clear,
                               size_t n_clear, bool has_rev, uint64_t rev, bool has_tree_rev, uint64_t tree_rev);

void trees_reorder(struct doing *d, const struct kap_part_reorder_request *request, struct sim_saved *saved_out);
uint32_t trees_minutes(const struct model *model, struct kap_id session);
