/* The way in: datagrams, delivery in order, what the receiving side owes the peer. */
#ifndef UDX_ENGINE_RECEIVE_H
#define UDX_ENGINE_RECEIVE_H

#include "wire.h"

/* What a stream owes beside acknowledgements: the higher one counts. */
enum {
  UDX_HEARTBEAT_NONE = 0,
  UDX_HEARTBEAT_PLAIN,
  UDX_HEARTBEAT_ANSWERED, /* in the form that every version answers */
};

typedef struct udx_ack_state_s {
  uint32_t next;      /* next seq expected from the peer */
  uint32_t delivered; /* next seq to hand to the reader; behind `next` only while it pauses */
  uint32_t end_seq;   /* valid with ENDING_REMOTE */
  uint32_t end_told;  /* first seq of ours that carries the acknowledgement of it; valid with ENDED_REMOTE */
  uint8_t owed;
  uint8_t heartbeat; /* UDX_HEARTBEAT_*: owed */
  uint8_t paused;    /* the reader called read_stop */
  uint8_t early;     /* acknowledgements that are sent twice, see UDX_ACK_EARLY */
  uint16_t pending;  /* packets since the last one */
  uint8_t lossy;     /* packets came late, twice or with a gap before them */
} udx_ack_state_t;

void
udx__receive_datagram (udx_socket_t *socket, uint8_t *data, size_t length, const struct sockaddr *from);

/* Whether the firewall lets the packet go on, if it is to be asked: it says no or ends the stream. */
int
udx__receive_asks (
  udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, size_t length, const struct sockaddr *from);

/* Hands over what is in order. 0 if the stream closed meanwhile. */
int
udx__receive_deliver (udx_stream_t *stream);

#endif
