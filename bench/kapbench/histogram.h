/* histogram.h - latencies in nanoseconds, log-linear: 64 buckets for every doubling, so a percentile is within 1.6 %.
 *
 * The layout is HdrHistogram's idea (Tene) with a fixed precision. Threads: one at a time. */
#pragma once

#include <stdint.h>

enum { KAP_HISTOGRAM_BUCKETS = 64 * 40 };

struct kap_histogram {
    uint64_t count, max;
    uint64_t buckets[KAP_HISTOGRAM_BUCKETS];
};

void kap_histogram_add(struct kap_histogram *histogram, uint64_t ns);
/* The value below which this share (0 to 1) lies; 0 when empty. */
uint64_t kap_histogram_at(const struct kap_histogram *histogram, double share);
