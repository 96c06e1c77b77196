/*
 * Event trace of a UDX instance, and a writer that stores it as qlog.
 *
 * The hook: udx_set_trace() installs one observer per instance. It is called on the instance's thread, at the
 * moment of each event, with a struct that is valid during the call. An observer only looks: it calls nothing
 * of udx.h but the getters, and frees nothing. With no observer an event costs one predictable branch.
 *
 * Versions: `size` is what the library filled in. Later versions append members to the end of the structs of
 * `as` and new event types; an observer ignores types that it does not know, and reads members beyond those
 * of this version only if `size` covers them.
 *
 * The writer: udx_qlog_open() is such an observer. It produces JSON text sequences (RFC 7464) in the manner
 * of draft-ietf-quic-qlog-main-schema (qlog_format JSON-SEQ): one header record, then one record per event
 * with the time in ms since the trace was opened.
 *
 * Times are microseconds of the driver's clock, durations microseconds, sizes bytes, rates bytes per second.
 */
#ifndef UDX_TRACE_H
#define UDX_TRACE_H

#include "udx.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  UDX_TRACE_PACKET_SENT = 1,        /* as.packet; taken by the driver */
  UDX_TRACE_PACKET_RECEIVED = 2,    /* as.packet; for a live or a lately closed stream */
  UDX_TRACE_PACKET_DROPPED = 3,     /* as.dropped; follows its PACKET_RECEIVED */
  UDX_TRACE_PACKET_LOST = 4,        /* as.lost */
  UDX_TRACE_METRICS = 5,            /* as.metrics; once per batch of acknowledgements and after a timeout */
  UDX_TRACE_STATE = 6,              /* as.state; congestion state */
  UDX_TRACE_TIMER = 7,              /* as.timer */
  UDX_TRACE_MTU = 8,                /* as.mtu */
  UDX_TRACE_STREAM_CONNECTED = 9,   /* as.path */
  UDX_TRACE_STREAM_MOVED = 10,      /* as.path; change of remote */
  UDX_TRACE_STREAM_CLOSED = 11,     /* as.closed */
  UDX_TRACE_BATCH_SENT = 12,        /* as.batch; one transmit call, before its PACKET_SENT events */
  UDX_TRACE_BATCH_RECEIVED = 13,    /* as.batch; before its PACKET_RECEIVED events */
  UDX_TRACE_DATAGRAM_SENT = 14,     /* as.datagram; a socket message */
  UDX_TRACE_DATAGRAM_RECEIVED = 15, /* as.datagram; not a packet of a stream */
} udx_trace_type_t;

typedef enum {
  UDX_TRACE_NO_TRIGGER = 0,
  /* PACKET_SENT */
  UDX_TRACE_RETRANSMISSION = 1,
  UDX_TRACE_MTU_PROBE = 2,
  UDX_TRACE_RELAYED = 3, /* a packet of other end points; counted by no counter */
  /* PACKET_LOST */
  UDX_TRACE_TIME_THRESHOLD = 10,       /* RACK, with a reordering window */
  UDX_TRACE_REORDERING_THRESHOLD = 11, /* RACK, at once: enough later packets were acknowledged */
  UDX_TRACE_RTO_EXPIRED = 12,
  /* PACKET_DROPPED */
  UDX_TRACE_FIREWALL = 20,
  UDX_TRACE_UNEXPECTED_SOURCE = 21, /* an impossible ack from an address that is not the peer's */
  UDX_TRACE_BAD_DATA_OFFSET = 22,
  UDX_TRACE_TOO_FAR_AHEAD = 23,
  UDX_TRACE_NO_ROOM = 24,   /* the reorder buffer is full */
  UDX_TRACE_DUPLICATE = 25, /* the payload; its other fields are used */
  UDX_TRACE_BAD_ACK = 26,   /* acknowledges what was not sent */
} udx_trace_trigger_t;

typedef enum {
  UDX_TRACE_SLOW_START = 0,           /* BBR startup */
  UDX_TRACE_DRAIN = 1,                /* BBR */
  UDX_TRACE_CONGESTION_AVOIDANCE = 2, /* CUBIC; BBR probe bandwidth */
  UDX_TRACE_PROBE_RTT = 3,            /* BBR */
  UDX_TRACE_RECOVERY = 4,             /* after a loss, until the flight of that time is acknowledged */
  UDX_TRACE_LOSS = 5,                 /* the same after a timeout */
} udx_trace_state_t;

typedef enum {
  UDX_TRACE_RTO = 0,
  UDX_TRACE_TLP = 1,
  UDX_TRACE_REORDERING = 2, /* RACK's */
  UDX_TRACE_PACING = 3,
} udx_trace_timer_t;

typedef enum {
  UDX_TRACE_SET = 0,
  UDX_TRACE_EXPIRED = 1,
  UDX_TRACE_CANCELLED = 2,
} udx_trace_timer_change_t;

