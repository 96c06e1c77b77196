/*
 * Change of remote and validation of addresses (spec 2.9, OBS-11), adversarially: strangers who know the ids, replays,
 * peers that name somebody else's address, changes back and forth under loss, to other sockets and families.
 */
#include "engine/stream.h"
#include "engine/wire.h"
#include "sim/pair.h"
#include "test.h"

#define MS 1000ull
#define S 1000000ull

/* ---- who gets what ---- */

enum { ADDRESSES = 16, RECORDED = 4096 };

typedef struct record_s {
  struct sockaddr_storage to;
  size_t length;
  uint8_t data[1500];
} record_t;

typedef struct net_s {
  pair_t *pair;
  struct sockaddr_in victim, attacker;
  uint64_t victim_datagrams, victim_bytes, attacker_datagrams;
  uint64_t sent[2]; /* datagrams of each side */
  uint64_t sent_bytes[2];
  uint32_t highest; /* seq of DATA or END that the victim got */
  int lying;        /* the attacker acknowledges, from his own address, what the victim gets */
  int answers;      /* the victim is no victim but the peer's second address, that only receives */
  int recording;
  record_t *records;
  int count;
} net_t;

static int
same (const struct sockaddr_storage *a, const struct sockaddr_in *b) {
  const struct sockaddr_in *x = (const struct sockaddr_in *) a;
  return x->sin_family == AF_INET && x->sin_port == b->sin_port && x->sin_addr.s_addr == b->sin_addr.s_addr;
}

static sim_verdict_t
net_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  net_t *net = ctx;
  (void) sim;
  for (int i = 0; i < 2; i++) {
    if (datagram->from_node != net->pair->side[i].node) continue;
    net->sent[i]++;
    net->sent_bytes[i] += datagram->length;
  }
  if (same(&datagram->to, &net->victim)) {
    net->victim_datagrams++;
    net->victim_bytes += datagram->length + 28;
  }
  if (same(&datagram->to, &net->attacker)) net->attacker_datagrams++;
  if (net->recording && net->count < RECORDED && datagram->length <= sizeof(net->records[0].data)) {
    record_t *record = &net->records[net->count++];
    record->to = datagram->to;
    record->length = datagram->length;
    memcpy(record->data, datagram->data, datagram->length);
  }
  return SIM_PASS;
}

/* The victim: silent, but the attacker may know what he gets, for he knows the stream. */
static void
on_victim (sim_t *sim, const sim_datagram_t *datagram, void *ctx) {
  net_t *net = ctx;
  udx_header_t header;
  CHECK(udx__header_decode(datagram->data, datagram->length, &header));
  if (!(header.type & (UDX_HEADER_DATA | UDX_HEADER_END))) return;
  if (udx__seq_before(net->highest, header.seq)) net->highest = header.seq;
  if (!net->lying) return;
  udx_header_t ack = {.id = 1, .window = UDX_WINDOW_DEFAULT, .seq = 0, .ack = net->highest + 1};
  uint8_t bytes[UDX_HEADER_SIZE];
  udx__header_encode(bytes, &ack);
  struct sockaddr_in to = sim_address4(net->pair->side[0].node, 5001);
  sim_inject(sim, (struct sockaddr *) &net->attacker, (struct sockaddr *) &to, bytes, sizeof(bytes), 1 * MS);
}

static pair_t *
net_new (net_t *net, uint64_t seed, const sim_link_t *link) {
  memset(net, 0, sizeof(*net));
  net->pair = pair_new(seed, link);
  CHECK_EQ(uv_ip4_addr("192.0.2.1", 9, &net->victim), 0);
  CHECK_EQ(uv_ip4_addr("192.0.2.66", 666, &net->attacker), 0);
  sim_raw(net->pair->sim, (struct sockaddr *) &net->victim, on_victim, net);
  sim_set_tap(net->pair->sim, net_tap, net);
  return net->pair;
}

