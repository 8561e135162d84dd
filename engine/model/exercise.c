#include "engine/model/exercise.h"

#include "engine/base/assert.h"
#include "engine/model/model_internal.h"
#include "engine/model/part.h"
#include "engine/model/row_list.h"

/* The children of one relation, decoded one behind the other. */
static kap_status children_read(struct kap_model *model, const struct kap_rows *tree, struct kap_id exercise,
                                enum kap_relation which, void **items_out, size_t *n_out)
{
    const struct kap_relation_desc *relation = kap_relation_find(which);
    size_t size = kap_message_of_kind(relation->child_kind)->size;
    struct kap_rows children;
    kap_status status = kap_part_children(model, relation, tree, exercise, &children);
    uint8_t *items = status == KAP_OK ? kap_arena_push(model->arena, children.n * size + 1) : NULL;
    if (status == KAP_OK && !items)
        return KAP_NO_MEMORY;
    for (uint32_t i = 0; i < children.n && status == KAP_OK; i++) {
        void *message;
        status = kap_model_decode(model, relation->child_kind, children.at[i].bytes, &message);
        if (status == KAP_OK)
            memcpy(items + i * size, message, size);
    }
    if (status == KAP_OK) {
        *items_out = items;
        *n_out = children.n;
    }
    return status;
}

static kap_status parts_read(struct kap_model *model, const struct kap_row *exercise,
                             struct kap_exercise_get_reply *reply)
{
    struct kap_rows tree;
    void *variations, *criteria, *progressions;
    kap_status status = kap_model_tree(model, MODEL_GROUP_GRAPH, exercise->root, KAP_TREE_SCAN_MAX, &tree);
    if (status == KAP_OK)
        status = children_read(model, &tree, exercise->id, KAP_RELATION_EXERCISE_VARIATIONS, &variations,
                               &reply->n_variations);
    if (status == KAP_OK)
        status =
            children_read(model, &tree, exercise->id, KAP_RELATION_EXERCISE_CRITERIA, &criteria, &reply->n_criteria);
    if (status == KAP_OK)
        status = children_read(model, &tree, exercise->id, KAP_RELATION_EXERCISE_PROGRESSIONS, &progressions,
                               &reply->n_progressions);
    if (status != KAP_OK)
        return status;
    reply->variations = variations;
    reply->criteria = criteria;
    reply->progressions = progressions;
    return KAP_OK;
}

