#include "engine/model/template.h"

#include "engine/base/assert.h"
#include "engine/model/model_internal.h"
#include "engine/model/session.h"

static kap_status usage_count(struct kap_model *model, struct kap_id template, uint64_t *count_out)
{
    struct kap_key key;
    kap_index_count_key_init(&key, KAP_INDEX_SESSION_BY_TEMPLATE);
    kap_key_put_id(&key, template);
    return kap_model_count(model, &key, count_out);
}

kap_status kap_template_get(struct kap_model *model, const struct kap_template_get_request *request,
                            struct kap_template_get_reply *reply)
{
    struct kap_row row;
    void *message;
    kap_status status = kap_model_get(model, KAP_KIND_TEMPLATE, request->id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(model, KAP_KIND_TEMPLATE, row.bytes, &message);
    if (status == KAP_OK)
        status = usage_count(model, request->id, &reply->sessions);
    if (status != KAP_OK)
        return status;
    reply->template = message;
    reply->has_sessions = true;
    return KAP_OK;
}

/* ---- list */

struct template_list {
    struct kap_model *model;
    const struct kap_list_scope *scope;
    const struct kap_template_list_request *request;
    struct kap_template_list_reply *reply;
    struct kap_listing list;
    bool is_filtered; /* by something the index does not answer */
    bool needs_row; /* the entry holds no card */
};

static bool wanted(const struct template_list *t, const struct kap_template *row)
{
    const struct kap_template_list_request *r = t->request;
    bool has_status = r->n_status == 0;
    for (size_t i = 0; i < r->n_status; i++)
        has_status |= r->status[i] == row->status;
    return has_status && (!r->has_visibility || r->visibility == row->visibility) &&
           (!r->has_kind || r->kind == row->kind) &&
           (!r->has_age_category || (row->has_age_category && r->age_category == row->age_category)) &&
           (!r->has_owner || (row->has_owner && kap_id_eq(r->owner, row->owner))) &&
           (!r->has_club || (row->has_club && kap_id_eq(r->club, row->club))) &&
           (!r->has_sport || (row->has_sport && kap_id_eq(r->sport, row->sport))) &&
           (!r->has_level || (row->has_level && kap_id_eq(r->level, row->level)));
}

static kap_status card_fill(struct template_list *t, struct kap_id id, const struct kap_template *row)
{
    struct kap_template_card *card = &t->reply->templates[t->reply->n_templates++];
    *card = (struct kap_template_card){.has_id = true,
                                       .id = id,
                                       .has_owner = row->has_owner,
                                       .owner = row->owner,
                                       .has_club = row->has_club,
                                       .club = row->club,
                                       .has_name = true,
                                       .name = row->name,
                                       .has_kind = true,
                                       .kind = row->kind,
                                       .has_sport = row->has_sport,
                                       .sport = row->sport,
                                       .has_level = row->has_level,
                                       .level = row->level,
                                       .has_age_category = row->has_age_category,
                                       .age_category = row->age_category,
                                       .has_version = row->has_version,
                                       .version = row->version,
                                       .has_visibility = true,
                                       .visibility = row->visibility,
                                       .has_status = true,
                                       .status = row->status};
    if (!t->request->has_want_usage || !t->request->want_usage)
        return KAP_OK;
    card->has_sessions = true;
    return usage_count(t->model, id, &card->sessions);
}

static kap_status card_keep(void *context, const struct kap_list_entry *entry)
{
    struct template_list *t = context;
    struct kap_row row = {.kind = KAP_KIND_TEMPLATE, .root = entry->id, .id = entry->id, .bytes = entry->value};
    void *message;
    bool may;
    kap_status status = t->needs_row ? kap_model_find_in(t->model, KAP_KIND_TEMPLATE, entry->id, entry->id, &row)
                                     : model_row_answer(t->model, KAP_KIND_TEMPLATE, entry->value, &row.bytes);
    if (status == KAP_NOT_FOUND)
        return kap_model_refuse_row(t->model, KAP_CORRUPT, KAP_KIND_TEMPLATE, entry->id,
                                    "an index names a template that is not there");
    if (status == KAP_OK)
        status = kap_model_may(t->model, KAP_MAY_READ, &row, &may);
    if (status != KAP_OK || !may)
        return status == KAP_OK ? KAP_NOT_FOUND : status;
    status = model_decode_entry(t->model, KAP_KIND_TEMPLATE, row.bytes, &message);
    if (status != KAP_OK)
        return status;
    if (!wanted(t, message))
        return KAP_NOT_FOUND;
    return t->list.is_counting ? KAP_OK : card_fill(t, entry->id, message);
}

static enum kap_bucket bucket_of(void *context, const uint64_t *parts, uint32_t n_parts)
{
    const struct template_list *t = context;
    const struct kap_template_list_request *r = t->request;
    bool has_status = r->n_status == 0;
    KAP_ASSERT(n_parts == 2);
    uint64_t visibility = parts[0], status = parts[1];
    for (size_t i = 0; i < r->n_status; i++)
        has_status |= (uint64_t)r->status[i] == status;
    if (!has_status || (r->has_visibility && (uint64_t)r->visibility != visibility))
        return KAP_BUCKET_HIDDEN;
    bool is_own = r->has_owner && kap_id_eq(r->owner, t->scope->user);
    if (t->scope->is_admin || is_own || (visibility == KAP_VISIBILITY_PUBLIC && status != KAP_TEMPLATE_STATUS_DRAFT))
        return KAP_BUCKET_VISIBLE;
    return KAP_BUCKET_MIXED;
}

/* The parent of the index that answers most; the rest stays a filter. */
static void index_choose(struct template_list *t)
{
    const struct kap_template_list_request *r = t->request;
    const bool by_term = !r->has_owner && !r->has_club && (r->has_sport || r->has_level);
    t->list.index = r->has_owner  ? KAP_INDEX_TEMPLATE_BY_OWNER
                    : r->has_club ? KAP_INDEX_TEMPLATE_BY_CLUB
                    : by_term     ? KAP_INDEX_TEMPLATE_BY_TERM
                                  : KAP_INDEX_TEMPLATE_ALL;
    kap_index_key_init(&t->list.prefix, t->list.index);
    if (r->has_owner || r->has_club)
        kap_key_put_id(&t->list.prefix, r->has_owner ? r->owner : r->club);
    else if (by_term)
        kap_key_put_id(&t->list.prefix, r->has_sport ? r->sport : r->level);
    t->needs_row = by_term;
    t->list.is_filtered =
        by_term || r->has_kind || r->has_age_category || (r->has_club && r->has_owner) || r->has_sport || r->has_level;
}

kap_status kap_template_list(struct kap_model *model, const struct kap_list_scope *scope,
                             const struct kap_template_list_request *request, struct kap_template_list_reply *reply)
{
    struct kap_template_list_request filters = *request;
    struct template_list t = {.model = model, .scope = scope, .request = request, .reply = reply};
    t.list = (struct kap_listing){
        .scope = scope, .page = request->page, .keep = card_keep, .bucket = bucket_of, .context = &t};
    reply->templates = kap_arena_push(model->arena, kap_listing_limit(request->page) * sizeof *reply->templates);
    if (!reply->templates)
        return KAP_NO_MEMORY;
    index_choose(&t);
    filters.page = NULL;
    struct kap_bytes bytes = kap_wire_encode_in(&kap_template_list_request_msg, &filters, model->arena);
    if (!bytes.data)
        return KAP_NO_MEMORY;
    t.list.filter_digest = kap_list_digest(t.list.index, bytes.data, bytes.len);
    return kap_listing_run(model, &t.list, &reply->end);
}

/* ---- instantiate: the structure becomes a request to save a tree */

struct making {
    struct kap_model *model;
    kap_status status; /* of the first thing that went wrong */
};

static void *make(struct making *m, size_t n, size_t size)
{
    void *made = kap_arena_push(m->model->arena, n * size + 1);
    if (!made && m->status == KAP_OK)
        m->status = KAP_NO_MEMORY;
    return made;
}

static struct kap_sys *sys_make(struct making *m, struct kap_id id)
{
    struct kap_sys *sys = make(m, 1, sizeof *sys);
    if (sys)
        *sys = (struct kap_sys){.has_id = true, .id = id};
    return sys;
}

/* What a template refers to may have gone since; then it is left out. */
static bool is_there(struct making *m, uint8_t kind, bool has, struct kap_id id)
{
    struct kap_row row;
    bool may = false;
    if (!has || m->status != KAP_OK)
        return false;
    kap_status status = kap_model_find(m->model, kind, id, &row);
    if (status == KAP_OK)
        status = kap_model_may(m->model, KAP_MAY_READ, &row, &may);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        m->status = status;
    return status == KAP_OK && may;
}

static void objectives_make(struct making *m, const struct kap_template_objective *from, size_t n,
                            struct kap_objective **to, size_t *n_out)
{
    struct kap_objective *made = make(m, n, sizeof *made);
    for (size_t i = 0; made && i < n; i++)
        made[i] = (struct kap_objective){.has_description = true,
                                         .description = from[i].description,
                                         .has_objective_type = true,
                                         .objective_type = from[i].objective_type,
                                         .has_category = from[i].has_category,
                                         .category = from[i].category,
                                         .has_is_priority = from[i].has_is_priority,
                                         .is_priority = from[i].is_priority};
    *to = made;
    *n_out = made ? n : 0;
}

static void exercise_make(struct making *m, const struct kap_template_exercise *from, struct kap_exercise_node *to)
{
    struct kap_exercise *exercise = make(m, 1, sizeof *exercise);
    struct kap_variation *variations = make(m, from->n_variations, sizeof *variations);
    if (!exercise || !variations)
        return;
    *exercise = (struct kap_exercise){.has_title = true,
                                      .title = from->title,
                                      .has_description = true,
                                      .description = from->description,
                                      .has_objective = from->has_objective,
                                      .objective = from->objective,
                                      .has_activity_type = from->has_activity_type,
                                      .activity_type = from->activity_type,
                                      .has_duration = from->has_duration,
                                      .duration = from->duration,
                                      .has_setup_instructions = from->has_setup_instructions,
                                      .setup_instructions = from->setup_instructions,
                                      .has_player_instructions = from->has_player_instructions,
                                      .player_instructions = from->player_instructions,
                                      .has_coach_instructions = from->has_coach_instructions,
                                      .coach_instructions = from->coach_instructions};
    exercise->has_intensity = is_there(m, KAP_KIND_REF_ITEM, from->has_intensity, from->intensity);
    exercise->intensity = from->intensity;
    exercise->has_source = is_there(m, KAP_KIND_EXERCISE, from->has_source, from->source);
    exercise->source = from->source;
    for (size_t i = 0; i < from->n_variations; i++)
        variations[i] = (struct kap_variation){.has_title = true,
                                               .title = from->variations[i].title,
                                               .has_description = from->variations[i].has_description,
                                               .description = from->variations[i].description,
                                               .has_difficulty_delta = from->variations[i].has_difficulty_delta,
                                               .difficulty_delta = from->variations[i].difficulty_delta,
                                               .has_duration = from->variations[i].has_duration,
                                               .duration = from->variations[i].duration};
    *to =
        (struct kap_exercise_node){.exercise = exercise, .n_variations = from->n_variations, .variations = variations};
}

static void exercises_make(struct making *m, const struct kap_template_exercise *from, size_t n,
                           struct kap_exercise_node **to, size_t *n_out)
{
    *to = make(m, n, sizeof **to);
    for (*n_out = 0; *to && *n_out < n; (*n_out)++)
        exercise_make(m, &from[*n_out], &(*to)[*n_out]);
}

static void sequence_make(struct making *m, const struct kap_template_sequence *from, struct kap_sequence_node *to)
{
    struct kap_sequence *sequence = make(m, 1, sizeof *sequence);
    if (!sequence)
        return;
    *sequence = (struct kap_sequence){.has_title = true,
                                      .title = from->title,
                                      .has_type = true,
                                      .type = from->type,
                                      .has_duration = true,
                                      .duration = from->duration,
                                      .has_objective = true,
                                      .objective = from->objective,
                                      .has_description = from->has_description,
                                      .description = from->description};
    sequence->has_intensity = is_there(m, KAP_KIND_REF_ITEM, from->has_intensity, from->intensity);
    sequence->intensity = from->intensity;
    to->sequence = sequence;
    objectives_make(m, from->objectives, from->n_objectives, &to->objectives, &to->n_objectives);
    exercises_make(m, from->exercises, from->n_exercises, &to->exercises, &to->n_exercises);
}

static void sequences_make(struct making *m, const struct kap_template_structure *from,
                           struct kap_session_save_request *save)
{
    save->sequences = make(m, from->n_sequences, sizeof *save->sequences);
    for (; save->sequences && save->n_sequences < from->n_sequences; save->n_sequences++) {
        save->sequences[save->n_sequences] = (struct kap_sequence_node){0};
        sequence_make(m, &from->sequences[save->n_sequences], &save->sequences[save->n_sequences]);
    }
}

static uint32_t minutes_of(const struct kap_template_structure *s)
{
    uint64_t minutes = 0;
    for (size_t i = 0; i < s->n_sequences; i++)
        minutes += s->sequences[i].duration;
    return minutes > 1440 ? 1440 : (uint32_t)minutes;
}

/* What the request does not say of the session, the template does. */
static void session_fill(struct kap_session *session, const struct kap_template *t)
{
    const struct kap_template_structure *s = t->structure;
    uint32_t minutes = s->has_duration ? s->duration : minutes_of(s);
#define FILL(FIELD, HAS, VALUE)                                                                                        \
    if (!session->has_##FIELD && (HAS)) {                                                                              \
        session->has_##FIELD = true;                                                                                   \
        session->FIELD = (VALUE);                                                                                      \
    }
    FILL(title, true, t->name)
    FILL(description, t->has_description, t->description)
    FILL(objective, s->n_objectives > 0, s->objectives[0].description)
    FILL(sport, t->has_sport, t->sport)
    FILL(level, t->has_level, t->level)
    FILL(age_category, t->has_age_category, t->age_category)
    FILL(duration, minutes > 0, minutes)
#undef FILL
    session->has_template = true;
    session->template = t->sys->id;
}

/* Where a sequence or an exercise goes: a tree in which only the way down to it is named. */
static kap_status parent_find(struct kap_model *model, uint8_t kind, struct kap_id id, struct kap_row *parent_out)
{
    const struct kap_path path = {NULL, "parent", -1};
    kap_status status = kap_model_get(model, kind, id, parent_out);
    if (status != KAP_OK)
        return status;
    if (kind != KAP_KIND_SEQUENCE)
        return KAP_OK;
    struct kap_row root;
    status = kap_model_root_row(model, parent_out->root, &root);
    if (status == KAP_OK && root.kind != KAP_KIND_SESSION) {
        kap_faults_add(&model->faults, &path, "not_allowed", "the sequence belongs to no session");
        return KAP_INVALID;
    }
    return status;
}

static kap_status save_make(struct making *m, const struct kap_template_instantiate_request *request,
                            const struct kap_template *t, struct kap_session_save_request *save)
{
    const struct kap_path path = {NULL, t->kind == KAP_TEMPLATE_KIND_SESSION ? "parent" : "session", -1};
    bool is_session = t->kind == KAP_TEMPLATE_KIND_SESSION;
    if (is_session ? request->has_parent : request->session != NULL)
        kap_faults_add(&m->model->faults, &path, "not_allowed", "a template of kind %s does not take this",
                       kap_enum_name(&kap_template_kind_enum, t->kind));
    if (!is_session && !request->has_parent) {
        const struct kap_path parent = {NULL, "parent", -1};
        kap_faults_add(&m->model->faults, &parent, "required", "a %s template needs the %s it goes into",
                       kap_enum_name(&kap_template_kind_enum, t->kind),
                       t->kind == KAP_TEMPLATE_KIND_SEQUENCE ? "session" : "sequence");
    }
    if (m->model->faults.n_total > 0)
        return KAP_INVALID;
    save->session = request->session ? request->session : make(m, 1, sizeof *save->session);
    if (m->status != KAP_OK)
        return m->status;
    if (is_session) {
        if (request->has_new_id)
            save->session->sys = sys_make(m, request->new_id);
        session_fill(save->session, t);
        objectives_make(m, t->structure->objectives, t->structure->n_objectives, &save->objectives,
                        &save->n_objectives);
        sequences_make(m, t->structure, save);
        return m->status;
    }
    struct kap_row parent;
    uint8_t parent_kind = t->kind == KAP_TEMPLATE_KIND_SEQUENCE ? KAP_KIND_SESSION : KAP_KIND_SEQUENCE;
    kap_status status = parent_find(m->model, parent_kind, request->parent, &parent);
    if (status != KAP_OK)
        return status;
    *save->session = (struct kap_session){.sys = sys_make(m, parent.root)};
    if (parent_kind == KAP_KIND_SESSION) {
        sequences_make(m, t->structure, save);
        if (request->has_new_id && m->status == KAP_OK)
            save->sequences[0].sequence->sys = sys_make(m, request->new_id);
        return m->status;
    }
    save->sequences = make(m, 1, sizeof *save->sequences);
    struct kap_sequence *sequence = make(m, 1, sizeof *sequence);
    if (m->status != KAP_OK)
        return m->status;
    *sequence = (struct kap_sequence){.sys = sys_make(m, parent.id)};
    save->sequences[0] = (struct kap_sequence_node){.sequence = sequence};
    save->n_sequences = 1;
    exercises_make(m, t->structure->exercises, t->structure->n_exercises, &save->sequences[0].exercises,
                   &save->sequences[0].n_exercises);
    if (request->has_new_id && m->status == KAP_OK)
        save->sequences[0].exercises[0].exercise->sys = sys_make(m, request->new_id);
    return m->status;
}

kap_status kap_template_instantiate(struct kap_model *model, const struct kap_template_instantiate_request *request,
                                    struct kap_template_instantiate_reply *reply)
{
    static const uint8_t kinds[] = {0, KAP_KIND_SESSION, KAP_KIND_SEQUENCE, KAP_KIND_EXERCISE};
    struct making m = {.model = model};
    struct kap_session_save_request save = {.has_expected_tree_rev = request->has_expected_tree_rev,
                                            .expected_tree_rev = request->expected_tree_rev};
    struct kap_session_save_reply saved = {0};
    struct kap_row row;
    void *message;
    kap_status status = kap_model_get(model, KAP_KIND_TEMPLATE, request->id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(model, KAP_KIND_TEMPLATE, row.bytes, &message);
    if (status != KAP_OK)
        return status;
    const struct kap_template *t = message;
    if (t->status == KAP_TEMPLATE_STATUS_RETIRED)
        return kap_model_refuse_row(model, KAP_STATE_CONFLICT, KAP_KIND_TEMPLATE, request->id,
                                    "the template is retired: nothing new is made from it");
    status = save_make(&m, request, t, &save);
    if (status == KAP_OK && request->has_new_id) {
        struct kap_row other;
        status = kap_model_kind_of(model, request->new_id, &other);
        if (status == KAP_OK)
            return kap_model_refuse_row(model, KAP_ALREADY_EXISTS, kinds[t->kind], request->new_id, "the id is in use");
        status = status == KAP_NOT_FOUND ? KAP_OK : status;
    }
    if (status == KAP_OK)
        status = kap_session_save(model, &save, &saved);
    if (status != KAP_OK)
        return status;
    *reply = (struct kap_template_instantiate_reply){
        .has_kind = true, .kind = kinds[t->kind], .has_tree_rev = true, .tree_rev = saved.tree_rev, .has_rows = true};
    for (size_t i = 0; i < saved.n_changes; i++) {
        const struct kap_row_change *change = &saved.changes[i];
        reply->rows += change->op == KAP_CHANGE_OP_CREATE;
        if (reply->has_id || change->op != KAP_CHANGE_OP_CREATE || change->kind != reply->kind)
            continue;
        reply->has_id = reply->has_rev = true;
        reply->id = change->id;
        reply->rev = change->rev;
    }
    return KAP_OK;
}
