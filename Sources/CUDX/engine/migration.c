/*
 * Change of remote (udx.md 2.9). New packets go to the new remote at once; packets built before keep their old
 * address and id, remembered per change, until they are acknowledged. path_validation.c limits what a new address gets.
 *
 * After udx_stream_migrate the old path is gone: nothing is sent there any more.
 */
#include "migration.h"

#include <stdlib.h>

#include "address.h"
#include "batch.h"
#include "check.h"
#include "list.h"
#include "macroflow.h"
#include "mtu.h"
#include "path_validation.h"
#include "recovery.h"
#include "rtt.h"
#include "socket.h"
#include "sources.h"
#include "stream.h"
#include "transmit.h"
#include "trace/trace.h"

/* Old packets leave from the new socket, so their address has to fit its family; if it cannot they take the new one. */
static void
path_refit (udx_path_t *path, int family, const udx_address_t *remote, uint32_t remote_id) {
  UDX_ASSERT(family == AF_INET || family == AF_INET6);
  udx_address_t scratch, fitting;
  const struct sockaddr *plain = udx__address_plain(&path->address.any, &scratch);
  if (udx__address_for(&fitting, plain, family) == 0) {
    path->address = fitting;
  } else {
    path->address = *remote;
    path->remote_id = remote_id;
  }
}

/*
 * Messages leave through the old socket if they can: before any address changes, because the packets of the stream go
 * with them, and a socket of one family cannot send to the addresses of the other.
 */
static void
messages_leave (udx_stream_t *stream, const udx_socket_t *socket) {
  if (socket != stream->socket && udx__stream(stream)->queue.messages > 0)
    (void) udx__transmit_socket(stream->socket, 1);
}

/* What is owed leaves through the new socket. The caller marks it ready. */
static void
socket_change (udx_stream_t *stream, udx_socket_t *socket) {
  UDX_ASSERT(stream->socket != NULL && stream->socket != socket && stream->udx == socket->udx);
  if (udx__stream(stream)->queue.messages > 0) udx__sends_cancel_stream(stream->socket, stream);
  udx__socket(stream->socket)->stream_count--;
  int owing = !udx__list_empty(&udx__stream(stream)->owing);
  udx__list_remove(&udx__stream(stream)->ready);
  udx__list_remove(&udx__stream(stream)->owing);
  stream->socket = socket;
  udx__socket(socket)->stream_count++;
  if (owing && udx__stream(stream)->ack.owed) udx__owe_ack(stream);
  if (owing && udx__stream(stream)->ack.heartbeat) udx__owe_heartbeat(stream, udx__stream(stream)->ack.heartbeat);
}

/* Another way: the system knows which address of this host is the one to leave from, and which sizes get through. */
static void
path_forget_local (udx_stream_t *stream) {
  udx__stream(stream)->local_heard = udx__stream(stream)->local = 0;
  udx__flow_gap_clear(&udx__stream(stream)->flow);
}

