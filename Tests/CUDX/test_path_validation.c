/*
 * Validation of a new remote and the anti-amplification limit (udx.md 2.9): packets from other addresses with the right
 * ids, replays, peers that name the address of another host.
 */
#include "migration_support.h"

static int changed;

static void
on_changed (udx_stream_t *stream) {
  (void) stream;
  changed++;
}

/* ---- the victim and what it gets ---- */

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
  int lying;        /* the attacker acknowledges, from its own address, what the victim gets */
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

/* The victim is silent, but the attacker may know what it gets, since it knows the stream. */
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

/* ---- packets from other addresses ---- */

/* Right ids, both streams, any type; everything else guessed. Nothing is ever sent to the attacker. */
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
   nothing of it to the other address, and the transfer goes on as if nothing had been. */
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
    uint32_t windows[2] = {
      udx__stream(&p->side[0].stream)->flow.peer_window, udx__stream(&p->side[1].stream)->flow.peer_window};
    for (int round = 0; round < 3; round++) {
      for (int i = 0; i < net.count; i++) {
        record_t *record = &net.records[sim_random(p->sim) % (uint64_t) net.count];
        sim_inject(p->sim, (struct sockaddr *) &net.attacker, (struct sockaddr *) &record->to, record->data,
          record->length, (uint64_t) i * 50);
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
      sim_inject(p->sim, (struct sockaddr *) &net.attacker, (struct sockaddr *) &record->to, record->data,
        record->length, (uint64_t) i * 50);
    }
    finish(p, 2000000, 300000, 60 * S);
    CHECK_EQ(net.attacker_datagrams, 0);
    free(net.records);
    pair_free(p);
  }
}

/* ---- the address of another host ---- */

/* It gets an initial window, repeated until the stream gives up. Not one byte more, whatever waits to be sent. */
TEST(silent_victim_gets_an_initial_window) {
  for (int lossy = 0; lossy < 2; lossy++) {
    sim_link_t link = sim_link_default();
    link.latency = 10 * MS;
    link.loss = lossy ? 0.05 : 0;
    net_t net;
    pair_t *p = net_new(&net, 1, &link);
    pair_write(p, 0, 3000000);
    sim_run(p->sim, 100 * MS);
    CHECK(
      udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &net.victim, NULL) >= 0);
    pair_write(p, 0, 50000000);
    sim_run(p->sim, 240 * MS);
    CHECK(net.victim_datagrams > 0);
    CHECK_EQ(udx_stream_path_validated(&p->side[0].stream), 0);
    if (!lossy) CHECK(net.victim_datagrams <= UDX_AMPLIFICATION_PACKETS);
    sim_run(p->sim, 60 * S);
    printf("  %llu datagrams, %llu bytes until given up (%d)\n", (unsigned long long) net.victim_datagrams,
      (unsigned long long) net.victim_bytes, p->side[0].close_status);
    CHECK_EQ(p->side[0].close_status, UV_ETIMEDOUT);
    CHECK(net.victim_datagrams <= UDX_AMPLIFICATION_PACKETS * (UDX_TIMEOUTS_MAX + 2));
    CHECK(net.victim_bytes <= UDX_AMPLIFICATION_PACKETS * (UDX_TIMEOUTS_MAX + 2) * 1200);
    pair_free(p);
  }
}

/* The peer named the victim and now acknowledges, from its own address, what the victim gets. */
TEST(lying_peer_cannot_have_a_victim_flooded) {
  for (int idle = 0; idle < 2; idle++) {
    sim_link_t link = sim_link_default();
    link.latency = 1 * MS;
    net_t net;
    pair_t *p = net_new(&net, 1, &link);
    pair_write(p, 0, 100000);
    sim_run(p->sim, idle ? 1 * S : 5 * MS);
    CHECK(
      udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &net.victim, NULL) >= 0);
    net.lying = 1;
    pair_write(p, 0, 100000000);
    sim_run(p->sim, 10 * S);
    printf("  %llu datagrams, %llu bytes in 10 s\n", (unsigned long long) net.victim_datagrams,
      (unsigned long long) net.victim_bytes);
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
    CHECK(
      udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &to, on_changed) >= 0);
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
  CHECK_EQ(udx_stream_path_validated(&p->side[0].stream), 1);
  uint64_t at = p->side[1].received;
  sim_run(p->sim, 1000 * MS);
  CHECK((double) (p->side[1].received - at) > 0.8 * 5000000);
  finish(p, 10000000, 0, 30 * S);
  close_sockets(p, &second, 1);
  pair_free(p);
}

TEST_MAIN(TEST_ENTRY(obs_11_stranger_with_the_right_ids), TEST_ENTRY(obs_11_replays_from_a_new_address),
  TEST_ENTRY(silent_victim_gets_an_initial_window), TEST_ENTRY(lying_peer_cannot_have_a_victim_flooded),
  TEST_ENTRY(victim_named_again_and_again), TEST_ENTRY(peer_of_two_addresses),
  TEST_ENTRY(proven_remote_is_not_held_back))
