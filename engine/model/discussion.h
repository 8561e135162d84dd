/* discussion.h - comments on a session, and what users are told of them.
 *
 * Errors  as model.h. */
#pragma once

#include "engine/model/model.h"

/* A comment that has replies loses its words and its rating and stays as their place. kept_out false: it has none, and is
 * deleted like any row, by the caller. */
KAP_CHECKED kap_status kap_comment_remove(struct kap_model *model, const struct kap_row *row,
                                          const struct kap_delete *delete, bool *kept_out);

/* A notification for a user about a row; nobody is told of what they did themselves. object: may be NULL. */
KAP_CHECKED kap_status kap_notify(struct kap_model *model, struct kap_id user, enum kap_notification_type type,
                                  const char *topic, const struct kap_row *object, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* By state; how many of a user's notifications. */
KAP_CHECKED kap_status kap_notifications_count(struct kap_model *model, struct kap_id user,
                                               enum kap_notification_state state, uint64_t *count_out);
