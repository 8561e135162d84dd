#include "engine/model/review.h"

#include "engine/index/index.h"
#include "server/handlers/page.h"

#define REVIEW_HANDLER(NAME)                                                                                           \
    kap_status handle_validation_##NAME(struct kap_run *run, void *request_bytes, void *reply_bytes)                   \
    {                                                                                                                  \
        return kap_validation_##NAME(&run->model, request_bytes, reply_bytes);                                         \
    }

REVIEW_HANDLER(submit)
REVIEW_HANDLER(withdraw)

/* The role of a curator stands above a coach, not above an expert: the request asks for the very role. */
static kap_status expert_check(struct kap_run *run)
{
    if (kap_access_is(&run->access, KAP_ROLE_EXPERT) || kap_access_is(&run->access, KAP_ROLE_ADMIN))
        return KAP_OK;
    return kap_model_refuse(&run->model, KAP_FORBIDDEN, "only experts review sessions");
}

kap_status handle_validation_claim(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    kap_status status = expert_check(run);
    return status == KAP_OK ? kap_validation_claim(&run->model, request_bytes, reply_bytes) : status;
}

kap_status handle_validation_decide(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    kap_status status = expert_check(run);
    return status == KAP_OK ? kap_validation_decide(&run->model, request_bytes, reply_bytes) : status;
}

static bool queue_wanted(void *context, const void *message)
{
    const struct kap_validation_queue_request *request = context;
    const struct kap_validation *validation = message;
    return validation->has_age_category && validation->age_category == request->age_category;
}

kap_status handle_validation_queue(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    struct kap_validation_queue_request *request = request_bytes, unpaged = *request;
    struct kap_validation_queue_reply *reply = reply_bytes;
    const struct kap_path path = {NULL, "state", -1};
    int32_t state = request->has_state ? request->state : KAP_VALIDATION_STATE_QUEUED;
    uint16_t index = request->has_sport ? KAP_INDEX_REVIEW_QUEUE : KAP_INDEX_REVIEW_QUEUE_ALL;
    struct kap_row_list list = {.kind = KAP_KIND_VALIDATION,
                                .listing = {.page = request->page, .index = index},
                                .wanted = request->has_age_category ? queue_wanted : NULL,
                                .context = request};
    void *items;
    kap_status status = expert_check(run);
    if (status == KAP_OK && state != KAP_VALIDATION_STATE_QUEUED && state != KAP_VALIDATION_STATE_CLAIMED) {
        kap_faults_add(&run->model.faults, &path, "not_allowed",
                       "the queue holds queued and claimed ones: the others "
                       "are in validation.history");
        return KAP_INVALID;
    }
    kap_index_key_init(&list.listing.prefix, index);
    kap_key_put_u64(&list.listing.prefix, (uint64_t)state);
    if (request->has_sport)
        kap_key_put_id(&list.listing.prefix, request->sport);
    unpaged.page = NULL;
    if (status == KAP_OK)
        status = handler_page(run, &list, &kap_validation_queue_request_msg, &unpaged, &reply->end, &items,
                              &reply->n_validations);
    if (status == KAP_OK)
        reply->validations = items;
    return status;
}

static kap_status one_history(struct kap_run *run, struct kap_id id, struct kap_validation_history_reply *reply)
{
    struct kap_row row;
    void *message;
    kap_status status = kap_model_get(&run->model, KAP_KIND_VALIDATION, id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(&run->model, KAP_KIND_VALIDATION, row.bytes, &message);
    if (status != KAP_OK)
        return status;
    reply->validations = message;
    reply->n_validations = 1;
    return kap_validation_events(&run->model, id, &reply->events, &reply->n_events);
}

/* Who may see the session's own reviews sees all of them; of an expert's, those of sessions one may see. */
static enum kap_bucket history_bucket(void *context, const uint64_t *parts, uint32_t n_parts)
{
    const struct kap_row_list *list = context;
    const struct kap_validation_history_request *request = list->context;
    const struct kap_list_scope *scope = list->listing.scope;
    (void)parts;
    (void)n_parts;
    return scope->is_admin || scope->is_expert || (request->has_expert && kap_id_eq(scope->user, request->expert))
               ? KAP_BUCKET_VISIBLE
               : KAP_BUCKET_MIXED;
}

kap_status handle_validation_history(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    struct kap_validation_history_request *request = request_bytes, unpaged = *request;
    struct kap_validation_history_reply *reply = reply_bytes;
    const struct kap_path path = {NULL, "session", -1};
    uint16_t index = request->has_session ? KAP_INDEX_VALIDATION_BY_SESSION : KAP_INDEX_VALIDATION_BY_EXPERT;
    struct kap_row_list list = {.kind = KAP_KIND_VALIDATION,
                                .listing = {.page = request->page, .index = index, .bucket = history_bucket},
                                .context = request};
    struct kap_row session;
    void *items;
    kap_status status = KAP_OK;
    if (request->has_session + request->has_expert + request->has_validation != 1) {
        kap_faults_add(&run->model.faults, &path, "one_of", "give session, expert or validation, one of them");
        return KAP_INVALID;
    }
    if (request->has_validation)
        return one_history(run, request->validation, reply);
    if (request->has_session)
        status = kap_model_get(&run->model, KAP_KIND_SESSION, request->session, &session);
    kap_index_key_init(&list.listing.prefix, index);
    kap_key_put_id(&list.listing.prefix, request->has_session ? request->session : request->expert);
    unpaged.page = NULL;
    if (status == KAP_OK)
        status = handler_page(run, &list, &kap_validation_history_request_msg, &unpaged, &reply->end, &items,
                              &reply->n_validations);
    if (status == KAP_OK)
        reply->validations = items;
    return status;
}
