#include "inside.h"

#include "check.h"
#include "engine/engine.h"

uint32_t
inside_unacknowledged (udx_stream_t *stream) {
  return stream->flight.una;
}

static void
check_flight (udx_stream_t *stream) {
  uint32_t flying = 0, lost = 0, acked = 0;
  size_t bytes = 0, unacked = 0;
  for (uint32_t seq = stream->flight.una; seq != stream->flight.nxt && stream->flight.ring != NULL; seq++) {
    const udx_packet_t *packet = udx__packet_at(stream, seq);
    if (packet->state == UDX_PACKET_FLYING) {
      flying++;
      bytes += (size_t) packet->length + UDX_HEADER_SIZE;
    }
    if (packet->state == UDX_PACKET_LOST) lost++;
    if (packet->state == UDX_PACKET_ACKED) acked++;
    if (packet->state != UDX_PACKET_ACKED) unacked += packet->length;
  }
  if (stream->relay_to == NULL) CHECK(flying + lost + acked == udx__flight_span(stream));
  CHECK_EQ(flying, stream->flight.flying.count);
  CHECK_EQ(lost, stream->flight.lost.count);
  CHECK_EQ(acked, stream->flight.sacked_count);
  CHECK(bytes == stream->inflight);
  CHECK(unacked == stream->queue.unacked);
  CHECK(stream->cwnd >= 1 && stream->cwnd <= UDX_CWND_MAX);
}

static void
check_queue (udx_stream_t *stream) {
  size_t total = 0;
  for (udx_stream_write_t *req = stream->queue.head; req != NULL; req = req->next) {
    CHECK(req->acked <= req->size);
    total += req->size - req->acked;
  }
  /* the END of the stream counts one until it is acknowledged, in the queue or in flight */
  size_t end = stream->queue.end_unsent;
  for (uint32_t seq = stream->flight.una; seq != stream->flight.nxt && stream->flight.ring != NULL; seq++) {
    const udx_packet_t *packet = udx__packet_at(stream, seq);
    if (packet->state != UDX_PACKET_ACKED && packet->type & UDX_HEADER_END) end = 1;
  }
  CHECK_EQ(total, stream->queue.unsent + stream->queue.unacked + end);
}

static void
check_reorder (udx_stream_t *stream) {
  uint32_t nodes = 0;
  for (uint32_t i = 0; i < stream->reorder.count; i++) {
    const udx_reorder_run_t *run = &stream->reorder.runs[i];
    CHECK(udx__seq_before(run->start, run->end));
    if (i > 0) CHECK(udx__seq_before(stream->reorder.runs[i - 1].end, run->start));
    uint32_t count = 0;
    for (udx_reorder_node_t *node = run->head; node != NULL; node = node->next) count++;
    CHECK(count == run->end - run->start);
    nodes += count;
  }
  CHECK(nodes == stream->reorder.nodes);
}

void
inside_check_stream (udx_stream_t *stream) {
  if (stream->status & UDX_STREAM_CLOSED) {
    CHECK(stream->flight.ring == NULL && stream->queue.head == NULL);
    CHECK(stream->reorder.count == 0 && stream->timer_index == 0);
    return;
  }
  check_flight(stream);
  check_queue(stream);
  check_reorder(stream);
}

void
inside_check_timers (const udx_t *udx) {
  for (uint32_t i = 1; i < udx->timers.count; i++) {
    CHECK(udx->timers.entries[(i - 1) / 2]->timer_key <= udx->timers.entries[i]->timer_key);
  }
}
