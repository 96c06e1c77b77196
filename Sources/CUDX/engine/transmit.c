/*
 * The way out. Everything that may leave in a turn is built into one batch per socket and handed to the
 * driver: control packets and messages first, then data of the ready streams in turn (a quantum each), then
 * acknowledgements that no data packet carried. No application code runs in here.
 */
#include <stdlib.h>

#include "trace.h"

enum {
  OWNER_NONE = 0,
  OWNER_PACKET,
  OWNER_ACK,
  OWNER_HEARTBEAT,
  OWNER_CONTROL,
  OWNER_SEND,
};

typedef struct batch_owner_s {
  void *object;
  uint32_t seq;
  uint8_t kind;
} batch_owner_t;

typedef struct control_s {
  udx_link_t link;
  udx_address_t to;
  uint8_t header[UDX_HEADER_SIZE];
} control_t;

struct udx_batch_s {
  udx_socket_t *socket;
  uint32_t count;
  uint32_t bufs_len;
  uint32_t arena_len;
  udx_datagram_t datagrams[UDX_BATCH_MAX];
  batch_owner_t owners[UDX_BATCH_MAX];
  uint8_t headers[UDX_BATCH_MAX][UDX_HEADER_SIZE];
  uv_buf_t bufs[UDX_BATCH_BUFS];
  uint8_t arena[UDX_BATCH_ARENA]; /* SACK blocks and packets of many pieces */
};

static const char batch_zeros[UDX_PADDING_MAX + 1];

_Static_assert(UDX_ARENA_ITEM >= UDX_MTU_MAX && UDX_ARENA_ITEM >= 8 * UDX_SACK_BLOCKS_MAX, "one item fits");
_Static_assert(sizeof(control_t) <= UDX_CONTROL_SIZE, "pool block");

static const udx_address_t *
send_address (const udx_link_t *link) {
  return &UDX__OWNER(udx_socket_send_t, link, link)->to;
}

/* ---- the batch ---- */

/* Puts back what the driver did not take, newest first, so that queues keep their order. */
static void
batch_return (udx_t *udx, udx_socket_t *socket, const batch_owner_t *owner) {
  switch (owner->kind) {
  case OWNER_PACKET: {
    udx_stream_t *stream = owner->object;
    udx_packet_t *packet = udx__packet_at(stream, owner->seq);
    size_t size = (size_t) packet->length + UDX_HEADER_SIZE;
    if (packet->transmits > 1) {
      stream->retransmit_count--;
      udx->retransmits--;
    }
    packet->transmits--;
    udx__flight_remove(stream, owner->seq);
    udx__lost_insert(stream, owner->seq);
    stream->pacing.credit += (int64_t) size;
    stream->packets_tx--;
    socket->packets_tx--;
    udx->packets_tx--;
    stream->bytes_tx -= size;
    socket->bytes_tx -= size;
    udx->bytes_tx -= size;
    udx__mark_ready(stream);
    break;
  }
  case OWNER_ACK:
    udx__owe_ack(owner->object);
    break;
  case OWNER_HEARTBEAT:
    udx__owe_heartbeat(owner->object);
    break;
  case OWNER_CONTROL: {
    control_t *control = owner->object;
    udx__list_prepend(&socket->controls, &control->link);
    break;
  }
  case OWNER_SEND:
    udx__list_remove(owner->object);
    udx__list_prepend(&socket->sends, owner->object);
    break;
  default:
    break;
  }
}

static void
batch_taken (udx_t *udx, udx_socket_t *socket, const batch_owner_t *owner) {
  if (owner->kind == OWNER_CONTROL) {
    socket->controls_count--;
    udx__pool_put(&udx->controls, owner->object);
  } else if (owner->kind == OWNER_SEND) {
    udx_stream_send_t *message = UDX__OWNER(udx_stream_send_t, link, owner->object);
    if (message->kind == UDX_SEND_STREAM) message->stream->messages--;
    socket->sends_count--;
    udx__list_append(&udx->send_done, owner->object);
  }
}

