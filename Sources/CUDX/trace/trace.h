/*
 * Emit points of the event trace (udx_trace.h). UDX_TRACE(udx, lost(...)) calls udx__trace_lost(...) if there is
 * an observer, else it costs one branch that is always predicted. Nothing in here changes the engine's state,
 * but for the congestion state that was reported last.
 */
#ifndef UDX_ENGINE_TRACE_H
#define UDX_ENGINE_TRACE_H

#include "engine/instance.h"
#include "engine/packet.h"
#include "engine/wire.h"
#include "udx_trace.h"

#if defined(__GNUC__)
#define UDX_COLD __attribute__((cold))
#else
#define UDX_COLD
#endif

#define UDX_TRACE(udx, call)                                                                                           \
  do {                                                                                                                 \
    if (UDX_UNLIKELY(udx__instance(udx)->on_trace != NULL)) udx__trace_##call;                                         \
  } while (0)

UDX_COLD void
udx__trace_batch_sent (
  udx_socket_t *socket, const udx_datagram_t *datagrams, uint32_t taken, uint32_t count, uint32_t joined);

UDX_COLD void
udx__trace_batch_received (udx_socket_t *socket, const udx_received_t *batch, unsigned int count);

/* A datagram of the batch. stream may be NULL, and so may packet: a keep-alive that repeats END has no record. */
UDX_COLD void
udx__trace_packet_sent (udx_socket_t *socket, udx_stream_t *stream, const udx_packet_t *packet,
  const udx_datagram_t *datagram, udx_trace_trigger_t trigger);

UDX_COLD void
udx__trace_datagram_sent (udx_socket_t *socket, const udx_datagram_t *datagram);

UDX_COLD void
udx__trace_received (udx_socket_t *socket, const uint8_t *data, size_t length, const struct sockaddr *from);

UDX_COLD void
udx__trace_dropped (
  udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, size_t length, udx_trace_trigger_t trigger);

UDX_COLD void
udx__trace_lost (udx_stream_t *stream, uint32_t seq, const udx_packet_t *packet, udx_trace_trigger_t trigger);

/* Round trips, windows, rates; and the congestion state if it changed. */
UDX_COLD void
udx__trace_metrics (udx_stream_t *stream);

UDX_COLD void
udx__trace_state (udx_stream_t *stream);

UDX_COLD void
udx__trace_timer (udx_stream_t *stream, udx_trace_timer_t timer, udx_trace_timer_change_t change, uint64_t at);

/* What an acknowledgement did to the RTO and TLP timers. */
UDX_COLD void
udx__trace_timers (udx_stream_t *stream);

UDX_COLD void
udx__trace_mtu (udx_stream_t *stream, uint16_t old_mtu, int done);

UDX_COLD void
udx__trace_path (udx_stream_t *stream, udx_trace_type_t type);

UDX_COLD void
udx__trace_closed (udx_stream_t *stream, int status);

#endif
