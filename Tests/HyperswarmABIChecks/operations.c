// Cancellation; the node: pings, nodes, addresses, metrics; topics; texts of keys.
#include "harness.h"

struct seen {
  int count, status, nodes, topics;
  uint64_t round_trip_time;
  char text[16384], address[64], local[64];
  hyperswarm_topic_info_t topic;
};

static int ignored(hyperswarm_t *swarm, const hyperswarm_record_t *record, void *user_data) {
  (void) swarm, (void) record, (void) user_data;
  return 0;
}

static void on_pong(hyperswarm_t *swarm, int status, const hyperswarm_pong_t *pong, void *user_data) {
  struct seen *seen = user_data;
  EXPECT(swarm != NULL && (pong != NULL) == (status == HYPERSWARM_OK));
  seen->status = status;
  seen->count++;
  if (pong == NULL) return;
  EXPECT(pong->size == sizeof(*pong) && strncmp(pong->seen_address, "127.0.0.1:", 10) == 0);
  snprintf(seen->address, sizeof(seen->address), "%s", pong->address);
  seen->round_trip_time = pong->round_trip_time;
}

static void each_node(hyperswarm_t *swarm, const hyperswarm_node_t *node, void *user_data) {
  struct seen *seen = user_data;
  EXPECT(swarm != NULL && node->size == sizeof(*node) && node->id != NULL && node->address[0] != 0);
  seen->nodes++;
}

static void nodes_done(hyperswarm_t *swarm, int status, void *user_data) {
  struct seen *seen = user_data;
  EXPECT(swarm != NULL);
  seen->status = status;
  seen->count++;
}

static void on_text(hyperswarm_t *swarm, const char *text, void *user_data) {
  struct seen *seen = user_data;
  EXPECT(swarm != NULL);
  snprintf(seen->text, sizeof(seen->text), "%s", text);
  seen->count++;
}

static void on_numbers(hyperswarm_t *swarm, const hyperswarm_statistics_t *numbers, void *user_data) {
  struct seen *seen = user_data;
  EXPECT(swarm != NULL && numbers->size == sizeof(*numbers));
  seen->nodes = (int) numbers->nodes;
  snprintf(seen->local, sizeof(seen->local), "%s", numbers->local_address != NULL ? numbers->local_address : "");
  seen->count++;
}

static void each_topic(hyperswarm_t *swarm, const hyperswarm_topic_info_t *topic, void *user_data) {
  struct seen *seen = user_data;
  EXPECT(swarm != NULL && topic->size == sizeof(*topic));
  seen->topic = *topic;
  seen->status = topic->topic[0];
  seen->topics++;
}

