/* The libuv driver: its state, and its sockets (uv_socket.c). */
#ifndef UDX_IO_UV_DRIVER_H
#define UDX_IO_UV_DRIVER_H

#include "trim.h"
#include "udp.h"

typedef struct uv_driver_s {
  udx_t *udx; /* NULL once stopped */
  uv_prepare_t prepare;
  uv_timer_t timer;
  uv_poll_t timer_poll;
  uv_check_t check; /* active while a deadline that was reached waits for the loop to poll */
  uv_idle_t idle;   /* active where the loop must not wait: in that poll, and while `prepare` is active */
  int timer_fd;
  int timer_fd_set;
  int timer_fd_due;  /* it has expired and was not read */
  int unread;        /* a socket had more than one turn's share since the last check */
  int polls;         /* that the deadline has waited for */
  uint64_t deadline; /* as armed */
  int open_handles;
  udx_udp_rx_t rx;
  udx_trim_t trim;
  uv_timer_t trim_timer; /* active from a burst until its memory was given back */
  uint32_t trims;        /* how often it was */
} uv_driver_t;

static inline uv_driver_t *
udx__uv_driver (udx_t *udx) {
  return udx->driver_ctx;
}

static inline uint64_t
udx__uv_traffic (const udx_t *udx) {
  return udx->bytes_tx + udx->bytes_rx;
}

/* Looks at the traffic until it has stopped, and gives memory back then. */
void
udx__uv_trim_start (uv_driver_t *driver);

/* Once per turn, while the instance lives. */
static inline void
udx__uv_trim_later (uv_driver_t *driver) {
  if (UDX_UNLIKELY(udx__trim_is_worth(&driver->trim, udx__uv_traffic(driver->udx))) &&
      !uv_is_active((uv_handle_t *) &driver->trim_timer))
    udx__uv_trim_start(driver);
}

int
udx__uv_socket_open (udx_t *udx, udx_socket_t *socket);

int
udx__uv_socket_bind (udx_t *udx, udx_socket_t *socket, const struct sockaddr *addr, unsigned int flags);

void
udx__uv_socket_close (udx_t *udx, udx_socket_t *socket);

int
udx__uv_socket_name (udx_t *udx, udx_socket_t *socket, struct sockaddr *name, int *name_len);

int
udx__uv_socket_option (udx_t *udx, udx_socket_t *socket, udx_option_t option, bool set, int *value);

int
udx__uv_socket_membership (
  udx_t *udx, udx_socket_t *socket, const char *group, const char *interface_addr, const char *source, bool join);

int
udx__uv_socket_multicast_interface (udx_t *udx, udx_socket_t *socket, const char *addr);

unsigned int
udx__uv_transmit (udx_t *udx, udx_socket_t *socket, const udx_datagram_t *datagrams, unsigned int count);

#endif
