/*
 * BBR version 1 as in udx.md 4, in packets and microseconds, with the reference's defects repaired (udx.md 10): cwnd is
 * saved when recovery begins and restored when it ends, and falls to what is in flight on a timeout; cwnd gives way to
 * loss only if a round loses a considerable share, for random loss would end STARTUP at a fraction of the bandwidth;
 * pacing has no floor of a packet per millisecond; the phase of PROBE_BW is random; and the allowance for batched
 * acknowledgements follows the size of the bursts that are sent.
 */
#include "congestion_bbr.h"

#include "instance.h"
#include "pacing.h"
#include "stream.h"
#include "windowed_filter.h"

#define BBR_HIGH_GAIN 2.88539
#define BBR_CWND_GAIN 2.0
#define BBR_PACING_MARGIN 0.99
#define BBR_BANDWIDTH_ROUNDS 10
#define BBR_CYCLE 8
#define BBR_MIN_RTT_WINDOW (10 * (uint64_t) UDX_SECOND)
#define BBR_PROBE_RTT_TIME (200 * UDX_MS)
#define BBR_FULL_GAIN 1.25
#define BBR_FULL_ROUNDS 3
#define BBR_EXTRA_ROUNDS 5
#define BBR_LOSS_TOLERATED 0.1 /* of a round's packets: not taken for congestion */
#define BBR_EXTRA_TIME 0.1     /* seconds of bandwidth */

static const double bbr_cycle_gain[BBR_CYCLE] = {1.25, 0.75, 1, 1, 1, 1, 1, 1};

static double
bbr_bandwidth (const udx_stream_t *stream) {
  return udx__filter_get(&udx__stream(stream)->bbr.bandwidth);
}

static uint32_t
bbr_clamp (double packets) {
  UDX_ASSERT(packets >= 0);
  return packets > (double) UDX_CWND_MAX ? UDX_CWND_MAX : (uint32_t) packets;
}

static uint32_t
bbr_bdp (const udx_stream_t *stream, double gain) {
  const udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  if (bbr->min_rtt == UINT32_MAX) return UDX_CWND_INITIAL;
  double rtt = (double) udx__max_u32(bbr->min_rtt, UDX_MIN_RTT_FLOOR);
  return bbr_clamp(bbr_bandwidth(stream) * rtt * gain / (double) UDX_SECOND);
}

/* What is needed to keep bursts of the pacer and batches of the driver in flight. */
static uint32_t
bbr_with_budget (const udx_stream_t *stream, uint32_t cwnd) {
  uint64_t burst =
    udx__stream(stream)->pacing.rate / (UDX_SECOND / UDX_PACING_BURST) / (udx__mtu_payload(stream) + UDX_HEADER_SIZE);
  uint32_t quantum = (uint32_t) udx__min_u64(burst, UDX_QUANTUM);
  cwnd += 3 * quantum;
  cwnd = (cwnd + 1) & ~1u;
  if (stream->bbr.state == UDX_BBR_STATE_PROBE_BW && udx__stream(stream)->bbr.cycle_index == 0) cwnd += 2;
  return cwnd;
}

static void
bbr_set_pacing (udx_stream_t *stream, double bandwidth, double gain) {
  UDX_ASSERT(gain > 0 && bandwidth >= 0);
  double rate = bandwidth * (udx__mtu_payload(stream) + UDX_HEADER_SIZE) * gain * BBR_PACING_MARGIN;
  if (udx__stream(stream)->bbr.full_reached || rate > (double) udx__stream(stream)->pacing.rate)
    udx__pacing_set_rate(stream, rate);
}

static void
bbr_init_pacing (udx_stream_t *stream) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  double rtt = UDX_MS;
  if (udx__stream(stream)->rtt.srtt > 0) {
    rtt = (double) udx__max_u32(udx__stream(stream)->rtt.srtt, UDX_MS);
    bbr->has_seen_rtt = 1;
  }
  double bandwidth = (double) stream->cwnd * UDX_SECOND / rtt;
  udx__pacing_set_rate(
    stream, bandwidth * (udx__mtu_payload(stream) + UDX_HEADER_SIZE) * BBR_HIGH_GAIN * BBR_PACING_MARGIN);
}

static void
bbr_enter_startup (udx_stream_t *stream) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  stream->bbr.state = UDX_BBR_STATE_STARTUP;
  bbr->pacing_gain = BBR_HIGH_GAIN;
  bbr->cwnd_gain = BBR_HIGH_GAIN;
}

static void
bbr_set_cycle (udx_bbr_state_t *bbr, uint8_t index) {
  UDX_ASSERT(index < BBR_CYCLE);
  bbr->cycle_index = index;
  bbr->pacing_gain = bbr_cycle_gain[index];
}

