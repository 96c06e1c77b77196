/* The instance: life, entry points of the driver, end of turn. */
#include "instance.h"

#include <stdlib.h>

#include "asked.h"
#include "batch.h"
#include "check.h"
#include "id_table.h"
#include "list.h"
#include "pool.h"
#include "receive.h"
#include "socket.h"
#include "stream.h"
#include "time_wait.h"
#include "timer.h"
#include "transmit.h"
#include "transmit_control.h"
#include "trace/trace.h"

#define ROUNDS_MAX 8 /* of callbacks that cause more work in one turn; the rest waits for the next */

int
udx_init_with_driver (udx_t *udx, const udx_driver_t *driver, void *driver_ctx, udx_idle_cb on_idle) {
  UDX_ASSERT(driver != NULL && udx != NULL);
  if (driver->size < sizeof(*driver)) return UV_EINVAL;
  void *data = udx->data;
  memset(udx, 0, sizeof(*udx));
  udx->data = data;
  udx__instance(udx)->driver = driver;
  udx->driver_ctx = driver_ctx;
  udx__instance(udx)->on_idle = on_idle;
  udx->packets_dropped_by_kernel = -1;
  udx__instance(udx)->timers.armed = UDX_NEVER;
  udx__list_init(&udx__instance(udx)->sockets);
  udx__list_init(&udx__instance(udx)->streams);
  udx__list_init(&udx__instance(udx)->dirty);
  udx__list_init(&udx__instance(udx)->late);
  udx__list_init(&udx__instance(udx)->touched);
  udx__list_init(&udx__instance(udx)->closing);
  udx__list_init(&udx__instance(udx)->send_done);
  udx__pool_init(&udx__instance(udx)->buffers, UDX_REORDER_BLOCK, UDX_BUFFERS_CACHED);
  udx__pool_init(&udx__instance(udx)->buffers_large, UDX_REORDER_BLOCK_LARGE, UDX_BUFFERS_CACHED / 16);
  udx__pool_init(&udx__instance(udx)->controls, UDX_CONTROL_SIZE, UDX_CONTROLS_CACHED);
  for (unsigned int i = 0; i < UDX_RING_CLASSES; i++) {
    /* small rings are what many streams use in turn, of the large ones a few suffice */
    uint32_t cached = i < 3 ? 8 * UDX_RINGS_CACHED : i < 9 ? UDX_RINGS_CACHED : 1;
    udx__pool_init(
      &udx__instance(udx)->rings[i], ((uint32_t) UDX_FLIGHT_MIN << i) * (uint32_t) sizeof(udx_packet_t), cached);
  }
  return 0;
}

int
udx_is_idle (udx_t *udx) {
  return udx__instance(udx)->refs == 0;
}

int
udx__ref (udx_t *udx) {
  if (udx__instance(udx)->refs == 0) {
    if (udx__instance(udx)->driver->start != NULL) {
      int err = udx__instance(udx)->driver->start(udx);
      if (err) return err;
    }
    int err =
      udx__instance(udx)->driver->random(udx, &udx__instance(udx)->ids.seed, sizeof(udx__instance(udx)->ids.seed));
    if (err) {
      /* a known seed would let a peer choose ids that collide */
      if (udx__instance(udx)->driver->stop != NULL) udx__instance(udx)->driver->stop(udx);
      return err;
    }
    udx__instance(udx)->timers.armed = UDX_NEVER;
    udx__instance(udx)->deferred = 0;
    udx__instance(udx)->now = udx__instance(udx)->driver->now(udx);
  }
  udx__instance(udx)->refs++;
  return 0;
}

static void
instance_drain (udx_t *udx) {
  udx__pool_drain(&udx__instance(udx)->buffers);
  udx__pool_drain(&udx__instance(udx)->buffers_large);
  udx__pool_drain(&udx__instance(udx)->controls);
  for (unsigned int i = 0; i < UDX_RING_CLASSES; i++) udx__pool_drain(&udx__instance(udx)->rings[i]);
}

/* Nothing of the instance may be used after the last unref: the application may free it in on_idle. */
void
udx__unref (udx_t *udx) {
  UDX_ASSERT(udx__instance(udx)->refs > 0);
  if (--udx__instance(udx)->refs > 0) return;
  UDX_ASSERT(udx__list_empty(&udx__instance(udx)->streams) && udx__list_empty(&udx__instance(udx)->sockets));
  UDX_ASSERT(udx__instance(udx)->ids.count == 0 && udx__instance(udx)->timers.count == 0);
  UDX_ASSERT(udx__instance(udx)->reorder_memory == 0);
  free(udx__instance(udx)->batch);
  udx__instance(udx)->batch = NULL;
  udx__time_wait_free(udx);
  udx__asked_free(udx);
  free(udx__instance(udx)->macroflows);
  udx__instance(udx)->macroflows = NULL;
  udx__ids_free(&udx__instance(udx)->ids);
  udx__timers_free(&udx__instance(udx)->timers);
  instance_drain(udx);
  if (udx__instance(udx)->driver->stop != NULL) udx__instance(udx)->driver->stop(udx);
  if (udx__instance(udx)->on_idle != NULL) udx__instance(udx)->on_idle(udx);
}

