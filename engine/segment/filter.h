/* filter.h - blocked Bloom filter: one cache line per question.
 *
 * Items are added as hashes (kap_hash) in any order and duplicated at will; built in one go because the size follows
 * from the number of items. */
#pragma once

#include "engine/base/buffer.h"

struct kap_filter {
    const uint8_t *lines;
    uint32_t line_count;
};

/* Appends the stored filter to out (see out->failed). */
void kap_filter_build(const uint64_t *hashes, size_t count, struct kap_buffer *out);
/* false: not a filter. Points into stored. */
bool kap_filter_open(struct kap_bytes stored, struct kap_filter *filter_out);
/* false: not among the items. */
bool kap_filter_may_contain(const struct kap_filter *filter, uint64_t hash);
