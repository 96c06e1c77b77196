/*
 * What silence of the peer means (udx.md 2.8, 3.7): a stream that ended its half notices a dead peer, a peer that only
 * does not answer HEARTBEATs is left alone, and a peer learns at once that a stream was destroyed.
 */
#include "watch.h"

static void
cut (pair_t *p, bool down) {
  sim_link(p->side[0].node, p->side[1].node)->down = down;
  sim_link(p->side[1].node, p->side[0].node)->down = down;
}

/* Side 0 has written, ended, and is acknowledged; it only reads now. */
static pair_t *
half_closed (watch_t *watch, uint32_t keepalive) {
  pair_t *p = pair_new(1, NULL);
  watch_start(watch, p);
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, keepalive), 0);
  pair_write(p, 0, 5000);
  pair_end(p, 0);
  sim_run(p->sim, 100 * MS);
  CHECK(p->side[0].stream.status & UDX_STREAM_ENDED);
  CHECK_EQ(p->side[1].eof, 1);
  return p;
}

TEST(half_closed_stream_notices_a_dead_peer) {
  static const uint32_t keepalives[] = {10, 100, 1000, 5000};
  for (size_t i = 0; i < sizeof(keepalives) / sizeof(*keepalives); i++) {
    uint32_t keepalive = keepalives[i];
    watch_t watch;
    pair_t *p = half_closed(&watch, keepalive);
    cut(p, true);
    uint64_t dead_at = sim_now(p->sim);
    sim_run(p->sim, 60 * S);
    CHECK_EQ(p->side[0].closed, 1);
    CHECK_EQ(p->side[0].close_status, UV_ETIMEDOUT);
    uint64_t noticed = p->side[0].close_time - dead_at;
    CHECK(noticed >= 13 * S - 200 * MS);
    CHECK(noticed <= 13 * S + keepalive * MS + 10 * MS);
    CHECK(noticed <= 20 * S);
    CHECK_EQ(watch.heartbeats, 0); /* old peers do not answer them */
    pair_free(p);
  }
}

/* The probe is the END again, at its own place in the sequence, and is answered; the stream lives for an hour. */
TEST(half_closed_stream_keeps_a_living_peer) {
  watch_t watch;
  pair_t *p = half_closed(&watch, 5000);
  uint32_t seq = udx__stream(&p->side[0].stream)->flight.nxt - 1;
  uint32_t packets = watch.count, acks = watch.acks;
  sim_run(p->sim, 3600 * S);
  CHECK_EQ(p->side[0].closed, 0);
  CHECK_EQ(p->side[1].closed, 0);
  CHECK(watch.transmissions[seq] >= 715);
  CHECK(watch.transmissions[seq] <= 721);
  CHECK_EQ(watch.count - packets, watch.transmissions[seq] - 1); /* nothing else was sent */
  CHECK_EQ(watch.acks - acks, watch.transmissions[seq] - 1);
  pair_write(p, 1, 5000);
  pair_end(p, 1);
  CHECK(pair_run_closed(p, 10 * S));
  for (int k = 0; k < 2; k++) CHECK_EQ(p->side[k].close_status, 0);
  CHECK_EQ(p->side[0].received, 5000);
  pair_free(p);
}

/* What the peer sends is a sign of life as good as an answer: no probe is due. */
TEST(half_closed_stream_that_receives_does_not_probe) {
  watch_t watch;
  pair_t *p = half_closed(&watch, 1000);
  uint32_t packets = watch.count;
  for (int i = 0; i < 50; i++) {
    pair_write(p, 1, 100);
    sim_run(p->sim, 500 * MS);
  }
  CHECK_EQ(watch.count, packets);
  CHECK_EQ(p->side[0].received, 5000);
  pair_free(p);
}

/* An outage that is shorter than the give-up time ends nothing, and the interval is the old one afterwards. */
TEST(half_closed_stream_survives_an_outage) {
  for (uint64_t seconds = 1; seconds <= 12; seconds++) {
    watch_t watch;
    pair_t *p = half_closed(&watch, 1000);
    cut(p, true);
    sim_run(p->sim, seconds * S);
    cut(p, false);
    sim_run(p->sim, 5 * S);
    uint32_t packets = watch.count;
    sim_run(p->sim, 20 * S);
    CHECK_EQ(p->side[0].closed, 0);
    CHECK(watch.count - packets >= 19);
    CHECK(watch.count - packets <= 21);
    pair_free(p);
  }
}

/* With the keepalive off nothing is sent, and silence ends nothing. */
TEST(half_closed_stream_without_keepalive_stays) {
  watch_t watch;
  pair_t *p = half_closed(&watch, 0);
  uint32_t packets = watch.count;
  cut(p, true);
  sim_run(p->sim, 3600 * S);
  CHECK_EQ(p->side[0].closed, 0);
  CHECK_EQ(p->side[1].closed, 0);
  CHECK_EQ(watch.count, packets);
  pair_free(p);
}

