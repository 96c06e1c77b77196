#include "harness.h"

struct stored {
  int count, status;
  uint8_t key[HYPERSWARM_KEY_SIZE];
  char data[64];
  size_t length;
  uint64_t sequence;
  uint32_t nodes;
  int is_signed, has_data;
};

static void on_value(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data) {
  struct stored *stored = user_data;
  EXPECT(swarm != NULL && (status == HYPERSWARM_OK) == (value != NULL));
  stored->status = status;
  stored->count++;
  if (value == NULL) return;
  EXPECT(value->size == sizeof(*value) && value->length <= sizeof(stored->data));
  memcpy(stored->key, value->key, sizeof(stored->key));
  stored->has_data = value->data != NULL;
  stored->length = value->length;
  if (value->data != NULL) memcpy(stored->data, value->data, value->length);
  stored->sequence = value->sequence;
  stored->nodes = value->stored;
  stored->is_signed = value->signature != NULL;
}

int check_values(void) {
  struct bench bench;
  if (!bench_start(&bench, 5)) return failures + 1;
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *writer, *reader;
  EXPECT(hyperswarm_create(&options, &writer) == HYPERSWARM_OK);
  EXPECT(hyperswarm_create(&options, &reader) == HYPERSWARM_OK);

  uint8_t hash[HYPERSWARM_KEY_SIZE], own[HYPERSWARM_KEY_SIZE];
  struct stored put = {0}, got = {0}, none = {0};
  EXPECT(hyperswarm_hash("a value", 7, hash) == HYPERSWARM_OK);
  EXPECT(hyperswarm_immutable_put(writer, "a value", 7, on_value, &put) == HYPERSWARM_OK);
  EXPECT(put.count == 0);
  EXPECT(bench_run(&bench, &put.count, 1) && put.status == HYPERSWARM_OK);
  EXPECT(put.nodes >= 1 && !put.has_data && !put.is_signed && memcmp(put.key, hash, sizeof(hash)) == 0);
  EXPECT(hyperswarm_immutable_get(reader, hash, on_value, &got) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &got.count, 1) && got.status == HYPERSWARM_OK);
  EXPECT(got.length == 7 && memcmp(got.data, "a value", 7) == 0 && memcmp(got.key, hash, sizeof(hash)) == 0);
  hash[0] ^= 1;
  EXPECT(hyperswarm_immutable_get(reader, hash, on_value, &none) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &none.count, 1) && none.status == HYPERSWARM_ERR_NOT_FOUND);

  // Under the swarm's own key, then under another one.
  struct stored first = {0}, second = {0}, stale = {0}, reused = {0}, newest = {0}, future = {0}, empty = {0};
  EXPECT(hyperswarm_public_key(writer, own) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mutable_put(writer, NULL, 1, "one", 3, on_value, &first) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &first.count, 1) && first.status == HYPERSWARM_OK);
  EXPECT(memcmp(first.key, own, sizeof(own)) == 0 && first.sequence == 1);
  EXPECT(hyperswarm_mutable_put(writer, NULL, 2, "two", 3, on_value, &second) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &second.count, 1) && second.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_mutable_put(writer, NULL, 1, "one", 3, on_value, &stale) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &stale.count, 1) && stale.status == HYPERSWARM_ERR_SEQ_TOO_LOW);
  EXPECT(hyperswarm_mutable_put(writer, NULL, 2, "other", 5, on_value, &reused) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &reused.count, 1) && reused.status == HYPERSWARM_ERR_SEQ_REUSED);
  EXPECT(hyperswarm_mutable_get(reader, own, 0, on_value, &newest) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &newest.count, 1) && newest.status == HYPERSWARM_OK);
  EXPECT(newest.sequence == 2 && newest.length == 3 && memcmp(newest.data, "two", 3) == 0 && newest.is_signed);
  EXPECT(hyperswarm_mutable_get(reader, own, 3, on_value, &future) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &future.count, 1) && future.status == HYPERSWARM_ERR_NOT_FOUND);

  uint8_t key[HYPERSWARM_KEY_SIZE], secret[HYPERSWARM_SECRET_KEY_SIZE];
  EXPECT(hyperswarm_key_pair_generate(key, secret) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mutable_put(writer, secret, 7, NULL, 0, NULL, NULL) == HYPERSWARM_OK);
  memset(secret, 0, sizeof(secret));
  EXPECT(hyperswarm_mutable_put(writer, NULL, 3, "end", 3, on_value, &put) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &put.count, 2));
  while (empty.status != HYPERSWARM_OK || empty.count == 0) {
    EXPECT(hyperswarm_mutable_get(reader, key, 0, on_value, &empty) == HYPERSWARM_OK);
    if (!bench_run(&bench, &empty.count, empty.count + 1)) break;
  }
  EXPECT(empty.has_data && empty.length == 0 && empty.sequence == 7);
  bench_destroy(&bench, writer);
  bench_destroy(&bench, reader);
  return bench_end(&bench);
}

