/* Lists of sessions. Every index carries what the read rules ask, so rights cost no row; the wide ones carry a whole card. */
#include "engine/base/assert.h"
#include "engine/base/le.h"
#include "engine/model/model_internal.h"
#include "engine/model/session.h"

struct session_list {
    struct kap_model *model;
    const struct kap_list_scope *scope;
    const struct kap_session_list_request *request;
    struct kap_session_list_reply *reply;
    struct kap_listing list;
    bool is_wide; /* the entry holds a card */
    bool by_updated; /* the order column is updated_at */
    bool needs_row;
    /* Filters that the index does not answer. */
    bool on_owner, on_club, on_sport, on_level, on_age, on_tag, on_origin, on_cycle, on_template;
};

static bool field_is(struct kap_bytes row, uint16_t field, struct kap_id want)
{
    for (uint32_t n = 0;; n++) {
        struct kap_column column;
        if (kap_row_column(row, field, n, &column) != KAP_OK || !column.present)
            return false;
        if (kap_id_eq(model_column_id(&column), want))
            return true;
    }
}

static uint64_t number_in(struct kap_bytes row, uint16_t field)
{
    struct kap_column column;
    return kap_row_column(row, field, 0, &column) == KAP_OK && column.present ? column.number : 0;
}

static bool status_wanted(const struct kap_session_list_request *request, uint64_t status)
{
    for (size_t i = 0; i < request->n_status; i++)
        if ((uint64_t)request->status[i] == status)
            return true;
    return request->n_status == 0;
}

static bool visibility_wanted(const struct kap_session_list_request *request, uint64_t visibility)
{
    return !request->has_visibility || (uint64_t)request->visibility == visibility;
}

static bool matches(const struct session_list *s, struct kap_bytes row)
{
    const struct kap_session_list_request *request = s->request;
    return (!s->on_owner || field_is(row, 2, request->owner)) && (!s->on_club || field_is(row, 3, request->club)) &&
           (!s->on_sport || field_is(row, 7, request->sport)) && (!s->on_level || field_is(row, 8, request->level)) &&
           (!s->on_age || number_in(row, 9) == (uint64_t)request->age_category) &&
           (!s->on_tag || field_is(row, 18, request->tag)) &&
           (!s->on_origin || field_is(row, 22, request->cloned_from)) &&
           (!s->on_cycle || field_is(row, 20, request->cycle)) &&
           (!s->on_template || field_is(row, 21, request->template));
}

/* Of a descending time column behind the parent. */
static int64_t time_in_key(const struct session_list *s, struct kap_bytes key)
{
    uint64_t raw = ~kap_be64_load(key.data + s->list.prefix.len);
    return (int64_t)(raw ^ UINT64_C(1) << 63);
}

static void id_read(struct kap_bytes row, uint16_t field, bool *has, struct kap_id *id)
{
    struct kap_column column;
    *has = kap_row_column(row, field, 0, &column) == KAP_OK && column.present;
    if (*has)
        *id = model_column_id(&column);
}

static void card_fill(const struct session_list *s, const struct kap_list_entry *entry, struct kap_bytes row,
                      struct kap_session_card *card)
{
    struct kap_column title;
    struct kap_sys_view sys;
    *card = (struct kap_session_card){.has_id = true, .id = entry->id};
    id_read(row, 2, &card->has_owner, &card->owner);
    id_read(row, 3, &card->has_club, &card->club);
    id_read(row, 7, &card->has_sport, &card->sport);
    id_read(row, 8, &card->has_level, &card->level);
    if (kap_row_column(row, 4, 0, &title) == KAP_OK && title.present) {
        card->has_title = true;
        card->title = title.bytes;
    }
    card->has_age_category = card->has_duration = card->has_status = card->has_visibility = true;
    card->age_category = (int32_t)number_in(row, 9);
    card->duration = (uint32_t)number_in(row, 11);
    card->status = (int32_t)number_in(row, 25);
    card->visibility = (int32_t)number_in(row, 26);
    if (s->needs_row && kap_row_sys(row, &sys) == KAP_OK) {
        card->has_created_at = card->has_updated_at = true;
        card->created_at = sys.created_at;
        card->updated_at = sys.updated_at;
        return;
    }
    card->has_created_at = !s->by_updated;
    card->has_updated_at = s->by_updated;
    card->created_at = card->updated_at = time_in_key(s, entry->key);
}

