/* The source check: what a stranger that knows the ids can do (nothing), and what the peer still can from elsewhere. */
#include "sources_support.h"

static uint64_t answers, answer_bytes;

static sim_verdict_t
count_answers (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  (void) ctx;
  const struct sockaddr_in *to = (const struct sockaddr_in *) &datagram->to;
  if ((ntohl(to->sin_addr.s_addr) & 0xffffff00) != 0xc0000200) return SIM_PASS;
  answers++;
  answer_bytes += datagram->length;
  return SIM_PASS;
}

/* ---- forged packets ---- */

typedef struct fate_s {
  uint32_t next, delivered, una, nxt, window;
  int status;
  uint64_t received, packets, heard_at, messages;
  int closed, eof;
} fate_t;

static fate_t
fate_of (pair_t *p, int side) {
  udx_stream_t *stream = &p->side[side].stream;
  const udx_stream_state_t *state = udx__stream(stream);
  return (fate_t){
    .next = state->ack.next,
    .delivered = state->ack.delivered,
    .una = state->flight.una,
    .nxt = state->flight.nxt,
    .window = state->flow.peer_window,
    .status = stream->status,
    .received = p->side[side].received,
    .packets = stream->packets_rx,
    .heard_at = state->flow.heard_at,
    .messages = p->side[side].messages,
    .closed = p->side[side].closed,
    .eof = p->side[side].eof,
  };
}

static void
fate_is (pair_t *p, int side, const fate_t *before) {
  fate_t now = fate_of(p, side);
  CHECK_EQ(now.next, before->next);
  CHECK_EQ(now.delivered, before->delivered);
  CHECK_EQ(now.una, before->una);
  CHECK_EQ(now.nxt, before->nxt);
  CHECK_EQ(now.window, before->window);
  CHECK_EQ(now.status, before->status);
  CHECK_EQ(now.received, before->received);
  CHECK_EQ(now.packets, before->packets);
  CHECK_EQ(now.heard_at, before->heard_at);
  CHECK_EQ(now.messages, before->messages);
  CHECK_EQ(now.closed, before->closed);
  CHECK_EQ(now.eof, before->eof);
}

/* Every type alone and in pairs, at every interesting place of the sequence, with every interesting acknowledgement. */
static void
forge_all (pair_t *p, int side) {
  static const uint8_t types[] = {0, UDX_HEADER_DATA, UDX_HEADER_END, UDX_HEADER_SACK, UDX_HEADER_MESSAGE,
    UDX_HEADER_DESTROY, UDX_HEADER_HEARTBEAT, UDX_HEADER_DATA | UDX_HEADER_END, UDX_HEADER_DATA | UDX_HEADER_DESTROY,
    UDX_HEADER_DATA | UDX_HEADER_MESSAGE, UDX_HEADER_DATA | UDX_HEADER_SACK, UDX_HEADER_END | UDX_HEADER_DESTROY};
  static const int32_t places[] = {0, 1, 2, 63, 64, 60000, 70000, -1, -2};
  static const int32_t acks[] = {0, -1, -1000, 1, 1000};
  uint8_t body[1200];
  for (size_t i = 0; i < sizeof(body); i++) body[i] = (uint8_t) (i * 7);
  for (size_t t = 0; t < sizeof(types); t++) {
    for (size_t s = 0; s < sizeof(places) / sizeof(*places); s++) {
      for (size_t a = 0; a < sizeof(acks) / sizeof(*acks); a++) {
        udx_header_t header = plausible(p, side, types[t]);
        header.seq += (uint32_t) places[s];
        header.ack += (uint32_t) acks[a];
        header.window = a % 2 ? 0 : 1 << 20;
        if (header.type & UDX_HEADER_SACK) {
          udx__put_u32(body, udx__stream(&p->side[side].stream)->flight.una);
          udx__put_u32(body + 4, udx__stream(&p->side[side].stream)->flight.nxt);
        }
        forge(p, side, stranger(), &header, body, s % 2 ? sizeof(body) : 8);
        sim_run(p->sim, 10);
      }
    }
  }
}

