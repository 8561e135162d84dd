/* part.h - the ordered relations of a tree: who the children of a row are, in which order, and how many there may be. */
#pragma once

#include "engine/model/model.h"

struct kap_relation_desc {
    enum kap_relation relation;
    uint8_t parent_kind, child_kind;
    uint16_t parent_field; /* of the child */
    uint16_t position_field;
    uint16_t children_max;
};
const struct kap_relation_desc *kap_relation_find(enum kap_relation relation); /* or NULL */
/* The relation of a child to a parent of this kind; NULL: none. */
const struct kap_relation_desc *kap_relation_between(uint8_t parent_kind, uint8_t child_kind);

/* Children of a row among the rows of its tree, by position. */
KAP_CHECKED kap_status kap_part_children(struct kap_model *model, const struct kap_relation_desc *relation,
                                         const struct kap_rows *tree, struct kap_id parent,
                                         struct kap_rows *children_out);
/* One part of a tree, at the end of its siblings when it is new and names no position. */
struct kap_part_put {
    struct kap_put put;
    bool has_expected_tree_rev;
    uint64_t expected_tree_rev;
};
KAP_CHECKED kap_status kap_part_put(struct kap_model *model, const struct kap_part_put *part,
                                    struct kap_put_reply *reply);
KAP_CHECKED kap_status kap_part_reorder(struct kap_model *model, const struct kap_part_reorder_request *request,
                                        struct kap_part_reorder_reply *reply);

/* Sets fields of a row's struct by number. */
void kap_part_set_parent(uint8_t kind, void *message, uint8_t parent_kind, struct kap_id parent);
void kap_part_set_position(uint8_t kind, void *message, uint32_t position);
KAP_CHECKED kap_status kap_part_parent(const struct kap_row *row, struct kap_id *parent_out);
uint32_t kap_part_position(const struct kap_row *row);
