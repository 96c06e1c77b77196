/*
 * A stream's life (udx.md 2): creation, connect, writing, end, destroy, close, and what happens at the end of a batch.
 */
#include "stream.h"

#include <stdlib.h>

#include "address.h"
#include "batch.h"
#include "check.h"
#include "flow_control.h"
#include "id_table.h"
#include "instance.h"
#include "list.h"
#include "macroflow.h"
#include "migration.h"
#include "mtu.h"
#include "pacing.h"
#include "packet.h"
#include "path_validation.h"
#include "rate_sample.h"
#include "receive.h"
#include "recovery.h"
#include "relay.h"
#include "reorder.h"
#include "rtt.h"
#include "send_queue.h"
#include "socket.h"
#include "sources.h"
#include "time_wait.h"
#include "timer.h"
#include "transmit.h"
#include "transmit_control.h"
#include "wire.h"
#include "trace/trace.h"

int
udx_stream_init (udx_t *udx, udx_stream_t *stream, uint32_t local_id, udx_stream_close_cb close_cb,
  udx_stream_finalize_cb finalize_cb) {
  void *data = stream->data;
  memset(stream, 0, sizeof(*stream));
  stream->data = data;
  if (udx__instance(udx)->teardown) return UV_EINVAL;
  int err = udx__ref(udx);
  if (err) return err;
  err = udx__timers_reserve(&udx__instance(udx)->timers, udx__instance(udx)->ids.count + 1);
  if (!err) err = udx__ids_insert(&udx__instance(udx)->ids, local_id, stream);
  if (err) {
    udx__unref(udx);
    return err;
  }
  stream->udx = udx;
  stream->local_id = local_id;
  udx__stream(stream)->on_close = close_cb;
  udx__stream(stream)->on_finalize = finalize_cb;
  stream->cwnd = UDX_CWND_INITIAL;
  stream->ssthresh = UDX_SSTHRESH_INITIAL;
  udx__stream(stream)->rate.rtt = UINT32_MAX;
  udx__stream(stream)->ack.early = UDX_ACK_EARLY;
  udx__stream(stream)->validation.wake_at = UDX_NEVER;
  udx__stream(stream)->congestion = &udx__congestion_bbr;
  udx__list_init(&udx__stream(stream)->ready);
  udx__list_init(&udx__stream(stream)->owing);
  udx__list_init(&udx__stream(stream)->touched);
  udx__list_init(&udx__stream(stream)->relays);
  udx__list_init(&udx__stream(stream)->relay);
  udx__list_append(&udx__instance(udx)->streams, &udx__stream(stream)->link);
  udx__rtt_init(stream);
  udx__mtu_init(stream);
  udx__flow_init(stream);
  udx__pacing_init(stream);
  udx__recovery_init(stream);
  udx__stream(stream)->congestion->init(stream);
  return 0;
}

/* ---- connect ---- */

int
udx_stream_connect (
  udx_stream_t *stream, udx_socket_t *socket, uint32_t remote_id, const struct sockaddr *remote_addr) {
  udx_t *udx = stream->udx;
  if (udx__stream_dead(stream) || udx__instance(udx)->teardown || socket->udx != udx ||
      (socket->status & UDX_SOCKET_CLOSED))
    return UV_EINVAL;
  if (stream->status & UDX_STREAM_CONNECTED) return UV_EISCONN;

  udx_address_t remote;
  int err = udx__address_set(&remote, remote_addr);
  if (err || udx__address_port(remote_addr) == 0) return UV_EINVAL;
  if (udx__socket(socket)->family == 0) {
    err = udx__socket_autobind(socket, remote_addr->sa_family);
    if (err) return err;
  }
  err = udx__address_for(&remote, remote_addr, udx__socket(socket)->family);
  if (err) return err;

  UDX_ASSERT(stream->socket == NULL && udx__stream(stream)->macroflow == NULL);
  udx__stream(stream)->remote = remote;
  stream->remote_id = remote_id;
  stream->socket = socket;
  stream->status |= UDX_STREAM_CONNECTED;
  udx__socket(socket)->stream_count++;
  udx__macroflow_join(stream);
  if (udx__stream(stream)->sources != NULL) udx__stream(stream)->sources->retry = 1;
  UDX_TRACE(udx, path(stream, UDX_TRACE_STREAM_CONNECTED));
  udx__flow_rearm(stream, 0, udx__instance(udx)->driver->now(udx));
  if (udx__stream(stream)->ack.owed) {
    udx__stream(stream)->ack.owed = 0;
    udx__owe_ack(stream);
  }
  udx__stream_touch(stream);
  udx__defer(udx);
  UDX_CHECK_STREAM(stream);
  return 0;
}

