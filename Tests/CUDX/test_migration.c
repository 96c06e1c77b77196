/* Change of remote (udx.md 2.9): packets of the old path, back and forth under loss, bounds and errors. */
#include "migration_support.h"

static int changed;

static void
on_changed (udx_stream_t *stream) {
  (void) stream;
  changed++;
}

/* ---- packets of the old path ---- */

typedef struct old_s {
  sim_node_t *from;
  uint32_t until; /* seqs before this belong to the old path */
  int moved, drop_old;
  uint64_t old_again, new_first;
} old_t;

static sim_verdict_t
old_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  old_t *old = ctx;
  udx_header_t header;
  if (datagram->from_node != old->from || !udx__header_decode(datagram->data, datagram->length, &header))
    return SIM_PASS;
  uint16_t port = ntohs(((struct sockaddr_in *) &datagram->to)->sin_port);
  uint16_t source = ntohs(((struct sockaddr_in *) &datagram->from)->sin_port);
  int data = (header.type & (UDX_HEADER_DATA | UDX_HEADER_END)) != 0;
  if (!old->moved) return old->drop_old && data ? SIM_DROP : SIM_PASS;
  CHECK_EQ(source, 7001);
  if (data && udx__seq_before(header.seq, old->until)) {
    CHECK_EQ(port, 5002);
    CHECK_EQ(header.id, 2);
    old->old_again++;
  } else {
    CHECK_EQ(port, 7002);
    CHECK_EQ(header.id, 22);
    CHECK(datagram->length + 28 <= 1200 || old->new_first > 30); /* base MTU again */
    if (data) old->new_first++;
  }
  return SIM_PASS;
}

/* All data is lost before the change: every old packet goes to the old address with the old id, from the new socket. */
TEST(udx_76_outstanding_packets_keep_their_remote) {
  pair_t *p = pair_new(1, NULL);
  udx_stream_t *s = &p->side[0].stream;
  udx_socket_t sockets[2];
  open_socket(p->side[0].node, &sockets[0], AF_INET, 7001);
  old_t old = {.from = p->side[0].node};
  sim_set_tap(p->sim, old_tap, &old);
  pair_write(p, 0, 500000);
  CHECK(pair_run_received(p, 1, 500000, 5 * S));
  sim_run(p->sim, 100 * MS);
  old.drop_old = 1;
  pair_write(p, 0, 40000);
  sim_run(p->sim, 2 * MS);
  old.until = udx__stream(s)->flight.nxt;
  CHECK(udx__stream(s)->flight.nxt != udx__stream(s)->flight.una);
  changed = 0;
  struct sockaddr_in to = sim_address4(p->side[1].node, 7002);
  CHECK_EQ(udx_stream_change_remote(s, &sockets[0], 22, (struct sockaddr *) &to, on_changed), 0);
  old.moved = 1;
  /* id 22 is not known there: this test is about what is sent */
  pair_write(p, 0, 40000);
  sim_run(p->sim, 5 * S);
  CHECK(old.old_again > 0);
  CHECK(old.new_first > 0);
  CHECK_EQ(udx__stream(s)->paths == NULL, 1);
  CHECK_EQ(changed, 1);
  (void) udx_stream_destroy(s);
  sim_set_tap(p->sim, NULL, NULL);
  sim_run(p->sim, 100 * MS);
  close_sockets(p, sockets, 1);
  pair_free(p);
}

/* ---- back and forth ---- */

typedef struct mover_s {
  pair_t *pair;
  udx_socket_t sockets[2][4]; /* of each side: IPv4, IPv4, IPv6 dual, IPv6 dual */
  int at[2];                  /* the one in use; 4 = the pair's own */
  int pending[2], called[2];
  int moves, busy;
  int families;
} mover_t;

static mover_t mover;

static void
mover_changed (udx_stream_t *stream) {
  pair_side_t *side = stream->data;
  mover.called[side == &mover.pair->side[1]]++;
}

static udx_socket_t *
mover_socket (int side, int index) {
  return index == 4 ? &mover.pair->side[side].socket : &mover.sockets[side][index];
}

