/*
 * Receive windows in both directions, zero-window probes and keepalive (udx.md 2.8, 4.7).
 *
 * Silence after a HEARTBEAT proves nothing: peers before 1.20.1 do not answer it. A stream that ended its half has
 * nothing else to send, so its keepalive is the END packet again: every version acknowledges a duplicate, and a peer
 * that does not is given up as one that does not acknowledge data (udx.md 3.7). A closed window is probed with a
 * HEARTBEAT, and if that has no answer with the last packet again, without its payload: silence of a peer with a closed
 * window means the same.
 *
 * Peers of other implementations send packets of 1,200 bytes and more that must not be fragmented, and never smaller
 * ones for the same data. On a path that carries less their acknowledgements arrive and their data never does: a stream
 * that sees nothing but small packets behind a gap says so instead of waiting for ever.
 *
 * A window that we closed is reopened by a plain ACK: the application says so (udx_stream_window_changed,
 * udx_stream_read_start), or we look from time to time while it is closed.
 */
#include "flow_control.h"

#include "address.h"
#include "instance.h"
#include "recovery.h"
#include "reorder.h"
#include "stream.h"
#include "time_wait.h"
#include "timer.h"
#include "transmit.h"

void
udx__flow_init (udx_stream_t *stream) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  memset(flow, 0, sizeof(*flow));
  flow->peer_window = stream->send_rwnd = UDX_WINDOW_DEFAULT;
  flow->window_max = stream->recv_rwnd_max = UDX_WINDOW_DEFAULT;
  flow->advertised = UDX_WINDOW_DEFAULT;
  flow->probe_at = flow->keepalive_at = flow->reopen_at = UDX_NEVER;
  udx__flow_gap_clear(flow);
}

static uint32_t
flow_window (udx_stream_t *stream) {
  const udx_flow_t *flow = &udx__stream(stream)->flow;
  uint64_t held = stream->get_read_buffer_size == NULL ? 0 : stream->get_read_buffer_size(stream);
  /* what waits for a paused reader: its bytes, or its share of the memory if the packets are small */
  if (udx__stream(stream)->ack.paused) {
    const udx_reorder_t *reorder = &udx__stream(stream)->reorder;
    if (!udx__reorder_has_room(stream, UDX_REORDER_BLOCK)) return 0; /* the peer must not wait for what is dropped */
    uint64_t share = reorder->limit == 0
                       ? reorder->memory / UDX_REORDER_WINDOWS
                       : (uint64_t) reorder->memory * flow->window_max / ((uint64_t) reorder->limit << 10);
    held += udx__max_u64(reorder->bytes, share);
  }
  uint64_t window = held >= flow->window_max ? 0 : flow->window_max - held;
  /* never between 1 byte and one packet (udx.md 4.7) */
  if (window < UDX_WINDOW_SMALLEST) window = 0;
  UDX_ASSERT(window <= flow->window_max);
  UDX_ASSERT(window == 0 || window >= UDX_WINDOW_SMALLEST);
  return (uint32_t) window;
}

uint32_t
udx__flow_advertise (udx_stream_t *stream) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  flow->advertised = flow_window(stream);
  if (flow->advertised == 0 && flow->reopen_at == UDX_NEVER && stream->socket != NULL) {
    flow->poll_backoff = 0;
    flow->reopen_at = udx__instance(stream->udx)->now + UDX_REOPEN_POLL_MIN;
    udx__timer_at_most(stream, flow->reopen_at);
  }
  return flow->advertised;
}

void
udx__flow_reopen (udx_stream_t *stream) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  if (stream->socket == NULL || udx__stream_dead(stream)) return;
  uint32_t window = flow_window(stream);
  /* worth a packet: it was closed, or it at least doubled and half of all is free again */
  int opened = flow->advertised == 0 && window > 0;
  int grew = window / 2 >= flow->advertised && window >= flow->window_max / 2;
  if (!opened && !grew) return;
  flow->reopen_at = UDX_NEVER;
  udx__owe_ack(stream);
}

