/* Flow control, path MTU and congestion control in the simulator, one behaviour or item per test. */
#include "watch.h"

/* ---- flow control ---- */

TEST(paused_reader_closes_the_window) {
  pair_t *p = pair_new(1, NULL);
  CHECK_EQ(udx_stream_read_stop(&p->side[1].stream), 0);
  pair_write(p, 0, 20000000);
  sim_run(p->sim, 5 * S);
  CHECK_EQ(p->side[1].received, 0);
  CHECK_EQ(udx__stream(&p->side[0].stream)->flow.peer_window, 0);
  uint64_t sent = p->side[0].stream.bytes_tx;
  printf("  %llu bytes sent into a closed window of %u\n", (unsigned long long) sent, UDX_WINDOW_DEFAULT);
  CHECK(sent < 2 * UDX_WINDOW_DEFAULT);
  sim_run(p->sim, 30 * S);
  CHECK_EQ(p->side[0].closed, 0);
  CHECK(p->side[0].stream.bytes_tx - sent < 200000);
  CHECK_EQ(p->side[0].stream.rto_count, 0);
  pair_read_start(p, 1);
  finish(p, 20000000, 20 * S);
  pair_free(p);
}

/* A reader that pauses again and again, with many small packets. */
static void
toggle (sim_t *sim, void *ctx) {
  pair_t *p = ctx;
  if (p->side[1].closed) return;
  if (p->side[1].stream.status & UDX_STREAM_READING) udx_stream_read_stop(&p->side[1].stream);
  else pair_read_start(p, 1);
  sim_after(sim, 20 * MS + sim_random(sim) % (100 * MS), toggle, p);
}

TEST(reader_toggles) {
  for (uint64_t seed = 1; seed <= 5; seed++) {
    sim_link_t link = sim_link_default();
    link.loss = 0.01;
    pair_t *p = pair_new(seed, &link);
    udx_stream_set_rwnd_max(&p->side[1].stream, 65536);
    sim_after(p->sim, 10 * MS, toggle, p);
    pair_write(p, 0, 3000000);
    finish(p, 3000000, 300 * S);
    pair_free(p);
  }
}

/* UDX-66: an application that reads slowly and says so through the callback. */
static uint32_t held;

static uint32_t
held_bytes (udx_stream_t *stream) {
  (void) stream;
  return held;
}

static void
hold (pair_side_t *side) {
  held = (uint32_t) (side->received);
}

static void
consume (sim_t *sim, void *ctx) {
  uint32_t *consumed = ctx;
  *consumed += 500;
  held = held > 500 ? held - 500 : 0;
  sim_after(sim, 1 * S, consume, ctx);
}

TEST(udx_66_slow_reader) {
  pair_t *p = pair_new(1, NULL);
  held = 0;
  uint32_t consumed = 0;
  udx_stream_set_rwnd_max(&p->side[1].stream, 2000);
  p->side[1].stream.get_read_buffer_size = held_bytes;
  p->side[1].on_data = hold;
  sim_after(p->sim, 1 * S, consume, &consumed);
  pair_write(p, 0, 9000);
  pair_end(p, 0);
  pair_end(p, 1);
  CHECK(pair_run_closed(p, 120 * S));
  check_complete(p, 9000);
  CHECK_EQ(p->side[0].stream.rto_count, 0);
  pair_free(p);
}

TEST(keepalive) {
  pair_t *p = pair_new(1, NULL);
  watch_t watch;
  watch_start(&watch, p);
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, 10), 0);
  sim_run(p->sim, 500 * MS);
  CHECK(watch.heartbeats > 10);
  CHECK(watch.acks + 1 >= watch.heartbeats); /* the last one is on its way */
  /* OBS-12: off is off */
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, 0), 0);
  uint32_t before = watch.heartbeats;
  sim_run(p->sim, 500 * MS);
  CHECK(watch.heartbeats <= before + 1);
  pair_free(p);
}

/* ---- MTU ---- */