UDX_COLD static void
batch_trace (udx_socket_t *socket, const struct udx_batch_s *batch, uint32_t taken, uint32_t count, uint32_t joined) {
  udx__trace_batch_sent(socket, batch->datagrams, taken, count, joined);
  for (uint32_t i = 0; i < taken; i++) {
    const batch_owner_t *owner = &batch->owners[i];
    udx_stream_t *stream = NULL;
    if (owner->kind == OWNER_SEND) {
      udx_stream_send_t *message = UDX__OWNER(udx_stream_send_t, link, owner->object);
      if (message->kind == UDX_SEND_SOCKET) {
        udx__trace_datagram_sent(socket, &batch->datagrams[i]);
        continue;
      }
      stream = message->stream;
    } else if (owner->kind == OWNER_PACKET || owner->kind == OWNER_ACK || owner->kind == OWNER_HEARTBEAT) {
      stream = owner->object;
    }
    udx_trace_trigger_t trigger = owner->kind == OWNER_NONE ? UDX_TRACE_RELAYED : UDX_TRACE_NO_TRIGGER;
    udx__trace_packet_sent(socket, stream, &batch->datagrams[i], trigger);
  }
}

void
udx__transmit_flush_batch (udx_t *udx) {
  struct udx_batch_s *batch = udx->batch;
  if (batch == NULL || batch->count == 0) return;
  udx_socket_t *socket = batch->socket;
  uint32_t count = batch->count;
  batch->count = 0;
  batch->bufs_len = 0;
  batch->arena_len = 0;

  uint32_t taken = 0;
  uint64_t joined = udx->gso_datagrams - udx->gso_batches; /* system messages that segmentation saved */
  if (!socket->blocked) {
    udx->transmit_calls++;
    taken = udx->driver->transmit(udx, socket, batch->datagrams, count);
    if (taken < count) socket->blocked = 1;
  }
  if (UDX_UNLIKELY(udx->on_trace != NULL)) batch_trace(socket, batch, taken, count, (uint32_t) (udx->gso_datagrams - udx->gso_batches - joined));
  for (uint32_t i = 0; i < taken; i++) batch_taken(udx, socket, &batch->owners[i]);
  for (uint32_t i = count; i-- > taken;) batch_return(udx, socket, &batch->owners[i]);
}

/* Room for one more datagram of up to `bufs` pieces, on this socket. 0 if the socket is full or memory is short. */
static int
batch_room (udx_socket_t *socket, uint32_t bufs) {
  udx_t *udx = socket->udx;
  struct udx_batch_s *batch = udx->batch;
  if (socket->blocked) return 0;
  if (batch == NULL) {
    batch = malloc(sizeof(*batch));
    if (batch == NULL) return 0;
    batch->count = batch->bufs_len = batch->arena_len = 0;
    udx->batch = batch;
  }
  if (batch->count > 0 && (batch->socket != socket || batch->count == UDX_BATCH_MAX ||
                           batch->bufs_len + bufs > UDX_BATCH_BUFS || batch->arena_len + UDX_ARENA_ITEM > UDX_BATCH_ARENA)) {
    udx__transmit_flush_batch(udx);
    if (socket->blocked) return 0;
  }
  batch->socket = socket;
  return 1;
}

static uint32_t
batch_add (struct udx_batch_s *batch, const udx_address_t *to, uint32_t bufs, uint32_t length, int ttl, uint8_t kind, void *object, uint32_t seq) {
  uint32_t i = batch->count++;
  udx_datagram_t *datagram = &batch->datagrams[i];
  datagram->to = &to->any;
  datagram->bufs = &batch->bufs[batch->bufs_len];
  datagram->bufs_len = bufs;
  datagram->length = length;
  datagram->ttl = (uint8_t) ttl;
  datagram->fragment = false;
  batch->bufs_len += bufs;
  batch->owners[i].kind = kind;
  batch->owners[i].object = object;
  batch->owners[i].seq = seq;
  return i;
}

