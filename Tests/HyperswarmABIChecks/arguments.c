#include "harness.h"

int check_errors(void) {
  failures = 0;
  char version[32];
  snprintf(
    version, sizeof(version), "%d.%d.%d", HYPERSWARM_VERSION_MAJOR, HYPERSWARM_VERSION_MINOR, HYPERSWARM_VERSION_PATCH);
  EXPECT(strcmp(hyperswarm_version(), version) == 0);
  EXPECT(strcmp(hyperswarm_error_name(HYPERSWARM_ERR_PEER_NOT_FOUND), "PEER_NOT_FOUND") == 0);
  EXPECT(strcmp(hyperswarm_error_name(HYPERSWARM_ERR_CONNECTION_RESET), "ECONNRESET") == 0);
  EXPECT(strcmp(hyperswarm_error_name(HYPERSWARM_OK), "OK") == 0);
  EXPECT(strcmp(hyperswarm_error_name(17), "ERROR") == 0);
  EXPECT(strcmp(hyperswarm_error_name(-100000), "ERROR") == 0);
  EXPECT(strlen(hyperswarm_strerror(HYPERSWARM_ERR_QUEUE_FULL)) > 10);
  // Values and names are forever.
  EXPECT(HYPERSWARM_ERR_FORKED == -14);
  EXPECT(HYPERSWARM_ERR_LOOP_FAILED == -13 && HYPERSWARM_ERR_REFRESH_FAILED == -109);
  EXPECT(HYPERSWARM_ERR_INVALID_ADDRESS == -234 && HYPERSWARM_ERR_NETWORK_UNREACHABLE == -235);
  EXPECT(HYPERSWARM_ERR_TRANSPORT_ERROR == -314);
  EXPECT(HYPERSWARM_ERR_PACKETS_TOO_LARGE == -315 && HYPERSWARM_ERR_NETWORK_CHANGED == -110);
  EXPECT(HYPERSWARM_ERR_MESSAGE_TIMEOUT == -316 && HYPERSWARM_ERR_EVICTED == -317);
  EXPECT(HYPERSWARM_ERR_PROTOCOL == -401 && HYPERSWARM_ERR_TOO_MANY_CHANNELS == -405);
  int named = 0;
  for (int error = 0; error >= -500; error--) named += strcmp(hyperswarm_error_name(error), "ERROR") != 0;
  EXPECT(named == 81); // and ERROR itself
  return failures;
}

