/* Accounts, clubs, reference values, deletes; and how a world begins. */
#include "tests/sim/generate.h"

static const char *const clubs[] = {"red", "blue", "Green", "green", "old-town"};
static const char *const values[] = {"one", "two", "Two", "three", "four"};

static struct sim_request *user_make(struct generator *g, struct sim_who who, struct kap_id id, const char *name,
                                     int32_t role)
{
    struct kap_user_create_request *request = make(g, sizeof *request);
    request->user = make(g, sizeof *request->user);
    request->user->sys = kap_id_is_nil(id) ? NULL : make_sys(g, id);
    request->user->has_email = true;
    request->user->email = kap_bytes_str(kap_arena_printf(&g->world->arena, "%s@example.org", name));
    request->user->roles = make(g, sizeof *request->user->roles);
    request->user->n_roles = role != 0;
    request->user->roles[0] = role;
    if (chance(g, 60)) {
        request->profile = make(g, sizeof *request->profile);
        request->profile->has_full_name = request->profile->has_phone = true;
        request->profile->full_name = make_text(g, "Name", 40);
        request->profile->phone = kap_bytes_str("0123456");
        if ((request->profile->has_username = g->is_under_way && chance(g, 60)))
            request->profile->username = kap_bytes_str(kap_arena_printf(&g->world->arena, "user.%u", draw(g, 30)));
    }
    return make_request(g, KAP_OP_USER_CREATE, who, request, "%s", name);
}

static struct sim_request *profile_save(struct generator *g)
{
    struct kap_profile_save_request *request = make(g, sizeof *request);
    request->profile = make(g, sizeof *request->profile);
    request->profile->has_bio = true;
    request->profile->bio = make_text(g, "Bio", 100);
    if ((request->profile->has_username = chance(g, 40)))
        request->profile->username = kap_bytes_str(kap_arena_printf(&g->world->arena, "user.%u", draw(g, 30)));
    if (chance(g, 30)) {
        request->profile->has_user = true;
        request->profile->user = pick_id(g, KAP_KIND_USER);
    }
    struct sim_who who = pick_who(g);
    if (kap_id_is_nil(who.user) && !request->profile->has_user) /* a service without an account has no profile */
        return NULL;
    return make_request(g, KAP_OP_PROFILE_SAVE, who, request, "%s",
                        request->profile->has_user ? sim_id(request->profile->user) : "own");
}

static struct sim_request *club_save(struct generator *g)
{
    struct kap_club_save_request *request = make(g, sizeof *request);
    const struct sim_row *club = chance(g, 60) ? pick_row(g, KAP_KIND_CLUB) : NULL;
    request->club = make(g, sizeof *request->club);
    if (club && model_is_placeholder(club->id))
        return NULL;
    request->club->sys = club ? make_sys(g, club->id) : make_sys_new(g, KAP_KIND_CLUB);
    if ((request->club->has_name = !club || chance(g, 50)))
        request->club->name = make_text(g, "Club", 30);
    if ((request->club->has_slug = !club || chance(g, 30)))
        request->club->slug = kap_bytes_str(clubs[draw(g, 5)]);
    if ((request->club->has_sport = chance(g, 40)))
        request->club->sport = pick_ref(g, KAP_REF_KIND_SPORT);
    if ((request->has_expected_rev = club && chance(g, 30)))
        request->expected_rev = club->rev + chance(g, 20);
    return make_request(g, KAP_OP_CLUB_SAVE, who_may_write(g, club), request, "%s",
                        request->club->sys ? sim_id(request->club->sys->id) : "-");
}

static struct sim_request *membership_set(struct generator *g)
{
    struct kap_membership_set_request *request = make(g, sizeof *request);
    const struct sim_row *club = pick_row(g, KAP_KIND_CLUB);
    request->has_club = request->has_user = true;
    request->club = pick_id(g, KAP_KIND_CLUB);
    if (club && !model_is_placeholder(club->id))
        request->club = club->id;
    request->user = pick_id(g, KAP_KIND_USER);
    if ((request->has_role = chance(g, 70)))
        request->role = 1 + (int32_t)draw(g, 3);
    if ((request->has_remove = chance(g, 30)))
        request->remove = true;
    return make_request(g, KAP_OP_MEMBERSHIP_SET, who_may_write(g, club), request, "%s in %s%s", sim_id(request->user),
                        sim_id(request->club), request->has_remove ? " out" : "");
}

