/*
 * A peer whose receive window is closed (udx.md 2.8, 4.7): a dead one is noticed as soon as any other, a living one is
 * waited for as long as it likes, also if it does not answer HEARTBEATs.
 */
#include "watch.h"

/* The default keepalive of connections, which is also the longest interval of the probes. */
#define KEEPALIVE (5 * S)

static void
cut (pair_t *p, bool down) {
  sim_link(p->side[0].node, p->side[1].node)->down = down;
  sim_link(p->side[1].node, p->side[0].node)->down = down;
}

static udx_flow_t *
flow_of (pair_t *p) {
  return &udx__stream(&p->side[0].stream)->flow;
}

/* Side 0 knows the path; side 1 stops reading, and side 0 writes more than it takes. */
static pair_t *
closed_window (uint64_t seed, uint64_t latency) {
  sim_link_t link = sim_link_default();
  link.latency = latency;
  pair_t *p = pair_new(seed, &link);
  CHECK_EQ(udx_stream_set_rwnd_max(&p->side[1].stream, 65536), 0);
  pair_write(p, 0, 10000);
  sim_run(p->sim, 20 * S);
  CHECK_EQ(udx_stream_read_stop(&p->side[1].stream), 0);
  pair_write(p, 0, 300000);
  return p;
}

/* The documented time: after the default keepalive 15 s, or four timeouts where that is longer. */
static uint64_t
limit_of (pair_t *p) {
  uint64_t rto = udx__stream(&p->side[0].stream)->rtt.rto;
  return KEEPALIVE + (4 * rto > 15 * S ? 4 * rto : 15 * S);
}

/* The peer dies now. Returns the time until that is noticed. */
static uint64_t
noticed (pair_t *p) {
  uint64_t dead_at = sim_now(p->sim), limit = limit_of(p);
  cut(p, true);
  sim_run(p->sim, limit + 10 * S);
  CHECK_EQ(p->side[0].closed, 1);
  CHECK_EQ(p->side[0].close_status, UV_ETIMEDOUT);
  /* what was under way when it died is heard later */
  uint64_t heard_at = flow_of(p)->heard_at > dead_at ? flow_of(p)->heard_at : dead_at;
  CHECK(p->side[0].close_time - heard_at <= limit);
  return p->side[0].close_time - dead_at;
}

/* Whatever the moment between two probes. */
TEST(dead_peer_is_noticed) {
  static const uint64_t latencies[] = {1, 50, 130, 250, 500, 600, 900, 1900, 4000};
  enum { PHASES = 24 };
  for (size_t l = 0; l < sizeof(latencies) / sizeof(*latencies); l++) {
    uint64_t worst = 0, rto = 0;
    for (uint64_t phase = 0; phase < PHASES; phase++) {
      pair_t *p = closed_window(phase + 1, latencies[l] * MS);
      sim_run(p->sim, 60 * S);
      rto = udx__stream(&p->side[0].stream)->rtt.rto;
      uint64_t interval = 2 * rto < KEEPALIVE ? 2 * rto : KEEPALIVE;
      sim_run(p->sim, phase * interval / PHASES);
      CHECK_EQ(flow_of(p)->peer_window, 0);
      CHECK_EQ(udx__flight_span(&p->side[0].stream), 0);
      uint64_t after = noticed(p);
      CHECK(after >= 12 * S);
      if (4 * rto <= 15 * S) CHECK(after <= 20 * S);
      if (after > worst) worst = after;
      pair_free(p);
    }
    printf("  round trips of %llu ms, timeout %.2f s: after %.2f s at most\n", (unsigned long long) (2 * latencies[l]),
      (double) rto / 1e6, (double) worst / 1e6);
  }
}

/* Whatever of the last flight has arrived. */
TEST(peer_that_dies_while_it_closes_its_window_is_noticed) {
  for (uint64_t after = 0; after < 300 * MS; after += 7 * MS) {
    pair_t *p = closed_window(1, 20 * MS);
    sim_run(p->sim, after);
    CHECK(noticed(p) <= 20 * S);
    pair_free(p);
  }
}

/* All that was written has arrived and filled the window: the next keepalive of the application asks. */
TEST(idle_stream_notices_a_dead_peer) {
  for (uint64_t phase = 0; phase < 10; phase++) {
    pair_t *p = pair_new(1, NULL);
    CHECK_EQ(udx_stream_set_rwnd_max(&p->side[1].stream, 65536), 0);
    CHECK_EQ(udx_stream_read_stop(&p->side[1].stream), 0);
    do {
      pair_write(p, 0, 500);
      sim_run(p->sim, 100 * MS);
    } while (flow_of(p)->peer_window > 0);
    sim_run(p->sim, 60 * S + phase * KEEPALIVE / 10);
    CHECK(!udx__queue_has_unsent(&p->side[0].stream));
    uint64_t dead_at = sim_now(p->sim);
    cut(p, true);
    sim_run(p->sim, KEEPALIVE - phase * KEEPALIVE / 10);
    while (!p->side[0].closed && sim_now(p->sim) < dead_at + 30 * S) {
      pair_write(p, 0, 20);
      sim_run(p->sim, KEEPALIVE);
    }
    CHECK_EQ(p->side[0].close_status, UV_ETIMEDOUT);
    CHECK(p->side[0].close_time - dead_at <= 20 * S);
    pair_free(p);
  }
}

