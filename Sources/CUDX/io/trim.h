/*
 * When a process gives memory back after a burst (malloc_trim): the policy, without clock and allocator, and the act.
 *
 * What a burst has left behind stays resident in glibc's heap for as long as any block above it lives. Giving it back
 * costs a walk over what is free, so it happens only after traffic that can have left something, once it has stopped,
 * and never for more than a hundredth of the process's time.
 */
#ifndef UDX_IO_TRIM_H
#define UDX_IO_TRIM_H

#include "engine/base.h"

typedef struct udx_trim_s {
  uint64_t given; /* bytes of traffic when memory was given back last */
  uint64_t seen;  /* at the latest look */
} udx_trim_t;

typedef enum {
  UDX_TRIM_REST,  /* nothing to look for until there is traffic again */
  UDX_TRIM_AGAIN, /* look again after UDX_TRIM_LOOK */
  UDX_TRIM_NOW,
} udx_trim_verdict_t;

/* So much has passed that it is worth looking when it stops. */
static inline int
udx__trim_is_worth (const udx_trim_t *trim, uint64_t traffic) {
  return traffic - trim->given >= UDX_TRIM_TRAFFIC;
}

/* A look at the traffic so far, every UDX_TRIM_LOOK. */
udx_trim_verdict_t
udx__trim_look (udx_trim_t *trim, uint64_t traffic);

/* When the process may do it again, if it took from `begin` to `end`. */
uint64_t
udx__trim_next (uint64_t begin, uint64_t end);

/* Gives back what the allocator has no use for, if the process may: 1 if it did, or if there is no way to. */
int udx__trim_process(uint64_t (*now)(void));

#endif
