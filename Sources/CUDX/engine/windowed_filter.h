/* Minimum or maximum over a sliding window, three samples. */
#ifndef UDX_ENGINE_WINDOWED_FILTER_H
#define UDX_ENGINE_WINDOWED_FILTER_H

#include "base.h"

typedef struct udx_filter_sample_s {
  uint64_t time;
  double value;
} udx_filter_sample_t;

typedef struct udx_filter_s {
  udx_filter_sample_t best[3];
} udx_filter_t;

void
udx__filter_reset (udx_filter_t *filter, uint64_t time, double value);

double
udx__filter_min (udx_filter_t *filter, uint64_t window, uint64_t time, double value);

double
udx__filter_max (udx_filter_t *filter, uint64_t window, uint64_t time, double value);

static inline double
udx__filter_get (const udx_filter_t *filter) {
  return filter->best[0].value;
}

#endif
