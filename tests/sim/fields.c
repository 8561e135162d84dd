#include "tests/sim/fields.h"

enum { VARINT = 0, EIGHT = 1, BYTES = 2, FOUR = 5 };

struct reader {
    const uint8_t *at, *end;
    bool failed;
};

static uint64_t varint_read(struct reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (reader->at == reader->end)
            break;
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    reader->failed = true;
    return 0;
}

static struct kap_bytes bytes_read(struct reader *reader, uint64_t len)
{
    if (len > (uint64_t)(reader->end - reader->at)) {
        reader->failed = true;
        return kap_bytes("", 0);
    }
    struct kap_bytes bytes = kap_bytes(reader->at, len);
    reader->at += len;
    return bytes;
}

static struct sim_value value_read(struct reader *reader, unsigned wire)
{
    struct sim_value value = {0};
    if (wire == VARINT) {
        value.number = varint_read(reader);
    } else if (wire == EIGHT || wire == FOUR) {
        struct kap_bytes raw = bytes_read(reader, wire == EIGHT ? 8 : 4);
        for (size_t i = raw.len; i-- > 0;)
            value.number = value.number << 8 | raw.data[i];
    } else if (wire == BYTES) {
        uint64_t len = varint_read(reader);
        value.bytes = bytes_read(reader, len);
    } else {
        reader->failed = true;
    }
    return value;
}

/* The encoding is canonical: values of one field stand together, numbers ascend. Anything else is not a row of ours. */
bool fields_parse(struct kap_arena *arena, struct kap_bytes bytes, struct sim_fields *fields_out)
{
    struct reader reader = {bytes.data, bytes.data + bytes.len, false};
    struct sim_field found[96];
    struct sim_value values[512];
    uint32_t n = 0, n_values = 0, first_value[96];
    while (reader.at < reader.end) {
        uint64_t tag = varint_read(&reader);
        uint16_t number = (uint16_t)(tag >> 3);
        uint8_t wire = tag & 7;
        struct sim_value value = value_read(&reader, wire);
        if (reader.failed || n_values == 512)
            return false;
        if (n == 0 || found[n - 1].number != number) {
            if (n == 96 || (n > 0 && found[n - 1].number > number))
                return false;
            first_value[n] = n_values;
            found[n++] = (struct sim_field){.number = number, .wire = wire};
        } else if (found[n - 1].wire != wire) {
            return false;
        }
        found[n - 1].n++;
        values[n_values++] = value;
    }
    struct sim_value *kept = sim_alloc(arena, n_values * sizeof *kept);
    struct sim_field *at = sim_alloc(arena, n * sizeof *at);
    if (n_values)
        memcpy(kept, values, n_values * sizeof *kept);
    for (uint32_t i = 0; i < n; i++) {
        at[i] = found[i];
        at[i].values = kept + first_value[i];
    }
    *fields_out = (struct sim_fields){.n = (uint16_t)n, .at = at};
    return true;
}

const struct sim_field *fields_get(const struct sim_fields *fields, uint32_t number)
{
    for (uint16_t i = 0; i < fields->n; i++)
        if (fields->at[i].number == number)
            return &fields->at[i];
    return NULL;
}

bool fields_has(const struct sim_fields *fields, uint32_t number)
{
    return fields_get(fields, number) != NULL;
}

uint64_t fields_number(const struct sim_fields *fields, uint32_t number, uint64_t otherwise)
{
    const struct sim_field *field = fields_get(fields, number);
    return field ? field->values[0].number : otherwise;
}

struct kap_bytes fields_bytes(const struct sim_fields *fields, uint32_t number)
{
    const struct sim_field *field = fields_get(fields, number);
    return field ? field->values[0].bytes : kap_bytes("", 0);
}

struct kap_id value_id(const struct sim_value *value)
{
    struct kap_id id = {{0}};
    if (value->bytes.len == sizeof id.bytes)
        memcpy(id.bytes, value->bytes.data, sizeof id.bytes);
    return id;
}

