#include "tests/sim/rules.h"

#include <ctype.h>

const struct sim_ref sim_refs[] = {
    {KAP_KIND_PROFILE, 2, KAP_KIND_USER, 0, VERB_CASCADE},
    {KAP_KIND_PROFILE, 9, KAP_KIND_REF_ITEM, KAP_REF_KIND_SPORT, VERB_RESTRICT},
    {KAP_KIND_CLUB, 4, KAP_KIND_REF_ITEM, KAP_REF_KIND_SPORT, VERB_RESTRICT},
    {KAP_KIND_MEMBERSHIP, 2, KAP_KIND_CLUB, 0, VERB_RESTRICT},
    {KAP_KIND_MEMBERSHIP, 3, KAP_KIND_USER, 0, VERB_CASCADE},
    {KAP_KIND_SESSION, 2, KAP_KIND_USER, 0, VERB_KEEP},
    {KAP_KIND_SESSION, 3, KAP_KIND_CLUB, 0, VERB_NULLIFY},
    {KAP_KIND_SESSION, 7, KAP_KIND_REF_ITEM, KAP_REF_KIND_SPORT, VERB_RESTRICT},
    {KAP_KIND_SESSION, 8, KAP_KIND_REF_ITEM, KAP_REF_KIND_LEVEL, VERB_RESTRICT},
    {KAP_KIND_SESSION, 10, KAP_KIND_REF_ITEM, KAP_REF_KIND_INTENSITY, VERB_RESTRICT},
    {KAP_KIND_SESSION, 15, KAP_KIND_TACTICAL_PRINCIPLE, 0, VERB_RESTRICT},
    {KAP_KIND_SESSION, 18, KAP_KIND_TAG, 0, VERB_NULLIFY},
    {KAP_KIND_SESSION, 22, KAP_KIND_SESSION, 0, VERB_NULLIFY},
    {KAP_KIND_SEQUENCE, 2, KAP_KIND_SESSION, 0, VERB_CASCADE},
    {KAP_KIND_SEQUENCE, 8, KAP_KIND_REF_ITEM, KAP_REF_KIND_SEQUENCE_TYPE, VERB_RESTRICT},
    {KAP_KIND_SEQUENCE, 9, KAP_KIND_REF_ITEM, KAP_REF_KIND_INTENSITY, VERB_RESTRICT},
    {KAP_KIND_SEQUENCE, 11, KAP_KIND_TACTICAL_PRINCIPLE, 0, VERB_RESTRICT},
    {KAP_KIND_OBJECTIVE, 3, 0, 0, VERB_CASCADE},
    {KAP_KIND_EXERCISE, 2, KAP_KIND_SEQUENCE, 0, VERB_CASCADE},
    {KAP_KIND_EXERCISE, 10, KAP_KIND_REF_ITEM, KAP_REF_KIND_INTENSITY, VERB_RESTRICT},
    {KAP_KIND_EXERCISE, 17, KAP_KIND_TACTICAL_PRINCIPLE, 0, VERB_RESTRICT},
    {KAP_KIND_EXERCISE, 22, KAP_KIND_REF_ITEM, KAP_REF_KIND_SPORT, VERB_RESTRICT},
    {KAP_KIND_EXERCISE, 23, KAP_KIND_REF_ITEM, KAP_REF_KIND_LEVEL, VERB_RESTRICT},
    {KAP_KIND_EXERCISE, 24, KAP_KIND_REF_ITEM, KAP_REF_KIND_EXERCISE_CATEGORY, VERB_RESTRICT},
    {KAP_KIND_EXERCISE, 27, KAP_KIND_REF_ITEM, KAP_REF_KIND_EQUIPMENT, VERB_RESTRICT},
    {KAP_KIND_EXERCISE, 28, KAP_KIND_REF_ITEM, KAP_REF_KIND_MUSCLE, VERB_RESTRICT},
    {KAP_KIND_EXERCISE, 29, KAP_KIND_EXERCISE, 0, VERB_RESTRICT},
    {KAP_KIND_EXERCISE, 31, KAP_KIND_REF_ITEM, KAP_REF_KIND_MUSCLE, VERB_RESTRICT},
    {KAP_KIND_EXERCISE, 32, KAP_KIND_TAG, 0, VERB_NULLIFY},
    {KAP_KIND_EXERCISE, 34, KAP_KIND_USER, 0, VERB_KEEP},
    {KAP_KIND_VARIATION, 2, KAP_KIND_EXERCISE, 0, VERB_CASCADE},
    {KAP_KIND_VARIATION, 7, KAP_KIND_REF_ITEM, KAP_REF_KIND_EQUIPMENT, VERB_RESTRICT},
    {KAP_KIND_TACTICAL_PRINCIPLE, 2, KAP_KIND_REF_ITEM, KAP_REF_KIND_SPORT, VERB_RESTRICT},
    {KAP_KIND_REF_ITEM, 9, KAP_KIND_REF_ITEM, KAP_REF_KIND_SPORT, VERB_RESTRICT},
};
const uint32_t sim_n_refs = sizeof sim_refs / sizeof sim_refs[0];

