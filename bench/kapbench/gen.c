#include "bench/kapbench/gen.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "proto/seed_ids.h"

struct sizes {
    uint32_t clubs, users, library, sessions;
};
static const struct sizes sizes[] = {[KAP_GEN_TINY] = {3, 60, 80, 600}, [KAP_GEN_SMALL] = {40, 1000, 873, 20000}};

struct ref_seed {
    int32_t kind;
    const char *value, *label;
};
static const struct ref_seed ref_seeds[] = {
    {KAP_REF_KIND_SPORT, "handball", "Handball"},
    {KAP_REF_KIND_SPORT, "football", "Football"},
    {KAP_REF_KIND_SPORT, "basketball", "Basket-ball"},
    {KAP_REF_KIND_SPORT, "volleyball", "Volley-ball"},
    {KAP_REF_KIND_SPORT, "rugby", "Rugby"},
    {KAP_REF_KIND_SPORT, "strength", "Musculation"},
    {KAP_REF_KIND_LEVEL, "novice", "Novice"},
    {KAP_REF_KIND_LEVEL, "regional", "Régional"},
    {KAP_REF_KIND_LEVEL, "national", "National"},
    {KAP_REF_KIND_INTENSITY, "low", "Faible"},
    {KAP_REF_KIND_INTENSITY, "medium", "Moyenne"},
    {KAP_REF_KIND_INTENSITY, "high", "Élevée"},
    {KAP_REF_KIND_EXERCISE_CATEGORY, "technical", "Technique"},
    {KAP_REF_KIND_EXERCISE_CATEGORY, "tactical", "Tactique"},
    {KAP_REF_KIND_EXERCISE_CATEGORY, "physical", "Physique"},
    {KAP_REF_KIND_EQUIPMENT, "cones", "Plots"},
    {KAP_REF_KIND_EQUIPMENT, "balls", "Ballons"},
    {KAP_REF_KIND_EQUIPMENT, "bibs", "Chasubles"},
};
enum { SPORTS = 6, LEVEL_FIRST = 6, INTENSITY_FIRST = 9, CATEGORY_FIRST = 12, EQUIPMENT_FIRST = 15 };

/* Ids are functions of (seed, kind, number), so that any part can name any other. */
static struct kap_id id_of(uint64_t seed, uint32_t kind, uint64_t n)
{
    struct kap_draw draw;
    kap_draw_init(&draw, seed ^ ((uint64_t)kind << 56) ^ n * UINT64_C(0xa0761d6478bd642f));
    kap_draw_next(&draw);
    return kap_draw_id(&draw);
}

/* The ids that an import gives the same values. */
static struct kap_id ref_id(uint32_t slot)
{
    return kap_seed_ref_id(ref_seeds[slot].kind, ref_seeds[slot].value);
}

struct kap_id kap_gen_sequence_id(struct kap_id session, uint32_t slot)
{
    session.bytes[14] ^= (uint8_t)(slot + 1);
    session.bytes[15] ^= 0x5e;
    return session;
}

struct kap_id kap_gen_user_id(uint64_t seed, uint64_t n)
{
    return id_of(seed, KAP_KIND_USER, n);
}

struct kap_id kap_gen_session_id(uint64_t seed, uint64_t n)
{
    return id_of(seed, KAP_KIND_SESSION, n);
}

uint64_t kap_gen_sessions(enum kap_gen_scale scale)
{
    return sizes[scale].sessions;
}

uint64_t kap_gen_users(enum kap_gen_scale scale)
{
    return sizes[scale].users;
}

/* One in twelve only looks. */
static bool is_viewer(uint64_t user)
{
    return user % 12 == 11;
}

/* Coaches own sessions by a power law: few heavy accounts, many light ones, some with none. */
static uint32_t session_owner(enum kap_gen_scale scale, uint64_t seed, uint64_t n)
{
    struct kap_draw draw;
    kap_draw_init(&draw, seed * 31 + n);
    uint32_t owner = kap_draw_zipf(&draw, sizes[scale].users, 0.6);
    return is_viewer(owner) ? owner - 1 : owner;
}

struct kap_id kap_gen_session_owner(enum kap_gen_scale scale, uint64_t seed, uint64_t n)
{
    return kap_gen_user_id(seed, session_owner(scale, seed, n));
}

struct gen {
    struct kap_arena arena;
    enum kap_gen_scale scale;
    uint64_t seed;
    struct kap_draw draw;
    kap_gen_emit emit;
    void *context;
    struct kap_gen_counts *counts;
};