static udx_address_t
mover_address (int side, int index, int family) {
  udx_address_t a;
  memset(&a, 0, sizeof(a));
  uint16_t port = (uint16_t) (index == 4 ? 5001 + side : 7000 + 10 * side + index);
  if (family == AF_INET) a.v4 = sim_address4(mover.pair->side[side].node, port);
  else a.v6 = sim_address6(mover.pair->side[side].node, port);
  return a;
}

/* A side takes another socket, and perhaps the other side hears of it. */
static void
mover_move (sim_t *sim, void *ctx) {
  (void) ctx;
  pair_t *p = mover.pair;
  int side = (int) (sim_random(sim) % 2), other = 1 - side;
  if (p->side[side].closed || p->side[other].closed) return;
  int index = (int) (sim_random(sim) % (mover.families ? 5 : 2));
  if (!mover.families && index == 1) index = 4;
  int v6 = index == 2 || index == 3, other_v6 = mover.at[other] == 2 || mover.at[other] == 3;
  int family = v6 && other_v6 && sim_random(sim) % 2 ? AF_INET6 : AF_INET;
  udx_address_t to = mover_address(other, mover.at[other], family);
  udx_stream_t *stream = &p->side[side].stream;
  int before = mover.called[side];
  int err = udx_stream_change_remote(stream, mover_socket(side, index), (uint32_t) (2 - side), &to.any, mover_changed);
  CHECK_EQ(mover.called[side], before); /* never from inside the call */
  if (err == UV_EBUSY) {
    mover.busy++;
  } else {
    CHECK(err >= 0);
    CHECK_EQ(err == 1, udx__stream(stream)->flight.nxt == udx__stream(stream)->flight.una);
    if (err == 0) mover.pending[side]++;
    mover.at[side] = index;
    mover.moves++;
    if (sim_random(sim) % 2) {
      stream = &p->side[other].stream;
      udx_address_t back = mover_address(side, index, family == AF_INET6 ? AF_INET6 : AF_INET);
      err = udx_stream_change_remote(
        stream, mover_socket(other, mover.at[other]), (uint32_t) (2 - other), &back.any, mover_changed);
      CHECK(err >= 0 || err == UV_EBUSY);
      if (err == 0) mover.pending[other]++;
    }
  }
  sim_after(sim, 1 * MS + sim_random(sim) % (60 * MS), mover_move, NULL);
}

static void
mover_run (uint64_t seed, int families) {
  sim_link_t link = sim_link_default();
  link.latency = (1 + seed % 20) * MS;
  link.jitter = seed % 3 * MS;
  link.rate = 3000000;
  link.loss = (double) (seed % 6) / 100;
  link.duplicate = 0.01;
  memset(&mover, 0, sizeof(mover));
  pair_t *p = mover.pair = pair_new(seed, &link);
  mover.families = families;
  for (int side = 0; side < 2; side++) {
    mover.at[side] = 4;
    for (int i = 0; i < 4; i++)
      open_socket(
        p->side[side].node, &mover.sockets[side][i], i < 2 ? AF_INET : AF_INET6, (uint16_t) (7000 + 10 * side + i));
  }
  sim_after(p->sim, 30 * MS, mover_move, NULL);
  pair_write(p, 0, 2000000);
  pair_write(p, 1, 700000);
  finish(p, 2000000, 700000, 120 * S);
  CHECK(mover.moves > 3);
  for (int side = 0; side < 2; side++) {
    /* a later change takes the callback over; with one pending there is one call at least */
    CHECK(mover.called[side] <= mover.pending[side]);
    CHECK_EQ(mover.called[side] > 0, mover.pending[side] > 0);
  }
  sim_run(p->sim, 200 * MS);
  for (int side = 0; side < 2; side++) close_sockets(p, mover.sockets[side], 4);
  pair_free(p);
}

TEST(udx_74_back_and_forth_with_loss) {
  for (uint64_t seed = 1; seed <= 30; seed++) mover_run(seed, 0);
}

TEST(udx_74_back_and_forth_between_families) {
  for (uint64_t seed = 1; seed <= 30; seed++) mover_run(1000 + seed, 1);
}

