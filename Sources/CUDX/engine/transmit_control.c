/*
 * Everything that leaves besides data: control packets, relayed ones, messages and datagrams of the application,
 * acknowledgements that no data packet carried, heartbeats.
 */
#include "transmit_control.h"

#include "batch.h"
#include "instance.h"
#include "list.h"
#include "mtu.h"
#include "pool.h"
#include "reorder.h"
#include "socket.h"
#include "stream.h"
#include "transmit.h"
#include "wire.h"

static int
control_queue (
  udx_socket_t *socket, const udx_address_t *to, uint8_t local, const uint8_t header[UDX_HEADER_SIZE], uint32_t max) {
  UDX_ASSERT(!(socket->status & UDX_SOCKET_CLOSED));
  if (udx__socket(socket)->controls_count >= max) return UV_ENOBUFS;
  udx_control_t *control = udx__pool_get(&udx__instance(socket->udx)->controls);
  if (control == NULL) return UV_ENOMEM;
  control->to = *to;
  control->local = local;
  memcpy(control->header, header, UDX_HEADER_SIZE);
  udx__list_append(&udx__socket(socket)->controls, &control->link);
  udx__socket(socket)->controls_count++;
  UDX_ASSERT(udx__socket(socket)->controls_count <= max);
  udx__mark_dirty(socket);
  return 0;
}

int
udx__transmit_control (
  udx_socket_t *socket, const udx_address_t *to, uint8_t local, const uint8_t header[UDX_HEADER_SIZE]) {
  return control_queue(socket, to, local, header, UDX_CONTROLS_MAX);
}

int
udx__transmit_reset (udx_stream_t *stream, const uint8_t header[UDX_HEADER_SIZE]) {
  udx_socket_t *socket = stream->socket;
  if (udx__socket(socket)->controls_count >= UDX_CONTROLS_MAX && !udx__socket(socket)->blocked) {
    udx__transmit_controls(socket);
    udx__batch_flush(socket->udx);
  }
  return control_queue(socket, &udx__stream(stream)->remote, udx__stream(stream)->local, header, UDX_RESETS_MAX);
}

void
udx__transmit_relay (udx_socket_t *socket, udx_stream_t *stream, uint8_t *data, size_t length) {
  UDX_ASSERT(stream->socket == socket && length >= UDX_HEADER_SIZE);
  if (!udx__batch_room(socket, 1)) return; /* lost: the end points repair it */
  struct udx_batch_s *batch = udx__instance(socket->udx)->batch;
  batch->bufs[batch->bufs_len].base = (char *) data;
  batch->bufs[batch->bufs_len].len = length;
  (void) udx__batch_add(
    batch, &udx__stream(stream)->remote, 1, (uint32_t) length, 0, udx__stream(stream)->local, UDX_OWNER_NONE, NULL, 0);
}

void
udx__controls_free (udx_socket_t *socket) {
  while (!udx__list_empty(&udx__socket(socket)->controls)) {
    udx_control_t *control = UDX__OWNER(udx_control_t, link, udx__socket(socket)->controls.next);
    udx__list_remove(&control->link);
    udx__pool_put(&udx__instance(socket->udx)->controls, control);
  }
  udx__socket(socket)->controls_count = 0;
}

void
udx__transmit_controls (udx_socket_t *socket) {
  while (!udx__list_empty(&udx__socket(socket)->controls) && udx__batch_room(socket, 1)) {
    struct udx_batch_s *batch = udx__instance(socket->udx)->batch;
    UDX_ASSERT(batch->socket == socket);
    udx_control_t *control = UDX__OWNER(udx_control_t, link, udx__socket(socket)->controls.next);
    udx__list_remove(&control->link);
    batch->bufs[batch->bufs_len].base = (char *) control->header;
    batch->bufs[batch->bufs_len].len = UDX_HEADER_SIZE;
    (void) udx__batch_add(batch, &control->to, 1, UDX_HEADER_SIZE, 0, control->local, UDX_OWNER_CONTROL, control, 0);
  }
}

