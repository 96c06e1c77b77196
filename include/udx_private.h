/*
 * Private layout of the transport's structs.
 *
 * Callers allocate the structs of udx.h, so their sizes have to be visible. Nothing declared here is
 * API: names, types and order change without notice. Include udx.h, never this file.
 *
 * Every mechanism of the engine keeps its state in one struct, named after its file in
 * Sources/CUDX/engine. Times are microseconds of the driver's clock; UINT64_MAX means "never".
 */
#ifndef UDX_PRIVATE_H
#define UDX_PRIVATE_H

#ifndef UDX_H
#error "include udx.h"
#endif

/* Intrusive circular list. */
typedef struct udx_link_s {
  struct udx_link_s *prev;
  struct udx_link_s *next;
} udx_link_t;

/* An IPv4 or IPv6 address with port, 28 bytes. */
typedef union udx_address_u {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} udx_address_t;

/* pool.c: free lists of equal blocks */
typedef struct udx_pool_s {
  void *free;
  uint32_t block_size;
  uint32_t cached;
  uint32_t cached_max;
} udx_pool_t;

#define UDX_RING_CLASSES 14

/* id_table.c: local id -> stream, open addressing */
typedef struct udx_id_slot_s {
  uint32_t id;
  uint32_t probe; /* distance from the home slot plus one, 0 = free */
  udx_stream_t *stream;
} udx_id_slot_t;

typedef struct udx_id_table_s {
  udx_id_slot_t *slots;
  uint32_t mask;
  uint32_t count;
  uint32_t seed;
} udx_id_table_t;

/* timer.c: binary heap of streams by deadline */
typedef struct udx_timer_heap_s {
  udx_stream_t **entries;
  uint32_t count;
  uint32_t capacity;
  uint64_t armed;
} udx_timer_heap_t;

/* interval_set.c: sorted, disjoint, non-adjacent ranges of sequence numbers */
typedef struct udx_interval_s {
  uint32_t start; /* inclusive */
  uint32_t end;   /* exclusive */
} udx_interval_t;

typedef struct udx_interval_set_s {
  udx_interval_t *ranges;
  uint32_t count;
  uint32_t capacity;
} udx_interval_set_t;

/* reorder.c: packets that arrived ahead of a gap, or that wait for a paused reader */
typedef struct udx_reorder_node_s udx_reorder_node_t;

typedef struct udx_reorder_run_s {
  uint32_t start;
  uint32_t end;
  uint64_t touched;
  udx_reorder_node_t *head;
  udx_reorder_node_t *tail;
} udx_reorder_run_t;

typedef struct udx_reorder_s {
  udx_reorder_run_t *runs;
  uint32_t count;
  uint32_t capacity;
  uint32_t nodes;
  uint32_t bytes;  /* payload kept */
  uint32_t memory; /* what it takes */
  uint32_t cursor;
} udx_reorder_t;

/* packet.c: ring of packets sent and not yet acknowledged cumulatively, index = seq & mask */
typedef struct udx_packet_s udx_packet_t;

typedef struct udx_seq_list_s {
  uint32_t head;
  uint32_t tail;
  uint32_t count;
} udx_seq_list_t;

typedef struct udx_flight_s {
  udx_packet_t *ring;
  uint32_t mask;
  uint32_t una; /* oldest seq not acknowledged cumulatively */
  uint32_t nxt; /* next seq to assign */
  udx_seq_list_t flying; /* by time of transmission */
  udx_seq_list_t lost;   /* by seq */
  udx_interval_set_t sacked;
  uint32_t sacked_count; /* packets in una..nxt that were selectively acknowledged */
} udx_flight_t;

/* send_queue.c: writes that are not completely acknowledged */
typedef struct udx_send_queue_s {
  udx_stream_write_t *head;
  udx_stream_write_t *tail;
  udx_stream_write_t *next; /* write that holds the first byte never sent */
  size_t next_offset;       /* in its current buffer */
  uint32_t next_buf;
  udx_stream_write_t *done_head; /* acknowledged, callback not called yet */
  udx_stream_write_t *done_tail;
  size_t unsent;  /* bytes never sent */
  size_t unacked; /* bytes sent and not acknowledged */
  uint8_t end_unsent;
  uint8_t want_drain;
} udx_send_queue_t;

