/* test.h - criterion, or the same few macros over a plain main.
 *
 * Criterion does not work under TSan and lets a leak pass, so the sanitizer builds (-Dplain_main=true) run the tests of a
 * file one after the other in one process; a failed check aborts it. Use only Test, cr_assert*, cr_log_info. */
#pragma once

#ifndef KAP_PLAIN_MAIN

#include <criterion/criterion.h>

#else

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kap_plain_test {
    const char *suite, *name;
    void (*run)(void);
    struct kap_plain_test *next;
};
void kap_plain_test_add(struct kap_plain_test *test);

#define Test(suite_name, test_name, ...)                                                                 \
    static void suite_name##_##test_name(void);                                                          \
    static struct kap_plain_test suite_name##_##test_name##_node = {#suite_name, #test_name,             \
                                                                    suite_name##_##test_name, NULL};     \
    __attribute__((constructor)) static void suite_name##_##test_name##_add(void)                        \
    {                                                                                                    \
        kap_plain_test_add(&suite_name##_##test_name##_node);                                            \
    }                                                                                                    \
    static void suite_name##_##test_name(void)

#define KAP_PLAIN_CHECK(condition, text, ...)                                                    \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            fprintf(stderr, "%s:%d: check failed: %s", __FILE__, __LINE__, text);                \
            fprintf(stderr, " " __VA_ARGS__);                                                    \
            fputc('\n', stderr);                                                                 \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)
#define cr_assert(condition, ...) KAP_PLAIN_CHECK(condition, #condition " ", ##__VA_ARGS__)
#define cr_assert_not(condition, ...) KAP_PLAIN_CHECK(!(condition), "not " #condition " ", ##__VA_ARGS__)
#define cr_assert_eq(a, b, ...) KAP_PLAIN_CHECK((a) == (b), #a " == " #b " ", ##__VA_ARGS__)
#define cr_assert_neq(a, b, ...) KAP_PLAIN_CHECK((a) != (b), #a " != " #b " ", ##__VA_ARGS__)
#define cr_assert_lt(a, b, ...) KAP_PLAIN_CHECK((a) < (b), #a " < " #b " ", ##__VA_ARGS__)
#define cr_assert_leq(a, b, ...) KAP_PLAIN_CHECK((a) <= (b), #a " <= " #b " ", ##__VA_ARGS__)
#define cr_assert_gt(a, b, ...) KAP_PLAIN_CHECK((a) > (b), #a " > " #b " ", ##__VA_ARGS__)
#define cr_assert_geq(a, b, ...) KAP_PLAIN_CHECK((a) >= (b), #a " >= " #b " ", ##__VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) KAP_PLAIN_CHECK(strcmp(a, b) == 0, #a " str == " #b " ", ##__VA_ARGS__)
#define cr_assert_null(a, ...) KAP_PLAIN_CHECK((a) == NULL, #a " is NULL ", ##__VA_ARGS__)
#define cr_assert_not_null(a, ...) KAP_PLAIN_CHECK((a) != NULL, #a " is not NULL ", ##__VA_ARGS__)
#define cr_assert_fail(...) KAP_PLAIN_CHECK(0, "reached ", ##__VA_ARGS__)
#define cr_log_info(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr))

#endif
