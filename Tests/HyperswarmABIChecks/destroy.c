#include "harness.h"

// Destroys everything in one callback after another.
enum place {
  IN_LISTENING,
  IN_FIREWALL,
  IN_SERVER_CONNECTION,
  IN_OPEN,
  IN_MESSAGE,
  IN_WRITTEN,
  IN_DATAGRAM,
  IN_END,
  IN_CLOSE,
  IN_NUMBERS,
  IN_SWARM_CONNECTION,
  IN_JOINED,
  IN_RECORD,
  IN_SEARCHED,
  IN_PUT,
  IN_GET,
  IN_DRAIN,
  IN_SERVER_CLOSE,
  PLACES
};
static const char *const names[PLACES] = {
  "on_listening",
  "firewall",
  "server on_connection",
  "on_open",
  "on_message",
  "written",
  "on_datagram",
  "on_end",
  "on_close",
  "statistics",
  "swarm on_connection",
  "join",
  "lookup each",
  "lookup done",
  "put",
  "get",
  "on_drain",
  "server on_close"};

struct scene {
  struct bench bench;
  enum place place;
  hyperswarm_t *home, *away;
  hyperswarm_server_t *server;
  int fired, gone, opened, closed, completions, expected;
  uint8_t key[HYPERSWARM_KEY_SIZE], topic[HYPERSWARM_KEY_SIZE];
};

static void at(struct scene *scene, enum place place) {
  if (scene->place != place || scene->fired++) return;
  EXPECT(hyperswarm_destroy(scene->away, 0, on_gone, &scene->gone) == HYPERSWARM_OK);
  EXPECT(hyperswarm_destroy(scene->home, 1, on_gone, &scene->gone) == HYPERSWARM_OK);
  EXPECT(hyperswarm_destroy(scene->home, 1, on_gone, &scene->gone) == HYPERSWARM_ERR_BAD_HANDLE);
  EXPECT(scene->gone == 0);
}

static void on_open(hyperswarm_connection_t *connection, void *user_data) {
  (void) connection;
  at(user_data, IN_OPEN);
}
static void on_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  struct scene *scene = user_data;
  at(scene, IN_MESSAGE);
  if (length == 0 || data[0] != 'q') return;
  // The end of the scene: the other side asks for it.
  hyperswarm_connection_send_datagram(connection, "x", 1);
  hyperswarm_connection_end(connection);
}
static void on_datagram(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) connection, (void) data, (void) length;
  at(user_data, IN_DATAGRAM);
}
static void on_drain(hyperswarm_connection_t *connection, void *user_data) {
  (void) connection;
  at(user_data, IN_DRAIN);
}
static void on_end(hyperswarm_connection_t *connection, void *user_data) {
  at(user_data, IN_END);
  hyperswarm_connection_end(connection);
}
static void on_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct scene *scene = user_data;
  (void) connection, (void) status;
  scene->closed++;
  at(scene, IN_CLOSE);
  if (scene->place == IN_SERVER_CLOSE) hyperswarm_server_close(scene->server);
}
static hyperswarm_connection_callbacks_t callbacks_of(struct scene *scene) {
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  callbacks.on_open = on_open;
  callbacks.on_message = on_message;
  callbacks.on_datagram = on_datagram;
  callbacks.on_drain = on_drain;
  callbacks.on_end = on_end;
  callbacks.on_close = on_close;
  callbacks.user_data = scene;
  scene->opened++;
  return callbacks;
}
static void on_written_scene(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct scene *scene = user_data;
  (void) connection, (void) status;
  scene->completions++;
  at(scene, IN_WRITTEN);
}
static void on_numbers(
  hyperswarm_connection_t *connection, const hyperswarm_connection_statistics_t *numbers, void *user_data) {
  struct scene *scene = user_data;
  (void) connection, (void) numbers;
  scene->completions++;
  at(scene, IN_NUMBERS);
}
static void on_listening(hyperswarm_server_t *server, int status, void *user_data) {
  struct scene *scene = user_data;
  EXPECT(server == scene->server && status == HYPERSWARM_OK);
  at(scene, IN_LISTENING);
  if (scene->fired) return;
  static uint8_t data[100000] = "data";
  hyperswarm_connection_callbacks_t callbacks = callbacks_of(scene);
  hyperswarm_connection_t *connection;
  EXPECT(hyperswarm_connect(scene->away, scene->key, NULL, &callbacks, &connection) == HYPERSWARM_OK);
  for (int index = 0; index < 15; index++) {
    EXPECT(hyperswarm_connection_write(connection, data, sizeof(data), on_written_scene, scene) > 0);
    scene->expected++;
  }
  EXPECT(hyperswarm_connection_write(connection, "quit", 4, NULL, NULL) > 0);
  EXPECT(hyperswarm_connection_statistics(connection, on_numbers, scene) == HYPERSWARM_OK);
  scene->expected++;
}
static int on_firewall(hyperswarm_server_t *server, const uint8_t *key, const char *address, void *user_data) {
  (void) server, (void) key, (void) address;
  at(user_data, IN_FIREWALL);
  return HYPERSWARM_ACCEPT;
}
static void on_server_connection(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  struct scene *scene = user_data;
  (void) server;
  hyperswarm_connection_callbacks_t callbacks = callbacks_of(scene);
  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == HYPERSWARM_OK);
  at(scene, IN_SERVER_CONNECTION);
}
static void on_server_close(hyperswarm_server_t *server, void *user_data) {
  struct scene *scene = user_data;
  EXPECT(server == scene->server);
  scene->completions++;
  at(scene, IN_SERVER_CLOSE);
}
static void on_swarm_connection(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  struct scene *scene = user_data;
  (void) swarm, (void) peer;
  hyperswarm_connection_callbacks_t callbacks = callbacks_of(scene);
  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == HYPERSWARM_OK);
  at(scene, IN_SWARM_CONNECTION);
}
static void on_joined(hyperswarm_t *swarm, int status, void *user_data) {
  struct scene *scene = user_data;
  (void) swarm, (void) status;
  scene->completions++;
  at(scene, IN_JOINED);
  if (scene->fired) return;
  EXPECT(hyperswarm_join(scene->away, scene->topic, HYPERSWARM_CLIENT, NULL, NULL) == HYPERSWARM_OK);
}
static int on_record(hyperswarm_t *swarm, const hyperswarm_record_t *record, void *user_data) {
  (void) swarm, (void) record;
  at(user_data, IN_RECORD);
  return 0;
}
static void on_searched(hyperswarm_t *swarm, int status, void *user_data) {
  struct scene *scene = user_data;
  (void) swarm, (void) status;
  scene->completions++;
  at(scene, IN_SEARCHED);
}
static void on_got(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data) {
  struct scene *scene = user_data;
  (void) swarm, (void) status, (void) value;
  scene->completions++;
  at(scene, IN_GET);
}
static void on_put(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data) {
  struct scene *scene = user_data;
  (void) swarm, (void) status;
  scene->completions++;
  at(scene, IN_PUT);
  if (value == NULL || scene->fired) return;
  EXPECT(hyperswarm_immutable_get(scene->away, value->key, on_got, scene) == HYPERSWARM_OK);
  scene->expected++;
}
static void on_announced(hyperswarm_t *swarm, int status, void *user_data) {
  struct scene *scene = user_data;
  (void) swarm, (void) status;
  scene->completions++;
  if (scene->fired) return;
  EXPECT(hyperswarm_lookup(scene->away, scene->topic, on_record, on_searched, scene) == HYPERSWARM_OK);
  scene->expected++;
}

