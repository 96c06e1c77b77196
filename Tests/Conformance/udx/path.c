/* Change of remote and relay: items 74 to 80. */
#include "harness/conform.h"

static fixture_t f;

/* Two end points, and a relay of two streams on two sockets of a third instance. */
typedef struct {
  udx_t other, middle;
  udx_socket_t other_sock, left, right;
  side_t a, b, ra, rb;
  struct sockaddr_storage at_a, at_b, at_left, at_right;
} relayed_t;

static void
relayed_open (relayed_t *r) {
  memset(r, 0, sizeof(*r));
  world_open();
  instance_open(&r->other);
  instance_open(&r->middle);
  socket_open(&r->other, &r->other_sock, "127.0.0.1", 0, 0);
  socket_open(&r->middle, &r->left, "127.0.0.1", 0, 0);
  socket_open(&r->middle, &r->right, "127.0.0.1", 0, 0);
  r->at_a = socket_addr(&sock);
  r->at_b = socket_addr(&r->other_sock);
  r->at_left = socket_addr(&r->left);
  r->at_right = socket_addr(&r->right);
  side_init(&r->a, &udx, 1);
  side_init(&r->b, &r->other, 2);
  side_init(&r->ra, &r->middle, 3);
  side_init(&r->rb, &r->middle, 4);
  side_connect(&r->ra, &r->left, 1, &r->at_a);
  side_connect(&r->rb, &r->right, 2, &r->at_b);
  CHECK_EQ(udx_stream_relay_to(&r->ra.stream, &r->rb.stream), 0);
  CHECK_EQ(udx_stream_relay_to(&r->rb.stream, &r->ra.stream), 0);
  side_connect(&r->a, &sock, 3, &r->at_left);
  side_connect(&r->b, &r->other_sock, 4, &r->at_right);
  side_read(&r->a);
  side_read(&r->b);
}

static relayed_t r;

static void
on_changed (udx_stream_t *s) {
  ((side_t *) s)->remote_changes++;
}

static void
migrate (void) {
  relayed_open(&r);
  r.a.checked = r.b.checked = r.a.discard = r.b.discard = true;
  const uint64_t total = 5000000;
  uint64_t offset = 0;
  bool a_moved = false, b_moved = false;
  double end = limit_ms(15000);
  side_write_pattern(&r.b, 0, 200000);
  while (r.b.total < total || r.a.total < 200000) {
    CHECK(now_ms() < end && r.a.closes == 0 && r.b.closes == 0);
    while (offset < total && offset < r.b.total + 400000) {
      side_write_pattern(&r.a, offset, 20000);
      offset += 20000;
    }
    if (!a_moved && r.b.total > total / 4) {
      a_moved = true;
      CHECK(udx_stream_change_remote(&r.a.stream, &sock, 2, (struct sockaddr *) &r.at_b, on_changed) >= 0);
    }
    if (!b_moved && r.b.total > total / 2) {
      b_moved = true;
      CHECK(udx_stream_change_remote(&r.b.stream, &r.other_sock, 1, (struct sockaddr *) &r.at_a, on_changed) >= 0);
    }
    step();
  }
  CHECK_EQ(r.a.mismatches + r.b.mismatches, 0);
  CHECK_EQ(r.b.total, total);
  side_end(&r.a);
  side_end(&r.b);
  WAIT(r.a.finals == 1 && r.b.finals == 1, 3000);
  CHECK_EQ(r.a.close_status, 0);
  CHECK(r.a.remote_changes <= 1);
}

static void
changed_callback (void) {
  fixture_open(&f, true);
  static peer_t *second;
  second = peer_open(AF_INET);
  CHECK_EQ(udx_stream_change_remote(&f.s.stream, &sock, REMOTE_ID, (struct sockaddr *) &f.p->addr, on_changed), 1);
  settle(30);
  CHECK_EQ(f.s.remote_changes, 0);
  side_write(&f.s, "x", 1);
  side_write(&f.s, "y", 1);
  WAIT(DATAS(f.p) >= 1, 500);
  settle(20);
  uint32_t sent = peer_last(f.p, DATA, DATA)->seq + 1;
  CHECK_EQ(udx_stream_change_remote(&f.s.stream, &sock, 99, (struct sockaddr *) &second->addr, on_changed), 0);
  side_write(&f.s, "z", 1);
  WAIT(DATAS(second) == 1, 500);
  CHECK_EQ(f.s.remote_changes, 0);
  peer_send(f.p, 0, 0, sent, NULL, 0);
  WAIT(f.s.remote_changes == 1, 500);
  peer_send(f.p, 0, 0, sent + 1, NULL, 0);
  settle(50);
  CHECK_EQ(f.s.remote_changes, 1);
}

