// Events, log, firewalls that answer later, the list of connections.
#include "harness.h"

#define KINDS (HYPERSWARM_EVENT_NETWORK_CHANGED + 1)

struct member {
  struct bench *bench;
  hyperswarm_t *swarm;
  struct peer peer;
  int connections, kinds[KINDS], lines, warnings, last_status;
  int64_t next_retry; // of the last dial that has closed
  int questions, answer, answers_now;
  hyperswarm_verdict_t *verdict;
  uint8_t asked[HYPERSWARM_KEY_SIZE];
  char log[4096];
};

static void on_event(hyperswarm_t *swarm, const hyperswarm_event_t *event, void *user_data) {
  struct member *member = user_data;
  EXPECT(swarm == member->swarm && event->size == sizeof(*event) && event->text != NULL);
  EXPECT(event->kind >= HYPERSWARM_EVENT_UPDATE && event->kind < KINDS);
  int is_of_peer = event->kind >= HYPERSWARM_EVENT_DIAL_STARTED && event->kind <= HYPERSWARM_EVENT_BANNED;
  EXPECT((event->public_key != NULL) == is_of_peer);
  EXPECT(event->next_retry >= -1);
  if (event->kind == HYPERSWARM_EVENT_DIAL_FAILED) EXPECT(event->status < 0 && event->text[0] != 0);
  member->kinds[event->kind]++;
  member->last_status = event->status;
  if (event->kind == HYPERSWARM_EVENT_DIAL_CLOSED) member->next_retry = event->next_retry;
}

static void on_log(hyperswarm_t *swarm, int level, const char *text, void *user_data) {
  struct member *member = user_data;
  EXPECT(swarm == member->swarm && level >= HYPERSWARM_LOG_ERROR && level <= HYPERSWARM_LOG_DEBUG);
  EXPECT(text[0] != 0 && strchr(text, '\n') == NULL);
  member->lines++;
  member->warnings += level <= HYPERSWARM_LOG_WARNING;
  size_t used = strlen(member->log);
  snprintf(member->log + used, sizeof(member->log) - used, "%s\n", text);
}

static void on_connection(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  struct member *member = user_data;
  EXPECT(swarm == member->swarm && peer != NULL);
  member->connections++;
  member->peer.connection = connection;
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&member->peer);
  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == HYPERSWARM_OK);
}

static void on_firewall(
  hyperswarm_t *swarm, hyperswarm_verdict_t *verdict, const uint8_t *public_key, const char *address, void *user_data) {
  struct member *member = user_data;
  (void) address;
  EXPECT(swarm == member->swarm);
  member->questions++;
  member->verdict = verdict;
  memcpy(member->asked, public_key, sizeof(member->asked));
  if (!member->answers_now) return;
  EXPECT(hyperswarm_verdict_give(verdict, 7) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_verdict_give(verdict, member->answer) == HYPERSWARM_OK);
  EXPECT(hyperswarm_verdict_give(verdict, member->answer) == HYPERSWARM_ERR_BAD_HANDLE);
}

static void each_connection(hyperswarm_t *swarm, hyperswarm_connection_t *connection, void *user_data) {
  struct member *member = user_data;
  EXPECT(swarm == member->swarm && connection == member->peer.connection);
  member->connections += 100;
}

static void join(struct member *member, hyperswarm_options_t options, unsigned roles) {
  const uint8_t topic[HYPERSWARM_KEY_SIZE] = {21};
  struct outcome joined = {0};
  options.on_connection = on_connection;
  options.on_event = on_event;
  options.on_log = on_log;
  options.log_level = HYPERSWARM_LOG_DEBUG;
  options.user_data = member;
  EXPECT(hyperswarm_create(&options, &member->swarm) == HYPERSWARM_OK);
  EXPECT(hyperswarm_join(member->swarm, topic, roles, on_status, &joined) == HYPERSWARM_OK);
  EXPECT(bench_run(member->bench, &joined.count, 1) && joined.status == HYPERSWARM_OK);
}

