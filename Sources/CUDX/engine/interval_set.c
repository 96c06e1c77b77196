/* Sorted, disjoint, non-adjacent ranges of sequence numbers (serial arithmetic). */
#include "interval_set.h"

#include <stdlib.h>

/* Index of the first range that ends at or after seq (could touch it). */
static uint32_t
intervals_lower (const udx_interval_set_t *set, uint32_t seq) {
  UDX_ASSERT(set->count <= set->capacity);
  uint32_t low = 0, high = set->count;
  while (low < high) {
    uint32_t mid = (low + high) / 2;
    if (udx__seq_before(set->ranges[mid].end, seq)) low = mid + 1;
    else high = mid;
  }
  return low;
}

int
udx__intervals_add (udx_interval_set_t *set, uint32_t start, uint32_t end,
  void (*fresh)(void *ctx, uint32_t start, uint32_t end), void *ctx) {
  UDX_ASSERT(udx__seq_before(start, end));
  uint32_t first = intervals_lower(set, start);
  uint32_t last = first; /* one past the ranges that merge */
  uint32_t at = start;
  while (last < set->count && !udx__seq_before(end, set->ranges[last].start)) {
    udx_interval_t *range = &set->ranges[last];
    if (udx__seq_before(at, range->start) && fresh) fresh(ctx, at, range->start);
    if (udx__seq_before(at, range->end)) at = range->end;
    last++;
  }
  if (udx__seq_before(at, end) && fresh) fresh(ctx, at, end);

  UDX_ASSERT(first <= last && last <= set->count);
  if (first == last) {
    if (set->count == set->capacity) {
      if (set->capacity >= UDX_SACKED_RANGES_MAX) return UV_ENOBUFS;
      uint32_t capacity = set->capacity == 0 ? 8 : set->capacity * 2;
      udx_interval_t *ranges = realloc(set->ranges, capacity * sizeof(*ranges));
      if (ranges == NULL) return UV_ENOBUFS;
      set->ranges = ranges;
      set->capacity = capacity;
    }
    memmove(&set->ranges[first + 1], &set->ranges[first], (set->count - first) * sizeof(*set->ranges));
    set->ranges[first].start = start;
    set->ranges[first].end = end;
    set->count++;
    return 0;
  }
  udx_interval_t *merged = &set->ranges[first];
  if (udx__seq_before(start, merged->start)) merged->start = start;
  uint32_t top = set->ranges[last - 1].end;
  merged->end = udx__seq_before(top, end) ? end : top;
  memmove(&set->ranges[first + 1], &set->ranges[last], (set->count - last) * sizeof(*set->ranges));
  UDX_ASSERT(set->count > last - first - 1);
  set->count -= last - first - 1;
  return 0;
}

void
udx__intervals_trim (udx_interval_set_t *set, uint32_t seq) {
  UDX_ASSERT(set->count <= set->capacity);
  uint32_t n = 0;
  while (n < set->count && udx__seq_diff(set->ranges[n].end, seq) <= 0) n++;
  if (n > 0) {
    UDX_ASSERT(n <= set->count);
    memmove(set->ranges, set->ranges + n, (set->count - n) * sizeof(*set->ranges));
    set->count -= n;
  }
  if (set->count > 0 && udx__seq_before(set->ranges[0].start, seq)) set->ranges[0].start = seq;
}

void
udx__intervals_free (udx_interval_set_t *set) {
  free(set->ranges);
  memset(set, 0, sizeof(*set));
}
