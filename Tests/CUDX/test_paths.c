/* Change of remote, relays and packets from off the path in the simulator. */
#include "watch.h"

/* ---- migration and relay ---- */

static int changed;

static void
on_changed (udx_stream_t *stream) {
  (void) stream;
  changed++;
}

static void
on_plain_close (udx_socket_t *socket) {
  (void) socket;
}

TEST(udx_74_change_of_remote) {
  for (uint64_t seed = 1; seed <= 5; seed++) {
    sim_link_t link = sim_link_default();
    link.latency = 10 * MS;
    link.rate = 5000000;
    link.loss = 0.005;
    pair_t *p = pair_new(seed, &link);
    pair_write(p, 0, 5000000);
    sim_run(p->sim, 300 * MS);
    /* side 0 moves to a new socket of its own, then side 1 follows */
    udx_socket_t moved;
    memset(&moved, 0, sizeof(moved));
    CHECK_EQ(udx_socket_init(&p->side[0].node->udx, &moved, on_plain_close), 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(7001)};
    CHECK_EQ(udx_socket_bind(&moved, (struct sockaddr *) &any, 0), 0);
    struct sockaddr_in b = sim_address4(p->side[1].node, 5002), a = sim_address4(p->side[0].node, 7001);
    changed = 0;
    CHECK_EQ(udx_stream_change_remote(&p->side[0].stream, &moved, 2, (struct sockaddr *) &b, on_changed), 0);
    sim_run(p->sim, 50 * MS);
    CHECK(udx_stream_change_remote(&p->side[1].stream, &p->side[1].socket, 1, (struct sockaddr *) &a, on_changed) >= 0);
    finish(p, 5000000, 60 * S);
    CHECK_EQ(changed, 1);
    CHECK_EQ(udx_socket_close(&moved), 0);
    sim_run(p->sim, 1 * MS);
    pair_free(p);
  }
}

/* A wrong address gets no more than an initial window. */
static uint32_t unvalidated_received;

static void
count_raw (sim_t *sim, const sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  (void) datagram;
  (void) ctx;
  unvalidated_received++;
}

TEST(unvalidated_remote_is_spared) {
  sim_link_t link = sim_link_default();
  link.latency = 10 * MS;
  pair_t *p = pair_new(1, &link);
  pair_write(p, 0, 3000000);
  sim_run(p->sim, 100 * MS);
  struct sockaddr_in victim;
  CHECK_EQ(uv_ip4_addr("192.0.2.1", 9, &victim), 0);
  sim_raw(p->sim, (struct sockaddr *) &victim, count_raw, NULL);
  unvalidated_received = 0;
  CHECK(udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &victim, NULL) >= 0);
  pair_write(p, 0, 3000000);
  sim_run(p->sim, 200 * MS);
  CHECK(unvalidated_received > 0 && unvalidated_received <= UDX_AMPLIFICATION_PACKETS + 4);
  pair_free(p);
}

typedef struct relay_s {
  sim_node_t *node;
  udx_socket_t socket;
  udx_stream_t stream[2];
  int status[2], finalized;
} relay_t;

static void
relay_close (udx_stream_t *stream, int status) {
  relay_t *relay = stream->data;
  relay->status[stream == &relay->stream[1]] = status;
}

static void
relay_finalize (udx_stream_t *stream) {
  ((relay_t *) stream->data)->finalized++;
}

TEST(udx_77_78_relay) {
  sim_link_t link = sim_link_default();
  link.loss = 0.01;
  pair_t *p = pair_new_unconnected(9, &link);
  pair_bind(p);
  relay_t relay;
  memset(&relay, 0, sizeof(relay));
  relay.node = sim_node(p->sim);
  udx_t *udx = &relay.node->udx;
  CHECK_EQ(udx_socket_init(udx, &relay.socket, on_plain_close), 0);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(6000)};
  CHECK_EQ(udx_socket_bind(&relay.socket, (struct sockaddr *) &any, 0), 0);
  for (int i = 0; i < 2; i++) {
    relay.stream[i].data = &relay;
    CHECK_EQ(udx_stream_init(udx, &relay.stream[i], 11u + (uint32_t) i, relay_close, relay_finalize), 0);
    struct sockaddr_in to = sim_address4(p->side[i].node, (uint16_t) (5001 + i));
    CHECK_EQ(udx_stream_connect(&relay.stream[i], &relay.socket, 1u + (uint32_t) i, (struct sockaddr *) &to), 0);
  }
  CHECK_EQ(udx_stream_relay_to(&relay.stream[0], &relay.stream[1]), 0);
  CHECK_EQ(udx_stream_relay_to(&relay.stream[1], &relay.stream[0]), 0);
  CHECK_EQ(udx_stream_relay_to(&relay.stream[0], &relay.stream[1]), UV_EINVAL);
  struct sockaddr_in via = sim_address4(relay.node, 6000);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(
      udx_stream_connect(&p->side[i].stream, &p->side[i].socket, 11u + (uint32_t) i, (struct sockaddr *) &via), 0);
  }
  pair_write(p, 0, 2000000);
  CHECK(pair_run_received(p, 1, 2000000, 60 * S));
  CHECK_EQ(p->side[1].mismatches, 0);
  CHECK_EQ(udx_stream_destroy(&p->side[0].stream), 1);
  CHECK(pair_run_closed(p, 5 * S));
  CHECK_EQ(p->side[1].close_status, UV_ECONNRESET);
  sim_run(p->sim, 10 * MS);
  CHECK_EQ(relay.finalized, 2);
  CHECK_EQ(relay.status[0], UV_ECONNRESET);
  CHECK_EQ(relay.status[1], 0);
  CHECK_EQ(udx_socket_close(&relay.socket), 0);
  sim_run(p->sim, 1 * MS);
  pair_free(p);
}

/* ---- injection ---- */

TEST(off_path_packets) {
  pair_t *p = pair_new(1, NULL);
  pair_write(p, 0, 100000);
  sim_run(p->sim, 100 * MS);
  struct sockaddr_in to = sim_address4(p->side[1].node, 5002), from;
  CHECK_EQ(uv_ip4_addr("192.0.2.66", 666, &from), 0);
  uint64_t received = p->side[1].received;
  for (int i = 0; i < 20000; i++) {
    udx_header_t header = {
      .type = i % 2 ? UDX_HEADER_DESTROY : UDX_HEADER_DATA,
      .id = 2,
      .window = 0,
      .seq = (uint32_t) sim_random(p->sim),
      .ack = (uint32_t) sim_random(p->sim),
    };
    uint8_t bytes[UDX_HEADER_SIZE + 4] = {0};
    udx__header_encode(bytes, &header);
    sim_inject(p->sim, (struct sockaddr *) &from, (struct sockaddr *) &to, bytes, sizeof(bytes), (uint64_t) i);
  }
  sim_run(p->sim, 100 * MS);
  CHECK_EQ(p->side[1].closed, 0);
  CHECK_EQ(p->side[1].received, received);
  pair_write(p, 0, 100000);
  finish(p, 200000, 10 * S);
  pair_free(p);
}

TEST_MAIN(TEST_ENTRY(udx_74_change_of_remote), TEST_ENTRY(unvalidated_remote_is_spared), TEST_ENTRY(udx_77_78_relay),
  TEST_ENTRY(off_path_packets))
