/*
 * The source check (udx.md 2.9, 10.1). An id is all that a packet of UDX proves, so packets of a checked stream count
 * only if they come over a path of it: its remote, a former one, or a source that has proved itself. From any other
 * source DATA, END and DESTROY are held, unacknowledged, within a bound; the owner is asked whether the bytes that are
 * next in order continue its stream, which it can tell where they are authenticated. If they do, the source is a path,
 * and what it has sent is taken. Everything else from there has no effect.
 */
#include "sources.h"

#include <stdlib.h>

#include "instance.h"
#include "receive.h"
#include "socket.h"
#include "stream.h"
#include "transmit_control.h"
#include "trace/trace.h"

/* When the remote was heard: whatever was heard since something else was, is it. */
static void
note_remote (udx_stream_t *stream) {
  udx_sources_t *sources = udx__stream(stream)->sources;
  uint64_t heard_at = udx__stream(stream)->flow.heard_at;
  if (heard_at > sources->other_heard_at) sources->remote_heard_at = heard_at;
}

static udx_source_t *
source_find (const udx_sources_t *sources, const struct sockaddr *from) {
  udx_source_t *source = sources->list;
  while (source != NULL && !udx__address_equal(&source->address.any, from)) source = source->next;
  return source;
}

static void
held_drop (udx_stream_t *stream, udx_source_t *source) {
  udx_held_t *held = source->held;
  source->held = held->next;
  udx__stream(stream)->sources->held--;
  udx__stream(stream)->sources->held_memory -= (uint32_t) (sizeof(*held) + held->length);
  udx__instance(stream->udx)->held_memory -= sizeof(*held) + held->length;
  free(held);
}

static void
source_empty (udx_stream_t *stream, udx_source_t *source) {
  while (source->held != NULL) held_drop(stream, source);
}

static void
source_remove (udx_stream_t *stream, udx_source_t *source) {
  source_empty(stream, source);
  udx_source_t **link = &udx__stream(stream)->sources->list;
  while (*link != source) link = &(*link)->next;
  *link = source->next;
  free(source);
}

/*
 * A NAT that forgets its mapping mostly keeps its address, and a host of IPv6 that changes its own keeps its /64: such
 * a source is not pushed out by one from elsewhere.
 */
static int
is_near (const udx_stream_t *stream, const struct sockaddr *from) {
  return udx__address_same_network(&udx__stream(stream)->remote.any, from);
}

/* Makes room for one more of a kind: the one that is silent for longest goes. 0 if none may go. */
static int
source_evict (udx_stream_t *stream, int is_path, int may_evict_near) {
  uint32_t count = 0;
  udx_source_t *oldest = NULL;
  for (udx_source_t *source = udx__stream(stream)->sources->list; source != NULL; source = source->next) {
    if (source->is_path != is_path) continue;
    count++;
    if (!is_path && !may_evict_near && is_near(stream, &source->address.any)) continue;
    if (oldest == NULL || source->heard_at < oldest->heard_at) oldest = source;
  }
  if (count < (is_path ? UDX_KNOWN_PATHS_MAX : UDX_STRANGERS_MAX)) return 1;
  if (oldest == NULL) return 0;
  source_remove(stream, oldest);
  return 1;
}

static udx_source_t *
source_add (udx_stream_t *stream, const struct sockaddr *from, int is_path) {
  if (!source_evict(stream, is_path, is_near(stream, from))) return NULL;
  udx_source_t *source = calloc(1, sizeof(*source));
  if (source == NULL) return NULL;
  (void) udx__address_set(&source->address, from);
  source->is_path = (uint8_t) is_path;
  source->next = udx__stream(stream)->sources->list;
  udx__stream(stream)->sources->list = source;
  return source;
}

/*
 * Whether so many bytes more may be kept: no more of one stream than is left for all others, so that forged packets for
 * some streams leave room for peers of others that move.
 */
static int
has_room (const udx_stream_t *stream, size_t size) {
  uint64_t total = udx__instance(stream->udx)->held_memory;
  return total < UDX_HELD_TOTAL_MAX && udx__stream(stream)->sources->held_memory + size <= UDX_HELD_TOTAL_MAX - total;
}

/* A copy in its place by seq. A second one of the same seq is none. */
static void
hold (udx_stream_t *stream, udx_source_t *source, const udx_header_t *header, const uint8_t *payload, size_t length) {
  udx_held_t **link = &source->held;
  while (*link != NULL && udx__seq_before((*link)->seq, header->seq)) link = &(*link)->next;
  if (*link != NULL && (*link)->seq == header->seq) return;
  size_t size = sizeof(udx_held_t) + UDX_HEADER_SIZE + length;
  if (!has_room(stream, size)) return;
  udx_held_t *held = malloc(size);
  if (held == NULL) return;
  held->seq = header->seq;
  held->type = header->type;
  held->length = UDX_HEADER_SIZE + length;
  udx_header_t unpadded = *header;
  unpadded.data_offset = 0;
  udx__header_encode(held->data, &unpadded);
  if (length > 0) memcpy(held->data + UDX_HEADER_SIZE, payload, length);
  held->next = *link;
  *link = held;
  udx__stream(stream)->sources->held++;
  udx__stream(stream)->sources->held_memory += (uint32_t) size;
  udx__instance(stream->udx)->held_memory += size;
}

