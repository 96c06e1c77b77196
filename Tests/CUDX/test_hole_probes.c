/* Probes for a hole whose repairs get lost as well, and what is lost together where segments are dropped whole. */
#include "unit.h"
#include "watch.h"

/* ---- one hole ---- */

typedef struct hole_s {
  sim_node_t *sender;
  uint32_t seq;
  int drops;   /* transmissions of it that get lost */
  int is_dead; /* from the first acknowledgement of something behind it on nothing gets through */
  int count;   /* transmissions so far */
  uint64_t times[64];
} hole_t;

static sim_verdict_t
hole_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  hole_t *hole = ctx;
  udx_header_t header;
  CHECK(udx__header_decode(datagram->data, datagram->length, &header));
  if (datagram->from_node != hole->sender) return hole->is_dead && hole->count > 2 ? SIM_DROP : SIM_PASS;
  if (!(header.type & UDX_HEADER_DATA) || header.seq != hole->seq) return hole->is_dead && hole->count > 1;
  if (hole->count < 64) hole->times[hole->count] = sim_now(sim);
  return ++hole->count <= hole->drops || hole->is_dead ? SIM_DROP : SIM_PASS;
}

/* A stream that knows its path of this round trip, and four packets of which the first is lost `drops` times. */
static pair_t *
hole_open (hole_t *hole, uint64_t round_trip, int drops) {
  sim_link_t link = sim_link_default();
  link.latency = round_trip / 2;
  pair_t *pair = pair_new(1, &link);
  pair_write(pair, 0, 100000);
  CHECK(pair_run_received(pair, 1, 100000, 20 * S));
  sim_run(pair->sim, 2 * S);
  for (int i = 0; i < 40; i++) { /* steady: the variance falls */
    pair_write(pair, 0, 100);
    sim_run(pair->sim, 2 * round_trip);
  }
  pair->side[0].stream.rto_count = 0; /* long paths time out before they are measured */
  *hole = (hole_t){.sender = pair->side[0].node, .drops = drops};
  hole->seq = udx__stream(&pair->side[0].stream)->flight.nxt;
  sim_set_tap(pair->sim, hole_tap, hole);
  pair_write(pair, 0, 4000);
  return pair;
}

static uint64_t
probe_delay (uint64_t round_trip) {
  return round_trip + UDX_TLP_MIN;
}

/* Original, repair, then three probes, a round trip and a little apart; the window is as it was. */
TEST(three_probes_before_the_timeout) {
  for (int drops = 2; drops <= 5; drops++) {
    hole_t hole;
    pair_t *pair = hole_open(&hole, 100 * MS, drops);
    uint32_t cwnd = pair->side[0].stream.cwnd;
    CHECK(pair_run_received(pair, 1, 108000, 20 * S));
    sim_run(pair->sim, 1 * S);
    CHECK_EQ(hole.count, drops + 1);
    CHECK_EQ(pair->side[0].stream.rto_count, drops == 5);
    for (int i = 2; i <= drops && i < 5; i++) {
      uint64_t spacing = hole.times[i] - hole.times[i - 1];
      printf("  %d lost: transmission %d after %.1f ms\n", drops, i + 1, (double) spacing / 1000);
      CHECK(spacing >= probe_delay(100 * MS) && spacing <= probe_delay(100 * MS) + 3 * MS);
    }
    if (drops < 5) CHECK(pair->side[0].stream.cwnd >= cwnd);
    sim_set_tap(pair->sim, NULL, NULL);
    pair_free(pair);
  }
}

/* On a long path fewer: together they put the timeout off by a second at most. */
TEST(probes_of_long_paths_are_fewer) {
  for (int drops = 3; drops <= 4; drops++) {
    hole_t hole;
    pair_t *pair = hole_open(&hole, 400 * MS, drops);
    CHECK(pair_run_received(pair, 1, 108000, 20 * S));
    sim_run(pair->sim, 1 * S);
    CHECK_EQ(pair->side[0].stream.rto_count, drops == 4);
    sim_set_tap(pair->sim, NULL, NULL);
    pair_free(pair);
  }
}

/* Once the timeout has come without an answer it backs off, as without probes. */
TEST(silence_after_the_timeout_is_not_probed) {
  hole_t hole;
  pair_t *pair = hole_open(&hole, 100 * MS, 7);
  CHECK(pair_run_received(pair, 1, 108000, 20 * S));
  CHECK_EQ(pair->side[0].stream.rto_count, 3);
  CHECK(hole.times[6] - hole.times[5] >= 2 * UDX_RTO_MIN);
  CHECK(hole.times[7] - hole.times[6] >= 4 * UDX_RTO_MIN);
  sim_set_tap(pair->sim, NULL, NULL);
  pair_free(pair);
}

