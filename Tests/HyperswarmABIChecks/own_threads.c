// Swarms on threads of their own, written to from the thread of the test.
#include "harness.h"

struct remote {
  uv_mutex_t mutex;
  uv_cond_t changed;
  hyperswarm_connection_t *connection;
  int ready, listening, opened, closed, gone, drained, status;
  size_t messages, received, bad;
  char bootstrap[64];
};

#define CHANGE(remote, statement) \
  do { \
    uv_mutex_lock(&(remote)->mutex); \
    statement; \
    uv_cond_broadcast(&(remote)->changed); \
    uv_mutex_unlock(&(remote)->mutex); \
  } while (0)

// Until the counter is no longer below `value`; 0 after 100 seconds.
static int wait_for(struct remote *remote, const int *counter, int value) {
  uint64_t deadline = uv_hrtime() + 100000000000ull;
  uv_mutex_lock(&remote->mutex);
  while (*counter < value && uv_hrtime() < deadline) uv_cond_timedwait(&remote->changed, &remote->mutex, 1000000000);
  int reached = *counter >= value;
  uv_mutex_unlock(&remote->mutex);
  return reached;
}

static void remote_ready(hyperswarm_testnet_t *testnet, int status, const char *bootstrap, void *user_data) {
  struct remote *remote = user_data;
  (void) testnet;
  CHANGE(remote, {
    if (status == HYPERSWARM_OK) snprintf(remote->bootstrap, sizeof(remote->bootstrap), "%s", bootstrap);
    remote->ready++;
  });
}
static void remote_listening(hyperswarm_server_t *server, int status, void *user_data) {
  struct remote *remote = user_data;
  (void) server;
  CHANGE(remote, {
    remote->status = status;
    remote->listening++;
  });
}
static void remote_open(hyperswarm_connection_t *connection, void *user_data) {
  struct remote *remote = user_data;
  (void) connection;
  CHANGE(remote, remote->opened++);
}
static void remote_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  struct remote *remote = user_data;
  (void) connection;
  CHANGE(remote, {
    if (!is_filled(data, (uint32_t) remote->messages, length)) remote->bad++;
    remote->messages++;
    remote->received += length;
  });
}
static void remote_drain(hyperswarm_connection_t *connection, void *user_data) {
  struct remote *remote = user_data;
  (void) connection;
  CHANGE(remote, remote->drained++);
}
static void remote_end(hyperswarm_connection_t *connection, void *user_data) {
  (void) user_data;
  hyperswarm_connection_end(connection); // the client has ended already
}
static void remote_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct remote *remote = user_data;
  (void) connection;
  CHANGE(remote, {
    remote->status = status;
    remote->closed++;
  });
}
static void remote_gone(void *user_data) {
  struct remote *remote = user_data;
  CHANGE(remote, remote->gone++);
}
static hyperswarm_connection_callbacks_t remote_callbacks(struct remote *remote) {
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  callbacks.on_open = remote_open;
  callbacks.on_message = remote_message;
  callbacks.on_drain = remote_drain;
  callbacks.on_end = remote_end;
  callbacks.on_close = remote_close;
  callbacks.user_data = remote;
  return callbacks;
}
static void remote_connection(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  struct remote *remote = user_data;
  (void) server;
  // The callbacks are set later, by another thread.
  CHANGE(remote, {
    remote->connection = connection;
    remote->opened++;
  });
}

static void remote_init(struct remote *remote) {
  uv_mutex_init(&remote->mutex);
  uv_cond_init(&remote->changed);
}

static void remote_destroy(struct remote *remote) {
  // The thread that signalled may still be inside.
  uv_mutex_lock(&remote->mutex);
  uv_mutex_unlock(&remote->mutex);
  uv_cond_destroy(&remote->changed);
  uv_mutex_destroy(&remote->mutex);
}

