/* Relaying (udx.md 2.10): a packet for one stream leaves through its partner with another id, untouched otherwise. */
#include "relay.h"

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

int
udx__relay_forward (udx_stream_t *stream, const udx_header_t *header, uint8_t *data, size_t length) {
  UDX_ASSERT(udx__stream(stream)->relay_to != NULL && length >= UDX_HEADER_SIZE);
  udx_stream_t *partner = udx__stream(stream)->relay_to;
  /* the relay's own numbering stays plausible for the peer */
  uint32_t after = header->seq;
  if (udx__flight_span(stream) == 0 && udx__seq_before(udx__stream(stream)->flight.nxt, after))
    udx__stream(stream)->flight.nxt = udx__stream(stream)->flight.una = after;
  if (partner->socket != NULL) {
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
