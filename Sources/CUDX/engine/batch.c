/*
 * The batch on its way to the driver: what it did not take goes back to where it came from, what it took is
 * counted and reported.
 */
#include "batch.h"

#include <stdlib.h>

#include "instance.h"
#include "list.h"
#include "packet.h"
#include "pool.h"
#include "socket.h"
#include "stream.h"
#include "transmit.h"
#include "trace/trace.h"

/* Puts back what the driver did not take, newest first, so that queues keep their order. */
static void
batch_return (udx_t *udx, udx_socket_t *socket, const udx_batch_owner_t *owner, uint32_t length) {
  switch (owner->kind) {
  case UDX_OWNER_PACKET: {
    udx_stream_t *stream = owner->object;
    udx_packet_t *packet = udx__packet_at(stream, owner->seq);
    size_t size = (size_t) packet->length + UDX_HEADER_SIZE;
    UDX_ASSERT(packet->state == UDX_PACKET_FLYING && packet->transmits > 0);
    if (packet->transmits > 1) {
      stream->retransmit_count--;
      udx->retransmits--;
    }
    packet->transmits--;
    udx__flight_remove(stream, owner->seq);
    udx__lost_insert(stream, owner->seq);
    udx__stream(stream)->pacing.credit += (int64_t) size;
    udx__unheard_return(stream);
    udx__uncount_sent(stream, size);
    udx__mark_ready(stream);
    break;
  }
  case UDX_OWNER_ACK:
    udx->acks_tx--;
    udx__uncount_sent(owner->object, length);
    udx__unheard_return(owner->object);
    udx__owe_ack(owner->object);
    break;
  case UDX_OWNER_HEARTBEAT:
    udx__uncount_sent(owner->object, length);
    udx__unheard_return(owner->object);
    udx__owe_heartbeat(owner->object, (uint8_t) owner->seq);
    break;
  case UDX_OWNER_CONTROL: {
    udx_control_t *control = owner->object;
    udx__list_prepend(&udx__socket(socket)->controls, &control->link);
    break;
  }
  case UDX_OWNER_SEND: {
    udx_send_state_t *send = owner->object;
    udx__list_remove(&send->link);
    udx__list_prepend(&udx__socket(socket)->sends, &send->link);
    break;
  }
  default:
    break;
  }
}

/* Of what counts once it has left: datagrams of the application, control packets, and packets that are relayed. */
static void
count_datagram (udx_t *udx, udx_socket_t *socket, uint32_t length) {
  socket->packets_tx++;
  udx->packets_tx++;
  socket->bytes_tx += length;
  udx->bytes_tx += length;
}

static void
batch_taken (udx_t *udx, udx_socket_t *socket, const udx_batch_owner_t *owner, uint32_t length) {
  if (owner->kind == UDX_OWNER_CONTROL) {
    UDX_ASSERT(udx__socket(socket)->controls_count > 0);
    udx__socket(socket)->controls_count--;
    count_datagram(udx, socket, length);
    udx__pool_put(&udx__instance(udx)->controls, owner->object);
  } else if (owner->kind == UDX_OWNER_SEND) {
    udx_send_state_t *send = owner->object;
    if (send->kind == UDX_SEND_STREAM) {
      udx_stream_t *stream = udx__send_stream(send)->stream;
      UDX_ASSERT(udx__stream(stream)->queue.messages > 0);
      udx__stream(stream)->queue.messages--;
      udx__count_sent(stream, length);
    } else {
      count_datagram(udx, socket, length);
    }
    UDX_ASSERT(udx__socket(socket)->sends_count > 0);
    udx__socket(socket)->sends_count--;
    udx__list_append(&udx__instance(udx)->send_done, &send->link);
  } else if (owner->kind == UDX_OWNER_NONE) {
    count_datagram(udx, socket, length);
  }
}

UDX_COLD static void
batch_trace (udx_socket_t *socket, const struct udx_batch_s *batch, uint32_t taken, uint32_t count, uint32_t joined) {
  udx__trace_batch_sent(socket, batch->datagrams, taken, count, joined);
  for (uint32_t i = 0; i < taken; i++) {
    const udx_batch_owner_t *owner = &batch->owners[i];
    udx_stream_t *stream = NULL;
    const udx_packet_t *packet = NULL;
    if (owner->kind == UDX_OWNER_SEND) {
      udx_send_state_t *send = owner->object;
      if (send->kind == UDX_SEND_SOCKET) {
        udx__trace_datagram_sent(socket, &batch->datagrams[i]);
        continue;
      }
      stream = udx__send_stream(send)->stream;
    } else if (owner->kind == UDX_OWNER_PACKET || owner->kind == UDX_OWNER_ACK || owner->kind == UDX_OWNER_HEARTBEAT) {
      stream = owner->object;
      if (owner->kind == UDX_OWNER_PACKET) packet = udx__packet_at(stream, owner->seq);
    }
    udx_trace_trigger_t trigger = owner->kind == UDX_OWNER_NONE ? UDX_TRACE_RELAYED : UDX_TRACE_NO_TRIGGER;
    udx__trace_packet_sent(socket, stream, packet, &batch->datagrams[i], trigger);
  }
}

void
udx__batch_flush (udx_t *udx) {
  struct udx_batch_s *batch = udx__instance(udx)->batch;
  if (batch == NULL || batch->count == 0) return;
  udx_socket_t *socket = batch->socket;
  uint32_t count = batch->count;
  UDX_ASSERT(batch->arena_len <= UDX_BATCH_ARENA);
  UDX_ASSERT(count <= UDX_BATCH_MAX && batch->bufs_len <= UDX_BATCH_BUFS);
  batch->count = 0;
  batch->bufs_len = 0;
  batch->arena_len = 0;

  uint32_t taken = 0;
  uint64_t joined = udx->gso_datagrams - udx->gso_batches; /* system messages that segmentation saved */
  if (!udx__socket(socket)->blocked) {
    udx->transmit_calls++;
    taken = udx__instance(udx)->driver->transmit(udx, socket, batch->datagrams, count);
    UDX_ASSERT(taken <= count);
    if (taken < count) udx__socket(socket)->blocked = 1;
  }
  if (UDX_UNLIKELY(udx__instance(udx)->on_trace != NULL))
    batch_trace(socket, batch, taken, count, (uint32_t) (udx->gso_datagrams - udx->gso_batches - joined));
  for (uint32_t i = 0; i < taken; i++) batch_taken(udx, socket, &batch->owners[i], batch->datagrams[i].length);
  for (uint32_t i = count; i-- > taken;) batch_return(udx, socket, &batch->owners[i], batch->datagrams[i].length);
}

int
udx__batch_renew (udx_socket_t *socket) {
  udx_t *udx = socket->udx;
  struct udx_batch_s *batch = udx__instance(udx)->batch;
  if (batch == NULL) {
    batch = malloc(sizeof(*batch));
    if (batch == NULL) return 0;
    batch->count = batch->bufs_len = batch->arena_len = 0;
    udx__instance(udx)->batch = batch;
  } else if (batch->count > 0) {
    udx__batch_flush(udx);
    if (udx__socket(socket)->blocked) return 0;
  }
  UDX_ASSERT(batch->count == 0 && batch->bufs_len == 0);
  batch->socket = socket;
  return 1;
}
