/* udx_stream_migrate: the old path is gone, nothing that was sent on it is lost. */
#include "migration_support.h"

#include "engine/limits.h"

typedef struct gone_s {
  uint16_t port; /* of the address that is gone, in the tap's way */
  int moved, to_old;
} gone_t;

static sim_verdict_t
gone_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  gone_t *gone = ctx;
  uint16_t to = ntohs(((struct sockaddr_in *) &datagram->to)->sin_port);
  uint16_t from = ntohs(((struct sockaddr_in *) &datagram->from)->sin_port);
  if (to != gone->port && from != gone->port) return SIM_PASS;
  if (gone->moved) gone->to_old++;
  return SIM_DROP;
}

/* What is on its way to the address that is gone. */
static sim_verdict_t
acks_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  gone_t *gone = ctx;
  return ntohs(((struct sockaddr_in *) &datagram->to)->sin_port) == gone->port ? SIM_DROP : SIM_PASS;
}

static int changed;

static void
on_changed (udx_stream_t *stream) {
  (void) stream;
  changed++;
}

/* Both directions have packets outstanding, for most of the time in which a stream gives up. */
static void
move_once (uint64_t seed, uint64_t silence, int both_write) {
  pair_t *p = pair_new(seed, NULL);
  udx_socket_t sockets[1];
  open_socket(p->side[0].node, &sockets[0], AF_INET, 7001);
  pair_write(p, 0, 300000);
  pair_write(p, 1, 300000);
  CHECK(pair_run_received(p, 1, 300000, 5 * S));
  CHECK(pair_run_received(p, 0, 300000, 5 * S));
  gone_t gone = {.port = 5001};
  sim_set_tap(p->sim, gone_tap, &gone);
  pair_write(p, 0, 200000);
  if (both_write) pair_write(p, 1, 200000);
  sim_run(p->sim, silence);
  CHECK(!p->side[0].closed && !p->side[1].closed);
  CHECK(udx__flight_span(&p->side[0].stream) > 0);

  gone.moved = 1;
  struct sockaddr_in peer = sim_address4(p->side[1].node, 5002);
  struct sockaddr_in mover = sim_address4(p->side[0].node, 7001);
  CHECK_EQ(udx_stream_migrate(&p->side[1].stream, &p->side[1].socket, (struct sockaddr *) &mover), 0);
  CHECK_EQ(udx_stream_migrate(&p->side[0].stream, &sockets[0], (struct sockaddr *) &peer), 0);
  CHECK_EQ(p->side[0].stream.cwnd, UDX_CWND_INITIAL);
  /* the first packets at once, the rest in slow start */
  uint64_t before = p->side[1].received;
  CHECK(pair_run_received(p, 1, before + 5000, 60 * MS));
  CHECK(pair_run_received(p, 1, 500000, 1 * S));
  if (both_write) CHECK(pair_run_received(p, 0, 500000, 1 * S));
  CHECK_EQ(gone.to_old, 0);
  finish(p, 500000, both_write ? 500000 : 300000, 5 * S);
  sim_set_tap(p->sim, NULL, NULL);
  sim_run(p->sim, 100 * MS);
  close_sockets(p, sockets, 1);
  pair_free(p);
}

TEST(udx_migrate_repeats_what_was_lost_at_once) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    move_once(seed, 5 * MS, 1);
    move_once(seed, 2 * S, 1);
    move_once(seed, 9 * S, 1);
    move_once(seed, 9 * S, 0);
  }
}

