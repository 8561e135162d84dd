/* fields.h - a row as the model holds it: its fields by number, each a list of numbers or byte strings.
 *
 * The parser is the simulator's own, so that a codec that loses or mixes up fields is noticed. Sub-messages stay bytes.
 * Everything is immutable; what a function builds lives in the arena and shares what it was built from. */
#pragma once

#include "tests/sim/sim.h"

struct sim_value {
    uint64_t number; /* varint, or the raw 8 bytes */
    struct kap_bytes bytes;
};

struct sim_field {
    uint16_t number, n;
    uint8_t wire; /* 0 varint, 1 eight bytes, 2 bytes, 5 four bytes */
    struct sim_value *values;
};

struct sim_fields {
    uint16_t n;
    struct sim_field *at; /* ascending numbers */
};

/* False: not a message. The values point into bytes. */
bool fields_parse(struct kap_arena *arena, struct kap_bytes bytes, struct sim_fields *fields_out);

const struct sim_field *fields_get(const struct sim_fields *fields, uint32_t number); /* or NULL */
bool fields_has(const struct sim_fields *fields, uint32_t number);
uint64_t fields_number(const struct sim_fields *fields, uint32_t number, uint64_t otherwise);
struct kap_bytes fields_bytes(const struct sim_fields *fields, uint32_t number);
struct kap_id fields_id(const struct sim_fields *fields, uint32_t number); /* nil when absent */
struct kap_id value_id(const struct sim_value *value);
bool fields_holds_id(const struct sim_fields *fields, uint32_t number, struct kap_id id);

bool fields_equal(const struct sim_fields *a, const struct sim_fields *b);
/* Number of the first field that differs; 0: none. */
uint32_t fields_differ(const struct sim_fields *a, const struct sim_fields *b);
/* What patch has replaces what base has, lists as a whole. */
struct sim_fields fields_merge(struct kap_arena *arena, const struct sim_fields *base, const struct sim_fields *patch);
struct sim_fields fields_without(struct kap_arena *arena, const struct sim_fields *base, uint32_t number);
struct sim_fields fields_with_number(struct kap_arena *arena, const struct sim_fields *base, uint32_t number,
                                     uint64_t value);
struct sim_fields fields_with_bytes(struct kap_arena *arena, const struct sim_fields *base, uint32_t number,
                                    struct kap_bytes value);
struct sim_fields fields_with_id(struct kap_arena *arena, const struct sim_fields *base, uint32_t number,
                                 struct kap_id id);
