/* Minimum or maximum over a sliding window with three samples (Kathleen Nichols' algorithm). */
#include "windowed_filter.h"

void
udx__filter_reset (udx_filter_t *filter, uint64_t time, double value) {
  for (int i = 0; i < 3; i++) {
    filter->best[i].time = time;
    filter->best[i].value = value;
  }
}

static double
filter_age (udx_filter_t *filter, uint64_t window, udx_filter_sample_t sample) {
  UDX_ASSERT(sample.time >= filter->best[0].time);
  uint64_t age = sample.time - filter->best[0].time;
  if (age > window) {
    /* the best fell out of the window */
    filter->best[0] = filter->best[1];
    filter->best[1] = filter->best[2];
    filter->best[2] = sample;
    if (sample.time - filter->best[0].time > window) {
      filter->best[0] = filter->best[1];
      filter->best[1] = filter->best[2];
    }
  } else if (filter->best[1].time == filter->best[0].time && age > window / 4) {
    filter->best[2] = filter->best[1] = sample;
  } else if (filter->best[2].time == filter->best[1].time && age > window / 2) {
    filter->best[2] = sample;
  }
  return filter->best[0].value;
}

/* A strictly better value keeps its time; an equal one is newer and therefore better. */
double
udx__filter_min (udx_filter_t *filter, uint64_t window, uint64_t time, double value) {
  UDX_ASSERT(time >= filter->best[2].time);
  udx_filter_sample_t sample = {.time = time, .value = value};
  if (value <= filter->best[0].value || time - filter->best[2].time > window) {
    udx__filter_reset(filter, time, value);
    return value;
  }
  if (value <= filter->best[1].value) {
    filter->best[2] = filter->best[1] = sample;
  } else if (value <= filter->best[2].value) {
    filter->best[2] = sample;
  }
  return filter_age(filter, window, sample);
}

double
udx__filter_max (udx_filter_t *filter, uint64_t window, uint64_t time, double value) {
  UDX_ASSERT(time >= filter->best[2].time);
  udx_filter_sample_t sample = {.time = time, .value = value};
  if (value >= filter->best[0].value || time - filter->best[2].time > window) {
    udx__filter_reset(filter, time, value);
    return value;
  }
  if (value >= filter->best[1].value) {
    filter->best[2] = filter->best[1] = sample;
  } else if (value >= filter->best[2].value) {
    filter->best[2] = sample;
  }
  return filter_age(filter, window, sample);
}
