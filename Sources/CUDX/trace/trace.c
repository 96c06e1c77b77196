/* From emit points to events (udx_trace.h). Runs only while an observer is installed. */
#include "trace.h"

#include "engine/id_table.h"
#include "engine/instance.h"
#include "engine/rtt.h"
#include "engine/stream.h"
#include "engine/wire.h"

void
udx_set_trace (udx_t *udx, udx_trace_cb cb, void *data) {
  udx__instance(udx)->on_trace = cb;
  udx__instance(udx)->trace_data = data;
}

static void
event_init (udx_trace_event_t *event, udx_t *udx, udx_trace_type_t type, udx_socket_t *socket, udx_stream_t *stream) {
  UDX_ASSERT(udx != NULL);
  memset(event, 0, sizeof(*event));
  event->size = sizeof(*event);
  event->type = type;
  /* between the engine's turns its clock stands still */
  event->time = udx__instance(udx)->depth > 0 ? udx__instance(udx)->now : udx__instance(udx)->driver->now(udx);
  event->socket = socket;
  event->stream = stream;
  if (stream != NULL) event->local_id = stream->local_id;
}

static void
event_emit (udx_t *udx, const udx_trace_event_t *event) {
  udx__instance(udx)->on_trace(udx, event, udx__instance(udx)->trace_data);
}

/* ---- packets ---- */

void
udx__trace_batch_sent (
  udx_socket_t *socket, const udx_datagram_t *datagrams, uint32_t taken, uint32_t count, uint32_t joined) {
  udx_trace_event_t event;
  event_init(&event, socket->udx, UDX_TRACE_BATCH_SENT, socket, NULL);
  event.as.batch.messages = taken - joined;
  event.as.batch.datagrams = taken;
  event.as.batch.left = count - taken;
  for (uint32_t i = 0; i < taken; i++) event.as.batch.bytes += datagrams[i].length;
  event_emit(socket->udx, &event);
}

void
udx__trace_batch_received (udx_socket_t *socket, const udx_received_t *batch, unsigned int count) {
  udx_trace_event_t event;
  event_init(&event, socket->udx, UDX_TRACE_BATCH_RECEIVED, socket, NULL);
  event.as.batch.messages = count;
  for (unsigned int i = 0; i < count; i++) {
    size_t size = batch[i].segment_size;
    size_t segments = size > 0 && batch[i].length > 0 ? (batch[i].length + size - 1) / size : 1;
    event.as.batch.datagrams += (uint32_t) segments;
    event.as.batch.bytes += batch[i].length;
  }
  event_emit(socket->udx, &event);
}

/* The fields of an encoded header; `sack` is what follows it. */
static void
packet_fill (udx_trace_event_t *event, const udx_header_t *header, const uint8_t *sack, size_t length) {
  event->as.packet.length = (uint32_t) length;
  event->as.packet.type = header->type;
  event->as.packet.data_offset = header->data_offset;
  event->as.packet.id = header->id;
  event->as.packet.window = header->window;
  event->as.packet.seq = header->seq;
  event->as.packet.ack = header->ack;
  size_t body = length - UDX_HEADER_SIZE;
  size_t offset = header->data_offset < body ? header->data_offset : body;
  if (header->type & UDX_HEADER_SACK) {
    size_t area = header->data_offset > 0 && header->data_offset < body ? header->data_offset : body;
    event->as.packet.sack = sack;
    event->as.packet.sack_count = (uint16_t) (area / 8);
    if (area == body) offset = body;
  }
  event->as.packet.payload_length = (uint32_t) (body - offset);
}

