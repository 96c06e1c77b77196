// Random sequences of calls, inside and outside of callbacks, with handles that live and handles that do not. What is
// checked: every accepted operation completes exactly once (its ticket is freed then, which AddressSanitizer watches),
// nothing crashes, and nothing is left at the end.
//
// HYPERSWARM_RANDOM_SECONDS (2) and HYPERSWARM_RANDOM_SEED (of the clock) for longer runs, and to see one again.
#include "random.h"

struct world world;

// xorshift64*
uint32_t draw(uint32_t below) {
  world.state ^= world.state >> 12;
  world.state ^= world.state << 25;
  world.state ^= world.state >> 27;
  return (uint32_t) ((world.state * 0x2545F4914F6CDD1Dull) >> 33) % below;
}

static void act(void);

void maybe_act(void) {
  if (world.is_ending || world.depth >= DEPTH || draw(4) != 0) return;
  world.depth++;
  act();
  world.depth--;
}

// ---- Completions --------------------------------------------------------------------------------------------------

struct ticket *take_ticket(void) {
  world.tickets++;
  return calloc(1, sizeof(struct ticket));
}

void give_back(void *user_data) {
  struct ticket *ticket = user_data;
  EXPECT(ticket->count == 0);
  ticket->count++;
  free(ticket->memory);
  free(ticket);
  world.tickets--;
  maybe_act();
}

void judge(int64_t result, struct ticket *ticket) {
  world.calls++;
  if (result >= 0) {
    world.accepted++;
    world.operations[draw(OPERATIONS)] = hyperswarm_last_operation();
    return;
  }
  EXPECT(strcmp(hyperswarm_error_name((int) result), "ERROR") != 0);
  if (ticket == NULL) return;
  free(ticket->memory);
  free(ticket);
  world.tickets--;
}

static void done(hyperswarm_t *swarm, int status, void *user_data) {
  EXPECT(swarm != NULL && status <= 0);
  give_back(user_data);
}
static void value_done(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data) {
  EXPECT(swarm != NULL && (value != NULL) == (status == HYPERSWARM_OK));
  give_back(user_data);
}
static void pong_done(hyperswarm_t *swarm, int status, const hyperswarm_pong_t *pong, void *user_data) {
  EXPECT(swarm != NULL && (pong != NULL) == (status == HYPERSWARM_OK));
  give_back(user_data);
}
static void text_done(hyperswarm_t *swarm, const char *text, void *user_data) {
  EXPECT(swarm != NULL && strlen(text) < 1 << 20);
  give_back(user_data);
}
static void numbers_done(hyperswarm_t *swarm, const hyperswarm_statistics_t *numbers, void *user_data) {
  EXPECT(swarm != NULL && numbers->size == sizeof(*numbers));
  give_back(user_data);
}
static void written_done(hyperswarm_connection_t *connection, int status, void *user_data) {
  EXPECT(connection != NULL && status <= 0);
  give_back(user_data);
}
static void timeline_done(hyperswarm_connection_t *connection, const char *text, void *user_data) {
  EXPECT(connection != NULL && text != NULL);
  give_back(user_data);
}
static void addresses_done(hyperswarm_server_t *server, const char *text, void *user_data) {
  EXPECT(server != NULL && text != NULL);
  give_back(user_data);
}
static void each_peer(hyperswarm_t *swarm, const hyperswarm_peer_info_t *peer, void *user_data) {
  EXPECT(swarm != NULL && peer->public_key != NULL && user_data != NULL);
  maybe_act();
}
static void each_topic(hyperswarm_t *swarm, const hyperswarm_topic_info_t *topic, void *user_data) {
  EXPECT(swarm != NULL && topic->roles <= 3 && user_data != NULL);
  maybe_act();
}
static void each_connection(hyperswarm_t *swarm, hyperswarm_connection_t *connection, void *user_data) {
  EXPECT(swarm != NULL && connection != NULL && user_data != NULL);
  maybe_act();
}
static void each_node(hyperswarm_t *swarm, const hyperswarm_node_t *node, void *user_data) {
  EXPECT(swarm != NULL && node->address != NULL && user_data != NULL);
  maybe_act();
}
static int each_record(hyperswarm_t *swarm, const hyperswarm_record_t *record, void *user_data) {
  EXPECT(swarm != NULL && record->from != NULL && user_data != NULL);
  maybe_act();
  return draw(4) == 0;
}