// Of operations that would take long, because nothing listens on the discard port.
static void check_cancelled(struct bench *bench) {
  const uint8_t topic[HYPERSWARM_KEY_SIZE] = {5};
  hyperswarm_t *swarm;
  hyperswarm_options_t options = bench_options(bench);
  options.bootstrap = "127.0.0.1:9";
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_OK);
  struct outcome outcomes[6];
  uint64_t operations[6];
  for (int i = 0; i < 6; i++) outcomes[i] = (struct outcome){0, NO_STATUS};
  EXPECT(hyperswarm_join(swarm, topic, HYPERSWARM_CLIENT, on_status, &outcomes[0]) == HYPERSWARM_OK);
  operations[0] = hyperswarm_last_operation();
  EXPECT(hyperswarm_flush(swarm, 0, on_status, &outcomes[1]) == HYPERSWARM_OK);
  operations[1] = hyperswarm_last_operation();
  EXPECT(hyperswarm_lookup(swarm, topic, ignored, on_status, &outcomes[2]) == HYPERSWARM_OK);
  operations[2] = hyperswarm_last_operation();
  EXPECT(hyperswarm_announce(swarm, topic, NULL, on_status, &outcomes[3]) == HYPERSWARM_OK);
  operations[3] = hyperswarm_last_operation();
  EXPECT(hyperswarm_find_peer(swarm, topic, ignored, on_status, &outcomes[4]) == HYPERSWARM_OK);
  operations[4] = hyperswarm_last_operation();
  EXPECT(hyperswarm_bootstrapped(swarm, on_status, &outcomes[5]) == HYPERSWARM_OK);
  operations[5] = hyperswarm_last_operation();
  struct seen pinged = {0};
  EXPECT(hyperswarm_ping(swarm, "127.0.0.1:9", on_pong, &pinged) == HYPERSWARM_OK);
  uint64_t ping = hyperswarm_last_operation();
  for (int i = 0; i < 6; i++) {
    EXPECT(operations[i] != 0 && operations[i] < ping && (i == 0 || operations[i] > operations[i - 1]));
    EXPECT(hyperswarm_cancel(swarm, operations[i]) == HYPERSWARM_OK && outcomes[i].count == 0);
  }
  // One before, as soon as it runs, and twice; numbers of nothing do nothing.
  EXPECT(hyperswarm_cancel(swarm, ping) == HYPERSWARM_OK && hyperswarm_cancel(swarm, ping) == HYPERSWARM_OK);
  EXPECT(hyperswarm_cancel(swarm, 0) == HYPERSWARM_OK && hyperswarm_cancel(swarm, UINT64_MAX) == HYPERSWARM_OK);
  bench_turns(bench, 3);
  for (int i = 0; i < 6; i++) EXPECT(outcomes[i].count == 1 && outcomes[i].status == HYPERSWARM_ERR_CANCELLED);
  EXPECT(pinged.count == 1 && pinged.status == HYPERSWARM_ERR_CANCELLED);
  // The topic stays joined.
  struct seen topics = {0};
  EXPECT(hyperswarm_topics(swarm, each_topic, NULL, &topics) == HYPERSWARM_OK);
  bench_turns(bench, 3);
  EXPECT(topics.topics == 1 && topics.status == 5);
  EXPECT(hyperswarm_cancel(swarm, hyperswarm_last_operation()) == HYPERSWARM_OK);
  bench_destroy(bench, swarm);
  EXPECT(hyperswarm_cancel(swarm, ping) == HYPERSWARM_ERR_BAD_HANDLE);
}

int check_cancel(void) {
  struct bench bench;
  if (!bench_start(&bench, 1)) return failures + 1;
  check_cancelled(&bench);
  return bench_end(&bench);
}

