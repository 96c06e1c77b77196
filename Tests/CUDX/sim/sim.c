#include "sim.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

typedef struct sim_socket_s {
  struct sim_socket_s *next;
  sim_node_t *node;
  udx_socket_t *socket;
  int family;
  bool v6only;
  uint16_t port;
  int options[8];
} sim_socket_t;

typedef struct direction_s {
  sim_link_t link;
  uint64_t busy_until;
  bool in_burst;
} direction_t;

typedef enum {
  EVENT_DELIVER,
  EVENT_DEADLINE,
  EVENT_FLUSH,
  EVENT_CLOSED,
  EVENT_WRITABLE,
  EVENT_TIMER,
} event_kind_t;

typedef struct event_s {
  uint64_t time;
  uint64_t order;
  event_kind_t kind;
  sim_node_t *node;
  void *object; /* socket, timer callback's context */
  sim_timer_cb timer;
  uint64_t id;
  sim_datagram_t *datagram;
} event_t;

typedef struct raw_s {
  struct raw_s *next;
  struct sockaddr_storage address;
  sim_raw_cb cb;
  void *ctx;
} raw_t;

struct sim_s {
  uint64_t seed;
  uint64_t state[4];
  uint64_t now;
  uint64_t order;
  event_t *events;
  size_t count;
  size_t capacity;
  sim_node_t **nodes;
  uint32_t nodes_len;
  direction_t **directions; /* [from][to], rows on demand */
  uint32_t *rows;
  sim_tap_cb tap;
  void *tap_ctx;
  raw_t *raws;
};

/* ---- random: xoshiro256**, seeded by splitmix64 ---- */

static uint64_t
rotate (uint64_t x, int k) {
  return x << k | x >> (64 - k);
}

