/* rights.h - who may read and write rows of a kind, as declared with its message. Default deny.
 *
 * A row may be touched when one rule matches. Where a KAP_WHO_ROOT rule stands, a row whose root is another row is asked
 * about by it alone; the other rules are for rows that are their own root. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum kap_who {
    KAP_WHO_ANYONE = 1, /* every principal */
    KAP_WHO_OWNER, /* who_field is the principal's user */
    KAP_WHO_SELF, /* the row's id is the principal's user */
    KAP_WHO_CLUB_MEMBER, /* the principal is a member of the club in who_field (0: of this club) */
    KAP_WHO_CLUB_MANAGER, /* the same, as its coach or manager */
    KAP_WHO_ROOT, /* as the root of the row allows */
    KAP_WHO_REFERRER, /* as any row that refers to it allows */
    KAP_WHO_EXPERT,
    KAP_WHO_CURATOR,
    KAP_WHO_ADMIN,
    KAP_WHO_OPS,
    KAP_WHO_SERVICE,
    KAP_WHO_COACH,
    KAP_WHO_ROOT_READER, /* may read the row's root; other rules stand beside it */
    KAP_WHO_ROOT_WRITER, /* may write it */
};

enum kap_test {
    KAP_TEST_ALWAYS,
    KAP_TEST_SET,
    KAP_TEST_UNSET,
    KAP_TEST_IN, /* the enum or number in test_field is one of values */
};

struct kap_rule_test {
    uint8_t test;
    uint8_t n_values;
    uint16_t field;
    uint8_t values[8];
};

struct kap_rule {
    uint8_t who;
    uint16_t who_field; /* number of the id field that who asks about; 0: the row itself */
    struct kap_rule_test tests[2]; /* both hold */
};

struct kap_kind_rights {
    uint8_t kind;
    uint8_t n_read, n_write;
    const struct kap_rule *read, *write;
};

extern const struct kap_kind_rights kap_rights[];
extern const size_t kap_n_rights;

const struct kap_kind_rights *kap_rights_of_kind(uint32_t kind); /* or NULL: nobody may */
