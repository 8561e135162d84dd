/* json.h - messages as JSON: protobuf's mapping with these exceptions, declared by the options of a field.
 *
 *   ids       canonical UUID text          hashes  64 hex digits          other bytes  base64
 *   times     RFC 3339, UTC, microseconds  enums   short lower-case name (operations as "session.save")
 *   names     snake_case as in the .proto; 64-bit integers are strings, as in the mapping
 *   rows and bodies inside a message are shown opened; unknown fields of a row as base64 under "_unknown"
 * One struct gives one text: members stand by field number. For tools: jansson allocates as it likes. */
#pragma once

#include "engine/base/arena.h"
#include "engine/base/buffer.h"
#include "engine/base/status.h"
#include "proto/message.h"

/* indent: spaces per level; 0 = one line without spaces. The arena is for opened rows.
 * KAP_NO_MEMORY when the buffer or the arena cannot grow. */
KAP_CHECKED kap_status kap_json_print(const struct kap_msg *msg, const void *message, unsigned indent,
                                      struct kap_arena *arena, struct kap_buffer *out);

/* Everything in out lives in the arena. null means absent; 64-bit integers may be numbers or strings.
 * KAP_INVALID: error says what, where and, for a misspelt name, what was probably meant. KAP_NO_MEMORY. */
KAP_CHECKED kap_status kap_json_parse(const struct kap_msg *msg, struct kap_bytes text, struct kap_arena *arena,
                                      void *out, struct kap_error *error);
