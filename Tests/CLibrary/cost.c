// What a message costs in this interface: how often the heap is asked for memory, for each way to write, both sides
// together. Counted in the whole process, on one loop, by definitions that come before those of the C library.
//
// The bounds are those of an optimised build with some room: an allocation more for each message is found out.
#include <hyperswarm.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
static unsigned long allocations;

void *malloc(size_t size) {
  allocations++;
  return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
  allocations++;
  return __libc_calloc(count, size);
}
void *realloc(void *memory, size_t size) {
  allocations++;
  return __libc_realloc(memory, size);
}

#define MESSAGES 20000
#define BATCH 64
#define LENGTH 1000

struct program {
  struct uv_loop_s *loop;
  hyperswarm_testnet_t *network;
  hyperswarm_t *swarms[2];
  hyperswarm_connection_t *connections[2];
  int count, gone, failed;
  unsigned long received, released;
};

static struct program program;
static uint8_t message[LENGTH];

static void on_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) connection, (void) data, (void) user_data;
  program.received += length == LENGTH;
}

static void on_connection(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  (void) peer, (void) user_data;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_message = on_message};
  hyperswarm_connection_set_callbacks(connection, &callbacks);
  program.connections[swarm == program.swarms[1]] = connection;
  program.count++;
}

static void on_gone(void *user_data) {
  (void) user_data;
  program.gone++;
}
static void on_listening(hyperswarm_t *swarm, int status, void *user_data) {
  (void) user_data;
  uint8_t key[HYPERSWARM_KEY_SIZE];
  program.failed = status;
  hyperswarm_public_key(swarm, key);
  hyperswarm_peer_join(program.swarms[1], key);
}
static void on_network(hyperswarm_testnet_t *network, int status, const char *bootstrap, void *user_data) {
  (void) network, (void) user_data;
  hyperswarm_options_t options = {.size = sizeof(options), .loop = program.loop, .bootstrap = bootstrap};
  options.host = "127.0.0.1";
  options.on_connection = on_connection;
  for (int i = 0; i < 2 && status == HYPERSWARM_OK; i++) status = hyperswarm_create(&options, &program.swarms[i]);
  if (status == HYPERSWARM_OK) status = hyperswarm_listen(program.swarms[0], on_listening, NULL);
  program.failed = status;
}

static void turn(void) {
  struct pollfd ready = {.fd = hyperswarm_loop_fd(program.loop), .events = POLLIN};
  poll(&ready, 1, hyperswarm_loop_timeout(program.loop));
  hyperswarm_process(program.loop);
}

static void on_released(hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) connection, (void) user_data;
  program.released += status == HYPERSWARM_OK;
}

enum kind { PLAIN, ACKNOWLEDGED, BORROWED };

static void write_one(enum kind kind) {
  hyperswarm_connection_t *connection = program.connections[1];
  switch (kind) {
  case PLAIN: hyperswarm_connection_write(connection, message, LENGTH, NULL, NULL); break;
  case ACKNOWLEDGED: hyperswarm_connection_write(connection, message, LENGTH, on_released, NULL); break;
  case BORROWED: hyperswarm_connection_write_borrowed(connection, message, LENGTH, on_released, NULL); break;
  }
}

// Per message, a batch in flight at a time.
static double cost(enum kind kind, unsigned long count) {
  unsigned long before = 0, sent = 0;
  program.received = 0;
  while (sent < count) {
    // Not counted: what the first ones make once.
    if (sent == BATCH * 10) before = allocations;
    for (int i = 0; i < BATCH; i++, sent++) write_one(kind);
    while (program.received < sent) turn();
  }
  return (double) (allocations - before) / (double) (sent - BATCH * 10);
}

int main(void) {
  static const struct {
    const char *name;
    double most;
  } kinds[] = {{"plain", 0.2}, {"acknowledged", 8}, {"borrowed", 3}};
  if (hyperswarm_loop_create(&program.loop) != HYPERSWARM_OK) return 1;
  hyperswarm_testnet_create(program.loop, 2, on_network, NULL, &program.network);
  while (program.count < 2 && program.failed == 0) turn();
  int bad = program.failed != 0;
  for (int kind = PLAIN; kind <= BORROWED && !bad; kind++) {
    double per_message = cost((enum kind) kind, MESSAGES);
    printf("%s: %.2f allocations a message of %d bytes, both sides\n", kinds[kind].name, per_message, LENGTH);
    bad += per_message > kinds[kind].most;
  }
  for (int i = 0; i < 2; i++) hyperswarm_destroy(program.swarms[i], 1, on_gone, NULL);
  while (program.gone < 2) turn();
  hyperswarm_testnet_destroy(program.network, on_gone, NULL);
  while (hyperswarm_process(program.loop) > 0) turn();
  return bad != 0 || hyperswarm_loop_destroy(program.loop) != HYPERSWARM_OK;
}
