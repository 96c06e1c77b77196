/*
 * The way out. Everything that may leave in a turn is built into one batch per socket and handed to the
 * driver: control packets and messages first, then data of the ready streams in turn (a quantum each), then
 * acknowledgements that no data packet carried. No application code runs in here.
 */
#include "transmit.h"

#include "batch.h"
#include "flow_control.h"
#include "instance.h"
#include "list.h"
#include "macroflow.h"
#include "migration.h"
#include "mtu.h"
#include "pacing.h"
#include "packet.h"
#include "rate_sample.h"
#include "recovery.h"
#include "send_queue.h"
#include "socket.h"
#include "stream.h"
#include "timer.h"
#include "transmit_control.h"
#include "wire.h"
#include "trace/trace.h"

static const char batch_zeros[UDX_PADDING_MAX + 1];

/* ---- what is owed ---- */

void
udx__mark_dirty (udx_socket_t *socket) {
  UDX_ASSERT(!(socket->status & UDX_SOCKET_CLOSED));
  if (udx__socket(socket)->late) {
    udx__socket(socket)->late = 0;
    udx__list_remove(&udx__socket(socket)->dirty);
  }
  if (udx__list_empty(&udx__socket(socket)->dirty))
    udx__list_append(&udx__instance(socket->udx)->dirty, &udx__socket(socket)->dirty);
  udx__defer(socket->udx);
}

static void
owe (udx_stream_t *stream) {
  if (stream->socket == NULL) return;
  if (udx__list_empty(&udx__stream(stream)->owing))
    udx__list_append(&udx__socket(stream->socket)->owing, &udx__stream(stream)->owing);
  udx__mark_dirty(stream->socket);
}

void
udx__owe_ack (udx_stream_t *stream) {
  if (udx__stream(stream)->ack.owed && !udx__list_empty(&udx__stream(stream)->owing) &&
      (stream->socket == NULL || !udx__socket(stream->socket)->late))
    return;
  udx__stream(stream)->ack.owed = 1;
  owe(stream);
}

void
udx__owe_heartbeat (udx_stream_t *stream, uint8_t form) {
  UDX_ASSERT(form == UDX_HEARTBEAT_PLAIN || form == UDX_HEARTBEAT_ANSWERED);
  if (form > udx__stream(stream)->ack.heartbeat) udx__stream(stream)->ack.heartbeat = form;
  owe(stream);
}

void
udx__mark_ready (udx_stream_t *stream) {
  if (stream->socket == NULL || udx__stream_dead(stream) || udx__stream(stream)->relay_to != NULL) return;
  if (UDX_UNLIKELY(udx__stream(stream)->pacing.queued) && udx__stream(stream)->flight.lost.count > 0)
    udx__macroflow_dequeue(stream); /* repairs do not wait */
  UDX_ASSERT(stream->udx == stream->socket->udx);
  if (udx__list_empty(&udx__stream(stream)->ready))
    udx__list_append(&udx__socket(stream->socket)->ready, &udx__stream(stream)->ready);
  udx__mark_dirty(stream->socket);
}

/* ---- data ---- */

/* Puts packet `seq`, which is in no list, into the batch. The room is there. */
static void
packet_send (udx_stream_t *stream, uint32_t seq, udx_packet_t *packet, uint32_t window) {
  UDX_DEBUG_ASSERT(seq - udx__stream(stream)->flight.una < udx__flight_span(stream));
  UDX_DEBUG_ASSERT(
    packet->state == UDX_PACKET_FREE || packet->state == UDX_PACKET_LOST || packet->state == UDX_PACKET_FLYING);
  udx_t *udx = stream->udx;
  struct udx_batch_s *batch = udx__instance(udx)->batch;
  uint64_t now = udx__instance(udx)->now;
  int is_new = packet->transmits == 0;

  const udx_address_t *to = &udx__stream(stream)->remote;
  udx_header_t header = {
    .type = packet->type,
    .data_offset = packet->padding,
    .id = stream->remote_id,
    .window = window,
    .seq = seq,
    .ack = udx__stream(stream)->ack.next,
  };
  uint8_t local = udx__stream(stream)->local;
  if (UDX_UNLIKELY(udx__stream(stream)->paths != NULL)) {
    udx__path_for(stream, seq, &to, &header.id);
    if (to != &udx__stream(stream)->remote) local = 0;
  }

  uv_buf_t *bufs = &batch->bufs[batch->bufs_len];
  uint32_t n = 0;
  uint8_t *head = batch->headers[batch->count];
  udx__header_encode(head, &header);
  bufs[n].base = (char *) head;
  bufs[n++].len = UDX_HEADER_SIZE;
  if (packet->padding > 0) {
    bufs[n].base = (char *) (uintptr_t) batch_zeros;
    bufs[n++].len = packet->padding;
  }
  if (packet->length > 0) {
    int pieces = udx__queue_gather(packet, bufs + n, UDX_PIECES_MAX);
    if (pieces < 0) {
      uint8_t *copy = batch->arena + batch->arena_len;
      batch->arena_len += packet->length;
      udx__queue_copy(packet, copy);
      bufs[n].base = (char *) copy;
      bufs[n].len = packet->length;
      pieces = 1;
    }
    n += (uint32_t) pieces;
    UDX_ASSERT(n <= UDX_PIECES_MAX + 2);
  }
  uint32_t size = UDX_HEADER_SIZE + (uint32_t) packet->length;
  uint32_t index = udx__batch_add(batch, to, n, size + packet->padding, 0, local, UDX_OWNER_PACKET, stream, seq);
  if (UDX_UNLIKELY(!is_new) && udx__mtu_exceeds(stream, packet)) batch->datagrams[index].fragment = true;

  udx__stream(stream)->congestion->sent(stream, udx__in_flight(stream), now);
  udx__rate_sent(stream, packet, now);
  packet->sent_at = now;
  if (packet->transmits < UINT8_MAX) packet->transmits++;
  udx__flight_append(stream, seq);
  udx__pacing_spend(stream, size);
  udx__count_sent(stream, size);
  udx__unheard_spend(stream);
  if (!is_new) {
    stream->retransmit_count++;
    udx->retransmits++;
  }
  udx__recovery_sent(stream, seq, is_new, now);
  /* it carries the acknowledgement too, unless ranges have to be reported */
  if (udx__stream(stream)->reorder.count == 0) udx__stream(stream)->ack.owed = udx__stream(stream)->ack.pending = 0;
}

