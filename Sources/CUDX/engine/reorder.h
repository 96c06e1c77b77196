/* Packets that arrived ahead of a gap, or that wait for a paused reader. */
#ifndef UDX_ENGINE_REORDER_H
#define UDX_ENGINE_REORDER_H

#include "base.h"

typedef struct udx_reorder_node_s udx_reorder_node_t;

typedef struct udx_reorder_run_s {
  uint32_t start;
  uint32_t end;
  uint64_t touched;
  udx_reorder_node_t *head;
  udx_reorder_node_t *tail;
} udx_reorder_run_t;

typedef struct udx_reorder_s {
  udx_reorder_run_t *runs;
  uint32_t count;
  uint32_t capacity;
  uint32_t nodes;
  uint32_t bytes;  /* payload kept */
  uint32_t memory; /* what it takes */
  uint16_t limit;  /* KiB that it may take; 0: by the window */
  uint16_t cursor;
} udx_reorder_t;

struct udx_reorder_node_s {
  udx_reorder_node_t *next;
  uint16_t length;
  uint8_t type;
  uint8_t large;
  uint8_t data[];
};

#define UDX_REORDER_BLOCK (sizeof(udx_reorder_node_t) + UDX_REORDER_SMALL)
#define UDX_REORDER_BLOCK_LARGE (sizeof(udx_reorder_node_t) + UDX_DATAGRAM_MAX)

/* Whether a packet of that block may be kept. */
int
udx__reorder_has_room (const udx_stream_t *stream, uint32_t block);

/* Keeps a copy. 1 = kept, 0 = already there, negative = no room. */
int
udx__reorder_insert (udx_stream_t *stream, uint32_t seq, uint8_t type, const uint8_t *data, size_t length);

/* The node of seq `seq` if it is the first one, taken out; the caller gives it back with udx__reorder_put. */
udx_reorder_node_t *
udx__reorder_pop (udx_stream_t *stream, uint32_t seq);

void
udx__reorder_put (udx_t *udx, udx_reorder_node_t *node);

/* Writes up to `max` blocks behind a header; returns their number. */
int
udx__reorder_blocks (udx_stream_t *stream, uint8_t *out, int max);

void
udx__reorder_free (udx_stream_t *stream);

#endif
