/* The events of a simulation: a binary heap by (time, order of creation). */
#include "internal.h"

#include <stdlib.h>

static bool
event_before (const sim_event_t *a, const sim_event_t *b) {
  return a->time < b->time || (a->time == b->time && a->order < b->order);
}

void
sim__event_push (sim_t *sim, sim_event_t event) {
  if (sim->count == sim->capacity) {
    sim->capacity = sim->capacity == 0 ? 256 : sim->capacity * 2;
    sim->events = realloc(sim->events, sim->capacity * sizeof(sim_event_t));
    CHECK(sim->events != NULL);
  }
  event.order = sim->order++;
  size_t i = sim->count++;
  while (i > 0 && event_before(&event, &sim->events[(i - 1) / 2])) {
    sim->events[i] = sim->events[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  sim->events[i] = event;
}

sim_event_t
sim__event_pop (sim_t *sim) {
  sim_event_t first = sim->events[0];
  sim_event_t last = sim->events[--sim->count];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= sim->count) break;
    if (child + 1 < sim->count && event_before(&sim->events[child + 1], &sim->events[child])) child++;
    if (!event_before(&sim->events[child], &last)) break;
    sim->events[i] = sim->events[child];
    i = child;
  }
  if (sim->count > 0) sim->events[i] = last;
  return first;
}
