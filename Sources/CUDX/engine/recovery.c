/*
 * Loss detection and repair: RACK (RFC 8985), tail loss probe, retransmission timeout (udx.md 3.5-3.7).
 *
 * Differences to the reference, none visible on the wire: microseconds, a reordering window that widens
 * when retransmissions prove needless, recovery that ends when the lost flight is acknowledged (not one
 * packet later), a timeout that backs off and reduces cwnd, and up to three probes for the oldest hole: while it is
 * open the span limit may keep new data back, so that no acknowledgement would reveal the loss of its repair.
 */
#include "recovery.h"

#include "mtu.h"
#include "pacing.h"
#include "packet.h"
#include "rtt.h"
#include "send_queue.h"
#include "stream.h"
#include "time_wait.h"
#include "timer.h"
#include "transmit.h"
#include "trace/trace.h"

void
udx__recovery_init (udx_stream_t *stream) {
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  memset(recovery, 0, sizeof(*recovery));
  recovery->reo_wnd_mult = 1;
  recovery->tlp_sampled = 1;
  recovery->high_seq = recovery->fack = recovery->reo_wnd_round = udx__stream(stream)->flight.nxt;
  recovery->rto_at = recovery->tlp_at = recovery->reo_at = UDX_NEVER;
}

/* ---- timers ---- */

static uint64_t
rto_delay (const udx_stream_t *stream) {
  UDX_ASSERT(udx__stream(stream)->rtt.rto > 0);
  uint64_t rto = udx__stream(stream)->rtt.rto;
  if (udx__stream(stream)->recovery.backoff == 0) return rto;
  uint64_t limit = udx__max_u64(2 * rto, UDX_RTO_SPACING_MIN);
  uint64_t delay = rto << (udx__stream(stream)->recovery.backoff < 16 ? udx__stream(stream)->recovery.backoff : 16);
  return udx__min_u64(delay, limit);
}

uint64_t
udx__give_up_after (const udx_stream_t *stream) {
  uint64_t rto = udx__stream(stream)->rtt.rto;
  uint64_t late = udx__max_u64(UDX_GIVE_UP_LATE, UDX_GIVE_UP_TIMEOUTS * rto);
  return udx__min_u64(UDX_GIVE_UP_FACTOR * udx__max_u64(rto, UDX_SECOND), late);
}

unsigned int
udx__timeouts_until_give_up (const udx_stream_t *stream) {
  uint64_t spacing = udx__max_u64(2 * (uint64_t) udx__stream(stream)->rtt.rto, UDX_RTO_SPACING_MIN);
  return (unsigned int) udx__min_u64(udx__give_up_after(stream) / spacing, UDX_TIMEOUTS_MAX);
}

static void
rto_start (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__flight_span(stream) > 0);
  uint64_t at = now + rto_delay(stream);
  if (udx__packet_at(stream, udx__stream(stream)->flight.una)->timeouts >= udx__timeouts_until_give_up(stream)) {
    uint64_t end = udx__stream(stream)->recovery.stalled_since + udx__give_up_after(stream);
    if (end > now) at = udx__min_u64(at, end);
  }
  udx__stream(stream)->recovery.rto_at = at;
  udx__timer_at_most(stream, at);
}

static int
has_hole (const udx_stream_t *stream) {
  return udx__stream(stream)->recovery.state != UDX_RECOVERY_OPEN || udx__stream(stream)->flight.sacked_count > 0;
}

/* After a timeout, or on a new path, until an acknowledgement shows that packets get through. */
static int
is_silent (const udx_stream_t *stream) {
  const udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  return recovery->state == UDX_RECOVERY_LOSS && (recovery->backoff > 0 || recovery->migrated);
}

/* What left last is acknowledged by then, or lost (RFC 9002, section 6.2.1). */
static uint64_t
hole_probe_delay (const udx_stream_t *stream) {
  const udx_rtt_t *rtt = &udx__stream(stream)->rtt;
  uint64_t delay = rtt->srtt + udx__max_u64(4 * (uint64_t) rtt->var, UDX_TLP_MIN);
  return udx__max_u64(udx__min_u64(delay, 2 * (uint64_t) rtt->srtt), UDX_TLP_MIN);
}

