/* block_source.h - where a cursor gets its blocks from: the cache through a read context, or bytes in memory.
 *
 * Outcome    KAP_OK; KAP_PENDING: not here, the source has noted the ref; KAP_CORRUPT, KAP_IO, KAP_NO_MEMORY: failed
 *            names the block.
 * Ownership  a block stays valid until its source is released (pins belong to the source). */
#pragma once

#include "engine/base/status.h"
#include "engine/segment/block.h"

struct kap_block_source;

struct kap_block_source_ops {
    kap_status (*get)(struct kap_block_source *source, const struct kap_block_ref *ref,
                      const struct kap_block **block_out);
};

struct kap_block_source {
    const struct kap_block_source_ops *ops;
    struct kap_block_ref failed; /* after a fault */
};

static inline KAP_CHECKED kap_status kap_block_source_get(struct kap_block_source *source,
                                                          const struct kap_block_ref *ref,
                                                          const struct kap_block **block_out)
{
    return source->ops->get(source, ref, block_out);
}
