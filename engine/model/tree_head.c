/* The head of a tree: tree_rev, how many parts it has, how long its sequences are together. Changes are summed up while a
 * transaction runs and written once at its end, so that a save of a whole tree touches the head once. */
#include "engine/base/assert.h"
#include "engine/model/model_internal.h"

int model_counted_slot(uint8_t kind)
{
    switch (kind) {
    case KAP_KIND_OBJECTIVE:
        return 0;
    case KAP_KIND_SEQUENCE:
        return 1;
    case KAP_KIND_EXERCISE:
        return 2;
    case KAP_KIND_VARIATION:
        return 3;
    case KAP_KIND_SUCCESS_CRITERION:
        return 4;
    case KAP_KIND_TECHNICAL_PROGRESSION:
        return 5;
    default:
        return -1;
    }
}

void model_head_counter(struct kap_tree_head *head, int slot, bool **has_out, uint32_t **value_out)
{
    bool *const has[MODEL_COUNTED_KINDS] = {&head->has_n_objectives, &head->has_n_sequences, &head->has_n_exercises,
                                            &head->has_n_variations, &head->has_n_criteria,  &head->has_n_progressions};
    uint32_t *const value[MODEL_COUNTED_KINDS] = {&head->n_objectives, &head->n_sequences, &head->n_exercises,
                                                  &head->n_variations, &head->n_criteria,  &head->n_progressions};
    *has_out = has[slot];
    *value_out = value[slot];
}

/* Roots that rows of the graph belong to; others, like a tag, would carry a head for nothing. */
bool model_kind_has_head(const struct kap_schema *schema, uint8_t kind)
{
    const struct kap_kind_desc *desc = kap_schema_kind(schema, kind);
    if (!desc || desc->group != MODEL_GROUP_GRAPH || desc->root_rule == KAP_ROOT_FIELD)
        return false;
    for (uint16_t i = 0; i < schema->n_kinds; i++) {
        const struct kap_kind_desc *part = kap_schema_kind(schema, (uint8_t)i);
        if (part && part->group == MODEL_GROUP_GRAPH && part->root_rule != KAP_ROOT_SELF &&
            (part->root_target[0] == kind || part->root_target[1] == kind))
            return true;
    }
    return false;
}

kap_status model_tree_change(struct kap_model *model, struct kap_id root, struct kap_tree_change **change_out)
{
    for (struct kap_tree_change *change = model->trees; change; change = change->next) {
        if (kap_id_eq(change->root, root)) {
            *change_out = change;
            return KAP_OK;
        }
    }
    struct kap_tree_change *change = kap_arena_push(model->arena, sizeof *change);
    if (!change)
        return KAP_NO_MEMORY;
    change->root = root;
    change->next = model->trees;
    model->trees = change;
    *change_out = change;
    return KAP_OK;
}

static kap_status minutes_of(const struct kap_bytes *row, int64_t *minutes_out)
{
    struct kap_column column;
    *minutes_out = 0;
    if (!row)
        return KAP_OK;
    kap_status status = kap_row_column(*row, 10, 0, &column); /* sequence.duration */
    if (status == KAP_OK && column.present)
        *minutes_out = (int64_t)column.number;
    return status;
}

kap_status model_tree_touch(struct kap_model *model, uint8_t kind, struct kap_id root, struct kap_id id,
                            const struct kap_bytes *before, const struct kap_bytes *after)
{
    struct kap_tree_change *change;
    int64_t had = 0, has = 0;
    bool is_root = model_is_root(model->schema, kind, root, id);
    if (kind == KAP_KIND_TREE_HEAD || (is_root && !model_kind_has_head(model->schema, kind)))
        return KAP_OK;
    kap_status status = model_tree_change(model, root, &change);
    if (status != KAP_OK)
        return status;
    change->is_changed = true;
    if (is_root) {
        change->root_kind = kind;
        change->is_deleted = !after;
        return KAP_OK;
    }
    int slot = model_counted_slot(kind);
    if (slot >= 0)
        change->rows[slot] += (after != NULL) - (before != NULL);
    if (kind == KAP_KIND_SEQUENCE) {
        status = minutes_of(before, &had);
        if (status == KAP_OK)
            status = minutes_of(after, &has);
        change->minutes += has - had;
    }
    if (status == KAP_OK && !change->is_checked && !change->is_deleted)
        status = model_state_edit(model, root);
    return status;
}

kap_status model_head_find(struct kap_model *model, struct kap_id root, struct kap_bytes *bytes_out)
{
    struct kap_key key;
    kap_key_row(&key, MODEL_GROUP_GRAPH, root, KAP_KIND_TREE_HEAD, root);
    return kap_view_get(model->view, kap_key_bytes(&key), bytes_out);
}

