// A program with work of its own on its libuv loop, beside many connections of a swarm on the same loop: how late its
// timers of a millisecond are, and how long a client of its TCP server waits.
//
//   host [CONNECTIONS [SECONDS [BOUND]]]    1000, 10, none; BOUND: milliseconds that both 99th percentiles must keep
//
// `host 0` shows what the machine itself adds. Each connection sends 200 bytes a second, which come back. The peers are
// on other threads, as is the TCP client.
#include <arpa/inet.h>
#include <hyperswarm.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define PEERS 4
#define SAMPLES 200000
#define DIALS 4 // of a peer at a time

struct samples {
  double milliseconds[SAMPLES];
  int count;
};

static struct {
  uv_loop_t loop;
  uv_timer_t timer, sender;
  uv_tcp_t server;
  hyperswarm_testnet_t *network;
  hyperswarm_t *swarm, *peers[PEERS];
  hyperswarm_server_t *listener;
  char entrance[128];
  uint8_t key[HYPERSWARM_KEY_SIZE];
  int wanted, accepted, gone;
  volatile int is_measuring;
  uint64_t due, echoed;
  struct samples late, waited;
} host;

// Of the peers, changed on their threads.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hyperswarm_connection_t *connections[65536];
static int opened, dialled, failed;
static volatile int is_over;
static sem_t ready;
static uint16_t tcp_port;

static void take(struct samples *samples, double milliseconds) {
  if (host.is_measuring && samples->count < SAMPLES) samples->milliseconds[samples->count++] = milliseconds;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

static double report(const char *name, struct samples *samples) {
  if (samples->count == 0) return 1e9;
  qsort(samples->milliseconds, (size_t) samples->count, sizeof(double), compare);
  double p99 = samples->milliseconds[samples->count * 99 / 100];
  printf(
    "%s: p50 %.2f ms, p99 %.2f ms, worst %.2f ms of %d\n", name, samples->milliseconds[samples->count / 2], p99,
    samples->milliseconds[samples->count - 1], samples->count);
  return p99;
}

// ---- The program's own work ---------------------------------------------------------------------------------------

static void on_timer(uv_timer_t *timer) {
  uint64_t now = uv_hrtime();
  take(&host.late, now > host.due ? (double) (now - host.due) / 1e6 : 0);
  host.due = now + 1000000;
  uv_timer_start(timer, on_timer, 1, 0);
}

static void on_written(uv_write_t *request, int status) {
  (void) status;
  free(request);
}
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  static char memory[4096];
  (void) handle, (void) suggested;
  *buffer = uv_buf_init(memory, sizeof(memory));
}
static void on_closed(uv_handle_t *handle) { free(handle); }
static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
  if (length < 0) {
    uv_close((uv_handle_t *) stream, on_closed);
    return;
  }
  uv_write_t *request = malloc(sizeof(*request) + (size_t) length);
  memcpy(request + 1, buffer->base, (size_t) length);
  uv_buf_t back = uv_buf_init((char *) (request + 1), (unsigned) length);
  uv_write(request, stream, &back, 1, on_written);
}
static void on_client(uv_stream_t *server, int status) {
  uv_tcp_t *client = malloc(sizeof(*client));
  uv_tcp_init(server->loop, client);
  if (status != 0 || uv_accept(server, (uv_stream_t *) client) != 0) return;
  uv_read_start((uv_stream_t *) client, on_alloc, on_read);
}

static void start_tcp(void) {
  struct sockaddr_in address;
  int length = sizeof(address);
  uv_tcp_init(&host.loop, &host.server);
  uv_ip4_addr("127.0.0.1", 0, &address);
  uv_tcp_bind(&host.server, (const struct sockaddr *) &address, 0);
  uv_listen((uv_stream_t *) &host.server, 16, on_client);
  uv_tcp_getsockname(&host.server, (struct sockaddr *) &address, &length);
  tcp_port = ntohs(address.sin_port);
}

// A client on a thread of its own: one request after the other, a millisecond apart.
static void *be_client(void *unused) {
  (void) unused;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(tcp_port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int file = socket(AF_INET, SOCK_STREAM, 0);
  if (file < 0 || connect(file, (const struct sockaddr *) &address, sizeof(address)) != 0) return NULL;
  char bytes[16] = {0};
  while (!is_over) {
    uint64_t start = uv_hrtime();
    if (write(file, bytes, sizeof(bytes)) != sizeof(bytes) || read(file, bytes, sizeof(bytes)) <= 0) break;
    take(&host.waited, (double) (uv_hrtime() - start) / 1e6);
    usleep(1000);
  }
  close(file);
  return NULL;
}

// ---- The swarm on the same loop -----------------------------------------------------------------------------------

static void on_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) user_data;
  host.echoed++;
  hyperswarm_connection_write(connection, data, length, NULL, NULL);
}
static void on_connection(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  (void) server, (void) user_data;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_message = on_message};
  hyperswarm_connection_set_callbacks(connection, &callbacks);
  host.accepted++;
}

// ---- Its peers ----------------------------------------------------------------------------------------------------

static void dial(hyperswarm_t *swarm);

static void peer_open(hyperswarm_connection_t *connection, void *user_data) {
  pthread_mutex_lock(&lock);
  connections[opened++] = connection;
  pthread_mutex_unlock(&lock);
  dial(user_data);
}
// One that broke is a failure; one that did not come about is dialled again.
static void peer_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  int was_open = 0;
  pthread_mutex_lock(&lock);
  for (int index = 0; index < opened && !was_open; index++) {
    if (connections[index] != connection) continue;
    connections[index] = connections[--opened];
    was_open = 1;
  }
  failed += was_open && status != HYPERSWARM_OK && !is_over;
  dialled -= !was_open;
  pthread_mutex_unlock(&lock);
  if (!was_open && !is_over) dial(user_data);
}
static void peer_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) connection, (void) data, (void) length, (void) user_data;
}

