#include "server/dispatch.h"

#include "engine/base/assert.h"
#include "server/handlers/handlers.h"

static const struct entry {
    uint16_t op;
    bool in_batch;
    kap_handler handler;
} entries[] = {
    {KAP_OP_USER_CREATE, true, handle_user_create},
    {KAP_OP_USER_GET, false, handle_user_get},
    {KAP_OP_USER_FIND, false, handle_user_find},
    {KAP_OP_PROFILE_SAVE, true, handle_profile_save},
    {KAP_OP_CLUB_SAVE, true, handle_club_save},
    {KAP_OP_MEMBERSHIP_SET, true, handle_membership_set},
    {KAP_OP_SESSION_SAVE, true, handle_session_save},
    {KAP_OP_SESSION_GRAPH, false, handle_session_graph},
    {KAP_OP_SESSION_GET, false, handle_session_get},
    {KAP_OP_SESSION_DELETE, true, handle_session_delete},
    {KAP_OP_SEQUENCE_PUT, true, handle_sequence_put},
    {KAP_OP_OBJECTIVE_PUT, true, handle_objective_put},
    {KAP_OP_VARIATION_PUT, true, handle_variation_put},
    {KAP_OP_CRITERION_PUT, true, handle_criterion_put},
    {KAP_OP_PROGRESSION_PUT, true, handle_progression_put},
    {KAP_OP_PREFERENCES_SAVE, true, handle_preferences_save},
    {KAP_OP_TEMPLATE_SAVE, true, handle_template_save},
    {KAP_OP_TEMPLATE_GET, false, handle_template_get},
    {KAP_OP_TEMPLATE_LIST, false, handle_template_list},
    {KAP_OP_TEMPLATE_INSTANTIATE, true, handle_template_instantiate},
    {KAP_OP_COMMENT_PUT, true, handle_comment_put},
    {KAP_OP_COMMENT_LIST, false, handle_comment_list},
    {KAP_OP_FAVORITE_SET, true, handle_favorite_set},
    {KAP_OP_FAVORITE_LIST, false, handle_favorite_list},
    {KAP_OP_NOTIFICATION_LIST, false, handle_notification_list},
    {KAP_OP_NOTIFICATION_MARK, true, handle_notification_mark},
    {KAP_OP_VALIDATION_SUBMIT, true, handle_validation_submit},
    {KAP_OP_VALIDATION_WITHDRAW, true, handle_validation_withdraw},
    {KAP_OP_VALIDATION_QUEUE, false, handle_validation_queue},
    {KAP_OP_VALIDATION_CLAIM, true, handle_validation_claim},
    {KAP_OP_VALIDATION_DECIDE, true, handle_validation_decide},
    {KAP_OP_VALIDATION_HISTORY, false, handle_validation_history},
    {KAP_OP_ROW_DELETE, true, handle_row_delete},
    {KAP_OP_PART_REORDER, true, handle_part_reorder},
    {KAP_OP_EXERCISE_PUT, true, handle_exercise_put},
    {KAP_OP_REF_PUT, true, handle_ref_put},
    {KAP_OP_REF_DELETE, true, handle_ref_delete},
    {KAP_OP_SESSION_LIST, false, handle_session_list},
    {KAP_OP_SESSION_CLONE, true, handle_session_clone},
    {KAP_OP_EXERCISE_GET, false, handle_exercise_get},
    {KAP_OP_EXERCISE_LIST, false, handle_exercise_list},
    {KAP_OP_REF_LIST, false, handle_ref_list},
    {KAP_OP_USER_LIST, false, handle_user_list},
    {KAP_OP_CLUB_GET, false, handle_club_get},
    {KAP_OP_TOKEN_LIST, false, handle_token_list},
    {KAP_OP_TXN_BATCH, false, handle_txn_batch},
    {KAP_OP_BULK_READ, false, handle_bulk_read},
    {KAP_OP_DUMP_ROWS, false, handle_dump_rows},
    {KAP_OP_RESTORE_ROWS, false, handle_restore_rows},
    {KAP_OP_SERVER_STATUS, false, handle_server_status},
    {KAP_OP_SERVER_STATS, false, handle_server_stats},
    {KAP_OP_COMPACTION_RUN, false, handle_compaction_run},
    {KAP_OP_SNAPSHOT_CREATE, false, handle_snapshot_create},
    {KAP_OP_SNAPSHOT_LIST, false, handle_snapshot_list},
    {KAP_OP_SNAPSHOT_DELETE, false, handle_snapshot_delete},
    {KAP_OP_TOKEN_CREATE, false, handle_token_create},
    {KAP_OP_TOKEN_REVOKE, true, handle_token_revoke},
};

static const struct entry *entry_find(uint16_t op)
{
    for (size_t i = 0; i < KAP_ARRAY_LEN(entries); i++)
        if (entries[i].op == op)
            return &entries[i];
    return NULL;
}

kap_handler kap_dispatch_find(uint16_t op)
{
    const struct entry *entry = entry_find(op);
    return entry ? entry->handler : NULL;
}

bool kap_dispatch_in_batch(uint16_t op)
{
    const struct entry *entry = entry_find(op);
    return entry && entry->in_batch;
}