static int
hole_may_be_probed (const udx_stream_t *stream) {
  const udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  if (udx__stream(stream)->rtt.srtt == 0) return 0;
  if (recovery->hole_probes == 0) return 1; /* none of this one */
  return recovery->hole_probes < UDX_HOLE_PROBES &&
         (recovery->hole_probes + 1) * hole_probe_delay(stream) <= UDX_HOLE_PROBES_TIME;
}

static void
tlp_start (udx_stream_t *stream, uint64_t now) {
  UDX_DEBUG_ASSERT(udx__stream(stream)->recovery.state <= UDX_RECOVERY_LOSS);
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  recovery->tlp_at = UDX_NEVER;
  if (is_silent(stream)) return;
  if (has_hole(stream)) {
    if (!hole_may_be_probed(stream)) return;
    uint64_t at = now + hole_probe_delay(stream);
    /* on a long and steady path the timeout is no later: the probe comes in its place */
    if (at + UDX_MS > recovery->rto_at && at <= now + UDX_HOLE_PROBES_TIME && now + UDX_MS < recovery->rto_at)
      at = recovery->rto_at - UDX_MS;
    recovery->tlp_at = at;
    udx__timer_at_most(stream, recovery->tlp_at);
    return;
  }
  if (recovery->tlp_pending || !recovery->tlp_sampled) return; /* the RTO takes over */
  uint64_t delay = UDX_RTO_INITIAL;
  if (udx__stream(stream)->rtt.srtt > 0) {
    delay = 2 * (uint64_t) udx__stream(stream)->rtt.srtt;
    if (udx__flight_span(stream) == 1) delay += UDX_TLP_SINGLE;
    delay = udx__max_u64(delay, UDX_TLP_MIN);
  }
  uint64_t at = now + delay;
  if (recovery->rto_at != UDX_NEVER && at >= recovery->rto_at) return;
  recovery->tlp_at = at;
  udx__timer_at_most(stream, at);
}

void
udx__recovery_sent (udx_stream_t *stream, uint32_t seq, int is_new, uint64_t now) {
  UDX_DEBUG_ASSERT(seq - udx__stream(stream)->flight.una < udx__flight_span(stream));
  UDX_DEBUG_ASSERT(udx__packet_at(stream, seq)->state == UDX_PACKET_FLYING);
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  if (seq == udx__stream(stream)->flight.una && is_new) recovery->stalled_since = now;
  if (recovery->rto_at == UDX_NEVER) {
    rto_start(stream, now);
    UDX_TRACE(stream->udx, timer(stream, UDX_TRACE_RTO, UDX_TRACE_SET, recovery->rto_at));
  }
  if (is_new || has_hole(stream)) tlp_start(stream, now);
}

/* ---- acknowledgements ---- */

int
udx__recovery_is_of_former_path (const udx_stream_t *stream, uint32_t seq) {
  const udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  return UDX_UNLIKELY(recovery->migrated) && udx__seq_before(seq, recovery->high_seq);
}

void
udx__recovery_acked (udx_stream_t *stream, uint32_t seq, udx_packet_t *packet, uint64_t now) {
  UDX_DEBUG_ASSERT(packet->sent_at <= now);
  UDX_DEBUG_ASSERT(packet->state == UDX_PACKET_ACKED);
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  uint64_t rtt64 = now - packet->sent_at;
  uint32_t rtt = rtt64 > UINT32_MAX ? UINT32_MAX : (uint32_t) rtt64;
  uint32_t min_rtt = udx__rtt_min(stream);

  if (packet->transmits > 1 && min_rtt != UINT32_MAX && rtt < min_rtt - min_rtt / 8) {
    /* acknowledged sooner than any round trip: the original had arrived */
    stream->spurious_count++;
    stream->udx->retransmits_spurious++;
    if (packet->timeouts > 0 && recovery->frto != UDX_FRTO_NONE) recovery->frto = UDX_FRTO_SPURIOUS;
    if (udx__seq_diff(seq, recovery->reo_wnd_round) >= 0) {
      recovery->reo_wnd_round = udx__stream(stream)->flight.nxt;
      recovery->reordering_seen = 1;
      if (recovery->reo_wnd_mult < UDX_REO_WND_MULT_MAX) recovery->reo_wnd_mult++;
    }
  }
  int is_measured = packet->transmits == 1 || min_rtt == UINT32_MAX || rtt >= min_rtt;
  if (is_measured && !udx__recovery_is_of_former_path(stream, seq)) {
    recovery->rack_rtt = rtt;
    if (!recovery->rack_valid || packet->sent_at > recovery->rack_xmit_ts ||
        (packet->sent_at == recovery->rack_xmit_ts && udx__seq_before(recovery->rack_end_seq, seq + 1))) {
      recovery->rack_valid = 1;
      recovery->rack_xmit_ts = packet->sent_at;
      recovery->rack_end_seq = seq + 1;
    }
  }
  if (udx__seq_before(recovery->fack, seq + 1)) {
    recovery->fack = seq + 1;
  } else if (udx__seq_before(seq + 1, recovery->fack) && packet->transmits == 1) {
    recovery->reordering_seen = 1;
  }
}