void
udx__flow_update (udx_stream_t *stream, const udx_header_t *header) {
  UDX_DEBUG_ASSERT(udx__seq_diff(header->ack, udx__stream(stream)->flight.nxt) <= 0);
  udx_flow_t *flow = &udx__stream(stream)->flow;
  if (udx__seq_before(header->ack, udx__stream(stream)->flight.una)) return;
  if (!udx__seq_before(flow->wl_seq, header->seq) &&
      !(flow->wl_seq == header->seq && udx__seq_diff(flow->wl_ack, header->ack) <= 0)) {
    return;
  }
  flow->wl_seq = header->seq;
  flow->wl_ack = header->ack;
  if (header->window > flow->peer_window) udx__mark_ready(stream);
  flow->peer_window = stream->send_rwnd = header->window;
  if (header->window > 0) flow->probe_at = UDX_NEVER;
}

uint32_t
udx__flow_packets (const udx_stream_t *stream) {
  uint32_t window = udx__stream(stream)->flow.peer_window;
  if (window == 0) return 0;
  UDX_ASSERT(udx__mtu_payload(stream) > 0);
  return udx__max_u32(1, window / udx__mtu_payload(stream));
}

/*
 * The window bounds packets in flight, not the distance between the oldest and the newest seq (udx.md 4.7).
 * While one hole stays open that distance would grow until the receiver, which keeps early packets in a
 * bounded number of records (ours: UDX_REORDER_WINDOWS windows), drops what arrives without reporting it.
 */
uint32_t
udx__flow_span (const udx_stream_t *stream) {
  uint64_t records = UDX_REORDER_WINDOWS * (uint64_t) udx__stream(stream)->flow.peer_window / (UDX_REORDER_BLOCK + 64);
  return udx__max_u32((uint32_t) udx__min_u64(records, UDX_FLIGHT_MAX), udx__flow_packets(stream));
}

void
udx__flow_rearm (udx_stream_t *stream, int idle_write, uint64_t now) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  if (stream->socket == NULL || udx__stream_dead(stream) || udx__stream(stream)->relay_to != NULL) return;
  if (udx__flight_span(stream) > 0) {
    flow->keepalive_at = UDX_NEVER;
    return;
  }
  if (flow->peer_window == 0 && udx__queue_has_unsent(stream)) {
    if (flow->probe_at == UDX_NEVER) {
      flow->probe_at = now + (idle_write ? 0 : udx__min_u64(udx__stream(stream)->rtt.rto, UDX_ZWP_SPACING_MAX));
      flow->probe_soon = idle_write != 0;
      udx__timer_at_most(stream, flow->probe_at);
    }
  } else {
    flow->probe_at = UDX_NEVER;
  }
  if (flow->keepalive > 0) {
    flow->keepalive_at = now + (uint64_t) flow->keepalive * UDX_MS;
    udx__timer_at_most(stream, flow->keepalive_at);
  }
}

static void
keepalive_start (udx_stream_t *stream, uint64_t at) {
  UDX_ASSERT(udx__stream(stream)->flow.keepalive > 0);
  udx__stream(stream)->flow.keepalive_at = at;
  udx__timer_at_most(stream, at);
}

void
udx__flow_heard (udx_stream_t *stream, uint64_t now) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  UDX_ASSERT(flow->silent_probes > 0 && flow->silent_since <= now);
  if (flow->heard_at <= flow->silent_since) return;
  flow->silent_probes = 0;
  if (flow->keepalive > 0) keepalive_start(stream, now + (uint64_t) flow->keepalive * UDX_MS);
}

/* The peer is given up if it has answered none of the probes until then. */
static uint64_t
give_up_at (const udx_stream_t *stream) {
  UDX_ASSERT(udx__stream(stream)->flow.silent_since > 0);
  return udx__stream(stream)->flow.silent_since + udx__give_up_after(stream);
}

/* The time of the next probe: after `wait`, or when the peer is given up. */
static uint64_t
before_give_up (const udx_stream_t *stream, uint64_t now, uint64_t wait) {
  UDX_ASSERT(wait > 0);
  uint64_t end = give_up_at(stream);
  return end > now ? udx__min_u64(now + wait, end) : now + wait;
}

