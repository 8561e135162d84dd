#include "engine/model/part.h"

#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/model/model_internal.h"

static const struct kap_relation_desc relations[] = {
    {KAP_RELATION_SESSION_SEQUENCES, KAP_KIND_SESSION, KAP_KIND_SEQUENCE, 2, 3, 64},
    {KAP_RELATION_SESSION_OBJECTIVES, KAP_KIND_SESSION, KAP_KIND_OBJECTIVE, 3, 4, 32},
    {KAP_RELATION_SEQUENCE_EXERCISES, KAP_KIND_SEQUENCE, KAP_KIND_EXERCISE, 2, 3, 64},
    {KAP_RELATION_SEQUENCE_OBJECTIVES, KAP_KIND_SEQUENCE, KAP_KIND_OBJECTIVE, 3, 4, 32},
    {KAP_RELATION_EXERCISE_VARIATIONS, KAP_KIND_EXERCISE, KAP_KIND_VARIATION, 2, 3, 32},
    {KAP_RELATION_EXERCISE_CRITERIA, KAP_KIND_EXERCISE, KAP_KIND_SUCCESS_CRITERION, 2, 3, 16},
    {KAP_RELATION_EXERCISE_PROGRESSIONS, KAP_KIND_EXERCISE, KAP_KIND_TECHNICAL_PROGRESSION, 2, 3, 16},
};

const struct kap_relation_desc *kap_relation_find(enum kap_relation relation)
{
    for (size_t i = 0; i < KAP_ARRAY_LEN(relations); i++)
        if (relations[i].relation == relation)
            return &relations[i];
    return NULL;
}

const struct kap_relation_desc *kap_relation_between(uint8_t parent_kind, uint8_t child_kind)
{
    for (size_t i = 0; i < KAP_ARRAY_LEN(relations); i++)
        if (relations[i].parent_kind == parent_kind && relations[i].child_kind == child_kind)
            return &relations[i];
    return NULL;
}

static const struct kap_relation_desc *relation_of_child(uint8_t kind)
{
    for (size_t i = 0; i < KAP_ARRAY_LEN(relations); i++)
        if (relations[i].child_kind == kind)
            return &relations[i];
    return NULL;
}

static void field_set(uint8_t kind, void *message, uint16_t number, const void *value, size_t size)
{
    const struct kap_field *field = kap_message_field(kap_message_of_kind(kind), number);
    KAP_ASSERT(field && !field->repeated && field->item_size == size);
    memcpy((uint8_t *)message + field->value_at, value, size);
    *((bool *)message + field->has_at) = true;
}

void kap_part_set_parent(uint8_t kind, void *message, uint8_t parent_kind, struct kap_id parent)
{
    const struct kap_relation_desc *relation = kap_relation_between(parent_kind, kind);
    KAP_ASSERT(relation);
    field_set(kind, message, relation->parent_field, &parent, sizeof parent);
    if (kind == KAP_KIND_OBJECTIVE)
        field_set(kind, message, 2, &(int32_t){parent_kind}, sizeof(int32_t));
}

void kap_part_set_position(uint8_t kind, void *message, uint32_t position)
{
    const struct kap_relation_desc *relation = relation_of_child(kind);
    KAP_ASSERT(relation);
    field_set(kind, message, relation->position_field, &position, sizeof position);
}

kap_status kap_part_parent(const struct kap_row *row, struct kap_id *parent_out)
{
    const struct kap_relation_desc *relation = relation_of_child(row->kind);
    KAP_ASSERT(relation);
    return model_row_id(row->bytes, relation->parent_field, parent_out);
}

uint32_t kap_part_position(const struct kap_row *row)
{
    const struct kap_relation_desc *relation = relation_of_child(row->kind);
    struct kap_column column;
    KAP_ASSERT(relation);
    if (kap_row_column(row->bytes, relation->position_field, 0, &column) != KAP_OK || !column.present)
        return 0;
    return (uint32_t)column.number;
}

static int position_order(const void *a, const void *b)
{
    const struct kap_row *left = a, *right = b;
    uint32_t x = kap_part_position(left), y = kap_part_position(right);
    return x != y ? (x < y ? -1 : 1) : kap_id_cmp(left->id, right->id);
}

kap_status kap_part_children(struct kap_model *model, const struct kap_relation_desc *relation,
                             const struct kap_rows *tree, struct kap_id parent, struct kap_rows *children_out)
{
    *children_out = (struct kap_rows){0};
    for (uint32_t i = 0; i < tree->n; i++) {
        struct kap_id id;
        if (tree->at[i].kind != relation->child_kind)
            continue;
        kap_status status = kap_part_parent(&tree->at[i], &id);
        if (status == KAP_OK && kap_id_eq(id, parent))
            status = kap_rows_add(children_out, model->arena, &tree->at[i]);
        if (status != KAP_OK)
            return status;
    }
    if (children_out->n > 1)
        qsort(children_out->at, children_out->n, sizeof *children_out->at, position_order);
    return KAP_OK;
}