/* ---- writing ---- */

int
udx_stream_write_sizeof (int nwbufs) {
  if (nwbufs < 1) nwbufs = 1;
  UDX_ASSERT(nwbufs >= 1);
  return (int) (sizeof(udx_stream_write_t) + (size_t) nwbufs * sizeof(uv_buf_t));
}

static int
stream_enqueue (udx_stream_write_t *req, udx_stream_t *stream, const uv_buf_t bufs[], unsigned int bufs_len,
  udx_stream_ack_cb ack_cb, int is_end) {
  if (!(stream->status & UDX_STREAM_CONNECTED) || udx__stream_dead(stream)) return UV_ENOTCONN;
  if (stream->status & UDX_STREAM_ENDING) return UV_EPIPE;
  req->stream = stream;
  udx_write_state_t *write = udx__write(req);
  write->on_ack = ack_cb;
  write->bufs_len = bufs_len;
  write->is_end = (uint8_t) is_end;
  write->unordered = 0;
  write->end_acked = 0;
  req->bytes_acked = 0;
  write->size = (size_t) is_end;
  uv_buf_t *copies = udx__write_bufs(req);
  for (unsigned int i = 0; i < bufs_len; i++) {
    copies[i] = bufs[i];
    write->size += bufs[i].len;
  }
  UDX_ASSERT(stream->socket != NULL);
  udx__queue_push(stream, req);
  if (is_end) stream->status |= UDX_STREAM_ENDING;
  if (write->size == 0) {
    /* settles at the end of the turn if nothing is outstanding */
    udx__stream_touch(stream);
    udx__defer(stream->udx);
  } else {
    udx__mark_ready(stream);
  }
  UDX_CHECK_STREAM(stream);
  if (udx__stream(stream)->queue.unsent + udx__stream(stream)->queue.unacked > udx__queue_high_water(stream)) {
    udx__stream(stream)->queue.want_drain = 1;
    return 0;
  }
  return 1;
}

int
udx_stream_write (udx_stream_write_t *req, udx_stream_t *stream, const uv_buf_t bufs[], unsigned int bufs_len,
  udx_stream_ack_cb ack_cb) {
  if (bufs_len == 0) return UV_EINVAL;
  return stream_enqueue(req, stream, bufs, bufs_len, ack_cb, 0);
}

int
udx_stream_write_end (udx_stream_write_t *req, udx_stream_t *stream, const uv_buf_t bufs[], unsigned int bufs_len,
  udx_stream_ack_cb ack_cb) {
  return stream_enqueue(req, stream, bufs, bufs_len, ack_cb, 1);
}

int
udx_stream_write_resume (udx_stream_t *stream, udx_stream_drain_cb drain_cb) {
  udx__stream(stream)->on_drain = drain_cb;
  return 0;
}

void
udx__stream_header (udx_stream_t *stream, udx_header_t *header, uint8_t type) {
  UDX_ASSERT(stream->status & (UDX_STREAM_CONNECTED | UDX_STREAM_DESTROYING));
  header->type = type;
  header->data_offset = 0;
  header->id = stream->remote_id;
  header->window = udx__flow_advertise(stream);
  header->seq = udx__stream(stream)->flight.nxt;
  header->ack = udx__stream(stream)->ack.next;
}

/* ---- the end of a batch ---- */