/* Asks in that form. 0 if the stream gave up: the peer has answered none of the probes. */
static int
silent_probe (udx_stream_t *stream, uint8_t form, uint64_t now) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  UDX_ASSERT(udx__flight_span(stream) == 0);
  if (flow->silent_probes == 0) flow->silent_since = now;
  /* a process that was stopped has waited long, but asked less often */
  if (flow->silent_probes >= udx__timeouts_until_give_up(stream) && now + UDX_MS >= give_up_at(stream)) {
    if (stream->status & UDX_STREAM_ENDED) udx__time_wait_add(stream, 1);
    else udx__stream_reset(stream);
    udx__stream_close(stream, UV_ETIMEDOUT);
    return 0;
  }
  if (flow->silent_probes > 0) udx__stream_switch_source(stream);
  if (flow->silent_probes < UINT8_MAX) flow->silent_probes++;
  udx__owe_heartbeat(stream, form);
  return 1;
}

/* The keepalive of a stream whose END is acknowledged. 0 if the stream gave up. */
static int
end_probe (udx_stream_t *stream, uint64_t now) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  UDX_ASSERT(flow->keepalive > 0);
  /* all that the peer had to say waits here for the reader; the peer itself has closed and may be gone */
  const udx_ack_state_t *ack = &udx__stream(stream)->ack;
  if ((stream->status & UDX_STREAM_ENDING_REMOTE) && udx__seq_before(ack->end_seq, ack->next)) return 1;
  uint64_t due = flow->heard_at + (uint64_t) flow->keepalive * UDX_MS;
  if (flow->silent_probes == 0 && due > now) {
    keepalive_start(stream, due);
    return 1;
  }
  if (!silent_probe(stream, UDX_HEARTBEAT_PLAIN, now)) return 0;
  /* spaced as retransmissions are */
  keepalive_start(stream, before_give_up(stream, now, 2 * udx__max_u64(udx__stream(stream)->rtt.rto, UDX_SECOND)));
  return 1;
}

/* The peer's window is closed, and nothing is on the way: asks whether it still is. 0 if the stream gave up. */
static int
window_probe (udx_stream_t *stream, uint64_t now) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  UDX_ASSERT(flow->probe_at <= now);
  flow->probe_at = UDX_NEVER;
  if (flow->peer_window > 0 || udx__flight_span(stream) > 0 || !udx__queue_has_unsent(stream)) return 1;
  stream->zwp_count++;
  uint8_t form = flow->silent_probes < UDX_ZWP_HEARTBEATS ? UDX_HEARTBEAT_PLAIN : UDX_HEARTBEAT_ANSWERED;
  if (!silent_probe(stream, form, now)) return 0;
  uint64_t wait = (flow->probe_soon ? 1 : 2) * (uint64_t) udx__stream(stream)->rtt.rto;
  flow->probe_soon = 0;
  flow->probe_at = before_give_up(stream, now, udx__min_u64(wait, UDX_ZWP_SPACING_MAX));
  udx__timer_at_most(stream, flow->probe_at);
  return 1;
}

/* 0 if the stream gave up. */
static int
keepalive_fire (udx_stream_t *stream, uint64_t now) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  UDX_ASSERT(flow->keepalive_at <= now);
  flow->keepalive_at = UDX_NEVER;
  if (flow->keepalive == 0 || udx__flight_span(stream) > 0 || udx__stream(stream)->relay_to != NULL) return 1;
  if (stream->status & UDX_STREAM_ENDED) return end_probe(stream, now);
  udx__owe_heartbeat(stream, UDX_HEARTBEAT_PLAIN);
  keepalive_start(stream, now + (uint64_t) flow->keepalive * UDX_MS);
  return 1;
}

static void
gap_probe (udx_stream_t *stream, uint64_t now);