/* The parent named by a message; kind_out 0: none (an exercise of the library). */
static void parent_named(uint8_t kind, const void *message, uint8_t *kind_out, struct kap_id *id_out)
{
    const struct kap_relation_desc *relation = relation_of_child(kind);
    const struct kap_msg *msg = kap_message_of_kind(kind);
    const struct kap_field *field = kap_message_field(msg, relation->parent_field);
    *kind_out = 0;
    if (kap_field_count(field, message) == 0)
        return;
    *id_out = *(const struct kap_id *)kap_field_item(field, message, 0);
    *kind_out = relation->parent_kind;
    if (kind == KAP_KIND_OBJECTIVE)
        *kind_out = (uint8_t)((const struct kap_objective *)message)->parent_kind;
}

/* A new part goes behind its siblings, unless it says where; there is room for so many. */
static kap_status place_find(struct kap_model *model, const struct kap_put *put)
{
    struct kap_row parent;
    struct kap_rows tree, children;
    struct kap_id parent_id;
    uint8_t parent_kind;
    parent_named(put->kind, put->message, &parent_kind, &parent_id);
    const struct kap_relation_desc *relation = kap_relation_between(parent_kind, put->kind);
    if (!relation)
        return KAP_OK; /* validation and references will tell, or it has no siblings */
    kap_status status = kap_model_find(model, parent_kind, parent_id, &parent);
    if (status != KAP_OK)
        return status == KAP_NOT_FOUND ? KAP_OK : status;
    status = kap_model_tree(model, MODEL_GROUP_GRAPH, parent.root, KAP_TREE_SCAN_MAX, &tree);
    if (status == KAP_OK)
        status = kap_part_children(model, relation, &tree, parent_id, &children);
    if (status != KAP_OK)
        return status;
    struct kap_path here = {put->path, NULL, -1};
    if (children.n >= relation->children_max) {
        kap_faults_add_limit(&model->faults, &here, "too_many", relation->children_max, children.n + 1,
                             "a %s has at most %u rows of kind %s", kap_model_kind_name(model, parent_kind),
                             relation->children_max, kap_model_kind_name(model, put->kind));
        return KAP_INVALID;
    }
    if (tree.n >= KAP_TREE_ROWS_MAX + 2) /* the head and the root are not parts */
        return kap_model_refuse(model, KAP_TOO_LARGE, "a tree has at most %d parts", KAP_TREE_ROWS_MAX);
    const struct kap_field *position = kap_message_field(kap_message_of_kind(put->kind), relation->position_field);
    if (kap_field_count(position, put->message) == 0)
        kap_part_set_position(put->kind, put->message,
                              children.n ? kap_part_position(&children.at[children.n - 1]) + 1 : 0);
    return KAP_OK;
}

kap_status kap_part_put(struct kap_model *model, const struct kap_part_put *part, struct kap_put_reply *reply)
{
    const struct kap_sys *sys = *model_sys_of(part->put.message);
    struct kap_put put = part->put;
    struct kap_put_result result;
    struct kap_row old;
    kap_status status = KAP_NOT_FOUND;
    if (sys && sys->has_id)
        status = kap_model_find(model, put.kind, sys->id, &old);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return status;
    put.is_known = true;
    put.known = status == KAP_OK ? &old : NULL;
    status = put.known ? KAP_OK : place_find(model, &put);
    if (status == KAP_OK)
        status = kap_model_put(model, &put, &result);
    if (status == KAP_OK)
        status = kap_model_expect_tree(model, result.row.root, part->has_expected_tree_rev, part->expected_tree_rev);
    if (status == KAP_OK)
        status = kap_model_tree_rev_after(model, result.row.root, &reply->tree_rev);
    if (status != KAP_OK)
        return status;
    reply->has_tree_rev = reply->tree_rev != 0;
    reply->has_id = true;
    reply->id = result.row.id;
    reply->has_rev = true;
    reply->rev = result.rev;
    reply->has_position = relation_of_child(put.kind) != NULL;
    reply->position = kap_part_position(&result.row);
    return KAP_OK;
}

static int id_order(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct kap_id));
}

