/* segment_builder.h - sorted entries in, the bytes of a segment file out. No I/O: the caller writes.
 *
 *   create; add ..; finish; destroy       and between any two of them: output, write it, drained
 *
 * Order   strictly ascending by (key, seq descending), every key begins with its tree number: anything else is a bug
 *         and asserted. Keys up to KAP_KEY_BYTES_MAX, values up to KAP_VALUE_BYTES_MAX.
 * Output  starts at an address aligned to 4096 as long as the caller drains multiples of 4096; the finished file is a
 *         multiple of 4096 long. So it can be written with O_DIRECT in pieces of any multiple.
 * Errors  KAP_NO_MEMORY: the builder is of no more use than to be destroyed; delete the file. */
#pragma once

#include "engine/base/memory.h"
#include "engine/schema/cursor.h"
#include "engine/segment/segment_meta.h"

struct kap_segment_builder;

/* entries_expected sizes the tables; wrong is slower, not worse. */
KAP_CHECKED kap_status kap_segment_builder_create(struct kap_memory *memory, uint64_t file_id,
                                                  uint64_t entries_expected, struct kap_segment_builder **builder_out);
void kap_segment_builder_destroy(struct kap_segment_builder *builder); /* NULL is allowed */

KAP_CHECKED kap_status kap_segment_builder_add(struct kap_segment_builder *builder, const struct kap_entry *entry);
/* Length of the file if it were finished now, without the tail: where to cut. */
uint64_t kap_segment_builder_bytes(const struct kap_segment_builder *builder);
uint64_t kap_segment_builder_entries(const struct kap_segment_builder *builder);

/* Appends the tail; nothing may be added afterwards. The keys of meta are the builder's. */
KAP_CHECKED kap_status kap_segment_builder_finish(struct kap_segment_builder *builder,
                                                  struct kap_segment_meta *meta_out);

/* Bytes of the file not yet drained; valid until the next call on the builder. */
struct kap_bytes kap_segment_builder_output(const struct kap_segment_builder *builder);
/* The first n of them are written. */
void kap_segment_builder_drained(struct kap_segment_builder *builder, size_t n);
