/* Saves of whole sessions, single parts, reorders. */
#include "tests/sim/generate.h"

static uint64_t tree_rev_guess(struct generator *g, struct kap_id root)
{
    uint64_t rev = model_tree_rev(&g->world->model, root);
    return chance(g, 75) ? rev : rev > 2 ? rev - 1 - draw(g, 2) : rev + 1;
}

/* Fields to unset: mostly ones that may be. */
static uint32_t *clear_draw(struct generator *g, const uint8_t *fields, uint32_t n_fields, size_t *n_out)
{
    uint32_t *clear = make(g, sizeof *clear);
    *n_out = 0;
    if (!chance(g, 10))
        return NULL;
    clear[0] = chance(g, 95) ? fields[draw(g, n_fields)] : 4 + draw(g, 60);
    *n_out = 1;
    return clear;
}

static void objectives_new(struct generator *g, struct kap_objective *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        at[i].sys = make_sys_new(g, KAP_KIND_OBJECTIVE);
        fill_objective(g, &at[i], true);
    }
}

static void exercise_new(struct generator *g, struct kap_exercise_node *node)
{
    node->exercise = make(g, sizeof *node->exercise);
    node->exercise->sys = make_sys_new(g, KAP_KIND_EXERCISE);
    fill_exercise(g, node->exercise, !chance(g, 1));
    if ((node->exercise->has_source = chance(g, 10)))
        node->exercise->source = pick_id(g, KAP_KIND_EXERCISE);
    node->n_variations = chance(g, 30) ? 1 + draw(g, 2) : 0;
    node->variations = make(g, (node->n_variations + 3) * sizeof *node->variations);
    for (size_t i = 0; i < node->n_variations; i++) {
        node->variations[i].sys = make_sys_new(g, KAP_KIND_VARIATION);
        fill_variation(g, &node->variations[i], true);
    }
}

static void sequence_new(struct generator *g, struct kap_sequence_node *node)
{
    node->sequence = make(g, sizeof *node->sequence);
    node->sequence->sys = make_sys_new(g, KAP_KIND_SEQUENCE);
    fill_sequence(g, node->sequence, !chance(g, 1));
    node->n_objectives = chance(g, 20);
    node->objectives = make(g, 8 * sizeof *node->objectives);
    objectives_new(g, node->objectives, node->n_objectives);
    node->n_exercises = draw(g, 4);
    node->exercises = make(g, 80 * sizeof *node->exercises);
    for (size_t i = 0; i < node->n_exercises; i++)
        exercise_new(g, &node->exercises[i]);
}

static struct sim_request *save_new(struct generator *g)
{
    struct kap_session_save_request *request = make(g, sizeof *request);
    struct sim_who who = pick_who(g);
    request->session = make(g, sizeof *request->session);
    request->session->sys = make_sys_new(g, KAP_KIND_SESSION);
    fill_session(g, request->session, !chance(g, 1));
    request->session->has_status = chance(g, 4);
    if ((request->session->has_owner = chance(g, who_is(&who, KAP_ROLE_ADMIN) ? 80 : 3)))
        request->session->owner = pick_id(g, KAP_KIND_USER);
    request->n_objectives = draw(g, 3);
    request->objectives = make(g, (request->n_objectives + 1) * sizeof *request->objectives);
    objectives_new(g, request->objectives, request->n_objectives);
    request->n_sequences = draw(g, 4);
    request->sequences = make(g, (request->n_sequences + 1) * sizeof *request->sequences);
    for (size_t i = 0; i < request->n_sequences; i++)
        sequence_new(g, &request->sequences[i]);
    if ((request->has_mode = chance(g, 20)))
        request->mode = 1 + (int32_t)draw(g, 2);
    return make_request(g, KAP_OP_SESSION_SAVE, who, request, "new %s, %zu sequences",
                        request->session->sys ? sim_id(request->session->sys->id) : "-", request->n_sequences);
}

static void shuffle(struct generator *g, struct sim_rows *rows)
{
    for (uint32_t i = rows->n; i > 1; i--) {
        uint32_t k = draw(g, i);
        struct sim_row *row = rows->at[k];
        rows->at[k] = rows->at[i - 1];
        rows->at[i - 1] = row;
    }
}

struct editing {
    struct generator *g;
    uint32_t keep; /* percent of parts that the request names */
    uint32_t change; /* percent of those that it changes */
    bool in_order;
};

