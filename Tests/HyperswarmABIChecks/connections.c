#include "harness.h"

struct side {
  struct bench *bench;
  hyperswarm_t *swarm;
  struct peer peer;
  int connections;
  uint32_t sent;
  size_t bytes;
  int64_t deepest; // queue
  int full;
  int acknowledged;
};

static void count_acknowledged(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct side *side = user_data;
  EXPECT(connection == side->peer.connection && status == HYPERSWARM_OK);
  side->acknowledged++;
}

// Writes until told to wait, as a well-behaved writer does.
static void write_some(struct side *side) {
  static uint8_t data[MESSAGE];
  while (side->bytes < TRANSFER) {
    size_t length = fill(data, side->sent, side->sent % 5 == 0 ? 1 + side->sent : MESSAGE);
    int64_t queued = hyperswarm_connection_write(side->peer.connection, data, length, count_acknowledged, side);
    EXPECT(queued >= 0);
    if (queued < 0) return;
    side->sent++;
    side->bytes += length;
    if (queued > side->deepest) side->deepest = queued;
    if (queued > HYPERSWARM_WRITE_HIGH_WATER) {
      side->full++;
      return;
    }
  }
  EXPECT(hyperswarm_connection_end(side->peer.connection) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_end(side->peer.connection) == HYPERSWARM_ERR_CLOSED);
  EXPECT(hyperswarm_connection_write(side->peer.connection, data, 1, NULL, NULL) == HYPERSWARM_ERR_CLOSED);
}

static void side_drained(hyperswarm_connection_t *connection, void *user_data) {
  struct peer *peer = user_data;
  struct side *side = (struct side *) ((char *) peer - offsetof(struct side, peer));
  EXPECT(connection == peer->connection);
  peer->drained++;
  write_some(side);
}

static void side_connected(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  struct side *side = user_data;
  uint8_t remote[HYPERSWARM_KEY_SIZE];
  EXPECT(hyperswarm_user_data(swarm) == side && peer->size == sizeof(*peer) && peer->is_connected);
  EXPECT(hyperswarm_connection_remote_public_key(connection, remote) == HYPERSWARM_OK);
  EXPECT(memcmp(remote, peer->public_key, sizeof(remote)) == 0);
  EXPECT(hyperswarm_connection_is_initiator(connection) == peer->is_client);
  if (peer->is_client) EXPECT(peer->topic_count == 1 && peer->topics[0] == 7);
  side->connections++;
  side->peer.connection = connection;
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&side->peer);
  callbacks.on_drain = side_drained;
  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_set_timeout(connection, 20000) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_set_keep_alive(connection, 1000) == HYPERSWARM_OK);
}

static void side_numbers(hyperswarm_t *swarm, const hyperswarm_statistics_t *numbers, void *user_data) {
  hyperswarm_statistics_t *copy = user_data;
  EXPECT(swarm != NULL && numbers->size == sizeof(*numbers));
  *copy = *numbers;
}

static void connection_numbers(
  hyperswarm_connection_t *connection, const hyperswarm_connection_statistics_t *numbers, void *user_data) {
  struct side *side = user_data;
  EXPECT(connection == side->peer.connection && numbers->size == sizeof(*numbers));
  EXPECT(numbers->remote_address != NULL && strncmp(numbers->remote_address, "127.0.0.1:", 10) == 0);
  side->peer.remote_session = numbers->mtu;
}