/* windowed_filter.c: minimum or maximum over a sliding window, three samples */
typedef struct udx_filter_sample_s {
  uint64_t time;
  double value;
} udx_filter_sample_t;

typedef struct udx_filter_s {
  udx_filter_sample_t best[3];
} udx_filter_t;

/* rtt.c */
typedef struct udx_rtt_s {
  uint32_t srtt; /* us, 0 = no sample yet */
  uint32_t var;
  uint32_t rto;
  uint32_t rto_min;
  uint32_t latest;
  udx_filter_t min;
} udx_rtt_t;

/* recovery.c: RACK-TLP and RTO */
typedef struct udx_recovery_s {
  uint8_t state;
  uint8_t reordering_seen;
  uint8_t reo_steps; /* reordering window in quarters of the minimum RTT */
  uint8_t tlp_pending;
  uint8_t tlp_is_retransmit;
  uint8_t tlp_sampled; /* an RTT sample was taken since the last probe */
  uint8_t backoff;
  uint8_t rack_valid;
  uint32_t high_seq;
  uint32_t tlp_seq;
  uint32_t hole_seq; /* the hole that was probed last */
  uint8_t hole_probed;
  uint8_t reported; /* the latest acknowledgement listed ranges */
  uint8_t undo; /* after a timeout: 1 = may prove needless, 2 = did */
  uint32_t undo_cwnd;
  uint32_t undo_ssthresh;
  uint32_t fack;
  uint32_t rack_seq;
  uint32_t rack_rtt;
  uint32_t reo_round_end;
  uint64_t rack_time;
  uint64_t stalled_since;
  uint64_t rto_at;
  uint64_t tlp_at;
  uint64_t reo_at;
} udx_recovery_t;

/* rate_sample.c: delivery rate estimation */
typedef struct udx_rate_s {
  uint64_t first_sent;
  uint64_t delivered_time;
  uint32_t delivered;   /* packets, wraps */
  uint32_t app_limited; /* delivered count up to which samples are application limited, 0 = not */
  /* sample being built in the current batch */
  uint64_t prior_time;
  uint32_t prior_delivered;
  uint32_t acked;
  uint32_t losses;
  uint32_t send_interval;
  uint32_t rtt;
  uint64_t rtt_sent_at;
  uint64_t prior_sent_at;
  uint8_t prior_app_limited;
  uint8_t has_prior;
  uint8_t had_flight;
  uint8_t ack_advanced;
} udx_rate_t;

/* congestion_bbr.c */
typedef struct udx_bbr_s {
  uint8_t state; /* UDX_BBR_STATE_* (public) */
  uint8_t cycle_index;
  uint8_t full_count;
  uint8_t full_reached;
  uint8_t round_start;
  uint8_t idle_restart;
  uint8_t probe_rtt_round_done;
  uint8_t previous_recovery;
  uint8_t packet_conservation;
  uint8_t has_seen_rtt;
  uint8_t extra_index;
  uint8_t extra_rounds;
  uint32_t next_round_delivered;
  uint32_t round_count;
  uint32_t min_rtt; /* us, UINT32_MAX = unknown */
  uint32_t prior_cwnd;
  uint32_t extra_acked[2];
  uint32_t epoch_acked;
  uint32_t round_acked;
  uint32_t round_lost;
  uint8_t lossy;     /* this round lost more than a random share */
  uint8_t conserved; /* this recovery had its round of packet conservation */
  double pacing_gain;
  double cwnd_gain;
  double full_bandwidth;
  udx_filter_t bandwidth; /* packets per second */
  uint64_t min_rtt_stamp;
  uint64_t probe_rtt_done_at;
  uint64_t cycle_stamp;
  uint64_t epoch_start;
} udx_bbr_t;

/* congestion_cubic.c (RFC 9438) */
typedef struct udx_cubic_s {
  double w_max;
  double k;
  double w_est;
  double fraction;
  uint64_t epoch_start;
} udx_cubic_t;

