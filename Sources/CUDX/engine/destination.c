/*
 * What the streams of one socket have in flight towards one address, together (the idea of RFC 3124). Every
 * stream has a congestion window of its own, but they share the path and the peer's receive buffer: a thousand
 * first flights at once, or the sum of a thousand windows, overflow it whatever each of them measured.
 *
 * The budget grows with acknowledged progress while it is what holds streams back and no queue builds up, and
 * shrinks if a round loses a considerable share. A stream alone is never held back. The others wait in line, which
 * serves them in turn; who waits long with nothing in flight sends one packet whatever the budget
 * says: packets to a peer that is gone must not block a new stream to its successor.
 */
#include <stdlib.h>

#include "engine.h"

#define DESTINATION_BUCKETS 1024

struct udx_destinations_s {
  udx_destination_t *buckets[DESTINATION_BUCKETS];
};

static uint32_t
destination_bucket (const udx_t *udx, const udx_socket_t *socket, const udx_address_t *address) {
  uint32_t words[5] = {udx->ids.seed, (uint32_t) ((uintptr_t) socket >> 6)};
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
  return h % DESTINATION_BUCKETS;
}

/* On a long path most of what is in flight is in no buffer: that much more per round trip needs no proof. */
static uint64_t
destination_limit (const udx_destination_t *destination) {
  uint64_t easy = UDX_DESTINATION_MIN * (1 + (uint64_t) destination->min_rtt / UDX_DESTINATION_MIN_TIME);
  return udx__max_u64(destination->budget, easy);
}

void
udx__destination_join (udx_stream_t *stream) {
  udx_t *udx = stream->udx;
  udx_socket_t *socket = stream->socket;
  if (udx->destinations == NULL) {
    udx->destinations = calloc(1, sizeof(*udx->destinations));
    if (udx->destinations == NULL) return; /* without a record there is no limit */
  }
  udx_destination_t **bucket = &udx->destinations->buckets[destination_bucket(udx, socket, &stream->remote)];
  udx_destination_t *destination = *bucket;
  while (destination != NULL &&
         (destination->socket != socket || !udx__address_equal(&destination->address.any, &stream->remote.any))) {
    destination = destination->next;
  }
  if (destination == NULL) {
    destination = calloc(1, sizeof(*destination));
    if (destination == NULL) return;
    destination->socket = socket;
    destination->address = stream->remote;
    destination->budget = UDX_DESTINATION_MIN;
    udx__list_init(&destination->held);
    udx__list_init(&destination->released);
    destination->next = *bucket;
    *bucket = destination;
  }
  destination->streams++;
  destination->inflight += stream->inflight;
  stream->destination = destination;
}

void
udx__destination_leave (udx_stream_t *stream) {
  udx_destination_t *destination = stream->destination;
  if (destination == NULL) return;
  if (stream->held) udx__destination_skip(stream);
  destination->inflight -= stream->inflight;
  stream->destination = NULL;
  if (--destination->streams > 0) {
    udx__destination_release(destination);
    return;
  }
  udx_t *udx = stream->udx;
  udx__list_remove(&destination->released);
  udx_destination_t **link = &udx->destinations->buckets[destination_bucket(udx, destination->socket, &destination->address)];
  while (*link != destination) link = &(*link)->next;
  *link = destination->next;
  free(destination);
}

int
udx__destination_hold (udx_stream_t *stream, uint64_t now) {
  udx_destination_t *destination = stream->destination;
  if (destination == NULL || destination->inflight < destination_limit(destination) || destination->inflight == stream->inflight) return 0;
  if (stream->overdue && stream->inflight == 0) {
    stream->overdue = 0;
    return 0;
  }
  destination->limits = 1;
  stream->held = 1;
  stream->overdue = 0;
  udx__list_remove(&stream->ready);
  udx__list_append(&destination->held, &stream->ready);
  stream->pacing.waiting = 0;
  stream->pacing.at = now + UDX_HELD_MAX;
  udx__timer_at_most(stream, stream->pacing.at);
  return 1;
}

udx_stream_t *
udx__destination_next (udx_destination_t *destination) {
  if (udx__list_empty(&destination->held) || destination->inflight >= destination_limit(destination)) return NULL;
  udx_stream_t *stream = UDX__OWNER(udx_stream_t, ready, destination->held.next);
  udx__destination_skip(stream);
  return stream;
}

void
udx__destination_overdue (udx_stream_t *stream, uint64_t now) {
  if (stream->inflight > 0) {
    /* it will be acknowledged or lost: its place in the line is good enough */
    stream->pacing.at = now + UDX_HELD_MAX;
    return;
  }
  stream->overdue = 1;
  udx__destination_skip(stream);
}

void
udx__destination_skip (udx_stream_t *stream) {
  stream->held = 0;
  stream->pacing.at = UDX_NEVER;
  udx__list_remove(&stream->ready);
}

void
udx__destination_release (udx_destination_t *destination) {
  if (destination == NULL || udx__list_empty(&destination->held) || destination->inflight >= destination_limit(destination)) return;
  if (udx__list_empty(&destination->released)) udx__list_append(&destination->socket->released, &destination->released);
  udx__mark_dirty(destination->socket);
}

void
udx__destination_acked (udx_stream_t *stream, const udx_rate_sample_t *sample) {
  udx_destination_t *destination = stream->destination;
  if (destination == NULL) return;
  uint64_t now = sample->now;
  if (sample->rtt != UINT32_MAX) {
    if (destination->min_rtt == 0 || sample->rtt <= destination->min_rtt || now > destination->min_rtt_stamp + UDX_RTT_MIN_WINDOW) {
      destination->min_rtt = udx__max_u32(sample->rtt, 1);
      destination->min_rtt_stamp = now;
    }
    uint64_t queue = destination->budget < UDX_DESTINATION_EASY && !destination->overflowed ? UDX_DESTINATION_QUEUE : 0;
    if (destination->limits && sample->rtt < 2 * (uint64_t) destination->min_rtt + queue) {
      destination->budget += (uint64_t) sample->acked * stream->mtu;
      if (destination->budget > UDX_DESTINATION_MAX) destination->budget = UDX_DESTINATION_MAX;
    }
  }
  destination->round_acked += sample->acked;
  destination->round_lost += sample->losses;
  if (now < destination->round_end) return;
  destination->round_end = now + udx__max_u32(stream->rtt.srtt, UDX_MS);
  if (destination->round_lost >= UDX_QUANTUM && destination->round_lost > (destination->round_acked + destination->round_lost) / 10) {
    destination->budget = udx__max_u64(destination->budget / 2, UDX_DESTINATION_MIN);
    destination->overflowed = 1;
  }
  destination->limits = !udx__list_empty(&destination->held);
  destination->round_acked = destination->round_lost = 0;
}
