/* Serial arithmetic on 32-bit sequence numbers (udx.md, "seq distance"). */
#ifndef UDX_ENGINE_SEQ_H
#define UDX_ENGINE_SEQ_H

#include <stdint.h>

static inline int32_t
udx__seq_diff (uint32_t a, uint32_t b) {
  return (int32_t) (a - b);
}

static inline int
udx__seq_before (uint32_t a, uint32_t b) {
  return (int32_t) (a - b) < 0;
}

#endif
