/*
 * Change of remote (spec 2.9). New packets go to the new remote at once; packets built before keep their
 * old destination and id, remembered per change, until they are acknowledged. Until something that was sent
 * to a new address is acknowledged from there it gets no more than an initial window: who names somebody else's
 * address cannot have him flooded. Acknowledgements that come from elsewhere may be such a peer's, who knows
 * well what we send, or those of an honest one whose packets take another way: they earn a little at a time.
 */
#include <stdlib.h>

#include "trace.h"

/* Old packets leave from the new socket, so their address has to fit its family; if it cannot they take the new one. */
static void
path_refit (udx_path_t *path, int family, const udx_address_t *remote, uint32_t remote_id) {
  udx_address_t scratch, fitting;
  const struct sockaddr *plain = udx__address_plain(&path->address.any, &scratch);
  if (udx__address_for(&fitting, plain, family) == 0) {
    path->address = fitting;
  } else {
    path->address = *remote;
    path->remote_id = remote_id;
  }
}

int
udx_stream_change_remote (udx_stream_t *stream, udx_socket_t *socket, uint32_t remote_id, const struct sockaddr *remote_addr, udx_stream_remote_changed_cb remote_changed_cb) {
  udx_t *udx = stream->udx;
  if (udx__stream_dead(stream) || !(stream->status & UDX_STREAM_CONNECTED)) return UV_EINVAL;
  if (socket->udx != udx || (socket->status & UDX_SOCKET_CLOSED) || stream->relay_to != NULL) return UV_EINVAL;
  udx_address_t remote;
  if (udx__address_set(&remote, remote_addr) || udx__address_port(remote_addr) == 0) return UV_EINVAL;
  int err;
  if (socket->family == 0) {
    err = udx__socket_autobind(socket, remote_addr->sa_family);
    if (err) return err;
  }
  err = udx__address_for(&remote, remote_addr, socket->family);
  if (err) return err;

  int outstanding = udx__flight_span(stream) > 0;
  if (outstanding) {
    unsigned int count = 0;
    udx_path_t **last = &stream->paths;
    while (*last != NULL) {
      last = &(*last)->next;
      count++;
    }
    if (count >= UDX_PATHS_MAX) return UV_EBUSY;
    udx_path_t *path = malloc(sizeof(*path));
    if (path == NULL) return UV_ENOMEM;
    path->next = NULL;
    path->address = stream->remote;
    path->remote_id = stream->remote_id;
    path->until = stream->flight.nxt;
    *last = path;
  }
  /* a probe of this turn refers to addresses that change now */
  udx__batch_flush(udx);
  if (socket->family != stream->socket->family) {
    for (udx_path_t *path = stream->paths; path != NULL; path = path->next) {
      path_refit(path, socket->family, &remote, remote_id);
    }
  }
  udx__destination_leave(stream);
  if (socket != stream->socket) {
    if (stream->messages > 0) udx__transmit_socket(stream->socket);
    if (stream->messages > 0) udx__sends_cancel_stream(stream->socket, stream);
    stream->socket->stream_count--;
    int ready = !udx__list_empty(&stream->ready);
    int owing = !udx__list_empty(&stream->owing);
    udx__list_remove(&stream->ready);
    udx__list_remove(&stream->owing);
    stream->socket = socket;
    socket->stream_count++;
    if (ready) udx__mark_ready(stream);
    if (owing && stream->ack.owed) udx__owe_ack(stream);
    if (owing && stream->ack.heartbeat) udx__owe_heartbeat(stream);
  }
  if (!udx__address_equal(&stream->remote.any, &remote.any)) {
    stream->unproven.active = 1;
    stream->unproven.since = stream->flight.nxt;
    stream->unproven.next_at = 0;
    stream->unproven.wake_at = UDX_NEVER;
  }
  stream->remote = remote;
  stream->remote_id = remote_id;
  udx__destination_join(stream);
  udx__mark_ready(stream); /* whatever held it back was about the old remote */
  if (outstanding) stream->on_remote_changed = remote_changed_cb; /* else nothing to wait for: no callback */
  UDX_TRACE(udx, path(stream, UDX_TRACE_STREAM_MOVED));
  udx__mtu_reset(stream);
  return outstanding ? 0 : 1;
}

void
udx__path_for (udx_stream_t *stream, uint32_t seq, const udx_address_t **address, uint32_t *remote_id) {
  for (udx_path_t *path = stream->paths; path != NULL; path = path->next) {
    if (udx__seq_before(seq, path->until)) {
      *address = &path->address;
      *remote_id = path->remote_id;
      return;
    }
  }
}

void
udx__paths_acked (udx_stream_t *stream) {
  while (stream->paths != NULL && udx__seq_diff(stream->flight.una, stream->paths->until) >= 0) {
    udx_path_t *path = stream->paths;
    stream->paths = path->next;
    free(path);
  }
}

static void
unproven_earn (udx_stream_t *stream, uint64_t now) {
  stream->unproven.since = stream->flight.nxt;
  stream->unproven.next_at = now + UDX_UNPROVEN_TIME;
  stream->unproven.wake_at = UDX_NEVER;
  udx__mark_ready(stream);
}

void
udx__unproven_acked (udx_stream_t *stream, uint64_t now) {
  udx_unproven_t *unproven = &stream->unproven;
  if (!unproven->elsewhere) {
    unproven->active = 0;
    unproven->wake_at = UDX_NEVER;
    udx__mark_ready(stream);
  } else if (now >= unproven->next_at) {
    unproven_earn(stream, now);
  } else if (unproven->wake_at == UDX_NEVER) {
    unproven->wake_at = unproven->next_at;
    udx__timer_at_most(stream, unproven->wake_at);
  }
}

void
udx__unproven_timeout (udx_stream_t *stream, uint64_t now) {
  if (stream->unproven.wake_at <= now) unproven_earn(stream, now);
}

void
udx__paths_free (udx_stream_t *stream) {
  while (stream->paths != NULL) {
    udx_path_t *path = stream->paths;
    stream->paths = path->next;
    free(path);
  }
}
