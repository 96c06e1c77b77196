/* Congestion control: items 87 to 91, as far as the public interface shows it. */
#include "harness/conform.h"

static fixture_t f;
static ends_t q;

static void
few_bytes (void) {
  fixture_open(&f, true);
  f.p->auto_ack = true;
  for (int i = 0; i < 25; i++) {
    side_write(&f.s, "tick", 4);
    settle(200);
    CHECK_EQ(stream_bbr_state(&f.s.stream), UDX_BBR_STATE_STARTUP);
  }
  CHECK_EQ(f.s.acks, 25);
}

/* 20 Mbit/s, 20 ms: long enough for the minimum RTT to grow older than 10 s. */
static void
all_states (void) {
  ends_open(&q, true, 1, 2);
  q.path->delay = 10;
  q.path->rate = 2500;
  q.path->queue = 200000;
  q.b.checked = q.b.discard = true;
  uint64_t offset = 0;
  double start = now_ms(), entered[4] = {0}, few_since = 0, few_longest = 0, left = 0;
  int last = -1;
  while (now_ms() - start < 14000) {
    CHECK_EQ(q.a.closes, 0);
    while (offset < q.b.total + 600000) {
      side_write_pattern(&q.a, offset, 50000);
      offset += 50000;
    }
    step();
    int state = stream_bbr_state(&q.a.stream);
    double now = now_ms();
    if (state != last) {
      printf("    state %d at %.0f ms\n", state, now - start);
      if (entered[state] <= 0) entered[state] = now;
      if (last == UDX_BBR_STATE_PROBE_RTT) left = now;
      last = state;
    }
    if (state == UDX_BBR_STATE_PROBE_RTT && stream_inflight(&q.a.stream) <= 4 * 1472) {
      if (few_since <= 0) few_since = now;
      if (now - few_since > few_longest) few_longest = now - few_since;
    } else {
      few_since = 0;
    }
    if (left > 0 && now > left + 500) break;
    if (now - start > 1500) q.path->delay = 11; /* the minimum grows old */
  }
  CHECK_EQ(q.b.mismatches, 0);
  CHECK(entered[0] > 0 && entered[1] > entered[0] && entered[2] > entered[1]);
  CHECK(entered[3] > start + 9000);
  printf("    at most 4 packets for %.0f ms\n", few_longest);
  CHECK(few_longest >= (backend->limit_factor > 1 ? 150 : 199)); /* real time is sampled late */
}

static void
keepalive (void) {
  memset(&q, 0, sizeof(q));
  world_open();
  instance_open(&q.other);
  socket_open(&q.other, &q.other_sock, "127.0.0.1", 0, 0);
  side_init(&q.a, &udx, 1);
  side_init(&q.b, &q.other, 2);
  udx_stream_set_keepalive(&q.a.stream, 10);
  udx_stream_set_keepalive(&q.b.stream, 10);
  struct sockaddr_storage to_b = socket_addr(&q.other_sock), to_a = socket_addr(&sock);
  side_connect(&q.a, &sock, 2, &to_b);
  side_connect(&q.b, &q.other_sock, 1, &to_a);
  settle(500);
  CHECK(udx.packets_tx > 10 && udx.packets_rx > 10);
  CHECK(q.other.packets_tx > 10 && q.other.packets_rx > 10);
  CHECK(udx.packets_tx < 400);
}

const test_t congestion_tests[] = {
  {"UDX-87", "a few bytes per second stay in STARTUP", few_bytes, NULL, 0, SIMULATOR},
  {"UDX-88", "STARTUP, DRAIN, PROBE_BW, PROBE_RTT", all_states, NULL, 30, SIMULATOR},
  {"UDX-89", "PROBE_RTT: at most 4 packets for 200 ms", all_states, NULL, 30, SIMULATOR},
  {"UDX-91", "keepalive of 10 ms", keepalive, NULL, 0, SIMULATOR},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
