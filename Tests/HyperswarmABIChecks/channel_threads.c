// Channels of swarms on threads of their own: several threads send on one connection at a time.
#include "harness.h"

#define SENDERS 3
#define NUMBERS 3000

struct sender {
  hyperswarm_channel_t *channel;
  uint32_t next; // expected back
  int bad;
};

static struct {
  uv_mutex_t mutex;
  uv_cond_t changed;
  int ready, listening, complete, closed, status, gone;
  char bootstrap[64];
  struct sender senders[SENDERS];
} threads;

static void step(int *counter) {
  uv_mutex_lock(&threads.mutex);
  ++*counter;
  uv_cond_broadcast(&threads.changed);
  uv_mutex_unlock(&threads.mutex);
}

// 0 after 60 seconds.
static int await(const int *counter, int value) {
  uint64_t deadline = uv_hrtime() + 60000000000ull;
  uv_mutex_lock(&threads.mutex);
  while (*counter < value && uv_hrtime() < deadline) uv_cond_timedwait(&threads.changed, &threads.mutex, 1000000000);
  int reached = *counter >= value;
  uv_mutex_unlock(&threads.mutex);
  return reached;
}

static void on_ready(hyperswarm_testnet_t *testnet, int status, const char *bootstrap, void *user_data) {
  (void) testnet, (void) user_data;
  if (status == HYPERSWARM_OK) snprintf(threads.bootstrap, sizeof(threads.bootstrap), "%s", bootstrap);
  step(&threads.ready);
}
static void on_listening(hyperswarm_server_t *server, int status, void *user_data) {
  (void) server, (void) status, (void) user_data;
  step(&threads.listening);
}
static void thread_gone(void *user_data) {
  (void) user_data;
  step(&threads.gone);
}

static void send_back(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  (void) user_data;
  hyperswarm_channel_send(channel, type, data, length);
}
static void on_offer(hyperswarm_mux_t *mux, const uint8_t *id, size_t length, void *user_data) {
  (void) user_data;
  hyperswarm_channel_t *channel;
  hyperswarm_channel_options_t options = {.size = sizeof(options), .protocol = "numbers", .id = id};
  options.id_length = length;
  options.on_message = send_back;
  if (hyperswarm_channel_create(mux, &options, &channel) != HYPERSWARM_OK) return;
  hyperswarm_channel_open(channel, NULL, 0);
}
static void on_connection(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  (void) server, (void) user_data;
  hyperswarm_mux_t *mux;
  if (hyperswarm_mux_create(connection, NULL, &mux) != HYPERSWARM_OK) return;
  hyperswarm_mux_pair(mux, "numbers", NULL, 0, on_offer, NULL);
  hyperswarm_mux_start(mux);
}

static void on_number(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  struct sender *sender = user_data;
  uint32_t number = 0;
  (void) channel;
  memcpy(&number, data, length < sizeof(number) ? length : sizeof(number));
  sender->bad += type != number % 3 || number != sender->next;
  sender->next++;
  if (sender->next == NUMBERS) step(&threads.complete);
}
static void on_close(hyperswarm_mux_t *mux, int status, void *user_data) {
  (void) mux, (void) user_data;
  threads.status = status;
  step(&threads.closed);
}

static void send_numbers(void *argument) {
  struct sender *sender = argument;
  hyperswarm_mux_t *mux = hyperswarm_channel_mux(sender->channel);
  uint8_t message[600] = {0};
  for (uint32_t number = 0; number < NUMBERS; number++) {
    if (number % 50 == 10) hyperswarm_mux_cork(mux);
    memcpy(message, &number, sizeof(number));
    int64_t queued;
    do {
      queued = hyperswarm_channel_send(sender->channel, number % 3, message, sizeof(message));
      if (queued > HYPERSWARM_WRITE_HIGH_WATER || queued == HYPERSWARM_ERR_QUEUE_FULL) uv_sleep(1);
    } while (queued == HYPERSWARM_ERR_QUEUE_FULL);
    if (number % 50 == 40) hyperswarm_mux_uncork(mux);
  }
}

