/*
 * The libuv driver: readiness through uv_poll on our own descriptors, end of turn through uv_prepare (it
 * runs before the loop waits), deadlines through a timerfd where they are finer than a millisecond timer.
 * A deadline that was reached is reported by uv_check, after the loop has polled: in a loop that was blocked,
 * or a process that was stopped, the engine first reads what the peers said meanwhile.
 * All handles live in heap blocks of the driver, since libuv closes them later than the application may
 * free its structs.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/timerfd.h>
#endif

#include "engine/instance.h"
#include "engine/socket.h"
#include "udp.h"

#define FINE_DEADLINE (4 * UDX_MS) /* nearer ones use the timerfd */
#define RECEIVE_ROUNDS 8           /* batches per readiness event: other handles of the loop want to live */
#define LATE (100 * UDX_MS)        /* a deadline missed by more: the loop was blocked, and much may wait unread */
#define LATE_POLLS 64              /* a late deadline waits for so many polls at most: a flood does not stop timers */

typedef struct uv_driver_s {
  udx_t *udx; /* NULL once stopped */
  uv_prepare_t prepare;
  uv_timer_t timer;
  uv_poll_t timer_poll;
  uv_check_t check; /* active while a deadline that was reached waits for the loop to poll */
  uv_idle_t idle;   /* active where the loop must not wait in that poll */
  int timer_fd;
  int timer_fd_set;
  int timer_fd_due;  /* it has expired and was not read */
  int unread;        /* a socket had more than one turn's share since the last check */
  int polls;         /* that the deadline has waited for */
  uint64_t deadline; /* as armed */
  int open_handles;
  udx_udp_rx_t rx;
} uv_driver_t;

typedef struct uv_socket_s {
  uv_poll_t poll;
  uv_driver_t *driver;
  udx_socket_t *socket;
  udx_udp_t udp;
  uv_timer_t close_timer;
} uv_socket_t;

static uv_driver_t *
driver_of (udx_t *udx) {
  return udx->driver_ctx;
}

/* ---- life ---- */

static void
driver_handle_closed (uv_handle_t *handle) {
  uv_driver_t *driver = handle->data;
  if (--driver->open_handles > 0) return;
  if (driver->timer_fd >= 0) close(driver->timer_fd);
  free(driver->rx.memory);
  free(driver);
}

static void
on_timer (uv_timer_t *timer);

static void
on_prepare (uv_prepare_t *prepare) {
  uv_driver_t *driver = prepare->data;
  uv_prepare_stop(prepare);
  if (driver->udx == NULL) return;
  udx_driver_flush(driver->udx);
  if (driver->udx == NULL) return;
  if (!udx__instance(driver->udx)->deferred) uv_prepare_stop(prepare);
  else uv_timer_start(&driver->timer, on_timer, 0, 0); /* one more turn is due, and the loop is about to wait */
}

static uint64_t
driver_now (udx_t *udx);

static void
on_idle_handle (uv_idle_t *idle) {
  (void) idle;
}

static void
on_check (uv_check_t *check) {
  uv_driver_t *driver = check->data;
  if (driver->udx == NULL) return;
  int unread = driver->unread;
  driver->unread = 0;
  uint64_t now = driver_now(driver->udx);
  if (unread && driver->polls < LATE_POLLS && now > driver->deadline && now - driver->deadline > LATE) {
    driver->polls++;
    (void) uv_idle_start(&driver->idle, on_idle_handle);
    return;
  }
  driver->polls = 0;
  (void) uv_check_stop(check);
  (void) uv_idle_stop(&driver->idle);
  int due = driver->timer_fd_due;
  driver->timer_fd_due = 0;
  udx_driver_tick(driver->udx);
  if (!due || driver->timer_fd_set) return; /* setting it anew cleared it */
  uint64_t expirations;
  ssize_t n = read(driver->timer_fd, &expirations, sizeof(expirations));
  (void) n;
}

/* The loop polls next. */
static void
on_timer (uv_timer_t *timer) {
  uv_driver_t *driver = timer->data;
  if (driver->udx == NULL) return;
  /* neither can fail */
  (void) uv_check_start(&driver->check, on_check);
  (void) uv_idle_start(&driver->idle, on_idle_handle);
}

#ifdef __linux__
static void
on_timer_fd (uv_poll_t *poll, int status, int events) {
  (void) status;
  (void) events;
  uv_driver_t *driver = poll->data;
  if (driver->udx == NULL) return;
  driver->timer_fd_set = 0;
  driver->timer_fd_due = 1;
  (void) uv_check_start(&driver->check, on_check); /* it follows this poll */
}