TEST(stranger_has_no_say) {
  pair_t *p = checked_pair(1, 1 * MS);
  sim_set_tap(p->sim, count_answers, NULL);
  answers = answer_bytes = 0;
  for (int stage = 0; stage < 4; stage++) {
    /* idle, both sides have sent, one has ended, and with a flight that waits for its acknowledgement */
    if (stage == 1) {
      pair_write(p, 0, 5000);
      pair_write(p, 1, 3000);
    }
    if (stage == 2) pair_end(p, 0);
    sim_run(p->sim, 2 * S);
    if (stage == 3) {
      sim_link(p->side[0].node, p->side[1].node)->down = true;
      pair_write(p, 1, 4000);
      sim_run(p->sim, 10 * MS);
      CHECK_EQ(udx__flight_span(&p->side[1].stream), 4);
    }
    fate_t before[2] = {fate_of(p, 0), fate_of(p, 1)};
    for (int side = 0; side < 2; side++) {
      uint32_t una = udx__stream(&p->side[side].stream)->flight.una, held = sources_of(p, side)->held;
      forge_all(p, side);
      if (before[side].eof) CHECK_EQ(sources_of(p, side)->held, held); /* nothing can follow */
      CHECK_EQ(udx__stream(&p->side[side].stream)->flight.una, una);
      if (stage < 3) fate_is(p, side, &before[side]);
    }
    sim_link(p->side[0].node, p->side[1].node)->down = false;
  }
  /* packets from before it: at most one bare acknowledgement in 20 ms */
  CHECK(answers > 4 && answers <= 4 * 2 * 2);
  CHECK_EQ(answer_bytes, answers * UDX_HEADER_SIZE);
  pair_end(p, 1);
  CHECK(pair_run_closed(p, 10 * S));
  CHECK_EQ(p->side[1].received, 5000);
  CHECK_EQ(p->side[0].received, 7000);
  CHECK_EQ(p->side[0].mismatches + p->side[1].mismatches, 0);
  CHECK_EQ(p->side[0].close_status, 0);
  CHECK_EQ(p->side[1].close_status, 0);
  CHECK_EQ(strays, 0);
  pair_free(p);
}

/* Random types, ids that are right, places near the right ones, while data goes both ways over a lossy path. */
TEST(stranger_during_transfers) {
  for (uint64_t seed = 1; seed <= 8; seed++) {
    sim_link_t link = sim_link_default();
    link.latency = 5 * MS;
    link.loss = 0.01;
    link.rate = 2000000;
    pair_t *p = pair_new(seed, &link);
    check_sources(p);
    pair_write(p, 0, 1000000);
    pair_write(p, 1, 1000000);
    for (int i = 0; i < 5000; i++) {
      int side = i % 2;
      udx_header_t header = plausible(p, side, (uint8_t) sim_random(p->sim) & 0x3f);
      header.seq += (uint32_t) (sim_random(p->sim) % 8) - 2;
      header.ack -= (uint32_t) (sim_random(p->sim) % 64);
      header.window = sim_random(p->sim) % 2 ? 0 : UDX_WINDOW_DEFAULT;
      uint8_t body[1100];
      for (size_t k = 0; k < sizeof(body); k++) body[k] = (uint8_t) sim_random(p->sim);
      struct sockaddr_in from = stranger_at((uint32_t) (sim_random(p->sim) % 32), 666);
      forge(p, side, &from, &header, body, (size_t) (sim_random(p->sim) % sizeof(body)));
      sim_run(p->sim, 100);
    }
    finish(p, 1000000, 1000000, 60 * S);
    CHECK_EQ(udx__instance(&p->side[0].node->udx)->held_memory, 0);
    pair_free(p);
  }
}

/* Without the check every source counts, as in libudx. */
TEST(without_the_check) {
  pair_t *p = pair_new(1, NULL);
  sim_run(p->sim, 10 * MS);
  CHECK_EQ(udx_stream_check_sources(&p->side[1].stream, on_source, NULL), 0);
  udx_header_t header = plausible(p, 1, UDX_HEADER_DESTROY);
  forge(p, 1, stranger(), &header, NULL, 0);
  sim_run(p->sim, 10 * MS);
  CHECK_EQ(p->side[1].closed, 0);
  CHECK_EQ(udx_stream_check_sources(&p->side[1].stream, NULL, NULL), 0);
  CHECK_EQ(udx__stream(&p->side[1].stream)->guards, 0);
  forge(p, 1, stranger(), &header, NULL, 0);
  sim_run(p->sim, 10 * MS);
  CHECK_EQ(p->side[1].close_status, UV_ECONNRESET);
  CHECK_EQ(udx_stream_check_sources(&p->side[1].stream, on_source, NULL), UV_EINVAL);
  pair_free(p);
}