struct sim_request *generate_people(struct generator *g)
{
    uint32_t turn = draw(g, 10);
    if (turn < 3)
        return club_save(g);
    if (turn < 7)
        return membership_set(g);
    if (turn < 9)
        return profile_save(g);
    struct kap_id id = chance(g, 50) ? g->ids[KAP_KIND_USER][draw(g, GENERATOR_IDS)] : (struct kap_id){{0}};
    const char *name = kap_arena_printf(&g->world->arena, "%s%u", chance(g, 50) ? "p" : "P", draw(g, 12));
    return user_make(g, chance(g, 80) ? g->world->principals[0] : pick_who(g), id, name, (int32_t)draw(g, 6));
}

static struct sim_request *item_make(struct generator *g, struct sim_who who, struct kap_sys *sys,
                                     enum kap_ref_kind list, const char *value)
{
    struct kap_ref_put_request *request = make(g, sizeof *request);
    request->item = make(g, sizeof *request->item);
    request->item->sys = sys;
    request->item->has_kind = request->item->has_value = request->item->has_label = true;
    request->item->kind = (int32_t)list;
    request->item->value = kap_bytes_str(value);
    request->item->label = make_text(g, "Label", 20);
    if ((request->item->has_is_default = chance(g, 30)))
        request->item->is_default = chance(g, 70);
    if ((request->item->has_scope = g->is_under_way && chance(g, 10)))
        request->item->scope = pick_ref(g, KAP_REF_KIND_SPORT);
    return make_request(g, KAP_OP_REF_PUT, who, request, "item %u %s", (unsigned)list, value);
}

static struct sim_who curator_or_another(struct generator *g)
{
    return chance(g, 85) ? g->world->principals[chance(g, 50)] : pick_who(g);
}

static struct kap_sys *sys_of_some(struct generator *g, uint8_t kind)
{
    const struct sim_row *row = chance(g, 50) ? pick_row(g, kind) : NULL;
    return row && !model_is_placeholder(row->id) ? make_sys(g, row->id) : make_sys_new(g, kind);
}

struct sim_request *generate_ref(struct generator *g)
{
    struct kap_ref_put_request *request = make(g, sizeof *request);
    struct sim_who who = curator_or_another(g);
    uint32_t turn = draw(g, 10);
    if (turn < 5)
        return item_make(g, who, sys_of_some(g, KAP_KIND_REF_ITEM), 1 + draw(g, 10), values[draw(g, 5)]);
    if (turn < 8) {
        request->tag = make(g, sizeof *request->tag);
        request->tag->sys = sys_of_some(g, KAP_KIND_TAG);
        request->tag->has_name = true;
        request->tag->name =
            kap_bytes_str(kap_arena_printf(&g->world->arena, "%s %u", chance(g, 50) ? "Tag" : "tag", draw(g, 12)));
        return make_request(g, KAP_OP_REF_PUT, who, request, "tag");
    }
    request->principle = make(g, sizeof *request->principle);
    request->principle->sys = sys_of_some(g, KAP_KIND_TACTICAL_PRINCIPLE);
    request->principle->has_sport = request->principle->has_value = true;
    request->principle->sport = pick_ref(g, KAP_REF_KIND_SPORT);
    request->principle->value = kap_bytes_str(values[draw(g, 5)]);
    return make_request(g, KAP_OP_REF_PUT, who, request, "principle");
}

static struct sim_request *session_delete(struct generator *g)
{
    struct kap_session_delete_request *request = make(g, sizeof *request);
    const struct sim_row *session = pick_row(g, KAP_KIND_SESSION);
    request->has_id = true;
    request->id = session && !model_is_placeholder(session->id) ? session->id : pick_id(g, KAP_KIND_SESSION);
    if ((request->has_expected_rev = session && chance(g, 20)))
        request->expected_rev = session->rev + chance(g, 30);
    if ((request->has_expected_tree_rev = session && chance(g, 30)))
        request->expected_tree_rev = model_tree_rev(&g->world->model, session->id) + chance(g, 30);
    if ((request->has_dry_run = chance(g, 20)))
        request->dry_run = true;
    return make_request(g, KAP_OP_SESSION_DELETE, who_may_write(g, session), request, "%s%s", sim_id(request->id),
                        request->has_dry_run ? " dry" : "");
}

