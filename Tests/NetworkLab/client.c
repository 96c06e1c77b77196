// What the network lab needs of the C library. Prints one line per event.
//
//   client announce BOOTSTRAP TOPIC               joins a topic as a server, for ever
//   client topics BOOTSTRAP COUNT NAME            joins as many topics in both roles, for ever
//   client destroy BOOTSTRAP MILLISECONDS FORCE   destroys a swarm so long after its creation
//   client fork BOOTSTRAP                         what a child can do with its parent's swarm and with its own
//   client swarms BOOTSTRAP COUNT                 so many swarms on one loop, nine of ten destroyed in one turn
//   client together BOOTSTRAP COUNT ORDER         so many connections between two nodes of which one is destroyed
//                                                 ORDER: server, client, or windows: the server, to half of whose
//                                                 clients megabytes are under way that they do not read
//   client accept BOOTSTRAP                       a server that ends every connection
//   client alive BOOTSTRAP                        a server that sends an empty message a second
//   client sleep BOOTSTRAP KEY SECONDS            a client with a timeout of 3 s that blocks its loop for so long
#include <uv.h>
#include <hyperswarm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int joined, destroyed, listening, opened, accepted, closed;
static volatile double last_close, last_close_cpu;
static int reset_count;

static double
now (void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

// What this process has worked, which a busy machine does not change.
static double
cpu (void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

static int
wait_for (volatile int *counter, int value, double seconds) {
  double limit = now() + seconds;
  while (*counter < value && now() < limit) usleep(1000);
  return *counter >= value;
}

static void
on_joined (hyperswarm_t *swarm, int status, void *user_data) {
  (void) swarm;
  (void) user_data;
  if (joined++ == 0) printf("joined %s\n", hyperswarm_error_name(status));
}

static void
on_destroyed (void *user_data) {
  (void) user_data;
  destroyed++;
}

static void
on_topic_connection (
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  (void) swarm;
  (void) connection;
  (void) peer;
  (void) user_data;
}

static hyperswarm_t *
create (const char *bootstrap, uv_loop_t *loop) {
  hyperswarm_options_t options = {.size = sizeof(options)};
  options.bootstrap = bootstrap;
  options.loop = loop;
  options.on_connection = on_topic_connection;
  hyperswarm_t *swarm = NULL;
  int status = hyperswarm_create(&options, &swarm);
  if (status) {
    printf("create %s\n", hyperswarm_error_name(status));
    exit(1);
  }
  return swarm;
}

static int
join (hyperswarm_t *swarm, const char *name, unsigned roles) {
  uint8_t topic[HYPERSWARM_KEY_SIZE];
  hyperswarm_hash(name, strlen(name), topic);
  return hyperswarm_join(swarm, topic, roles, on_joined, NULL);
}

static void
print_key (const uint8_t key[HYPERSWARM_KEY_SIZE]) {
  printf("key ");
  for (int i = 0; i < HYPERSWARM_KEY_SIZE; i++) printf("%02x", key[i]);
  printf("\n");
}

// ---- Servers

static void
on_listening (hyperswarm_server_t *server, int status, void *user_data) {
  (void) user_data;
  uint8_t key[HYPERSWARM_KEY_SIZE];
  if (status == 0 && hyperswarm_server_public_key(server, key) == 0) print_key(key);
  listening = 1;
}

static void
on_server_close (hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) connection;
  (void) status;
  (void) user_data;
}

static void
on_message (hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) connection;
  (void) data;
  (void) length;
  (void) user_data;
}

// More than the windows of both sides take.
static void
fill (hyperswarm_connection_t *connection) {
  static const char zeros[1 << 16];
  for (int i = 0; i < 100; i++) {
    if (hyperswarm_connection_write(connection, zeros, sizeof(zeros), NULL, NULL) < 0) return;
  }
}

static void
on_accepted (hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  (void) server;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  callbacks.on_close = on_server_close;
  callbacks.on_message = on_message;
  hyperswarm_connection_set_callbacks(connection, &callbacks);
  const char *mode = user_data;
  if (!strcmp(mode, "accept")) hyperswarm_connection_end(connection);
  if (!strcmp(mode, "fill") && accepted % 2 == 0) fill(connection);
  if (!strcmp(mode, "alive")) hyperswarm_connection_set_keep_alive(connection, 1000);
  accepted++;
}

