/* Settings and measurements of a stream, its callbacks, reading on and off. */
#include "flow_control.h"
#include "recovery.h"
#include "rtt.h"
#include "sources.h"
#include "stream.h"

int
udx_stream_get_mtu (udx_stream_t *stream, uint16_t *mtu) {
  *mtu = stream->mtu;
  return 0;
}

int
udx_stream_get_seq (udx_stream_t *stream, uint32_t *seq) {
  *seq = udx__stream(stream)->flight.nxt;
  return 0;
}

int
udx_stream_set_seq (udx_stream_t *stream, uint32_t seq) {
  if (udx__flight_span(stream) > 0) return UV_EBUSY;
  UDX_ASSERT(udx__in_flight(stream) == 0);
  udx__stream(stream)->flight.nxt = udx__stream(stream)->flight.una = seq;
  udx__stream(stream)->flow.wl_ack = seq;
  udx__recovery_init(stream);
  return 0;
}

int
udx_stream_get_ack (udx_stream_t *stream, uint32_t *ack) {
  *ack = udx__stream(stream)->ack.next;
  return 0;
}

int
udx_stream_set_ack (udx_stream_t *stream, uint32_t ack) {
  if (udx__stream(stream)->reorder.count > 0) return UV_EBUSY;
  udx__stream(stream)->ack.next = udx__stream(stream)->ack.delivered = ack;
  udx__stream(stream)->flow.wl_seq = ack;
  return 0;
}

int
udx_stream_set_keepalive (udx_stream_t *stream, uint32_t keepalive_timeout_ms) {
  udx__stream(stream)->flow.keepalive = keepalive_timeout_ms;
  udx__stream(stream)->flow.keepalive_at = UDX_NEVER;
  /* those of a closed window do not depend on it, and go on */
  if (udx__stream(stream)->flow.probe_at == UDX_NEVER) udx__stream(stream)->flow.silent_probes = 0;
  if (stream->status & UDX_STREAM_CONNECTED) {
    udx__flow_rearm(stream, 0, udx__instance(stream->udx)->driver->now(stream->udx));
    udx__defer(stream->udx);
  }
  return 0;
}

int
udx_stream_get_bw (udx_stream_t *stream, uint64_t *bw_bytes_per_sec_out) {
  double packets = udx__stream(stream)->congestion->bandwidth(stream);
  *bw_bytes_per_sec_out = (uint64_t) (packets * udx__mtu_payload(stream));
  return 0;
}

int
udx_stream_get_min_rtt (udx_stream_t *stream, uint32_t *min_rtt_ms_out) {
  *min_rtt_ms_out = udx_rtt_min(stream);
  return 0;
}

uint32_t
udx_rtt_min (udx_stream_t *stream) {
  uint32_t rtt = udx__rtt_min(stream);
  return rtt == UINT32_MAX ? UINT32_MAX : (rtt + UDX_MS - 1) / UDX_MS;
}

int
udx_stream_get_rwnd_max (udx_stream_t *stream, uint32_t *rwnd_max) {
  *rwnd_max = udx__stream(stream)->flow.window_max;
  return 0;
}

int
udx_stream_set_rwnd_max (udx_stream_t *stream, uint32_t rwnd_max) {
  udx__stream(stream)->flow.window_max = stream->recv_rwnd_max = rwnd_max;
  return 0;
}

int
udx_stream_set_reorder_max (udx_stream_t *stream, uint32_t bytes) {
  uint32_t kibibytes = bytes / 1024 + (bytes % 1024 != 0);
  udx__stream(stream)->reorder.limit = (uint16_t) (kibibytes > UINT16_MAX ? UINT16_MAX : kibibytes);
  return 0;
}

int
udx_stream_window_changed (udx_stream_t *stream) {
  udx__flow_reopen(stream);
  return 0;
}

int
udx_stream_set_congestion (udx_stream_t *stream, udx_congestion_t congestion) {
  if (udx__flight_span(stream) > 0) return UV_EBUSY;
  switch (congestion) {
  case UDX_CONGESTION_BBR:
    udx__stream(stream)->congestion = &udx__congestion_bbr;
    break;
  case UDX_CONGESTION_CUBIC:
    udx__stream(stream)->congestion = &udx__congestion_cubic;
    break;
  default:
    return UV_EINVAL;
  }
  udx__stream(stream)->congestion->init(stream);
  return 0;
}

int
udx_stream_firewall (udx_stream_t *stream, udx_stream_firewall_cb firewall_cb) {
  udx__stream(stream)->on_firewall = firewall_cb;
  return 0;
}

int
udx_stream_firewall_sources (udx_stream_t *stream, int enabled) {
  if (enabled) udx__stream(stream)->guards |= UDX_GUARD_FIREWALL;
  else udx__stream(stream)->guards &= (uint8_t) ~UDX_GUARD_FIREWALL;
  return 0;
}

int
udx_stream_recv_start (udx_stream_t *stream, udx_stream_recv_cb cb) {
  if (stream->status & UDX_STREAM_RECEIVING) return UV_EALREADY;
  udx__stream(stream)->on_recv = cb;
  stream->status |= UDX_STREAM_RECEIVING;
  return 0;
}

int
udx_stream_recv_stop (udx_stream_t *stream) {
  udx__stream(stream)->on_recv = NULL;
  stream->status &= ~UDX_STREAM_RECEIVING;
  return 0;
}

int
udx_stream_read_start (udx_stream_t *stream, udx_stream_read_cb cb) {
  if (stream->status & UDX_STREAM_READING) return UV_EALREADY;
  udx__stream(stream)->on_read = cb;
  stream->status |= UDX_STREAM_READING;
  if (udx__stream(stream)->ack.paused) {
    udx__stream(stream)->ack.paused = 0;
    if (udx__stream(stream)->sources != NULL) udx__stream(stream)->sources->retry = 1;
    /* what was kept is handed over at the end of this turn, not inside this call; a closed stream has kept nothing */
    if (stream->status & UDX_STREAM_CLOSED) return 0;
    udx__stream_touch(stream);
    udx__defer(stream->udx);
  }
  return 0;
}

int
udx_stream_read_stop (udx_stream_t *stream) {
  if (stream->status & UDX_STREAM_READING) udx__stream(stream)->ack.paused = 1;
  stream->status &= ~UDX_STREAM_READING;
  return 0;
}
