/* Change of remote from callbacks, from a relay to the direct path, and on real sockets (udx.md 2.9). */
#include "migration_support.h"

static int changed;

static void
on_changed (udx_stream_t *stream) {
  (void) stream;
  changed++;
}

/* ---- callbacks ---- */

static udx_socket_t *chain_sockets;
static int chain_left, chain_calls;

static void
chain_next (udx_stream_t *stream) {
  chain_calls++;
  if (chain_left == 0) return;
  chain_left--;
  pair_side_t *side = stream->data;
  struct sockaddr_in to = sim_address4(side->pair->side[1].node, 5002);
  int err = udx_stream_change_remote(stream, &chain_sockets[chain_left % 3], 2, (struct sockaddr *) &to, chain_next);
  CHECK(err >= 0);
  if (err == 1) chain_next(stream);
}

TEST(udx_75_change_from_the_callback_of_a_change) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    sim_link_t link = sim_link_default();
    link.loss = 0.05;
    pair_t *p = pair_new(seed, &link);
    udx_socket_t sockets[3];
    for (int i = 0; i < 3; i++) open_socket(p->side[0].node, &sockets[i], AF_INET, (uint16_t) (7001 + i));
    chain_sockets = sockets;
    chain_left = 10;
    chain_calls = -1;
    pair_write(p, 0, 4000000);
    sim_run(p->sim, 10 * MS);
    chain_next(&p->side[0].stream);
    finish(p, 4000000, 0, 60 * S);
    CHECK_EQ(chain_calls, 10);
    CHECK_EQ(chain_left, 0);
    sim_run(p->sim, 100 * MS);
    close_sockets(p, sockets, 3);
    pair_free(p);
  }
}

/* The write's callback comes with the acknowledgement that completes the change, and changes again. */
static udx_stream_t *again_stream;
static struct sockaddr_in again_to;
static int again_result, again_second;

static void
on_second (udx_stream_t *stream) {
  (void) stream;
  again_second++;
}

static void
on_write_changes (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  CHECK_EQ(status, 0);
  free(req);
  again_result =
    udx_stream_change_remote(again_stream, again_stream->socket, 2, (struct sockaddr *) &again_to, on_second);
}

TEST(udx_75_change_completes_although_a_write_callback_changes_again) {
  for (int more = 0; more < 2; more++) {
    pair_t *p = pair_new(1, NULL);
    again_stream = &p->side[0].stream;
    again_to = sim_address4(p->side[1].node, 5002);
    again_second = changed = 0;
    static const char text[50000] = {0};
    udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
    CHECK(req != NULL);
    uv_buf_t buf = uv_buf_init((char *) (uintptr_t) text, 1000);
    CHECK(udx_stream_write(req, again_stream, &buf, 1, on_write_changes) >= 0);
    sim_run(p->sim, 1500);
    CHECK_EQ(
      udx_stream_change_remote(again_stream, &p->side[0].socket, 2, (struct sockaddr *) &again_to, on_changed), 0);
    if (more) {
      /* behind the change: still outstanding when the first write is acknowledged */
      udx_stream_write_t *second = malloc((size_t) udx_stream_write_sizeof(1));
      CHECK(second != NULL);
      CHECK(udx_stream_write(second, again_stream, &buf, 1, NULL) >= 0);
      sim_run(p->sim, 500);
      sim_run(p->sim, 1 * S);
      CHECK_EQ(again_result, 0);
      CHECK_EQ(again_second, 1);
      free(second);
    } else {
      sim_run(p->sim, 1 * S);
      CHECK_EQ(again_result, 1);
      CHECK_EQ(again_second, 0);
    }
    CHECK_EQ(changed, 1);
    pair_free(p);
  }
}

static int order[2], ordered;

static void
on_first_of_two (udx_stream_t *stream) {
  (void) stream;
  order[ordered++] = 1;
}

static void
on_second_of_two (udx_stream_t *stream) {
  (void) stream;
  order[ordered++] = 2;
}

/* A change before the earlier one is acknowledged: each is reported, the earlier one first. */
TEST(udx_74_two_changes_outstanding_call_both_callbacks) {
  for (int between = 0; between < 2; between++) {
    pair_t *p = pair_new(1, NULL);
    udx_stream_t *stream = &p->side[0].stream;
    struct sockaddr_in to = sim_address4(p->side[1].node, 5002);
    ordered = 0;
    pair_write(p, 0, 1000);
    sim_run(p->sim, 100);
    CHECK_EQ(udx_stream_change_remote(stream, &p->side[0].socket, 2, (struct sockaddr *) &to, on_first_of_two), 0);
    if (between) pair_write(p, 0, 1000);
    sim_run(p->sim, 100);
    CHECK_EQ(udx_stream_change_remote(stream, &p->side[0].socket, 2, (struct sockaddr *) &to, on_second_of_two), 0);
    CHECK_EQ(ordered, 0);
    sim_run(p->sim, 1 * S);
    CHECK_EQ(ordered, 2);
    CHECK_EQ(order[0], 1);
    CHECK_EQ(order[1], 2);
    pair_free(p);
  }
}

