/*
 * A remote that only others have named (engine/path_validation.c): what it gets before it speaks, and that a peer which
 * does speak is served, whatever was lost until then.
 */
#include "migration_support.h"

static uint64_t victim_datagrams;

static void
on_victim (sim_t *sim, const sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  (void) datagram;
  (void) ctx;
  victim_datagrams++;
}

/* Side 0 names a host that knows of nothing. */
static pair_t *
misled_pair (uint64_t seed, int limited) {
  pair_t *p = pair_new(seed, NULL);
  struct sockaddr_in victim;
  CHECK_EQ(uv_ip4_addr("192.0.2.1", 9, &victim), 0);
  sim_raw(p->sim, (struct sockaddr *) &victim, on_victim, NULL);
  victim_datagrams = 0;
  CHECK(udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &victim, NULL) >= 0);
  if (limited) CHECK_EQ(udx_stream_limit_unheard(&p->side[0].stream), 0);
  return p;
}

/* Data, repetitions, the END, keepalives: three packets of all together, and the end comes when it did before. */
TEST(claimed_remote_gets_three_packets) {
  for (int run = 0; run < 8; run++) {
    int what = run / 2, limited = run % 2;
    static uint64_t usual_end;
    static int usual_status;
    pair_t *p = misled_pair(1, limited);
    if (what == 0) pair_write(p, 0, 20);
    if (what == 1) pair_write(p, 0, 3000000);
    if (what == 2) pair_end(p, 0);
    if (what == 3) CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, 1000), 0);
    sim_run(p->sim, 5 * S);
    CHECK(victim_datagrams > 0);
    sim_run(p->sim, 60 * S);
    printf("  %llu datagrams, closed with %d\n", (unsigned long long) victim_datagrams, p->side[0].close_status);
    if (limited) {
      CHECK(victim_datagrams <= UDX_CLAIMED_PACKETS);
      CHECK_EQ(p->side[0].close_status, usual_status);
      CHECK_EQ(p->side[0].close_time, usual_end);
    } else {
      CHECK(victim_datagrams > UDX_CLAIMED_PACKETS);
      usual_end = p->side[0].close_time;
      usual_status = p->side[0].close_status;
    }
    pair_free(p);
  }
}

/* The reset counts, too. */
TEST(claimed_remote_is_told_within_the_three) {
  for (int wait = 0; wait < 2; wait++) {
    pair_t *p = misled_pair(2, 1);
    pair_write(p, 0, 20);
    sim_run(p->sim, wait ? 10 * S : 10 * MS);
    uint64_t before = victim_datagrams;
    CHECK_EQ(before, wait ? UDX_CLAIMED_PACKETS : 1);
    udx_stream_destroy(&p->side[0].stream);
    sim_run(p->sim, 20 * S);
    CHECK_EQ(victim_datagrams - before, wait ? 0 : 1);
    pair_free(p);
  }
}

/* A packet in five is lost each way, and both sides begin: as with no limit. */
TEST(claimed_remote_that_speaks_is_served) {
  uint64_t times[2] = {0, 0};
  for (int limited = 0; limited < 2; limited++) {
    for (uint64_t seed = 1; seed <= 100; seed++) {
      sim_link_t link = sim_link_default();
      link.latency = 20 * MS;
      link.loss = 0.2;
      pair_t *p = pair_new(seed, &link);
      if (limited) CHECK_EQ(udx_stream_limit_unheard(&p->side[0].stream), 0);
      pair_write(p, 0, 20);
      pair_write(p, 1, 20);
      uint64_t began = sim_now(p->sim);
      CHECK(pair_run_received(p, 0, 20, 13 * S) && pair_run_received(p, 1, 20, 13 * S));
      times[limited] += sim_now(p->sim) - began;
      pair_write(p, 0, 30000);
      finish(p, 30020, 20, 60 * S);
      pair_free(p);
    }
  }
  printf("  %.3f s with the limit, %.3f s without\n", (double) times[1] / 1e8, (double) times[0] / 1e8);
  CHECK(times[1] < times[0] * 5 / 4);
}