static struct sim_rows parts_named(struct editing *e, uint8_t parent_kind, struct kap_id parent, uint8_t kind)
{
    struct sim_rows children = model_children(&e->g->world->model, parent_kind, parent, kind);
    uint32_t n = 0;
    for (uint32_t i = 0; i < children.n; i++)
        if (chance(e->g, e->keep) && !model_is_placeholder(children.at[i]->id))
            children.at[n++] = children.at[i];
    children.n = n;
    if (!e->in_order)
        shuffle(e->g, &children);
    return children;
}

static void objectives_edit(struct editing *e, uint8_t parent_kind, struct kap_id parent, struct kap_objective **at_out,
                            size_t *n_out)
{
    struct sim_rows named = parts_named(e, parent_kind, parent, KAP_KIND_OBJECTIVE);
    struct kap_objective *at = make(e->g, (named.n + 2) * sizeof *at);
    size_t n = named.n;
    for (uint32_t i = 0; i < named.n; i++) {
        at[i].sys = make_sys(e->g, named.at[i]->id);
        if (chance(e->g, e->change))
            fill_objective(e->g, &at[i], false);
    }
    if (chance(e->g, 10))
        objectives_new(e->g, &at[n++], 1);
    *at_out = at;
    *n_out = n;
}

static void exercise_edit(struct editing *e, const struct sim_row *row, struct kap_exercise_node *node)
{
    static const uint8_t fields[] = {9, 10, 23, 24, 27, 12};
    struct sim_rows named = parts_named(e, KAP_KIND_EXERCISE, row->id, KAP_KIND_VARIATION);
    node->exercise = make(e->g, sizeof *node->exercise);
    node->exercise->sys = make_sys(e->g, row->id);
    if (chance(e->g, e->change)) {
        fill_exercise(e->g, node->exercise, false);
        node->clear = clear_draw(e->g, fields, sizeof fields, &node->n_clear);
    }
    node->variations = make(e->g, (named.n + 2) * sizeof *node->variations);
    for (; node->n_variations < named.n; node->n_variations++) {
        struct kap_variation *variation = &node->variations[node->n_variations];
        variation->sys = make_sys(e->g, named.at[node->n_variations]->id);
        if (chance(e->g, e->change))
            fill_variation(e->g, variation, false);
    }
    if (chance(e->g, 5)) {
        node->variations[node->n_variations].sys = make_sys_new(e->g, KAP_KIND_VARIATION);
        fill_variation(e->g, &node->variations[node->n_variations++], true);
    }
}

static void sequence_edit(struct editing *e, const struct sim_row *row, struct kap_sequence_node *node)
{
    static const uint8_t fields[] = {9, 11, 5};
    struct sim_rows named = parts_named(e, KAP_KIND_SEQUENCE, row->id, KAP_KIND_EXERCISE);
    node->sequence = make(e->g, sizeof *node->sequence);
    node->sequence->sys = make_sys(e->g, row->id);
    if (chance(e->g, e->change)) {
        fill_sequence(e->g, node->sequence, false);
        node->clear = clear_draw(e->g, fields, sizeof fields, &node->n_clear);
    }
    objectives_edit(e, KAP_KIND_SEQUENCE, row->id, &node->objectives, &node->n_objectives);
    node->exercises = make(e->g, (named.n + 80) * sizeof *node->exercises);
    for (; node->n_exercises < named.n; node->n_exercises++)
        exercise_edit(e, named.at[node->n_exercises], &node->exercises[node->n_exercises]);
    if (chance(e->g, 15))
        exercise_new(e->g, &node->exercises[node->n_exercises++]);
}

/* Takes an exercise out of one list of the request and puts it into another, or into both: then it is refused. */
static void exercise_move(struct editing *e, struct kap_session_save_request *request)
{
    if (request->n_sequences < 2)
        return;
    struct kap_sequence_node *from = &request->sequences[draw(e->g, (uint32_t)request->n_sequences)];
    struct kap_sequence_node *to = &request->sequences[draw(e->g, (uint32_t)request->n_sequences)];
    if (from == to || from->n_exercises == 0 || to->n_exercises > 30)
        return;
    size_t slot = draw(e->g, (uint32_t)from->n_exercises), at = draw(e->g, (uint32_t)to->n_exercises + 1);
    struct kap_exercise_node node = from->exercises[slot];
    memmove(to->exercises + at + 1, to->exercises + at, (to->n_exercises - at) * sizeof node);
    to->exercises[at] = node;
    to->n_exercises++;
    if (chance(e->g, 5))
        return;
    memmove(from->exercises + slot, from->exercises + slot + 1, (from->n_exercises - slot - 1) * sizeof node);
    from->n_exercises--;
}

