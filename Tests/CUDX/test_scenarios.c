/* Life, recovery and full sockets in the simulator, one behaviour or item of the specification per test. */
#include "watch.h"

/* ---- sequence numbers ---- */

TEST(udx_26_sequence_wrap) {
  sim_link_t link = sim_link_default();
  link.loss = 0.05;
  pair_t *p = pair_new_unconnected(7, &link);
  for (int i = 0; i < 2; i++) {
    udx_stream_set_seq(&p->side[i].stream, i ? 0xfffffffbu : 0xffffff00u);
    udx_stream_set_ack(&p->side[i].stream, i ? 0xffffff00u : 0xfffffffbu);
  }
  pair_bind(p);
  pair_connect(p, 0);
  pair_connect(p, 1);
  pair_write(p, 0, 2000000);
  pair_write(p, 1, 2000000);
  finish(p, 2000000, 60 * S);
  CHECK_EQ(p->side[0].received, 2000000);
  pair_free(p);
}

/* ---- life ---- */

TEST(udx_31_data_before_connect) {
  pair_t *p = pair_new_unconnected(1, NULL);
  pair_bind(p);
  pair_connect(p, 0);
  pair_write(p, 0, 5000);
  pair_end(p, 0);
  sim_run(p->sim, 100 * MS);
  CHECK_EQ(p->side[1].received, 5000);
  CHECK_EQ(p->side[1].eof, 0); /* reported together with an acknowledgement */
  CHECK_EQ(p->side[0].acked, 0);
  pair_connect(p, 1);
  sim_run(p->sim, 100 * MS);
  CHECK_EQ(p->side[1].eof, 1);
  CHECK(p->side[0].acked > 0);
  finish(p, 5000, 10 * S);
  pair_free(p);
}

static int
drop_final_ack (watch_t *watch, sim_datagram_t *datagram, const udx_header_t *header) {
  /* the first three acknowledgements of side 1 after it closed */
  return datagram->from_node != watch->sender && header->type == 0 && watch->pair->side[1].closed &&
         watch->acks < 100 && ++watch->messages <= 3;
}

TEST(time_wait_answers_a_late_end) {
  pair_t *p = pair_new(1, NULL);
  watch_t watch;
  watch_start(&watch, p);
  watch.drop = drop_final_ack;
  pair_write(p, 1, 1000);
  pair_end(p, 1);
  sim_run(p->sim, 50 * MS);
  pair_write(p, 0, 1000);
  pair_end(p, 0);
  CHECK(pair_run_closed(p, 20 * S));
  CHECK_EQ(watch.messages, 4);
  check_complete(p, 1000);
  pair_free(p);
}

static int
drop_first_destroy (watch_t *watch, sim_datagram_t *datagram, const udx_header_t *header) {
  (void) watch;
  (void) datagram;
  return (header->type & UDX_HEADER_DESTROY) && watch->destroys == 1;
}

TEST(destroy_is_repeated_to_a_peer_that_goes_on) {
  pair_t *p = pair_new(1, NULL);
  watch_t watch;
  watch_start(&watch, p);
  watch.drop = drop_first_destroy;
  CHECK_EQ(udx_stream_destroy(&p->side[0].stream), 1);
  sim_run(p->sim, 200 * MS);
  CHECK_EQ(p->side[1].closed, 0);
  pair_write(p, 1, 1000);
  CHECK(pair_run_closed(p, 5 * S));
  CHECK_EQ(p->side[1].close_status, UV_ECONNRESET);
  CHECK_EQ(watch.destroys, 2);
  pair_free(p);
}

static void
destroy_self (pair_side_t *side) {
  (void) udx_stream_destroy(&side->stream);
}

static void
destroy_other (pair_side_t *side) {
  (void) udx_stream_destroy(&side->pair->side[0].stream);
}

TEST(udx_47_destroy_from_read) {
  for (int variant = 0; variant < 2; variant++) {
    pair_t *p = pair_new(1, NULL);
    p->side[1].on_data = variant ? destroy_other : destroy_self;
    pair_write(p, 0, 1000000);
    CHECK(pair_run_closed(p, 5 * S));
    CHECK_EQ(p->side[1 - variant].close_status, 0);
    CHECK_EQ(p->side[variant].close_status, UV_ECONNRESET);
    pair_free(p);
  }
}

