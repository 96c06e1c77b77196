/*
 * Records of sent packets: a ring indexed by seq, so that finding one is an index, and two lists threaded through it:
 * packets in flight by time of transmission (what RACK walks; after a spurious timeout those that come back stand
 * first, by seq) and lost packets by seq (what is sent next, the hole that blocks delivery first). Links are seqs, so
 * that the ring can move when it grows. An idle stream has no ring at all.
 */
#include "packet.h"

#include "instance.h"
#include "interval_set.h"
#include "pool.h"
#include "stream.h"

static int
ring_class (uint32_t capacity) {
  UDX_ASSERT((capacity & (capacity - 1)) == 0);
  UDX_ASSERT(capacity >= UDX_FLIGHT_MIN && capacity <= UDX_FLIGHT_MAX);
  int class = 0;
  while ((uint32_t) UDX_FLIGHT_MIN << class < capacity) class ++;
  return class;
}

static int
flight_grow (udx_stream_t *stream) {
  udx_flight_t *flight = &udx__stream(stream)->flight;
  uint32_t old = flight->ring == NULL ? 0 : flight->mask + 1;
  UDX_ASSERT(old == 0 || flight->nxt - flight->una == old);
  uint32_t capacity = old == 0 ? UDX_FLIGHT_MIN : old * 2;
  if (capacity > UDX_FLIGHT_MAX) return UV_ENOBUFS;

  udx_packet_t *ring = udx__pool_get(&udx__instance(stream->udx)->rings[ring_class(capacity)]);
  if (ring == NULL) return UV_ENOMEM;
  if (old > 0) {
    for (uint32_t seq = flight->una; seq != flight->nxt; seq++) {
      ring[seq & (capacity - 1)] = flight->ring[seq & flight->mask];
    }
    udx__pool_put(&udx__instance(stream->udx)->rings[ring_class(old)], flight->ring);
  }
  flight->ring = ring;
  flight->mask = capacity - 1;
  UDX_ASSERT(flight->nxt - flight->una <= flight->mask);
  return 0;
}

udx_packet_t *
udx__flight_push (udx_stream_t *stream) {
  udx_flight_t *flight = &udx__stream(stream)->flight;
  if (flight->ring == NULL || flight->nxt - flight->una > flight->mask) {
    if (flight_grow(stream)) return NULL;
  }
  udx_packet_t *packet = &flight->ring[flight->nxt & flight->mask];
  UDX_ASSERT(flight->nxt - flight->una <= flight->mask);
  memset(packet, 0, sizeof(*packet));
  flight->nxt++;
  return packet;
}

void
udx__flight_unpush (udx_stream_t *stream) {
  UDX_ASSERT(udx__packet_at(stream, udx__stream(stream)->flight.nxt - 1)->state == UDX_PACKET_FREE);
  UDX_ASSERT(udx__flight_span(stream) > 0);
  udx__stream(stream)->flight.nxt--;
}

static void
list_remove (udx_stream_t *stream, udx_seq_list_t *list, uint32_t seq) {
  UDX_DEBUG_ASSERT(seq - udx__stream(stream)->flight.una < udx__flight_span(stream));
  UDX_ASSERT(list->count > 0);
  udx_packet_t *packet = udx__packet_at(stream, seq);
  /* the outward links of the two ends are stale: the ends are told by seq */
  list->count--;
  if (list->count == 0) return;
  if (seq == list->head) {
    list->head = packet->next;
  } else if (seq == list->tail) {
    list->tail = packet->prev;
  } else {
    udx__packet_at(stream, packet->prev)->next = packet->next;
    udx__packet_at(stream, packet->next)->prev = packet->prev;
  }
}

static void
list_append (udx_stream_t *stream, udx_seq_list_t *list, uint32_t seq) {
  UDX_DEBUG_ASSERT(list->count < udx__flight_span(stream));
  UDX_DEBUG_ASSERT(seq - udx__stream(stream)->flight.una < udx__flight_span(stream));
  if (list->count == 0) {
    list->head = seq;
  } else {
    udx__packet_at(stream, list->tail)->next = seq;
    udx__packet_at(stream, seq)->prev = list->tail;
  }
  list->tail = seq;
  list->count++;
}

static size_t
packet_size (const udx_packet_t *packet) {
  return (size_t) packet->length + UDX_HEADER_SIZE;
}

static void
inflight_add (udx_stream_t *stream, size_t size) {
  stream->inflight += size;
  if (udx__stream(stream)->macroflow != NULL) udx__stream(stream)->macroflow->inflight += size;
}

static void
inflight_take (udx_stream_t *stream, size_t size) {
  UDX_DEBUG_ASSERT(udx__stream(stream)->macroflow == NULL || udx__stream(stream)->macroflow->inflight >= size);
  UDX_ASSERT(stream->inflight >= size);
  stream->inflight -= size;
  if (udx__stream(stream)->macroflow != NULL) udx__stream(stream)->macroflow->inflight -= size;
}