static void
finish (pair_t *p, uint64_t bytes0, uint64_t bytes1, uint64_t limit) {
  pair_end(p, 0);
  pair_end(p, 1);
  if (!pair_run_closed(p, limit)) {
    printf("  seed %llu at %.1f s:", (unsigned long long) sim_seed(p->sim), (double) (sim_now(p->sim) - SIM_EPOCH) / 1e6);
    for (int i = 0; i < 2; i++) {
      pair_side_t *side = &p->side[i];
      printf(" %llu of %llu, %u outstanding, closed %d (%d);", (unsigned long long) side->received, (unsigned long long) (i ? bytes0 : bytes1),
        side->closed ? 0 : udx__flight_span(&side->stream), side->closed, side->close_status);
    }
    printf("\n");
    CHECK(!"closed in time");
  }
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(p->side[i].received, i ? bytes0 : bytes1);
    CHECK_EQ(p->side[i].mismatches, 0);
    CHECK_EQ(p->side[i].eof, 1);
    CHECK_EQ(p->side[i].close_status, 0);
  }
}

static int changed;

static void
on_changed (udx_stream_t *stream) {
  (void) stream;
  changed++;
}

static void
on_socket_close (udx_socket_t *socket) {
  (void) socket;
}

static void
open_socket (sim_node_t *node, udx_socket_t *socket, int family, uint16_t port) {
  memset(socket, 0, sizeof(*socket));
  CHECK_EQ(udx_socket_init(&node->udx, socket, on_socket_close), 0);
  udx_address_t any;
  memset(&any, 0, sizeof(any));
  any.any.sa_family = (sa_family_t) family;
  if (family == AF_INET) any.v4.sin_port = htons(port);
  else any.v6.sin6_port = htons(port);
  CHECK_EQ(udx_socket_bind(socket, &any.any, 0), 0);
}

static void
close_sockets (pair_t *p, udx_socket_t *sockets, int count) {
  for (int i = 0; i < count; i++) CHECK_EQ(udx_socket_close(&sockets[i]), 0);
  sim_run(p->sim, 1 * MS);
}

/* ---- strangers ---- */

/* Right ids, both streams, any type; everything else guessed. Nobody ever sends the stranger anything. */
TEST(obs_11_stranger_with_the_right_ids) {
  for (uint64_t seed = 1; seed <= 8; seed++) {
    sim_link_t link = sim_link_default();
    link.latency = 5 * MS;
    link.loss = 0.01;
    link.rate = 2000000;
    net_t net;
    pair_t *p = net_new(&net, seed, &link);
    pair_write(p, 0, 1000000);
    pair_write(p, 1, 1000000);
    sim_run(p->sim, 50 * MS);
    for (int i = 0; i < 5000; i++) {
      int side = i % 2;
      udx_header_t header = {
        .type = (uint8_t) sim_random(p->sim) & 0x3f,
        .data_offset = (uint8_t) (sim_random(p->sim) % 4 == 0 ? sim_random(p->sim) : 0),
        .id = (uint32_t) side + 1,
        .window = (uint32_t) (sim_random(p->sim) % 2 ? 0 : sim_random(p->sim)),
        .seq = (uint32_t) sim_random(p->sim),
        .ack = (uint32_t) sim_random(p->sim),
      };
      uint8_t bytes[UDX_HEADER_SIZE + 64] = {0};
      udx__header_encode(bytes, &header);
      for (size_t k = UDX_HEADER_SIZE; k < sizeof(bytes); k++) bytes[k] = (uint8_t) sim_random(p->sim);
      size_t length = UDX_HEADER_SIZE + (size_t) (sim_random(p->sim) % 65);
      struct sockaddr_in to = sim_address4(p->side[side].node, (uint16_t) (5001 + side));
      sim_inject(p->sim, (struct sockaddr *) &net.attacker, (struct sockaddr *) &to, bytes, length, (uint64_t) i * 100);
    }
    finish(p, 1000000, 1000000, 60 * S);
    CHECK_EQ(net.attacker_datagrams, 0);
    pair_free(p);
  }
}

/* Everything that was on the wire once more, from a new address: at most one datagram of 20 bytes and some ranges each,
   nothing of it to the stranger, and the transfer goes on as if nothing had been. */
