/* exercise.h - exercises: of the library by title, category or use; placed ones of a sequence. */
#pragma once

#include "engine/model/listing.h"

KAP_CHECKED kap_status kap_exercise_get(struct kap_model *model, const struct kap_exercise_get_request *request,
                                        struct kap_exercise_get_reply *reply);
KAP_CHECKED kap_status kap_exercise_list(struct kap_model *model, const struct kap_list_scope *scope,
                                         const struct kap_exercise_list_request *request,
                                         struct kap_exercise_list_reply *reply);
