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
#include "uv_driver.h"

#define FINE_DEADLINE (4 * UDX_MS) /* nearer ones use the timerfd */
#define LATE (100 * UDX_MS)        /* a deadline missed by more: the loop was blocked, and much may wait unread */
#define LATE_POLLS 64              /* a late deadline waits for so many polls at most: a flood does not stop timers */

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

/* ---- memory after a burst ---- */

static uint64_t
clock_now (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static void
on_trim_timer (uv_timer_t *timer) {
  uv_driver_t *driver = timer->data;
  if (driver->udx == NULL) return;
  uint64_t given = driver->trim.given;
  udx_trim_verdict_t verdict = udx__trim_look(&driver->trim, udx__uv_traffic(driver->udx));
  if (verdict == UDX_TRIM_AGAIN) return;
  if (verdict == UDX_TRIM_NOW) {
    udx_driver_trim(driver->udx);
    if (!udx__trim_process(clock_now)) {
      driver->trim.given = given;
      return;
    }
    driver->trims++;
  }
  (void) uv_timer_stop(timer);
}

void
udx__uv_trim_start (uv_driver_t *driver) {
  driver->trim.seen = udx__uv_traffic(driver->udx);
  (void) uv_timer_start(&driver->trim_timer, on_trim_timer, UDX_TRIM_LOOK / UDX_MS, UDX_TRIM_LOOK / UDX_MS);
}

static void
on_prepare (uv_prepare_t *prepare) {
  uv_driver_t *driver = prepare->data;
  uv_prepare_stop(prepare);
  if (driver->udx == NULL) return;
  udx_driver_flush(driver->udx);
  if (driver->udx == NULL) return;
  if (udx__instance(driver->udx)->deferred) {
    uv_timer_start(&driver->timer, on_timer, 0, 0); /* one more turn is due, and the loop is about to wait */
    return;
  }
  uv_prepare_stop(prepare);
  if (!uv_is_active((uv_handle_t *) &driver->check)) (void) uv_idle_stop(&driver->idle);
  udx__uv_trim_later(driver);
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
  if (!uv_is_active((uv_handle_t *) &driver->prepare)) (void) uv_idle_stop(&driver->idle);
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
  (void) uv_timer_init(udx->loop, &driver->trim_timer);
  (void) uv_check_init(udx->loop, &driver->check);
  (void) uv_idle_init(udx->loop, &driver->idle);
  driver->prepare.data = driver;
  driver->timer.data = driver;
  driver->trim_timer.data = driver;
  driver->trim.given = driver->trim.seen = udx__uv_traffic(udx);
  driver->check.data = driver;
  driver->idle.data = driver;
  driver->open_handles = 5;
  uv_unref((uv_handle_t *) &driver->timer);
  uv_unref((uv_handle_t *) &driver->trim_timer);
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
  uv_driver_t *driver = udx__uv_driver(udx);
  driver->udx = NULL;
  udx->driver_ctx = NULL;
  uv_close((uv_handle_t *) &driver->prepare, driver_handle_closed);
  uv_close((uv_handle_t *) &driver->timer, driver_handle_closed);
  uv_close((uv_handle_t *) &driver->trim_timer, driver_handle_closed);
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
  return clock_now();
}

static int
driver_random (udx_t *udx, void *bytes, size_t length) {
  (void) udx;
  return uv_random(NULL, NULL, bytes, length, 0, NULL);
}

static void
driver_arm (udx_t *udx, uint64_t deadline) {
  uv_driver_t *driver = udx__uv_driver(udx);
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
  uv_driver_t *driver = udx__uv_driver(udx);
  uv_prepare_start(&driver->prepare, on_prepare);
  /* uv_backend_timeout() knows of it as well: where a program gives the loop single turns, the next one is due */
  (void) uv_idle_start(&driver->idle, on_idle_handle);
}

static const udx_driver_t uv_driver = {
  .size = sizeof(udx_driver_t),
  .start = driver_start,
  .stop = driver_stop,
  .now = driver_now,
  .random = driver_random,
  .arm = driver_arm,
  .defer = driver_defer,
  .socket_open = udx__uv_socket_open,
  .socket_bind = udx__uv_socket_bind,
  .socket_close = udx__uv_socket_close,
  .socket_name = udx__uv_socket_name,
  .socket_option = udx__uv_socket_option,
  .socket_membership = udx__uv_socket_membership,
  .socket_multicast_interface = udx__uv_socket_multicast_interface,
  .transmit = udx__uv_transmit,
};

int
udx_init (uv_loop_t *loop, udx_t *udx, udx_idle_cb on_idle) {
  int err = udx_init_with_driver(udx, &uv_driver, NULL, on_idle);
  if (err) return err;
  udx->loop = loop;
  return 0;
}
