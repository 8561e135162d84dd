/* grammar.h - made-up French coaching text from a small phrase grammar, never the corpus of the import.
 *
 * Every sentence draws several of its words and a number, so text hardly repeats and compressors gain what they gain on
 * real plans, not more. The same random state gives the same text.
 * Ownership  text goes into the arena. NULL data when it is full. */
#pragma once

#include "engine/base/arena.h"

/* xorshift64*: small, fast, good enough to draw phrases; never for secrets. */
struct kap_draw {
    uint64_t state;
};
void kap_draw_init(struct kap_draw *draw, uint64_t seed);
uint64_t kap_draw_next(struct kap_draw *draw);
uint32_t kap_draw_below(struct kap_draw *draw, uint32_t below); /* 0 .. below - 1 */
double kap_draw_unit(struct kap_draw *draw);                    /* 0 <= x < 1 */
/* Log-normal with this median and sigma; at least low, at most high. */
uint32_t kap_draw_lognormal(struct kap_draw *draw, double median, double sigma, uint32_t low, uint32_t high);
/* Rank 0 .. n - 1 with probability proportional to 1 / (rank + 1)^exponent, by inversion of the continuous law. */
uint32_t kap_draw_zipf(struct kap_draw *draw, uint32_t n, double exponent);
struct kap_id kap_draw_id(struct kap_draw *draw); /* version 4 */

struct kap_bytes kap_text_title(struct kap_draw *draw, struct kap_arena *arena);
/* Whole sentences of about this many bytes in all, never more than bytes_max. */
struct kap_bytes kap_text_prose(struct kap_draw *draw, struct kap_arena *arena, size_t bytes, size_t bytes_max);
