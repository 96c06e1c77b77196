/* Writes that are not completely acknowledged. */
#ifndef UDX_ENGINE_SEND_QUEUE_H
#define UDX_ENGINE_SEND_QUEUE_H

#include "packet.h"

/* The engine's part of udx_stream_write_t; one uv_buf_t per buffer follows the request. */
typedef struct udx_write_state_s {
  udx_stream_ack_cb on_ack;
  udx_stream_write_t *prev;
  udx_stream_write_t *next;
  size_t size; /* bytes, plus one for END */
  uint32_t bufs_len;
  uint8_t is_end;
  uint8_t end_acked;
  uint8_t unordered;
} udx_write_state_t;

UDX_ROOM(udx_stream_write_t, udx_write_state_t);

static inline udx_write_state_t *
udx__write (udx_stream_write_t *req) {
  return (udx_write_state_t *) (void *) req->reserved;
}

typedef struct udx_send_queue_s {
  udx_stream_write_t *head;
  udx_stream_write_t *tail;
  udx_stream_write_t *next; /* write that holds the first byte never sent */
  size_t next_offset;       /* in its current buffer */
  uint32_t next_buf;
  uint32_t messages;             /* queued stream messages */
  udx_stream_write_t *done_head; /* acknowledged, callback not called yet */
  udx_stream_write_t *done_tail;
  size_t unsent;  /* bytes never sent */
  size_t unacked; /* bytes sent and not acknowledged */
  uint8_t end_unsent;
  uint8_t want_drain;
} udx_send_queue_t;

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

#endif