static void
bbr_enter_probe_bw (udx_stream_t *stream, uint64_t now) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  uint8_t random;
  /* without a random source streams probe in phase, which costs fairness and nothing else */
  if (udx__instance(stream->udx)->driver->random(stream->udx, &random, 1)) random = 0;
  stream->bbr.state = UDX_BBR_STATE_PROBE_BW;
  bbr->cwnd_gain = BBR_CWND_GAIN;
  UDX_ASSERT(udx__stream(stream)->bbr.full_reached);
  bbr->cycle_stamp = now;
  /* any phase but the draining one */
  bbr_set_cycle(bbr, (uint8_t) (random % (BBR_CYCLE - 1) == 0 ? 0 : 1 + random % (BBR_CYCLE - 1)));
  UDX_ASSERT(bbr->cycle_index != 1);
}

static void
bbr_init (udx_stream_t *stream) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  memset(bbr, 0, sizeof(*bbr));
  bbr->min_rtt = UINT32_MAX;
  bbr->next_round_delivered = udx__stream(stream)->rate.delivered;
  bbr_enter_startup(stream);
  bbr_init_pacing(stream);
}

static void
bbr_save_cwnd (udx_stream_t *stream) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  if (udx__stream(stream)->recovery.state == UDX_RECOVERY_OPEN && stream->bbr.state != UDX_BBR_STATE_PROBE_RTT) {
    bbr->prior_cwnd = stream->cwnd;
  } else {
    bbr->prior_cwnd = udx__max_u32(bbr->prior_cwnd, stream->cwnd);
  }
}

static void
bbr_check_probe_rtt_done (udx_stream_t *stream, uint64_t now) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  if (bbr->probe_rtt_done_at == 0 || now < bbr->probe_rtt_done_at) return;
  bbr->min_rtt_stamp = now;
  stream->cwnd = udx__max_u32(stream->cwnd, bbr->prior_cwnd);
  if (bbr->full_reached) bbr_enter_probe_bw(stream, now);
  else bbr_enter_startup(stream);
}

static void
bbr_sent (udx_stream_t *stream, uint32_t in_flight, uint64_t now) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  if (in_flight > 0 || udx__stream(stream)->rate.app_limited == 0) return;
  bbr->idle_restart = 1;
  bbr->epoch_start = now;
  bbr->epoch_acked = 0;
  if (stream->bbr.state == UDX_BBR_STATE_PROBE_BW) bbr_set_pacing(stream, bbr_bandwidth(stream), 1);
  else if (stream->bbr.state == UDX_BBR_STATE_PROBE_RTT) bbr_check_probe_rtt_done(stream, now);
}

static void
bbr_update_bandwidth (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  UDX_ASSERT(sample->interval > 0 || sample->delivered == 0);
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  bbr->round_start = 0;
  if (sample->interval == 0) return;
  if (udx__seq_diff(sample->prior_delivered, bbr->next_round_delivered) >= 0) {
    bbr->next_round_delivered = udx__stream(stream)->rate.delivered;
    bbr->round_count++;
    bbr->round_start = 1;
    bbr->packet_conservation = 0;
  }
  double bandwidth = (double) sample->delivered * UDX_SECOND / (double) sample->interval;
  if (!sample->app_limited || bandwidth >= bbr_bandwidth(stream)) {
    (void) udx__filter_max(&bbr->bandwidth, BBR_BANDWIDTH_ROUNDS, bbr->round_count, bandwidth);
  }
}

static void
bbr_update_loss (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  bbr->round_acked += sample->acked;
  bbr->round_lost += sample->losses;
  double share = BBR_LOSS_TOLERATED * ((double) bbr->round_acked + bbr->round_lost);
  if (bbr->round_lost > share && bbr->round_lost >= UDX_CWND_MIN) bbr->lossy = 1;
  if (bbr->round_start) {
    bbr->lossy = bbr->round_lost > share && bbr->round_lost >= UDX_CWND_MIN;
    bbr->round_acked = bbr->round_lost = 0;
  }
}

static uint32_t
bbr_extra_allowance (const udx_stream_t *stream) {
  const udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  if (!bbr->full_reached) return 0;
  uint32_t most = bbr_clamp(bbr_bandwidth(stream) * BBR_EXTRA_TIME);
  return udx__min_u32(udx__max_u32(bbr->extra_acked[0], bbr->extra_acked[1]), most);
}