struct list {
    uint8_t kind;
    uint8_t fields[12]; /* ends with 0 */
};

static const struct list required[] = {
    {KAP_KIND_USER, {2, 3}},
    {KAP_KIND_PROFILE, {2}},
    {KAP_KIND_CLUB, {2, 3}},
    {KAP_KIND_MEMBERSHIP, {2, 3}},
    {KAP_KIND_SESSION, {2, 4, 6, 7, 8, 9, 11, 12, 13}},
    {KAP_KIND_SEQUENCE, {2, 4, 6, 7, 10}},
    {KAP_KIND_OBJECTIVE, {2, 3, 5, 6}},
    {KAP_KIND_EXERCISE, {4, 6}},
    {KAP_KIND_VARIATION, {2, 4}},
    {KAP_KIND_TACTICAL_PRINCIPLE, {2, 3}},
    {KAP_KIND_TAG, {2}},
    {KAP_KIND_REF_ITEM, {2, 3, 4}},
};

static const struct list outputs[] = {
    {KAP_KIND_USER, {6}},
    {KAP_KIND_SESSION, {22, 27, 28, 29, 30, 33, 34}},
};

static bool holds(const struct list *lists, size_t n, uint8_t kind, uint32_t field)
{
    for (size_t i = 0; i < n; i++)
        for (int k = 0; lists[i].kind == kind && lists[i].fields[k]; k++)
            if (lists[i].fields[k] == field)
                return true;
    return false;
}

bool rules_is_output(uint8_t kind, uint32_t field)
{
    return holds(outputs, sizeof outputs / sizeof outputs[0], kind, field);
}

bool rules_is_required(uint8_t kind, uint32_t field)
{
    return holds(required, sizeof required / sizeof required[0], kind, field);
}

bool rules_complete(uint8_t kind, const struct sim_fields *fields)
{
    for (uint32_t field = 1; field < 64; field++)
        if (rules_is_required(kind, field) && !fields_has(fields, field))
            return false;
    return true;
}

/* Only the limits that the generator goes beyond now and then. Of text: bytes. */
static const struct limit {
    uint8_t kind, field;
    bool is_text;
    uint32_t min, max;
} limits[] = {
    {KAP_KIND_SESSION, 4, true, 1, 200},     {KAP_KIND_SESSION, 6, true, 1, 2048},
    {KAP_KIND_SESSION, 11, false, 1, 1440},  {KAP_KIND_SESSION, 12, false, 1, 65535},
    {KAP_KIND_SESSION, 13, false, 1, 65535}, {KAP_KIND_SEQUENCE, 4, true, 1, 200},
    {KAP_KIND_SEQUENCE, 10, false, 1, 1440}, {KAP_KIND_OBJECTIVE, 5, true, 1, 2048},
    {KAP_KIND_EXERCISE, 4, true, 1, 200},    {KAP_KIND_EXERCISE, 9, false, 1, 1440},
    {KAP_KIND_EXERCISE, 12, false, 1, 10},   {KAP_KIND_VARIATION, 4, true, 1, 200},
    {KAP_KIND_VARIATION, 8, false, 1, 1440}, {KAP_KIND_TAG, 2, true, 1, 64},
    {KAP_KIND_CLUB, 2, true, 1, 200},
};

