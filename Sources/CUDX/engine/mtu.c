/*
 * Packetisation-layer MTU search (udx.md 5, RFC 8899). Real data rides in padded packets, one at a time. A
 * lost probe is no sign of congestion. If packets of the size believed in do not get through (black hole), the
 * size falls to the base, and if the base does not either, to the least. What was built before has its seq and cannot
 * be cut anew: it is the only thing that may be fragmented on the way.
 */
#include "mtu.h"

#include "stream.h"
#include "trace/trace.h"

void
udx__mtu_init (udx_stream_t *stream) {
  stream->mtu = UDX_MTU_BASE;
  udx__stream(stream)->search.state = UDX_MTU_STATE_BASE;
  udx__stream(stream)->search.probes = 0;
  udx__stream(stream)->search.black_hole = 0;
  udx__stream(stream)->search.hole_size = UDX_MTU_MIN;
  udx__stream(stream)->search.in_flight = 0;
  udx__stream(stream)->search.probe_size = UDX_MTU_BASE;
  udx__stream(stream)->search.ceiling = UDX_MTU_MAX;
  udx__stream(stream)->search.step = UDX_MTU_STEP;
  udx__stream(stream)->search.proven = UDX_MTU_MIN;
  udx__stream(stream)->search.raise_at = UDX_NEVER;
}

uint32_t
udx__mtu_overhead (const udx_stream_t *stream) {
  return udx__stream(stream)->remote.any.sa_family == AF_INET ? UDX_OVERHEAD_V4 : UDX_OVERHEAD_V6;
}

void
udx__mtu_probe (udx_stream_t *stream, udx_packet_t *packet) {
  udx_mtu_search_t *search = &udx__stream(stream)->search;
  if (search->state != UDX_MTU_STATE_SEARCH || search->in_flight || udx__stream(stream)->paths != NULL) return;
  if (!(packet->type & UDX_HEADER_DATA)) return;
  uint32_t size = packet->length + udx__mtu_overhead(stream);
  if (size > search->probe_size || search->probe_size - size > UDX_PADDING_MAX) return;
  UDX_ASSERT(!packet->is_probe && packet->padding == 0);
  packet->padding = (uint8_t) (search->probe_size - size);
  packet->is_probe = 1;
  search->in_flight = 1;
  search->probes++;
  UDX_ASSERT(search->probes <= UDX_MTU_PROBES);
}

/* The size to try after the one believed in. The base is one of them: all versions send it. */
static void
mtu_next (udx_stream_t *stream) {
  udx_mtu_search_t *search = &udx__stream(stream)->search;
  uint32_t limit = stream->mtu < UDX_MTU_BASE ? UDX_MTU_BASE : search->ceiling;
  search->probe_size = (uint16_t) udx__min_u32(stream->mtu + search->step, limit);
  search->probes = 0;
}

static uint8_t
mtu_step (const udx_stream_t *stream) {
  return stream->mtu < UDX_MTU_BASE ? UDX_MTU_STEP_COARSE : UDX_MTU_STEP;
}

/* Packets of the size believed in do not arrive: a smaller one, and the search begins anew. */
static void
mtu_fall (udx_stream_t *stream, uint16_t size) {
  udx_mtu_search_t *search = &udx__stream(stream)->search;
  UDX_ASSERT(size <= stream->mtu && size >= UDX_MTU_MIN);
  uint16_t old = stream->mtu;
  stream->mtu = size;
  search->black_hole = 0;
  search->proven = UDX_MTU_MIN;
  search->state = UDX_MTU_STATE_SEARCH;
  search->step = mtu_step(stream);
  mtu_next(stream);
  UDX_TRACE(stream->udx, mtu(stream, old, 0));
}

static void
mtu_complete (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->search.state == UDX_MTU_STATE_SEARCH);
  udx__stream(stream)->search.state = UDX_MTU_STATE_COMPLETE;
  udx__stream(stream)->search.raise_at =
    stream->mtu < udx__stream(stream)->search.ceiling ? now + UDX_MTU_RAISE_TIME : UDX_NEVER;
}

