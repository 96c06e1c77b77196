/* A node: one instance on a driver of the simulation, with its sockets and its two addresses. */
#include "internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

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
  sim__event_push(
    sim, (sim_event_t){.time = deadline, .kind = SIM_EVENT_DEADLINE, .node = node, .id = node->deadline_id});
}

static void
driver_defer (udx_t *udx) {
  sim_node_t *node = node_of(udx);
  CHECK(!node->flush_pending); /* the contract: once a turn */
  node->flush_pending = true;
  sim__event_push(node->sim, (sim_event_t){.time = node->sim->now, .kind = SIM_EVENT_FLUSH, .node = node});
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
  uint16_t port = sim__address_port(&a);
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
  sim__event_push(
    node->sim, (sim_event_t){.time = node->sim->now, .kind = SIM_EVENT_CLOSED, .node = node, .object = socket});
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

static sim_datagram_t *
datagram_from (sim_socket_t *s, const udx_datagram_t *out) {
  CHECK_EQ(out->to->sa_family, s->family); /* kernels refuse another one */
  sim_datagram_t *datagram = sim__datagram_new(out->length);
  size_t at = 0;
  for (uint32_t b = 0; b < out->bufs_len; b++) {
    CHECK(at + out->bufs[b].len <= out->length);
    if (out->bufs[b].len > 0) memcpy(datagram->data + at, out->bufs[b].base, out->bufs[b].len);
    at += out->bufs[b].len;
  }
  CHECK_EQ(at, out->length);
  sim__address_plain(out->to, &datagram->to);
  struct sockaddr_in v4 = sim_address4(s->node, s->port);
  struct sockaddr_in6 v6 = sim_address6(s->node, s->port);
  if (datagram->to.ss_family == AF_INET6) memcpy(&datagram->from, &v6, sizeof(v6));
  else memcpy(&datagram->from, &v4, sizeof(v4));
  datagram->from_node = s->node;
  datagram->ttl = out->ttl > 0 ? out->ttl : s->options[UDX_OPTION_TTL];
  datagram->fragment = out->fragment;
  return datagram;
}

static unsigned int
driver_transmit (udx_t *udx, udx_socket_t *socket, const udx_datagram_t *datagrams, unsigned int count) {
  sim_node_t *node = node_of(udx);
  sim_socket_t *s = socket->driver_data;
  CHECK(s->family != 0);
  if (node->blocked) return 0;
  node->transmit_calls++;
  for (unsigned int i = 0; i < count; i++) {
    if (i >= node->transmit_limit) return i;
    /* the contract: pieces of one call lie next to each other */
    if (i > 0) CHECK(datagrams[i].bufs == datagrams[i - 1].bufs + datagrams[i - 1].bufs_len);
    sim_datagram_t *datagram = datagram_from(s, &datagrams[i]);
    node->datagrams_sent++;
    sim__network_send(node->sim, datagram);
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

sim_node_t *
sim_attach (sim_t *sim, udx_t *instance) {
  CHECK(sim->nodes_len < SIM_NODES_MAX);
  sim_node_t *node = calloc(1, sizeof(*node));
  CHECK(node != NULL);
  node->sim = sim;
  node->index = sim->nodes_len + 1;
  node->next_port = 40000;
  node->transmit_limit = UINT_MAX;
  node->instance = instance != NULL ? instance : &node->udx;
  sim->nodes[sim->nodes_len++] = node;
  CHECK_EQ(udx_init_with_driver(node->instance, &driver, node, NULL), 0);
  return node;
}

sim_node_t *
sim_node (sim_t *sim) {
  return sim_attach(sim, NULL);
}

static void
sockets_writable (sim_node_t *node) {
  for (sim_socket_t *s = node->sockets; s != NULL; s = s->next) {
    sim__event_push(
      node->sim, (sim_event_t){.time = node->sim->now, .kind = SIM_EVENT_WRITABLE, .node = node, .object = s->socket});
  }
}

void
sim_node_block (sim_node_t *node, bool blocked) {
  node->blocked = blocked;
  if (!blocked) sockets_writable(node);
}

void
sim_node_throttle (sim_node_t *node, unsigned int datagrams) {
  node->transmit_limit = datagrams > 0 ? datagrams : UINT_MAX;
  sockets_writable(node);
}
