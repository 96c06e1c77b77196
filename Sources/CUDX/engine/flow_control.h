/* Receive windows in both directions, zero-window probes, keepalive. */
#ifndef UDX_ENGINE_FLOW_CONTROL_H
#define UDX_ENGINE_FLOW_CONTROL_H

#include "wire.h"

typedef struct udx_flow_s {
  uint32_t peer_window;
  uint32_t wl_seq;
  uint32_t wl_ack;
  uint32_t window_max; /* what we offer at most */
  uint32_t advertised; /* what the last packet said */
  uint32_t keepalive;  /* ms, 0 = off */
  uint8_t probe_soon;  /* the probe of an idle write: the next one follows after one RTO, not two */
  uint8_t poll_backoff;
  uint8_t silent_probes; /* of a closed window, or END packets sent again, since the peer was heard last */
  uint64_t heard_at;     /* the last packet of the peer */
  uint64_t silent_since; /* the first of those probes */
  uint64_t probe_at;     /* zero-window probe */
  uint64_t keepalive_at;
  uint64_t reopen_at; /* poll of a window that we closed */
  uint64_t gap_since; /* the peer has sent `gap_seq`, which has not come; UDX_NEVER = nothing is missing */
  uint64_t gap_probe_at;
  uint32_t gap_seq;
  uint8_t gap_heard;    /* intervals in which a packet came */
  uint8_t gap_interval; /* the last of them */
  uint16_t gap_size;    /* the largest packet that came, with its IP header */
} udx_flow_t;

void
udx__flow_init (udx_stream_t *stream);

/* The window to put into a packet. */
uint32_t
udx__flow_advertise (udx_stream_t *stream);

void
udx__flow_update (udx_stream_t *stream, const udx_header_t *header);

/* Packets that the peer's window allows in flight. */
uint32_t
udx__flow_packets (const udx_stream_t *stream);

uint32_t
udx__flow_span (const udx_stream_t *stream);

/* Everything was acknowledged, or the application wrote: are zero-window probes or keepalives due? */
void
udx__flow_rearm (udx_stream_t *stream, int idle_write, uint64_t now);

/* 0 if the stream gave up. */
int
udx__flow_timeout (udx_stream_t *stream, uint64_t now);

/* The peer was heard while probes waited for an answer. */
void
udx__flow_heard (udx_stream_t *stream, uint64_t now);

/*
 * A datagram of `length` bytes shows that the peer has sent earlier ones that have not come. 0 if the stream gave up:
 * only small packets get through.
 */
int
udx__flow_gap (udx_stream_t *stream, size_t length);

/* What is missing is no matter of its size. */
static inline void
udx__flow_gap_clear (udx_flow_t *flow) {
  flow->gap_since = flow->gap_probe_at = UDX_NEVER;
}

/* Tells the peer if a closed window opened. */
void
udx__flow_reopen (udx_stream_t *stream);

#endif
