/* What a random scenario consists of (scenarios_plan.c); scenarios.c carries it out. */
#ifndef UDX_SCENARIOS_H
#define UDX_SCENARIOS_H

#include <stdio.h>

#include "sim/check.h"
#include "sim/sim.h"

typedef struct {
  sim_link_t link;
  uint64_t bytes[2];
  uint64_t pause_at[2], pause_for[2]; /* bytes received, us */
  uint64_t outage_at, outage_for;     /* us */
  int outage_direction;
  uint64_t black_hole_at; /* us, 0 = none */
  uint32_t black_hole_mtu;
  bool fragments;      /* pass it */
  uint64_t move_at;    /* bytes received by b, 0 = never */
  uint32_t drop_every; /* periodic loss */
  uint32_t keepalive;
  uint32_t window;
  bool cubic, six, messages;
  bool harsh;   /* ETIMEDOUT is a fair end */
  bool corrupt; /* anything is, as long as it ends */
} plan_t;

extern plan_t plan;

/* The random source of plan and application, apart from the simulation's own. */
void
random_seed (uint64_t seed);
uint64_t
random64 (void);
bool
random_chance (double p);

/* Fills in `plan` from the random source. */
void
plan_make (void);

void
plan_describe (FILE *f, uint64_t seed);

#endif
