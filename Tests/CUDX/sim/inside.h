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

/* Counters against the lists that they count, for one stream. */
void
inside_check_stream (udx_stream_t *stream);

/* The heap order of the instance's timers. */
void
inside_check_timers (const udx_t *udx);

#endif
