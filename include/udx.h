/*
 * UDX: reliable, congestion-controlled streams and messages over UDP.
 *
 * Source-compatible with the public C interface of libudx (2026-08) and compatible with it on the wire.
 * The protocol and the contract of every call are in the UDX specification (Annexes A and D).
 *
 * Rules that hold everywhere
 * - An instance (udx_t) and all that hangs on it belong to one thread, the one that runs its loop.
 * - Functions return 0 (or a documented positive value) or a negative libuv error code.
 * - Sockets, streams, handles and requests are allocated by the caller. A stream may be freed in its
 *   finalize callback, a socket in its close callback, a request in its callback, not earlier.
 *   Each of these callbacks is called exactly once.
 * - Buffers of writes and messages are borrowed, not copied, until the request's callback. Buffers
 *   given to callbacks are valid during the callback.
 * - Every call may be made from inside every callback.
 * - What is written in one turn of the loop leaves at the end of that turn, in large batches.
 */
#ifndef UDX_H
#define UDX_H

#ifdef __cplusplus
extern "C" {
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#if defined(_WIN32)
#define UDX_EXTERN
#else
#define UDX_EXTERN __attribute__((visibility("default")))
#endif

#define UDX_MAGIC_BYTE 255
#define UDX_VERSION 1
#define UDX_HEADER_SIZE 20
#define UDX_IPV4_HEADER_SIZE (20 + 8 + UDX_HEADER_SIZE) /* with those of UDP and IP */
#define UDX_IPV6_HEADER_SIZE (40 + 8 + UDX_HEADER_SIZE)

#define UDX_HEADER_DATA 0x01
#define UDX_HEADER_END 0x02
#define UDX_HEADER_SACK 0x04
#define UDX_HEADER_MESSAGE 0x08
#define UDX_HEADER_DESTROY 0x10
#define UDX_HEADER_HEARTBEAT 0x20

#define UDX_SOCKET_RECEIVING 0x01
#define UDX_SOCKET_BOUND 0x02
#define UDX_SOCKET_CLOSED 0x04

#define UDX_STREAM_CONNECTED 0x001
#define UDX_STREAM_RECEIVING 0x002
#define UDX_STREAM_READING 0x004
#define UDX_STREAM_ENDING 0x008
#define UDX_STREAM_ENDING_REMOTE 0x010
#define UDX_STREAM_ENDED 0x020
#define UDX_STREAM_ENDED_REMOTE 0x040
#define UDX_STREAM_DESTROYING 0x080
#define UDX_STREAM_CLOSED 0x100

#define UDX_MTU_BASE 1200 /* bytes of IP packet: what a path is taken to carry before it is searched */
#define UDX_MTU_MAX 1500  /* bytes of IP packet: up to which it is searched */

#define UDX_BBR_STATE_STARTUP 0
#define UDX_BBR_STATE_DRAIN 1
#define UDX_BBR_STATE_PROBE_BW 2
#define UDX_BBR_STATE_PROBE_RTT 3

typedef enum {
  UDX_LOOKUP_FAMILY_IPV4 = 1,
  UDX_LOOKUP_FAMILY_IPV6 = 2,
} udx_lookup_flags;

typedef struct udx_s udx_t;
typedef struct udx_socket_s udx_socket_t;
typedef struct udx_stream_s udx_stream_t;
typedef struct udx_socket_send_s udx_socket_send_t;
typedef struct udx_stream_send_s udx_stream_send_t;
typedef struct udx_stream_write_s udx_stream_write_t;
typedef struct udx_lookup_s udx_lookup_t;
typedef struct udx_interface_event_s udx_interface_event_t;
typedef struct udx_driver_s udx_driver_t;           /* udx_driver.h */
typedef struct udx_trace_event_s udx_trace_event_t; /* udx_trace.h */

typedef void (*udx_idle_cb)(udx_t *udx);

typedef void (*udx_socket_send_cb)(udx_socket_send_t *req, int status);
typedef void (*udx_socket_recv_cb)(
  udx_socket_t *socket, ssize_t read_len, const uv_buf_t *buf, const struct sockaddr *from);
typedef void (*udx_socket_close_cb)(udx_socket_t *socket);
typedef void (*udx_socket_rebind_cb)(udx_socket_t *socket);

/* Non-zero drops the packet. */
typedef int (*udx_stream_firewall_cb)(udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from);
/* read_len > 0: data; 0: an empty packet; UV_EOF once, after the last data. */
typedef void (*udx_stream_read_cb)(udx_stream_t *stream, ssize_t read_len, const uv_buf_t *buf);
typedef void (*udx_stream_drain_cb)(udx_stream_t *stream);
typedef void (*udx_stream_remote_changed_cb)(udx_stream_t *stream);
/* status 0, or UV_ECANCELED if the stream closed before all was acknowledged. */
typedef void (*udx_stream_ack_cb)(udx_stream_write_t *req, int status, int unordered);
typedef void (*udx_stream_send_cb)(udx_stream_send_t *req, int status);
typedef void (*udx_stream_recv_cb)(udx_stream_t *stream, ssize_t read_len, const uv_buf_t *buf);
/* status 0, UV_ECONNRESET (peer destroyed) or UV_ETIMEDOUT. */
typedef void (*udx_stream_close_cb)(udx_stream_t *stream, int status);
typedef void (*udx_stream_finalize_cb)(udx_stream_t *stream);
/* Bytes that the application received and still holds back; subtracted from the offered window. */
typedef uint32_t (*udx_stream_get_read_buffer_size_cb)(udx_stream_t *stream);

typedef void (*udx_lookup_cb)(udx_lookup_t *handle, int status, const struct sockaddr *addr, int addr_len);

typedef void (*udx_interface_event_cb)(udx_interface_event_t *handle, int status);
typedef void (*udx_interface_event_close_cb)(udx_interface_event_t *handle);

/* udx_trace.h */
typedef void (*udx_trace_cb)(udx_t *udx, const udx_trace_event_t *event, void *data);

/*
 * Room for the engine's own state behind the public fields, in 8-byte words. Nothing in it is API. It is larger than
 * today's state, so that later versions fit; Tests/CUDX/test_abi.c records the sizes.
 */
#define UDX_INSTANCE_RESERVED 88
#define UDX_SOCKET_RESERVED 22
#define UDX_STREAM_RESERVED 140
#define UDX_SEND_RESERVED 14
#define UDX_WRITE_RESERVED 8
#define UDX_HANDLE_RESERVED 4

struct udx_s {
  void *data;
  uv_loop_t *loop; /* NULL on a driver of the caller's own */

  uint64_t bytes_rx;
  uint64_t bytes_tx;
  uint64_t packets_rx;
  uint64_t packets_tx;
  int64_t packets_dropped_by_kernel; /* -1 = unknown */

  /* Extra counters: how the fast path works. */
  uint64_t acks_tx;              /* pure acknowledgements sent */
  uint64_t transmit_calls;       /* batches given to the driver */
  uint64_t packets_invalid;      /* dropped for a malformed or out-of-window header */
  uint64_t retransmits;          /* packets sent again */
  uint64_t retransmits_spurious; /* of these, needless as far as can be told */
  uint64_t gso_batches;          /* segmented sends, and the datagrams in them */
  uint64_t gso_datagrams;
  uint64_t gso_fallbacks; /* segmented sends that the system refused and that were repeated singly */
  uint64_t gro_batches;   /* receives of several datagrams in one, and the datagrams in them */
  uint64_t gro_datagrams;

  /* the driver's own, see udx_driver.h */
  void *driver_ctx;

  uint64_t reserved[UDX_INSTANCE_RESERVED];
};

struct udx_socket_s {
  void *data;
  udx_t *udx;
  int status;

  uint64_t bytes_rx;
  uint64_t bytes_tx;
  uint64_t packets_rx;
  uint64_t packets_tx;
  int64_t packets_dropped_by_kernel; /* -1 = unknown */

  /* the driver's own, see udx_driver.h */
  void *driver_data;

  uint64_t reserved[UDX_SOCKET_RESERVED];
};

struct udx_stream_s {
  void *data;
  udx_t *udx;
  udx_socket_t *socket; /* NULL before connect */

  uint32_t local_id;
  uint32_t remote_id;
  int status; /* UDX_STREAM_* bits */

  uint64_t bytes_rx;
  uint64_t bytes_tx;
  uint64_t packets_rx;
  uint64_t packets_tx;

  uint16_t mtu;
  uint32_t srtt; /* ms */
  uint32_t rto;  /* ms */
  uint32_t cwnd; /* packets */
  uint32_t ssthresh;
  size_t inflight; /* bytes, headers included */

  uint32_t rto_count;
  uint32_t fast_recovery_count;
  uint32_t retransmit_count;
  uint32_t zwp_count;
  uint32_t dropped_sacks;       /* ranges of an acknowledgement that named nothing sent */
  uint32_t spurious_count;      /* retransmissions that were needless */
  uint32_t send_rwnd;           /* bytes: what the peer's last packet offered */
  uint32_t recv_rwnd_max;       /* bytes: what we offer at most; udx_stream_set_rwnd_max sets it */
  uint32_t pacing_bytes_per_ms; /* 0 before the first estimate */
  uint32_t rate_delivered;      /* packets, of the last delivery rate sample */
  uint32_t rate_interval_ms;    /* of that sample */
  bool rate_sample_is_app_limited;
  struct {
    uint8_t state; /* UDX_BBR_STATE_* */
  } bbr;

  /* Set it any time; NULL = the application holds nothing. */
  udx_stream_get_read_buffer_size_cb get_read_buffer_size;

  uint64_t reserved[UDX_STREAM_RESERVED];
};

struct udx_socket_send_s {
  void *data;
  udx_socket_t *socket;

  uint64_t reserved[UDX_SEND_RESERVED];
};

struct udx_stream_send_s {
  void *data;
  udx_stream_t *stream;

  uint64_t reserved[UDX_SEND_RESERVED];
};

/* Allocate udx_stream_write_sizeof(number of buffers) bytes. */
struct udx_stream_write_s {
  void *data;
  udx_stream_t *stream;
  size_t bytes_acked; /* of this write, so far */

  uint64_t reserved[UDX_WRITE_RESERVED]; /* one uv_buf_t per buffer follows */
};

struct udx_lookup_s {
  void *data;

  /* private */
  udx_t *udx;
  uv_getaddrinfo_t req;
  udx_lookup_cb on_lookup;
  uint64_t reserved[UDX_HANDLE_RESERVED];
};

struct udx_interface_event_s {
  void *data;
  uv_interface_address_t *addrs;
  int addrs_len;

  /* private */
  udx_t *udx;
  uv_loop_t *loop;
  uv_timer_t timer;
  udx_interface_event_cb on_event;
  udx_interface_event_close_cb on_close;
  uint8_t closing;
  uint64_t reserved[UDX_HANDLE_RESERVED];
};

/* ---- instance ---- */

/* Runs on `loop`. on_idle (may be NULL) is called whenever the last socket, stream, lookup or watcher is gone. */
UDX_EXTERN int
udx_init (uv_loop_t *loop, udx_t *udx, udx_idle_cb on_idle);

UDX_EXTERN int
udx_is_idle (udx_t *udx);

/* Destroys all streams, closes all sockets. Nothing can be created afterwards (UV_EINVAL). */
UDX_EXTERN void
udx_teardown (udx_t *udx);

/* ---- sockets ---- */

UDX_EXTERN int
udx_socket_init (udx_t *udx, udx_socket_t *socket, udx_socket_close_cb cb);

UDX_EXTERN int
udx_socket_get_send_buffer_size (udx_socket_t *socket, int *value);
UDX_EXTERN int
udx_socket_set_send_buffer_size (udx_socket_t *socket, int value);
UDX_EXTERN int
udx_socket_get_recv_buffer_size (udx_socket_t *socket, int *value);
UDX_EXTERN int
udx_socket_set_recv_buffer_size (udx_socket_t *socket, int value);
UDX_EXTERN int
udx_socket_get_ttl (udx_socket_t *socket, int *ttl);

/* 1..255 */
UDX_EXTERN int
udx_socket_set_ttl (udx_socket_t *socket, int ttl);

/* flags: UV_UDP_IPV6ONLY, UV_UDP_REUSEADDR. Receiving starts at once. */
UDX_EXTERN int
udx_socket_bind (udx_socket_t *socket, const struct sockaddr *addr, unsigned int flags);

UDX_EXTERN int
udx_socket_set_membership (
  udx_socket_t *socket, const char *multicast_addr, const char *interface_addr, uv_membership membership);

UDX_EXTERN int
udx_socket_set_source_membership (udx_socket_t *socket, const char *multicast_addr, const char *interface_addr,
  const char *source_addr, uv_membership membership);

UDX_EXTERN int
udx_socket_set_multicast_loop (udx_socket_t *socket, int on);

UDX_EXTERN int
udx_socket_set_multicast_interface (udx_socket_t *socket, const char *addr);

UDX_EXTERN int
udx_socket_getsockname (udx_socket_t *socket, struct sockaddr *name, int *name_len);

/* One datagram from exactly one buffer. UV_ENOBUFS when the socket's queue is full. */
UDX_EXTERN int
udx_socket_send (udx_socket_send_t *req, udx_socket_t *socket, const uv_buf_t bufs[], unsigned int bufs_len,
  const struct sockaddr *addr, udx_socket_send_cb cb);

/* ttl 0 = the socket's default. */
UDX_EXTERN int
udx_socket_send_ttl (udx_socket_send_t *req, udx_socket_t *socket, const uv_buf_t bufs[], unsigned int bufs_len,
  const struct sockaddr *addr, int ttl, udx_socket_send_cb cb);

UDX_EXTERN int
udx_socket_recv_start (udx_socket_t *socket, udx_socket_recv_cb cb);

UDX_EXTERN int
udx_socket_recv_stop (udx_socket_t *socket);

/*
 * The system can take the port of a socket away, as some do when a network goes. The socket is then bound anew, to the
 * same address if that can be had, and streams go on. Afterwards `cb` is called: udx_socket_getsockname() says where.
 */
UDX_EXTERN int
udx_socket_on_rebind (udx_socket_t *socket, udx_socket_rebind_cb cb);

/* UV_EBUSY while streams use the socket. */
UDX_EXTERN int
udx_socket_close (udx_socket_t *socket);

/* ---- streams ---- */

/* UV_EEXIST if the id is in use, UV_ENOMEM, UV_EINVAL after teardown. */
UDX_EXTERN int
udx_stream_init (udx_t *udx, udx_stream_t *stream, uint32_t local_id, udx_stream_close_cb close_cb,
  udx_stream_finalize_cb finalize_cb);

/* Of packets with their IP header. After a close with UV_EMSGSIZE: the largest that the path is known to carry. */
UDX_EXTERN int
udx_stream_get_mtu (udx_stream_t *stream, uint16_t *mtu);

UDX_EXTERN int
udx_stream_get_seq (udx_stream_t *stream, uint32_t *seq);
UDX_EXTERN int
udx_stream_set_seq (udx_stream_t *stream, uint32_t seq);

/*
 * While nothing is outstanding a packet leaves after so many milliseconds; 0 = off. Before our END it is a HEARTBEAT,
 * whose silence ends nothing, for old peers do not answer it. Once our END is acknowledged it is the END again, which
 * every peer acknowledges: one that is silent is given up, ETIMEDOUT, 13 s (where timeouts are longer than a second up
 * to 15 s, or four of them) after the first that had no answer. A peer's own keepalive plays no part.
 * A stream that waits for a closed window of the peer has probes of its own, on or off: two timeouts apart, 5 s at
 * most. Every peer answers them, and one that is silent is given up after the same time.
 */
UDX_EXTERN int
udx_stream_set_keepalive (udx_stream_t *stream, uint32_t keepalive_timeout_ms);

UDX_EXTERN int
udx_stream_get_ack (udx_stream_t *stream, uint32_t *ack);
UDX_EXTERN int
udx_stream_set_ack (udx_stream_t *stream, uint32_t ack);

UDX_EXTERN int
udx_stream_get_bw (udx_stream_t *stream, uint64_t *bw_bytes_per_sec_out);

UDX_EXTERN int
udx_stream_get_min_rtt (udx_stream_t *stream, uint32_t *min_rtt_ms_out);

UDX_EXTERN int
udx_stream_get_rwnd_max (udx_stream_t *stream, uint32_t *rwnd_max);
UDX_EXTERN int
udx_stream_set_rwnd_max (udx_stream_t *stream, uint32_t rwnd_max);

/*
 * Memory for packets that wait, behind a gap or for a paused reader; 0 = four windows, but 1 MiB at least. Rounded up
 * to KiB, at most 64 MiB. What finds no room is dropped and sent again: two windows hold all that a peer may send, if
 * its packets are not small.
 */
UDX_EXTERN int
udx_stream_set_reorder_max (udx_stream_t *stream, uint32_t bytes);

/* Sends nothing. UV_EISCONN, UV_EINVAL (also for port 0). */
UDX_EXTERN int
udx_stream_connect (udx_stream_t *stream, udx_socket_t *socket, uint32_t remote_id, const struct sockaddr *remote_addr);

/* 1 = done, no callback; 0 = callback once all earlier packets are acknowledged, of each of several changes. */
UDX_EXTERN int
udx_stream_change_remote (udx_stream_t *stream, udx_socket_t *socket, uint32_t remote_id,
  const struct sockaddr *remote_addr, udx_stream_remote_changed_cb remote_changed_cb);

UDX_EXTERN int
udx_stream_relay_to (udx_stream_t *stream, udx_stream_t *destination);

UDX_EXTERN int
udx_stream_firewall (udx_stream_t *stream, udx_stream_firewall_cb firewall_cb);

UDX_EXTERN int
udx_stream_recv_start (udx_stream_t *stream, udx_stream_recv_cb cb);

UDX_EXTERN int
udx_stream_recv_stop (udx_stream_t *stream);

/* UV_EALREADY if started. Data that arrives on a stream that never started reading is discarded. */
UDX_EXTERN int
udx_stream_read_start (udx_stream_t *stream, udx_stream_read_cb cb);

/* Data that arrives from now on is kept, up to the window, which closes. read_start delivers it. */
UDX_EXTERN int
udx_stream_read_stop (udx_stream_t *stream);

/* One unreliable, unordered message from one buffer. */
UDX_EXTERN int
udx_stream_send (
  udx_stream_send_t *req, udx_stream_t *stream, const uv_buf_t bufs[], unsigned int bufs_len, udx_stream_send_cb cb);

/* Sets the callback for the moment when writing may go on after udx_stream_write returned 0. */
UDX_EXTERN int
udx_stream_write_resume (udx_stream_t *stream, udx_stream_drain_cb drain_cb);

UDX_EXTERN int
udx_stream_write_sizeof (int nwbufs);

/* 1 = go on, 0 = accepted, but wait for drain; UV_ENOTCONN, UV_EPIPE, UV_EINVAL. */
UDX_EXTERN int
udx_stream_write (udx_stream_write_t *req, udx_stream_t *stream, const uv_buf_t bufs[], unsigned int bufs_len,
  udx_stream_ack_cb ack_cb);

UDX_EXTERN int
udx_stream_write_end (udx_stream_write_t *req, udx_stream_t *stream, const uv_buf_t bufs[], unsigned int bufs_len,
  udx_stream_ack_cb ack_cb);

/* 1 = a DESTROY packet was sent or queued, 0 = none needed. The close callback runs inside the call. */
UDX_EXTERN int
udx_stream_destroy (udx_stream_t *stream);

UDX_EXTERN uint32_t
udx_rtt_min (udx_stream_t *stream);

/* ---- extensions (not in libudx) ---- */

typedef enum {
  UDX_CONGESTION_BBR = 0,
  UDX_CONGESTION_CUBIC = 1,
} udx_congestion_t;

/* Chooses the controller. UV_EBUSY while something that was sent is not acknowledged. */
UDX_EXTERN int
udx_stream_set_congestion (udx_stream_t *stream, udx_congestion_t congestion);

/* The application consumed data that get_read_buffer_size counted: tells the peer if the window reopened. */
UDX_EXTERN int
udx_stream_window_changed (udx_stream_t *stream);

/* ---- names and interfaces (need a loop) ---- */

UDX_EXTERN int
udx_lookup (udx_t *udx, udx_lookup_t *req, const char *host, unsigned int flags, udx_lookup_cb cb);

UDX_EXTERN int
udx_interface_event_init (udx_t *udx, udx_interface_event_t *handle, udx_interface_event_close_cb cb);
UDX_EXTERN int
udx_interface_event_start (udx_interface_event_t *handle, udx_interface_event_cb cb, uint64_t frequency);
UDX_EXTERN int
udx_interface_event_stop (udx_interface_event_t *handle);
UDX_EXTERN int
udx_interface_event_close (udx_interface_event_t *handle);

#include "udx_paths.h"

#ifdef __cplusplus
}
#endif

#endif
