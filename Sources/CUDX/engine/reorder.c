/*
 * Packets kept ahead of a gap: a sorted array of runs of consecutive seqs, each with its packets in a list.
 * It is at once the store, the duplicate test and the source of SACK blocks. Memory is bounded by bytes and
 * by runs; what does not fit is dropped before it is reported, so that nothing reported is ever taken back.
 */
#include "reorder.h"

#include <stdlib.h>

#include "instance.h"
#include "pool.h"
#include "stream.h"
#include "wire.h"

/* Index of the first run that ends at or after seq. */
static uint32_t
runs_lower (const udx_reorder_t *reorder, uint32_t seq) {
  UDX_ASSERT(reorder->count <= reorder->capacity);
  /* arrivals mostly extend the last run */
  if (reorder->count == 0 || udx__seq_before(reorder->runs[reorder->count - 1].end, seq)) return reorder->count;
  uint32_t low = 0, high = reorder->count - 1;
  while (low < high) {
    uint32_t mid = (low + high) / 2;
    if (udx__seq_before(reorder->runs[mid].end, seq)) low = mid + 1;
    else high = mid;
  }
  return low;
}

static int
run_holds (const udx_reorder_run_t *run, uint32_t seq) {
  return udx__seq_diff(seq, run->start) >= 0 && udx__seq_before(seq, run->end);
}

/*
 * One stream may keep as much as is left for all others: a few whose peers never fill their gaps leave room, however
 * long they stay.
 */
int
udx__reorder_has_room (const udx_stream_t *stream, uint32_t block) {
  const udx_reorder_t *reorder = &udx__stream(stream)->reorder;
  uint64_t total = udx__instance(stream->udx)->reorder_memory;
  uint64_t left = total < UDX_REORDER_TOTAL_MAX ? UDX_REORDER_TOTAL_MAX - total : 0;
  uint64_t limit = (uint64_t) reorder->limit << 10;
  if (limit == 0)
    limit = udx__max_u64(UDX_REORDER_WINDOWS * (uint64_t) udx__stream(stream)->flow.window_max, UDX_REORDER_BYTES_MIN);
  UDX_ASSERT(block == UDX_REORDER_BLOCK || block == UDX_REORDER_BLOCK_LARGE);
  return reorder->memory + block <= udx__min_u64(limit, left);
}

static udx_reorder_node_t *
node_new (udx_stream_t *stream, uint8_t type, const uint8_t *data, size_t length) {
  UDX_ASSERT(length <= UDX_DATAGRAM_MAX);
  udx_reorder_t *reorder = &udx__stream(stream)->reorder;
  udx_t *udx = stream->udx;
  int large = length > UDX_REORDER_SMALL;
  uint32_t block = large ? UDX_REORDER_BLOCK_LARGE : UDX_REORDER_BLOCK;
  if (!udx__reorder_has_room(stream, block)) return NULL;
  udx_reorder_node_t *node = udx__pool_get(large ? &udx__instance(udx)->buffers_large : &udx__instance(udx)->buffers);
  if (node == NULL) return NULL;
  reorder->memory += block;
  reorder->bytes += (uint32_t) length;
  udx__instance(udx)->reorder_memory += block;
  node->next = NULL;
  node->large = (uint8_t) large;
  node->type = type;
  node->length = (uint16_t) length;
  if (length > 0) memcpy(node->data, data, length);
  reorder->nodes++;
  return node;
}

void
udx__reorder_put (udx_t *udx, udx_reorder_node_t *node) {
  UDX_ASSERT(udx__instance(udx)->reorder_memory >= (node->large ? UDX_REORDER_BLOCK_LARGE : UDX_REORDER_BLOCK));
  udx__instance(udx)->reorder_memory -= node->large ? UDX_REORDER_BLOCK_LARGE : UDX_REORDER_BLOCK;
  udx__pool_put(node->large ? &udx__instance(udx)->buffers_large : &udx__instance(udx)->buffers, node);
}

