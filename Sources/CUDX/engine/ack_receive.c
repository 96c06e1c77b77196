/* What the ack, window and SACK fields of any packet do to the sending side (udx.md 1.5 steps 14-21). */
#include "ack_receive.h"

#include "flow_control.h"
#include "instance.h"
#include "interval_set.h"
#include "migration.h"
#include "mtu.h"
#include "packet.h"
#include "path_validation.h"
#include "rate_sample.h"
#include "recovery.h"
#include "rtt.h"
#include "send_queue.h"
#include "stream.h"
#include "wire.h"
#include "trace/trace.h"

typedef struct ack_walk_s {
  udx_stream_t *stream;
  uint64_t now;
  uint64_t newest;      /* when the newest of the packets left */
  uint8_t is_ambiguous; /* a repetition left then: what is acknowledged may be an earlier transmission */
  uint8_t has_original; /* one of the packets left once only */
  uint32_t progress;
} ack_walk_t;

static void
packet_acked (ack_walk_t *walk, uint32_t seq, udx_packet_t *packet, int unordered) {
  UDX_DEBUG_ASSERT(seq - udx__stream(walk->stream)->flight.una < udx__flight_span(walk->stream));
  UDX_DEBUG_ASSERT(packet->state == UDX_PACKET_FLYING || packet->state == UDX_PACKET_LOST);
  udx_stream_t *stream = walk->stream;
  if (packet->state == UDX_PACKET_FLYING) {
    udx__flight_remove(stream, seq);
  } else {
    udx__lost_remove(stream, seq);
    /* given up by a timeout, not sent again, and there it is */
    if (packet->timeouts > 0 && packet->transmits > 0 && udx__stream(stream)->recovery.frto != UDX_FRTO_NONE)
      udx__stream(stream)->recovery.frto = UDX_FRTO_SPURIOUS;
  }
  packet->state = UDX_PACKET_ACKED;
  walk->progress++;
  if (!udx__recovery_is_of_former_path(stream, seq)) {
    if (packet->sent_at > walk->newest) {
      walk->newest = packet->sent_at;
      walk->is_ambiguous = 0;
    }
    if (packet->transmits == 1) walk->has_original = 1;
    else if (packet->sent_at == walk->newest) walk->is_ambiguous = 1;
  }
  udx__rate_acked(stream, packet, walk->now);
  udx__recovery_acked(stream, seq, packet, walk->now);
  udx__mtu_acked(stream, packet, walk->now);
  udx__queue_credit(stream, packet, unordered);
  if (UDX_UNLIKELY(udx__stream(stream)->validation.pending) &&
      udx__seq_diff(seq, udx__stream(stream)->validation.limit_from) >= 0) {
    udx__path_validation_acked(stream, walk->now);
  }
}

static void
range_sacked (void *ctx, uint32_t start, uint32_t end) {
  UDX_ASSERT(udx__seq_diff(end, udx__stream(((ack_walk_t *) ctx)->stream)->flight.nxt) <= 0);
  UDX_ASSERT(udx__seq_before(start, end));
  ack_walk_t *walk = ctx;
  for (uint32_t seq = start; seq != end; seq++) {
    udx_packet_t *packet = udx__packet_at(walk->stream, seq);
    if (packet->state == UDX_PACKET_ACKED) continue;
    packet_acked(walk, seq, packet, 1);
    udx__stream(walk->stream)->flight.sacked_count++;
  }
}

int
udx__ack_process (
  udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, const uint8_t *sack, size_t sack_length) {
  UDX_DEBUG_ASSERT(sack != NULL || sack_length == 0);
  udx_flight_t *flight = &udx__stream(stream)->flight;
  if (udx__seq_before(flight->nxt, header->ack)) {
    stream->udx->packets_invalid++;
    UDX_TRACE(stream->udx, dropped(stream, socket, header, UDX_HEADER_SIZE, UDX_TRACE_BAD_ACK));
    return 1;
  }
  udx__flow_update(stream, header);

  uint32_t old_una = flight->una;
  /* taken before the callbacks below run, which may change the remote again */
  udx_stream_remote_changed_cb changed[UDX_PATHS_MAX];
  unsigned int changes = 0;
  if (udx__seq_diff(header->ack, old_una) <= 0 && sack_length == 0) return 1;

  ack_walk_t walk = {.stream = stream, .now = udx__instance(stream->udx)->now};
  if (udx__seq_before(old_una, header->ack)) {
    for (uint32_t seq = old_una; seq != header->ack; seq++) {
      udx_packet_t *packet = udx__packet_at(stream, seq);
      if (packet->state == UDX_PACKET_ACKED) flight->sacked_count--;
      else packet_acked(&walk, seq, packet, 0);
      UDX_DEBUG_ASSERT(udx__stream(stream)->flight.sacked_count <= udx__flight_span(stream));
      flight->una = seq + 1;
    }
    if (flight->sacked.count > 0) udx__intervals_trim(&flight->sacked, flight->una);
    udx__stream(stream)->rate.ack_advanced = 1;
    if (UDX_UNLIKELY(udx__stream(stream)->paths != NULL)) changes = udx__paths_acked(stream, changed);
  }
  udx__stream(stream)->recovery.reported = sack_length >= 8;
  if (UDX_UNLIKELY(sack_length > 8 * UDX_SACK_BLOCKS_TAKEN)) sack_length = 8 * UDX_SACK_BLOCKS_TAKEN;
  for (size_t i = 0; i + 8 <= sack_length; i += 8) {
    uint32_t start = udx__get_u32(sack + i);
    uint32_t end = udx__get_u32(sack + i + 4);
    int valid = udx__seq_diff(end, flight->nxt) <= 0 && udx__seq_before(start, end) &&
                udx__seq_before(start, flight->nxt) && udx__seq_diff(start, flight->una) >= 0;
    if (!valid) {
      stream->dropped_sacks++;
      continue;
    }
    /* a full set walks over what it could not note again and again: once per packet is enough */
    if (udx__intervals_add(&flight->sacked, start, end, range_sacked, &walk)) break;
  }
  /*
   * The reference takes a sample of every packet that was not repeated. After an outage one repetition brings the
   * acknowledgement of all that had arrived before it: their age is no round trip, and 13 times such an estimate is the
   * time in which a dead peer is noticed.
   */
  if (walk.has_original && !walk.is_ambiguous) {
    udx__rtt_sample(stream, (uint32_t) udx__min_u64(walk.now - walk.newest, UINT32_MAX - 1), walk.now);
  }
  if (walk.has_original) udx__stream(stream)->recovery.tlp_sampled = 1;
  if (walk.progress > 0 || flight->una != old_una) {
    UDX_ASSERT(udx__seq_diff(flight->una, old_una) >= 0 && udx__seq_diff(flight->una, flight->nxt) <= 0);
    udx__recovery_update(stream, old_una, walk.now);
    udx__queue_flush_empty(stream);
    if (!udx__queue_report(stream)) return 0;
    for (unsigned int i = 0; i < changes; i++) {
      changed[i](stream);
      if (udx__stream_dead(stream)) return 0;
    }
  }
  return 1;
}
