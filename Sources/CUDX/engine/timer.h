/* A binary heap of streams by deadline. */
#ifndef UDX_ENGINE_TIMER_H
#define UDX_ENGINE_TIMER_H

#include "base.h"

typedef struct udx_timer_heap_s {
  udx_stream_t **entries;
  uint32_t count;
  uint32_t capacity;
  uint64_t armed;
} udx_timer_heap_t;

/* Makes room for `count` streams, so that arming never fails. */
int
udx__timers_reserve (udx_timer_heap_t *heap, uint32_t count);

/* Moves the stream's wake-up to `deadline` if that is earlier than what is armed; later ones are found lazily. */
void
udx__timer_at_most (udx_stream_t *stream, uint64_t deadline);

/* Moves the wake-up to `deadline`, be it later: for what goes idle, so that it does not wake the loop for nothing. */
void
udx__timer_move (udx_stream_t *stream, uint64_t deadline);

void
udx__timer_remove (udx_stream_t *stream);

/* The first stream whose wake-up is due, removed from the heap; NULL if none. */
udx_stream_t *
udx__timers_pop (udx_timer_heap_t *heap, uint64_t now);

void
udx__timers_free (udx_timer_heap_t *heap);

#endif