/* What the peer had received before it moved is acknowledged after: that time is no round trip of the new path. */
TEST(udx_migrate_measures_the_new_path_alone) {
  pair_t *p = pair_new(13, NULL);
  pair_write(p, 0, 300000);
  CHECK(pair_run_received(p, 1, 300000, 5 * S));
  sim_run(p->sim, 100 * MS);
  uint32_t srtt = p->side[0].stream.srtt;
  gone_t gone = {.port = 5001};
  sim_set_tap(p->sim, acks_tap, &gone);
  pair_write(p, 0, 40000);
  sim_run(p->sim, 200 * MS);
  CHECK_EQ(p->side[1].received, 340000);
  CHECK(udx__flight_span(&p->side[0].stream) > UDX_CWND_INITIAL);
  udx_socket_t sockets[1];
  open_socket(p->side[0].node, &sockets[0], AF_INET, 7001);
  struct sockaddr_in peer = sim_address4(p->side[1].node, 5002);
  struct sockaddr_in mover = sim_address4(p->side[0].node, 7001);
  CHECK_EQ(udx_stream_migrate(&p->side[1].stream, &p->side[1].socket, (struct sockaddr *) &mover), 0);
  CHECK_EQ(udx_stream_migrate(&p->side[0].stream, &sockets[0], (struct sockaddr *) &peer), 0);
  sim_run(p->sim, 1 * S);
  CHECK_EQ(udx__flight_span(&p->side[0].stream), 0);
  CHECK(p->side[0].stream.srtt <= 2 * srtt);
  CHECK(udx__stream(&p->side[0].stream)->recovery.rack_rtt <= 2 * srtt * MS);
  finish(p, 340000, 0, 5 * S);
  sim_set_tap(p->sim, NULL, NULL);
  sim_run(p->sim, 100 * MS);
  close_sockets(p, sockets, 1);
  pair_free(p);
}

/* Packets of an earlier change of remote go to the new address with the others, under the id of now. */
TEST(udx_migrate_leaves_all_former_paths) {
  pair_t *p = pair_new(11, NULL);
  udx_stream_t *s = &p->side[0].stream;
  pair_write(p, 0, 100000);
  CHECK(pair_run_received(p, 1, 100000, 5 * S));
  gone_t gone = {.port = 5002};
  sim_set_tap(p->sim, gone_tap, &gone);
  pair_write(p, 0, 50000);
  sim_run(p->sim, 5 * MS);
  udx_socket_t sockets[1];
  open_socket(p->side[1].node, &sockets[0], AF_INET, 7002);
  struct sockaddr_in elsewhere = sim_address4(p->side[1].node, 7003);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &elsewhere, on_changed), 0);
  pair_write(p, 0, 50000);
  sim_run(p->sim, 5 * MS);
  gone.moved = 1;
  struct sockaddr_in peer = sim_address4(p->side[1].node, 7002);
  struct sockaddr_in self = sim_address4(p->side[0].node, 5001);
  CHECK_EQ(udx_stream_migrate(s, &p->side[0].socket, (struct sockaddr *) &peer), 0);
  CHECK_EQ(udx_stream_migrate(&p->side[1].stream, &sockets[0], (struct sockaddr *) &self), 0);
  CHECK(pair_run_received(p, 1, 200000, 1 * S));
  sim_run(p->sim, 100 * MS);
  CHECK_EQ(changed, 1);
  CHECK_EQ(gone.to_old, 0);
  finish(p, 200000, 0, 5 * S);
  sim_set_tap(p->sim, NULL, NULL);
  sim_run(p->sim, 100 * MS);
  close_sockets(p, sockets, 1);
  pair_free(p);
}