uint64_t
sim_random (sim_t *sim) {
  uint64_t *s = sim->state;
  uint64_t result = rotate(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

static bool
chance (sim_t *sim, double probability) {
  if (probability <= 0) return false;
  return (double) (sim_random(sim) >> 11) / 9007199254740992.0 < probability;
}

/* ---- events: binary heap by (time, order) ---- */

static bool
event_before (const event_t *a, const event_t *b) {
  return a->time < b->time || (a->time == b->time && a->order < b->order);
}

static void
event_push (sim_t *sim, event_t event) {
  if (sim->count == sim->capacity) {
    sim->capacity = sim->capacity == 0 ? 256 : sim->capacity * 2;
    sim->events = realloc(sim->events, sim->capacity * sizeof(event_t));
    if (sim->events == NULL) abort();
  }
  event.order = sim->order++;
  size_t i = sim->count++;
  while (i > 0 && event_before(&event, &sim->events[(i - 1) / 2])) {
    sim->events[i] = sim->events[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  sim->events[i] = event;
}

static event_t
event_pop (sim_t *sim) {
  event_t first = sim->events[0];
  event_t last = sim->events[--sim->count];
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

/* ---- addresses ---- */

struct sockaddr_in
sim_address4 (const sim_node_t *node, uint16_t port) {
  struct sockaddr_in a;
  memset(&a, 0, sizeof(a));
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(0x0a000000u + node->index);
  return a;
}

struct sockaddr_in6
sim_address6 (const sim_node_t *node, uint16_t port) {
  struct sockaddr_in6 a;
  memset(&a, 0, sizeof(a));
  a.sin6_family = AF_INET6;
  a.sin6_port = htons(port);
  a.sin6_addr.s6_addr[0] = 0xfd;
  a.sin6_addr.s6_addr[14] = (uint8_t) (node->index >> 8);
  a.sin6_addr.s6_addr[15] = (uint8_t) node->index;
  return a;
}

static void
address_plain (const struct sockaddr *from, struct sockaddr_storage *to) {
  memset(to, 0, sizeof(*to));
  if (from->sa_family == AF_INET6) {
    struct sockaddr_in6 v6;
    memcpy(&v6, from, sizeof(v6));
    if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      v6.sin6_flowinfo = 0;
      memcpy(to, &v6, sizeof(v6));
      return;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *) to;
    v4->sin_family = AF_INET;
    v4->sin_port = v6.sin6_port;
    memcpy(&v4->sin_addr, &v6.sin6_addr.s6_addr[12], 4);
    return;
  }
  memcpy(to, from, sizeof(struct sockaddr_in));
}

static void
address_mapped (const struct sockaddr_storage *from, struct sockaddr_storage *to) {
  if (from->ss_family == AF_INET6) {
    *to = *from;
    return;
  }
  const struct sockaddr_in *v4 = (const struct sockaddr_in *) from;
  memset(to, 0, sizeof(*to));
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) to;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = v4->sin_port;
  v6->sin6_addr.s6_addr[10] = v6->sin6_addr.s6_addr[11] = 0xff;
  memcpy(&v6->sin6_addr.s6_addr[12], &v4->sin_addr, 4);
}

static uint16_t
address_port (const struct sockaddr_storage *a) {
  return ntohs(a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *) a)->sin6_port : ((const struct sockaddr_in *) a)->sin_port);
}

static bool
address_same (const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
  if (a->ss_family != b->ss_family || address_port(a) != address_port(b)) return false;
  if (a->ss_family == AF_INET) return ((const struct sockaddr_in *) a)->sin_addr.s_addr == ((const struct sockaddr_in *) b)->sin_addr.s_addr;
  return memcmp(&((const struct sockaddr_in6 *) a)->sin6_addr, &((const struct sockaddr_in6 *) b)->sin6_addr, 16) == 0;
}

static sim_node_t *
address_node (sim_t *sim, const struct sockaddr_storage *a) {
  uint32_t index = 0;
  if (a->ss_family == AF_INET) {
    uint32_t ip = ntohl(((const struct sockaddr_in *) a)->sin_addr.s_addr);
    if (ip >> 24 == 10) index = ip & 0xffffff;
  } else {
    const uint8_t *ip = ((const struct sockaddr_in6 *) a)->sin6_addr.s6_addr;
    if (ip[0] == 0xfd) index = (uint32_t) ip[14] << 8 | ip[15];
  }
  return index >= 1 && index <= sim->nodes_len ? sim->nodes[index - 1] : NULL;
}

/* ---- the network ---- */

static direction_t *
direction_of (sim_node_t *from, sim_node_t *to) {
  sim_t *sim = from->sim;
  uint32_t row = from->index - 1;
  if (sim->rows[row] < sim->nodes_len) {
    sim->directions[row] = realloc(sim->directions[row], sim->nodes_len * sizeof(direction_t));
    if (sim->directions[row] == NULL) abort();
    for (uint32_t i = sim->rows[row]; i < sim->nodes_len; i++) {
      memset(&sim->directions[row][i], 0, sizeof(direction_t));
      sim->directions[row][i].link = sim_link_default();
    }
    sim->rows[row] = sim->nodes_len;
  }
  return &sim->directions[row][to->index - 1];
}

static sim_datagram_t *
datagram_new (size_t length) {
  sim_datagram_t *datagram = calloc(1, sizeof(*datagram) + length);
  if (datagram == NULL) abort();
  datagram->length = length;
  datagram->data = (uint8_t *) (datagram + 1);
  return datagram;
}

static sim_datagram_t *
datagram_copy (const sim_datagram_t *other) {
  sim_datagram_t *datagram = datagram_new(other->length);
  uint8_t *data = datagram->data;
  *datagram = *other;
  datagram->data = data;
  memcpy(data, other->data, other->length);
  return datagram;
}

static void
deliver_at (sim_t *sim, sim_datagram_t *datagram, uint64_t time) {
  event_push(sim, (event_t) {.time = time, .kind = EVENT_DELIVER, .node = datagram->to_node, .datagram = datagram});
}

static void
network_send (sim_t *sim, sim_datagram_t *datagram) {
  datagram->time = sim->now;
  datagram->to_node = address_node(sim, &datagram->to);
  if (sim->tap != NULL && sim->tap(sim, datagram, sim->tap_ctx) == SIM_DROP) {
    free(datagram);
    return;
  }
  if (datagram->to_node == NULL || datagram->from_node == NULL) {
    deliver_at(sim, datagram, sim->now + 1000 + datagram->delay);
    return;
  }
  direction_t *direction = direction_of(datagram->from_node, datagram->to_node);
  const sim_link_t *link = &direction->link;
  uint64_t size = datagram->length + (datagram->to.ss_family == AF_INET6 ? 48 : 28);

  bool lost = link->down || (link->mtu > 0 && size > link->mtu && !datagram->fragment) || chance(sim, link->loss);
  if (direction->in_burst) {
    lost = true;
    if (chance(sim, link->burst_end)) direction->in_burst = false;
  } else if (chance(sim, link->burst_begin)) {
    direction->in_burst = true;
  }
  uint64_t depart = sim->now;
  if (!lost && link->rate > 0) {
    if (direction->busy_until < sim->now) direction->busy_until = sim->now;
    uint64_t waiting = (direction->busy_until - sim->now) * link->rate / 1000000;
    if (link->queue > 0 && waiting + size > link->queue) {
      lost = true;
    } else {
      direction->busy_until += (size * 1000000 + link->rate - 1) / link->rate;
      depart = direction->busy_until;
    }
  }
  if (lost) {
    free(datagram);
    return;
  }
  uint64_t at = depart + link->latency + datagram->delay;
  if (link->jitter > 0) at += sim_random(sim) % (link->jitter + 1);
  if (chance(sim, link->reorder)) at += link->reorder_delay;
  if (chance(sim, link->corrupt) && datagram->length > 0) {
    datagram->data[sim_random(sim) % datagram->length] ^= (uint8_t) (1 + sim_random(sim) % 255);
  }
  if (chance(sim, link->duplicate)) deliver_at(sim, datagram_copy(datagram), at + sim_random(sim) % 1000);
  deliver_at(sim, datagram, at);
}

static sim_socket_t *
socket_for (sim_node_t *node, const struct sockaddr_storage *to) {
  uint16_t port = address_port(to);
  for (sim_socket_t *s = node->sockets; s != NULL; s = s->next) {
    if (s->port != port || s->family == 0) continue;
    if (s->family == to->ss_family) return s;
    if (s->family == AF_INET6 && to->ss_family == AF_INET && !s->v6only) return s;
  }
  return NULL;
}

/* Everything for one socket at one instant arrives as one batch. */
static void
network_deliver (sim_t *sim, event_t event) {
  enum { BATCH = 64 };
  sim_datagram_t *datagrams[BATCH];
  udx_received_t received[BATCH];
  struct sockaddr_storage from[BATCH];
  unsigned int n = 0;

  sim_datagram_t *first = event.datagram;
  sim_socket_t *s = first->to_node == NULL ? NULL : socket_for(first->to_node, &first->to);
  datagrams[n++] = first;
  while (n < BATCH && sim->count > 0 && sim->events[0].time == event.time && sim->events[0].kind == EVENT_DELIVER && s != NULL) {
    sim_datagram_t *next = sim->events[0].datagram;
    if (next->to_node != first->to_node || !address_same(&next->to, &first->to)) break;
    datagrams[n++] = event_pop(sim).datagram;
  }
  if (s != NULL) {
    for (unsigned int i = 0; i < n; i++) {
      if (s->family == AF_INET6) address_mapped(&datagrams[i]->from, &from[i]);
      else from[i] = datagrams[i]->from;
      received[i].data = datagrams[i]->data;
      received[i].length = datagrams[i]->length;
      received[i].segment_size = 0;
      received[i].from = (const struct sockaddr *) &from[i];
    }
    s->node->datagrams_received += n;
    udx_driver_receive(s->socket, received, n);
  } else {
    for (raw_t *raw = sim->raws; raw != NULL; raw = raw->next) {
      if (!address_same(&raw->address, &first->to)) continue;
      raw->cb(sim, first, raw->ctx);
      break;
    }
  }
  for (unsigned int i = 0; i < n; i++) free(datagrams[i]);
}

/* ---- the driver ---- */

static sim_node_t *
node_of (udx_t *udx) {
  return udx->driver_ctx;
}

static uint64_t
driver_now (udx_t *udx) {
  return node_of(udx)->sim->now;
}

static int
driver_random (udx_t *udx, void *bytes, size_t length) {
  uint8_t *out = bytes;
  for (size_t i = 0; i < length; i++) out[i] = (uint8_t) (sim_random(node_of(udx)->sim) >> 32);
  return 0;
}

static void
driver_arm (udx_t *udx, uint64_t deadline) {
  sim_node_t *node = node_of(udx);
  sim_t *sim = node->sim;
  node->deadline_id++;
  if (deadline == UDX_NEVER) return;
  if (deadline < sim->now) deadline = sim->now;
  event_push(sim, (event_t) {.time = deadline, .kind = EVENT_DEADLINE, .node = node, .id = node->deadline_id});
}

static void
driver_defer (udx_t *udx) {
  sim_node_t *node = node_of(udx);
  event_push(node->sim, (event_t) {.time = node->sim->now, .kind = EVENT_FLUSH, .node = node});
}

static int
driver_socket_open (udx_t *udx, udx_socket_t *socket) {
  sim_socket_t *s = calloc(1, sizeof(*s));
  if (s == NULL) return UV_ENOMEM;
  s->node = node_of(udx);
  s->socket = socket;
  s->options[UDX_OPTION_SEND_BUFFER] = s->options[UDX_OPTION_RECV_BUFFER] = 212992;
  s->options[UDX_OPTION_TTL] = 64;
  s->next = s->node->sockets;
  s->node->sockets = s;
  socket->driver_data = s;
  return 0;
}

static bool
port_used (sim_node_t *node, uint16_t port, int family) {
  for (sim_socket_t *s = node->sockets; s != NULL; s = s->next) {
    if (s->port == port && s->family != 0 && (s->family == family || !s->v6only)) return true;
  }
  return false;
}

static int
driver_socket_bind (udx_t *udx, udx_socket_t *socket, const struct sockaddr *addr, unsigned int flags) {
  sim_node_t *node = node_of(udx);
  sim_socket_t *s = socket->driver_data;
  struct sockaddr_storage a;
  memset(&a, 0, sizeof(a));
  memcpy(&a, addr, addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
  uint16_t port = address_port(&a);
  if (port == 0) {
    do port = node->next_port++;
    while (port < 1024 || port_used(node, port, a.ss_family));
  } else if (port_used(node, port, a.ss_family)) {
    return UV_EADDRINUSE;
  }
  s->family = a.ss_family;
  s->v6only = a.ss_family == AF_INET || (flags & UV_UDP_IPV6ONLY) != 0;
  s->port = port;
  return 0;
}

static void
driver_socket_close (udx_t *udx, udx_socket_t *socket) {
  sim_node_t *node = node_of(udx);
  sim_socket_t *s = socket->driver_data;
  for (sim_socket_t **link = &node->sockets; *link != NULL; link = &(*link)->next) {
    if (*link == s) {
      *link = s->next;
      break;
    }
  }
  free(s);
  event_push(node->sim, (event_t) {.time = node->sim->now, .kind = EVENT_CLOSED, .node = node, .object = socket});
}

static int
driver_socket_name (udx_t *udx, udx_socket_t *socket, struct sockaddr *name, int *name_len) {
  sim_node_t *node = node_of(udx);
  sim_socket_t *s = socket->driver_data;
  if (s->family == 0) return UV_EBADF;
  struct sockaddr_in v4 = sim_address4(node, s->port);
  struct sockaddr_in6 v6 = sim_address6(node, s->port);
  int length = s->family == AF_INET6 ? (int) sizeof(v6) : (int) sizeof(v4);
  if (*name_len < length) return UV_EINVAL;
  *name_len = length;
  memcpy(name, s->family == AF_INET6 ? (void *) &v6 : (void *) &v4, (size_t) length);
  return 0;
}

static int
driver_socket_option (udx_t *udx, udx_socket_t *socket, udx_option_t option, bool set, int *value) {
  (void) udx;
  sim_socket_t *s = socket->driver_data;
  if (s->family == 0) return UV_EBADF;
  if (set) s->options[option] = *value;
  else *value = s->options[option];
  return 0;
}

static unsigned int
driver_transmit (udx_t *udx, udx_socket_t *socket, const udx_datagram_t *datagrams, unsigned int count) {
  sim_node_t *node = node_of(udx);
  sim_socket_t *s = socket->driver_data;
  if (node->blocked) return 0;
  node->transmit_calls++;
  for (unsigned int i = 0; i < count; i++) {
    const udx_datagram_t *out = &datagrams[i];
    if (out->to->sa_family != s->family) abort(); /* kernels refuse that */
    sim_datagram_t *datagram = datagram_new(out->length);
    size_t at = 0;
    for (uint32_t b = 0; b < out->bufs_len; b++) {
      if (out->bufs[b].len > 0) memcpy(datagram->data + at, out->bufs[b].base, out->bufs[b].len);
      at += out->bufs[b].len;
    }
    address_plain(out->to, &datagram->to);
    struct sockaddr_in v4 = sim_address4(node, s->port);
    struct sockaddr_in6 v6 = sim_address6(node, s->port);
    if (datagram->to.ss_family == AF_INET6) memcpy(&datagram->from, &v6, sizeof(v6));
    else memcpy(&datagram->from, &v4, sizeof(v4));
    datagram->from_node = node;
    datagram->ttl = out->ttl;
    datagram->fragment = out->fragment;
    node->datagrams_sent++;
    network_send(node->sim, datagram);
  }
  return count;
}

static const udx_driver_t driver = {
  .size = sizeof(udx_driver_t),
  .now = driver_now,
  .random = driver_random,
  .arm = driver_arm,
  .defer = driver_defer,
  .socket_open = driver_socket_open,
  .socket_bind = driver_socket_bind,
  .socket_close = driver_socket_close,
  .socket_name = driver_socket_name,
  .socket_option = driver_socket_option,
  .transmit = driver_transmit,
};

const udx_driver_t *
sim_driver (void) {
  return &driver;
}

/* ---- the simulation ---- */

sim_t *
sim_new (uint64_t seed) {
  sim_t *sim = calloc(1, sizeof(*sim));
  if (sim == NULL) abort();
  sim->seed = seed;
  sim->now = SIM_EPOCH;
  uint64_t x = seed;
  for (int i = 0; i < 4; i++) {
    uint64_t z = (x += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    sim->state[i] = z ^ z >> 31;
  }
  sim->nodes = calloc(SIM_NODES_MAX, sizeof(*sim->nodes));
  sim->directions = calloc(SIM_NODES_MAX, sizeof(*sim->directions));
  sim->rows = calloc(SIM_NODES_MAX, sizeof(*sim->rows));
  if (sim->nodes == NULL || sim->directions == NULL || sim->rows == NULL) abort();
  return sim;
}

void
sim_free (sim_t *sim) {
  while (sim->count > 0) free(event_pop(sim).datagram);
  for (uint32_t i = 0; i < sim->nodes_len; i++) {
    if (!udx_is_idle(&sim->nodes[i]->udx)) abort();
    free(sim->nodes[i]);
    free(sim->directions[i]);
  }
  while (sim->raws != NULL) {
    raw_t *raw = sim->raws;
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

sim_node_t *
sim_node (sim_t *sim) {
  if (sim->nodes_len == SIM_NODES_MAX) abort();
  sim_node_t *node = calloc(1, sizeof(*node));
  if (node == NULL) abort();
  node->sim = sim;
  node->index = sim->nodes_len + 1;
  node->next_port = 40000;
  sim->nodes[sim->nodes_len++] = node;
  (void) udx_init_with_driver(&node->udx, &driver, node, NULL);
  return node;
}

sim_link_t
sim_link_default (void) {
  sim_link_t link;
  memset(&link, 0, sizeof(link));
  link.latency = 1000;
  return link;
}

sim_link_t *
sim_link (sim_node_t *from, sim_node_t *to) {
  return &direction_of(from, to)->link;
}

void
sim_connect (sim_node_t *a, sim_node_t *b, const sim_link_t *link) {
  *sim_link(a, b) = *link;
  *sim_link(b, a) = *link;
}

void
sim_set_tap (sim_t *sim, sim_tap_cb tap, void *ctx) {
  sim->tap = tap;
  sim->tap_ctx = ctx;
}

void
sim_raw (sim_t *sim, const struct sockaddr *address, sim_raw_cb cb, void *ctx) {
  raw_t *raw = calloc(1, sizeof(*raw));
  if (raw == NULL) abort();
  address_plain(address, &raw->address);
  raw->cb = cb;
  raw->ctx = ctx;
  raw->next = sim->raws;
  sim->raws = raw;
}

void
sim_inject (sim_t *sim, const struct sockaddr *from, const struct sockaddr *to, const void *data, size_t length, uint64_t delay) {
  sim_datagram_t *datagram = datagram_new(length);
  if (length > 0) memcpy(datagram->data, data, length);
  address_plain(from, &datagram->from);
  address_plain(to, &datagram->to);
  datagram->time = sim->now;
  datagram->injected = true;
  datagram->to_node = address_node(sim, &datagram->to);
  deliver_at(sim, datagram, sim->now + delay);
}

void
sim_node_block (sim_node_t *node, bool blocked) {
  node->blocked = blocked;
  if (blocked) return;
  for (sim_socket_t *s = node->sockets; s != NULL; s = s->next) {
    event_push(node->sim, (event_t) {.time = node->sim->now, .kind = EVENT_WRITABLE, .node = node, .object = s->socket});
  }
}

void
sim_after (sim_t *sim, uint64_t delay, sim_timer_cb cb, void *ctx) {
  event_push(sim, (event_t) {.time = sim->now + delay, .kind = EVENT_TIMER, .timer = cb, .object = ctx});
}

static void
sim_step (sim_t *sim) {
  event_t event = event_pop(sim);
  if (event.time > sim->now) sim->now = event.time;
  switch (event.kind) {
  case EVENT_DELIVER:
    network_deliver(sim, event);
    break;
  case EVENT_DEADLINE:
    if (event.id == event.node->deadline_id) udx_driver_tick(&event.node->udx);
    break;
  case EVENT_FLUSH:
    udx_driver_flush(&event.node->udx);
    break;
  case EVENT_CLOSED:
    udx_driver_socket_closed(event.object);
    break;
  case EVENT_WRITABLE:
    for (sim_socket_t *s = event.node->sockets; s != NULL; s = s->next) {
      if (s->socket == event.object) {
        udx_driver_writable(event.object);
        break;
      }
    }
    break;
  case EVENT_TIMER:
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