int check_nodes(void) {
  struct bench bench;
  if (!bench_start(&bench, 5)) return failures + 1;
  hyperswarm_t *swarm;
  hyperswarm_options_t options = bench_options(&bench);
  options.nodes = "nowhere";
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_ERR_INVALID_ADDRESS);
  options.nodes = "127.0.0.1:9, 127.0.0.1:10";
  const char *unusable[] = {"127.0.0.1", "127.0.0.1:0", "0.0.0.0:4000"};
  for (size_t i = 0; i < sizeof(unusable) / sizeof(*unusable); i++) {
    options.known_address = unusable[i];
    EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_ERR_INVALID_ADDRESS);
  }
  options.known_address = NULL;
  for (size_t i = 0; i < sizeof(unusable) / sizeof(*unusable); i++) {
    hyperswarm_options_t other = options;
    other.nodes = unusable[i];
    EXPECT(hyperswarm_create(&other, &swarm) == HYPERSWARM_ERR_INVALID_ADDRESS);
    other = options;
    other.bootstrap = unusable[i];
    EXPECT(hyperswarm_create(&other, &swarm) == HYPERSWARM_ERR_INVALID_ADDRESS);
  }
  options.known_address = "127.0.0.1:4000";
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_OK);
  bench_destroy(&bench, swarm);
  options = bench_options(&bench);
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_OK);
  struct outcome entered = {0};
  EXPECT(hyperswarm_bootstrapped(swarm, on_status, &entered) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &entered.count, 1));

  char entrance[64];
  snprintf(entrance, sizeof(entrance), "%.*s", (int) strcspn(bench.bootstrap, ","), bench.bootstrap);
  struct seen seen = {0};
  EXPECT(hyperswarm_ping(swarm, "", on_pong, &seen) == HYPERSWARM_ERR_INVALID_ADDRESS);
  EXPECT(hyperswarm_ping(swarm, NULL, on_pong, &seen) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_ping(swarm, entrance, on_pong, &seen) == HYPERSWARM_OK && seen.count == 0);
  EXPECT(bench_run(&bench, &seen.count, 1) && seen.status == HYPERSWARM_OK);
  EXPECT(strcmp(seen.address, entrance) == 0 && seen.round_trip_time < 1000);
  EXPECT(hyperswarm_ping(swarm, "127.0.0.1:9", on_pong, &seen) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &seen.count, 2) && seen.status == HYPERSWARM_ERR_REQUEST_TIMEOUT);

  seen = (struct seen){0};
  const uint8_t target[HYPERSWARM_KEY_SIZE] = {77};
  EXPECT(hyperswarm_find_node(swarm, target, NULL, nodes_done, &seen) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_find_node(swarm, target, each_node, nodes_done, &seen) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &seen.count, 1) && seen.status == HYPERSWARM_OK && seen.nodes >= 4);
  EXPECT(hyperswarm_add_node(swarm, "x") == HYPERSWARM_ERR_INVALID_ADDRESS);
  EXPECT(hyperswarm_add_node(swarm, entrance) == HYPERSWARM_OK);

  seen = (struct seen){0};
  uint16_t port = 0;
  char local[64];
  EXPECT(hyperswarm_local_port(swarm, &port) == HYPERSWARM_OK);
  snprintf(local, sizeof(local), "127.0.0.1:%u", port);
  EXPECT(hyperswarm_statistics(swarm, on_numbers, &seen) == HYPERSWARM_OK);
  EXPECT(hyperswarm_metrics(swarm, NULL, &seen) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_metrics(swarm, on_text, &seen) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &seen.count, 2));
  EXPECT(seen.nodes >= 4 && strcmp(seen.local, local) == 0 && strstr(seen.text, "hyperswarm_") != NULL);
  EXPECT(strstr(seen.text, "\ndht_nr_nodes ") != NULL && strstr(seen.text, "\nudx_total_bytes_received ") != NULL);
  bench_destroy(&bench, swarm);
  return bench_end(&bench);
}

