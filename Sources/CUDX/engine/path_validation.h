/* Path validation and the anti-amplification limit (RFC 9000, section 8). */
#ifndef UDX_ENGINE_PATH_VALIDATION_H
#define UDX_ENGINE_PATH_VALIDATION_H

#include "base.h"

/* A remote that has not proved yet that it receives. */
typedef struct udx_path_validation_s {
  uint64_t next_at;    /* before this acknowledgements from elsewhere renew nothing */
  uint64_t wake_at;    /* one did come earlier than that: then */
  uint32_t limit_from; /* first seq that counts for the limit */
  uint8_t pending;
  uint8_t other_source; /* the packet at hand is not from the remote's address */
  uint8_t claimed;      /* nothing has come from the remote, which others have named */
  uint8_t claimed_left; /* packets that it may get before */
} udx_path_validation_t;

/* The remote changed its address. */
void
udx__path_validation_begin (udx_stream_t *stream);

/* A packet that was sent to a remote in validation is acknowledged. */
void
udx__path_validation_acked (udx_stream_t *stream, uint64_t now);

void
udx__path_validation_timeout (udx_stream_t *stream, uint64_t now);

/* A packet has come from a remote that was only claimed. */
void
udx__path_validation_heard (udx_stream_t *stream);

#endif
