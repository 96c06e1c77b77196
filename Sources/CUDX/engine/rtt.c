/* Round-trip time and retransmission timeout (udx.md 3.4), in microseconds. */
#include "rtt.h"

#include "stream.h"
#include "windowed_filter.h"

static void
rtt_publish (udx_stream_t *stream) {
  UDX_ASSERT(udx__stream(stream)->rtt.rto <= UDX_RTO_MAX);
  /* whole milliseconds, rounded up: 0 keeps meaning "no sample" */
  stream->srtt = (udx__stream(stream)->rtt.srtt + UDX_MS - 1) / UDX_MS;
  stream->rto = (udx__stream(stream)->rtt.rto + UDX_MS - 1) / UDX_MS;
}

void
udx__rtt_init (udx_stream_t *stream) {
  udx__stream(stream)->rtt.srtt = 0;
  udx__stream(stream)->rtt.var = 0;
  udx__stream(stream)->rtt.latest = 0;
  udx__stream(stream)->rtt.rto = UDX_RTO_INITIAL;
  udx__stream(stream)->rtt.rto_min = UDX_RTO_MIN;
  udx__filter_reset(&udx__stream(stream)->rtt.min, 0, (double) UINT32_MAX);
  rtt_publish(stream);
}

uint32_t
udx__rtt_min (const udx_stream_t *stream) {
  return (uint32_t) udx__filter_get(&udx__stream(stream)->rtt.min);
}

void
udx__rtt_sample (udx_stream_t *stream, uint32_t rtt, uint64_t now) {
  udx_rtt_t *r = &udx__stream(stream)->rtt;
  UDX_ASSERT(r->rto_min >= UDX_RTO_MIN && r->rto_min <= UDX_RTO_MIN_MAX);
  if (rtt == 0) rtt = 1;
  if (r->srtt == 0) {
    rtt = udx__min_u32(rtt, UDX_RTT_CAP);
    r->srtt = rtt;
    r->var = rtt / 2;
  } else {
    /* a machine that slept must not poison the estimate */
    uint64_t bound = r->srtt + 5 * (uint64_t) r->var;
    if (rtt > UDX_RTT_OUTLIER && rtt > bound) rtt = (uint32_t) udx__min_u64(bound, UDX_RTT_CAP);
    uint32_t delta = rtt > r->srtt ? rtt - r->srtt : r->srtt - rtt;
    r->var = (uint32_t) ((3 * (uint64_t) r->var + delta) / 4);
    r->srtt = (uint32_t) ((7 * (uint64_t) r->srtt + rtt) / 8);
    if (r->srtt == 0) r->srtt = 1;
  }
  r->latest = rtt;
  (void) udx__filter_min(&r->min, UDX_RTT_MIN_WINDOW, now, (double) rtt);
  uint64_t rto = r->srtt + udx__max_u64(4 * (uint64_t) r->var, UDX_MS);
  rto = udx__max_u64(rto, r->rto_min);
  r->rto = (uint32_t) udx__min_u64(rto, UDX_RTO_MAX);
  UDX_ASSERT(r->rto >= r->rto_min && r->rto <= UDX_RTO_MAX);
  UDX_ASSERT(r->srtt > 0);
  rtt_publish(stream);
}