void
udx__defer (udx_t *udx) {
  UDX_ASSERT(udx__instance(udx)->refs > 0);
  if (udx__instance(udx)->depth > 0 || udx__instance(udx)->deferred) return;
  udx__instance(udx)->deferred = 1;
  udx__instance(udx)->driver->defer(udx);
}

/* ---- entry points ---- */

static void
instance_enter (udx_t *udx) {
  UDX_ASSERT(udx__instance(udx)->refs > 0 && udx__instance(udx)->depth < UINT32_MAX);
  udx__instance(udx)->depth++;
  udx__instance(udx)->now = udx__instance(udx)->driver->now(udx);
}

/*
 * Reports what happened and sends what came of it. Where streams are to be finalized the end of the turn is near:
 * what their owners do next, and what other streams have to send, waits for it and shares system calls.
 */
static void
instance_settle (udx_t *udx, int at_end) {
  for (int round = 0; round < ROUNDS_MAX; round++) {
    udx_link_t touched;
    udx__list_take(&touched, &udx__instance(udx)->touched);
    while (!udx__list_empty(&touched)) {
      udx_stream_t *stream = UDX__STREAM_OF(touched.next, touched);
      UDX_ASSERT(stream->udx == udx);
      udx__list_remove(&udx__stream(stream)->touched);
      udx__stream_settle(stream);
    }
    if (at_end || udx__list_empty(&udx__instance(udx)->closing)) udx__transmit_all(udx, at_end);
    else udx__batch_flush(udx); /* a probe of this turn refers to payload that may go */
    udx__sends_report(udx);
    if (udx__list_empty(&udx__instance(udx)->touched) && udx__list_empty(&udx__instance(udx)->send_done) &&
        (udx__list_empty(&udx__instance(udx)->dirty) || (!at_end && !udx__list_empty(&udx__instance(udx)->closing)))) {
      return;
    }
  }
}

static int
instance_busy (const udx_t *udx) {
  return !udx__list_empty(&udx__instance(udx)->touched) || !udx__list_empty(&udx__instance(udx)->dirty) ||
         !udx__list_empty(&udx__instance(udx)->send_done) || !udx__list_empty(&udx__instance(udx)->closing) ||
         !udx__list_empty(&udx__instance(udx)->late);
}

static void
instance_leave (udx_t *udx, int at_end) {
  UDX_ASSERT(udx__instance(udx)->depth > 0);
  instance_settle(udx, at_end);
  udx__instance(udx)->depth--;
  if (udx__instance(udx)->depth > 0) return;
  if (instance_busy(udx)) udx__defer(udx);

  /* a deadline that moved back is found out when it comes */
  uint64_t first =
    udx__instance(udx)->timers.count == 0 ? UDX_NEVER : udx__stream(udx__instance(udx)->timers.entries[0])->timer_key;
  if (first < udx__instance(udx)->timers.armed) {
    udx__instance(udx)->timers.armed = first;
    udx__instance(udx)->driver->arm(udx, first);
  }
  UDX_CHECK_INSTANCE(udx);
}

/* One by one: a callback finds the same counts in the socket as in its only stream. */
static void
receive_counted (udx_socket_t *socket, uint8_t *data, size_t length, const struct sockaddr *from) {
  socket->packets_rx++;
  socket->bytes_rx += length;
  socket->udx->packets_rx++;
  socket->udx->bytes_rx += length;
  udx__receive_datagram(socket, data, length, from);
}

void
udx_driver_receive (udx_socket_t *socket, const udx_received_t *batch, unsigned int count) {
  UDX_ASSERT(udx__instance(socket->udx)->depth == 0);
  udx_t *udx = socket->udx;
  instance_enter(udx);
  UDX_TRACE(udx, batch_received(socket, batch, count));
  for (unsigned int i = 0; i < count && !(socket->status & UDX_SOCKET_CLOSED); i++) {
    const udx_received_t *received = &batch[i];
    UDX_ASSERT(received->data != NULL && received->from != NULL);
    udx__socket(socket)->local = received->local;
    if (received->segment_size == 0 || received->length <= received->segment_size) {
      receive_counted(socket, received->data, received->length, received->from);
      continue;
    }
    size_t offset = 0;
    while (offset < received->length && !(socket->status & UDX_SOCKET_CLOSED)) {
      size_t length = received->length - offset;
      if (length > received->segment_size) length = received->segment_size;
      receive_counted(socket, received->data + offset, length, received->from);
      offset += length;
    }
  }
  /* relayed packets still point into the driver's buffers */
  udx__batch_flush(udx);
  instance_leave(udx, 0);
}