/* Not even 100 s in which it moves again and again end a stream: each move starts the time to give up anew. */
TEST(udx_migrate_restarts_the_time_to_give_up) {
  pair_t *p = pair_new(7, NULL);
  udx_socket_t sockets[1];
  open_socket(p->side[0].node, &sockets[0], AF_INET, 7001);
  gone_t gone = {.port = 5002};
  sim_set_tap(p->sim, gone_tap, &gone);
  pair_write(p, 0, 10000);
  struct sockaddr_in peer = sim_address4(p->side[1].node, 5002);
  for (int i = 0; i < 10; i++) {
    sim_run(p->sim, 10 * S);
    CHECK(!p->side[0].closed);
    udx_socket_t *socket = i % 2 ? &p->side[0].socket : &sockets[0];
    CHECK_EQ(udx_stream_migrate(&p->side[0].stream, socket, (struct sockaddr *) &peer), 0);
  }
  struct sockaddr_in mover = sim_address4(p->side[0].node, 5001);
  CHECK_EQ(udx_stream_migrate(&p->side[1].stream, &p->side[1].socket, (struct sockaddr *) &mover), 0);
  sim_set_tap(p->sim, NULL, NULL);
  CHECK(pair_run_received(p, 1, 10000, 3 * S));
  finish(p, 10000, 0, 5 * S);
  close_sockets(p, sockets, 1);
  pair_free(p);
}

/* A stream that tries one path after the other hears nothing: the time to give up goes on, wherever it is. */
static void
reroute_until_given_up (uint64_t interval, int changes) {
  pair_t *p = pair_new(15, NULL);
  udx_stream_t *s = &p->side[0].stream;
  pair_write(p, 0, 300000);
  CHECK(pair_run_received(p, 1, 300000, 5 * S));
  gone_t gone = {.port = 5002};
  sim_set_tap(p->sim, gone_tap, &gone);
  pair_write(p, 0, 10000);
  struct sockaddr_in peer = sim_address4(p->side[1].node, gone.port);
  struct sockaddr_in elsewhere = sim_address4(p->side[1].node, 7003);
  uint64_t start = sim_now(p->sim);
  for (int i = 0; !p->side[0].closed && sim_now(p->sim) - start < 60 * S; i++) {
    uint32_t id = i % 2 ? 2 : 9;
    struct sockaddr *to = (struct sockaddr *) (i % 2 ? &peer : &elsewhere);
    uint64_t heard_at = udx__stream(s)->flow.heard_at;
    if (changes) CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, id, to, on_changed), 0);
    CHECK_EQ(udx_stream_reroute(s), 0);
    CHECK_EQ(udx__stream(s)->flow.heard_at, heard_at);
    CHECK(udx__stream(s)->recovery.rto_at <= sim_now(p->sim) + UDX_RTO_INITIAL);
    sim_run(p->sim, interval);
  }
  CHECK_EQ(p->side[0].close_status, UV_ETIMEDOUT);
  CHECK(p->side[0].close_time - start >= 13 * S - 1 * MS);
  CHECK(p->side[0].close_time - start <= 13 * S + UDX_RTO_SPACING_MIN);
  sim_set_tap(p->sim, NULL, NULL);
  pair_free(p);
}

TEST(udx_reroute_lets_the_time_to_give_up_run) {
  reroute_until_given_up(1700 * MS, 1);
  reroute_until_given_up(2 * S, 1);
  reroute_until_given_up(4 * S, 1);
  /* sooner than any timeout comes */
  reroute_until_given_up(900 * MS, 0);
  reroute_until_given_up(100 * MS, 0);
}

/* What was sent over a path that carries nothing arrives over the one before it, at once, whenever that is. */
TEST(udx_reroute_repeats_what_former_paths_have_lost) {
  pair_t *p = pair_new(17, NULL);
  udx_stream_t *s = &p->side[0].stream;
  pair_write(p, 0, 300000);
  CHECK(pair_run_received(p, 1, 300000, 5 * S));
  sim_run(p->sim, 100 * MS);
  struct sockaddr_in peer = sim_address4(p->side[1].node, 5002);
  struct sockaddr_in elsewhere = sim_address4(p->side[1].node, 7003);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &elsewhere, on_changed), 1);
  pair_write(p, 0, 10000);
  sim_run(p->sim, 11 * S);
  CHECK_EQ(p->side[1].received, 300000);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &peer, on_changed), 0);
  CHECK_EQ(udx_stream_reroute(s), 0);
  CHECK(pair_run_received(p, 1, 310000, 200 * MS));
  finish(p, 310000, 0, 5 * S);
  CHECK_EQ(udx_stream_reroute(s), UV_EINVAL);
  pair_free(p);
}

