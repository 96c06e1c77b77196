/* The pacer where it matters most: bottlenecks whose queue holds a packet or two (only single packets get through). */
#include "sim/pair.h"
#include "test.h"

#define S 1000000ull

static double
goodput (double rate, double rtt_ms, uint64_t queue, double loss, uint64_t seconds, uint64_t seeds) {
  double sum = 0;
  for (uint64_t seed = 1; seed <= seeds; seed++) {
    sim_link_t link = sim_link_default();
    link.latency = (uint64_t) (rtt_ms * 500);
    link.rate = (uint64_t) rate;
    link.queue = queue;
    link.loss = loss;
    if (loss > 0) link.jitter = (uint64_t) (rtt_ms * 10);
    pair_t *p = pair_new(seed, &link);
    pair_write(p, 0, (uint64_t) (rate * 2 * (double) seconds) + 1000000);
    sim_run(p->sim, seconds * S / 4);
    uint64_t at = p->side[1].received;
    sim_run(p->sim, seconds * S / 4 * 3);
    CHECK_EQ(p->side[1].mismatches, 0);
    sum += (double) (p->side[1].received - at) / ((double) seconds * 0.75) / (rate * 1452 / 1500);
    pair_free(p);
  }
  return sum / (double) seeds;
}

/* Before single packets: 59, 15, 33, 5, 1.0 and 0.4 percent. */
TEST(queue_of_one_packet) {
  static const struct {
    double mbit, rtt, least;
    uint64_t seconds;
  } cases[] = {
    {2.9, 2, 0.6, 20}, {2.9, 20, 0.6, 20}, {10, 2, 0.7, 20}, {10, 20, 0.6, 20}, {50, 20, 0.7, 20}, {2.9, 838, 0.4, 60}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    double share = goodput(cases[i].mbit * 125000, cases[i].rtt, 1500, 0, cases[i].seconds, 3);
    printf("  %4.1f Mbit/s, RTT %3.0f ms: %.1f %%\n", cases[i].mbit, cases[i].rtt, 100 * share);
    CHECK(share > cases[i].least);
  }
}

TEST(queues_of_two_to_four_packets) {
  static const double mbit[] = {1, 10, 50}, rtt[] = {2, 20, 100};
  for (int m = 0; m < 3; m++) {
    for (int r = 0; r < 3; r++) {
      for (uint64_t packets = 2; packets <= 4; packets++) {
        double share = goodput(mbit[m] * 125000, rtt[r], packets * 1500, 0, 6, 1);
        if (share < 0.9)
          printf("  %.0f Mbit/s, RTT %.0f ms, %d packets: %.1f %%\n", mbit[m], rtt[r], (int) packets, 100 * share);
        CHECK(share > 0.8);
      }
    }
  }
}

/* Random loss is no reason to go slower. */
TEST(random_loss_with_a_proper_queue) {
  static const double mbit[] = {10, 50}, rtt[] = {2, 40}, loss[] = {0.001, 0.01, 0.05, 0.1, 0.2};
  static const double least[] = {0.97, 0.96, 0.9, 0.8, 0.4};
  for (int m = 0; m < 2; m++) {
    for (int r = 0; r < 2; r++) {
      for (int l = 0; l < 5; l++) {
        double share = goodput(mbit[m] * 125000, rtt[r], (uint64_t) (mbit[m] * 125 * rtt[r]) + 15000, loss[l], 6, 1);
        if (share < least[l])
          printf("  %.0f Mbit/s, RTT %.0f ms, loss %.1f %%: %.1f %%\n", mbit[m], rtt[r], 100 * loss[l], 100 * share);
        CHECK(share > least[l]);
      }
    }
  }
}

TEST_MAIN(TEST_ENTRY(queue_of_one_packet), TEST_ENTRY(queues_of_two_to_four_packets),
  TEST_ENTRY(random_loss_with_a_proper_queue))
