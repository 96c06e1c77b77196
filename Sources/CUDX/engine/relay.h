/* Relaying of packets between two streams. */
#ifndef UDX_ENGINE_RELAY_H
#define UDX_ENGINE_RELAY_H

#include "wire.h"

/* 0 if the stream closed. */
int
udx__relay_forward (udx_stream_t *stream, const udx_header_t *header, uint8_t *data, size_t length);

/* The stream closes: the streams that relay to it close, too. */
void
udx__relay_detach (udx_stream_t *stream);

#endif
