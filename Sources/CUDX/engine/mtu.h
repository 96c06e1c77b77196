/* Path MTU discovery (RFC 8899). */
#ifndef UDX_ENGINE_MTU_H
#define UDX_ENGINE_MTU_H

#include "packet.h"

typedef struct udx_mtu_search_s {
  uint8_t state;
  uint8_t probes;
  uint8_t black_hole; /* timeouts of large packets while none as large arrived */
  uint8_t in_flight;
  uint8_t step; /* bytes between sizes */
  uint16_t probe_size;
  uint16_t hole_size; /* the smallest of those packets */
  uint16_t ceiling;
  uint16_t proven; /* the largest packet that arrived in one piece, at least UDX_MTU_MIN */
  uint64_t raise_at;
} udx_mtu_search_t;

enum {
  UDX_MTU_STATE_BASE = 1, /* for the first acknowledged packet */
  UDX_MTU_STATE_SEARCH = 2,
  UDX_MTU_STATE_COMPLETE = 3,
};

void
udx__mtu_init (udx_stream_t *stream);

/* Whole-packet overhead: IP, UDP and UDX headers. */
uint32_t
udx__mtu_overhead (const udx_stream_t *stream);

/* Pads a new packet to be a probe if one is due. */
void
udx__mtu_probe (udx_stream_t *stream, udx_packet_t *packet);

void
udx__mtu_acked (udx_stream_t *stream, udx_packet_t *packet, uint64_t now);

void
udx__mtu_lost (udx_stream_t *stream, udx_packet_t *packet, uint64_t now);

/* The oldest packet timed out. */
void
udx__mtu_timeout (udx_stream_t *stream, const udx_packet_t *packet);

/* How many ranges fit an acknowledgement that gets through. */
int
udx__mtu_ranges (const udx_stream_t *stream);

/* The packet was built for a larger path MTU than is believed now. */
int
udx__mtu_exceeds (const udx_stream_t *stream, const udx_packet_t *packet);

/* Back to the base size (change of remote). */
void
udx__mtu_reset (udx_stream_t *stream);

#endif