static struct sim_request *ref_delete(struct generator *g)
{
    static const uint8_t kinds[] = {KAP_KIND_REF_ITEM, KAP_KIND_TACTICAL_PRINCIPLE, KAP_KIND_TAG};
    struct kap_ref_delete_request *request = make(g, sizeof *request);
    request->has_kind = request->has_id = true;
    request->kind = kinds[draw(g, 3)];
    request->id = pick_id(g, (uint8_t)request->kind);
    if ((request->has_dry_run = chance(g, 30)))
        request->dry_run = true;
    return make_request(g, KAP_OP_REF_DELETE, curator_or_another(g), request, "%s %s",
                        model_kind_name((uint8_t)request->kind), sim_id(request->id));
}

struct sim_request *generate_delete(struct generator *g)
{
    static const uint8_t kinds[] = {KAP_KIND_SEQUENCE,   KAP_KIND_SEQUENCE, KAP_KIND_OBJECTIVE, KAP_KIND_EXERCISE,
                                    KAP_KIND_EXERCISE,   KAP_KIND_EXERCISE, KAP_KIND_VARIATION, KAP_KIND_CLUB,
                                    KAP_KIND_MEMBERSHIP, KAP_KIND_TAG,      KAP_KIND_USER,      KAP_KIND_SESSION};
    uint32_t turn = draw(g, 10);
    if (turn < 3)
        return session_delete(g);
    if (turn < 4)
        return ref_delete(g);
    struct kap_row_delete_request *request = make(g, sizeof *request);
    uint8_t kind = kinds[draw(g, sizeof kinds)];
    const struct sim_row *row = pick_row(g, kind);
    request->has_kind = request->has_id = true;
    request->kind = kind;
    request->id = row && !model_is_placeholder(row->id) ? row->id : pick_id(g, kind);
    if ((request->has_expected_rev = row && chance(g, 20)))
        request->expected_rev = row->rev + chance(g, 30);
    if ((request->has_force = chance(g, 30)))
        request->force = true;
    if ((request->has_dry_run = chance(g, 15)))
        request->dry_run = true;
    return make_request(g, KAP_OP_ROW_DELETE, row ? who_may_write(g, row) : pick_who(g), request, "%s %s%s",
                        model_kind_name(kind), sim_id(request->id), request->has_dry_run ? " dry" : "");
}

/* ---- the beginning */

static void must(struct generator *g, struct sim_request *request)
{
    request->meta = (struct kap_meta){0};
    if (world_call(g->world, request, NULL) != KAP_OK)
        sim_fail("%s: the world cannot be set up", request->text);
}

static void principal_add(struct generator *g, const char *name, enum kap_role role)
{
    struct world *world = g->world;
    struct kap_id id = make_id(g);
    struct sim_request *request = user_make(g, world->principals[0], id, name, (int32_t)role);
    request->who = world->principals[0];
    must(g, request);
    world->principals[world->n_principals++] = (struct sim_who){.user = id, .roles = (uint16_t)(1u << role)};
}

void generator_setup(struct world *world)
{
    static const struct {
        enum kap_ref_kind list;
        const char *value;
    } items[] = {{KAP_REF_KIND_SPORT, "handball"},      {KAP_REF_KIND_SPORT, "basket"},
                 {KAP_REF_KIND_LEVEL, "novice"},        {KAP_REF_KIND_LEVEL, "expert"},
                 {KAP_REF_KIND_INTENSITY, "medium"},    {KAP_REF_KIND_INTENSITY, "high"},
                 {KAP_REF_KIND_EQUIPMENT, "ball"},      {KAP_REF_KIND_MUSCLE, "biceps"},
                 {KAP_REF_KIND_EXERCISE_CATEGORY, "a"}, {KAP_REF_KIND_EXERCISE_CATEGORY, "b"}};
    struct generator *g = world->generator;
    uint32_t n_coaches = 1 + draw(g, 4);
    world->principals[world->n_principals++] =
        (struct sim_who){.roles = 1u << KAP_ROLE_ADMIN}; /* before there is an account */
    principal_add(g, "curator", KAP_ROLE_CURATOR);
    for (uint32_t i = 0; i < n_coaches; i++)
        principal_add(g, kap_arena_printf(&world->arena, "coach%u", i), KAP_ROLE_COACH);
    principal_add(g, "expert", KAP_ROLE_EXPERT);
    principal_add(g, "viewer", KAP_ROLE_VIEWER);
    principal_add(g, "admin", KAP_ROLE_ADMIN);
    world->principals[world->n_principals++] = (struct sim_who){.roles = 1u << KAP_ROLE_SERVICE};
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++)
        must(g, item_make(g, world->principals[0], make_sys(g, make_id(g)), items[i].list, items[i].value));
    g->is_under_way = true;
}
