/* offline_run.h - an environment, a queue and a directory to look at: what every offline verb begins and ends with. */
#pragma once

#include "engine/store/offline.h"

struct offline_run {
    struct kap_env *env;
    struct kap_queue *queue;
    struct kap_offline *offline;
};

KAP_CHECKED kap_status offline_begin(struct offline_run *run, const char *directory, struct kap_error *error);
void offline_end(struct offline_run *run);
