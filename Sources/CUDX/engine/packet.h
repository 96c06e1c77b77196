/* Records of packets that were sent and are not acknowledged cumulatively. */
#ifndef UDX_ENGINE_PACKET_H
#define UDX_ENGINE_PACKET_H

#include "interval_set.h"

typedef struct udx_packet_s udx_packet_t;

enum {
  UDX_PACKET_FREE = 0,
  UDX_PACKET_FLYING = 1,
  UDX_PACKET_LOST = 2,
  UDX_PACKET_ACKED = 3,
};

struct udx_packet_s {
  uint64_t sent_at;
  udx_stream_write_t *write; /* where the payload begins */
  size_t offset;             /* in the buffer `buf` of it */
  uint32_t buf;
  uint32_t prev;
  uint32_t next;
  uint32_t delivered;      /* snapshots for the rate sample */
  uint32_t first_sent_ago; /* us before sent_at */
  uint32_t delivered_ago;  /* us before sent_at */
  uint16_t length;         /* payload bytes */
  uint8_t type;
  uint8_t state;
  uint8_t transmits;
  uint8_t timeouts;
  uint8_t padding;
  uint8_t app_limited : 1;
  uint8_t is_probe : 1;
};

typedef struct udx_seq_list_s {
  uint32_t head;
  uint32_t tail;
  uint32_t count;
} udx_seq_list_t;

typedef struct udx_flight_s {
  udx_packet_t *ring; /* index = seq & mask; NULL while nothing is outstanding */
  uint32_t mask;
  uint32_t una;          /* oldest seq not acknowledged cumulatively */
  uint32_t nxt;          /* next seq to assign */
  udx_seq_list_t flying; /* by time of transmission */
  udx_seq_list_t lost;   /* by seq */
  udx_interval_set_t sacked;
  uint32_t sacked_count; /* packets in una..nxt that were selectively acknowledged */
} udx_flight_t;

/* A cleared record for seq nxt, which advances. NULL at the bound or without memory. */
udx_packet_t *
udx__flight_push (udx_stream_t *stream);

/* Takes the newest record back. */
void
udx__flight_unpush (udx_stream_t *stream);

void
udx__flight_append (udx_stream_t *stream, uint32_t seq);

void
udx__flight_remove (udx_stream_t *stream, uint32_t seq);

void
udx__lost_insert (udx_stream_t *stream, uint32_t seq);

void
udx__lost_remove (udx_stream_t *stream, uint32_t seq);

/* All lost packets fly again, before those that were sent later. */
void
udx__lost_revive (udx_stream_t *stream);

/* Gives the ring back once nothing is outstanding. */
void
udx__flight_relax (udx_stream_t *stream);

void
udx__flight_free (udx_stream_t *stream);

#endif
