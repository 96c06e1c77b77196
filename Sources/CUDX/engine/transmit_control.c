/*
 * Everything that leaves besides data: control packets, relayed ones, messages and datagrams of the application,
 * acknowledgements that no data packet carried, heartbeats.
 */
#include "batch.h"

static const udx_address_t *
send_address (const udx_link_t *link) {
  return &UDX__OWNER(udx_socket_send_t, link, link)->to;
}

int
udx__transmit_control (udx_socket_t *socket, const udx_address_t *to, const uint8_t header[UDX_HEADER_SIZE]) {
  if (socket->controls_count >= UDX_CONTROLS_MAX) return UV_ENOBUFS;
  udx_control_t *control = udx__pool_get(&socket->udx->controls);
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
  if (!udx__batch_room(socket, 1)) return; /* lost: the end points repair it */
  struct udx_batch_s *batch = socket->udx->batch;
  batch->bufs[batch->bufs_len].base = (char *) data;
  batch->bufs[batch->bufs_len].len = length;
  (void) udx__batch_add(batch, &stream->remote, 1, (uint32_t) length, 0, UDX_OWNER_NONE, NULL, 0);
}

void
udx__controls_free (udx_socket_t *socket) {
  while (!udx__list_empty(&socket->controls)) {
    udx_control_t *control = UDX__OWNER(udx_control_t, link, socket->controls.next);
    udx__list_remove(&control->link);
    udx__pool_put(&socket->udx->controls, control);
  }
}

void
udx__transmit_controls (udx_socket_t *socket) {
  while (!udx__list_empty(&socket->controls) && udx__batch_room(socket, 1)) {
    struct udx_batch_s *batch = socket->udx->batch;
    udx_control_t *control = UDX__OWNER(udx_control_t, link, socket->controls.next);
    udx__list_remove(&control->link);
    batch->bufs[batch->bufs_len].base = (char *) control->header;
    batch->bufs[batch->bufs_len].len = UDX_HEADER_SIZE;
    (void) udx__batch_add(batch, &control->to, 1, UDX_HEADER_SIZE, 0, UDX_OWNER_CONTROL, control, 0);
    socket->packets_tx++;
    socket->udx->packets_tx++;
    socket->bytes_tx += UDX_HEADER_SIZE;
    socket->udx->bytes_tx += UDX_HEADER_SIZE;
  }
}

void
udx__transmit_sends (udx_socket_t *socket) {
  udx_link_t waiting;
  udx__list_take(&waiting, &socket->sends);
  while (!udx__list_empty(&waiting) && udx__batch_room(socket, 2)) {
    struct udx_batch_s *batch = socket->udx->batch;
    udx_link_t *link = waiting.next;
    udx__list_remove(link);
    /* both kinds of request begin alike (checked in socket.c) */
    udx_socket_send_t *req = UDX__OWNER(udx_socket_send_t, link, link);
    if (req->kind == UDX_SEND_SOCKET) {
      batch->bufs[batch->bufs_len] = req->buf;
      (void) udx__batch_add(batch, send_address(link), 1, (uint32_t) req->buf.len, req->ttl, UDX_OWNER_SEND, link, 0);
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
      (void) udx__batch_add(batch, &stream->remote, 2, (uint32_t) (UDX_HEADER_SIZE + message->buf.len), 0, UDX_OWNER_SEND, link, 0);
    }
  }
  /* what found no room waits behind what a full socket just gave back */
  while (!udx__list_empty(&waiting)) {
    udx_link_t *link = waiting.next;
    udx__list_remove(link);
    udx__list_append(&socket->sends, link);
  }
}

/* 1 if the stream owes one more, 0 if not, -1 if there is no room. */
static int
transmit_ack (udx_socket_t *socket, udx_stream_t *stream) {
  if (!udx__batch_room(socket, 2)) return -1;
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
  (void) udx__batch_add(batch, &stream->remote, n, length, 0, UDX_OWNER_ACK, stream, 0);
  socket->udx->acks_tx++;
  udx__count_sent(stream, length);
  if (stream->ack.early > 0 && stream->ack.pending >= UDX_ACK_EARLY_PACKETS) {
    /* one for all of a first flight: once more, in the same system call */
    stream->ack.early--;
    stream->ack.pending = 0;
    return 1;
  }
  stream->ack.owed = stream->ack.pending = 0;
  return 0;
}

/* 0, or -1 if there is no room. */
static int
transmit_heartbeat (udx_socket_t *socket, udx_stream_t *stream) {
  if (!udx__batch_room(socket, 1)) return -1;
  struct udx_batch_s *batch = socket->udx->batch;
  uint8_t *head = batch->headers[batch->count];
  udx_header_t header;
  udx__stream_header(stream, &header, UDX_HEADER_HEARTBEAT);
  udx__header_encode(head, &header);
  batch->bufs[batch->bufs_len].base = (char *) head;
  batch->bufs[batch->bufs_len].len = UDX_HEADER_SIZE;
  (void) udx__batch_add(batch, &stream->remote, 1, UDX_HEADER_SIZE, 0, UDX_OWNER_HEARTBEAT, stream, 0);
  stream->ack.heartbeat = 0;
  udx__count_sent(stream, UDX_HEADER_SIZE);
  return 0;
}

void
udx__transmit_owed (udx_socket_t *socket) {
  udx_link_t owing;
  udx__list_take(&owing, &socket->owing);
  while (!udx__list_empty(&owing)) {
    udx_stream_t *stream = UDX__OWNER(udx_stream_t, owing, owing.next);
    udx__list_remove(&stream->owing);
    if (udx__stream_dead(stream) || !(stream->status & UDX_STREAM_CONNECTED)) continue;
    int more = stream->ack.owed ? transmit_ack(socket, stream) : 0;
    if (more > 0) {
      udx__list_append(&owing, &stream->owing);
      continue;
    }
    if (more < 0 || (stream->ack.heartbeat && transmit_heartbeat(socket, stream) < 0)) {
      udx__list_append(&socket->owing, &stream->owing);
      break;
    }
  }
  while (!udx__list_empty(&owing)) {
    udx_link_t *link = owing.next;
    udx__list_remove(link);
    udx__list_append(&socket->owing, link);
  }
}
