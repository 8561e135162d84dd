#include <stdarg.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/model/discussion.h"
#include "engine/model/model_internal.h"

enum { NOTIFICATION_BYTES_MAX = 1024 };

kap_status kap_notify(struct kap_model *model, struct kap_id user, enum kap_notification_type type, const char *topic,
                      const struct kap_row *object, const char *format, ...)
{
    struct kap_put_result result;
    struct kap_row account;
    va_list args;
    if (kap_id_is_nil(user) || kap_id_eq(user, model->actor))
        return KAP_OK;
    kap_status status = kap_model_find(model, KAP_KIND_USER, user, &account);
    if (status != KAP_OK)
        return status == KAP_NOT_FOUND ? KAP_OK : status; /* the account is gone, the row it wrote is not */
    char *text = kap_arena_push(model->arena, NOTIFICATION_BYTES_MAX);
    if (!text)
        return KAP_NO_MEMORY;
    va_start(args, format);
    int len = vsnprintf(text, NOTIFICATION_BYTES_MAX, format, args);
    va_end(args);
    size_t n = len < 0 ? 0 : KAP_MIN((size_t)len, (size_t)NOTIFICATION_BYTES_MAX - 1);
    while (n > 0 && (size_t)len > n && (text[n] & 0xC0) == 0x80) /* not within a character */
        n--;
    struct kap_notification row = {.has_user = true,
                                   .user = user,
                                   .has_type = true,
                                   .type = type,
                                   .has_topic = true,
                                   .topic = kap_bytes_str(topic),
                                   .has_message = true,
                                   .message = kap_bytes(text, n),
                                   .has_object_kind = object != NULL,
                                   .object_kind = object ? object->kind : 0,
                                   .has_object = object != NULL};
    if (object)
        row.object = object->id;
    const struct kap_put put = {.kind = KAP_KIND_NOTIFICATION, .message = &row, .is_trusted = true};
    return model_put_own(model, &put, &result);
}

kap_status kap_notifications_count(struct kap_model *model, struct kap_id user, enum kap_notification_state state,
                                   uint64_t *count_out)
{
    struct kap_key key;
    kap_index_count_key_init(&key, KAP_INDEX_NOTIFICATION_BY_USER);
    kap_key_put_id(&key, user);
    kap_key_put_u64(&key, (uint64_t)state);
    return kap_model_count(model, &key, count_out);
}
