#include "proto/message.h"

#include "engine/base/assert.h"
#include "proto/ops.h"
#include "proto/rights.h"

static bool name_is(const char *name, struct kap_bytes text)
{
    return kap_bytes_eq(kap_bytes_str(name), text);
}

const struct kap_msg *kap_message_find(struct kap_bytes name)
{
    for (size_t i = 0; i < kap_n_messages; i++)
        if (name_is(kap_messages[i]->name, name) || name_is(kap_messages[i]->full_name, name))
            return kap_messages[i];
    return NULL;
}

const struct kap_msg *kap_message_of_kind(uint32_t kind)
{
    for (size_t i = 0; kind != 0 && i < kap_n_messages; i++)
        if (kap_messages[i]->kind == kind)
            return kap_messages[i];
    return NULL;
}

const struct kap_field *kap_message_field(const struct kap_msg *msg, uint32_t number)
{
    if (number > msg->max_number || number == 0 || msg->slots[number] == 0)
        return NULL;
    return &msg->fields[msg->slots[number] - 1];
}

const struct kap_field *kap_message_field_named(const struct kap_msg *msg, struct kap_bytes name)
{
    for (size_t i = 0; i < msg->n_fields; i++)
        if (name_is(msg->fields[i].name, name))
            return &msg->fields[i];
    return NULL;
}

const char *kap_enum_name(const struct kap_enum *enumeration, int32_t number)
{
    for (size_t i = 0; i < enumeration->n_values; i++)
        if (enumeration->values[i].number == number)
            return enumeration->values[i].name;
    return NULL;
}

const struct kap_op_desc *kap_op_find(uint32_t op)
{
    size_t low = 0, high = kap_n_ops;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (kap_ops[middle].op < op)
            low = middle + 1;
        else
            high = middle;
    }
    return low < kap_n_ops && kap_ops[low].op == op ? &kap_ops[low] : NULL;
}

const struct kap_op_desc *kap_op_find_named(struct kap_bytes name)
{
    for (size_t i = 0; i < kap_n_ops; i++)
        if (name_is(kap_ops[i].name, name))
            return &kap_ops[i];
    return NULL;
}

const struct kap_kind_rights *kap_rights_of_kind(uint32_t kind)
{
    for (size_t i = 0; i < kap_n_rights; i++)
        if (kap_rights[i].kind == kind)
            return &kap_rights[i];
    return NULL;
}
