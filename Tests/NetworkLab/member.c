// Swarms that do what lines of standard input say: `NUMBER COMMAND [ARGUMENT]`. Prints one line per event, with the
// number of the swarm first. A line "; " is no command: several of them in one line happen in one turn of the loop.
//
//   member BOOTSTRAP
//
//   create, join TOPIC, leave TOPIC, flush, suspend, resume, dial KEY, say TEXT, pause, destroy, force
#include <uv.h>
#include <hyperswarm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SWARMS = 16, CONNECTIONS = 64, LINE = 65536 };

typedef struct {
  hyperswarm_t *handle;
  hyperswarm_connection_t *connections[CONNECTIONS];
} member_t;

typedef struct {
  int number;
  char name[32];
} call_t;

static member_t members[SWARMS];
static const char *bootstrap;
static char input[LINE];
static size_t input_length;

static void
name_of (const uint8_t key[HYPERSWARM_KEY_SIZE], char text[9]) {
  for (int i = 0; i < 4; i++) snprintf(text + 2 * i, 3, "%02x", key[i]);
}

static int
number_of (void *user_data) {
  return (int) ((member_t *) user_data - members);
}

static void
remote_name (hyperswarm_connection_t *connection, char text[9]) {
  uint8_t key[HYPERSWARM_KEY_SIZE] = {0};
  hyperswarm_connection_remote_public_key(connection, key);
  name_of(key, text);
}

static void
on_message (hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  char name[9];
  remote_name(connection, name);
  printf("%d <%s> %.*s\n", number_of(user_data), name, (int) length, (const char *) data);
}

static void
on_close (hyperswarm_connection_t *connection, int status, void *user_data) {
  char name[9];
  remote_name(connection, name);
  member_t *member = user_data;
  for (int i = 0; i < CONNECTIONS; i++) {
    if (member->connections[i] == connection) member->connections[i] = NULL;
  }
  printf("%d closed %s %s\n", number_of(user_data), name, hyperswarm_error_name(status));
}

static void
on_open (hyperswarm_connection_t *connection, void *user_data) {
  char name[9];
  remote_name(connection, name);
  printf("%d open %s\n", number_of(user_data), name);
}

static const hyperswarm_connection_callbacks_t callbacks = {
  .size = sizeof(callbacks), .on_open = on_open, .on_message = on_message, .on_close = on_close};

static void
add (member_t *member, hyperswarm_connection_t *connection) {
  for (int i = 0; i < CONNECTIONS; i++) {
    if (member->connections[i]) continue;
    member->connections[i] = connection;
    return;
  }
}

static void
on_connection (
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  (void) swarm;
  (void) peer;
  hyperswarm_connection_callbacks_t of_member = callbacks;
  of_member.user_data = user_data;
  hyperswarm_connection_set_callbacks(connection, &of_member);
  add(user_data, connection);
  on_open(connection, user_data);
}

static void
on_network (hyperswarm_t *swarm, int is_online, void *user_data) {
  (void) swarm;
  printf("%d %s\n", number_of(user_data), is_online ? "online" : "offline");
}

static void
on_done (hyperswarm_t *swarm, int status, void *user_data) {
  (void) swarm;
  call_t *call = user_data;
  printf("%d %s %s\n", call->number, call->name, hyperswarm_error_name(status));
  free(call);
}

static void
on_destroyed (void *user_data) {
  call_t *call = user_data;
  printf("%d %s OK\n", call->number, call->name);
  free(call);
}

static int
create (member_t *member) {
  hyperswarm_options_t options = {.size = sizeof(options)};
  options.bootstrap = bootstrap;
  options.loop = uv_default_loop();
  options.on_connection = on_connection;
  options.on_network = on_network;
  options.user_data = member;
  int status = hyperswarm_create(&options, &member->handle);
  uint8_t key[HYPERSWARM_KEY_SIZE];
  char name[HYPERSWARM_HEX_SIZE] = "";
  if (status == 0 && hyperswarm_public_key(member->handle, key) == 0) hyperswarm_key_to_hex(key, name);
  printf("%d key %s\n", number_of(member), name);
  return status;
}

