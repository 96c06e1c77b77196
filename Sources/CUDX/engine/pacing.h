/* The pacer: a token bucket. */
#ifndef UDX_ENGINE_PACING_H
#define UDX_ENGINE_PACING_H

#include "base.h"

typedef struct udx_pacing_s {
  uint64_t rate;  /* bytes per second */
  int64_t credit; /* bytes that may leave now, negative = debt */
  uint64_t updated;
  uint64_t at;                 /* deadline of the next attempt */
  uint64_t single_until;       /* packets go singly: bursts were lost on a path that shows no queue */
  uint64_t single_judged_from; /* losses of single packets count from here */
  uint64_t burst_until;        /* single packets did not help: not again before */
  uint32_t sent;               /* packets since losses were looked at */
  uint32_t lost;
  uint8_t waiting;    /* the pacer, nothing else, held the stream back */
  uint8_t queued;     /* `ready` is in the queue of the macroflow */
  uint8_t may_exceed; /* waited too long for it: one packet may exceed the budget */
} udx_pacing_t;

void
udx__pacing_init (udx_stream_t *stream);

void
udx__pacing_set_rate (udx_stream_t *stream, double bytes_per_second);

/* 1 if a packet may leave now. */
int
udx__pacing_ready (udx_stream_t *stream, uint64_t now);

void
udx__pacing_spend (udx_stream_t *stream, uint32_t bytes);

/* `count` packets were found lost. */
void
udx__pacing_lost (udx_stream_t *stream, uint32_t count, uint64_t now);

/* Sets the deadline for the next attempt. */
void
udx__pacing_wait (udx_stream_t *stream, uint64_t now);

#endif
