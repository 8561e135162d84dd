/* rules.h - what the model knows of the platform's rules, written down by hand a second time: required fields, defaults,
 * limits, references, unique keys, roles and rights.
 *
 * Kept apart from proto/gen on purpose: a mistake in an option or in the generator shows as a difference. */
#pragma once

#include "tests/sim/model.h"

enum sim_verb { VERB_KEEP, VERB_CASCADE, VERB_RESTRICT, VERB_NULLIFY };

struct sim_ref {
    uint8_t kind, field;
    uint8_t target; /* 0: the kind in field 2 (objective) */
    uint8_t list; /* enum kap_ref_kind of a ref_item; 0: any */
    uint8_t verb;
};
extern const struct sim_ref sim_refs[];
extern const uint32_t sim_n_refs;

struct sim_who {
    struct kap_id user;
    uint16_t roles; /* 1 << role */
};
static inline bool who_is(const struct sim_who *who, enum kap_role role)
{
    return (who->roles >> role & 1) != 0;
}

bool rules_may_read(const struct model *model, const struct sim_who *who, const struct sim_row *row);
bool rules_may_write(const struct model *model, const struct sim_who *who, const struct sim_row *row);
/* May anybody with these roles send the operation? */
bool rules_may_send(const struct sim_who *who, uint16_t op);

/* Only the server sets it; requests carry it in vain. */
bool rules_is_output(uint8_t kind, uint32_t field);
bool rules_is_required(uint8_t kind, uint32_t field);
/* All that is required is there. */
bool rules_complete(uint8_t kind, const struct sim_fields *fields);
/* Numbers and texts are within their limits; what is not there is not asked about. */
bool rules_within_limits(uint8_t kind, const struct sim_fields *fields);
/* As readers see it: without references (NULLIFY) to what is not there any more. */
struct sim_fields rules_seen(const struct model *model, uint8_t kind, const struct sim_fields *fields);
/* What stands when nothing is given, also when it is cleared; the default of a reference for new rows only. */
struct sim_fields rules_defaults(const struct model *model, uint8_t kind, const struct sim_fields *fields, bool is_new);
/* A row other than this one that has one of its unique keys; NULL: none. */
struct sim_row *rules_same_key(const struct model *model, uint8_t kind, struct kap_id id,
                               const struct sim_fields *fields);
/* Roots of this kind have a head. */
bool rules_has_head(uint8_t kind);
/* ASCII only: what the generator writes. */
bool rules_fold_equal(struct kap_bytes a, struct kap_bytes b);
