/*
 * Completion times on simulated paths: one transfer per seed on the virtual network of the tests, so that two builds
 * are compared without noise. Loss of single datagrams, then of what one call sends, up to 44 packets together, as
 * where segmented datagrams are dropped whole. Both directions lose. Times are virtual milliseconds.
 *
 *   udxbench-simulated [--seeds N] [--least PERCENT]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/pair.h"

#define MS 1000u
#define LIMIT (300ull * 1000 * MS)

static int
by_value (const void *a, const void *b) {
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

typedef struct segments_s {
  double loss;
  struct {
    uint64_t call;
    uint32_t count;
    bool is_lost;
  } of[3];
} segments_t;

static sim_verdict_t
segment_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  segments_t *segments = ctx;
  uint32_t i = datagram->from_node->index;
  if (segments->of[i].call != datagram->from_node->transmit_calls || segments->of[i].count == 44) {
    segments->of[i].call = datagram->from_node->transmit_calls;
    segments->of[i].count = 0;
    segments->of[i].is_lost = (double) (sim_random(sim) >> 11) * (1.0 / 9007199254740992.0) < segments->loss;
  }
  segments->of[i].count++;
  return segments->of[i].is_lost ? SIM_DROP : SIM_PASS;
}

typedef struct totals_s {
  uint64_t timeouts, repairs, unfinished;
} totals_t;

static double
transfer (uint64_t seed, const sim_link_t *link, uint64_t bytes, double segment_loss, totals_t *totals) {
  pair_t *pair = pair_new(seed, link);
  segments_t segments = {.loss = segment_loss};
  if (segment_loss > 0) sim_set_tap(pair->sim, segment_tap, &segments);
  uint64_t begin = sim_now(pair->sim);
  pair_write(pair, 0, bytes);
  if (!pair_run_received(pair, 1, bytes, LIMIT)) totals->unfinished++;
  double took = (double) (sim_now(pair->sim) - begin) / MS;
  const udx_stream_t *stream = &pair->side[0].stream;
  totals->timeouts += stream->rto_count;
  totals->repairs += stream->retransmit_count;
  sim_set_tap(pair->sim, NULL, NULL);
  pair_free(pair);
  return took;
}

typedef struct path_s {
  uint64_t round_trip, rate, bytes;
} path_t;

static uint64_t seeds = 50;
static double least;

static void
row (double loss, bool is_segments, const path_t *path) {
  sim_link_t link = sim_link_default();
  link.latency = path->round_trip / 2;
  link.rate = path->rate;
  link.queue = 2 * (path->rate * path->round_trip / 1000000) + 30000;
  if (path->round_trip < MS) link.queue = 4000000;
  if (!is_segments) link.loss = loss;
  double *took = calloc(seeds, sizeof(*took)), sum = 0;
  totals_t totals = {0};
  for (uint64_t seed = 0; seed < seeds; seed++)
    sum += took[seed] = transfer(seed + 1, &link, path->bytes, is_segments ? loss : 0, &totals);
  qsort(took, seeds, sizeof(*took), by_value);
  printf("| %.0f %% of %s | %.1f | %llu | %.2f | %.1f | %.1f | %.1f | %.1f | %.2f | %.1f |%s\n", loss * 100,
    is_segments ? "segments" : "datagrams", (double) path->round_trip / MS, (unsigned long long) path->rate / 125000,
    (double) path->bytes / 1e6, sum / (double) seeds, took[seeds / 2], took[seeds * 95 / 100], took[seeds - 1],
    (double) totals.timeouts / (double) seeds, (double) totals.repairs / (double) seeds,
    totals.unfinished ? " unfinished!" : "");
  fflush(stdout);
  free(took);
}

int
main (int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--least") == 0 && i + 1 < argc) least = atof(argv[++i]) / 100;
    if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) seeds = strtoull(argv[++i], NULL, 10);
  }
  static const double losses[] = {0.01, 0.02, 0.05};
  static const path_t paths[] = {
    {200, 1000000000, 5000000},
    {20 * MS, 1250000, 20000},
    {20 * MS, 1250000, 200000},
    {20 * MS, 12500000, 2000000},
    {100 * MS, 1250000, 20000},
    {100 * MS, 1250000, 200000},
    {100 * MS, 12500000, 2000000},
  };
  printf("| loss each way | RTT ms | Mbit/s | MB | mean ms | p50 | p95 | max | timeouts | repairs |\n"
         "|---|---|---|---|---|---|---|---|---|---|\n");
  for (int is_segments = 0; is_segments <= 1; is_segments++) {
    for (size_t p = 0; p < sizeof(paths) / sizeof(*paths); p++) {
      for (size_t l = 0; l < 3; l++)
        if (losses[l] >= least) row(losses[l], is_segments, &paths[p]);
    }
  }
  return 0;
}