/* A forged packet costs the owner the check of a frame: it is asked a bounded number of times. */
static int
may_ask (udx_sources_t *sources, uint64_t now) {
  if (now >= sources->refusals_until) {
    sources->refusals = 0;
    sources->refusals_until = now + UDX_REFUSALS_INTERVAL;
  }
  return sources->refusals < UDX_REFUSALS_MAX;
}

typedef enum proof_e {
  PROOF_NONE,
  PROOF_GIVEN,
  PROOF_LATER, /* the owner cannot tell yet */
} proof_t;

/* Whether what the source has sent is what comes next. What is not is dropped. */
static proof_t
source_proof (udx_stream_t *stream, udx_source_t *source) {
  const udx_ack_state_t *ack = &udx__stream(stream)->ack;
  udx_sources_t *sources = udx__stream(stream)->sources;
  while (source->held != NULL && udx__seq_before(source->held->seq, ack->next)) held_drop(stream, source);
  if (ack->delivered != ack->next || source->is_path) return PROOF_NONE;

  uv_buf_t bufs[UDX_HELD_MAX];
  uint32_t count = 0, bytes = 0;
  for (udx_held_t *held = source->held; held != NULL && held->seq == ack->next + count; held = held->next) {
    if (!(held->type & UDX_HEADER_DATA)) break;
    UDX_ASSERT(count < UDX_HELD_MAX);
    size_t length = held->length - UDX_HEADER_SIZE;
    bufs[count++] = uv_buf_init((char *) held->data + UDX_HEADER_SIZE, (unsigned int) length);
    bytes += (uint32_t) length;
  }
  if (bytes == 0 || (source->needed_at == ack->next && bytes < source->needed)) return PROOF_NONE;
  if (!may_ask(sources, udx__instance(stream->udx)->now)) return PROOF_NONE;
  ssize_t verdict = sources->on_source(stream, 0, bufs, count);
  if (verdict == 0) return PROOF_GIVEN;
  if (verdict == UV_EAGAIN) return PROOF_LATER;
  if (verdict > 0) {
    source->needed = (uint32_t) udx__min_u64((uint64_t) verdict, UINT32_MAX);
    source->needed_at = ack->next;
  } else {
    sources->refusals++;
    stream->udx->packets_invalid += count;
    source_empty(stream, source);
  }
  return PROOF_NONE;
}

/* Packets that were held arrive now, once more, from what is a path. 0 if the stream died. */
static int
source_release (udx_stream_t *stream, udx_source_t *source, udx_socket_t *socket) {
  udx_t *udx = stream->udx;
  /* the callbacks may change the list */
  udx_address_t from = source->address;
  udx_held_t *held = source->held;
  source->held = NULL;
  for (const udx_held_t *each = held; each != NULL; each = each->next) {
    udx__stream(stream)->sources->held--;
    udx__stream(stream)->sources->held_memory -= (uint32_t) (sizeof(*each) + each->length);
  }
  int alive = 1;
  while (held != NULL) {
    udx_held_t *next = held->next;
    udx__instance(udx)->held_memory -= sizeof(*held) + held->length;
    if (alive) {
      udx__receive_datagram(socket, held->data, held->length, &from.any);
      alive = !udx__stream_dead(stream);
    }
    free(held);
    held = next;
  }
  return alive;
}

/*
 * Nothing has come from the remote, which only others have named, and the peer has just shown itself from here: the
 * owner may let the stream go there. At the remote it would get three packets and no more. 0 if the stream died.
 */
static int
leave_unheard (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  const udx_sources_t *sources = udx__stream(stream)->sources;
  if (!udx__stream(stream)->validation.claimed || sources == NULL || sources->on_stray == NULL) return 1;
  UDX_ASSERT(stream->status & UDX_STREAM_CONNECTED);
  udx_address_t scratch;
  sources->on_stray(stream, socket, udx__address_plain(from, &scratch));
  return !udx__stream_dead(stream);
}

/* The source has proved itself over this socket. 0 if the stream died. */
static int
source_accept (udx_stream_t *stream, udx_source_t *source, udx_socket_t *socket) {
  (void) source_evict(stream, 1, 1);
  source->is_path = 1;
  source->remote_id = stream->remote_id;
  /* the callbacks may change the list */
  udx_address_t from = source->address;
  return source_release(stream, source, socket) && leave_unheard(stream, socket, &from.any);
}

