#include "tools/kapctl/offline_run.h"

enum { OFFLINE_QUEUE_DEPTH = 16 };

kap_status offline_begin(struct offline_run *run, const char *directory, struct kap_error *error)
{
    *run = (struct offline_run){0};
    kap_status status = kap_env_uring_create(&run->env, error);
    if (status != KAP_OK)
        return status;
    status = kap_queue_create(run->env, OFFLINE_QUEUE_DEPTH, &run->queue, error);
    if (status == KAP_OK)
        status = kap_offline_open(run->env, run->queue, directory, &run->offline, error);
    if (status != KAP_OK)
        offline_end(run);
    return status;
}

void offline_end(struct offline_run *run)
{
    kap_offline_close(run->offline);
    kap_queue_destroy(run->queue);
    kap_env_uring_destroy(run->env);
    *run = (struct offline_run){0};
}