static kap_status card_keep(void *context, const struct kap_list_entry *entry)
{
    struct session_list *s = context;
    struct kap_row row = {.kind = KAP_KIND_SESSION, .root = entry->id, .id = entry->id, .bytes = entry->value};
    bool may;
    kap_status status = model_row_answer(s->model, KAP_KIND_SESSION, entry->value, &row.bytes);
    if (status != KAP_OK)
        return status;
    if (!status_wanted(s->request, number_in(row.bytes, 25)) ||
        !visibility_wanted(s->request, number_in(row.bytes, 26)))
        return KAP_NOT_FOUND;
    status = kap_model_may(s->model, KAP_MAY_READ, &row, &may);
    if (status != KAP_OK || !may)
        return status == KAP_OK ? KAP_NOT_FOUND : status;
    bool only_counts = s->list.is_counting && !s->list.is_filtered;
    if (s->needs_row && !only_counts)
        status = kap_model_find_in(s->model, KAP_KIND_SESSION, entry->id, entry->id, &row);
    if (status == KAP_NOT_FOUND)
        return kap_model_refuse_row(s->model, KAP_CORRUPT, KAP_KIND_SESSION, entry->id,
                                    "an index names a session that is not there");
    if (status == KAP_OK && !matches(s, row.bytes))
        return KAP_NOT_FOUND;
    if (status == KAP_OK && !s->list.is_counting)
        card_fill(s, entry, row.bytes, &s->reply->sessions[s->reply->n_sessions++]);
    return status;
}

/* What the principal sees of all rows with this visibility and status under the index's parent. */
static enum kap_bucket bucket_of(void *context, const uint64_t *parts, uint32_t n_parts)
{
    const struct session_list *s = context;
    const struct kap_session_list_request *request = s->request;
    KAP_ASSERT(n_parts == 2);
    uint64_t visibility = parts[0], status = parts[1];
    bool is_own = request->has_owner && kap_id_eq(request->owner, s->scope->user) && !s->on_owner;
    bool is_others = request->has_owner && !is_own && !s->on_owner;
    if (!status_wanted(request, status) || !visibility_wanted(request, visibility))
        return KAP_BUCKET_HIDDEN;
    if (s->scope->is_admin || is_own || visibility == KAP_VISIBILITY_PUBLIC)
        return KAP_BUCKET_VISIBLE;
    if (s->scope->is_expert && (status == KAP_SESSION_STATUS_PENDING || status == KAP_SESSION_STATUS_VALIDATED))
        return KAP_BUCKET_VISIBLE;
    if (visibility == KAP_VISIBILITY_PRIVATE && is_others)
        return KAP_BUCKET_HIDDEN;
    return KAP_BUCKET_MIXED;
}

static void index_use(struct session_list *s, uint16_t index, bool is_wide)
{
    s->list.index = index;
    s->is_wide = is_wide;
    kap_index_key_init(&s->list.prefix, index);
}