/* ---- RACK ---- */

static uint64_t
rack_reo_wnd (const udx_stream_t *stream) {
  UDX_ASSERT(udx__stream(stream)->recovery.reo_wnd_mult >= 1);
  const udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  if (!recovery->reordering_seen &&
      (recovery->state != UDX_RECOVERY_OPEN || udx__stream(stream)->flight.sacked_count >= UDX_REO_SACKED_MIN)) {
    return 0;
  }
  uint32_t min_rtt = udx__rtt_min(stream);
  if (min_rtt == UINT32_MAX) return 0;
  return udx__min_u64((uint64_t) recovery->reo_wnd_mult * min_rtt / 4, udx__stream(stream)->rtt.srtt);
}

static void
packet_lost (udx_stream_t *stream, uint32_t seq, udx_packet_t *packet, udx_trace_trigger_t trigger, uint64_t now) {
  UDX_ASSERT(packet->state == UDX_PACKET_FLYING);
  UDX_TRACE(stream->udx, lost(stream, seq, packet, trigger));
  udx__flight_remove(stream, seq);
  udx__lost_insert(stream, seq);
  udx__stream(stream)->rate.losses++;
  UDX_ASSERT(packet->state == UDX_PACKET_LOST);
  udx__mtu_lost(stream, packet, now);
}

static void
enter_recovery (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->recovery.state == UDX_RECOVERY_OPEN);
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  recovery->state = UDX_RECOVERY_FAST;
  recovery->high_seq = udx__stream(stream)->flight.nxt;
  recovery->tlp_pending = 0;
  recovery->tlp_at = UDX_NEVER;
  stream->fast_recovery_count++;
  udx__stream(stream)->congestion->recovery(stream, now);
  UDX_TRACE(stream->udx, state(stream));
}

static void
rack_detect (udx_stream_t *stream, uint64_t now) {
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  recovery->reo_at = UDX_NEVER;
  if (!recovery->rack_valid) return;

  uint64_t window = rack_reo_wnd(stream);
  uint64_t longest = 0;
  uint32_t lost = 0, probes = 0;
  uint32_t count = udx__stream(stream)->flight.flying.count;
  uint32_t seq = udx__stream(stream)->flight.flying.head;
  while (count-- > 0) {
    udx_packet_t *packet = udx__packet_at(stream, seq);
    uint32_t next = packet->next;
    UDX_ASSERT(packet->state == UDX_PACKET_FLYING);
    if (packet->sent_at > recovery->rack_xmit_ts) break;
    /* one batch has one time: what follows in it was sent later */
    if (packet->sent_at == recovery->rack_xmit_ts && udx__seq_diff(seq + 1, recovery->rack_end_seq) >= 0) break;
    /*
     * The reference reports its lowest 50 ranges and no more: a repair's acknowledgement would make all that
     * arrived behind them look lost. So nothing past the highest seq reported while ranges are reported.
     */
    int known = !recovery->reported || udx__seq_before(seq, recovery->fack);
    if (known) {
      uint64_t due = packet->sent_at + recovery->rack_rtt + window;
      if (due <= now) {
        lost++;
        if (packet->is_probe) probes++;
        packet_lost(stream, seq, packet, window > 0 ? UDX_TRACE_TIME_THRESHOLD : UDX_TRACE_REORDERING_THRESHOLD, now);
      } else if (due - now > longest) {
        longest = due - now;
      }
    }
    seq = next;
  }
  if (longest > 0) {
    recovery->reo_at = now + longest;
    udx__timer_at_most(stream, recovery->reo_at);
  }
  if (lost == 0) return;
  udx__pacing_lost(stream, lost - probes, now);
  udx__mark_ready(stream);
  if (lost > probes && recovery->state == UDX_RECOVERY_OPEN) enter_recovery(stream, now);
}

