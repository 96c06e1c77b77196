/*
 * Random networks, random transfers: every byte arrives once and in order, or the stream ends with a
 * documented error. Each run is determined by its seed:
 *
 *   UDX_SIM_RUNS=10000 test_random            more runs (200 by default)
 *   UDX_SIM_SEED=1234 UDX_SIM_RUNS=1 test_random    one run again, with details
 */
#include "engine/stream.h"
#include "sim/pair.h"
#include "test.h"

#define MS 1000ull
#define S 1000000ull

typedef struct run_s {
  pair_t *pair;
  uint64_t seed;
  int outage, pauses, moves, blocks;
  udx_socket_t moved[8];
  int moved_len;
} run_t;

static double
fraction (sim_t *sim) {
  return (double) (sim_random(sim) >> 11) / 9007199254740992.0;
}

/* Spread evenly over orders of magnitude. */
static double
scale (sim_t *sim, double low, double high) {
  double value = low;
  double steps = fraction(sim) * 40;
  double factor = 1;
  /* (high / low)^(1/40), without libm */
  for (factor = 1.0;; factor *= 1.001) {
    double x = 1;
    for (int i = 0; i < 40; i++) x *= factor;
    if (x >= high / low) break;
  }
  for (; steps >= 1; steps -= 1) value *= factor;
  return value;
}

static void
random_link (sim_t *sim, sim_link_t *link) {
  *link = sim_link_default();
  link->latency = (uint64_t) scale(sim, 20, 300000);
  if (sim_random(sim) % 2) link->jitter = (uint64_t) (fraction(sim) * (double) link->latency * 0.5);
  if (sim_random(sim) % 4) {
    link->rate = (uint64_t) scale(sim, 8000, 1250000000);
    uint64_t packets = (uint64_t) scale(sim, 2, 10000);
    link->queue = packets * 1500;
  }
  if (sim_random(sim) % 2) link->loss = fraction(sim) * fraction(sim) * 0.3;
  if (sim_random(sim) % 5 == 0) {
    link->burst_begin = 0.002;
    link->burst_end = 0.1 + fraction(sim) * 0.4;
  }
  if (sim_random(sim) % 4 == 0) link->duplicate = fraction(sim) * 0.1;
  if (sim_random(sim) % 4 == 0) {
    link->reorder = fraction(sim) * 0.1;
    link->reorder_delay = (uint64_t) (fraction(sim) * 2 * (double) link->latency);
  }
  if (sim_random(sim) % 5 == 0) link->mtu = 1200 + (uint32_t) (sim_random(sim) % 320);
}

static void
end_outage (sim_t *sim, void *ctx) {
  (void) sim;
  run_t *run = ctx;
  for (int i = 0; i < 2; i++) sim_link(run->pair->side[i].node, run->pair->side[1 - i].node)->down = false;
}

static void
begin_outage (sim_t *sim, void *ctx) {
  run_t *run = ctx;
  int from = (int) (sim_random(sim) % 2);
  sim_link(run->pair->side[from].node, run->pair->side[1 - from].node)->down = true;
  if (sim_random(sim) % 2) sim_link(run->pair->side[1 - from].node, run->pair->side[from].node)->down = true;
  sim_after(sim, (uint64_t) (fraction(sim) * 9e6), end_outage, run);
}

static void
pause_reader (sim_t *sim, void *ctx) {
  run_t *run = ctx;
  pair_side_t *side = &run->pair->side[sim_random(sim) % 2];
  if (!side->closed) {
    if (side->stream.status & UDX_STREAM_READING) udx_stream_read_stop(&side->stream);
    else pair_read_start(run->pair, side == &run->pair->side[1]);
  }
  for (int i = 0; i < 2 && run->pauses <= 0; i++) {
    side = &run->pair->side[i];
    if (!side->closed && !(side->stream.status & UDX_STREAM_READING)) pair_read_start(run->pair, i);
  }
  if (run->pauses-- > 0) sim_after(sim, (uint64_t) (fraction(sim) * 3e5), pause_reader, run);
}

