/* Change of remote: packets of earlier remotes keep their address. */
#ifndef UDX_ENGINE_MIGRATION_H
#define UDX_ENGINE_MIGRATION_H

#include "address.h"

typedef struct udx_path_s {
  struct udx_path_s *next;
  udx_address_t address;
  uint32_t remote_id;
  uint32_t until;                          /* packets before this seq belong to it */
  udx_stream_remote_changed_cb on_changed; /* of the change that ended it, may be NULL */
} udx_path_t;

/* The remote that a packet belongs to. */
void
udx__path_for (udx_stream_t *stream, uint32_t seq, const udx_address_t **address, uint32_t *remote_id);

/* Everything before una was acknowledged: the callbacks of the changes that are complete, in their order. */
unsigned int
udx__paths_acked (udx_stream_t *stream, udx_stream_remote_changed_cb callbacks[UDX_PATHS_MAX]);

void
udx__paths_free (udx_stream_t *stream);

#endif
