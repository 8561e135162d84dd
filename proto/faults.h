/* faults.h - everything that is wrong with a request, told at once, each with the path of its field.
 *
 * Ownership  texts live in the arena given at init.
 * Errors     adding never fails: past KAP_FAULTS_MAX, or without memory, it only counts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/status.h"

enum { KAP_FAULTS_MAX = 64 };

struct kap_error_reply;

/* Where we are in a message: a chain on the stack, innermost first. */
struct kap_path {
    const struct kap_path *up;
    const char *name; /* NULL: nothing at this level */
    int64_t slot; /* in a list; -1 otherwise */
};

struct kap_fault {
    const char *path; /* "sequences[2].exercises[0].title"; "" for the message itself */
    const char *code; /* "required", "too_long", ... static */
    const char *text; /* one sentence: what, the limit, what was found */
    int64_t limit, actual;
    bool has_limit;
};

struct kap_faults {
    struct kap_arena *arena;
    size_t n; /* in at[] */
    size_t n_total; /* found in all */
    struct kap_fault at[KAP_FAULTS_MAX];
};

void kap_faults_init(struct kap_faults *faults, struct kap_arena *arena);
/* text: printf rules. code must be static. */
void kap_faults_add(struct kap_faults *faults, const struct kap_path *path, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same with numbers for machines. */
void kap_faults_add_limit(struct kap_faults *faults, const struct kap_path *path, const char *code, int64_t limit,
                          int64_t actual, const char *format, ...) __attribute__((format(printf, 6, 7)));
/* "a.b[2]" into the arena; NULL without memory. */
const char *kap_path_print(const struct kap_path *path, struct kap_arena *arena);
/* Fills the reply of a refused request: the code, a message, the path of the first fault, the list. Borrows the texts. */
KAP_CHECKED kap_status kap_faults_reply(const struct kap_faults *faults, kap_status code, struct kap_arena *arena,
                                        struct kap_error_reply *reply_out);