static hyperswarm_t *
serve (const char *bootstrap, char *mode) {
  hyperswarm_t *swarm = create(bootstrap, NULL);
  hyperswarm_server_options_t options = {.size = sizeof(options)};
  options.on_listening = on_listening;
  options.on_connection = on_accepted;
  options.user_data = mode;
  hyperswarm_server_t *server;
  hyperswarm_server_listen(swarm, &options, &server);
  return swarm;
}

// ---- destroy

static int
time_destroy (const char *bootstrap, int milliseconds, int force) {
  hyperswarm_t *swarm = create(bootstrap, NULL);
  usleep((useconds_t) milliseconds * 1000);
  double begin = now();
  hyperswarm_destroy(swarm, force, on_destroyed, NULL);
  printf(wait_for(&destroyed, 1, 60) ? "destroyed %.3f\n" : "never\n", now() - begin);
  return 0;
}

// ---- fork

static void
on_alarm (int number) {
  (void) number;
  const char text[] = "stuck\n";
  if (write(1, text, sizeof(text) - 1) < 0) _exit(10);
  _exit(9);
}

static void
in_child (hyperswarm_t *swarm, const char *bootstrap, int step) {
  signal(SIGALRM, on_alarm);
  alarm(5);
  joined = destroyed = 0;
  if (step == 0) printf("child join %s\n", hyperswarm_error_name(join(swarm, "child", HYPERSWARM_CLIENT)));
  if (step == 1) printf("child destroy %s\n", hyperswarm_error_name(hyperswarm_destroy(swarm, 1, NULL, NULL)));
  if (step == 2) {
    hyperswarm_t *own = create(bootstrap, NULL);
    printf("child create OK\n");
    hyperswarm_destroy(own, 1, on_destroyed, NULL);
    printf("child destroys its own %s\n", wait_for(&destroyed, 1, 4) ? "OK" : "never");
  }
  fflush(stdout);
  exit(0);
}

static int
fork_children (const char *bootstrap) {
  hyperswarm_t *swarm = create(bootstrap, NULL);
  join(swarm, "parent", HYPERSWARM_CLIENT);
  wait_for(&joined, 1, 20);
  for (int step = 0; step < 4; step++) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) in_child(swarm, bootstrap, step);
    int status = 0;
    waitpid(child, &status, 0);
    printf("step %d ends with %d\n", step, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  }
  joined = 0;
  join(swarm, "again", HYPERSWARM_CLIENT);
  printf("parent join %s\n", wait_for(&joined, 1, 20) ? "OK" : "never");
  hyperswarm_destroy(swarm, 1, on_destroyed, NULL);
  printf("parent destroy %s\n", wait_for(&destroyed, 1, 10) ? "OK" : "never");
  return 0;
}

// ---- together

static void
on_open (hyperswarm_connection_t *connection, void *user_data) {
  (void) connection;
  (void) user_data;
  opened++;
}

static void
on_close (hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) connection;
  (void) user_data;
  reset_count += status == HYPERSWARM_ERR_CONNECTION_RESET;
  last_close = now();
  last_close_cpu = cpu();
  closed++;
}

static void
dial (hyperswarm_t *swarm, const uint8_t key[HYPERSWARM_KEY_SIZE]) {
  uint8_t public_key[HYPERSWARM_KEY_SIZE], secret_key[HYPERSWARM_SECRET_KEY_SIZE];
  hyperswarm_key_pair_generate(public_key, secret_key);
  hyperswarm_connect_options_t options = {.size = sizeof(options)};
  options.secret_key = secret_key;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  callbacks.on_open = on_open;
  callbacks.on_close = on_close;
  hyperswarm_connection_t *connection;
  hyperswarm_connect(swarm, key, &options, &callbacks, &connection);
}

static int
destroy_together (const char *bootstrap, int count, const char *order) {
  char *mode = !strcmp(order, "windows") ? "fill" : "hold";
  hyperswarm_t *server = serve(bootstrap, mode), *client = create(bootstrap, NULL);
  wait_for(&listening, 1, 20);
  uint8_t key[HYPERSWARM_KEY_SIZE];
  hyperswarm_public_key(server, key);
  for (int i = 0; i < count; i++) {
    // At most 50 dials at a time.
    dial(client, key);
    wait_for(&opened, i - 50, 20);
  }
  wait_for(&opened, count, 60);
  wait_for(&accepted, count, 10);
  printf("opened %d accepted %d\n", opened, accepted);
  sleep(1);
  int is_server_first = strcmp(order, "client") != 0;
  double begin = now();
  hyperswarm_destroy(is_server_first ? server : client, 0, on_destroyed, NULL);
  int all = wait_for(&closed, count, 30);
  printf("closed %d last %.3f resets %d%s\n", closed, last_close - begin, reset_count, all ? "" : " MISSING");
  wait_for(&destroyed, 1, 30);
  printf("first %.3f\n", now() - begin);
  begin = now();
  hyperswarm_destroy(is_server_first ? client : server, 0, on_destroyed, NULL);
  wait_for(&destroyed, 2, 30);
  printf("second %.3f handles %zu\n", now() - begin, hyperswarm_handle_count());
  return 0;
}