/* The timeout was spurious (RFC 5682): nothing was lost, the state of before is restored. */
static void
spurious_timeout_undo (udx_stream_t *stream) {
  UDX_ASSERT(udx__stream(stream)->recovery.frto == UDX_FRTO_SPURIOUS);
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  recovery->frto = UDX_FRTO_NONE;
  recovery->state = UDX_RECOVERY_OPEN;
  recovery->migrated = 0;
  udx__lost_revive(stream);
  stream->cwnd = udx__max_u32(stream->cwnd, recovery->prior_cwnd);
  stream->ssthresh = udx__max_u32(stream->ssthresh, recovery->prior_ssthresh);
  udx__stream(stream)->rate.losses = 0;
  udx__stream(stream)->rtt.rto_min = udx__min_u32(2 * udx__stream(stream)->rtt.rto_min, UDX_RTO_MIN_MAX);
  UDX_TRACE(stream->udx, state(stream));
}

void
udx__recovery_update (udx_stream_t *stream, uint32_t old_una, uint64_t now) {
  UDX_ASSERT(udx__seq_diff(udx__stream(stream)->flight.una, old_una) >= 0);
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  uint32_t una = udx__stream(stream)->flight.una;
  int advanced = una != old_una;
  if (recovery->tlp_pending) {
    int passed = recovery->tlp_is_retrans ? udx__seq_before(recovery->tlp_end_seq, una)
                                          : udx__seq_diff(una, recovery->tlp_end_seq) >= 0;
    if (passed) recovery->tlp_pending = 0;
  }
  if (recovery->frto == UDX_FRTO_SPURIOUS) spurious_timeout_undo(stream);
  if (recovery->state != UDX_RECOVERY_OPEN && udx__seq_diff(una, recovery->high_seq) >= 0) {
    recovery->state = UDX_RECOVERY_OPEN;
    recovery->migrated = 0;
    recovery->frto = UDX_FRTO_NONE;
    udx__stream(stream)->congestion->recovered(stream, now);
    UDX_TRACE(stream->udx, state(stream));
  }
  recovery->backoff = 0;
  if (advanced) recovery->stalled_since = now;
  if (advanced) recovery->hole_probes = 0;
  rack_detect(stream, now);

  if (una == udx__stream(stream)->flight.nxt) {
    recovery->rto_at = recovery->tlp_at = recovery->reo_at = UDX_NEVER;
    udx__timer_move(stream, udx__stream_deadline(stream));
  } else {
    /* Selective progress counts too: RACK takes care of the hole, a timeout would only flood the path. */
    rto_start(stream, now);
    if (advanced || has_hole(stream)) tlp_start(stream, now);
  }
  UDX_TRACE(stream->udx, timers(stream));
}

/* ---- timeouts ---- */

/* The oldest hole once more: its repair is taken for lost. */
static void
hole_probe (udx_stream_t *stream, uint64_t now) {
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  uint32_t seq = udx__stream(stream)->flight.una;
  udx_packet_t *packet = udx__packet_at(stream, seq);
  if (packet->state != UDX_PACKET_FLYING || !hole_may_be_probed(stream)) return;
  UDX_TRACE(stream->udx, timer(stream, UDX_TRACE_TLP, UDX_TRACE_EXPIRED, now));
  recovery->hole_probes++;
  /* the timeout comes when there is no answer: one tick after the next probe, or what would be one */
  uint64_t delay = hole_probe_delay(stream);
  if (recovery->hole_probes * delay <= UDX_HOLE_PROBES_TIME)
    recovery->rto_at = udx__max_u64(recovery->rto_at, now + delay + UDX_MS);
  /* with silence for two round trips (and a while more: a peer may be asleep), also what was sent before that */
  uint32_t count = udx__stream(stream)->flight.flying.count;
  uint32_t at = udx__stream(stream)->flight.flying.head;
  while (count-- > 0) {
    udx_packet_t *other = udx__packet_at(stream, at);
    uint32_t next = other->next;
    if (other->sent_at + 2 * (uint64_t) udx__stream(stream)->rtt.srtt + UDX_SILENCE > now) break;
    if (at != seq) packet_lost(stream, at, other, UDX_TRACE_TIME_THRESHOLD, now);
    at = next;
  }
  packet_lost(stream, seq, packet, UDX_TRACE_TIME_THRESHOLD, now);
  udx__mark_ready(stream);
  if (recovery->state == UDX_RECOVERY_OPEN) enter_recovery(stream, now);
}