static void play(struct scene *scene, enum place place) {
  memset(scene, 0, sizeof(*scene));
  if (!bench_start(&scene->bench, 3)) return;
  scene->place = place;
  scene->topic[0] = 5;
  hyperswarm_options_t options = bench_options(&scene->bench);
  options.on_connection = on_swarm_connection;
  options.user_data = scene;
  EXPECT(hyperswarm_create(&options, &scene->home) == HYPERSWARM_OK);
  EXPECT(hyperswarm_create(&options, &scene->away) == HYPERSWARM_OK);
  switch (place) {
  case IN_SWARM_CONNECTION:
  case IN_JOINED:
    EXPECT(hyperswarm_join(scene->home, scene->topic, HYPERSWARM_SERVER, on_joined, scene) == HYPERSWARM_OK);
    scene->expected++;
    break;
  case IN_RECORD:
  case IN_SEARCHED:
    EXPECT(hyperswarm_announce(scene->home, scene->topic, NULL, on_announced, scene) == HYPERSWARM_OK);
    scene->expected++;
    break;
  case IN_PUT:
  case IN_GET:
    EXPECT(hyperswarm_immutable_put(scene->home, "value", 5, on_put, scene) == HYPERSWARM_OK);
    scene->expected++;
    break;
  default: {
    hyperswarm_server_options_t listen = {.size = sizeof(listen)};
    uint8_t secret[HYPERSWARM_SECRET_KEY_SIZE];
    hyperswarm_key_pair_generate(scene->key, secret);
    listen.secret_key = secret;
    listen.on_listening = on_listening;
    listen.on_connection = on_server_connection;
    listen.firewall = on_firewall;
    listen.on_close = on_server_close;
    listen.user_data = scene;
    EXPECT(hyperswarm_server_listen(scene->home, &listen, &scene->server) == HYPERSWARM_OK);
    scene->expected++;
  }
  }
  EXPECT(bench_run(&scene->bench, &scene->gone, 2));
  // Everything that was promised has come, once.
  EXPECT(scene->fired >= 1 && scene->gone == 2);
  EXPECT(scene->closed == scene->opened && scene->completions == scene->expected);
  bench_end(&scene->bench);
}