void
udx__flight_append (udx_stream_t *stream, uint32_t seq) {
  udx_packet_t *packet = udx__packet_at(stream, seq);
  UDX_DEBUG_ASSERT(
    packet->state == UDX_PACKET_FREE || packet->state == UDX_PACKET_LOST || packet->state == UDX_PACKET_FLYING);
  packet->state = UDX_PACKET_FLYING;
  list_append(stream, &udx__stream(stream)->flight.flying, seq);
  inflight_add(stream, packet_size(packet));
}

void
udx__flight_remove (udx_stream_t *stream, uint32_t seq) {
  UDX_DEBUG_ASSERT(udx__stream(stream)->flight.flying.count > 0);
  UDX_DEBUG_ASSERT(udx__packet_at(stream, seq)->state == UDX_PACKET_FLYING);
  list_remove(stream, &udx__stream(stream)->flight.flying, seq);
  inflight_take(stream, packet_size(udx__packet_at(stream, seq)));
}

void
udx__lost_insert (udx_stream_t *stream, uint32_t seq) {
  udx_seq_list_t *list = &udx__stream(stream)->flight.lost;
  udx_packet_t *packet = udx__packet_at(stream, seq);
  UDX_ASSERT(packet->state == UDX_PACKET_FLYING);
  UDX_DEBUG_ASSERT(seq - udx__stream(stream)->flight.una < udx__flight_span(stream));
  packet->state = UDX_PACKET_LOST;
  if (list->count == 0 || udx__seq_before(list->tail, seq)) {
    list_append(stream, list, seq);
    return;
  }
  if (udx__seq_before(seq, list->head)) {
    packet->next = list->head;
    udx__packet_at(stream, list->head)->prev = seq;
    list->head = seq;
  } else {
    uint32_t after = list->tail;
    do after = udx__packet_at(stream, after)->prev;
    while (udx__seq_before(seq, after));
    packet->prev = after;
    packet->next = udx__packet_at(stream, after)->next;
    udx__packet_at(stream, packet->next)->prev = seq;
    udx__packet_at(stream, after)->next = seq;
  }
  list->count++;
}

void
udx__lost_remove (udx_stream_t *stream, uint32_t seq) {
  UDX_ASSERT(udx__stream(stream)->flight.lost.count > 0);
  UDX_ASSERT(udx__packet_at(stream, seq)->state == UDX_PACKET_LOST);
  list_remove(stream, &udx__stream(stream)->flight.lost, seq);
}

void
udx__lost_revive (udx_stream_t *stream) {
  udx_seq_list_t *lost = &udx__stream(stream)->flight.lost;
  udx_seq_list_t *flying = &udx__stream(stream)->flight.flying;
  uint32_t count = lost->count;
  uint32_t before = lost->tail;
  while (count-- > 0) {
    uint32_t seq = before;
    udx_packet_t *packet = udx__packet_at(stream, seq);
    before = packet->prev;
    UDX_ASSERT(packet->state == UDX_PACKET_LOST);
    if (packet->transmits == 0) continue; /* the socket was full: it never left */
    list_remove(stream, lost, seq);
    packet->state = UDX_PACKET_FLYING;
    if (flying->count == 0) {
      flying->tail = seq;
    } else {
      packet->next = flying->head;
      udx__packet_at(stream, flying->head)->prev = seq;
    }
    flying->head = seq;
    flying->count++;
    inflight_add(stream, packet_size(packet));
  }
}

void
udx__flight_free (udx_stream_t *stream) {
  udx_flight_t *flight = &udx__stream(stream)->flight;
  if (flight->ring != NULL) {
    udx__pool_put(&udx__instance(stream->udx)->rings[ring_class(flight->mask + 1)], flight->ring);
    flight->ring = NULL;
  }
  flight->flying.count = 0;
  flight->lost.count = 0;
  flight->sacked_count = 0;
  UDX_ASSERT(flight->ring == NULL);
  inflight_take(stream, stream->inflight);
  udx__intervals_free(&flight->sacked);
}

void
udx__flight_relax (udx_stream_t *stream) {
  udx_flight_t *flight = &udx__stream(stream)->flight;
  if (flight->una != flight->nxt || flight->ring == NULL) return;
  UDX_ASSERT(flight->flying.count == 0 && flight->lost.count == 0);
  UDX_ASSERT(flight->sacked_count == 0 && stream->inflight == 0);
  udx__pool_put(&udx__instance(stream->udx)->rings[ring_class(flight->mask + 1)], flight->ring);
  flight->ring = NULL;
  flight->mask = 0;
  if (flight->sacked.capacity > 0) udx__intervals_free(&flight->sacked);
}