static void dial(hyperswarm_t *swarm) {
  pthread_mutex_lock(&lock);
  int is_wanted = dialled < host.wanted;
  dialled += is_wanted;
  pthread_mutex_unlock(&lock);
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .user_data = swarm};
  callbacks.on_open = peer_open;
  callbacks.on_message = peer_message;
  callbacks.on_close = peer_close;
  hyperswarm_connection_t *connection;
  if (!is_wanted) return;
  hyperswarm_connect(swarm, host.key, NULL, &callbacks, &connection);
}

// A part of the connections every ten milliseconds, each of them once a second.
static void *send_all(void *unused) {
  (void) unused;
  static const uint8_t message[200];
  for (int turn = 0; !is_over; turn = (turn + 1) % 100) {
    pthread_mutex_lock(&lock);
    for (int index = turn; index < opened; index += 100) {
      hyperswarm_connection_write(connections[index], message, sizeof(message), NULL, NULL);
    }
    pthread_mutex_unlock(&lock);
    usleep(10000);
  }
  return NULL;
}

static void on_listening(hyperswarm_server_t *server, int status, void *user_data) {
  (void) user_data;
  if (status != HYPERSWARM_OK) exit(fprintf(stderr, "%s\n", hyperswarm_strerror(status)) > 0);
  hyperswarm_server_public_key(server, host.key);
  for (int index = 0; index < PEERS; index++) {
    hyperswarm_options_t options = {.size = sizeof(options), .bootstrap = host.entrance, .host = "127.0.0.1"};
    if (hyperswarm_create(&options, &host.peers[index]) != HYPERSWARM_OK) exit(1);
    for (int dials = 0; dials < DIALS; dials++) dial(host.peers[index]);
  }
}

static void on_network(hyperswarm_testnet_t *network, int status, const char *bootstrap, void *user_data) {
  (void) network, (void) user_data;
  if (status == HYPERSWARM_OK) snprintf(host.entrance, sizeof(host.entrance), "%s", bootstrap);
  sem_post(&ready);
}
static void on_gone(void *user_data) {
  (void) user_data;
  pthread_mutex_lock(&lock);
  host.gone++;
  pthread_mutex_unlock(&lock);
}

static void start_swarm(void) {
  hyperswarm_options_t options = {.size = sizeof(options), .host = "127.0.0.1", .loop = &host.loop};
  hyperswarm_server_options_t server = {.size = sizeof(server), .on_listening = on_listening};
  server.on_connection = on_connection;
  hyperswarm_testnet_create(NULL, 3, on_network, NULL, &host.network);
  sem_wait(&ready);
  options.bootstrap = host.entrance;
  if (hyperswarm_create(&options, &host.swarm) != HYPERSWARM_OK) exit(1);
  if (hyperswarm_server_listen(host.swarm, &server, &host.listener) != HYPERSWARM_OK) exit(1);
}

static int count_opened(void) {
  pthread_mutex_lock(&lock);
  int count = opened;
  pthread_mutex_unlock(&lock);
  return count;
}

static int count_gone(void) {
  pthread_mutex_lock(&lock);
  int count = host.gone;
  pthread_mutex_unlock(&lock);
  return count;
}

// The timer of the program keeps the loop from sleeping longer.
static void run_until(uint64_t end) {
  while (uv_hrtime() < end) uv_run(&host.loop, UV_RUN_ONCE);
}

int main(int argc, char **argv) {
  host.wanted = argc > 1 ? atoi(argv[1]) : 1000;
  double seconds = argc > 2 ? atof(argv[2]) : 10, bound = argc > 3 ? atof(argv[3]) : 1e9;
  if (host.wanted < 0 || host.wanted > 65000) return 2;
  pthread_t client, sender;
  sem_init(&ready, 0, 0);
  uv_loop_init(&host.loop);
  start_tcp();
  start_swarm();
  uint64_t end = uv_hrtime() + 150000000000ull;
  while ((count_opened() < host.wanted || host.accepted < host.wanted) && uv_hrtime() < end) {
    uv_run(&host.loop, UV_RUN_ONCE);
  }
  printf("%d connections of %d, %d failed\n", count_opened(), host.wanted, failed);
  uv_timer_init(&host.loop, &host.timer);
  host.due = uv_hrtime() + 1000000;
  uv_timer_start(&host.timer, on_timer, 1, 0);
  pthread_create(&client, NULL, be_client, NULL);
  pthread_create(&sender, NULL, send_all, NULL);
  run_until(uv_hrtime() + 1000000000ull);
  host.is_measuring = 1;
  uint64_t before = host.echoed;
  run_until(uv_hrtime() + (uint64_t) (seconds * 1e9));
  host.is_measuring = 0;
  printf("%.0f messages a second of the swarm\n", (double) (host.echoed - before) / seconds);
  double late = report("timers of 1 ms, late by", &host.late), waited = report("TCP, there and back", &host.waited);
  int bad = count_opened() < host.wanted || failed > 0 || late > bound || waited > bound;
  is_over = 1;
  pthread_join(sender, NULL);
  run_until(uv_hrtime() + 100000000);
  pthread_join(client, NULL);
  hyperswarm_destroy(host.swarm, 1, on_gone, NULL);
  for (int index = 0; index < PEERS; index++) hyperswarm_destroy(host.peers[index], 1, on_gone, NULL);
  hyperswarm_testnet_destroy(host.network, on_gone, NULL);
  while (count_gone() < PEERS + 2) run_until(uv_hrtime() + 10000000);
  return bad;
}