void
udx__transmit_sends (udx_socket_t *socket) {
  udx_link_t waiting;
  udx__list_take(&waiting, &udx__socket(socket)->sends);
  while (!udx__list_empty(&waiting) && udx__batch_room(socket, 2)) {
    struct udx_batch_s *batch = udx__instance(socket->udx)->batch;
    UDX_ASSERT(batch->socket == socket);
    udx_link_t *link = waiting.next;
    udx__list_remove(link);
    udx_send_state_t *send = UDX__OWNER(udx_send_state_t, link, link);
    if (send->kind == UDX_SEND_SOCKET) {
      batch->bufs[batch->bufs_len] = send->buf;
      uint32_t index =
        udx__batch_add(batch, &send->to, 1, (uint32_t) send->buf.len, send->ttl, send->local, UDX_OWNER_SEND, send, 0);
      batch->datagrams[index].fragment = send->buf.len > UDX_DATAGRAM_WHOLE;
    } else {
      UDX_ASSERT(send->kind == UDX_SEND_STREAM);
      udx_stream_t *stream = udx__send_stream(send)->stream;
      udx_header_t header;
      udx__stream_header(stream, &header, UDX_HEADER_MESSAGE);
      uint8_t *head = batch->headers[batch->count];
      udx__header_encode(head, &header);
      batch->bufs[batch->bufs_len].base = (char *) head;
      batch->bufs[batch->bufs_len].len = UDX_HEADER_SIZE;
      batch->bufs[batch->bufs_len + 1] = send->buf;
      uint32_t index = udx__batch_add(batch, &udx__stream(stream)->remote, 2,
        (uint32_t) (UDX_HEADER_SIZE + send->buf.len), 0, udx__stream(stream)->local, UDX_OWNER_SEND, send, 0);
      batch->datagrams[index].fragment = send->buf.len + udx__mtu_overhead(stream) > udx__stream(stream)->search.proven;
    }
  }
  /* what found no room waits behind what a full socket just gave back */
  while (!udx__list_empty(&waiting)) {
    udx_link_t *link = waiting.next;
    udx__list_remove(link);
    udx__list_append(&udx__socket(socket)->sends, link);
  }
}

/* 1 if the stream owes one more, 0 if not, -1 if there is no room. */
static int
transmit_ack (udx_socket_t *socket, udx_stream_t *stream) {
  UDX_ASSERT(stream->socket == socket && udx__stream(stream)->ack.owed);
  if (!udx__batch_room(socket, 2)) return -1;
  struct udx_batch_s *batch = udx__instance(socket->udx)->batch;
  uint32_t n = 1;
  uint32_t length = UDX_HEADER_SIZE;
  uint8_t type = 0;
  uint8_t *head = batch->headers[batch->count];
  batch->bufs[batch->bufs_len].base = (char *) head;
  batch->bufs[batch->bufs_len].len = UDX_HEADER_SIZE;
  if (udx__stream(stream)->reorder.count > 0) {
    uint8_t *blocks = batch->arena + batch->arena_len;
    int count = udx__reorder_blocks(stream, blocks, udx__mtu_ranges(stream));
    if (count > 0) {
      UDX_ASSERT(count <= UDX_SACK_BLOCKS_MAX);
      batch->arena_len += 8 * (uint32_t) count;
      type = UDX_HEADER_SACK;
      batch->bufs[batch->bufs_len + 1].base = (char *) blocks;
      batch->bufs[batch->bufs_len + 1].len = 8 * (size_t) count;
      length += 8 * (uint32_t) count;
      n = 2;
    }
  }
  udx_header_t header;
  udx__stream_header(stream, &header, type);
  udx__header_encode(head, &header);
  (void) udx__batch_add(
    batch, &udx__stream(stream)->remote, n, length, 0, udx__stream(stream)->local, UDX_OWNER_ACK, stream, 0);
  socket->udx->acks_tx++;
  udx__count_sent(stream, length);
  udx__unheard_spend(stream);
  if (udx__stream(stream)->ack.early > 0 && udx__stream(stream)->ack.pending >= UDX_ACK_EARLY_PACKETS) {
    /* one for all of a first flight: once more, and not in the same segmented datagram, which may be dropped whole */
    udx__stream(stream)->ack.early--;
    udx__stream(stream)->ack.pending = 0;
    return 1;
  }
  udx__stream(stream)->ack.owed = udx__stream(stream)->ack.pending = 0;
  return 0;
}

