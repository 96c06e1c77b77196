#include "harness.h"

// Threads that use one connection, and its swarm, until both are gone under their hands.

#define THREADS 3

static uv_mutex_t mutex;
static uv_sem_t step;
static hyperswarm_t *home, *away;
static hyperswarm_connection_t *connection;
static char bootstrap[64];
static uint8_t key[HYPERSWARM_KEY_SIZE];
static uint64_t accepted, completed, messages, closes;
static int unexpected;

static void add(uint64_t *counter) {
  uv_mutex_lock(&mutex);
  ++*counter;
  uv_mutex_unlock(&mutex);
}

static void on_ready(hyperswarm_testnet_t *testnet, int status, const char *addresses, void *user_data) {
  (void) testnet, (void) user_data;
  if (status == HYPERSWARM_OK) snprintf(bootstrap, sizeof(bootstrap), "%s", addresses);
  uv_sem_post(&step);
}
static void on_listening(hyperswarm_server_t *server, int status, void *user_data) {
  (void) server, (void) status, (void) user_data;
  uv_sem_post(&step);
}
static void on_message(hyperswarm_connection_t *from, const uint8_t *data, size_t length, void *user_data) {
  (void) from, (void) data, (void) length, (void) user_data;
  add(&messages);
}
static void on_close(hyperswarm_connection_t *from, int status, void *user_data) {
  (void) from, (void) status, (void) user_data;
  add(&closes);
}
static void on_open(hyperswarm_connection_t *from, void *user_data) {
  (void) from, (void) user_data;
  uv_sem_post(&step);
}
static void on_connection(hyperswarm_server_t *server, hyperswarm_connection_t *made, void *user_data) {
  (void) server, (void) user_data;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_message = on_message};
  hyperswarm_connection_set_callbacks(made, &callbacks);
}
static void on_acknowledged(hyperswarm_connection_t *from, int status, void *user_data) {
  (void) from, (void) status, (void) user_data;
  add(&completed);
}
static void on_done(hyperswarm_t *swarm, int status, void *user_data) {
  (void) swarm, (void) status, (void) user_data;
  add(&completed);
}
static void on_numbers(
  hyperswarm_connection_t *from, const hyperswarm_connection_statistics_t *numbers, void *user_data) {
  (void) from, (void) numbers, (void) user_data;
  add(&completed);
}
static void on_destroyed(void *user_data) {
  (void) user_data;
  uv_sem_post(&step);
}

static void judge(int64_t code, int has_completion) {
  uv_mutex_lock(&mutex);
  if (code >= 0) {
    accepted += (uint64_t) has_completion;
  } else if (
    code != HYPERSWARM_ERR_BAD_HANDLE && code != HYPERSWARM_ERR_CLOSED && code != HYPERSWARM_ERR_QUEUE_FULL
    && code != HYPERSWARM_ERR_SWARM_DESTROYED && code != HYPERSWARM_ERR_TOO_MANY_OPERATIONS) {
    unexpected++;
  }
  uv_mutex_unlock(&mutex);
}

static void hammer(void *argument) {
  unsigned turn = (unsigned) (uintptr_t) argument;
  uint8_t data[500] = {0}, hash[HYPERSWARM_HASH_SIZE];
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_close = on_close};
  for (;; turn++) {
    int64_t code = hyperswarm_connection_write(connection, data, 1 + turn % sizeof(data), on_acknowledged, NULL);
    judge(code, 1);
    if (code == HYPERSWARM_ERR_BAD_HANDLE) break;
    switch (turn % 8) {
    case 0: judge(hyperswarm_connection_pause(connection), 0); break;
    case 1: judge(hyperswarm_connection_resume(connection), 0); break;
    case 2: judge(hyperswarm_connection_set_callbacks(connection, &callbacks), 0); break;
    case 3: judge(hyperswarm_connection_statistics(connection, on_numbers, NULL), 1); break;
    case 4: judge(hyperswarm_connection_handshake_hash(connection, hash), 0); break;
    case 5: judge(hyperswarm_connection_send_datagram(connection, data, 50), 0); break;
    case 6: judge(hyperswarm_flush(away, 0, on_done, NULL), 1); break;
    default: judge(hyperswarm_connection_write(connection, data, 9, NULL, NULL), 0); break;
    }
  }
  judge(hyperswarm_join(away, hash, HYPERSWARM_CLIENT, on_done, NULL), 1);
}

int check_concurrent_use(void) {
  failures = 0;
  EXPECT(hyperswarm_handle_count() == 0);
  uv_mutex_init(&mutex);
  uv_sem_init(&step, 0);
  accepted = completed = messages = closes = 0;
  unexpected = 0;
  hyperswarm_testnet_t *testnet;
  EXPECT(hyperswarm_testnet_create(NULL, 3, on_ready, NULL, &testnet) == HYPERSWARM_OK);
  uv_sem_wait(&step);
  hyperswarm_options_t options = {.size = sizeof(options), .bootstrap = bootstrap, .host = "127.0.0.1"};
  EXPECT(hyperswarm_create(&options, &home) == HYPERSWARM_OK);
  EXPECT(hyperswarm_create(&options, &away) == HYPERSWARM_OK);
  hyperswarm_server_options_t listen = {
    .size = sizeof(listen), .on_listening = on_listening, .on_connection = on_connection};
  hyperswarm_server_t *server;
  EXPECT(hyperswarm_server_listen(home, &listen, &server) == HYPERSWARM_OK);
  uv_sem_wait(&step);
  EXPECT(hyperswarm_server_public_key(server, key) == HYPERSWARM_OK);
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_open = on_open, .on_close = on_close};
  EXPECT(hyperswarm_connect(away, key, NULL, &callbacks, &connection) == HYPERSWARM_OK);
  uv_sem_wait(&step);

  uv_thread_t threads[THREADS];
  for (unsigned index = 0; index < THREADS; index++) {
    EXPECT(uv_thread_create(&threads[index], hammer, (void *) (uintptr_t) (index * 3)) == 0);
  }
  // Until it has worked for a while.
  uint64_t seen = 0;
  while (seen < 2000) {
    uv_sleep(1);
    uv_mutex_lock(&mutex);
    seen = messages;
    uv_mutex_unlock(&mutex);
  }
  EXPECT(hyperswarm_destroy(away, 0, on_destroyed, NULL) == HYPERSWARM_OK);
  uv_sem_wait(&step);
  for (unsigned index = 0; index < THREADS; index++) uv_thread_join(&threads[index]);
  EXPECT(hyperswarm_destroy(home, 0, on_destroyed, NULL) == HYPERSWARM_OK);
  uv_sem_wait(&step);
  EXPECT(hyperswarm_testnet_destroy(testnet, on_destroyed, NULL) == HYPERSWARM_OK);
  uv_sem_wait(&step);
  EXPECT(unexpected == 0 && closes == 1);
  EXPECT(accepted == completed && accepted > 1000);
  EXPECT(hyperswarm_handle_count() == 0);
  printf("abi: %llu calls of %d threads completed\n", (unsigned long long) completed, THREADS);
  uv_sem_destroy(&step);
  uv_mutex_destroy(&mutex);
  return failures;
}
