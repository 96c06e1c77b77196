/*
 * Internal interfaces of the engine, in the order of its files. The engine calls nothing but the driver,
 * the application's callbacks and, for growth, malloc; it never reads a clock and never blocks.
 */
#ifndef UDX_ENGINE_H
#define UDX_ENGINE_H

#include <string.h>

#include "udx.h"
#include "udx_driver.h"

#include "limits.h"
#include "list.h"
#include "seq.h"

#if !defined(UDX_STATIC_ANALYSIS) && defined(__GNUC__)
#define UDX_LIKELY(x) __builtin_expect(!!(x), 1)
#define UDX_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define UDX_LIKELY(x) (x)
#define UDX_UNLIKELY(x) (x)
#endif

static inline uint32_t
udx__min_u32 (uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

static inline uint32_t
udx__max_u32 (uint32_t a, uint32_t b) {
  return a > b ? a : b;
}

static inline uint64_t
udx__min_u64 (uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static inline uint64_t
udx__max_u64 (uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

/* ---- address.c ---- */

/* Copies an AF_INET or AF_INET6 address; 0 or UV_EINVAL. */
int
udx__address_set (udx_address_t *address, const struct sockaddr *from);

/* As above, mapped to IPv6 if the socket's family asks for it. UV_EINVAL for an IPv6 address on an IPv4 socket. */
int
udx__address_for (udx_address_t *address, const struct sockaddr *from, int family);

/* A v4-mapped address as plain IPv4 in `scratch`, anything else unchanged. */
const struct sockaddr *
udx__address_plain (const struct sockaddr *from, udx_address_t *scratch);

int
udx__address_equal (const struct sockaddr *a, const struct sockaddr *b);

uint16_t
udx__address_port (const struct sockaddr *address);

/* ---- wire.c ---- */

typedef struct udx_header_s {
  uint8_t type;
  uint8_t data_offset;
  uint32_t id;
  uint32_t window;
  uint32_t seq;
  uint32_t ack;
} udx_header_t;

static inline uint32_t
udx__get_u32 (const uint8_t *p) {
  return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static inline void
udx__put_u32 (uint8_t *p, uint32_t v) {
  p[0] = (uint8_t) v;
  p[1] = (uint8_t) (v >> 8);
  p[2] = (uint8_t) (v >> 16);
  p[3] = (uint8_t) (v >> 24);
}

void
udx__header_encode (uint8_t *bytes, const udx_header_t *header);

/* 1 if the datagram is a UDX packet. */
int
udx__header_decode (const uint8_t *bytes, size_t length, udx_header_t *header);

/* ---- pool.c ---- */

void
udx__pool_init (udx_pool_t *pool, uint32_t block_size, uint32_t cached_max);

void *
udx__pool_get (udx_pool_t *pool);

void
udx__pool_put (udx_pool_t *pool, void *block);

void
udx__pool_drain (udx_pool_t *pool);

/* ---- id_table.c ---- */

int
udx__ids_insert (udx_id_table_t *table, uint32_t id, udx_stream_t *stream);

udx_stream_t *
udx__ids_find (const udx_id_table_t *table, uint32_t id);

void
udx__ids_remove (udx_id_table_t *table, uint32_t id);

void
udx__ids_free (udx_id_table_t *table);

/* ---- timer.c ---- */

/* Makes room for `count` streams, so that arming never fails. */
int
udx__timers_reserve (udx_timer_heap_t *heap, uint32_t count);

/* Moves the stream's wake-up to `deadline` if that is earlier than what is armed; later ones are found lazily. */
void
udx__timer_at_most (udx_stream_t *stream, uint64_t deadline);

void
udx__timer_remove (udx_stream_t *stream);

/* The first stream whose wake-up is due, removed from the heap; NULL if none. */
udx_stream_t *
udx__timers_pop (udx_timer_heap_t *heap, uint64_t now);

void
udx__timers_free (udx_timer_heap_t *heap);

/* ---- interval_set.c ---- */

/*
 * Adds start..end. Calls `fresh` for every part that was not in the set yet, in order. Returns 0, or
 * UV_ENOBUFS if the set is full: then all of start..end was reported and nothing recorded.
 */
int
udx__intervals_add (udx_interval_set_t *set, uint32_t start, uint32_t end, void (*fresh)(void *ctx, uint32_t start, uint32_t end), void *ctx);

/* Forgets everything before seq. */
void
udx__intervals_trim (udx_interval_set_t *set, uint32_t seq);

void
udx__intervals_free (udx_interval_set_t *set);

/* ---- windowed_filter.c ---- */

void
udx__filter_reset (udx_filter_t *filter, uint64_t time, double value);

double
udx__filter_min (udx_filter_t *filter, uint64_t window, uint64_t time, double value);

double
udx__filter_max (udx_filter_t *filter, uint64_t window, uint64_t time, double value);

static inline double
udx__filter_get (const udx_filter_t *filter) {
  return filter->best[0].value;
}

/* ---- packet.c ---- */

enum {
  UDX_PACKET_FREE = 0,
  UDX_PACKET_FLYING = 1,
  UDX_PACKET_LOST = 2,
  UDX_PACKET_ACKED = 3,
};

struct udx_packet_s {
  uint64_t sent_at;
  udx_stream_write_t *write; /* where the payload begins */
  size_t offset;             /* in the buffer `buf` of it */
  uint32_t buf;
  uint32_t prev;
  uint32_t next;
  uint32_t delivered;      /* snapshots for the rate sample */
  uint32_t first_sent_ago; /* us before sent_at */
  uint32_t delivered_ago;  /* us before sent_at */
  uint16_t length;         /* payload bytes */
  uint8_t type;
  uint8_t state;
  uint8_t transmits;
  uint8_t timeouts;
  uint8_t padding;
  uint8_t app_limited : 1;
  uint8_t is_probe : 1;
};

static inline udx_packet_t *
udx__packet_at (udx_stream_t *stream, uint32_t seq) {
  return &stream->flight.ring[seq & stream->flight.mask];
}

static inline uint32_t
udx__flight_span (const udx_stream_t *stream) {
  return stream->flight.nxt - stream->flight.una;
}

/* A cleared record for seq nxt, which advances. NULL at the bound or without memory. */
udx_packet_t *
udx__flight_push (udx_stream_t *stream);

/* Takes the newest record back. */
void
udx__flight_unpush (udx_stream_t *stream);

void
udx__flight_append (udx_stream_t *stream, uint32_t seq);

void
udx__flight_remove (udx_stream_t *stream, uint32_t seq);

void
udx__lost_insert (udx_stream_t *stream, uint32_t seq);

void
udx__lost_remove (udx_stream_t *stream, uint32_t seq);

/* All lost packets fly again, before those that were sent later. */
void
udx__lost_revive (udx_stream_t *stream);

/* Gives the ring back once nothing is outstanding. */
void
udx__flight_relax (udx_stream_t *stream);

void
udx__flight_free (udx_stream_t *stream);

/* ---- send_queue.c ---- */

static inline uv_buf_t *
udx__write_bufs (udx_stream_write_t *req) {
  return (uv_buf_t *) (void *) (req + 1);
}

void
udx__queue_push (udx_stream_t *stream, udx_stream_write_t *req);

/* Cuts the next packet of at most `max` payload bytes off the queue. 0 if there is nothing to send. */
int
udx__queue_cut (udx_stream_t *stream, udx_packet_t *packet, size_t max);

/* Describes a packet's payload; returns the number of pieces, or -1 if more than `max`. */
int
udx__queue_gather (const udx_packet_t *packet, uv_buf_t *pieces, int max);

void
udx__queue_copy (const udx_packet_t *packet, uint8_t *to);

/* Credits an acknowledged packet to its writes; completed ones go to the done list. */
void
udx__queue_credit (udx_stream_t *stream, const udx_packet_t *packet, int unordered);

/* Completes empty writes that no packet will ever carry. */
void
udx__queue_flush_empty (udx_stream_t *stream);

/* Calls the callbacks of completed writes and drain. 0 if the stream closed meanwhile. */
int
udx__queue_report (udx_stream_t *stream);

/* Cancels what is left (the stream closed). */
void
udx__queue_cancel (udx_stream_t *stream);

size_t
udx__queue_high_water (const udx_stream_t *stream);

static inline int
udx__queue_has_unsent (const udx_stream_t *stream) {
  return stream->queue.unsent > 0 || stream->queue.end_unsent;
}

/* ---- reorder.c ---- */

struct udx_reorder_node_s {
  udx_reorder_node_t *next;
  uint16_t length;
  uint8_t type;
  uint8_t large;
  uint8_t data[];
};

#define UDX_REORDER_BLOCK (sizeof(udx_reorder_node_t) + UDX_REORDER_SMALL)
#define UDX_REORDER_BLOCK_LARGE (sizeof(udx_reorder_node_t) + UDX_DATAGRAM_MAX)

int
udx__reorder_has (const udx_reorder_t *reorder, uint32_t seq);

/* Keeps a copy. 1 = kept, 0 = already there, negative = no room. */
int
udx__reorder_insert (udx_stream_t *stream, uint32_t seq, uint8_t type, const uint8_t *data, size_t length);

/* The node of seq `seq` if it is the first one, taken out; the caller gives it back with udx__reorder_put. */
udx_reorder_node_t *
udx__reorder_pop (udx_stream_t *stream, uint32_t seq);

void
udx__reorder_put (udx_t *udx, udx_reorder_node_t *node);

/* Writes up to `max` blocks behind a header; returns their number. */
int
udx__reorder_blocks (udx_stream_t *stream, uint8_t *out, int max);

void
udx__reorder_free (udx_stream_t *stream);

/* ---- receive.c ---- */

void
udx__receive_datagram (udx_socket_t *socket, uint8_t *data, size_t length, const struct sockaddr *from);

/* Hands over what is in order. 0 if the stream closed meanwhile. */
int
udx__receive_deliver (udx_stream_t *stream);

/* ---- ack_receive.c: what a packet's ack, window and SACK fields do to the sender ---- */

/* 0 if the stream closed meanwhile. */
int
udx__ack_process (udx_stream_t *stream, const udx_header_t *header, const uint8_t *sack, size_t sack_length);

/* ---- rtt.c ---- */

void
udx__rtt_init (udx_stream_t *stream);

void
udx__rtt_sample (udx_stream_t *stream, uint32_t rtt, uint64_t now);

/* us, UINT32_MAX before the first sample */
uint32_t
udx__rtt_min (const udx_stream_t *stream);

/* ---- rate_sample.c ---- */

typedef struct udx_rate_sample_s {
  uint64_t now;
  uint32_t prior_delivered;
  uint32_t delivered; /* packets; 0 with interval 0 = no valid sample */
  uint32_t interval;  /* us */
  uint32_t acked;
  uint32_t losses;
  uint32_t rtt; /* us, UINT32_MAX = none */
  uint32_t prior_in_flight;
  uint8_t app_limited;
} udx_rate_sample_t;

void
udx__rate_sent (udx_stream_t *stream, udx_packet_t *packet, uint64_t now);

void
udx__rate_acked (udx_stream_t *stream, const udx_packet_t *packet, uint64_t now);

/* Finishes the batch's sample and starts the next. */
void
udx__rate_finish (udx_stream_t *stream, udx_rate_sample_t *sample, uint64_t now);

void
udx__rate_check_app_limited (udx_stream_t *stream);

/* ---- recovery.c ---- */

enum {
  UDX_RECOVERY_OPEN = 0,
  UDX_RECOVERY_FAST = 1,
  UDX_RECOVERY_LOSS = 2,
};

void
udx__recovery_init (udx_stream_t *stream);

/* A packet was transmitted (any time but an RTO's bookkeeping). */
void
udx__recovery_sent (udx_stream_t *stream, uint32_t seq, int is_new, uint64_t now);

/* A packet was acknowledged for the first time. */
void
udx__recovery_acked (udx_stream_t *stream, uint32_t seq, udx_packet_t *packet, uint64_t now);

/* After an acknowledgement was applied: state, loss detection, timers. */
void
udx__recovery_update (udx_stream_t *stream, uint32_t old_una, uint64_t now);

/* The timers. 0 if the stream closed. */
int
udx__recovery_timeout (udx_stream_t *stream, uint64_t now);

/* ---- congestion.c ---- */

struct udx_congestion_ops_s {
  void (*init)(udx_stream_t *stream);
  /* Before a transmission; in_flight counts packets. */
  void (*sent)(udx_stream_t *stream, uint32_t in_flight, uint64_t now);
  void (*acked)(udx_stream_t *stream, const udx_rate_sample_t *sample);
  void (*recovery)(udx_stream_t *stream, uint64_t now); /* entering fast recovery */
  void (*recovered)(udx_stream_t *stream, uint64_t now);
  void (*timeout)(udx_stream_t *stream, uint64_t now);
  double (*bandwidth)(const udx_stream_t *stream); /* packets per second */
};

extern const udx_congestion_ops_t udx__congestion_bbr;
extern const udx_congestion_ops_t udx__congestion_cubic;

/* Packets in flight: neither selectively acknowledged nor lost. */
static inline uint32_t
udx__in_flight (const udx_stream_t *stream) {
  return stream->flight.flying.count;
}

/* ---- pacing.c ---- */

void
udx__pacing_init (udx_stream_t *stream);

void
udx__pacing_set_rate (udx_stream_t *stream, double bytes_per_second);

/* 1 if a packet may leave now. */
int
udx__pacing_ready (udx_stream_t *stream, uint64_t now);

void
udx__pacing_spend (udx_stream_t *stream, uint32_t bytes);

/* `count` packets were found lost. */
void
udx__pacing_lost (udx_stream_t *stream, uint32_t count, uint64_t now);

/* Sets the deadline for the next attempt. */
void
udx__pacing_wait (udx_stream_t *stream, uint64_t now);

/* ---- destination.c ---- */

/* The stream was connected or moved: it counts for (socket, remote). */
void
udx__destination_join (udx_stream_t *stream);

void
udx__destination_leave (udx_stream_t *stream);

/* 1 if the budget is spent: the stream waits in line. */
int
udx__destination_hold (udx_stream_t *stream, uint64_t now);

/* The first in line, taken out, if the budget allows. */
udx_stream_t *
udx__destination_next (udx_destination_t *destination);

/* The stream leaves the line. */
void
udx__destination_skip (udx_stream_t *stream);

/* The stream waited for long: with nothing in flight it leaves the line, and one packet may pass the budget. */
void
udx__destination_overdue (udx_stream_t *stream, uint64_t now);

/* Less is in flight: the socket looks at the line in this turn. */
void
udx__destination_release (udx_destination_t *destination);

void
udx__destination_acked (udx_stream_t *stream, const udx_rate_sample_t *sample);

/* ---- mtu.c ---- */

enum {
  UDX_MTU_OFF = 0,
  UDX_MTU_WAITING = 1, /* for the first acknowledged packet */
  UDX_MTU_SEARCHING = 2,
  UDX_MTU_COMPLETE = 3,
};

void
udx__mtu_init (udx_stream_t *stream);

/* Whole-packet overhead: IP, UDP and UDX headers. */
uint32_t
udx__mtu_overhead (const udx_stream_t *stream);

static inline uint32_t
udx__mtu_payload (const udx_stream_t *stream) {
  return stream->mtu - udx__mtu_overhead(stream);
}

/* Pads a new packet to be a probe if one is due. */
void
udx__mtu_probe (udx_stream_t *stream, uint32_t seq, udx_packet_t *packet);

void
udx__mtu_acked (udx_stream_t *stream, udx_packet_t *packet, uint64_t now);

void
udx__mtu_lost (udx_stream_t *stream, udx_packet_t *packet, uint64_t now);

/* The oldest packet timed out. */
void
udx__mtu_timeout (udx_stream_t *stream, const udx_packet_t *packet);

/* The packet was built for a larger path MTU than is believed now. */
int
udx__mtu_exceeds (const udx_stream_t *stream, const udx_packet_t *packet);

/* Back to the base size (change of remote). */
void
udx__mtu_reset (udx_stream_t *stream);

/* ---- flow_control.c ---- */

void
udx__flow_init (udx_stream_t *stream);

/* The window to put into a packet. */
uint32_t
udx__flow_advertise (udx_stream_t *stream);

void
udx__flow_update (udx_stream_t *stream, const udx_header_t *header);

/* Packets that the peer's window allows in flight. */
uint32_t
udx__flow_packets (const udx_stream_t *stream);

uint32_t
udx__flow_span (const udx_stream_t *stream);

/* Everything was acknowledged, or the application wrote: are zero-window probes or keepalives due? */
void
udx__flow_rearm (udx_stream_t *stream, int idle_write, uint64_t now);

void
udx__flow_timeout (udx_stream_t *stream, uint64_t now);

/* Tells the peer if a closed window opened. */
void
udx__flow_reopen (udx_stream_t *stream);

/* ---- transmit.c ---- */

/* The stream owes the peer an acknowledgement. */
void
udx__owe_ack (udx_stream_t *stream);

void
udx__owe_heartbeat (udx_stream_t *stream);

/* The stream may have data to send. */
void
udx__mark_ready (udx_stream_t *stream);

void
udx__mark_dirty (udx_socket_t *socket);

/* Sends whatever may leave. Calls no application code. */
void
udx__transmit_all (udx_t *udx);

void
udx__transmit_socket (udx_socket_t *socket);

/* One tail-loss probe or window probe, past all limits. 0 if there was nothing to send. */
int
udx__transmit_probe (udx_stream_t *stream, int new_data_only);

/* ---- transmit_control.c ---- */

/* A control packet that does not depend on the stream any more. */
int
udx__transmit_control (udx_socket_t *socket, const udx_address_t *to, const uint8_t header[UDX_HEADER_SIZE]);

void
udx__transmit_relay (udx_socket_t *socket, udx_stream_t *stream, uint8_t *data, size_t length);

/* Forgets queued control packets (the socket closes). */
void
udx__controls_free (udx_socket_t *socket);

/* The three put into the batch what is queued on the socket, as far as there is room. */
void
udx__transmit_controls (udx_socket_t *socket);

/* Messages of streams and datagrams of the application. */
void
udx__transmit_sends (udx_socket_t *socket);

/* Acknowledgements and heartbeats. */
void
udx__transmit_owed (udx_socket_t *socket);

/* ---- batch.c ---- */

/* Sends what is in the batch now (the buffers it refers to go away). */
void
udx__batch_flush (udx_t *udx);

/* ---- socket.c ---- */

enum {
  UDX_SEND_SOCKET = 1,
  UDX_SEND_STREAM = 2,
};

/* Calls the callbacks of messages that left or were cancelled. */
void
udx__sends_report (udx_t *udx);

/* The stream goes: its messages that did not leave are cancelled. */
void
udx__sends_cancel_stream (udx_socket_t *socket, udx_stream_t *stream);

/* Binds an unbound socket to any address of a family. */
int
udx__socket_autobind (udx_socket_t *socket, int family);

/* ---- stream.c ---- */

static inline int
udx__stream_dead (const udx_stream_t *stream) {
  return (stream->status & (UDX_STREAM_DESTROYING | UDX_STREAM_CLOSED)) != 0;
}

/* The current batch concerns this stream; udx__stream_settle follows at its end. */
void
udx__stream_touch (udx_stream_t *stream);

/* Batch end: congestion control, EOF, end of life. */
void
udx__stream_settle (udx_stream_t *stream);

void
udx__stream_timeout (udx_stream_t *stream, uint64_t now);

/* The earliest deadline of all mechanisms. */
uint64_t
udx__stream_deadline (const udx_stream_t *stream);

void
udx__stream_close (udx_stream_t *stream, int status);

void
udx__stream_header (udx_stream_t *stream, udx_header_t *header, uint8_t type);

/* ---- linger.c ---- */

/* Remembers a closed stream, so that a late END or a lost DESTROY can be answered. */
void
udx__linger_add (udx_stream_t *stream, int destroyed);

/* 1 if the packet was answered for a closed stream. */
int
udx__linger_answer (udx_socket_t *socket, const udx_header_t *header, const struct sockaddr *from);

void
udx__linger_forget_socket (udx_t *udx, const udx_socket_t *socket);

void
udx__linger_free (udx_t *udx);

/* ---- migration.c ---- */

/* The remote that a packet belongs to. */
void
udx__path_for (udx_stream_t *stream, uint32_t seq, const udx_address_t **address, uint32_t *remote_id);

/* Everything before una was acknowledged. */
void
udx__paths_acked (udx_stream_t *stream);

/* A packet that was sent to an unproven remote is acknowledged. */
void
udx__unproven_acked (udx_stream_t *stream, uint64_t now);

void
udx__unproven_timeout (udx_stream_t *stream, uint64_t now);

/* New packets must wait until the remote proves that it receives. */
static inline int
udx__unproven_full (const udx_stream_t *stream) {
  return stream->unproven.active && stream->flight.nxt - stream->unproven.since >= UDX_UNPROVEN_PACKETS;
}

void
udx__paths_free (udx_stream_t *stream);

/* ---- relay.c ---- */

/* 0 if the stream closed. */
int
udx__relay_forward (udx_stream_t *stream, const udx_header_t *header, uint8_t *data, size_t length);

/* The stream closes: whoever relays to it goes too. */
void
udx__relay_detach (udx_stream_t *stream);

/* ---- udx.c ---- */

int
udx__ref (udx_t *udx);

void
udx__unref (udx_t *udx);

/* Something is to be sent or reported: at the end of the current entry point, or of the application's turn. */
void
udx__defer (udx_t *udx);

#endif
