/* Packets of the peer that the path does not carry: the stream says so, and nothing else makes it say so. */
#include "watch.h"

static uint32_t path_mtu;
static sim_node_t *deployed; /* sends with don't-fragment only, and does not answer HEARTBEATs */
static bool is_narrow_both_ways;
static uint32_t known;    /* the error comes at least with this size */
static uint32_t numbered; /* packets that it has given a number and not sent */

static sim_verdict_t
drop_large (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  (void) ctx;
  udx_header_t header;
  if (!udx__header_decode(datagram->data, datagram->length, &header)) return SIM_PASS;
  if (is_narrow_both_ways && !datagram->fragment && datagram->length + 28 > path_mtu) return SIM_DROP;
  if (datagram->from_node != deployed) return header.type & UDX_HEADER_HEARTBEAT ? SIM_DROP : SIM_PASS;
  if (datagram->length + 28 > path_mtu) return SIM_DROP;
  if (header.type == 0) {
    header.seq += numbered;
    udx__header_encode(datagram->data, &header);
  }
  return SIM_PASS;
}

static pair_t *
gap_pair (uint64_t seed, double loss, uint32_t keepalive) {
  sim_link_t link = sim_link_default();
  link.latency = 20 * MS;
  link.rate = 5000000;
  link.loss = loss;
  pair_t *p = pair_new(seed, &link);
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, keepalive), 0);
  deployed = p->side[1].node;
  path_mtu = 10000;
  numbered = 0;
  is_narrow_both_ways = false;
  known = UDX_MTU_MIN;
  return p;
}

static void
check_noticed (pair_t *p, uint64_t begin, bool ended) {
  for (int i = 0; i < 15; i++) {
    if (i % 5 == 4 && !ended && !p->side[0].closed) pair_write(p, 0, 20); /* as a secret stream's keepalive */
    sim_run(p->sim, 1 * S);
  }
  CHECK_EQ(p->side[0].closed, 1);
  CHECK_EQ(p->side[0].close_status, UV_EMSGSIZE);
  uint16_t mtu;
  CHECK_EQ(udx_stream_get_mtu(&p->side[0].stream, &mtu), 0);
  CHECK(mtu >= known && mtu <= path_mtu);
  CHECK(p->side[0].close_time - begin <= 15 * S);
  CHECK(p->side[0].close_time - begin >= 7 * S);
  CHECK(p->side[0].close_time - begin <= 12500 * MS); /* before the peer gives up */
  CHECK_EQ(p->side[1].closed, 1);
  CHECK_EQ(p->side[1].close_status, UV_ECONNRESET);
  pair_free(p);
}

/* The first packet of the peer is too large, one in the middle is, all are; this side is idle, sends, or has ended. */
TEST(too_large_packets_of_the_peer_are_an_error) {
  static const uint32_t mtus[] = {576, 1100, 1199};
  for (size_t i = 0; i < sizeof(mtus) / sizeof(*mtus); i++) {
    for (int first = 0; first <= 1; first++) {
      for (int what = 0; what < 4; what++) {
        pair_t *p = gap_pair(1 + i, 0, 5000);
        sim_set_tap(p->sim, drop_large, NULL);
        pair_write(p, 0, 100);
        if (!first) pair_write(p, 1, 100);
        sim_run(p->sim, 1 * S);
        path_mtu = mtus[i];
        uint64_t begin = sim_now(p->sim);
        if (what == 1) pair_end(p, 0);
        pair_write(p, 1, what == 2 ? 1180 : 50000);
        for (int k = 0; k < 10 && what == 3; k++) {
          pair_write(p, 0, 200);
          sim_run(p->sim, 100 * MS);
        }
        check_noticed(p, begin, what == 1);
      }
    }
  }
}

/* What the search of the other direction has shown of the path. */
TEST(the_error_comes_with_what_the_path_takes) {
  static const uint32_t mtus[] = {640, 800, 1100, 1199};
  for (size_t i = 0; i < sizeof(mtus) / sizeof(*mtus); i++) {
    pair_t *p = gap_pair(1 + i, 0, 5000);
    sim_set_tap(p->sim, drop_large, NULL);
    is_narrow_both_ways = true;
    path_mtu = mtus[i];
    pair_write(p, 0, 500000);
    CHECK(pair_run_received(p, 1, 500000, 60 * S));
    known = path_mtu - 2 * UDX_MTU_STEP;
    pair_write(p, 1, 50000);
    check_noticed(p, sim_now(p->sim), false);
  }
}

/* A path that loses much loses small packets and large ones: streams end as they did, never for the size. */
TEST(loss_is_no_gap) {
  uint32_t finished = 0;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    pair_t *p = gap_pair(seed, 0.05 * (double) (seed % 10), 1000);
    pair_write(p, 1, 200000);
    pair_write(p, 0, 2000);
    sim_run(p->sim, 600 * S);
    for (int k = 0; k < 2; k++) CHECK(p->side[k].close_status != UV_EMSGSIZE);
    if (p->side[0].received == 200000) finished++;
    pair_free(p);
  }
  CHECK(finished >= 200);
}

/* Outages of the direction towards us, of every length: small packets do not get through either. */
TEST(an_outage_is_no_gap) {
  for (uint64_t ms = 500; ms <= 14000; ms += 500) {
    pair_t *p = gap_pair(1, 0, 1000);
    pair_write(p, 1, 200000);
    pair_write(p, 0, 2000);
    sim_run(p->sim, 60 * MS);
    sim_link(p->side[1].node, p->side[0].node)->down = true;
    sim_run(p->sim, ms * MS);
    sim_link(p->side[1].node, p->side[0].node)->down = false;
    sim_run(p->sim, 60 * S);
    for (int k = 0; k < 2; k++) CHECK(p->side[k].close_status != UV_EMSGSIZE);
    if (ms <= 10000) CHECK_EQ(p->side[0].received, 200000);
    pair_free(p);
  }
}

/*
 * A reader that pauses while its peer has more to say than fits, and asks whether the peer is there all the time. Some
 * peers number what they have not sent yet.
 */
TEST(a_paused_reader_is_no_gap) {
  for (int reads = 0; reads <= 1; reads++) {
    pair_t *p = gap_pair(1, 0.01, 1000);
    sim_set_tap(p->sim, drop_large, NULL);
    udx_stream_read_stop(&p->side[0].stream);
    for (int i = 0; i < 20; i++) pair_write(p, 1, 1 << 20);
    for (int i = 0; i < 600; i++) {
      pair_write(p, 0, 10);
      if (i == 100) numbered = 50;
      sim_run(p->sim, 100 * MS);
    }
    CHECK_EQ(p->side[0].closed + p->side[1].closed, 0);
    if (reads) {
      numbered = 0;
      pair_read_start(p, 0);
      CHECK(pair_run_received(p, 0, 20 << 20, 60 * S));
    }
    pair_free(p);
  }
}

TEST_MAIN(TEST_ENTRY(too_large_packets_of_the_peer_are_an_error), TEST_ENTRY(the_error_comes_with_what_the_path_takes),
  TEST_ENTRY(loss_is_no_gap), TEST_ENTRY(an_outage_is_no_gap), TEST_ENTRY(a_paused_reader_is_no_gap))
