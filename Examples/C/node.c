// The node under a swarm: what happens to it, whom it knows, what it counts, and an operation that is given up. All of
// it on a network inside the process.
//
//   cc node.c $(pkg-config --cflags --libs hyperswarm) -lpthread -o node && ./node
#include <hyperswarm.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static sem_t step;
static char entrance[256];
static int failure;

static void on_network(hyperswarm_testnet_t *network, int status, const char *bootstrap, void *user_data) {
  (void) network, (void) user_data;
  snprintf(entrance, sizeof(entrance), "%s", bootstrap != NULL ? bootstrap : "");
  if (status != HYPERSWARM_OK) failure = status;
  sem_post(&step);
}

// Kinds that this program does not know are left alone.
static void on_event(hyperswarm_t *swarm, const hyperswarm_event_t *event, void *user_data) {
  (void) swarm, (void) user_data;
  if (event->kind == HYPERSWARM_EVENT_ONLINE) printf("the network answers\n");
  if (event->kind == HYPERSWARM_EVENT_ADDRESS && event->address != NULL) printf("we are %s\n", event->address);
}

static void on_log(hyperswarm_t *swarm, int level, const char *text, void *user_data) {
  (void) swarm, (void) user_data;
  fprintf(stderr, "%d %s\n", level, text);
}

static void on_done(hyperswarm_t *swarm, int status, void *user_data) {
  (void) swarm, (void) user_data;
  if (status == HYPERSWARM_ERR_CANCELLED) {
    printf("given up\n");
  } else if (status != HYPERSWARM_OK) {
    failure = status;
  }
  sem_post(&step);
}

static void on_node(hyperswarm_t *swarm, const hyperswarm_node_t *node, void *user_data) {
  (void) swarm, (void) user_data;
  printf("close: %s\n", node->address);
}

static void on_pong(hyperswarm_t *swarm, int status, const hyperswarm_pong_t *pong, void *user_data) {
  if (status == HYPERSWARM_OK) printf("%s sees us at %s\n", pong->address, pong->seen_address);
  on_done(swarm, status, user_data);
}

static void on_text(hyperswarm_t *swarm, const char *text, void *user_data) {
  (void) swarm, (void) user_data;
  const char *end = strchr(text, '\n');
  printf("%.*s\n", (int) (end != NULL ? end - text : 0), text);
  sem_post(&step);
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
  options.on_event = on_event;
  options.on_log = on_log;
  options.log_level = HYPERSWARM_LOG_WARNING;
  hyperswarm_t *swarm;
  status = hyperswarm_create(&options, &swarm);
  if (status != HYPERSWARM_OK) return fprintf(stderr, "%s\n", hyperswarm_strerror(status)), 1;
  uint8_t target[HYPERSWARM_KEY_SIZE];
  hyperswarm_hash("anything", strlen("anything"), target);

  hyperswarm_find_node(swarm, target, on_node, on_done, NULL);
  sem_wait(&step);
  char address[64]; // the first one of the entrances
  snprintf(address, sizeof(address), "%.*s", (int) strcspn(entrance, ","), entrance);
  hyperswarm_ping(swarm, address, on_pong, NULL);
  sem_wait(&step);
  hyperswarm_metrics(swarm, on_text, NULL);
  sem_wait(&step);

  // No node is there. The number is that of the last call of this thread.
  hyperswarm_ping(swarm, "127.0.0.1:9", on_pong, NULL);
  hyperswarm_cancel(swarm, hyperswarm_last_operation());
  sem_wait(&step);

  hyperswarm_destroy(swarm, 0, on_gone, NULL);
  sem_wait(&step);
  hyperswarm_testnet_destroy(network, on_gone, NULL);
  sem_wait(&step);
  if (failure != 0) fprintf(stderr, "%s\n", hyperswarm_strerror(failure));
  return failure != 0;
}