kap_status kap_model_tree_rev(struct kap_model *model, struct kap_id root, uint64_t *rev_out)
{
    struct kap_bytes bytes;
    struct kap_column column;
    *rev_out = 0;
    kap_status status = model_head_find(model, root, &bytes);
    if (status == KAP_NOT_FOUND)
        return KAP_OK;
    if (status == KAP_OK)
        status = kap_row_column(bytes, 2, 0, &column);
    if (status == KAP_OK)
        *rev_out = column.number;
    return status;
}

kap_status kap_model_expect_tree(struct kap_model *model, struct kap_id root, bool has_expected, uint64_t expected)
{
    uint64_t current;
    if (!has_expected)
        return KAP_OK;
    kap_status status = kap_model_tree_rev(model, root, &current);
    if (status != KAP_OK || current == expected)
        return status;
    model->error.has_current_tree_rev = true;
    model->error.current_tree_rev = current;
    model->error.has_hint = true;
    model->error.hint = kap_bytes_str("read the tree again and apply the change to what it says now");
    return kap_model_refuse(model, KAP_REV_CONFLICT,
                            "the tree was changed by someone else: its tree_rev is %llu, not %llu",
                            (unsigned long long)current, (unsigned long long)expected);
}

kap_status kap_model_tree_rev_after(struct kap_model *model, struct kap_id root, uint64_t *rev_out)
{
    for (struct kap_tree_change *change = model->trees; change; change = change->next) {
        if (kap_id_eq(change->root, root) && change->is_changed) {
            *rev_out = model->txn->commit_seq;
            return KAP_OK;
        }
    }
    return kap_model_tree_rev(model, root, rev_out);
}

static kap_status sum_apply(struct kap_model *model, bool *has, uint32_t *value, int64_t delta)
{
    int64_t sum = (int64_t)(*has ? *value : 0) + delta;
    if (sum < 0 || sum > UINT32_MAX)
        return kap_model_refuse(model, KAP_CORRUPT, "the head of a tree counts fewer rows than there are");
    *has = true;
    *value = (uint32_t)sum;
    return KAP_OK;
}

static kap_status head_fill(struct kap_model *model, const struct kap_tree_change *change, struct kap_tree_head *head)
{
    kap_status status = KAP_OK;
    for (int slot = 0; slot < MODEL_COUNTED_KINDS && status == KAP_OK; slot++) {
        uint32_t *value;
        bool *has;
        model_head_counter(head, slot, &has, &value);
        status = sum_apply(model, has, value, change->rows[slot]);
    }
    if (status == KAP_OK)
        status = sum_apply(model, &head->has_sequence_minutes, &head->sequence_minutes, change->minutes);
    head->has_tree_rev = true;
    head->tree_rev = model->txn->commit_seq;
    return status;
}

static kap_status head_write(struct kap_model *model, const struct kap_tree_change *change)
{
    struct kap_sys_view sys = {.id = change->root, .created_at = model->now_us, .created_by = model->actor};
    struct kap_tree_head *head = NULL;
    struct kap_bytes bytes;
    struct kap_key key;
    void *message = NULL;
    kap_key_row(&key, MODEL_GROUP_GRAPH, change->root, KAP_KIND_TREE_HEAD, change->root);
    kap_status status = model_head_find(model, change->root, &bytes);
    if (change->is_deleted)
        return status == KAP_OK          ? kap_txn_delete(model->txn, kap_key_bytes(&key))
               : status == KAP_NOT_FOUND ? KAP_OK
                                         : status;
    if (status == KAP_OK) {
        status = kap_row_sys(bytes, &sys);
        if (status == KAP_OK)
            status = kap_model_decode(model, KAP_KIND_TREE_HEAD, bytes, &message);
        head = message;
    } else if (status == KAP_NOT_FOUND) {
        struct kap_row root;
        head = kap_arena_push(model->arena, sizeof *head);
        status = head ? kap_model_root_row(model, change->root, &root) : KAP_NO_MEMORY;
        if (status == KAP_OK) {
            head->has_root_kind = true;
            head->root_kind = root.kind;
        }
    }
    if (status == KAP_OK)
        status = head_fill(model, change, head);
    sys.rev++;
    sys.updated_at = model->now_us;
    sys.updated_by = model->actor;
    sys.commit_seq = model->txn->commit_seq;
    if (status == KAP_OK)
        status = model_row_encode(model, KAP_KIND_TREE_HEAD, head, &sys, &bytes);
    return status == KAP_OK ? kap_txn_put(model->txn, kap_key_bytes(&key), bytes) : status;
}

kap_status kap_model_finish(struct kap_model *model)
{
    for (struct kap_tree_change *change = model->trees; change; change = change->next) {
        kap_status status = change->is_changed ? head_write(model, change) : KAP_OK;
        if (status != KAP_OK)
            return status;
    }
    model->trees = NULL;
    return KAP_OK;
}
