/* What a comment may say and who may change it: threads of one session, at most four replies deep; the words are its
 * author's, the owner of the session may only resolve or delete it. */
#include "engine/base/assert.h"
#include "engine/model/discussion.h"
#include "engine/model/model_internal.h"

enum { COMMENT_DEPTH_MAX = 4 };

static kap_status comment_read(struct kap_model *model, struct kap_id id, struct kap_comment **comment_out)
{
    struct kap_row row;
    void *message;
    kap_status status = kap_model_find(model, KAP_KIND_COMMENT, id, &row);
    if (status == KAP_OK)
        status = kap_model_decode(model, KAP_KIND_COMMENT, row.bytes, &message);
    if (status == KAP_OK)
        *comment_out = message;
    return status;
}

/* A parent that is not there is told of with the other references. */
static kap_status parent_check(struct kap_model *model, const struct kap_comment *comment, const struct kap_path *path)
{
    const struct kap_path here = {path, "parent", -1};
    struct kap_comment *above;
    kap_status status = comment_read(model, comment->parent, &above);
    if (status != KAP_OK)
        return status == KAP_NOT_FOUND ? KAP_OK : status;
    if (!kap_id_eq(above->session, comment->session))
        kap_faults_add(&model->faults, &here, "other_tree", "a reply belongs to the session of what it answers");
    else if (above->has_removed_at)
        kap_faults_add(&model->faults, &here, "not_allowed", "the comment was deleted: answer another one");
    for (int64_t depth = 1; status == KAP_OK && above->has_parent; depth++) {
        if (depth == COMMENT_DEPTH_MAX) {
            kap_faults_add_limit(&model->faults, &here, "too_deep", COMMENT_DEPTH_MAX, depth + 1,
                                 "replies are at most %d deep: answer the comment above", COMMENT_DEPTH_MAX);
            break;
        }
        status = comment_read(model, above->parent, &above);
    }
    return status == KAP_NOT_FOUND ? KAP_OK : status;
}

static bool says_the_same(const struct kap_comment *a, const struct kap_comment *b)
{
    return kap_bytes_eq(a->has_content ? a->content : kap_bytes("", 0),
                        b->has_content ? b->content : kap_bytes("", 0)) &&
           a->kind == b->kind && a->has_rating == b->has_rating && (!a->has_rating || a->rating == b->rating);
}

static kap_status change_check(struct kap_model *model, struct kap_id id, const struct kap_comment *old,
                               struct kap_comment *comment, const struct kap_path *path)
{
    const struct kap_path here = {path, "parent", -1};
    bool is_removal = comment->has_removed_at && !old->has_removed_at;
    if (old->has_removed_at)
        return kap_model_refuse_row(model, KAP_STATE_CONFLICT, KAP_KIND_COMMENT, id,
                                    "the comment was deleted and only stands for its replies: it goes from deleted to "
                                    "nothing else");
    if (old->has_parent != comment->has_parent || (old->has_parent && !kap_id_eq(old->parent, comment->parent)))
        kap_faults_add(&model->faults, &here, "not_allowed", "a comment stays where it was written");
    comment->has_author = old->has_author;
    comment->author = old->author;
    if (is_removal || says_the_same(old, comment))
        return KAP_OK;
    if (!model->is_admin && !kap_id_eq(model->actor, old->author))
        return kap_model_refuse_row(model, KAP_FORBIDDEN, KAP_KIND_COMMENT, id,
                                    "only its author changes what a comment says; you may resolve or delete it");
    comment->has_edited_at = true;
    comment->edited_at = model->now_us;
    return KAP_OK;
}

kap_status model_comment_rules(struct kap_model *model, struct kap_id id, const struct kap_bytes *before, void *message,
                               const struct kap_path *path, bool is_restore)
{
    struct kap_comment *comment = message;
    const struct kap_path content = {path, "content", -1}, author = {path, "author", -1};
    kap_status status = KAP_OK;
    void *old = NULL;
    if (before && !is_restore)
        status = kap_model_decode(model, KAP_KIND_COMMENT, *before, &old);
    if (status == KAP_OK && old)
        status = change_check(model, id, old, comment, path);
    if (status != KAP_OK)
        return status;
    if (!old && !is_restore) {
        if (kap_id_is_nil(model->actor))
            kap_faults_add(&model->faults, &author, "required", "you have no account: comment on behalf of one");
        comment->has_author = true;
        comment->author = model->actor;
    }
    if (!comment->has_removed_at && (!comment->has_content || comment->content.len == 0))
        kap_faults_add(&model->faults, &content, "required", "a comment says something");
    if (!old && comment->has_parent)
        status = parent_check(model, comment, path);
    return status == KAP_OK && model->faults.n_total > 0 ? KAP_INVALID : status;
}

kap_status kap_comment_remove(struct kap_model *model, const struct kap_row *row, const struct kap_delete *delete,
                              bool *kept_out)
{
    struct kap_put_result result;
    struct kap_key key;
    uint64_t replies;
    void *message;
    bool may = false;
    *kept_out = false;
    kap_index_count_key_init(&key, KAP_INDEX_COMMENT_BY_PARENT);
    kap_key_put_id(&key, row->id);
    kap_status status = kap_model_count(model, &key, &replies);
    if (status != KAP_OK || replies == 0)
        return status;
    status = kap_model_may(model, KAP_MAY_WRITE, row, &may);
    if (status == KAP_OK && !may)
        return kap_model_refuse_row(model, KAP_FORBIDDEN, KAP_KIND_COMMENT, row->id,
                                    "you may read this comment but not delete it");
    if (status == KAP_OK)
        status = kap_model_decode(model, KAP_KIND_COMMENT, row->bytes, &message);
    if (status != KAP_OK)
        return status;
    struct kap_comment *comment = message;
    *kept_out = true;
    if (comment->has_removed_at || delete->dry_run)
        return KAP_OK;
    static const uint32_t clear[] = {5, 7, 8};
    struct kap_comment patch = {.sys = comment->sys, .has_removed_at = true, .removed_at = model->now_us};
    const struct kap_put put = {.kind = KAP_KIND_COMMENT,
                                .message = &patch,
                                .clear = clear,
                                .n_clear = KAP_ARRAY_LEN(clear),
                                .has_expected_rev = delete->has_expected_rev,
                                .expected_rev = delete->expected_rev,
                                .keep_output = true,
                                .is_trusted = true};
    return kap_model_put(model, &put, &result);
}