void
udx__stream_touch (udx_stream_t *stream) {
  UDX_DEBUG_ASSERT(!(stream->status & UDX_STREAM_CLOSED));
  if (!udx__list_empty(&udx__stream(stream)->touched)) return;
  udx__list_append(&udx__instance(stream->udx)->touched, &udx__stream(stream)->touched);
}

/*
 * If it is lost the peer repeats its END to a closed stream. The time-wait state answers that, but only while the
 * socket is open, and many programs close it or exit right now: the peer would fail with ETIMEDOUT 13 s later
 * (udx.md 2.5). So where packets get lost there are copies; elsewhere none, for a peer that has closed sees them as
 * stray messages.
 */
static void
send_final_ack (udx_stream_t *stream) {
  UDX_ASSERT(udx__flight_span(stream) == 0 && stream->socket != NULL);
  /* everything of ours is acknowledged: with it what it said, if it was sent late enough */
  int told = udx__seq_before(udx__stream(stream)->ack.end_told, udx__stream(stream)->flight.nxt);
  int lossy = !told && (udx__stream(stream)->ack.lossy || stream->retransmit_count > 0);
  if (!udx__stream(stream)->ack.owed && !lossy) return; /* lossy: the one that was sent may be lost, too */
  udx_header_t header;
  uint8_t bytes[UDX_HEADER_SIZE];
  udx__stream_header(stream, &header, 0);
  udx__header_encode(bytes, &header);
  int copies = lossy ? UDX_FINAL_ACKS : 1;
  for (int i = 0; i < copies; i++) {
    if (udx__transmit_control(stream->socket, &udx__stream(stream)->remote, udx__stream(stream)->local, bytes)) break;
    stream->packets_tx++;
    stream->bytes_tx += UDX_HEADER_SIZE;
    stream->udx->acks_tx++;
  }
  udx__stream(stream)->ack.owed = 0;
}

void
udx__stream_settle (udx_stream_t *stream) {
  if (stream->status & UDX_STREAM_CLOSED || udx__stream(stream)->relay_to != NULL) return;
  udx_t *udx = stream->udx;
  uint64_t now = udx__instance(udx)->now;

  if (udx__stream(stream)->reorder.count > 0 && udx__stream(stream)->ack.delivered != udx__stream(stream)->ack.next) {
    if (!udx__receive_deliver(stream)) return;
    if (!udx__stream(stream)->ack.paused) udx__flow_reopen(stream);
  }
  if (UDX_UNLIKELY(udx__stream(stream)->sources != NULL) &&
      udx__sources_wait(udx__stream(stream)->sources, udx__stream(stream)->ack.delivered) &&
      !udx__sources_retry(stream))
    return;
  if (udx__stream(stream)->rate.acked > 0 || udx__stream(stream)->rate.losses > 0 ||
      udx__stream(stream)->rate.ack_advanced) {
    udx_rate_sample_t sample;
    udx__rate_finish(stream, &sample, now);
    udx__stream(stream)->congestion->acked(stream, &sample);
    udx__macroflow_acked(stream, &sample);
    UDX_TRACE(udx, metrics(stream));
    udx__flow_rearm(stream, 0, now);
    udx__mark_ready(stream);
    udx__macroflow_resume(udx__stream(stream)->macroflow);
  }
  if (UDX_UNLIKELY(udx__stream(stream)->flow.silent_probes > 0)) udx__flow_heard(stream, now);
  udx__queue_flush_empty(stream);
  if (!udx__queue_report(stream)) return;
  if (!(stream->status & UDX_STREAM_CONNECTED)) return;

  int ended_remote =
    (stream->status & (UDX_STREAM_ENDING_REMOTE | UDX_STREAM_ENDED_REMOTE)) == UDX_STREAM_ENDING_REMOTE &&
    udx__stream(stream)->ack.delivered == udx__stream(stream)->ack.end_seq + 1;
  if (ended_remote && !udx__stream(stream)->ack.paused) {
    stream->status |= UDX_STREAM_ENDED_REMOTE;
    udx__stream(stream)->ack.end_told = udx__stream(stream)->flight.nxt;
    if (udx__stream(stream)->on_read != NULL && (stream->status & UDX_STREAM_READING)) {
      uv_buf_t empty = uv_buf_init(NULL, 0);
      udx__stream(stream)->on_read(stream, UV_EOF, &empty);
      if (udx__stream_dead(stream)) return;
    }
  }
  if ((stream->status & (UDX_STREAM_ENDING | UDX_STREAM_ENDED)) == UDX_STREAM_ENDING &&
      !udx__queue_has_unsent(stream) && udx__stream(stream)->queue.head == NULL && udx__flight_span(stream) == 0) {
    stream->status |= UDX_STREAM_ENDED;
    /* as the reference does (udx.md 2.5) */
    if (!(stream->status & UDX_STREAM_ENDED_REMOTE)) udx__owe_ack(stream);
  }
  const int both = UDX_STREAM_ENDED | UDX_STREAM_ENDED_REMOTE;
  if ((stream->status & both) == both) {
    send_final_ack(stream);
    udx__time_wait_add(stream, 0);
    udx__stream_close(stream, 0);
    return;
  }
  UDX_DEBUG_ASSERT(!(stream->status & UDX_STREAM_CLOSED));
  udx__flight_relax(stream);
}

