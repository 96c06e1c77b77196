/*
 * Writes, from the application's call to its callback. Packets are cut off the front as byte ranges that
 * refer to the caller's buffers; nothing is copied. The END mark counts as one byte behind the last, so
 * that "all of the write was acknowledged" is one comparison for every kind of write.
 */
#include "send_queue.h"

#include "stream.h"

void
udx__queue_push (udx_stream_t *stream, udx_stream_write_t *req) {
  UDX_ASSERT(udx__write(req)->is_end <= udx__write(req)->size);
  udx_send_queue_t *queue = &udx__stream(stream)->queue;
  UDX_ASSERT(!queue->end_unsent);
  UDX_ASSERT((queue->head == NULL) == (queue->tail == NULL));
  udx__write(req)->next = NULL;
  udx__write(req)->prev = queue->tail;
  if (queue->tail != NULL) udx__write(queue->tail)->next = req;
  else queue->head = req;
  queue->tail = req;
  if (queue->next == NULL) {
    queue->next = req;
    queue->next_buf = 0;
    queue->next_offset = 0;
  }
  queue->unsent += udx__write(req)->size - udx__write(req)->is_end;
  if (udx__write(req)->is_end) queue->end_unsent = 1;
}

static void
queue_complete (udx_stream_t *stream, udx_stream_write_t *req, int unordered) {
  UDX_ASSERT(req->bytes_acked + udx__write(req)->end_acked == udx__write(req)->size);
  udx_send_queue_t *queue = &udx__stream(stream)->queue;
  UDX_ASSERT(queue->head != NULL && queue->tail != NULL);
  if (udx__write(req)->prev != NULL) udx__write(udx__write(req)->prev)->next = udx__write(req)->next;
  else queue->head = udx__write(req)->next;
  if (udx__write(req)->next != NULL) udx__write(udx__write(req)->next)->prev = udx__write(req)->prev;
  else queue->tail = udx__write(req)->prev;
  if (queue->next == req) {
    queue->next = udx__write(req)->next;
    queue->next_buf = 0;
    queue->next_offset = 0;
  }
  udx__write(req)->unordered = (uint8_t) unordered;
  udx__write(req)->next = NULL;
  if (queue->done_tail != NULL) udx__write(queue->done_tail)->next = req;
  else queue->done_head = req;
  queue->done_tail = req;
}

int
udx__queue_cut (udx_stream_t *stream, udx_packet_t *packet, size_t max) {
  udx_send_queue_t *queue = &udx__stream(stream)->queue;
  if (!udx__queue_has_unsent(stream)) return 0;

  UDX_DEBUG_ASSERT(queue->next != NULL);
  packet->write = queue->next;
  packet->buf = queue->next_buf;
  packet->offset = queue->next_offset;

  size_t left = queue->unsent < max ? queue->unsent : max;
  size_t length = left;
  udx_stream_write_t *req = queue->next;
  uint32_t buf = queue->next_buf;
  size_t offset = queue->next_offset;
  while (left > 0) {
    if (buf == udx__write(req)->bufs_len) {
      req = udx__write(req)->next;
      buf = 0;
      offset = 0;
      continue;
    }
    size_t room = udx__write_bufs(req)[buf].len - offset;
    if (room > left) {
      offset += left;
      left = 0;
    } else {
      left -= room;
      buf++;
      offset = 0;
    }
  }
  UDX_DEBUG_ASSERT(length <= queue->unsent && length <= UINT16_MAX);
  queue->unsent -= length;
  queue->unacked += length;
  packet->length = (uint16_t) length;
  packet->type = length > 0 ? UDX_HEADER_DATA : 0;
  if (queue->end_unsent && queue->unsent == 0) {
    packet->type |= UDX_HEADER_END;
    queue->end_unsent = 0;
    /* whatever follows the last byte (empty writes, the end request) belongs to this packet */
    req = NULL;
    buf = 0;
    offset = 0;
  } else {
    /* Rest on the first byte not sent, or on an empty write: never in a write that is sent but for empty buffers. */
    while (req != NULL) {
      if (buf == udx__write(req)->bufs_len) {
        req = udx__write(req)->next;
        buf = 0;
        offset = 0;
      } else if (udx__write_bufs(req)[buf].len == 0 && udx__write(req)->size > udx__write(req)->is_end) {
        buf++;
      } else {
        break;
      }
    }
  }
  UDX_ASSERT(req != NULL || queue->unsent == 0);
  queue->next = req;
  queue->next_buf = buf;
  queue->next_offset = offset;
  return 1;
}

/* Walks the pieces of payload that a packet covers. */
typedef struct {
  udx_stream_write_t *req;
  uint32_t buf;
  size_t offset;
  size_t left;
} queue_cursor_t;

static queue_cursor_t
cursor_begin (const udx_packet_t *packet) {
  return (queue_cursor_t){packet->write, packet->buf, packet->offset, packet->length};
}

/* 0 at the end. */
static int
cursor_next (queue_cursor_t *at, uv_buf_t *piece) {
  while (at->left > 0) {
    if (at->buf == udx__write(at->req)->bufs_len) {
      at->req = udx__write(at->req)->next;
      at->buf = 0;
      continue;
    }
    UDX_ASSERT(at->req != NULL);
    const uv_buf_t *from = &udx__write_bufs(at->req)[at->buf++];
    size_t room = from->len - at->offset;
    UDX_DEBUG_ASSERT(at->offset <= from->len);
    piece->base = from->base + at->offset;
    piece->len = room < at->left ? room : at->left;
    at->left -= piece->len;
    at->offset = 0;
    if (piece->len > 0) return 1;
  }
  return 0;
}

