#include "tests/sim/trees.h"

/* A part of a save request. */
struct item {
    uint8_t kind;
    const void *message;
    struct kap_id id; /* nil until it has one */
    struct sim_row *stored; /* in this tree before; NULL: none */
    struct item *parent; /* NULL: the session */
    const uint32_t *clear;
    size_t n_clear;
};

enum { ITEMS_MAX = 1024 };

struct saving {
    struct doing *d;
    const struct kap_session_save_request *request;
    struct sim_saved *saved;
    struct sim_rows tree; /* as it was */
    struct item items[ITEMS_MAX];
    uint32_t n_items;
    bool is_replace;
};

static void tell(struct sim_saved *saved, const struct sim_row *row, int32_t op)
{
    if (op == 0)
        return;
    saved->told[saved->n_told++] = (struct sim_told){row->kind, row->id, row->rev, op};
}

static struct item *item_add(struct saving *s, uint8_t kind, const void *message, struct item *parent)
{
    struct item *item = &s->items[s->n_items++];
    if (s->n_items == ITEMS_MAX)
        sim_fail("a save of the simulator has too many parts");
    *item = (struct item){.kind = kind, .message = message, .id = message_id(message), .parent = parent};
    for (uint32_t i = 0; i < s->tree.n && !kap_id_is_nil(item->id); i++)
        if (s->tree.at[i]->kind == kind && kap_id_eq(s->tree.at[i]->id, item->id))
            item->stored = s->tree.at[i];
    for (struct item *other = s->items; other < item; other++)
        if (other->kind == kind && !kap_id_is_nil(item->id) && kap_id_eq(other->id, item->id))
            doing_refuse(s->d, KAP_INVALID); /* twice in one request */
    return item;
}

static void items_list(struct saving *s)
{
    const struct kap_session_save_request *request = s->request;
    for (size_t i = 0; i < request->n_objectives; i++)
        item_add(s, KAP_KIND_OBJECTIVE, &request->objectives[i], NULL);
    for (size_t i = 0; i < request->n_sequences; i++) {
        const struct kap_sequence_node *node = &request->sequences[i];
        struct item *sequence = item_add(s, KAP_KIND_SEQUENCE, node->sequence, NULL);
        sequence->clear = node->clear;
        sequence->n_clear = node->n_clear;
        for (size_t k = 0; k < node->n_objectives; k++)
            item_add(s, KAP_KIND_OBJECTIVE, &node->objectives[k], sequence);
        for (size_t k = 0; k < node->n_exercises; k++) {
            const struct kap_exercise_node *below = &node->exercises[k];
            struct item *exercise = item_add(s, KAP_KIND_EXERCISE, below->exercise, sequence);
            exercise->clear = below->clear;
            exercise->n_clear = below->n_clear;
            for (size_t v = 0; v < below->n_variations; v++)
                item_add(s, KAP_KIND_VARIATION, &below->variations[v], exercise);
        }
    }
}

static bool is_mentioned(const struct saving *s, const struct sim_row *row)
{
    for (uint32_t i = 0; i < s->n_items; i++)
        if (s->items[i].stored == row)
            return true;
    return false;
}

/* One place in the new order of a list. */
struct place {
    struct item *item;
    struct sim_row *unmentioned;
};

static bool is_among(const struct sim_rows *rows, const struct sim_row *row)
{
    for (uint32_t i = 0; row && i < rows->n; i++)
        if (rows->at[i] == row)
            return true;
    return false;
}

/* In a merge a stored sibling that the request leaves out keeps its place in the row; those it names change places among
 * themselves so as to stand in the order of the request; what is new to the list stands right behind the one named before
 * it, at the front when it is named first, at the end when it is named alone. */
static uint32_t places_find(const struct saving *s, struct item **named, uint32_t n_named,
                            const struct sim_rows *siblings, struct place *places)
{
    struct item *staying[ITEMS_MAX];
    uint32_t n_staying = 0, n = 0, turn = 0;
    for (uint32_t i = 0; i < n_named; i++)
        if (is_among(siblings, named[i]->stored))
            staying[n_staying++] = named[i];
    for (uint32_t i = 0; i < siblings->n; i++) {
        if (!is_mentioned(s, siblings->at[i]))
            places[n++] = (struct place){.unmentioned = siblings->at[i]};
        else if (turn < n_staying)
            places[n++] = (struct place){.item = staying[turn++]};
    }
    for (uint32_t i = 0; i < n_named; i++) {
        uint32_t at = 0;
        if (is_among(siblings, named[i]->stored))
            continue;
        if (n_named == 1)
            at = n;
        while (i > 0 && places[at++].item != named[i - 1])
            ;
        for (uint32_t k = n++; k > at; k--)
            places[k] = places[k - 1];
        places[at] = (struct place){.item = named[i]};
    }
    return n;
}

