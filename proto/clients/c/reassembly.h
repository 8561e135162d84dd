/* reassembly.h - replies that come in several frames, put together by request id: those of different requests may
 * alternate, and waiting may stop between two frames of one.
 *
 * Memory  the memory given at init, at most bytes_max for everything under way. */
#pragma once

#include "engine/base/buffer.h"
#include "engine/base/status.h"

struct reassembly_part;

struct reassembly {
    struct kap_memory *memory;
    struct reassembly_part *parts; /* under way */
    size_t n_parts, cap_parts;
    size_t bytes, bytes_max;
    struct kap_buffer done; /* the last one that became whole */
};

void reassembly_init(struct reassembly *reassembly, struct kap_memory *memory, size_t bytes_max);
void reassembly_deinit(struct reassembly *reassembly);
void reassembly_clear(struct reassembly *reassembly); /* the connection ended: nothing more will come */

/* One frame of a reply. KAP_OK: it is the last, *whole_out is all of it until the next call. KAP_PENDING: further ones
 * follow. KAP_TOO_LARGE, KAP_NO_MEMORY. */
KAP_CHECKED kap_status reassembly_add(struct reassembly *reassembly, uint64_t request_id, bool more,
                                      struct kap_bytes body, struct kap_bytes *whole_out);