bool rules_within_limits(uint8_t kind, const struct sim_fields *fields)
{
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const struct limit *limit = &limits[i];
        if (limit->kind != kind || !fields_has(fields, limit->field))
            continue;
        uint64_t found =
            limit->is_text ? fields_bytes(fields, limit->field).len : fields_number(fields, limit->field, 0);
        if (found < limit->min || found > limit->max)
            return false;
    }
    if (kind == KAP_KIND_SESSION && fields_has(fields, 12) && fields_has(fields, 13) &&
        fields_number(fields, 13, 0) < fields_number(fields, 12, 0))
        return false;
    if (kind == KAP_KIND_SESSION && fields_has(fields, 31) && fields_has(fields, 32) &&
        (int64_t)fields_number(fields, 32, 0) < (int64_t)fields_number(fields, 31, 0))
        return false;
    return true;
}

bool rules_fold_equal(struct kap_bytes a, struct kap_bytes b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (tolower(a.data[i]) != tolower(b.data[i]))
            return false;
    return true;
}

static struct sim_fields number_default(const struct model *model, struct sim_fields fields, uint32_t number,
                                        uint64_t value)
{
    return fields_has(&fields, number) ? fields : fields_with_number(model->arena, &fields, number, value);
}

static struct sim_fields text_default(const struct model *model, struct sim_fields fields, uint32_t number,
                                      const char *value)
{
    return fields_has(&fields, number) ? fields
                                       : fields_with_bytes(model->arena, &fields, number, kap_bytes_str(value));
}

static struct sim_fields intensity_default(const struct model *model, struct sim_fields fields)
{
    const struct sim_rows *items = &model->kinds[KAP_KIND_REF_ITEM];
    for (uint32_t i = 0; i < items->n && !fields_has(&fields, 10); i++) {
        const struct sim_fields *item = &items->at[i]->fields;
        if (fields_number(item, 2, 0) == KAP_REF_KIND_INTENSITY && !fields_has(item, 9) &&
            rules_fold_equal(fields_bytes(item, 3), kap_bytes_str("medium")))
            return fields_with_id(model->arena, &fields, 10, items->at[i]->id);
    }
    return fields;
}

struct sim_fields rules_defaults(const struct model *model, uint8_t kind, const struct sim_fields *fields, bool is_new)
{
    struct sim_fields session;
    switch (kind) {
    case KAP_KIND_USER:
        return number_default(model, *fields, 3, KAP_USER_STATUS_ACTIVE);
    case KAP_KIND_PROFILE:
        return text_default(model, text_default(model, *fields, 7, "fr"), 8, "Europe/Paris");
    case KAP_KIND_MEMBERSHIP:
        return number_default(model, *fields, 4, KAP_CLUB_ROLE_MEMBER);
    case KAP_KIND_SESSION:
        session = number_default(model, *fields, 25, KAP_SESSION_STATUS_DRAFT);
        session = number_default(model, session, 26, KAP_VISIBILITY_PRIVATE);
        return is_new ? intensity_default(model, session) : session;
    case KAP_KIND_EXERCISE:
        return number_default(model, *fields, 36, KAP_VISIBILITY_PRIVATE);
    case KAP_KIND_VARIATION:
        return number_default(model, *fields, 9, KAP_VARIATION_ORIGIN_MANUAL);
    default:
        return *fields;
    }
}

/* ---- unique keys */

