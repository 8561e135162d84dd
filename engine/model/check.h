/* check.h - is everything that follows from the rows as the rows say? For tests, the simulator and `kapctl verify`.
 *
 * Scans all rows of a view and derives indexes, counts, unique keys, locator entries and tree heads from them; compares
 * with what is stored, both ways. Takes memory in proportion to the store; not for the reactor. */
#pragma once

#include "engine/base/buffer.h"
#include "engine/model/model.h"

struct kap_model_check_result {
    uint64_t rows, index_entries, counts, uniques, locators, heads;
    uint64_t faults; /* found */
    char first_fault[256]; /* in words; "" when there is none */
};

/* KAP_OK whether or not there were faults; a read that failed otherwise. */
KAP_CHECKED kap_status kap_model_check(struct kap_view *view, const struct kap_schema *schema,
                                       struct kap_memory *memory, struct kap_model_check_result *result_out);
