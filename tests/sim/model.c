#include "tests/sim/model.h"

#include <stdlib.h>

static const uint8_t placeholder_mark[8] = {0xff, 'p', 'l', 'a', 'c', 'e', 0, 0xff};

void model_init(struct model *model, struct kap_arena *arena)
{
    *model = (struct model){.arena = arena};
}

void rows_add(struct kap_arena *arena, struct sim_rows *rows, struct sim_row *row)
{
    if (rows->n == rows->cap) {
        uint32_t cap = rows->cap ? rows->cap * 2 : 16;
        struct sim_row **at = sim_alloc(arena, cap * sizeof(struct sim_row *));
        for (uint32_t i = 0; i < rows->n; i++)
            at[i] = rows->at[i];
        rows->at = at;
        rows->cap = cap;
    }
    rows->at[rows->n++] = row;
}

struct sim_row *model_find(const struct model *model, uint8_t kind, struct kap_id id)
{
    const struct sim_rows *rows = &model->kinds[kind];
    for (uint32_t i = 0; i < rows->n; i++)
        if (kap_id_eq(rows->at[i]->id, id))
            return rows->at[i];
    return NULL;
}

struct sim_row *model_find_any(const struct model *model, struct kap_id id)
{
    for (uint8_t kind = KAP_KIND_SESSION; kind < MODEL_TOMB; kind++) {
        struct sim_row *row = model_find(model, kind, id);
        if (row)
            return row;
    }
    return NULL;
}

struct sim_row *model_find_tomb(const struct model *model, struct kap_id root, uint8_t kind, struct kap_id id)
{
    const struct sim_rows *rows = &model->kinds[MODEL_TOMB];
    for (uint32_t i = 0; i < rows->n; i++)
        if (rows->at[i]->of_kind == kind && kap_id_eq(rows->at[i]->id, id) && kap_id_eq(rows->at[i]->root, root))
            return rows->at[i];
    return NULL;
}

struct sim_row *model_find_key(const struct model *model, struct kap_id account, struct kap_id key)
{
    const struct sim_rows *rows = &model->kinds[MODEL_KEY];
    for (uint32_t i = 0; i < rows->n; i++)
        if (kap_id_eq(rows->at[i]->id, key) && kap_id_eq(rows->at[i]->root, account))
            return rows->at[i];
    return NULL;
}

uint64_t model_tree_rev(const struct model *model, struct kap_id root)
{
    const struct sim_row *head = model_find(model, KAP_KIND_TREE_HEAD, root);
    return head ? head->commit_seq : 0;
}

static void state_set(struct model *model, const struct sim_row *from, struct sim_row *to)
{
    struct sim_rows *rows = &model->kinds[from ? from->kind : to->kind];
    if (!from) {
        rows_add(model->arena, rows, to);
        return;
    }
    for (uint32_t i = 0; i < rows->n; i++) {
        if (rows->at[i] != from)
            continue;
        rows->at[i] = to ? to : rows->at[--rows->n];
        return;
    }
    sim_fail("the model lost a row of its own");
}

void model_change(struct model *model, uint64_t seq, struct sim_row *before, struct sim_row *after)
{
    if (model->n_applied != model->n_log)
        sim_fail("the model changes while it shows the past");
    if (model->n_log == model->cap_log) {
        uint32_t cap = model->cap_log ? model->cap_log * 2 : 1024;
        struct sim_change *log = sim_alloc(model->arena, cap * sizeof *log);
        if (model->n_log)
            memcpy(log, model->log, model->n_log * sizeof *log);
        model->log = log;
        model->cap_log = cap;
    }
    model->log[model->n_log++] = (struct sim_change){seq, before, after};
    model->n_applied = model->n_log;
    state_set(model, before, after);
}

static void step_back(struct model *model)
{
    const struct sim_change *change = &model->log[--model->n_applied];
    state_set(model, change->after, change->before);
}

void model_undo_to(struct model *model, uint32_t n_log)
{
    while (model->n_applied > n_log)
        step_back(model);
    model->n_log = n_log;
}

void model_rewind(struct model *model, uint64_t seq)
{
    while (model->n_applied > 0 && model->log[model->n_applied - 1].seq > seq)
        step_back(model);
}

void model_forward(struct model *model)
{
    while (model->n_applied < model->n_log) {
        const struct sim_change *change = &model->log[model->n_applied++];
        state_set(model, change->before, change->after);
    }
}

void model_truncate(struct model *model, uint64_t seq)
{
    model_rewind(model, seq);
    model->n_log = model->n_applied;
    model->head_seq = seq;
}