int check_topic_transfer(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  struct side a = {.bench = &bench}, b = {.bench = &bench};
  hyperswarm_options_t options = bench_options(&bench);
  uint8_t topic[HYPERSWARM_KEY_SIZE] = {7}, key[HYPERSWARM_KEY_SIZE], secret[HYPERSWARM_SECRET_KEY_SIZE];
  uint8_t seed[HYPERSWARM_SEED_SIZE] = {9}, own[HYPERSWARM_KEY_SIZE];
  EXPECT(hyperswarm_key_pair_from_seed(key, secret, seed) == HYPERSWARM_OK);
  options.on_connection = side_connected;
  options.secret_key = secret;
  options.user_data = &a;
  EXPECT(hyperswarm_create(&options, &a.swarm) == HYPERSWARM_OK);
  memset(secret, 0, sizeof(secret)); // was copied
  EXPECT(hyperswarm_public_key(a.swarm, own) == HYPERSWARM_OK && memcmp(own, key, sizeof(own)) == 0);
  options.secret_key = NULL;
  options.user_data = &b;
  EXPECT(hyperswarm_create(&options, &b.swarm) == HYPERSWARM_OK);

  struct outcome joined = {0, NO_STATUS}, flushed = {0, NO_STATUS}, entered = {0, NO_STATUS};
  EXPECT(hyperswarm_bootstrapped(a.swarm, on_status, &entered) == HYPERSWARM_OK);
  EXPECT(entered.count == 0);
  EXPECT(bench_run(&bench, &entered.count, 1) && entered.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_join(a.swarm, topic, HYPERSWARM_SERVER, on_status, &joined) == HYPERSWARM_OK);
  EXPECT(joined.count == 0);
  EXPECT(bench_run(&bench, &joined.count, 1) && joined.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_join(b.swarm, topic, HYPERSWARM_CLIENT, NULL, NULL) == HYPERSWARM_OK);
  EXPECT(hyperswarm_flush(b.swarm, 20000, on_status, &flushed) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &flushed.count, 1) && flushed.status == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &b.connections, 1) && bench_run(&bench, &a.connections, 1));
  if (a.connections == 0 || b.connections == 0) return failures + 1;

  uint8_t hash_a[HYPERSWARM_HASH_SIZE], hash_b[HYPERSWARM_HASH_SIZE];
  EXPECT(hyperswarm_connection_handshake_hash(a.peer.connection, hash_a) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_handshake_hash(b.peer.connection, hash_b) == HYPERSWARM_OK);
  EXPECT(memcmp(hash_a, hash_b, sizeof(hash_a)) == 0);
  EXPECT(hyperswarm_connection_is_initiator(a.peer.connection) == 0);
  EXPECT(hyperswarm_connection_is_initiator(b.peer.connection) == 1);

  write_some(&a);
  write_some(&b);
  EXPECT(hyperswarm_connection_statistics(a.peer.connection, connection_numbers, &a) == HYPERSWARM_OK);
  EXPECT(a.peer.closed == 0);
  EXPECT(bench_run(&bench, &a.peer.closed, 1) && bench_run(&bench, &b.peer.closed, 1));
  EXPECT(a.peer.status == HYPERSWARM_OK && b.peer.status == HYPERSWARM_OK);
  EXPECT(a.peer.received == b.bytes && b.peer.received == a.bytes && a.bytes >= TRANSFER && b.bytes >= TRANSFER);
  EXPECT(a.peer.messages == b.sent && b.peer.messages == a.sent && a.peer.bad == 0 && b.peer.bad == 0);
  EXPECT(a.acknowledged == (int) a.sent && b.acknowledged == (int) b.sent);
  EXPECT(a.peer.ended == 1 && b.peer.ended == 1 && a.peer.closed == 1 && b.peer.closed == 1);
  EXPECT(a.peer.remote_session > 500);
  EXPECT(a.full > 0 && a.peer.drained == a.full && a.deepest < HYPERSWARM_WRITE_HIGH_WATER + 2 * (int64_t) MESSAGE);
  printf("abi: %zu bytes in %u messages each way, %d times full\n", a.bytes, a.sent, a.full);

  hyperswarm_statistics_t numbers = {0};
  EXPECT(hyperswarm_statistics(b.swarm, side_numbers, &numbers) == HYPERSWARM_OK);
  EXPECT(numbers.size == 0);
  bench_turns(&bench, 10);
  EXPECT(numbers.size == sizeof(numbers) && numbers.topics == 1 && numbers.nodes >= 3 && numbers.is_bootstrapped);
  EXPECT(numbers.dials_opened >= 1 && numbers.bytes_sent > TRANSFER && numbers.bytes_received > TRANSFER);

  struct outcome left = {0, NO_STATUS};
  EXPECT(hyperswarm_leave(a.swarm, topic, on_status, &left) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &left.count, 1) && left.status == HYPERSWARM_OK);
  bench_destroy(&bench, a.swarm);
  bench_destroy(&bench, b.swarm);
  return bench_end(&bench);
}

// ---- By key --------------------------------------------------------------------------------------------------------