/*
 * HEARTBEAT; after our END that again. Where the answer of every peer is needed: an old packet without its payload,
 * which all versions acknowledge as a duplicate. 0, or -1 if there is no room.
 */
static int
transmit_heartbeat (udx_socket_t *socket, udx_stream_t *stream) {
  UDX_ASSERT(stream->socket == socket && udx__stream(stream)->ack.heartbeat);
  if (!udx__batch_room(socket, 1)) return -1;
  struct udx_batch_s *batch = udx__instance(socket->udx)->batch;
  uint8_t *head = batch->headers[batch->count];
  udx_header_t header;
  udx__stream_header(stream, &header, UDX_HEADER_HEARTBEAT);
  if (stream->status & UDX_STREAM_ENDED) {
    UDX_ASSERT(udx__flight_span(stream) == 0);
    header.type = UDX_HEADER_END;
    header.seq--;
  } else if (udx__stream(stream)->ack.heartbeat == UDX_HEARTBEAT_ANSWERED && udx__flight_span(stream) == 0) {
    header.type = UDX_HEADER_DATA;
    header.seq--;
  }
  udx__header_encode(head, &header);
  batch->bufs[batch->bufs_len].base = (char *) head;
  batch->bufs[batch->bufs_len].len = UDX_HEADER_SIZE;
  (void) udx__batch_add(batch, &udx__stream(stream)->remote, 1, UDX_HEADER_SIZE, 0, udx__stream(stream)->local,
    UDX_OWNER_HEARTBEAT, stream, udx__stream(stream)->ack.heartbeat);
  udx__stream(stream)->ack.heartbeat = UDX_HEARTBEAT_NONE;
  udx__count_sent(stream, UDX_HEADER_SIZE);
  udx__unheard_spend(stream);
  return 0;
}

/* That of one packet, without a gap to report. Two are acknowledged at once, as in RFC 9000, 13.2.2. */
static int
may_wait (const udx_stream_t *stream) {
  return udx__stream(stream)->ack.owed && udx__stream(stream)->ack.pending == 1 &&
         udx__stream(stream)->reorder.count == 0;
}

int
udx__transmit_owed (udx_socket_t *socket, int at_end) {
  udx_link_t owing, again, late;
  udx__list_init(&again);
  udx__list_init(&late);
  udx__list_take(&owing, &udx__socket(socket)->owing);
  while (!udx__list_empty(&owing) || !udx__list_empty(&again)) {
    if (udx__list_empty(&owing)) {
      udx__batch_flush(socket->udx);
      udx__list_take(&owing, &again);
    }
    udx_stream_t *stream = UDX__STREAM_OF(owing.next, owing);
    udx__list_remove(&udx__stream(stream)->owing);
    if (udx__stream_dead(stream) || !(stream->status & UDX_STREAM_CONNECTED)) continue;
    if (udx__unheard_limited(stream)) {
      /* an acknowledgement stays owed, and leaves once the remote is heard */
      udx__stream(stream)->ack.heartbeat = UDX_HEARTBEAT_NONE;
      continue;
    }
    if (!at_end && may_wait(stream)) {
      udx__list_append(&late, &udx__stream(stream)->owing);
      continue;
    }
    int more = udx__stream(stream)->ack.owed ? transmit_ack(socket, stream) : 0;
    if (more > 0) {
      udx__list_append(&again, &udx__stream(stream)->owing);
      continue;
    }
    if (more < 0 || (udx__stream(stream)->ack.heartbeat && transmit_heartbeat(socket, stream) < 0)) {
      udx__list_append(&udx__socket(socket)->owing, &udx__stream(stream)->owing);
      break;
    }
  }
  int waits = !udx__list_empty(&late);
  udx_link_t *rest[] = {&owing, &again, &late};
  for (int i = 0; i < 3; i++) {
    while (!udx__list_empty(rest[i])) {
      udx_link_t *link = rest[i]->next;
      udx__list_remove(link);
      udx__list_append(&udx__socket(socket)->owing, link);
    }
  }
  return waits;
}
