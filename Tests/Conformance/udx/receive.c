/* Receiving: items 19 to 29. */
#include "harness/conform.h"

static fixture_t f;
static ends_t q;

static void
two_writes (void) {
  ends_open(&q, false, 1, 2);
  side_write(&q.a, "hello", 5);
  side_write(&q.a, "world", 5);
  WAIT(q.b.len == 10, 1000);
  CHECK(memcmp(q.b.data, "helloworld", 10) == 0);
  WAIT(q.a.acks == 2, 1000);
}

static void
out_of_order (void) {
  fixture_open(&f, true);
  peer_send(f.p, DATA, 2, 0, "cc", 2);
  peer_send(f.p, DATA, 1, 0, "bb", 2);
  settle(30);
  CHECK_EQ(f.s.len, 0);
  peer_send(f.p, DATA, 0, 0, "aa", 2);
  WAIT(f.s.len == 6, 500);
  CHECK(memcmp(f.s.data, "aabbcc", 6) == 0);
  WAIT(ACKS(f.p) && peer_last(f.p, (uint8_t) ~SACK, 0)->ack == 3, 500);
}

static void
random_delay (void) {
  ends_open(&q, true, 1, 2);
  q.path->jitter = 1000;
  q.b.checked = q.b.discard = true;
  for (uint64_t i = 0, at = 0; i < 1000; i++) {
    size_t n = 1 + (size_t) (path_uniform(q.path) * 40);
    side_write_pattern(&q.a, at, n);
    at += n;
    if (i % 3 == 0) step();
    q.a.total = at; /* nothing is read on a: remember how much was written */
  }
  uint64_t written = q.a.total;
  WAIT(q.b.total == written && q.a.acks == 1000, 30000);
  settle(1200);
  CHECK_EQ(q.b.total, written);
  CHECK_EQ(q.b.mismatches, 0);
}

static void
duplicate (void) {
  fixture_open(&f, true);
  peer_send(f.p, DATA, 0, 0, "aa", 2);
  WAIT(ACKS(f.p) == 1, 500);
  peer_send(f.p, DATA, 0, 0, "aa", 2);
  WAIT(ACKS(f.p) == 2, 500);
  CHECK_EQ(peer_last(f.p, (uint8_t) ~SACK, 0)->ack, 1);
  peer_send(f.p, DATA, 2, 0, "cc", 2);
  WAIT(ACKS(f.p) == 3, 500);
  peer_send(f.p, DATA, 2, 0, "cc", 2);
  WAIT(ACKS(f.p) == 4, 500);
  peer_send(f.p, DATA, 1, 0, "bb", 2);
  WAIT(f.s.len == 6, 500);
  settle(20);
  CHECK_EQ(f.s.len, 6);
  CHECK(memcmp(f.s.data, "aabbcc", 6) == 0);
}

static void
acknowledged (void) {
  fixture_open(&f, true);
  for (uint32_t i = 0; i < 20; i++) {
    double before = now_ms();
    peer_send(f.p, DATA, i, 0, "x", 1);
    WAIT(ACKS(f.p) && peer_last(f.p, (uint8_t) ~SACK, 0)->ack == i + 1, 500);
    CHECK(now_ms() - before < 25);
  }
  for (uint32_t i = 20; i < 60; i++) peer_send(f.p, DATA, i, 0, "x", 1); /* a burst */
  WAIT(peer_last(f.p, (uint8_t) ~SACK, 0)->ack == 60, 100);
  peer_send(f.p, END, 60, 0, NULL, 0);
  WAIT(peer_last(f.p, (uint8_t) ~SACK, 0)->ack == 61, 100);
}

static void
sack_at_once (void) {
  fixture_open(&f, true);
  peer_send(f.p, DATA, 0, 0, "a", 1);
  WAIT(ACKS(f.p) == 1, 500);
  peer_send(f.p, DATA, 4, 0, "e", 1);
  WAIT(ACKS(f.p) == 2, 100);
  packet_t *k = peer_last(f.p, (uint8_t) ~SACK, 0);
  CHECK_EQ(k->ack, 1);
  CHECK(sack_covers(k, 4));
  CHECK(!sack_covers(k, 3) && !sack_covers(k, 5));
}

static void
no_reneging (void) {
  fixture_open(&f, true);
  static const uint32_t order[] = {3, 5, 4, 9, 12, 0, 8, 15, 20, 2, 14, 6, 30};
  bool reported[40] = {false}, arrived[40] = {false};
  for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
    size_t before = f.p->n;
    peer_send(f.p, DATA, order[i], 0, "z", 1);
    arrived[order[i]] = true;
    WAIT(f.p->n > before, 500);
    packet_t *k = peer_last(f.p, (uint8_t) ~SACK, 0);
    for (uint32_t s = 0; s < 40; s++) {
      bool now = s < k->ack || sack_covers(k, s);
      if (now) CHECK(arrived[s]);
      if (reported[s]) CHECK(now);
      reported[s] = reported[s] || now;
    }
  }
}