static struct sim_request *save_edit(struct generator *g, const struct sim_row *session)
{
    static const uint8_t fields[] = {5, 3, 10, 18, 15, 31, 4};
    static const uint32_t keeps[] = {0, 10, 50, 90, 100}, changes[] = {0, 20, 60};
    struct kap_session_save_request *request = make(g, sizeof *request);
    struct editing e = {.g = g, .keep = keeps[draw(g, 5)], .change = changes[draw(g, 3)], .in_order = chance(g, 60)};
    struct sim_rows named = parts_named(&e, KAP_KIND_SESSION, session->id, KAP_KIND_SEQUENCE);
    request->session = make(g, sizeof *request->session);
    request->session->sys = make_sys(g, session->id);
    if (chance(g, 50)) {
        fill_session(g, request->session, false);
        request->clear = clear_draw(g, fields, sizeof fields, &request->n_clear);
    }
    objectives_edit(&e, KAP_KIND_SESSION, session->id, &request->objectives, &request->n_objectives);
    request->sequences = make(g, (named.n + 2) * sizeof *request->sequences);
    for (; request->n_sequences < named.n; request->n_sequences++)
        sequence_edit(&e, named.at[request->n_sequences], &request->sequences[request->n_sequences]);
    if (chance(g, 10))
        sequence_new(g, &request->sequences[request->n_sequences++]);
    if (chance(g, 25))
        exercise_move(&e, request);
    if ((request->has_mode = chance(g, 60)))
        request->mode = 1 + (int32_t)draw(g, 2);
    if ((request->has_expected_tree_rev = chance(g, 50)))
        request->expected_tree_rev = tree_rev_guess(g, session->id);
    if ((request->has_expected_rev = chance(g, 15)))
        request->expected_rev = chance(g, 80) ? session->rev : session->rev + 1;
    bool is_replace = request->has_mode && request->mode == KAP_SAVE_MODE_REPLACE;
    return make_request(g, KAP_OP_SESSION_SAVE, who_may_write(g, session), request, "%s %s, %zu sequences",
                        is_replace ? "replace" : "merge", sim_id(session->id), request->n_sequences);
}

struct sim_request *generate_save(struct generator *g)
{
    const struct sim_rows *sessions = &g->world->model.kinds[KAP_KIND_SESSION];
    const struct sim_row *session = pick_row(g, KAP_KIND_SESSION);
    bool is_new = !session || model_is_placeholder(session->id) || chance(g, sessions->n < 12 ? 50 : 15);
    return is_new ? save_new(g) : save_edit(g, session);
}

/* ---- one part */

static void parent_name(struct generator *g, uint8_t kind, void *message, bool is_new)
{
    struct kap_sequence *sequence = message;
    struct kap_objective *objective = message;
    struct kap_exercise *exercise = message;
    struct kap_variation *variation = message;
    if (!is_new && !chance(g, 10))
        return;
    switch (kind) {
    case KAP_KIND_SEQUENCE:
        sequence->has_session = true;
        sequence->session = pick_id(g, KAP_KIND_SESSION);
        break;
    case KAP_KIND_OBJECTIVE:
        objective->has_parent_kind = objective->has_parent = true;
        objective->parent_kind = chance(g, 50) ? KAP_KIND_SESSION : KAP_KIND_SEQUENCE;
        objective->parent = pick_id(g, (uint8_t)objective->parent_kind);
        break;
    case KAP_KIND_EXERCISE:
        if (!(exercise->has_sequence = chance(g, is_new ? 50 : 80)))
            break;
        exercise->sequence = pick_id(g, KAP_KIND_SEQUENCE);
        break;
    default:
        variation->has_exercise = true;
        variation->exercise = pick_id(g, KAP_KIND_EXERCISE);
    }
}

static void part_fill(struct generator *g, uint8_t kind, void *message, bool is_new)
{
    if (kind == KAP_KIND_SEQUENCE)
        fill_sequence(g, message, is_new);
    else if (kind == KAP_KIND_OBJECTIVE)
        fill_objective(g, message, is_new);
    else if (kind == KAP_KIND_VARIATION)
        fill_variation(g, message, is_new);
    else
        fill_exercise(g, message, is_new);
}

static void library_fill(struct generator *g, struct kap_exercise *exercise)
{
    if ((exercise->has_slug = chance(g, 40)))
        exercise->slug =
            kap_bytes_str(kap_arena_printf(&g->world->arena, "%s-%u", chance(g, 50) ? "Slug" : "slug", draw(g, 12)));
    if ((exercise->has_owner = chance(g, 10)))
        exercise->owner = pick_id(g, KAP_KIND_USER);
}

