// Requests of one's own, queries with commits, and the answers of the other side.
#include "harness.h"

#define REVERSE 77
#define REFUSE 78
#define LATER 79
#define UNKNOWN 80

struct serving {
  int reversed, committed, later, relayed;
  hyperswarm_incoming_t *open;
  char other[64]; // where requests are sent on to
};

struct asked {
  int count, status;
  uint64_t error;
  char value[64], address[64];
  size_t length;
  int has_token, has_value;
  uint8_t token[HYPERSWARM_KEY_SIZE];
};

static void on_answer(hyperswarm_t *swarm, int status, const hyperswarm_answer_t *answer, void *user_data) {
  struct asked *asked = user_data;
  EXPECT(swarm != NULL && (answer != NULL) == (status == HYPERSWARM_OK));
  asked->status = status;
  asked->count++;
  if (answer == NULL) return;
  EXPECT(answer->size == sizeof(*answer) && answer->closer_nodes != NULL && answer->seen_address != NULL);
  EXPECT(answer->length < sizeof(asked->value) && (answer->value != NULL) == (answer->length > 0));
  asked->error = answer->error;
  asked->length = answer->length;
  asked->has_value = answer->value != NULL;
  if (answer->length > 0) memcpy(asked->value, answer->value, answer->length);
  snprintf(asked->address, sizeof(asked->address), "%s", answer->address);
  asked->has_token = answer->token != NULL;
  if (answer->token != NULL) memcpy(asked->token, answer->token, sizeof(asked->token));
}

static void on_reverse(
  hyperswarm_t *swarm, hyperswarm_incoming_t *incoming, const hyperswarm_incoming_request_t *request, void *user_data) {
  struct serving *serving = user_data;
  uint8_t value[64];
  EXPECT(swarm != NULL && request->size == sizeof(*request) && request->command == REVERSE);
  EXPECT(request->length <= sizeof(value) && strncmp(request->address, "127.0.0.1:", 10) == 0);
  for (size_t index = 0; index < request->length; index++) value[index] = request->value[request->length - 1 - index];
  serving->reversed++;
  serving->committed += request->token != NULL;
  hyperswarm_reply_t reply = {.size = sizeof(reply), .value = value, .length = request->length};
  reply.flags = 8;
  EXPECT(hyperswarm_incoming_reply(incoming, &reply) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  reply.flags = 0;
  EXPECT(hyperswarm_incoming_reply(incoming, &reply) == HYPERSWARM_OK);
  EXPECT(hyperswarm_incoming_reply(incoming, &reply) == HYPERSWARM_ERR_BAD_HANDLE);
}

static void on_refuse(
  hyperswarm_t *swarm, hyperswarm_incoming_t *incoming, const hyperswarm_incoming_request_t *request, void *user_data) {
  (void) swarm, (void) request, (void) user_data;
  hyperswarm_reply_t reply = {.size = sizeof(reply), .error = 16, .value = "x", .length = 1};
  EXPECT(hyperswarm_incoming_reply(incoming, &reply) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  reply.length = 0;
  EXPECT(hyperswarm_incoming_reply(incoming, &reply) == HYPERSWARM_OK);
}

static void on_later(
  hyperswarm_t *swarm, hyperswarm_incoming_t *incoming, const hyperswarm_incoming_request_t *request, void *user_data) {
  struct serving *serving = user_data;
  EXPECT(swarm != NULL && request->target == NULL && request->token == NULL);
  if (serving->other[0] != 0) {
    serving->relayed++;
    EXPECT(hyperswarm_incoming_relay(incoming, "on", 2, "nowhere") == HYPERSWARM_ERR_INVALID_ADDRESS);
    EXPECT(hyperswarm_incoming_relay(incoming, "on", 2, serving->other) == HYPERSWARM_OK);
    return;
  }
  serving->later++;
  if (serving->open != NULL) hyperswarm_incoming_drop(serving->open);
  serving->open = incoming;
}

static hyperswarm_request_options_t request_of(uint64_t command, const char *value) {
  hyperswarm_request_options_t options = {.size = sizeof(options), .command = command, .value = value};
  options.length = value != NULL ? strlen(value) : 0;
  return options;
}

static void address_of(hyperswarm_t *swarm, char text[64]) {
  uint16_t port = 0;
  EXPECT(hyperswarm_local_port(swarm, &port) == HYPERSWARM_OK);
  snprintf(text, 64, "127.0.0.1:%u", port);
}

static void check_requests(struct bench *bench, hyperswarm_t *asker, hyperswarm_t *server, struct serving *serving) {
  const uint8_t target[HYPERSWARM_KEY_SIZE] = {1};
  char address[64];
  address_of(server, address);
  struct asked reversed = {0}, refused = {0}, unknown = {0}, later = {0}, silent = {0}, large = {0}, proven = {0};
  hyperswarm_request_options_t request = request_of(REVERSE, "abc");
  request.target = target;
  EXPECT(hyperswarm_request(asker, address, &request, on_answer, &reversed) == HYPERSWARM_OK && reversed.count == 0);
  EXPECT(bench_run(bench, &reversed.count, 1) && reversed.status == HYPERSWARM_OK && reversed.error == 0);
  EXPECT(reversed.length == 3 && memcmp(reversed.value, "cba", 3) == 0 && reversed.has_token);
  EXPECT(strcmp(reversed.address, address) == 0 && serving->committed == 0);
  request.token = reversed.token;
  EXPECT(hyperswarm_request(asker, address, &request, on_answer, &proven) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &proven.count, 1) && serving->committed == 1);

  request = request_of(REFUSE, NULL);
  EXPECT(hyperswarm_request(asker, address, &request, on_answer, &refused) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &refused.count, 1) && refused.error == 16 && !refused.has_token && !refused.has_value);
  request = request_of(UNKNOWN, NULL);
  request.target = target;
  EXPECT(hyperswarm_request(asker, address, &request, on_answer, &unknown) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &unknown.count, 1) && unknown.error == 1);

  request = request_of(LATER, NULL);
  EXPECT(hyperswarm_request(asker, address, &request, on_answer, &later) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &serving->later, 1) && later.count == 0);
  EXPECT(hyperswarm_incoming_reply(serving->open, NULL) == HYPERSWARM_OK);
  serving->open = NULL;
  EXPECT(bench_run(bench, &later.count, 1) && later.status == HYPERSWARM_OK && !later.has_value);
  request.retries = -1;
  EXPECT(hyperswarm_request(asker, "127.0.0.1:9", &request, on_answer, &silent) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &silent.count, 1) && silent.status == HYPERSWARM_ERR_REQUEST_TIMEOUT);
  static const uint8_t bytes[4000];
  request.value = bytes;
  request.length = sizeof(bytes);
  EXPECT(hyperswarm_request(asker, address, &request, on_answer, &large) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &large.count, 1) && large.status == HYPERSWARM_ERR_MESSAGE_TOO_LARGE);
}

