/* Flow control: items 62 to 69. */
#include "harness/conform.h"

static fixture_t f;
static ends_t q;

static void
window (uint32_t bytes, uint32_t seq, uint32_t ack) {
  peer_send_full(f.p, 0, 0, bytes, seq, ack, NULL, 0);
}

/* Answers heartbeats with the window that the test has set in p->window. */
static bool
answer_heartbeats (peer_t *p, packet_t *k) {
  if (k->type & HEARTBEAT) peer_send_full(p, 0, 0, p->window, p->seq, p->rcv, NULL, 0);
  return true;
}

static void
zero_window_idle (void) {
  fixture_open(&f, true);
  f.p->on_packet = answer_heartbeats;
  f.p->window = 0;
  window(0, 0, 0);
  settle(30);
  double start = now_ms();
  side_write_pattern(&f.s, 0, 3000);
  WAIT(peer_count(f.p, HEARTBEAT, HEARTBEAT) == 4, 7000);
  static const double expected[] = {0, 1000, 3000, 5000};
  for (size_t i = 0; i < 4; i++) {
    double at = peer_nth(f.p, HEARTBEAT, HEARTBEAT, i)->at - start;
    printf("    heartbeat at %.0f\n", at);
    CHECK(at > expected[i] - 50 && at < expected[i] + 250);
  }
  CHECK_EQ(DATAS(f.p), 0);
  f.p->window = 4194304;
  WAIT(DATAS(f.p) == 3, 2500);
}

static void
zero_window_busy (void) {
  fixture_open(&f, true);
  window(2000, 0, 0);
  settle(30);
  side_write_pattern(&f.s, 0, 5000);
  WAIT(DATAS(f.p) == 1, 500);
  settle(20);
  CHECK_EQ(DATAS(f.p), 1);
  f.p->on_packet = answer_heartbeats;
  f.p->window = 0;
  f.p->rcv = 1;
  window(0, 0, 1);
  double start = now_ms();
  WAIT(peer_count(f.p, HEARTBEAT, HEARTBEAT) == 3, 6000);
  double rto = stream_rto(&f.s.stream);
  for (int i = 0; i < 3; i++) {
    double at = peer_nth(f.p, HEARTBEAT, HEARTBEAT, (size_t) i)->at - start, expected = rto * (1 + 2 * i);
    printf("    heartbeat at %.0f, rto %.0f\n", at, rto);
    CHECK(at > expected - 50 && at < expected + 250);
  }
  CHECK_EQ(DATAS(f.p), 1);
}

static void
no_data_into_zero (void) {
  fixture_open(&f, true);
  f.p->on_packet = answer_heartbeats;
  f.p->window = 0;
  window(0, 0, 0);
  settle(30);
  for (int i = 0; i < 10; i++) {
    side_write_pattern(&f.s, 0, 3000);
    settle(150);
  }
  side_end(&f.s);
  settle(500);
  CHECK_EQ(DATAS(f.p) + peer_count(f.p, END, END), 0);
  CHECK_EQ(f.s.closes, 0);
}

static void
small_window (void) {
  fixture_open(&f, true);
  window(500, 0, 0);
  settle(30);
  side_write_pattern(&f.s, 0, 3400);
  for (uint32_t i = 0; i < 3; i++) {
    WAIT(peer_count_seq(f.p, i) >= 1, 1000);
    settle(15);
    CHECK_EQ(peer_count_seq(f.p, i + 1), 0);
    window(500, 0, i + 1);
  }
}

static void
zero_window_outstanding (void) {
  fixture_open(&f, true);
  side_write_pattern(&f.s, 0, 3400);
  WAIT(DATAS(f.p) == 3, 500);
  window(0, 0, 1);
  WAIT(peer_count_seq(f.p, 1) >= 2 && peer_count_seq(f.p, 2) >= 2, 3500);
  window(0, 0, 3);
  WAIT(f.s.acks == 1, 500);
}

static uint32_t held;

static uint32_t
held_back (udx_stream_t *s) {
  (void) s;
  return held;
}

static void
hold (void *side) {
  held = (uint32_t) (((side_t *) side)->total - ((side_t *) side)->len);
}