TEST(obs_11_replays_from_a_new_address) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    sim_link_t link = sim_link_default();
    link.latency = 5 * MS;
    link.loss = 0.02;
    net_t net;
    pair_t *p = net_new(&net, seed, &link);
    net.records = calloc(RECORDED, sizeof(record_t));
    CHECK(net.records != NULL);
    net.recording = 1;
    pair_write(p, 0, 1000000);
    pair_write(p, 1, 300000);
    CHECK(pair_run_received(p, 1, 1000000, 30 * S));
    CHECK(pair_run_received(p, 0, 300000, 30 * S));
    sim_run(p->sim, 3 * S);
    net.recording = 0;
    CHECK(net.count > 500);
    uint64_t replayed = 0, sent = net.sent[0] + net.sent[1], bytes = net.sent_bytes[0] + net.sent_bytes[1];
    uint32_t windows[2] = {udx__stream(&p->side[0].stream)->flow.peer_window, udx__stream(&p->side[1].stream)->flow.peer_window};
    for (int round = 0; round < 3; round++) {
      for (int i = 0; i < net.count; i++) {
        record_t *record = &net.records[sim_random(p->sim) % (uint64_t) net.count];
        sim_inject(p->sim, (struct sockaddr *) &net.attacker, (struct sockaddr *) &record->to, record->data, record->length, (uint64_t) i * 50);
        replayed += record->length;
      }
    }
    sim_run(p->sim, 3 * S);
    CHECK(net.sent[0] + net.sent[1] - sent <= 3 * (uint64_t) net.count);
    CHECK(net.sent_bytes[0] + net.sent_bytes[1] - bytes <= replayed);
    CHECK_EQ(net.attacker_datagrams, 0);
    CHECK_EQ(p->side[0].received, 300000);
    CHECK_EQ(p->side[1].received, 1000000);
    for (int i = 0; i < 2; i++) CHECK_EQ(udx__stream(&p->side[i].stream)->flow.peer_window, windows[i]);
    /* and while a transfer runs */
    pair_write(p, 0, 1000000);
    for (int i = 0; i < net.count; i++) {
      record_t *record = &net.records[i];
      sim_inject(p->sim, (struct sockaddr *) &net.attacker, (struct sockaddr *) &record->to, record->data, record->length, (uint64_t) i * 50);
    }
    finish(p, 2000000, 300000, 60 * S);
    CHECK_EQ(net.attacker_datagrams, 0);
    free(net.records);
    pair_free(p);
  }
}

/* ---- somebody else's address ---- */

/* He gets an initial window, and that repeated until the stream gives up. Not one byte more, whatever waits to be sent. */
TEST(silent_victim_gets_an_initial_window) {
  for (int lossy = 0; lossy < 2; lossy++) {
    sim_link_t link = sim_link_default();
    link.latency = 10 * MS;
    link.loss = lossy ? 0.05 : 0;
    net_t net;
    pair_t *p = net_new(&net, 1, &link);
    pair_write(p, 0, 3000000);
    sim_run(p->sim, 100 * MS);
    CHECK(udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &net.victim, NULL) >= 0);
    pair_write(p, 0, 50000000);
    sim_run(p->sim, 240 * MS);
    CHECK(net.victim_datagrams > 0);
    if (!lossy) CHECK(net.victim_datagrams <= UDX_AMPLIFICATION_PACKETS);
    sim_run(p->sim, 60 * S);
    printf("  %llu datagrams, %llu bytes until given up (%d)\n", (unsigned long long) net.victim_datagrams, (unsigned long long) net.victim_bytes, p->side[0].close_status);
    CHECK_EQ(p->side[0].close_status, UV_ETIMEDOUT);
    CHECK(net.victim_datagrams <= UDX_AMPLIFICATION_PACKETS * (UDX_TIMEOUTS_MAX + 2));
    CHECK(net.victim_bytes <= UDX_AMPLIFICATION_PACKETS * (UDX_TIMEOUTS_MAX + 2) * 1200);
    pair_free(p);
  }
}

/* The peer named the victim and now acknowledges, from his own address, what the victim gets. */
TEST(lying_peer_cannot_have_a_victim_flooded) {
  for (int idle = 0; idle < 2; idle++) {
    sim_link_t link = sim_link_default();
    link.latency = 1 * MS;
    net_t net;
    pair_t *p = net_new(&net, 1, &link);
    pair_write(p, 0, 100000);
    sim_run(p->sim, idle ? 1 * S : 5 * MS);
    CHECK(udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &net.victim, NULL) >= 0);
    net.lying = 1;
    pair_write(p, 0, 100000000);
    sim_run(p->sim, 10 * S);
    printf("  %llu datagrams, %llu bytes in 10 s\n", (unsigned long long) net.victim_datagrams, (unsigned long long) net.victim_bytes);
    /* ten packets per tenth of a second, and some repairs */
    CHECK(net.victim_datagrams <= 10 * S / UDX_AMPLIFICATION_INTERVAL * UDX_AMPLIFICATION_PACKETS * 5 / 4);
    CHECK(net.victim_datagrams >= 100);
    pair_free(p);
  }
}