static void
timer_fd_open (uv_driver_t *driver, uv_loop_t *loop) {
  driver->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (driver->timer_fd < 0) return;
  if (uv_poll_init(loop, &driver->timer_poll, driver->timer_fd)) {
    close(driver->timer_fd);
    driver->timer_fd = -1;
    return;
  }
  driver->timer_poll.data = driver;
  driver->open_handles++;
  uv_poll_start(&driver->timer_poll, UV_READABLE, on_timer_fd);
  uv_unref((uv_handle_t *) &driver->timer_poll);
}
#endif

static int
driver_start (udx_t *udx) {
  uv_driver_t *driver = calloc(1, sizeof(*driver));
  if (driver == NULL) return UV_ENOMEM;
  driver->rx.memory = malloc((size_t) UDX_UDP_SLOTS * UDX_UDP_SLOT_SIZE);
  if (driver->rx.memory == NULL) {
    free(driver);
    return UV_ENOMEM;
  }
  driver->rx.slots = UDX_UDP_SLOTS;
  driver->udx = udx;
  driver->timer_fd = -1;
  /* none of these can fail */
  (void) uv_prepare_init(udx->loop, &driver->prepare);
  (void) uv_timer_init(udx->loop, &driver->timer);
  (void) uv_check_init(udx->loop, &driver->check);
  (void) uv_idle_init(udx->loop, &driver->idle);
  driver->prepare.data = driver;
  driver->timer.data = driver;
  driver->check.data = driver;
  driver->idle.data = driver;
  driver->open_handles = 4;
  uv_unref((uv_handle_t *) &driver->timer);
  uv_unref((uv_handle_t *) &driver->check);
  uv_unref((uv_handle_t *) &driver->idle);
#ifdef __linux__
  timer_fd_open(driver, udx->loop);
#endif
  udx->driver_ctx = driver;
  return 0;
}

static void
driver_stop (udx_t *udx) {
  uv_driver_t *driver = driver_of(udx);
  driver->udx = NULL;
  udx->driver_ctx = NULL;
  uv_close((uv_handle_t *) &driver->prepare, driver_handle_closed);
  uv_close((uv_handle_t *) &driver->timer, driver_handle_closed);
  uv_close((uv_handle_t *) &driver->check, driver_handle_closed);
  uv_close((uv_handle_t *) &driver->idle, driver_handle_closed);
#ifdef __linux__
  if (driver->timer_fd >= 0) uv_close((uv_handle_t *) &driver->timer_poll, driver_handle_closed);
#endif
}

/* ---- time, chance, turns ---- */

