/*
 * Path validation (udx.md 2.9; RFC 9000, section 8). Until something that was sent to a new remote is acknowledged
 * from there it gets no more than an initial window: a peer that names the address of another host cannot have that
 * host flooded. An acknowledgement from elsewhere may come from such a peer, which knows what is sent, or from an
 * honest one whose packets take another way: it renews the allowance once per interval.
 *
 * A first remote that only others have named gets fewer still until a packet comes from there. Retransmissions count,
 * and what is lost then waits: nothing is given up sooner for it.
 */
#include "path_validation.h"

#include "stream.h"
#include "timer.h"
#include "transmit.h"

/* The remote is not only claimed any more, or is another one: what was kept back leaves. */
static void
unheard_lift (udx_stream_t *stream) {
  udx__stream(stream)->validation.claimed = 0;
  if (udx__stream(stream)->ack.owed) udx__owe_ack(stream);
  udx__mark_ready(stream);
}

void
udx__path_validation_begin (udx_stream_t *stream) {
  UDX_ASSERT(stream->status & UDX_STREAM_CONNECTED);
  udx_path_validation_t *validation = &udx__stream(stream)->validation;
  validation->pending = 1;
  validation->limit_from = udx__stream(stream)->flight.nxt;
  validation->next_at = 0;
  validation->wake_at = UDX_NEVER;
  if (validation->claimed) unheard_lift(stream);
}

int
udx_stream_limit_unheard (udx_stream_t *stream) {
  if (!(stream->status & UDX_STREAM_CONNECTED)) return UV_ENOTCONN;
  udx__stream(stream)->validation.claimed = 1;
  udx__stream(stream)->validation.claimed_left = UDX_CLAIMED_PACKETS;
  return 0;
}

void
udx__path_validation_heard (udx_stream_t *stream) {
  UDX_ASSERT(udx__stream(stream)->validation.claimed);
  unheard_lift(stream);
}

static void
allowance_renew (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->validation.pending);
  udx__stream(stream)->validation.limit_from = udx__stream(stream)->flight.nxt;
  udx__stream(stream)->validation.next_at = now + UDX_AMPLIFICATION_INTERVAL;
  udx__stream(stream)->validation.wake_at = UDX_NEVER;
  udx__mark_ready(stream);
}

void
udx__path_validation_acked (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->validation.pending);
  udx_path_validation_t *validation = &udx__stream(stream)->validation;
  if (!validation->other_source) {
    validation->pending = 0;
    validation->wake_at = UDX_NEVER;
    udx__mark_ready(stream);
  } else if (now >= validation->next_at) {
    allowance_renew(stream, now);
  } else if (validation->wake_at == UDX_NEVER) {
    validation->wake_at = validation->next_at;
    udx__timer_at_most(stream, validation->wake_at);
  }
}

void
udx__path_validation_timeout (udx_stream_t *stream, uint64_t now) {
  if (udx__stream(stream)->validation.wake_at <= now) allowance_renew(stream, now);
}
