/* Behaviour of the engine in the simulator, one mechanism or spec item per test. */
#include "engine/stream.h"
#include "engine/wire.h"
#include "sim/pair.h"
#include "test.h"

#define MS 1000ull
#define S 1000000ull

/* ---- a tap that records and drops by rule ---- */

typedef struct watch_s {
  uint32_t transmissions[64]; /* per seq, DATA and END from side 0 */
  uint64_t times[64];
  uint32_t count;
  uint32_t heartbeats, acks, sacks, destroys, messages;
  uint64_t heartbeat_times[64];
  uint32_t largest; /* IP packet */
  int (*drop)(struct watch_s *watch, sim_datagram_t *datagram, const udx_header_t *header);
  sim_node_t *sender;
  pair_t *pair;
} watch_t;

static sim_verdict_t
watch_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  watch_t *watch = ctx;
  udx_header_t header;
  if (!udx__header_decode(datagram->data, datagram->length, &header)) return SIM_PASS;
  if (datagram->from_node == watch->sender) {
    if (header.type & (UDX_HEADER_DATA | UDX_HEADER_END)) {
      if (header.seq < 64) watch->transmissions[header.seq]++;
      if (watch->count < 64) watch->times[watch->count] = sim_now(sim);
      watch->count++;
      if (datagram->length + 28 > watch->largest) watch->largest = (uint32_t) datagram->length + 28;
    }
    if (header.type & UDX_HEADER_HEARTBEAT && watch->heartbeats < 64) watch->heartbeat_times[watch->heartbeats++] = sim_now(sim);
    if (header.type & UDX_HEADER_DESTROY) watch->destroys++;
    if (header.type & UDX_HEADER_MESSAGE) watch->messages++;
  } else {
    if (header.type == 0) watch->acks++;
    if (header.type == UDX_HEADER_SACK) watch->sacks++;
  }
  if (watch->drop != NULL && watch->drop(watch, datagram, &header)) return SIM_DROP;
  return SIM_PASS;
}

static void
watch_start (watch_t *watch, pair_t *pair) {
  memset(watch, 0, sizeof(*watch));
  watch->sender = pair->side[0].node;
  watch->pair = pair;
  sim_set_tap(pair->sim, watch_tap, watch);
}

static void
check_complete (pair_t *p, uint64_t bytes) {
  CHECK_EQ(p->side[1].received, bytes);
  CHECK_EQ(p->side[1].mismatches, 0);
  CHECK_EQ(p->side[0].close_status, 0);
  CHECK_EQ(p->side[1].close_status, 0);
}

static void
finish (pair_t *p, uint64_t bytes, uint64_t limit) {
  pair_end(p, 0);
  pair_end(p, 1);
  CHECK(pair_run_closed(p, limit));
  check_complete(p, bytes);
}

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
  return datagram->from_node != watch->sender && header->type == 0 && watch->pair->side[1].closed && watch->acks < 100 && ++watch->messages <= 3;
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

/* With an RTT sample the timeout is finer, but the patience is the same. */
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

/* Of P0..P3 only P0 arrives; the probe resends P3, its SACK triggers P1 and P2, a second loss of P1 is found by RACK. */
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
    printf("  done after %.2f s, %u timeouts\n", (double) (sim_now(p->sim) - SIM_EPOCH) / 1e6, p->side[0].stream.rto_count);
    pair_free(p);
  }
}

