#include "proto/clients/c/reassembly.h"

#include "engine/base/assert.h"

enum { PARTS_CAP_MIN = 8 };

struct reassembly_part {
    uint64_t request_id;
    struct kap_buffer body;
};

void reassembly_init(struct reassembly *reassembly, struct kap_memory *memory, size_t bytes_max)
{
    *reassembly = (struct reassembly){.memory = memory, .bytes_max = bytes_max};
    kap_buffer_init(&reassembly->done, memory);
}

void reassembly_clear(struct reassembly *reassembly)
{
    for (size_t i = 0; i < reassembly->n_parts; i++)
        kap_buffer_deinit(&reassembly->parts[i].body);
    reassembly->n_parts = 0;
    reassembly->bytes = 0;
    kap_buffer_clear(&reassembly->done);
}

void reassembly_deinit(struct reassembly *reassembly)
{
    reassembly_clear(reassembly);
    kap_memory_free(reassembly->memory, reassembly->parts);
    kap_buffer_deinit(&reassembly->done);
}

static struct reassembly_part *part_find(struct reassembly *reassembly, uint64_t request_id)
{
    for (size_t i = 0; i < reassembly->n_parts; i++)
        if (reassembly->parts[i].request_id == request_id)
            return &reassembly->parts[i];
    return NULL;
}

static struct reassembly_part *part_new(struct reassembly *reassembly, uint64_t request_id)
{
    if (reassembly->n_parts == reassembly->cap_parts) {
        size_t cap = reassembly->cap_parts ? reassembly->cap_parts * 2 : PARTS_CAP_MIN;
        struct reassembly_part *parts = kap_memory_resize(reassembly->memory, reassembly->parts, cap * sizeof *parts);
        if (!parts)
            return NULL;
        reassembly->parts = parts;
        reassembly->cap_parts = cap;
    }
    struct reassembly_part *part = &reassembly->parts[reassembly->n_parts++];
    part->request_id = request_id;
    kap_buffer_init(&part->body, reassembly->memory);
    return part;
}

static void part_finish(struct reassembly *reassembly, struct reassembly_part *part)
{
    reassembly->bytes -= part->body.len;
    kap_buffer_deinit(&reassembly->done);
    reassembly->done = part->body;
    *part = reassembly->parts[--reassembly->n_parts];
}

kap_status reassembly_add(struct reassembly *reassembly, uint64_t request_id, bool more, struct kap_bytes body,
                          struct kap_bytes *whole_out)
{
    struct reassembly_part *part = part_find(reassembly, request_id);
    if (!part && !more) { /* the common case: one frame, nothing to copy */
        *whole_out = body;
        return KAP_OK;
    }
    if (body.len > reassembly->bytes_max - reassembly->bytes)
        return KAP_TOO_LARGE;
    if (!part && (part = part_new(reassembly, request_id)) == NULL)
        return KAP_NO_MEMORY;
    kap_buffer_append(&part->body, body.data, body.len);
    if (part->body.failed)
        return KAP_NO_MEMORY;
    reassembly->bytes += body.len;
    KAP_ASSERT(reassembly->bytes <= reassembly->bytes_max);
    if (more)
        return KAP_PENDING;
    part_finish(reassembly, part);
    *whole_out = kap_buffer_bytes(&reassembly->done);
    return KAP_OK;
}
