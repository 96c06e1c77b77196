#include "inside.h"

#include "engine/check.h"
#include "engine/stream.h"

uint32_t
inside_unacknowledged (udx_stream_t *stream) {
  return udx__stream(stream)->flight.una;
}

void
inside_check_stream (udx_stream_t *stream) {
  udx__stream_check(stream);
}

void
inside_check_instance (const udx_t *udx) {
  udx__instance_check(udx);
}