static const struct unique {
    uint8_t kind;
    uint8_t parts[4]; /* ends with 0 */
    uint8_t unset; /* only while this field is absent; 0: always */
} uniques[] = {
    {KAP_KIND_USER, {2}, 0},
    {KAP_KIND_PROFILE, {3}, 0},
    {KAP_KIND_CLUB, {3}, 0},
    {KAP_KIND_MEMBERSHIP, {2, 3}, 0},
    {KAP_KIND_EXERCISE, {5}, 2},
    {KAP_KIND_REF_ITEM, {2, 3}, 9},
    {KAP_KIND_REF_ITEM, {2, 9, 3}, 0},
    {KAP_KIND_TACTICAL_PRINCIPLE, {2, 3}, 0},
    {KAP_KIND_TAG, {2}, 0},
};

static bool has_key(const struct unique *unique, const struct sim_fields *fields)
{
    for (int i = 0; unique->parts[i]; i++)
        if (!fields_has(fields, unique->parts[i]))
            return false;
    return unique->unset == 0 || !fields_has(fields, unique->unset);
}

static bool key_equal(const struct unique *unique, const struct sim_fields *a, const struct sim_fields *b)
{
    for (int i = 0; unique->parts[i]; i++) {
        const struct sim_field *x = fields_get(a, unique->parts[i]), *y = fields_get(b, unique->parts[i]);
        bool is_id = x->wire == 2 && x->values[0].bytes.len == 16 && y->values[0].bytes.len == 16;
        if (x->wire != 2 ? x->values[0].number != y->values[0].number
            : is_id      ? !kap_bytes_eq(x->values[0].bytes, y->values[0].bytes)
                         : !rules_fold_equal(x->values[0].bytes, y->values[0].bytes))
            return false;
    }
    return true;
}

struct sim_row *rules_same_key(const struct model *model, uint8_t kind, struct kap_id id,
                               const struct sim_fields *fields)
{
    for (size_t u = 0; u < sizeof uniques / sizeof uniques[0]; u++) {
        const struct unique *unique = &uniques[u];
        if (unique->kind != kind || !has_key(unique, fields))
            continue;
        for (uint32_t i = 0; i < model->kinds[kind].n; i++) {
            struct sim_row *row = model->kinds[kind].at[i];
            if (!kap_id_eq(row->id, id) && has_key(unique, &row->fields) && key_equal(unique, fields, &row->fields))
                return row;
        }
    }
    return NULL;
}

bool rules_has_head(uint8_t kind)
{
    return kind == KAP_KIND_SESSION || kind == KAP_KIND_EXERCISE || kind == KAP_KIND_CLUB || kind == KAP_KIND_USER;
}

/* A reference that goes with its target, and of which kind that is. */
static uint8_t loose_target(uint8_t kind, uint32_t field)
{
    if (kind == KAP_KIND_SESSION)
        return field == 3 ? KAP_KIND_CLUB : field == 18 ? KAP_KIND_TAG : field == 22 ? KAP_KIND_SESSION : 0;
    return kind == KAP_KIND_EXERCISE && field == 32 ? KAP_KIND_TAG : 0;
}

struct sim_fields rules_seen(const struct model *model, uint8_t kind, const struct sim_fields *fields)
{
    struct sim_fields seen = {.at = sim_alloc(model->arena, (size_t)fields->n * sizeof *seen.at)};
    for (uint16_t i = 0; i < fields->n; i++) {
        struct sim_field field = fields->at[i];
        uint8_t target = loose_target(kind, field.number);
        if (target) {
            struct sim_value *kept = sim_alloc(model->arena, field.n * sizeof *kept);
            uint16_t n = 0;
            for (uint16_t k = 0; k < field.n; k++)
                if (model_find(model, target, value_id(&field.values[k])))
                    kept[n++] = field.values[k];
            field.values = kept;
            field.n = n;
        }
        if (field.n > 0)
            seen.at[seen.n++] = field;
    }
    return seen;
}