static struct kap_sys *sys_of(struct kap_arena *arena, struct kap_id id)
{
    struct kap_sys *sys = kap_arena_push(arena, sizeof *sys);
    KAP_ASSERT(sys);
    sys->has_id = true;
    sys->id = id;
    return sys;
}

static void *made(struct kap_arena *arena, size_t bytes)
{
    void *pointer = kap_arena_push(arena, bytes);
    KAP_ASSERT(pointer); /* the arena has no cap: a machine without memory for one session cannot run a benchmark */
    return pointer;
}

#define SET(message, field, value) ((message)->has_##field = true, (message)->field = (value))

static struct kap_bytes printed(struct kap_arena *arena, const char *format, uint64_t n)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    char *text = kap_arena_printf(arena, format, (unsigned long long)n);
#pragma GCC diagnostic pop
    KAP_ASSERT(text);
    return kap_bytes_str(text);
}

static kap_status refs_emit(struct gen *gen)
{
    kap_status status = KAP_OK;
    for (uint32_t i = 0; i < KAP_ARRAY_LEN(ref_seeds) && status == KAP_OK; i++) {
        struct kap_ref_item item = {.sys = sys_of(&gen->arena, ref_id(i))};
        struct kap_ref_put_request request = {.item = &item};
        SET(&item, kind, ref_seeds[i].kind);
        SET(&item, value, kap_bytes_str(ref_seeds[i].value));
        SET(&item, label, kap_bytes_str(ref_seeds[i].label));
        status = gen->emit(gen->context, KAP_OP_REF_PUT, &kap_ref_put_request_msg, &request, (struct kap_id){{0}});
        gen->counts->ref_items++;
    }
    return status;
}

static kap_status users_emit(struct gen *gen)
{
    kap_status status = KAP_OK;
    for (uint64_t i = 0; i < sizes[gen->scale].users && status == KAP_OK; i++) {
        kap_arena_reset(&gen->arena);
        struct kap_user user = {.sys = sys_of(&gen->arena, kap_gen_user_id(gen->seed, i))};
        struct kap_profile profile = {0};
        struct kap_user_create_request request = {.user = &user, .profile = &profile};
        static int32_t coach[] = {KAP_ROLE_COACH}, expert[] = {KAP_ROLE_COACH, KAP_ROLE_EXPERT},
                       viewer[] = {KAP_ROLE_VIEWER};
        user.roles = is_viewer(i) ? viewer : kap_draw_below(&gen->draw, 100) < 4 ? expert : coach;
        user.n_roles = user.roles == expert ? 2 : 1;
        SET(&user, email, printed(&gen->arena, "coach%llu@example.org", i));
        SET(&user, status, KAP_USER_STATUS_ACTIVE);
        SET(&profile, username, printed(&gen->arena, "coach.%llu", i));
        SET(&profile, full_name, printed(&gen->arena, "Entraîneur n° %llu", i));
        status =
            gen->emit(gen->context, KAP_OP_USER_CREATE, &kap_user_create_request_msg, &request, (struct kap_id){{0}});
        gen->counts->users++;
    }
    return status;
}

/* Club of a user: Pareto sizes, so the first clubs are large. */
static uint32_t user_club(const struct gen *gen, uint64_t user)
{
    struct kap_draw draw;
    kap_draw_init(&draw, gen->seed * 17 + user);
    return kap_draw_zipf(&draw, sizes[gen->scale].clubs, 0.8);
}

static kap_status clubs_emit(struct gen *gen)
{
    kap_status status = KAP_OK;
    for (uint64_t i = 0; i < sizes[gen->scale].clubs && status == KAP_OK; i++) {
        kap_arena_reset(&gen->arena);
        struct kap_club club = {.sys = sys_of(&gen->arena, id_of(gen->seed, KAP_KIND_CLUB, i))};
        struct kap_club_save_request request = {.club = &club};
        SET(&club, name, printed(&gen->arena, "Club sportif n° %llu", i));
        SET(&club, slug, printed(&gen->arena, "club-%llu", i));
        SET(&club, sport, ref_id(kap_draw_below(&gen->draw, SPORTS)));
        status = gen->emit(gen->context, KAP_OP_CLUB_SAVE, &kap_club_save_request_msg, &request, (struct kap_id){{0}});
        gen->counts->clubs++;
    }
    for (uint64_t i = 0; i < sizes[gen->scale].users && status == KAP_OK; i++) {
        struct kap_membership_set_request request = {0};
        SET(&request, club, id_of(gen->seed, KAP_KIND_CLUB, user_club(gen, i)));
        SET(&request, user, kap_gen_user_id(gen->seed, i));
        SET(&request, role, KAP_CLUB_ROLE_COACH);
        status = gen->emit(gen->context, KAP_OP_MEMBERSHIP_SET, &kap_membership_set_request_msg, &request,
                           (struct kap_id){{0}});
    }
    return status;
}