TEST(teardown_with_everything_alive) {
  pair_t *p = pair_new(3, NULL);
  pair_write(p, 0, 1000000);
  pair_write(p, 1, 1000000);
  sim_run(p->sim, 3 * MS);
  for (int i = 0; i < 2; i++) udx_teardown(&p->side[i].node->udx);
  sim_run(p->sim, 10 * MS);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(p->side[i].finalized, 1);
    CHECK(udx_is_idle(&p->side[i].node->udx));
    udx_stream_t late;
    CHECK_EQ(udx_stream_init(&p->side[i].node->udx, &late, 9, NULL, NULL), UV_EINVAL);
  }
  sim_free(p->sim);
  free(p);
}

/* ---- recovery ---- */

static int
drop_everything (watch_t *watch, sim_datagram_t *datagram, const udx_header_t *header) {
  (void) watch;
  (void) datagram;
  (void) header;
  return 1;
}

TEST(udx_53_silent_peer) {
  pair_t *p = pair_new(1, NULL);
  watch_t watch;
  watch_start(&watch, p);
  watch.drop = drop_everything;
  pair_write(p, 0, 100);
  sim_run(p->sim, 20 * S);
  CHECK_EQ(p->side[0].closed, 1);
  CHECK_EQ(p->side[0].close_status, UV_ETIMEDOUT);
  CHECK_EQ(p->side[0].cancelled, 1);
  CHECK_EQ(p->side[0].close_time - SIM_EPOCH, 13 * S);
  static const uint64_t expected[] = {0, 1, 3, 5, 7, 9, 11};
  CHECK_EQ(watch.count, 7);
  for (int i = 0; i < 7; i++) CHECK_EQ(watch.times[i] - SIM_EPOCH, expected[i] * S);
  sim_set_tap(p->sim, NULL, NULL);
  pair_free(p);
}

/* With an RTT sample the timeout is finer, but the time until the stream gives up is the same. */
TEST(silent_peer_after_samples) {
  pair_t *p = pair_new(1, NULL);
  watch_t watch;
  watch_start(&watch, p);
  pair_write(p, 0, 20000);
  sim_run(p->sim, 1 * S);
  watch.drop = drop_everything;
  uint64_t start = sim_now(p->sim);
  pair_write(p, 0, 100);
  sim_run(p->sim, 40 * S);
  CHECK_EQ(p->side[0].close_status, UV_ETIMEDOUT);
  uint64_t lasted = p->side[0].close_time - start;
  printf("  gave up after %.2f s\n", (double) lasted / 1e6);
  CHECK(lasted >= 12900 * MS && lasted <= 16 * S);
  sim_set_tap(p->sim, NULL, NULL);
  pair_free(p);
}

static int
drop_all_but_first (watch_t *watch, sim_datagram_t *datagram, const udx_header_t *header) {
  if (datagram->from_node != watch->sender || !(header->type & UDX_HEADER_DATA)) return 0;
  if (header->seq == 1) return watch->transmissions[1] <= 2;
  if (header->seq == 2) return watch->transmissions[2] <= 1;
  if (header->seq == 3) return watch->transmissions[3] <= 1;
  return 0;
}

/* Of P0..P3 only P0 arrives; the probe resends P3, its SACK triggers P1 and P2, RACK finds a second loss of P1. */
TEST(udx_56_rack_and_tail_loss_probe) {
  sim_link_t link = sim_link_default();
  link.latency = 20 * MS;
  pair_t *p = pair_new(1, &link);
  watch_t watch;
  watch_start(&watch, p);
  watch.drop = drop_all_but_first;
  pair_write(p, 0, 4 * 1132);
  CHECK(pair_run_received(p, 1, 4 * 1132, 20 * S));
  sim_run(p->sim, 2 * S);
  CHECK_EQ(watch.transmissions[0], 1);
  CHECK_EQ(watch.transmissions[1], 3);
  CHECK_EQ(watch.transmissions[2], 2);
  CHECK_EQ(watch.transmissions[3], 2);
  CHECK_EQ(p->side[0].stream.fast_recovery_count, 1);
  CHECK_EQ(p->side[0].stream.rto_count, 0);
  pair_free(p);
}