void
udx__trace_packet_sent (udx_socket_t *socket, udx_stream_t *stream, const udx_packet_t *packet,
  const udx_datagram_t *datagram, udx_trace_trigger_t trigger) {
  udx_header_t header;
  const uint8_t *head = (const uint8_t *) datagram->bufs[0].base;
  if (!udx__header_decode(head, datagram->bufs[0].len, &header)) return;
  udx_trace_event_t event;
  event_init(&event, socket->udx, UDX_TRACE_PACKET_SENT, socket, stream);
  /* relayed datagrams are in one piece */
  const uint8_t *sack = datagram->bufs_len > 1 ? (const uint8_t *) datagram->bufs[1].base : head + UDX_HEADER_SIZE;
  packet_fill(&event, &header, sack, datagram->length);
  event.as.packet.address = datagram->to;
  event.as.packet.trigger = trigger;
  if (packet != NULL) {
    UDX_ASSERT(trigger == UDX_TRACE_NO_TRIGGER);
    if (packet->transmits > 1) event.as.packet.trigger = UDX_TRACE_RETRANSMISSION;
    else if (packet->is_probe) event.as.packet.trigger = UDX_TRACE_MTU_PROBE;
  }
  event_emit(socket->udx, &event);
}

static void
datagram_emit (udx_socket_t *socket, udx_trace_type_t type, const struct sockaddr *address, size_t length) {
  udx_trace_event_t event;
  event_init(&event, socket->udx, type, socket, NULL);
  event.as.datagram.address = address;
  event.as.datagram.length = (uint32_t) length;
  event_emit(socket->udx, &event);
}

void
udx__trace_datagram_sent (udx_socket_t *socket, const udx_datagram_t *datagram) {
  datagram_emit(socket, UDX_TRACE_DATAGRAM_SENT, datagram->to, datagram->length);
}

void
udx__trace_received (udx_socket_t *socket, const uint8_t *data, size_t length, const struct sockaddr *from) {
  udx_t *udx = socket->udx;
  udx_header_t header;
  udx_stream_t *stream = NULL;
  int is_packet = udx__header_decode(data, length, &header);
  if (is_packet) {
    stream = udx__ids_find(&udx__instance(udx)->ids, header.id);
    is_packet = stream != NULL && !udx__stream_dead(stream);
  }
  if (!is_packet) {
    datagram_emit(socket, UDX_TRACE_DATAGRAM_RECEIVED, from, length);
    return;
  }
  udx_trace_event_t event;
  event_init(&event, udx, UDX_TRACE_PACKET_RECEIVED, socket, stream);
  packet_fill(&event, &header, data + UDX_HEADER_SIZE, length);
  event.as.packet.address = from;
  event_emit(udx, &event);
}

void
udx__trace_dropped (
  udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, size_t length, udx_trace_trigger_t trigger) {
  udx_trace_event_t event;
  event_init(&event, socket->udx, UDX_TRACE_PACKET_DROPPED, socket, stream);
  event.as.dropped.trigger = trigger;
  event.as.dropped.length = (uint32_t) length;
  event.as.dropped.seq = header->seq;
  event.as.dropped.type = header->type;
  event_emit(socket->udx, &event);
}

/* ---- recovery ---- */

void
udx__trace_lost (udx_stream_t *stream, uint32_t seq, const udx_packet_t *packet, udx_trace_trigger_t trigger) {
  udx_trace_event_t event;
  event_init(&event, stream->udx, UDX_TRACE_PACKET_LOST, stream->socket, stream);
  event.as.lost.trigger = trigger;
  event.as.lost.seq = seq;
  event.as.lost.length = packet->length;
  event.as.lost.transmits = packet->transmits;
  event.as.lost.sent_at = packet->sent_at;
  event_emit(stream->udx, &event);
}

static udx_trace_state_t
congestion_state (const udx_stream_t *stream) {
  if (udx__stream(stream)->recovery.state == UDX_RECOVERY_LOSS) return UDX_TRACE_LOSS;
  if (udx__stream(stream)->recovery.state == UDX_RECOVERY_FAST) return UDX_TRACE_RECOVERY;
  if (udx__stream(stream)->congestion != &udx__congestion_bbr) {
    return stream->cwnd < stream->ssthresh ? UDX_TRACE_SLOW_START : UDX_TRACE_CONGESTION_AVOIDANCE;
  }
  switch (stream->bbr.state) {
  case UDX_BBR_STATE_STARTUP:
    return UDX_TRACE_SLOW_START;
  case UDX_BBR_STATE_DRAIN:
    return UDX_TRACE_DRAIN;
  case UDX_BBR_STATE_PROBE_RTT:
    return UDX_TRACE_PROBE_RTT;
  default:
    return UDX_TRACE_CONGESTION_AVOIDANCE;
  }
}

