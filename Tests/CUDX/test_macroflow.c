/* Many streams of one socket towards one address share a budget of bytes in flight (engine/macroflow.c). */
#include <stdlib.h>

#include "engine/stream.h"
#include "engine/wire.h"
#include "sim/sim.h"
#include "test.h"

#define STREAMS 300
#define BYTES 100000

typedef struct flow_s {
  udx_stream_t tx, rx;
  uint64_t received, share;
  int closed;
  bool cut;
  struct many_s *many;
} flow_t;

typedef struct many_s {
  sim_t *sim;
  sim_node_t *a, *b;
  udx_socket_t sa, sb;
  flow_t flows[STREAMS];
  uint64_t total, most;
  uint32_t open, finished, resets;
} many_t;

static char payload[BYTES];

static void
on_socket_close (udx_socket_t *socket) {
  (void) socket;
}

static void
on_close (udx_stream_t *stream, int status) {
  flow_t *flow = stream->data;
  CHECK(status == 0 || status == UV_ECONNRESET || flow->cut);
  flow->many->resets += status != 0;
  flow->closed++;
  flow->many->open--;
}

static void
on_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  (void) buf;
  if (length <= 0) return;
  flow_t *flow = stream->data;
  many_t *many = flow->many;
  flow->received += (uint64_t) length;
  many->total += (uint64_t) length;
  if (flow->received == BYTES) many->finished++;
  if (many->total >= (uint64_t) STREAMS * BYTES / 2 &&
      many->total - (uint64_t) length < (uint64_t) STREAMS * BYTES / 2) {
    for (int i = 0; i < STREAMS; i++) many->flows[i].share = many->flows[i].received;
  }
}

static void
on_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) status;
  (void) unordered;
  free(req);
}

static void
write_end (udx_stream_t *stream, size_t length) {
  udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
  uv_buf_t buf = uv_buf_init(payload, (unsigned int) length);
  CHECK(udx_stream_write_end(req, stream, &buf, length > 0, on_ack) >= 0);
}

static many_t *
many_new (uint64_t seed, const sim_link_t *link) {
  many_t *many = calloc(1, sizeof(*many));
  if (many == NULL) abort();
  many->sim = sim_new(seed);
  many->a = sim_node(many->sim);
  many->b = sim_node(many->sim);
  sim_connect(many->a, many->b, link);
  CHECK_EQ(udx_socket_init(&many->a->udx, &many->sa, on_socket_close), 0);
  CHECK_EQ(udx_socket_init(&many->b->udx, &many->sb, on_socket_close), 0);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(5001)};
  CHECK_EQ(udx_socket_bind(&many->sa, (const struct sockaddr *) &any, 0), 0);
  CHECK_EQ(udx_socket_bind(&many->sb, (const struct sockaddr *) &any, 0), 0);
  struct sockaddr_in to_a = sim_address4(many->a, 5001), to_b = sim_address4(many->b, 5001);
  for (uint32_t i = 0; i < STREAMS; i++) {
    flow_t *flow = &many->flows[i];
    flow->many = many;
    flow->tx.data = flow->rx.data = flow;
    CHECK_EQ(udx_stream_init(&many->a->udx, &flow->tx, i + 1, on_close, NULL), 0);
    CHECK_EQ(udx_stream_init(&many->b->udx, &flow->rx, i + 1, on_close, NULL), 0);
    udx_stream_read_start(&flow->rx, on_read);
    CHECK_EQ(udx_stream_connect(&flow->tx, &many->sa, i + 1, (const struct sockaddr *) &to_b), 0);
    CHECK_EQ(udx_stream_connect(&flow->rx, &many->sb, i + 1, (const struct sockaddr *) &to_a), 0);
    many->open += 2;
    write_end(&flow->tx, BYTES);
    write_end(&flow->rx, 0);
  }
  return many;
}

static int
all_closed (void *ctx) {
  many_t *many = ctx;
  for (int i = 0; i < STREAMS; i++) {
    udx_macroflow_t *macroflow = udx__stream(&many->flows[i].tx)->macroflow;
    if (macroflow == NULL) continue;
    uint64_t sum = 0;
    for (int j = 0; j < STREAMS; j++) sum += many->flows[j].tx.inflight;
    CHECK_EQ(macroflow->inflight, sum);
    if (sum > many->most) many->most = sum;
    break;
  }
  return many->open == 0;
}