struct search {
  int records, wanted, stop;
  char relays[64]; // of the last record
  const uint8_t *key;
  struct outcome outcome;
};

static int on_record(hyperswarm_t *swarm, const hyperswarm_record_t *record, void *user_data) {
  struct search *search = user_data;
  EXPECT(swarm != NULL && record->size == sizeof(*record) && strchr(record->from, ':') != NULL);
  EXPECT(record->relay_addresses != NULL);
  snprintf(search->relays, sizeof(search->relays), "%s", record->relay_addresses);
  search->records++;
  if (memcmp(record->public_key, search->key, HYPERSWARM_KEY_SIZE) == 0) search->wanted++;
  return search->stop;
}

static void on_searched(hyperswarm_t *swarm, int status, void *user_data) {
  on_status(swarm, status, &((struct search *) user_data)->outcome);
}

static void on_listening(hyperswarm_server_t *server, int status, void *user_data) {
  EXPECT(server != NULL && status == HYPERSWARM_OK);
  ++*(int *) user_data;
}

int check_announcements(void) {
  struct bench bench;
  if (!bench_start(&bench, 5)) return failures + 1;
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *a, *b;
  EXPECT(hyperswarm_create(&options, &a) == HYPERSWARM_OK);
  EXPECT(hyperswarm_create(&options, &b) == HYPERSWARM_OK);
  uint8_t topic[HYPERSWARM_KEY_SIZE] = {42}, key[HYPERSWARM_KEY_SIZE], secret[HYPERSWARM_SECRET_KEY_SIZE];
  EXPECT(hyperswarm_key_pair_generate(key, secret) == HYPERSWARM_OK);

  struct outcome announced = {0, NO_STATUS}, withdrawn = {0, NO_STATUS};
  EXPECT(hyperswarm_announce(a, topic, secret, on_status, &announced) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &announced.count, 1) && announced.status == HYPERSWARM_OK);
  struct search all = {.key = key}, one = {.key = key, .stop = 1}, after = {.key = key}, found = {0};
  EXPECT(hyperswarm_lookup(b, topic, on_record, on_searched, &all) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &all.outcome.count, 1) && all.outcome.status == HYPERSWARM_OK);
  EXPECT(all.wanted >= 2 && all.wanted == all.records);
  EXPECT(hyperswarm_lookup(b, topic, on_record, on_searched, &one) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &one.outcome.count, 1) && one.outcome.status == HYPERSWARM_OK && one.records == 1);
  EXPECT(hyperswarm_unannounce(a, topic, secret, on_status, &withdrawn) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &withdrawn.count, 1) && withdrawn.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_lookup(b, topic, on_record, on_searched, &after) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &after.outcome.count, 1) && after.records == 0);

  // With relay addresses.
  struct search routed = {.key = key};
  hyperswarm_announce_options_t announce = {.size = sizeof(announce), .secret_key = secret};
  announce.relay_addresses = "127.0.0.1:4001, nowhere";
  EXPECT(hyperswarm_announce_with(a, topic, &announce, NULL, NULL) == HYPERSWARM_ERR_INVALID_ADDRESS);
  announce.relay_addresses = "127.0.0.1:4001, 127.0.0.1:4002";
  EXPECT(hyperswarm_announce_with(a, topic, &announce, on_status, &announced) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &announced.count, 2) && announced.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_lookup(b, topic, on_record, on_searched, &routed) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &routed.outcome.count, 1) && routed.wanted > 0);
  EXPECT(strcmp(routed.relays, "127.0.0.1:4001,127.0.0.1:4002") == 0);

  int listening = 0;
  hyperswarm_server_options_t listen = {.size = sizeof(listen)};
  hyperswarm_server_t *server;
  listen.secret_key = secret;
  listen.on_listening = on_listening;
  listen.user_data = &listening;
  EXPECT(hyperswarm_server_listen(a, &listen, &server) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &listening, 1));
  found.key = key;
  EXPECT(hyperswarm_find_peer(b, key, on_record, on_searched, &found) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &found.outcome.count, 1) && found.outcome.status == HYPERSWARM_OK);
  EXPECT(found.wanted >= 1 && found.wanted == found.records);
  bench_destroy(&bench, a);
  bench_destroy(&bench, b);
  return bench_end(&bench);
}