// ---- Connections, servers, swarms ---------------------------------------------------------------------------------

static void on_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) user_data;
  EXPECT(connection != NULL && data != NULL);
  volatile uint8_t sum = 0;
  for (size_t i = 0; i < length; i += 97) sum ^= data[i];
  world.messages++;
  maybe_act();
}
static void on_something(hyperswarm_connection_t *connection, void *user_data) {
  (void) user_data;
  EXPECT(connection != NULL);
  maybe_act();
}
static void on_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  EXPECT(connection != NULL && status <= 0);
  give_back(user_data);
}

static hyperswarm_connection_callbacks_t callbacks_of(struct ticket *ticket) {
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .user_data = ticket};
  callbacks.on_open = callbacks.on_drain = callbacks.on_end = callbacks.on_peer_proven = on_something;
  callbacks.on_message = callbacks.on_datagram = on_message;
  callbacks.on_close = on_close;
  return callbacks;
}

// Connections with two of three servers have channels, on both sides.
static void remember(hyperswarm_connection_t *connection, const uint8_t *key) {
  uint32_t place = draw(CONNECTIONS);
  world.connections[place] = connection;
  world.has_channels[place] = key != NULL && key[0] % 3 != 0;
  if (world.has_channels[place]) put_channels_on(connection);
}

static void adopt(hyperswarm_connection_t *connection, const uint8_t *key) {
  struct ticket *ticket = take_ticket();
  hyperswarm_connection_callbacks_t callbacks = callbacks_of(ticket);
  judge(hyperswarm_connection_set_callbacks(connection, &callbacks), ticket);
  remember(connection, key);
  maybe_act();
}
static void swarm_connection(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  (void) user_data;
  EXPECT(swarm != NULL && peer != NULL);
  adopt(connection, NULL);
}
static void server_connection(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  uint8_t key[HYPERSWARM_KEY_SIZE] = {1};
  EXPECT(server != NULL && user_data != NULL);
  hyperswarm_server_public_key(server, key);
  adopt(connection, key);
}
static void server_listening(hyperswarm_server_t *server, int status, void *user_data) {
  EXPECT(server != NULL && status <= 0 && user_data != NULL);
  maybe_act();
}
static void server_close(hyperswarm_server_t *server, void *user_data) {
  EXPECT(server != NULL);
  give_back(user_data);
}
static void ask(hyperswarm_verdict_t *verdict) {
  world.verdicts[draw(VERDICTS)] = verdict;
  if (draw(2) == 0) judge(hyperswarm_verdict_give(verdict, draw(8) == 0 ? HYPERSWARM_BAN : HYPERSWARM_ACCEPT), NULL);
  maybe_act();
}
static void swarm_firewall(
  hyperswarm_t *swarm, hyperswarm_verdict_t *verdict, const uint8_t *key, const char *address, void *user_data) {
  (void) address, (void) user_data;
  EXPECT(swarm != NULL && key != NULL);
  ask(verdict);
}
static void server_firewall(
  hyperswarm_server_t *server, hyperswarm_verdict_t *verdict, const uint8_t *key, const char *address,
  void *user_data) {
  EXPECT(server != NULL && key != NULL && address != NULL && user_data != NULL);
  ask(verdict);
}
static void on_event(hyperswarm_t *swarm, const hyperswarm_event_t *event, void *user_data) {
  (void) user_data;
  EXPECT(swarm != NULL && event->kind > 0);
  maybe_act();
}
static void swarm_gone(void *user_data) {
  world.destroying--;
  give_back(user_data);
}