/* All that the peer had to say waits for the reader: the peer has closed and may be gone. */
TEST(paused_reader_keeps_what_arrived) {
  watch_t watch;
  pair_t *p = half_closed(&watch, 1000);
  udx_stream_read_stop(&p->side[0].stream);
  pair_write(p, 1, 50000);
  pair_end(p, 1);
  sim_run(p->sim, 5 * S);
  cut(p, true);
  sim_run(p->sim, 3600 * S);
  CHECK_EQ(p->side[0].closed, 0);
  pair_read_start(p, 0);
  sim_run(p->sim, 1 * S);
  CHECK_EQ(p->side[0].received, 50000);
  CHECK_EQ(p->side[0].eof, 1);
  CHECK_EQ(p->side[0].close_status, 0);
  pair_free(p);
}

/* A peer before 1.20.1 takes a HEARTBEAT for an acknowledgement and does not answer. */
static int
drop_heartbeats (watch_t *watch, sim_datagram_t *datagram, const udx_header_t *header) {
  (void) datagram;
  (void) watch;
  return (header->type & UDX_HEADER_HEARTBEAT) != 0;
}

TEST(unanswered_heartbeats_end_nothing) {
  pair_t *p = pair_new(1, NULL);
  watch_t watch;
  watch_start(&watch, p);
  watch.drop = drop_heartbeats;
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, 5000), 0);
  pair_write(p, 0, 5000);
  sim_run(p->sim, 300 * S);
  CHECK(watch.heartbeats >= 59);
  CHECK_EQ(p->side[0].closed, 0);
  finish(p, 5000, 10 * S);
  pair_free(p);
}

/* Keepalives while the socket takes nothing, or data waits for its acknowledgement, do not add up. */
TEST(keepalives_do_not_add_up) {
  pair_t *p = pair_new(1, NULL);
  watch_t watch;
  watch_start(&watch, p);
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, 1000), 0);
  sim_run(p->sim, 500 * MS);
  sim_node_block(p->side[0].node, true);
  sim_run(p->sim, 10 * S);
  CHECK_EQ(watch.heartbeats, 0);
  sim_node_block(p->side[0].node, false);
  sim_run(p->sim, 100 * MS);
  CHECK_EQ(watch.heartbeats, 1);
  cut(p, true);
  pair_write(p, 0, 10);
  sim_run(p->sim, 10 * S);
  CHECK_EQ(watch.heartbeats, 1);
  pair_free(p);
}

/* A process that was stopped has not asked often enough to know: it asks before it gives up. */
TEST(stopped_process_asks_first) {
  watch_t watch;
  pair_t *p = half_closed(&watch, 1000);
  sim_run(p->sim, 70 * S);
  cut(p, true);
  sim_run(p->sim, 1500 * MS); /* one probe is out and lost */
  udx_flow_t *flow = &udx__stream(&p->side[0].stream)->flow;
  CHECK_EQ(flow->silent_probes, 1);
  flow->silent_since -= 60 * S; /* as if the clock had gone on for a minute without the process */
  flow->heard_at -= 60 * S;
  cut(p, false);
  sim_run(p->sim, 60 * S);
  CHECK_EQ(p->side[0].closed, 0);
  pair_free(p);
}

/* ---- DESTROY ---- */

enum { STREAMS = 5000 };

typedef struct many_s {
  sim_t *sim;
  sim_node_t *nodes[2];
  udx_socket_t sockets[2];
  udx_stream_t *streams[2];
  uint32_t destroys, reset, finalized;
} many_t;

static sim_verdict_t
count_destroys (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  many_t *many = ctx;
  udx_header_t header;
  if (udx__header_decode(datagram->data, datagram->length, &header) && (header.type & UDX_HEADER_DESTROY))
    many->destroys++;
  return SIM_PASS;
}

static void
many_closed (udx_stream_t *stream, int status) {
  many_t *many = stream->data;
  if (status == UV_ECONNRESET) many->reset++;
}

static void
many_finalized (udx_stream_t *stream) {
  ((many_t *) stream->data)->finalized++;
}

static void
many_socket_closed (udx_socket_t *socket) {
  (void) socket;
}

