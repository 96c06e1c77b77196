/* Closed streams that still answer (TIME-WAIT). */
#ifndef UDX_ENGINE_TIME_WAIT_H
#define UDX_ENGINE_TIME_WAIT_H

#include "wire.h"

/* Remembers a closed stream, so that a late END or a lost DESTROY can be answered. */
void
udx__time_wait_add (udx_stream_t *stream, int destroyed);

/* 1 if the packet was answered for a closed stream. */
int
udx__time_wait_answer (udx_socket_t *socket, const udx_header_t *header, const struct sockaddr *from);

void
udx__time_wait_forget_socket (udx_t *udx, const udx_socket_t *socket);

void
udx__time_wait_free (udx_t *udx);

#endif
