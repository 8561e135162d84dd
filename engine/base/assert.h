/* assert.h - our own bugs. Always on in release builds; outside bytes are never asserted.
 *
 * KAP_ASSERT       what must hold; cheap.
 * KAP_ASSERT_SLOW  what must hold but costs more than the work it guards; on with -DKAP_SLOW_ASSERTS. */
#pragma once

__attribute__((noreturn)) void kap_assert_failed(const char *file, int line, const char *condition);

#define KAP_ASSERT(condition) \
    (__builtin_expect(!!(condition), 1) ? (void)0 : kap_assert_failed(__FILE__, __LINE__, #condition))

#ifdef KAP_SLOW_ASSERTS
#define KAP_ASSERT_SLOW(condition) KAP_ASSERT(condition)
#else
#define KAP_ASSERT_SLOW(condition) ((void)sizeof(!!(condition)))
#endif

#define KAP_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))
#define KAP_MIN(a, b) ((a) < (b) ? (a) : (b))
#define KAP_MAX(a, b) ((a) > (b) ? (a) : (b))
/* The struct that holds this member: how intrusive lists and I/O completions find their owner. */
#define KAP_OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