static void make_swarm(void) {
  uint32_t place = draw(SWARMS);
  uint16_t port;
  // One that lives stays, mostly.
  if (hyperswarm_local_port(world.swarms[place], &port) == HYPERSWARM_OK) {
    if (draw(20) != 0) return;
    struct ticket *ticket = take_ticket();
    int result = hyperswarm_destroy(world.swarms[place], (int) draw(2), swarm_gone, ticket);
    world.destroying += result == HYPERSWARM_OK;
    judge(result, ticket);
    return;
  }
  if (world.destroying > SWARMS) return;
  hyperswarm_options_t options = bench_options(&world.bench);
  options.on_connection = swarm_connection;
  if (draw(2) == 0) options.on_event = on_event;
  if (draw(3) == 0) options.on_firewall = swarm_firewall;
  if (draw(8) == 0) options.bootstrap = "127.0.0.1:9";
  if (draw(4) == 0) options.max_connections = 1 + draw(4);
  judge(hyperswarm_create(&options, &world.swarms[place]), NULL);
  hyperswarm_public_key(world.swarms[place], world.keys[place]);
}

static void make_server(hyperswarm_t *swarm, uint32_t place) {
  struct ticket *ticket = take_ticket();
  uint8_t secret[HYPERSWARM_SECRET_KEY_SIZE], key[HYPERSWARM_KEY_SIZE];
  hyperswarm_key_pair_generate(key, secret);
  hyperswarm_server_options_t options = {.size = sizeof(options), .user_data = ticket};
  options.secret_key = draw(3) == 0 ? NULL : secret;
  options.on_listening = server_listening;
  options.on_connection = server_connection;
  if (draw(3) == 0) options.on_firewall = server_firewall;
  options.on_close = server_close;
  options.flags = draw(6) == 0 ? HYPERSWARM_SERVER_RELAY : 0;
  judge(hyperswarm_server_listen(swarm, &options, &world.servers[place]), ticket);
  hyperswarm_server_public_key(world.servers[place], world.keys[SWARMS + place]);
}

static void make_connection(hyperswarm_t *swarm, const uint8_t *key) {
  struct ticket *ticket = take_ticket();
  hyperswarm_connection_callbacks_t callbacks = callbacks_of(ticket);
  hyperswarm_connect_options_t options = {.size = sizeof(options), .deadline = draw(3) == 0 ? 1 + draw(500) : 0};
  hyperswarm_connection_t *connection = NULL;
  judge(hyperswarm_connect(swarm, key, draw(2) == 0 ? &options : NULL, &callbacks, &connection), ticket);
  remember(connection, key);
}

// ---- Calls --------------------------------------------------------------------------------------------------------

static void act_on_connection(uint32_t place) {
  hyperswarm_connection_t *connection = world.connections[place];
  static uint8_t data[20000];
  size_t length = draw(4) == 0 ? draw(sizeof(data)) : draw(200);
  struct ticket *ticket;
  // Messages beside the channels break their protocol: seldom.
  uint32_t choice = draw(world.has_channels[place] && draw(200) != 0 ? 8 : 14);
  switch (choice) {
  case 0: judge(hyperswarm_connection_pause(connection), NULL); break;
  case 1: judge(hyperswarm_connection_resume(connection), NULL); break;
  case 2:
    if (draw(4) == 0) judge(hyperswarm_connection_end(connection), NULL);
    break;
  case 3:
    if (draw(4) == 0) judge(hyperswarm_connection_destroy(connection), NULL);
    break;
  case 4: judge(hyperswarm_connection_send_datagram(connection, data, draw(1200)), NULL); break;
  case 5: judge(hyperswarm_connection_set_keep_alive(connection, draw(50)), NULL); break;
  case 6: judge(hyperswarm_connection_set_timeout(connection, draw(2) * (500 + draw(2000))), NULL); break;
  case 7:
    ticket = take_ticket();
    judge(hyperswarm_connection_timeline(connection, timeline_done, ticket), ticket);
    break;
  case 8:
  case 9:
    ticket = take_ticket();
    // As long as it says, and not a byte longer.
    ticket->memory = malloc(length > 0 ? length : 1);
    memset(ticket->memory, (int) length, length);
    judge(hyperswarm_connection_write_borrowed(connection, ticket->memory, length, written_done, ticket), ticket);
    break;
  case 10:
    ticket = take_ticket();
    judge(hyperswarm_connection_write(connection, data, length, written_done, ticket), ticket);
    break;
  default: judge(hyperswarm_connection_write(connection, data, length, NULL, NULL), NULL); break;
  }
}