/* ---- bounds ---- */

TEST(what_is_held_is_bounded) {
  pair_t *p = checked_pair(1, 1 * MS);
  frame_size = 1 << 20;
  for (uint32_t host = 1; host <= 50; host++) {
    struct sockaddr_in from = stranger_at(host, 666);
    for (uint32_t i = 0; i < 200; i++) forge_part(p, &from, i, 1200);
    sim_run(p->sim, 1 * MS);
  }
  CHECK_EQ(count_sources(p, 1, 0), UDX_STRANGERS_MAX);
  CHECK_EQ(sources_of(p, 1)->held, UDX_STRANGERS_MAX * UDX_HELD_MAX);
  uint64_t memory = udx__instance(&p->side[1].node->udx)->held_memory;
  CHECK_EQ(memory, UDX_STRANGERS_MAX * UDX_HELD_MAX * (sizeof(udx_held_t) + UDX_HEADER_SIZE + 1200));
  CHECK_EQ(udx__stream(&p->side[1].stream)->ack.owed, 0);
  /* the bound of the instance: another source takes the place of one, and finds no room */
  udx__instance(&p->side[1].node->udx)->held_memory = UDX_HELD_TOTAL_MAX + memory / UDX_STRANGERS_MAX;
  struct sockaddr_in from = stranger_at(99, 666);
  forge_part(p, &from, 0, 1200);
  sim_run(p->sim, 1 * MS);
  CHECK_EQ(udx__instance(&p->side[1].node->udx)->held_memory, UDX_HELD_TOTAL_MAX);
  CHECK_EQ(sources_of(p, 1)->held, (UDX_STRANGERS_MAX - 1) * UDX_HELD_MAX);
  udx__instance(&p->side[1].node->udx)->held_memory = memory - memory / UDX_STRANGERS_MAX;
  pair_write(p, 0, 100000);
  finish(p, 100000, 0, 10 * S);
  CHECK_EQ(udx__instance(&p->side[1].node->udx)->held_memory, 0);
  pair_free(p);
}

/* Forged packets for other streams have most of the memory: this one holds as much as is left, not nothing. */
TEST(held_packets_of_others_leave_room) {
  pair_t *p = checked_pair(1, 1 * MS);
  frame_size = 1 << 20;
  uint64_t others = UDX_HELD_TOTAL_MAX - 200000;
  udx__instance(&p->side[1].node->udx)->held_memory += others;
  for (uint32_t host = 1; host <= UDX_STRANGERS_MAX; host++) {
    struct sockaddr_in from = stranger_at(host, 666);
    for (uint32_t i = 0; i < UDX_HELD_MAX; i++) forge_part(p, &from, i, 1200);
    sim_run(p->sim, 1 * MS);
  }
  CHECK(sources_of(p, 1)->held_memory > 95000 && sources_of(p, 1)->held_memory <= 100000);
  udx__instance(&p->side[1].node->udx)->held_memory -= others;
  pair_free(p);
}

/* What the peer's own host has sent is not pushed out by other hosts. */
TEST(near_source_keeps_its_place) {
  pair_t *p = checked_pair(1, 1 * MS);
  struct sockaddr_in near = sim_address4(p->side[0].node, 7777);
  udx_header_t header = plausible(p, 1, UDX_HEADER_DATA);
  forge(p, 1, &near, &header, pair_pattern(0), 600);
  for (uint32_t host = 1; host <= 50; host++) {
    struct sockaddr_in from = stranger_at(host, 666);
    forge_part(p, &from, 0, 600);
    sim_run(p->sim, 1 * MS);
  }
  header.seq++;
  forge(p, 1, &near, &header, pair_pattern(600), 400);
  sim_run(p->sim, 1 * MS);
  CHECK_EQ(p->side[1].received, 1000);
  CHECK_EQ(p->side[1].mismatches, 0);
  CHECK_EQ(count_sources(p, 1, 1), 1);
  pair_free(p);
}

