/* status.h - every result code of kap, and what went wrong in words.
 *
 * Outcomes and faults are a kap_status; our own bugs are assertions (assert.h). Outputs are written on success only. */
#pragma once

#include <stdint.h>

#define KAP_CHECKED __attribute__((warn_unused_result))

typedef enum kap_status {
#define KAP_STATUS(number, name, class, sentence) KAP_##name = number,
#include "engine/base/status.def"
#undef KAP_STATUS
} kap_status;

enum kap_status_class {
    KAP_CLASS_NONE,
    KAP_CLASS_ENGINE,
    KAP_CLASS_PROTOCOL,
    KAP_CLASS_AUTH,
    KAP_CLASS_REQUEST,
    KAP_CLASS_CONFLICT,
    KAP_CLASS_RESOURCE,
    KAP_CLASS_SERVER,
};

/* "NOT_FOUND"; "UNKNOWN" for a number that is not in the list. Static storage. */
const char *kap_status_name(kap_status status);
/* One sentence without a full stop. Static storage. */
const char *kap_status_sentence(kap_status status);
enum kap_status_class kap_status_class(kap_status status);

/* What went wrong, in words: the thing, the limit, what to do. Filled by whoever knows; NULL is allowed wherever one
 * is taken. */
struct kap_error {
    kap_status status;
    char text[480]; /* one sentence or two, no newline */
};

/* Sets status and text (printf rules, cut at the end of the buffer) and returns status. The first call wins, because
 * the lowest layer knows most. error may be NULL. */
kap_status kap_error_set(struct kap_error *error, kap_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