/*
 * DATA or END that is here already, from a source that cannot prove itself by it. A peer with another address repeats
 * it for as long as our acknowledgements go to the old one: it gets one, which tells nothing that helps a stranger.
 */
static void
answer_repeated (udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, const struct sockaddr *from) {
  udx_sources_t *sources = udx__stream(stream)->sources;
  uint64_t now = udx__instance(stream->udx)->now;
  if (!(header->type & (UDX_HEADER_DATA | UDX_HEADER_END)) || now < sources->next_answer) return;
  if (!(stream->status & UDX_STREAM_CONNECTED)) return;
  sources->next_answer = now + UDX_TIME_WAIT_SPACING;
  udx_address_t to;
  udx_header_t answer;
  uint8_t bytes[UDX_HEADER_SIZE];
  udx__stream_header(stream, &answer, 0);
  udx__header_encode(bytes, &answer);
  if (udx__address_set(&to, from) == 0) (void) udx__transmit_control(socket, &to, udx__socket(socket)->local, bytes);
}

/* Whether a message of no place in the sequence proves its source. */
static int
message_proves (udx_stream_t *stream, const uint8_t *payload, size_t length) {
  udx_sources_t *sources = udx__stream(stream)->sources;
  if (!(stream->status & UDX_STREAM_CONNECTED) || length == 0) return 0;
  if (!may_ask(sources, udx__instance(stream->udx)->now)) return 0;
  uv_buf_t buf = uv_buf_init((char *) (uintptr_t) payload, (unsigned int) length);
  if (sources->on_source(stream, 1, &buf, 1) == 0) return 1;
  sources->refusals++;
  return 0;
}

static int
refuse (udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, size_t length) {
  stream->udx->packets_invalid++;
  UDX_TRACE(stream->udx, dropped(stream, socket, header, length, UDX_TRACE_UNEXPECTED_SOURCE));
  return 0;
}

/* The remote is silent, and the peer speaks from this path: the owner may let the stream go there. */
static void
stray (udx_stream_t *stream, const udx_source_t *source, udx_socket_t *socket) {
  const udx_sources_t *sources = udx__stream(stream)->sources;
  if (sources->on_stray == NULL || source->remote_id != stream->remote_id) return;
  if (!(stream->status & UDX_STREAM_CONNECTED)) return;
  if (source->heard_at < sources->remote_heard_at + UDX_STRAY_SILENCE) return;
  udx_address_t address = source->address, scratch;
  sources->on_stray(stream, socket, udx__address_plain(&address.any, &scratch));
}

int
udx__sources_admit (udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, const uint8_t *data,
  size_t length, const struct sockaddr *from) {
  UDX_ASSERT(udx__stream(stream)->sources != NULL && udx__stream(stream)->relay_to == NULL);
  udx_sources_t *sources = udx__stream(stream)->sources;
  uint64_t now = udx__instance(stream->udx)->now;
  if (udx__address_equal(&udx__stream(stream)->remote.any, from)) {
    return 1; /* the remote, to another socket */
  }
  int32_t distance = udx__seq_diff(header->seq, udx__stream(stream)->ack.next);
  const uint8_t counted = UDX_HEADER_DATA | UDX_HEADER_END | UDX_HEADER_DESTROY;
  udx_source_t *source = source_find(sources, from);
  if (source != NULL) {
    source->heard_at = now;
    source->socket = socket;
    if (source->is_path) {
      note_remote(stream);
      sources->other_heard_at = now;
      if (distance < 0 && header->type & (UDX_HEADER_DATA | UDX_HEADER_END)) stray(stream, source, socket);
      return !udx__stream_dead(stream);
    }
  }
  size_t body = length - UDX_HEADER_SIZE;
  const uint8_t *payload = data + UDX_HEADER_SIZE + header->data_offset;
  if (header->data_offset > body) return refuse(stream, socket, header, length);
  body -= header->data_offset;
  if (header->type == UDX_HEADER_MESSAGE && message_proves(stream, payload, body)) {
    if (source == NULL) source = source_add(stream, from, 1);
    if (source == NULL) return refuse(stream, socket, header, length);
    source->socket = socket;
    source->heard_at = now;
    if (source->held != NULL) return source_accept(stream, source, socket);
    source->is_path = 1;
    source->remote_id = stream->remote_id;
    return leave_unheard(stream, socket, from);
  }
  if (!(header->type & counted) || header->type & UDX_HEADER_HEARTBEAT || body > UDX_DATAGRAM_MAX ||
      distance >= UDX_HELD_MAX || stream->status & UDX_STREAM_ENDED_REMOTE)
    return refuse(stream, socket, header, length);
  if (distance < 0) {
    answer_repeated(stream, socket, header, from);
    return refuse(stream, socket, header, length);
  }
  if (source == NULL && (source = source_add(stream, from, 0)) == NULL) return refuse(stream, socket, header, length);
  source->heard_at = now;
  source->socket = socket;
  hold(stream, source, header, payload, body);
  proof_t proof = source_proof(stream, source);
  if (proof == PROOF_GIVEN) (void) source_accept(stream, source, socket);
  /* the packet shows a way to the peer, and the firewall may connect the stream there */
  if (proof == PROOF_LATER && !(stream->status & UDX_STREAM_CONNECTED))
    (void) udx__receive_asks(stream, socket, header, length, from);
  return 0;
}