void
udx__trace_state (udx_stream_t *stream) {
  udx_trace_state_t state = congestion_state(stream);
  if (udx__stream(stream)->traced_state == (uint8_t) state) return;
  udx_trace_event_t event;
  event_init(&event, stream->udx, UDX_TRACE_STATE, stream->socket, stream);
  event.as.state.old_state = (udx_trace_state_t) udx__stream(stream)->traced_state;
  event.as.state.new_state = state;
  udx__stream(stream)->traced_state = (uint8_t) state;
  event_emit(stream->udx, &event);
}

void
udx__trace_metrics (udx_stream_t *stream) {
  udx__trace_state(stream);
  udx_trace_event_t event;
  event_init(&event, stream->udx, UDX_TRACE_METRICS, stream->socket, stream);
  event.as.metrics.smoothed_rtt = udx__stream(stream)->rtt.srtt;
  event.as.metrics.latest_rtt = udx__stream(stream)->rtt.latest;
  event.as.metrics.rtt_variance = udx__stream(stream)->rtt.var;
  event.as.metrics.min_rtt = udx__rtt_min(stream);
  event.as.metrics.rto = udx__stream(stream)->rtt.rto;
  event.as.metrics.cwnd = stream->cwnd;
  event.as.metrics.ssthresh = stream->ssthresh;
  event.as.metrics.packets_in_flight = udx__in_flight(stream);
  event.as.metrics.bytes_in_flight = stream->inflight;
  event.as.metrics.pacing_rate = udx__stream(stream)->pacing.rate;
  event.as.metrics.bandwidth =
    (uint64_t) (udx__stream(stream)->congestion->bandwidth(stream) * udx__mtu_payload(stream));
  event.as.metrics.peer_window = udx__stream(stream)->flow.peer_window;
  event_emit(stream->udx, &event);
}

void
udx__trace_timer (udx_stream_t *stream, udx_trace_timer_t timer, udx_trace_timer_change_t change, uint64_t at) {
  udx_trace_event_t event;
  event_init(&event, stream->udx, UDX_TRACE_TIMER, stream->socket, stream);
  event.as.timer.timer = timer;
  event.as.timer.change = change;
  if (change == UDX_TRACE_SET) event.as.timer.delay = at > event.time ? at - event.time : 0;
  event_emit(stream->udx, &event);
}

void
udx__trace_timers (udx_stream_t *stream) {
  const udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  if (recovery->rto_at == UDX_NEVER) {
    udx__trace_timer(stream, UDX_TRACE_RTO, UDX_TRACE_CANCELLED, 0);
    return;
  }
  udx__trace_timer(stream, UDX_TRACE_RTO, UDX_TRACE_SET, recovery->rto_at);
  if (recovery->tlp_at != UDX_NEVER) udx__trace_timer(stream, UDX_TRACE_TLP, UDX_TRACE_SET, recovery->tlp_at);
}

/* ---- the rest ---- */

void
udx__trace_mtu (udx_stream_t *stream, uint16_t old_mtu, int done) {
  udx_trace_event_t event;
  event_init(&event, stream->udx, UDX_TRACE_MTU, stream->socket, stream);
  event.as.mtu.old_mtu = old_mtu;
  event.as.mtu.new_mtu = stream->mtu;
  event.as.mtu.done = done != 0;
  event_emit(stream->udx, &event);
}

void
udx__trace_path (udx_stream_t *stream, udx_trace_type_t type) {
  udx_trace_event_t event;
  event_init(&event, stream->udx, type, stream->socket, stream);
  event.as.path.address = &udx__stream(stream)->remote.any;
  event.as.path.remote_id = stream->remote_id;
  event_emit(stream->udx, &event);
}

void
udx__trace_closed (udx_stream_t *stream, int status) {
  udx_trace_event_t event;
  event_init(&event, stream->udx, UDX_TRACE_STREAM_CLOSED, stream->socket, stream);
  event.as.closed.status = status;
  event_emit(stream->udx, &event);
}