void
udx_driver_writable (udx_socket_t *socket) {
  udx_t *udx = socket->udx;
  instance_enter(udx);
  udx__socket(socket)->blocked = 0;
  if (socket->status & UDX_SOCKET_CLOSED) {
    udx__transmit_controls(socket);
    udx__batch_flush(udx);
  } else {
    udx__mark_dirty(socket);
  }
  instance_leave(udx, 0);
}

void
udx_driver_socket_rebound (udx_socket_t *socket) {
  if (socket->status & UDX_SOCKET_CLOSED) return;
  if (udx__socket(socket)->on_rebind != NULL) udx__socket(socket)->on_rebind(socket);
}

unsigned int
udx_driver_unsent (udx_socket_t *socket) {
  UDX_ASSERT(socket->status & UDX_SOCKET_CLOSED);
  return udx__socket(socket)->controls_count;
}

void
udx_driver_tick (udx_t *udx) {
  if (udx__instance(udx)->refs == 0) return;
  UDX_ASSERT(udx__instance(udx)->depth == 0);
  instance_enter(udx);
  uint64_t now = udx__instance(udx)->now;
  udx__instance(udx)->timers.armed = UDX_NEVER;
  /* a stream that is due again at once waits for the next tick */
  uint32_t limit = udx__instance(udx)->timers.count;
  udx_stream_t *stream;
  while (limit-- > 0 && (stream = udx__timers_pop(&udx__instance(udx)->timers, now)) != NULL) {
    uint64_t at = udx__stream_deadline(stream);
    if (at > now) {
      udx__timer_at_most(stream, at);
      limit++;
    } else {
      udx__stream_timeout(stream, now);
    }
  }
  instance_leave(udx, 0);
}

/* Nothing of the engine is on the stack: closed streams may go. 0 if the instance went with the last of them. */
static int
instance_finalize (udx_t *udx) {
  udx_link_t closing;
  udx__list_take(&closing, &udx__instance(udx)->closing);
  while (!udx__list_empty(&closing)) {
    udx_stream_t *stream = UDX__STREAM_OF(closing.next, link);
    UDX_ASSERT(stream->status & UDX_STREAM_CLOSED);
    udx__list_remove(&udx__stream(stream)->link);
    if (udx__stream(stream)->on_finalize != NULL) udx__stream(stream)->on_finalize(stream);
    int last = udx__instance(udx)->refs == 1;
    udx__unref(udx);
    if (last) return 0;
  }
  return 1;
}

void
udx_driver_flush (udx_t *udx) {
  if (udx__instance(udx)->refs == 0) return;
  UDX_ASSERT(udx__instance(udx)->depth == 0);
  udx__instance(udx)->deferred = 0;
  if (!udx__list_empty(&udx__instance(udx)->closing)) {
    instance_enter(udx);
    instance_settle(udx, 0);
    udx__instance(udx)->depth--;
    if (!instance_finalize(udx)) return;
    udx__instance(udx)->deferred = 0; /* what the owners began leaves now */
  }
  instance_enter(udx);
  instance_leave(udx, 1);
}

void
udx_driver_trim (udx_t *udx) {
  UDX_ASSERT(udx__instance(udx)->depth == 0);
  instance_drain(udx);
  struct udx_batch_s *batch = udx__instance(udx)->batch;
  if (batch == NULL || batch->count > 0) return; /* datagrams of this turn wait in it for its end */
  free(batch);
  udx__instance(udx)->batch = NULL;
}

void
udx_driver_socket_closed (udx_socket_t *socket) {
  UDX_ASSERT(socket->status & UDX_SOCKET_CLOSED);
  udx_t *udx = socket->udx;
  udx__controls_free(socket);
  udx__sends_report(udx);
  if (udx__socket(socket)->on_close != NULL) udx__socket(socket)->on_close(socket);
  udx__unref(udx);
}

void
udx_teardown (udx_t *udx) {
  if (udx__instance(udx)->teardown) return;
  udx__instance(udx)->teardown = 1;
  while (!udx__list_empty(&udx__instance(udx)->streams)) {
    udx_stream_t *stream = UDX__STREAM_OF(udx__instance(udx)->streams.next, link);
    (void) udx_stream_destroy(stream);
  }
  while (!udx__list_empty(&udx__instance(udx)->sockets)) {
    udx_socket_t *socket = UDX__SOCKET_OF(udx__instance(udx)->sockets.next, link);
    if (udx_socket_close(socket)) break;
  }
}
