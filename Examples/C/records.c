// A record that its owner changes: stored in the network under a public key, with a number that only goes up. All of it
// on a network inside the process.
//
//   cc records.c $(pkg-config --cflags --libs hyperswarm) -lpthread -o records && ./records
#include <hyperswarm.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static sem_t step;
static char entrance[256];
static int outcome;

static void on_network(hyperswarm_testnet_t *network, int status, const char *bootstrap, void *user_data) {
  (void) network, (void) user_data;
  snprintf(entrance, sizeof(entrance), "%s", bootstrap != NULL ? bootstrap : "");
  outcome = status;
  sem_post(&step);
}

static void on_value(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data) {
  (void) swarm, (void) user_data;
  outcome = status;
  if (status != HYPERSWARM_OK) {
    printf("%s\n", hyperswarm_error_name(status));
  } else if (value->data == NULL) {
    printf("number %llu is with %u nodes\n", (unsigned long long) value->sequence, value->stored);
  } else {
    printf("number %llu: ", (unsigned long long) value->sequence);
    fwrite(value->data, 1, value->length, stdout);
    printf("\n");
  }
  sem_post(&step);
}

static void put(hyperswarm_t *swarm, uint64_t sequence, const char *text) {
  // Signed by the swarm's identity.
  int status = hyperswarm_mutable_put(swarm, NULL, sequence, text, strlen(text), on_value, NULL);
  if (status == HYPERSWARM_OK) sem_wait(&step);
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
  hyperswarm_t *owner, *reader;
  uint8_t key[HYPERSWARM_KEY_SIZE];
  status = hyperswarm_create(&options, &owner);
  if (status == HYPERSWARM_OK) status = hyperswarm_create(&options, &reader);
  if (status != HYPERSWARM_OK) return fprintf(stderr, "%s\n", hyperswarm_strerror(status)), 1;
  hyperswarm_public_key(owner, key);
  put(owner, 1, "the first version");
  put(owner, 2, "the second version");
  put(owner, 1, "too late"); // SEQ_TOO_LOW
  hyperswarm_mutable_get(reader, key, 0, on_value, NULL);
  sem_wait(&step);
  status = outcome;

  hyperswarm_destroy(owner, 1, on_gone, NULL);
  hyperswarm_destroy(reader, 1, on_gone, NULL);
  hyperswarm_testnet_destroy(network, on_gone, NULL);
  for (int gone = 0; gone < 3; gone++) sem_wait(&step);
  return status != HYPERSWARM_OK;
}