static int read_moves;

static void
move_on_data (pair_side_t *side) {
  if (read_moves-- <= 0) return;
  pair_side_t *other = &side->pair->side[side == &side->pair->side[0]];
  struct sockaddr_in to = sim_address4(other->node, other == &side->pair->side[0] ? 5001 : 5002);
  udx_socket_t *socket = side->stream.socket == &side->socket ? chain_sockets : &side->socket;
  int err = udx_stream_change_remote(
    &side->stream, socket, side == &side->pair->side[0] ? 2 : 1, (struct sockaddr *) &to, on_changed);
  CHECK(err >= 0 || err == UV_EBUSY);
}

TEST(change_from_the_read_callback) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    sim_link_t link = sim_link_default();
    link.loss = 0.03;
    pair_t *p = pair_new(seed, &link);
    udx_socket_t second;
    open_socket(p->side[1].node, &second, AF_INET, 7002);
    chain_sockets = &second;
    read_moves = 200;
    p->side[1].on_data = move_on_data;
    pair_write(p, 0, 1000000);
    pair_write(p, 1, 1000000);
    finish(p, 1000000, 1000000, 60 * S);
    sim_run(p->sim, 100 * MS);
    close_sockets(p, &second, 1);
    pair_free(p);
  }
}

static int firewall_calls;

static int
firewall_moves (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  firewall_calls++;
  return udx_stream_change_remote(stream, socket, 1, from, NULL) < 0;
}

/* The classic use: a packet comes in on another socket, and the stream follows it. */
TEST(change_from_the_firewall_callback) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    sim_link_t link = sim_link_default();
    link.loss = 0.03;
    pair_t *p = pair_new(seed, &link);
    udx_socket_t sockets[2];
    open_socket(p->side[1].node, &sockets[0], AF_INET, 7002);
    open_socket(p->side[0].node, &sockets[1], AF_INET, 7001);
    firewall_calls = 0;
    udx_stream_firewall(&p->side[1].stream, firewall_moves);
    pair_write(p, 0, 1000000);
    pair_write(p, 1, 1000000);
    sim_run(p->sim, 20 * MS);
    struct sockaddr_in to = sim_address4(p->side[1].node, 7002);
    CHECK(udx_stream_change_remote(&p->side[0].stream, &sockets[1], 2, (struct sockaddr *) &to, NULL) >= 0);
    finish(p, 1000000, 1000000, 60 * S);
    CHECK(firewall_calls > 0);
    sim_run(p->sim, 100 * MS);
    close_sockets(p, sockets, 2);
    pair_free(p);
  }
}

/* ---- relays ---- */

typedef struct relay_s {
  sim_node_t *node;
  udx_socket_t socket;
  udx_stream_t stream[2];
  int finalized;
} relay_t;

static void
relay_close (udx_stream_t *stream, int status) {
  (void) stream;
  (void) status;
}

static void
relay_finalize (udx_stream_t *stream) {
  ((relay_t *) stream->data)->finalized++;
}