static void act_on_server(hyperswarm_t *swarm) {
  uint32_t place = draw(SERVERS);
  hyperswarm_server_t *server = world.servers[place];
  struct ticket *ticket;
  switch (draw(8)) {
  case 0: judge(hyperswarm_server_refresh(server), NULL); break;
  case 1: judge(hyperswarm_server_set_busy(server, draw(4) == 0), NULL); break;
  case 2: judge(hyperswarm_server_suspend(server), NULL); break;
  case 3: judge(hyperswarm_server_resume(server), NULL); break;
  case 4:
    ticket = take_ticket();
    judge(hyperswarm_server_relay_addresses(server, addresses_done, ticket), ticket);
    break;
  case 5:
    if (draw(3) == 0) judge(hyperswarm_server_close(server), NULL);
    break;
  default: make_server(swarm, place); break;
  }
}

static void act_on_topic(hyperswarm_t *swarm, const uint8_t *topic) {
  struct ticket *ticket = take_ticket();
  hyperswarm_join_options_t join = {.size = sizeof(join), .roles = draw(4), .limit = draw(3)};
  switch (draw(9)) {
  case 0: judge(hyperswarm_leave(swarm, topic, done, ticket), ticket); break;
  case 1: judge(hyperswarm_refresh(swarm, topic, done, ticket), ticket); break;
  case 2: judge(hyperswarm_topics(swarm, each_topic, done, ticket), ticket); break;
  case 3: judge(hyperswarm_lookup(swarm, topic, each_record, done, ticket), ticket); break;
  case 4: judge(hyperswarm_announce(swarm, topic, NULL, done, ticket), ticket); break;
  case 5: judge(hyperswarm_unannounce(swarm, topic, NULL, done, ticket), ticket); break;
  case 6: judge(hyperswarm_flush(swarm, draw(2) * draw(300), done, ticket), ticket); break;
  default: judge(hyperswarm_join_with(swarm, topic, &join, done, ticket), ticket); break;
  }
}

static void act_on_node(hyperswarm_t *swarm, const uint8_t *key) {
  static const uint8_t data[1100];
  struct ticket *ticket = take_ticket();
  char entrance[64];
  snprintf(entrance, sizeof(entrance), "%.*s", (int) strcspn(world.bench.bootstrap, ","), world.bench.bootstrap);
  switch (draw(15)) {
  case 0: judge(hyperswarm_ping(swarm, draw(2) == 0 ? entrance : "127.0.0.1:9", pong_done, ticket), ticket); break;
  case 1: judge(hyperswarm_find_node(swarm, key, each_node, done, ticket), ticket); break;
  case 2: judge(hyperswarm_find_peer(swarm, key, each_record, done, ticket), ticket); break;
  case 3: judge(hyperswarm_immutable_put(swarm, data, draw(1100), value_done, ticket), ticket); break;
  case 4: judge(hyperswarm_immutable_get(swarm, key, value_done, ticket), ticket); break;
  case 5: judge(hyperswarm_mutable_put(swarm, NULL, draw(9), key, draw(33), value_done, ticket), ticket); break;
  case 6: judge(hyperswarm_mutable_get(swarm, key, draw(3), value_done, ticket), ticket); break;
  case 7: judge(hyperswarm_metrics(swarm, text_done, ticket), ticket); break;
  case 8: judge(hyperswarm_statistics(swarm, numbers_done, ticket), ticket); break;
  case 9: judge(hyperswarm_peers(swarm, each_peer, done, ticket), ticket); break;
  case 10: judge(hyperswarm_connections(swarm, each_connection, done, ticket), ticket); break;
  case 11: judge(hyperswarm_bootstrapped(swarm, done, ticket), ticket); break;
  case 12: judge(hyperswarm_listen(swarm, done, ticket), ticket); break;
  case 13: judge(draw(8) == 0 ? hyperswarm_suspend(swarm, done, ticket) : HYPERSWARM_ERR_CANCELLED, ticket); break;
  default: judge(hyperswarm_resume(swarm, done, ticket), ticket); break;
  }
}