int check_keys(void) {
  failures = 0;
  uint8_t seed[HYPERSWARM_SEED_SIZE] = {0}, public_key[HYPERSWARM_KEY_SIZE], secret_key[HYPERSWARM_SECRET_KEY_SIZE];
  // RFC 8032 derives this key from 32 zero bytes.
  static const uint8_t known[4] = {0x3b, 0x6a, 0x27, 0xbc};
  EXPECT(hyperswarm_key_pair_from_seed(public_key, secret_key, seed) == HYPERSWARM_OK);
  EXPECT(memcmp(public_key, known, 4) == 0);
  EXPECT(memcmp(secret_key, seed, 32) == 0 && memcmp(secret_key + 32, public_key, 32) == 0);
  EXPECT(hyperswarm_key_pair_generate(public_key, secret_key) == HYPERSWARM_OK);
  EXPECT(memcmp(public_key, known, 4) != 0 && memcmp(secret_key + 32, public_key, 32) == 0);
  EXPECT(hyperswarm_key_pair_generate(NULL, secret_key) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_key_pair_generate(public_key, NULL) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_key_pair_from_seed(public_key, secret_key, NULL) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  // BLAKE2b-256 of nothing.
  static const uint8_t empty[4] = {0x0e, 0x57, 0x51, 0xc0};
  uint8_t hash[HYPERSWARM_KEY_SIZE];
  EXPECT(hyperswarm_hash(NULL, 0, hash) == HYPERSWARM_OK && memcmp(hash, empty, 4) == 0);
  EXPECT(hyperswarm_hash(NULL, 1, hash) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_hash("a", 1, NULL) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  return failures;
}

static void never_done(hyperswarm_t *swarm, int status, void *user_data) {
  (void) swarm, (void) status, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_value(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data) {
  (void) swarm, (void) status, (void) value, (void) user_data;
  EXPECT(!"called after an error");
}
static int never_record(hyperswarm_t *swarm, const hyperswarm_record_t *record, void *user_data) {
  (void) swarm, (void) record, (void) user_data;
  EXPECT(!"called after an error");
  return 0;
}
static void never_peer(hyperswarm_t *swarm, const hyperswarm_peer_info_t *peer, void *user_data) {
  (void) swarm, (void) peer, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_numbers(hyperswarm_t *swarm, const hyperswarm_statistics_t *numbers, void *user_data) {
  (void) swarm, (void) numbers, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_connection_numbers(
  hyperswarm_connection_t *connection, const hyperswarm_connection_statistics_t *numbers, void *user_data) {
  (void) connection, (void) numbers, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_node(hyperswarm_t *swarm, const hyperswarm_node_t *node, void *user_data) {
  (void) swarm, (void) node, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_topic(hyperswarm_t *swarm, const hyperswarm_topic_info_t *topic, void *user_data) {
  (void) swarm, (void) topic, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_text(hyperswarm_t *swarm, const char *text, void *user_data) {
  (void) swarm, (void) text, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_pong(hyperswarm_t *swarm, int status, const hyperswarm_pong_t *pong, void *user_data) {
  (void) swarm, (void) status, (void) pong, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_listed(hyperswarm_t *swarm, hyperswarm_connection_t *connection, void *user_data) {
  (void) swarm, (void) connection, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_addresses(hyperswarm_server_t *server, const char *text, void *user_data) {
  (void) server, (void) text, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_timeline(hyperswarm_connection_t *connection, const char *text, void *user_data) {
  (void) connection, (void) text, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_released(hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) connection, (void) status, (void) user_data;
  EXPECT(!"called after an error");
}
static void never_gone(void *user_data) {
  (void) user_data;
  EXPECT(!"called after an error");
}

// Every function with a handle that is none.
static void check_bad_handles(void *rubbish) {
  hyperswarm_t *swarm = rubbish;
  hyperswarm_connection_t *connection = rubbish, *made;
  hyperswarm_server_t *server = rubbish, *made_server;
  hyperswarm_testnet_t *testnet = rubbish;
  uint8_t key[HYPERSWARM_HASH_SIZE] = {1};
  uint16_t port;
  char text[8];
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  hyperswarm_server_options_t server_options = {.size = sizeof(server_options)};
  const int bad = HYPERSWARM_ERR_BAD_HANDLE;

  EXPECT(hyperswarm_destroy(swarm, 0, never_gone, NULL) == bad);
  EXPECT(hyperswarm_user_data(swarm) == NULL);
  EXPECT(hyperswarm_public_key(swarm, key) == bad);
  EXPECT(hyperswarm_local_port(swarm, &port) == bad);
  EXPECT(hyperswarm_bootstrapped(swarm, never_done, NULL) == bad);
  EXPECT(hyperswarm_join(swarm, key, HYPERSWARM_SERVER, never_done, NULL) == bad);
  EXPECT(hyperswarm_leave(swarm, key, never_done, NULL) == bad);
  EXPECT(hyperswarm_flush(swarm, 0, never_done, NULL) == bad);
  EXPECT(hyperswarm_listen(swarm, never_done, NULL) == bad);
  EXPECT(hyperswarm_suspend(swarm, never_done, NULL) == bad);
  EXPECT(hyperswarm_resume(swarm, never_done, NULL) == bad);
  EXPECT(hyperswarm_peer_join(swarm, key) == bad);
  EXPECT(hyperswarm_peer_leave(swarm, key) == bad);
  EXPECT(hyperswarm_peer_ban(swarm, key, 1) == bad);
  EXPECT(hyperswarm_peers(swarm, never_peer, never_done, NULL) == bad);
  EXPECT(hyperswarm_statistics(swarm, never_numbers, NULL) == bad);
  EXPECT(hyperswarm_connect(swarm, key, NULL, &callbacks, &made) == bad);
  EXPECT(hyperswarm_server_listen(swarm, &server_options, &made_server) == bad);
  EXPECT(hyperswarm_announce(swarm, key, NULL, never_done, NULL) == bad);
  EXPECT(hyperswarm_unannounce(swarm, key, NULL, never_done, NULL) == bad);
  EXPECT(hyperswarm_lookup(swarm, key, never_record, never_done, NULL) == bad);
  EXPECT(hyperswarm_find_peer(swarm, key, never_record, never_done, NULL) == bad);
  EXPECT(hyperswarm_immutable_put(swarm, key, 1, never_value, NULL) == bad);
  EXPECT(hyperswarm_immutable_get(swarm, key, never_value, NULL) == bad);
  EXPECT(hyperswarm_mutable_put(swarm, NULL, 0, key, 1, never_value, NULL) == bad);
  EXPECT(hyperswarm_mutable_get(swarm, key, 0, never_value, NULL) == bad);

  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == bad);
  EXPECT(hyperswarm_connection_user_data(connection) == NULL);
  EXPECT(hyperswarm_connection_remote_public_key(connection, key) == bad);
  EXPECT(hyperswarm_connection_handshake_hash(connection, key) == bad);
  EXPECT(hyperswarm_connection_is_initiator(connection) == bad);
  EXPECT(hyperswarm_connection_reason(connection, text, sizeof(text)) == bad);
  EXPECT(hyperswarm_connection_write(connection, key, 1, NULL, NULL) == bad);
  EXPECT(hyperswarm_connection_send_datagram(connection, key, 1) == bad);
  EXPECT(hyperswarm_connection_pause(connection) == bad);
  EXPECT(hyperswarm_connection_resume(connection) == bad);
  EXPECT(hyperswarm_connection_end(connection) == bad);
  EXPECT(hyperswarm_connection_destroy(connection) == bad);
  EXPECT(hyperswarm_connection_is_peer_proven(connection) == bad);
  EXPECT(hyperswarm_connection_set_keep_alive(connection, 1) == bad);
  EXPECT(hyperswarm_connection_set_timeout(connection, 1) == bad);
  EXPECT(hyperswarm_connection_statistics(connection, never_connection_numbers, NULL) == bad);

  EXPECT(hyperswarm_server_close(server) == bad);
  EXPECT(hyperswarm_server_user_data(server) == NULL);
  EXPECT(hyperswarm_server_public_key(server, key) == bad);
  EXPECT(hyperswarm_server_relay_statistics(server, NULL, NULL) == bad);
  EXPECT(hyperswarm_testnet_destroy(testnet, never_gone, NULL) == bad);
}

// Those that came after the first version.
static void check_bad_handles_later(void *wrong) {
  hyperswarm_t *swarm = wrong;
  hyperswarm_server_t *server = wrong;
  hyperswarm_connection_t *connection = wrong;
  const uint8_t key[HYPERSWARM_KEY_SIZE] = {1};
  hyperswarm_join_options_t join = {.size = sizeof(join), .roles = HYPERSWARM_CLIENT};
  const int bad = HYPERSWARM_ERR_BAD_HANDLE;
  EXPECT(hyperswarm_join_with(swarm, key, &join, never_done, NULL) == bad);
  EXPECT(hyperswarm_refresh(swarm, key, never_done, NULL) == bad);
  hyperswarm_announce_options_t announce = {.size = sizeof(announce)};
  EXPECT(hyperswarm_announce_with(swarm, key, &announce, never_done, NULL) == bad);
  EXPECT(hyperswarm_topics(swarm, never_topic, never_done, NULL) == bad);
  EXPECT(hyperswarm_clear(swarm, never_done, NULL) == bad);
  EXPECT(hyperswarm_peer_reconnect(swarm, key, 1) == bad);
  EXPECT(hyperswarm_connections(swarm, never_listed, never_done, NULL) == bad);
  EXPECT(hyperswarm_ping(swarm, "127.0.0.1:9", never_pong, NULL) == bad);
  EXPECT(hyperswarm_find_node(swarm, key, never_node, never_done, NULL) == bad);
  EXPECT(hyperswarm_add_node(swarm, "127.0.0.1:9") == bad);
  EXPECT(hyperswarm_metrics(swarm, never_text, NULL) == bad);
  EXPECT(hyperswarm_cancel(swarm, 1) == bad);
  EXPECT(hyperswarm_verdict_give(wrong, HYPERSWARM_ACCEPT) == bad);
  EXPECT(hyperswarm_server_refresh(server) == bad);
  EXPECT(hyperswarm_server_set_busy(server, 1) == bad);
  EXPECT(hyperswarm_server_suspend(server) == bad);
  EXPECT(hyperswarm_server_resume(server) == bad);
  EXPECT(hyperswarm_server_relay_addresses(server, never_addresses, NULL) == bad);
  EXPECT(hyperswarm_connection_timeline(connection, never_timeline, NULL) == bad);
  EXPECT(hyperswarm_connection_write_borrowed(connection, "x", 1, never_released, NULL) == bad);
}

static const int invalid = HYPERSWARM_ERR_INVALID_ARGUMENT;

static void check_create_arguments(struct bench *bench) {
  uint8_t key[HYPERSWARM_KEY_SIZE] = {1}, bad_secret[HYPERSWARM_SECRET_KEY_SIZE] = {1};
  hyperswarm_t *swarm;
  hyperswarm_testnet_t *testnet;
  hyperswarm_options_t options = bench_options(bench);
  EXPECT(hyperswarm_create(NULL, &swarm) == invalid && swarm == NULL);
  EXPECT(hyperswarm_create(&options, NULL) == invalid);
  options.size = 0;
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_ERR_INVALID_SIZE);
  options.size = offsetof(hyperswarm_options_t, on_network) - 1;
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_ERR_INVALID_SIZE);
  options.size = SIZE_MAX;
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_ERR_INVALID_SIZE);
  options.size = sizeof(options);
  options.flags = HYPERSWARM_NODE_PERMANENT | HYPERSWARM_NODE_EPHEMERAL;
  EXPECT(hyperswarm_create(&options, &swarm) == invalid);
  options.flags = HYPERSWARM_NODE_PERMANENT | HYPERSWARM_NODE_LOW_POWER;
  EXPECT(hyperswarm_create(&options, &swarm) == invalid);
  options.flags = 1 << 15;
  EXPECT(hyperswarm_create(&options, &swarm) == invalid);
  options.flags = 0;
  options.keep_alive = -2;
  EXPECT(hyperswarm_create(&options, &swarm) == invalid);
  options.keep_alive = 0;
  options.max_message_size = HYPERSWARM_MAX_MESSAGE + 1;
  EXPECT(hyperswarm_create(&options, &swarm) == invalid);
  options.max_message_size = 0;
  options.host = "not a host";
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_ERR_INVALID_ADDRESS);
  options.host = "127.0.0.1";
  options.bootstrap = "127.0.0.1:1,:::";
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_ERR_INVALID_ADDRESS);
  options.bootstrap = "";
  options.secret_key = bad_secret;
  EXPECT(hyperswarm_create(&options, &swarm) == invalid);
  options.secret_key = NULL;
  options.relay_count = 1;
  EXPECT(hyperswarm_create(&options, &swarm) == invalid);
  options.relays = key;
  options.relay_count = SIZE_MAX;
  EXPECT(hyperswarm_create(&options, &swarm) == invalid);
  EXPECT(hyperswarm_testnet_create(&bench->loop, 0, NULL, NULL, &testnet) == invalid);
  EXPECT(hyperswarm_testnet_create(&bench->loop, 257, NULL, NULL, &testnet) == invalid);
  EXPECT(hyperswarm_testnet_create(&bench->loop, 1, NULL, NULL, NULL) == invalid);
  EXPECT(hyperswarm_handle_count() == 0);
}

// A program of a later version may have a longer struct, as long as it does not use what is new.
static hyperswarm_t *check_longer_options(struct bench *bench) {
  hyperswarm_t *swarm;
  struct {
    hyperswarm_options_t known;
    uint64_t later;
  } longer = {bench_options(bench), 0};
  longer.known.size = sizeof(longer);
  longer.later = 1;
  EXPECT(hyperswarm_create(&longer.known, &swarm) == HYPERSWARM_ERR_INVALID_SIZE);
  longer.later = 0;
  EXPECT(hyperswarm_create(&longer.known, &swarm) == HYPERSWARM_OK);
  EXPECT(hyperswarm_handle_count() == 1);
  return swarm;
}

static void check_swarm_arguments(hyperswarm_t *swarm) {
  uint8_t key[HYPERSWARM_KEY_SIZE] = {1}, bad_secret[HYPERSWARM_SECRET_KEY_SIZE] = {1};
  EXPECT(hyperswarm_public_key(swarm, NULL) == invalid);
  EXPECT(hyperswarm_local_port(swarm, NULL) == invalid);
  EXPECT(hyperswarm_join(swarm, NULL, HYPERSWARM_SERVER, never_done, NULL) == invalid);
  EXPECT(hyperswarm_join(swarm, key, 4, never_done, NULL) == invalid);
  EXPECT(hyperswarm_join(swarm, key, 0, never_done, NULL) == HYPERSWARM_ERR_NO_ROLES);
  EXPECT(hyperswarm_leave(swarm, NULL, never_done, NULL) == invalid);
  EXPECT(hyperswarm_peer_join(swarm, NULL) == invalid);
  EXPECT(hyperswarm_peer_leave(swarm, NULL) == invalid);
  EXPECT(hyperswarm_peer_ban(swarm, NULL, 1) == invalid);
  EXPECT(hyperswarm_peers(swarm, NULL, never_done, NULL) == invalid);
  EXPECT(hyperswarm_statistics(swarm, NULL, NULL) == invalid);
  EXPECT(hyperswarm_announce(swarm, NULL, NULL, never_done, NULL) == invalid);
  EXPECT(hyperswarm_announce(swarm, key, bad_secret, never_done, NULL) == invalid);
  EXPECT(hyperswarm_unannounce(swarm, NULL, NULL, never_done, NULL) == invalid);
  EXPECT(hyperswarm_lookup(swarm, NULL, never_record, never_done, NULL) == invalid);
  EXPECT(hyperswarm_lookup(swarm, key, NULL, never_done, NULL) == invalid);
  EXPECT(hyperswarm_find_peer(swarm, NULL, never_record, never_done, NULL) == invalid);
  EXPECT(hyperswarm_immutable_put(swarm, NULL, 1, never_value, NULL) == invalid);
  EXPECT(hyperswarm_immutable_get(swarm, NULL, never_value, NULL) == invalid);
  EXPECT(hyperswarm_mutable_put(swarm, bad_secret, 0, key, 1, never_value, NULL) == invalid);
  EXPECT(hyperswarm_mutable_get(swarm, NULL, 0, never_value, NULL) == invalid);
  static uint8_t large[HYPERSWARM_MAX_VALUE + 1];
  EXPECT(hyperswarm_immutable_put(swarm, large, sizeof(large), never_value, NULL) == HYPERSWARM_ERR_VALUE_TOO_LARGE);
  EXPECT(
    hyperswarm_mutable_put(swarm, NULL, 0, large, sizeof(large), never_value, NULL) == HYPERSWARM_ERR_VALUE_TOO_LARGE);
}

static void check_connect_arguments(hyperswarm_t *swarm) {
  uint8_t key[HYPERSWARM_KEY_SIZE] = {1}, bad_secret[HYPERSWARM_SECRET_KEY_SIZE] = {1};
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  hyperswarm_connect_options_t connect = {.size = sizeof(connect)};
  hyperswarm_connection_t *connection;
  EXPECT(hyperswarm_connect(swarm, NULL, NULL, &callbacks, &connection) == invalid && connection == NULL);
  EXPECT(hyperswarm_connect(swarm, key, NULL, NULL, &connection) == invalid);
  EXPECT(hyperswarm_connect(swarm, key, NULL, &callbacks, NULL) == invalid);
  connect.size = 1;
  EXPECT(hyperswarm_connect(swarm, key, &connect, &callbacks, &connection) == HYPERSWARM_ERR_INVALID_SIZE);
  connect.size = sizeof(connect);
  connect.relay_addresses = "1.2.3.4";
  EXPECT(hyperswarm_connect(swarm, key, &connect, &callbacks, &connection) == HYPERSWARM_ERR_INVALID_ADDRESS);
  connect.relay_addresses = NULL;
  connect.secret_key = bad_secret;
  EXPECT(hyperswarm_connect(swarm, key, &connect, &callbacks, &connection) == invalid);
  connect.secret_key = NULL;
  connect.flags = 2;
  EXPECT(hyperswarm_connect(swarm, key, &connect, &callbacks, &connection) == invalid);
  connect.flags = 0;
  connect.relay_count = 1;
  EXPECT(hyperswarm_connect(swarm, key, &connect, &callbacks, &connection) == invalid);
  callbacks.size = 8;
  EXPECT(hyperswarm_connect(swarm, key, NULL, &callbacks, &connection) == HYPERSWARM_ERR_INVALID_SIZE);
}

static void check_server_arguments(hyperswarm_t *swarm) {
  uint8_t key[HYPERSWARM_KEY_SIZE] = {1}, bad_secret[HYPERSWARM_SECRET_KEY_SIZE] = {1};
  hyperswarm_server_options_t server_options = {.size = sizeof(server_options)};
  hyperswarm_server_t *server;
  EXPECT(hyperswarm_server_listen(swarm, NULL, &server) == invalid && server == NULL);
  EXPECT(hyperswarm_server_listen(swarm, &server_options, NULL) == invalid);
  server_options.secret_key = bad_secret;
  EXPECT(hyperswarm_server_listen(swarm, &server_options, &server) == invalid);
  server_options.secret_key = NULL;
  server_options.flags = 8;
  EXPECT(hyperswarm_server_listen(swarm, &server_options, &server) == invalid);
  server_options.flags = HYPERSWARM_SERVER_RELAY;
  hyperswarm_relay_limits_t limits = {.size = sizeof(limits) - sizeof(uint64_t)};
  server_options.relay_limits = &limits;
  EXPECT(hyperswarm_server_listen(swarm, &server_options, &server) == HYPERSWARM_ERR_INVALID_SIZE);
  server_options.relay_limits = NULL;
  server_options.flags = 0;
  server_options.relay_count = 65;
  server_options.relays = key;
  EXPECT(hyperswarm_server_listen(swarm, &server_options, &server) == invalid);
  server_options.size = 3;
  EXPECT(hyperswarm_server_listen(swarm, &server_options, &server) == HYPERSWARM_ERR_INVALID_SIZE);
}

// A connection that looks for a peer where there is no network.
static void check_connection_arguments(struct bench *bench, hyperswarm_t *swarm, struct peer *peer) {
  uint8_t key[HYPERSWARM_KEY_SIZE] = {1};
  hyperswarm_connection_t *connection;
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(peer);
  EXPECT(hyperswarm_connect(swarm, key, NULL, &callbacks, &connection) == HYPERSWARM_OK);
  peer->connection = connection;
  uint8_t hash[HYPERSWARM_HASH_SIZE], remote[HYPERSWARM_KEY_SIZE];
  char text[4];
  EXPECT(hyperswarm_connection_user_data(connection) == peer);
  EXPECT(hyperswarm_connection_handshake_hash(connection, hash) == HYPERSWARM_ERR_NOT_OPEN);
  EXPECT(hyperswarm_connection_handshake_hash(connection, NULL) == invalid);
  EXPECT(hyperswarm_connection_remote_public_key(connection, remote) == HYPERSWARM_OK);
  EXPECT(memcmp(remote, key, sizeof(key)) == 0);
  EXPECT(hyperswarm_connection_remote_public_key(connection, NULL) == invalid);
  EXPECT(hyperswarm_connection_is_initiator(connection) == 1);
  EXPECT(hyperswarm_connection_set_callbacks(connection, NULL) == invalid);
  EXPECT(hyperswarm_connection_reason(connection, NULL, 4) == invalid);
  EXPECT(hyperswarm_connection_reason(connection, text, 0) == invalid);
  EXPECT(hyperswarm_connection_reason(connection, text, 4) == HYPERSWARM_OK && text[0] == 0);
  EXPECT(hyperswarm_connection_statistics(connection, NULL, NULL) == invalid);
  EXPECT(hyperswarm_connection_write(connection, NULL, 1, NULL, NULL) == invalid);
  EXPECT(
    hyperswarm_connection_write(connection, key, HYPERSWARM_MAX_MESSAGE + 1, NULL, NULL)
    == HYPERSWARM_ERR_MESSAGE_TOO_LARGE);
  EXPECT(hyperswarm_connection_send_datagram(connection, NULL, 1) == invalid);
  EXPECT(hyperswarm_connection_write(connection, "early", 5, on_written, peer) > 0);
  EXPECT(peer->closed == 0);
  EXPECT(bench_run(bench, &peer->closed, 1));
  EXPECT(peer->status == HYPERSWARM_ERR_PEER_NOT_FOUND && strlen(peer->reason) > 20);
  EXPECT(peer->written == 1 && peer->written_status == HYPERSWARM_ERR_PEER_NOT_FOUND && peer->opened == 0);
  check_bad_handles(connection);
  check_bad_handles_later(connection);
}

int check_arguments(void) {
  struct bench bench;
  bench_start(&bench, 0);
  check_bad_handles(NULL);
  check_bad_handles_later(NULL);
  check_bad_handles(&bench);
  check_bad_handles_later(&bench);
  check_bad_handles((void *) (uintptr_t) 0x7fffffffu);
  check_bad_handles_later((void *) (uintptr_t) 0x7fffffffu);
  check_create_arguments(&bench);
  hyperswarm_t *swarm = check_longer_options(&bench);
  check_swarm_arguments(swarm);
  check_connect_arguments(swarm);
  check_server_arguments(swarm);
  struct peer peer = {0};
  check_connection_arguments(&bench, swarm, &peer);
  bench_destroy(&bench, swarm);
  EXPECT(peer.closed == 1);
  check_bad_handles(swarm);
  check_bad_handles_later(swarm);
  return bench_end(&bench);
}

struct visit {
  hyperswarm_t *swarm;
  int join, write, key;
};

static void off_loop(void *argument) {
  struct visit *visit = argument;
  uint8_t key[HYPERSWARM_KEY_SIZE] = {1};
  visit->join = hyperswarm_join(visit->swarm, key, HYPERSWARM_CLIENT, never_done, NULL);
  visit->write = hyperswarm_destroy(visit->swarm, 1, never_gone, NULL);
  visit->key = hyperswarm_public_key(visit->swarm, key);
}

// A caller's loop is his alone.
int check_threads(void) {
  struct bench bench;
  bench_start(&bench, 0);
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *swarm;
  EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_OK);
  struct visit visit = {swarm, 0, 0, 0};
  uv_thread_t thread;
  EXPECT(uv_thread_create(&thread, off_loop, &visit) == 0);
  uv_thread_join(&thread);
  EXPECT(visit.join == HYPERSWARM_ERR_WRONG_THREAD && visit.write == HYPERSWARM_ERR_WRONG_THREAD);
  EXPECT(visit.key == HYPERSWARM_OK);
  bench_destroy(&bench, swarm);
  return bench_end(&bench);
}

// A taken port, on either kind of loop.
int check_create_failures(void) {
  struct bench bench;
  bench_start(&bench, 0);
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *first, *second;
  uint16_t port = 0;
  options.flags = HYPERSWARM_NODE_EXACT_PORT | HYPERSWARM_NODE_LOW_POWER | HYPERSWARM_NODE_REACHABLE;
  options.keep_alive = -1;
  options.max_peers = 8;
  EXPECT(hyperswarm_create(&options, &first) == HYPERSWARM_OK);
  EXPECT(hyperswarm_local_port(first, &port) == HYPERSWARM_OK && port != 0);
  options.port = port;
  EXPECT(hyperswarm_create(&options, &second) == HYPERSWARM_ERR_BIND_FAILED && second == NULL);
  options.loop = NULL;
  EXPECT(hyperswarm_create(&options, &second) == HYPERSWARM_ERR_BIND_FAILED && second == NULL);
  EXPECT(hyperswarm_handle_count() == 1);
  bench_destroy(&bench, first);
  return bench_end(&bench);
}
