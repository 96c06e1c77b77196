/*
 * What the streams of one socket have in flight towards one address, together: a macroflow (RFC 3124). Every stream
 * has a congestion window of its own, but they share the path and the peer's receive buffer: a thousand first flights
 * at once, or the sum of a thousand windows, overflow it whatever each stream measured.
 *
 * The budget grows with acknowledged progress while it is what limits the streams and no queue builds up, and shrinks
 * if a round loses a considerable share. A stream alone never waits. The others wait in a queue, which serves them in
 * turn; a stream that waits for UDX_MACROFLOW_WAIT_MAX with nothing in flight sends one packet beyond the budget:
 * packets to a peer that is gone must not block a new stream to its successor.
 */
#include "macroflow.h"

#include <stdlib.h>

#include "address.h"
#include "instance.h"
#include "list.h"
#include "socket.h"
#include "stream.h"
#include "timer.h"
#include "transmit.h"

struct udx_macroflows_s {
  udx_macroflow_t *buckets[UDX_MACROFLOW_BUCKETS];
};

static uint32_t
macroflow_bucket (const udx_t *udx, const udx_socket_t *socket, const udx_address_t *address) {
  uint32_t words[5] = {udx__instance(udx)->ids.seed, udx__socket(socket)->number};
  if (address->any.sa_family == AF_INET) {
    words[1] ^= address->v4.sin_addr.s_addr;
    words[0] ^= (uint32_t) address->v4.sin_port << 8;
  } else {
    uint32_t parts[4];
    memcpy(parts, &address->v6.sin6_addr, sizeof(parts));
    words[1] ^= parts[0];
    words[2] = parts[1];
    words[3] = parts[2];
    words[4] = parts[3];
    words[0] ^= (uint32_t) address->v6.sin6_port << 8;
  }
  uint32_t h = 0;
  for (int i = 0; i < 5; i++) {
    h ^= words[i];
    h ^= h >> 16;
    h *= 0x7feb352du;
    h ^= h >> 15;
    h *= 0x846ca68bu;
    h ^= h >> 16;
  }
  return h % UDX_MACROFLOW_BUCKETS;
}

/* On a long path most of what is in flight is in no buffer: that much more per round trip needs no proof. */
static uint64_t
macroflow_limit (const udx_macroflow_t *macroflow) {
  UDX_DEBUG_ASSERT(macroflow->budget >= UDX_MACROFLOW_MIN && macroflow->budget <= UDX_MACROFLOW_MAX);
  uint64_t easy = UDX_MACROFLOW_MIN * (1 + (uint64_t) macroflow->min_rtt / UDX_MACROFLOW_MIN_TIME);
  return udx__max_u64(macroflow->budget, easy);
}

void
udx__macroflow_join (udx_stream_t *stream) {
  UDX_ASSERT(stream->socket != NULL && udx__stream(stream)->macroflow == NULL);
  udx_t *udx = stream->udx;
  udx_socket_t *socket = stream->socket;
  if (udx__instance(udx)->macroflows == NULL) {
    udx__instance(udx)->macroflows = calloc(1, sizeof(*udx__instance(udx)->macroflows));
    if (udx__instance(udx)->macroflows == NULL) return; /* without a record there is no limit */
  }
  udx_macroflow_t **bucket =
    &udx__instance(udx)->macroflows->buckets[macroflow_bucket(udx, socket, &udx__stream(stream)->remote)];
  udx_macroflow_t *macroflow = *bucket;
  while (macroflow != NULL && (macroflow->socket != socket ||
                                !udx__address_equal(&macroflow->address.any, &udx__stream(stream)->remote.any))) {
    macroflow = macroflow->next;
  }
  if (macroflow == NULL) {
    macroflow = calloc(1, sizeof(*macroflow));
    if (macroflow == NULL) return;
    macroflow->socket = socket;
    macroflow->address = udx__stream(stream)->remote;
    macroflow->budget = UDX_MACROFLOW_MIN;
    udx__list_init(&macroflow->waiting);
    udx__list_init(&macroflow->resumable);
    macroflow->next = *bucket;
    *bucket = macroflow;
  }
  UDX_ASSERT(macroflow->socket == socket);
  macroflow->streams++;
  macroflow->inflight += stream->inflight;
  udx__stream(stream)->macroflow = macroflow;
}

void
udx__macroflow_leave (udx_stream_t *stream) {
  udx_macroflow_t *macroflow = udx__stream(stream)->macroflow;
  if (macroflow == NULL) return;
  if (udx__stream(stream)->pacing.queued) udx__macroflow_dequeue(stream);
  UDX_ASSERT(macroflow->inflight >= stream->inflight);
  UDX_ASSERT(macroflow->streams > 0);
  macroflow->inflight -= stream->inflight;
  udx__stream(stream)->macroflow = NULL;
  if (--macroflow->streams > 0) {
    udx__macroflow_resume(macroflow);
    return;
  }
  UDX_ASSERT(udx__list_empty(&macroflow->waiting) && macroflow->inflight == 0);
  udx_t *udx = stream->udx;
  udx__list_remove(&macroflow->resumable);
  udx_macroflow_t **link =
    &udx__instance(udx)->macroflows->buckets[macroflow_bucket(udx, macroflow->socket, &macroflow->address)];
  while (*link != macroflow) link = &(*link)->next;
  *link = macroflow->next;
  free(macroflow);
}