// ---- swarms

enum { SWARMS_PER_TOPIC = 10 };

static uint8_t stays; // the user data of the swarms that are not destroyed

static void
on_member_connection (
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  (void) swarm;
  (void) peer;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  if (user_data == &stays) {
    callbacks.on_close = on_close;
    accepted++;
  }
  hyperswarm_connection_set_callbacks(connection, &callbacks);
  opened++;
}

static int
run_until (uv_loop_t *loop, volatile int *counter, int value, double seconds) {
  double limit = now() + seconds;
  while (*counter < value && now() < limit && uv_run(loop, UV_RUN_NOWAIT) != 0) {
    if (uv_backend_timeout(loop) != 0) usleep(200);
  }
  return *counter >= value;
}

// Until nothing has opened or closed for 3 s, for half a minute at most.
static void
settle (uv_loop_t *loop) {
  volatile int never = 0;
  for (int i = 0, before = -1; i < 10 && before != opened + closed; i++) {
    before = opened + closed;
    run_until(loop, &never, 1, 3);
  }
}

static volatile int looked_up, records, stale;

static int
on_record (hyperswarm_t *swarm, const hyperswarm_record_t *record, void *user_data) {
  (void) user_data;
  uint8_t own[HYPERSWARM_KEY_SIZE];
  records++;
  if (hyperswarm_public_key(swarm, own) == 0 && memcmp(own, record->public_key, sizeof(own)) != 0) stale++;
  return 0;
}

static void
on_looked_up (hyperswarm_t *swarm, int status, void *user_data) {
  (void) swarm;
  (void) status;
  (void) user_data;
  looked_up++;
}

// What the nodes hold of each topic beside the member that stays.
static void
count_records (uv_loop_t *loop, hyperswarm_t **swarms, int count) {
  for (int i = 0; i < count; i += SWARMS_PER_TOPIC) {
    uint8_t topic[HYPERSWARM_KEY_SIZE];
    char name[32];
    snprintf(name, sizeof(name), "swarms %d", i / SWARMS_PER_TOPIC);
    hyperswarm_hash(name, strlen(name), topic);
    hyperswarm_lookup(swarms[i], topic, on_record, on_looked_up, NULL);
  }
  run_until(loop, &looked_up, count / SWARMS_PER_TOPIC, 30);
  printf("records %d stale %d\n", records, stale);
}

static hyperswarm_t *
make_member (const char *bootstrap, int number) {
  hyperswarm_options_t options = {.size = sizeof(options)};
  options.bootstrap = bootstrap;
  options.loop = uv_default_loop();
  options.on_connection = on_member_connection;
  options.user_data = number % SWARMS_PER_TOPIC == 0 ? &stays : NULL;
  hyperswarm_t *swarm = NULL;
  int status = hyperswarm_create(&options, &swarm);
  if (status) {
    printf("create %s\n", hyperswarm_error_name(status));
    exit(1);
  }
  char name[32];
  snprintf(name, sizeof(name), "swarms %d", number / SWARMS_PER_TOPIC);
  join(swarm, name, HYPERSWARM_SERVER | HYPERSWARM_CLIENT);
  return swarm;
}

