/* Paths smaller than the base size (udx.md 5, RFC 8899): transfers, shrinking and growing paths, outages, datagrams. */
#include "watch.h"

static uint32_t fragments, oversize, oversize_acks;
static uint32_t path_mtu;

/* What may be fragmented has to be a packet that was built when a larger size was believed in. */
static sim_verdict_t
count_fragments (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  (void) ctx;
  udx_header_t header;
  uint32_t size = (uint32_t) datagram->length + 28;
  if (size <= path_mtu) return SIM_PASS;
  oversize++;
  if (udx__header_decode(datagram->data, datagram->length, &header) && header.type == UDX_HEADER_SACK) oversize_acks++;
  if (datagram->fragment) fragments++;
  return SIM_PASS;
}

static pair_t *
small_new (uint64_t seed, uint32_t mtu, double loss) {
  sim_link_t link = sim_link_default();
  link.latency = 20 * MS;
  link.mtu = path_mtu = mtu;
  link.rate = 5000000;
  link.loss = loss;
  fragments = oversize = oversize_acks = 0;
  pair_t *p = pair_new(seed, &link);
  sim_set_tap(p->sim, count_fragments, NULL);
  return p;
}

static void
set_mtu (pair_t *p, uint32_t mtu) {
  sim_link(p->side[0].node, p->side[1].node)->mtu = mtu;
  sim_link(p->side[1].node, p->side[0].node)->mtu = mtu;
  path_mtu = mtu;
}

TEST(transfer_over_every_path) {
  static const uint32_t mtus[] = {576, 577, 600, 700, 830, 831, 832, 1000, 1100, 1190, 1199, 1200, 1500};
  for (size_t i = 0; i < sizeof(mtus) / sizeof(*mtus); i++) {
    for (int before = 0; before <= 1; before++) {
      pair_t *p = small_new(1, mtus[i], 0);
      if (before) pair_write(p, 0, 100); /* a small packet arrives first, as a handshake does */
      sim_run(p->sim, 200 * MS);
      uint64_t begin = sim_now(p->sim);
      pair_write(p, 0, 8 << 20);
      finish(p, (8 << 20) + (before ? 100 : 0), 13 * S);
      udx_stream_t *s = &p->side[0].stream;
      printf("  path %u: mtu %u, %u of %u oversize were fragmented, %.1f s\n", mtus[i], s->mtu, fragments, oversize,
        (double) (sim_now(p->sim) - begin) / 1e6);
      CHECK(s->mtu <= mtus[i]);
      CHECK(s->mtu + 32u > mtus[i] || s->mtu > 1400); /* the search goes on */
      CHECK(fragments <= 100);                        /* the packets of the first flights, and no others */
      pair_free(p);
    }
  }
}

TEST(transfer_over_small_paths_with_loss) {
  for (uint64_t seed = 1; seed <= 100; seed++) {
    pair_t *p = small_new(seed, 576 + (uint32_t) (seed * 37 % 700), 0.02);
    pair_write(p, 0, 300000);
    pair_write(p, 1, 300000);
    finish(p, 300000, 60 * S);
    CHECK_EQ(p->side[0].received, 300000);
    pair_free(p);
  }
}

/* The path shrinks under a transfer, as when a tunnel comes up, and grows again. */
TEST(path_shrinks_and_grows) {
  static const uint32_t mtus[] = {576, 800, 1100, 1280};
  for (size_t i = 0; i < sizeof(mtus) / sizeof(*mtus); i++) {
    pair_t *p = small_new(1, 1500, 0);
    pair_write(p, 0, 8 << 20);
    CHECK(pair_run_received(p, 1, 8 << 20, 20 * S));
    CHECK_EQ(p->side[0].stream.mtu, 1500);
    set_mtu(p, mtus[i]);
    pair_write(p, 0, 8 << 20);
    CHECK(pair_run_received(p, 1, 16 << 20, 20 * S));
    CHECK(p->side[0].stream.mtu <= mtus[i]);
    set_mtu(p, 1500);
    sim_run(p->sim, 601 * S); /* the raise timer */
    pair_write(p, 0, 16 << 20);
    finish(p, 32 << 20, 60 * S);
    CHECK_EQ(p->side[0].stream.mtu, 1500);
    CHECK_EQ(p->side[1].mismatches, 0);
    pair_free(p);
  }
}

