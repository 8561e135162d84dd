/* json_value.h - the texts inside JSON strings: times, base64, hex. */
#pragma once

#include <stdbool.h>

#include "engine/base/arena.h"
#include "engine/base/buffer.h"

enum { KAP_TIME_TEXT_BYTES = 28 }; /* 2024-09-01T10:00:00.000000Z and the NUL */

/* False when the time is not in the years 1 to 9999. */
bool kap_time_print(int64_t unix_us, char text_out[KAP_TIME_TEXT_BYTES]);
/* RFC 3339 with an offset or Z and up to nine digits of a second, of which six count. */
bool kap_time_parse(struct kap_bytes text, int64_t *unix_us_out);
void kap_base64_print(struct kap_bytes bytes, struct kap_buffer *out);
/* Standard or URL alphabet, with or without padding. .data is NULL when it is not base64 or there is no memory. */
struct kap_bytes kap_base64_parse(struct kap_bytes text, struct kap_arena *arena);
void kap_hex_print(struct kap_bytes bytes, struct kap_buffer *out);
struct kap_bytes kap_hex_parse(struct kap_bytes text, struct kap_arena *arena); /* .data NULL as above */