int
udx__reorder_insert (udx_stream_t *stream, uint32_t seq, uint8_t type, const uint8_t *data, size_t length) {
  udx_reorder_t *reorder = &udx__stream(stream)->reorder;
  if (length > UDX_DATAGRAM_MAX) return UV_EMSGSIZE;
  uint32_t i = runs_lower(reorder, seq);
  UDX_ASSERT(i <= reorder->count && reorder->count <= UDX_REORDER_RUNS_MAX);
  udx_reorder_run_t *run = i < reorder->count ? &reorder->runs[i] : NULL;

  if (run != NULL && run_holds(run, seq)) return 0;
  if (run != NULL && run->end == seq) {
    udx_reorder_run_t *next = i + 1 < reorder->count ? run + 1 : NULL;
    UDX_ASSERT(next == NULL || udx__seq_before(seq, next->start));
    udx_reorder_node_t *node = node_new(stream, type, data, length);
    if (node == NULL) return UV_ENOBUFS;
    UDX_ASSERT(run->tail->next == NULL);
    run->tail->next = node;
    run->tail = node;
    run->end++;
    run->touched = udx__instance(stream->udx)->now;
    if (next != NULL && next->start == run->end) {
      run->tail->next = next->head;
      run->tail = next->tail;
      run->end = next->end;
      memmove(next, next + 1, (reorder->count - i - 2) * sizeof(*next));
      reorder->count--;
    }
    return 1;
  }
  if (run != NULL && run->start == seq + 1) {
    udx_reorder_node_t *node = node_new(stream, type, data, length);
    if (node == NULL) return UV_ENOBUFS;
    node->next = run->head;
    run->head = node;
    run->start = seq;
    run->touched = udx__instance(stream->udx)->now;
    return 1;
  }
  if (reorder->count == reorder->capacity) {
    if (reorder->capacity >= UDX_REORDER_RUNS_MAX) return UV_ENOBUFS;
    uint32_t capacity = reorder->capacity == 0 ? 8 : reorder->capacity * 2;
    udx_reorder_run_t *runs = realloc(reorder->runs, capacity * sizeof(*runs));
    if (runs == NULL) return UV_ENOMEM;
    reorder->runs = runs;
    reorder->capacity = capacity;
  }
  udx_reorder_node_t *node = node_new(stream, type, data, length);
  if (node == NULL) return UV_ENOBUFS;
  run = &reorder->runs[i];
  UDX_ASSERT(reorder->count < reorder->capacity);
  memmove(run + 1, run, (reorder->count - i) * sizeof(*run));
  reorder->count++;
  run->start = seq;
  run->end = seq + 1;
  run->touched = udx__instance(stream->udx)->now;
  run->head = run->tail = node;
  return 1;
}

udx_reorder_node_t *
udx__reorder_pop (udx_stream_t *stream, uint32_t seq) {
  udx_reorder_t *reorder = &udx__stream(stream)->reorder;
  if (reorder->count == 0 || reorder->runs[0].start != seq) return NULL;
  udx_reorder_run_t *run = &reorder->runs[0];
  udx_reorder_node_t *node = run->head;
  UDX_ASSERT(reorder->bytes >= node->length);
  UDX_ASSERT(node != NULL && reorder->nodes > 0);
  run->head = node->next;
  run->start++;
  reorder->nodes--;
  reorder->bytes -= node->length;
  reorder->memory -= node->large ? UDX_REORDER_BLOCK_LARGE : UDX_REORDER_BLOCK;
  if (run->head == NULL) {
    UDX_ASSERT(run->start == run->end);
    reorder->count--;
    memmove(run, run + 1, reorder->count * sizeof(*run));
    if (reorder->count == 0) {
      free(reorder->runs);
      reorder->runs = NULL;
      reorder->capacity = 0;
    }
  }
  return node;
}

static void
block_put (uint8_t *out, const udx_reorder_run_t *run) {
  udx__put_u32(out, run->start);
  udx__put_u32(out + 4, run->end);
}

/*
 * All runs if they fit. Otherwise those that changed last (the peer does not know them) and then, in turn
 * over successive acknowledgements, the others.
 */
int
udx__reorder_blocks (udx_stream_t *stream, uint8_t *out, int max) {
  UDX_ASSERT(max > 0 && max <= UDX_SACK_BLOCKS_MAX * 2);
  udx_reorder_t *reorder = &udx__stream(stream)->reorder;
  /* a paused reader keeps a run that is already acknowledged cumulatively */
  uint32_t first = 0;
  while (first < reorder->count && udx__seq_diff(reorder->runs[first].start, udx__stream(stream)->ack.next) <= 0)
    first++;
  uint32_t count = reorder->count - first;
  if (count == 0) return 0;

  int n = 0;
  if (count <= (uint32_t) max) {
    for (uint32_t i = first; i < reorder->count; i++, n++) block_put(out + 8 * n, &reorder->runs[i]);
    return n;
  }
  uint8_t done[UDX_REORDER_RUNS_MAX / 8] = {0};
  for (uint32_t i = reorder->count; i-- > first && n < max / 2;) {
    if (reorder->runs[i].touched != udx__instance(stream->udx)->now) continue;
    done[i / 8] |= (uint8_t) (1u << (i % 8));
    block_put(out + 8 * n++, &reorder->runs[i]);
  }
  uint32_t cursor = reorder->cursor;
  for (uint32_t step = 0; step < count && n < max; step++) {
    uint32_t i = first + cursor++ % count;
    if (done[i / 8] & (1u << (i % 8))) continue;
    block_put(out + 8 * n++, &reorder->runs[i]);
  }
  reorder->cursor = (uint16_t) (cursor % count);
  return n;
}

void
udx__reorder_free (udx_stream_t *stream) {
  UDX_ASSERT(udx__stream(stream)->reorder.count <= udx__stream(stream)->reorder.capacity);
  udx_reorder_t *reorder = &udx__stream(stream)->reorder;
  for (uint32_t i = 0; i < reorder->count; i++) {
    udx_reorder_node_t *node = reorder->runs[i].head;
    while (node != NULL) {
      udx_reorder_node_t *next = node->next;
      udx__reorder_put(stream->udx, node);
      node = next;
    }
  }
  free(reorder->runs);
  memset(reorder, 0, sizeof(*reorder));
}