/* ---- timers ---- */

uint64_t
udx__stream_deadline (const udx_stream_t *stream) {
  uint64_t at = udx__stream(stream)->recovery.rto_at;
  at = udx__min_u64(at, udx__stream(stream)->recovery.tlp_at);
  at = udx__min_u64(at, udx__stream(stream)->recovery.reo_at);
  at = udx__min_u64(at, udx__stream(stream)->pacing.at);
  at = udx__min_u64(at, udx__stream(stream)->flow.probe_at);
  at = udx__min_u64(at, udx__stream(stream)->flow.keepalive_at);
  at = udx__min_u64(at, udx__stream(stream)->flow.gap_probe_at);
  at = udx__min_u64(at, udx__stream(stream)->validation.wake_at);
  return udx__min_u64(at, udx__stream(stream)->flow.reopen_at);
}

void
udx__stream_timeout (udx_stream_t *stream, uint64_t now) {
  UDX_DEBUG_ASSERT(!(stream->status & UDX_STREAM_CLOSED));
  udx__stream_touch(stream);
  if (udx__stream(stream)->pacing.at <= now) {
    udx__stream(stream)->pacing.at = UDX_NEVER;
    if (udx__stream(stream)->pacing.queued) udx__macroflow_wait_expired(stream, now);
    UDX_TRACE(stream->udx, timer(stream, UDX_TRACE_PACING, UDX_TRACE_EXPIRED, now));
    udx__mark_ready(stream);
  }
  if (UDX_UNLIKELY(udx__stream(stream)->sources != NULL) && udx__stream(stream)->recovery.rto_at <= now) {
    udx__sources_timeout(stream);
    if (udx__stream_dead(stream)) return; /* its owner has ended it instead of following the peer */
  }
  udx__path_validation_timeout(stream, now);
  if (!udx__flow_timeout(stream, now)) return;
  if (!udx__recovery_timeout(stream, now)) return;
  udx__timer_at_most(stream, udx__stream_deadline(stream));
}

/* ---- the end ---- */

