/* The window of CUBIC (engine/congestion_cubic.c) by itself: RFC 9438 to the packet. */
#include "unit.h"

#define MS 1000u

static unit_t
cubic_new (void) {
  unit_t unit = unit_new();
  CHECK_EQ(udx_stream_set_congestion(unit.stream, UDX_CONGESTION_CUBIC), 0);
  CHECK_EQ(unit.stream->cwnd, UDX_CWND_INITIAL);
  CHECK_EQ(unit.stream->ssthresh, UDX_SSTHRESH_INITIAL);
  return unit;
}

static void
acked (unit_t *unit, uint64_t now, uint32_t packets, uint32_t in_flight) {
  udx_rate_sample_t sample = {.now = now, .acked = packets, .prior_in_flight = in_flight};
  unit->state->congestion->acked(unit->stream, &sample);
}

/* A window and a quarter per round trip, two windows in slow start; a tiny round trip, or none, has a bound. */
TEST(pace) {
  static const uint32_t times[][2] = {{0, UDX_MS}, {50, 100}, {99, 100}, {100, 100}, {101, 101}, {20 * MS, 20 * MS}};
  unit_t unit = cubic_new();
  uint64_t bytes = UDX_CWND_INITIAL * (uint64_t) (udx__mtu_payload(unit.stream) + UDX_HEADER_SIZE);
  for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
    unit.state->rtt.srtt = times[i][0];
    unit.stream->ssthresh = UDX_CWND_INITIAL + 1;
    unit.state->congestion->recovered(unit.stream, 0);
    CHECK_EQ(unit.state->pacing.rate, 2 * bytes * UDX_SECOND / times[i][1]);
    unit.stream->ssthresh = UDX_CWND_INITIAL;
    unit.state->congestion->recovered(unit.stream, 0);
    CHECK_EQ(unit.state->pacing.rate, 5 * bytes * UDX_SECOND / 4 / times[i][1]);
  }
  CHECK(unit.state->congestion->bandwidth(unit.stream) == (double) UDX_CWND_INITIAL * UDX_SECOND / (20 * MS));
  unit.state->rtt.srtt = 0;
  CHECK(unit.state->congestion->bandwidth(unit.stream) == 0);
  unit_free(&unit);
}

/* Slow start grows by what is acknowledged, where half the window was in use and nothing is being repaired. */
TEST(slow_start) {
  unit_t unit = cubic_new();
  acked(&unit, MS, 3, 5);
  CHECK_EQ(unit.stream->cwnd, 13);
  acked(&unit, MS, 3, 6);
  CHECK_EQ(unit.stream->cwnd, 13);
  acked(&unit, MS, 0, 13);
  CHECK_EQ(unit.stream->cwnd, 13);
  unit.state->recovery.state = UDX_RECOVERY_FAST;
  acked(&unit, MS, 3, 13);
  CHECK_EQ(unit.stream->cwnd, 13);
  unit.state->recovery.state = UDX_RECOVERY_LOSS;
  acked(&unit, MS, 3, 13);
  CHECK_EQ(unit.stream->cwnd, 16);
  unit.stream->cwnd = UDX_CWND_MAX - 1;
  unit.stream->ssthresh = UDX_CWND_MAX;
  acked(&unit, MS, 3, UDX_CWND_MAX);
  CHECK_EQ(unit.stream->cwnd, UDX_CWND_MAX);
  unit_free(&unit);
}