/* The narrowest index for the filters; what it does not answer is left as a filter. */
static kap_status index_choose(struct session_list *s)
{
    const struct kap_session_list_request *r = s->request;
    struct kap_key *prefix = &s->list.prefix;
    s->by_updated = r->has_order && r->order == KAP_SESSION_ORDER_UPDATED;
    s->on_owner = r->has_owner;
    s->on_club = r->has_club;
    s->on_sport = r->has_sport;
    s->on_level = r->has_level;
    s->on_age = r->has_age_category;
    s->on_tag = r->has_tag;
    s->on_origin = r->has_cloned_from;
    s->on_cycle = r->has_cycle;
    s->on_template = r->has_template;
    bool has_browse = r->has_sport && r->has_age_category && r->has_level && r->n_status == 1 && r->has_visibility &&
                      r->visibility != KAP_VISIBILITY_PRIVATE;
    if (s->by_updated && !r->has_owner && r->n_status != 1) {
        struct kap_path path = {NULL, "order", -1};
        kap_faults_add(&s->model->faults, &path, "not_allowed",
                       "the order updated needs an owner or exactly one status");
        return KAP_INVALID;
    }
    if (r->has_owner) {
        bool with_status = !s->by_updated && r->n_status == 1;
        index_use(s,
                  s->by_updated ? KAP_INDEX_SESSION_BY_OWNER_UPDATED
                  : with_status ? KAP_INDEX_SESSION_BY_OWNER_STATUS
                                : KAP_INDEX_SESSION_BY_OWNER,
                  true);
        kap_key_put_id(prefix, r->owner);
        if (with_status)
            kap_key_put_u64(prefix, (uint64_t)r->status[0]);
        s->on_owner = false;
    } else if (s->by_updated) {
        index_use(s, KAP_INDEX_SESSION_BY_STATUS, false);
        kap_key_put_u64(prefix, (uint64_t)r->status[0]);
    } else if (r->has_cloned_from) {
        index_use(s, KAP_INDEX_SESSION_BY_ORIGIN, false);
        kap_key_put_id(prefix, r->cloned_from);
        s->on_origin = false;
    } else if (r->has_cycle) {
        index_use(s, KAP_INDEX_SESSION_BY_CYCLE, false);
        kap_key_put_id(prefix, r->cycle);
        s->on_cycle = false;
    } else if (r->has_template) {
        index_use(s, KAP_INDEX_SESSION_BY_TEMPLATE, false);
        kap_key_put_id(prefix, r->template);
        s->on_template = false;
    } else if (r->has_club) {
        index_use(s, KAP_INDEX_SESSION_BY_CLUB, true);
        kap_key_put_id(prefix, r->club);
        s->on_club = false;
    } else if (has_browse) {
        index_use(s, KAP_INDEX_SESSION_BROWSE, true);
        kap_key_put_id(prefix, r->sport);
        kap_key_put_u64(prefix, (uint64_t)r->age_category);
        kap_key_put_id(prefix, r->level);
        kap_key_put_u64(prefix, (uint64_t)r->status[0]);
        s->on_sport = s->on_level = s->on_age = false;
    } else if (r->has_tag || r->has_level || r->has_sport) {
        bool *answered = r->has_tag ? &s->on_tag : r->has_level ? &s->on_level : &s->on_sport;
        index_use(s, KAP_INDEX_SESSION_BY_TERM, false);
        kap_key_put_id(prefix, r->has_tag ? r->tag : r->has_level ? r->level : r->sport);
        *answered = false;
    } else if (r->has_age_category) {
        index_use(s, KAP_INDEX_SESSION_BY_AGE, false);
        kap_key_put_u64(prefix, (uint64_t)r->age_category);
        s->on_age = false;
    } else {
        index_use(s, KAP_INDEX_SESSION_ALL, false);
    }
    s->list.is_filtered = s->on_owner || s->on_club || s->on_sport || s->on_level || s->on_age || s->on_tag ||
                          s->on_origin || s->on_cycle || s->on_template;
    s->needs_row = !s->is_wide || s->on_tag || s->on_origin || s->on_cycle || s->on_template;
    return KAP_OK;
}

/* Of every filter and the order: a cursor continues the list it came from and no other. */
static kap_status filter_digest(struct session_list *s, uint64_t *digest_out)
{
    struct kap_session_list_request filters = *s->request;
    filters.page = NULL;
    struct kap_bytes bytes = kap_wire_encode_in(&kap_session_list_request_msg, &filters, s->model->arena);
    if (!bytes.data)
        return KAP_NO_MEMORY;
    *digest_out = kap_list_digest(s->list.index, bytes.data, bytes.len);
    return KAP_OK;
}

kap_status kap_session_list(struct kap_model *model, const struct kap_list_scope *scope,
                            const struct kap_session_list_request *request, struct kap_session_list_reply *reply)
{
    struct session_list s = {.model = model, .scope = scope, .request = request, .reply = reply};
    s.list = (struct kap_listing){
        .scope = scope, .page = request->page, .keep = card_keep, .bucket = bucket_of, .context = &s};
    reply->sessions = kap_arena_push(model->arena, kap_listing_limit(request->page) * sizeof *reply->sessions);
    if (!reply->sessions)
        return KAP_NO_MEMORY;
    kap_status status = index_choose(&s);
    if (status == KAP_OK)
        status = filter_digest(&s, &s.list.filter_digest);
    return status == KAP_OK ? kap_listing_run(model, &s.list, &reply->end) : status;
}
