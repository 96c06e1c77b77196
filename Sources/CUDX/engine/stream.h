/* A stream: the mechanisms composed, and its life. */
#ifndef UDX_ENGINE_STREAM_H
#define UDX_ENGINE_STREAM_H

#include "congestion.h"
#include "congestion_bbr.h"
#include "congestion_cubic.h"
#include "flow_control.h"
#include "instance.h"
#include "macroflow.h"
#include "migration.h"
#include "mtu.h"
#include "pacing.h"
#include "path_validation.h"
#include "receive.h"
#include "recovery.h"
#include "reorder.h"
#include "rtt.h"
#include "send_queue.h"
#include "socket.h"

enum {
  UDX_GUARD_FIREWALL = 1, /* the firewall is asked for every source but the remote */
  UDX_GUARD_SOURCES = 2,  /* the source check */
};

/* The engine's part of udx_stream_t. */
typedef struct udx_stream_state_s {
  udx_stream_close_cb on_close;
  udx_stream_finalize_cb on_finalize;
  udx_stream_firewall_cb on_firewall;
  udx_stream_read_cb on_read;
  udx_stream_recv_cb on_recv;
  udx_stream_drain_cb on_drain;
  udx_link_t link;    /* in the instance's streams, or closing */
  udx_link_t ready;   /* in the socket's list, or queued in the macroflow */
  udx_link_t owing;   /* in the socket's list */
  udx_link_t touched; /* in the instance's list */
  udx_address_t remote;
  udx_flight_t flight;
  udx_send_queue_t queue;
  udx_ack_state_t ack;
  udx_reorder_t reorder;
  udx_rtt_t rtt;
  udx_recovery_t recovery;
  udx_rate_t rate;
  udx_bbr_state_t bbr;
  udx_cubic_t cubic;
  const udx_congestion_ops_t *congestion;
  udx_pacing_t pacing;
  udx_mtu_search_t search;
  udx_flow_t flow;
  uint64_t timer_key;
  uint32_t timer_index;       /* 1-based, 0 = not in the heap */
  uint8_t traced_state;       /* congestion state of the last event */
  uint8_t local_heard;        /* the address of this host that the peer speaks to, as the driver counts them */
  uint8_t local;              /* what packets leave from: that, or 0, the system's choice */
  uint8_t guards;             /* UDX_GUARD_*: sources other than the remote are looked at */
  udx_macroflow_t *macroflow; /* NULL before connect and without memory */
  udx_path_t *paths;
  udx_path_validation_t validation;
  udx_stream_t *relay_to;
  udx_link_t relays; /* streams that relay to this one */
  udx_link_t relay;
  struct udx_relay_quotas_s *relay_quotas; /* NULL without quotas */
  struct udx_sources_s *sources;           /* NULL without the source check */
} udx_stream_state_t;

UDX_ROOM(udx_stream_t, udx_stream_state_t);

UDX_ACCESSOR(udx__stream, udx_stream_t, udx_stream_state_t)
#define udx__stream(stream) UDX_ACCESS(udx__stream, udx_stream_t, stream)

#define UDX__STREAM_OF(l, field) UDX__PUBLIC(udx_stream_t, udx_stream_state_t, field, l)

/* ---- what the mechanisms ask each other most often ---- */

static inline udx_packet_t *
udx__packet_at (udx_stream_t *stream, uint32_t seq) {
  udx_flight_t *flight = &udx__stream(stream)->flight;
  return &flight->ring[seq & flight->mask];
}

static inline uint32_t
udx__flight_span (const udx_stream_t *stream) {
  const udx_flight_t *flight = &udx__stream(stream)->flight;
  return flight->nxt - flight->una;
}

/* Packets in flight: neither selectively acknowledged nor lost. */
static inline uint32_t
udx__in_flight (const udx_stream_t *stream) {
  return udx__stream(stream)->flight.flying.count;
}

static inline int
udx__queue_has_unsent (const udx_stream_t *stream) {
  return udx__stream(stream)->queue.unsent > 0 || udx__stream(stream)->queue.end_unsent;
}

static inline uint32_t
udx__mtu_payload (const udx_stream_t *stream) {
  return stream->mtu - udx__mtu_overhead(stream);
}

/*
 * Nothing sent from this address is answered: the other one has its turn. The address that the peer speaks to is what
 * its firewall admits, the system's choice is what the way out has become.
 */
static inline void
udx__stream_switch_source (udx_stream_t *stream) {
  udx__stream(stream)->local = udx__stream(stream)->local == 0 ? udx__stream(stream)->local_heard : 0;
}

/* New packets wait until the remote proves that it receives (RFC 9000, section 8). */
static inline int
udx__amplification_limited (const udx_stream_t *stream) {
  const udx_path_validation_t *validation = &udx__stream(stream)->validation;
  return UDX_UNLIKELY(validation->pending) &&
         udx__stream(stream)->flight.nxt - validation->limit_from >= UDX_AMPLIFICATION_PACKETS;
}

/* Nothing leaves until something comes from the remote. */
static inline int
udx__unheard_limited (const udx_stream_t *stream) {
  const udx_path_validation_t *validation = &udx__stream(stream)->validation;
  return UDX_UNLIKELY(validation->claimed) && validation->claimed_left == 0;
}

static inline void
udx__unheard_spend (udx_stream_t *stream) {
  udx_path_validation_t *validation = &udx__stream(stream)->validation;
  if (UDX_UNLIKELY(validation->claimed) && validation->claimed_left > 0) validation->claimed_left--;
}

/* One has not left after all. */
static inline void
udx__unheard_return (udx_stream_t *stream) {
  udx_path_validation_t *validation = &udx__stream(stream)->validation;
  if (UDX_UNLIKELY(validation->claimed) && validation->claimed_left < UDX_CLAIMED_PACKETS) validation->claimed_left++;
}

static inline int
udx__stream_dead (const udx_stream_t *stream) {
  return (stream->status & (UDX_STREAM_DESTROYING | UDX_STREAM_CLOSED)) != 0;
}

/* The current batch concerns this stream; udx__stream_settle follows at its end. */
void
udx__stream_touch (udx_stream_t *stream);

/* Batch end: congestion control, EOF, end of life. */
void
udx__stream_settle (udx_stream_t *stream);

void
udx__stream_timeout (udx_stream_t *stream, uint64_t now);

/* The earliest deadline of all mechanisms. */
uint64_t
udx__stream_deadline (const udx_stream_t *stream);

void
udx__stream_close (udx_stream_t *stream, int status);

/* Tells the peer that the stream is over, now and whenever it speaks for a while. The stream is closed next. */
void
udx__stream_reset (udx_stream_t *stream);

void
udx__stream_header (udx_stream_t *stream, udx_header_t *header, uint8_t type);

#endif
