// Proof of the peer's key: property and callback. The bound of what a peer may send.
#include "harness.h"

struct server {
  struct peer peer;
  int connections, listening, proven;
};

static void server_proven(hyperswarm_connection_t *connection, void *user_data) {
  struct server *server = (struct server *) ((char *) user_data - offsetof(struct server, peer));
  EXPECT(connection == server->peer.connection && server->peer.messages == 0);
  EXPECT(hyperswarm_connection_is_peer_proven(connection) == 1);
  server->proven++;
}

static void server_connection(hyperswarm_server_t *handle, hyperswarm_connection_t *connection, void *user_data) {
  struct server *server = user_data;
  EXPECT(handle != NULL);
  server->connections++;
  server->peer.connection = connection;
  // The first packet proves the key, but that comes after this call.
  EXPECT(hyperswarm_connection_is_peer_proven(connection) == 0);
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&server->peer);
  callbacks.on_peer_proven = server_proven;
  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == HYPERSWARM_OK);
}

static void server_listening(hyperswarm_server_t *handle, int status, void *user_data) {
  struct server *server = user_data;
  EXPECT(handle != NULL && status == HYPERSWARM_OK);
  server->listening++;
}

int check_peer_proof(void) {
  struct bench bench;
  if (!bench_start(&bench, 4)) return failures + 1;
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *home, *away;
  EXPECT(hyperswarm_create(&options, &away) == HYPERSWARM_OK);
  options.max_message_size = 1000;
  EXPECT(hyperswarm_create(&options, &home) == HYPERSWARM_OK);

  uint8_t key[HYPERSWARM_KEY_SIZE], secret[HYPERSWARM_SECRET_KEY_SIZE];
  hyperswarm_key_pair_generate(key, secret);
  struct server server = {0};
  hyperswarm_server_options_t listen = {.size = sizeof(listen)};
  listen.secret_key = secret;
  listen.on_listening = server_listening;
  listen.on_connection = server_connection;
  listen.user_data = &server;
  hyperswarm_server_t *handle;
  EXPECT(hyperswarm_server_listen(home, &listen, &handle) == HYPERSWARM_OK);
  EXPECT(bench_run(&bench, &server.listening, 1));

  struct peer peer = {0};
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&peer);
  EXPECT(hyperswarm_connect(away, key, NULL, &callbacks, &peer.connection) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_is_peer_proven(peer.connection) == 0);
  EXPECT(bench_run(&bench, &server.proven, 1));
  EXPECT(server.connections == 1 && hyperswarm_connection_is_peer_proven(server.peer.connection) == 1);

  // A message of the size that the server takes, then one more byte.
  static uint8_t data[1001];
  EXPECT(hyperswarm_connection_write(peer.connection, data, fill(data, 0, 1000), on_written, &peer) >= 0);
  EXPECT(bench_run(&bench, &peer.written, 1) && peer.written_status == HYPERSWARM_OK);
  EXPECT(server.peer.messages == 1 && server.peer.received == 1000 && server.peer.bad == 0);
  EXPECT(hyperswarm_connection_write(peer.connection, data, 1001, NULL, NULL) >= 0);
  EXPECT(bench_run(&bench, &server.peer.closed, 1));
  EXPECT(server.peer.status == HYPERSWARM_ERR_FRAME_TOO_LARGE && server.peer.messages == 1 && server.proven == 1);
  bench_destroy(&bench, home);
  bench_destroy(&bench, away);
  return bench_end(&bench);
}
