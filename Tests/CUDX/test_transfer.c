/* Whole transfers between two simulated nodes. */
#include "engine/batch.h"
#include "engine/instance.h"
#include "sim/pair.h"
#include "test.h"

static void
transfer (uint64_t seed, const sim_link_t *link, uint64_t bytes, uint64_t limit) {
  pair_t *p = pair_new(seed, link);
  pair_write(p, 0, bytes);
  pair_end(p, 0);
  pair_end(p, 1);
  int closed = pair_run_closed(p, limit);
  udx_stream_t *s = &p->side[0].stream;
  double seconds = (double) (sim_now(p->sim) - SIM_EPOCH) / 1e6;
  printf(
    "  seed %llu: %llu bytes in %.3f s, %.2f MB/s, %u retransmitted (%u needless), %u timeouts, mtu %u, sent %llu\n",
    (unsigned long long) seed, (unsigned long long) p->side[1].received, seconds, (double) bytes / 1e6 / seconds,
    s->retransmit_count, s->spurious_count, s->rto_count, s->mtu, (unsigned long long) s->packets_tx);
  CHECK(closed);
  CHECK_EQ(p->side[1].received, bytes);
  CHECK_EQ(p->side[1].mismatches, 0);
  CHECK_EQ(p->side[1].eof, 1);
  CHECK_EQ(p->side[0].eof, 1);
  CHECK_EQ(p->side[0].close_status, 0);
  CHECK_EQ(p->side[1].close_status, 0);
  CHECK_EQ(p->side[0].cancelled, 0);
  pair_free(p);
}

TEST(perfect_link) {
  sim_link_t link = sim_link_default();
  transfer(1, &link, 10, 5000000);
  transfer(1, &link, 1000000, 5000000);
  transfer(2, &link, 50000000, 50000000);
}

TEST(long_path) {
  sim_link_t link = sim_link_default();
  link.latency = 20000;
  transfer(3, &link, 20000000, 60000000);
  link.rate = 6250000;
  link.queue = 500000;
  transfer(4, &link, 20000000, 60000000);
  link.queue = 60000;
  transfer(5, &link, 20000000, 60000000);
}

TEST(random_loss) {
  for (int loss = 1; loss <= 30; loss += 7) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
      sim_link_t link = sim_link_default();
      link.latency = 10000;
      link.loss = loss / 100.0;
      transfer(seed, &link, 3000000, 600000000);
    }
  }
}

TEST(bad_weather) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    sim_link_t link = sim_link_default();
    link.latency = 5000;
    link.jitter = 20000;
    link.loss = 0.02;
    link.duplicate = 0.05;
    link.reorder = 0.05;
    link.reorder_delay = 30000;
    transfer(seed, &link, 2000000, 600000000);
  }
}

typedef struct outcome_s {
  uint64_t time;
  uint64_t packets[2];
  uint64_t received;
  uint32_t retransmits;
} outcome_t;

static outcome_t
run_in_steps (int trims) {
  sim_link_t link = sim_link_default();
  link.latency = 5000;
  link.jitter = 10000;
  link.loss = 0.05;
  pair_t *p = pair_new(7, &link);
  pair_write(p, 0, 1000000);
  pair_end(p, 0);
  pair_end(p, 1);
  for (int step = 0; step < 60000 && !(p->side[0].closed && p->side[1].closed); step++) {
    sim_run(p->sim, 1000);
    for (int side = 0; side < 2; side++) {
      udx_t *udx = &p->side[side].node->udx;
      if (!trims || udx_is_idle(udx)) continue;
      udx_driver_trim(udx);
      CHECK(udx__instance(udx)->batch == NULL || udx__instance(udx)->batch->count > 0);
      CHECK_EQ(udx__instance(udx)->buffers.cached, 0);
    }
  }
  CHECK(p->side[0].closed && p->side[1].closed);
  CHECK_EQ(p->side[1].mismatches, 0);
  outcome_t outcome = {.time = sim_now(p->sim), .received = p->side[1].received};
  for (int side = 0; side < 2; side++) outcome.packets[side] = p->side[side].node->udx.packets_tx;
  outcome.retransmits = p->side[0].stream.retransmit_count;
  pair_free(p);
  return outcome;
}

TEST(trimming_changes_nothing_but_memory) {
  outcome_t kept = run_in_steps(0);
  outcome_t trimmed = run_in_steps(1);
  CHECK_EQ(kept.received, 1000000);
  CHECK(kept.retransmits > 0);
  CHECK_EQ(trimmed.time, kept.time);
  CHECK_EQ(trimmed.received, kept.received);
  CHECK_EQ(trimmed.packets[0], kept.packets[0]);
  CHECK_EQ(trimmed.packets[1], kept.packets[1]);
  CHECK_EQ(trimmed.retransmits, kept.retransmits);
}

TEST_MAIN(TEST_ENTRY(perfect_link), TEST_ENTRY(long_path), TEST_ENTRY(random_loss), TEST_ENTRY(bad_weather),
  TEST_ENTRY(trimming_changes_nothing_but_memory))
