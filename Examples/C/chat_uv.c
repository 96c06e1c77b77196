// The chat room of chat.c inside a libuv program: one loop, one thread, no lock. The program's own handles (here a pipe
// for standard input) and the swarm live side by side.
//
//   cc chat_uv.c $(pkg-config --cflags --libs hyperswarm libuv) -o chat_uv && ./chat_uv "a room" [host:port,...]
#include <hyperswarm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct member {
  hyperswarm_connection_t *connection;
  char name[HYPERSWARM_HEX_SIZE];
  struct member *next;
};

struct room {
  hyperswarm_t *swarm;
  struct member *members;
  char line[4096]; // what is typed, up to its end
  size_t length;
};

static void on_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  struct member *member = user_data;
  (void) connection;
  printf("%.8s: ", member->name);
  // From a stranger: nothing but text reaches the terminal.
  for (size_t i = 0; i < length; i++) putchar(data[i] < 0x20 || data[i] == 0x7f ? ' ' : data[i]);
  printf("\n");
}

static void on_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct member *member = user_data, **place = &((struct room *) uv_loop_get_data(uv_default_loop()))->members;
  (void) connection;
  printf("%.8s left: %s\n", member->name, hyperswarm_strerror(status));
  while (*place != member) place = &(*place)->next;
  *place = member->next;
  free(member);
}

static void on_connection(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  struct room *room = user_data;
  struct member *member = calloc(1, sizeof(*member));
  (void) swarm;
  if (member == NULL) {
    hyperswarm_connection_destroy(connection);
    return;
  }
  member->connection = connection;
  hyperswarm_key_to_hex(peer->public_key, member->name);
  member->next = room->members;
  room->members = member;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_message = on_message};
  callbacks.on_close = on_close;
  callbacks.user_data = member;
  hyperswarm_connection_set_callbacks(connection, &callbacks);
  printf("%.8s is here\n", member->name);
}

static void say(struct room *room) {
  for (struct member *member = room->members; member != NULL; member = member->next) {
    hyperswarm_connection_write(member->connection, room->line, room->length, NULL, NULL);
  }
  room->length = 0;
}

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  static char data[4096];
  (void) handle, (void) suggested;
  *buffer = uv_buf_init(data, sizeof(data));
}

static void on_typed(uv_stream_t *input, ssize_t count, const uv_buf_t *buffer) {
  struct room *room = input->data;
  if (count < 0) {
    // The end of the input is the end of the program: the loop ends when everything on it is closed.
    uv_close((uv_handle_t *) input, NULL);
    hyperswarm_destroy(room->swarm, 0, NULL, NULL);
    return;
  }
  for (ssize_t i = 0; i < count; i++) {
    if (buffer->base[i] == '\n' || room->length == sizeof(room->line)) say(room);
    if (buffer->base[i] != '\n') room->line[room->length++] = buffer->base[i];
  }
}

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "a room";
  uv_loop_t *loop = uv_default_loop();
  struct room room = {0};
  uv_loop_set_data(loop, &room);
  setvbuf(stdout, NULL, _IOLBF, 0);
  hyperswarm_options_t options = {.size = sizeof(options), .loop = loop, .on_connection = on_connection};
  options.bootstrap = argc > 2 ? argv[2] : NULL;
  options.user_data = &room;
  int status = hyperswarm_create(&options, &room.swarm);
  if (status != HYPERSWARM_OK) {
    fprintf(stderr, "%s %s\n", hyperswarm_strerror(status), hyperswarm_last_error_detail());
    return 1;
  }
  uint8_t topic[HYPERSWARM_KEY_SIZE];
  hyperswarm_hash(name, strlen(name), topic);
  hyperswarm_join(room.swarm, topic, HYPERSWARM_SERVER | HYPERSWARM_CLIENT, NULL, NULL);

  uv_pipe_t input; // a terminal would be a uv_tty_t
  uv_pipe_init(loop, &input, 0);
  input.data = &room;
  uv_pipe_open(&input, 0);
  uv_read_start((uv_stream_t *) &input, on_buffer, on_typed);
  uv_run(loop, UV_RUN_DEFAULT);
  return uv_loop_close(loop) != 0;
}
