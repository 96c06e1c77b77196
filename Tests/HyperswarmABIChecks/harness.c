#include "harness.h"

int failures;

static void on_watchdog(uv_timer_t *timer) { ((struct bench *) timer->data)->timed_out = 1; }

static void on_ready(hyperswarm_testnet_t *testnet, int status, const char *bootstrap, void *user_data) {
  struct bench *bench = user_data;
  EXPECT(testnet == bench->testnet);
  EXPECT(status == HYPERSWARM_OK);
  if (bootstrap != NULL) snprintf(bench->bootstrap, sizeof(bench->bootstrap), "%s", bootstrap);
  bench->ready++;
}

int bench_start(struct bench *bench, unsigned nodes) {
  memset(bench, 0, sizeof(*bench));
  failures = 0;
  EXPECT(hyperswarm_handle_count() == 0);
  EXPECT(uv_loop_init(&bench->loop) == 0);
  uv_timer_init(&bench->loop, &bench->watchdog);
  bench->watchdog.data = bench;
  uv_timer_start(&bench->watchdog, on_watchdog, 100000, 0);
  if (nodes == 0) return 1;
  EXPECT(hyperswarm_testnet_create(&bench->loop, nodes, on_ready, bench, &bench->testnet) == HYPERSWARM_OK);
  EXPECT(bench->ready == 0);
  return bench_run(bench, &bench->ready, 1);
}

int bench_end(struct bench *bench) {
  if (bench->testnet != NULL) {
    bench->gone = 0;
    EXPECT(hyperswarm_testnet_destroy(bench->testnet, on_gone, &bench->gone) == HYPERSWARM_OK);
    EXPECT(hyperswarm_testnet_destroy(bench->testnet, on_gone, &bench->gone) == HYPERSWARM_ERR_BAD_HANDLE);
    EXPECT(bench_run(bench, &bench->gone, 1));
  }
  uv_close((uv_handle_t *) &bench->watchdog, NULL);
  // Nothing of the library keeps the loop alive any more, and nothing is left on it.
  EXPECT(uv_run(&bench->loop, UV_RUN_DEFAULT) == 0);
  EXPECT(uv_loop_close(&bench->loop) == 0);
  EXPECT(hyperswarm_handle_count() == 0);
  return failures;
}

int bench_run(struct bench *bench, const int *counter, int value) {
  while (*counter < value && !bench->timed_out) uv_run(&bench->loop, UV_RUN_ONCE);
  if (*counter >= value) return 1;
  fprintf(stderr, "timed out: %d of %d\n", *counter, value);
  return 0;
}

void bench_turns(struct bench *bench, int turns) {
  for (int turn = 0; turn < turns; turn++) uv_run(&bench->loop, UV_RUN_NOWAIT);
}

hyperswarm_options_t bench_options(struct bench *bench) {
  hyperswarm_options_t options = {.size = sizeof(options)};
  options.loop = &bench->loop;
  options.bootstrap = bench->bootstrap;
  options.host = "127.0.0.1";
  return options;
}

void bench_destroy(struct bench *bench, hyperswarm_t *swarm) {
  bench->gone = 0;
  EXPECT(hyperswarm_destroy(swarm, 1, on_gone, &bench->gone) == HYPERSWARM_OK);
  EXPECT(bench->gone == 0);
  EXPECT(hyperswarm_destroy(swarm, 1, on_gone, &bench->gone) == HYPERSWARM_ERR_BAD_HANDLE);
  EXPECT(bench_run(bench, &bench->gone, 1));
  EXPECT(bench->gone == 1);
}

void on_gone(void *user_data) { ++*(int *) user_data; }

void on_status(hyperswarm_t *swarm, int status, void *user_data) {
  struct outcome *outcome = user_data;
  EXPECT(swarm != NULL);
  outcome->status = status;
  outcome->count++;
}

void on_written(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct peer *peer = user_data;
  EXPECT(connection == peer->connection);
  EXPECT(!peer->closed);
  peer->written_status = status;
  peer->written++;
}

static void on_open(hyperswarm_connection_t *connection, void *user_data) {
  struct peer *peer = user_data;
  EXPECT(connection == peer->connection);
  peer->opened++;
}

static void on_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  struct peer *peer = user_data;
  EXPECT(connection == peer->connection && data != NULL && !peer->ended && !peer->closed);
  if (!is_filled(data, (uint32_t) peer->messages, length)) peer->bad++;
  peer->messages++;
  peer->received += length;
}

static void on_datagram(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  struct peer *peer = user_data;
  EXPECT(connection == peer->connection && length == 5 && memcmp(data, "datum", 5) == 0);
  peer->datagrams++;
}

static void on_drain(hyperswarm_connection_t *connection, void *user_data) {
  struct peer *peer = user_data;
  EXPECT(connection == peer->connection);
  peer->drained++;
}

static void on_end(hyperswarm_connection_t *connection, void *user_data) {
  struct peer *peer = user_data;
  EXPECT(connection == peer->connection && !peer->closed);
  peer->ended++;
}

static void on_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct peer *peer = user_data;
  EXPECT(connection == peer->connection);
  EXPECT(hyperswarm_connection_user_data(connection) == peer);
  EXPECT(hyperswarm_connection_reason(connection, peer->reason, sizeof(peer->reason)) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_write(connection, "x", 1, NULL, NULL) == HYPERSWARM_ERR_CLOSED);
  EXPECT(hyperswarm_connection_end(connection) == HYPERSWARM_ERR_CLOSED);
  EXPECT(hyperswarm_connection_destroy(connection) == HYPERSWARM_ERR_CLOSED);
  peer->status = status;
  peer->closed++;
}

hyperswarm_connection_callbacks_t peer_callbacks(struct peer *peer) {
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  callbacks.on_open = on_open;
  callbacks.on_message = on_message;
  callbacks.on_datagram = on_datagram;
  callbacks.on_drain = on_drain;
  callbacks.on_end = on_end;
  callbacks.on_close = on_close;
  callbacks.user_data = peer;
  return callbacks;
}

static uint8_t byte_of(uint32_t number, size_t index) { return (uint8_t) ((number * 31 + index * 7) >> 1); }

size_t fill(uint8_t *data, uint32_t number, size_t length) {
  for (size_t index = 0; index < length; index++) data[index] = byte_of(number, index);
  return length;
}

int is_filled(const uint8_t *data, uint32_t number, size_t length) {
  for (size_t index = 0; index < length; index++) {
    if (data[index] != byte_of(number, index)) return 0;
  }
  return 1;
}
