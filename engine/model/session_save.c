/* Saving a session as one tree.
 *
 *   load the tree -> put the session -> list the parts of the request, each with its stored row -> positions, list by
 *   list -> put them, parents first -> in replace mode delete what was not mentioned
 *
 * Puts come before deletes, so that an exercise which moves out of a sequence that goes is not taken along. */
#include "engine/base/assert.h"
#include "engine/model/model_internal.h"
#include "engine/model/part.h"
#include "engine/model/session.h"

struct item {
    uint8_t kind;
    void *message;
    struct kap_id id; /* nil: the server makes one when it is written */
    const struct kap_row *stored; /* in this tree; NULL: new here */
    const struct kap_path *path;
    const uint32_t *clear;
    size_t n_clear;
    struct item *parent; /* NULL: the session */
};

struct saving {
    struct kap_model *model;
    const struct kap_session_save_request *request;
    struct kap_session_save_reply *reply;
    bool is_replace;
    struct kap_rows tree;
    struct kap_row session; /* as written */
    struct item *items;
    uint32_t n_items, cap_items;
    size_t cap_changes;
};

static const struct kap_path *path_make(struct saving *s, const struct kap_path *up, const char *name, size_t slot)
{
    struct kap_path *path = kap_arena_push(s->model->arena, sizeof *path);
    if (path)
        *path = (struct kap_path){up, name, slot == SIZE_MAX ? -1 : (int64_t)slot};
    return path; /* without memory a fault is told without its place */
}

static const struct kap_row *stored_find(const struct saving *s, uint8_t kind, struct kap_id id)
{
    for (uint32_t i = 0; i < s->tree.n; i++)
        if (s->tree.at[i].kind == kind && kap_id_eq(s->tree.at[i].id, id))
            return &s->tree.at[i];
    return NULL;
}

static struct kap_id id_given(void *message)
{
    const struct kap_sys *sys = *model_sys_of(message);
    return sys && sys->has_id ? sys->id : (struct kap_id){{0}};
}

static struct item *item_add(struct saving *s, uint8_t kind, void *message, struct item *parent,
                             const struct kap_path *path)
{
    struct item *item = &s->items[s->n_items++];
    KAP_ASSERT(s->n_items <= s->cap_items);
    *item = (struct item){.kind = kind, .message = message, .id = id_given(message), .parent = parent, .path = path};
    if (kap_id_is_nil(item->id))
        return item;
    for (struct item *other = s->items; other < item; other++)
        if (other->kind == kind && kap_id_eq(other->id, item->id))
            kap_faults_add(&s->model->faults, path, "repeated", "this id stands twice in the request");
    item->stored = stored_find(s, kind, item->id);
    return item;
}

static size_t items_count(const struct kap_session_save_request *request)
{
    size_t n = request->n_objectives + request->n_sequences;
    for (size_t i = 0; i < request->n_sequences; i++) {
        const struct kap_sequence_node *node = &request->sequences[i];
        n += node->n_objectives + node->n_exercises;
        for (size_t j = 0; j < node->n_exercises; j++)
            n += node->exercises[j].n_variations + node->exercises[j].n_criteria + node->exercises[j].n_progressions;
    }
    return n;
}

static void sequence_list(struct saving *s, size_t slot)
{
    struct kap_sequence_node *node = &s->request->sequences[slot];
    const struct kap_path *path = path_make(s, NULL, "sequences", slot);
    struct item *sequence =
        item_add(s, KAP_KIND_SEQUENCE, node->sequence, NULL, path_make(s, path, "sequence", SIZE_MAX));
    sequence->clear = node->clear;
    sequence->n_clear = node->n_clear;
    for (size_t i = 0; i < node->n_objectives; i++)
        item_add(s, KAP_KIND_OBJECTIVE, &node->objectives[i], sequence, path_make(s, path, "objectives", i));
    for (size_t i = 0; i < node->n_exercises; i++) {
        struct kap_exercise_node *inner = &node->exercises[i];
        const struct kap_path *below = path_make(s, path, "exercises", i);
        struct item *exercise =
            item_add(s, KAP_KIND_EXERCISE, inner->exercise, sequence, path_make(s, below, "exercise", SIZE_MAX));
        exercise->clear = inner->clear;
        exercise->n_clear = inner->n_clear;
        for (size_t j = 0; j < inner->n_variations; j++)
            item_add(s, KAP_KIND_VARIATION, &inner->variations[j], exercise, path_make(s, below, "variations", j));
        for (size_t j = 0; j < inner->n_criteria; j++)
            item_add(s, KAP_KIND_SUCCESS_CRITERION, &inner->criteria[j], exercise, path_make(s, below, "criteria", j));
        for (size_t j = 0; j < inner->n_progressions; j++)
            item_add(s, KAP_KIND_TECHNICAL_PROGRESSION, &inner->progressions[j], exercise,
                     path_make(s, below, "progressions", j));
    }
}

