/* Random scenarios: the plan. The order of the draws is part of what a seed means. */
#include "scenarios.h"

#include <math.h>
#include <string.h>

plan_t plan;

static uint64_t rng;

void
random_seed (uint64_t seed) {
  rng = seed;
}

uint64_t
random64 (void) {
  rng += 0x9e3779b97f4a7c15u;
  uint64_t z = rng;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static double
uniform (void) {
  return (double) (random64() >> 11) / 9007199254740992.0;
}

bool
random_chance (double p) {
  return uniform() < p;
}

static double
log_uniform (double low, double high) {
  return low * pow(high / low, uniform());
}

/* Rate, latency, queue and the faults of the link; returns the rate (bytes per second, 0 = unlimited). */
static double
plan_link (sim_link_t *l) {
  l->latency = random_chance(0.1) ? 0 : (uint64_t) log_uniform(50, 600000);
  double rate = random_chance(0.2) ? 0 : log_uniform(8000, 1.25e9); /* 64 kbit/s to 10 Gbit/s */
  l->rate = (uint64_t) rate;
  double packets = log_uniform(1, 10000);
  l->queue = l->rate == 0 || random_chance(0.1) ? 0 : (uint64_t) (1500 * packets);
  if (l->queue > 0 && l->queue < 3000) plan.harsh = true; /* one packet of queue */
  if (random_chance(0.35)) l->loss = 0.3 * uniform() * uniform();
  if (random_chance(0.15)) {
    l->burst_begin = 0.002 * uniform();
    l->burst_end = 0.05 + 0.5 * uniform();
  }
  if (random_chance(0.1)) plan.drop_every = 3 + (uint32_t) (random64() % 60);
  if (random_chance(0.25)) l->jitter = (uint64_t) ((double) l->latency * uniform());
  if (random_chance(0.2)) {
    l->reorder = 0.1 * uniform();
    l->reorder_delay = (uint64_t) log_uniform(100, 300000);
  }
  if (random_chance(0.2)) l->duplicate = 0.2 * uniform();
  if (random_chance(0.05)) {
    l->corrupt = 0.02 * uniform();
    plan.corrupt = true;
  }
  return rate;
}

/* An MTU black hole, an outage. */
static void
plan_outages (const sim_link_t *l) {
  if (random_chance(0.1)) {
    plan.black_hole_at = random_chance(0.5) ? 1 : (uint64_t) log_uniform(1000, 2000000);
    plan.black_hole_mtu = 1200 + (uint32_t) (random64() % 300);
    /* without fragments, packets built larger before can never pass: seqs are not re-packetised */
    plan.fragments = plan.black_hole_mtu & 1;
    if (!plan.fragments && (plan.black_hole_at > 1 || l->latency == 0)) plan.harsh = true;
  }
  if (random_chance(0.15)) {
    plan.outage_at = (uint64_t) log_uniform(1000, 3000000);
    plan.outage_for = (uint64_t) log_uniform(10000, 20000000);
    plan.outage_direction = (int) (random64() % 3);
    if (plan.outage_for > 5000000) plan.harsh = true;
  }
}

static void
plan_options (void) {
  plan.cubic = random_chance(0.2);
  plan.six = random_chance(0.2);
  plan.messages = random_chance(0.3);
  if (random_chance(0.1)) plan.keepalive = 10 + (uint32_t) (random64() % 2000);
  if (random_chance(0.2)) plan.window = (uint32_t) log_uniform(3000, 4194304);
}

/* What is written, as much as the path carries in reasonable time, and the pauses of the readers. */
static void
plan_sizes (const sim_link_t *l, double rate) {
  double most = rate > 0 ? rate * 15 : 1e7; /* about 15 s of sending at most */
  if (l->loss > 0.02) most = fmin(most, 400000);
  if (plan.window) most = fmin(most, 60.0 * plan.window);
  if (plan.drop_every && plan.drop_every < 20) most = fmin(most, 400000);
  if (l->queue > 0 && l->queue < 6000) most = fmin(most, 100000); /* one to four packets: crawls */
  most = fmin(most, 4e6);
  plan.bytes[0] = (uint64_t) log_uniform(1, fmax(most, 2));
  plan.bytes[1] = random_chance(0.5) ? 0 : (uint64_t) log_uniform(1, fmax(most / 2, 2));
  for (int i = 0; i < 2; i++) {
    if (random_chance(0.2) && plan.bytes[1 - i] > 2) {
      plan.pause_at[i] = random64() % plan.bytes[1 - i];
      plan.pause_for[i] = (uint64_t) log_uniform(1000, 30000000);
    }
  }
}

void
plan_make (void) {
  memset(&plan, 0, sizeof(plan));
  plan.link = sim_link_default();
  sim_link_t *l = &plan.link;
  double rate = plan_link(l);
  plan_outages(l);
  plan_options();
  plan_sizes(l, rate);
  if (random_chance(0.15)) plan.move_at = 1 + random64() % plan.bytes[0];
  if (l->loss > 0.08 || l->burst_begin > 0 || (plan.drop_every && plan.drop_every < 8)) plan.harsh = true;
  if (plan.corrupt) plan.harsh = true;
}

void
plan_describe (FILE *f, uint64_t seed) {
  const sim_link_t *l = &plan.link;
  fprintf(f,
    "seed %llu: latency %.1f ms jitter %.1f ms rate %.0f kbit/s queue %llu loss %.3f burst %.4f/%.2f dup %.2f "
    "corrupt %.3f reorder %.2f mtu %u@%llu every %u bytes %llu/%llu pause %llu/%llu outage %llu+%llu dir %d "
    "move %llu window %u %s%s%s\n",
    (unsigned long long) seed, (double) l->latency / 1e3, (double) l->jitter / 1e3, (double) l->rate * 8e-3,
    (unsigned long long) l->queue, l->loss, l->burst_begin, l->burst_end, l->duplicate, l->corrupt, l->reorder,
    plan.black_hole_mtu, (unsigned long long) plan.black_hole_at, plan.drop_every, (unsigned long long) plan.bytes[0],
    (unsigned long long) plan.bytes[1], (unsigned long long) plan.pause_for[0], (unsigned long long) plan.pause_for[1],
    (unsigned long long) plan.outage_at, (unsigned long long) plan.outage_for, plan.outage_direction,
    (unsigned long long) plan.move_at, plan.window, plan.cubic ? "cubic " : "", plan.six ? "ipv6 " : "",
    plan.harsh ? "harsh" : "");
}
