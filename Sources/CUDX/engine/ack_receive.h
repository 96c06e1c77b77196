/* What a packet's ack, window and SACK fields do to the sender. */
#ifndef UDX_ENGINE_ACK_RECEIVE_H
#define UDX_ENGINE_ACK_RECEIVE_H

#include "wire.h"

/* The packet came to `socket`. 0 if the stream closed meanwhile. */
int
udx__ack_process (
  udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, const uint8_t *sack, size_t sack_length);

#endif