static void item_put(struct saving *s, struct item *item, uint32_t position)
{
    struct doing *d = s->d;
    struct kap_arena *arena = d->model->arena;
    uint8_t parent_kind = item->parent ? item->parent->kind : KAP_KIND_SESSION;
    struct kap_id parent = item->parent ? item->parent->id : s->saved->session->id;
    struct sim_fields patch = doing_fields(d, item->kind, item->message);
    uint32_t field = model_parent_field(item->kind);
    int32_t op;
    if (!item->stored && fields_has(&patch, field) && !kap_id_eq(fields_id(&patch, field), parent))
        doing_refuse(d, KAP_INVALID); /* it names another parent */
    patch = fields_with_id(arena, &patch, field, parent);
    if (item->kind == KAP_KIND_OBJECTIVE)
        patch = fields_with_number(arena, &patch, 2, parent_kind);
    patch = fields_with_number(arena, &patch, model_position_field(item->kind), position);
    const struct sim_put put = {.kind = item->kind,
                                .id = item->id,
                                .patch = patch,
                                .clear = item->clear,
                                .n_clear = item->n_clear,
                                .is_trusted = item->stored != NULL || kap_id_is_nil(item->id)};
    struct sim_row *row = doing_put(d, &put, &op);
    if (!row)
        return;
    item->id = row->id;
    tell(s->saved, row, op);
}

static void position_set(struct doing *d, struct sim_row *row, uint32_t position, struct sim_saved *saved)
{
    const struct sim_fields none = {0};
    const struct sim_put put = {
        .kind = row->kind,
        .id = row->id,
        .patch = fields_with_number(d->model->arena, &none, model_position_field(row->kind), position),
        .is_trusted = true};
    int32_t op;
    const struct sim_row *after = doing_put(d, &put, &op);
    if (after)
        tell(saved, after, op);
}

static uint32_t children_max(uint8_t kind)
{
    return kind == KAP_KIND_SEQUENCE || kind == KAP_KIND_EXERCISE ? 64 : 32;
}

static void list_put(struct saving *s, struct item *parent, uint8_t kind)
{
    struct item *named[ITEMS_MAX];
    struct place places[ITEMS_MAX * 2];
    struct sim_rows siblings = {0};
    uint32_t n_named = 0;
    for (uint32_t i = 0; i < s->n_items; i++)
        if (s->items[i].kind == kind && s->items[i].parent == parent)
            named[n_named++] = &s->items[i];
    if (n_named == 0 || doing_refused(s->d))
        return;
    /* As they were before the save: a part that has come here from elsewhere in the tree is new to this list. */
    uint32_t field = model_parent_field(kind);
    struct kap_id parent_id = parent ? parent->id : s->saved->session->id;
    for (uint32_t i = 0; !s->is_replace && i < s->tree.n; i++) {
        struct sim_row *row = s->tree.at[i];
        bool is_child = row->kind == kind && kap_id_eq(fields_id(&row->fields, field), parent_id);
        uint32_t at = siblings.n;
        if (!is_child)
            continue;
        rows_add(s->d->model->arena, &siblings, row); /* in order of position, then id; the tree is in order of id */
        uint32_t order = model_position_field(kind);
        for (; at > 0 && fields_number(&siblings.at[at - 1]->fields, order, 0) > fields_number(&row->fields, order, 0);
             at--)
            siblings.at[at] = siblings.at[at - 1];
        siblings.at[at] = row;
    }
    uint32_t n = n_named;
    if (s->is_replace)
        for (uint32_t i = 0; i < n_named; i++)
            places[i] = (struct place){.item = named[i]};
    else
        n = places_find(s, named, n_named, &siblings, places);
    if (n > children_max(kind))
        doing_refuse(s->d, KAP_TOO_LARGE);
    for (uint32_t i = 0; i < n && !doing_refused(s->d); i++) {
        if (places[i].item)
            item_put(s, places[i].item, i);
        else
            position_set(s->d, places[i].unmentioned, i, s->saved);
    }
}

