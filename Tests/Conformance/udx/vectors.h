/* Shared by the parts of udx_vectors: the stream under test, the raw sockets in the place of the recorded peer, and
   what the transcript says that our stream has sent. */
#ifndef UDX_VECTORS_H
#define UDX_VECTORS_H

#include "harness/conform.h"
#include "json.h"

/* One packet that our stream has sent in the transcript. */
typedef struct {
  uint32_t seq;
  uint8_t type;
  uint8_t *data;
  size_t len;
} sent_t;

typedef struct {
  side_t s;
  peer_t *p, *p2; /* p2: after a change of remote, or the other side of a relay */
  udx_socket_t socket2;
  sent_t *sent;
  size_t sent_count;
} replay_t;

extern replay_t r;
extern const bool reference;

/* Notes a packet of the transcript as sent by our stream. */
void
remember (uint32_t seq, uint8_t type, const uint8_t *data, size_t len);

/* Everything our stream emitted in sequence, put together, must be a prefix of what the transcript sent; returns the
   number of bytes. Packet boundaries may differ. */
size_t
check_emitted (uint32_t first_seq);

/* Whether our stream has sent that seq, to either peer. */
bool
emitted (uint32_t seq);

/* The bytes read so far are exactly these. */
void
check_read (const uint8_t *want, size_t len);

void
reaction (const json_t *c);
void
session_role (const json_t *c, const char *role);
void
session_relay (const json_t *c);

#endif