kap_status kap_exercise_get(struct kap_model *model, const struct kap_exercise_get_request *request,
                            struct kap_exercise_get_reply *reply)
{
    struct kap_path path = {NULL, "id", -1};
    struct kap_id id = request->id;
    struct kap_row row;
    void *message;
    kap_status status = KAP_OK;
    if (request->has_id == request->has_slug) {
        kap_faults_add(&model->faults, &path, "one_of", "give id or slug, one of them");
        return KAP_INVALID;
    }
    if (request->has_slug) {
        const struct kap_unique_value slug = {.bytes = request->slug};
        status = kap_model_find_unique(model, KAP_UNIQUE_EXERCISE_SLUG, &slug, &id);
        if (status == KAP_NOT_FOUND)
            return kap_model_refuse(model, status, "there is no such exercise, or none you may see");
    }
    if (status == KAP_OK)
        status = kap_model_get(model, KAP_KIND_EXERCISE, id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(model, KAP_KIND_EXERCISE, row.bytes, &message);
    if (status != KAP_OK)
        return status;
    reply->exercise = message;
    return parts_read(model, &row, reply);
}

struct exercise_filter {
    const struct kap_exercise_list_request *request;
    bool on_category, on_owner, on_level, on_term, on_source, on_library;
};

static bool ids_hold(const struct kap_id *ids, size_t n, struct kap_id id)
{
    for (size_t i = 0; i < n; i++)
        if (kap_id_eq(ids[i], id))
            return true;
    return false;
}

static bool has_term(const struct kap_exercise *e, struct kap_id term)
{
    return (e->has_sport && kap_id_eq(e->sport, term)) || (e->has_level && kap_id_eq(e->level, term)) ||
           (e->has_category && kap_id_eq(e->category, term)) || (e->has_intensity && kap_id_eq(e->intensity, term)) ||
           ids_hold(e->equipment, e->n_equipment, term) || ids_hold(e->tags, e->n_tags, term) ||
           ids_hold(e->muscles_primary, e->n_muscles_primary, term) ||
           ids_hold(e->muscles_secondary, e->n_muscles_secondary, term) ||
           ids_hold(e->tactical_concepts, e->n_tactical_concepts, term);
}

static bool exercise_wanted(void *context, const void *message)
{
    const struct exercise_filter *f = context;
    const struct kap_exercise_list_request *r = f->request;
    const struct kap_exercise *e = message;
    return (!f->on_library || !e->has_sequence) &&
           (!f->on_category || (e->has_category && kap_id_eq(e->category, r->category))) &&
           (!f->on_owner || (e->has_owner && kap_id_eq(e->owner, r->owner))) &&
           (!f->on_level || (e->has_level && kap_id_eq(e->level, r->level))) &&
           (!f->on_source || (e->has_source && kap_id_eq(e->source, r->source))) &&
           (!f->on_term || has_term(e, r->term));
}

/* The parent of the index that answers most; the rest stays a filter. Term lists are of the library. */
static void index_choose(struct exercise_filter *f, struct kap_listing *listing)
{
    const struct kap_exercise_list_request *r = f->request;
    struct kap_id parent = {{0}};
    bool *answered = NULL;
    *f = (struct exercise_filter){.request = r,
                                  .on_category = r->has_category,
                                  .on_owner = r->has_owner,
                                  .on_level = r->has_level,
                                  .on_term = r->has_term,
                                  .on_source = r->has_source};
    listing->index = KAP_INDEX_EXERCISE_LIBRARY;
    if (r->has_sequence) {
        listing->index = KAP_INDEX_EXERCISE_BY_SEQUENCE;
        parent = r->sequence;
    } else if (r->has_source) {
        listing->index = KAP_INDEX_EXERCISE_BY_SOURCE;
        parent = r->source;
        answered = &f->on_source;
    } else if (r->has_owner) {
        listing->index = KAP_INDEX_EXERCISE_BY_OWNER;
        parent = r->owner;
        answered = &f->on_owner;
    } else if (r->has_category) {
        listing->index = KAP_INDEX_EXERCISE_BY_CATEGORY;
        parent = r->category;
        answered = &f->on_category;
    } else if (r->has_term || r->has_level) {
        listing->index = KAP_INDEX_EXERCISE_BY_TERM;
        parent = r->has_term ? r->term : r->level;
        answered = r->has_term ? &f->on_term : &f->on_level;
        f->on_library = true;
    }
    if (answered)
        *answered = false;
    kap_index_key_init(&listing->prefix, listing->index);
    if (listing->index != KAP_INDEX_EXERCISE_LIBRARY)
        kap_key_put_id(&listing->prefix, parent);
}

static enum kap_bucket bucket_of(void *context, const uint64_t *parts, uint32_t n_parts)
{
    const struct kap_row_list *list = context;
    if (list->listing.scope->is_admin)
        return KAP_BUCKET_VISIBLE;
    return n_parts == 1 && parts[0] == KAP_VISIBILITY_PUBLIC ? KAP_BUCKET_VISIBLE : KAP_BUCKET_MIXED;
}

static struct kap_exercise_card card_of(const struct kap_exercise *e)
{
    return (struct kap_exercise_card){.has_id = true,
                                      .id = e->sys->id,
                                      .has_title = e->has_title,
                                      .title = e->title,
                                      .has_slug = e->has_slug,
                                      .slug = e->slug,
                                      .has_activity_type = e->has_activity_type,
                                      .activity_type = e->activity_type,
                                      .has_progression_level = e->has_progression_level,
                                      .progression_level = e->progression_level,
                                      .has_level = e->has_level,
                                      .level = e->level,
                                      .has_category = e->has_category,
                                      .category = e->category,
                                      .has_owner = e->has_owner,
                                      .owner = e->owner,
                                      .has_visibility = e->has_visibility,
                                      .visibility = e->visibility,
                                      .has_sequence = e->has_sequence,
                                      .sequence = e->sequence,
                                      .has_position = e->has_position,
                                      .position = e->position,
                                      .has_duration = e->has_duration,
                                      .duration = e->duration};
}

kap_status kap_exercise_list(struct kap_model *model, const struct kap_list_scope *scope,
                             const struct kap_exercise_list_request *request, struct kap_exercise_list_reply *reply)
{
    struct kap_exercise_list_request unpaged = *request;
    struct exercise_filter filter = {.request = request};
    struct kap_row_list list = {.kind = KAP_KIND_EXERCISE,
                                .listing = {.scope = scope, .page = request->page, .bucket = bucket_of},
                                .context = &filter};
    struct kap_row sequence;
    kap_status status = KAP_OK;
    if (request->has_sequence) /* parts of what is not there are not there either */
        status = kap_model_get(model, KAP_KIND_SEQUENCE, request->sequence, &sequence);
    if (status != KAP_OK)
        return status;
    unpaged.page = NULL;
    index_choose(&filter, &list.listing);
    if (filter.on_category || filter.on_owner || filter.on_level || filter.on_term || filter.on_source ||
        filter.on_library)
        list.wanted = exercise_wanted;
    status = kap_row_list_digest(model, &kap_exercise_list_request_msg, &unpaged, &list.listing.filter_digest);
    if (status == KAP_OK)
        status = kap_row_list_run(model, &list, &reply->end);
    if (status != KAP_OK)
        return status;
    reply->exercises = kap_arena_push(model->arena, list.n * sizeof *reply->exercises + 1);
    if (!reply->exercises)
        return KAP_NO_MEMORY;
    for (; reply->n_exercises < list.n; reply->n_exercises++)
        reply->exercises[reply->n_exercises] = card_of(list.messages[reply->n_exercises]);
    return KAP_OK;
}
