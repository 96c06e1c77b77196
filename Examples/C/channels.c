// Two protocols on one connection: lines come back in capitals on one channel, another one says how many there were.
//
//   cc channels.c $(pkg-config --cflags --libs hyperswarm) -lpthread -o channels
//   ./channels listen [host:port,...]           prints its key
//   ./channels KEY [host:port,...] < lines      the last argument enters a private network
//
// A peer in JavaScript that uses `protomux` can be either side.
#include <ctype.h>
#include <hyperswarm.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

enum { ASK, TELL }; // the messages of "count/1"

static sem_t step, room;
static int failure;
static unsigned lines; // of all peers; changed on the swarm's thread only

// ---- The side that waits ----

static void shout(hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  char line[4096];
  (void) user_data;
  if (length > sizeof(line)) length = sizeof(line);
  for (size_t i = 0; i < length; i++) line[i] = (char) toupper(data[i]);
  lines++;
  // A peer that does not take its lines is not read any further, so that nothing piles up here.
  if (hyperswarm_channel_send(channel, type, line, length) > HYPERSWARM_WRITE_HIGH_WATER) {
    hyperswarm_connection_pause(hyperswarm_mux_connection(hyperswarm_channel_mux(channel)));
  }
}

static void tell(hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  char text[16];
  (void) type, (void) data, (void) length, (void) user_data;
  hyperswarm_channel_send(channel, TELL, text, (size_t) snprintf(text, sizeof(text), "%u", lines));
}

static void accept_channel(hyperswarm_mux_t *mux, const char *protocol, hyperswarm_message_cb on_message) {
  hyperswarm_channel_options_t options = {.size = sizeof(options), .protocol = protocol};
  hyperswarm_channel_t *channel;
  if (hyperswarm_channel_create(mux, &options, &channel) != HYPERSWARM_OK) return;
  hyperswarm_channel_add_message(channel, on_message, NULL); // the message of number 0
  hyperswarm_channel_open(channel, NULL, 0);
}

// The peer has opened a channel: what is not opened here is rejected.
static void offer_shout(hyperswarm_mux_t *mux, const uint8_t *id, size_t id_length, void *user_data) {
  (void) id, (void) id_length, (void) user_data;
  accept_channel(mux, "shout/1", shout);
}
static void offer_count(hyperswarm_mux_t *mux, const uint8_t *id, size_t id_length, void *user_data) {
  (void) id, (void) id_length, (void) user_data;
  accept_channel(mux, "count/1", tell);
}

static void go_on(hyperswarm_mux_t *mux, void *user_data) {
  (void) user_data;
  hyperswarm_connection_resume(hyperswarm_mux_connection(mux));
}

static void on_connection(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  (void) server, (void) user_data;
  hyperswarm_mux_options_t options = {.size = sizeof(options), .on_drain = go_on};
  hyperswarm_mux_t *mux;
  if (hyperswarm_mux_create(connection, &options, &mux) != HYPERSWARM_OK) return;
  hyperswarm_mux_pair(mux, "shout/1", NULL, 0, offer_shout, NULL);
  hyperswarm_mux_pair(mux, "count/1", NULL, 0, offer_count, NULL);
  hyperswarm_mux_start(mux);
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

static void print_line(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  (void) channel, (void) type, (void) user_data;
  fwrite(data, 1, length, stdout);
}

static void print_count(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  (void) user_data;
  if (type != TELL) return;
  printf("%.*s lines\n", (int) length, (const char *) data);
  // Everything has come: ends the connection, too.
  hyperswarm_mux_close(hyperswarm_channel_mux(channel));
}

static void has_room(hyperswarm_mux_t *mux, void *user_data) {
  (void) mux, (void) user_data;
  sem_post(&room);
}

static void on_mux_close(hyperswarm_mux_t *mux, int status, void *user_data) {
  (void) mux, (void) user_data;
  failure = status;
  sem_post(&room);
  sem_post(&step);
}

static hyperswarm_channel_t *open_channel(
  hyperswarm_mux_t *mux, const char *protocol, hyperswarm_message_cb on_message) {
  hyperswarm_channel_options_t options = {.size = sizeof(options), .protocol = protocol, .on_message = on_message};
  hyperswarm_channel_t *channel;
  hyperswarm_channel_create(mux, &options, &channel);
  hyperswarm_channel_open(channel, NULL, 0);
  return channel;
}

static int call(hyperswarm_t *swarm, const char *text) {
  uint8_t key[HYPERSWARM_KEY_SIZE];
  char line[4096];
  hyperswarm_connection_t *connection;
  hyperswarm_mux_t *mux;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  hyperswarm_mux_options_t options = {.size = sizeof(options), .on_drain = has_room, .on_close = on_mux_close};
  int status = hyperswarm_key_parse(text, key);
  if (status == HYPERSWARM_OK) status = hyperswarm_connect(swarm, key, NULL, &callbacks, &connection);
  if (status == HYPERSWARM_OK) status = hyperswarm_mux_create(connection, &options, &mux);
  if (status != HYPERSWARM_OK) return status;
  // What is sent before the connection, or the peer's channel, is open waits for it.
  hyperswarm_channel_t *shouting = open_channel(mux, "shout/1", print_line);
  hyperswarm_channel_t *counting = open_channel(mux, "count/1", print_count);
  hyperswarm_mux_start(mux);
  while (fgets(line, sizeof(line), stdin) != NULL) {
    int64_t queued = hyperswarm_channel_send(shouting, 0, line, strlen(line));
    if (queued < 0) break; // it closes
    if (queued > HYPERSWARM_WRITE_HIGH_WATER) sem_wait(&room);
  }
  hyperswarm_channel_send(counting, ASK, NULL, 0);
  sem_wait(&step);
  return failure;
}

static void on_gone(void *user_data) {
  (void) user_data;
  sem_post(&step);
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: channels listen|KEY [host:port,...]\n"), 1;
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