static void
block_sender (sim_t *sim, void *ctx) {
  run_t *run = ctx;
  sim_node_t *node = run->pair->side[sim_random(sim) % 2].node;
  sim_node_block(node, run->blocks > 0 && !node->blocked);
  if (run->blocks-- > 0) {
    sim_after(sim, (uint64_t) (fraction(sim) * 2e4), block_sender, run);
  } else {
    for (int i = 0; i < 2; i++) sim_node_block(run->pair->side[i].node, false);
  }
}

static void
on_moved_close (udx_socket_t *socket) {
  (void) socket;
}

static void
on_remote_changed (udx_stream_t *stream) {
  (void) stream;
}

/* Side 0 moves to another of its ports; side 1 learns of it a little later. */
static void
tell_peer (sim_t *sim, void *ctx) {
  (void) sim;
  run_t *run = ctx;
  pair_side_t *side = &run->pair->side[1];
  if (side->closed || run->moved_len == 0) return;
  struct sockaddr_in to = sim_address4(run->pair->side[0].node, (uint16_t) (7000 + run->moved_len - 1));
  CHECK(udx_stream_change_remote(&side->stream, &side->socket, 1, (struct sockaddr *) &to, on_remote_changed) >= -200);
}

static void
move (sim_t *sim, void *ctx) {
  run_t *run = ctx;
  pair_side_t *side = &run->pair->side[0];
  if (side->closed || run->moved_len == 8) return;
  udx_socket_t *socket = &run->moved[run->moved_len];
  CHECK_EQ(udx_socket_init(&side->node->udx, socket, on_moved_close), 0);
  struct sockaddr_in any;
  memset(&any, 0, sizeof(any));
  any.sin_family = AF_INET;
  any.sin_port = htons((uint16_t) (7000 + run->moved_len));
  CHECK_EQ(udx_socket_bind(socket, (struct sockaddr *) &any, 0), 0);
  run->moved_len++;
  struct sockaddr_in to = sim_address4(run->pair->side[1].node, 5002);
  (void) udx_stream_change_remote(&side->stream, socket, 2, (struct sockaddr *) &to, on_remote_changed);
  sim_after(sim, (uint64_t) (fraction(sim) * 1e5), tell_peer, run);
  if (run->moves-- > 0) sim_after(sim, (uint64_t) (fraction(sim) * 1e6), move, run);
}

static void
write_more (sim_t *sim, void *ctx) {
  run_t *run = ctx;
  int side = (int) (sim_random(sim) % 2);
  if (run->pair->side[side].end_when_written == 0) pair_write(run->pair, side, 1 + sim_random(sim) % 5000);
}

static void
report (pair_t *p, uint64_t seed, double seconds, int closed) {
  const sim_link_t *link = sim_link(p->side[0].node, p->side[1].node);
  printf("  seed %llu: latency %.1f ms rate %llu queue %llu loss %.3f mtu %u, %.1f s, closed %d\n",
    (unsigned long long) seed, (double) link->latency / 1e3, (unsigned long long) link->rate,
    (unsigned long long) link->queue, link->loss, link->mtu, seconds, closed);
  for (int i = 0; i < 2; i++) {
    pair_side_t *side = &p->side[i];
    printf("    side %d: wrote %llu, peer has %llu, mismatches %llu, status %d, eof %d, %u resent of %llu, %u "
           "timeouts, cwnd %u, window %u\n",
      i, (unsigned long long) side->written, (unsigned long long) p->side[1 - i].received,
      (unsigned long long) side->mismatches, side->close_status, side->eof, side->stream.retransmit_count,
      (unsigned long long) side->stream.packets_tx, side->stream.rto_count, side->stream.cwnd,
      udx__stream(&side->stream)->flow.peer_window);
  }
}