static void exercise_text(struct kap_draw *draw, struct kap_arena *arena, struct kap_exercise *exercise)
{
    SET(exercise, title, kap_text_title(draw, arena));
    SET(exercise, description, kap_text_prose(draw, arena, kap_draw_lognormal(draw, 600, 0.4, 120, 4000), 5000));
    SET(exercise, coach_instructions, kap_text_prose(draw, arena, 200, 600));
    exercise->n_steps = 2 + kap_draw_below(draw, 2);
    exercise->steps = made(arena, exercise->n_steps * sizeof exercise->steps[0]);
    for (size_t i = 0; i < exercise->n_steps; i++)
        exercise->steps[i] = kap_text_prose(draw, arena, 90, 400);
    SET(exercise, duration, 5 + kap_draw_below(draw, 20));
}

static kap_status library_emit(struct gen *gen)
{
    kap_status status = KAP_OK;
    for (uint64_t i = 0; i < sizes[gen->scale].library && status == KAP_OK; i++) {
        kap_arena_reset(&gen->arena);
        struct kap_exercise exercise = {.sys = sys_of(&gen->arena, id_of(gen->seed, KAP_KIND_EXERCISE, i))};
        struct kap_exercise_put_request request = {.exercise = &exercise};
        exercise_text(&gen->draw, &gen->arena, &exercise);
        SET(&exercise, slug, printed(&gen->arena, "exercice-%llu", i));
        SET(&exercise, activity_type, KAP_ACTIVITY_TYPE_EXERCISE);
        SET(&exercise, category, ref_id(CATEGORY_FIRST + kap_draw_below(&gen->draw, 3)));
        SET(&exercise, visibility, KAP_VISIBILITY_PUBLIC);
        exercise.n_equipment = 1;
        exercise.equipment = made(&gen->arena, sizeof exercise.equipment[0]);
        exercise.equipment[0] = ref_id(EQUIPMENT_FIRST + kap_draw_below(&gen->draw, 3));
        status =
            gen->emit(gen->context, KAP_OP_EXERCISE_PUT, &kap_exercise_put_request_msg, &request, (struct kap_id){{0}});
        gen->counts->library++;
    }
    return status;
}

static uint32_t sport_draw(struct kap_draw *draw)
{
    static const uint8_t upto[SPORTS] = {35, 60, 75, 85, 93, 100};
    uint32_t mix = kap_draw_below(draw, 100), sport = 0;
    while (mix >= upto[sport])
        sport++;
    return sport;
}

static void objective_fill(struct kap_draw *draw, struct kap_arena *arena, struct kap_objective *objective)
{
    objective->sys = sys_of(arena, kap_draw_id(draw));
    SET(objective, description, kap_text_prose(draw, arena, 90, 300));
    SET(objective, objective_type, 1 + (int32_t)kap_draw_below(draw, 3));
    SET(objective, is_priority, kap_draw_below(draw, 3) == 0);
}

static void sequence_fill(struct kap_draw *draw, struct kap_arena *arena, struct kap_id session, uint32_t slot,
                          uint32_t n_sequences, uint32_t n_exercises, struct kap_sequence_node *node)
{
    struct kap_sequence *sequence = made(arena, sizeof *sequence);
    node->sequence = sequence;
    sequence->sys = sys_of(arena, kap_gen_sequence_id(session, slot));
    SET(sequence, title, kap_text_title(draw, arena));
    SET(sequence, objective, kap_text_prose(draw, arena, 100, 300));
    SET(sequence, description, kap_text_prose(draw, arena, 150, 500));
    SET(sequence, type,
        slot == 0                 ? KAP_SEQUENCE_TYPE_WARMUP
        : slot + 1 == n_sequences ? KAP_SEQUENCE_TYPE_COOLDOWN
                                  : KAP_SEQUENCE_TYPE_MAIN);
    SET(sequence, duration, 10 + kap_draw_below(draw, 20));
    SET(sequence, intensity, ref_id(INTENSITY_FIRST + kap_draw_below(draw, 3)));
    node->n_exercises = n_exercises;
    node->exercises = made(arena, n_exercises * sizeof node->exercises[0]);
    for (uint32_t i = 0; i < n_exercises; i++) {
        struct kap_exercise *exercise = made(arena, sizeof *exercise);
        node->exercises[i].exercise = exercise;
        exercise->sys = sys_of(arena, kap_draw_id(draw));
        exercise_text(draw, arena, exercise);
        SET(exercise, activity_type, 1 + (int32_t)kap_draw_below(draw, 4));
        SET(exercise, opposition, 1 + (int32_t)kap_draw_below(draw, 4));
    }
}

