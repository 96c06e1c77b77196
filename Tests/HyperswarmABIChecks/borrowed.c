// Writes whose memory stays the caller's, in order with others; what servers do; the trace and the timeline.
#include "harness.h"

#define PIECES 60

struct pair {
  struct bench bench;
  hyperswarm_t *home, *away;
  hyperswarm_server_t *server;
  struct peer accepted, dialled;
  int listening, connections, server_closed, questions, texts, has_answer, verdict;
  hyperswarm_verdict_t *question;
  uint8_t key[HYPERSWARM_KEY_SIZE];
  char text[4096];
};

static void on_listening(hyperswarm_server_t *server, int status, void *user_data) {
  struct pair *pair = user_data;
  EXPECT(server == pair->server && status == HYPERSWARM_OK);
  pair->listening++;
}

static void on_accepted(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  struct pair *pair = user_data;
  EXPECT(server == pair->server);
  pair->connections++;
  memset(&pair->accepted, 0, sizeof(pair->accepted));
  pair->accepted.connection = connection;
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&pair->accepted);
  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == HYPERSWARM_OK);
}

static void on_question(
  hyperswarm_server_t *server, hyperswarm_verdict_t *verdict, const uint8_t *public_key, const char *address,
  void *user_data) {
  struct pair *pair = user_data;
  EXPECT(server == pair->server && public_key != NULL && address != NULL);
  pair->questions++;
  pair->question = verdict;
  if (pair->has_answer) EXPECT(hyperswarm_verdict_give(verdict, pair->verdict) == HYPERSWARM_OK);
}

static void on_server_close(hyperswarm_server_t *server, void *user_data) {
  struct pair *pair = user_data;
  EXPECT(server == pair->server && hyperswarm_server_refresh(server) == HYPERSWARM_ERR_CLOSED);
  pair->server_closed++;
}

static int pair_start(struct pair *pair, const char *qlog) {
  memset(pair, 0, sizeof(*pair));
  if (!bench_start(&pair->bench, 4)) return 0;
  hyperswarm_options_t options = bench_options(&pair->bench);
  EXPECT(hyperswarm_create(&options, &pair->home) == HYPERSWARM_OK);
  options.qlog = qlog;
  EXPECT(hyperswarm_create(&options, &pair->away) == HYPERSWARM_OK);
  hyperswarm_public_key(pair->home, pair->key);
  pair->has_answer = 1;
  hyperswarm_server_options_t listen = {.size = sizeof(listen)};
  listen.on_listening = on_listening;
  listen.on_connection = on_accepted;
  listen.on_firewall = on_question;
  listen.on_close = on_server_close;
  listen.flags = HYPERSWARM_SERVER_NO_LOCAL_ADDRESS;
  listen.user_data = pair;
  EXPECT(hyperswarm_server_listen(pair->home, &listen, &pair->server) == HYPERSWARM_OK);
  return bench_run(&pair->bench, &pair->listening, 1);
}

static void dial(struct pair *pair) {
  memset(&pair->dialled, 0, sizeof(pair->dialled));
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&pair->dialled);
  EXPECT(hyperswarm_connect(pair->away, pair->key, NULL, &callbacks, &pair->dialled.connection) == HYPERSWARM_OK);
}

static int pair_end(struct pair *pair) {
  bench_destroy(&pair->bench, pair->home);
  bench_destroy(&pair->bench, pair->away);
  return bench_end(&pair->bench);
}

struct lent {
  struct pair *pair;
  uint8_t *memory;
  int released, status;
};

static void on_released(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct lent *lent = user_data;
  EXPECT(connection == lent->pair->dialled.connection && !lent->pair->dialled.closed);
  // Nothing reads it any more.
  free(lent->memory);
  lent->memory = NULL;
  lent->released++;
  lent->status = status;
}

