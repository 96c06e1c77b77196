/* A datagram's way in, step by step as in udx.md 1.5, and delivery in order (udx.md 3.2). */
#include "receive.h"

#include "ack_receive.h"
#include "address.h"
#include "asked.h"
#include "id_table.h"
#include "instance.h"
#include "path_validation.h"
#include "relay.h"
#include "reorder.h"
#include "socket.h"
#include "sources.h"
#include "stream.h"
#include "time_wait.h"
#include "transmit.h"
#include "wire.h"
#include "trace/trace.h"

static int
read_payload (udx_stream_t *stream, const uint8_t *data, size_t length) {
  UDX_DEBUG_ASSERT(!(udx__stream(stream)->ack.paused && (stream->status & UDX_STREAM_READING)));
  if (udx__stream(stream)->on_read == NULL || !(stream->status & UDX_STREAM_READING)) return 1;
  uv_buf_t buf = uv_buf_init((char *) (uintptr_t) data, (unsigned int) length);
  udx__stream(stream)->on_read(stream, (ssize_t) length, &buf);
  return !udx__stream_dead(stream);
}

int
udx__receive_deliver (udx_stream_t *stream) {
  UDX_ASSERT(udx__seq_diff(udx__stream(stream)->ack.next, udx__stream(stream)->ack.delivered) >= 0);
  while (!udx__stream(stream)->ack.paused) {
    udx_reorder_node_t *node = udx__reorder_pop(stream, udx__stream(stream)->ack.delivered);
    if (node == NULL) break;
    UDX_ASSERT(node->length <= UDX_DATAGRAM_MAX);
    udx__stream(stream)->ack.delivered++;
    if (udx__seq_before(udx__stream(stream)->ack.next, udx__stream(stream)->ack.delivered))
      udx__stream(stream)->ack.next = udx__stream(stream)->ack.delivered;
    int alive = 1;
    if (node->type & UDX_HEADER_DATA) alive = read_payload(stream, node->data, node->length);
    udx__reorder_put(stream->udx, node);
    if (!alive) return 0;
  }
  /* stopped in the middle: what is in order is ours and acknowledged, the reader gets it when it goes on */
  const udx_reorder_t *reorder = &udx__stream(stream)->reorder;
  if (reorder->count > 0 && reorder->runs[0].start == udx__stream(stream)->ack.delivered &&
      udx__seq_before(udx__stream(stream)->ack.next, reorder->runs[0].end)) {
    udx__stream(stream)->ack.next = reorder->runs[0].end;
  }
  return 1;
}

/* A DATA or END packet that is not old. 0 if the stream died. */
static int
receive_data (
  udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, const uint8_t *payload, size_t length) {
  UDX_ASSERT(header->type & (UDX_HEADER_DATA | UDX_HEADER_END));
  UDX_ASSERT(udx__seq_diff(header->seq, udx__stream(stream)->ack.next) >= 0);
  udx_ack_state_t *ack = &udx__stream(stream)->ack;
  uint32_t seq = header->seq;
  if (stream->status & UDX_STREAM_ENDED_REMOTE) return 1;
  if ((stream->status & UDX_STREAM_ENDING_REMOTE) && udx__seq_before(ack->end_seq, seq)) return 1;

  if (seq == ack->next && ack->delivered == ack->next && !ack->paused) {
    ack->next++;
    ack->delivered++;
    if (header->type & UDX_HEADER_END) {
      stream->status |= UDX_STREAM_ENDING_REMOTE;
      ack->end_seq = seq;
    }
    if (header->type & UDX_HEADER_DATA) return read_payload(stream, payload, length);
    return 1;
  }
  if (!ack->paused) ack->lossy = 1;
  int kept = udx__reorder_insert(stream, seq, header->type, payload, length);
  if (kept < 0) {
    udx__flow_gap_clear(&udx__stream(stream)->flow);
    stream->udx->packets_invalid++;
    UDX_TRACE(stream->udx, dropped(stream, socket, header, length, UDX_TRACE_NO_ROOM));
    return 1;
  }
  if (kept == 0) {
    UDX_TRACE(stream->udx, dropped(stream, socket, header, length, UDX_TRACE_DUPLICATE));
    return 1;
  }
  if (header->type & UDX_HEADER_END) {
    stream->status |= UDX_STREAM_ENDING_REMOTE;
    ack->end_seq = seq;
  }
  /* only a paused reader gets here with the next one */
  const udx_reorder_run_t *run = &udx__stream(stream)->reorder.runs[0];
  if (udx__seq_diff(ack->next, run->start) >= 0 && udx__seq_before(ack->next, run->end)) ack->next = run->end;
  return 1;
}

