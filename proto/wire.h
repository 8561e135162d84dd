/* wire.h - messages to bytes and back, in protobuf's encoding, driven by the generated tables.
 *
 * Ownership  decoded text and bytes point into the input; arrays and sub-messages live in the arena. The struct is good
 *            as long as both are.
 * Memory     the arena only. A list is allocated after its length was checked against the table.
 * Limits     nesting KAP_MESSAGE_DEPTH_MAX; from clients also the lengths of lists.
 * Canonical  encode writes fields by ascending number with the shortest integers, repeated numbers packed, and unknown
 *            fields of a row last: equal structs give equal bytes. */
#pragma once

#include "engine/base/arena.h"
#include "engine/base/status.h"
#include "proto/faults.h"
#include "proto/message.h"

enum kap_wire_mode {
    KAP_WIRE_CLIENT = 1, /* a request: what the schema does not know is a fault */
    KAP_WIRE_STORED, /* a row, or a reply of a newer server: rows keep unknown fields, other messages skip them */
};

/* Decodes into out, a struct of msg->size bytes, overwritten.
 *   KAP_DECODE     malformed (KAP_CORRUPT when KAP_WIRE_STORED); out is not to be used. Client mode: the last fault says
 *                  where, with the field as far as it can be told and the offset in bytes
 *   KAP_INVALID    client mode: faults were added (unknown field or enum value, an id that is not 16 bytes, a list that is
 *                  too long, a control character); out holds the rest, so that validation may add its own
 *   KAP_NO_MEMORY  the arena is full
 * faults may be NULL in stored mode. */
KAP_CHECKED kap_status kap_wire_decode(const struct kap_msg *msg, struct kap_bytes bytes, struct kap_arena *arena,
                                       enum kap_wire_mode mode, void *out, struct kap_faults *faults);

/* Size of the encoding; no limit is checked here. */
size_t kap_wire_size(const struct kap_msg *msg, const void *in);
/* Writes exactly kap_wire_size bytes and returns their end. */
uint8_t *kap_wire_encode(const struct kap_msg *msg, const void *in, uint8_t *out);
/* Both in one, into the arena; .data is NULL without memory. */
struct kap_bytes kap_wire_encode_in(const struct kap_msg *msg, const void *in, struct kap_arena *arena);

void kap_wire_clear(const struct kap_msg *msg, void *message);
/* Unsets one field; false when there is none of this number. */
bool kap_wire_clear_field(const struct kap_msg *msg, void *message, uint32_t number);
/* Unsets what only the server sets (Sys too), here and in sub-messages that are not rows themselves. */
void kap_wire_clear_output(const struct kap_msg *msg, void *message);
/* Deep copy: text and bytes too. */
KAP_CHECKED kap_status kap_wire_copy(const struct kap_msg *msg, const void *from, struct kap_arena *arena, void *out);
/* Fields that patch has replace those of base, lists and sub-messages as a whole; unknown fields of base stay. Shallow. */
void kap_wire_merge(const struct kap_msg *msg, void *base, const void *patch);
/* Same fields set, same values, same unknown bytes. */
bool kap_wire_equal(const struct kap_msg *msg, const void *a, const void *b);
