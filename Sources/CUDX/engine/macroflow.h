/* The streams of a socket towards one address, as one flow (RFC 3124). */
#ifndef UDX_ENGINE_MACROFLOW_H
#define UDX_ENGINE_MACROFLOW_H

#include "address.h"
#include "list.h"
#include "rate_sample.h"

typedef struct udx_macroflow_s {
  struct udx_macroflow_s *next; /* in the bucket */
  udx_socket_t *socket;
  udx_link_t waiting;   /* streams, by their `ready` */
  udx_link_t resumable; /* in the socket's list */
  uint64_t inflight;    /* bytes */
  uint64_t budget;      /* bytes */
  uint64_t min_rtt_stamp;
  uint64_t round_end;
  uint32_t min_rtt;     /* us, 0 = none */
  uint32_t round_acked; /* packets */
  uint32_t round_lost;
  uint32_t streams;
  udx_address_t address;
  uint8_t limited;   /* streams waited in this round */
  uint8_t congested; /* a considerable share of a round was lost: no queue is tolerated from then on */
} udx_macroflow_t;

/* The stream was connected or moved: it counts for (socket, remote). */
void
udx__macroflow_join (udx_stream_t *stream);

void
udx__macroflow_leave (udx_stream_t *stream);

/* 1 if the budget is spent: the stream waits in the macroflow's queue. */
int
udx__macroflow_wait (udx_stream_t *stream, uint64_t now);

/* The first that waits, taken out, if the budget allows. */
udx_stream_t *
udx__macroflow_next (udx_macroflow_t *macroflow);

/* The stream leaves the queue. */
void
udx__macroflow_dequeue (udx_stream_t *stream);

/* The stream waited UDX_MACROFLOW_WAIT_MAX: with nothing in flight it leaves the queue, and one packet
 * may exceed the budget. */
void
udx__macroflow_wait_expired (udx_stream_t *stream, uint64_t now);

/* Less is in flight: the socket looks at the queue in this turn. */
void
udx__macroflow_resume (udx_macroflow_t *macroflow);

void
udx__macroflow_acked (udx_stream_t *stream, const udx_rate_sample_t *sample);

#endif
