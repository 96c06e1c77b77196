/* Delivery rate estimation (udx.md 4.2; draft-cheng-iccrg-delivery-rate-estimation). */
#include "rate_sample.h"

#include "rtt.h"
#include "stream.h"

static uint32_t
ago (uint64_t now, uint64_t then) {
  uint64_t d = now > then ? now - then : 0;
  return d > UINT32_MAX ? UINT32_MAX : (uint32_t) d;
}

void
udx__rate_sent (udx_stream_t *stream, udx_packet_t *packet, uint64_t now) {
  UDX_DEBUG_ASSERT(packet->state != UDX_PACKET_ACKED);
  udx_rate_t *rate = &udx__stream(stream)->rate;
  if (udx__in_flight(stream) == 0) rate->first_sent = rate->delivered_time = now;
  packet->first_sent_ago = ago(now, rate->first_sent);
  packet->delivered_ago = ago(now, rate->delivered_time);
  packet->delivered = rate->delivered;
  packet->app_limited = rate->app_limited != 0;
}

void
udx__rate_acked (udx_stream_t *stream, const udx_packet_t *packet, uint64_t now) {
  UDX_DEBUG_ASSERT(packet->sent_at <= now);
  udx_rate_t *rate = &udx__stream(stream)->rate;
  rate->delivered++;
  rate->acked++;
  rate->delivered_time = now;
  /* the packet sent last is the freshest information */
  if (!rate->has_prior || packet->sent_at > rate->prior_sent_at ||
      (packet->sent_at == rate->prior_sent_at && udx__seq_before(rate->prior_delivered, packet->delivered))) {
    rate->has_prior = 1;
    rate->prior_sent_at = packet->sent_at;
    rate->prior_delivered = packet->delivered;
    UDX_ASSERT(packet->sent_at >= packet->delivered_ago);
    rate->prior_time = packet->sent_at - packet->delivered_ago;
    rate->prior_app_limited = packet->app_limited;
    rate->send_interval = packet->first_sent_ago;
    rate->first_sent = packet->sent_at;
  }
  if (packet->transmits == 1 && (rate->rtt == UINT32_MAX || packet->sent_at >= rate->rtt_sent_at)) {
    rate->rtt = ago(now, packet->sent_at);
    rate->rtt_sent_at = packet->sent_at;
  }
}

void
udx__rate_finish (udx_stream_t *stream, udx_rate_sample_t *sample, uint64_t now) {
  udx_rate_t *rate = &udx__stream(stream)->rate;
  memset(sample, 0, sizeof(*sample));
  sample->now = now;
  sample->acked = rate->acked;
  sample->losses = rate->losses;
  sample->rtt = rate->rtt;
  sample->prior_in_flight = udx__in_flight(stream) + rate->acked + rate->losses;
  if (rate->app_limited && udx__seq_before(rate->app_limited, rate->delivered)) rate->app_limited = 0;
  if (rate->has_prior) {
    sample->prior_delivered = rate->prior_delivered;
    sample->app_limited = rate->prior_app_limited;
    uint32_t ack_interval = ago(now, rate->prior_time);
    uint32_t interval = udx__max_u32(ack_interval, rate->send_interval);
    /* shorter than any round trip: acknowledgements of a retransmission's original */
    if (interval > 0 && (udx__rtt_min(stream) == UINT32_MAX || interval >= udx__rtt_min(stream))) {
      sample->interval = interval;
      sample->delivered = rate->delivered - rate->prior_delivered;
      stream->rate_delivered = sample->delivered;
      stream->rate_interval_ms = (interval + UDX_MS - 1) / UDX_MS;
      stream->rate_sample_is_app_limited = sample->app_limited;
    }
  }
  UDX_ASSERT(sample->interval > 0 || sample->delivered == 0);
  UDX_ASSERT(sample->prior_in_flight >= sample->acked);
  rate->acked = 0;
  rate->losses = 0;
  rate->has_prior = 0;
  rate->rtt = UINT32_MAX;
  rate->ack_advanced = 0;
}

/* Nothing left to send, and room to send it: what is measured from now on is the application's rate. */
void
udx__rate_check_app_limited (udx_stream_t *stream) {
  if (udx__queue_has_unsent(stream) || udx__stream(stream)->flight.lost.count > 0) return;
  if (udx__in_flight(stream) >= stream->cwnd) return;
  uint32_t mark = udx__stream(stream)->rate.delivered + udx__in_flight(stream);
  udx__stream(stream)->rate.app_limited = mark == 0 ? 1 : mark;
}