static hyperswarm_mux_t *open_channels(hyperswarm_connection_t *connection) {
  hyperswarm_mux_t *mux = NULL;
  hyperswarm_mux_options_t options = {.size = sizeof(options), .on_close = on_close};
  EXPECT(hyperswarm_mux_create(connection, &options, &mux) == HYPERSWARM_OK);
  for (uint8_t index = 0; index < SENDERS; index++) {
    hyperswarm_channel_options_t channel = {.size = sizeof(channel), .protocol = "numbers", .id = &index};
    channel.id_length = 1;
    channel.on_message = on_number;
    channel.user_data = &threads.senders[index];
    EXPECT(hyperswarm_channel_create(mux, &channel, &threads.senders[index].channel) == HYPERSWARM_OK);
    EXPECT(hyperswarm_channel_open(threads.senders[index].channel, NULL, 0) == HYPERSWARM_OK);
  }
  EXPECT(hyperswarm_mux_start(mux) == HYPERSWARM_OK);
  return mux;
}

static void talk(hyperswarm_t *client, const uint8_t *key) {
  uv_thread_t ids[SENDERS];
  hyperswarm_connection_t *connection;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  EXPECT(hyperswarm_connect(client, key, NULL, &callbacks, &connection) == HYPERSWARM_OK);
  hyperswarm_mux_t *mux = open_channels(connection);
  for (int index = 0; index < SENDERS; index++) uv_thread_create(&ids[index], send_numbers, &threads.senders[index]);
  for (int index = 0; index < SENDERS; index++) uv_thread_join(&ids[index]);
  EXPECT(await(&threads.complete, SENDERS));
  EXPECT(hyperswarm_mux_close(mux) == HYPERSWARM_OK);
  EXPECT(await(&threads.closed, 1) && threads.status == HYPERSWARM_OK);
  for (int index = 0; index < SENDERS; index++) EXPECT(threads.senders[index].bad == 0);
}

int check_channel_threads(void) {
  failures = 0;
  memset(&threads, 0, sizeof(threads));
  uv_mutex_init(&threads.mutex);
  uv_cond_init(&threads.changed);
  hyperswarm_testnet_t *testnet;
  hyperswarm_t *swarms[2];
  hyperswarm_server_t *server;
  uint8_t key[HYPERSWARM_KEY_SIZE];
  EXPECT(hyperswarm_testnet_create(NULL, 3, on_ready, NULL, &testnet) == HYPERSWARM_OK && await(&threads.ready, 1));
  hyperswarm_options_t options = {.size = sizeof(options), .bootstrap = threads.bootstrap, .host = "127.0.0.1"};
  for (int index = 0; index < 2; index++) EXPECT(hyperswarm_create(&options, &swarms[index]) == HYPERSWARM_OK);
  hyperswarm_server_options_t listening = {.size = sizeof(listening), .on_listening = on_listening};
  listening.on_connection = on_connection;
  EXPECT(hyperswarm_server_listen(swarms[0], &listening, &server) == HYPERSWARM_OK && await(&threads.listening, 1));
  EXPECT(hyperswarm_server_public_key(server, key) == HYPERSWARM_OK);
  talk(swarms[1], key);
  for (int index = 0; index < 2; index++)
    EXPECT(hyperswarm_destroy(swarms[index], 1, thread_gone, NULL) == HYPERSWARM_OK);
  EXPECT(hyperswarm_testnet_destroy(testnet, thread_gone, NULL) == HYPERSWARM_OK && await(&threads.gone, 3));
  EXPECT(hyperswarm_handle_count() == 0);
  // The thread that signalled may still be inside.
  uv_mutex_lock(&threads.mutex);
  uv_mutex_unlock(&threads.mutex);
  uv_cond_destroy(&threads.changed);
  uv_mutex_destroy(&threads.mutex);
  return failures;
}
