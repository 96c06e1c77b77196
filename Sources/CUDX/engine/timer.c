/*
 * Deadlines of streams: one binary heap per instance, one entry per stream. A stream only moves its entry
 * when it wants to wake earlier; when it wakes too early it looks again. Restarting a retransmission timer
 * with every acknowledgement therefore costs nothing. What has nothing in flight any more moves it later, too: of
 * thousands of streams that say something now and then each would wake the loop once more.
 */
#include "timer.h"

#include <stdlib.h>

#include "instance.h"
#include "stream.h"

int
udx__timers_reserve (udx_timer_heap_t *heap, uint32_t count) {
  UDX_DEBUG_ASSERT(heap->count <= heap->capacity);
  if (count <= heap->capacity) return 0;
  uint32_t capacity = heap->capacity == 0 ? 16 : heap->capacity;
  while (capacity < count) capacity *= 2;
  UDX_ASSERT(capacity >= count);
  udx_stream_t **entries = realloc(heap->entries, capacity * sizeof(*entries));
  if (entries == NULL) return UV_ENOMEM;
  heap->entries = entries;
  heap->capacity = capacity;
  return 0;
}

static void
heap_set (udx_timer_heap_t *heap, uint32_t i, udx_stream_t *stream) {
  UDX_ASSERT(i < heap->count);
  heap->entries[i] = stream;
  udx__stream(stream)->timer_index = i + 1;
}

static void
heap_up (udx_timer_heap_t *heap, uint32_t i, udx_stream_t *stream) {
  UDX_ASSERT(i < heap->count);
  while (i > 0) {
    uint32_t parent = (i - 1) / 2;
    if (udx__stream(heap->entries[parent])->timer_key <= udx__stream(stream)->timer_key) break;
    heap_set(heap, i, heap->entries[parent]);
    i = parent;
  }
  heap_set(heap, i, stream);
}

static void
heap_down (udx_timer_heap_t *heap, uint32_t i, udx_stream_t *stream) {
  UDX_ASSERT(i < heap->count);
  for (;;) {
    uint32_t child = 2 * i + 1;
    if (child >= heap->count) break;
    if (child + 1 < heap->count &&
        udx__stream(heap->entries[child + 1])->timer_key < udx__stream(heap->entries[child])->timer_key)
      child++;
    if (udx__stream(stream)->timer_key <= udx__stream(heap->entries[child])->timer_key) break;
    heap_set(heap, i, heap->entries[child]);
    i = child;
  }
  heap_set(heap, i, stream);
}

void
udx__timer_at_most (udx_stream_t *stream, uint64_t deadline) {
  udx_timer_heap_t *heap = &udx__instance(stream->udx)->timers;
  UDX_DEBUG_ASSERT(heap->count <= heap->capacity);
  if (udx__stream(stream)->timer_index == 0) {
    if (deadline == UDX_NEVER || heap->count == heap->capacity) return;
    udx__stream(stream)->timer_key = deadline;
    heap->count++;
    heap_up(heap, heap->count - 1, stream);
  } else if (deadline < udx__stream(stream)->timer_key) {
    udx__stream(stream)->timer_key = deadline;
    heap_up(heap, udx__stream(stream)->timer_index - 1, stream);
  }
}

void
udx__timer_move (udx_stream_t *stream, uint64_t deadline) {
  uint32_t index = udx__stream(stream)->timer_index;
  if (index == 0 || deadline <= udx__stream(stream)->timer_key) {
    udx__timer_at_most(stream, deadline);
  } else if (deadline == UDX_NEVER) {
    udx__timer_remove(stream);
  } else {
    udx__stream(stream)->timer_key = deadline;
    heap_down(&udx__instance(stream->udx)->timers, index - 1, stream);
  }
}

void
udx__timer_remove (udx_stream_t *stream) {
  if (udx__stream(stream)->timer_index == 0) return;
  udx_timer_heap_t *heap = &udx__instance(stream->udx)->timers;
  uint32_t i = udx__stream(stream)->timer_index - 1;
  UDX_ASSERT(i < heap->count && heap->entries[i] == stream);
  udx__stream(stream)->timer_index = 0;
  UDX_ASSERT(heap->count > 0);
  heap->count--;
  if (i == heap->count) return;
  udx_stream_t *last = heap->entries[heap->count];
  if (i > 0 && udx__stream(heap->entries[(i - 1) / 2])->timer_key > udx__stream(last)->timer_key) {
    heap_up(heap, i, last);
  } else {
    heap_down(heap, i, last);
  }
}

udx_stream_t *
udx__timers_pop (udx_timer_heap_t *heap, uint64_t now) {
  if (heap->count == 0 || udx__stream(heap->entries[0])->timer_key > now) return NULL;
  udx_stream_t *stream = heap->entries[0];
  UDX_ASSERT(udx__stream(stream)->timer_index == 1);
  udx__timer_remove(stream);
  return stream;
}

void
udx__timers_free (udx_timer_heap_t *heap) {
  free(heap->entries);
  memset(heap, 0, sizeof(*heap));
  heap->armed = UDX_NEVER;
}
