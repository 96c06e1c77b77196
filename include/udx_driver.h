/*
 * Drivers: what a UDX instance runs on.
 *
 * The engine owns no socket, clock, timer or random source. It asks its driver. udx_init() installs the
 * libuv driver; udx_init_with_driver() runs the same public API (sockets, streams, requests of udx.h) on
 * another driver: a simulator, a fuzzer, another event loop.
 *
 * The contract
 * - Everything happens on one thread. The driver calls the entry points at the end of this file,
 *   never from inside a function that the engine called on the driver.
 * - A "turn" is one such call, or any piece of application code that uses udx.h. If the engine has
 *   something to send or to report after application code ran, it calls `defer` (once), and the driver
 *   calls udx_driver_flush() at the end of the turn, before it waits again.
 * - Time is a monotonic count of microseconds; it must not go backwards. The start is arbitrary, not 0.
 * - Driver functions find their state in udx->driver_ctx and socket->driver_data, both theirs.
 */
#ifndef UDX_DRIVER_H
#define UDX_DRIVER_H

#include "udx.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UDX_NEVER 0xffffffffffffffffULL

/*
 * One datagram to transmit. The pieces of consecutive datagrams of one call lie next to each other in
 * memory (datagrams[i + 1].bufs == datagrams[i].bufs + datagrams[i].bufs_len), so that a run of
 * datagrams can become one segmented system call without copying. All is borrowed for the call.
 */
typedef struct udx_datagram_s {
  const struct sockaddr *to; /* same family as the socket */
  const uv_buf_t *bufs;
  uint32_t bufs_len;
  uint32_t length; /* sum of the pieces */
  uint8_t ttl;     /* 0 = the socket's default */
  uint8_t local;   /* leave from this address of the host, see udx_received_t; 0 = as the system chooses */
  bool fragment;   /* may be fragmented on the way: it cannot be made smaller */
} udx_datagram_t;

/*
 * What arrived: one datagram, or, with segment_size > 0, several of one source back to back, all
 * segment_size bytes long except the last. The engine may change the bytes; it keeps nothing.
 */
typedef struct udx_received_s {
  uint8_t *data;
  size_t length;
  size_t segment_size;
  const struct sockaddr *from;
  /*
   * Which address of the host it was sent to, a number that the driver gives: answers leave from there. 0 = not known,
   * or the socket is bound to one.
   */
  uint8_t local;
} udx_received_t;

typedef enum {
  UDX_OPTION_SEND_BUFFER = 1,
  UDX_OPTION_RECV_BUFFER = 2,
  UDX_OPTION_TTL = 3,
  UDX_OPTION_MULTICAST_LOOP = 4,
} udx_option_t;

struct udx_driver_s {
  size_t size; /* sizeof(udx_driver_t) of the caller */

  /* The instance gets busy (before anything else is called) or idle. Optional. */
  int (*start)(udx_t *udx);
  void (*stop)(udx_t *udx);

  uint64_t (*now)(udx_t *udx);
  /* 0, or a negative error: then the instance does not start (ids and hash tables would be predictable). */
  int (*random)(udx_t *udx, void *bytes, size_t length);
  /* Call udx_driver_tick() at `deadline` or soon after. Replaces the earlier deadline; UDX_NEVER = none. */
  void (*arm)(udx_t *udx, uint64_t deadline);
  /* Call udx_driver_flush() at the end of this turn. */
  void (*defer)(udx_t *udx);

  int (*socket_open)(udx_t *udx, udx_socket_t *socket);
  /* addr: AF_INET or AF_INET6; flags: UV_UDP_*. Receiving starts. */
  int (*socket_bind)(udx_t *udx, udx_socket_t *socket, const struct sockaddr *addr, unsigned int flags);
  /*
   * Stops receiving at once and calls udx_driver_socket_closed() later, from another turn. If udx_driver_unsent() is
   * not 0 the socket was full when it closed: a driver may wait a moment, call udx_driver_writable() when there is
   * room, and so let the goodbyes of the last streams leave.
   */
  void (*socket_close)(udx_t *udx, udx_socket_t *socket);
  int (*socket_name)(udx_t *udx, udx_socket_t *socket, struct sockaddr *name, int *name_len);
  int (*socket_option)(udx_t *udx, udx_socket_t *socket, udx_option_t option, bool set, int *value);
  /* Optional, UV_ENOTSUP if absent. source may be NULL. */
  int (*socket_membership)(
    udx_t *udx, udx_socket_t *socket, const char *group, const char *interface_addr, const char *source, bool join);
  int (*socket_multicast_interface)(udx_t *udx, udx_socket_t *socket, const char *addr);

  /*
   * Transmits in order. Returns how many datagrams were taken; fewer than count means that the socket
   * is full, and udx_driver_writable() must follow when it is not any more. A datagram that the
   * system refuses for another reason counts as taken: the network may lose anything.
   */
  unsigned int (*transmit)(udx_t *udx, udx_socket_t *socket, const udx_datagram_t *datagrams, unsigned int count);
};

/* Runs an instance on a driver. `driver` must outlive the instance. */
UDX_EXTERN int
udx_init_with_driver (udx_t *udx, const udx_driver_t *driver, void *driver_ctx, udx_idle_cb on_idle);

/* ---- entry points ---- */

/* A batch arrived. Acknowledgements and whatever may leave now are transmitted before it returns. */
UDX_EXTERN void
udx_driver_receive (udx_socket_t *socket, const udx_received_t *batch, unsigned int count);

/* A socket that took too little can take more. */
UDX_EXTERN void
udx_driver_writable (udx_socket_t *socket);

/* Packets that wait in a full socket that was closed: the goodbyes of its streams. */
UDX_EXTERN unsigned int
udx_driver_unsent (udx_socket_t *socket);

/* The system had taken the socket's port away, and the driver has bound it anew. */
UDX_EXTERN void
udx_driver_socket_rebound (udx_socket_t *socket);

/* The armed deadline was reached. Early or spurious calls are harmless. */
UDX_EXTERN void
udx_driver_tick (udx_t *udx);

/* The end of a turn. */
UDX_EXTERN void
udx_driver_flush (udx_t *udx);

/*
 * Not an event: gives back the memory that a quiet instance keeps for its next packets, about 40 KB and what the pools
 * hold. For processes with many instances; what the instance does stays the same. Not from inside a callback.
 */
UDX_EXTERN void
udx_driver_trim (udx_t *udx);

/* The socket is closed and the driver keeps no reference to it. The socket may be gone after the call. */
UDX_EXTERN void
udx_driver_socket_closed (udx_socket_t *socket);

#ifdef __cplusplus
}
#endif

#endif