int
udx__queue_gather (const udx_packet_t *packet, uv_buf_t *pieces, int max) {
  queue_cursor_t cursor = cursor_begin(packet);
  uv_buf_t piece;
  int n = 0;
  while (cursor_next(&cursor, &piece)) {
    if (n == max) return -1;
    pieces[n++] = piece;
  }
  return n;
}

void
udx__queue_copy (const udx_packet_t *packet, uint8_t *to) {
  queue_cursor_t cursor = cursor_begin(packet);
  uv_buf_t piece;
  while (cursor_next(&cursor, &piece)) {
    memcpy(to, piece.base, piece.len);
    to += piece.len;
  }
}

/*
 * The writes that a packet covers are incomplete until this packet is credited, and they follow each other:
 * walking `next` from its first write is safe whatever order acknowledgements come in.
 */
void
udx__queue_credit (udx_stream_t *stream, const udx_packet_t *packet, int unordered) {
  UDX_DEBUG_ASSERT(udx__stream(stream)->queue.unacked >= packet->length);
  size_t left = packet->length;
  udx_stream_write_t *req = packet->write;
  uint32_t buf = packet->buf;
  size_t offset = packet->offset;
  int is_end = (packet->type & UDX_HEADER_END) != 0;
  udx__stream(stream)->queue.unacked -= packet->length;

  while (req != NULL) {
    udx_stream_write_t *next = udx__write(req)->next;
    /* bytes of this write in this packet */
    size_t bytes = 0;
    while (buf < udx__write(req)->bufs_len && left > 0) {
      size_t room = udx__write_bufs(req)[buf].len - offset;
      size_t take = room < left ? room : left;
      bytes += take;
      left -= take;
      if (take < room) break;
      buf++;
      offset = 0;
    }
    req->bytes_acked += bytes;
    int reaches_end = left == 0 && is_end && udx__write(req)->is_end;
    if (reaches_end) udx__write(req)->end_acked = 1;
    size_t acked = req->bytes_acked + udx__write(req)->end_acked;
    UDX_DEBUG_ASSERT(acked <= udx__write(req)->size);
    if (acked == udx__write(req)->size) queue_complete(stream, req, unordered);
    if (reaches_end || (left == 0 && !is_end)) break;
    req = next;
    buf = 0;
    offset = 0;
  }
}

void
udx__queue_flush_empty (udx_stream_t *stream) {
  udx_send_queue_t *queue = &udx__stream(stream)->queue;
  /* with packets outstanding one of them may begin at an empty write */
  if (udx__stream(stream)->flight.una != udx__stream(stream)->flight.nxt) return;
  while (queue->head != NULL && udx__write(queue->head)->size == 0) queue_complete(stream, queue->head, 0);
}

size_t
udx__queue_high_water (const udx_stream_t *stream) {
  size_t flight = (size_t) stream->cwnd * udx__mtu_payload(stream);
  if (flight > udx__stream(stream)->flow.peer_window) flight = udx__stream(stream)->flow.peer_window;
  return UDX_WRITE_HIGH_WATER + flight;
}

static udx_stream_write_t *
queue_pop_done (udx_send_queue_t *queue) {
  UDX_ASSERT((queue->done_head == NULL) == (queue->done_tail == NULL));
  udx_stream_write_t *req = queue->done_head;
  if (req == NULL) return NULL;
  queue->done_head = udx__write(req)->next;
  if (queue->done_head == NULL) queue->done_tail = NULL;
  return req;
}

int
udx__queue_report (udx_stream_t *stream) {
  udx_send_queue_t *queue = &udx__stream(stream)->queue;
  UDX_ASSERT((queue->done_head == NULL) == (queue->done_tail == NULL));
  udx_stream_write_t *req;
  while ((req = queue_pop_done(queue)) != NULL) {
    if (udx__write(req)->on_ack != NULL) udx__write(req)->on_ack(req, 0, udx__write(req)->unordered);
    if (stream->status & UDX_STREAM_CLOSED) return 0;
  }
  if (queue->want_drain && queue->unsent + queue->unacked <= udx__queue_high_water(stream)) {
    queue->want_drain = 0;
    if (udx__stream(stream)->on_drain != NULL) udx__stream(stream)->on_drain(stream);
    if (stream->status & UDX_STREAM_CLOSED) return 0;
  }
  return 1;
}

void
udx__queue_cancel (udx_stream_t *stream) {
  UDX_ASSERT(udx__stream_dead(stream));
  udx_send_queue_t *queue = &udx__stream(stream)->queue;
  udx_stream_write_t *done;
  while ((done = queue_pop_done(queue)) != NULL) {
    if (udx__write(done)->on_ack != NULL) udx__write(done)->on_ack(done, 0, udx__write(done)->unordered);
  }
  while (queue->head != NULL) {
    udx_stream_write_t *req = queue->head;
    queue->head = udx__write(req)->next;
    if (udx__write(req)->on_ack != NULL) udx__write(req)->on_ack(req, UV_ECANCELED, 0);
  }
  memset(queue, 0, sizeof(*queue));
}