struct udx_trace_event_s {
  size_t size; /* of this struct, as the library has it */
  udx_trace_type_t type;
  uint64_t time;
  udx_socket_t *socket; /* NULL if it has to do with no socket */
  udx_stream_t *stream; /* NULL if none, or if it is gone already */
  uint32_t local_id;    /* of the stream; 0 without one */

  union {
    struct {
      const struct sockaddr *address; /* where to or from */
      uint32_t length;                /* of the UDP payload; counters leave padding out */
      uint32_t payload_length;
      uint8_t type; /* UDX_HEADER_* bits */
      uint8_t data_offset;
      uint16_t sack_count;
      uint32_t id; /* on the wire: the receiver's */
      uint32_t window;
      uint32_t seq;
      uint32_t ack;
      const uint8_t *sack; /* sack_count blocks of two u32 LE: first seq, seq after the last */
      udx_trace_trigger_t trigger;
    } packet;

    struct {
      udx_trace_trigger_t trigger;
      uint32_t length; /* of the UDP payload */
      uint32_t seq;
      uint8_t type;
    } dropped;

    struct {
      udx_trace_trigger_t trigger;
      uint32_t seq;
      uint32_t length;    /* payload */
      uint32_t transmits; /* how often it was sent */
      uint64_t sent_at;
    } lost;

    struct {
      uint32_t smoothed_rtt; /* 0 before the first sample */
      uint32_t latest_rtt;
      uint32_t rtt_variance;
      uint32_t min_rtt; /* UINT32_MAX before the first sample */
      uint32_t rto;
      uint32_t cwnd;     /* packets */
      uint32_t ssthresh; /* packets */
      uint32_t packets_in_flight;
      uint64_t bytes_in_flight;
      uint64_t pacing_rate;
      uint64_t bandwidth; /* estimate */
      uint32_t peer_window;
    } metrics;

    struct {
      udx_trace_state_t old_state;
      udx_trace_state_t new_state;
    } state;

    struct {
      udx_trace_timer_t timer;
      udx_trace_timer_change_t change;
      uint64_t delay; /* SET: from now */
    } timer;

    struct {
      uint16_t old_mtu;
      uint16_t new_mtu; /* whole IP packets */
      bool done;        /* the search is over for now */
    } mtu;

    struct {
      const struct sockaddr *address;
      uint32_t remote_id;
    } path;

    struct {
      int status; /* as in the close callback */
    } closed;

    struct {
      uint32_t messages; /* of the system: segmented ones (GSO, GRO) count once */
      uint32_t datagrams;
      uint32_t left; /* sent: what a full socket did not take */
      uint64_t bytes;
    } batch;

    struct {
      const struct sockaddr *address;
      uint32_t length;
    } datagram;
  } as;
};

/* NULL switches the trace off. */
UDX_EXTERN void
udx_set_trace (udx_t *udx, udx_trace_cb cb, void *data);

/* ---- the qlog writer ---- */

/*
 * Where the text goes. Returns how many bytes were taken (0..length: the rest is offered again later), or a
 * negative error code: then the piece is lost and counted. It must not block.
 */
typedef ssize_t (*udx_qlog_write_cb)(void *data, const void *bytes, size_t length);

typedef struct udx_qlog_options_s {
  size_t size; /* sizeof(udx_qlog_options_t) of the caller */
  /* One of the two: a file, which is created or emptied, or a sink. */
  const char *path;
  udx_qlog_write_cb write;
  void *data;
  const char *title;         /* may be NULL */
  const char *vantage_point; /* "client", "server", "network"; NULL = "unknown" */
} udx_qlog_options_t;

typedef struct udx_qlog_stats_s {
  uint64_t events;  /* written or waiting to be */
  uint64_t dropped; /* events that found the buffer full, or were lost with an error of the sink */
  uint64_t errors;  /* of the sink */
  uint64_t bytes;   /* taken by the sink */
} udx_qlog_stats_t;

/*
 * Traces the instance from now on; replaces another observer. Events are collected in a buffer of 64 KiB and
 * written when half of it is full, without waiting: what a full pipe or a full disk does not take is dropped
 * and counted, the transport does not notice. UV_EBUSY if the instance writes a qlog already, UV_EINVAL,
 * UV_ENOMEM, or why the file could not be opened.
 */
UDX_EXTERN int
udx_qlog_open (udx_t *udx, const udx_qlog_options_t *options);

/* Writes what is collected as far as the sink takes it. */
UDX_EXTERN void
udx_qlog_flush (udx_t *udx);

/*
 * Ends the trace, with a record of the statistics, and closes the file. Do it before the instance's memory
 * goes. `stats` may be NULL. UV_EINVAL if no qlog is open.
 */
UDX_EXTERN int
udx_qlog_close (udx_t *udx, udx_qlog_stats_t *stats);

#ifdef __cplusplus
}
#endif

#endif