void kap_gen_comment(struct kap_draw *draw, struct kap_arena *arena, struct kap_id session,
                     struct kap_comment_put_request *request_out)
{
    struct kap_comment *comment = made(arena, sizeof *comment);
    *request_out = (struct kap_comment_put_request){.comment = comment};
    comment->sys = sys_of(arena, kap_draw_id(draw));
    SET(comment, session, session);
    SET(comment, content, kap_text_prose(draw, arena, kap_draw_lognormal(draw, 90, 0.9, 20, 4000), 5000));
    SET(comment, kind, KAP_COMMENT_KIND_FEEDBACK);
}

void kap_gen_session(struct kap_draw *draw, struct kap_arena *arena, struct kap_id id, struct kap_id owner,
                     uint32_t n_sequences, uint32_t n_exercises, struct kap_session_save_request *request_out)
{
    struct kap_session *session = made(arena, sizeof *session);
    *request_out = (struct kap_session_save_request){.session = session};
    session->sys = sys_of(arena, id);
    SET(session, owner, owner);
    SET(session, title, kap_text_title(draw, arena));
    SET(session, description, kap_text_prose(draw, arena, kap_draw_lognormal(draw, 500, 0.5, 80, 3000), 4000));
    SET(session, objective, kap_text_prose(draw, arena, 150, 500));
    SET(session, sport, ref_id(sport_draw(draw)));
    SET(session, level, ref_id(LEVEL_FIRST + kap_draw_below(draw, 3)));
    SET(session, intensity, ref_id(INTENSITY_FIRST + kap_draw_below(draw, 3)));
    SET(session, age_category, 1 + (int32_t)kap_draw_below(draw, 7));
    SET(session, duration, 60 + 15 * kap_draw_below(draw, 5));
    SET(session, participants_min, 6 + kap_draw_below(draw, 6));
    SET(session, participants_max, 12 + kap_draw_below(draw, 12));
    uint32_t mix = kap_draw_below(draw, 100);
    SET(session, visibility,
        mix < 55   ? KAP_VISIBILITY_PRIVATE
        : mix < 90 ? KAP_VISIBILITY_CLUB
                   : KAP_VISIBILITY_PUBLIC);
    request_out->n_sequences = n_sequences;
    request_out->sequences = made(arena, n_sequences * sizeof request_out->sequences[0]);
    for (uint32_t i = 0; i < n_sequences; i++)
        sequence_fill(draw, arena, id, i, n_sequences, n_exercises ? n_exercises : 1 + kap_draw_below(draw, 5),
                      &request_out->sequences[i]);
    SET(request_out, mode, KAP_SAVE_MODE_REPLACE);
}

static void session_parts_add(struct gen *gen, struct kap_session_save_request *request)
{
    request->n_objectives = 1 + kap_draw_below(&gen->draw, 2);
    request->objectives = made(&gen->arena, request->n_objectives * sizeof request->objectives[0]);
    for (size_t i = 0; i < request->n_objectives; i++)
        objective_fill(&gen->draw, &gen->arena, &request->objectives[i]);
    gen->counts->objectives += request->n_objectives;
    for (size_t i = 0; i < request->n_sequences; i++) {
        struct kap_sequence_node *node = &request->sequences[i];
        gen->counts->exercises += node->n_exercises;
        node->n_objectives = 1 + (kap_draw_below(&gen->draw, 10) < 4);
        node->objectives = made(&gen->arena, node->n_objectives * sizeof node->objectives[0]);
        for (size_t j = 0; j < node->n_objectives; j++)
            objective_fill(&gen->draw, &gen->arena, &node->objectives[j]);
        gen->counts->objectives += node->n_objectives;
        for (size_t j = 0; j < node->n_exercises; j++) {
            struct kap_exercise_node *exercise = &node->exercises[j];
            SET(exercise->exercise, source,
                id_of(gen->seed, KAP_KIND_EXERCISE, kap_draw_zipf(&gen->draw, sizes[gen->scale].library, 0.9)));
            exercise->n_variations = kap_draw_below(&gen->draw, 6) == 0;
            exercise->variations = made(&gen->arena, sizeof exercise->variations[0]);
            struct kap_variation *variation = exercise->variations;
            variation->sys = sys_of(&gen->arena, kap_draw_id(&gen->draw));
            SET(variation, title, kap_text_title(&gen->draw, &gen->arena));
            gen->counts->variations += exercise->n_variations;
        }
    }
    gen->counts->sequences += request->n_sequences;
}

