/* What lies between the nodes: links with latency, rate, queue and faults, the tap, and raw peers. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static sim_direction_t *
direction_of (sim_node_t *from, sim_node_t *to) {
  sim_t *sim = from->sim;
  uint32_t row = from->index - 1;
  if (sim->rows[row] < sim->nodes_len) {
    sim->directions[row] = realloc(sim->directions[row], sim->nodes_len * sizeof(sim_direction_t));
    CHECK(sim->directions[row] != NULL);
    for (uint32_t i = sim->rows[row]; i < sim->nodes_len; i++) {
      memset(&sim->directions[row][i], 0, sizeof(sim_direction_t));
      sim->directions[row][i].link = sim->default_link;
    }
    sim->rows[row] = sim->nodes_len;
  }
  return &sim->directions[row][to->index - 1];
}

sim_datagram_t *
sim__datagram_new (size_t length) {
  sim_datagram_t *datagram = calloc(1, sizeof(*datagram) + length);
  CHECK(datagram != NULL);
  datagram->length = length;
  datagram->data = (uint8_t *) (datagram + 1);
  return datagram;
}

static sim_datagram_t *
datagram_copy (const sim_datagram_t *other) {
  sim_datagram_t *datagram = sim__datagram_new(other->length);
  uint8_t *data = datagram->data;
  *datagram = *other;
  datagram->data = data;
  memcpy(data, other->data, other->length);
  return datagram;
}

void
sim__deliver_at (sim_t *sim, sim_datagram_t *datagram, uint64_t time) {
  sim__event_push(
    sim, (sim_event_t){.time = time, .kind = SIM_EVENT_DELIVER, .node = datagram->to_node, .datagram = datagram});
}

/* The queue in front of the bottleneck: when the datagram has left it, or false if it is full. */
static bool
link_depart (sim_t *sim, sim_direction_t *direction, uint64_t size, uint64_t *depart) {
  const sim_link_t *link = &direction->link;
  *depart = sim->now;
  if (link->rate == 0) return true;
  if (direction->busy_until < sim->now) direction->busy_until = sim->now;
  uint64_t waiting = (direction->busy_until - sim->now) * link->rate / 1000000;
  if (link->queue > 0 && waiting + size > link->queue) return false;
  direction->busy_until += (size * 1000000 + link->rate - 1) / link->rate;
  *depart = direction->busy_until;
  return true;
}

static bool
link_loses (sim_t *sim, sim_direction_t *direction, const sim_datagram_t *datagram, uint64_t size) {
  const sim_link_t *link = &direction->link;
  bool lost = link->down || (link->mtu > 0 && size > link->mtu && !datagram->fragment) || sim__chance(sim, link->loss);
  if (direction->in_burst) {
    lost = true;
    if (sim__chance(sim, link->burst_end)) direction->in_burst = false;
  } else if (sim__chance(sim, link->burst_begin)) {
    direction->in_burst = true;
  }
  return lost;
}

void
sim__network_send (sim_t *sim, sim_datagram_t *datagram) {
  datagram->time = sim->now;
  datagram->to_node = sim__address_node(sim, &datagram->to);
  if (sim->tap != NULL && sim->tap(sim, datagram, sim->tap_ctx) == SIM_DROP) {
    free(datagram);
    return;
  }
  if (datagram->to_node == NULL || datagram->from_node == NULL) {
    sim__deliver_at(sim, datagram, sim->now + sim->default_link.latency + datagram->delay);
    return;
  }
  sim_direction_t *direction = direction_of(datagram->from_node, datagram->to_node);
  const sim_link_t *link = &direction->link;
  uint64_t size = datagram->length + (datagram->to.ss_family == AF_INET6 ? 48 : 28);
  uint64_t depart;
  if (link_loses(sim, direction, datagram, size) || !link_depart(sim, direction, size, &depart)) {
    free(datagram);
    return;
  }
  uint64_t at = depart + link->latency + datagram->delay;
  if (link->jitter > 0) at += sim_random(sim) % (link->jitter + 1);
  if (sim__chance(sim, link->reorder)) at += link->reorder_delay;
  if (sim__chance(sim, link->corrupt) && datagram->length > 0) {
    datagram->data[sim_random(sim) % datagram->length] ^= (uint8_t) (1 + sim_random(sim) % 255);
  }
  if (sim__chance(sim, link->duplicate)) {
    sim__deliver_at(sim, datagram_copy(datagram), at + sim_random(sim) % 1000);
  }
  sim__deliver_at(sim, datagram, at);
}

static sim_socket_t *
socket_for (sim_node_t *node, const struct sockaddr_storage *to) {
  uint16_t port = sim__address_port(to);
  for (sim_socket_t *s = node->sockets; s != NULL; s = s->next) {
    if (s->port != port || s->family == 0) continue;
    if (s->family == to->ss_family) return s;
    if (s->family == AF_INET6 && to->ss_family == AF_INET && !s->v6only) return s;
  }
  return NULL;
}

/* Everything for one socket at one instant arrives as one batch. */
void
sim__network_deliver (sim_t *sim, sim_event_t event) {
  enum { BATCH = 64 };
  sim_datagram_t *datagrams[BATCH];
  udx_received_t received[BATCH];
  struct sockaddr_storage from[BATCH];
  unsigned int n = 0;

  sim_datagram_t *first = event.datagram;
  sim_socket_t *s = first->to_node == NULL ? NULL : socket_for(first->to_node, &first->to);
  datagrams[n++] = first;
  while (n < BATCH && sim->count > 0 && s != NULL) {
    if (sim->events[0].time != event.time || sim->events[0].kind != SIM_EVENT_DELIVER) break;
    sim_datagram_t *next = sim->events[0].datagram;
    if (next->to_node != first->to_node || !sim__address_same(&next->to, &first->to)) break;
    datagrams[n++] = sim__event_pop(sim).datagram;
  }
  if (s != NULL) {
    for (unsigned int i = 0; i < n; i++) {
      if (s->family == AF_INET6) sim__address_mapped(&datagrams[i]->from, &from[i]);
      else from[i] = datagrams[i]->from;
      received[i].data = datagrams[i]->data;
      received[i].length = datagrams[i]->length;
      received[i].segment_size = 0;
      received[i].from = (const struct sockaddr *) &from[i];
    }
    s->node->datagrams_received += n;
    udx_driver_receive(s->socket, received, n);
  } else {
    for (sim_raw_t *raw = sim->raws; raw != NULL; raw = raw->next) {
      if (!sim__address_same(&raw->address, &first->to)) continue;
      raw->cb(sim, first, raw->ctx);
      break;
    }
  }
  for (unsigned int i = 0; i < n; i++) free(datagrams[i]);
}

void
sim_set_default_link (sim_t *sim, const sim_link_t *link) {
  sim->default_link = *link;
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
  sim_raw_t *raw = calloc(1, sizeof(*raw));
  CHECK(raw != NULL);
  sim__address_plain(address, &raw->address);
  raw->cb = cb;
  raw->ctx = ctx;
  raw->next = sim->raws;
  sim->raws = raw;
}

void
sim_inject (
  sim_t *sim, const struct sockaddr *from, const struct sockaddr *to, const void *data, size_t length, uint64_t delay) {
  sim_datagram_t *datagram = sim__datagram_new(length);
  if (length > 0) memcpy(datagram->data, data, length);
  sim__address_plain(from, &datagram->from);
  sim__address_plain(to, &datagram->to);
  datagram->time = sim->now;
  datagram->injected = true;
  datagram->to_node = sim__address_node(sim, &datagram->to);
  sim__deliver_at(sim, datagram, sim->now + delay);
}