/* Two peers meet through a relay and move to the direct path in the middle of a transfer, each at its own time. */
TEST(udx_74_from_a_relay_to_the_direct_path) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    sim_link_t link = sim_link_default();
    link.latency = 5 * MS;
    link.loss = (double) (seed % 5) / 100;
    link.rate = 3000000;
    pair_t *p = pair_new_unconnected(seed, &link);
    pair_bind(p);
    relay_t relay;
    memset(&relay, 0, sizeof(relay));
    relay.node = sim_node(p->sim);
    for (int i = 0; i < 2; i++) sim_connect(relay.node, p->side[i].node, &link);
    open_socket(relay.node, &relay.socket, AF_INET, 6000);
    struct sockaddr_in via = sim_address4(relay.node, 6000);
    for (int i = 0; i < 2; i++) {
      relay.stream[i].data = &relay;
      CHECK_EQ(udx_stream_init(&relay.node->udx, &relay.stream[i], 11u + (uint32_t) i, relay_close, relay_finalize), 0);
      struct sockaddr_in to = sim_address4(p->side[i].node, (uint16_t) (5001 + i));
      CHECK_EQ(udx_stream_connect(&relay.stream[i], &relay.socket, 1u + (uint32_t) i, (struct sockaddr *) &to), 0);
      CHECK_EQ(
        udx_stream_connect(&p->side[i].stream, &p->side[i].socket, 11u + (uint32_t) i, (struct sockaddr *) &via), 0);
    }
    CHECK_EQ(udx_stream_relay_to(&relay.stream[0], &relay.stream[1]), 0);
    CHECK_EQ(udx_stream_relay_to(&relay.stream[1], &relay.stream[0]), 0);
    CHECK_EQ(udx_stream_change_remote(&relay.stream[0], &relay.socket, 1, (struct sockaddr *) &via, NULL), UV_EINVAL);
    pair_write(p, 0, 2000000);
    pair_write(p, 1, 1000000);
    sim_run(p->sim, 100 * MS + sim_random(p->sim) % (200 * MS));
    for (int k = 0; k < 2; k++) {
      int i = (int) ((seed + (uint64_t) k) % 2);
      struct sockaddr_in to = sim_address4(p->side[1 - i].node, (uint16_t) (5001 + 1 - i));
      CHECK(udx_stream_change_remote(
              &p->side[i].stream, &p->side[i].socket, 2u - (uint32_t) i, (struct sockaddr *) &to, NULL) >= 0);
      sim_run(p->sim, sim_random(p->sim) % (150 * MS));
    }
    finish(p, 2000000, 1000000, 60 * S);
    for (int i = 0; i < 2; i++) (void) udx_stream_destroy(&relay.stream[i]);
    sim_run(p->sim, 10 * MS);
    CHECK_EQ(relay.finalized, 2);
    close_sockets(p, &relay.socket, 1);
    pair_free(p);
  }
}

/* What a relay forwards is limited by its quotas: packets above are dropped, and the transfer goes through. */
TEST(relay_quotas) {
  for (uint64_t rate = 0; rate <= 200000; rate += 100000) {
    sim_link_t link = sim_link_default();
    link.latency = 5 * MS;
    pair_t *p = pair_new_unconnected(7, &link);
    pair_bind(p);
    relay_t relay;
    memset(&relay, 0, sizeof(relay));
    relay.node = sim_node(p->sim);
    for (int i = 0; i < 2; i++) sim_connect(relay.node, p->side[i].node, &link);
    open_socket(relay.node, &relay.socket, AF_INET, 6000);
    struct sockaddr_in via = sim_address4(relay.node, 6000);
    udx_relay_quota_t quota, unused;
    udx_relay_quota_init(&relay.node->udx, &quota, rate == 0 ? 1000000000 : rate, 50000);
    udx_relay_quota_init(&relay.node->udx, &unused, 1000000000, 1000000000);
    for (int i = 0; i < 2; i++) {
      relay.stream[i].data = &relay;
      CHECK_EQ(udx_stream_init(&relay.node->udx, &relay.stream[i], 11u + (uint32_t) i, relay_close, relay_finalize), 0);
      struct sockaddr_in to = sim_address4(p->side[i].node, (uint16_t) (5001 + i));
      CHECK_EQ(udx_stream_connect(&relay.stream[i], &relay.socket, 1u + (uint32_t) i, (struct sockaddr *) &to), 0);
      CHECK_EQ(
        udx_stream_connect(&p->side[i].stream, &p->side[i].socket, 11u + (uint32_t) i, (struct sockaddr *) &via), 0);
      CHECK_EQ(udx_stream_add_relay_quota(&relay.stream[i], &quota), 0);
      for (int k = 1; k < UDX_RELAY_QUOTAS; k++) CHECK_EQ(udx_stream_add_relay_quota(&relay.stream[i], &unused), 0);
      CHECK_EQ(udx_stream_add_relay_quota(&relay.stream[i], &unused), UV_ENOBUFS);
    }
    CHECK_EQ(udx_stream_relay_to(&relay.stream[0], &relay.stream[1]), 0);
    CHECK_EQ(udx_stream_relay_to(&relay.stream[1], &relay.stream[0]), 0);
    uint64_t start = sim_now(p->sim);
    pair_write(p, 0, 500000);
    finish(p, 500000, 0, 60 * S);
    uint64_t time = sim_now(p->sim) - start;
    CHECK_EQ(quota.packets_dropped > 0, rate > 0);
    /* the burst passes at once */
    if (rate > 0) CHECK(time >= (500000 - 50000) / (rate / 1000000.0));
    CHECK_EQ(unused.packets_dropped, 0);
    for (int i = 0; i < 2; i++) (void) udx_stream_destroy(&relay.stream[i]);
    sim_run(p->sim, 10 * MS);
    CHECK_EQ(relay.finalized, 2);
    close_sockets(p, &relay.socket, 1);
    pair_free(p);
  }
}

/* ---- real sockets ---- */

typedef struct real_s {
  uv_loop_t loop;
  udx_t udx[2];
  udx_socket_t sockets[2][2];
  struct sockaddr_in address[2][2];
  udx_stream_t stream[2];
  uint64_t received, mismatches;
  int moves, closed, status[2];
} real_t;