/* Back and forth between the peer and a victim: every change is worth one initial window. */
TEST(victim_named_again_and_again) {
  net_t net;
  pair_t *p = net_new(&net, 1, NULL);
  struct sockaddr_in home = sim_address4(p->side[1].node, 5002);
  pair_write(p, 0, 20000000);
  int changes = 0;
  for (int i = 0; i < 40; i++) {
    sim_run(p->sim, 20 * MS);
    struct sockaddr_in *to = i % 2 ? &home : &net.victim;
    int err = udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) to, NULL);
    CHECK(err >= 0 || err == UV_EBUSY);
    if (err >= 0 && to == &net.victim) changes++;
  }
  CHECK(changes > 0);
  sim_run(p->sim, 60 * S);
  CHECK(net.victim_datagrams <= (uint64_t) changes * UDX_AMPLIFICATION_PACKETS * (UDX_TIMEOUTS_MAX + 2));
  pair_free(p);
}

/* An honest peer that receives at one address and sends from another is slow, but nothing is lost and nothing hangs. */
TEST(peer_of_two_addresses) {
  for (uint64_t seed = 1; seed <= 5; seed++) {
    sim_link_t link = sim_link_default();
    link.latency = 5 * MS;
    link.loss = 0.02;
    pair_t *p = pair_new(seed, &link);
    udx_socket_t second;
    open_socket(p->side[1].node, &second, AF_INET, 7002);
    pair_write(p, 0, 500000);
    sim_run(p->sim, 20 * MS);
    /* side 0 is told the second address; side 1 goes on sending from its first */
    struct sockaddr_in to = sim_address4(p->side[1].node, 7002);
    CHECK(udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &to, on_changed) >= 0);
    finish(p, 500000, 0, 30 * S);
    close_sockets(p, &second, 1);
    pair_free(p);
  }
}

/* The peer answers from the new address: full speed at once. */
TEST(proven_remote_is_not_held_back) {
  sim_link_t link = sim_link_default();
  link.latency = 10 * MS;
  link.rate = 5000000;
  pair_t *p = pair_new(3, &link);
  udx_socket_t second;
  open_socket(p->side[1].node, &second, AF_INET, 7002);
  pair_write(p, 0, 10000000);
  sim_run(p->sim, 500 * MS);
  struct sockaddr_in a = sim_address4(p->side[0].node, 5001), b = sim_address4(p->side[1].node, 7002);
  CHECK(udx_stream_change_remote(&p->side[1].stream, &second, 1, (struct sockaddr *) &a, NULL) >= 0);
  CHECK(udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &b, NULL) >= 0);
  sim_run(p->sim, 100 * MS);
  CHECK_EQ(udx__stream(&p->side[0].stream)->validation.pending, 0);
  uint64_t at = p->side[1].received;
  sim_run(p->sim, 1000 * MS);
  CHECK((double) (p->side[1].received - at) > 0.8 * 5000000);
  finish(p, 10000000, 0, 30 * S);
  close_sockets(p, &second, 1);
  pair_free(p);
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
  if (datagram->from_node != old->from || !udx__header_decode(datagram->data, datagram->length, &header)) return SIM_PASS;
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
      err = udx_stream_change_remote(stream, mover_socket(other, mover.at[other]), (uint32_t) (2 - other), &back.any, mover_changed);
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
    for (int i = 0; i < 4; i++) open_socket(p->side[side].node, &mover.sockets[side][i], i < 2 ? AF_INET : AF_INET6, (uint16_t) (7000 + 10 * side + i));
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
    CHECK_EQ(changed, drop ? 1 : 2); /* the first one completes before the second, if anything arrives */
    sim_run(p->sim, 100 * MS);
    close_sockets(p, sockets, 4);
    pair_free(p);
  }
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
  again_result = udx_stream_change_remote(again_stream, again_stream->socket, 2, (struct sockaddr *) &again_to, on_second);
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
    CHECK_EQ(udx_stream_change_remote(again_stream, &p->side[0].socket, 2, (struct sockaddr *) &again_to, on_changed), 0);
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

