/* The clock of a simulation: virtual time that jumps from event to event. */
#include "internal.h"

#include <stdlib.h>

sim_t *
sim_new (uint64_t seed) {
  sim_t *sim = calloc(1, sizeof(*sim));
  CHECK(sim != NULL);
  sim->seed = seed;
  sim->now = SIM_EPOCH;
  sim->default_link = sim_link_default();
  sim__random_seed(sim, seed);
  check_set_seed(seed);
  sim->nodes = calloc(SIM_NODES_MAX, sizeof(*sim->nodes));
  sim->directions = calloc(SIM_NODES_MAX, sizeof(*sim->directions));
  sim->rows = calloc(SIM_NODES_MAX, sizeof(*sim->rows));
  CHECK(sim->nodes != NULL && sim->directions != NULL && sim->rows != NULL);
  return sim;
}

void
sim_free (sim_t *sim) {
  while (sim->count > 0) free(sim__event_pop(sim).datagram);
  for (uint32_t i = 0; i < sim->nodes_len; i++) {
    CHECK(udx_is_idle(sim->nodes[i]->instance));
    free(sim->nodes[i]);
    free(sim->directions[i]);
  }
  while (sim->raws != NULL) {
    sim_raw_t *raw = sim->raws;
    sim->raws = raw->next;
    free(raw);
  }
  free(sim->nodes);
  free(sim->directions);
  free(sim->rows);
  free(sim->events);
  free(sim);
}

uint64_t
sim_seed (const sim_t *sim) {
  return sim->seed;
}

uint64_t
sim_now (const sim_t *sim) {
  return sim->now;
}

void
sim_after (sim_t *sim, uint64_t delay, sim_timer_cb cb, void *ctx) {
  sim__event_push(sim, (sim_event_t){.time = sim->now + delay, .kind = SIM_EVENT_TIMER, .timer = cb, .object = ctx});
}

static void
sim_step (sim_t *sim) {
  sim_event_t event = sim__event_pop(sim);
  if (event.time > sim->now) sim->now = event.time;
  switch (event.kind) {
  case SIM_EVENT_DELIVER:
    sim__network_deliver(sim, event);
    break;
  case SIM_EVENT_DEADLINE:
    if (event.id == event.node->deadline_id) udx_driver_tick(event.node->instance);
    break;
  case SIM_EVENT_FLUSH:
    event.node->flush_pending = false;
    udx_driver_flush(event.node->instance);
    break;
  case SIM_EVENT_CLOSED:
    udx_driver_socket_closed(event.object);
    break;
  case SIM_EVENT_WRITABLE:
    for (sim_socket_t *s = event.node->sockets; s != NULL; s = s->next) {
      if (s->socket == event.object) {
        udx_driver_writable(event.object);
        break;
      }
    }
    break;
  case SIM_EVENT_TIMER:
    event.timer(sim, event.object);
    break;
  }
}

uint64_t
sim_run (sim_t *sim, uint64_t duration) {
  uint64_t end = sim->now + duration;
  uint64_t events = 0;
  while (sim->count > 0 && sim->events[0].time <= end) {
    sim_step(sim);
    events++;
  }
  if (sim->now < end) sim->now = end;
  return events;
}

int
sim_run_until (sim_t *sim, int (*condition)(void *ctx), void *ctx, uint64_t limit) {
  uint64_t end = sim->now + limit;
  while (!condition(ctx)) {
    if (sim->count == 0 || sim->events[0].time > end) return 0;
    sim_step(sim);
  }
  return 1;
}

int
sim_drain (sim_t *sim, uint64_t limit) {
  uint64_t end = sim->now + limit;
  while (sim->count > 0) {
    if (sim->events[0].time > end) return 0;
    sim_step(sim);
  }
  return 1;
}

bool
sim_turn (sim_t *sim, uint64_t limit) {
  if (sim->count > 0 && sim->events[0].time <= sim->now + limit) {
    sim_step(sim);
    return true;
  }
  sim->now += limit;
  return false;
}
