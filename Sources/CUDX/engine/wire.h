/* The packet header (udx.md 1.1). */
#ifndef UDX_ENGINE_WIRE_H
#define UDX_ENGINE_WIRE_H

#include "base.h"

typedef struct udx_header_s {
  uint8_t type;
  uint8_t data_offset;
  uint32_t id;
  uint32_t window;
  uint32_t seq;
  uint32_t ack;
} udx_header_t;

static inline uint32_t
udx__get_u32 (const uint8_t *p) {
  return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static inline void
udx__put_u32 (uint8_t *p, uint32_t v) {
  p[0] = (uint8_t) v;
  p[1] = (uint8_t) (v >> 8);
  p[2] = (uint8_t) (v >> 16);
  p[3] = (uint8_t) (v >> 24);
}

void
udx__header_encode (uint8_t *bytes, const udx_header_t *header);

/* 1 if the datagram is a UDX packet. */
int
udx__header_decode (const uint8_t *bytes, size_t length, udx_header_t *header);

#endif