/* IPv6 peer, then two changes at once, the second to a socket that has no IPv6: what is old goes where it can. */
TEST(old_packets_fit_the_socket_they_leave_from) {
  for (int drop = 0; drop < 2; drop++) {
    pair_t *p = pair_new(1, NULL);
    udx_socket_t sockets[4];
    open_socket(p->side[0].node, &sockets[0], AF_INET6, 7001);
    open_socket(p->side[0].node, &sockets[1], AF_INET6, 7003);
    open_socket(p->side[1].node, &sockets[2], AF_INET6, 7002);
    open_socket(p->side[0].node, &sockets[3], AF_INET, 7005);
    struct sockaddr_in6 b6 = sim_address6(p->side[1].node, 7002);
    struct sockaddr_in b4 = sim_address4(p->side[1].node, 5002);
    udx_stream_t *s = &p->side[0].stream;
    CHECK_EQ(udx_stream_change_remote(s, &sockets[0], 2, (struct sockaddr *) &b6, on_changed), 1);
    if (drop) {
      sim_link(p->side[0].node, p->side[1].node)->down = true;
      sim_link(p->side[1].node, p->side[0].node)->down = true;
    }
    pair_write(p, 0, 100000);
    sim_run(p->sim, 1500);
    changed = 0;
    CHECK_EQ(udx_stream_change_remote(s, &sockets[1], 2, (struct sockaddr *) &b6, on_changed), 0);
    pair_write(p, 0, 100000);
    sim_run(p->sim, 500);
    CHECK_EQ(udx_stream_change_remote(s, &sockets[3], 2, (struct sockaddr *) &b4, on_changed), 0);
    sim_run(p->sim, 500 * MS);
    sim_link(p->side[0].node, p->side[1].node)->down = false;
    sim_link(p->side[1].node, p->side[0].node)->down = false;
    finish(p, 200000, 0, 20 * S);
    CHECK_EQ(changed, 2); /* each of the two, also where both complete with one acknowledgement */
    sim_run(p->sim, 100 * MS);
    close_sockets(p, sockets, 4);
    pair_free(p);
  }
}

static void
on_message_sent (udx_stream_send_t *req, int status) {
  CHECK_EQ(status, 0);
  free(req);
}

/* A message that leaves through the old socket takes what is sent again with it: to the addresses of that family. */
TEST(a_message_leaves_before_the_addresses_change) {
  for (int migrates = 0; migrates < 2; migrates++) {
    pair_t *p = pair_new(1, NULL);
    udx_socket_t sockets[2];
    open_socket(p->side[0].node, &sockets[0], AF_INET6, 7001);
    open_socket(p->side[1].node, &sockets[1], AF_INET6, 7002);
    udx_stream_t *s = &p->side[0].stream;
    struct sockaddr_in6 to = sim_address6(p->side[1].node, 7002);
    pair_write(p, 0, 1000);
    sim_run(p->sim, 100 * MS);
    sim_link_t *link = sim_link(p->side[0].node, p->side[1].node);
    link->down = true;
    pair_write(p, 0, 20000);
    sim_run(p->sim, 1 * MS);
    CHECK(udx__flight_span(s) > 1);
    struct sockaddr_in same = sim_address4(p->side[1].node, 5002);
    CHECK_EQ(udx_stream_migrate(s, &p->side[0].socket, (struct sockaddr *) &same), 0);
    CHECK(udx__stream(s)->flight.lost.count > 0); /* sent again in this turn */
    udx_stream_send_t *req = malloc(sizeof(*req));
    CHECK(req != NULL);
    uv_buf_t message = uv_buf_init((char *) "message", 7);
    CHECK(udx_stream_send(req, s, &message, 1, on_message_sent) >= 0);
    CHECK_EQ(udx__stream(s)->queue.messages, 1);
    if (migrates) CHECK_EQ(udx_stream_migrate(s, &sockets[0], (struct sockaddr *) &to), 0);
    else CHECK_EQ(udx_stream_change_remote(s, &sockets[0], 2, (struct sockaddr *) &to, on_changed), 0);
    CHECK_EQ(udx__stream(s)->queue.messages, 0);
    link->down = false;
    finish(p, 21000, 0, 20 * S);
    sim_run(p->sim, 100 * MS);
    close_sockets(p, sockets, 2);
    pair_free(p);
  }
}

/* ---- bounds and errors ---- */

