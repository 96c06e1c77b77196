/*
 * Sockets of the libuv driver. Whatever error the system reports of one, it goes on: what it says of a datagram is that
 * datagram's loss, what it says of the socket is repaired.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdlib.h>

#include "engine/socket.h"
#include "uv_driver.h"

#define RECEIVE_ROUNDS 8    /* batches per readiness event: other handles of the loop want to live */
#define RETRY_MIN 1         /* ms until a send is tried again for which the system had no memory; doubles */
#define RETRY_MAX 64        /* ms */
#define CLOSE_WAIT_MAX 1000 /* ms that a closed socket waits for room for the goodbyes of its streams */

typedef struct uv_socket_s {
  uv_poll_t poll;
  uv_timer_t timer;
  uv_driver_t *driver;
  udx_socket_t *socket;
  udx_udp_t udp;
  uint64_t close_at; /* ms of the loop's clock; 0 = open, or no wait */
  unsigned int retry_after;
  unsigned int open_handles;
} uv_socket_t;

static void
on_poll (uv_poll_t *poll, int status, int events);

static void
on_socket_timer (uv_timer_t *timer);

static void
socket_readable (uv_socket_t *s) {
  udx_udp_rx_t *rx = &s->driver->rx;
  udx__uv_trim_later(s->driver);
  for (int round = 0; round < RECEIVE_ROUNDS; round++) {
    uint32_t dropped = s->udp.dropped;
    udx__udp_receive(&s->udp, rx);
    if (s->udp.overflow && (s->udp.dropped != dropped || s->socket->packets_dropped_by_kernel < 0)) {
      udx_socket_t *socket = s->socket;
      udx_t *udx = socket->udx;
      if (socket->packets_dropped_by_kernel < 0) socket->packets_dropped_by_kernel = 0;
      if (udx->packets_dropped_by_kernel < 0) udx->packets_dropped_by_kernel = 0;
      uint32_t more = s->udp.dropped - dropped;
      socket->packets_dropped_by_kernel += more;
      udx->packets_dropped_by_kernel += more;
    }
    bool drained = rx->drained;
    if (rx->count > 0) udx_driver_receive(s->socket, rx->received, rx->count);
    if (drained || (s->socket->status & UDX_SOCKET_CLOSED)) return;
  }
  s->driver->unread = 1;
}

/* ---- closing ---- */

static void
socket_closed (uv_handle_t *handle) {
  uv_socket_t *s = handle->data;
  if (--s->open_handles > 0) return;
  udx_socket_t *socket = s->socket;
  udx__udp_close(&s->udp);
  free(s);
  udx_driver_socket_closed(socket);
}

static void
socket_finish (uv_socket_t *s) {
  uv_close((uv_handle_t *) &s->timer, socket_closed);
  if (s->open_handles == 1) return; /* never bound */
  uv_poll_stop(&s->poll);
  uv_close((uv_handle_t *) &s->poll, socket_closed);
}

/* A socket that waits after its close had its chance to send, or the time is over. */
static void
socket_wait_again (uv_socket_t *s) {
  uint64_t now = uv_now(s->driver->udx->loop);
  if (udx_driver_unsent(s->socket) == 0 || now >= s->close_at) {
    socket_finish(s);
    return;
  }
  if (!uv_is_active((uv_handle_t *) &s->timer)) uv_timer_start(&s->timer, on_socket_timer, s->close_at - now, 0);
}

void
udx__uv_socket_close (udx_t *udx, udx_socket_t *socket) {
  uv_socket_t *s = socket->driver_data;
  if (s->open_handles == 1 || udx_driver_unsent(socket) == 0) {
    socket_finish(s);
    return;
  }
  uv_update_time(udx->loop);
  s->close_at = uv_now(udx->loop) + CLOSE_WAIT_MAX;
  if (!s->udp.no_memory) uv_poll_start(&s->poll, UV_WRITABLE, on_poll);
  else uv_poll_stop(&s->poll);
  socket_wait_again(s);
}

/* ---- events ---- */

static void
on_socket_timer (uv_timer_t *timer) {
  uv_socket_t *s = timer->data;
  if (s->udp.rebound) {
    s->udp.rebound = false;
    udx_driver_socket_rebound(s->socket);
  }
  if (udx__socket(s->socket)->blocked && s->udp.no_memory) udx_driver_writable(s->socket);
  if (s->close_at > 0) socket_wait_again(s);
}

/*
 * An asynchronous error (an ICMP message, an address or a port that was taken away): libuv has stopped the handle, the
 * socket lives on. 0 if there is no socket any more.
 */