/* Whole frames that are refused: the owner is asked so often in an interval, and again in the next. */
TEST(refusals_are_bounded) {
  pair_t *p = checked_pair(1, 1 * MS);
  sim_run(p->sim, 1 * S);
  for (int i = 0; i < 1000; i++) {
    forge_part(p, stranger(), 0, 1000);
    sim_run(p->sim, 50);
  }
  CHECK_EQ(frames_asked, UDX_REFUSALS_MAX);
  sim_run(p->sim, UDX_REFUSALS_INTERVAL);
  udx_header_t header = plausible(p, 1, UDX_HEADER_DATA);
  forge(p, 1, stranger(), &header, pair_pattern(0), 1000);
  sim_run(p->sim, 1 * MS);
  CHECK_EQ(p->side[1].received, 0); /* the stranger has sent something else for this place, which is held */
  sim_run(p->sim, UDX_REFUSALS_INTERVAL);
  forge(p, 1, stranger(), &header, pair_pattern(0), 1000);
  sim_run(p->sim, 1 * MS);
  CHECK_EQ(p->side[1].received, 1000);
  pair_free(p);
}

/* The owner is not asked again before what it needs has come. */
TEST(owner_is_asked_once_per_frame) {
  pair_t *p = checked_pair(1, 1 * MS);
  struct sockaddr_in from = stranger_at(1, 1);
  frame_size = 40000;
  for (uint32_t i = 0; i < 40; i++) {
    udx_header_t header = plausible(p, 1, UDX_HEADER_DATA);
    header.seq = i;
    forge(p, 1, &from, &header, pair_pattern(i * 1000), 1000);
    sim_run(p->sim, 100);
    CHECK_EQ(frames_asked, i < 39 ? 1 : 2);
  }
  CHECK_EQ(p->side[1].received, 40000);
  pair_free(p);
}

/* ---- ranges ---- */

/* The first 64 blocks of a packet count, and so does its acknowledgement. */
TEST(first_blocks_count) {
  pair_t *p = checked_pair(1, 1 * MS);
  sim_link(p->side[0].node, p->side[1].node)->down = true;
  sim_run(p->sim, 10 * MS);
  udx__stream(&p->side[0].stream)->validation.pending = 0;
  p->side[0].stream.cwnd = 400;
  pair_write(p, 0, 400 * 1152);
  sim_run(p->sim, 200 * MS);
  udx_flight_t *flight = &udx__stream(&p->side[0].stream)->flight;
  CHECK(udx__flight_span(&p->side[0].stream) >= 2 * 70 + 2);
  uint8_t blocks[70 * 8];
  for (uint32_t i = 0; i < 70; i++) {
    udx__put_u32(blocks + 8 * i, 2 + 2 * i);
    udx__put_u32(blocks + 8 * i + 4, 3 + 2 * i);
  }
  struct sockaddr_in peer = sim_address4(p->side[1].node, 5002);
  udx_header_t header = plausible(p, 0, UDX_HEADER_SACK);
  header.ack = 1;
  forge(p, 0, &peer, &header, blocks, sizeof(blocks));
  sim_run(p->sim, 10);
  CHECK_EQ(flight->una, 1);
  CHECK_EQ(flight->sacked_count, UDX_SACK_BLOCKS_TAKEN);
  CHECK_EQ(UDX_SACK_BLOCKS_TAKEN, 64);
  sim_link(p->side[0].node, p->side[1].node)->down = false;
  pair_free(p);
}

TEST_MAIN(TEST_ENTRY(stranger_has_no_say), TEST_ENTRY(stranger_during_transfers), TEST_ENTRY(without_the_check),
  TEST_ENTRY(what_is_held_is_bounded), TEST_ENTRY(held_packets_of_others_leave_room),
  TEST_ENTRY(near_source_keeps_its_place), TEST_ENTRY(refusals_are_bounded), TEST_ENTRY(owner_is_asked_once_per_frame),
  TEST_ENTRY(first_blocks_count))