/* The ids given are exactly the children, each once. */
static kap_status same_set(struct kap_model *model, const struct kap_part_reorder_request *request,
                           const struct kap_rows *children)
{
    struct kap_path path = {NULL, "ids", -1};
    struct kap_id *given = kap_arena_push(model->arena, (request->n_ids + children->n + 1) * sizeof *given);
    struct kap_id *stored = given ? given + request->n_ids : NULL;
    if (!given)
        return KAP_NO_MEMORY;
    if (request->n_ids)
        memcpy(given, request->ids, request->n_ids * sizeof *given);
    for (uint32_t i = 0; i < children->n; i++)
        stored[i] = children->at[i].id;
    qsort(given, request->n_ids, sizeof *given, id_order);
    qsort(stored, children->n, sizeof *stored, id_order);
    if (request->n_ids == children->n && memcmp(given, stored, children->n * sizeof *given) == 0)
        return KAP_OK;
    kap_faults_add_limit(&model->faults, &path, "not_the_list", children->n, (int64_t)request->n_ids,
                         "name all %u children, each once: nothing may be missing, added or repeated", children->n);
    return KAP_INVALID;
}

static kap_status child_move(struct kap_model *model, const struct kap_row *child, uint32_t position,
                             struct kap_row_change *change, bool *changed_out)
{
    const struct kap_msg *msg = kap_message_of_kind(child->kind);
    void *message = kap_arena_push(model->arena, msg->size);
    struct kap_sys *sys = kap_arena_push(model->arena, sizeof *sys);
    struct kap_put_result result;
    if (!message || !sys)
        return KAP_NO_MEMORY;
    *sys = (struct kap_sys){.has_id = true, .id = child->id};
    *model_sys_of(message) = sys;
    kap_part_set_position(child->kind, message, position);
    const struct kap_put put = {
        .kind = child->kind, .message = message, .is_known = true, .known = child, .is_trusted = true};
    kap_status status = kap_model_put(model, &put, &result);
    if (status != KAP_OK)
        return status;
    *changed_out = result.op != 0;
    *change = (struct kap_row_change){.has_kind = true,
                                      .kind = child->kind,
                                      .has_id = true,
                                      .id = child->id,
                                      .has_rev = true,
                                      .rev = result.rev,
                                      .has_op = true,
                                      .op = (int32_t)result.op};
    return KAP_OK;
}

static const struct kap_row *row_of(const struct kap_rows *rows, struct kap_id id)
{
    for (uint32_t i = 0; i < rows->n; i++)
        if (kap_id_eq(rows->at[i].id, id))
            return &rows->at[i];
    return NULL;
}

static kap_status parent_get(struct kap_model *model, const struct kap_relation_desc *relation, struct kap_id id,
                             struct kap_row *parent_out)
{
    bool may;
    kap_status status = kap_model_get(model, relation->parent_kind, id, parent_out);
    if (status == KAP_OK)
        status = kap_model_may(model, KAP_MAY_WRITE, parent_out, &may);
    if (status == KAP_OK && !may)
        return kap_model_refuse_row(model, KAP_FORBIDDEN, relation->parent_kind, id,
                                    "you may read this %s but not change it",
                                    kap_model_kind_name(model, relation->parent_kind));
    return status;
}

kap_status kap_part_reorder(struct kap_model *model, const struct kap_part_reorder_request *request,
                            struct kap_part_reorder_reply *reply)
{
    const struct kap_relation_desc *relation = kap_relation_find((enum kap_relation)request->relation);
    struct kap_row parent;
    struct kap_rows tree, children;
    KAP_ASSERT(relation); /* validated */
    kap_status status = parent_get(model, relation, request->parent, &parent);
    if (status == KAP_OK)
        status = kap_model_expect_tree(model, parent.root, request->has_expected_tree_rev, request->expected_tree_rev);
    if (status == KAP_OK)
        status = kap_model_tree(model, MODEL_GROUP_GRAPH, parent.root, KAP_TREE_SCAN_MAX, &tree);
    if (status == KAP_OK)
        status = kap_part_children(model, relation, &tree, parent.id, &children);
    if (status == KAP_OK)
        status = same_set(model, request, &children);
    if (status != KAP_OK)
        return status;
    reply->changes = kap_arena_push(model->arena, (request->n_ids + 1) * sizeof *reply->changes);
    if (!reply->changes)
        return KAP_NO_MEMORY;
    for (size_t i = 0; i < request->n_ids && status == KAP_OK; i++) {
        bool changed = false;
        status = child_move(model, row_of(&children, request->ids[i]), (uint32_t)i, &reply->changes[reply->n_changes],
                            &changed);
        reply->n_changes += changed;
    }
    if (status == KAP_OK)
        status = kap_model_tree_rev_after(model, parent.root, &reply->tree_rev);
    reply->has_tree_rev = true;
    return status;
}
