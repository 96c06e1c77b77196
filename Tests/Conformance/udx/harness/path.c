/* A path with delay, rate, queue and loss between two streams under test, and the two streams. */
#include "conform.h"

static void
on_datagram (endpoint_t *e, const uint8_t *data, size_t len, const struct sockaddr_storage *from, int ttl) {
  (void) from;
  (void) ttl;
  path_t *p = e->owner;
  int towards = e == &p->side[0] ? 1 : 0;
  if (p->drop && p->drop(p, towards, data, len)) {
    p->dropped[towards]++;
    return;
  }
  double now = now_ms(), delay = p->delay + (p->jitter > 0 ? path_uniform(p) * p->jitter : 0);
  if (p->rate > 0 && towards == 1) {
    double begin = p->free_at > now ? p->free_at : now;
    if ((begin - now) * p->rate + (double) len > p->queue) {
      p->dropped[towards]++;
      return;
    }
    p->free_at = begin + (double) len / p->rate;
    delay += p->free_at - now;
  }
  p->forwarded[towards]++;
  backend->endpoint_send(&p->side[towards], &p->end[towards], data, len, delay);
}

path_t *
path_open (void) {
  path_t *p = calloc(1, sizeof(*p));
  for (int i = 0; i < 2; i++) {
    p->side[i].owner = p;
    p->side[i].on_datagram = on_datagram;
    backend->endpoint_open(&p->side[i], AF_INET);
    p->addr[i] = p->side[i].addr;
  }
  p->queue = 1e9;
  p->random = 88172645463325252u;
  return p;
}

double
path_uniform (path_t *p) {
  p->random ^= p->random << 13;
  p->random ^= p->random >> 7;
  p->random ^= p->random << 17;
  return (double) (p->random >> 11) / 9007199254740992.0;
}

void
ends_open (ends_t *q, bool with_path, uint32_t a_id, uint32_t b_id) {
  memset(q, 0, sizeof(*q));
  world_open();
  instance_open(&q->other);
  socket_open(&q->other, &q->other_sock, "127.0.0.1", 0, 0);
  side_init(&q->a, &udx, a_id);
  side_init(&q->b, &q->other, b_id);
  struct sockaddr_storage at_a = socket_addr(&sock), at_b = socket_addr(&q->other_sock);
  struct sockaddr_storage to_b = at_b, to_a = at_a;
  if (with_path) {
    q->path = path_open();
    q->path->end[0] = at_a;
    q->path->end[1] = at_b;
    to_b = q->path->addr[0];
    to_a = q->path->addr[1];
  }
  side_connect(&q->a, &sock, b_id, &to_b);
  side_connect(&q->b, &q->other_sock, a_id, &to_a);
  side_read(&q->a);
  side_read(&q->b);
}