static int
packet_retransmit (udx_stream_t *stream, uint32_t window) {
  UDX_ASSERT(udx__stream(stream)->flight.lost.count > 0);
  if (!udx__batch_room(stream->socket, UDX_PIECES_MAX + 2)) return 0;
  uint32_t seq = udx__stream(stream)->flight.lost.head;
  udx__lost_remove(stream, seq);
  packet_send(stream, seq, udx__packet_at(stream, seq), window);
  return 1;
}

static int
packet_new (udx_stream_t *stream, uint32_t window, int may_probe) {
  UDX_DEBUG_ASSERT(stream->status & UDX_STREAM_CONNECTED);
  if (!udx__batch_room(stream->socket, UDX_PIECES_MAX + 2)) return 0;
  udx_packet_t *packet = udx__flight_push(stream);
  if (packet == NULL) return 0;
  uint32_t seq = udx__stream(stream)->flight.nxt - 1;
  if (!udx__queue_cut(stream, packet, udx__mtu_payload(stream))) {
    udx__flight_unpush(stream);
    return 0;
  }
  if (may_probe) udx__mtu_probe(stream, packet);
  packet_send(stream, seq, packet, window);
  return 1;
}

/* Up to a quantum of one stream. 1 if it wants another turn. */
static int
transmit_stream (udx_stream_t *stream) {
  if (udx__stream_dead(stream) || !(stream->status & UDX_STREAM_CONNECTED)) return 0;
  /* it began to relay after it became ready: from then on it sends nothing of its own */
  if (udx__stream(stream)->relay_to != NULL) return 0;
  uint64_t now = udx__instance(stream->udx)->now;
  if (udx__stream(stream)->flight.lost.count == 0 && !udx__queue_has_unsent(stream)) return 0;

  UDX_ASSERT(stream->socket != NULL);
  uint32_t allowed = udx__min_u32(stream->cwnd, udx__flow_packets(stream));
  uint32_t span = udx__flow_span(stream);
  uint32_t window = udx__flow_advertise(stream);
  /* turns are small while streams wait: shares are even, and packets of many streams share system calls anyway */
  const udx_macroflow_t *macroflow = udx__stream(stream)->macroflow;
  int quantum = macroflow != NULL && macroflow->limited ? UDX_MACROFLOW_TURN : UDX_QUANTUM;
  int is_first = udx__stream(stream)->rtt.srtt == 0 && (macroflow == NULL || macroflow->min_rtt == 0);
  for (int i = 0; i < quantum; i++) {
    int lost = udx__stream(stream)->flight.lost.count > 0;
    if (!lost && !udx__queue_has_unsent(stream)) {
      udx__rate_check_app_limited(stream);
      return 0;
    }
    if (udx__unheard_limited(stream)) return 0;
    if (udx__amplification_limited(stream) && !lost) return 0;
    uint32_t flying = udx__in_flight(stream);
    if (flying >= (lost ? stream->cwnd : allowed)) {
      udx__stream(stream)->pacing.waiting = 0;
      if (flying == 0) udx__flow_rearm(stream, 1, now);
      return 0;
    }
    if (!lost && udx__flight_span(stream) >= span) return 0;
    /* repairs are what everything behind them waits for, and what was lost made room */
    if (!lost && udx__macroflow_wait(stream, now)) return 0;
    if (!udx__pacing_ready(stream, now)) {
      udx__pacing_wait(stream, now);
      return 0;
    }
    if (!(lost ? packet_retransmit(stream, window) : packet_new(stream, window, 1)))
      return udx__socket(stream->socket)->blocked;
    /*
     * Where segmented datagrams are dropped whole, a first flight in one of them is all that could tell of its loss,
     * and without a round-trip time the timeout is a second: its first packet leaves alone.
     */
    if (UDX_UNLIKELY(is_first) && udx__flight_span(stream) == 1 && udx__queue_has_unsent(stream))
      udx__batch_flush(stream->udx);
  }
  return 1;
}