/* To seven tenths at a loss; a timeout leaves one packet beside those in flight, and reduces once. */
TEST(reductions) {
  static const struct {
    uint32_t cwnd, reduced;
    double w_max;
  } steps[] = {{20, 14, 20}, {20, 14, 20}, {14, 9, 11.9}, {5, 4, 4.25}};
  unit_t unit = cubic_new();
  unit.state->recovery.state = UDX_RECOVERY_FAST;
  for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
    unit.stream->cwnd = steps[i].cwnd;
    unit.state->cubic.epoch_start = 1;
    unit.state->congestion->recovery(unit.stream, 0);
    CHECK_EQ(unit.stream->cwnd, steps[i].reduced);
    CHECK_EQ(unit.stream->ssthresh, steps[i].reduced);
    CHECK_EQ(unit.state->cubic.epoch_start, 0);
    double error = unit.state->cubic.w_max - steps[i].w_max;
    CHECK(error < 1e-9 && error > -1e-9);
  }
  unit.state->recovery.state = UDX_RECOVERY_LOSS;
  for (uint8_t backoff = 1; backoff <= 2; backoff++) {
    unit.stream->cwnd = 20;
    unit.state->recovery.backoff = backoff;
    unit.state->congestion->timeout(unit.stream, 0);
    CHECK_EQ(unit.stream->cwnd, 1);
    CHECK_EQ(unit.stream->ssthresh, 14);
    unit.stream->ssthresh = 14;
  }
  unit_free(&unit);
}

/* Packets in the window after so many seconds of round trips of 100 ms, each of which acknowledges a whole window. */
static void
grow (unit_t *unit, double seconds, uint64_t *now) {
  uint64_t end = *now + (uint64_t) (seconds * UDX_SECOND);
  for (; *now < end; *now += 100 * MS) acked(unit, *now, unit->stream->cwnd, unit->stream->cwnd);
}

/* w(t) = 0.4 (t - 9.086)^3 + 1000: back to the window of before, flat there, then steeper again. */
TEST(growth) {
  unit_t unit = cubic_new();
  uint64_t now = UDX_SECOND;
  unit.state->rtt.srtt = 100 * MS;
  unit.state->recovery.state = UDX_RECOVERY_FAST;
  unit.stream->cwnd = 1000;
  unit.state->congestion->recovery(unit.stream, now);
  unit.state->recovery.state = UDX_RECOVERY_OPEN;
  CHECK_EQ(unit.stream->cwnd, 700);
  static const struct {
    double seconds; /* after the loss */
    uint32_t window;
  } points[] = {{2, 857}, {4, 947}, {6, 988}, {9, 1000}, {12, 1010}, {14, 1047}, {17, 1198}};
  double at = 0;
  for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
    grow(&unit, points[i].seconds - at, &now);
    at = points[i].seconds;
    CHECK_EQ(unit.stream->cwnd, points[i].window);
  }
  /* where the window is not used it does not grow; after a pause the time begins anew */
  uint32_t cwnd = unit.stream->cwnd;
  acked(&unit, now, 10, cwnd / 2 - 1);
  CHECK_EQ(unit.stream->cwnd, cwnd);
  uint64_t epoch = unit.state->cubic.epoch_start;
  unit.state->congestion->sent(unit.stream, 0, now);
  CHECK_EQ(unit.state->cubic.epoch_start, epoch);
  unit.state->rate.app_limited = 1;
  unit.state->congestion->sent(unit.stream, 1, now);
  CHECK_EQ(unit.state->cubic.epoch_start, epoch);
  unit.state->congestion->sent(unit.stream, 0, now);
  CHECK_EQ(unit.state->cubic.epoch_start, now);
  unit_free(&unit);
}

/* A small window grows as Reno's: 9/17 of a packet per round trip until it is what it was, then a whole one. */
TEST(friendly_region) {
  unit_t unit = cubic_new();
  uint64_t now = UDX_SECOND;
  unit.state->rtt.srtt = 1 * MS;
  unit.state->recovery.state = UDX_RECOVERY_FAST;
  unit.stream->cwnd = 20;
  unit.state->congestion->recovery(unit.stream, now);
  unit.state->recovery.state = UDX_RECOVERY_OPEN;
  for (int round = 1; round <= 17; round++, now += 1 * MS) {
    acked(&unit, now, unit.stream->cwnd, unit.stream->cwnd);
    /* a packet ahead at most: what is less than one adds up */
    if (round == 11) CHECK(unit.stream->cwnd == 19 || unit.stream->cwnd == 20);
  }
  CHECK(unit.stream->cwnd == 25 || unit.stream->cwnd == 26);
  unit_free(&unit);
}

TEST_MAIN(
  TEST_ENTRY(pace), TEST_ENTRY(slow_start), TEST_ENTRY(reductions), TEST_ENTRY(growth), TEST_ENTRY(friendly_region))
