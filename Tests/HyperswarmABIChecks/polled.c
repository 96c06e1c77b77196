// Swarms in programs without libuv: a descriptor, a timeout, and turns.
#include "harness.h"

#include <poll.h>
#include <pthread.h>

#define THREADS 4

struct polled {
  struct uv_loop_s *loop;
  hyperswarm_t *swarms[2];
  int listening, gone, process_inside, destroy_inside;
  struct peer peers[2];
  const char *bootstrap;
};

static void count_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  struct peer *peer = user_data;
  (void) connection;
  EXPECT(length == 4 && memcmp(data, "turn", 4) == 0);
  peer->messages++;
}

static void connected(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *info, void *user_data) {
  struct polled *polled = user_data;
  (void) info;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_message = count_message};
  callbacks.user_data = &polled->peers[swarm == polled->swarms[1]];
  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_write(connection, "turn", 4, NULL, NULL) >= 0);
  polled->process_inside = hyperswarm_process(polled->loop);
  polled->destroy_inside = hyperswarm_loop_destroy(polled->loop);
}

static void listening(hyperswarm_t *swarm, int status, void *user_data) {
  struct polled *polled = user_data;
  uint8_t key[HYPERSWARM_KEY_SIZE];
  EXPECT(status == HYPERSWARM_OK && swarm == polled->swarms[0]);
  EXPECT(hyperswarm_public_key(swarm, key) == HYPERSWARM_OK);
  EXPECT(hyperswarm_peer_join(polled->swarms[1], key) == HYPERSWARM_OK);
  polled->listening++;
}

// One turn, waiting no longer than the library says. 0: nothing lives on the loop.
static int turn(struct polled *polled) {
  struct pollfd descriptor = {.fd = hyperswarm_loop_fd(polled->loop), .events = POLLIN};
  int timeout = hyperswarm_loop_timeout(polled->loop);
  EXPECT(timeout >= -1 && descriptor.fd >= 0);
  poll(&descriptor, 1, timeout < 0 || timeout > 20000 ? 20000 : timeout);
  int left = hyperswarm_process(polled->loop);
  EXPECT(left == 0 || left == 1);
  return left;
}