TEST(one_way_outage) {
  for (int direction = 0; direction < 2; direction++) {
    sim_link_t link = sim_link_default();
    link.latency = 10 * MS;
    link.rate = 5000000;
    link.queue = 200000;
    pair_t *p = pair_new(5, &link);
    pair_write(p, 0, 10000000);
    sim_run(p->sim, 500 * MS);
    sim_link_t *broken = sim_link(p->side[direction].node, p->side[1 - direction].node);
    broken->down = true;
    sim_run(p->sim, 7 * S);
    broken->down = false;
    finish(p, 10000000, 30 * S);
    printf(
      "  done after %.2f s, %u timeouts\n", (double) (sim_now(p->sim) - SIM_EPOCH) / 1e6, p->side[0].stream.rto_count);
    pair_free(p);
  }
}

/* OBS-1: the gap is reported with the first packet behind it. */
static int
drop_three (watch_t *watch, sim_datagram_t *datagram, const udx_header_t *header) {
  return datagram->from_node == watch->sender && header->seq >= 1 && header->seq <= 3 &&
         watch->transmissions[header->seq] == 1;
}

TEST(udx_24_gap_reported_at_once) {
  pair_t *p = pair_new(1, NULL);
  watch_t watch;
  watch_start(&watch, p);
  watch.drop = drop_three;
  pair_write(p, 0, 5 * 1152 - 10);
  sim_run(p->sim, 2 * MS);
  CHECK(watch.sacks >= 1);
  sim_run(p->sim, 100 * MS);
  CHECK_EQ(p->side[1].received, 5 * 1152 - 10);
  CHECK_EQ(p->side[0].stream.rto_count, 0);
  pair_free(p);
}

/* Packet reordering within a quarter of the RTT must not look like loss for long. */
TEST(reordering_is_not_loss) {
  sim_link_t link = sim_link_default();
  link.latency = 20 * MS;
  link.rate = 5000000;
  link.reorder = 0.05;
  link.reorder_delay = 4 * MS;
  pair_t *p = pair_new(11, &link);
  pair_write(p, 0, 10000000);
  finish(p, 10000000, 30 * S);
  udx_stream_t *s = &p->side[0].stream;
  printf("  %u of %llu resent\n", s->retransmit_count, (unsigned long long) s->packets_tx);
  CHECK(s->retransmit_count * 50 < s->packets_tx);
  pair_free(p);
}

/* ---- full sockets ---- */

static void
unblock (sim_t *sim, void *ctx) {
  pair_t *p = ctx;
  int side = (int) (sim_random(sim) % 2);
  sim_node_t *node = p->side[side].node;
  sim_node_block(node, !node->blocked && sim_random(sim) % 2);
  sim_after(sim, sim_random(sim) % (5 * MS), unblock, p);
}

TEST(full_sockets) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    pair_t *p = pair_new(seed, NULL);
    sim_after(p->sim, 1, unblock, p);
    pair_write(p, 0, 2000000);
    pair_write(p, 1, 500000);
    finish(p, 2000000, 120 * S);
    CHECK_EQ(p->side[0].received, 500000);
    for (int i = 0; i < 2; i++) sim_node_block(p->side[i].node, false);
    pair_free(p);
  }
}

TEST_MAIN(TEST_ENTRY(udx_26_sequence_wrap), TEST_ENTRY(udx_31_data_before_connect),
  TEST_ENTRY(time_wait_answers_a_late_end), TEST_ENTRY(destroy_is_repeated_to_a_peer_that_goes_on),
  TEST_ENTRY(udx_47_destroy_from_read), TEST_ENTRY(teardown_with_everything_alive), TEST_ENTRY(udx_53_silent_peer),
  TEST_ENTRY(silent_peer_after_samples), TEST_ENTRY(udx_56_rack_and_tail_loss_probe), TEST_ENTRY(one_way_outage),
  TEST_ENTRY(udx_24_gap_reported_at_once), TEST_ENTRY(reordering_is_not_loss), TEST_ENTRY(full_sockets))
