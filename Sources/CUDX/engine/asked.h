/* At which address of this host a remote has asked: its answer leaves from there. */
#ifndef UDX_ENGINE_ASKED_H
#define UDX_ENGINE_ASKED_H

#include "base.h"

/* A datagram came from `from` to the address `local`, as the driver counts them. */
void
udx__asked_note (udx_socket_t *socket, const struct sockaddr *from, uint8_t local);

/* What a datagram to `to` leaves from; 0 = as the system chooses. */
uint8_t
udx__asked_local (udx_socket_t *socket, const struct sockaddr *to);

void
udx__asked_free (udx_t *udx);

#endif
