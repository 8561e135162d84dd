/* btree_builder.h - the levels above the leaves, bottom-up, once the leaves are written.
 *
 * Leaves are noted as they are sealed; finish packs them into nodes, those into nodes, up to one root. */
#pragma once

#include "engine/base/buffer.h"
#include "engine/btree/block_ref.h"
#include "engine/btree/node.h"

struct kap_btree_builder {
    struct kap_buffer children; /* struct builder_child and its separator, end to end */
    uint64_t child_count;
};

struct kap_btree_built {
    struct kap_block_ref root;
    uint64_t inner_count, inner_bytes;
    uint8_t height;
};

void kap_btree_builder_init(struct kap_btree_builder *builder, struct kap_memory *memory);
void kap_btree_builder_deinit(struct kap_btree_builder *builder);
/* The next leaf and what separates it from the one before (ignored for the first). KAP_NO_MEMORY. */
KAP_CHECKED kap_status kap_btree_builder_add(struct kap_btree_builder *builder, const struct kap_block_ref *leaf,
                                             const struct kap_separator *separator);
/* Appends the inner nodes to out, whose first byte will lie at out_offset in the file. At least one leaf was added.
 * KAP_NO_MEMORY. */
KAP_CHECKED kap_status kap_btree_builder_finish(struct kap_btree_builder *builder, uint64_t file_id,
                                                uint64_t out_offset, struct kap_buffer *out,
                                                struct kap_btree_built *built_out);