static void
bbr_update_aggregation (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  UDX_ASSERT(bbr->extra_index <= 1);
  if (sample->acked == 0 || sample->interval == 0) return;
  if (bbr->round_start && ++bbr->extra_rounds >= BBR_EXTRA_ROUNDS) {
    bbr->extra_rounds = 0;
    bbr->extra_index ^= 1;
    bbr->extra_acked[bbr->extra_index] = 0;
  }
  double expected = bbr_bandwidth(stream) * (double) (sample->now - bbr->epoch_start) / (double) UDX_SECOND;
  if (bbr->epoch_acked <= expected || bbr->epoch_acked + sample->acked >= 0xfffff) {
    bbr->epoch_acked = 0;
    bbr->epoch_start = sample->now;
    expected = 0;
  }
  bbr->epoch_acked += sample->acked;
  double extra = (double) bbr->epoch_acked - expected;
  if (extra > (double) stream->cwnd) extra = stream->cwnd;
  if (extra > (double) bbr->extra_acked[bbr->extra_index]) bbr->extra_acked[bbr->extra_index] = (uint32_t) extra;
}

static void
bbr_update_cycle (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  if (stream->bbr.state != UDX_BBR_STATE_PROBE_BW) return;
  /* at least as long as the answer takes: with a standing queue min RTT would hide every probe in the average */
  uint32_t phase = udx__max_u32(udx__stream(stream)->rtt.srtt, UDX_MS);
  if (bbr->min_rtt != UINT32_MAX) phase = udx__max_u32(phase, bbr->min_rtt);
  int full = sample->now - bbr->cycle_stamp > phase;
  int next = full;
  if (bbr->pacing_gain > 1) {
    next = full && (sample->losses > 0 || sample->prior_in_flight >= bbr_bdp(stream, bbr->pacing_gain));
  } else if (bbr->pacing_gain < 1) {
    next = full || sample->prior_in_flight <= bbr_bdp(stream, 1);
  }
  if (next) {
    bbr->cycle_stamp = sample->now;
    bbr_set_cycle(bbr, (uint8_t) ((bbr->cycle_index + 1) % BBR_CYCLE));
  }
}

static void
bbr_check_full (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  if (bbr->full_reached || !bbr->round_start || sample->app_limited) return;
  double bandwidth = bbr_bandwidth(stream);
  if (bandwidth >= bbr->full_bandwidth * BBR_FULL_GAIN) {
    bbr->full_bandwidth = bandwidth;
    bbr->full_count = 0;
    return;
  }
  bbr->full_count++;
  bbr->full_reached = bbr->full_count >= BBR_FULL_ROUNDS;
}

static void
bbr_check_drain (udx_stream_t *stream, uint64_t now) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  if (stream->bbr.state == UDX_BBR_STATE_STARTUP && bbr->full_reached) {
    stream->bbr.state = UDX_BBR_STATE_DRAIN;
    bbr->pacing_gain = 1 / BBR_HIGH_GAIN;
    bbr->cwnd_gain = BBR_HIGH_GAIN;
    stream->ssthresh = bbr_bdp(stream, 1);
  }
  if (stream->bbr.state == UDX_BBR_STATE_DRAIN && udx__in_flight(stream) <= bbr_bdp(stream, 1)) {
    bbr_enter_probe_bw(stream, now);
  }
}

static void
bbr_update_min_rtt (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  uint64_t now = sample->now;
  int expired = bbr->min_rtt != UINT32_MAX && now > bbr->min_rtt_stamp + BBR_MIN_RTT_WINDOW;
  if (sample->rtt != UINT32_MAX && (sample->rtt <= bbr->min_rtt || expired)) {
    bbr->min_rtt = udx__max_u32(sample->rtt, 1);
    bbr->min_rtt_stamp = now;
  }
  if (expired && !bbr->idle_restart && stream->bbr.state != UDX_BBR_STATE_PROBE_RTT) {
    bbr_save_cwnd(stream);
    stream->bbr.state = UDX_BBR_STATE_PROBE_RTT;
    bbr->pacing_gain = 1;
    bbr->cwnd_gain = 1;
    bbr->probe_rtt_done_at = 0;
  }
  if (stream->bbr.state == UDX_BBR_STATE_PROBE_RTT) {
    /* what is measured now says nothing about the path's bandwidth */
    uint32_t mark = udx__stream(stream)->rate.delivered + udx__in_flight(stream);
    udx__stream(stream)->rate.app_limited = mark == 0 ? 1 : mark;
    if (bbr->probe_rtt_done_at == 0 && udx__in_flight(stream) <= UDX_CWND_MIN) {
      bbr->probe_rtt_done_at = now + BBR_PROBE_RTT_TIME;
      bbr->probe_rtt_round_done = 0;
      bbr->next_round_delivered = udx__stream(stream)->rate.delivered;
    } else if (bbr->probe_rtt_done_at != 0) {
      if (bbr->round_start) bbr->probe_rtt_round_done = 1;
      if (bbr->probe_rtt_round_done) bbr_check_probe_rtt_done(stream, now);
    }
  }
  if (sample->delivered > 0) bbr->idle_restart = 0;
}

