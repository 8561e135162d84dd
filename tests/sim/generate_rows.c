/* Rows of a session, whole or partly filled. */
#include "tests/sim/generate.h"

static bool wants(struct generator *g, bool is_whole)
{
    return is_whole || chance(g, 15);
}

static struct kap_id *ids_of(struct generator *g, uint8_t kind, enum kap_ref_kind list, size_t *n_out)
{
    uint32_t n = draw(g, 3);
    struct kap_id *ids = make(g, (n + 1) * sizeof *ids);
    *n_out = 0;
    for (uint32_t i = 0; i < n; i++) {
        ids[*n_out] = kind == KAP_KIND_REF_ITEM ? pick_ref(g, list) : pick_id(g, kind);
        *n_out += *n_out == 0 || !kap_id_eq(ids[0], ids[*n_out]);
    }
    return ids;
}

/* Now and then more than is allowed. */
static uint32_t minutes(struct generator *g)
{
    return chance(g, 1) ? draw(g, 2) * 1441 : 1 + draw(g, 120);
}

static struct kap_bytes title(struct generator *g, const char *what)
{
    return chance(g, 1) ? make_text(g, what, 400) : make_text(g, what, 60);
}

void fill_session(struct generator *g, struct kap_session *s, bool is_whole)
{
    if ((s->has_title = wants(g, is_whole)))
        s->title = title(g, "Session");
    if ((s->has_objective = wants(g, is_whole)))
        s->objective = make_text(g, "Objective", 200);
    if ((s->has_description = chance(g, 25)))
        s->description = make_text(g, "Description", chance(g, 3) ? 12000 : 600);
    if ((s->has_sport = wants(g, is_whole)))
        s->sport = pick_ref(g, KAP_REF_KIND_SPORT);
    if ((s->has_level = wants(g, is_whole)))
        s->level = pick_ref(g, KAP_REF_KIND_LEVEL);
    if ((s->has_age_category = wants(g, is_whole)))
        s->age_category = 1 + (int32_t)draw(g, 3);
    if ((s->has_intensity = chance(g, 20)))
        s->intensity = pick_ref(g, KAP_REF_KIND_INTENSITY);
    if ((s->has_duration = wants(g, is_whole)))
        s->duration = minutes(g);
    if ((s->has_participants_min = wants(g, is_whole)))
        s->participants_min = 1 + draw(g, 10);
    if ((s->has_participants_max = wants(g, is_whole)))
        s->participants_max = 8 + draw(g, 10);
    if ((s->has_club = chance(g, 30)))
        s->club = pick_id(g, KAP_KIND_CLUB);
    if ((s->has_visibility = chance(g, is_whole ? 60 : 15)))
        s->visibility = 1 + (int32_t)draw(g, 3);
    if ((s->has_status = chance(g, 12)))
        s->status = 1 + (int32_t)draw(g, 5);
    if (chance(g, 20))
        s->tactical_concepts = ids_of(g, KAP_KIND_TACTICAL_PRINCIPLE, 0, &s->n_tactical_concepts);
    if (chance(g, 40))
        s->tags = ids_of(g, KAP_KIND_TAG, 0, &s->n_tags);
    if ((s->has_scheduled_start = chance(g, 10)))
        s->scheduled_start = 1800000000000000 + (int64_t)draw(g, 1000);
    if ((s->has_validated_rev = chance(g, 3))) /* the server's own: ignored */
        s->validated_rev = 77;
}

void fill_sequence(struct generator *g, struct kap_sequence *s, bool is_whole)
{
    if ((s->has_title = wants(g, is_whole)))
        s->title = title(g, "Sequence");
    if ((s->has_objective = wants(g, is_whole)))
        s->objective = make_text(g, "Objective", 120);
    if ((s->has_type = wants(g, is_whole)))
        s->type = 1 + (int32_t)draw(g, 4);
    if ((s->has_duration = wants(g, is_whole)))
        s->duration = minutes(g);
    if ((s->has_intensity = chance(g, 15)))
        s->intensity = pick_ref(g, KAP_REF_KIND_INTENSITY);
    if (chance(g, 10))
        s->tactical_concepts = ids_of(g, KAP_KIND_TACTICAL_PRINCIPLE, 0, &s->n_tactical_concepts);
}

void fill_exercise(struct generator *g, struct kap_exercise *e, bool is_whole)
{
    if ((e->has_title = wants(g, is_whole)))
        e->title = title(g, "Exercise");
    if ((e->has_description = wants(g, is_whole)))
        e->description = make_text(g, "Description", chance(g, 2) ? 9000 : 300);
    if ((e->has_duration = chance(g, 40)))
        e->duration = minutes(g);
    if ((e->has_intensity = chance(g, 10)))
        e->intensity = pick_ref(g, KAP_REF_KIND_INTENSITY);
    if ((e->has_level = chance(g, 15)))
        e->level = pick_ref(g, KAP_REF_KIND_LEVEL);
    if ((e->has_category = chance(g, 25)))
        e->category = pick_ref(g, KAP_REF_KIND_EXERCISE_CATEGORY);
    if ((e->has_visibility = chance(g, 30)))
        e->visibility = 1 + (int32_t)draw(g, 3);
    if ((e->has_progression_level = chance(g, 10)))
        e->progression_level = 1 + draw(g, 10);
    if (chance(g, 15))
        e->equipment = ids_of(g, KAP_KIND_REF_ITEM, KAP_REF_KIND_EQUIPMENT, &e->n_equipment);
    if (chance(g, 10))
        e->muscles_primary = ids_of(g, KAP_KIND_REF_ITEM, KAP_REF_KIND_MUSCLE, &e->n_muscles_primary);
    if (chance(g, 10))
        e->tags = ids_of(g, KAP_KIND_TAG, 0, &e->n_tags);
}

void fill_variation(struct generator *g, struct kap_variation *v, bool is_whole)
{
    if ((v->has_title = wants(g, is_whole)))
        v->title = title(g, "Variation");
    if ((v->has_description = chance(g, 20)))
        v->description = make_text(g, "Description", 200);
    if ((v->has_difficulty_delta = chance(g, 20)))
        v->difficulty_delta = (int32_t)draw(g, 7) - 3;
    if (chance(g, 15))
        v->equipment = ids_of(g, KAP_KIND_REF_ITEM, KAP_REF_KIND_EQUIPMENT, &v->n_equipment);
}

void fill_objective(struct generator *g, struct kap_objective *o, bool is_whole)
{
    if ((o->has_description = wants(g, is_whole)))
        o->description = make_text(g, "Objective", 120);
    if ((o->has_objective_type = wants(g, is_whole)))
        o->objective_type = 1 + (int32_t)draw(g, 3);
    if ((o->has_is_priority = chance(g, 20)))
        o->is_priority = chance(g, 50);
    if ((o->has_achieved = chance(g, 10)))
        o->achieved = 1 + (int32_t)draw(g, 4);
}