static void lend(struct pair *pair, struct lent *lent, uint32_t number, int64_t *queued) {
  *lent = (struct lent){.pair = pair, .memory = malloc(MESSAGE), .status = NO_STATUS};
  fill(lent->memory, number, MESSAGE);
  *queued = hyperswarm_connection_write_borrowed(pair->dialled.connection, lent->memory, MESSAGE, on_released, lent);
  EXPECT(lent->released == 0);
  if (*queued < 0) free(lent->memory);
}

int check_borrowed_writes(void) {
  struct pair pair;
  if (!pair_start(&pair, NULL)) return failures + 1;
  static struct lent lent[PIECES];
  int64_t queued = 0;
  dial(&pair);
  hyperswarm_connection_t *connection = pair.dialled.connection;
  EXPECT(hyperswarm_connection_write_borrowed(connection, "x", 1, NULL, NULL) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(
    hyperswarm_connection_write_borrowed(connection, NULL, 1, on_released, lent) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(
    hyperswarm_connection_write_borrowed(connection, "x", (size_t) HYPERSWARM_MAX_MESSAGE + 1, on_released, lent)
    == HYPERSWARM_ERR_MESSAGE_TOO_LARGE);
  // Before the connection is open they wait, up to the bound; every third one is copied.
  uint32_t count = 0;
  static uint8_t data[MESSAGE];
  while (queued >= 0 && count < PIECES) {
    lent[count] = (struct lent){.status = NO_STATUS};
    if (count % 3 == 2) {
      fill(data, count, MESSAGE);
      queued = hyperswarm_connection_write(connection, data, MESSAGE, NULL, NULL);
    } else {
      lend(&pair, &lent[count], count, &queued);
    }
    count += queued >= 0;
  }
  EXPECT(queued == HYPERSWARM_ERR_QUEUE_FULL && count > 30);
  EXPECT(bench_run(&pair.bench, &pair.dialled.drained, 1));
  while (pair.accepted.messages < count && !pair.bench.timed_out) uv_run(&pair.bench.loop, UV_RUN_ONCE);
  // One that does not have to wait: released later in the turn, never inside the call.
  static struct lent direct;
  lend(&pair, &direct, count, &queued);
  EXPECT(queued == 0 && direct.released == 0);
  while (pair.accepted.messages < count + 1 && !pair.bench.timed_out) uv_run(&pair.bench.loop, UV_RUN_ONCE);
  EXPECT(pair.accepted.bad == 0 && direct.released == 1 && direct.status == HYPERSWARM_OK);
  for (uint32_t i = 0; i < count; i++) {
    if (i % 3 != 2) EXPECT(lent[i].released == 1 && lent[i].status == HYPERSWARM_OK);
  }
  // What cannot be sent any more comes back before `on_close`.
  EXPECT(hyperswarm_connection_pause(pair.accepted.connection) == HYPERSWARM_OK);
  for (count = 0; count < 40; count++) lend(&pair, &lent[count], count, &queued);
  EXPECT(hyperswarm_connection_destroy(connection) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_write_borrowed(connection, "x", 1, on_released, lent) == HYPERSWARM_ERR_CLOSED);
  EXPECT(bench_run(&pair.bench, &pair.dialled.closed, 1));
  int unsent = 0;
  for (uint32_t i = 0; i < count; i++) {
    EXPECT(lent[i].released == 1);
    unsent += lent[i].status != HYPERSWARM_OK;
  }
  EXPECT(unsent > 0);
  return pair_end(&pair);
}

static void on_addresses(hyperswarm_server_t *server, const char *text, void *user_data) {
  struct pair *pair = user_data;
  EXPECT(server == pair->server);
  snprintf(pair->text, sizeof(pair->text), "%s", text);
  pair->texts++;
}

static void on_timeline(hyperswarm_connection_t *connection, const char *text, void *user_data) {
  struct pair *pair = user_data;
  EXPECT(connection == pair->dialled.connection);
  snprintf(pair->text, sizeof(pair->text), "%s", text);
  pair->texts++;
}

int check_server_functions(void) {
  struct pair pair;
  if (!pair_start(&pair, NULL)) return failures + 1;
  struct bench *bench = &pair.bench;
  EXPECT(hyperswarm_server_relay_addresses(pair.server, NULL, &pair) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_server_relay_addresses(pair.server, on_addresses, &pair) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &pair.texts, 1) && strncmp(pair.text, "127.0.0.1:", 10) == 0);
  // The verdict comes later.
  pair.has_answer = 0;
  dial(&pair);
  EXPECT(bench_run(bench, &pair.questions, 1));
  bench_turns(bench, 5);
  EXPECT(pair.connections == 0 && hyperswarm_verdict_give(pair.question, HYPERSWARM_ACCEPT) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &pair.dialled.opened, 1) && bench_run(bench, &pair.connections, 1));
  EXPECT(hyperswarm_connection_timeline(pair.dialled.connection, on_timeline, &pair) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &pair.texts, 2) && pair.text[0] != 0 && strchr(pair.text, '\n') != NULL);
  EXPECT(hyperswarm_connection_destroy(pair.dialled.connection) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &pair.dialled.closed, 1));
  // Busy: refused at once.
  pair.has_answer = 1;
  EXPECT(hyperswarm_server_set_busy(pair.server, 1) == HYPERSWARM_OK);
  bench_turns(bench, 3);
  dial(&pair);
  EXPECT(bench_run(bench, &pair.dialled.closed, 1) && pair.dialled.status == HYPERSWARM_ERR_SERVER_ERROR);
  EXPECT(hyperswarm_server_set_busy(pair.server, 0) == HYPERSWARM_OK);
  EXPECT(hyperswarm_server_suspend(pair.server) == HYPERSWARM_OK);
  bench_turns(bench, 10);
  EXPECT(hyperswarm_server_resume(pair.server) == HYPERSWARM_OK);
  EXPECT(hyperswarm_server_refresh(pair.server) == HYPERSWARM_OK);
  dial(&pair);
  for (int tries = 0; tries < 3 && !pair.dialled.opened && !bench->timed_out; tries++) {
    while (!pair.dialled.opened && !pair.dialled.closed && !bench->timed_out) uv_run(&bench->loop, UV_RUN_ONCE);
    if (pair.dialled.closed) dial(&pair); // not announced again yet
  }
  EXPECT(pair.dialled.opened == 1);
  EXPECT(hyperswarm_server_close(pair.server) == HYPERSWARM_OK);
  EXPECT(hyperswarm_server_set_busy(pair.server, 1) == HYPERSWARM_ERR_CLOSED);
  EXPECT(hyperswarm_server_suspend(pair.server) == HYPERSWARM_ERR_CLOSED);
  EXPECT(hyperswarm_server_resume(pair.server) == HYPERSWARM_ERR_CLOSED);
  EXPECT(bench_run(bench, &pair.server_closed, 1));
  return pair_end(&pair);
}

int check_trace(void) {
  char path[] = "/tmp/hyperswarm-qlog-XXXXXX";
  int file = mkstemp(path);
  struct pair pair;
  if (file < 0 || !pair_start(&pair, path)) return failures + 1;
  dial(&pair);
  EXPECT(bench_run(&pair.bench, &pair.dialled.opened, 1));
  hyperswarm_t *none;
  hyperswarm_options_t options = bench_options(&pair.bench);
  options.qlog = "/nowhere/trace";
  EXPECT(hyperswarm_create(&options, &none) == HYPERSWARM_ERR_INVALID_ARGUMENT && none == NULL);
  EXPECT(strstr(hyperswarm_last_error_detail(), "errno 2") != NULL);
  failures += pair_end(&pair);
  char begin[64] = {0};
  FILE *trace = fopen(path, "r");
  EXPECT(trace != NULL && fread(begin, 1, sizeof(begin) - 1, trace) > 40 && strstr(begin, "qlog") != NULL);
  if (trace != NULL) fclose(trace);
  uv_fs_t request;
  uv_fs_unlink(NULL, &request, path, NULL);
  return failures;
}
