/* Sorted, disjoint, non-adjacent ranges of sequence numbers. */
#ifndef UDX_ENGINE_INTERVAL_SET_H
#define UDX_ENGINE_INTERVAL_SET_H

#include "base.h"

typedef struct udx_interval_s {
  uint32_t start; /* inclusive */
  uint32_t end;   /* exclusive */
} udx_interval_t;

typedef struct udx_interval_set_s {
  udx_interval_t *ranges;
  uint32_t count;
  uint32_t capacity;
} udx_interval_set_t;

/*
 * Adds start..end. Calls `fresh` for every part that was not in the set yet, in order. Returns 0, or
 * UV_ENOBUFS if the set is full: then all of start..end was reported and nothing recorded.
 */
int
udx__intervals_add (udx_interval_set_t *set, uint32_t start, uint32_t end,
  void (*fresh)(void *ctx, uint32_t start, uint32_t end), void *ctx);

/* Forgets everything before seq. */
void
udx__intervals_trim (udx_interval_set_t *set, uint32_t seq);

void
udx__intervals_free (udx_interval_set_t *set);

#endif