static void
drop (udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, size_t length, udx_trace_trigger_t why) {
  stream->udx->packets_invalid++;
  UDX_TRACE(stream->udx, dropped(stream, socket, header, length, why));
}

static inline int
is_remote (const udx_stream_t *stream, const udx_socket_t *socket, const struct sockaddr *from) {
  if (socket != stream->socket) return 0;
  const udx_address_t *remote = &udx__stream(stream)->remote;
  /* family, port and IPv4 address, mostly of the remote */
  if (from->sa_family == AF_INET && memcmp(from, remote, 8) == 0) return 1;
  return udx__address_equal(&remote->any, from);
}

int
udx__receive_asks (
  udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, size_t length, const struct sockaddr *from) {
  if (udx__stream(stream)->on_firewall == NULL || is_remote(stream, socket, from)) return 1;
  if (socket == stream->socket && !(udx__stream(stream)->guards & UDX_GUARD_FIREWALL)) return 1;
  udx_address_t scratch;
  if (udx__stream(stream)->on_firewall(stream, socket, udx__address_plain(from, &scratch))) {
    stream->packets_rx++;
    stream->bytes_rx += length;
    UDX_TRACE(stream->udx, dropped(stream, socket, header, length, UDX_TRACE_FIREWALL));
    return 0;
  }
  return !udx__stream_dead(stream);
}

/*
 * Whether a packet goes on that came over another socket than the stream's, or from another source: the source check or
 * the firewall says no, or the firewall ends the stream.
 */
static int
guard (udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, const uint8_t *data, size_t length,
  const struct sockaddr *from) {
  if (udx__stream(stream)->sources != NULL && udx__stream(stream)->relay_to == NULL &&
      !udx__sources_admit(stream, socket, header, data, length, from))
    return 0;
  return udx__receive_asks(stream, socket, header, length, from);
}

/* DATA, END and DESTROY by their place in the sequence, then a MESSAGE, which has none. 0 if no more of it counts. */
static int
receive_body (udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, const uint8_t *payload,
  size_t payload_length, size_t length) {
  UDX_ASSERT(payload_length + UDX_HEADER_SIZE + header->data_offset == length);
  int32_t distance = udx__seq_diff(header->seq, udx__stream(stream)->ack.next);
  if (distance >= 0) {
    if (UDX_UNLIKELY(distance >= UDX_SEQ_AHEAD_MAX)) {
      /* no honest sender is that far ahead; nothing of it is believed */
      drop(stream, socket, header, length, UDX_TRACE_TOO_FAR_AHEAD);
      return 0;
    }
    if (UDX_UNLIKELY(distance > 0) && !udx__flow_gap(stream, length)) return 0;
    if (header->type & (UDX_HEADER_DATA | UDX_HEADER_END)) {
      if (!receive_data(stream, socket, header, payload, payload_length)) return 0;
    }
    if (header->type & UDX_HEADER_DESTROY) {
      udx__stream_close(stream, UV_ECONNRESET);
      return 0;
    }
  } else if (header->type & (UDX_HEADER_DATA | UDX_HEADER_END)) {
    udx__stream(stream)->ack.lossy = 1;
    UDX_TRACE(stream->udx, dropped(stream, socket, header, length, UDX_TRACE_DUPLICATE));
  }
  if (UDX_UNLIKELY(header->type & UDX_HEADER_MESSAGE) && udx__stream(stream)->on_recv != NULL &&
      (stream->status & UDX_STREAM_RECEIVING)) {
    uv_buf_t buf = uv_buf_init((char *) (uintptr_t) payload, (unsigned int) payload_length);
    udx__stream(stream)->on_recv(stream, (ssize_t) payload_length, &buf);
    if (udx__stream_dead(stream)) return 0;
  }
  return udx__stream(stream)->reorder.count == 0 || udx__receive_deliver(stream);
}

/* The peer speaks to another address of this host than before. */
static void
hear_local (udx_stream_t *stream, const udx_socket_t *socket, const struct sockaddr *from) {
  if (socket != stream->socket || !udx__address_equal(&udx__stream(stream)->remote.any, from)) return;
  udx__stream(stream)->local_heard = udx__stream(stream)->local = udx__socket(socket)->local;
}