static void act(void) {
  const uint8_t topic[HYPERSWARM_KEY_SIZE] = {(uint8_t) draw(TOPICS)};
  hyperswarm_t *swarm = world.swarms[draw(SWARMS)];
  const uint8_t *key = world.keys[draw(SWARMS + SERVERS)];
  switch (draw(21)) {
  case 0: make_swarm(); break;
  case 1: make_connection(swarm, key); break;
  case 2: act_on_server(swarm); break;
  case 3: act_on_topic(swarm, topic); break;
  case 4:
  case 5: act_on_node(swarm, key); break;
  case 6: judge(hyperswarm_cancel(swarm, world.operations[draw(OPERATIONS)]), NULL); break;
  case 7: judge(hyperswarm_verdict_give(world.verdicts[draw(VERDICTS)], (int) draw(4)), NULL); break;
  case 8:
    if (draw(2) == 0) judge(hyperswarm_peer_join(swarm, key), NULL);
    if (draw(2) == 0) judge(hyperswarm_peer_leave(swarm, key), NULL);
    if (draw(8) == 0) judge(hyperswarm_peer_ban(swarm, key, (int) draw(2)), NULL);
    if (draw(4) == 0) judge(hyperswarm_peer_reconnect(swarm, key, (int) draw(2)), NULL);
    break;
  case 9:
    if (!act_on_mux()) make_connection(swarm, world.keys[SWARMS + draw(SERVERS)]);
    break;
  case 10:
  case 11: act_on_channel(); break;
  case 12:
  case 13: act_on_request(swarm, key); break;
  default: act_on_connection(draw(CONNECTIONS)); break;
  }
}

// The loop never waits long.
static void on_tick(uv_timer_t *timer) { (void) timer; }

static double number_of(const char *name, double otherwise) {
  const char *text = getenv(name);
  return text != NULL && *text != 0 ? strtod(text, NULL) : otherwise;
}

int check_random_calls(void) {
  memset(&world, 0, sizeof(world));
  double seconds = number_of("HYPERSWARM_RANDOM_SECONDS", 2);
  world.state = (uint64_t) number_of("HYPERSWARM_RANDOM_SEED", (double) (uv_hrtime() / 1000));
  printf("abi: random calls, seed %llu\n", (unsigned long long) world.state);
  fflush(stdout);
  world.state = world.state * 2 + 1;
  if (!bench_start(&world.bench, 3)) return failures + 1;
  // Not after that time: a longer run is meant to be.
  uv_timer_stop(&world.bench.watchdog);
  uv_timer_t ticks;
  uv_timer_init(&world.bench.loop, &ticks);
  uv_timer_start(&ticks, on_tick, 0, 1);
  for (int i = 0; i < 4 * SWARMS; i++) make_swarm();
  uint64_t end = uv_hrtime() + (uint64_t) (seconds * 1e9);
  while (uv_hrtime() < end) {
    for (uint32_t i = draw(6); i > 0; i--) act();
    uv_run(&world.bench.loop, draw(3) == 0 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
  }
  world.is_ending = 1;
  for (int i = 0; i < SWARMS; i++) {
    struct ticket *ticket = take_ticket();
    int result = hyperswarm_destroy(world.swarms[i], 1, swarm_gone, ticket);
    world.destroying += result == HYPERSWARM_OK;
    judge(result, ticket);
  }
  end = uv_hrtime() + 20000000000ull;
  while ((world.destroying > 0 || world.tickets > 0) && uv_hrtime() < end) uv_run(&world.bench.loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *) &ticks, NULL);
  EXPECT(world.destroying == 0 && world.tickets == 0);
  printf(
    "abi: %llu random calls, %llu accepted, %llu messages, %llu on channels, %llu requests\n",
    (unsigned long long) world.calls, (unsigned long long) world.accepted, (unsigned long long) world.messages,
    (unsigned long long) world.channel_messages, (unsigned long long) world.requests);
  return bench_end(&world.bench);
}
