/* handlers.h - the handlers of all entities, for the table in dispatch.c. As kap_handler in dispatch.h. */
#pragma once

#include "server/dispatch.h"
#include "server/service.h"

#define KAP_HANDLER(name) kap_status handle_##name(struct kap_run *run, void *request_bytes, void *reply_bytes)

KAP_HANDLER(user_create);
KAP_HANDLER(user_get);
KAP_HANDLER(user_find);
KAP_HANDLER(profile_save);
KAP_HANDLER(club_save);
KAP_HANDLER(membership_set);
KAP_HANDLER(session_save);
KAP_HANDLER(session_graph);
KAP_HANDLER(session_get);
KAP_HANDLER(session_delete);
KAP_HANDLER(sequence_put);
KAP_HANDLER(objective_put);
KAP_HANDLER(variation_put);
KAP_HANDLER(criterion_put);
KAP_HANDLER(progression_put);
KAP_HANDLER(preferences_save);
KAP_HANDLER(template_save);
KAP_HANDLER(template_get);
KAP_HANDLER(template_list);
KAP_HANDLER(template_instantiate);
KAP_HANDLER(comment_put);
KAP_HANDLER(comment_list);
KAP_HANDLER(favorite_set);
KAP_HANDLER(favorite_list);
KAP_HANDLER(notification_list);
KAP_HANDLER(notification_mark);
KAP_HANDLER(validation_submit);
KAP_HANDLER(validation_withdraw);
KAP_HANDLER(validation_queue);
KAP_HANDLER(validation_claim);
KAP_HANDLER(validation_decide);
KAP_HANDLER(validation_history);
KAP_HANDLER(exercise_put);
KAP_HANDLER(row_delete);
KAP_HANDLER(part_reorder);
KAP_HANDLER(ref_put);
KAP_HANDLER(ref_delete);
KAP_HANDLER(token_create);
KAP_HANDLER(token_revoke);
KAP_HANDLER(session_list);
KAP_HANDLER(session_clone);
KAP_HANDLER(exercise_get);
KAP_HANDLER(exercise_list);
KAP_HANDLER(ref_list);
KAP_HANDLER(user_list);
KAP_HANDLER(club_get);
KAP_HANDLER(token_list);
KAP_HANDLER(txn_batch);
KAP_HANDLER(bulk_read);
KAP_HANDLER(dump_rows);
KAP_HANDLER(restore_rows);
KAP_HANDLER(server_status);
KAP_HANDLER(server_stats);
KAP_HANDLER(compaction_run);
KAP_HANDLER(snapshot_create);
KAP_HANDLER(snapshot_list);
KAP_HANDLER(snapshot_delete);
