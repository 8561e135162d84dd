#include "bench/kapbench/histogram.h"

static unsigned bucket_of(uint64_t ns)
{
    if (ns < 64)
        return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - 6;
    unsigned bucket = (shift + 1) * 64 + (unsigned)((ns >> shift) & 63);
    return bucket < KAP_HISTOGRAM_BUCKETS ? bucket : KAP_HISTOGRAM_BUCKETS - 1;
}

static uint64_t value_of(unsigned bucket)
{
    if (bucket < 64)
        return bucket;
    unsigned shift = bucket / 64 - 1;
    return ((UINT64_C(64) + bucket % 64) << shift) + (UINT64_C(1) << shift) / 2;
}

void kap_histogram_add(struct kap_histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->buckets[bucket_of(ns)]++;
    if (ns > histogram->max)
        histogram->max = ns;
}

uint64_t kap_histogram_at(const struct kap_histogram *histogram, double share)
{
    uint64_t want = (uint64_t)(share * (double)histogram->count), seen = 0;
    for (unsigned i = 0; i < KAP_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > want)
            return value_of(i) < histogram->max ? value_of(i) : histogram->max;
    }
    return histogram->max;
}
