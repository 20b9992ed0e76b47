/* Latencies by octave and step: 40 octaves from 1 ns, each in 128 steps, so that a percentile is right within 1 %. */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

enum { STEPS = 128, OCTAVES = 40 };

struct latency {
    uint64_t buckets[OCTAVES][STEPS], count;
};

static void record(struct latency *latency, uint64_t nanoseconds)
{
    int octave = 63 - __builtin_clzll(nanoseconds | 1);
    uint64_t step = octave > 7 ? nanoseconds >> (octave - 7) & (STEPS - 1) : 0;
    latency->buckets[octave < OCTAVES ? octave : OCTAVES - 1][step]++;
    latency->count++;
}

/* In microseconds; `share` of all latencies (0 to 1) are at most this. */
static double percentile(const struct latency *latency, double share)
{
    uint64_t wanted = (uint64_t)((double)latency->count * share), sum = 0;
    for (int octave = 0; octave < OCTAVES; octave++)
        for (int step = 0; step < STEPS; step++) {
            sum += latency->buckets[octave][step];
            if (sum > wanted)
                return (double)(1ull << octave) * (1 + (double)step / STEPS) / 1000;
        }
    return 0;
}

#endif