/* The next source whose packets are to be taken now, with the socket that they came over. */
static udx_source_t *
source_ready (udx_stream_t *stream, udx_socket_t **socket, int *is_remote) {
  for (udx_source_t *source = udx__stream(stream)->sources->list; source != NULL; source = source->next) {
    if (source->held == NULL) continue;
    *is_remote = stream->socket != NULL && udx__address_equal(&source->address.any, &udx__stream(stream)->remote.any);
    *socket = *is_remote ? stream->socket : source->socket;
    if (*is_remote || (udx__socket_is_open(stream->udx, *socket) && source_proof(stream, source) == PROOF_GIVEN))
      return source;
  }
  return NULL;
}

int
udx__sources_retry (udx_stream_t *stream) {
  udx_source_t *source;
  udx_socket_t *socket;
  int is_remote;
  while (udx__stream(stream)->sources != NULL) {
    udx__stream(stream)->sources->retry = 0;
    udx__stream(stream)->sources->retried_at = udx__stream(stream)->ack.delivered;
    source = source_ready(stream, &socket, &is_remote);
    if (source == NULL) break;
    if (!(is_remote ? source_release(stream, source, socket) : source_accept(stream, source, socket))) return 0;
  }
  return 1;
}

void
udx__sources_left (udx_stream_t *stream, const udx_address_t *remote, uint32_t remote_id) {
  udx_sources_t *sources = udx__stream(stream)->sources;
  if (sources == NULL) return;
  note_remote(stream);
  udx_source_t *source = source_find(sources, &remote->any);
  if (source == NULL) source = source_add(stream, &remote->any, 1);
  if (source != NULL) {
    source->is_path = 1;
    source->remote_id = remote_id;
    source->heard_at = sources->remote_heard_at;
    source->socket = NULL;
  }
  source = source_find(sources, &udx__stream(stream)->remote.any);
  sources->remote_heard_at = source != NULL ? source->heard_at : udx__instance(stream->udx)->now;
  sources->other_heard_at = udx__instance(stream->udx)->now;
  sources->retry = 1;
  if (sources->held > 0) udx__stream_touch(stream);
}

void
udx__sources_timeout (udx_stream_t *stream) {
  const udx_sources_t *sources = udx__stream(stream)->sources;
  udx_source_t *newest = NULL;
  note_remote(stream);
  for (udx_source_t *source = sources->list; source != NULL; source = source->next) {
    if (!source->is_path || !udx__socket_is_open(stream->udx, source->socket)) continue;
    if (newest == NULL || newest->heard_at < source->heard_at) newest = source;
  }
  if (newest != NULL) stray(stream, newest, newest->socket);
}

int
udx_stream_check_sources (udx_stream_t *stream, udx_stream_source_cb source_cb, udx_stream_stray_cb stray_cb) {
  if (udx__stream_dead(stream)) return UV_EINVAL;
  udx_sources_t *sources = udx__stream(stream)->sources;
  if (source_cb == NULL) {
    udx__sources_free(stream);
    return 0;
  }
  if (sources == NULL) {
    sources = calloc(1, sizeof(*sources));
    if (sources == NULL) return UV_ENOMEM;
    sources->remote_heard_at = udx__instance(stream->udx)->driver->now(stream->udx);
    udx__stream(stream)->sources = sources;
    udx__stream(stream)->guards |= UDX_GUARD_SOURCES;
  }
  sources->on_source = source_cb;
  sources->on_stray = stray_cb;
  if (sources->held > 0) {
    sources->retry = 1;
    udx__stream_touch(stream);
    udx__defer(stream->udx);
  }
  return 0;
}

void
udx__sources_free (udx_stream_t *stream) {
  udx_sources_t *sources = udx__stream(stream)->sources;
  if (sources == NULL) return;
  while (sources->list != NULL) source_remove(stream, sources->list);
  UDX_ASSERT(sources->held == 0 && sources->held_memory == 0);
  udx__stream(stream)->sources = NULL;
  udx__stream(stream)->guards &= (uint8_t) ~UDX_GUARD_SOURCES;
  free(sources);
}