void
udx__stream_close (udx_stream_t *stream, int status) {
  if (stream->status & UDX_STREAM_CLOSED) return;
  udx_t *udx = stream->udx;
  udx_socket_t *socket = stream->socket;
  /* messages that were accepted leave before the stream does */
  if (udx__stream(stream)->queue.messages > 0) (void) udx__transmit_socket(socket, 1);
  /* a probe of this turn refers to payload that the callbacks below may free */
  udx__batch_flush(udx);

  stream->status |= UDX_STREAM_CLOSED;
  stream->status &= ~UDX_STREAM_CONNECTED;
  udx__ids_remove(&udx__instance(udx)->ids, stream->local_id);
  udx__timer_remove(stream);
  /* the link may be that of the line of its macroflow, which has to know */
  if (udx__stream(stream)->pacing.queued) udx__macroflow_dequeue(stream);
  udx__list_remove(&udx__stream(stream)->ready);
  udx__list_remove(&udx__stream(stream)->owing);
  udx__list_remove(&udx__stream(stream)->touched);
  udx__list_remove(&udx__stream(stream)->link);
  udx__list_append(&udx__instance(udx)->closing, &udx__stream(stream)->link);
  if (socket != NULL) {
    UDX_ASSERT(udx__socket(socket)->stream_count > 0);
    udx__socket(socket)->stream_count--;
    if (udx__stream(stream)->queue.messages > 0) udx__sends_cancel_stream(socket, stream);
  }
  udx__relay_detach(stream);
  udx__sources_free(stream);
  udx__flight_free(stream);
  udx__macroflow_leave(stream);
  udx__paths_free(stream);
  udx__reorder_free(stream);
  UDX_ASSERT(udx__stream(stream)->timer_index == 0 && stream->inflight == 0);
  UDX_ASSERT(udx__stream(stream)->queue.messages == 0);
  UDX_ASSERT(udx__stream(stream)->macroflow == NULL);
  udx__defer(udx);
  UDX_TRACE(udx, closed(stream, status));

  if (udx__stream(stream)->on_close != NULL) udx__stream(stream)->on_close(stream, status);
  udx__queue_cancel(stream);
}

void
udx__stream_reset (udx_stream_t *stream) {
  UDX_ASSERT(stream->status & UDX_STREAM_CONNECTED);
  udx_header_t header;
  uint8_t bytes[UDX_HEADER_SIZE];
  udx__stream_header(stream, &header, UDX_HEADER_DESTROY);
  udx__header_encode(bytes, &header);
  if (!udx__unheard_limited(stream)) {
    (void) udx__transmit_reset(stream, bytes);
    stream->packets_tx++;
    stream->bytes_tx += UDX_HEADER_SIZE;
  }
  udx__time_wait_add(stream, 1);
  udx__stream(stream)->flight.nxt++;
}

int
udx_stream_destroy (udx_stream_t *stream) {
  if (udx__stream_dead(stream)) return 0;
  udx_t *udx = stream->udx;
  if (!(stream->status & UDX_STREAM_CONNECTED) || udx__stream(stream)->relay_to != NULL) {
    stream->status |= UDX_STREAM_DESTROYING;
    udx__stream_close(stream, 0);
    return 0;
  }
  if (udx__stream(stream)->queue.messages > 0) (void) udx__transmit_socket(stream->socket, 1);
  udx__instance(udx)->now = udx__instance(udx)->driver->now(udx);
  stream->status |= UDX_STREAM_DESTROYING;
  udx__stream_reset(stream);
  udx__stream_close(stream, 0);
  UDX_CHECK_STREAM(stream);
  return 1;
}

/* ---- messages ---- */

int
udx_stream_send (
  udx_stream_send_t *req, udx_stream_t *stream, const uv_buf_t bufs[], unsigned int bufs_len, udx_stream_send_cb cb) {
  if (!(stream->status & UDX_STREAM_CONNECTED) || udx__stream_dead(stream)) return UV_ENOTCONN;
  if (bufs_len != 1) return UV_EINVAL;
  udx_socket_t *socket = stream->socket;
  UDX_ASSERT(socket != NULL && socket->udx == stream->udx);
  if (udx__socket(socket)->sends_count >= UDX_SENDS_MAX) return UV_ENOBUFS;
  req->stream = stream;
  udx_send_state_t *send = (udx_send_state_t *) (void *) req->reserved;
  send->on_send.stream = cb;
  send->kind = UDX_SEND_STREAM;
  udx__sends_append(socket, send, &bufs[0], 0);
  udx__stream(stream)->queue.messages++;
  UDX_CHECK_STREAM(stream);
  return 0;
}