static uint64_t
driver_now (udx_t *udx) {
  (void) udx;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static int
driver_random (udx_t *udx, void *bytes, size_t length) {
  (void) udx;
  return uv_random(NULL, NULL, bytes, length, 0, NULL);
}

static void
driver_arm (udx_t *udx, uint64_t deadline) {
  uv_driver_t *driver = driver_of(udx);
  driver->deadline = deadline;
  if (deadline == UDX_NEVER) {
    uv_timer_stop(&driver->timer);
    return;
  }
  uint64_t now = driver_now(udx);
  uint64_t wait = deadline > now ? deadline - now : 0;
#ifdef __linux__
  if (wait < FINE_DEADLINE && driver->timer_fd >= 0) {
    struct itimerspec at;
    memset(&at, 0, sizeof(at));
    if (wait == 0) deadline = now + 1;
    at.it_value.tv_sec = (time_t) (deadline / 1000000);
    at.it_value.tv_nsec = (long) (deadline % 1000000) * 1000;
    if (timerfd_settime(driver->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) == 0) {
      driver->timer_fd_set = 1;
      return;
    }
  }
#endif
  uv_update_time(udx->loop);
  uv_timer_start(&driver->timer, on_timer, (wait + UDX_MS - 1) / UDX_MS, 0);
}

static void
driver_defer (udx_t *udx) {
  uv_driver_t *driver = driver_of(udx);
  uv_prepare_start(&driver->prepare, on_prepare);
}

/* ---- sockets ---- */

static void
socket_readable (uv_socket_t *s) {
  udx_udp_rx_t *rx = &s->driver->rx;
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

static void
on_poll (uv_poll_t *poll, int status, int events) {
  uv_socket_t *s = poll->data;
  if (status < 0) {
    /* an asynchronous error (an ICMP message, a vanished address): libuv has stopped the handle, the socket lives on */
    if (udx__udp_clear_error(&s->udp)) return;
    (void) uv_poll_start(poll, UV_READABLE | (udx__socket(s->socket)->blocked ? UV_WRITABLE : 0), on_poll);
    events = UV_READABLE;
  }
  if (events & UV_WRITABLE) {
    uv_poll_start(poll, UV_READABLE, on_poll);
    udx_driver_writable(s->socket);
  }
  if (!(s->socket->status & UDX_SOCKET_CLOSED) && (events & UV_READABLE)) socket_readable(s);
}

static int
driver_socket_open (udx_t *udx, udx_socket_t *socket) {
  uv_socket_t *s = calloc(1, sizeof(*s));
  if (s == NULL) return UV_ENOMEM;
  s->udp.fd = -1;
  s->udp.counters = udx;
  s->driver = driver_of(udx);
  s->socket = socket;
  socket->driver_data = s;
  return 0;
}

static int
driver_socket_bind (udx_t *udx, udx_socket_t *socket, const struct sockaddr *addr, unsigned int flags) {
  uv_socket_t *s = socket->driver_data;
  int err = udx__udp_bind(&s->udp, addr, flags);
  if (err) return err;
  err = uv_poll_init(udx->loop, &s->poll, s->udp.fd);
  if (err) {
    udx__udp_close(&s->udp);
    return err;
  }
  s->poll.data = s;
  if (s->udp.overflow) {
    socket->packets_dropped_by_kernel = 0;
    if (udx->packets_dropped_by_kernel < 0) udx->packets_dropped_by_kernel = 0;
  }
  err = uv_poll_start(&s->poll, UV_READABLE, on_poll);
  return err;
}

static void
socket_closed (uv_handle_t *handle) {
  uv_socket_t *s = handle->data;
  udx_socket_t *socket = s->socket;
  udx__udp_close(&s->udp);
  free(s);
  udx_driver_socket_closed(socket);
}

static void
driver_socket_close (udx_t *udx, udx_socket_t *socket) {
  uv_socket_t *s = socket->driver_data;
  if (s->udp.fd >= 0) {
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *) &s->poll, socket_closed);
    return;
  }
  /* never bound: there is no handle, but the callback has to come later all the same */
  (void) uv_timer_init(udx->loop, &s->close_timer);
  s->close_timer.data = s;
  uv_close((uv_handle_t *) &s->close_timer, socket_closed);
}

static int
driver_socket_name (udx_t *udx, udx_socket_t *socket, struct sockaddr *name, int *name_len) {
  (void) udx;
  uv_socket_t *s = socket->driver_data;
  return udx__udp_name(&s->udp, name, name_len);
}

static int
driver_socket_option (udx_t *udx, udx_socket_t *socket, udx_option_t option, bool set, int *value) {
  (void) udx;
  uv_socket_t *s = socket->driver_data;
  return udx__udp_option(&s->udp, option, set, value);
}

static int
driver_socket_membership (
  udx_t *udx, udx_socket_t *socket, const char *group, const char *interface_addr, const char *source, bool join) {
  (void) udx;
  uv_socket_t *s = socket->driver_data;
  return udx__udp_membership(&s->udp, group, interface_addr, source, join);
}

static int
driver_socket_multicast_interface (udx_t *udx, udx_socket_t *socket, const char *addr) {
  (void) udx;
  uv_socket_t *s = socket->driver_data;
  return udx__udp_multicast_interface(&s->udp, addr);
}

static unsigned int
driver_transmit (udx_t *udx, udx_socket_t *socket, const udx_datagram_t *datagrams, unsigned int count) {
  (void) udx;
  uv_socket_t *s = socket->driver_data;
  unsigned int taken = udx__udp_send(&s->udp, datagrams, count);
  if (taken < count) uv_poll_start(&s->poll, UV_READABLE | UV_WRITABLE, on_poll);
  return taken;
}

static const udx_driver_t uv_driver = {
  .size = sizeof(udx_driver_t),
  .start = driver_start,
  .stop = driver_stop,
  .now = driver_now,
  .random = driver_random,
  .arm = driver_arm,
  .defer = driver_defer,
  .socket_open = driver_socket_open,
  .socket_bind = driver_socket_bind,
  .socket_close = driver_socket_close,
  .socket_name = driver_socket_name,
  .socket_option = driver_socket_option,
  .socket_membership = driver_socket_membership,
  .socket_multicast_interface = driver_socket_multicast_interface,
  .transmit = driver_transmit,
};

int
udx_init (uv_loop_t *loop, udx_t *udx, udx_idle_cb on_idle) {
  int err = udx_init_with_driver(udx, &uv_driver, NULL, on_idle);
  if (err) return err;
  udx->loop = loop;
  return 0;
}