int check_destroy_in_callbacks(void) {
  int total = 0;
  for (int place = 0; place < PLACES; place++) {
    static struct scene scene;
    play(&scene, (enum place) place);
    if (failures != 0) fprintf(stderr, "destroyed in %s: %d failures\n", names[place], failures);
    total += failures;
  }
  printf("abi: destroyed in %d callbacks\n", PLACES);
  return total;
}

// Everything is under way when the swarm goes, on a thread of its own.
static uv_sem_t all_gone;
static void signal_gone(void *user_data) {
  (void) user_data;
  uv_sem_post(&all_gone);
}
static uv_mutex_t count_mutex;
static int count_done;
static void count(void) {
  uv_mutex_lock(&count_mutex);
  count_done++;
  uv_mutex_unlock(&count_mutex);
}
static void count_status(hyperswarm_t *swarm, int status, void *user_data) {
  (void) swarm, (void) status, (void) user_data;
  count();
}
static void count_value(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data) {
  (void) swarm, (void) status, (void) value, (void) user_data;
  count();
}
static void count_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) connection, (void) status, (void) user_data;
  count();
}
static void count_server(hyperswarm_server_t *server, void *user_data) {
  (void) server, (void) user_data;
  count();
}
static void count_ready(hyperswarm_testnet_t *testnet, int status, const char *bootstrap, void *user_data) {
  (void) testnet, (void) status, (void) bootstrap, (void) user_data;
  count();
}
static int any_record(hyperswarm_t *swarm, const hyperswarm_record_t *record, void *user_data) {
  (void) swarm, (void) record, (void) user_data;
  return 0;
}

int check_pending_at_destroy(void) {
  failures = 0;
  EXPECT(hyperswarm_handle_count() == 0);
  uv_sem_init(&all_gone, 0);
  uv_mutex_init(&count_mutex);
  int started = 0;
  count_done = 0;
  for (int force = 0; force < 2; force++) {
    hyperswarm_options_t options = {.size = sizeof(options)};
    options.bootstrap = "127.0.0.1:9"; // no node answers there
    options.host = "127.0.0.1";
    hyperswarm_t *swarm;
    EXPECT(hyperswarm_create(&options, &swarm) == HYPERSWARM_OK);
    uint8_t key[HYPERSWARM_KEY_SIZE] = {3};
    hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
    callbacks.on_close = count_close;
    hyperswarm_server_options_t listen = {.size = sizeof(listen)};
    listen.on_close = count_server;
    hyperswarm_connection_t *connection;
    hyperswarm_server_t *server;
    EXPECT(hyperswarm_bootstrapped(swarm, count_status, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_join(swarm, key, HYPERSWARM_SERVER, count_status, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_join(swarm, key, HYPERSWARM_CLIENT, count_status, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_flush(swarm, 0, count_status, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_announce(swarm, key, NULL, count_status, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_unannounce(swarm, key, NULL, count_status, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_lookup(swarm, key, any_record, count_status, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_find_peer(swarm, key, any_record, count_status, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_immutable_put(swarm, "v", 1, count_value, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_immutable_get(swarm, key, count_value, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_mutable_put(swarm, NULL, 0, "v", 1, count_value, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_mutable_get(swarm, key, 0, count_value, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_connect(swarm, key, NULL, &callbacks, &connection) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_connection_write(connection, "v", 1, NULL, NULL) >= 0);
    EXPECT(hyperswarm_connect(swarm, key, NULL, &callbacks, &connection) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_connection_destroy(connection) == HYPERSWARM_OK);
    EXPECT(hyperswarm_server_listen(swarm, &listen, &server) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_leave(swarm, key, count_status, NULL) == HYPERSWARM_OK && ++started);
    if (force) EXPECT(hyperswarm_suspend(swarm, count_status, NULL) == HYPERSWARM_OK && ++started);
    EXPECT(hyperswarm_destroy(swarm, force, signal_gone, NULL) == HYPERSWARM_OK);
    EXPECT(hyperswarm_flush(swarm, 0, count_status, NULL) == HYPERSWARM_ERR_BAD_HANDLE);
    EXPECT(hyperswarm_connection_write(connection, "v", 1, NULL, NULL) < 0);
    uv_sem_wait(&all_gone);
    EXPECT(count_done == started);
  }
  // A network that is not ready yet.
  hyperswarm_testnet_t *testnet;
  EXPECT(hyperswarm_testnet_create(NULL, 8, count_ready, NULL, &testnet) == HYPERSWARM_OK && ++started);
  EXPECT(hyperswarm_testnet_destroy(testnet, signal_gone, NULL) == HYPERSWARM_OK);
  uv_sem_wait(&all_gone);
  EXPECT(count_done == started && started == 34);
  EXPECT(hyperswarm_handle_count() == 0);
  uv_mutex_destroy(&count_mutex);
  uv_sem_destroy(&all_gone);
  return failures;
}
