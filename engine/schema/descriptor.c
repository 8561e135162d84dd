#include "engine/schema/descriptor.h"

#include "engine/base/le.h"
#include "engine/base/varint.h"

const struct kap_kind_desc *kap_schema_kind(const struct kap_schema *schema, uint8_t kind)
{
    if (kind >= schema->n_kinds || !schema->kinds[kind].name)
        return NULL;
    return &schema->kinds[kind];
}

const struct kap_index_desc *kap_schema_index(const struct kap_schema *schema, uint16_t id)
{
    for (uint16_t i = 0; i < schema->n_indexes; i++)
        if (schema->indexes[i].id == id)
            return &schema->indexes[i];
    return NULL;
}

/* One field of a message at *at: its number, wire type and value. KAP_END at the end. */
static kap_status field_next(const uint8_t **at, const uint8_t *end, uint32_t *number_out, struct kap_column *value_out)
{
    uint64_t tag, len;
    if (*at == end)
        return KAP_END;
    *at = kap_varint_read(*at, end, &tag);
    if (!*at || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return KAP_CORRUPT;
    *number_out = (uint32_t)(tag >> 3);
    *value_out = (struct kap_column){.present = true};
    switch (tag & 7) {
    case 0:
        *at = kap_varint_read(*at, end, &value_out->number);
        return *at ? KAP_OK : KAP_CORRUPT;
    case 1:
        if (end - *at < 8)
            return KAP_CORRUPT;
        value_out->number = kap_le64_load(*at);
        value_out->bytes = kap_bytes(*at, 8);
        *at += 8;
        return KAP_OK;
    case 2:
        *at = kap_varint_read(*at, end, &len);
        if (!*at || len > (uint64_t)(end - *at))
            return KAP_CORRUPT;
        value_out->bytes = kap_bytes(*at, (size_t)len);
        *at += len;
        return KAP_OK;
    case 5:
        if (end - *at < 4)
            return KAP_CORRUPT;
        value_out->number = kap_le32_load(*at);
        *at += 4;
        return KAP_OK;
    default:
        return KAP_CORRUPT;
    }
}

kap_status kap_row_field_next(const uint8_t **at, const uint8_t *end, uint32_t *number_out,
                              struct kap_column *value_out, struct kap_bytes *whole_out)
{
    const uint8_t *from = *at;
    kap_status status = field_next(at, end, number_out, value_out);
    if (status == KAP_OK)
        *whole_out = kap_bytes(from, (size_t)(*at - from));
    return status;
}

kap_status kap_row_column(struct kap_bytes row, uint16_t field, uint32_t n, struct kap_column *column_out)
{
    const uint8_t *at = row.data, *end = row.data + row.len;
    uint32_t want = field;
    if (field & 0x8000) {
        if (row.len < KAP_SYS_BYTES || row.data[0] != 0x0a || row.data[1] != KAP_SYS_BYTES - 2)
            return KAP_CORRUPT;
        at = row.data + 2;
        end = row.data + KAP_SYS_BYTES;
        want = field & 0x7fff;
    }
    struct kap_column found = {0};
    for (;;) {
        uint32_t number;
        struct kap_column value;
        kap_status status = field_next(&at, end, &number, &value);
        if (status == KAP_END || (status == KAP_OK && number > want)) /* stored rows are canonical: ascending numbers */
            break;
        if (status != KAP_OK)
            return status;
        if (number == want && n-- == 0) {
            found = value;
            break;
        }
    }
    *column_out = found;
    return KAP_OK;
}

static const uint8_t sys_tags[KAP_SYS_BYTES] = {
    [0] = 0x0a,  [1] = KAP_SYS_BYTES - 2,
    [2] = 0x0a,  [3] = 16, /* id */
    [20] = 0x11, /* rev */
    [29] = 0x19, /* created_at */
    [38] = 0x21, /* updated_at */
    [47] = 0x2a, [48] = 16, /* created_by */
    [65] = 0x32, [66] = 16, /* updated_by */
    [83] = 0x39, /* commit_seq */
};

kap_status kap_row_sys(struct kap_bytes row, struct kap_sys_view *sys_out)
{
    static const uint8_t tag_at[] = {0, 1, 2, 3, 20, 29, 38, 47, 48, 65, 66, 83};
    if (row.len < KAP_SYS_BYTES)
        return KAP_CORRUPT;
    for (size_t i = 0; i < sizeof tag_at; i++)
        if (row.data[tag_at[i]] != sys_tags[tag_at[i]])
            return KAP_CORRUPT;
    memcpy(sys_out->id.bytes, row.data + KAP_SYS_ID_AT, 16);
    memcpy(sys_out->created_by.bytes, row.data + KAP_SYS_CREATED_BY_AT, 16);
    memcpy(sys_out->updated_by.bytes, row.data + KAP_SYS_UPDATED_BY_AT, 16);
    sys_out->rev = kap_le64_load(row.data + KAP_SYS_REV_AT);
    sys_out->commit_seq = kap_le64_load(row.data + KAP_SYS_COMMIT_SEQ_AT);
    sys_out->created_at = (int64_t)kap_le64_load(row.data + KAP_SYS_CREATED_AT_AT);
    sys_out->updated_at = (int64_t)kap_le64_load(row.data + KAP_SYS_UPDATED_AT_AT);
    return KAP_OK;
}

void kap_row_sys_write(uint8_t *row, const struct kap_sys_view *sys)
{
    memcpy(row, sys_tags, KAP_SYS_BYTES);
    memcpy(row + KAP_SYS_ID_AT, sys->id.bytes, 16);
    memcpy(row + KAP_SYS_CREATED_BY_AT, sys->created_by.bytes, 16);
    memcpy(row + KAP_SYS_UPDATED_BY_AT, sys->updated_by.bytes, 16);
    kap_le64_store(row + KAP_SYS_REV_AT, sys->rev);
    kap_le64_store(row + KAP_SYS_COMMIT_SEQ_AT, sys->commit_seq);
    kap_le64_store(row + KAP_SYS_CREATED_AT_AT, (uint64_t)sys->created_at);
    kap_le64_store(row + KAP_SYS_UPDATED_AT_AT, (uint64_t)sys->updated_at);
}