/* A peer that dies behind a hole is given up as soon as one that dies without. */
TEST(probes_keep_no_dead_peer) {
  static const uint64_t round_trips[] = {20 * MS, 100 * MS, 400 * MS, 900 * MS, 1500 * MS};
  for (size_t i = 0; i < sizeof(round_trips) / sizeof(*round_trips); i++) {
    hole_t hole;
    pair_t *pair = hole_open(&hole, round_trips[i], 0);
    hole.is_dead = 1;
    uint64_t begin = sim_now(pair->sim);
    sim_run(pair->sim, 40 * S);
    CHECK_EQ(pair->side[0].closed, 1);
    CHECK_EQ(pair->side[0].close_status, UV_ETIMEDOUT);
    uint64_t took = pair->side[0].close_time - begin;
    printf("  round trip %.0f ms: given up after %.2f s\n", (double) round_trips[i] / 1000, (double) took / 1e6);
    CHECK(took >= 12 * S && took <= 15 * S + 3 * round_trips[i]);
    sim_set_tap(pair->sim, NULL, NULL);
    pair_free(pair);
  }
}

/* ---- edges ---- */

/* Eight packets that were sent again, so that none is a sample, the fourth first; the round trip is as given. */
static unit_t
hole_unit (uint32_t round_trip) {
  unit_t unit = unit_new();
  uint64_t now = unit_send(&unit, 8);
  unit_sent_at(&unit, 3, now - 1);
  for (uint32_t seq = 0; seq < 8; seq++) udx__packet_at(unit.stream, seq)->transmits = 2;
  unit.state->rtt.srtt = round_trip;
  unit.state->rtt.var = 0;
  unit.state->rtt.rto = 5 * UDX_SECOND;
  return unit;
}

/* So many probes as end within a second together, to the microsecond. */
TEST(probes_end_within_a_second) {
  for (uint32_t later = 0; later <= 1; later++) {
    unit_t unit = hole_unit(UDX_HOLE_PROBES_TIME / 2 - UDX_TLP_MIN + later);
    unit.state->recovery.hole_probes = 1;
    uint64_t now = udx__instance(unit.udx)->now;
    unit_ack(&unit, now, 0, 3, 4);
    CHECK_EQ(unit.state->recovery.hole_probes, 1);
    CHECK_EQ(unit.state->recovery.tlp_at, later ? UDX_NEVER : now + UDX_HOLE_PROBES_TIME / 2);
    unit_ack(&unit, now, 1, 0, 0); /* another hole */
    CHECK_EQ(unit.state->recovery.hole_probes, 0);
    unit_free(&unit);
  }
}

/* The timeout waits for the answer of a probe, unless that takes more than a second. */
TEST(the_timeout_waits_for_a_second) {
  for (uint32_t later = 0; later <= 1; later++) {
    unit_t unit = hole_unit(UDX_HOLE_PROBES_TIME - UDX_TLP_MIN + later);
    uint64_t now = udx__instance(unit.udx)->now;
    unit_ack(&unit, now, 0, 3, 4);
    unit.state->recovery.tlp_at = now;
    unit.state->recovery.rto_at = now + UDX_MS;
    CHECK_EQ(udx__recovery_timeout(unit.stream, now), 1);
    CHECK_EQ(unit.state->recovery.hole_probes, 1);
    CHECK_EQ(udx__packet_at(unit.stream, 0)->state, UDX_PACKET_LOST);
    CHECK_EQ(unit.state->recovery.rto_at, now + UDX_MS + (later ? 0 : UDX_HOLE_PROBES_TIME));
    unit_free(&unit);
  }
}

/* After a timeout, and on a new path, nothing is probed before an acknowledgement. */
TEST(what_is_silent_is_not_probed) {
  enum { HEARD, TIMED_OUT, MIGRATED, CASES };
  for (int i = 0; i < CASES; i++) {
    unit_t unit = hole_unit(20 * MS);
    uint64_t now = udx__instance(unit.udx)->now;
    unit.state->recovery.state = UDX_RECOVERY_LOSS;
    unit.state->recovery.high_seq = unit.state->flight.nxt;
    unit.state->recovery.backoff = i == TIMED_OUT;
    unit.state->recovery.migrated = i == MIGRATED;
    unit.state->recovery.tlp_at = UDX_NEVER;
    udx__recovery_sent(unit.stream, 0, 0, now);
    CHECK_EQ(unit.state->recovery.tlp_at != UDX_NEVER, i == HEARD);
    unit.state->recovery.tlp_at = now;
    CHECK_EQ(udx__recovery_timeout(unit.stream, now), 1);
    CHECK_EQ(unit.state->recovery.hole_probes, i == HEARD);
    unit_free(&unit);
  }
}

/* ---- segments ---- */

typedef struct segments_s {
  double loss;
  sim_node_t *sender; /* whose first call is lost, if not NULL */
  int is_first_lost;
  struct {
    uint64_t call;
    uint32_t count;
    bool is_lost;
  } of[3];
} segments_t;

