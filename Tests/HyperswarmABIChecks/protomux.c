// Channels on a connection: a whole conversation, and what goes wrong.
#include "conversation.h"

// A server and a connection to it, on the loop of the test.
struct couple {
  struct bench bench;
  hyperswarm_t *swarms[2];
  hyperswarm_server_t *server;
  int listening, accepted, closed, status;
  struct peer own;
  hyperswarm_connection_t *theirs;
  struct answering *answering; // where the other side has a conversation
};

static void on_listening(hyperswarm_server_t *server, int status, void *user_data) {
  struct couple *couple = user_data;
  EXPECT(server == couple->server && status == HYPERSWARM_OK);
  couple->listening++;
}

static void on_closed(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct couple *couple = user_data;
  EXPECT(connection == couple->theirs);
  couple->status = status;
  couple->closed++;
}

static void on_connection(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  struct couple *couple = user_data;
  EXPECT(server == couple->server);
  couple->theirs = connection;
  couple->accepted++;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_close = on_closed, .user_data = couple};
  EXPECT(hyperswarm_connection_set_callbacks(connection, &callbacks) == HYPERSWARM_OK);
  if (couple->answering != NULL) answer_on(connection, couple->answering);
}

static int listen_at(struct couple *couple, const uint8_t *secret) {
  hyperswarm_options_t options = bench_options(&couple->bench);
  hyperswarm_server_options_t server = {.size = sizeof(server), .user_data = couple, .secret_key = secret};
  server.on_listening = on_listening;
  server.on_connection = on_connection;
  EXPECT(hyperswarm_create(&options, &couple->swarms[0]) == HYPERSWARM_OK);
  EXPECT(hyperswarm_server_listen(couple->swarms[0], &server, &couple->server) == HYPERSWARM_OK);
  return bench_run(&couple->bench, &couple->listening, 1);
}

static int dial(struct couple *couple, const uint8_t *key) {
  hyperswarm_options_t options = bench_options(&couple->bench);
  hyperswarm_connection_callbacks_t callbacks = peer_callbacks(&couple->own);
  EXPECT(hyperswarm_create(&options, &couple->swarms[1]) == HYPERSWARM_OK);
  int status = hyperswarm_connect(couple->swarms[1], key, NULL, &callbacks, &couple->own.connection);
  EXPECT(status == HYPERSWARM_OK);
  return status == HYPERSWARM_OK;
}

static int couple_start(struct couple *couple, struct answering *answering) {
  uint8_t key[HYPERSWARM_KEY_SIZE];
  memset(couple, 0, sizeof(*couple));
  if (!bench_start(&couple->bench, 4)) return 0;
  couple->answering = answering;
  if (!listen_at(couple, NULL)) return 0;
  EXPECT(hyperswarm_server_public_key(couple->server, key) == HYPERSWARM_OK);
  return dial(couple, key);
}

static int couple_end(struct couple *couple) {
  for (int index = 0; index < 2; index++) {
    if (couple->swarms[index] != NULL) bench_destroy(&couple->bench, couple->swarms[index]);
  }
  return bench_end(&couple->bench);
}

int check_channels(void) {
  static struct couple couple;
  struct answering answering = {0};
  if (!couple_start(&couple, &answering)) return failures + 1;
  ask_on(&couple.bench, couple.own.connection);
  EXPECT(bench_run(&couple.bench, &couple.own.closed, 1) && couple.own.status == HYPERSWARM_OK);
  EXPECT(bench_run(&couple.bench, &couple.closed, 1) && couple.status == HYPERSWARM_OK);
  EXPECT(answering.closed == 1 && answering.status == HYPERSWARM_OK && answering.channels == 0);
  EXPECT(couple.own.messages == 0);
  return couple_end(&couple);
}

// ---- With peers of other kinds ------------------------------------------------------------------------------------

int protomux_ask(const char *bootstrap, const uint8_t *key) {
  static struct couple couple;
  memset(&couple, 0, sizeof(couple));
  bench_start(&couple.bench, 0);
  snprintf(couple.bench.bootstrap, sizeof(couple.bench.bootstrap), "%s", bootstrap);
  if (!dial(&couple, key)) return failures + 1;
  ask_on(&couple.bench, couple.own.connection);
  EXPECT(bench_run(&couple.bench, &couple.own.closed, 1) && couple.own.status == HYPERSWARM_OK);
  return couple_end(&couple);
}