// Sent on: the answer comes from another node than was asked. Served no longer: an unknown command. Cancelled.
static void check_ways_of_requests(
  struct bench *bench, hyperswarm_t *asker, hyperswarm_t *server, hyperswarm_t *other, struct serving *serving) {
  char address[64];
  struct asked passed = {0}, gone = {0}, cancelled = {0};
  struct serving second = {0};
  address_of(server, address);
  hyperswarm_request_options_t request = request_of(LATER, "x");
  EXPECT(hyperswarm_serve(other, LATER, on_later, &second) == HYPERSWARM_OK);
  address_of(other, serving->other);
  EXPECT(hyperswarm_request(asker, address, &request, on_answer, &passed) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &second.later, 1) && serving->relayed == 1);
  serving->other[0] = 0;
  EXPECT(hyperswarm_cancel(asker, hyperswarm_last_operation()) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &passed.count, 1) && passed.status == HYPERSWARM_ERR_CANCELLED);
  EXPECT(hyperswarm_incoming_drop(second.open) == HYPERSWARM_OK);
  EXPECT(hyperswarm_incoming_drop(second.open) == HYPERSWARM_ERR_BAD_HANDLE);
  EXPECT(hyperswarm_request(asker, address, &request, on_answer, &cancelled) == HYPERSWARM_OK);
  EXPECT(hyperswarm_cancel(asker, hyperswarm_last_operation()) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &cancelled.count, 1) && cancelled.status == HYPERSWARM_ERR_CANCELLED);
  EXPECT(hyperswarm_serve(server, LATER, NULL, NULL) == HYPERSWARM_OK);
  EXPECT(hyperswarm_request(asker, address, &request, on_answer, &gone) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &gone.count, 1) && gone.error == 1);
}