// ---- Peers ---------------------------------------------------------------------------------------------------------

struct party {
  int connections, closed;
  hyperswarm_connection_t *connection;
};

static void party_closed(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct party *party = user_data;
  EXPECT(connection == party->connection && status <= 0);
  party->closed++;
}
static void party_connected(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  struct party *party = user_data;
  EXPECT(swarm != NULL && peer->topic_count == 0);
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  callbacks.on_close = party_closed;
  callbacks.user_data = party;
  party->connection = connection;
  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == HYPERSWARM_OK);
  party->connections++;
}
struct census {
  int peers, connected, explicit_peers, banned;
  struct outcome outcome;
};
static void on_peer(hyperswarm_t *swarm, const hyperswarm_peer_info_t *peer, void *user_data) {
  struct census *census = user_data;
  EXPECT(swarm != NULL && census->outcome.count == 0);
  census->peers++;
  census->connected += peer->is_connected;
  census->explicit_peers += peer->is_explicit;
  census->banned += peer->is_banned;
}
static void on_counted(hyperswarm_t *swarm, int status, void *user_data) {
  on_status(swarm, status, &((struct census *) user_data)->outcome);
}

int check_peers(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  hyperswarm_options_t options = bench_options(&bench);
  struct party home_party = {0}, away_party = {0};
  hyperswarm_t *home, *away;
  options.on_connection = party_connected;
  options.user_data = &home_party;
  EXPECT(hyperswarm_create(&options, &home) == HYPERSWARM_OK);
  options.user_data = &away_party;
  EXPECT(hyperswarm_create(&options, &away) == HYPERSWARM_OK);
  uint8_t key[HYPERSWARM_KEY_SIZE];
  EXPECT(hyperswarm_public_key(home, key) == HYPERSWARM_OK);
  struct outcome listening = {0, NO_STATUS}, asleep = {0, NO_STATUS}, awake = {0, NO_STATUS};
  EXPECT(hyperswarm_listen(home, on_status, &listening) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &listening.count, 1) && listening.status == HYPERSWARM_OK);
  EXPECT(hyperswarm_peer_join(away, key) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &away_party.connections, 1) && bench_run(&bench, &home_party.connections, 1));

  struct census one = {0}, two = {0};
  EXPECT(hyperswarm_peers(away, on_peer, on_counted, &one) == HYPERSWARM_OK);
  EXPECT(one.peers == 0);
  EXPECT(bench_run(&bench, &one.outcome.count, 1));
  EXPECT(one.peers == 1 && one.connected == 1 && one.explicit_peers == 1 && one.banned == 0);

  // Sleep closes the connection, and waking up brings it back.
  EXPECT(hyperswarm_suspend(away, on_status, &asleep) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &asleep.count, 1) && asleep.status == HYPERSWARM_OK && away_party.closed == 1);
  struct outcome flushed = {0, NO_STATUS};
  EXPECT(hyperswarm_flush(away, 0, on_status, &flushed) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &flushed.count, 1) && flushed.status == HYPERSWARM_ERR_SUSPENDED);
  EXPECT(hyperswarm_resume(away, on_status, &awake) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &awake.count, 1) && bench_run(&bench, &away_party.connections, 2));

  EXPECT(hyperswarm_peer_leave(away, key) == HYPERSWARM_OK);
  EXPECT(hyperswarm_peer_ban(away, key, 1) == HYPERSWARM_OK);
  EXPECT(hyperswarm_peers(away, on_peer, on_counted, &two) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &two.outcome.count, 1));
  EXPECT(two.peers == 1 && two.connected == 1 && two.explicit_peers == 0 && two.banned == 1);
  bench_destroy(&bench, home);
  bench_destroy(&bench, away);
  EXPECT(away_party.closed == 2);
  return bench_end(&bench);
}
