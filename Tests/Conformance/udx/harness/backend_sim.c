/* The backend on the simulator: instances are nodes, raw peers and paths are raw addresses, time is virtual. */
#include "conform.h"

#include "sim/sim.h"

/* Like loopback: quick, never the bottleneck, and what is sent in one call arrives as one batch. */
enum { LATENCY = 50 /* us */ };

enum { INSTANCES_MAX = 8 };

static sim_t *sim;
static sim_node_t *nodes[INSTANCES_MAX];
static size_t nodes_len;
static uint16_t next_port = 20000;

static void
open_world (void) {
  sim = sim_new(1);
  sim_link_t link = sim_link_default();
  link.latency = LATENCY;
  sim_set_default_link(sim, &link);
}

static int
instance_init (udx_t *instance) {
  CHECK(nodes_len < INSTANCES_MAX);
  nodes[nodes_len++] = sim_attach(sim, instance);
  return 0;
}

static double
now (void) {
  return (double) sim_now(sim) * 1e-3;
}

static void
turn (double ms) {
  (void) sim_turn(sim, (uint64_t) (ms * 1e3));
}

static void
on_raw (sim_t *unused, const sim_datagram_t *datagram, void *ctx) {
  (void) unused;
  endpoint_t *e = ctx;
  e->on_datagram(e, datagram->data, datagram->length, &datagram->from, datagram->ttl);
}

/* The addresses are those of documentation (RFC 5737, RFC 3849): no node has them. */
static void
endpoint_open (endpoint_t *e, int family) {
  memset(&e->addr, 0, sizeof(e->addr));
  if (family == AF_INET) uv_ip4_addr("198.51.100.1", next_port, (struct sockaddr_in *) &e->addr);
  else uv_ip6_addr("2001:db8::1", next_port, (struct sockaddr_in6 *) &e->addr);
  next_port++;
  sim_raw(sim, (struct sockaddr *) &e->addr, on_raw, e);
}

static void
endpoint_send (endpoint_t *e, const struct sockaddr_storage *to, const void *data, size_t len, double delay) {
  uint64_t us = delay > 0 ? (uint64_t) (delay * 1e3) : 0;
  sim_inject(sim, (struct sockaddr *) &e->addr, (const struct sockaddr *) to, data, len, us + LATENCY);
}

static void
block_sends (bool block) {
  static bool blocked;
  if (block == blocked) return;
  blocked = block;
  for (size_t i = 0; i < nodes_len; i++) sim_node_block(nodes[i], block);
}

static bool
can_bind (const char *host) {
  (void) host;
  return true;
}

const backend_t sim_backend = {
  .name = "simulator",
  .limit_factor = 1,
  .open = open_world,
  .instance_init = instance_init,
  .now = now,
  .turn = turn,
  .endpoint_open = endpoint_open,
  .endpoint_send = endpoint_send,
  .block_sends = block_sends,
  .can_bind = can_bind,
};
