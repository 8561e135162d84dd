/* validate.h - do the fields of a message keep their limits; all faults at once.
 *
 * What cannot be represented (a wrong id length, an unknown field) was already reported by the decoder; this checks
 * meaning: required, ranges, lengths in bytes, list limits, formats, enum values, nil ids. Text is brought into NFC on the
 * way: the struct is changed, the new bytes live in the arena. */
#pragma once

#include "engine/base/arena.h"
#include "engine/base/status.h"
#include "proto/faults.h"
#include "proto/message.h"

enum kap_validate_mode {
    KAP_VALIDATE_REQUEST = 1, /* rows inside may be partly filled: only what is set is checked */
    KAP_VALIDATE_ROW, /* as it will be stored: required fields of the row must be there too */
};

/* above: where the message stands, for the paths of faults (NULL: at the top).
 * KAP_OK; KAP_INVALID when faults were added; KAP_NO_MEMORY. Sys of a row is not looked at. */
KAP_CHECKED kap_status kap_validate(const struct kap_msg *msg, void *message, enum kap_validate_mode mode,
                                    const struct kap_path *above, struct kap_arena *arena, struct kap_faults *faults);

/* Sets fields that are unset and have a default. Defaults of references (a `value` of a ref_item) are for the caller. */
void kap_defaults_apply(const struct kap_msg *msg, void *message);