static void
count_sent (udx_stream_t *stream, size_t size) {
  udx_t *udx = stream->udx;
  udx_socket_t *socket = stream->socket;
  stream->packets_tx++;
  socket->packets_tx++;
  udx->packets_tx++;
  stream->bytes_tx += size;
  socket->bytes_tx += size;
  udx->bytes_tx += size;
}

/* ---- what is owed ---- */

void
udx__mark_dirty (udx_socket_t *socket) {
  if (udx__list_empty(&socket->dirty)) udx__list_append(&socket->udx->dirty, &socket->dirty);
  udx__defer(socket->udx);
}

static void
owe (udx_stream_t *stream) {
  if (stream->socket == NULL) return;
  if (udx__list_empty(&stream->owing)) udx__list_append(&stream->socket->owing, &stream->owing);
  udx__mark_dirty(stream->socket);
}

void
udx__owe_ack (udx_stream_t *stream) {
  if (stream->ack.owed && !udx__list_empty(&stream->owing)) return;
  stream->ack.owed = 1;
  owe(stream);
}

void
udx__owe_heartbeat (udx_stream_t *stream) {
  stream->ack.heartbeat = 1;
  owe(stream);
}

void
udx__mark_ready (udx_stream_t *stream) {
  if (stream->socket == NULL || udx__stream_dead(stream) || stream->relay_to != NULL) return;
  if (UDX_UNLIKELY(stream->held) && stream->flight.lost.count > 0) udx__destination_skip(stream); /* repairs do not wait */
  if (udx__list_empty(&stream->ready)) udx__list_append(&stream->socket->ready, &stream->ready);
  udx__mark_dirty(stream->socket);
}

/* ---- data ---- */

/* Puts packet `seq`, which is in no list, into the batch. The room is there. */
static void
packet_send (udx_stream_t *stream, uint32_t seq, udx_packet_t *packet, uint32_t window) {
  udx_t *udx = stream->udx;
  struct udx_batch_s *batch = udx->batch;
  uint64_t now = udx->now;
  int is_new = packet->transmits == 0;

  const udx_address_t *to = &stream->remote;
  udx_header_t header = {
    .type = packet->type,
    .data_offset = packet->padding,
    .id = stream->remote_id,
    .window = window,
    .seq = seq,
    .ack = stream->ack.next,
  };
  if (UDX_UNLIKELY(stream->paths != NULL)) udx__path_for(stream, seq, &to, &header.id);

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
  }
  uint32_t size = UDX_HEADER_SIZE + (uint32_t) packet->length;
  uint32_t index = batch_add(batch, to, n, size + packet->padding, 0, OWNER_PACKET, stream, seq);
  if (UDX_UNLIKELY(packet->timeouts > 0) && udx__mtu_exceeds(stream, packet)) batch->datagrams[index].fragment = true;

  stream->congestion->sent(stream, udx__in_flight(stream), now);
  udx__rate_sent(stream, packet, now);
  packet->sent_at = now;
  if (packet->transmits < UINT8_MAX) packet->transmits++;
  udx__flight_append(stream, seq);
  udx__pacing_spend(stream, size);
  count_sent(stream, size);
  if (!is_new) {
    stream->retransmit_count++;
    udx->retransmits++;
  }
  udx__recovery_sent(stream, seq, is_new, now);
  /* it carries the acknowledgement too, unless ranges have to be reported */
  if (stream->reorder.count == 0) stream->ack.owed = stream->ack.pending = 0;
}

static int
packet_retransmit (udx_stream_t *stream, uint32_t window) {
  if (!batch_room(stream->socket, UDX_PIECES_MAX + 2)) return 0;
  uint32_t seq = stream->flight.lost.head;
  udx__lost_remove(stream, seq);
  packet_send(stream, seq, udx__packet_at(stream, seq), window);
  return 1;
}

