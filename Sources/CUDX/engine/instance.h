/* The instance: what all sockets and streams share. */
#ifndef UDX_ENGINE_INSTANCE_H
#define UDX_ENGINE_INSTANCE_H

#include "id_table.h"
#include "list.h"
#include "pool.h"
#include "timer.h"

/* The engine's part of udx_t. */
typedef struct udx_instance_state_s {
  const udx_driver_t *driver;
  udx_idle_cb on_idle;
  uint64_t now;
  udx_trace_cb on_trace;
  void *trace_data;
  uint32_t refs;
  uint32_t depth; /* engine entry points on the stack */
  uint32_t sockets_made;
  uint8_t teardown;
  uint8_t deferred;
  udx_link_t sockets;
  udx_link_t streams;
  udx_link_t dirty;   /* sockets with something to send */
  udx_link_t late;    /* sockets with nothing but acknowledgements that wait for the end of the turn */
  udx_link_t touched; /* streams that the current batch concerned */
  udx_link_t closing; /* streams waiting for finalize */
  udx_id_table_t ids;
  udx_timer_heap_t timers;
  udx_pool_t buffers; /* reordered packets */
  udx_pool_t buffers_large;
  uint64_t reorder_memory; /* bytes */
  uint64_t held_memory;    /* bytes of packets whose source is no path */
  udx_pool_t controls;     /* small packets that outlive their stream */
  udx_pool_t rings[UDX_RING_CLASSES];
  struct udx_batch_s *batch;
  struct udx_time_wait_s *time_wait;
  struct udx_macroflows_s *macroflows;
  udx_link_t send_done; /* socket and stream messages whose callback is due */
  struct udx_asked_s *asked;
} udx_instance_state_t;

UDX_ROOM(udx_t, udx_instance_state_t);

UDX_ACCESSOR(udx__instance, udx_t, udx_instance_state_t)
#define udx__instance(udx) UDX_ACCESS(udx__instance, udx_t, udx)

int
udx__ref (udx_t *udx);

void
udx__unref (udx_t *udx);

/* Something is to be sent or reported: at the end of the current entry point, or of the application's turn. */
void
udx__defer (udx_t *udx);

#endif