static void
old_destination (void) {
  fixture_open(&f, true);
  peer_t *second = peer_open(AF_INET);
  side_write(&f.s, "old", 3);
  WAIT(DATAS(f.p) == 1, 500);
  CHECK_EQ(udx_stream_change_remote(&f.s.stream, &sock, 99, (struct sockaddr *) &second->addr, on_changed), 0);
  side_write(&f.s, "new", 3);
  WAIT(DATAS(second) >= 1, 500);
  CHECK_EQ(peer_nth(second, DATA, DATA, 0)->id, 99);
  CHECK_EQ(peer_nth(second, DATA, DATA, 0)->seq, 1);
  WAIT(peer_count_seq(f.p, 0) >= 2, 2500);
  for (size_t i = 0; i < f.p->n; i++) {
    if (f.p->log[i].type & DATA) CHECK_EQ(f.p->log[i].id, REMOTE_ID);
  }
  CHECK_EQ(peer_count_seq(second, 0), 0);
}

static struct {
  udx_socket_t right;
  side_t left, other;
  peer_t *pl, *pr;
} rel;

static void
raw_relay (void) {
  world_open();
  socket_open(&udx, &rel.right, "127.0.0.1", 0, 0);
  rel.pl = peer_open(AF_INET);
  rel.pr = peer_open(AF_INET);
  struct sockaddr_storage left = socket_addr(&sock), right = socket_addr(&rel.right);
  peer_to(rel.pl, &left);
  peer_to(rel.pr, &right);
  rel.pl->id = 10;
  rel.pr->id = 20;
  side_init(&rel.left, &udx, 10);
  side_init(&rel.other, &udx, 20);
  side_connect(&rel.left, &sock, 100, &rel.pl->addr);
  side_connect(&rel.other, &rel.right, 200, &rel.pr->addr);
  CHECK_EQ(udx_stream_relay_to(&rel.left.stream, &rel.other.stream), 0);
  CHECK_EQ(udx_stream_relay_to(&rel.other.stream, &rel.left.stream), 0);
}

static void
forwarded (peer_t *from, peer_t *to, uint8_t type, uint8_t offset, uint32_t window, uint32_t seq, uint32_t ack,
  const void *body, size_t len, uint32_t id, const struct sockaddr_storage *source) {
  size_t before = to->n;
  peer_send_full(from, type, offset, window, seq, ack, body, len);
  WAIT(to->n == before + 1, 500);
  packet_t *k = &to->log[before];
  CHECK_EQ(k->size, 20 + len);
  CHECK_EQ(k->id, id);
  CHECK_EQ(k->type, type);
  CHECK_EQ(k->offset, offset);
  CHECK_EQ(k->window, window);
  CHECK_EQ(k->seq, seq);
  CHECK_EQ(k->ack, ack);
  if (len) CHECK(memcmp(k->bytes + 20, body, len) == 0);
  CHECK_EQ(((struct sockaddr_in *) &k->from)->sin_port, ((const struct sockaddr_in *) source)->sin_port);
}

static void
relay_forwards (void) {
  raw_relay();
  struct sockaddr_storage left = socket_addr(&sock), right = socket_addr(&rel.right);
  uint8_t big[1400];
  for (size_t i = 0; i < sizeof(big); i++) big[i] = (uint8_t) (i * 7);
  forwarded(rel.pl, rel.pr, DATA, 0, 4194304, 0, 0, "hello", 5, 200, &right);
  forwarded(rel.pl, rel.pr, DATA, 32, 1234, 1, 77, big, sizeof(big), 200, &right);
  forwarded(rel.pl, rel.pr, SACK, 0, 0, 2, 0, big, 16, 200, &right);
  forwarded(rel.pl, rel.pr, MESSAGE, 0, 5, 2, 0, "m", 1, 200, &right);
  forwarded(rel.pl, rel.pr, HEARTBEAT, 0, 5, 2, 0, NULL, 0, 200, &right);
  forwarded(rel.pl, rel.pr, END, 0, 5, 2, 0, NULL, 0, 200, &right);
  forwarded(rel.pr, rel.pl, 0, 0, 4194304, 0, 3, NULL, 0, 100, &left);
  forwarded(rel.pr, rel.pl, DATA | END, 0, 4194304, 0, 3, "bye", 3, 100, &left);
  settle(50);
  CHECK_EQ(rel.pl->n, 2);
  CHECK_EQ(rel.pr->n, 6);
  CHECK_EQ(rel.left.closes + rel.other.closes, 0);
}

