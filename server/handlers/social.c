/* Favourites and notifications: of the one who asks, and nobody else's business. */
#include "engine/index/index.h"
#include "engine/model/discussion.h"
#include "server/handlers/page.h"

enum { MARK_ALL_MAX = 500 };

static kap_status account_check(struct kap_run *run)
{
    if (!kap_id_is_nil(run->access.principal.user))
        return KAP_OK;
    return kap_model_refuse(&run->model, KAP_FORBIDDEN,
                            "you have no account, so nothing is yours here: ask on behalf of one");
}

static kap_status favorites_count(struct kap_run *run, int32_t kind, struct kap_id target, uint64_t *count_out)
{
    struct kap_key key;
    kap_index_count_key_init(&key, KAP_INDEX_FAVORITE_BY_TARGET);
    kap_key_put_u64(&key, (uint64_t)kind);
    kap_key_put_id(&key, target);
    return kap_model_count(&run->model, &key, count_out);
}

kap_status handle_favorite_set(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_favorite_set_request *request = request_bytes;
    struct kap_favorite_set_reply *reply = reply_bytes;
    static const struct kap_delete delete = {0};
    struct kap_id user = run->access.principal.user;
    const struct kap_unique_value names[] = {{.bytes = kap_bytes(user.bytes, 16)},
                                             {.number = (uint64_t)request->target_kind},
                                             {.bytes = kap_bytes(request->target.bytes, 16)}};
    bool remove = request->has_remove && request->remove;
    struct kap_sys sys = {0};
    struct kap_put_result result;
    struct kap_row row;
    uint32_t rows;
    kap_status status = account_check(run);
    if (status == KAP_OK)
        status = kap_model_find_unique(&run->model, KAP_UNIQUE_FAVORITE, names, &sys.id);
    sys.has_id = status == KAP_OK;
    if (sys.has_id)
        status = kap_model_find(&run->model, KAP_KIND_FAVORITE, sys.id, &row);
    if (status != KAP_OK && (status != KAP_NOT_FOUND || sys.has_id))
        return status;
    status = KAP_OK;
    if (remove && sys.has_id)
        status = kap_model_delete(&run->model, &row, &delete, &rows);
    if (!remove) {
        static const uint32_t folder_field = 5;
        struct kap_favorite favorite = {.sys = sys.has_id ? &sys : NULL,
                                        .has_user = true,
                                        .user = user,
                                        .has_target_kind = true,
                                        .target_kind = request->target_kind,
                                        .has_target = true,
                                        .target = request->target,
                                        .has_folder = request->has_folder && request->folder.len > 0,
                                        .folder = request->folder};
        const struct kap_put put = {.kind = KAP_KIND_FAVORITE,
                                    .message = &favorite,
                                    .clear = &folder_field,
                                    .n_clear = request->has_folder && request->folder.len == 0,
                                    .is_known = true,
                                    .known = sys.has_id ? &row : NULL};
        status = kap_model_put(&run->model, &put, &result);
        reply->has_id = true;
        reply->id = result.row.id;
    }
    if (status == KAP_OK)
        status = favorites_count(run, request->target_kind, request->target, &reply->favorites);
    reply->has_is_favorite = reply->has_favorites = true;
    reply->is_favorite = !remove;
    return status;
}

static bool favorite_wanted(void *context, const void *message)
{
    const struct kap_favorite_list_request *request = context;
    const struct kap_favorite *favorite = message;
    return (!request->has_target_kind || favorite->target_kind == request->target_kind) &&
           (!request->has_target || kap_id_eq(favorite->target, request->target)) &&
           (!request->has_folder ||
            kap_bytes_eq(favorite->has_folder ? favorite->folder : kap_bytes("", 0), request->folder));
}

