/* State of a stream that the conformance tests look at: fields that libudx has as well. No other file names them. */
#ifndef UDX_CONFORM_INSPECT_H
#define UDX_CONFORM_INSPECT_H

#include <udx.h>

static inline uint32_t
stream_rto (const udx_stream_t *s) {
  return s->rto;
}

static inline uint32_t
stream_srtt (const udx_stream_t *s) {
  return s->srtt;
}

static inline uint32_t
stream_rto_count (const udx_stream_t *s) {
  return s->rto_count;
}

static inline uint16_t
stream_recovery_count (const udx_stream_t *s) {
  return (uint16_t) s->fast_recovery_count;
}

static inline uint32_t
stream_zero_window_probes (const udx_stream_t *s) {
  return (uint32_t) s->zwp_count;
}

static inline uint32_t
stream_cwnd (const udx_stream_t *s) {
  return s->cwnd;
}

static inline size_t
stream_inflight (const udx_stream_t *s) {
  return s->inflight;
}

static inline uint32_t
stream_mtu (const udx_stream_t *s) {
  return s->mtu;
}

static inline int
stream_bbr_state (const udx_stream_t *s) {
  return (int) s->bbr.state;
}

#endif