static void
relay_destroy (void) {
  raw_relay();
  struct sockaddr_storage right = socket_addr(&rel.right);
  forwarded(rel.pl, rel.pr, DESTROY, 0, 4194304, 0, 0, NULL, 0, 200, &right);
  WAIT(rel.left.finals == 1 && rel.other.finals == 1, 500);
  CHECK_EQ(rel.left.close_status, UV_ECONNRESET);
}

static void
relay_teardown (void) {
  int order[4] = {0, 1, 2, 3};
  relayed_open(&r);
  for (int n = 0; n < 24; n++) {
    int pool[4] = {0, 1, 2, 3}, left = 4, code = n;
    for (int i = 0; i < 4; i++) {
      int k = code % left;
      code /= left;
      order[i] = pool[k];
      memmove(&pool[k], &pool[k + 1], (size_t) (left - k - 1) * sizeof(int));
      left--;
    }
    for (int variant = 0; variant < 3; variant++) {
      side_t *s[4];
      uint32_t base = 100 + (uint32_t) (n * 3 + variant) * 4;
      for (int i = 0; i < 4; i++) s[i] = calloc(1, sizeof(side_t));
      side_init(s[0], &udx, base);
      side_init(s[1], &r.other, base + 1);
      side_init(s[2], &r.middle, base + 2);
      side_init(s[3], &r.middle, base + 3);
      side_connect(s[2], &r.left, base, &r.at_a);
      side_connect(s[3], &r.right, base + 1, &r.at_b);
      udx_stream_relay_to(&s[2]->stream, &s[3]->stream);
      udx_stream_relay_to(&s[3]->stream, &s[2]->stream);
      side_connect(s[0], &sock, base + 2, &r.at_left);
      side_connect(s[1], &r.other_sock, base + 3, &r.at_right);
      side_read(s[1]);
      side_write(s[0], "hi", 2);
      if (variant > 0) WAIT(s[1]->len == 2, 1000);
      for (int i = 0; i < 4; i++) {
        if (s[order[i]]->closes == 0) udx_stream_destroy(&s[order[i]]->stream);
        if (variant == 2) step();
      }
      WAIT(s[0]->finals == 1 && s[1]->finals == 1 && s[2]->finals == 1 && s[3]->finals == 1, 1000);
      for (int i = 0; i < 4; i++) {
        CHECK_EQ(s[i]->closes, 1);
        memset(s[i], 0xdd, sizeof(side_t));
        free(s[i]);
      }
    }
  }
}

static void
relay_errors (void) {
  raw_relay();
  CHECK_EQ(udx_stream_relay_to(&rel.left.stream, &rel.other.stream), UV_EINVAL);
  static side_t a, b;
  side_init(&a, &udx, 31);
  side_init(&b, &udx, 32);
  udx_stream_destroy(&b.stream);
  CHECK_EQ(udx_stream_relay_to(&a.stream, &b.stream), UV_EINVAL);
  WAIT(b.finals == 1, 500);
}

const test_t path_tests[] = {
  {"UDX-74", "change of remote during a relayed transfer", migrate, NULL, 0, SIMULATOR},
  {"UDX-75", "remote-changed callback", changed_callback, NULL, 0, SIMULATOR},
  {"UDX-76", "old packets keep destination and id", old_destination, NULL, 0, SIMULATOR},
  {"UDX-77", "relay changes only the id, sends from the partner's socket", relay_forwards, NULL, 0, BOTH},
  {"UDX-78", "relay forwards DESTROY and closes", relay_destroy, NULL, 0, SIMULATOR},
  {"UDX-79", "teardown in 24 orders, immediate and later", relay_teardown, NULL, 0, SIMULATOR},
  {"UDX-80", "relay to a closed stream, relay twice", relay_errors, NULL, 0, SIMULATOR},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
