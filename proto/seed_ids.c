#include "proto/seed_ids.h"

#include <stdio.h>

#include "proto/kap_entities.h"
#include "proto/message.h"

static const struct kap_id project_namespace = {
    {0x6b, 0x61, 0x70, 0x64, 0x2f, 0x9d, 0x4c, 0x1e, 0xa7, 0x53, 0x08, 0xe2, 0x5b, 0xc4, 0x31, 0x7a}};

struct kap_id kap_seed_ref_id(int32_t list, const char *value)
{
    char text[256];
    int len = snprintf(text, sizeof text, "ref_item/%s/%s", kap_enum_name(&kap_ref_kind_enum, list), value);
    return kap_seed_id(kap_bytes(text, (size_t)len));
}

struct kap_id kap_seed_id(struct kap_bytes name)
{
    return kap_uuid_v5(project_namespace, name);
}
