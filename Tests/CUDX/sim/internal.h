/* The parts of the simulator among themselves: events.c, random.c, address.c, network.c, host.c, sim.c. */
#ifndef UDX_SIM_INTERNAL_H
#define UDX_SIM_INTERNAL_H

#include "check.h"
#include "sim.h"

typedef struct sim_socket_s {
  struct sim_socket_s *next;
  sim_node_t *node;
  udx_socket_t *socket;
  int family; /* 0 = not bound */
  bool v6only;
  uint16_t port;
  int options[8]; /* by udx_option_t */
} sim_socket_t;

typedef struct sim_direction_s {
  sim_link_t link;
  uint64_t busy_until; /* when the last byte in the queue has left */
  bool in_burst;
} sim_direction_t;

typedef enum {
  SIM_EVENT_DELIVER,
  SIM_EVENT_DEADLINE,
  SIM_EVENT_FLUSH,
  SIM_EVENT_CLOSED,
  SIM_EVENT_WRITABLE,
  SIM_EVENT_TIMER,
} sim_event_kind_t;

typedef struct sim_event_s {
  uint64_t time;
  uint64_t order; /* of creation; decides among events of one time */
  sim_event_kind_t kind;
  sim_node_t *node;
  void *object; /* socket, or the context of the timer's callback */
  sim_timer_cb timer;
  uint64_t id; /* of a deadline: only the newest counts */
  sim_datagram_t *datagram;
} sim_event_t;

typedef struct sim_raw_s {
  struct sim_raw_s *next;
  struct sockaddr_storage address;
  sim_raw_cb cb;
  void *ctx;
} sim_raw_t;

struct sim_s {
  uint64_t seed;
  uint64_t state[4]; /* of the random generator */
  uint64_t now;
  uint64_t order;
  sim_event_t *events; /* binary heap */
  size_t count;
  size_t capacity;
  sim_node_t **nodes;
  uint32_t nodes_len;
  sim_link_t default_link;
  sim_direction_t **directions; /* [from][to], rows on demand */
  uint32_t *rows;               /* length of each row */
  sim_tap_cb tap;
  void *tap_ctx;
  sim_raw_t *raws;
};

/* random.c */
void
sim__random_seed (sim_t *sim, uint64_t seed);

bool
sim__chance (sim_t *sim, double probability);

/* events.c */
void
sim__event_push (sim_t *sim, sim_event_t event);

sim_event_t
sim__event_pop (sim_t *sim);

/* address.c: addresses inside the network are plain, mapped IPv4 exists between a socket and its instance only */
void
sim__address_plain (const struct sockaddr *from, struct sockaddr_storage *to);

void
sim__address_mapped (const struct sockaddr_storage *from, struct sockaddr_storage *to);

uint16_t
sim__address_port (const struct sockaddr_storage *address);

bool
sim__address_same (const struct sockaddr_storage *a, const struct sockaddr_storage *b);

sim_node_t *
sim__address_node (sim_t *sim, const struct sockaddr_storage *address);

/* network.c */
sim_datagram_t *
sim__datagram_new (size_t length);

void
sim__deliver_at (sim_t *sim, sim_datagram_t *datagram, uint64_t time);

void
sim__network_send (sim_t *sim, sim_datagram_t *datagram);

void
sim__network_deliver (sim_t *sim, sim_event_t event);

#endif
