/* text.h - what may stand in a text: UTF-8, no control characters, composed form (NFC). */
#pragma once

#include <stdbool.h>

#include "engine/base/arena.h"
#include "engine/base/status.h"

/* Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool kap_text_is_utf8(struct kap_bytes text);
size_t kap_text_utf8_len(struct kap_bytes text); /* of the longest well-formed beginning */
/* Offset of the first control character other than newline and tab (NUL and DEL among them, C1 too), or -1.
 * The text must be UTF-8. */
ptrdiff_t kap_text_control_at(struct kap_bytes text);
/* NFC; the same bytes when they are already composed, else a copy in the arena. The text must be UTF-8.
 * KAP_NO_MEMORY when the arena is full. */
KAP_CHECKED kap_status kap_text_nfc(struct kap_bytes text, struct kap_arena *arena, struct kap_bytes *text_out);
/* One JSON object and nothing else, nested at most 32 deep. */
bool kap_text_is_json_object(struct kap_bytes text);