int
udx_stream_change_remote (udx_stream_t *stream, udx_socket_t *socket, uint32_t remote_id,
  const struct sockaddr *remote_addr, udx_stream_remote_changed_cb remote_changed_cb) {
  udx_t *udx = stream->udx;
  if (udx__stream_dead(stream) || !(stream->status & UDX_STREAM_CONNECTED)) return UV_EINVAL;
  if (socket->udx != udx || (socket->status & UDX_SOCKET_CLOSED) || udx__stream(stream)->relay_to != NULL)
    return UV_EINVAL;
  udx_address_t remote;
  if (udx__address_set(&remote, remote_addr) || udx__address_port(remote_addr) == 0) return UV_EINVAL;
  int err;
  if (udx__socket(socket)->family == 0) {
    err = udx__socket_autobind(socket, remote_addr->sa_family);
    if (err) return err;
  }
  err = udx__address_for(&remote, remote_addr, udx__socket(socket)->family);
  if (err) return err;

  UDX_ASSERT(udx__socket(socket)->family == remote.any.sa_family);
  messages_leave(stream, socket);
  int outstanding = udx__flight_span(stream) > 0;
  if (outstanding) {
    unsigned int count = 0;
    udx_path_t **last = &udx__stream(stream)->paths;
    while (*last != NULL) {
      last = &(*last)->next;
      count++;
    }
    if (count >= UDX_PATHS_MAX) return UV_EBUSY;
    udx_path_t *path = malloc(sizeof(*path));
    if (path == NULL) return UV_ENOMEM;
    path->next = NULL;
    path->address = udx__stream(stream)->remote;
    path->remote_id = stream->remote_id;
    path->until = udx__stream(stream)->flight.nxt;
    path->on_changed = remote_changed_cb; /* without a path there is nothing to wait for: no callback */
    *last = path;
  }
  /* a probe of this turn refers to addresses that change now */
  udx__batch_flush(udx);
  if (udx__socket(socket)->family != udx__socket(stream->socket)->family) {
    for (udx_path_t *path = udx__stream(stream)->paths; path != NULL; path = path->next) {
      path_refit(path, udx__socket(socket)->family, &remote, remote_id);
    }
  }
  udx__macroflow_leave(stream);
  if (socket != stream->socket) socket_change(stream, socket);
  if (!udx__address_equal(&udx__stream(stream)->remote.any, &remote.any)) {
    udx__path_validation_begin(stream);
  }
  udx_address_t old = udx__stream(stream)->remote;
  uint32_t old_id = stream->remote_id;
  udx__stream(stream)->remote = remote;
  udx__sources_left(stream, &old, old_id);
  path_forget_local(stream);
  stream->remote_id = remote_id;
  udx__macroflow_join(stream);
  udx__mark_ready(stream); /* the limits that applied were those of the old remote */
  UDX_TRACE(udx, path(stream, UDX_TRACE_STREAM_MOVED));
  udx__mtu_reset(stream);
  UDX_CHECK_STREAM(stream);
  return outstanding ? 0 : 1;
}

/* The estimates of another path say nothing about this one (RFC 9000, section 9.4). */
static void
path_measure_anew (udx_stream_t *stream, uint64_t now) {
  udx__rtt_init(stream); /* before the timers are set, which go by it */
  udx__recovery_migrated(stream, now);
  udx__stream(stream)->rate.losses = 0; /* this path has lost nothing */
  stream->cwnd = UDX_CWND_INITIAL;
  stream->ssthresh = UDX_SSTHRESH_INITIAL;
  udx__stream(stream)->congestion->init(stream);
  udx__mtu_reset(stream);
}

/* The peer was heard when its address was validated: the time to give up starts anew. */
static void
peer_was_heard (udx_stream_t *stream, uint64_t now) {
  udx__stream(stream)->recovery.stalled_since = now;
  udx__stream(stream)->flow.heard_at = now;
  udx__stream(stream)->flow.silent_probes = 0;
}

/* What has left over former paths takes this one, whenever it is sent again. */
static void
paths_forget (udx_stream_t *stream, const udx_address_t *remote) {
  for (udx_path_t *path = udx__stream(stream)->paths; path != NULL; path = path->next) {
    path->address = *remote;
    path->remote_id = stream->remote_id;
  }
}

