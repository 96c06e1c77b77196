/* The way out: what may leave in a turn. */
#ifndef UDX_ENGINE_TRANSMIT_H
#define UDX_ENGINE_TRANSMIT_H

#include "base.h"

/* The stream owes the peer an acknowledgement. */
void
udx__owe_ack (udx_stream_t *stream);

void
udx__owe_heartbeat (udx_stream_t *stream, uint8_t form);

/* The stream may have data to send. */
void
udx__mark_ready (udx_stream_t *stream);

void
udx__mark_dirty (udx_socket_t *socket);

/*
 * Sends whatever may leave. Calls no application code. Before the end of the turn a stream that owes nothing but the
 * acknowledgement of one packet keeps it: what the application has to say to that packet may carry it.
 */
void
udx__transmit_all (udx_t *udx, int at_end);

/* The same of one socket. Whether acknowledgements wait for the end of the turn. */
int
udx__transmit_socket (udx_socket_t *socket, int at_end);

/* One tail-loss probe, past all limits but a closed window and that of a claimed remote. 0 if nothing was sent. */
int
udx__transmit_probe (udx_stream_t *stream);

#endif
