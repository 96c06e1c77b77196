// A program that was compiled against the header of version 0.1.0: its structs as they were then. What is added to the
// header later is not added here.
#include "harness.h"

struct options_0_1_0 {
  size_t size;
  void *loop;
  const uint8_t *secret_key;
  const char *bootstrap;
  const char *host;
  uint16_t port, flags;
  int32_t keep_alive;
  uint32_t max_peers, max_parallel, max_connections, max_client_connections, max_server_connections;
  const uint8_t *relays;
  size_t relay_count;
  void (*on_connection)(hyperswarm_t *, hyperswarm_connection_t *, const hyperswarm_peer_info_t *, void *);
  int (*firewall)(hyperswarm_t *, const uint8_t *, const char *, void *);
  void *user_data;
};

struct callbacks_0_1_0 {
  size_t size;
  void (*on_open)(hyperswarm_connection_t *, void *);
  void (*on_message)(hyperswarm_connection_t *, const uint8_t *, size_t, void *);
  void (*on_datagram)(hyperswarm_connection_t *, const uint8_t *, size_t, void *);
  void (*on_drain)(hyperswarm_connection_t *, void *);
  void (*on_end)(hyperswarm_connection_t *, void *);
  void (*on_close)(hyperswarm_connection_t *, int, void *);
  void *user_data;
};

struct connect_options_0_1_0 {
  size_t size;
  const uint8_t *secret_key;
  const char *relay_addresses;
  const uint8_t *relays;
  size_t relay_count;
  uint32_t deadline, flags;
};

struct server_options_0_1_0 {
  size_t size;
  const uint8_t *secret_key;
  const uint8_t *relays;
  size_t relay_count;
  uint32_t flags;
  void (*on_listening)(hyperswarm_server_t *, int, void *);
  void (*on_connection)(hyperswarm_server_t *, hyperswarm_connection_t *, void *);
  int (*firewall)(hyperswarm_server_t *, const uint8_t *, const char *, void *);
  void (*on_close)(hyperswarm_server_t *, void *);
  void *user_data;
};

static void on_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) connection, (void) status;
  ++*(int *) user_data;
}

static void on_server_close(hyperswarm_server_t *server, void *user_data) {
  (void) server;
  ++*(int *) user_data;
}

// Memory behind the structs is not theirs: a library that reads it finds what no field may be.
struct guarded {
  union {
    struct options_0_1_0 options;
    struct callbacks_0_1_0 callbacks;
    struct connect_options_0_1_0 connect;
    struct server_options_0_1_0 server;
  } older;
  uint8_t behind[256];
};

static struct guarded *older(size_t size) {
  static struct guarded room[4];
  static int next;
  struct guarded *made = &room[next++ % 4];
  memset(made, 0xff, sizeof(*made));
  memset(made, 0, size);
  made->older.options.size = size;
  return made;
}

int check_older_programs(void) {
  struct bench bench;
  bench_start(&bench, 0);
  hyperswarm_t *swarm;
  struct options_0_1_0 *options = &older(sizeof(*options))->older.options;
  options->loop = &bench.loop;
  options->bootstrap = "";
  options->user_data = &bench;
  EXPECT(hyperswarm_create((const hyperswarm_options_t *) options, &swarm) == HYPERSWARM_OK);
  EXPECT(hyperswarm_user_data(swarm) == &bench);

  int closed = 0, servers_closed = 0;
  uint8_t key[HYPERSWARM_KEY_SIZE] = {1};
  hyperswarm_connection_t *connection;
  hyperswarm_server_t *server;
  struct callbacks_0_1_0 *callbacks = &older(sizeof(*callbacks))->older.callbacks;
  callbacks->on_close = on_close;
  callbacks->user_data = &closed;
  struct connect_options_0_1_0 *connect = &older(sizeof(*connect))->older.connect;
  connect->deadline = 1000;
  EXPECT(
    hyperswarm_connect(
      swarm, key, (const hyperswarm_connect_options_t *) connect, (const hyperswarm_connection_callbacks_t *) callbacks,
      &connection)
    == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_user_data(connection) == &closed);
  struct server_options_0_1_0 *listen = &older(sizeof(*listen))->older.server;
  listen->on_close = on_server_close;
  listen->user_data = &servers_closed;
  EXPECT(hyperswarm_server_listen(swarm, (const hyperswarm_server_options_t *) listen, &server) == HYPERSWARM_OK);
  EXPECT(hyperswarm_server_user_data(server) == &servers_closed);
  bench_destroy(&bench, swarm);
  EXPECT(closed == 1 && servers_closed == 1);
  return bench_end(&bench);
}
