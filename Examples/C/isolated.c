// A network of one's own inside the process, and a value stored in it: for tests, without a thread or a port to care
// for.
//
//   cc isolated.c $(pkg-config --cflags --libs hyperswarm) -lpthread -o isolated && ./isolated
#include <hyperswarm.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static sem_t step;
static char entrance[256];
static uint8_t stored_under[HYPERSWARM_KEY_SIZE];
static int failure;

static void on_network(hyperswarm_testnet_t *network, int status, const char *bootstrap, void *user_data) {
  (void) network, (void) user_data;
  snprintf(entrance, sizeof(entrance), "%s", bootstrap != NULL ? bootstrap : "");
  if (status != HYPERSWARM_OK) failure = status;
  sem_post(&step);
}

static void on_value(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data) {
  (void) swarm, (void) user_data;
  if (status != HYPERSWARM_OK) {
    failure = status;
  } else if (value->data == NULL) {
    memcpy(stored_under, value->key, sizeof(stored_under));
    printf("stored by %u nodes\n", value->stored);
  } else {
    printf("read %.*s\n", (int) value->length, (const char *) value->data);
  }
  sem_post(&step);
}

static void on_gone(void *user_data) {
  (void) user_data;
  sem_post(&step);
}

int main(void) {
  sem_init(&step, 0, 0);
  hyperswarm_testnet_t *network;
  int status = hyperswarm_testnet_create(NULL, 8, on_network, NULL, &network);
  if (status != HYPERSWARM_OK) return fprintf(stderr, "%s\n", hyperswarm_strerror(status)), 1;
  sem_wait(&step);

  hyperswarm_options_t options = {.size = sizeof(options), .bootstrap = entrance, .host = "127.0.0.1"};
  hyperswarm_t *swarm;
  status = hyperswarm_create(&options, &swarm);
  if (status != HYPERSWARM_OK) return fprintf(stderr, "%s\n", hyperswarm_strerror(status)), 1;
  hyperswarm_immutable_put(swarm, "a value", 7, on_value, NULL);
  sem_wait(&step);
  hyperswarm_immutable_get(swarm, stored_under, on_value, NULL);
  sem_wait(&step);

  hyperswarm_destroy(swarm, 0, on_gone, NULL);
  sem_wait(&step);
  hyperswarm_testnet_destroy(network, on_gone, NULL);
  sem_wait(&step);
  if (failure != 0) fprintf(stderr, "%s\n", hyperswarm_strerror(failure));
  return failure != 0;
}