static kap_status items_list(struct saving *s)
{
    size_t n = items_count(s->request);
    uint32_t unmentioned = 0;
    s->cap_items = (uint32_t)n;
    s->items = kap_arena_push(s->model->arena, (n + 1) * sizeof *s->items);
    if (!s->items)
        return KAP_NO_MEMORY;
    for (size_t i = 0; n <= KAP_TREE_ROWS_MAX && i < s->request->n_objectives; i++)
        item_add(s, KAP_KIND_OBJECTIVE, &s->request->objectives[i], NULL, path_make(s, NULL, "objectives", i));
    for (size_t i = 0; n <= KAP_TREE_ROWS_MAX && i < s->request->n_sequences; i++)
        sequence_list(s, i);
    if (s->model->faults.n_total > 0) /* an id that stands twice would be counted twice below */
        return KAP_INVALID;
    for (uint32_t i = 0; !s->is_replace && i < s->tree.n; i++)
        unmentioned += s->tree.at[i].kind != KAP_KIND_TREE_HEAD && s->tree.at[i].kind != KAP_KIND_SESSION;
    for (uint32_t i = 0; !s->is_replace && i < s->n_items; i++)
        unmentioned -= s->items[i].stored != NULL;
    if (n + unmentioned > KAP_TREE_ROWS_MAX) {
        struct kap_path here = {NULL, "sequences", -1};
        kap_faults_add_limit(&s->model->faults, &here, "too_many", KAP_TREE_ROWS_MAX, (int64_t)(n + unmentioned),
                             "a session has at most %d parts, this one would have %zu", KAP_TREE_ROWS_MAX,
                             n + unmentioned);
        return kap_model_refuse(s->model, KAP_TOO_LARGE, "a session has at most %d parts, this one would have %zu",
                                KAP_TREE_ROWS_MAX, n + unmentioned);
    }
    return KAP_OK;
}

static kap_status change_add(struct saving *s, uint8_t kind, struct kap_id id, uint64_t rev, enum kap_change_op op)
{
    if (op == 0)
        return KAP_OK;
    KAP_ASSERT(s->reply->n_changes < s->cap_changes);
    s->reply->changes[s->reply->n_changes++] = (struct kap_row_change){.has_kind = true,
                                                                       .kind = kind,
                                                                       .has_id = true,
                                                                       .id = id,
                                                                       .has_rev = true,
                                                                       .rev = rev,
                                                                       .has_op = true,
                                                                       .op = (int32_t)op};
    return KAP_OK;
}

static kap_status session_put(struct saving *s)
{
    struct kap_session *session = s->request->session;
    struct kap_id id = id_given(session);
    const struct kap_row *stored = kap_id_is_nil(id) ? NULL : stored_find(s, KAP_KIND_SESSION, id);
    struct kap_path path = {NULL, "session", -1};
    struct kap_put_result result;
    if (!stored && !session->has_owner && !kap_id_is_nil(s->model->actor)) {
        session->has_owner = true;
        session->owner = s->model->actor;
    }
    const struct kap_put put = {.kind = KAP_KIND_SESSION,
                                .message = session,
                                .clear = s->request->clear,
                                .n_clear = s->request->n_clear,
                                .has_expected_rev = s->request->has_expected_rev,
                                .expected_rev = s->request->expected_rev,
                                .path = &path,
                                .is_known = true,
                                .known = stored};
    if (!stored && s->request->has_expected_tree_rev && s->request->expected_tree_rev != 0)
        return kap_model_refuse_row(s->model, KAP_NOT_FOUND, KAP_KIND_SESSION, id,
                                    "there is no such session, or none you may see");
    kap_status status = kap_model_put(s->model, &put, &result);
    if (status != KAP_OK)
        return status;
    s->session = result.row;
    s->reply->has_id = true;
    s->reply->id = result.row.id;
    return change_add(s, KAP_KIND_SESSION, result.row.id, result.rev, result.op);
}