static void
slow_reader (void) {
  ends_open(&q, false, 1, 2);
  CHECK_EQ(udx_stream_set_rwnd_max(&q.b.stream, 2000), 0);
  q.b.stream.get_read_buffer_size = held_back;
  q.b.on_read = hold;
  q.b.discard = q.b.checked = true; /* len counts what the application has taken */
  side_write(&q.b, "w", 1);         /* tells the sender the window: before that it assumes 4 MiB */
  WAIT(q.a.len == 1, 500);
  for (int i = 0; i < 9; i++) side_write_pattern(&q.a, (uint64_t) i * 1000, 1000);
  double next = now_ms() + 1000, end = limit_ms(40000);
  while (q.b.total < 9000) {
    CHECK(now_ms() < end && q.a.closes == 0);
    step();
    if (now_ms() > next) {
      next += 1000;
      q.b.len = q.b.len + 500 < q.b.total ? q.b.len + 500 : (size_t) q.b.total;
      hold(&q.b);
    }
  }
  CHECK_EQ(q.b.mismatches, 0);
  CHECK_EQ(stream_rto_count(&q.a.stream), 0);
  CHECK(stream_zero_window_probes(&q.a.stream) > 0);
}

static void
window_reopens (void) {
  fixture_open(&f, true);
  window(0, 0, 0);
  settle(30);
  side_write_pattern(&f.s, 0, 2000);
  settle(60);
  CHECK_EQ(DATAS(f.p), 0);
  window(100000, 0, 0);
  WAIT(DATAS(f.p) == 2, 200);
}

static void
stale_window (void) {
  fixture_open(&f, true);
  peer_send_full(f.p, DATA, 0, 4194304, 0, 0, "a", 1);
  WAIT(f.s.len == 1, 500);
  peer_send_full(f.p, DATA, 0, 0, 1, 0, "b", 1);
  WAIT(f.s.len == 2, 500);
  peer_send_full(f.p, DATA, 0, 4194304, 0, 0, "a", 1); /* late duplicate */
  settle(30);
  side_write_pattern(&f.s, 0, 2000);
  settle(100);
  CHECK_EQ(DATAS(f.p), 0);
  CHECK(peer_count(f.p, HEARTBEAT, HEARTBEAT) >= 1);
}

static void
on_drain (udx_stream_t *s) {
  ((side_t *) s)->drains++;
}

static void
high_water_mark (void) {
  fixture_open(&f, true);
  udx_stream_write_resume(&f.s.stream, on_drain);
  int writes = 0, r = 1;
  while (r == 1 && writes < 1000) {
    r = side_write_pattern(&f.s, 0, 65536);
    writes++;
  }
  CHECK_EQ(r, 0);
  CHECK(writes > 4 && writes < 100);
  CHECK_EQ(side_write(&f.s, "x", 1), 0);
  CHECK_EQ(f.s.drains, 0);
  f.p->auto_ack = true;
  for (uint32_t i = 0; i < 12 && DATAS(f.p) > 0; i++) { /* the first flight arrived before auto_ack */
    if (peer_count_seq(f.p, i)) peer_send(f.p, 0, 0, i + 1, NULL, 0), f.p->rcv = i + 1;
  }
  WAIT(f.s.acks == writes + 1, 5000);
  CHECK_EQ(f.s.drains, 1);
}

const test_t flow_tests[] = {
  {"UDX-62", "zero window, idle: heartbeats at 0, RTO, then every 2 RTO", zero_window_idle, NULL, 0, SIMULATOR},
  {"UDX-62", "zero window after a flight: first heartbeat after RTO", zero_window_busy, NULL, 0, SIMULATOR},
  {"UDX-63", "no new data into a zero window", no_data_into_zero, NULL, 0, SIMULATOR},
  {"UDX-64", "a small window permits one packet", small_window, NULL, 0, SIMULATOR},
  {"UDX-65", "zero window does not stop retransmission", zero_window_outstanding, NULL, 0, SIMULATOR},
  {"UDX-66", "2000 byte window, 500 bytes per second", slow_reader, NULL, 60, SIMULATOR},
  {"UDX-67", "plain ACK reopens the window", window_reopens, NULL, 0, SIMULATOR},
  {"UDX-68", "older packet does not overwrite the window", stale_window, NULL, 0, SIMULATOR},
  {"UDX-69", "high-water mark and one drain", high_water_mark, NULL, 0, SIMULATOR},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