int check_topics(void) {
  struct bench bench;
  if (!bench_start(&bench, 3)) return failures + 1;
  hyperswarm_t *swarm;
  hyperswarm_options_t options = bench_options(&bench);
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_OK);
  const uint8_t first[HYPERSWARM_KEY_SIZE] = {1}, second[HYPERSWARM_KEY_SIZE] = {2};
  struct outcome outcome = {0, NO_STATUS};
  hyperswarm_join_options_t join = {.size = sizeof(join), .roles = HYPERSWARM_SERVER, .limit = 12};
  EXPECT(hyperswarm_join_with(swarm, first, &join, on_status, &outcome) == HYPERSWARM_OK);
  join.roles = 0;
  EXPECT(hyperswarm_join_with(swarm, second, &join, on_status, &outcome) == HYPERSWARM_ERR_NO_ROLES);
  join.roles = 4;
  EXPECT(hyperswarm_join_with(swarm, second, &join, on_status, &outcome) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  join.size = 8;
  EXPECT(hyperswarm_join_with(swarm, second, &join, on_status, &outcome) == HYPERSWARM_ERR_INVALID_SIZE);
  EXPECT(hyperswarm_join_with(swarm, second, NULL, on_status, &outcome) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(bench_run(&bench, &outcome.count, 1) && outcome.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_join(swarm, second, HYPERSWARM_CLIENT, NULL, NULL) == HYPERSWARM_OK);

  struct seen seen = {0};
  EXPECT(hyperswarm_topics(swarm, NULL, NULL, &seen) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_topics(swarm, each_topic, NULL, &seen) == HYPERSWARM_OK);
  bench_turns(&bench, 3);
  EXPECT(seen.topics == 2 && seen.status == 2 && seen.topic.roles == HYPERSWARM_CLIENT && seen.topic.limit == 0);
  EXPECT(hyperswarm_leave(swarm, second, NULL, NULL) == HYPERSWARM_OK);
  EXPECT(hyperswarm_topics(swarm, each_topic, NULL, &seen) == HYPERSWARM_OK);
  bench_turns(&bench, 3);
  EXPECT(seen.topics == 3 && seen.status == 1 && seen.topic.roles == HYPERSWARM_SERVER && seen.topic.limit == 12);
  EXPECT(seen.topic.is_announced == 1);

  outcome = (struct outcome){0, NO_STATUS};
  EXPECT(hyperswarm_refresh(swarm, first, on_status, &outcome) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &outcome.count, 1) && outcome.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_refresh(swarm, second, on_status, &outcome) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &outcome.count, 2) && outcome.status == HYPERSWARM_ERR_SESSION_DESTROYED);
  // Of a suspended swarm nothing is announced.
  EXPECT(hyperswarm_suspend(swarm, on_status, &outcome) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &outcome.count, 3) && outcome.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_refresh(swarm, first, on_status, &outcome) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &outcome.count, 4) && outcome.status == HYPERSWARM_ERR_SUSPENDED);
  EXPECT(hyperswarm_resume(swarm, on_status, &outcome) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &outcome.count, 5) && outcome.status == HYPERSWARM_OK);
  // Left while it is announced.
  EXPECT(hyperswarm_refresh(swarm, first, on_status, &outcome) == HYPERSWARM_OK);
  EXPECT(hyperswarm_leave(swarm, first, NULL, NULL) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &outcome.count, 6) && outcome.status == HYPERSWARM_ERR_SESSION_DESTROYED);
  EXPECT(hyperswarm_clear(swarm, on_status, &outcome) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &outcome.count, 7) && outcome.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_topics(swarm, each_topic, NULL, &seen) == HYPERSWARM_OK);
  EXPECT(hyperswarm_peer_reconnect(swarm, first, 0) == HYPERSWARM_OK); // not known
  bench_turns(&bench, 3);
  EXPECT(seen.topics == 3);
  bench_destroy(&bench, swarm);
  return bench_end(&bench);
}

int check_key_texts(void) {
  failures = 0;
  uint8_t key[HYPERSWARM_KEY_SIZE], parsed[HYPERSWARM_KEY_SIZE];
  for (int i = 0; i < HYPERSWARM_KEY_SIZE; i++) key[i] = (uint8_t) (i * 37 + 1);
  char hex[HYPERSWARM_HEX_SIZE + 1], z[HYPERSWARM_ZBASE32_SIZE + 1], link[128];
  memset(hex, '#', sizeof(hex));
  memset(z, '#', sizeof(z));
  EXPECT(hyperswarm_key_to_hex(key, hex) == HYPERSWARM_OK && strlen(hex) == 64 && hex[HYPERSWARM_HEX_SIZE] == '#');
  EXPECT(hyperswarm_key_to_zbase32(key, z) == HYPERSWARM_OK && strlen(z) == 52 && z[HYPERSWARM_ZBASE32_SIZE] == '#');
  EXPECT(strncmp(hex, "01264b70", 8) == 0);
  snprintf(link, sizeof(link), "pear://%s/path", z);
  const char *texts[] = {hex, z, link};
  for (int i = 0; i < 3; i++) {
    memset(parsed, 0, sizeof(parsed));
    EXPECT(hyperswarm_key_parse(texts[i], parsed) == HYPERSWARM_OK && memcmp(parsed, key, sizeof(key)) == 0);
  }
  const char *wrong[] = {"", "pear://", "01264b70", hex + 1, "0"};
  for (int i = 0; i < 5; i++) EXPECT(hyperswarm_key_parse(wrong[i], parsed) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(memcmp(parsed, key, sizeof(key)) == 0);
  EXPECT(hyperswarm_key_parse(NULL, parsed) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_key_parse(hex, NULL) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_key_to_hex(NULL, hex) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_key_to_zbase32(key, NULL) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  return failures;
}