static int
dial (member_t *member, const char *text) {
  uint8_t key[HYPERSWARM_KEY_SIZE];
  int status = hyperswarm_key_parse(text, key);
  if (status) return status;
  hyperswarm_connection_callbacks_t of_member = callbacks;
  of_member.user_data = member;
  hyperswarm_connection_t *connection;
  status = hyperswarm_connect(member->handle, key, NULL, &of_member, &connection);
  if (status == 0) add(member, connection);
  return status;
}

static void
each_connection (member_t *member, const char *command, const char *argument) {
  for (int i = 0; i < CONNECTIONS; i++) {
    hyperswarm_connection_t *connection = member->connections[i];
    if (!connection) continue;
    if (!strcmp(command, "say")) hyperswarm_connection_write(connection, argument, strlen(argument), NULL, NULL);
    if (!strcmp(command, "pause")) hyperswarm_connection_pause(connection);
    if (!strcmp(command, "unpause")) hyperswarm_connection_resume(connection);
    if (!strcmp(command, "drop")) hyperswarm_connection_destroy(connection);
  }
}

static int
call_swarm (member_t *member, const char *command, const char *argument, call_t *call) {
  uint8_t topic[HYPERSWARM_KEY_SIZE];
  hyperswarm_hash(argument, strlen(argument), topic);
  hyperswarm_t *swarm = member->handle;
  if (!strcmp(command, "join")) {
    return hyperswarm_join(swarm, topic, HYPERSWARM_SERVER | HYPERSWARM_CLIENT, on_done, call);
  }
  if (!strcmp(command, "leave")) return hyperswarm_leave(swarm, topic, on_done, call);
  if (!strcmp(command, "flush")) return hyperswarm_flush(swarm, 0, on_done, call);
  if (!strcmp(command, "suspend")) return hyperswarm_suspend(swarm, on_done, call);
  if (!strcmp(command, "resume")) return hyperswarm_resume(swarm, on_done, call);
  if (!strcmp(command, "listen")) return hyperswarm_listen(swarm, on_done, call);
  if (!strcmp(command, "destroy")) return hyperswarm_destroy(swarm, 0, on_destroyed, call);
  if (!strcmp(command, "force")) return hyperswarm_destroy(swarm, 1, on_destroyed, call);
  return HYPERSWARM_ERR_INVALID_ARGUMENT;
}

static void
run (char *line) {
  char command[32] = "", argument[256] = "";
  int number = 0;
  if (sscanf(line, "%d %31s %255[^\n]", &number, command, argument) < 2 || number < 0 || number >= SWARMS) return;
  member_t *member = &members[number];
  int status = 0;
  if (!strcmp(command, "create")) {
    status = create(member);
  } else if (!strcmp(command, "dial")) {
    status = dial(member, argument);
  } else if (strstr("say pause unpause drop", command)) {
    each_connection(member, command, argument);
  } else {
    call_t *call = calloc(1, sizeof(*call));
    call->number = number;
    snprintf(call->name, sizeof(call->name), "%s", command);
    status = call_swarm(member, command, argument, call);
    if (status < 0) free(call);
  }
  if (status < 0) printf("%d %s refused %s\n", number, command, hyperswarm_error_name(status));
}

static void
on_input (uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
  (void) buffer;
  if (length < 0) {
    uv_close((uv_handle_t *) stream, NULL);
    return;
  }
  input_length += (size_t) length;
  input[input_length] = 0;
  char *begin = input, *end;
  while ((end = strchr(begin, '\n'))) {
    *end = 0;
    for (char *rest = begin, *part; (part = strsep(&rest, ";"));) run(part);
    begin = end + 1;
  }
  input_length = strlen(begin);
  memmove(input, begin, input_length + 1);
}

static void
allocate (uv_handle_t *handle, size_t size, uv_buf_t *buffer) {
  (void) handle;
  (void) size;
  *buffer = uv_buf_init(input + input_length, (unsigned) (LINE - 1 - input_length));
}

int
main (int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc != 2) return 64;
  bootstrap = argv[1];
  uv_pipe_t pipe;
  uv_pipe_init(uv_default_loop(), &pipe, 0);
  uv_pipe_open(&pipe, 0);
  uv_read_start((uv_stream_t *) &pipe, allocate, on_input);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  printf("ended, %zu handles\n", hyperswarm_handle_count());
  return 0;
}
