/*
 * One batch of datagrams for one socket, on its way to the driver: filled by transmit.c (data) and
 * transmit_control.c (all the rest), handed over by batch.c. The two that run for every packet are inline.
 */
#ifndef UDX_BATCH_H
#define UDX_BATCH_H

#include "stream.h"

/* Whose datagram it is: what to put back if the driver does not take it. */
enum {
  UDX_OWNER_NONE = 0,
  UDX_OWNER_PACKET,
  UDX_OWNER_ACK,
  UDX_OWNER_HEARTBEAT,
  UDX_OWNER_CONTROL,
  UDX_OWNER_SEND,
};

typedef struct udx_batch_owner_s {
  void *object;
  uint32_t seq; /* of a packet; of a heartbeat its form */
  uint8_t kind;
} udx_batch_owner_t;

typedef struct udx_control_s {
  udx_link_t link;
  udx_address_t to;
  uint8_t local;
  uint8_t header[UDX_HEADER_SIZE];
} udx_control_t;

struct udx_batch_s {
  udx_socket_t *socket;
  uint32_t count;
  uint32_t bufs_len;
  uint32_t arena_len;
  udx_datagram_t datagrams[UDX_BATCH_MAX];
  udx_batch_owner_t owners[UDX_BATCH_MAX];
  uint8_t headers[UDX_BATCH_MAX][UDX_HEADER_SIZE];
  uv_buf_t bufs[UDX_BATCH_BUFS];
  uint8_t arena[UDX_BATCH_ARENA]; /* SACK blocks and packets of many pieces */
};

_Static_assert(UDX_ARENA_ITEM >= UDX_MTU_MAX && UDX_ARENA_ITEM >= 8 * UDX_SACK_BLOCKS_MAX, "one item fits");
_Static_assert(sizeof(udx_control_t) <= UDX_CONTROL_SIZE, "pool block");

/* Sends what is in the batch now (the buffers it refers to go away). */
void
udx__batch_flush (udx_t *udx);

/* The slow part of udx__batch_room: the first batch, or the current one is full or another socket's. */
int
udx__batch_renew (udx_socket_t *socket);

/* Room for one more datagram of up to `bufs` pieces, on this socket. 0 if the socket is full or memory is short. */
static inline int
udx__batch_room (udx_socket_t *socket, uint32_t bufs) {
  struct udx_batch_s *batch = udx__instance(socket->udx)->batch;
  if (udx__socket(socket)->blocked) return 0;
  if (batch != NULL && batch->socket == socket && batch->count < UDX_BATCH_MAX &&
      batch->bufs_len + bufs <= UDX_BATCH_BUFS && batch->arena_len + UDX_ARENA_ITEM <= UDX_BATCH_ARENA) {
    return 1;
  }
  return udx__batch_renew(socket);
}

static inline uint32_t
udx__batch_add (struct udx_batch_s *batch, const udx_address_t *to, uint32_t bufs, uint32_t length, int ttl,
  uint8_t local, uint8_t kind, void *object, uint32_t seq) {
  uint32_t i = batch->count++;
  udx_datagram_t *datagram = &batch->datagrams[i];
  datagram->to = &to->any;
  datagram->bufs = &batch->bufs[batch->bufs_len];
  datagram->bufs_len = bufs;
  datagram->length = length;
  datagram->ttl = (uint8_t) ttl;
  datagram->local = local;
  datagram->fragment = false;
  batch->bufs_len += bufs;
  batch->owners[i].kind = kind;
  batch->owners[i].object = object;
  batch->owners[i].seq = seq;
  return i;
}

static inline void
udx__count_sent (udx_stream_t *stream, size_t size) {
  udx_t *udx = stream->udx;
  udx_socket_t *socket = stream->socket;
  stream->packets_tx++;
  socket->packets_tx++;
  udx->packets_tx++;
  stream->bytes_tx += size;
  socket->bytes_tx += size;
  udx->bytes_tx += size;
}

/* It has not left after all. */
static inline void
udx__uncount_sent (udx_stream_t *stream, size_t size) {
  udx_t *udx = stream->udx;
  udx_socket_t *socket = stream->socket;
  UDX_ASSERT(stream->packets_tx > 0 && stream->bytes_tx >= size);
  stream->packets_tx--;
  socket->packets_tx--;
  udx->packets_tx--;
  stream->bytes_tx -= size;
  socket->bytes_tx -= size;
  udx->bytes_tx -= size;
}

#endif