static int read_moves;

static void
move_on_data (pair_side_t *side) {
  if (read_moves-- <= 0) return;
  pair_side_t *other = &side->pair->side[side == &side->pair->side[0]];
  struct sockaddr_in to = sim_address4(other->node, other == &side->pair->side[0] ? 5001 : 5002);
  udx_socket_t *socket = side->stream.socket == &side->socket ? chain_sockets : &side->socket;
  int err = udx_stream_change_remote(&side->stream, socket, side == &side->pair->side[0] ? 2 : 1, (struct sockaddr *) &to, on_changed);
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
  for (int i = 0; i < UDX_PATHS_MAX; i++) CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &to, on_changed), 0);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &other, on_changed), UV_EBUSY);
  CHECK(udx__address_equal(&udx__stream(s)->remote.any, (struct sockaddr *) &to)); /* nothing changed */
  link->down = false;
  sim_run(p->sim, 5 * S);
  CHECK_EQ(changed, 1);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &to, on_changed), 1);
  finish(p, 4000, 0, 5 * S);
  CHECK_EQ(changed, 1);
  pair_free(p);
}

TEST(change_of_remote_refused) {
  pair_t *p = pair_new_unconnected(1, NULL);
  udx_stream_t *s = &p->side[0].stream;
  pair_bind(p);
  struct sockaddr_in to = sim_address4(p->side[1].node, 5002);
  struct sockaddr_in6 to6 = sim_address6(p->side[1].node, 5002);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[0].socket, 2, (struct sockaddr *) &to, NULL), UV_EINVAL); /* not connected */
  pair_connect(p, 0);
  pair_connect(p, 1);
  CHECK_EQ(udx_stream_change_remote(s, &p->side[1].socket, 2, (struct sockaddr *) &to, NULL), UV_EINVAL); /* another instance's */
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
      CHECK_EQ(udx_stream_connect(&p->side[i].stream, &p->side[i].socket, 11u + (uint32_t) i, (struct sockaddr *) &via), 0);
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
      CHECK(udx_stream_change_remote(&p->side[i].stream, &p->side[i].socket, 2u - (uint32_t) i, (struct sockaddr *) &to, NULL) >= 0);
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
  int err = udx_stream_change_remote(&real.stream[side], &real.sockets[side][socket], (uint32_t) (2 - side), (struct sockaddr *) &real.address[1 - side][other], on_changed);
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
  for (int i = 0; i < 2; i++) CHECK_EQ(udx_stream_connect(&real.stream[i], &real.sockets[i][0], (uint32_t) (2 - i), (struct sockaddr *) &real.address[1 - i][0]), 0);
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

TEST_MAIN(
  TEST_ENTRY(obs_11_stranger_with_the_right_ids), TEST_ENTRY(obs_11_replays_from_a_new_address),
  TEST_ENTRY(silent_victim_gets_an_initial_window), TEST_ENTRY(lying_peer_cannot_have_a_victim_flooded),
  TEST_ENTRY(victim_named_again_and_again), TEST_ENTRY(peer_of_two_addresses), TEST_ENTRY(proven_remote_is_not_held_back),
  TEST_ENTRY(udx_76_outstanding_packets_keep_their_remote), TEST_ENTRY(udx_74_back_and_forth_with_loss),
  TEST_ENTRY(udx_74_back_and_forth_between_families), TEST_ENTRY(old_packets_fit_the_socket_they_leave_from),
  TEST_ENTRY(udx_75_change_from_the_callback_of_a_change),
  TEST_ENTRY(udx_75_change_completes_although_a_write_callback_changes_again), TEST_ENTRY(change_from_the_read_callback),
  TEST_ENTRY(change_from_the_firewall_callback), TEST_ENTRY(paths_are_bounded), TEST_ENTRY(change_of_remote_refused),
  TEST_ENTRY(destroy_with_a_change_pending), TEST_ENTRY(udx_74_from_a_relay_to_the_direct_path),
  TEST_ENTRY(real_sockets_change_back_and_forth))