struct kap_id model_placeholder(struct model *model)
{
    struct kap_id id;
    uint64_t n = ++model->n_placeholders;
    memcpy(id.bytes, placeholder_mark, 8);
    for (int i = 0; i < 8; i++)
        id.bytes[8 + i] = (uint8_t)(n >> (56 - 8 * i));
    return id;
}

bool model_is_placeholder(struct kap_id id)
{
    return memcmp(id.bytes, placeholder_mark, sizeof placeholder_mark) == 0;
}

static void id_replace(struct kap_id *id, struct kap_id from, struct kap_id to)
{
    if (kap_id_eq(*id, from))
        *id = to;
}

static void row_rename(struct model *model, struct sim_row *row, struct kap_id from, struct kap_id to)
{
    if (!row)
        return;
    id_replace(&row->id, from, to);
    id_replace(&row->root, from, to);
    for (uint16_t i = 0; i < row->fields.n; i++) {
        struct sim_field *field = &row->fields.at[i];
        for (uint16_t k = 0; field->wire == 2 && k < field->n; k++)
            if (field->values[k].bytes.len == sizeof from.bytes && kap_id_eq(value_id(&field->values[k]), from))
                field->values[k].bytes = sim_copy(model->arena, kap_bytes(to.bytes, sizeof to.bytes));
    }
}

void model_rename(struct model *model, uint32_t first, struct kap_id from, struct kap_id to)
{
    for (uint32_t i = first; i < model->n_log; i++) {
        row_rename(model, model->log[i].before, from, to);
        row_rename(model, model->log[i].after, from, to);
    }
}

uint32_t model_parent_field(uint8_t kind)
{
    switch (kind) {
    case KAP_KIND_OBJECTIVE:
        return 3;
    case KAP_KIND_SEQUENCE:
    case KAP_KIND_EXERCISE:
    case KAP_KIND_VARIATION:
    case KAP_KIND_MEMBERSHIP:
    case KAP_KIND_PROFILE:
        return 2;
    default:
        return 0;
    }
}

uint32_t model_position_field(uint8_t kind)
{
    switch (kind) {
    case KAP_KIND_OBJECTIVE:
        return 4;
    case KAP_KIND_SEQUENCE:
    case KAP_KIND_EXERCISE:
    case KAP_KIND_VARIATION:
        return 3;
    default:
        return 0;
    }
}

static int key_order(const void *a, const void *b)
{
    const struct sim_row *left = *(struct sim_row *const *)a, *right = *(struct sim_row *const *)b;
    return left->kind != right->kind ? (int)left->kind - (int)right->kind : kap_id_cmp(left->id, right->id);
}

static int sibling_order(const void *a, const void *b)
{
    const struct sim_row *left = *(struct sim_row *const *)a, *right = *(struct sim_row *const *)b;
    uint32_t field = model_position_field(left->kind);
    uint64_t x = fields_number(&left->fields, field, 0), y = fields_number(&right->fields, field, 0);
    return x != y ? (x < y ? -1 : 1) : kap_id_cmp(left->id, right->id);
}

struct sim_rows model_tree(const struct model *model, struct kap_id root)
{
    struct sim_rows tree = {0};
    for (uint8_t kind = KAP_KIND_SESSION; kind < MODEL_TOMB; kind++)
        for (uint32_t i = 0; i < model->kinds[kind].n; i++)
            if (kap_id_eq(model->kinds[kind].at[i]->root, root))
                rows_add(model->arena, &tree, model->kinds[kind].at[i]);
    if (tree.n > 1)
        qsort(tree.at, tree.n, sizeof(struct sim_row *), key_order);
    return tree;
}

struct sim_rows model_children(const struct model *model, uint8_t parent_kind, struct kap_id parent, uint8_t kind)
{
    struct sim_rows children = {0};
    uint32_t field = model_parent_field(kind);
    for (uint32_t i = 0; i < model->kinds[kind].n; i++) {
        struct sim_row *row = model->kinds[kind].at[i];
        if (!kap_id_eq(fields_id(&row->fields, field), parent))
            continue;
        if (kind == KAP_KIND_OBJECTIVE && fields_number(&row->fields, 2, 0) != parent_kind)
            continue;
        rows_add(model->arena, &children, row);
    }
    if (children.n > 1)
        qsort(children.at, children.n, sizeof(struct sim_row *), sibling_order);
    return children;
}

const char *model_kind_name(uint8_t kind)
{
    const struct kap_msg *msg = kind == MODEL_TOMB ? NULL : kap_message_of_kind(kind);
    return msg ? msg->name : kind == MODEL_TOMB ? "tomb" : kind == MODEL_KEY ? "idempotency key" : "?";
}
