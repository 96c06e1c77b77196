/* Delivery rate estimation. */
#ifndef UDX_ENGINE_RATE_SAMPLE_H
#define UDX_ENGINE_RATE_SAMPLE_H

#include "packet.h"

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
  uint8_t ack_advanced;
} udx_rate_t;

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

#endif