/* Everything goes the way in use, which is measured anew; what is known of the peer stays, unless it was heard. */
TEST(udx_reroute_measures_the_path_in_use) {
  pair_t *p = pair_new(19, NULL);
  udx_stream_t *s = &p->side[0].stream;
  udx_stream_state_t *state = udx__stream(s);
  pair_write(p, 0, 300000);
  CHECK(pair_run_received(p, 1, 300000, 5 * S));
  sim_run(p->sim, 100 * MS);
  CHECK(s->cwnd != UDX_CWND_INITIAL && state->rtt.rto != UDX_RTO_INITIAL && s->mtu != UDX_MTU_BASE);
  gone_t gone = {.port = 5002};
  sim_set_tap(p->sim, gone_tap, &gone);
  pair_write(p, 0, 10000);
  sim_run(p->sim, 5 * MS);
  struct sockaddr_in peer = sim_address4(p->side[1].node, 5002);
  struct sockaddr_in elsewhere = sim_address4(p->side[1].node, 7003);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 9, (struct sockaddr *) &elsewhere, on_changed), 0);
  CHECK_EQ(state->paths->remote_id, 2);
  state->flow.silent_probes = 3;
  state->relay_to = s;
  CHECK_EQ(udx_stream_reroute(s), UV_EINVAL);
  state->relay_to = NULL;
  CHECK_EQ(udx_stream_reroute(s), 0);
  CHECK(s->cwnd == UDX_CWND_INITIAL && state->rtt.rto == UDX_RTO_INITIAL && s->mtu == UDX_MTU_BASE);
  CHECK_EQ(state->paths->remote_id, 9);
  CHECK_EQ(ntohs(state->paths->address.v4.sin_port), 7003);
  CHECK_EQ(state->flow.silent_probes, 3);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &peer, on_changed), 0);
  CHECK_EQ(udx_stream_migrate(s, &p->side[0].socket, (struct sockaddr *) &peer), 0);
  CHECK_EQ(state->paths->remote_id, 2);
  CHECK_EQ(state->flow.silent_probes, 0);
  sim_set_tap(p->sim, NULL, NULL);
  finish(p, 310000, 0, 5 * S);
  pair_free(p);
}

/* Round-trip times of the old path say nothing about the new one: the first timeout there is that of a new stream. */
TEST(udx_migrate_times_the_new_path_anew) {
  pair_t *p = pair_new(9, NULL);
  udx_stream_t *s = &p->side[0].stream;
  pair_write(p, 0, 300000);
  CHECK(pair_run_received(p, 1, 300000, 5 * S));
  CHECK(udx__stream(s)->rtt.rto < UDX_RTO_INITIAL);
  gone_t gone = {.port = 5002};
  sim_set_tap(p->sim, gone_tap, &gone);
  pair_write(p, 0, 50000);
  sim_run(p->sim, 5 * MS);
  struct sockaddr_in peer = sim_address4(p->side[1].node, 5002);
  CHECK_EQ(udx_stream_migrate(s, &p->side[0].socket, (struct sockaddr *) &peer), 0);
  CHECK_EQ(udx__stream(s)->recovery.rto_at, sim_now(p->sim) + UDX_RTO_INITIAL);
  sim_set_tap(p->sim, NULL, NULL);
  finish(p, 350000, 0, 5 * S);
  pair_free(p);
}