int protomux_answer(const char *bootstrap, const uint8_t *seed, void (*listens)(void *user_data), void *user_data) {
  static struct couple couple;
  struct answering answering = {0};
  uint8_t key[HYPERSWARM_KEY_SIZE], secret[HYPERSWARM_SECRET_KEY_SIZE];
  memset(&couple, 0, sizeof(couple));
  bench_start(&couple.bench, 0);
  snprintf(couple.bench.bootstrap, sizeof(couple.bench.bootstrap), "%s", bootstrap);
  couple.answering = &answering;
  EXPECT(hyperswarm_key_pair_from_seed(key, secret, seed) == HYPERSWARM_OK);
  if (!listen_at(&couple, secret)) return failures + 1;
  listens(user_data);
  EXPECT(bench_run(&couple.bench, &answering.closed, 1) && answering.status == HYPERSWARM_OK);
  EXPECT(answering.channels == 0 && answering.bulk == 5000000);
  return couple_end(&couple);
}

// ---- What goes wrong ----------------------------------------------------------------------------------------------

struct line {
  hyperswarm_channel_t *channel;
  int opened, closed, status, messages;
  hyperswarm_connection_t *pauses; // after each message
};

static void line_open(hyperswarm_channel_t *channel, const uint8_t *handshake, size_t length, void *user_data) {
  struct line *line = user_data;
  EXPECT(channel == line->channel && handshake != NULL && length == 0);
  line->opened++;
}
static void line_message(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  struct line *line = user_data;
  EXPECT(channel == line->channel && type == 0 && data != NULL);
  (void) length;
  line->messages++;
  if (line->pauses != NULL) EXPECT(hyperswarm_connection_pause(line->pauses) == HYPERSWARM_OK);
}
static void line_close(hyperswarm_channel_t *channel, int status, void *user_data) {
  struct line *line = user_data;
  EXPECT(channel == line->channel);
  line->status = status;
  line->closed++;
}

static hyperswarm_channel_options_t line_options(struct line *line, const char *protocol) {
  hyperswarm_channel_options_t options = {.size = sizeof(options), .protocol = protocol, .user_data = line};
  options.on_open = line_open;
  options.on_message = line_message;
  options.on_close = line_close;
  return options;
}

static int open_line(hyperswarm_mux_t *mux, struct line *line, const char *protocol) {
  hyperswarm_channel_options_t options = line_options(line, protocol);
  int status = hyperswarm_channel_create(mux, &options, &line->channel);
  return status != HYPERSWARM_OK ? status : hyperswarm_channel_open(line->channel, NULL, 0);
}

static void check_refusals(hyperswarm_connection_t *connection, hyperswarm_mux_t *mux) {
  struct line line = {0};
  hyperswarm_channel_t *channel;
  hyperswarm_mux_t *second;
  const int invalid = HYPERSWARM_ERR_INVALID_ARGUMENT;
  hyperswarm_mux_options_t mux_options = {.size = sizeof(mux_options)};
  EXPECT(hyperswarm_mux_create(connection, &mux_options, &second) == invalid && second == NULL);
  EXPECT(hyperswarm_mux_connection(mux) == connection);
  EXPECT(hyperswarm_mux_pair(mux, NULL, NULL, 0, NULL, NULL) == invalid);
  EXPECT(hyperswarm_mux_pair(mux, "x", NULL, 0, NULL, NULL) == invalid);
  EXPECT(hyperswarm_mux_unpair(mux, "x", NULL, 0) == HYPERSWARM_ERR_NOT_FOUND);
  EXPECT(hyperswarm_mux_unpair(mux, "x", NULL, 1) == invalid);
  EXPECT(hyperswarm_mux_is_opened(mux, "line", NULL, 0) == 0);
  hyperswarm_channel_options_t options = line_options(&line, NULL);
  EXPECT(hyperswarm_channel_create(mux, &options, &channel) == invalid);
  options.protocol = "line";
  options.alias_count = 1;
  EXPECT(hyperswarm_channel_create(mux, &options, &channel) == invalid);
  options.alias_count = 0;
  options.flags = 2;
  EXPECT(hyperswarm_channel_create(mux, &options, &channel) == invalid);
  options.flags = 0;
  options.id_length = HYPERSWARM_MAX_CHANNEL_NAME + 1;
  options.id = &line;
  EXPECT(hyperswarm_channel_create(mux, &options, &channel) == invalid && channel == NULL);
  options.size = 8;
  EXPECT(hyperswarm_channel_create(mux, &options, &channel) == HYPERSWARM_ERR_INVALID_SIZE);
}