struct host {
  struct peer peers[4];
  int connections, listening, closed, status, asked, answer;
  uint8_t last_key[HYPERSWARM_KEY_SIZE];
};

static void host_listening(hyperswarm_server_t *server, int status, void *user_data) {
  struct host *host = user_data;
  EXPECT(server != NULL);
  host->status = status;
  host->listening++;
}
static void host_connection(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  struct host *host = user_data;
  EXPECT(hyperswarm_server_user_data(server) == host && host->connections < 4);
  struct peer *peer = &host->peers[host->connections++];
  peer->connection = connection;
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(peer);
  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == HYPERSWARM_OK);
}
static int host_firewall(hyperswarm_server_t *server, const uint8_t *public_key, const char *address, void *user_data) {
  struct host *host = user_data;
  EXPECT(server != NULL && strncmp(address, "127.0.0.1:", 10) == 0);
  memcpy(host->last_key, public_key, HYPERSWARM_KEY_SIZE);
  host->asked++;
  return host->answer;
}
static void host_closed(hyperswarm_server_t *server, void *user_data) {
  struct host *host = user_data;
  EXPECT(hyperswarm_server_close(server) == HYPERSWARM_ERR_CLOSED);
  host->closed++;
}
static hyperswarm_server_options_t host_options(struct host *host) {
  hyperswarm_server_options_t options = {.size = sizeof(options)};
  options.on_listening = host_listening;
  options.on_connection = host_connection;
  options.firewall = host_firewall;
  options.on_close = host_closed;
  options.user_data = host;
  return options;
}

// One server per key pair: a second one fails.
static void check_rival(struct bench *bench, hyperswarm_t *home, const uint8_t *secret) {
  struct host second = {0};
  hyperswarm_server_options_t listen = host_options(&second);
  hyperswarm_server_t *rival;
  listen.secret_key = secret;
  EXPECT(hyperswarm_server_listen(home, &listen, &rival) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &second.closed, 1));
  EXPECT(second.listening == 1 && second.status == HYPERSWARM_ERR_KEYPAIR_ALREADY_USED);
  EXPECT(hyperswarm_server_close(rival) == HYPERSWARM_ERR_BAD_HANDLE);
}

// Paused: nothing comes, and what was sent comes later.
static void check_pause(struct bench *bench, struct peer *peer, struct peer *guest) {
  uint8_t data[64];
  EXPECT(hyperswarm_connection_pause(guest->connection) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_pause(guest->connection) == HYPERSWARM_OK);
  for (uint32_t number = 1; number < 20; number++) {
    EXPECT(hyperswarm_connection_write(peer->connection, data, fill(data, number, 64), on_written, peer) >= 0);
  }
  EXPECT(bench_run(bench, &peer->written, 20));
  EXPECT(guest->messages == 1);
  EXPECT(hyperswarm_connection_resume(guest->connection) == HYPERSWARM_OK);
  EXPECT(guest->messages == 1);
  bench_turns(bench, 4);
  EXPECT(guest->messages == 20 && guest->bad == 0);
}

// An abort: the peer sees a reset, an unacknowledged write fails.
static void check_abort(struct bench *bench, struct peer *peer, struct peer *guest) {
  uint8_t data[64];
  EXPECT(hyperswarm_connection_write(peer->connection, data, fill(data, 20, 64), on_written, peer) >= 0);
  EXPECT(hyperswarm_connection_destroy(peer->connection) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_destroy(peer->connection) == HYPERSWARM_ERR_CLOSED);
  EXPECT(hyperswarm_connection_write(peer->connection, data, 1, on_written, peer) == HYPERSWARM_ERR_CLOSED);
  EXPECT(peer->closed == 0);
  EXPECT(bench_run(bench, &peer->closed, 1) && bench_run(bench, &guest->closed, 1));
  EXPECT(peer->status == HYPERSWARM_OK && peer->reason[0] == 0 && peer->written == 21);
  EXPECT(peer->written_status == HYPERSWARM_ERR_CLOSED);
  EXPECT(guest->status == HYPERSWARM_ERR_CONNECTION_RESET && strstr(guest->reason, "reset") != NULL);
}