int check_events(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  static struct member server, client;
  memset(&server, 0, sizeof(server));
  memset(&client, 0, sizeof(client));
  server.bench = client.bench = &bench;
  hyperswarm_options_t options = bench_options(&bench);
  options.log_level = HYPERSWARM_LOG_DEBUG + 1;
  hyperswarm_t *none;
  EXPECT(hyperswarm_create(&options, &none) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  options.log_level = 0;
  join(&server, options, HYPERSWARM_SERVER);
  join(&client, options, HYPERSWARM_CLIENT);
  EXPECT(bench_run(&bench, &client.connections, 1) && bench_run(&bench, &server.connections, 1));
  bench_turns(&bench, 10);
  EXPECT(client.kinds[HYPERSWARM_EVENT_ONLINE] == 1 && server.kinds[HYPERSWARM_EVENT_ONLINE] == 1);
  EXPECT(client.kinds[HYPERSWARM_EVENT_DIAL_STARTED] >= 1 && client.kinds[HYPERSWARM_EVENT_DIAL_OPENED] == 1);
  EXPECT(server.kinds[HYPERSWARM_EVENT_DIAL_STARTED] == 0 && client.kinds[HYPERSWARM_EVENT_UPDATE] > 0);
  EXPECT(strstr(client.log, "network: it answers\n") != NULL);
  EXPECT(strstr(client.log, ": open, directly with 127.") != NULL);

  EXPECT(hyperswarm_connections(client.swarm, each_connection, NULL, &client) == HYPERSWARM_OK);
  bench_turns(&bench, 10);
  EXPECT(client.connections == 101);

  // Known, and not dialled again.
  uint8_t key[HYPERSWARM_KEY_SIZE];
  EXPECT(hyperswarm_public_key(server.swarm, key) == HYPERSWARM_OK);
  EXPECT(hyperswarm_peer_reconnect(client.swarm, key, 0) == HYPERSWARM_OK);
  int lines = client.lines;
  EXPECT(hyperswarm_connection_destroy(server.peer.connection) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &client.kinds[HYPERSWARM_EVENT_DIAL_CLOSED], 1));
  EXPECT(client.next_retry == -1);
  EXPECT(client.lines > lines && client.warnings >= 1 && client.peer.closed == 1);
  bench_destroy(&bench, client.swarm);
  bench_destroy(&bench, server.swarm);
  return bench_end(&bench);
}

// A verdict that comes in a later turn, one inside the question, a ban, and none at all.
int check_late_verdicts(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  static struct member server, client;
  memset(&server, 0, sizeof(server));
  memset(&client, 0, sizeof(client));
  server.bench = client.bench = &bench;
  hyperswarm_options_t options = bench_options(&bench);
  options.on_firewall = on_firewall;
  join(&server, options, HYPERSWARM_SERVER);
  join(&client, bench_options(&bench), HYPERSWARM_CLIENT);
  EXPECT(bench_run(&bench, &server.questions, 1));
  uint8_t key[HYPERSWARM_KEY_SIZE];
  EXPECT(hyperswarm_public_key(client.swarm, key) == HYPERSWARM_OK);
  EXPECT(memcmp(server.asked, key, sizeof(key)) == 0 && server.connections == 0);
  bench_turns(&bench, 20);
  EXPECT(server.connections == 0);
  hyperswarm_verdict_t *first = server.verdict;
  server.answers_now = 1;
  EXPECT(hyperswarm_verdict_give(first, HYPERSWARM_ACCEPT) == HYPERSWARM_OK);
  EXPECT(hyperswarm_verdict_give(first, HYPERSWARM_ACCEPT) == HYPERSWARM_ERR_BAD_HANDLE);
  EXPECT(bench_run(&bench, &server.connections, 1) && bench_run(&bench, &client.connections, 1));
  bench_destroy(&bench, client.swarm);

  // Answered at once, with a ban.
  server.answer = HYPERSWARM_BAN;
  memset(&client, 0, sizeof(client));
  client.bench = &bench;
  join(&client, bench_options(&bench), HYPERSWARM_CLIENT);
  EXPECT(bench_run(&bench, &server.kinds[HYPERSWARM_EVENT_BANNED], 1));
  EXPECT(client.connections == 0 && strstr(server.log, ": banned, PEER_FIREWALLED") != NULL);
  bench_destroy(&bench, client.swarm);

  // Never answered: refused after 3 seconds; the second one ends with the swarm.
  server.answers_now = 0;
  server.questions = 0;
  memset(&client, 0, sizeof(client));
  client.bench = &bench;
  join(&client, bench_options(&bench), HYPERSWARM_CLIENT);
  EXPECT(bench_run(&bench, &server.questions, 1));
  EXPECT(hyperswarm_handle_count() == 4); // network, two swarms, the question
  first = server.verdict;
  uint64_t begin = uv_hrtime();
  while (hyperswarm_handle_count() == 4 && !bench.timed_out) uv_run(&bench.loop, UV_RUN_ONCE);
  EXPECT(uv_hrtime() - begin > 2000000000u);
  EXPECT(hyperswarm_verdict_give(first, HYPERSWARM_ACCEPT) == HYPERSWARM_ERR_BAD_HANDLE);
  bench_destroy(&bench, client.swarm);
  memset(&client, 0, sizeof(client));
  client.bench = &bench;
  join(&client, bench_options(&bench), HYPERSWARM_CLIENT);
  EXPECT(bench_run(&bench, &server.questions, 2));
  bench_destroy(&bench, server.swarm);
  EXPECT(hyperswarm_verdict_give(server.verdict, HYPERSWARM_ACCEPT) == HYPERSWARM_ERR_BAD_HANDLE);
  bench_destroy(&bench, client.swarm);
  return bench_end(&bench);
}