/* A part names the parent it stands under, or none. */
static void parent_fault(struct saving *s, const struct item *item, struct kap_id want)
{
    const struct kap_relation_desc *relation =
        kap_relation_between(item->parent ? item->parent->kind : KAP_KIND_SESSION, item->kind);
    const struct kap_field *field = kap_message_field(kap_message_of_kind(item->kind), relation->parent_field);
    if (kap_field_count(field, item->message) == 0)
        return;
    struct kap_id named = *(const struct kap_id *)kap_field_item(field, item->message, 0);
    struct kap_path here = {item->path, field->name, -1};
    /* What was read under another parent of this tree may be sent as it was: where it stands now decides. */
    if (!kap_id_eq(named, want) && !item->stored)
        kap_faults_add(&s->model->faults, &here, "other_tree",
                       "names another parent than the one it stands under; leave it out, or copy the row with a new id "
                       "and `source`");
}

static kap_status item_put(struct saving *s, struct item *item, uint32_t position)
{
    struct kap_id parent = item->parent ? item->parent->id : s->session.id;
    struct kap_put_result result;
    parent_fault(s, item, parent);
    kap_part_set_parent(item->kind, item->message, item->parent ? item->parent->kind : KAP_KIND_SESSION, parent);
    kap_part_set_position(item->kind, item->message, position);
    const struct kap_put put = {.kind = item->kind,
                                .message = item->message,
                                .clear = item->clear,
                                .n_clear = item->n_clear,
                                .path = item->path,
                                .is_known = item->stored != NULL || kap_id_is_nil(item->id),
                                .known = item->stored,
                                .is_trusted = item->stored != NULL || kap_id_is_nil(item->id)};
    kap_status status = kap_model_put(s->model, &put, &result);
    if (status != KAP_OK)
        return status;
    item->id = result.row.id;
    return change_add(s, item->kind, item->id, result.rev, result.op);
}

static bool is_mentioned(const struct saving *s, const struct kap_row *row)
{
    for (uint32_t i = 0; i < s->n_items; i++)
        if (s->items[i].stored == row || (s->items[i].kind == row->kind && kap_id_eq(s->items[i].id, row->id)))
            return true;
    return false;
}

/* One place in a list of siblings: an item of the request, or a stored row that the request does not mention. */
struct place {
    struct item *item;
    const struct kap_row *stored;
};

static void place_insert(struct place *places, uint32_t *n, uint32_t at, struct place place)
{
    memmove(places + at + 1, places + at, (*n - at) * sizeof *places);
    places[at] = place;
    (*n)++;
}

static bool is_sibling(const struct kap_rows *siblings, const struct kap_row *row)
{
    for (uint32_t i = 0; row && i < siblings->n; i++)
        if (siblings->at[i].kind == row->kind && kap_id_eq(siblings->at[i].id, row->id))
            return true;
    return false;
}

/* The order after a merge: stored rows that are mentioned trade places among themselves as the list says, those that are
 * not stay where they are, and what is new here follows its neighbour in the list. */
static uint32_t places_merge(const struct saving *s, struct item *const *listed, uint32_t n_listed,
                             const struct kap_rows *siblings, struct place *places)
{
    uint32_t n = 0, next = 0;
    for (uint32_t i = 0; i < siblings->n; i++) {
        if (!is_mentioned(s, &siblings->at[i])) {
            places[n++] = (struct place){.stored = &siblings->at[i]};
            continue;
        }
        while (next < n_listed && !is_sibling(siblings, listed[next]->stored))
            next++;
        if (next < n_listed)
            places[n++] = (struct place){.item = listed[next++]};
    }
    for (uint32_t i = 0; i < n_listed; i++) {
        uint32_t at = i == 0 ? 0 : n;
        if (is_sibling(siblings, listed[i]->stored))
            continue;
        for (uint32_t k = 0; i > 0 && k < n; k++)
            if (places[k].item == listed[i - 1])
                at = k + 1;
        if (i == 0 && n_listed == 1) /* alone: behind what is there */
            at = n;
        place_insert(places, &n, at, (struct place){.item = listed[i]});
    }
    return n;
}