struct querying {
  int count, status, answers, commits, asks, fails;
  uint64_t successes, failures;
  size_t closest;
  hyperswarm_commit_t *commit;
  struct asked asked;
};

static void each_answer(hyperswarm_t *swarm, const hyperswarm_answer_t *answer, void *user_data) {
  struct querying *querying = user_data;
  EXPECT(swarm != NULL && answer->error == 0);
  querying->answers++;
}

static void on_result(hyperswarm_t *swarm, int status, const hyperswarm_query_result_t *result, void *user_data) {
  struct querying *querying = user_data;
  EXPECT(swarm != NULL && (result != NULL) == (status == HYPERSWARM_OK));
  querying->status = status;
  querying->count++;
  if (result == NULL) return;
  EXPECT(result->size == sizeof(*result));
  querying->successes = result->successes;
  querying->failures = result->failures;
  querying->closest = result->closest_count;
  for (size_t index = 0; index < result->closest_count; index++) {
    EXPECT(result->closest[index]->id != NULL && result->closest[index]->address[0] != 0);
  }
}

static void on_commit(
  hyperswarm_t *swarm, hyperswarm_commit_t *commit, const hyperswarm_answer_t *answer, void *user_data) {
  struct querying *querying = user_data;
  EXPECT(swarm != NULL && answer->token != NULL && answer->id != NULL);
  querying->commits++;
  querying->commit = commit;
  if (querying->asks) return;
  EXPECT(hyperswarm_commit_done(commit, 1) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  int status = querying->fails ? HYPERSWARM_ERR_SEQ_REUSED : HYPERSWARM_OK;
  EXPECT(hyperswarm_commit_done(commit, status) == HYPERSWARM_OK);
  EXPECT(hyperswarm_commit_done(commit, status) == HYPERSWARM_ERR_BAD_HANDLE);
}

static void check_queries(struct bench *bench, hyperswarm_t *asker, hyperswarm_t *server, struct serving *serving) {
  const uint8_t target[HYPERSWARM_KEY_SIZE] = {2};
  char address[64];
  address_of(server, address);
  struct querying plain = {0}, token = {0}, own = {0}, failed = {0}, waiting = {0}, unserved = {0};
  hyperswarm_query_options_t query = {.size = sizeof(query), .command = REVERSE, .target = target, .value = "xyz"};
  query.length = 3;
  query.on_answer = each_answer;
  query.nodes = address;
  query.flags = HYPERSWARM_QUERY_ONLY_NODES;
  int before = serving->committed;
  EXPECT(hyperswarm_query(asker, &query, on_result, &plain) == HYPERSWARM_OK && plain.count == 0);
  EXPECT(bench_run(bench, &plain.count, 1) && plain.status == HYPERSWARM_OK);
  EXPECT(plain.answers >= 1 && plain.successes >= 1 && plain.closest >= 1 && serving->committed == before);
  query.flags |= HYPERSWARM_QUERY_COMMIT;
  EXPECT(hyperswarm_query(asker, &query, on_result, &token) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &token.count, 1) && token.status == HYPERSWARM_OK && serving->committed > before);
  query.on_commit = on_commit;
  EXPECT(hyperswarm_query(asker, &query, on_result, &own) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  query.flags = HYPERSWARM_QUERY_ONLY_NODES;
  EXPECT(hyperswarm_query(asker, &query, on_result, &own) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &own.count, 1) && own.status == HYPERSWARM_OK && own.commits >= 1);
  failed.fails = 1;
  EXPECT(hyperswarm_query(asker, &query, on_result, &failed) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &failed.count, 1) && failed.status == HYPERSWARM_ERR_SEQ_REUSED);
  waiting.asks = 1;
  EXPECT(hyperswarm_query(asker, &query, on_result, &waiting) == HYPERSWARM_OK);
  uint64_t operation = hyperswarm_last_operation();
  EXPECT(bench_run(bench, &waiting.commits, 1) && waiting.count == 0);
  EXPECT(hyperswarm_cancel(asker, operation) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &waiting.count, 1) && waiting.status == HYPERSWARM_ERR_CANCELLED);
  EXPECT(hyperswarm_commit_done(waiting.commit, HYPERSWARM_OK) == HYPERSWARM_ERR_BAD_HANDLE);
  // The nodes of the network do not serve the command: none is there to commit to.
  query.nodes = NULL;
  query.flags = 0;
  query.command = UNKNOWN;
  EXPECT(hyperswarm_query(asker, &query, on_result, &unserved) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &unserved.count, 1) && unserved.status == HYPERSWARM_ERR_TOO_FEW_NODES);
  EXPECT(unserved.answers == 0);
}

