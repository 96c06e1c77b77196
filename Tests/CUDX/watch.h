/* A tap that records what side 0 of a pair sends, drops by rule, and the end of a transfer. */
#ifndef UDX_TEST_WATCH_H
#define UDX_TEST_WATCH_H

#include "engine/stream.h"
#include "engine/wire.h"
#include "sim/pair.h"
#include "test.h"

#define MS 1000ull
#define S 1000000ull

typedef struct watch_s {
  uint32_t transmissions[64]; /* per seq, DATA and END from side 0 */
  uint64_t times[64];
  uint32_t count;
  uint32_t heartbeats, acks, sacks, destroys, messages;
  uint64_t heartbeat_times[64];
  uint32_t largest; /* IP packet */
  int (*drop)(struct watch_s *watch, sim_datagram_t *datagram, const udx_header_t *header);
  sim_node_t *sender;
  pair_t *pair;
} watch_t;

static inline sim_verdict_t
watch_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  watch_t *watch = ctx;
  udx_header_t header;
  if (!udx__header_decode(datagram->data, datagram->length, &header)) return SIM_PASS;
  if (datagram->from_node == watch->sender) {
    if (header.type & (UDX_HEADER_DATA | UDX_HEADER_END)) {
      if (header.seq < 64) watch->transmissions[header.seq]++;
      if (watch->count < 64) watch->times[watch->count] = sim_now(sim);
      watch->count++;
      if (datagram->length + 28 > watch->largest) watch->largest = (uint32_t) datagram->length + 28;
    }
    if (header.type & UDX_HEADER_HEARTBEAT && watch->heartbeats < 64)
      watch->heartbeat_times[watch->heartbeats++] = sim_now(sim);
    if (header.type & UDX_HEADER_DESTROY) watch->destroys++;
    if (header.type & UDX_HEADER_MESSAGE) watch->messages++;
  } else {
    if (header.type == 0) watch->acks++;
    if (header.type == UDX_HEADER_SACK) watch->sacks++;
  }
  if (watch->drop != NULL && watch->drop(watch, datagram, &header)) return SIM_DROP;
  return SIM_PASS;
}

static inline void
watch_start (watch_t *watch, pair_t *pair) {
  memset(watch, 0, sizeof(*watch));
  watch->sender = pair->side[0].node;
  watch->pair = pair;
  sim_set_tap(pair->sim, watch_tap, watch);
}

static inline void
check_complete (pair_t *p, uint64_t bytes) {
  CHECK_EQ(p->side[1].received, bytes);
  CHECK_EQ(p->side[1].mismatches, 0);
  CHECK_EQ(p->side[0].close_status, 0);
  CHECK_EQ(p->side[1].close_status, 0);
}

static inline void
finish (pair_t *p, uint64_t bytes, uint64_t limit) {
  pair_end(p, 0);
  pair_end(p, 1);
  CHECK(pair_run_closed(p, limit));
  check_complete(p, bytes);
}

#endif