// Two swarms on a loop of the calling thread meet; everything happens in turns.
static void meet(struct polled *polled) {
  EXPECT(hyperswarm_loop_create(&polled->loop) == HYPERSWARM_OK);
  EXPECT(hyperswarm_loop_timeout(polled->loop) == -1);
  EXPECT(hyperswarm_process(polled->loop) == 0);
  for (int index = 0; index < 2; index++) {
    hyperswarm_options_t options = {.size = sizeof(options), .loop = polled->loop, .host = "127.0.0.1"};
    options.bootstrap = polled->bootstrap;
    options.on_connection = connected;
    options.user_data = polled;
    EXPECT(hyperswarm_create(&options, &polled->swarms[index]) == HYPERSWARM_OK);
  }
  EXPECT(hyperswarm_loop_destroy(polled->loop) == HYPERSWARM_ERR_LOOP_FAILED);
  EXPECT(hyperswarm_listen(polled->swarms[0], listening, polled) == HYPERSWARM_OK);
  EXPECT(hyperswarm_loop_timeout(polled->loop) == 0);
  int turns = 0;
  while ((polled->peers[0].messages == 0 || polled->peers[1].messages == 0) && turns++ < 5000) turn(polled);
  EXPECT(polled->listening == 1 && polled->peers[0].messages == 1 && polled->peers[1].messages == 1);
  EXPECT(polled->process_inside == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(polled->destroy_inside == HYPERSWARM_ERR_INVALID_ARGUMENT);
  // A program that waits for descriptor and timeout does not spin.
  EXPECT(turns < 2000);
  // The time that a program spends elsewhere counts.
  int wait = 0;
  for (turns = 0; wait < 60 && turns < 1000; turns++) {
    turn(polled);
    wait = hyperswarm_loop_timeout(polled->loop);
  }
  uv_sleep(50);
  EXPECT(wait >= 60 && hyperswarm_loop_timeout(polled->loop) <= wait - 40);
  for (int index = 0; index < 2; index++) {
    EXPECT(hyperswarm_destroy(polled->swarms[index], 1, on_gone, &polled->gone) == HYPERSWARM_OK);
  }
  for (turns = 0; turn(polled) != 0 && turns < 5000; turns++) {}
  EXPECT(polled->gone == 2);
  EXPECT(hyperswarm_loop_destroy(polled->loop) == HYPERSWARM_OK);
  EXPECT(hyperswarm_process(polled->loop) == HYPERSWARM_ERR_BAD_HANDLE);
}

int check_polled_loop(void) {
  struct bench bench;
  bench_start(&bench, 0);
  EXPECT(hyperswarm_loop_create(NULL) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_loop_fd(NULL) == HYPERSWARM_ERR_BAD_HANDLE);
  EXPECT(hyperswarm_loop_timeout(&bench.loop) == HYPERSWARM_ERR_BAD_HANDLE);
  EXPECT(hyperswarm_process(&bench.loop) == HYPERSWARM_ERR_BAD_HANDLE);
  EXPECT(hyperswarm_loop_destroy(&bench.loop) == HYPERSWARM_ERR_BAD_HANDLE);
  return bench_end(&bench);
}

static int ready, gone;
static char bootstrap[128];

static void on_network(hyperswarm_testnet_t *testnet, int status, const char *text, void *user_data) {
  (void) testnet, (void) user_data;
  EXPECT(status == HYPERSWARM_OK);
  if (text != NULL) snprintf(bootstrap, sizeof(bootstrap), "%s", text);
  __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
}

static void network_gone(void *user_data) { __atomic_store_n((int *) user_data, 1, __ATOMIC_RELEASE); }

static void wait_for(int *flag) {
  for (int polls = 0; !__atomic_load_n(flag, __ATOMIC_ACQUIRE) && polls < 3000; polls++) uv_sleep(10);
  EXPECT(__atomic_load_n(flag, __ATOMIC_ACQUIRE));
}

static void *meet_on_thread(void *argument) {
  meet(argument);
  return NULL;
}

static void *off_thread(void *argument) {
  struct uv_loop_s *loop = argument;
  EXPECT(hyperswarm_process(loop) == HYPERSWARM_ERR_WRONG_THREAD);
  EXPECT(hyperswarm_loop_timeout(loop) == HYPERSWARM_ERR_WRONG_THREAD);
  EXPECT(hyperswarm_loop_destroy(loop) == HYPERSWARM_ERR_WRONG_THREAD);
  EXPECT(hyperswarm_loop_fd(loop) >= 0);
  return NULL;
}

// Instances on several threads at once, each with a loop of its own.
int check_polled_threads(void) {
  failures = ready = gone = 0;
  hyperswarm_testnet_t *testnet;
  EXPECT(hyperswarm_testnet_create(NULL, 4, on_network, NULL, &testnet) == HYPERSWARM_OK);
  wait_for(&ready);
  static struct polled polled[THREADS];
  memset(polled, 0, sizeof(polled));
  pthread_t threads[THREADS];
  for (int index = 0; index < THREADS; index++) {
    polled[index].bootstrap = bootstrap;
    EXPECT(pthread_create(&threads[index], NULL, meet_on_thread, &polled[index]) == 0);
  }
  for (int index = 0; index < THREADS; index++) pthread_join(threads[index], NULL);
  struct uv_loop_s *loop;
  EXPECT(hyperswarm_loop_create(&loop) == HYPERSWARM_OK);
  EXPECT(pthread_create(&threads[0], NULL, off_thread, loop) == 0);
  pthread_join(threads[0], NULL);
  EXPECT(hyperswarm_loop_destroy(loop) == HYPERSWARM_OK);
  EXPECT(hyperswarm_testnet_destroy(testnet, network_gone, &gone) == HYPERSWARM_OK);
  wait_for(&gone);
  EXPECT(hyperswarm_handle_count() == 0);
  return failures;
}