/* OBS-1: the gap is reported with the first packet behind it. */
static int
drop_three (watch_t *watch, sim_datagram_t *datagram, const udx_header_t *header) {
  return datagram->from_node == watch->sender && header->seq >= 1 && header->seq <= 3 && watch->transmissions[header->seq] == 1;
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

/* ---- flow control ---- */

TEST(paused_reader_closes_the_window) {
  pair_t *p = pair_new(1, NULL);
  CHECK_EQ(udx_stream_read_stop(&p->side[1].stream), 0);
  pair_write(p, 0, 20000000);
  sim_run(p->sim, 5 * S);
  CHECK_EQ(p->side[1].received, 0);
  CHECK_EQ(udx__stream(&p->side[0].stream)->flow.peer_window, 0);
  uint64_t sent = p->side[0].stream.bytes_tx;
  printf("  %llu bytes sent into a closed window of %u\n", (unsigned long long) sent, UDX_WINDOW_DEFAULT);
  CHECK(sent < 2 * UDX_WINDOW_DEFAULT);
  sim_run(p->sim, 30 * S);
  CHECK_EQ(p->side[0].closed, 0);
  CHECK(p->side[0].stream.bytes_tx - sent < 200000);
  CHECK_EQ(p->side[0].stream.rto_count, 0);
  pair_read_start(p, 1);
  finish(p, 20000000, 20 * S);
  pair_free(p);
}

/* A reader that pauses again and again, with many small packets. */
static void
toggle (sim_t *sim, void *ctx) {
  pair_t *p = ctx;
  if (p->side[1].closed) return;
  if (p->side[1].stream.status & UDX_STREAM_READING) udx_stream_read_stop(&p->side[1].stream);
  else pair_read_start(p, 1);
  sim_after(sim, 20 * MS + sim_random(sim) % (100 * MS), toggle, p);
}

TEST(reader_toggles) {
  for (uint64_t seed = 1; seed <= 5; seed++) {
    sim_link_t link = sim_link_default();
    link.loss = 0.01;
    pair_t *p = pair_new(seed, &link);
    udx_stream_set_rwnd_max(&p->side[1].stream, 65536);
    sim_after(p->sim, 10 * MS, toggle, p);
    pair_write(p, 0, 3000000);
    finish(p, 3000000, 300 * S);
    pair_free(p);
  }
}

/* UDX-66: an application that reads slowly and says so through the callback. */
static uint32_t held;

static uint32_t
held_bytes (udx_stream_t *stream) {
  (void) stream;
  return held;
}

static void
hold (pair_side_t *side) {
  held = (uint32_t) (side->received);
}

static void
consume (sim_t *sim, void *ctx) {
  uint32_t *consumed = ctx;
  *consumed += 500;
  held = held > 500 ? held - 500 : 0;
  sim_after(sim, 1 * S, consume, ctx);
}

TEST(udx_66_slow_reader) {
  pair_t *p = pair_new(1, NULL);
  held = 0;
  uint32_t consumed = 0;
  udx_stream_set_rwnd_max(&p->side[1].stream, 2000);
  p->side[1].stream.get_read_buffer_size = held_bytes;
  p->side[1].on_data = hold;
  sim_after(p->sim, 1 * S, consume, &consumed);
  pair_write(p, 0, 9000);
  pair_end(p, 0);
  pair_end(p, 1);
  CHECK(pair_run_closed(p, 120 * S));
  check_complete(p, 9000);
  CHECK_EQ(p->side[0].stream.rto_count, 0);
  pair_free(p);
}

TEST(keepalive) {
  pair_t *p = pair_new(1, NULL);
  watch_t watch;
  watch_start(&watch, p);
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, 10), 0);
  sim_run(p->sim, 500 * MS);
  CHECK(watch.heartbeats > 10);
  CHECK(watch.acks + 1 >= watch.heartbeats); /* the last one is on its way */
  /* OBS-12: off is off */
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, 0), 0);
  uint32_t before = watch.heartbeats;
  sim_run(p->sim, 500 * MS);
  CHECK(watch.heartbeats <= before + 1);
  pair_free(p);
}

/* ---- MTU ---- */

TEST(mtu_search_and_its_limit) {
  static const uint32_t mtus[] = {1200, 1231, 1300, 1499, 1500, 9000};
  for (size_t i = 0; i < sizeof(mtus) / sizeof(*mtus); i++) {
    sim_link_t link = sim_link_default();
    link.mtu = mtus[i];
    link.rate = 10000000;
    pair_t *p = pair_new(1, &link);
    pair_write(p, 0, 5000000);
    finish(p, 5000000, 60 * S);
    udx_stream_t *s = &p->side[0].stream;
    printf("  path %u: mtu %u, %u retransmitted, %u recoveries\n", mtus[i], s->mtu, s->retransmit_count, s->fast_recovery_count);
    CHECK(s->mtu <= mtus[i] && s->mtu <= 1500);
    CHECK(s->mtu + 32u > mtus[i] || s->mtu == 1500);
    CHECK_EQ(s->fast_recovery_count, 0); /* UDX-61 */
    pair_free(p);
  }
}