TEST(paths_are_bounded) {
  pair_t *p = pair_new(1, NULL);
  udx_stream_t *s = &p->side[0].stream;
  sim_link_t *link = sim_link(p->side[0].node, p->side[1].node);
  struct sockaddr_in to = sim_address4(p->side[1].node, 5002), other = sim_address4(p->side[1].node, 5999);
  pair_write(p, 0, 1000);
  sim_run(p->sim, 100 * MS);
  link->down = true;
  pair_write(p, 0, 3000);
  sim_run(p->sim, 1 * MS);
  changed = 0;
  for (int i = 0; i < UDX_PATHS_MAX; i++)
    CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &to, on_changed), 0);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &other, on_changed), UV_EBUSY);
  CHECK(udx__address_equal(&udx__stream(s)->remote.any, (struct sockaddr *) &to)); /* nothing changed */
  link->down = false;
  sim_run(p->sim, 5 * S);
  CHECK_EQ(changed, UDX_PATHS_MAX); /* every change is reported */
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &to, on_changed), 1);
  finish(p, 4000, 0, 5 * S);
  CHECK_EQ(changed, UDX_PATHS_MAX);
  pair_free(p);
}

TEST(change_of_remote_refused) {
  pair_t *p = pair_new_unconnected(1, NULL);
  udx_stream_t *s = &p->side[0].stream;
  pair_bind(p);
  struct sockaddr_in to = sim_address4(p->side[1].node, 5002);
  struct sockaddr_in6 to6 = sim_address6(p->side[1].node, 5002);
  CHECK_EQ(
    udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &to, NULL), UV_EINVAL); /* not connected */
  pair_connect(p, 0);
  pair_connect(p, 1);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[1].socket, 2, (struct sockaddr *) &to, NULL),
    UV_EINVAL); /* another instance's */
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &to6, NULL), UV_EINVAL); /* family */
  to.sin_port = 0;
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &to, NULL), UV_EINVAL);
  to.sin_port = htons(5002);
  struct sockaddr unknown = {.sa_family = AF_UNIX};
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, &unknown, NULL), UV_EINVAL);
  udx_socket_t closed;
  open_socket(p->side[0].node, &closed, AF_INET, 7001);
  CHECK_EQ(udx_socket_close(&closed), 0);
  CHECK_EQ(udx_stream_change_remote(s, &closed, 2, (struct sockaddr *) &to, NULL), UV_EINVAL);
  sim_run(p->sim, 1 * MS);
  /* refused calls left no trace */
  pair_write(p, 0, 100000);
  finish(p, 100000, 0, 5 * S);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &to, NULL), UV_EINVAL); /* closed */
  pair_free(p);
}

/* Destroyed with a change pending: no callback, nothing leaks, the old socket may close. */
TEST(destroy_with_a_change_pending) {
  pair_t *p = pair_new(1, NULL);
  udx_socket_t second;
  open_socket(p->side[0].node, &second, AF_INET, 7001);
  sim_link(p->side[0].node, p->side[1].node)->down = true;
  pair_write(p, 0, 100000);
  sim_run(p->sim, 1 * MS);
  changed = 0;
  struct sockaddr_in to = sim_address4(p->side[1].node, 5002);
  CHECK_EQ(udx_stream_change_remote(&p->side[0].stream, &second, 2, (struct sockaddr *) &to, on_changed), 0);
  CHECK_EQ(udx_socket_close(&second), UV_EBUSY);
  udx_stream_destroy(&p->side[0].stream);
  sim_run(p->sim, 1 * S);
  CHECK_EQ(changed, 0);
  close_sockets(p, &second, 1);
  pair_free(p);
}

TEST_MAIN(TEST_ENTRY(udx_76_outstanding_packets_keep_their_remote), TEST_ENTRY(udx_74_back_and_forth_with_loss),
  TEST_ENTRY(udx_74_back_and_forth_between_families), TEST_ENTRY(old_packets_fit_the_socket_they_leave_from),
  TEST_ENTRY(a_message_leaves_before_the_addresses_change), TEST_ENTRY(paths_are_bounded),
  TEST_ENTRY(change_of_remote_refused), TEST_ENTRY(destroy_with_a_change_pending))
