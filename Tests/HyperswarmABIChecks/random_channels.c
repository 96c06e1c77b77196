// Random calls on channels, and on requests of one's own.
#include "random.h"

static const char *const protocols[] = {"a", "b", "c/2"};

static const char *draw_protocol(void) { return protocols[draw(3)]; }

// ---- Channels -----------------------------------------------------------------------------------------------------

static void on_message(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  (void) user_data;
  EXPECT(channel != NULL && data != NULL);
  volatile uint8_t sum = 0;
  for (size_t index = 0; index < length; index += 97) sum ^= data[index];
  world.channel_messages++;
  if (!world.is_ending && draw(3) != 0) judge(hyperswarm_channel_send(channel, type, data, length), NULL);
  maybe_act();
}
static void on_open(hyperswarm_channel_t *channel, const uint8_t *handshake, size_t length, void *user_data) {
  EXPECT(channel != NULL && handshake != NULL && length < 64 && user_data != NULL);
  for (size_t count = draw(6); count > 0; count--) judge(hyperswarm_channel_send(channel, draw(4), "open", 4), NULL);
  maybe_act();
}
static void on_channel_close(hyperswarm_channel_t *channel, int status, void *user_data) {
  EXPECT(channel != NULL && status <= 0 && hyperswarm_channel_user_data(channel) == user_data);
  give_back(user_data);
}
static void on_mux_close(hyperswarm_mux_t *mux, int status, void *user_data) {
  EXPECT(mux != NULL && status <= 0 && hyperswarm_mux_user_data(mux) == user_data);
  give_back(user_data);
}
static void on_drain(hyperswarm_mux_t *mux, void *user_data) {
  EXPECT(mux != NULL && user_data != NULL);
  maybe_act();
}

static void make_channel(hyperswarm_mux_t *mux, const void *id, size_t length) {
  static const char *const aliases[] = {"c/1", "d"};
  struct ticket *ticket = take_ticket();
  hyperswarm_channel_options_t options = {.size = sizeof(options), .protocol = draw_protocol(), .user_data = ticket};
  options.id = id;
  options.id_length = length;
  options.aliases = aliases;
  options.alias_count = draw(3);
  options.flags = draw(4) == 0 ? HYPERSWARM_CHANNEL_SHARED : 0;
  options.on_open = on_open;
  options.on_message = on_message;
  options.on_close = on_channel_close;
  hyperswarm_channel_t **place = &world.channels[draw(CHANNELS)];
  judge(hyperswarm_channel_create(mux, &options, place), ticket);
  if (draw(3) != 0) judge(hyperswarm_channel_open(*place, "hello", draw(6)), NULL);
}

static void on_offer(hyperswarm_mux_t *mux, const uint8_t *id, size_t length, void *user_data) {
  (void) user_data;
  EXPECT(mux != NULL && id != NULL);
  if (draw(3) != 0) make_channel(mux, id, length);
  maybe_act();
}

void put_channels_on(hyperswarm_connection_t *connection) {
  struct ticket *ticket = take_ticket();
  hyperswarm_mux_options_t options = {
    .size = sizeof(options), .on_drain = on_drain, .on_close = on_mux_close, .user_data = ticket};
  options.max_channels = draw(3) == 0 ? 1 + draw(4) : 0;
  hyperswarm_mux_t **place = &world.muxes[draw(MUXES)];
  judge(hyperswarm_mux_create(connection, &options, place), ticket);
  for (size_t index = draw(4); index > 0; index--) {
    judge(hyperswarm_mux_pair(*place, draw_protocol(), NULL, 0, on_offer, NULL), NULL);
  }
  make_channel(*place, NULL, 0);
  if (draw(8) != 0) judge(hyperswarm_mux_start(*place), NULL);
}

// One that lives, mostly.
static hyperswarm_mux_t *draw_mux(void) {
  hyperswarm_mux_t *mux = world.muxes[draw(MUXES)];
  for (int tries = draw(8); tries > 0 && hyperswarm_mux_user_data(mux) == NULL; tries--) {
    mux = world.muxes[draw(MUXES)];
  }
  return mux;
}

int act_on_mux(void) {
  hyperswarm_mux_t *mux = draw_mux();
  int is_live = hyperswarm_mux_user_data(mux) != NULL;
  uint8_t id[2] = {(uint8_t) draw(4), 0};
  switch (draw(10)) {
  case 0: judge(hyperswarm_mux_start(mux), NULL); break;
  case 1:
    if (draw(12) == 0) judge(hyperswarm_mux_close(mux), NULL);
    break;
  case 2: judge(hyperswarm_mux_cork(mux), NULL); break;
  case 3:
  case 4: judge(hyperswarm_mux_uncork(mux), NULL); break;
  case 5: judge(hyperswarm_mux_pair(mux, draw_protocol(), id, draw(3), on_offer, NULL), NULL); break;
  case 6: judge(hyperswarm_mux_unpair(mux, draw_protocol(), id, draw(3)), NULL); break;
  case 7:
    EXPECT(hyperswarm_mux_is_opened(mux, draw_protocol(), id, draw(3)) <= 1);
    EXPECT((hyperswarm_mux_connection(mux) == NULL) == (hyperswarm_mux_user_data(mux) == NULL));
    break;
  default: make_channel(mux, id, draw(3)); break;
  }
  return is_live;
}