// Of the side that dials: two channels at most.
static void check_channel_errors_on(struct couple *couple, hyperswarm_mux_t *mux, struct line lines[3]) {
  struct bench *bench = &couple->bench;
  hyperswarm_channel_t *channel;
  check_refusals(couple->own.connection, mux);
  hyperswarm_channel_options_t options = line_options(&lines[0], "line");
  EXPECT(hyperswarm_channel_create(mux, &options, &lines[0].channel) == HYPERSWARM_OK);
  EXPECT(hyperswarm_channel_mux(lines[0].channel) == mux);
  EXPECT(hyperswarm_channel_send(lines[0].channel, 0, "x", 1) == HYPERSWARM_ERR_CHANNEL_NOT_OPENED);
  EXPECT(hyperswarm_channel_create(mux, &options, &channel) == HYPERSWARM_ERR_DUPLICATE_CHANNEL && channel == NULL);
  EXPECT(hyperswarm_mux_is_opened(mux, "line", NULL, 0) == 0);
  EXPECT(hyperswarm_channel_open(lines[0].channel, NULL, 1) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_channel_open(lines[0].channel, NULL, 0) == HYPERSWARM_OK);
  EXPECT(hyperswarm_channel_open(lines[0].channel, NULL, 0) == HYPERSWARM_ERR_CLOSED);
  EXPECT(hyperswarm_mux_is_opened(mux, "line", NULL, 0) == 1);
  EXPECT(hyperswarm_channel_send(lines[0].channel, 0, NULL, 1) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  static uint8_t zeros[HYPERSWARM_MAX_MESSAGE + 1];
  EXPECT(hyperswarm_channel_send(lines[0].channel, 0, zeros, sizeof(zeros)) == HYPERSWARM_ERR_MESSAGE_TOO_LARGE);
  EXPECT(
    hyperswarm_channel_send(lines[0].channel, 0, zeros, HYPERSWARM_MAX_MESSAGE - 37)
    == HYPERSWARM_ERR_MESSAGE_TOO_LARGE);
  EXPECT(open_line(mux, &lines[1], "unwanted") == HYPERSWARM_OK);
  EXPECT(open_line(mux, &lines[2], "third") == HYPERSWARM_ERR_TOO_MANY_CHANNELS);
  EXPECT(bench_run(bench, &lines[1].closed, 1) && lines[1].status == HYPERSWARM_ERR_CHANNEL_REJECTED);
  EXPECT(lines[1].opened == 0 && hyperswarm_channel_close(lines[1].channel) == HYPERSWARM_ERR_BAD_HANDLE);
  EXPECT(bench_run(bench, &lines[0].opened, 1));
}

// The queue refuses, and says when it does not any more.
static void check_full_queue(struct couple *couple, struct line *own, struct line *theirs, const int *drained) {
  static uint8_t piece[200000];
  int64_t result = 0;
  int sent = 0;
  EXPECT(hyperswarm_connection_pause(couple->theirs) == HYPERSWARM_OK);
  while (result >= 0 && sent < 100000) {
    result = hyperswarm_channel_send(own->channel, 0, piece, sizeof(piece));
    sent += result >= 0;
    if (sent % 8 == 0) bench_turns(&couple->bench, 1);
  }
  EXPECT(result == HYPERSWARM_ERR_QUEUE_FULL && *drained == 0);
  EXPECT(hyperswarm_channel_send(own->channel, 0, piece, 1) == HYPERSWARM_ERR_QUEUE_FULL);
  EXPECT(hyperswarm_connection_resume(couple->theirs) == HYPERSWARM_OK && theirs->messages == 0);
  EXPECT(bench_run(&couple->bench, drained, 1) && bench_run(&couple->bench, &theirs->messages, sent));
  EXPECT(hyperswarm_channel_send(own->channel, 0, piece, 1) >= 0);
  EXPECT(bench_run(&couple->bench, &theirs->messages, sent + 1));

  // Paused inside a batch: one message at a time.
  theirs->messages = 0;
  theirs->pauses = couple->theirs;
  EXPECT(hyperswarm_mux_cork(hyperswarm_channel_mux(own->channel)) == HYPERSWARM_OK);
  for (int index = 0; index < 3; index++) EXPECT(hyperswarm_channel_send(own->channel, 0, "abc", 3) >= 0);
  EXPECT(hyperswarm_mux_uncork(hyperswarm_channel_mux(own->channel)) == HYPERSWARM_OK);
  for (int count = 1; count <= 3; count++) {
    EXPECT(bench_run(&couple->bench, &theirs->messages, count));
    bench_turns(&couple->bench, 20);
    EXPECT(theirs->messages == count && hyperswarm_connection_resume(couple->theirs) == HYPERSWARM_OK);
    EXPECT(theirs->messages == count);
  }
  theirs->pauses = NULL;
}

static void count_drain(hyperswarm_mux_t *mux, void *user_data) {
  EXPECT(mux != NULL);
  ++*(int *) user_data;
}

int check_channel_errors(void) {
  static struct couple couple;
  struct line lines[3] = {{0}}, theirs = {0};
  int drained = 0;
  hyperswarm_mux_t *mux, *other;
  if (!couple_start(&couple, NULL)) return failures + 1;
  hyperswarm_mux_options_t options = {.size = sizeof(options), .max_channels = HYPERSWARM_MAX_CHANNELS + 1};
  EXPECT(hyperswarm_mux_create(couple.own.connection, &options, &mux) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  options.max_channels = 2;
  options.on_drain = count_drain;
  options.user_data = &drained;
  EXPECT(hyperswarm_mux_create(couple.own.connection, &options, NULL) == HYPERSWARM_ERR_INVALID_ARGUMENT);
  EXPECT(hyperswarm_mux_create(couple.own.connection, &options, &mux) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mux_start(mux) == HYPERSWARM_OK && hyperswarm_mux_start(mux) == HYPERSWARM_OK);
  EXPECT(bench_run(&couple.bench, &couple.accepted, 1));
  EXPECT(hyperswarm_mux_create(couple.theirs, NULL, &other) == HYPERSWARM_OK);
  EXPECT(open_line(other, &theirs, "line") == HYPERSWARM_OK && hyperswarm_mux_start(other) == HYPERSWARM_OK);
  check_channel_errors_on(&couple, mux, lines);
  check_full_queue(&couple, &lines[0], &theirs, &drained);

  // The connection breaks: all channels hear why.
  EXPECT(hyperswarm_connection_destroy(couple.own.connection) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mux_create(couple.own.connection, NULL, &mux) == HYPERSWARM_ERR_CLOSED);
  EXPECT(bench_run(&couple.bench, &theirs.closed, 1) && theirs.status == HYPERSWARM_ERR_CONNECTION_RESET);
  EXPECT(bench_run(&couple.bench, &lines[0].closed, 1) && lines[0].status == HYPERSWARM_OK);
  EXPECT(lines[1].closed == 1 && lines[2].closed == 0);
  EXPECT(hyperswarm_mux_start(other) == HYPERSWARM_ERR_BAD_HANDLE && hyperswarm_mux_connection(other) == NULL);
  return couple_end(&couple);
}

static void refuse_offer(hyperswarm_mux_t *mux, const uint8_t *id, size_t length, void *user_data) {
  EXPECT(mux != NULL && length == 2 && memcmp(id, "id", 2) == 0);
  ++*(int *) user_data;
}

// A peer that does not speak the protocol; pairs that are taken back.
int check_channel_violations(void) {
  static struct couple couple;
  struct line first = {0}, second = {0};
  int offers = 0;
  hyperswarm_mux_t *mux, *other;
  if (!couple_start(&couple, NULL)) return failures + 1;
  EXPECT(hyperswarm_mux_create(couple.own.connection, NULL, &other) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mux_start(other) == HYPERSWARM_OK && bench_run(&couple.bench, &couple.accepted, 1));
  EXPECT(hyperswarm_mux_create(couple.theirs, NULL, &mux) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mux_pair(mux, "offered", NULL, 0, refuse_offer, &offers) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mux_start(mux) == HYPERSWARM_OK);
  hyperswarm_channel_options_t options = line_options(&first, "offered");
  options.id = "id";
  options.id_length = 2;
  EXPECT(hyperswarm_channel_create(other, &options, &first.channel) == HYPERSWARM_OK);
  EXPECT(hyperswarm_channel_open(first.channel, "hello", 5) == HYPERSWARM_OK);
  EXPECT(bench_run(&couple.bench, &first.closed, 1) && first.status == HYPERSWARM_ERR_CHANNEL_REJECTED && offers == 1);
  EXPECT(hyperswarm_mux_unpair(mux, "offered", NULL, 0) == HYPERSWARM_OK);
  options.user_data = &second;
  EXPECT(hyperswarm_channel_create(other, &options, &second.channel) == HYPERSWARM_OK);
  EXPECT(hyperswarm_channel_open(second.channel, NULL, 0) == HYPERSWARM_OK);
  EXPECT(bench_run(&couple.bench, &second.closed, 1) && second.status == HYPERSWARM_ERR_CHANNEL_REJECTED);
  EXPECT(offers == 1);

  // A rejection of a channel that was never opened.
  struct line line = {0};
  EXPECT(open_line(mux, &line, "line") == HYPERSWARM_OK);
  EXPECT(hyperswarm_connection_write(couple.own.connection, "\0\2\x7f", 3, NULL, NULL) >= 0);
  EXPECT(bench_run(&couple.bench, &couple.closed, 1) && couple.status == HYPERSWARM_ERR_PROTOCOL);
  int is_rejected = line.status == HYPERSWARM_ERR_CHANNEL_REJECTED;
  EXPECT(line.closed == 1 && (line.status == HYPERSWARM_ERR_PROTOCOL || is_rejected));
  EXPECT(bench_run(&couple.bench, &couple.own.closed, 1) && couple.own.status == HYPERSWARM_ERR_CONNECTION_RESET);
  return couple_end(&couple);
}
