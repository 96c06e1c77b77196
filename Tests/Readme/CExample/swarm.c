#include <hyperswarm.h>
#include <uv.h>
#include <stdio.h>
#include <string.h>

static void on_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) connection, (void) user_data;
  printf("%.*s\n", (int) length, (const char *) data);
  fflush(stdout);
}
static void on_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) connection, (void) user_data;
  printf("gone: %s\n", hyperswarm_strerror(status));
}
static void on_connection(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  (void) swarm, (void) peer, (void) user_data;
  hyperswarm_connection_callbacks_t callbacks = {
    .size = sizeof(callbacks), .on_message = on_message, .on_close = on_close};
  hyperswarm_connection_set_callbacks(connection, &callbacks);
  hyperswarm_connection_write(connection, "hello from C", 12, NULL, NULL);
}

// All that run this with the same words meet. A second argument, host:port, enters a private network.
int main(int argc, char **argv) {
  const char *room = argc > 1 ? argv[1] : "a quiet room";
  uv_loop_t *loop = uv_default_loop(); // NULL instead: the swarm gets a thread of its own
  hyperswarm_options_t options = {
    .size = sizeof(options), .loop = loop, .bootstrap = argc > 2 ? argv[2] : NULL, .on_connection = on_connection};
  hyperswarm_t *swarm;
  uint8_t topic[HYPERSWARM_KEY_SIZE];
  int status = hyperswarm_create(&options, &swarm);
  if (status != HYPERSWARM_OK) {
    fprintf(stderr, "%s\n", hyperswarm_strerror(status));
    return 1;
  }
  hyperswarm_hash(room, strlen(room), topic);
  hyperswarm_join(swarm, topic, HYPERSWARM_SERVER | HYPERSWARM_CLIENT, NULL, NULL);
  return uv_run(loop, UV_RUN_DEFAULT);
}