/* Wherever it is called: the driver waits for the timeout as it was. */
TEST(udx_retransmit_is_at_once) {
  pair_t *p = pair_new(13, NULL);
  udx_stream_t *s = &p->side[0].stream;
  pair_write(p, 0, 100000);
  CHECK(pair_run_received(p, 1, 100000, 5 * S));
  gone_t gone = {.port = 5002};
  sim_set_tap(p->sim, gone_tap, &gone);
  pair_write(p, 0, 1000);
  sim_run(p->sim, 4 * S);
  sim_set_tap(p->sim, NULL, NULL);
  uint32_t timeouts = s->rto_count;
  CHECK_EQ(udx_stream_retransmit(s), 0);
  CHECK(pair_run_received(p, 1, 101000, 50 * MS));
  CHECK_EQ(s->rto_count, timeouts + 1);
  finish(p, 101000, 0, 5 * S);
  pair_free(p);
}

static sim_verdict_t
large_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  size_t carries = *(const size_t *) ctx;
  return carries == 0 || (datagram->length > carries && !datagram->fragment) ? SIM_DROP : SIM_PASS;
}

/* The timeouts count on: smaller packets are tried in the end, and a path that carries nothing is given up. */
static void
retransmit_each_second (size_t carries) {
  pair_t *p = pair_new(5, NULL);
  udx_stream_t *s = &p->side[0].stream;
  pair_write(p, 0, 300000);
  CHECK(pair_run_received(p, 1, 300000, 5 * S));
  uint64_t window = s->cwnd;
  CHECK_EQ(udx_stream_retransmit(s), 0);
  CHECK_EQ(s->cwnd, window);
  sim_set_tap(p->sim, large_tap, &carries);
  pair_write(p, 0, 100000);
  for (int i = 0; i < 20 && p->side[1].received < 400000 && !p->side[0].closed; i++) {
    sim_run(p->sim, 1 * S);
    CHECK_EQ(udx_stream_retransmit(s), p->side[0].closed ? UV_EINVAL : 0);
  }
  CHECK_EQ(p->side[0].closed, carries == 0);
  if (carries > 0) finish(p, 400000, 0, 5 * S);
  sim_set_tap(p->sim, NULL, NULL);
  pair_free(p);
}

TEST(udx_retransmit_is_a_timeout_like_others) {
  retransmit_each_second(1000);
  retransmit_each_second(0);
}

TEST(udx_migrate_refuses_what_makes_no_sense) {
  pair_t *p = pair_new(3, NULL);
  udx_stream_t *s = &p->side[0].stream;
  struct sockaddr_in peer = sim_address4(p->side[1].node, 5002);
  struct sockaddr_in nowhere = sim_address4(p->side[1].node, 0);
  CHECK_EQ(udx_stream_migrate(s, &p->side[0].socket, (struct sockaddr *) &nowhere), UV_EINVAL);
  CHECK_EQ(udx_stream_migrate(s, &p->side[1].socket, (struct sockaddr *) &peer), UV_EINVAL);
  CHECK_EQ(udx_stream_migrate(s, &p->side[0].socket, (struct sockaddr *) &peer), 0);
  pair_write(p, 0, 1000);
  CHECK(pair_run_received(p, 1, 1000, 1 * S));
  finish(p, 1000, 0, 5 * S);
  CHECK_EQ(udx_stream_migrate(s, &p->side[0].socket, (struct sockaddr *) &peer), UV_EINVAL);
  pair_free(p);
}

TEST_MAIN(TEST_ENTRY(udx_migrate_repeats_what_was_lost_at_once), TEST_ENTRY(udx_migrate_leaves_all_former_paths),
  TEST_ENTRY(udx_migrate_measures_the_new_path_alone), TEST_ENTRY(udx_migrate_restarts_the_time_to_give_up),
  TEST_ENTRY(udx_reroute_lets_the_time_to_give_up_run), TEST_ENTRY(udx_reroute_repeats_what_former_paths_have_lost),
  TEST_ENTRY(udx_reroute_measures_the_path_in_use), TEST_ENTRY(udx_migrate_times_the_new_path_anew),
  TEST_ENTRY(udx_retransmit_is_at_once), TEST_ENTRY(udx_retransmit_is_a_timeout_like_others),
  TEST_ENTRY(udx_migrate_refuses_what_makes_no_sense))
