/* Relaying (udx.md 2.10): a packet for one stream leaves through its partner with another id, untouched otherwise. */
#include "relay.h"

#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "check.h"
#include "list.h"
#include "stream.h"
#include "transmit_control.h"
#include "wire.h"

int
udx_stream_relay_to (udx_stream_t *stream, udx_stream_t *destination) {
  if (udx__stream(stream)->relay_to != NULL || udx__stream_dead(stream) || udx__stream_dead(destination))
    return UV_EINVAL;
  udx__stream(stream)->relay_to = destination;
  udx__list_append(&udx__stream(destination)->relays, &udx__stream(stream)->relay);
  UDX_CHECK_STREAM(stream);
  return 0;
}

void
udx_relay_quota_init (udx_t *udx, udx_relay_quota_t *quota, uint64_t bytes_per_second, uint64_t burst) {
  memset(quota, 0, sizeof(*quota));
  quota->bytes_per_second = bytes_per_second;
  quota->burst = quota->level = burst;
  quota->filled_at = udx__instance(udx)->driver->now(udx);
}

/* Few streams relay: the list is made by the first quota and lives until the stream closes. */
typedef struct udx_relay_quotas_s {
  int count;
  udx_relay_quota_t *quota[UDX_RELAY_QUOTAS];
} udx_relay_quotas_t;

int
udx_stream_add_relay_quota (udx_stream_t *stream, udx_relay_quota_t *quota) {
  if (udx__stream_dead(stream)) return UV_EINVAL;
  udx_relay_quotas_t *quotas = udx__stream(stream)->relay_quotas;
  if (quotas == NULL) quotas = udx__stream(stream)->relay_quotas = calloc(1, sizeof(*quotas));
  if (quotas == NULL) return UV_ENOMEM;
  if (quotas->count == UDX_RELAY_QUOTAS) return UV_ENOBUFS;
  quotas->quota[quotas->count++] = quota;
  return 0;
}

static void
quota_refill (udx_relay_quota_t *quota, uint64_t now) {
  uint64_t elapsed = now > quota->filled_at ? now - quota->filled_at : 0;
  quota->filled_at += elapsed;
  if (quota->bytes_per_second == 0) return;
  /* a gap that fills the bucket counts as that, which keeps the product small */
  if (elapsed / UDX_SECOND > quota->burst / quota->bytes_per_second) {
    quota->level = quota->burst;
    return;
  }
  uint64_t rest = elapsed % UDX_SECOND * quota->bytes_per_second;
  uint64_t fresh = elapsed / UDX_SECOND * quota->bytes_per_second + rest / UDX_SECOND;
  /* what is less than a byte is counted the next time */
  quota->filled_at -= rest % UDX_SECOND / quota->bytes_per_second;
  quota->level = quota->burst - quota->level > fresh ? quota->level + fresh : quota->burst;
}

/* All quotas have room, and are charged; else the first without room counts the packet. */
static int
quotas_take (udx_stream_t *stream, size_t length) {
  udx_relay_quotas_t *quotas = udx__stream(stream)->relay_quotas;
  if (quotas == NULL) return 1;
  for (int i = 0; i < quotas->count; i++) {
    quota_refill(quotas->quota[i], udx__instance(stream->udx)->now);
    if (quotas->quota[i]->level >= length) continue;
    quotas->quota[i]->packets_dropped++;
    return 0;
  }
  for (int i = 0; i < quotas->count; i++) quotas->quota[i]->level -= length;
  return 1;
}

int
udx__relay_forward (udx_stream_t *stream, const udx_header_t *header, uint8_t *data, size_t length) {
  UDX_ASSERT(udx__stream(stream)->relay_to != NULL && length >= UDX_HEADER_SIZE);
  udx_stream_t *partner = udx__stream(stream)->relay_to;
  /* the relay's own numbering stays plausible for the peer */
  uint32_t after = header->seq;
  if (udx__flight_span(stream) == 0 && udx__seq_before(udx__stream(stream)->flight.nxt, after))
    udx__stream(stream)->flight.nxt = udx__stream(stream)->flight.una = after;
  int has_room = header->type & UDX_HEADER_DESTROY || quotas_take(stream, length);
  if (partner->socket != NULL && has_room) {
    udx__put_u32(data + 4, partner->remote_id);
    udx__transmit_relay(partner->socket, partner, data, length);
    /* The bytes lie in this instance's receive buffer, and only its own batch is flushed before that is used again. */
    if (partner->udx != stream->udx) udx__batch_flush(partner->udx);
  }
  if (header->type & UDX_HEADER_DESTROY) {
    udx__batch_flush(stream->udx);
    udx__stream_close(stream, UV_ECONNRESET);
    return 0;
  }
  return 1;
}

void
udx__relay_detach (udx_stream_t *stream) {
  free(udx__stream(stream)->relay_quotas);
  udx__stream(stream)->relay_quotas = NULL;
  if (udx__stream(stream)->relay_to != NULL) {
    udx__list_remove(&udx__stream(stream)->relay);
    udx__stream(stream)->relay_to = NULL;
  }
  while (!udx__list_empty(&udx__stream(stream)->relays)) {
    udx_stream_t *other = UDX__STREAM_OF(udx__stream(stream)->relays.next, relay);
    UDX_ASSERT(udx__stream(other)->relay_to == stream);
    udx__list_remove(&udx__stream(other)->relay);
    udx__stream(other)->relay_to = NULL;
    other->status |= UDX_STREAM_DESTROYING;
    udx__stream_close(other, 0);
  }
}