static int
packet_new (udx_stream_t *stream, uint32_t window, int may_probe) {
  if (!batch_room(stream->socket, UDX_PIECES_MAX + 2)) return 0;
  udx_packet_t *packet = udx__flight_push(stream);
  if (packet == NULL) return 0;
  uint32_t seq = stream->flight.nxt - 1;
  if (!udx__queue_cut(stream, packet, udx__mtu_payload(stream))) {
    udx__flight_unpush(stream);
    return 0;
  }
  if (may_probe) udx__mtu_probe(stream, seq, packet);
  packet_send(stream, seq, packet, window);
  return 1;
}

/* Up to a quantum of one stream. 1 if it wants another turn. */
static int
transmit_stream (udx_stream_t *stream) {
  if (udx__stream_dead(stream) || !(stream->status & UDX_STREAM_CONNECTED)) return 0;
  uint64_t now = stream->udx->now;
  if (stream->flight.lost.count == 0 && !udx__queue_has_unsent(stream)) return 0;

  uint32_t allowed = udx__min_u32(stream->cwnd, udx__flow_packets(stream));
  uint32_t span = udx__flow_span(stream);
  uint32_t window = udx__flow_advertise(stream);
  /* who waits in line gets small turns: they are even, and packets of many streams share system calls anyway */
  int quantum = stream->destination != NULL && stream->destination->limits ? UDX_HELD_QUANTUM : UDX_QUANTUM;
  for (int i = 0; i < quantum; i++) {
    int lost = stream->flight.lost.count > 0;
    if (!lost && !udx__queue_has_unsent(stream)) {
      udx__rate_check_app_limited(stream);
      return 0;
    }
    if (UDX_UNLIKELY(stream->unproven.active) && !lost && stream->flight.nxt - stream->unproven.since >= UDX_UNPROVEN_PACKETS) return 0;
    uint32_t flying = udx__in_flight(stream);
    if (flying >= (lost ? stream->cwnd : allowed)) {
      stream->pacing.waiting = 0;
      if (flying == 0) udx__flow_rearm(stream, 1, now);
      return 0;
    }
    if (!lost && udx__flight_span(stream) >= span) return 0;
    /* repairs are what everything behind them waits for, and what was lost made room */
    if (!lost && udx__destination_hold(stream, now)) return 0;
    if (!udx__pacing_ready(stream, now)) {
      udx__pacing_wait(stream, now);
      return 0;
    }
    if (!(lost ? packet_retransmit(stream, window) : packet_new(stream, window, 1))) return stream->socket->blocked;
  }
  return 1;
}

int
udx__transmit_probe (udx_stream_t *stream, int new_data_only) {
  if (stream->socket == NULL) return 0;
  uint32_t window = udx__flow_advertise(stream);
  if (udx__queue_has_unsent(stream)) {
    udx__mark_dirty(stream->socket);
    return packet_new(stream, window, 0);
  }
  if (new_data_only || udx__flight_span(stream) == 0) return 0;
  uint32_t seq = stream->flight.nxt - 1;
  udx_packet_t *packet = udx__packet_at(stream, seq);
  if (packet->state != UDX_PACKET_FLYING) return 0;
  if (!batch_room(stream->socket, UDX_PIECES_MAX + 2)) return 0;
  udx__flight_remove(stream, seq);
  packet_send(stream, seq, packet, window);
  udx__mark_dirty(stream->socket);
  return 1;
}

/* ---- everything else ---- */

int
udx__transmit_control (udx_socket_t *socket, const udx_address_t *to, const uint8_t header[UDX_HEADER_SIZE]) {
  if (socket->controls_count >= UDX_CONTROLS_MAX) return UV_ENOBUFS;
  control_t *control = udx__pool_get(&socket->udx->controls);
  if (control == NULL) return UV_ENOMEM;
  control->to = *to;
  memcpy(control->header, header, UDX_HEADER_SIZE);
  udx__list_append(&socket->controls, &control->link);
  socket->controls_count++;
  udx__mark_dirty(socket);
  return 0;
}