static int refuse(hyperswarm_t *swarm, const uint8_t *public_key, const char *address, void *user_data) {
  struct member *member = user_data;
  EXPECT(swarm == member->swarm && public_key != NULL && address == NULL);
  member->questions++;
  return HYPERSWARM_REFUSE;
}

static void create(struct member *member, hyperswarm_options_t options) {
  options.on_event = on_event;
  options.on_log = on_log;
  options.log_level = HYPERSWARM_LOG_DEBUG;
  options.user_data = member;
  EXPECT(hyperswarm_create(&options, &member->swarm) == HYPERSWARM_OK);
}

// Dials that do not come to anything, a network that does not answer, a node that begins to serve it. What needs a
// public network is in NodeReportTests.
int check_node_events(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  static struct member failing, refusing, lost, serving;
  struct member *const members[] = {&failing, &refusing, &lost, &serving};
  const uint8_t key[HYPERSWARM_KEY_SIZE] = {77};
  for (int index = 0; index < 4; index++) {
    memset(members[index], 0, sizeof(struct member));
    members[index]->bench = &bench;
  }
  create(&failing, bench_options(&bench));
  EXPECT(hyperswarm_peer_join(failing.swarm, key) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &failing.kinds[HYPERSWARM_EVENT_DIAL_FAILED], 1));
  EXPECT(failing.kinds[HYPERSWARM_EVENT_DIAL_STARTED] >= 1 && strstr(failing.log, ": failed, PEER_") != NULL);

  hyperswarm_options_t options = bench_options(&bench);
  options.firewall = refuse;
  create(&refusing, options);
  EXPECT(hyperswarm_peer_join(refusing.swarm, key) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &refusing.kinds[HYPERSWARM_EVENT_DIAL_SKIPPED], 1) && refusing.questions >= 1);

  // Nothing listens on the discard port.
  options = bench_options(&bench);
  options.bootstrap = "127.0.0.1:9";
  create(&lost, options);
  EXPECT(bench_run(&bench, &lost.kinds[HYPERSWARM_EVENT_SILENT], 1) && lost.kinds[HYPERSWARM_EVENT_ONLINE] == 0);
  EXPECT(strstr(lost.log, "network: no node answers\n") != NULL);

  options = bench_options(&bench);
  options.flags = HYPERSWARM_NODE_PERMANENT | HYPERSWARM_NODE_REACHABLE;
  create(&serving, options);
  EXPECT(bench_run(&bench, &serving.kinds[HYPERSWARM_EVENT_PERSISTENT], 1));
  EXPECT(strstr(serving.log, "node: serves the network\n") != NULL);
  for (int index = 0; index < 4; index++) bench_destroy(&bench, members[index]->swarm);
  return bench_end(&bench);
}