static kap_status unmentioned_move(struct saving *s, const struct kap_row *row, uint32_t position)
{
    if (kap_part_position(row) == position)
        return KAP_OK;
    void *message = kap_arena_push(s->model->arena, kap_message_of_kind(row->kind)->size);
    struct kap_sys *sys = kap_arena_push(s->model->arena, sizeof *sys);
    struct kap_put_result result;
    if (!message || !sys)
        return KAP_NO_MEMORY;
    *sys = (struct kap_sys){.has_id = true, .id = row->id};
    *model_sys_of(message) = sys;
    kap_part_set_position(row->kind, message, position);
    const struct kap_put put = {
        .kind = row->kind, .message = message, .is_known = true, .known = row, .is_trusted = true};
    kap_status status = kap_model_put(s->model, &put, &result);
    return status == KAP_OK ? change_add(s, row->kind, row->id, result.rev, result.op) : status;
}

/* All children of one kind under one parent. */
static kap_status siblings_put(struct saving *s, struct item *parent, uint8_t kind)
{
    uint8_t parent_kind = parent ? parent->kind : KAP_KIND_SESSION;
    struct kap_id parent_id = parent ? parent->id : s->session.id;
    const struct kap_relation_desc *relation = kap_relation_between(parent_kind, kind);
    struct kap_rows siblings = {0};
    uint32_t n_listed = 0, n;
    struct item **listed = kap_arena_push(s->model->arena, (s->n_items + 1) * sizeof(struct item *));
    kap_status status = KAP_OK;
    if (!listed)
        return KAP_NO_MEMORY;
    for (uint32_t i = 0; i < s->n_items; i++)
        if (s->items[i].kind == kind && s->items[i].parent == parent)
            listed[n_listed++] = &s->items[i];
    if (n_listed == 0)
        return KAP_OK;
    if (!s->is_replace && s->tree.n > 0)
        status = kap_part_children(s->model, relation, &s->tree, parent_id, &siblings);
    struct place *places = kap_arena_push(s->model->arena, (n_listed + siblings.n + 1) * sizeof *places);
    if (status != KAP_OK || !places)
        return status == KAP_OK ? KAP_NO_MEMORY : status;
    n = places_merge(s, listed, n_listed, &siblings, places);
    if (s->is_replace) /* without siblings the merge gives the list, but for a part that is alone */
        for (n = 0; n < n_listed; n++)
            places[n] = (struct place){.item = listed[n]};
    if (n > relation->children_max)
        return kap_model_refuse(s->model, KAP_TOO_LARGE, "a %s has at most %u rows of kind %s, this one would have %u",
                                kap_model_kind_name(s->model, parent_kind), relation->children_max,
                                kap_model_kind_name(s->model, kind), n);
    for (uint32_t i = 0; i < n && status == KAP_OK; i++)
        status = places[i].item ? item_put(s, places[i].item, i) : unmentioned_move(s, places[i].stored, i);
    return status;
}

static kap_status items_put(struct saving *s)
{
    kap_status status = siblings_put(s, NULL, KAP_KIND_OBJECTIVE);
    if (status == KAP_OK)
        status = siblings_put(s, NULL, KAP_KIND_SEQUENCE);
    for (uint32_t i = 0; i < s->n_items && status == KAP_OK; i++) {
        if (s->items[i].kind != KAP_KIND_SEQUENCE)
            continue;
        status = siblings_put(s, &s->items[i], KAP_KIND_OBJECTIVE);
        if (status == KAP_OK)
            status = siblings_put(s, &s->items[i], KAP_KIND_EXERCISE);
    }
    for (uint32_t i = 0; i < s->n_items && status == KAP_OK; i++) {
        if (s->items[i].kind != KAP_KIND_EXERCISE)
            continue;
        status = siblings_put(s, &s->items[i], KAP_KIND_VARIATION);
        if (status == KAP_OK)
            status = siblings_put(s, &s->items[i], KAP_KIND_SUCCESS_CRITERION);
        if (status == KAP_OK)
            status = siblings_put(s, &s->items[i], KAP_KIND_TECHNICAL_PROGRESSION);
    }
    return status;
}