int
udx__flow_timeout (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->flow.poll_backoff <= UDX_REOPEN_POLL_DOUBLINGS);
  UDX_ASSERT(stream->socket != NULL || udx__stream(stream)->flow.probe_at == UDX_NEVER);
  udx_flow_t *flow = &udx__stream(stream)->flow;
  if (flow->probe_at <= now && !window_probe(stream, now)) return 0;
  if (flow->gap_probe_at <= now) gap_probe(stream, now);
  if (flow->keepalive_at <= now && !keepalive_fire(stream, now)) return 0;
  if (flow->reopen_at <= now) {
    flow->reopen_at = UDX_NEVER;
    udx__flow_reopen(stream);
    if (flow->advertised == 0 && !udx__stream(stream)->ack.owed) {
      uint64_t wait = (uint64_t) UDX_REOPEN_POLL_MIN << flow->poll_backoff;
      if (flow->poll_backoff < UDX_REOPEN_POLL_DOUBLINGS) flow->poll_backoff++;
      flow->reopen_at = now + udx__min_u64(wait, UDX_REOPEN_POLL_MAX);
      udx__timer_at_most(stream, flow->reopen_at);
    }
  }
  return 1;
}

static uint64_t
gap_unit (const udx_stream_t *stream) {
  return udx__max_u64(udx__stream(stream)->rtt.rto, UDX_SECOND);
}

static void
gap_begin (udx_stream_t *stream, uint64_t now) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  flow->gap_seq = udx__stream(stream)->ack.next;
  flow->gap_since = now;
  flow->gap_heard = flow->gap_interval = 0;
  flow->gap_size = 0;
  flow->gap_probe_at = now + gap_unit(stream);
  udx__timer_at_most(stream, flow->gap_probe_at);
}

/* Of a datagram with its IP header. To an IPv4 host at an IPv6 socket an IPv4 header belongs, too. */
static size_t
gap_packet_size (const udx_stream_t *stream, size_t length) {
  udx_address_t scratch;
  int family = udx__address_plain(&udx__stream(stream)->remote.any, &scratch)->sa_family;
  return length + (family == AF_INET ? UDX_OVERHEAD_V4 : UDX_OVERHEAD_V6) - UDX_HEADER_SIZE;
}

int
udx__flow_gap (udx_stream_t *stream, size_t length) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  uint64_t now = udx__instance(stream->udx)->now;
  size_t size = gap_packet_size(stream, length);
  if (size >= UDX_MTU_BASE || !(stream->status & UDX_STREAM_CONNECTED)) {
    udx__flow_gap_clear(flow);
    return 1;
  }
  /* a peer that may not send has a reason to keep back what it has numbered already */
  if (flow->gap_since == UDX_NEVER || flow->gap_seq != udx__stream(stream)->ack.next || flow->advertised == 0) {
    gap_begin(stream, now);
    return 1;
  }
  if (size > flow->gap_size) flow->gap_size = (uint16_t) size;
  uint64_t interval = udx__min_u64((now - flow->gap_since) / gap_unit(stream), UINT8_MAX);
  if (interval > flow->gap_interval) {
    flow->gap_interval = (uint8_t) interval;
    flow->gap_heard++;
  }
  if (flow->gap_heard < UDX_GAP_HEARD || interval < UDX_GAP_FACTOR) return 1;
  udx__stream_reset(stream);
  /* what is known of the path: the most that came, or went and is less than the peer sends */
  uint16_t proven = udx__stream(stream)->search.proven;
  stream->mtu = proven < UDX_MTU_BASE ? proven : UDX_MTU_MIN;
  if (stream->mtu < flow->gap_size) stream->mtu = flow->gap_size;
  udx__stream_close(stream, UV_EMSGSIZE);
  return 0;
}

/* Something is missing, and nothing of ours is on the way that the peer has to acknowledge: asks. */
static void
gap_probe (udx_stream_t *stream, uint64_t now) {
  udx_flow_t *flow = &udx__stream(stream)->flow;
  flow->gap_probe_at = UDX_NEVER;
  if (flow->gap_since == UDX_NEVER || flow->gap_seq != udx__stream(stream)->ack.next) {
    udx__flow_gap_clear(flow);
    return;
  }
  if (now - flow->gap_since > 2 * UDX_GAP_FACTOR * gap_unit(stream)) return; /* the peer is gone */
  if (udx__flight_span(stream) == 0) udx__owe_heartbeat(stream, UDX_HEARTBEAT_ANSWERED);
  flow->gap_probe_at = now + gap_unit(stream);
  udx__timer_at_most(stream, flow->gap_probe_at);
}
