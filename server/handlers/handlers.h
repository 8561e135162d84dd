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
KAP_HANDLER(exercise_put);
KAP_HANDLER(row_delete);
KAP_HANDLER(part_reorder);
KAP_HANDLER(ref_put);
KAP_HANDLER(ref_delete);
KAP_HANDLER(token_create);
KAP_HANDLER(token_revoke);