/* What one call sends is lost together: up to 44 packets. */
static sim_verdict_t
segment_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  segments_t *segments = ctx;
  sim_node_t *node = datagram->from_node;
  uint32_t i = node->index;
  if (segments->sender != NULL) return node == segments->sender && node->transmit_calls == 1 ? SIM_DROP : SIM_PASS;
  if (segments->of[i].call != node->transmit_calls || segments->of[i].count == UDX_QUANTUM) {
    segments->of[i].call = node->transmit_calls;
    segments->of[i].count = 0;
    segments->of[i].is_lost = (double) (sim_random(sim) >> 11) * 0x1p-53 < segments->loss;
  }
  segments->of[i].count++;
  return segments->of[i].is_lost ? SIM_DROP : SIM_PASS;
}

/* The first flight does not depend on one segment, nor does its acknowledgement. */
TEST(first_flights_survive_one_segment) {
  for (int side = 0; side < 2; side++) {
    sim_link_t link = sim_link_default();
    link.latency = 10 * MS;
    pair_t *pair = pair_new(1, &link);
    segments_t segments = {.sender = pair->side[side].node};
    sim_set_tap(pair->sim, segment_tap, &segments);
    pair_write(pair, 0, 11000);
    uint64_t begin = sim_now(pair->sim);
    CHECK(pair_run_received(pair, 1, 11000, 5 * S));
    sim_run(pair->sim, 100 * MS);
    CHECK_EQ(pair->side[0].acked, 1);
    CHECK_EQ(pair->side[0].stream.rto_count, 0);
    CHECK(sim_now(pair->sim) - begin < 300 * MS);
    sim_set_tap(pair->sim, NULL, NULL);
    pair_free(pair);
  }
}

/* Later flights, and the first one of another stream of the path, are not cut. */
TEST(only_first_flights_are_cut) {
  pair_t *pair = pair_new(1, NULL);
  sim_node_t *node = pair->side[0].node;
  pair_write(pair, 0, 11000);
  sim_run(pair->sim, 500);
  CHECK_EQ(node->transmit_calls, 2);
  sim_run(pair->sim, 1 * S);
  uint64_t calls = node->transmit_calls;
  pair_write(pair, 0, 5000);
  sim_run(pair->sim, 500);
  CHECK_EQ(node->transmit_calls - calls, 1);
  pair_free(pair);
}

typedef struct losses_s {
  double datagrams, segments;
  uint64_t round_trip, bytes, seeds, most_ms;
  uint32_t timeouts_max;
} losses_t;

/* Whole transfers at 5 % loss each way: the timeout is the exception, and the mean time says so. */
TEST(timeouts_are_rare_at_five_percent) {
  static const losses_t cases[] = {
    {.datagrams = 0.05, .round_trip = 20 * MS, .bytes = 200000, .seeds = 50, .timeouts_max = 0, .most_ms = 212},
    {.datagrams = 0.05, .round_trip = 100 * MS, .bytes = 200000, .seeds = 50, .timeouts_max = 1, .most_ms = 650},
    {.segments = 0.05, .round_trip = 20 * MS, .bytes = 200000, .seeds = 50, .timeouts_max = 1, .most_ms = 240},
    {.segments = 0.05, .round_trip = 100 * MS, .bytes = 200000, .seeds = 50, .timeouts_max = 1, .most_ms = 700},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    uint32_t timeouts = 0;
    uint64_t total = 0;
    for (uint64_t seed = 1; seed <= cases[i].seeds; seed++) {
      sim_link_t link = sim_link_default();
      link.latency = cases[i].round_trip / 2;
      link.rate = 1250000;
      link.queue = 2 * (link.rate * cases[i].round_trip / S) + 30000;
      link.loss = cases[i].datagrams;
      pair_t *pair = pair_new(seed, &link);
      segments_t segments = {.loss = cases[i].segments};
      if (cases[i].segments > 0) sim_set_tap(pair->sim, segment_tap, &segments);
      uint64_t begin = sim_now(pair->sim);
      pair_write(pair, 0, cases[i].bytes);
      CHECK(pair_run_received(pair, 1, cases[i].bytes, 60 * S));
      total += sim_now(pair->sim) - begin;
      timeouts += pair->side[0].stream.rto_count;
      sim_set_tap(pair->sim, NULL, NULL);
      pair_free(pair);
    }
    double mean = (double) total / (double) cases[i].seeds / 1000;
    printf("  %.0f ms, %s: %.1f ms, %u timeouts\n", (double) cases[i].round_trip / 1000,
      cases[i].segments > 0 ? "segments" : "datagrams", mean, timeouts);
    CHECK(timeouts <= cases[i].timeouts_max);
    CHECK(mean <= (double) cases[i].most_ms);
  }
}

TEST_MAIN(TEST_ENTRY(three_probes_before_the_timeout), TEST_ENTRY(probes_of_long_paths_are_fewer),
  TEST_ENTRY(silence_after_the_timeout_is_not_probed), TEST_ENTRY(probes_keep_no_dead_peer),
  TEST_ENTRY(probes_end_within_a_second), TEST_ENTRY(the_timeout_waits_for_a_second),
  TEST_ENTRY(what_is_silent_is_not_probed), TEST_ENTRY(first_flights_survive_one_segment),
  TEST_ENTRY(only_first_flights_are_cut), TEST_ENTRY(timeouts_are_rare_at_five_percent))