static void
many_open (many_t *many) {
  memset(many, 0, sizeof(*many));
  many->sim = sim_new(1);
  for (int k = 0; k < 2; k++) many->nodes[k] = sim_node(many->sim);
  for (int k = 0; k < 2; k++) {
    CHECK_EQ(udx_socket_init(&many->nodes[k]->udx, &many->sockets[k], many_socket_closed), 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(5000)};
    CHECK_EQ(udx_socket_bind(&many->sockets[k], (struct sockaddr *) &any, 0), 0);
    many->streams[k] = calloc(STREAMS, sizeof(udx_stream_t));
    CHECK(many->streams[k] != NULL);
    struct sockaddr_in to = sim_address4(many->nodes[1 - k], 5000);
    for (uint32_t i = 0; i < STREAMS; i++) {
      udx_stream_t *stream = &many->streams[k][i];
      stream->data = many;
      CHECK_EQ(udx_stream_init(&many->nodes[k]->udx, stream, i + 1, many_closed, many_finalized), 0);
      CHECK_EQ(udx_stream_connect(stream, &many->sockets[k], i + 1, (struct sockaddr *) &to), 0);
    }
  }
  sim_run(many->sim, 100 * MS);
  sim_set_tap(many->sim, count_destroys, many);
}

static void
many_free (many_t *many) {
  CHECK_EQ(many->finalized, 2 * STREAMS);
  for (int k = 0; k < 2; k++) CHECK_EQ(udx_socket_close(&many->sockets[k]), 0);
  sim_run(many->sim, 1 * S);
  for (int k = 0; k < 2; k++) {
    CHECK(udx_is_idle(&many->nodes[k]->udx));
    free(many->streams[k]);
  }
  sim_free(many->sim);
}

/* However many streams are destroyed in one turn, and however full the socket is: every peer knows within a second. */
TEST(no_reset_is_dropped) {
  for (int full = 0; full <= 2; full++) {
    many_t many;
    many_open(&many);
    if (full == 1) sim_node_block(many.nodes[0], true);
    if (full == 2) sim_node_throttle(many.nodes[0], 10);
    for (int i = 0; i < STREAMS; i++) CHECK_EQ(udx_stream_destroy(&many.streams[0][i]), 1);
    uint32_t queued = udx__socket(&many.sockets[0])->controls_count;
    CHECK(queued <= (full ? STREAMS : UDX_CONTROLS_MAX));
    if (full) {
      sim_run(many.sim, 100 * MS);
      if (full == 1) CHECK_EQ(many.destroys, 0);
      if (full == 1) sim_node_block(many.nodes[0], false);
      if (full == 2) sim_node_throttle(many.nodes[0], 0);
    }
    sim_run(many.sim, 1 * S);
    CHECK_EQ(many.destroys, STREAMS);
    CHECK_EQ(many.reset, STREAMS);
    CHECK_EQ(udx__socket(&many.sockets[0])->controls_count, 0);
    many_free(&many);
  }
}

/* The same at the end of an instance, whose sockets close in that turn. */
TEST(teardown_resets_every_stream) {
  many_t many;
  many_open(&many);
  udx_teardown(&many.nodes[0]->udx);
  sim_run(many.sim, 1 * S);
  CHECK_EQ(many.destroys, STREAMS);
  CHECK_EQ(many.reset, STREAMS);
  udx_teardown(&many.nodes[1]->udx);
  sim_run(many.sim, 1 * S);
  CHECK_EQ(many.finalized, 2 * STREAMS);
  for (int k = 0; k < 2; k++) free(many.streams[k]);
  sim_free(many.sim);
}

/* What is acknowledged wakes nothing: the retransmission timer goes with the last packet in flight. */
TEST(idle_streams_have_no_deadline_but_their_own) {
  pair_t *p = pair_new(1, NULL);
  const udx_timer_heap_t *timers = &udx__instance(p->side[0].stream.udx)->timers;
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, 0), 0);
  pair_write(p, 0, 100);
  sim_run(p->sim, 0);
  CHECK_EQ(udx__flight_span(&p->side[0].stream), 1);
  CHECK_EQ(timers->count, 1);
  sim_run(p->sim, 100 * MS);
  CHECK_EQ(udx__flight_span(&p->side[0].stream), 0);
  CHECK_EQ(timers->count, 0);
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, 5000), 0);
  pair_write(p, 0, 100);
  sim_run(p->sim, 100 * MS);
  CHECK_EQ(timers->count, 1);
  CHECK(udx__stream(timers->entries[0])->timer_key >= sim_now(p->sim) + 4800 * MS);
  pair_free(p);
}

TEST_MAIN(TEST_ENTRY(half_closed_stream_notices_a_dead_peer), TEST_ENTRY(half_closed_stream_keeps_a_living_peer),
  TEST_ENTRY(half_closed_stream_that_receives_does_not_probe), TEST_ENTRY(half_closed_stream_survives_an_outage),
  TEST_ENTRY(half_closed_stream_without_keepalive_stays), TEST_ENTRY(paused_reader_keeps_what_arrived),
  TEST_ENTRY(unanswered_heartbeats_end_nothing), TEST_ENTRY(keepalives_do_not_add_up),
  TEST_ENTRY(stopped_process_asks_first), TEST_ENTRY(no_reset_is_dropped), TEST_ENTRY(teardown_resets_every_stream),
  TEST_ENTRY(idle_streams_have_no_deadline_but_their_own))
