/* Local id -> stream, open addressing. */
#ifndef UDX_ENGINE_ID_TABLE_H
#define UDX_ENGINE_ID_TABLE_H

#include "base.h"

typedef struct udx_id_slot_s {
  uint32_t id;
  uint32_t probe; /* distance from the home slot plus one, 0 = free */
  udx_stream_t *stream;
} udx_id_slot_t;

typedef struct udx_id_table_s {
  udx_id_slot_t *slots;
  uint32_t mask;
  uint32_t count;
  uint32_t seed;
} udx_id_table_t;

int
udx__ids_insert (udx_id_table_t *table, uint32_t id, udx_stream_t *stream);

udx_stream_t *
udx__ids_find (const udx_id_table_t *table, uint32_t id);

void
udx__ids_remove (udx_id_table_t *table, uint32_t id);

void
udx__ids_free (udx_id_table_t *table);

#endif