static void
receive_packet (udx_stream_t *stream, udx_socket_t *socket, udx_header_t *header, uint8_t *data, size_t length,
  const struct sockaddr *from) {
  UDX_DEBUG_ASSERT(length >= UDX_HEADER_SIZE && header->id == stream->local_id);
  UDX_DEBUG_ASSERT(stream->udx == socket->udx);
  if (UDX_UNLIKELY(socket != stream->socket || udx__stream(stream)->guards) && !is_remote(stream, socket, from) &&
      !guard(stream, socket, header, data, length, from))
    return;
  stream->packets_rx++;
  stream->bytes_rx += length;
  udx__stream(stream)->flow.heard_at = udx__instance(stream->udx)->now;
  /* over whichever of our sockets: what has to speak is the address */
  if (UDX_UNLIKELY(udx__stream(stream)->validation.claimed) &&
      udx__address_equal(&udx__stream(stream)->remote.any, from))
    udx__path_validation_heard(stream);

  if (UDX_UNLIKELY(udx__stream(stream)->relay_to != NULL)) {
    (void) udx__relay_forward(stream, header, data, length);
    return;
  }
  if (UDX_UNLIKELY(udx__socket(socket)->local != udx__stream(stream)->local_heard)) hear_local(stream, socket, from);
  udx__stream_touch(stream);
  if (UDX_UNLIKELY(header->type & UDX_HEADER_HEARTBEAT)) {
    udx__owe_ack(stream);
    return;
  }
  /* An ack that no honest peer would send, from an address that is not the peer's: a guess from off the path. */
  uint32_t behind = udx__stream(stream)->flight.nxt - header->ack;
  if (UDX_UNLIKELY(behind > udx__flight_span(stream) + UDX_ACK_BEHIND_MAX) && (stream->status & UDX_STREAM_CONNECTED) &&
      !udx__address_equal(&udx__stream(stream)->remote.any, from)) {
    drop(stream, socket, header, length, UDX_TRACE_UNEXPECTED_SOURCE);
    return;
  }
  size_t body = length - UDX_HEADER_SIZE;
  if (header->data_offset > body) {
    drop(stream, socket, header, length, UDX_TRACE_BAD_DATA_OFFSET);
    return;
  }
  const uint8_t *payload = data + UDX_HEADER_SIZE + header->data_offset;
  if (!receive_body(stream, socket, header, payload, body - header->data_offset, length)) return;

  const uint8_t *sack = NULL;
  size_t sack_length = 0;
  if (header->type & UDX_HEADER_SACK) {
    sack = data + UDX_HEADER_SIZE;
    sack_length = header->data_offset > 0 && header->data_offset < body ? header->data_offset : body;
  }
  if (UDX_UNLIKELY(udx__stream(stream)->validation.pending))
    udx__stream(stream)->validation.other_source = !udx__address_equal(&udx__stream(stream)->remote.any, from);
  if (!udx__ack_process(stream, socket, header, sack, sack_length)) return;
  if (header->type & (UDX_HEADER_DATA | UDX_HEADER_END)) {
    if (udx__stream(stream)->ack.pending < UINT16_MAX) udx__stream(stream)->ack.pending++;
    udx__owe_ack(stream);
  }
}

void
udx__receive_datagram (udx_socket_t *socket, uint8_t *data, size_t length, const struct sockaddr *from) {
  UDX_DEBUG_ASSERT(!(socket->status & UDX_SOCKET_CLOSED));
  udx_t *udx = socket->udx;
  UDX_TRACE(udx, received(socket, data, length, from));

  udx_header_t header;
  if (udx__header_decode(data, length, &header)) {
    udx_stream_t *stream = udx__ids_find(&udx__instance(udx)->ids, header.id);
    if (stream != NULL && !udx__stream_dead(stream)) {
      receive_packet(stream, socket, &header, data, length, from);
      return;
    }
    if (udx__instance(udx)->time_wait != NULL && udx__time_wait_answer(socket, &header, from)) return;
  }
  if (udx__socket(socket)->on_recv == NULL || !(socket->status & UDX_SOCKET_RECEIVING)) return;
  udx_address_t scratch;
  uv_buf_t buf = uv_buf_init((char *) (uintptr_t) data, (unsigned int) length);
  from = udx__address_plain(from, &scratch);
  if (udx__socket(socket)->local > 0) udx__asked_note(socket, from, udx__socket(socket)->local);
  udx__socket(socket)->on_recv(socket, (ssize_t) length, &buf, from);
}