static void check_command_arguments(hyperswarm_t *swarm) {
  const int invalid = HYPERSWARM_ERR_INVALID_ARGUMENT;
  const uint8_t target[HYPERSWARM_KEY_SIZE] = {3};
  hyperswarm_request_options_t request = request_of(REVERSE, NULL);
  EXPECT(hyperswarm_serve(swarm, HYPERSWARM_FIRST_FREE_COMMAND - 1, on_later, NULL) == invalid);
  EXPECT(hyperswarm_request(swarm, NULL, &request, on_answer, NULL) == invalid);
  EXPECT(hyperswarm_request(swarm, "x", &request, on_answer, NULL) == HYPERSWARM_ERR_INVALID_ADDRESS);
  EXPECT(hyperswarm_request(swarm, "127.0.0.1:9", NULL, on_answer, NULL) == invalid);
  request.time_to_live = 256;
  EXPECT(hyperswarm_request(swarm, "127.0.0.1:9", &request, on_answer, NULL) == invalid);
  request.time_to_live = 0;
  request.length = 1;
  EXPECT(hyperswarm_request(swarm, "127.0.0.1:9", &request, on_answer, NULL) == invalid);
  request.size = 8;
  EXPECT(hyperswarm_request(swarm, "127.0.0.1:9", &request, on_answer, NULL) == HYPERSWARM_ERR_INVALID_SIZE);
  hyperswarm_query_options_t query = {.size = sizeof(query), .command = REVERSE};
  EXPECT(hyperswarm_query(swarm, &query, on_result, NULL) == invalid);
  query.target = target;
  query.nodes = "nowhere";
  EXPECT(hyperswarm_query(swarm, &query, on_result, NULL) == HYPERSWARM_ERR_INVALID_ADDRESS);
  query.nodes = NULL;
  query.flags = 4;
  EXPECT(hyperswarm_query(swarm, &query, on_result, NULL) == invalid);
}

int check_commands(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  hyperswarm_t *asker, *server, *other;
  struct serving serving = {0};
  hyperswarm_options_t options = bench_options(&bench);
  EXPECT(hyperswarm_create(&options, &asker) == HYPERSWARM_OK);
  EXPECT(hyperswarm_create(&options, &other) == HYPERSWARM_OK);
  // A node that serves the network, so that there is one to commit to.
  options.flags = HYPERSWARM_NODE_PERMANENT | HYPERSWARM_NODE_REACHABLE;
  EXPECT(hyperswarm_create(&options, &server) == HYPERSWARM_OK);
  struct outcome outcome = {0};
  EXPECT(hyperswarm_bootstrapped(server, on_status, &outcome) == HYPERSWARM_OK && bench_run(&bench, &outcome.count, 1));
  check_command_arguments(server);
  EXPECT(hyperswarm_serve(server, REVERSE, on_reverse, &serving) == HYPERSWARM_OK);
  EXPECT(hyperswarm_serve(server, REFUSE, on_refuse, &serving) == HYPERSWARM_OK);
  EXPECT(hyperswarm_serve(server, LATER, on_later, &serving) == HYPERSWARM_OK);
  check_requests(&bench, asker, server, &serving);
  check_queries(&bench, asker, server, &serving);
  check_ways_of_requests(&bench, asker, server, other, &serving);

  // What is open ends with the swarm.
  struct serving last = {0};
  struct asked asked = {0};
  char address[64];
  address_of(other, address);
  hyperswarm_request_options_t request = request_of(LATER, NULL);
  EXPECT(hyperswarm_serve(other, LATER, on_later, &last) == HYPERSWARM_OK);
  EXPECT(hyperswarm_request(asker, address, &request, on_answer, &asked) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &last.later, 1));
  bench_destroy(&bench, other);
  EXPECT(hyperswarm_incoming_reply(last.open, NULL) == HYPERSWARM_ERR_BAD_HANDLE);
  bench_destroy(&bench, asker);
  EXPECT(asked.count == 1 && asked.status < 0);
  bench_destroy(&bench, server);
  return bench_end(&bench);
}
