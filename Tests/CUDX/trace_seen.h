/* An observer of the event trace that counts what it sees and checks what every event promises. */
#ifndef UDX_TEST_TRACE_SEEN_H
#define UDX_TEST_TRACE_SEEN_H

#include "test.h"
#include "udx_trace.h"

#define SEQS 8192

typedef struct seen_s {
  uint64_t count[32];                      /* by event type */
  uint64_t packets_sent, packets_received; /* what the counters count */
  uint64_t bytes_sent, bytes_received;
  uint64_t retransmissions, probes, messages;
  uint64_t rto_expired, tlp_expired, pacing_expired;
  uint64_t datagrams_in_batches_sent, datagrams_in_batches_received;
  uint64_t duplicates, firewalled, without_room, bad_acks;
  uint64_t last_time;
  uint32_t states; /* bits */
  uint16_t mtu;
  int close_status;
  int tlp_due;
  uint16_t lost[SEQS];     /* packet_lost events per seq */
  uint16_t repaired[SEQS]; /* retransmissions after one of them, or by a tail loss probe */
} seen_t;

static inline void
on_packet_sent (seen_t *seen, const udx_trace_event_t *event) {
  CHECK(event->as.packet.length >= UDX_HEADER_SIZE);
  if (event->as.packet.type & UDX_HEADER_MESSAGE) {
    seen->messages++;
    return;
  }
  seen->packets_sent++;
  seen->bytes_sent += event->as.packet.length;
  if (!(event->as.packet.type & UDX_HEADER_SACK)) seen->bytes_sent -= event->as.packet.data_offset;
  else CHECK(event->as.packet.sack_count > 0);
  uint32_t seq = event->as.packet.seq;
  if (event->as.packet.trigger == UDX_TRACE_MTU_PROBE) seen->probes++;
  if (event->as.packet.trigger != UDX_TRACE_RETRANSMISSION) return;
  seen->retransmissions++;
  CHECK(seq < SEQS);
  /* nothing is sent again without a reason that was reported */
  if (seen->lost[seq] == seen->repaired[seq]) {
    CHECK(seen->tlp_due);
    seen->lost[seq]++;
  }
  seen->tlp_due = 0;
  seen->repaired[seq]++;
}

static inline void
on_event (udx_t *udx, const udx_trace_event_t *event, void *data) {
  seen_t *seen = data;
  CHECK(event->size == sizeof(*event));
  CHECK((unsigned) event->type < 32);
  CHECK(event->time >= seen->last_time);
  seen->last_time = event->time;
  seen->count[event->type]++;
  if (event->stream != NULL) {
    CHECK(event->stream->udx == udx);
    CHECK_EQ(event->local_id, event->stream->local_id);
  }
  switch (event->type) {
  case UDX_TRACE_PACKET_SENT:
    on_packet_sent(seen, event);
    break;
  case UDX_TRACE_PACKET_RECEIVED:
    seen->packets_received++;
    seen->bytes_received += event->as.packet.length;
    break;
  case UDX_TRACE_DATAGRAM_RECEIVED:
    seen->packets_received++;
    seen->bytes_received += event->as.datagram.length;
    break;
  case UDX_TRACE_PACKET_DROPPED:
    CHECK(event->socket != NULL);
    seen->duplicates += event->as.dropped.trigger == UDX_TRACE_DUPLICATE;
    seen->firewalled += event->as.dropped.trigger == UDX_TRACE_FIREWALL;
    seen->without_room += event->as.dropped.trigger == UDX_TRACE_NO_ROOM;
    seen->bad_acks += event->as.dropped.trigger == UDX_TRACE_BAD_ACK;
    break;
  case UDX_TRACE_PACKET_LOST:
    CHECK(event->as.lost.seq < SEQS);
    CHECK(event->as.lost.sent_at <= event->time);
    seen->lost[event->as.lost.seq]++;
    break;
  case UDX_TRACE_METRICS:
    CHECK_EQ(event->as.metrics.cwnd, event->stream->cwnd);
    break;
  case UDX_TRACE_STATE:
    CHECK(event->as.state.old_state != event->as.state.new_state);
    seen->states |= 1u << event->as.state.new_state;
    break;
  case UDX_TRACE_TIMER:
    if (event->as.timer.change != UDX_TRACE_EXPIRED) break;
    if (event->as.timer.timer == UDX_TRACE_RTO) seen->rto_expired++;
    if (event->as.timer.timer == UDX_TRACE_PACING) seen->pacing_expired++;
    if (event->as.timer.timer == UDX_TRACE_TLP) {
      seen->tlp_expired++;
      seen->tlp_due = 1;
    }
    break;
  case UDX_TRACE_MTU:
    seen->mtu = event->as.mtu.new_mtu;
    break;
  case UDX_TRACE_STREAM_CLOSED:
    seen->close_status = event->as.closed.status;
    break;
  case UDX_TRACE_BATCH_SENT:
    seen->datagrams_in_batches_sent += event->as.batch.datagrams;
    break;
  case UDX_TRACE_BATCH_RECEIVED:
    seen->datagrams_in_batches_received += event->as.batch.datagrams;
    break;
  default:
    break;
  }
}

#endif