/* All three are lost; the first packet of the peer, after six seconds, opens the way at once. */
TEST(first_packet_of_a_claimed_remote_lifts_the_limit) {
  sim_link_t link = sim_link_default();
  link.latency = 10 * MS;
  pair_t *p = pair_new(3, &link);
  CHECK_EQ(udx_stream_limit_unheard(&p->side[0].stream), 0);
  sim_link_t *there = sim_link(p->side[0].node, p->side[1].node);
  there->loss = 1;
  pair_write(p, 0, 20);
  sim_run(p->sim, 6 * S);
  CHECK_EQ(p->side[0].stream.packets_tx, UDX_CLAIMED_PACKETS);
  there->loss = 0;
  pair_write(p, 1, 20);
  sim_run(p->sim, 50 * MS);
  CHECK_EQ(p->side[1].received, 20);
  CHECK_EQ(p->side[0].received, 20);
  finish(p, 20, 20, 10 * S);
  pair_free(p);
}

/* Ways are odd: the peer answers to another socket than the one that sends to it. */
TEST(claimed_remote_may_speak_to_another_socket) {
  pair_t *p = pair_new(5, NULL);
  udx_socket_t socket;
  open_socket(p->side[0].node, &socket, AF_INET, 4000);
  struct sockaddr_in peer = sim_address4(p->side[1].node, 5002);
  CHECK(udx_stream_change_remote(&p->side[0].stream, &socket, 2, (struct sockaddr *) &peer, NULL) >= 0);
  CHECK_EQ(udx_stream_limit_unheard(&p->side[0].stream), 0);
  pair_write(p, 1, 20);
  pair_write(p, 0, 300000);
  finish(p, 300000, 20, 2 * S);
  close_sockets(p, &socket, 1);
  pair_free(p);
}

static void
inject (pair_t *p, const struct sockaddr_in *from, const udx_header_t *header) {
  uint8_t bytes[UDX_HEADER_SIZE + 1] = {0};
  struct sockaddr_in to = sim_address4(p->side[0].node, 5001);
  udx__header_encode(bytes, header);
  size_t length = header->type & UDX_HEADER_DATA ? sizeof(bytes) : UDX_HEADER_SIZE;
  sim_inject(p->sim, (const struct sockaddr *) from, (struct sockaddr *) &to, bytes, length, 1 * MS);
  sim_run(p->sim, 10 * MS);
}

/* What comes from elsewhere has an acknowledgement, too: the first packet of the remote frees it, or another remote. */
TEST(acknowledgement_waits_for_the_remote) {
  for (int moves = 0; moves <= 1; moves++) {
    pair_t *p = pair_new(6, NULL);
    struct sockaddr_in elsewhere, remote = sim_address4(p->side[1].node, 5002);
    CHECK_EQ(uv_ip4_addr("192.0.2.1", 9, &elsewhere), 0);
    CHECK_EQ(udx_stream_limit_unheard(&p->side[0].stream), 0);
    udx_header_t header = {.type = UDX_HEADER_DATA, .id = 1, .window = UDX_WINDOW_DEFAULT};
    for (; header.seq < 5; header.seq++) inject(p, &elsewhere, &header);
    CHECK_EQ(p->side[0].received, 5);
    CHECK_EQ(p->side[0].stream.packets_tx, UDX_CLAIMED_PACKETS);
    header.type = 0;
    if (!moves) {
      inject(p, &remote, &header);
    } else {
      remote.sin_port = htons(5003);
      CHECK(udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &remote, NULL) > 0);
      sim_run(p->sim, 10 * MS);
    }
    CHECK_EQ(p->side[0].stream.packets_tx, UDX_CLAIMED_PACKETS + 1);
    pair_free(p);
  }
}

TEST(limit_needs_a_remote) {
  pair_t *p = pair_new(4, NULL);
  udx_stream_t stream;
  CHECK_EQ(udx_stream_init(&p->side[0].node->udx, &stream, 77, NULL, NULL), 0);
  CHECK_EQ(udx_stream_limit_unheard(&stream), UV_ENOTCONN);
  udx_stream_destroy(&stream);
  sim_run(p->sim, 1 * MS);
  pair_free(p);
}

TEST_MAIN(TEST_ENTRY(claimed_remote_gets_three_packets), TEST_ENTRY(claimed_remote_is_told_within_the_three),
  TEST_ENTRY(claimed_remote_that_speaks_is_served), TEST_ENTRY(first_packet_of_a_claimed_remote_lifts_the_limit),
  TEST_ENTRY(claimed_remote_may_speak_to_another_socket), TEST_ENTRY(acknowledgement_waits_for_the_remote),
  TEST_ENTRY(limit_needs_a_remote))
