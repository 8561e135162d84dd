/* reindex.h - builds the relation indexes that a store made by an earlier kapd does not have yet.
 *
 *   catalogue: building -> old entries and counts wiped -> rows walked, entries and counts of these indexes written, some
 *   rows a commit -> all of it durable -> catalogue: public
 *
 * An index that is not public is never read: this runs between opening a store and serving it. Cut short, it begins again
 * with the next start; nothing else is touched meanwhile.
 *
 * Waits    on its own I/O, before the reactor's loop begins.
 * Errors   as the store's; the catalogue then still says building. */
#pragma once

#include "engine/store/store.h"

/* n_out: how many indexes were built. */
KAP_CHECKED kap_status kap_reindex(struct kap_store *store, uint32_t *n_out, struct kap_error *error);
