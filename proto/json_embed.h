/* json_embed.h - which message stands in a field of bytes. Inside proto/. */
#pragma once

#include "proto/message.h"

/* NULL when the field holds plain bytes, or when the sibling that says which message is not set or not known. */
const struct kap_msg *json_embedded(const struct kap_msg *msg, const struct kap_field *field, const void *message);
