/* The interface of congestion controllers. */
#ifndef UDX_ENGINE_CONGESTION_H
#define UDX_ENGINE_CONGESTION_H

#include "rate_sample.h"

typedef struct udx_congestion_ops_s udx_congestion_ops_t;

struct udx_congestion_ops_s {
  void (*init)(udx_stream_t *stream);
  /* Before a transmission; in_flight counts packets. */
  void (*sent)(udx_stream_t *stream, uint32_t in_flight, uint64_t now);
  void (*acked)(udx_stream_t *stream, const udx_rate_sample_t *sample);
  void (*recovery)(udx_stream_t *stream, uint64_t now); /* entering fast recovery */
  void (*recovered)(udx_stream_t *stream, uint64_t now);
  void (*timeout)(udx_stream_t *stream, uint64_t now);
  double (*bandwidth)(const udx_stream_t *stream); /* packets per second */
};

extern const udx_congestion_ops_t udx__congestion_bbr;
extern const udx_congestion_ops_t udx__congestion_cubic;

#endif