int
udx__transmit_probe (udx_stream_t *stream) {
  UDX_ASSERT(stream->socket != NULL && udx__flight_span(stream) > 0);
  if (udx__unheard_limited(stream)) return 0;
  uint32_t window = udx__flow_advertise(stream);
  if (udx__queue_has_unsent(stream) && udx__stream(stream)->flow.peer_window > 0) {
    udx__mark_dirty(stream->socket);
    return packet_new(stream, window, 0);
  }
  uint32_t seq = udx__stream(stream)->flight.nxt - 1;
  udx_packet_t *packet = udx__packet_at(stream, seq);
  if (packet->state != UDX_PACKET_FLYING) return 0;
  if (!udx__batch_room(stream->socket, UDX_PIECES_MAX + 2)) return 0;
  udx__flight_remove(stream, seq);
  packet_send(stream, seq, packet, window);
  udx__mark_dirty(stream->socket);
  return 1;
}

/* The stream that has its turn: those that waited for the budget of their macroflow come first. NULL if none. */
static udx_stream_t *
next_stream (udx_socket_t *socket) {
  if (udx__socket(socket)->blocked) return NULL;
  while (!udx__list_empty(&udx__socket(socket)->resumable)) {
    udx_macroflow_t *macroflow = UDX__OWNER(udx_macroflow_t, resumable, udx__socket(socket)->resumable.next);
    UDX_ASSERT(macroflow->socket == socket);
    udx_stream_t *stream = udx__macroflow_next(macroflow);
    if (stream != NULL) return stream;
    udx__list_remove(&macroflow->resumable);
  }
  if (udx__list_empty(&udx__socket(socket)->ready)) return NULL;
  udx_stream_t *stream = UDX__STREAM_OF(udx__socket(socket)->ready.next, ready);
  udx__list_remove(&udx__stream(stream)->ready);
  return stream;
}

int
udx__transmit_socket (udx_socket_t *socket, int at_end) {
  if (socket->status & UDX_SOCKET_CLOSED || udx__socket(socket)->blocked) return 0;
  udx__instance(socket->udx)->now = udx__instance(socket->udx)->driver->now(socket->udx);
  udx__transmit_controls(socket);
  udx__transmit_sends(socket);
  uint64_t sent = socket->packets_tx;
  udx_stream_t *stream;
  while ((stream = next_stream(socket)) != NULL) {
    if (socket->packets_tx - sent >= UDX_TURN_MAX) {
      udx__list_prepend(&udx__socket(socket)->ready, &udx__stream(stream)->ready);
      udx__stream(stream)->pacing.at = udx__instance(socket->udx)->now + UDX_TURN_GAP;
      udx__stream(stream)->pacing.waiting = 1;
      udx__timer_at_most(stream, udx__stream(stream)->pacing.at);
      break;
    }
    UDX_ASSERT(stream->socket == socket);
    if (transmit_stream(stream) && udx__list_empty(&udx__stream(stream)->ready))
      udx__list_append(&udx__socket(socket)->ready, &udx__stream(stream)->ready);
  }
  int waits = udx__transmit_owed(socket, at_end);
  udx__batch_flush(socket->udx);
  return waits;
}

void
udx__transmit_all (udx_t *udx, int at_end) {
  while (at_end && !udx__list_empty(&udx__instance(udx)->late))
    udx__mark_dirty(UDX__SOCKET_OF(udx__instance(udx)->late.next, dirty));
  while (!udx__list_empty(&udx__instance(udx)->dirty)) {
    udx_socket_t *socket = UDX__SOCKET_OF(udx__instance(udx)->dirty.next, dirty);
    UDX_ASSERT(socket->udx == udx);
    udx__list_remove(&udx__socket(socket)->dirty);
    if (!udx__transmit_socket(socket, at_end) || !udx__list_empty(&udx__socket(socket)->dirty)) continue;
    udx__socket(socket)->late = 1;
    udx__list_append(&udx__instance(udx)->late, &udx__socket(socket)->dirty);
  }
  udx__batch_flush(udx);
}
