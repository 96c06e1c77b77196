/* Everything that leaves besides data. */
#ifndef UDX_ENGINE_TRANSMIT_CONTROL_H
#define UDX_ENGINE_TRANSMIT_CONTROL_H

#include "address.h"
#include "list.h"

/* A control packet that does not depend on the stream any more. */
int
udx__transmit_control (
  udx_socket_t *socket, const udx_address_t *to, uint8_t local, const uint8_t header[UDX_HEADER_SIZE]);

/* A DESTROY, which is sent once: it is queued however full the socket is. */
int
udx__transmit_reset (udx_stream_t *stream, const uint8_t header[UDX_HEADER_SIZE]);

void
udx__transmit_relay (udx_socket_t *socket, udx_stream_t *stream, uint8_t *data, size_t length);

/* Forgets queued control packets (the socket closes). */
void
udx__controls_free (udx_socket_t *socket);

/* The three put into the batch what is queued on the socket, as far as there is room. */
void
udx__transmit_controls (udx_socket_t *socket);

/* Messages of streams and datagrams of the application. */
void
udx__transmit_sends (udx_socket_t *socket);

/* Acknowledgements and heartbeats. Whether there are some that wait for the end of the turn. */
int
udx__transmit_owed (udx_socket_t *socket, int at_end);

#endif
