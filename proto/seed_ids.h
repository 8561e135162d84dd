/* seed_ids.h - the fixed ids of the rows that every installation has: reference values and the imported library.
 *
 * UUIDv5 in the project's own namespace, so whoever writes such a row first (an import, a generator, an export of another
 * store) gives it the id the others would.
 * Threads  any. */
#pragma once

#include "engine/base/uuid.h"

/* Of the value of a reference list: list is an enum kap_ref_kind, value at most 64 bytes, ends with NUL. */
struct kap_id kap_seed_ref_id(int32_t list, const char *value);
/* Of a row that has a name of its own, such as an imported exercise by its slug. */
struct kap_id kap_seed_id(struct kap_bytes name);