static kap_status unmentioned_delete(struct saving *s)
{
    const struct kap_delete delete = {.is_trusted = true};
    for (uint32_t i = 0; s->is_replace && i < s->tree.n; i++) {
        const struct kap_row *row = &s->tree.at[i];
        struct kap_row now;
        struct kap_sys_view sys;
        uint32_t rows;
        if (row->kind == KAP_KIND_TREE_HEAD || row->kind == KAP_KIND_SESSION || is_mentioned(s, row))
            continue;
        kap_status status = kap_row_sys(row->bytes, &sys);
        if (status == KAP_OK)
            status = change_add(s, row->kind, row->id, sys.rev, KAP_CHANGE_OP_DELETE);
        if (status == KAP_OK)
            status = kap_model_find_in(s->model, row->kind, row->root, row->id, &now);
        if (status == KAP_NOT_FOUND) /* it went with what it belonged to */
            continue;
        if (status == KAP_OK)
            status = kap_model_delete(s->model, &now, &delete, &rows);
        if (status != KAP_OK)
            return status;
    }
    return KAP_OK;
}

/* Of the tree as it is now: what the head said, and what this transaction has changed. */
static kap_status minutes_sum(struct saving *s, uint32_t *minutes_out)
{
    struct kap_column column = {0};
    struct kap_tree_change *change;
    struct kap_bytes head;
    kap_status status = model_head_find(s->model, s->session.id, &head);
    if (status == KAP_OK)
        status = kap_row_column(head, 8, 0, &column);
    if (status == KAP_OK || status == KAP_NOT_FOUND)
        status = model_tree_change(s->model, s->session.id, &change);
    if (status == KAP_OK)
        *minutes_out = (uint32_t)((int64_t)column.number + change->minutes);
    return status;
}

/* The session's own row may have become a draft again because a part of it changed. */
static kap_status reply_finish(struct saving *s)
{
    struct kap_row row;
    struct kap_sys_view sys;
    kap_status status = kap_model_find_in(s->model, KAP_KIND_SESSION, s->session.root, s->session.id, &row);
    if (status == KAP_OK)
        status = kap_row_sys(row.bytes, &sys);
    if (status != KAP_OK)
        return status;
    bool is_told = s->reply->n_changes > 0 && s->reply->changes[0].kind == KAP_KIND_SESSION;
    if (!is_told && sys.commit_seq == s->model->txn->commit_seq)
        status = change_add(s, KAP_KIND_SESSION, row.id, sys.rev, KAP_CHANGE_OP_UPDATE);
    s->reply->has_rev = true;
    s->reply->rev = sys.rev;
    s->reply->has_tree_rev = true;
    s->reply->has_sequence_minutes = true;
    if (status == KAP_OK)
        status = kap_model_tree_rev_after(s->model, row.root, &s->reply->tree_rev);
    return status == KAP_OK ? minutes_sum(s, &s->reply->sequence_minutes) : status;
}

kap_status kap_session_save(struct kap_model *model, const struct kap_session_save_request *request,
                            struct kap_session_save_reply *reply)
{
    struct saving s = {.model = model,
                       .request = request,
                       .reply = reply,
                       .is_replace = request->has_mode && request->mode == KAP_SAVE_MODE_REPLACE};
    struct kap_id id = id_given(request->session);
    kap_status status = KAP_OK;
    if (!kap_id_is_nil(id))
        status = kap_model_tree(model, MODEL_GROUP_GRAPH, id, KAP_TREE_SCAN_MAX, &s.tree);
    s.cap_changes = items_count(request) + s.tree.n + 2;
    reply->changes = kap_arena_push(model->arena, s.cap_changes * sizeof *reply->changes);
    if (status == KAP_OK && !reply->changes)
        status = KAP_NO_MEMORY;
    if (status == KAP_OK)
        status = session_put(&s);
    if (status == KAP_OK)
        status = kap_model_expect_tree(model, s.session.id, request->has_expected_tree_rev, request->expected_tree_rev);
    if (status == KAP_OK)
        status = items_list(&s);
    if (status == KAP_OK)
        status = items_put(&s);
    if (status == KAP_OK)
        status = unmentioned_delete(&s);
    return status == KAP_OK ? reply_finish(&s) : status;
}
