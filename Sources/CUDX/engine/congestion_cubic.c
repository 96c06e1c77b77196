/* CUBIC (RFC 9438) behind the same interface: window-based, paced at 1.25 cwnd per round trip (2 in slow start). */
#include "congestion_cubic.h"

#include "pacing.h"
#include "stream.h"

#define CUBIC_C 0.4
#define CUBIC_BETA 0.7

/* Cube root by Newton's method; keeps libm out. */
static double
cube_root (double x) {
  if (x <= 0) return 0;
  double r = x > 1 ? x : 1;
  for (int i = 0; i < 60; i++) {
    double next = (2 * r + x / (r * r)) / 3;
    if (next >= r) break;
    r = next;
  }
  UDX_ASSERT(r > 0);
  return r;
}

static void
cubic_pace (udx_stream_t *stream) {
  UDX_ASSERT(stream->cwnd >= 1);
  double rtt = udx__stream(stream)->rtt.srtt > 0 ? (double) udx__max_u32(udx__stream(stream)->rtt.srtt, 100) : UDX_MS;
  double gain = stream->cwnd < stream->ssthresh ? 2 : 1.25;
  double bytes = (double) stream->cwnd * (udx__mtu_payload(stream) + UDX_HEADER_SIZE);
  udx__pacing_set_rate(stream, bytes * gain * UDX_SECOND / rtt);
}

static void
cubic_init (udx_stream_t *stream) {
  memset(&udx__stream(stream)->cubic, 0, sizeof(udx__stream(stream)->cubic));
  stream->cwnd = UDX_CWND_INITIAL;
  stream->ssthresh = UDX_SSTHRESH_INITIAL;
  cubic_pace(stream);
}

static void
cubic_sent (udx_stream_t *stream, uint32_t in_flight, uint64_t now) {
  /* after a pause the epoch starts anew: growth is for time in use only */
  if (in_flight == 0 && udx__stream(stream)->cubic.epoch_start > 0 && udx__stream(stream)->rate.app_limited)
    udx__stream(stream)->cubic.epoch_start = now;
}

static void
cubic_acked (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  udx_cubic_t *cubic = &udx__stream(stream)->cubic;
  uint32_t acked = sample->acked;
  if (acked > 0 && udx__stream(stream)->recovery.state != UDX_RECOVERY_FAST) {
    int limited = sample->prior_in_flight * 2 >= stream->cwnd;
    if (stream->cwnd < stream->ssthresh) {
      if (limited) stream->cwnd += acked;
    } else if (limited) {
      double cwnd = stream->cwnd;
      if (cubic->epoch_start == 0) {
        cubic->epoch_start = sample->now;
        if (cubic->w_max < cwnd) {
          cubic->w_max = cwnd;
          cubic->k = 0;
        } else {
          cubic->k = cube_root((cubic->w_max - cwnd) / CUBIC_C);
        }
        cubic->w_est = cwnd;
      }
      double t = (double) (sample->now - cubic->epoch_start + udx__stream(stream)->rtt.srtt) / UDX_SECOND - cubic->k;
      double target = cubic->w_max + CUBIC_C * t * t * t;
      if (target < cwnd) target = cwnd;
      if (target > 1.5 * cwnd) target = 1.5 * cwnd;
      double alpha = cubic->w_est < cubic->w_max ? 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA) : 1;
      cubic->w_est += alpha * acked / cwnd;
      if (target < cubic->w_est) target = cubic->w_est;
      cubic->fraction += (target - cwnd) / cwnd * acked;
      if (cubic->fraction >= 1) {
        uint32_t whole = (uint32_t) cubic->fraction;
        stream->cwnd += whole;
        cubic->fraction -= whole;
      }
    }
    stream->cwnd = udx__min_u32(stream->cwnd, UDX_CWND_MAX);
  }
  UDX_ASSERT(stream->cwnd >= 1 && stream->cwnd <= UDX_CWND_MAX);
  cubic_pace(stream);
}

static void
cubic_reduce (udx_stream_t *stream) {
  udx_cubic_t *cubic = &udx__stream(stream)->cubic;
  double cwnd = stream->cwnd;
  cubic->w_max = cwnd < cubic->w_max ? cwnd * (1 + CUBIC_BETA) / 2 : cwnd;
  cubic->epoch_start = 0;
  cubic->fraction = 0;
  stream->ssthresh = udx__max_u32((uint32_t) (cwnd * CUBIC_BETA), UDX_CWND_MIN);
  UDX_ASSERT(stream->ssthresh >= UDX_CWND_MIN);
}

static void
cubic_recovery (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->recovery.state == UDX_RECOVERY_FAST);
  (void) now;
  cubic_reduce(stream);
  stream->cwnd = stream->ssthresh;
  cubic_pace(stream);
}

static void
cubic_recovered (udx_stream_t *stream, uint64_t now) {
  (void) now;
  cubic_pace(stream);
}

static void
cubic_timeout (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->recovery.state == UDX_RECOVERY_LOSS);
  (void) now;
  if (udx__stream(stream)->recovery.backoff <= 1) cubic_reduce(stream);
  stream->cwnd = udx__max_u32(udx__in_flight(stream) + 1, 1);
  cubic_pace(stream);
}

static double
cubic_bandwidth (const udx_stream_t *stream) {
  return udx__stream(stream)->rtt.srtt > 0 ? (double) stream->cwnd * UDX_SECOND / udx__stream(stream)->rtt.srtt : 0;
}

const udx_congestion_ops_t udx__congestion_cubic = {
  .init = cubic_init,
  .sent = cubic_sent,
  .acked = cubic_acked,
  .recovery = cubic_recovery,
  .recovered = cubic_recovered,
  .timeout = cubic_timeout,
  .bandwidth = cubic_bandwidth,
};