/* One thing: the unique key knows, no list is read. */
static kap_status favorite_find(struct kap_run *run, struct kap_favorite_list_request *request,
                                struct kap_favorite_list_reply *reply)
{
    struct kap_id user = run->access.principal.user, id;
    const struct kap_unique_value names[] = {{.bytes = kap_bytes(user.bytes, 16)},
                                             {.number = (uint64_t)request->target_kind},
                                             {.bytes = kap_bytes(request->target.bytes, 16)}};
    struct kap_row row;
    void *message;
    reply->end = kap_arena_push(run->arena, sizeof *reply->end);
    if (!reply->end)
        return KAP_NO_MEMORY;
    *reply->end = (struct kap_list_end){.has_total = true, .has_total_is_exact = true, .total_is_exact = true};
    kap_status status = kap_model_find_unique(&run->model, KAP_UNIQUE_FAVORITE, names, &id);
    if (status == KAP_OK)
        status = kap_model_find(&run->model, KAP_KIND_FAVORITE, id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(&run->model, KAP_KIND_FAVORITE, row.bytes, &message);
    if (status == KAP_NOT_FOUND || (status == KAP_OK && !favorite_wanted(request, message)))
        return KAP_OK;
    if (status != KAP_OK)
        return status;
    reply->favorites = message;
    reply->n_favorites = 1;
    reply->end->total = 1;
    return KAP_OK;
}

kap_status handle_favorite_list(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    struct kap_favorite_list_request *request = request_bytes, unpaged = *request;
    struct kap_favorite_list_reply *reply = reply_bytes;
    const struct kap_path path = {NULL, "target_kind", -1};
    bool is_filtered = request->has_folder || request->has_target_kind;
    struct kap_row_list list = {.kind = KAP_KIND_FAVORITE,
                                .listing = {.page = request->page, .index = KAP_INDEX_FAVORITE_BY_USER},
                                .wanted = is_filtered ? favorite_wanted : NULL,
                                .context = request};
    void *items;
    kap_status status = account_check(run);
    if (status == KAP_OK && request->has_target && !request->has_target_kind) {
        kap_faults_add(&run->model.faults, &path, "required", "say which kind the target is of");
        return KAP_INVALID;
    }
    if (status == KAP_OK && request->has_target)
        return favorite_find(run, request, reply);
    kap_index_key_init(&list.listing.prefix, KAP_INDEX_FAVORITE_BY_USER);
    kap_key_put_id(&list.listing.prefix, run->access.principal.user);
    unpaged.page = NULL;
    if (status == KAP_OK)
        status = handler_page(run, &list, &kap_favorite_list_request_msg, &unpaged, &reply->end, &items,
                              &reply->n_favorites);
    if (status == KAP_OK)
        reply->favorites = items;
    return status;
}

static bool notification_wanted(void *context, const void *message)
{
    const struct kap_notification_list_request *request = context;
    return ((const struct kap_notification *)message)->state == request->state;
}

static enum kap_bucket notification_bucket(void *context, const uint64_t *parts, uint32_t n_parts)
{
    const struct kap_row_list *list = context;
    const struct kap_notification_list_request *request = list->context;
    return n_parts == 1 && request->has_state && parts[0] != (uint64_t)request->state ? KAP_BUCKET_HIDDEN
                                                                                      : KAP_BUCKET_VISIBLE;
}

kap_status handle_notification_list(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    struct kap_notification_list_request *request = request_bytes, unpaged = *request;
    struct kap_notification_list_reply *reply = reply_bytes;
    struct kap_id user = run->access.principal.user;
    struct kap_row_list list = {
        .kind = KAP_KIND_NOTIFICATION,
        .listing = {.page = request->page, .index = KAP_INDEX_NOTIFICATION_BY_USER, .bucket = notification_bucket},
        .wanted = request->has_state ? notification_wanted : NULL,
        .context = request};
    void *items;
    kap_status status = account_check(run);
    kap_index_key_init(&list.listing.prefix, KAP_INDEX_NOTIFICATION_BY_USER);
    kap_key_put_id(&list.listing.prefix, user);
    unpaged.page = NULL;
    if (status == KAP_OK)
        status = handler_page(run, &list, &kap_notification_list_request_msg, &unpaged, &reply->end, &items,
                              &reply->n_notifications);
    if (status == KAP_OK) {
        reply->notifications = items;
        reply->has_unread = true;
        status = kap_notifications_count(&run->model, user, KAP_NOTIFICATION_STATE_UNREAD, &reply->unread);
    }
    return status;
}

static kap_status notification_mark(struct kap_run *run, const struct kap_row *row, int32_t state, uint32_t *changed)
{
    struct kap_sys sys = {.has_id = true, .id = row->id};
    static const uint32_t read_at_field = 9;
    bool is_read = state == KAP_NOTIFICATION_STATE_READ;
    struct kap_notification patch = {.sys = &sys, .has_state = true, .state = state};
    struct kap_column column;
    struct kap_put_result result;
    kap_status status = kap_row_column(row->bytes, 8, 0, &column);
    if (status != KAP_OK || (column.present && (int32_t)column.number == state))
        return status;
    patch.has_read_at = is_read;
    patch.read_at = run->model.now_us;
    const struct kap_put put = {.kind = KAP_KIND_NOTIFICATION,
                                .message = &patch,
                                .clear = &read_at_field,
                                .n_clear = !is_read,
                                .is_known = true,
                                .known = row};
    status = kap_model_put(&run->model, &put, &result);
    *changed += status == KAP_OK;
    return status;
}

static kap_status all_mark(struct kap_run *run, int32_t state, uint32_t *changed)
{
    struct kap_id user = run->access.principal.user;
    struct kap_rows rows = {0};
    struct kap_scan scan;
    struct kap_key prefix;
    kap_index_key_init(&prefix, KAP_INDEX_NOTIFICATION_BY_USER);
    kap_key_put_id(&prefix, user);
    kap_key_put_u64(&prefix,
                    state == KAP_NOTIFICATION_STATE_READ ? KAP_NOTIFICATION_STATE_UNREAD : KAP_NOTIFICATION_STATE_READ);
    kap_status status = kap_scan_init_prefix(&scan, run->model.view, run->arena, kap_key_bytes(&prefix));
    while (status == KAP_OK && rows.n < MARK_ALL_MAX && (status = kap_scan_next(&scan)) == KAP_OK) {
        struct kap_row row;
        struct kap_id id;
        memcpy(id.bytes, scan.entry.key.data + scan.entry.key.len - sizeof id.bytes, sizeof id.bytes);
        status = kap_model_find_in(&run->model, KAP_KIND_NOTIFICATION, user, id, &row);
        if (status == KAP_OK)
            status = kap_rows_add(&rows, run->arena, &row);
    }
    status = status == KAP_END ? KAP_OK : status;
    for (uint32_t i = 0; i < rows.n && status == KAP_OK; i++)
        status = notification_mark(run, &rows.at[i], state, changed);
    return status;
}

kap_status handle_notification_mark(struct kap_run *run, void *request_bytes, void *reply_bytes)
{
    const struct kap_notification_mark_request *request = request_bytes;
    struct kap_notification_mark_reply *reply = reply_bytes;
    const struct kap_path path = {NULL, "ids", -1};
    bool is_all = request->has_all && request->all;
    int32_t state = request->has_state ? request->state : KAP_NOTIFICATION_STATE_READ;
    kap_status status = account_check(run);
    if (status == KAP_OK && is_all == (request->n_ids > 0)) {
        kap_faults_add(&run->model.faults, &path, "one_of", "give ids or all, one of them");
        return KAP_INVALID;
    }
    for (size_t i = 0; i < request->n_ids && status == KAP_OK; i++) {
        struct kap_row row;
        status = kap_model_get(&run->model, KAP_KIND_NOTIFICATION, request->ids[i], &row);
        if (status == KAP_OK)
            status = notification_mark(run, &row, state, &reply->changed);
    }
    if (status == KAP_OK && is_all)
        status = all_mark(run, state, &reply->changed);
    if (status == KAP_OK)
        status = kap_notifications_count(&run->model, run->access.principal.user, KAP_NOTIFICATION_STATE_UNREAD,
                                         &reply->unread);
    reply->has_changed = reply->has_unread = true;
    return status;
}