int check_connect_by_key(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *home, *away;
  EXPECT(hyperswarm_create(&options, &home) == HYPERSWARM_OK);
  EXPECT(hyperswarm_create(&options, &away) == HYPERSWARM_OK);
  uint8_t key[HYPERSWARM_KEY_SIZE], secret[HYPERSWARM_SECRET_KEY_SIZE], me[HYPERSWARM_KEY_SIZE];
  uint8_t my_secret[HYPERSWARM_SECRET_KEY_SIZE], shown[HYPERSWARM_KEY_SIZE];
  hyperswarm_key_pair_generate(key, secret);
  hyperswarm_key_pair_generate(me, my_secret);

  struct host host = {0};
  hyperswarm_server_options_t listen = host_options(&host);
  hyperswarm_server_t *server;
  listen.secret_key = secret;
  EXPECT(hyperswarm_server_listen(home, &listen, &server) == HYPERSWARM_OK);
  EXPECT(hyperswarm_server_public_key(server, shown) == HYPERSWARM_OK && memcmp(shown, key, sizeof(key)) == 0);
  EXPECT(host.listening == 0);
  EXPECT(bench_run(&bench, &host.listening, 1) && host.status == HYPERSWARM_OK);
  check_rival(&bench, home, secret);

  struct peer peer = {0};
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&peer);
  hyperswarm_connect_options_t connect = {.size = sizeof(connect)};
  connect.secret_key = my_secret;
  connect.relay_addresses = bench.bootstrap;
  connect.deadline = 20000;
  EXPECT(hyperswarm_connect(away, key, &connect, &callbacks, &peer.connection) == HYPERSWARM_OK);
  // The queue begins before the connection opens.
  uint8_t data[64];
  EXPECT(hyperswarm_connection_write(peer.connection, data, fill(data, 0, 64), on_written, &peer) > 0);
  EXPECT(bench_run(&bench, &peer.written, 1) && peer.written_status == HYPERSWARM_OK && peer.opened == 1);
  EXPECT(host.asked == 1 && memcmp(host.last_key, me, sizeof(me)) == 0);
  struct peer *guest = &host.peers[0];
  EXPECT(host.connections == 1 && guest->messages == 1 && guest->bad == 0);
  EXPECT(hyperswarm_connection_remote_public_key(guest->connection, shown) == HYPERSWARM_OK);
  EXPECT(memcmp(shown, me, sizeof(me)) == 0);

  check_pause(&bench, &peer, guest);
  EXPECT(hyperswarm_connection_send_datagram(guest->connection, "datum", 5) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &peer.datagrams, 1));

  // A server that closes leaves its connections alone.
  EXPECT(hyperswarm_server_close(server) == HYPERSWARM_OK);
  EXPECT(hyperswarm_server_close(server) == HYPERSWARM_ERR_CLOSED);
  EXPECT(host.closed == 0);
  EXPECT(bench_run(&bench, &host.closed, 1));
  EXPECT(hyperswarm_server_close(server) == HYPERSWARM_ERR_BAD_HANDLE);
  EXPECT(peer.closed == 0 && guest->closed == 0);

  check_abort(&bench, &peer, guest);
  EXPECT(host.connections == 1);
  bench_destroy(&bench, home);
  bench_destroy(&bench, away);
  return bench_end(&bench);
}

static int refuse_all(hyperswarm_t *swarm, const uint8_t *public_key, const char *address, void *user_data) {
  int *asked = user_data;
  EXPECT(swarm != NULL && public_key != NULL && address != NULL);
  ++*asked;
  return HYPERSWARM_REFUSE;
}

