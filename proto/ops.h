/* ops.h - the request types: number, name, messages, who may send them.
 *
 * The table is generated from the services of proto/kap/requests.proto, ascending by number; static const. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/kap_numbers.h"
#include "proto/message.h"

enum kap_check { /* what is asked beyond the role */
                 KAP_CHECK_NONE_BEFORE_LOGIN = 1,
                 KAP_CHECK_ROLE,
                 KAP_CHECK_ROW_READ,
                 KAP_CHECK_ROW_WRITE,
                 KAP_CHECK_EACH,
};

#define KAP_ROLE_BIT(role) (1u << (role))

struct kap_op_desc {
    uint16_t op; /* enum kap_op */
    uint8_t check; /* enum kap_check */
    uint8_t kind; /* of the row that is asked about first; 0: the request says */
    uint16_t roles; /* KAP_ROLE_BIT of every role that may; the hierarchy is already spread out */
    uint16_t since; /* schema version that brought it */
    bool write;
    bool idempotent; /* safe to repeat without an idempotency key */
    bool stream; /* the reply may be several frames */
    const char *name; /* "session.save" */
    const struct kap_msg *request, *reply;
};

extern const struct kap_op_desc kap_ops[];
extern const size_t kap_n_ops;

const struct kap_op_desc *kap_op_find(uint32_t op); /* or NULL */
const struct kap_op_desc *kap_op_find_named(struct kap_bytes name); /* or NULL */