void
udx__transmit_relay (udx_socket_t *socket, udx_stream_t *stream, uint8_t *data, size_t length) {
  if (!batch_room(socket, 1)) return; /* lost: the end points repair it */
  struct udx_batch_s *batch = socket->udx->batch;
  batch->bufs[batch->bufs_len].base = (char *) data;
  batch->bufs[batch->bufs_len].len = length;
  (void) batch_add(batch, &stream->remote, 1, (uint32_t) length, 0, OWNER_NONE, NULL, 0);
}

void
udx__controls_free (udx_socket_t *socket) {
  while (!udx__list_empty(&socket->controls)) {
    control_t *control = UDX__OWNER(control_t, link, socket->controls.next);
    udx__list_remove(&control->link);
    udx__pool_put(&socket->udx->controls, control);
  }
}

static void
transmit_controls (udx_socket_t *socket) {
  while (!udx__list_empty(&socket->controls) && batch_room(socket, 1)) {
    struct udx_batch_s *batch = socket->udx->batch;
    control_t *control = UDX__OWNER(control_t, link, socket->controls.next);
    udx__list_remove(&control->link);
    batch->bufs[batch->bufs_len].base = (char *) control->header;
    batch->bufs[batch->bufs_len].len = UDX_HEADER_SIZE;
    (void) batch_add(batch, &control->to, 1, UDX_HEADER_SIZE, 0, OWNER_CONTROL, control, 0);
    socket->packets_tx++;
    socket->udx->packets_tx++;
    socket->bytes_tx += UDX_HEADER_SIZE;
    socket->udx->bytes_tx += UDX_HEADER_SIZE;
  }
}

static void
transmit_sends (udx_socket_t *socket) {
  udx_link_t waiting;
  udx__list_take(&waiting, &socket->sends);
  while (!udx__list_empty(&waiting) && batch_room(socket, 2)) {
    struct udx_batch_s *batch = socket->udx->batch;
    udx_link_t *link = waiting.next;
    udx__list_remove(link);
    /* both kinds of request begin alike (checked in socket.c) */
    udx_socket_send_t *req = UDX__OWNER(udx_socket_send_t, link, link);
    if (req->kind == UDX_SEND_SOCKET) {
      batch->bufs[batch->bufs_len] = req->buf;
      (void) batch_add(batch, send_address(link), 1, (uint32_t) req->buf.len, req->ttl, OWNER_SEND, link, 0);
    } else {
      udx_stream_send_t *message = UDX__OWNER(udx_stream_send_t, link, link);
      udx_stream_t *stream = message->stream;
      udx_header_t header;
      udx__stream_header(stream, &header, UDX_HEADER_MESSAGE);
      uint8_t *head = batch->headers[batch->count];
      udx__header_encode(head, &header);
      batch->bufs[batch->bufs_len].base = (char *) head;
      batch->bufs[batch->bufs_len].len = UDX_HEADER_SIZE;
      batch->bufs[batch->bufs_len + 1] = message->buf;
      (void) batch_add(batch, &stream->remote, 2, (uint32_t) (UDX_HEADER_SIZE + message->buf.len), 0, OWNER_SEND, link, 0);
    }
  }
  /* what found no room waits behind what a full socket just gave back */
  while (!udx__list_empty(&waiting)) {
    udx_link_t *link = waiting.next;
    udx__list_remove(link);
    udx__list_append(&socket->sends, link);
  }
}