struct kap_id fields_id(const struct sim_fields *fields, uint32_t number)
{
    const struct sim_field *field = fields_get(fields, number);
    return field ? value_id(&field->values[0]) : (struct kap_id){{0}};
}

bool fields_holds_id(const struct sim_fields *fields, uint32_t number, struct kap_id id)
{
    const struct sim_field *field = fields_get(fields, number);
    for (uint16_t i = 0; field && i < field->n; i++)
        if (kap_id_eq(value_id(&field->values[i]), id))
            return true;
    return false;
}

static bool field_equal(const struct sim_field *a, const struct sim_field *b)
{
    if (a->number != b->number || a->wire != b->wire || a->n != b->n)
        return false;
    for (uint16_t i = 0; i < a->n; i++)
        if (a->wire == BYTES ? !kap_bytes_eq(a->values[i].bytes, b->values[i].bytes)
                             : a->values[i].number != b->values[i].number)
            return false;
    return true;
}

uint32_t fields_differ(const struct sim_fields *a, const struct sim_fields *b)
{
    for (uint16_t i = 0; i < a->n && i < b->n; i++)
        if (!field_equal(&a->at[i], &b->at[i]))
            return a->at[i].number < b->at[i].number ? a->at[i].number : b->at[i].number;
    return a->n > b->n ? a->at[b->n].number : b->n > a->n ? b->at[a->n].number : 0;
}

bool fields_equal(const struct sim_fields *a, const struct sim_fields *b)
{
    return fields_differ(a, b) == 0;
}

struct sim_fields fields_merge(struct kap_arena *arena, const struct sim_fields *base, const struct sim_fields *patch)
{
    struct sim_fields merged = {.at = sim_alloc(arena, ((size_t)base->n + patch->n) * sizeof *merged.at)};
    uint16_t i = 0, j = 0;
    while (i < base->n || j < patch->n) {
        bool takes_patch = i == base->n || (j < patch->n && patch->at[j].number <= base->at[i].number);
        if (takes_patch && i < base->n && patch->at[j].number == base->at[i].number)
            i++;
        merged.at[merged.n++] = takes_patch ? patch->at[j++] : base->at[i++];
    }
    return merged;
}

struct sim_fields fields_without(struct kap_arena *arena, const struct sim_fields *base, uint32_t number)
{
    struct sim_fields rest = {.at = sim_alloc(arena, (size_t)base->n * sizeof *rest.at)};
    for (uint16_t i = 0; i < base->n; i++)
        if (base->at[i].number != number)
            rest.at[rest.n++] = base->at[i];
    return rest;
}

static struct sim_fields with(struct kap_arena *arena, const struct sim_fields *base, uint32_t number, uint8_t wire,
                              struct sim_value value)
{
    struct sim_value *kept = sim_alloc(arena, sizeof *kept);
    struct sim_field field = {.number = (uint16_t)number, .n = 1, .wire = wire, .values = kept};
    const struct sim_fields patch = {.n = 1, .at = &field};
    *kept = value;
    return fields_merge(arena, base, &patch);
}

struct sim_fields fields_with_number(struct kap_arena *arena, const struct sim_fields *base, uint32_t number,
                                     uint64_t value)
{
    return with(arena, base, number, VARINT, (struct sim_value){.number = value});
}

struct sim_fields fields_with_bytes(struct kap_arena *arena, const struct sim_fields *base, uint32_t number,
                                    struct kap_bytes value)
{
    return with(arena, base, number, BYTES, (struct sim_value){.bytes = value});
}

struct sim_fields fields_with_id(struct kap_arena *arena, const struct sim_fields *base, uint32_t number,
                                 struct kap_id id)
{
    return fields_with_bytes(arena, base, number, sim_copy(arena, kap_bytes(id.bytes, sizeof id.bytes)));
}