int
udx_stream_migrate (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *remote_addr) {
  udx_t *udx = stream->udx;
  if (udx__stream_dead(stream) || !(stream->status & UDX_STREAM_CONNECTED)) return UV_EINVAL;
  if (socket->udx != udx || (socket->status & UDX_SOCKET_CLOSED) || udx__socket(socket)->family == 0) return UV_EINVAL;
  udx_address_t remote;
  if (udx__address_set(&remote, remote_addr) || udx__address_port(remote_addr) == 0) return UV_EINVAL;
  int err = udx__address_for(&remote, remote_addr, udx__socket(socket)->family);
  if (err) return err;

  messages_leave(stream, socket);
  udx__batch_flush(udx);
  paths_forget(stream, &remote);
  udx__macroflow_leave(stream);
  if (socket != stream->socket) socket_change(stream, socket);
  if (!udx__address_equal(&udx__stream(stream)->remote.any, &remote.any)) udx__path_validation_begin(stream);
  udx_address_t old = udx__stream(stream)->remote;
  udx__stream(stream)->remote = remote;
  udx__sources_left(stream, &old, stream->remote_id);
  path_forget_local(stream);
  udx__macroflow_join(stream);
  UDX_TRACE(udx, path(stream, UDX_TRACE_STREAM_MOVED));
  if (udx__stream(stream)->relay_to == NULL) {
    uint64_t now = udx__instance(udx)->driver->now(udx);
    peer_was_heard(stream, now); /* before the timers are set, which go by it */
    path_measure_anew(stream, now);
  }
  udx__mark_ready(stream);
  UDX_CHECK_STREAM(stream);
  return 0;
}

int
udx_stream_reroute (udx_stream_t *stream) {
  udx_t *udx = stream->udx;
  if (udx__stream_dead(stream) || !(stream->status & UDX_STREAM_CONNECTED)) return UV_EINVAL;
  if (udx__stream(stream)->relay_to != NULL) return UV_EINVAL;
  udx__batch_flush(udx);
  paths_forget(stream, &udx__stream(stream)->remote);
  /* it takes the timeout's place, which may never come where one follows the other */
  if (udx__flight_span(stream) > 0) {
    udx_packet_t *oldest = udx__packet_at(stream, udx__stream(stream)->flight.una);
    if (oldest->timeouts < UINT8_MAX) oldest->timeouts++;
  }
  path_measure_anew(stream, udx__instance(udx)->driver->now(udx));
  udx__macroflow_resume(udx__stream(stream)->macroflow);
  udx__mark_ready(stream);
  UDX_CHECK_STREAM(stream);
  return 0;
}

int
udx_stream_retransmit (udx_stream_t *stream) {
  if (udx__stream_dead(stream) || !(stream->status & UDX_STREAM_CONNECTED)) return UV_EINVAL;
  udx__recovery_hasten(stream, udx__instance(stream->udx)->driver->now(stream->udx));
  udx__defer(stream->udx); /* the driver waits for a later deadline */
  UDX_CHECK_STREAM(stream);
  return 0;
}

int
udx_stream_path_validated (udx_stream_t *stream) {
  const udx_path_validation_t *validation = &udx__stream(stream)->validation;
  return !validation->pending && !validation->claimed;
}

void
udx__path_for (udx_stream_t *stream, uint32_t seq, const udx_address_t **address, uint32_t *remote_id) {
  UDX_ASSERT(udx__stream(stream)->paths != NULL);
  for (udx_path_t *path = udx__stream(stream)->paths; path != NULL; path = path->next) {
    if (udx__seq_before(seq, path->until)) {
      *address = &path->address;
      *remote_id = path->remote_id;
      return;
    }
  }
}

unsigned int
udx__paths_acked (udx_stream_t *stream, udx_stream_remote_changed_cb callbacks[UDX_PATHS_MAX]) {
  unsigned int count = 0;
  while (udx__stream(stream)->paths != NULL &&
         udx__seq_diff(udx__stream(stream)->flight.una, udx__stream(stream)->paths->until) >= 0) {
    udx_path_t *path = udx__stream(stream)->paths;
    UDX_ASSERT(path->next == NULL || udx__seq_diff(path->next->until, path->until) >= 0);
    udx__stream(stream)->paths = path->next;
    UDX_ASSERT(count < UDX_PATHS_MAX);
    if (path->on_changed != NULL) callbacks[count++] = path->on_changed;
    free(path);
  }
  return count;
}

void
udx__paths_free (udx_stream_t *stream) {
  while (udx__stream(stream)->paths != NULL) {
    udx_path_t *path = udx__stream(stream)->paths;
    udx__stream(stream)->paths = path->next;
    free(path);
  }
}