static void
transmit_owed (udx_socket_t *socket) {
  udx_link_t owing;
  udx__list_take(&owing, &socket->owing);
  while (!udx__list_empty(&owing)) {
    udx_stream_t *stream = UDX__OWNER(udx_stream_t, owing, owing.next);
    udx__list_remove(&stream->owing);
    if (udx__stream_dead(stream) || !(stream->status & UDX_STREAM_CONNECTED)) continue;
    if (stream->ack.owed) {
      if (!batch_room(socket, 2)) {
        udx__list_append(&socket->owing, &stream->owing);
        break;
      }
      struct udx_batch_s *batch = socket->udx->batch;
      uint32_t n = 1;
      uint32_t length = UDX_HEADER_SIZE;
      uint8_t type = 0;
      uint8_t *head = batch->headers[batch->count];
      batch->bufs[batch->bufs_len].base = (char *) head;
      batch->bufs[batch->bufs_len].len = UDX_HEADER_SIZE;
      if (stream->reorder.count > 0) {
        uint8_t *blocks = batch->arena + batch->arena_len;
        int count = udx__reorder_blocks(stream, blocks, UDX_SACK_BLOCKS_MAX);
        if (count > 0) {
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
      (void) batch_add(batch, &stream->remote, n, length, 0, OWNER_ACK, stream, 0);
      socket->udx->acks_tx++;
      count_sent(stream, length);
      if (stream->ack.early > 0 && stream->ack.pending >= UDX_ACK_EARLY_PACKETS) {
        /* one for all of a first flight: once more, in the same system call */
        stream->ack.early--;
        stream->ack.pending = 0;
        udx__list_append(&owing, &stream->owing);
        continue;
      }
      stream->ack.owed = stream->ack.pending = 0;
    }
    if (stream->ack.heartbeat) {
      if (!batch_room(socket, 1)) {
        udx__list_append(&socket->owing, &stream->owing);
        break;
      }
      struct udx_batch_s *batch = socket->udx->batch;
      uint8_t *head = batch->headers[batch->count];
      udx_header_t header;
      udx__stream_header(stream, &header, UDX_HEADER_HEARTBEAT);
      udx__header_encode(head, &header);
      batch->bufs[batch->bufs_len].base = (char *) head;
      batch->bufs[batch->bufs_len].len = UDX_HEADER_SIZE;
      (void) batch_add(batch, &stream->remote, 1, UDX_HEADER_SIZE, 0, OWNER_HEARTBEAT, stream, 0);
      stream->ack.heartbeat = 0;
      count_sent(stream, UDX_HEADER_SIZE);
    }
  }
  while (!udx__list_empty(&owing)) {
    udx_link_t *link = owing.next;
    udx__list_remove(link);
    udx__list_append(&socket->owing, link);
  }
}

/* Whose turn it is: those that waited for the budget of their destination first. NULL if nobody's. */
static udx_stream_t *
next_stream (udx_socket_t *socket) {
  if (socket->blocked) return NULL;
  while (!udx__list_empty(&socket->released)) {
    udx_destination_t *destination = UDX__OWNER(udx_destination_t, released, socket->released.next);
    udx_stream_t *stream = udx__destination_next(destination);
    if (stream != NULL) return stream;
    udx__list_remove(&destination->released);
  }
  if (udx__list_empty(&socket->ready)) return NULL;
  udx_stream_t *stream = UDX__OWNER(udx_stream_t, ready, socket->ready.next);
  udx__list_remove(&stream->ready);
  return stream;
}

void
udx__transmit_socket (udx_socket_t *socket) {
  if (socket->status & UDX_SOCKET_CLOSED || socket->blocked) return;
  socket->udx->now = socket->udx->driver->now(socket->udx);
  transmit_controls(socket);
  transmit_sends(socket);
  uint64_t sent = socket->packets_tx;
  udx_stream_t *stream;
  while ((stream = next_stream(socket)) != NULL) {
    if (socket->packets_tx - sent >= UDX_TURN_MAX) {
      udx__list_prepend(&socket->ready, &stream->ready);
      stream->pacing.at = socket->udx->now + UDX_TURN_GAP;
      stream->pacing.waiting = 1;
      udx__timer_at_most(stream, stream->pacing.at);
      break;
    }
    if (transmit_stream(stream) && udx__list_empty(&stream->ready)) udx__list_append(&socket->ready, &stream->ready);
  }
  transmit_owed(socket);
  udx__transmit_flush_batch(socket->udx);
}

void
udx__transmit_all (udx_t *udx) {
  while (!udx__list_empty(&udx->dirty)) {
    udx_socket_t *socket = UDX__OWNER(udx_socket_t, dirty, udx->dirty.next);
    udx__list_remove(&socket->dirty);
    udx__transmit_socket(socket);
  }
  udx__transmit_flush_batch(udx);
}