void act_on_channel(void) {
  hyperswarm_channel_t *channel = world.channels[draw(CHANNELS)];
  for (int tries = draw(12); tries > 0 && hyperswarm_channel_user_data(channel) == NULL; tries--) {
    channel = world.channels[draw(CHANNELS)];
  }
  static uint8_t data[30000];
  switch (draw(10)) {
  case 0: judge(hyperswarm_channel_open(channel, data, draw(60)), NULL); break;
  case 1: judge(hyperswarm_channel_add_message(channel, draw(3) == 0 ? NULL : on_message, NULL), NULL); break;
  case 2:
    if (draw(3) == 0) judge(hyperswarm_channel_close(channel), NULL);
    break;
  case 3: judge(hyperswarm_mux_cork(hyperswarm_channel_mux(channel)), NULL); break;
  case 4: judge(hyperswarm_mux_uncork(hyperswarm_channel_mux(channel)), NULL); break;
  default: judge(hyperswarm_channel_send(channel, draw(4), data, draw(4) == 0 ? draw(sizeof(data)) : draw(100)), NULL);
  }
}

// ---- Requests -----------------------------------------------------------------------------------------------------

static void answer(hyperswarm_incoming_t *incoming) {
  static const uint8_t value[1500];
  hyperswarm_reply_t reply = {.size = sizeof(reply), .flags = draw(8)};
  switch (draw(5)) {
  case 0: judge(hyperswarm_incoming_drop(incoming), NULL); break;
  case 1: judge(hyperswarm_incoming_relay(incoming, value, draw(20), "127.0.0.1:9"), NULL); break;
  case 2:
    reply.error = 16 + draw(3);
    judge(hyperswarm_incoming_reply(incoming, &reply), NULL);
    break;
  default:
    reply.value = value;
    reply.length = draw(10) == 0 ? sizeof(value) : draw(100);
    judge(hyperswarm_incoming_reply(incoming, &reply), NULL);
  }
}

static void on_request(
  hyperswarm_t *swarm, hyperswarm_incoming_t *incoming, const hyperswarm_incoming_request_t *request, void *user_data) {
  (void) user_data;
  EXPECT(swarm != NULL && request->command >= HYPERSWARM_FIRST_FREE_COMMAND && request->address != NULL);
  world.requests++;
  world.incoming[draw(REQUESTS)] = incoming;
  if (draw(2) == 0) answer(incoming);
  maybe_act();
}
static void on_answer(hyperswarm_t *swarm, int status, const hyperswarm_answer_t *answer, void *user_data) {
  EXPECT(swarm != NULL && (answer != NULL) == (status == HYPERSWARM_OK));
  give_back(user_data);
}
static void each_answer(hyperswarm_t *swarm, const hyperswarm_answer_t *answer, void *user_data) {
  EXPECT(swarm != NULL && answer->address != NULL && user_data != NULL);
  maybe_act();
}
static void on_commit(
  hyperswarm_t *swarm, hyperswarm_commit_t *commit, const hyperswarm_answer_t *answer, void *user_data) {
  EXPECT(swarm != NULL && answer->id != NULL && user_data != NULL);
  world.commits[draw(REQUESTS)] = commit;
  if (draw(4) != 0) judge(hyperswarm_commit_done(commit, draw(4) == 0 ? HYPERSWARM_ERR_CLOSED : 0), NULL);
  maybe_act();
}
static void on_result(hyperswarm_t *swarm, int status, const hyperswarm_query_result_t *result, void *user_data) {
  EXPECT(swarm != NULL && (result != NULL) == (status == HYPERSWARM_OK));
  for (size_t index = 0; result != NULL && index < result->closest_count; index++) {
    EXPECT(result->closest[index]->address != NULL);
  }
  give_back(user_data);
}

static void ask(hyperswarm_t *swarm, const uint8_t *key, uint64_t command, const char *address) {
  static const uint8_t value[900];
  struct ticket *ticket = take_ticket();
  hyperswarm_request_options_t request = {.size = sizeof(request), .command = command};
  request.retries = (int32_t) draw(3) - 1;
  request.target = draw(2) == 0 ? key : NULL;
  request.token = draw(4) == 0 ? key : NULL;
  request.value = value;
  request.length = draw(sizeof(value));
  judge(hyperswarm_request(swarm, address, &request, on_answer, ticket), ticket);
}

static void query(hyperswarm_t *swarm, const uint8_t *key, uint64_t command, const char *address) {
  struct ticket *ticket = take_ticket();
  hyperswarm_query_options_t options = {.size = sizeof(options), .command = command, .target = key};
  options.on_answer = each_answer;
  options.nodes = draw(2) == 0 ? address : NULL;
  options.flags = draw(4);
  options.on_commit = draw(2) == 0 ? on_commit : NULL;
  options.concurrency = draw(3);
  judge(hyperswarm_query(swarm, &options, on_result, ticket), ticket);
}

void act_on_request(hyperswarm_t *swarm, const uint8_t *key) {
  uint64_t command = HYPERSWARM_FIRST_FREE_COMMAND + draw(3);
  char address[64];
  uint16_t port = 9;
  hyperswarm_local_port(world.swarms[draw(SWARMS)], &port);
  snprintf(address, sizeof(address), "127.0.0.1:%u", port);
  switch (draw(6)) {
  case 0: judge(hyperswarm_serve(swarm, command, draw(5) == 0 ? NULL : on_request, NULL), NULL); break;
  case 1: answer(world.incoming[draw(REQUESTS)]); break;
  case 2: judge(hyperswarm_commit_done(world.commits[draw(REQUESTS)], 0), NULL); break;
  case 3: query(swarm, key, command, address); break;
  default: ask(swarm, key, command, address); break;
  }
}