TEST(mtu_black_hole) {
  sim_link_t link = sim_link_default();
  link.rate = 10000000;
  link.latency = 5 * MS;
  pair_t *p = pair_new(1, &link);
  pair_write(p, 0, 20000000);
  sim_run(p->sim, 1 * S);
  CHECK_EQ(p->side[0].stream.mtu, 1500);
  sim_link(p->side[0].node, p->side[1].node)->mtu = 1280;
  finish(p, 20000000, 60 * S);
  CHECK(p->side[0].stream.mtu <= 1280);
  printf("  mtu %u after %.2f s, %u timeouts\n", p->side[0].stream.mtu, (double) (sim_now(p->sim) - SIM_EPOCH) / 1e6, p->side[0].stream.rto_count);
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
static uint32_t unproven_received;

static void
count_raw (sim_t *sim, const sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  (void) datagram;
  (void) ctx;
  unproven_received++;
}

TEST(unproven_remote_is_spared) {
  sim_link_t link = sim_link_default();
  link.latency = 10 * MS;
  pair_t *p = pair_new(1, &link);
  pair_write(p, 0, 3000000);
  sim_run(p->sim, 100 * MS);
  struct sockaddr_in victim;
  CHECK_EQ(uv_ip4_addr("192.0.2.1", 9, &victim), 0);
  sim_raw(p->sim, (struct sockaddr *) &victim, count_raw, NULL);
  unproven_received = 0;
  CHECK(udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &victim, NULL) >= 0);
  pair_write(p, 0, 3000000);
  sim_run(p->sim, 200 * MS);
  CHECK(unproven_received > 0 && unproven_received <= UDX_AMPLIFICATION_PACKETS + 4);
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
    CHECK_EQ(udx_stream_connect(&p->side[i].stream, &p->side[i].socket, 11u + (uint32_t) i, (struct sockaddr *) &via), 0);
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

/* ---- congestion control ---- */

TEST(bottleneck_queue_and_goodput) {
  for (int controller = 0; controller < 2; controller++) {
    sim_link_t link = sim_link_default();
    link.latency = 20 * MS;
    link.rate = 6250000; /* 50 Mbit/s */
    link.queue = 500000; /* 2 BDP */
    pair_t *p = pair_new(2, &link);
    CHECK_EQ(udx_stream_set_congestion(&p->side[0].stream, controller ? UDX_CONGESTION_CUBIC : UDX_CONGESTION_BBR), 0);
    pair_write(p, 0, 60000000);
    sim_run(p->sim, 2 * S);
    uint64_t at = p->side[1].received;
    uint64_t sum = 0;
    int samples = 0;
    for (int i = 0; i < 60; i++) {
      sim_run(p->sim, 100 * MS);
      sum += udx__stream(&p->side[0].stream)->rtt.latest;
      samples++;
    }
    double goodput = (double) (p->side[1].received - at) / 6.0 / (6250000.0 * 1452 / 1500);
    double rtt = (double) sum / samples / 40000;
    printf("  %s: goodput %.1f %%, RTT %.2f of base, %u retransmitted\n", controller ? "cubic" : "bbr", 100 * goodput, rtt, p->side[0].stream.retransmit_count);
    CHECK(goodput > 0.93);
    if (!controller) CHECK(rtt < 1.35);
    pair_free(p);
  }
}

/* OBS-6: slower than a packet per millisecond. */
TEST(slow_path_pacing) {
  sim_link_t link = sim_link_default();
  link.latency = 50 * MS;
  link.rate = 8000; /* 64 kbit/s */
  link.queue = 16000;
  pair_t *p = pair_new(2, &link);
  pair_write(p, 0, 150000);
  finish(p, 150000, 120 * S);
  udx_stream_t *s = &p->side[0].stream;
  printf("  %.1f s, %u of %llu retransmitted, %u timeouts\n", (double) (sim_now(p->sim) - SIM_EPOCH) / 1e6, s->retransmit_count, (unsigned long long) s->packets_tx, s->rto_count);
  CHECK(sim_now(p->sim) - SIM_EPOCH < 30 * S);
  CHECK(s->retransmit_count * 4 < s->packets_tx);
  pair_free(p);
}

TEST_MAIN(
  TEST_ENTRY(udx_26_sequence_wrap), TEST_ENTRY(udx_31_data_before_connect), TEST_ENTRY(time_wait_answers_a_late_end),
  TEST_ENTRY(destroy_is_repeated_to_a_peer_that_goes_on), TEST_ENTRY(udx_47_destroy_from_read),
  TEST_ENTRY(teardown_with_everything_alive), TEST_ENTRY(udx_53_silent_peer), TEST_ENTRY(silent_peer_after_samples),
  TEST_ENTRY(udx_56_rack_and_tail_loss_probe), TEST_ENTRY(one_way_outage), TEST_ENTRY(udx_24_gap_reported_at_once),
  TEST_ENTRY(reordering_is_not_loss), TEST_ENTRY(paused_reader_closes_the_window), TEST_ENTRY(reader_toggles),
  TEST_ENTRY(udx_66_slow_reader), TEST_ENTRY(keepalive), TEST_ENTRY(mtu_search_and_its_limit), TEST_ENTRY(mtu_black_hole),
  TEST_ENTRY(full_sockets), TEST_ENTRY(udx_74_change_of_remote), TEST_ENTRY(unproven_remote_is_spared),
  TEST_ENTRY(udx_77_78_relay), TEST_ENTRY(off_path_packets), TEST_ENTRY(bottleneck_queue_and_goodput),
  TEST_ENTRY(slow_path_pacing))