TEST(mtu_search_and_its_limit) {
  static const uint32_t mtus[] = {1200, 1231, 1300, 1499, 1500, 9000};
  for (size_t i = 0; i < sizeof(mtus) / sizeof(*mtus); i++) {
    sim_link_t link = sim_link_default();
    link.mtu = mtus[i];
    link.rate = 10000000;
    pair_t *p = pair_new(1, &link);
    pair_write(p, 0, 5000000);
    finish(p, 5000000, 60 * S);
    udx_stream_t *s = &p->side[0].stream;
    printf("  path %u: mtu %u, %u retransmitted, %u recoveries\n", mtus[i], s->mtu, s->retransmit_count,
      s->fast_recovery_count);
    CHECK(s->mtu <= mtus[i] && s->mtu <= 1500);
    CHECK(s->mtu + 32u > mtus[i] || s->mtu == 1500);
    CHECK_EQ(s->fast_recovery_count, 0); /* UDX-61 */
    pair_free(p);
  }
}

TEST(mtu_black_hole) {
  sim_link_t link = sim_link_default();
  link.rate = 10000000;
  link.latency = 5 * MS;
  pair_t *p = pair_new(1, &link);
  pair_write(p, 0, 20000000);
  sim_run(p->sim, 1 * S);
  CHECK_EQ(p->side[0].stream.mtu, 1500);
  sim_link(p->side[0].node, p->side[1].node)->mtu = 1280;
  finish(p, 20000000, 60 * S);
  CHECK(p->side[0].stream.mtu <= 1280);
  printf("  mtu %u after %.2f s, %u timeouts\n", p->side[0].stream.mtu, (double) (sim_now(p->sim) - SIM_EPOCH) / 1e6,
    p->side[0].stream.rto_count);
  pair_free(p);
}

/* ---- congestion control ---- */

TEST(bottleneck_queue_and_goodput) {
  for (int controller = 0; controller < 2; controller++) {
    sim_link_t link = sim_link_default();
    link.latency = 20 * MS;
    link.rate = 6250000; /* 50 Mbit/s */
    link.queue = 500000; /* 2 BDP */
    pair_t *p = pair_new(2, &link);
    CHECK_EQ(udx_stream_set_congestion(&p->side[0].stream, controller ? UDX_CONGESTION_CUBIC : UDX_CONGESTION_BBR), 0);
    pair_write(p, 0, 60000000);
    sim_run(p->sim, 2 * S);
    uint64_t at = p->side[1].received;
    uint64_t sum = 0;
    int samples = 0;
    for (int i = 0; i < 60; i++) {
      sim_run(p->sim, 100 * MS);
      sum += udx__stream(&p->side[0].stream)->rtt.latest;
      samples++;
    }
    double goodput = (double) (p->side[1].received - at) / 6.0 / (6250000.0 * 1452 / 1500);
    double rtt = (double) sum / samples / 40000;
    printf("  %s: goodput %.1f %%, RTT %.2f of base, %u retransmitted\n", controller ? "cubic" : "bbr", 100 * goodput,
      rtt, p->side[0].stream.retransmit_count);
    CHECK(goodput > 0.93);
    if (!controller) CHECK(rtt < 1.35);
    pair_free(p);
  }
}

/* OBS-6: slower than a packet per millisecond. */
TEST(slow_path_pacing) {
  sim_link_t link = sim_link_default();
  link.latency = 50 * MS;
  link.rate = 8000; /* 64 kbit/s */
  link.queue = 16000;
  pair_t *p = pair_new(2, &link);
  pair_write(p, 0, 150000);
  finish(p, 150000, 120 * S);
  udx_stream_t *s = &p->side[0].stream;
  printf("  %.1f s, %u of %llu retransmitted, %u timeouts\n", (double) (sim_now(p->sim) - SIM_EPOCH) / 1e6,
    s->retransmit_count, (unsigned long long) s->packets_tx, s->rto_count);
  CHECK(sim_now(p->sim) - SIM_EPOCH < 30 * S);
  CHECK(s->retransmit_count * 4 < s->packets_tx);
  pair_free(p);
}

TEST_MAIN(TEST_ENTRY(paused_reader_closes_the_window), TEST_ENTRY(reader_toggles), TEST_ENTRY(udx_66_slow_reader),
  TEST_ENTRY(keepalive), TEST_ENTRY(mtu_search_and_its_limit), TEST_ENTRY(mtu_black_hole),
  TEST_ENTRY(bottleneck_queue_and_goodput), TEST_ENTRY(slow_path_pacing))