/* The row a new part would hang on: whoever may write that may make the part. */
static const struct sim_row *parent_find(struct generator *g, uint8_t kind, const void *message)
{
    const struct model *model = &g->world->model;
    const struct kap_objective *objective = message;
    switch (kind) {
    case KAP_KIND_SEQUENCE:
        return model_find(model, KAP_KIND_SESSION, ((const struct kap_sequence *)message)->session);
    case KAP_KIND_OBJECTIVE:
        return model_find(model, (uint8_t)objective->parent_kind, objective->parent);
    case KAP_KIND_EXERCISE:
        return model_find(model, KAP_KIND_SEQUENCE, ((const struct kap_exercise *)message)->sequence);
    default:
        return model_find(model, KAP_KIND_EXERCISE, ((const struct kap_variation *)message)->exercise);
    }
}

struct sim_request *generate_part(struct generator *g)
{
    static const struct {
        uint8_t kind;
        uint16_t op;
    } parts[] = {{KAP_KIND_SEQUENCE, KAP_OP_SEQUENCE_PUT},
                 {KAP_KIND_OBJECTIVE, KAP_OP_OBJECTIVE_PUT},
                 {KAP_KIND_VARIATION, KAP_OP_VARIATION_PUT},
                 {KAP_KIND_EXERCISE, KAP_OP_EXERCISE_PUT},
                 {KAP_KIND_EXERCISE, KAP_OP_EXERCISE_PUT}};
    uint32_t turn = draw(g, 5);
    uint8_t kind = parts[turn].kind;
    struct kap_sequence_put_request *request = make(g, sizeof *request); /* all four have the same shape */
    struct kap_sequence *message = make(g, 4096);
    const struct sim_row *row = chance(g, 50) ? pick_row(g, kind) : NULL;
    if (row && model_is_placeholder(row->id))
        return NULL;
    request->sequence = message;
    message->sys = row ? make_sys(g, row->id) : make_sys_new(g, kind);
    parent_name(g, kind, message, !row);
    part_fill(g, kind, message, !row);
    if (kind == KAP_KIND_EXERCISE && !((struct kap_exercise *)(void *)message)->has_sequence)
        library_fill(g, (void *)message);
    if ((request->has_expected_rev = row && chance(g, 25)))
        request->expected_rev = chance(g, 80) ? row->rev : row->rev + 1;
    if ((request->has_expected_tree_rev = row && chance(g, 25)))
        request->expected_tree_rev = tree_rev_guess(g, row->root);
    const struct sim_row *asked = row ? row : parent_find(g, kind, message);
    return make_request(g, parts[turn].op, who_may_write(g, asked), request, "%s",
                        message->sys ? sim_id(message->sys->id) : "-");
}

struct sim_request *generate_reorder(struct generator *g)
{
    static const uint8_t relations[][2] = {{0, 0},
                                           {KAP_KIND_SESSION, KAP_KIND_SEQUENCE},
                                           {KAP_KIND_SESSION, KAP_KIND_OBJECTIVE},
                                           {KAP_KIND_SEQUENCE, KAP_KIND_EXERCISE},
                                           {KAP_KIND_SEQUENCE, KAP_KIND_OBJECTIVE},
                                           {KAP_KIND_EXERCISE, KAP_KIND_VARIATION}};
    struct kap_part_reorder_request *request = make(g, sizeof *request);
    uint32_t relation = chance(g, 60) ? chance(g, 50) ? 1 : 3 : 1 + draw(g, 5);
    const struct sim_row *parent = pick_row(g, relations[relation][0]);
    if (!parent || model_is_placeholder(parent->id))
        return NULL;
    struct sim_rows children =
        model_children(&g->world->model, relations[relation][0], parent->id, relations[relation][1]);
    shuffle(g, &children);
    request->has_relation = request->has_parent = true;
    request->relation = (int32_t)relation;
    request->parent = parent->id;
    request->ids = make(g, (children.n + 1) * sizeof *request->ids);
    for (uint32_t i = 0; i < children.n; i++)
        if (!model_is_placeholder(children.at[i]->id))
            request->ids[request->n_ids++] = children.at[i]->id;
    if (chance(g, 10))
        request->ids[request->n_ids++] = pick_id(g, relations[relation][1]);
    else if (chance(g, 8) && request->n_ids > 0)
        request->n_ids--;
    if (request->n_ids > 64)
        return NULL;
    if ((request->has_expected_tree_rev = chance(g, 40)))
        request->expected_tree_rev = tree_rev_guess(g, parent->root);
    return make_request(g, KAP_OP_PART_REORDER, who_may_write(g, parent), request, "%u of %s", relation,
                        sim_id(parent->id));
}