int check_refused(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *home, *away;
  int asked = 0;
  options.firewall = refuse_all;
  options.user_data = &asked;
  EXPECT(hyperswarm_create(&options, &home) == HYPERSWARM_OK);
  options.firewall = NULL;
  EXPECT(hyperswarm_create(&options, &away) == HYPERSWARM_OK);

  // Of a server.
  struct host host = {.answer = HYPERSWARM_REFUSE};
  hyperswarm_server_options_t listen = host_options(&host);
  uint8_t key[HYPERSWARM_KEY_SIZE], secret[HYPERSWARM_SECRET_KEY_SIZE];
  hyperswarm_key_pair_generate(key, secret);
  listen.secret_key = secret;
  hyperswarm_server_t *server;
  EXPECT(hyperswarm_server_listen(home, &listen, &server) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &host.listening, 1) && host.status == HYPERSWARM_OK);
  struct peer peer = {0}, other = {0};
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&peer);
  EXPECT(hyperswarm_connect(away, key, NULL, &callbacks, &peer.connection) == HYPERSWARM_OK);

  // Of the swarm, which listens under its own key.
  struct outcome listening = {0, NO_STATUS};
  EXPECT(hyperswarm_listen(home, on_status, &listening) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &listening.count, 1) && listening.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_public_key(home, key) == HYPERSWARM_OK);
  callbacks = peer_callbacks(&other);
  EXPECT(hyperswarm_connect(away, key, NULL, &callbacks, &other.connection) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &peer.closed, 1) && bench_run(&bench, &other.closed, 1));
  EXPECT(peer.status == HYPERSWARM_ERR_PEER_CONNECTION_FAILED && peer.opened == 0 && strlen(peer.reason) > 20);
  EXPECT(host.asked >= 1 && host.connections == 0);
  EXPECT(other.status == HYPERSWARM_ERR_PEER_CONNECTION_FAILED && asked >= 1);
  bench_destroy(&bench, away);
  bench_destroy(&bench, home);
  EXPECT(host.closed == 1);
  return bench_end(&bench);
}

struct counters {
  hyperswarm_server_t *server;
  hyperswarm_relay_statistics_t numbers;
  int calls;
};

static void on_counters(hyperswarm_server_t *server, const hyperswarm_relay_statistics_t *statistics, void *user_data) {
  struct counters *counters = user_data;
  counters->server = server;
  counters->numbers = *statistics;
  counters->calls++;
}

// A relay serves and closes; both sides may name it. On one host there is always a direct path: the path over a relay
// is tested below this interface.
int check_relays(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *home, *away, *middle;
  EXPECT(hyperswarm_create(&options, &home) == HYPERSWARM_OK);
  options.flags = HYPERSWARM_NODE_REACHABLE | HYPERSWARM_NODE_PERMANENT;
  EXPECT(hyperswarm_create(&options, &middle) == HYPERSWARM_OK);
  uint8_t relay_key[HYPERSWARM_KEY_SIZE], key[HYPERSWARM_KEY_SIZE];
  struct host relay = {0}, host = {0};
  hyperswarm_server_t *relay_server, *server;
  hyperswarm_server_options_t listen = host_options(&relay);
  listen.flags = HYPERSWARM_SERVER_RELAY;
  hyperswarm_relay_limits_t limits = {.size = sizeof(limits), .clients = 4, .bytes_per_second = 1 << 20};
  listen.relay_limits = &limits;
  EXPECT(hyperswarm_server_listen(middle, &listen, &relay_server) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &relay.listening, 1) && relay.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_server_public_key(relay_server, relay_key) == HYPERSWARM_OK);
  options.relays = relay_key;
  options.relay_count = 1;
  options.flags = 0;
  EXPECT(hyperswarm_create(&options, &away) == HYPERSWARM_OK);
  listen = host_options(&host);
  listen.flags = HYPERSWARM_SERVER_NO_HOLEPUNCH;
  listen.relays = relay_key;
  listen.relay_count = 1;
  EXPECT(hyperswarm_server_listen(home, &listen, &server) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &host.listening, 1) && host.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_server_public_key(server, key) == HYPERSWARM_OK);

  struct peer peer = {0};
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&peer);
  hyperswarm_connect_options_t connect = {.size = sizeof(connect), .flags = HYPERSWARM_CONNECT_NO_HOLEPUNCH};
  connect.relays = relay_key;
  connect.relay_count = 1;
  EXPECT(hyperswarm_connect(away, key, &connect, &callbacks, &peer.connection) == HYPERSWARM_OK);
  uint8_t data[4000];
  for (uint32_t number = 0; number < 100; number++) {
    EXPECT(hyperswarm_connection_write(peer.connection, data, fill(data, number, 4000), on_written, &peer) > 0);
  }
  EXPECT(bench_run(&bench, &peer.written, 100) && peer.written_status == HYPERSWARM_OK && peer.opened == 1);
  EXPECT(host.connections == 1 && host.peers[0].messages == 100 && host.peers[0].bad == 0);
  EXPECT(relay.connections == 0);
  struct counters counters = {0};
  EXPECT(hyperswarm_server_relay_statistics(relay_server, on_counters, &counters) == HYPERSWARM_OK);
  EXPECT(counters.calls == 0);
  EXPECT(bench_run(&bench, &counters.calls, 1));
  EXPECT(counters.server == relay_server && counters.numbers.size == sizeof(counters.numbers));
  EXPECT(counters.numbers.active_sessions <= counters.numbers.sessions_accepted);
  EXPECT(counters.numbers.active_links <= counters.numbers.pairings_matched);
  EXPECT(counters.numbers.sessions_refused == 0 && counters.numbers.packets_dropped == 0);
  EXPECT(hyperswarm_server_relay_statistics(relay_server, NULL, NULL) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_server_relay_statistics(server, on_counters, &counters) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_server_close(relay_server) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &relay.closed, 1));
  bench_destroy(&bench, away);
  bench_destroy(&bench, home);
  bench_destroy(&bench, middle);
  return bench_end(&bench);
}