static real_t real;
enum { REAL_BYTES = 20000000, REAL_PIECE = 1000000 };
static char real_data[REAL_PIECE];

static void
real_move (int side, int socket, int other) {
  int err = udx_stream_change_remote(&real.stream[side], &real.sockets[side][socket], (uint32_t) (2 - side),
    (struct sockaddr *) &real.address[1 - side][other], on_changed);
  CHECK(err >= 0 || err == UV_EBUSY);
  if (err >= 0) real.moves++;
}

static void
real_end (udx_stream_t *stream) {
  udx_stream_write_t *req = calloc(1, (size_t) udx_stream_write_sizeof(1));
  CHECK(req != NULL);
  req->data = req;
  CHECK(udx_stream_write_end(req, stream, NULL, 0, NULL) >= 0);
  stream->data = req;
}

static void
real_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  if (length < 0) {
    if (stream == &real.stream[1]) real_end(stream);
    return;
  }
  uint64_t before = real.received;
  for (ssize_t i = 0; i < length; i++, real.received++) {
    if (buf->base[i] != real_data[real.received % REAL_PIECE]) real.mismatches++;
  }
  /* by progress, not by time */
  uint64_t step = real.received / 1000000;
  if (step == before / 1000000) return;
  int a = (int) (step % 2), b = (int) (step / 2 % 2);
  real_move(1, b, a);
  real_move(0, a, b);
}

static void
real_write_done (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  CHECK_EQ(status, 0);
  free(req);
}

static void
real_close (udx_stream_t *stream, int status) {
  real.status[stream == &real.stream[1]] = status;
  free(stream->data);
  if (++real.closed < 2) return;
  for (int i = 0; i < 4; i++) CHECK_EQ(udx_socket_close(&real.sockets[i / 2][i % 2]), 0);
}

TEST(real_sockets_change_back_and_forth) {
  CHECK_EQ(uv_loop_init(&real.loop), 0);
  for (int i = 0; i < REAL_PIECE; i++) real_data[i] = (char) ((uint32_t) i * 2654435761u >> 23);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(udx_init(&real.loop, &real.udx[i], NULL), 0);
    for (int k = 0; k < 2; k++) {
      struct sockaddr_in any;
      CHECK_EQ(uv_ip4_addr("127.0.0.1", 0, &any), 0);
      CHECK_EQ(udx_socket_init(&real.udx[i], &real.sockets[i][k], on_socket_close), 0);
      CHECK_EQ(udx_socket_bind(&real.sockets[i][k], (struct sockaddr *) &any, 0), 0);
      int length = sizeof(struct sockaddr_in);
      CHECK_EQ(udx_socket_getsockname(&real.sockets[i][k], (struct sockaddr *) &real.address[i][k], &length), 0);
    }
    CHECK_EQ(udx_stream_init(&real.udx[i], &real.stream[i], (uint32_t) i + 1, real_close, NULL), 0);
    udx_stream_read_start(&real.stream[i], real_read);
  }
  for (int i = 0; i < 2; i++)
    CHECK_EQ(udx_stream_connect(
               &real.stream[i], &real.sockets[i][0], (uint32_t) (2 - i), (struct sockaddr *) &real.address[1 - i][0]),
      0);
  changed = 0;
  for (int i = 0; i < REAL_BYTES / REAL_PIECE; i++) {
    udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
    CHECK(req != NULL);
    uv_buf_t buf = uv_buf_init(real_data, REAL_PIECE);
    CHECK(udx_stream_write(req, &real.stream[0], &buf, 1, real_write_done) >= 0);
  }
  real_end(&real.stream[0]);
  CHECK_EQ(uv_run(&real.loop, UV_RUN_DEFAULT), 0);
  CHECK_EQ(real.received, REAL_BYTES);
  CHECK_EQ(real.mismatches, 0);
  CHECK_EQ(real.closed, 2);
  for (int i = 0; i < 2; i++) CHECK_EQ(real.status[i], 0);
  CHECK(real.moves > 20);
  CHECK_EQ(uv_loop_close(&real.loop), 0);
}

TEST_MAIN(TEST_ENTRY(udx_75_change_from_the_callback_of_a_change),
  TEST_ENTRY(udx_75_change_completes_although_a_write_callback_changes_again),
  TEST_ENTRY(udx_74_two_changes_outstanding_call_both_callbacks), TEST_ENTRY(change_from_the_read_callback),
  TEST_ENTRY(change_from_the_firewall_callback), TEST_ENTRY(udx_74_from_a_relay_to_the_direct_path),
  TEST_ENTRY(relay_quotas), TEST_ENTRY(real_sockets_change_back_and_forth))
