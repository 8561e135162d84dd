/* node.h - one inner node: check it once, search it in place.
 *
 * Trust  only a payload that kap_node_check accepted may be searched. */
#pragma once

#include "engine/base/bytes.h"
#include "engine/btree/btree_format.h"

struct kap_node {
    const struct node_slot *slots;
    const uint8_t *prefix, *separators;
    uint16_t prefix_bytes, child_count;
    uint8_t level;
};

/* A separator: entries at or after it are right of it. */
struct kap_separator {
    struct kap_bytes key;
    uint64_t seq; /* KAP_SEQ_MAX unless versions of the key lie on both sides */
};

/* Bounds and order of the separators; not where the children lie. The node points into payload. */
bool kap_node_check(struct kap_bytes payload, struct kap_node *node_out);
/* Takes apart a payload that was checked before. */
struct kap_node kap_node_of(const uint8_t *payload);
/* The child where (key, seq) is or would be. */
uint32_t kap_node_search(const struct kap_node *node, struct kap_bytes key, uint64_t seq);
