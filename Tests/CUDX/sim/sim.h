/*
 * A virtual network for UDX instances: deterministic, on virtual time, replayable by its seed.
 *
 *   sim_t *sim = sim_new(42);
 *   sim_node_t *a = sim_node(sim), *b = sim_node(sim);         // 10.0.0.1 / fd00::1, 10.0.0.2 / fd00::2
 *   sim_link_t link = sim_link_default();
 *   link.latency = 20000; link.loss = 0.01; link.rate = 12500000;
 *   sim_connect(a, b, &link);                                  // both directions
 *   udx_socket_init(&a->udx, ...); ...                         // the public API, as with libuv
 *   sim_run(sim, 5000000);                                     // five virtual seconds
 *   sim_free(sim);
 *
 * - A node is one udx_t on one driver with one IPv4 and one IPv6 address and its own ports.
 * - Pairs of nodes that were not connected use the default link: perfect, 1 ms.
 * - Between calls of sim_run the application may use any API; sim_run starts with the end of that turn.
 * - `tap` sees every datagram when it is sent and decides: pass, drop, or deliver late.
 * - sim_raw() makes a scripted peer: an address whose datagrams go to a callback, which may answer with
 *   sim_inject().
 * - Every random choice comes from the seed; print it (sim_seed()) when a test fails.
 * - Times are microseconds; virtual time starts at SIM_EPOCH.
 */
#ifndef UDX_SIM_H
#define UDX_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "udx.h"
#include "udx_driver.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SIM_EPOCH 1000000
#define SIM_NODES_MAX 4096

typedef struct sim_s sim_t;
typedef struct sim_node_s sim_node_t;

/* One direction between two nodes. */
typedef struct sim_link_s {
  uint64_t latency;   /* us */
  uint64_t jitter;    /* us, added uniformly: reorders */
  uint64_t rate;      /* bytes per second, 0 = unlimited */
  uint64_t queue;     /* bytes waiting before the tail is dropped, 0 = unlimited */
  double loss;        /* probability */
  double burst_begin; /* probability to enter a burst, per datagram */
  double burst_end;   /* probability to leave it; all is lost inside */
  double duplicate;
  double corrupt; /* one random byte changes */
  double reorder; /* probability to be late by reorder_delay */
  uint64_t reorder_delay;
  uint32_t mtu; /* larger IP packets vanish, 0 = unlimited */
  bool down;
} sim_link_t;

typedef struct sim_datagram_s {
  uint64_t time; /* when it was sent */
  sim_node_t *from_node;
  sim_node_t *to_node;          /* NULL = a raw peer, or no such address */
  struct sockaddr_storage from; /* plain IPv4 where mapped */
  struct sockaddr_storage to;
  int ttl;       /* hop limit that it starts with */
  bool fragment; /* may be fragmented: no MTU stops it */
  bool injected;
  uint64_t delay; /* a tap may add */
  size_t length;
  uint8_t *data; /* a tap may change bytes */
} sim_datagram_t;

typedef enum {
  SIM_PASS = 0,
  SIM_DROP = 1,
} sim_verdict_t;

typedef sim_verdict_t (*sim_tap_cb)(sim_t *sim, sim_datagram_t *datagram, void *ctx);
typedef void (*sim_raw_cb)(sim_t *sim, const sim_datagram_t *datagram, void *ctx);
typedef void (*sim_timer_cb)(sim_t *sim, void *ctx);

struct sim_node_s {
  udx_t udx;
  udx_t *instance; /* &udx, or the one given to sim_attach */
  sim_t *sim;
  uint32_t index; /* from 1; the last bytes of its addresses */
  void *data;     /* the test's own */

  /* counters */
  uint64_t datagrams_sent;
  uint64_t datagrams_received;
  uint64_t transmit_calls;

  /* private */
  struct sim_socket_s *sockets;
  uint16_t next_port;
  uint64_t deadline_id; /* of the newest armed deadline; older events are void */
  bool flush_pending;
  bool blocked;                /* see sim_node_block */
  unsigned int transmit_limit; /* see sim_node_throttle */
};

sim_t *
sim_new (uint64_t seed);

/* All sockets and streams must be closed and finalized (run the simulation until udx_is_idle). */
void
sim_free (sim_t *sim);

uint64_t
sim_seed (const sim_t *sim);

uint64_t
sim_now (const sim_t *sim);

uint64_t
sim_random (sim_t *sim);

/* A new node. The instance is initialised; on_idle may be set by initialising it again with sim_driver(). */
sim_node_t *
sim_node (sim_t *sim);

/* The same for an instance that belongs to the caller: node->udx stays unused. */
sim_node_t *
sim_attach (sim_t *sim, udx_t *instance);

const udx_driver_t *
sim_driver (void);

sim_link_t
sim_link_default (void);

/* Both directions. */
void
sim_connect (sim_node_t *a, sim_node_t *b, const sim_link_t *link);

/* The link of pairs of nodes that no packet has passed and that are not connected; its latency is also the one
   towards raw peers. */
void
sim_set_default_link (sim_t *sim, const sim_link_t *link);

/* One direction; the returned link may be changed while the simulation runs. */
sim_link_t *
sim_link (sim_node_t *from, sim_node_t *to);

/* The address of a node with a port, for connect and send. */
struct sockaddr_in
sim_address4 (const sim_node_t *node, uint16_t port);

struct sockaddr_in6
sim_address6 (const sim_node_t *node, uint16_t port);

void
sim_set_tap (sim_t *sim, sim_tap_cb tap, void *ctx);

/* A peer without an instance at any address. */
void
sim_raw (sim_t *sim, const struct sockaddr *address, sim_raw_cb cb, void *ctx);

/* Delivers a datagram after `delay`, past links and tap. */
void
sim_inject (
  sim_t *sim, const struct sockaddr *from, const struct sockaddr *to, const void *data, size_t length, uint64_t delay);

/* While blocked a node's sockets take nothing; unblocking makes them writable. */
void
sim_node_block (sim_node_t *node, bool blocked);

/* A node's sockets take at most so many datagrams per transmit call, 0 = all; every call makes them writable. */
void
sim_node_throttle (sim_node_t *node, unsigned int datagrams);

/* Calls back at a point in time, as a turn of its own. */
void
sim_after (sim_t *sim, uint64_t delay, sim_timer_cb cb, void *ctx);

/* Runs the next event if it is due within `limit`, else lets that time pass. True if there was one. */
bool
sim_turn (sim_t *sim, uint64_t limit);

/* Runs for a time. Returns the number of events. */
uint64_t
sim_run (sim_t *sim, uint64_t duration);

/* Runs until the condition holds or the time is over; 1 if it holds. */
int
sim_run_until (sim_t *sim, int (*condition)(void *ctx), void *ctx, uint64_t limit);

/* Runs until there is no event left (timers included) or the time is over; 1 if none is left. */
int
sim_drain (sim_t *sim, uint64_t limit);

#ifdef __cplusplus
}
#endif

#endif
