// A request of one's own: one node of the network answers what another one asks. Here both are in one process, on a
// network of their own.
//
//   cc commands.c $(pkg-config --cflags --libs hyperswarm) -lpthread -o commands && ./commands
#include <hyperswarm.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#define REVERSE (HYPERSWARM_FIRST_FREE_COMMAND + 7) // both sides have to agree on the number
#define ERROR_TOO_LONG 16                           // errors of applications begin here

static sem_t step;
static char entrance[256];
static int failure;

static void on_network(hyperswarm_testnet_t *network, int status, const char *bootstrap, void *user_data) {
  (void) network, (void) user_data;
  snprintf(entrance, sizeof(entrance), "%s", bootstrap != NULL ? bootstrap : "");
  if (status != HYPERSWARM_OK) failure = status;
  sem_post(&step);
}

static void on_request(
  hyperswarm_t *swarm, hyperswarm_incoming_t *incoming, const hyperswarm_incoming_request_t *request, void *user_data) {
  (void) swarm, (void) user_data;
  uint8_t turned[64];
  hyperswarm_reply_t reply = {.size = sizeof(reply)};
  if (request->length > sizeof(turned)) {
    reply.error = ERROR_TOO_LONG;
  } else {
    for (size_t index = 0; index < request->length; index++) {
      turned[index] = request->value[request->length - 1 - index];
    }
    reply.value = turned;
    reply.length = request->length;
  }
  hyperswarm_incoming_reply(incoming, &reply);
}

static void on_answer(hyperswarm_t *swarm, int status, const hyperswarm_answer_t *answer, void *user_data) {
  (void) swarm, (void) user_data;
  if (status != HYPERSWARM_OK) {
    failure = status;
  } else if (answer->error != 0) {
    printf("error %llu\n", (unsigned long long) answer->error);
  } else {
    printf("%.*s\n", (int) answer->length, (const char *) answer->value);
  }
  sem_post(&step);
}

static void ask(hyperswarm_t *swarm, const char *address, const void *value, size_t length) {
  hyperswarm_request_options_t options = {.size = sizeof(options), .command = REVERSE};
  options.value = value;
  options.length = length;
  int status = hyperswarm_request(swarm, address, &options, on_answer, NULL);
  if (status == HYPERSWARM_OK) sem_wait(&step);
}

static void on_gone(void *user_data) {
  (void) user_data;
  sem_post(&step);
}

int main(void) {
  sem_init(&step, 0, 0);
  hyperswarm_testnet_t *network;
  int status = hyperswarm_testnet_create(NULL, 4, on_network, NULL, &network);
  if (status != HYPERSWARM_OK) return fprintf(stderr, "%s\n", hyperswarm_strerror(status)), 1;
  sem_wait(&step);

  hyperswarm_options_t options = {.size = sizeof(options), .bootstrap = entrance, .host = "127.0.0.1"};
  hyperswarm_t *served, *asking;
  status = hyperswarm_create(&options, &served);
  if (status == HYPERSWARM_OK) status = hyperswarm_create(&options, &asking);
  if (status == HYPERSWARM_OK) status = hyperswarm_serve(served, REVERSE, on_request, NULL);
  if (status != HYPERSWARM_OK) return fprintf(stderr, "%s\n", hyperswarm_strerror(status)), 1;
  uint16_t port;
  char address[32];
  hyperswarm_local_port(served, &port);
  snprintf(address, sizeof(address), "127.0.0.1:%u", port);
  ask(asking, address, "stressed", strlen("stressed"));
  static const char zeros[100];
  ask(asking, address, zeros, sizeof(zeros));

  hyperswarm_destroy(asking, 0, on_gone, NULL);
  sem_wait(&step);
  hyperswarm_destroy(served, 0, on_gone, NULL);
  sem_wait(&step);
  hyperswarm_testnet_destroy(network, on_gone, NULL);
  sem_wait(&step);
  if (failure != 0) fprintf(stderr, "%s\n", hyperswarm_strerror(failure));
  return failure != 0;
}