int
udx__macroflow_wait (udx_stream_t *stream, uint64_t now) {
  UDX_DEBUG_ASSERT(!udx__stream(stream)->pacing.queued);
  udx_macroflow_t *macroflow = udx__stream(stream)->macroflow;
  if (macroflow == NULL || macroflow->inflight < macroflow_limit(macroflow) || macroflow->inflight == stream->inflight)
    return 0;
  if (udx__stream(stream)->pacing.may_exceed && stream->inflight == 0) {
    udx__stream(stream)->pacing.may_exceed = 0;
    return 0;
  }
  UDX_ASSERT(macroflow->inflight > stream->inflight);
  macroflow->limited = 1;
  udx__stream(stream)->pacing.queued = 1;
  udx__stream(stream)->pacing.may_exceed = 0;
  udx__list_remove(&udx__stream(stream)->ready);
  udx__list_append(&macroflow->waiting, &udx__stream(stream)->ready);
  udx__stream(stream)->pacing.waiting = 0;
  udx__stream(stream)->pacing.at = now + UDX_MACROFLOW_WAIT_MAX;
  udx__timer_at_most(stream, udx__stream(stream)->pacing.at);
  return 1;
}

udx_stream_t *
udx__macroflow_next (udx_macroflow_t *macroflow) {
  if (udx__list_empty(&macroflow->waiting) || macroflow->inflight >= macroflow_limit(macroflow)) return NULL;
  udx_stream_t *stream = UDX__STREAM_OF(macroflow->waiting.next, ready);
  UDX_ASSERT(udx__stream(stream)->pacing.queued && udx__stream(stream)->macroflow == macroflow);
  udx__macroflow_dequeue(stream);
  return stream;
}

void
udx__macroflow_wait_expired (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->pacing.queued);
  if (stream->inflight > 0) {
    /* it will be acknowledged or lost: its place in the line is good enough */
    udx__stream(stream)->pacing.at = now + UDX_MACROFLOW_WAIT_MAX;
    return;
  }
  udx__stream(stream)->pacing.may_exceed = 1;
  udx__macroflow_dequeue(stream);
}

void
udx__macroflow_dequeue (udx_stream_t *stream) {
  UDX_ASSERT(!udx__list_empty(&udx__stream(stream)->ready));
  UDX_ASSERT(udx__stream(stream)->pacing.queued);
  udx__stream(stream)->pacing.queued = 0;
  udx__stream(stream)->pacing.at = UDX_NEVER;
  udx__list_remove(&udx__stream(stream)->ready);
}

void
udx__macroflow_resume (udx_macroflow_t *macroflow) {
  if (macroflow == NULL || udx__list_empty(&macroflow->waiting) || macroflow->inflight >= macroflow_limit(macroflow))
    return;
  UDX_ASSERT(macroflow->streams > 0);
  if (udx__list_empty(&macroflow->resumable))
    udx__list_append(&udx__socket(macroflow->socket)->resumable, &macroflow->resumable);
  udx__mark_dirty(macroflow->socket);
}

void
udx__macroflow_acked (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  udx_macroflow_t *macroflow = udx__stream(stream)->macroflow;
  if (macroflow == NULL) return;
  UDX_ASSERT(macroflow->socket == stream->socket);
  uint64_t now = sample->now;
  if (sample->rtt != UINT32_MAX) {
    if (macroflow->min_rtt == 0 || sample->rtt <= macroflow->min_rtt ||
        now > macroflow->min_rtt_stamp + UDX_RTT_MIN_WINDOW) {
      macroflow->min_rtt = udx__max_u32(sample->rtt, 1);
      macroflow->min_rtt_stamp = now;
    }
    uint64_t queue = macroflow->budget < UDX_MACROFLOW_TOLERANT && !macroflow->congested ? UDX_MACROFLOW_QUEUE : 0;
    if (macroflow->limited && sample->rtt < 2 * (uint64_t) macroflow->min_rtt + queue) {
      macroflow->budget += (uint64_t) sample->acked * stream->mtu;
      if (macroflow->budget > UDX_MACROFLOW_MAX) macroflow->budget = UDX_MACROFLOW_MAX;
    }
  }
  macroflow->round_acked += sample->acked;
  macroflow->round_lost += sample->losses;
  if (now < macroflow->round_end) return;
  macroflow->round_end = now + udx__max_u32(udx__stream(stream)->rtt.srtt, UDX_MS);
  if (macroflow->round_lost >= UDX_QUANTUM &&
      macroflow->round_lost > (macroflow->round_acked + macroflow->round_lost) / 10) {
    macroflow->budget = udx__max_u64(macroflow->budget / 2, UDX_MACROFLOW_MIN);
    macroflow->congested = 1;
  }
  macroflow->limited = !udx__list_empty(&macroflow->waiting);
  macroflow->round_acked = macroflow->round_lost = 0;
}