// ---- Bounds --------------------------------------------------------------------------------------------------------

static void count_value(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data) {
  EXPECT(swarm != NULL && (status == HYPERSWARM_OK) == (value != NULL));
  ++*(int *) user_data;
}

int check_bounds(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *home, *away;
  EXPECT(hyperswarm_create(&options, &home) == HYPERSWARM_OK);
  EXPECT(hyperswarm_create(&options, &away) == HYPERSWARM_OK);
  struct host host = {0};
  hyperswarm_server_options_t listen = host_options(&host);
  hyperswarm_server_t *server;
  EXPECT(hyperswarm_server_listen(home, &listen, &server) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &host.listening, 1));
  struct peer peer = {0};
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&peer);
  uint8_t key[HYPERSWARM_KEY_SIZE];
  EXPECT(hyperswarm_server_public_key(server, key) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connect(away, key, NULL, &callbacks, &peer.connection) == HYPERSWARM_OK);

  // The write queue: a writer that does not listen is refused, and hears of the drain.
  static uint8_t data[MESSAGE];
  uint32_t sent = 0;
  int64_t queued = 0, deepest = 0;
  while ((queued = hyperswarm_connection_write(peer.connection, data, fill(data, sent, MESSAGE), NULL, NULL)) >= 0) {
    deepest = queued;
    sent++;
  }
  EXPECT(queued == HYPERSWARM_ERR_QUEUE_FULL && deepest >= HYPERSWARM_WRITE_LIMIT);
  EXPECT(deepest < HYPERSWARM_WRITE_LIMIT + 2 * (int64_t) MESSAGE);
  EXPECT(hyperswarm_connection_send_datagram(peer.connection, "datum", 5) == HYPERSWARM_ERR_QUEUE_FULL);
  EXPECT(bench_run(&bench, &peer.drained, 1));
  EXPECT(hyperswarm_connection_write(peer.connection, data, fill(data, sent++, 9), on_written, &peer) >= 0);
  EXPECT(bench_run(&bench, &peer.written, 1) && peer.written_status == HYPERSWARM_OK);
  EXPECT(host.peers[0].messages == sent && host.peers[0].bad == 0);

  // Calls that are under way.
  int answered = 0, accepted = 0, code;
  while ((code = hyperswarm_immutable_get(away, key, count_value, &answered)) == HYPERSWARM_OK) accepted++;
  EXPECT(code == HYPERSWARM_ERR_TOO_MANY_OPERATIONS && accepted == HYPERSWARM_MAX_OPERATIONS && answered == 0);
  EXPECT(hyperswarm_peer_join(away, key) == HYPERSWARM_ERR_TOO_MANY_OPERATIONS);
  EXPECT(
    hyperswarm_connection_write(peer.connection, data, 1, on_written, &peer) == HYPERSWARM_ERR_TOO_MANY_OPERATIONS);
  EXPECT(hyperswarm_connection_write(peer.connection, data, fill(data, sent, 9), NULL, NULL) >= 0);

  // All of them end with the swarm.
  bench_destroy(&bench, away);
  EXPECT(answered == accepted && peer.closed == 1);
  bench_destroy(&bench, home);
  return bench_end(&bench);
}