static void
wrap (void) {
  memset(&q, 0, sizeof(q));
  world_open();
  instance_open(&q.other);
  socket_open(&q.other, &q.other_sock, "127.0.0.1", 0, 0);
  side_init(&q.a, &udx, 1);
  side_init(&q.b, &q.other, 2);
  udx_stream_set_seq(&q.a.stream, 4294967291u);
  udx_stream_set_ack(&q.a.stream, 4294967294u);
  udx_stream_set_seq(&q.b.stream, 4294967294u);
  udx_stream_set_ack(&q.b.stream, 4294967291u);
  struct sockaddr_storage to_b = socket_addr(&q.other_sock), to_a = socket_addr(&sock);
  side_connect(&q.a, &sock, 2, &to_b);
  side_connect(&q.b, &q.other_sock, 1, &to_a);
  side_read(&q.a);
  side_read(&q.b);
  q.a.checked = q.b.checked = true;
  side_write_pattern(&q.a, 0, 40000);
  side_write_pattern(&q.b, 0, 30000);
  WAIT(q.b.total == 40000 && q.a.total == 30000 && q.a.acks == 1 && q.b.acks == 1, 3000);
  CHECK_EQ(q.a.mismatches + q.b.mismatches, 0);
  uint32_t seq = 0;
  udx_stream_get_seq(&q.a.stream, &seq);
  CHECK(seq > 10 && seq < 100);
  side_end(&q.a);
  side_end(&q.b);
  WAIT(q.a.closes == 1 && q.b.closes == 1, 2000);
  CHECK_EQ(q.a.close_status, 0);
  CHECK_EQ(q.b.close_status, 0);
}

static void
wrap_on_wire (void) {
  fixture_open(&f, false);
  udx_stream_set_seq(&f.s.stream, 4294967291u);
  f.p->rcv = 4294967291u;
  f.p->auto_ack = true;
  side_connect(&f.s, &sock, REMOTE_ID, &f.p->addr);
  for (int i = 0; i < 8; i++) {
    side_write(&f.s, "x", 1);
    WAIT(f.s.acks == i + 1, 500);
  }
  CHECK_EQ(peer_nth(f.p, DATA, DATA, 0)->seq, 4294967291u);
  CHECK_EQ(peer_nth(f.p, DATA, DATA, 5)->seq, 0);
  CHECK_EQ(peer_nth(f.p, DATA, DATA, 7)->seq, 2);
}

static void
heartbeat (void) {
  fixture_open(&f, true);
  peer_send(f.p, HEARTBEAT, 0, 0, NULL, 0);
  WAIT(ACKS(f.p) == 1, 500);
  CHECK_EQ(peer_last(f.p, 0xff, 0)->ack, 0);
  peer_send(f.p, HEARTBEAT, 5, 77, NULL, 0); /* a bad ack changes nothing */
  WAIT(ACKS(f.p) == 2, 500);
  settle(30);
  CHECK_EQ(f.p->n, 2);
}

static void
heartbeat_only (void) {
  fixture_open(&f, true);
  peer_send(f.p, HEARTBEAT | DATA, 0, 0, "xxxx", 4);
  WAIT(ACKS(f.p) == 1, 500);
  peer_send(f.p, HEARTBEAT | MESSAGE, 0, 0, "xxxx", 4);
  WAIT(ACKS(f.p) == 2, 500);
  peer_send(f.p, HEARTBEAT | END | DESTROY, 0, 0, NULL, 0);
  WAIT(ACKS(f.p) == 3, 500);
  settle(30);
  CHECK_EQ(f.s.reads + f.s.eofs + f.s.closes, 0);
  CHECK_EQ(f.s.messages.n, 0);
  CHECK_EQ(peer_last(f.p, 0xff, 0)->ack, 0);
}

static void
messages (void) {
  fixture_open(&f, true);
  peer_send(f.p, MESSAGE, 0, 0, "one", 3);
  peer_send(f.p, MESSAGE, 1000, 0, "two", 3);
  peer_send(f.p, MESSAGE, 0x80000010u, 0, "", 0);
  WAIT(f.s.messages.n == 3, 500);
  CHECK(memcmp(f.s.messages.v[1].data, "two", 3) == 0);
  CHECK_EQ(f.s.messages.v[2].len, 0);
  settle(50);
  CHECK_EQ(f.p->n, 0);
  peer_send(f.p, MESSAGE | DATA, 0, 0, "both", 4);
  WAIT(f.s.messages.n == 4 && f.s.len == 4, 500);
}

const test_t receive_tests[] = {
  {"UDX-19", "two writes are read in order", two_writes, NULL, 0, BOTH},
  {"UDX-20", "out of order packets are delivered in order", out_of_order, NULL, 0, SIMULATOR},
  {"UDX-21", "1000 small writes, up to 1 s random delay", random_delay, NULL, 45, SIMULATOR},
  {"UDX-22", "duplicates are acknowledged, not delivered", duplicate, NULL, 0, SIMULATOR},
  {"UDX-23", "every DATA and END is acknowledged promptly", acknowledged, NULL, 0, SIMULATOR},
  {"UDX-24", "[4,5) is reported at once after losing 1 to 3", sack_at_once, "OBS-1", 0, SIMULATOR},
  {"UDX-25", "reported blocks are never withdrawn", no_reneging, NULL, 0, SIMULATOR},
  {"UDX-26", "seq and ack wrap, both ends ours", wrap, NULL, 0, SIMULATOR},
  {"UDX-26", "seq wrap on the wire", wrap_on_wire, NULL, 0, SIMULATOR},
  {"UDX-27", "HEARTBEAT is answered", heartbeat, NULL, 0, SIMULATOR},
  {"UDX-28", "HEARTBEAT overrides other bits", heartbeat_only, NULL, 0, SIMULATOR},
  {"UDX-29", "messages ignore seq and are not acknowledged", messages, NULL, 0, SIMULATOR},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
