/* Raw peers: they write and log packets byte by byte. */
#include "conform.h"

void
peer_to (peer_t *p, const struct sockaddr_storage *to) {
  p->to = *to;
}

void
peer_raw (peer_t *p, const void *data, size_t len) {
  backend->endpoint_send(&p->endpoint, &p->to, data, len, 0);
}

static void
put32 (uint8_t *b, uint32_t v) {
  b[0] = (uint8_t) v;
  b[1] = (uint8_t) (v >> 8);
  b[2] = (uint8_t) (v >> 16);
  b[3] = (uint8_t) (v >> 24);
}

static uint32_t
get32 (const uint8_t *b) {
  return (uint32_t) b[0] | (uint32_t) b[1] << 8 | (uint32_t) b[2] << 16 | (uint32_t) b[3] << 24;
}

void
peer_send_full (
  peer_t *p, uint8_t type, uint8_t offset, uint32_t window, uint32_t seq, uint32_t ack, const void *body, size_t len) {
  uint8_t b[4096];
  CHECK(len + 20 <= sizeof(b));
  b[0] = 0xff;
  b[1] = 1;
  b[2] = type;
  b[3] = offset;
  put32(b + 4, p->id);
  put32(b + 8, window);
  put32(b + 12, seq);
  put32(b + 16, ack);
  if (len) memcpy(b + 20, body, len);
  peer_raw(p, b, 20 + len);
}

void
peer_send (peer_t *p, uint8_t type, uint32_t seq, uint32_t ack, const void *body, size_t len) {
  peer_send_full(p, type, 0, p->window, seq, ack, body, len);
}

void
peer_sack (peer_t *p, uint32_t seq, uint32_t ack, const uint32_t *blocks, size_t n) {
  uint8_t body[8 * 60];
  for (size_t i = 0; i < 2 * n; i++) put32(body + 4 * i, blocks[i]);
  peer_send(p, SACK, seq, ack, body, 8 * n);
}

static void
answer (peer_t *p, const packet_t *k) {
  if (k->type & (DATA | END)) {
    if ((int32_t) (k->seq - p->rcv) >= 0) p->rcv = k->seq + 1;
    peer_send(p, 0, p->seq, p->rcv, NULL, 0);
  } else if (k->type & HEARTBEAT) {
    peer_send(p, 0, p->seq, p->rcv, NULL, 0);
  }
}

static void
on_datagram (endpoint_t *e, const uint8_t *data, size_t len, const struct sockaddr_storage *from, int ttl) {
  peer_t *p = e->owner;
  if (p->n == p->cap) {
    p->cap = p->cap ? p->cap * 2 : 64;
    p->log = realloc(p->log, p->cap * sizeof(packet_t));
  }
  packet_t *k = &p->log[p->n++];
  memset(k, 0, sizeof(*k));
  CHECK(len <= sizeof(k->bytes));
  memcpy(k->bytes, data, len);
  k->size = len;
  k->from = *from;
  k->ttl = ttl;
  k->at = now_ms();
  if (len < 20 || k->bytes[0] != 0xff || k->bytes[1] != 1) return;
  k->type = k->bytes[2];
  k->offset = k->bytes[3];
  k->id = get32(k->bytes + 4);
  k->window = get32(k->bytes + 8);
  k->seq = get32(k->bytes + 12);
  k->ack = get32(k->bytes + 16);
  size_t skip = k->type & SACK ? 0 : k->offset;
  k->body = k->bytes + 20 + skip; /* only valid until the log grows: see peer_last */
  k->len = len - 20 - skip;
  if (p->on_packet && p->on_packet(p, k)) return;
  if (p->auto_ack) answer(p, k);
}

peer_t *
peer_open (int family) {
  peer_t *p = calloc(1, sizeof(*p));
  p->window = 4194304;
  p->endpoint.owner = p;
  p->endpoint.on_datagram = on_datagram;
  backend->endpoint_open(&p->endpoint, family);
  p->addr = p->endpoint.addr;
  return p;
}

static packet_t *
fresh (packet_t *k) {
  k->body = k->bytes + 20 + (k->type & SACK ? 0 : k->offset);
  return k;
}

size_t
peer_count (const peer_t *p, uint8_t mask, uint8_t value) {
  size_t n = 0;
  for (size_t i = 0; i < p->n; i++) n += p->log[i].size >= 20 && (p->log[i].type & mask) == value;
  return n;
}

packet_t *
peer_nth (peer_t *p, uint8_t mask, uint8_t value, size_t n) {
  for (size_t i = 0; i < p->n; i++) {
    if (p->log[i].size >= 20 && (p->log[i].type & mask) == value && n-- == 0) return fresh(&p->log[i]);
  }
  return NULL;
}

packet_t *
peer_last (peer_t *p, uint8_t mask, uint8_t value) {
  for (size_t i = p->n; i-- > 0;) {
    if (p->log[i].size >= 20 && (p->log[i].type & mask) == value) return fresh(&p->log[i]);
  }
  return NULL;
}

size_t
peer_count_seq (const peer_t *p, uint32_t seq) {
  size_t n = 0;
  for (size_t i = 0; i < p->n; i++) n += (p->log[i].type & (DATA | END)) && p->log[i].seq == seq;
  return n;
}

bool
sack_covers (const packet_t *k, uint32_t seq) {
  if (!(k->type & SACK)) return false;
  size_t area = k->offset && k->offset < k->size - 20 ? k->offset : k->size - 20;
  for (size_t at = 0; at + 8 <= area; at += 8) {
    uint32_t start = get32(k->bytes + 20 + at), end = get32(k->bytes + 24 + at);
    if ((int32_t) (seq - start) >= 0 && (int32_t) (seq - end) < 0) return true;
  }
  return false;
}

void
fixture_open (fixture_t *f, bool connect) {
  world_open();
  f->p = peer_open(AF_INET);
  struct sockaddr_storage to = socket_addr(&sock);
  peer_to(f->p, &to);
  f->p->id = LOCAL_ID;
  side_init(&f->s, &udx, LOCAL_ID);
  side_read(&f->s);
  if (connect) side_connect(&f->s, &sock, REMOTE_ID, &f->p->addr);
}
