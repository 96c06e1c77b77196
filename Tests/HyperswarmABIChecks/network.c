// A network that does not answer: event, state, and what completions say.
#include "harness.h"

struct states {
  int count, online, offline;
};

static void on_network(hyperswarm_t *swarm, int is_online, void *user_data) {
  struct states *states = user_data;
  EXPECT(hyperswarm_user_data(swarm) == states);
  states->count++;
  states->online += is_online == 1;
  states->offline += is_online == 0;
}

static void on_statistics(hyperswarm_t *swarm, const hyperswarm_statistics_t *statistics, void *user_data) {
  struct outcome *outcome = user_data;
  (void) swarm;
  outcome->status = statistics->is_online * 10 + statistics->is_offline;
  outcome->count++;
}

static int state_of(struct bench *bench, hyperswarm_t *swarm) {
  struct outcome outcome = {0};
  EXPECT(hyperswarm_statistics(swarm, on_statistics, &outcome) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &outcome.count, 1));
  return outcome.status;
}

int check_network(void) {
  struct bench bench;
  bench_start(&bench, 2);
  const uint8_t topic[HYPERSWARM_KEY_SIZE] = {5};
  struct states silent = {0}, living = {0};
  struct outcome joined = {0}, flushed = {0};
  hyperswarm_t *lost, *found;
  hyperswarm_options_t options = bench_options(&bench);
  options.on_network = on_network;
  options.user_data = &living;
  EXPECT(hyperswarm_create(&options, &found) == HYPERSWARM_OK);
  // Nothing listens on the discard port.
  options.bootstrap = "127.0.0.1:9";
  options.user_data = &silent;
  EXPECT(hyperswarm_create(&options, &lost) == HYPERSWARM_OK);
  EXPECT(state_of(&bench, lost) == 0);
  EXPECT(hyperswarm_join(lost, topic, HYPERSWARM_SERVER | HYPERSWARM_CLIENT, on_status, &joined) == HYPERSWARM_OK);
  EXPECT(hyperswarm_flush(lost, 0, on_status, &flushed) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &living.count, 1));
  EXPECT(living.online == 1 && state_of(&bench, found) == 10);
  EXPECT(bench_run(&bench, &silent.count, 1));
  EXPECT(silent.offline == 1 && state_of(&bench, lost) == 1);
  EXPECT(bench_run(&bench, &joined.count, 1) && joined.status == HYPERSWARM_ERR_REFRESH_FAILED);
  EXPECT(bench_run(&bench, &flushed.count, 1) && flushed.status == HYPERSWARM_ERR_REFRESH_FAILED);
  EXPECT(silent.count == 1 && living.count == 1);
  bench_destroy(&bench, lost);
  bench_destroy(&bench, found);
  return bench_end(&bench);
}