typedef struct udx_congestion_ops_s udx_congestion_ops_t;

/* pacing.c */
typedef struct udx_pacing_s {
  uint64_t rate;    /* bytes per second */
  int64_t credit;   /* bytes that may leave now, negative = debt */
  uint64_t updated;
  uint64_t at;      /* deadline of the next attempt */
  uint64_t thin_until; /* packets go one by one: bursts were lost on a path without a queue to speak of */
  uint64_t thin_judged; /* losses of single packets count from here */
  uint64_t thick_until; /* that did not help: not before */
  uint32_t sent;       /* packets since losses were looked at */
  uint32_t lost;
  uint8_t waiting;  /* the pacer, nothing else, held the stream back */
} udx_pacing_t;

/* destination.c: the streams of a socket towards one address */
typedef struct udx_destination_s {
  struct udx_destination_s *next; /* in the bucket */
  udx_socket_t *socket;
  udx_link_t held;      /* streams, by their `ready` */
  udx_link_t released;  /* in the socket's list */
  uint64_t inflight;    /* bytes */
  uint64_t budget;      /* bytes */
  uint64_t min_rtt_stamp;
  uint64_t round_end;
  uint32_t min_rtt;     /* us, 0 = none */
  uint32_t round_acked; /* packets */
  uint32_t round_lost;
  uint32_t streams;
  udx_address_t address;
  uint8_t limits;       /* streams were held in this round */
  uint8_t overflowed;   /* a considerable share of a round was lost: no queue is tolerated any more */
} udx_destination_t;

/* mtu.c */
typedef struct udx_mtu_search_s {
  uint8_t state;
  uint8_t probes;
  uint8_t black_hole; /* consecutive timeouts of large packets */
  uint8_t in_flight;
  uint16_t probe_size;
  uint16_t ceiling;
  uint32_t probe_seq;
  uint64_t raise_at;
} udx_mtu_search_t;

/* flow_control.c */
typedef struct udx_flow_s {
  uint32_t peer_window;
  uint32_t wl_seq;
  uint32_t wl_ack;
  uint32_t window_max;  /* what we offer at most */
  uint32_t advertised;  /* what the last packet said */
  uint32_t keepalive;   /* ms, 0 = off */
  uint8_t probes_unanswered;
  uint8_t probe_soon;   /* the probe of an idle write: the next one follows after one RTO, not two */
  uint8_t poll_backoff;
  uint64_t probe_at;    /* zero-window probe */
  uint64_t keepalive_at;
  uint64_t reopen_at;   /* poll of a window that we closed */
} udx_flow_t;

/* ack.c */
typedef struct udx_ack_state_s {
  uint32_t next;      /* next seq expected from the peer */
  uint32_t delivered; /* next seq to hand to the reader; behind `next` only while it pauses */
  uint32_t end_seq;   /* valid with ENDING_REMOTE */
  uint32_t end_told;  /* first seq of ours that carries the acknowledgement of it; valid with ENDED_REMOTE */
  uint8_t owed;
  uint8_t heartbeat;
  uint8_t paused;   /* the reader called read_stop */
  uint8_t early;    /* acknowledgements that are sent twice, see UDX_ACK_EARLY */
  uint16_t pending; /* packets since the last one */
  uint8_t lossy;    /* packets came late, twice or with a gap before them */
} udx_ack_state_t;

/* migration.c: a remote that did not prove yet that it receives */
typedef struct udx_unproven_s {
  uint64_t next_at; /* before this acknowledgements from elsewhere earn nothing */
  uint64_t wake_at; /* one did come earlier than that: then */
  uint32_t since;   /* first seq sent to it, or since more was earned */
  uint8_t active;
  uint8_t elsewhere; /* the packet at hand is not from its address */
} udx_unproven_t;

/* migration.c: where packets of earlier remotes go */
typedef struct udx_path_s {
  struct udx_path_s *next;
  udx_address_t address;
  uint32_t remote_id;
  uint32_t until; /* packets before this seq belong to it */
} udx_path_t;

#endif