static int
socket_failed (uv_socket_t *s) {
  if (udx__udp_clear_error(&s->udp)) return 0;
  if (s->udp.rebound) uv_timer_start(&s->timer, on_socket_timer, 0, 0);
  int events = s->close_at > 0 ? 0 : UV_READABLE;
  if (udx__socket(s->socket)->blocked && !s->udp.no_memory) events |= UV_WRITABLE;
  if (events != 0) (void) uv_poll_start(&s->poll, events, on_poll);
  return 1;
}

static void
on_poll (uv_poll_t *poll, int status, int events) {
  uv_socket_t *s = poll->data;
  if (status < 0) {
    if (!socket_failed(s)) return;
    events = UV_READABLE;
  }
  if (events & UV_WRITABLE) {
    if (s->close_at == 0) uv_poll_start(poll, UV_READABLE, on_poll);
    udx_driver_writable(s->socket);
    if (s->close_at > 0) socket_wait_again(s);
  }
  if (!(s->socket->status & UDX_SOCKET_CLOSED) && (events & UV_READABLE)) socket_readable(s);
}

unsigned int
udx__uv_transmit (udx_t *udx, udx_socket_t *socket, const udx_datagram_t *datagrams, unsigned int count) {
  (void) udx;
  uv_socket_t *s = socket->driver_data;
  unsigned int taken = udx__udp_send(&s->udp, datagrams, count);
  if (s->udp.rebound) uv_timer_start(&s->timer, on_socket_timer, 0, 0); /* it is reported from another turn */
  if (taken == count) {
    s->retry_after = 0;
  } else if (!s->udp.no_memory) {
    uv_poll_start(&s->poll, (s->close_at > 0 ? 0 : UV_READABLE) | UV_WRITABLE, on_poll);
  } else {
    /* the system does not tell when there is memory again, and says that the socket is writable meanwhile */
    s->retry_after = taken > 0 || s->retry_after == 0 ? RETRY_MIN : s->retry_after * 2;
    if (s->retry_after > RETRY_MAX) s->retry_after = RETRY_MAX;
    uv_timer_start(&s->timer, on_socket_timer, s->retry_after, 0);
  }
  return taken;
}

/* ---- life and options ---- */

int
udx__uv_socket_open (udx_t *udx, udx_socket_t *socket) {
  uv_socket_t *s = calloc(1, sizeof(*s));
  if (s == NULL) return UV_ENOMEM;
  s->udp.fd = -1;
  s->udp.counters = udx;
  s->driver = udx__uv_driver(udx);
  s->socket = socket;
  (void) uv_timer_init(udx->loop, &s->timer); /* cannot fail */
  s->timer.data = s;
  s->open_handles = 1;
  socket->driver_data = s;
  return 0;
}

int
udx__uv_socket_bind (udx_t *udx, udx_socket_t *socket, const struct sockaddr *addr, unsigned int flags) {
  uv_socket_t *s = socket->driver_data;
  int err = udx__udp_bind(&s->udp, addr, flags);
  if (err) return err;
  err = uv_poll_init(udx->loop, &s->poll, s->udp.fd);
  if (err) {
    udx__udp_close(&s->udp);
    return err;
  }
  s->poll.data = s;
  s->open_handles++;
  if (s->udp.overflow) {
    socket->packets_dropped_by_kernel = 0;
    if (udx->packets_dropped_by_kernel < 0) udx->packets_dropped_by_kernel = 0;
  }
  return uv_poll_start(&s->poll, UV_READABLE, on_poll);
}

int
udx__uv_socket_name (udx_t *udx, udx_socket_t *socket, struct sockaddr *name, int *name_len) {
  (void) udx;
  uv_socket_t *s = socket->driver_data;
  return udx__udp_name(&s->udp, name, name_len);
}

int
udx__uv_socket_option (udx_t *udx, udx_socket_t *socket, udx_option_t option, bool set, int *value) {
  (void) udx;
  uv_socket_t *s = socket->driver_data;
  return udx__udp_option(&s->udp, option, set, value);
}

int
udx__uv_socket_membership (
  udx_t *udx, udx_socket_t *socket, const char *group, const char *interface_addr, const char *source, bool join) {
  (void) udx;
  uv_socket_t *s = socket->driver_data;
  return udx__udp_membership(&s->udp, group, interface_addr, source, join);
}

int
udx__uv_socket_multicast_interface (udx_t *udx, udx_socket_t *socket, const char *addr) {
  (void) udx;
  uv_socket_t *s = socket->driver_data;
  return udx__udp_multicast_interface(&s->udp, addr);
}