static int
one_run (uint64_t seed, int verbose) {
  pair_t *p = pair_new(seed, NULL);
  sim_t *sim = p->sim;
  run_t *run = calloc(1, sizeof(*run));
  run->pair = p;
  run->seed = seed;
  random_link(sim, sim_link(p->side[0].node, p->side[1].node));
  random_link(sim, sim_link(p->side[1].node, p->side[0].node));

  /* what the path carries in a couple of minutes, at most */
  uint64_t bytes[2];
  for (int i = 0; i < 2; i++) {
    const sim_link_t *out = sim_link(p->side[i].node, p->side[1 - i].node);
    uint64_t most = out->rate > 0 && out->rate < 100000 ? out->rate * 20 : 2000000;
    bytes[i] = (uint64_t) scale(sim, 1, (double) most + 10);
  }
  for (int i = 0; i < 2; i++) {
    if (sim_random(sim) % 3 == 0) udx_stream_set_congestion(&p->side[i].stream, UDX_CONGESTION_CUBIC);
    if (sim_random(sim) % 4 == 0) udx_stream_set_rwnd_max(&p->side[i].stream, (uint32_t) scale(sim, 2000, 4194304));
  }
  if (sim_random(sim) % 4 == 0) sim_after(sim, (uint64_t) (fraction(sim) * 2e6), begin_outage, run);
  if (sim_random(sim) % 4 == 0) {
    run->pauses = 1 + (int) (sim_random(sim) % 20);
    sim_after(sim, 1, pause_reader, run);
  }
  if (sim_random(sim) % 5 == 0) {
    run->blocks = 1 + (int) (sim_random(sim) % 100);
    sim_after(sim, 1, block_sender, run);
  }
  if (sim_random(sim) % 4 == 0) {
    run->moves = (int) (sim_random(sim) % 4);
    sim_after(sim, (uint64_t) (fraction(sim) * 1e6), move, run);
  }
  for (int i = 0; i < 10; i++) sim_after(sim, (uint64_t) (fraction(sim) * 2e6), write_more, run);
  for (int i = 0; i < 2; i++) pair_write(p, i, bytes[i]);
  sim_run(sim, 2 * S);
  for (int i = 0; i < 2; i++) pair_end(p, i);
  int closed = pair_run_closed(p, 4 * 3600 * S);

  double seconds = (double) (sim_now(sim) - SIM_EPOCH) / 1e6;
  /* a peer of a stream that gave up, with nothing outstanding, waits for ever (udx.md 2.8) */
  int gave_up = p->side[0].close_status == UV_ETIMEDOUT || p->side[1].close_status == UV_ETIMEDOUT;
  int fine = closed || gave_up;
  int complete = 1;
  for (int i = 0; i < 2; i++) {
    pair_side_t *side = &p->side[i];
    int status = side->close_status;
    if (side->mismatches > 0 || side->received > p->side[1 - i].written) fine = 0;
    if (status != 0 && status != UV_ETIMEDOUT && !(gave_up && status == UV_ECONNRESET)) fine = 0;
    if (side->closed && status == 0 &&
        (side->received != p->side[1 - i].written || side->eof != 1 || side->cancelled > 0))
      fine = 0;
    if (status != 0) complete = 0;
  }
  if (!fine || verbose) report(p, seed, seconds, closed);
  CHECK(fine);
  for (int i = 0; i < 2; i++) sim_node_block(p->side[i].node, false);
  run->pauses = run->moves = 0;
  sim_run(sim, 10 * S);
  for (int i = 0; i < 2; i++) (void) udx_stream_destroy(&p->side[i].stream);
  for (int i = 0; i < run->moved_len; i++) CHECK_EQ(udx_socket_close(&run->moved[i]), 0);
  pair_free(p);
  free(run);
  return complete;
}

TEST(random_runs) {
  const char *text = getenv("UDX_SIM_RUNS");
  int runs = text != NULL ? atoi(text) : 200;
  text = getenv("UDX_SIM_SEED");
  uint64_t first = text != NULL ? strtoull(text, NULL, 0) : 1;
  int complete = 0;
  for (int i = 0; i < runs; i++) complete += one_run(first + (uint64_t) i, runs == 1);
  printf("  %d runs from seed %llu: %d complete, %d ended with ETIMEDOUT\n", runs, (unsigned long long) first, complete,
    runs - complete);
  CHECK(complete * 10 >= runs * 8);
}

TEST_MAIN(TEST_ENTRY(random_runs))