static void
bbr_set_cwnd (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  UDX_ASSERT(stream->cwnd >= 1 && stream->cwnd <= UDX_CWND_MAX);
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  uint32_t cwnd = stream->cwnd;
  if (sample->acked > 0) {
    uint8_t state = udx__stream(stream)->recovery.state;
    uint8_t previous = bbr->previous_recovery;
    bbr->previous_recovery = state;
    int conserve = 0;
    if (sample->losses > 0 && bbr->lossy) cwnd = cwnd > sample->losses ? cwnd - sample->losses : 1;
    if (!bbr->lossy && state == UDX_RECOVERY_FAST) bbr->packet_conservation = 0;
    if (bbr->lossy && state == UDX_RECOVERY_FAST && !bbr->conserved) {
      bbr->packet_conservation = bbr->conserved = 1;
      bbr->next_round_delivered = udx__stream(stream)->rate.delivered;
      cwnd = udx__in_flight(stream) + sample->acked;
    } else if (previous != UDX_RECOVERY_OPEN && state == UDX_RECOVERY_OPEN) {
      bbr->packet_conservation = 0;
      cwnd = udx__max_u32(cwnd, bbr->prior_cwnd);
    }
    if (state == UDX_RECOVERY_OPEN) bbr->conserved = 0;
    if (bbr->packet_conservation) {
      cwnd = udx__max_u32(cwnd, udx__in_flight(stream) + sample->acked);
      conserve = 1;
    }
    if (!conserve) {
      uint32_t target = bbr_with_budget(stream, bbr_bdp(stream, bbr->cwnd_gain) + bbr_extra_allowance(stream));
      if (bbr->full_reached) cwnd = udx__min_u32(cwnd + sample->acked, target);
      else if (cwnd < target || udx__stream(stream)->rate.delivered < UDX_CWND_INITIAL) cwnd += sample->acked;
    }
    cwnd = udx__max_u32(cwnd, UDX_CWND_MIN);
  }
  if (stream->bbr.state == UDX_BBR_STATE_PROBE_RTT) cwnd = udx__min_u32(cwnd, UDX_CWND_MIN);
  stream->cwnd = udx__min_u32(cwnd, UDX_CWND_MAX);
  UDX_ASSERT(stream->cwnd >= 1);
}

static void
bbr_acked (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  UDX_ASSERT(stream->bbr.state <= UDX_BBR_STATE_PROBE_RTT);
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  bbr_update_bandwidth(stream, sample);
  bbr_update_loss(stream, sample);
  bbr_update_aggregation(stream, sample);
  bbr_update_cycle(stream, sample);
  bbr_check_full(stream, sample);
  bbr_check_drain(stream, sample->now);
  bbr_update_min_rtt(stream, sample);
  if (!bbr->has_seen_rtt && udx__stream(stream)->rtt.srtt > 0) bbr_init_pacing(stream);
  bbr_set_pacing(stream, bbr_bandwidth(stream), bbr->pacing_gain);
  bbr_set_cwnd(stream, sample);
}

static void
bbr_recovery (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->recovery.state != UDX_RECOVERY_OPEN);
  (void) now;
  /* called in the new state: what counted before */
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  if (stream->bbr.state != UDX_BBR_STATE_PROBE_RTT && bbr->previous_recovery == UDX_RECOVERY_OPEN)
    bbr->prior_cwnd = stream->cwnd;
  else bbr->prior_cwnd = udx__max_u32(bbr->prior_cwnd, stream->cwnd);
}

static void
bbr_recovered (udx_stream_t *stream, uint64_t now) {
  (void) now;
  (void) stream; /* restored with the next sample */
}

static void
bbr_timeout (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->recovery.state == UDX_RECOVERY_LOSS);
  udx_bbr_state_t *bbr = &udx__stream(stream)->bbr;
  bbr_recovery(stream, now);
  bbr->previous_recovery = UDX_RECOVERY_LOSS;
  bbr->full_bandwidth = 0;
  bbr->round_start = 1;
  bbr->packet_conservation = 1;
  stream->cwnd = udx__max_u32(udx__in_flight(stream) + 1, UDX_CWND_MIN);
  UDX_ASSERT(stream->cwnd >= UDX_CWND_MIN);
}

const udx_congestion_ops_t udx__congestion_bbr = {
  .init = bbr_init,
  .sent = bbr_sent,
  .acked = bbr_acked,
  .recovery = bbr_recovery,
  .recovered = bbr_recovered,
  .timeout = bbr_timeout,
  .bandwidth = bbr_bandwidth,
};