// Writes before the connection is open, from a thread that is not the loop's, as a writer that heeds the mark. Returns
// the bytes, and in `sent` the messages.
static size_t remote_send(struct remote *client, struct remote *server, uint32_t *sent) {
  static uint8_t data[MESSAGE];
  size_t bytes = 0;
  int waits = 0;
  while (bytes < TRANSFER) {
    size_t length = fill(data, *sent, 1 + (*sent * 7919) % MESSAGE);
    int64_t queued = hyperswarm_connection_write(client->connection, data, length, NULL, NULL);
    EXPECT(queued >= 0);
    if (queued < 0) break;
    ++*sent;
    bytes += length;
    if (*sent == 3) {
      EXPECT(wait_for(server, &server->opened, 1));
      hyperswarm_connection_callbacks_t callbacks = remote_callbacks(server);
      EXPECT(hyperswarm_connection_set_callbacks(server->connection, &callbacks) == HYPERSWARM_OK);
    }
    if (queued > HYPERSWARM_WRITE_HIGH_WATER) {
      waits++;
      EXPECT(wait_for(client, &client->drained, waits));
    }
  }
  EXPECT(waits > 0);
  return bytes;
}

int check_own_threads(void) {
  failures = 0;
  EXPECT(hyperswarm_handle_count() == 0);
  struct remote net = {0}, server = {0}, client = {0};
  remote_init(&net);
  remote_init(&server);
  remote_init(&client);
  hyperswarm_testnet_t *testnet;
  EXPECT(hyperswarm_testnet_create(NULL, 4, remote_ready, &net, &testnet) == HYPERSWARM_OK);
  EXPECT(wait_for(&net, &net.ready, 1));

  hyperswarm_options_t options = {.size = sizeof(options)};
  options.bootstrap = net.bootstrap;
  options.host = "127.0.0.1";
  hyperswarm_t *home, *away;
  EXPECT(hyperswarm_create(&options, &home) == HYPERSWARM_OK);
  EXPECT(hyperswarm_create(&options, &away) == HYPERSWARM_OK);

  hyperswarm_server_options_t listen = {.size = sizeof(listen)};
  listen.on_listening = remote_listening;
  listen.on_connection = remote_connection;
  listen.user_data = &server;
  hyperswarm_server_t *listener;
  EXPECT(hyperswarm_server_listen(home, &listen, &listener) == HYPERSWARM_OK);
  EXPECT(wait_for(&server, &server.listening, 1) && server.status == HYPERSWARM_OK);
  uint8_t key[HYPERSWARM_KEY_SIZE];
  EXPECT(hyperswarm_server_public_key(listener, key) == HYPERSWARM_OK);
  EXPECT(hyperswarm_server_user_data(listener) == &server);

  hyperswarm_connection_callbacks_t callbacks = remote_callbacks(&client);
  EXPECT(hyperswarm_connect(away, key, NULL, &callbacks, &client.connection) == HYPERSWARM_OK);
  uint32_t sent = 0;
  size_t bytes = remote_send(&client, &server, &sent);
  EXPECT(hyperswarm_connection_end(client.connection) == HYPERSWARM_OK);
  EXPECT(wait_for(&client, &client.closed, 1) && wait_for(&server, &server.closed, 1));
  EXPECT(client.status == HYPERSWARM_OK && server.status == HYPERSWARM_OK && client.opened == 1);
  EXPECT(server.received == bytes && server.messages == sent && server.bad == 0);
  // Still inside on_close, or after it.
  int late = hyperswarm_connection_end(client.connection);
  EXPECT(late == HYPERSWARM_ERR_CLOSED || late == HYPERSWARM_ERR_BAD_HANDLE);
  printf("abi: %zu bytes from another thread\n", bytes);

  EXPECT(hyperswarm_server_close(listener) == HYPERSWARM_OK);
  EXPECT(hyperswarm_destroy(away, 0, remote_gone, &client) == HYPERSWARM_OK);
  EXPECT(hyperswarm_destroy(home, 0, remote_gone, &server) == HYPERSWARM_OK);
  EXPECT(wait_for(&client, &client.gone, 1) && wait_for(&server, &server.gone, 1));
  EXPECT(hyperswarm_testnet_destroy(testnet, remote_gone, &net) == HYPERSWARM_OK);
  EXPECT(wait_for(&net, &net.gone, 1));
  EXPECT(hyperswarm_handle_count() == 0);
  remote_destroy(&net);
  remote_destroy(&server);
  remote_destroy(&client);
  return failures;
}