/* In replace mode what the request does not name goes, and is told even when it goes with what it belonged to. */
static void unmentioned_delete(struct saving *s)
{
    const struct sim_delete delete = {.is_trusted = true};
    for (uint32_t i = 0; s->is_replace && i < s->tree.n && !doing_refused(s->d); i++) {
        struct sim_row *was = s->tree.at[i];
        if (was->kind == KAP_KIND_SESSION || is_mentioned(s, was))
            continue;
        struct sim_row *row = model_find(s->d->model, was->kind, was->id);
        tell(s->saved, was, KAP_CHANGE_OP_DELETE);
        if (row)
            doing_delete(s->d, row, &delete);
    }
}

static void session_put(struct saving *s)
{
    struct doing *d = s->d;
    const struct kap_session_save_request *request = s->request;
    struct sim_put put = {.kind = KAP_KIND_SESSION,
                          .id = message_id(request->session),
                          .patch = doing_fields(d, KAP_KIND_SESSION, request->session),
                          .clear = request->clear,
                          .n_clear = request->n_clear,
                          .has_rev = request->has_expected_rev,
                          .rev = request->expected_rev};
    const struct sim_row *old = model_find(d->model, KAP_KIND_SESSION, put.id);
    int32_t op;
    if (!old && !fields_has(&put.patch, 2) && !kap_id_is_nil(d->who.user))
        put.patch = fields_with_id(d->model->arena, &put.patch, 2, d->who.user);
    if (!old && request->has_expected_tree_rev && request->expected_tree_rev != 0)
        doing_refuse(d, KAP_NOT_FOUND);
    s->saved->session = doing_put(d, &put, &op);
    if (old)
        doing_expect_tree(d, old->id, request->has_expected_tree_rev, request->expected_tree_rev);
    if (s->saved->session)
        tell(s->saved, s->saved->session, op);
}

uint32_t trees_minutes(const struct model *model, struct kap_id session)
{
    uint64_t minutes = 0;
    for (uint32_t i = 0; i < model->kinds[KAP_KIND_SEQUENCE].n; i++)
        if (kap_id_eq(model->kinds[KAP_KIND_SEQUENCE].at[i]->root, session))
            minutes += fields_number(&model->kinds[KAP_KIND_SEQUENCE].at[i]->fields, 10, 0);
    return (uint32_t)minutes;
}

static void save_finish(struct saving *s)
{
    struct sim_saved *saved = s->saved;
    struct sim_row *session = model_find(s->d->model, KAP_KIND_SESSION, saved->session->id);
    bool is_told = saved->n_told > 0 && saved->told[0].kind == KAP_KIND_SESSION;
    if (!is_told && session->commit_seq == s->d->seq)
        tell(saved, session, KAP_CHANGE_OP_UPDATE); /* a draft again */
    saved->session = session;
    saved->minutes = trees_minutes(s->d->model, session->id);
}

void trees_save(struct doing *d, const struct kap_session_save_request *request, struct sim_saved *saved_out)
{
    struct saving *s = sim_alloc(d->model->arena, sizeof *s);
    struct kap_id id = message_id(request->session);
    s->d = d;
    s->request = request;
    s->saved = saved_out;
    s->is_replace = request->has_mode && request->mode == KAP_SAVE_MODE_REPLACE;
    if (!kap_id_is_nil(id) && model_find(d->model, KAP_KIND_SESSION, id))
        s->tree = model_tree(d->model, id);
    session_put(s);
    items_list(s);
    if (doing_refused(d))
        return;
    list_put(s, NULL, KAP_KIND_OBJECTIVE);
    list_put(s, NULL, KAP_KIND_SEQUENCE);
    for (uint32_t i = 0; i < s->n_items; i++) {
        if (s->items[i].kind != KAP_KIND_SEQUENCE)
            continue;
        list_put(s, &s->items[i], KAP_KIND_OBJECTIVE);
        list_put(s, &s->items[i], KAP_KIND_EXERCISE);
    }
    for (uint32_t i = 0; i < s->n_items; i++)
        if (s->items[i].kind == KAP_KIND_EXERCISE)
            list_put(s, &s->items[i], KAP_KIND_VARIATION);
    unmentioned_delete(s);
    if (!doing_refused(d))
        save_finish(s);
}

/* ---- one part */

