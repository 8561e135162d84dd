#include "engine/index/index.h"
#include "engine/model/discussion.h"
#include "server/handlers/page.h"

/* The owner of the session hears of every comment, the author of a comment of every reply. */
static kap_status comment_tell(struct kap_run *run, const struct kap_row *row)
{
    struct kap_row session, parent;
    struct kap_column owner, title, author;
    struct kap_id told = {{0}}, id;
    struct kap_column field;
    kap_status status = kap_model_find(&run->model, KAP_KIND_SESSION, row->root, &session);
    if (status == KAP_OK)
        status = kap_row_column(session.bytes, 2, 0, &owner);
    if (status == KAP_OK)
        status = kap_row_column(session.bytes, 4, 0, &title);
    if (status == KAP_OK)
        status = kap_row_column(row->bytes, 4, 0, &field);
    if (status == KAP_OK && field.present) {
        memcpy(id.bytes, field.bytes.data, sizeof id.bytes);
        status = kap_model_find(&run->model, KAP_KIND_COMMENT, id, &parent);
        if (status == KAP_OK)
            status = kap_row_column(parent.bytes, 3, 0, &author);
        if (status == KAP_OK && author.present) {
            memcpy(told.bytes, author.bytes.data, sizeof told.bytes);
            status = kap_notify(&run->model, told, KAP_NOTIFICATION_TYPE_INFO, "comment.reply", row,
                                "Someone replied to your comment on %.*s", (int)title.bytes.len, title.bytes.data);
        }
    }
    if (status != KAP_OK || !owner.present)
        return status;
    memcpy(id.bytes, owner.bytes.data, sizeof id.bytes);
    if (kap_id_eq(id, told))
        return KAP_OK;
    return kap_notify(&run->model, id, KAP_NOTIFICATION_TYPE_INFO, "comment.new", row, "Someone commented on %.*s",
                      (int)title.bytes.len, title.bytes.data);
}

kap_status handle_comment_put(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_comment_put_request *request = request_bytes;
    struct kap_comment_put_reply *reply = reply_bytes;
    static const struct kap_path path = {NULL, "comment", -1};
    struct kap_put_result result;
    const struct kap_put put = {.kind = KAP_KIND_COMMENT,
                                .message = request->comment,
                                .clear = request->clear,
                                .n_clear = request->n_clear,
                                .has_expected_rev = request->has_expected_rev,
                                .expected_rev = request->expected_rev,
                                .path = &path};
    kap_status status = kap_model_put(&run->model, &put, &result);
    if (status == KAP_OK && result.op == KAP_CHANGE_OP_CREATE)
        status = comment_tell(run, &result.row);
    if (status != KAP_OK)
        return status;
    reply->has_id = reply->has_rev = true;
    reply->id = result.row.id;
    reply->rev = result.rev;
    return KAP_OK;
}

/* From the counts of the index: one bucket for each of the five ratings. */
static kap_status ratings_fill(struct kap_run *run, struct kap_id session, struct kap_comment_list_reply *reply)
{
    reply->has_ratings = reply->has_rating_sum = true;
    for (uint64_t rating = 1; rating <= 5; rating++) {
        struct kap_key key;
        uint64_t n = 0;
        kap_index_count_key_init(&key, KAP_INDEX_COMMENT_BY_RATING);
        kap_key_put_id(&key, session);
        kap_key_put_u64(&key, rating);
        kap_status status = kap_model_count(&run->model, &key, &n);
        if (status != KAP_OK)
            return status;
        reply->ratings += n;
        reply->rating_sum += n * rating;
    }
    return KAP_OK;
}

/* Comments of an author may lie in sessions that are hidden from the one who asks. */
static enum kap_bucket author_bucket(void *context, const uint64_t *parts, uint32_t n_parts)
{
    const struct kap_row_list *list = context;
    const struct kap_comment_list_request *request = list->context;
    const struct kap_list_scope *scope = list->listing.scope;
    (void)parts;
    (void)n_parts;
    return !request->has_author || scope->is_admin || kap_id_eq(scope->user, request->author) ? KAP_BUCKET_VISIBLE
                                                                                              : KAP_BUCKET_MIXED;
}

kap_status handle_comment_list(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    struct kap_comment_list_request *request = request_bytes, unpaged = *request;
    struct kap_comment_list_reply *reply = reply_bytes;
    const struct kap_path path = {NULL, "session", -1};
    bool is_top = request->has_top && request->top;
    struct kap_row row;
    void *items;
    kap_status status = KAP_OK;
    if (request->has_session + request->has_parent + request->has_author != 1) {
        kap_faults_add(&run->model.faults, &path, "one_of", "give session, parent or author, one of them");
        return KAP_INVALID;
    }
    uint16_t index = request->has_parent   ? KAP_INDEX_COMMENT_BY_PARENT
                     : request->has_author ? KAP_INDEX_COMMENT_BY_AUTHOR
                     : is_top              ? KAP_INDEX_COMMENT_TOP
                                           : KAP_INDEX_COMMENT_BY_SESSION;
    struct kap_id parent = request->has_session  ? request->session
                           : request->has_parent ? request->parent
                                                 : request->author;
    if (request->has_session)
        status = kap_model_get(&run->model, KAP_KIND_SESSION, parent, &row);
    else if (request->has_parent)
        status = kap_model_get(&run->model, KAP_KIND_COMMENT, parent, &row);
    struct kap_row_list list = {.kind = KAP_KIND_COMMENT,
                                .listing = {.page = request->page, .index = index, .bucket = author_bucket},
                                .context = request};
    kap_index_key_init(&list.listing.prefix, index);
    kap_key_put_id(&list.listing.prefix, parent);
    unpaged.page = NULL;
    if (status == KAP_OK)
        status =
            handler_page(run, &list, &kap_comment_list_request_msg, &unpaged, &reply->end, &items, &reply->n_comments);
    if (status != KAP_OK)
        return status;
    reply->comments = items;
    return request->has_session ? ratings_fill(run, parent, reply) : KAP_OK;
}
