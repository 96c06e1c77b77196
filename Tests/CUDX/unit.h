/*
 * One stream of a pair whose network drops everything: what a mechanism does to the stream's state is what a test of
 * the mechanism called, at the times that it said.
 */
#ifndef UDX_TEST_UNIT_H
#define UDX_TEST_UNIT_H

#include "engine/ack_receive.h"
#include "engine/stream.h"
#include "engine/wire.h"
#include "sim/pair.h"
#include "test.h"

typedef struct unit_s {
  pair_t *pair;
  udx_t *udx;
  udx_socket_t *socket;
  udx_stream_t *stream;
  udx_stream_state_t *state;
} unit_t;

static inline sim_verdict_t
unit_drop (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  (void) datagram;
  (void) ctx;
  return SIM_DROP;
}

static inline unit_t
unit_new (void) {
  pair_t *pair = pair_new(1, NULL);
  sim_set_tap(pair->sim, unit_drop, NULL);
  sim_run(pair->sim, 10);
  unit_t unit = {.pair = pair, .udx = &pair->side[0].node->udx};
  unit.socket = &pair->side[0].socket;
  unit.stream = &pair->side[0].stream;
  unit.state = udx__stream(unit.stream);
  return unit;
}

static inline void
unit_free (unit_t *unit) {
  udx__instance(unit->udx)->now = sim_now(unit->pair->sim);
  pair_free(unit->pair);
}

static inline void
unit_write_done (udx_stream_write_t *req, int status, int unordered) {
  (void) status;
  (void) unordered;
  free(req);
}

/* Writes so many bytes in one buffer. Returns what udx_stream_write returned. */
static inline int
unit_write (unit_t *unit, size_t bytes) {
  static char zeros[1 << 20];
  CHECK(bytes <= sizeof(zeros));
  udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
  uv_buf_t buf = uv_buf_init(zeros, (unsigned int) bytes);
  return udx_stream_write(req, unit->stream, &buf, 1, unit_write_done);
}

/* Transmits what this turn allows, and runs no timer. The flush that the simulator has noted finds nothing left. */
static inline void
unit_flush (unit_t *unit) {
  unit->pair->side[0].node->flush_pending = false;
  udx_driver_flush(unit->udx);
}

/* Transmits so many full packets in this turn; returns the time. */
static inline uint64_t
unit_send (unit_t *unit, uint32_t packets) {
  uint32_t before = unit->state->flight.nxt;
  unit_write(unit, (size_t) packets * udx__mtu_payload(unit->stream));
  unit_flush(unit);
  CHECK_EQ(unit->state->flight.nxt - before, packets);
  return udx__instance(unit->udx)->now;
}

/* Packet `seq` left at `time`. */
static inline void
unit_sent_at (unit_t *unit, uint32_t seq, uint64_t time) {
  udx__packet_at(unit->stream, seq)->sent_at = time;
}

/* An acknowledgement arrives at `now`: everything before `ack`, and the range from..to if it is not empty. */
static inline void
unit_ack (unit_t *unit, uint64_t now, uint32_t ack, uint32_t from, uint32_t to) {
  udx_header_t header = {.type = from == to ? 0 : UDX_HEADER_SACK, .window = UDX_WINDOW_DEFAULT, .ack = ack};
  uint8_t range[8];
  udx__put_u32(range, from);
  udx__put_u32(range + 4, to);
  udx__instance(unit->udx)->now = now;
  CHECK_EQ(udx__ack_process(unit->stream, unit->stream->socket, &header, range, from == to ? 0 : sizeof(range)), 1);
}

#endif