static int
destroy_swarms (const char *bootstrap, int count) {
  uv_loop_t *loop = uv_default_loop();
  hyperswarm_t **swarms = calloc((size_t) count, sizeof(*swarms));
  for (int i = 0; i < count; i++) {
    swarms[i] = make_member(bootstrap, i);
    // At most 50 joins at a time.
    run_until(loop, &joined, i - 50, 30);
  }
  run_until(loop, &joined, count, 60);
  int topics = count / SWARMS_PER_TOPIC, ends = topics * SWARMS_PER_TOPIC * (SWARMS_PER_TOPIC - 1);
  run_until(loop, &opened, ends, 60);
  settle(loop);
  // What was closed so far was a second connection of two peers.
  int held = accepted - closed, duplicates = closed;
  reset_count = 0;
  printf("joined %d ends %d of %d held %d\n", joined, opened, ends, held);
  double begin = now(), cpu_begin = cpu();
  for (int i = 0; i < count; i++) {
    if (i % SWARMS_PER_TOPIC != 0) hyperswarm_destroy(swarms[i], 0, on_destroyed, NULL);
  }
  run_until(loop, &closed, duplicates + held, 30);
  double told = last_close - begin, told_cpu = last_close_cpu - cpu_begin;
  run_until(loop, &destroyed, count - topics, 60);
  printf("told %d resets %d last %.3f cpu %.3f\n", closed - duplicates, reset_count, told, told_cpu);
  printf("destroyed %d last %.3f cpu %.3f\n", destroyed, now() - begin, cpu() - cpu_begin);
  count_records(loop, swarms, count);
  for (int i = 0; i < count; i += SWARMS_PER_TOPIC) hyperswarm_destroy(swarms[i], 1, on_destroyed, NULL);
  run_until(loop, &destroyed, count, 30);
  printf("handles %zu\n", hyperswarm_handle_count());
  free(swarms);
  return 0;
}

// ---- sleep

static uv_timer_t timer;
static unsigned sleep_seconds;

static void
block (uv_timer_t *handle) {
  (void) handle;
  printf("blocks for %u s\n", sleep_seconds);
  sleep(sleep_seconds);
  printf("goes on\n");
}

static void
on_sleeper_open (hyperswarm_connection_t *connection, void *user_data) {
  (void) user_data;
  printf("open\n");
  hyperswarm_connection_set_timeout(connection, 3000);
  uv_timer_start(&timer, block, 4000, 0);
}

static void
on_sleeper_close (hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) connection;
  (void) user_data;
  printf("close %s\n", hyperswarm_error_name(status));
}

static int
sleep_in_callback (const char *bootstrap, const char *text, unsigned seconds) {
  uv_loop_t *loop = uv_default_loop();
  hyperswarm_t *swarm = create(bootstrap, loop);
  sleep_seconds = seconds;
  uv_timer_init(loop, &timer);
  uint8_t key[HYPERSWARM_KEY_SIZE];
  for (int i = 0; i < HYPERSWARM_KEY_SIZE; i++) {
    char digits[3] = {text[2 * i], text[2 * i + 1], 0};
    key[i] = (uint8_t) strtoul(digits, NULL, 16);
  }
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks)};
  callbacks.on_open = on_sleeper_open;
  callbacks.on_message = on_message;
  callbacks.on_close = on_sleeper_close;
  hyperswarm_connection_t *connection;
  hyperswarm_connect(swarm, key, NULL, &callbacks, &connection);
  return uv_run(loop, UV_RUN_DEFAULT);
}

static int
is_command (char **argv, const char *name) {
  return !strcmp(argv[1], name);
}

int
main (int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc < 3) return 64;
  if (is_command(argv, "announce") && argc == 4) {
    join(create(argv[2], NULL), argv[3], HYPERSWARM_SERVER);
    for (;;) pause();
  }
  if (is_command(argv, "topics") && argc == 5) {
    hyperswarm_t *swarm = create(argv[2], NULL);
    int count = atoi(argv[3]);
    for (int i = 0; i < count; i++) {
      char name[64];
      snprintf(name, sizeof(name), "topic %.20s %d", argv[4], i);
      join(swarm, name, HYPERSWARM_SERVER | HYPERSWARM_CLIENT);
    }
    wait_for(&joined, count, 60);
    printf("all joined\n");
    for (;;) pause();
  }
  if (is_command(argv, "destroy") && argc == 5) return time_destroy(argv[2], atoi(argv[3]), atoi(argv[4]));
  if (is_command(argv, "fork")) return fork_children(argv[2]);
  if (is_command(argv, "together") && argc == 5) return destroy_together(argv[2], atoi(argv[3]), argv[4]);
  if (is_command(argv, "swarms") && argc == 4) return destroy_swarms(argv[2], atoi(argv[3]));
  if (is_command(argv, "accept") || is_command(argv, "alive")) {
    serve(argv[2], argv[1]);
    for (;;) pause();
  }
  if (is_command(argv, "sleep") && argc == 5) return sleep_in_callback(argv[2], argv[3], (unsigned) atoi(argv[4]));
  return 64;
}
