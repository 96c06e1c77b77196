// Echo: one waits under a key, the other connects to it; each line comes back as it was.
//
//   cc echo.c $(pkg-config --cflags --libs hyperswarm) -lpthread -o echo
//   ./echo listen [host:port,...]           prints its key
//   ./echo KEY [host:port,...] < lines      the last argument enters a private network
#include <hyperswarm.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static sem_t step, room;
static int failure;

// ---- The side that waits ----

static void echo_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) user_data;
  // A peer that does not take its echo is not read any further, so that nothing piles up here.
  if (hyperswarm_connection_write(connection, data, length, NULL, NULL) > HYPERSWARM_WRITE_HIGH_WATER) {
    hyperswarm_connection_pause(connection);
  }
}

static void echo_drain(hyperswarm_connection_t *connection, void *user_data) {
  (void) user_data;
  hyperswarm_connection_resume(connection);
}

static void echo_end(hyperswarm_connection_t *connection, void *user_data) {
  (void) user_data;
  hyperswarm_connection_end(connection);
}

static void on_connection(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  (void) server, (void) user_data;
  hyperswarm_connection_callbacks_t callbacks = {
    .size = sizeof(callbacks), .on_message = echo_message, .on_drain = echo_drain, .on_end = echo_end};
  hyperswarm_connection_set_callbacks(connection, &callbacks);
}

static void on_listening(hyperswarm_server_t *server, int status, void *user_data) {
  (void) user_data;
  uint8_t key[HYPERSWARM_KEY_SIZE];
  char text[HYPERSWARM_ZBASE32_SIZE];
  failure = status;
  if (status == HYPERSWARM_OK && hyperswarm_server_public_key(server, key) == HYPERSWARM_OK) {
    hyperswarm_key_to_zbase32(key, text);
    printf("%s\n", text);
    fflush(stdout);
  }
  sem_post(&step);
}

static int serve(hyperswarm_t *swarm) {
  hyperswarm_server_options_t options = {.size = sizeof(options), .on_listening = on_listening};
  options.on_connection = on_connection;
  hyperswarm_server_t *server;
  int status = hyperswarm_server_listen(swarm, &options, &server);
  if (status != HYPERSWARM_OK) return status;
  sem_wait(&step);
  // Until standard input ends.
  while (failure == HYPERSWARM_OK && getchar() != EOF) {}
  return failure;
}

// ---- The side that connects ----

static void print_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) connection, (void) user_data;
  fwrite(data, 1, length, stdout);
}

static void call_drain(hyperswarm_connection_t *connection, void *user_data) {
  (void) connection, (void) user_data;
  sem_post(&room);
}

static void on_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) connection, (void) user_data;
  failure = status;
  sem_post(&room);
  sem_post(&step);
}

static int call(hyperswarm_t *swarm, const char *text) {
  uint8_t key[HYPERSWARM_KEY_SIZE];
  char line[4096];
  hyperswarm_connection_t *connection;
  hyperswarm_connection_callbacks_t callbacks = {
    .size = sizeof(callbacks), .on_message = print_message, .on_drain = call_drain, .on_close = on_close};
  int status = hyperswarm_key_parse(text, key);
  if (status == HYPERSWARM_OK) status = hyperswarm_connect(swarm, key, NULL, &callbacks, &connection);
  if (status != HYPERSWARM_OK) return status;
  // What is written before the connection is open is sent when it opens.
  while (fgets(line, sizeof(line), stdin) != NULL) {
    int64_t queued = hyperswarm_connection_write(connection, line, strlen(line), NULL, NULL);
    if (queued < 0) break; // it closes
    if (queued > HYPERSWARM_WRITE_HIGH_WATER) sem_wait(&room);
  }
  hyperswarm_connection_end(connection);
  sem_wait(&step);
  return failure;
}

static void on_gone(void *user_data) {
  (void) user_data;
  sem_post(&step);
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: echo listen|KEY [host:port,...]\n"), 1;
  sem_init(&step, 0, 0);
  sem_init(&room, 0, 0);
  hyperswarm_options_t options = {.size = sizeof(options), .bootstrap = argc > 2 ? argv[2] : NULL};
  hyperswarm_t *swarm;
  int status = hyperswarm_create(&options, &swarm);
  if (status == HYPERSWARM_OK) {
    status = strcmp(argv[1], "listen") == 0 ? serve(swarm) : call(swarm, argv[1]);
    if (hyperswarm_destroy(swarm, 0, on_gone, NULL) == HYPERSWARM_OK) sem_wait(&step);
  }
  if (status != HYPERSWARM_OK) fprintf(stderr, "%s\n", hyperswarm_strerror(status));
  return status != HYPERSWARM_OK;
}
