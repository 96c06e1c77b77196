/* Round-trip time and retransmission timeout. */
#ifndef UDX_ENGINE_RTT_H
#define UDX_ENGINE_RTT_H

#include "windowed_filter.h"

typedef struct udx_rtt_s {
  uint32_t srtt; /* us, 0 = no sample yet */
  uint32_t var;
  uint32_t rto;
  uint32_t rto_min;
  uint32_t latest;
  udx_filter_t min;
} udx_rtt_t;

void
udx__rtt_init (udx_stream_t *stream);

void
udx__rtt_sample (udx_stream_t *stream, uint32_t rtt, uint64_t now);

/* us, UINT32_MAX before the first sample */
uint32_t
udx__rtt_min (const udx_stream_t *stream);

#endif
