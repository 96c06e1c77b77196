/* State of BBR. Its phase is public: udx_stream_t.bbr.state. */
#ifndef UDX_ENGINE_CONGESTION_BBR_H
#define UDX_ENGINE_CONGESTION_BBR_H

#include "windowed_filter.h"

typedef struct udx_bbr_s {
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
} udx_bbr_state_t;

#endif
