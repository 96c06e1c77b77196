/* What comes for a checked stream from elsewhere than its remote. */
#ifndef UDX_ENGINE_SOURCES_H
#define UDX_ENGINE_SOURCES_H

#include "address.h"
#include "wire.h"

/* A packet of a source that is no path, kept without an acknowledgement. */
typedef struct udx_held_s {
  struct udx_held_s *next;
  uint32_t seq;
  uint8_t type;
  size_t length;  /* of the datagram */
  uint8_t data[]; /* without padding */
} udx_held_t;

typedef struct udx_source_s {
  struct udx_source_s *next;
  udx_address_t address;
  udx_socket_t *socket; /* the newest packet came over it; compared with the open ones before it is used */
  uint64_t heard_at;
  udx_held_t *held;   /* by seq; a path holds none */
  uint32_t remote_id; /* of a path: what the peer calls the stream there */
  uint32_t needed;    /* bytes: with fewer from seq `needed_at` on the owner need not be asked */
  uint32_t needed_at;
  uint8_t is_path;
} udx_source_t;

typedef struct udx_sources_s {
  udx_stream_source_cb on_source;
  udx_stream_stray_cb on_stray;
  udx_source_t *list;
  uint64_t remote_heard_at; /* as it was when something else was heard last */
  uint64_t other_heard_at;  /* which is this long ago */
  uint64_t refusals_until;  /* the interval in which `refusals` are counted */
  uint64_t next_answer;     /* to a repeated packet */
  uint32_t refusals;        /* of the owner */
  uint32_t retried_at;      /* what was delivered when all were last asked for */
  uint32_t held;            /* packets of all sources */
  uint32_t held_memory;     /* bytes that they take */
  uint8_t retry;            /* something else has changed since */
} udx_sources_t;

/* A packet that is not from the remote. 1 if it came over a path; else it is held, or dropped. */
int
udx__sources_admit (udx_stream_t *stream, udx_socket_t *socket, const udx_header_t *header, const uint8_t *data,
  size_t length, const struct sockaddr *from);

/* Takes what has become the next, or the remote's, meanwhile. 0 if the stream died. */
int
udx__sources_retry (udx_stream_t *stream);

/* The stream has taken another remote: the old one stays a path. */
void
udx__sources_left (udx_stream_t *stream, const udx_address_t *remote, uint32_t remote_id);

/* Packets to the remote stay unanswered. */
void
udx__sources_timeout (udx_stream_t *stream);

void
udx__sources_free (udx_stream_t *stream);

static inline int
udx__sources_wait (const udx_sources_t *sources, uint32_t delivered) {
  return sources->held > 0 && (sources->retry || sources->retried_at != delivered);
}

#endif