static void
tail_probe (udx_stream_t *stream, uint64_t now) {
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  if (udx__amplification_limited(stream)) return; /* the probe would exceed the limit; the timeout repairs */
  uint32_t before = udx__stream(stream)->flight.nxt;
  if (!udx__transmit_probe(stream)) return;
  UDX_TRACE(stream->udx, timer(stream, UDX_TRACE_TLP, UDX_TRACE_EXPIRED, now));
  recovery->tlp_pending = 1;
  recovery->tlp_sampled = 0;
  recovery->tlp_is_retrans = udx__stream(stream)->flight.nxt == before;
  recovery->tlp_end_seq = recovery->tlp_is_retrans ? before - 1 : udx__stream(stream)->flight.nxt;
  rto_start(stream, now);
}

static void
tlp_fire (udx_stream_t *stream, uint64_t now) {
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  UDX_ASSERT(recovery->tlp_at <= now);
  recovery->tlp_at = UDX_NEVER;
  if (udx__flight_span(stream) == 0 || is_silent(stream)) return;
  if (has_hole(stream)) hole_probe(stream, now);
  else if (!recovery->tlp_pending && recovery->tlp_sampled) tail_probe(stream, now);
}

/* The peer does not acknowledge any more. */
static void
give_up (udx_stream_t *stream, udx_packet_t *oldest) {
  UDX_ASSERT(oldest->timeouts >= udx__timeouts_until_give_up(stream));
  /* A peer that ended, has all our data, and closed: what got lost is the last acknowledgement (udx.md 2.5). */
  int all =
    (stream->status & UDX_STREAM_ENDED_REMOTE) && udx__flight_span(stream) == 1 && oldest->type == UDX_HEADER_END;
  if (all && oldest->state != UDX_PACKET_ACKED) udx__queue_credit(stream, oldest, 0);
  if (all) udx__time_wait_add(stream, 1); /* if the peer speaks after all it learns that this is over */
  else udx__stream_reset(stream);
  udx__stream_close(stream, all ? 0 : UV_ETIMEDOUT);
}