static void
many_free (many_t *many) {
  for (int i = 0; i < STREAMS; i++) {
    udx_stream_destroy(&many->flows[i].tx);
    udx_stream_destroy(&many->flows[i].rx);
  }
  sim_run(many->sim, 1000000);
  CHECK_EQ(udx_socket_close(&many->sa), 0);
  CHECK_EQ(udx_socket_close(&many->sb), 0);
  sim_run(many->sim, 1000000);
  CHECK(udx_is_idle(&many->a->udx) && udx_is_idle(&many->b->udx));
  sim_free(many->sim);
  free(many);
}

/* The first flights of all would be 3.6 MB, twelve times what the queue takes. */
TEST(first_flights_fit) {
  sim_link_t link = sim_link_default();
  link.latency = 500;
  link.rate = 50000000;
  link.queue = 300000;
  many_t *many = many_new(1, &link);
  CHECK(sim_run_until(many->sim, all_closed, many, 30000000));
  double seconds = (double) (sim_now(many->sim) - SIM_EPOCH) / 1e6;
  uint64_t least = UINT64_MAX, retransmits = 0, timeouts = 0;
  for (int i = 0; i < STREAMS; i++) {
    flow_t *flow = &many->flows[i];
    CHECK_EQ(flow->received, BYTES);
    CHECK_EQ(flow->closed, 2);
    CHECK_EQ(many->resets, 0);
    CHECK(udx__stream(&flow->tx)->macroflow == NULL);
    if (flow->share < least) least = flow->share;
    retransmits += flow->tx.retransmit_count;
    timeouts += flow->tx.rto_count;
  }
  double fairness = (double) least / (BYTES / 2.0);
  printf("  %.3f s, least/mean %.2f, %llu retransmitted, %llu timeouts, at most %llu bytes in flight\n", seconds,
    fairness, (unsigned long long) retransmits, (unsigned long long) timeouts, (unsigned long long) many->most);
  CHECK(fairness >= 0.5);
  CHECK_EQ(timeouts, 0);
  CHECK(seconds < 1.0); /* 0.6 s at the rate of the link */
  many_free(many);
}

/* What is lost without an answer holds the others back for a moment, not until its timeout of a second. */
TEST(silence_does_not_block_the_others) {
  sim_link_t link = sim_link_default();
  link.latency = 1000;
  many_t *many = many_new(2, &link);
  sim_link_t *out = sim_link(many->a, many->b);
  out->down = true;
  sim_run(many->sim, 10000);
  CHECK_EQ(many->total, 0);
  out->down = false;
  sim_run(many->sim, 490000);
  uint32_t finished = many->finished;
  printf("  %u of %d finished within 0.5 s\n", finished, STREAMS);
  CHECK(finished >= STREAMS * 9 / 10);
  CHECK(finished < STREAMS);
  CHECK(sim_run_until(many->sim, all_closed, many, 30000000));
  many_free(many);
}

/* The next in line goes on as soon as a byte of the budget is free, and not before. */
TEST(budget_has_an_edge) {
  sim_link_t link = sim_link_default();
  many_t *many = many_new(3, &link);
  udx_stream_t *stream = &many->flows[0].tx;
  udx_macroflow_t *macroflow = udx__stream(stream)->macroflow;
  udx_link_t *resumable = &udx__socket(&many->sa)->resumable;
  uint64_t now = udx__instance(&many->a->udx)->now;
  CHECK_EQ(macroflow->inflight, 0);
  CHECK_EQ(macroflow->budget, UDX_MACROFLOW_MIN);
  for (int round = 0; round < 2; round++) {
    macroflow->inflight = UDX_MACROFLOW_MIN - 1;
    CHECK_EQ(udx__macroflow_wait(stream, now), 0);
    macroflow->inflight = UDX_MACROFLOW_MIN;
    CHECK_EQ(udx__macroflow_wait(stream, now), 1);
    udx__macroflow_resume(macroflow);
    CHECK(udx__list_empty(resumable));
    CHECK(udx__macroflow_next(macroflow) == NULL);
    macroflow->inflight = UDX_MACROFLOW_MIN - 1;
    udx__macroflow_resume(macroflow);
    CHECK(!udx__list_empty(resumable));
    CHECK(udx__macroflow_next(macroflow) == stream);
    udx__list_remove(&macroflow->resumable);
    udx__macroflow_resume(macroflow); /* for none */
    CHECK(udx__list_empty(resumable));
  }
  macroflow->inflight = 0;
  many_free(many);
}

