/* uuid.h - UUID text, version 7 (time-ordered) and version 5 (named). RFC 9562. */
#pragma once

#include "engine/base/bytes.h"
#include "engine/base/status.h"

enum { KAP_UUID_TEXT_BYTES = 37 }; /* 36 characters and the NUL */

/* Lower-case canonical text with its NUL. */
void kap_uuid_print(struct kap_id id, char text_out[KAP_UUID_TEXT_BYTES]);
/* The 36-character canonical form, either case. KAP_INVALID otherwise. */
KAP_CHECKED kap_status kap_uuid_parse(struct kap_bytes text, struct kap_id *id_out);
/* unix_us: microseconds since 1970; the sub-millisecond part goes into rand_a, so ids of one process sort by time.
 * random: 10 bytes of entropy. */
struct kap_id kap_uuid_v7(int64_t unix_us, const uint8_t random[10]);
/* SHA-1 is what the RFC asks for; it names things and protects nothing. */
struct kap_id kap_uuid_v5(struct kap_id namespace_id, struct kap_bytes name);