/* 0 if the stream gave up. */
static int
rto_fire (udx_stream_t *stream, uint64_t now) {
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  UDX_ASSERT(recovery->rto_at <= now);
  recovery->rto_at = UDX_NEVER;
  if (udx__flight_span(stream) == 0) return 1;
  UDX_TRACE(stream->udx, timer(stream, UDX_TRACE_RTO, UDX_TRACE_EXPIRED, now));

  udx_packet_t *oldest = udx__packet_at(stream, udx__stream(stream)->flight.una);
  UDX_ASSERT(oldest->state != UDX_PACKET_FREE);
  if (oldest->timeouts >= udx__timeouts_until_give_up(stream)) {
    uint64_t give_up_after = udx__give_up_after(stream);
    if (udx__stream(stream)->flow.heard_at > oldest->sent_at) {
      /* it has no room for what it sees again and again, and says so (RFC 9293, section 3.8.6.1) */
      if (udx__stream(stream)->flow.peer_window == 0) recovery->stalled_since = udx__stream(stream)->flow.heard_at;
      /* it is back after an outage: the next repetitions get through, or its packets come through alone */
      else give_up_after += UDX_RETURN_GRACE;
    }
    /* one timer tick of grace */
    if (now - recovery->stalled_since + UDX_MS >= give_up_after) {
      give_up(stream, oldest);
      return 0;
    }
  }
  stream->rto_count++;
  if (recovery->state != UDX_RECOVERY_LOSS) {
    recovery->frto = UDX_FRTO_PENDING;
    recovery->prior_cwnd = stream->cwnd;
    recovery->prior_ssthresh = stream->ssthresh;
  }
  recovery->state = UDX_RECOVERY_LOSS;
  recovery->high_seq = udx__stream(stream)->flight.nxt;
  recovery->tlp_pending = 0;
  recovery->tlp_sampled = 1;
  recovery->tlp_at = recovery->reo_at = UDX_NEVER;
  if (recovery->backoff < UINT8_MAX) recovery->backoff++;

  uint64_t window = rack_reo_wnd(stream);
  uint32_t una = udx__stream(stream)->flight.una;
  uint32_t count = udx__stream(stream)->flight.flying.count;
  uint32_t seq = udx__stream(stream)->flight.flying.head;
  udx__mtu_timeout(stream, oldest);
  udx__stream_switch_source(stream);
  if (oldest->state != UDX_PACKET_FLYING && oldest->timeouts < UINT8_MAX) oldest->timeouts++;
  /* reported as received, but never acknowledged: nothing to send again, so ask */
  if (oldest->state == UDX_PACKET_ACKED) udx__owe_heartbeat(stream, UDX_HEARTBEAT_PLAIN);
  while (count-- > 0) {
    udx_packet_t *packet = udx__packet_at(stream, seq);
    uint32_t next = packet->next;
    if (seq == una || packet->sent_at + recovery->rack_rtt + window < now) {
      if (packet->timeouts < UINT8_MAX) packet->timeouts++;
      packet_lost(stream, seq, packet, UDX_TRACE_RTO_EXPIRED, now);
    }
    seq = next;
  }
  udx__stream(stream)->congestion->timeout(stream, now);
  UDX_TRACE(stream->udx, metrics(stream));
  udx__mark_ready(stream);
  rto_start(stream, now);
  return 1;
}

void
udx__recovery_migrated (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(stream->status & UDX_STREAM_CONNECTED);
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  recovery->backoff = 0;
  recovery->frto = UDX_FRTO_NONE;
  recovery->tlp_pending = recovery->hole_probes = 0;
  recovery->tlp_sampled = 1;
  recovery->rack_valid = 0;
  recovery->rack_rtt = 0;
  recovery->rto_at = recovery->tlp_at = recovery->reo_at = UDX_NEVER;
  if (udx__flight_span(stream) == 0) return;

  recovery->state = UDX_RECOVERY_LOSS;
  recovery->migrated = 1;
  recovery->high_seq = udx__stream(stream)->flight.nxt;
  uint32_t count = udx__stream(stream)->flight.flying.count;
  uint32_t seq = udx__stream(stream)->flight.flying.head;
  while (count-- > 0) {
    udx_packet_t *packet = udx__packet_at(stream, seq);
    uint32_t next = packet->next;
    packet_lost(stream, seq, packet, UDX_TRACE_NO_TRIGGER, now);
    seq = next;
  }
  /* reported as received, but never acknowledged: nothing to send again, so ask */
  if (udx__packet_at(stream, udx__stream(stream)->flight.una)->state == UDX_PACKET_ACKED)
    udx__owe_heartbeat(stream, UDX_HEARTBEAT_PLAIN);
  rto_start(stream, now);
}

void
udx__recovery_hasten (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(stream->status & UDX_STREAM_CONNECTED);
  if (udx__flight_span(stream) == 0) return;
  udx__stream(stream)->flow.heard_at = now;
  udx__stream(stream)->recovery.rto_at = now;
  udx__timer_at_most(stream, now);
}

int
udx__recovery_timeout (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(!(stream->status & UDX_STREAM_CLOSED));
  udx_recovery_t *recovery = &udx__stream(stream)->recovery;
  if (recovery->reo_at <= now) {
    UDX_TRACE(stream->udx, timer(stream, UDX_TRACE_REORDERING, UDX_TRACE_EXPIRED, now));
    rack_detect(stream, now);
  }
  if (recovery->rto_at <= now) return rto_fire(stream, now);
  if (recovery->tlp_at <= now) tlp_fire(stream, now);
  return 1;
}