static uint8_t named_parent(uint8_t kind, const struct sim_fields *fields)
{
    if (!fields_has(fields, model_parent_field(kind)))
        return 0;
    switch (kind) {
    case KAP_KIND_SEQUENCE:
        return KAP_KIND_SESSION;
    case KAP_KIND_EXERCISE:
        return KAP_KIND_SEQUENCE;
    case KAP_KIND_VARIATION:
        return KAP_KIND_EXERCISE;
    default:
        return (uint8_t)fields_number(fields, 2, 0);
    }
}

/* A new part stands behind its siblings unless it says where. */
static void part_place(struct doing *d, struct sim_put *put)
{
    uint8_t parent_kind = named_parent(put->kind, &put->patch);
    struct kap_id parent = fields_id(&put->patch, model_parent_field(put->kind));
    uint32_t field = model_position_field(put->kind);
    if (parent_kind == 0 || !model_find(d->model, parent_kind, parent))
        return;
    struct sim_rows children = model_children(d->model, parent_kind, parent, put->kind);
    if (children.n >= children_max(put->kind))
        doing_refuse(d, KAP_INVALID);
    uint64_t position = children.n ? fields_number(&children.at[children.n - 1]->fields, field, 0) + 1 : 0;
    if (!fields_has(&put->patch, field))
        put->patch = fields_with_number(d->model->arena, &put->patch, field, position);
}

struct sim_row *trees_put_part(struct doing *d, uint8_t kind, const void *message, const uint32_t *clear,
                               size_t n_clear, bool has_rev, uint64_t rev, bool has_tree_rev, uint64_t tree_rev)
{
    struct sim_put put = {.kind = kind,
                          .id = message_id(message),
                          .patch = doing_fields(d, kind, message),
                          .clear = clear,
                          .n_clear = n_clear,
                          .has_rev = has_rev,
                          .rev = rev};
    bool is_curator = who_is(&d->who, KAP_ROLE_CURATOR) || who_is(&d->who, KAP_ROLE_ADMIN);
    int32_t op;
    if (!model_find(d->model, kind, put.id)) {
        part_place(d, &put);
        if (kind == KAP_KIND_EXERCISE && !fields_has(&put.patch, 2) && !fields_has(&put.patch, 34) && !is_curator) {
            put.patch = fields_with_id(d->model->arena, &put.patch, 34, d->who.user);
            if (kap_id_is_nil(d->who.user)) /* a service by itself: nobody's exercise */
                doing_refuse(d, KAP_INVALID);
        }
    }
    struct sim_row *row = doing_put(d, &put, &op);
    if (row)
        doing_expect_tree(d, row->root, has_tree_rev, tree_rev);
    return doing_refused(d) ? NULL : row;
}

/* ---- reorder */

void trees_reorder(struct doing *d, const struct kap_part_reorder_request *request, struct sim_saved *saved_out)
{
    static const uint8_t relations[][2] = {{0, 0},
                                           {KAP_KIND_SESSION, KAP_KIND_SEQUENCE},
                                           {KAP_KIND_SESSION, KAP_KIND_OBJECTIVE},
                                           {KAP_KIND_SEQUENCE, KAP_KIND_EXERCISE},
                                           {KAP_KIND_SEQUENCE, KAP_KIND_OBJECTIVE},
                                           {KAP_KIND_EXERCISE, KAP_KIND_VARIATION}};
    const uint8_t *relation = relations[request->relation];
    struct sim_row *parent = doing_get(d, relation[0], request->parent);
    if (!parent)
        return;
    if (!rules_may_write(d->model, &d->who, parent))
        doing_refuse(d, KAP_FORBIDDEN);
    doing_expect_tree(d, parent->root, request->has_expected_tree_rev, request->expected_tree_rev);
    struct sim_rows children = model_children(d->model, relation[0], parent->id, relation[1]);
    bool is_same = request->n_ids == children.n;
    for (size_t i = 0; i < request->n_ids; i++) {
        const struct sim_row *child = model_find(d->model, relation[1], request->ids[i]);
        is_same &= child && is_among(&children, child);
        for (size_t k = 0; k < i; k++)
            is_same &= !kap_id_eq(request->ids[i], request->ids[k]);
    }
    if (!is_same)
        doing_refuse(d, KAP_INVALID);
    for (uint32_t i = 0; i < request->n_ids && !doing_refused(d); i++)
        position_set(d, model_find(d->model, relation[1], request->ids[i]), i, saved_out);
    saved_out->session = parent;
}