/* An outage looks like a black hole. Afterwards the size is soon the old one. */
TEST(outage_costs_a_few_round_trips) {
  pair_t *p = small_new(1, 1500, 0);
  pair_write(p, 0, 8 << 20);
  CHECK(pair_run_received(p, 1, 8 << 20, 20 * S));
  sim_link(p->side[0].node, p->side[1].node)->down = true;
  pair_write(p, 0, 4 << 20);
  sim_run(p->sim, 10 * S);
  CHECK(p->side[0].stream.mtu < 1500);
  sim_link(p->side[0].node, p->side[1].node)->down = false;
  CHECK(pair_run_received(p, 1, 9 << 20, 10 * S));
  pair_write(p, 0, 16 << 20);
  finish(p, 28 << 20, 20 * S);
  CHECK_EQ(p->side[0].stream.mtu, 1500);
  pair_free(p);
}

/* A receiver reports no more ranges than fit the smallest path until larger packets of its own have arrived. */
TEST(acknowledgements_fit) {
  pair_t *p = small_new(1, 576, 0);
  struct sockaddr_in from = sim_address4(p->side[0].node, 5001), to = sim_address4(p->side[1].node, 5002);
  for (uint32_t seq = 1; seq < 4 * UDX_SACK_BLOCKS_MAX; seq += 2) {
    udx_header_t header = {.type = UDX_HEADER_DATA, .id = 2, .window = UDX_WINDOW_DEFAULT, .seq = seq};
    uint8_t bytes[UDX_HEADER_SIZE + 1] = {0};
    udx__header_encode(bytes, &header);
    sim_inject(p->sim, (struct sockaddr *) &from, (struct sockaddr *) &to, bytes, sizeof(bytes), seq);
  }
  sim_run(p->sim, 1 * S);
  CHECK(udx__stream(&p->side[1].stream)->reorder.count > 2 * UDX_SACK_BLOCKS_MAX - 2);
  CHECK_EQ(udx__mtu_ranges(&p->side[1].stream), (576 - 48) / 8);
  CHECK_EQ(oversize_acks, 0);
  pair_free(p);
}

/* ---- datagrams of the application ---- */

static int messages_sent;

static void
on_sent (udx_socket_send_t *req, int status) {
  (void) req;
  CHECK_EQ(status, 0);
  messages_sent++;
}

static uint32_t datagrams;

static void
on_datagram (udx_socket_t *socket, ssize_t length, const uv_buf_t *buf, const struct sockaddr *from) {
  (void) socket;
  (void) buf;
  (void) from;
  CHECK(length == 500 || length == 1100);
  datagrams++;
}

/* They cannot be cut: what is longer than the least size may be fragmented, the rest is not. */
TEST(datagrams_cross_a_small_path) {
  pair_t *p = small_new(1, 576, 0);
  CHECK_EQ(udx_socket_recv_start(&p->side[1].socket, on_datagram), 0);
  struct sockaddr_in to = sim_address4(p->side[1].node, 5002);
  static char bytes[1100];
  udx_socket_send_t reqs[2];
  datagrams = 0;
  messages_sent = 0;
  for (int i = 0; i < 2; i++) {
    uv_buf_t buf = uv_buf_init(bytes, i ? 1100 : 500);
    CHECK_EQ(udx_socket_send(&reqs[i], &p->side[0].socket, &buf, 1, (struct sockaddr *) &to, on_sent), 0);
  }
  sim_run(p->sim, 1 * S);
  CHECK_EQ(messages_sent, 2);
  CHECK_EQ(datagrams, 2);
  CHECK_EQ(fragments, 1);
  pair_free(p);
}

TEST_MAIN(TEST_ENTRY(transfer_over_every_path), TEST_ENTRY(transfer_over_small_paths_with_loss),
  TEST_ENTRY(path_shrinks_and_grows), TEST_ENTRY(outage_costs_a_few_round_trips), TEST_ENTRY(acknowledgements_fit),
  TEST_ENTRY(datagrams_cross_a_small_path))
