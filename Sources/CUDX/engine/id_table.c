/*
 * Local id -> stream. Robin Hood hashing with a random seed (ids come from the network, collisions must
 * not be a weapon), load at most 3/4, backward-shift deletion.
 */
#include "id_table.h"

#include <stdlib.h>

static uint32_t
id_hash (const udx_id_table_t *table, uint32_t id) {
  uint32_t h = id ^ table->seed;
  h ^= h >> 16;
  h *= 0x7feb352du;
  h ^= h >> 15;
  h *= 0x846ca68bu;
  h ^= h >> 16;
  return h;
}

static void
ids_place (udx_id_table_t *table, udx_id_slot_t entry) {
  UDX_ASSERT(table->slots != NULL && table->count <= table->mask);
  uint32_t i = id_hash(table, entry.id) & table->mask;
  entry.probe = 1;
  for (;;) {
    udx_id_slot_t *slot = &table->slots[i];
    if (slot->probe == 0) {
      *slot = entry;
      return;
    }
    if (slot->probe < entry.probe) {
      udx_id_slot_t other = *slot;
      *slot = entry;
      entry = other;
    }
    i = (i + 1) & table->mask;
    UDX_ASSERT(entry.probe <= table->mask + 1);
    entry.probe++;
  }
}

static int
ids_resize (udx_id_table_t *table, uint32_t capacity) {
  UDX_ASSERT(capacity > table->count);
  UDX_ASSERT(capacity >= 16 && (capacity & (capacity - 1)) == 0);
  udx_id_slot_t *old = table->slots;
  uint32_t old_capacity = old == NULL ? 0 : table->mask + 1;
  udx_id_slot_t *slots = calloc(capacity, sizeof(*slots));
  if (slots == NULL) return UV_ENOMEM;
  table->slots = slots;
  table->mask = capacity - 1;
  for (uint32_t i = 0; i < old_capacity; i++) {
    if (old[i].probe) ids_place(table, old[i]);
  }
  free(old);
  return 0;
}

int
udx__ids_insert (udx_id_table_t *table, uint32_t id, udx_stream_t *stream) {
  UDX_ASSERT(stream != NULL);
  if (udx__ids_find(table, id) != NULL) return UV_EEXIST;
  if (table->count >= UDX_STREAMS_MAX) return UV_ENOMEM;
  uint32_t capacity = table->slots == NULL ? 0 : table->mask + 1;
  if (table->count + 1 > capacity / 4 * 3) {
    int err = ids_resize(table, capacity == 0 ? 16 : capacity * 2);
    if (err) return err;
  }
  udx_id_slot_t entry = {.id = id, .stream = stream};
  ids_place(table, entry);
  table->count++;
  UDX_ASSERT(table->count <= table->mask);
  return 0;
}

static udx_id_slot_t *
ids_slot (const udx_id_table_t *table, uint32_t id) {
  if (table->count == 0) return NULL;
  uint32_t i = id_hash(table, id) & table->mask;
  for (uint32_t probe = 1;; probe++) {
    udx_id_slot_t *slot = &table->slots[i];
    if (slot->probe < probe) return NULL;
    if (slot->id == id) return slot;
    UDX_ASSERT(probe <= table->mask + 1);
    i = (i + 1) & table->mask;
  }
}

udx_stream_t *
udx__ids_find (const udx_id_table_t *table, uint32_t id) {
  udx_id_slot_t *slot = ids_slot(table, id);
  return slot == NULL ? NULL : slot->stream;
}

void
udx__ids_remove (udx_id_table_t *table, uint32_t id) {
  udx_id_slot_t *slot = ids_slot(table, id);
  if (slot == NULL) return;
  uint32_t i = (uint32_t) (slot - table->slots);
  UDX_ASSERT(i <= table->mask && table->count > 0);
  for (;;) {
    uint32_t next = (i + 1) & table->mask;
    if (table->slots[next].probe <= 1) break;
    table->slots[i] = table->slots[next];
    table->slots[i].probe--;
    i = next;
  }
  table->slots[i].probe = 0;
  table->count--;

  uint32_t capacity = table->mask + 1;
  if (capacity > 64 && table->count < capacity / 8) (void) ids_resize(table, capacity / 2);
}

void
udx__ids_free (udx_id_table_t *table) {
  free(table->slots);
  table->slots = NULL;
  table->mask = 0;
  table->count = 0;
}
