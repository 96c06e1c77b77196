/*
 * What the simulator's users need to know of the inside of a stream. No other file of simulator, fuzz targets and
 * conformance tests reads private fields.
 */
#ifndef UDX_SIM_INSIDE_H
#define UDX_SIM_INSIDE_H

#include "udx.h"

/* The oldest seq that is not acknowledged. */
uint32_t
inside_unacknowledged (udx_stream_t *stream);

/* The engine's invariants of one stream: aborts if one does not hold. */
void
inside_check_stream (udx_stream_t *stream);

/* The engine's invariants of what the streams of an instance share. */
void
inside_check_instance (const udx_t *udx);

#endif