/* What it has in flight is none any more: those that wait for the budget need not wait for an acknowledgement. */
TEST(rerouted_stream_gives_its_budget_back) {
  sim_link_t link = sim_link_default();
  many_t *many = many_new(4, &link);
  sim_run(many->sim, 1);
  udx_stream_t *stream = &many->flows[0].tx;
  udx_macroflow_t *macroflow = udx__stream(stream)->macroflow;
  udx_link_t *resumable = &udx__socket(&many->sa)->resumable;
  CHECK(stream->inflight > 0 && macroflow->inflight >= UDX_MACROFLOW_MIN);
  CHECK(!udx__list_empty(&macroflow->waiting) && udx__list_empty(resumable));
  CHECK_EQ(udx_stream_reroute(stream), 0);
  CHECK(macroflow->inflight < UDX_MACROFLOW_MIN);
  CHECK(!udx__list_empty(resumable));
  CHECK(sim_run_until(many->sim, all_closed, many, 30000000));
  many_free(many);
}

static int
some_wait (void *ctx) {
  many_t *many = ctx;
  int waiting = 0;
  for (int i = 0; i < STREAMS; i += 2) waiting += udx__stream(&many->flows[i].tx)->pacing.queued;
  return waiting >= STREAMS / 4;
}

/* Every second stream is destroyed, many of them in the queue: the others go on, and all peers are told. */
TEST(streams_are_destroyed_while_they_wait) {
  sim_link_t link = sim_link_default();
  link.latency = 500;
  link.rate = 50000000;
  link.queue = 300000;
  many_t *many = many_new(3, &link);
  CHECK(sim_run_until(many->sim, some_wait, many, 30000000));
  for (int i = 0; i < STREAMS; i += 2) udx_stream_destroy(&many->flows[i].tx);
  CHECK(sim_run_until(many->sim, all_closed, many, 30000000));
  CHECK_EQ(many->resets, STREAMS / 2);
  for (int i = 1; i < STREAMS; i += 2) CHECK_EQ(many->flows[i].received, BYTES);
  many_free(many);
}

/* Those that were not closed; a reset may be lost, so that the other end of one that was stays. */
static int
rest_closed (void *ctx) {
  many_t *many = ctx;
  for (int i = 0; i < STREAMS; i++) {
    if (!many->flows[i].cut && many->flows[i].closed < 2) return 0;
  }
  return 1;
}

/* Its place in the line is given up with it, also when its peer has ended it; the others go on. */
TEST(a_stream_that_waits_can_be_closed) {
  sim_link_t link = sim_link_default();
  link.latency = 500;
  link.rate = 50000000;
  link.queue = 300000;
  many_t *many = many_new(3, &link);
  sim_run(many->sim, 5000);
  int waiting = 0, cut = 0;
  for (int i = 0; i < STREAMS; i++) {
    flow_t *flow = &many->flows[i];
    if (!udx__stream(&flow->tx)->pacing.queued || waiting++ % 3 == 2) continue;
    flow->cut = true;
    cut++;
    CHECK(udx_stream_destroy(waiting % 3 == 1 ? &flow->tx : &flow->rx) >= 0);
  }
  printf("  %d waited, %d of them were closed\n", waiting, cut);
  CHECK(cut >= 2);
  CHECK(sim_run_until(many->sim, rest_closed, many, 30000000));
  for (int i = 0; i < STREAMS; i++) {
    if (!many->flows[i].cut) CHECK_EQ(many->flows[i].received, BYTES);
  }
  many_free(many);
}

TEST_MAIN(TEST_ENTRY(first_flights_fit), TEST_ENTRY(budget_has_an_edge),
  TEST_ENTRY(rerouted_stream_gives_its_budget_back), TEST_ENTRY(silence_does_not_block_the_others),
  TEST_ENTRY(streams_are_destroyed_while_they_wait), TEST_ENTRY(a_stream_that_waits_can_be_closed))