void
udx__mtu_acked (udx_stream_t *stream, udx_packet_t *packet, uint64_t now) {
  UDX_DEBUG_ASSERT(packet->state == UDX_PACKET_ACKED);
  udx_mtu_search_t *search = &udx__stream(stream)->search;
  uint32_t size = packet->length + udx__mtu_overhead(stream);
  /* larger ones than believed in may have been fragmented: they prove nothing */
  if (size <= stream->mtu && size > search->proven) search->proven = (uint16_t) size;
  if (packet->is_probe || (size >= search->hole_size && size <= stream->mtu)) search->black_hole = 0;
  if (search->state == UDX_MTU_STATE_BASE) {
    search->state = UDX_MTU_STATE_SEARCH;
    search->probes = 0;
  } else if (search->state == UDX_MTU_STATE_COMPLETE && now >= search->raise_at && stream->mtu < search->ceiling) {
    search->raise_at = UDX_NEVER;
    search->state = UDX_MTU_STATE_SEARCH;
    search->step = mtu_step(stream);
    mtu_next(stream);
  }
  if (!packet->is_probe) return;
  packet->is_probe = 0;
  if (search->state != UDX_MTU_STATE_SEARCH || !search->in_flight) return;
  search->in_flight = 0;
  search->probes = 0;
  uint16_t old = stream->mtu;
  if (search->probe_size > stream->mtu) stream->mtu = search->probe_size;
  if (search->probe_size > search->proven) search->proven = search->probe_size;
  if (stream->mtu == UDX_MTU_BASE) search->step = UDX_MTU_STEP;
  /* after a failure the sizes left are halved by successes as well */
  else if (search->step < UDX_MTU_STEP_COARSE && search->step > UDX_MTU_STEP) search->step /= 2;
  UDX_ASSERT(stream->mtu <= UDX_MTU_MAX);
  UDX_TRACE(stream->udx, mtu(stream, old, stream->mtu >= search->ceiling));
  if (stream->mtu >= search->ceiling) {
    mtu_complete(stream, now);
  } else {
    mtu_next(stream);
  }
}

void
udx__mtu_lost (udx_stream_t *stream, udx_packet_t *packet, uint64_t now) {
  UDX_ASSERT(packet->state == UDX_PACKET_LOST);
  udx_mtu_search_t *search = &udx__stream(stream)->search;
  if (!packet->is_probe) return;
  packet->is_probe = 0;
  packet->padding = 0;
  if (!search->in_flight) return;
  search->in_flight = 0;
  if (search->state != UDX_MTU_STATE_SEARCH || search->probes < UDX_MTU_PROBES) return;
  if (search->probe_size <= stream->mtu && search->probe_size > search->proven) {
    mtu_fall(stream, UDX_MTU_MIN); /* the base itself does not get through */
  } else if (search->step > UDX_MTU_STEP) {
    search->step = (uint8_t) ((search->probe_size - stream->mtu) / 2);
    mtu_next(stream);
  } else {
    mtu_complete(stream, now);
    UDX_TRACE(stream->udx, mtu(stream, stream->mtu, 1));
  }
}

void
udx__mtu_timeout (udx_stream_t *stream, const udx_packet_t *packet) {
  UDX_ASSERT(stream->mtu >= UDX_MTU_MIN && stream->mtu <= UDX_MTU_MAX);
  udx_mtu_search_t *search = &udx__stream(stream)->search;
  uint32_t size = packet->length + udx__mtu_overhead(stream);
  if (size <= UDX_MTU_MIN || size > stream->mtu) return; /* the size is no reason, or it may be fragmented already */
  if (search->black_hole == 0 || size < search->hole_size) search->hole_size = (uint16_t) size;
  if (++search->black_hole < UDX_MTU_BLACK_HOLE) return;
  mtu_fall(stream, size > UDX_MTU_BASE ? UDX_MTU_BASE : UDX_MTU_MIN);
}

int
udx__mtu_ranges (const udx_stream_t *stream) {
  UDX_DEBUG_ASSERT(udx__stream(stream)->search.proven >= UDX_MTU_MIN);
  uint32_t room = (udx__stream(stream)->search.proven - udx__mtu_overhead(stream)) / 8;
  return (int) udx__min_u32(room, UDX_SACK_BLOCKS_MAX);
}

int
udx__mtu_exceeds (const udx_stream_t *stream, const udx_packet_t *packet) {
  return packet->length + udx__mtu_overhead(stream) > stream->mtu;
}

void
udx__mtu_reset (udx_stream_t *stream) {
  UDX_ASSERT(udx__stream(stream)->search.state <= UDX_MTU_STATE_COMPLETE);
  uint8_t state = udx__stream(stream)->search.state;
  uint16_t old = stream->mtu;
  udx__mtu_init(stream);
  UDX_TRACE(stream->udx, mtu(stream, old, 0));
  if (state != UDX_MTU_STATE_BASE) udx__stream(stream)->search.state = UDX_MTU_STATE_SEARCH;
}
