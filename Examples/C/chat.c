// A chat room: all that run this with the same words talk with each other. What is typed goes to everyone.
//
//   cc chat.c $(pkg-config --cflags --libs hyperswarm) -lpthread -o chat && ./chat "a room" [host:port,...]
//
// The second argument enters a private network. The swarm has a thread of its own; main reads the terminal.
#include <hyperswarm.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_PEERS 64

// Changed by callbacks on the swarm's thread, read by main.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hyperswarm_connection_t *peers[MAX_PEERS];
static size_t peer_count;

static void print_key(hyperswarm_connection_t *connection) {
  uint8_t key[HYPERSWARM_KEY_SIZE];
  if (hyperswarm_connection_remote_public_key(connection, key) != HYPERSWARM_OK) return;
  for (int i = 0; i < 4; i++) printf("%02x", key[i]);
}

static void on_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) user_data;
  print_key(connection);
  printf(": ");
  // From a stranger: nothing but text reaches the terminal.
  for (size_t i = 0; i < length; i++) putchar(data[i] < 0x20 || data[i] == 0x7f ? ' ' : data[i]);
  printf("\n");
  fflush(stdout);
}

static void on_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) user_data;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < peer_count; i++) {
    if (peers[i] == connection) {
      peers[i] = peers[--peer_count];
      break;
    }
  }
  pthread_mutex_unlock(&lock);
  print_key(connection);
  printf(" left: %s\n", hyperswarm_strerror(status));
  fflush(stdout);
}

static void on_connection(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  (void) swarm, (void) peer, (void) user_data;
  hyperswarm_connection_callbacks_t callbacks = {
    .size = sizeof(callbacks), .on_message = on_message, .on_close = on_close};
  pthread_mutex_lock(&lock);
  int has_room = peer_count < MAX_PEERS;
  if (has_room) peers[peer_count++] = connection;
  pthread_mutex_unlock(&lock);
  if (!has_room) {
    hyperswarm_connection_destroy(connection);
    return;
  }
  hyperswarm_connection_set_callbacks(connection, &callbacks);
  print_key(connection);
  printf(" is here\n");
  fflush(stdout);
}

static void on_gone(void *user_data) {
  int *end = user_data;
  if (write(end[1], "", 1) < 0) perror("pipe");
}

static void say(const char *text, size_t length) {
  if (length == 0) return;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < peer_count; i++) {
    // A peer that does not take what it is sent misses some of it; it does not hold up the others.
    hyperswarm_connection_write(peers[i], text, length, NULL, NULL);
  }
  pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv) {
  const char *room = argc > 1 ? argv[1] : "a room";
  hyperswarm_options_t options = {.size = sizeof(options), .on_connection = on_connection};
  options.bootstrap = argc > 2 ? argv[2] : NULL;
  hyperswarm_t *swarm;
  int status = hyperswarm_create(&options, &swarm);
  if (status != HYPERSWARM_OK) {
    fprintf(stderr, "%s %s\n", hyperswarm_strerror(status), hyperswarm_last_error_detail());
    return 1;
  }
  uint8_t topic[HYPERSWARM_KEY_SIZE];
  hyperswarm_hash(room, strlen(room), topic);
  hyperswarm_join(swarm, topic, HYPERSWARM_SERVER | HYPERSWARM_CLIENT, NULL, NULL);

  char line[4096];
  while (fgets(line, sizeof(line), stdin) != NULL) say(line, strcspn(line, "\n"));

  int end[2];
  char byte;
  if (pipe(end) != 0 || hyperswarm_destroy(swarm, 0, on_gone, end) != HYPERSWARM_OK) return 1;
  return read(end[0], &byte, 1) == 1 ? 0 : 1;
}
