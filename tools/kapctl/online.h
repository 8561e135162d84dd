/* online.h - requests to a running kapd, from JSON to JSON, and the verbs made of them. */
#pragma once

#include "proto/clients/c/kap_client.h"
#include "proto/kap_numbers.h"
#include "tools/kapctl/kapctl.h"
#include "tools/kapctl/out.h"

struct online {
    struct kap_memory memory;
    struct kap_client *client;
};

/* Does not connect yet. */
KAP_CHECKED kap_status online_begin(struct online *online, const struct ctl *ctl, struct kap_error *error);
void online_end(struct online *online);
/* request is taken over. reply_out: a new reference. */
KAP_CHECKED kap_status online_call(struct online *online, uint16_t op, json_t *request, json_t **reply_out,
                                   struct kap_error *error);

enum ctl_exit status_run(const struct ctl *ctl);
enum ctl_exit compaction_run(const struct ctl *ctl);
enum ctl_exit snapshot_run(const struct ctl *ctl);
enum ctl_exit token_run(const struct ctl *ctl);
enum ctl_exit doctor_run(const struct ctl *ctl);