static kap_status sessions_emit(struct gen *gen)
{
    kap_status status = KAP_OK;
    for (uint64_t i = 0; i < sizes[gen->scale].sessions && status == KAP_OK; i++) {
        struct kap_session_save_request request;
        uint32_t mix = kap_draw_below(&gen->draw, 100), owner = session_owner(gen->scale, gen->seed, i);
        uint32_t n_sequences = mix < 25 ? 3 : mix < 65 ? 4 : mix < 85 ? 5 : 6 + kap_draw_below(&gen->draw, 3);
        kap_arena_reset(&gen->arena);
        kap_gen_session(&gen->draw, &gen->arena, kap_gen_session_id(gen->seed, i), kap_gen_user_id(gen->seed, owner),
                        n_sequences, 0, &request);
        if (request.session->visibility == KAP_VISIBILITY_CLUB)
            SET(request.session, club, id_of(gen->seed, KAP_KIND_CLUB, user_club(gen, owner)));
        session_parts_add(gen, &request);
        status = gen->emit(gen->context, KAP_OP_SESSION_SAVE, &kap_session_save_request_msg, &request,
                           kap_gen_user_id(gen->seed, owner));
        gen->counts->sessions++;
    }
    return status;
}

/* Seven sessions in ten have no comment; a few have many. The owner writes them: everybody may read their own. */
static kap_status comments_emit(struct gen *gen)
{
    kap_status status = KAP_OK;
    for (uint64_t i = 0; i < sizes[gen->scale].sessions && status == KAP_OK; i++) {
        if (kap_draw_below(&gen->draw, 10) < 7)
            continue;
        uint32_t owner = session_owner(gen->scale, gen->seed, i), n = 1 + kap_draw_zipf(&gen->draw, 24, 1.2);
        for (uint32_t j = 0; j < n && status == KAP_OK; j++) {
            struct kap_comment_put_request request;
            kap_arena_reset(&gen->arena);
            kap_gen_comment(&gen->draw, &gen->arena, kap_gen_session_id(gen->seed, i), &request);
            status = gen->emit(gen->context, KAP_OP_COMMENT_PUT, &kap_comment_put_request_msg, &request,
                               kap_gen_user_id(gen->seed, owner));
            gen->counts->comments++;
        }
    }
    return status;
}

/* Library exercises, which everybody may read. */
static kap_status favorites_emit(struct gen *gen)
{
    kap_status status = KAP_OK;
    for (uint64_t i = 0; i < sizes[gen->scale].users && status == KAP_OK; i++) {
        uint32_t n = kap_draw_below(&gen->draw, 7);
        for (uint32_t j = 0; j < n && status == KAP_OK; j++) {
            struct kap_favorite_set_request request = {0};
            SET(&request, target_kind, KAP_KIND_EXERCISE);
            SET(&request, target,
                id_of(gen->seed, KAP_KIND_EXERCISE, kap_draw_zipf(&gen->draw, sizes[gen->scale].library, 0.9)));
            status = gen->emit(gen->context, KAP_OP_FAVORITE_SET, &kap_favorite_set_request_msg, &request,
                               kap_gen_user_id(gen->seed, i));
            gen->counts->favorites++;
        }
    }
    return status;
}

kap_status kap_gen_run(struct kap_memory *memory, enum kap_gen_scale scale, uint64_t seed, kap_gen_emit emit,
                       void *context, struct kap_gen_counts *counts_out)
{
    struct gen gen = {.scale = scale, .seed = seed, .emit = emit, .context = context, .counts = counts_out};
    *counts_out = (struct kap_gen_counts){0};
    kap_arena_init(&gen.arena, memory, 256 * 1024, 0);
    kap_draw_init(&gen.draw, seed);
    kap_status status = refs_emit(&gen);
    if (status == KAP_OK)
        status = users_emit(&gen);
    if (status == KAP_OK)
        status = clubs_emit(&gen);
    if (status == KAP_OK)
        status = library_emit(&gen);
    if (status == KAP_OK)
        status = sessions_emit(&gen);
    if (status == KAP_OK)
        status = comments_emit(&gen);
    if (status == KAP_OK)
        status = favorites_emit(&gen);
    kap_arena_deinit(&gen.arena);
    return status;
}