/* A peer before 1.20.1 takes a HEARTBEAT for an acknowledgement and does not answer. */
static int
drop_heartbeats (watch_t *watch, sim_datagram_t *datagram, const udx_header_t *header) {
  (void) datagram;
  (void) watch;
  return (header->type & UDX_HEADER_HEARTBEAT) != 0;
}

/* For hours, on a path that loses packets, too; and nothing goes into the closed window meanwhile. */
TEST(living_peer_is_waited_for) {
  static const struct {
    uint64_t latency;
    double loss;
    int old, keepalive;
  } cases[] = {{1, 0, 0, 0}, {1, 0, 1, 0}, {100, 0.05, 0, 0}, {100, 0.05, 1, 0}, {600, 0, 1, 0}, {3000, 0, 0, 0},
    {3000, 0, 1, 0}, {3000, 0, 1, 1}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    pair_t *p = closed_window(1, cases[i].latency * MS);
    /* its heartbeats are due whenever a probe is, and do not take its place */
    if (cases[i].keepalive) CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, KEEPALIVE / MS), 0);
    watch_t watch;
    watch_start(&watch, p);
    if (cases[i].old) watch.drop = drop_heartbeats;
    sim_run(p->sim, 60 * S);
    CHECK_EQ(flow_of(p)->peer_window, 0);
    uint32_t nxt = udx__stream(&p->side[0].stream)->flight.nxt, probes = p->side[0].stream.zwp_count;
    for (int k = 0; k < 2; k++) sim_link(p->side[k].node, p->side[1 - k].node)->loss = cases[i].loss;
    sim_run(p->sim, 4 * 3600 * S);
    CHECK_EQ(p->side[0].closed, 0);
    CHECK_EQ(udx__stream(&p->side[0].stream)->flight.nxt, nxt);
    CHECK(p->side[0].stream.zwp_count - probes >= 4 * 3600 / 5);
    pair_read_start(p, 1);
    finish(p, 310000, 60 * S);
    pair_free(p);
  }
}

/* The peer drops what finds no room: neither what is under way when its reader pauses, nor what follows, ends it. */
TEST(peer_without_room_is_waited_for) {
  static const uint32_t rooms[] = {4096, 8192, 32768, 65536, 131072}, windows[] = {4096, 65536, 4194304};
  for (size_t i = 0; i < sizeof(rooms) / sizeof(*rooms); i++) {
    for (size_t k = 0; k < sizeof(windows) / sizeof(*windows); k++) {
      sim_link_t link = sim_link_default();
      link.latency = i % 2 == 0 ? 1 * MS : 100 * MS;
      pair_t *p = pair_new(1, &link);
      CHECK_EQ(udx_stream_set_rwnd_max(&p->side[1].stream, windows[k]), 0);
      CHECK_EQ(udx_stream_set_reorder_max(&p->side[1].stream, rooms[i]), 0);
      CHECK_EQ(udx_stream_read_stop(&p->side[1].stream), 0);
      pair_write(p, 0, 1000000);
      sim_run(p->sim, 3600 * S);
      CHECK_EQ(flow_of(p)->peer_window, 0);
      CHECK_EQ(p->side[0].closed, 0);
      if (i == 0) {
        CHECK(udx__flight_span(&p->side[0].stream) > 0);
        CHECK(noticed(p) <= 20 * S);
      } else {
        pair_read_start(p, 1);
        finish(p, 1000000, 120 * S);
      }
      pair_free(p);
    }
  }
}

/* The memory of the instance is full of other streams' packets: the window says so, and opens when there is room. */
TEST(instance_without_room_is_waited_for) {
  pair_t *p = closed_window(1, 20 * MS);
  udx_t *udx = &p->side[1].node->udx;
  uint64_t others = UDX_REORDER_TOTAL_MAX - 10000;
  udx__instance(udx)->reorder_memory += others;
  sim_run(p->sim, 600 * S);
  CHECK_EQ(flow_of(p)->peer_window, 0);
  CHECK(p->side[1].stream.packets_rx > 0 && udx__stream(&p->side[1].stream)->reorder.bytes < 10000);
  CHECK_EQ(p->side[0].closed, 0);
  udx__instance(udx)->reorder_memory -= others;
  sim_run(p->sim, 5 * S);
  CHECK(udx__stream(&p->side[1].stream)->reorder.bytes > 60000);
  pair_read_start(p, 1);
  finish(p, 310000, 60 * S);
  pair_free(p);
}

/* An outage that is shorter than the give-up time ends nothing. */
TEST(outage_is_survived) {
  for (uint64_t seconds = 1; seconds <= 12; seconds++) {
    pair_t *p = closed_window(1, 20 * MS);
    sim_run(p->sim, 30 * S);
    cut(p, true);
    sim_run(p->sim, seconds * S);
    if (seconds % 2 == 0) pair_read_start(p, 1);
    cut(p, false);
    sim_run(p->sim, 60 * S);
    CHECK_EQ(p->side[0].closed, 0);
    CHECK_EQ(flow_of(p)->silent_probes, 0);
    if (seconds % 2 != 0) pair_read_start(p, 1);
    finish(p, 310000, 10 * S);
    pair_free(p);
  }
}

TEST_MAIN(TEST_ENTRY(dead_peer_is_noticed), TEST_ENTRY(peer_that_dies_while_it_closes_its_window_is_noticed),
  TEST_ENTRY(idle_stream_notices_a_dead_peer), TEST_ENTRY(living_peer_is_waited_for),
  TEST_ENTRY(peer_without_room_is_waited_for), TEST_ENTRY(instance_without_room_is_waited_for),
  TEST_ENTRY(outage_is_survived))
