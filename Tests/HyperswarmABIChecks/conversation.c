#include "conversation.h"

#include <ctype.h>

#define MANY 300
#define LARGE 300000
#define PIECE 10000
#define PIECES 500

// ---- Encodings ----------------------------------------------------------------------------------------------------

size_t put_uint(uint8_t *data, uint64_t value) {
  static const struct {
    uint64_t most;
    uint8_t mark;
    size_t bytes;
  } forms[] = {{0xffff, 0xfd, 2}, {0xffffffff, 0xfe, 4}, {UINT64_MAX, 0xff, 8}};
  if (value < 0xfd) {
    data[0] = (uint8_t) value;
    return 1;
  }
  int form = 0;
  while (value > forms[form].most) form++;
  data[0] = forms[form].mark;
  for (size_t index = 0; index < forms[form].bytes; index++) data[1 + index] = (uint8_t) (value >> 8 * index);
  return 1 + forms[form].bytes;
}

uint64_t get_uint(const uint8_t *data, size_t length) {
  if (length == 0) return UINT64_MAX;
  if (data[0] < 0xfd) return data[0];
  size_t bytes = (size_t) 2 << (data[0] - 0xfd);
  uint64_t value = 0;
  for (size_t index = 0; index < bytes && index + 1 < length; index++) value |= (uint64_t) data[1 + index] << 8 * index;
  return value;
}

size_t put_text(uint8_t *data, const char *text) {
  size_t head = put_uint(data, strlen(text));
  memcpy(data + head, text, strlen(text));
  return head + strlen(text);
}

int is_text(const uint8_t *data, size_t length, const char *text) {
  uint8_t expected[256];
  size_t count = put_text(expected, text);
  return length == count && memcmp(data, expected, count) == 0;
}

// ---- Answering ----------------------------------------------------------------------------------------------------

static void on_channel_close(hyperswarm_channel_t *channel, int status, void *user_data) {
  struct answering *answering = user_data;
  EXPECT(hyperswarm_channel_user_data(channel) == answering && status <= 0);
  EXPECT(hyperswarm_channel_send(channel, 0, "x", 1) == HYPERSWARM_ERR_CLOSED);
  answering->channels--;
}

static hyperswarm_channel_t *accept_channel(
  struct answering *answering, const char *protocol, const uint8_t *id, size_t length, const char *alias) {
  hyperswarm_channel_options_t options = {
    .size = sizeof(options), .protocol = protocol, .id = id, .id_length = length, .user_data = answering};
  options.on_close = on_channel_close;
  options.aliases = &alias;
  options.alias_count = alias != NULL;
  hyperswarm_channel_t *channel = NULL;
  EXPECT(hyperswarm_channel_create(answering->mux, &options, &channel) == HYPERSWARM_OK);
  answering->channels++;
  return channel;
}

static void to_upper(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  uint8_t answer[256];
  EXPECT(length < sizeof(answer) && user_data != NULL);
  for (size_t index = 0; index < length; index++) answer[index] = index == 0 ? data[0] : (uint8_t) toupper(data[index]);
  EXPECT(hyperswarm_channel_send(channel, type, answer, length) >= 0);
}

static void next_number(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  char text[64], answer[64];
  int number = 0;
  (void) user_data;
  EXPECT(length > 1 && length < sizeof(text));
  snprintf(text, sizeof(text), "%.*s", (int) (length - 1), (const char *) data + 1);
  EXPECT(sscanf(text, "{\"n\":%d}", &number) == 1);
  snprintf(answer, sizeof(answer), "{\"n\":%d}", number + 1);
  uint8_t encoded[64];
  EXPECT(hyperswarm_channel_send(channel, type, encoded, put_text(encoded, answer)) >= 0);
}

static void send_back(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  (void) user_data;
  EXPECT(hyperswarm_channel_send(channel, type, data, length) >= 0);
}

static void offer_echo(hyperswarm_mux_t *mux, const uint8_t *id, size_t length, void *user_data) {
  (void) mux;
  hyperswarm_channel_t *channel = accept_channel(user_data, "echo", id, length, NULL);
  EXPECT(hyperswarm_channel_add_message(channel, to_upper, user_data) == 0);
  EXPECT(hyperswarm_channel_add_message(channel, next_number, user_data) == 1);
  EXPECT(hyperswarm_channel_add_message(channel, send_back, user_data) == 2);
  uint8_t handshake[64];
  size_t count = put_text(handshake, "hello from the answering side");
  EXPECT(hyperswarm_channel_open(channel, handshake, count) == HYPERSWARM_OK);
}

static void twice(hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  uint8_t answer[9];
  (void) user_data;
  EXPECT(hyperswarm_channel_send(channel, type, answer, put_uint(answer, 2 * get_uint(data, length))) >= 0);
}

static void end_it(hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  (void) user_data, (void) data;
  EXPECT(type == 1 && length == 1);
  EXPECT(hyperswarm_channel_close(channel) == HYPERSWARM_OK);
}

static void offer_many(hyperswarm_mux_t *mux, const uint8_t *id, size_t length, void *user_data) {
  (void) mux;
  hyperswarm_channel_t *channel = accept_channel(user_data, "many", id, length, NULL);
  EXPECT(hyperswarm_channel_add_message(channel, twice, NULL) == 0);
  EXPECT(hyperswarm_channel_add_message(channel, end_it, NULL) == 1);
  EXPECT(hyperswarm_channel_open(channel, NULL, 0) == HYPERSWARM_OK);
}

static void count_bytes(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  (void) channel, (void) type, (void) data;
  ((struct answering *) user_data)->bulk += length;
}

static void say_count(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  uint8_t answer[9];
  (void) data, (void) length;
  uint64_t count = ((struct answering *) user_data)->bulk;
  EXPECT(hyperswarm_channel_send(channel, type, answer, put_uint(answer, count)) >= 0);
}

static void offer_bulk(hyperswarm_mux_t *mux, const uint8_t *id, size_t length, void *user_data) {
  (void) mux;
  hyperswarm_channel_t *channel = accept_channel(user_data, "bulk", id, length, NULL);
  EXPECT(hyperswarm_channel_add_message(channel, count_bytes, user_data) == 0);
  EXPECT(hyperswarm_channel_add_message(channel, say_count, user_data) == 1);
  EXPECT(hyperswarm_channel_open(channel, NULL, 0) == HYPERSWARM_OK);
}

static void exclaim(hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  uint8_t answer[64];
  (void) user_data;
  EXPECT(length > 0 && length < sizeof(answer));
  memcpy(answer, data, length);
  answer[0]++;
  answer[length] = '!';
  EXPECT(hyperswarm_channel_send(channel, type, answer, length + 1) >= 0);
}

static void on_mux_close(hyperswarm_mux_t *mux, int status, void *user_data) {
  struct answering *answering = user_data;
  EXPECT(mux == answering->mux && hyperswarm_mux_user_data(mux) == answering);
  answering->status = status;
  answering->closed++;
}

void answer_on(hyperswarm_connection_t *connection, struct answering *answering) {
  hyperswarm_mux_options_t options = {.size = sizeof(options), .on_close = on_mux_close, .user_data = answering};
  EXPECT(hyperswarm_mux_create(connection, &options, &answering->mux) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mux_pair(answering->mux, "echo", NULL, 0, offer_echo, answering) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mux_pair(answering->mux, "many", NULL, 0, offer_many, answering) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mux_pair(answering->mux, "bulk", NULL, 0, offer_bulk, answering) == HYPERSWARM_OK);
  hyperswarm_channel_t *fresh = accept_channel(answering, "fresh/2", NULL, 0, "fresh/1");
  EXPECT(hyperswarm_channel_add_message(fresh, exclaim, NULL) == 0);
  EXPECT(hyperswarm_channel_open(fresh, NULL, 0) == HYPERSWARM_OK);
  EXPECT(hyperswarm_mux_start(answering->mux) == HYPERSWARM_OK);
}

// ---- Asking -------------------------------------------------------------------------------------------------------

struct asked {
  hyperswarm_channel_t *channel;
  int opened, closed, status, answers;
  uint8_t last[LARGE];
  size_t length;
};

static struct {
  hyperswarm_mux_t *mux;
  int drained, closed, status, answers, ended;
} asking;

static void asked_open(hyperswarm_channel_t *channel, const uint8_t *handshake, size_t length, void *user_data) {
  struct asked *asked = user_data;
  EXPECT(channel == asked->channel && length < sizeof(asked->last));
  memcpy(asked->last, handshake, length);
  asked->length = length;
  asked->opened++;
}

static void asked_message(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data) {
  struct asked *asked = user_data;
  (void) type;
  EXPECT(channel == asked->channel && length <= sizeof(asked->last));
  memcpy(asked->last, data, length);
  asked->length = length;
  asked->answers++;
  asking.answers++;
}

static void asked_close(hyperswarm_channel_t *channel, int status, void *user_data) {
  struct asked *asked = user_data;
  EXPECT(channel == asked->channel && asked->closed == 0);
  asked->status = status;
  asked->closed++;
  asking.ended++;
}

static void open_asked(
  struct asked *asked, const char *protocol, const void *id, size_t length, const char *alias, const char *handshake) {
  hyperswarm_channel_options_t options = {
    .size = sizeof(options), .protocol = protocol, .id = id, .id_length = length, .user_data = asked};
  options.on_open = asked_open;
  options.on_message = asked_message;
  options.on_close = asked_close;
  options.aliases = &alias;
  options.alias_count = alias != NULL;
  uint8_t encoded[64];
  size_t count = handshake != NULL ? put_text(encoded, handshake) : 0;
  EXPECT(hyperswarm_channel_create(asking.mux, &options, &asked->channel) == HYPERSWARM_OK);
  EXPECT(hyperswarm_channel_open(asked->channel, encoded, count) == HYPERSWARM_OK);
}

static void on_drain(hyperswarm_mux_t *mux, void *user_data) {
  EXPECT(mux == asking.mux && user_data == &asking);
  asking.drained++;
}

static void asking_close(hyperswarm_mux_t *mux, int status, void *user_data) {
  EXPECT(mux == asking.mux && user_data == &asking);
  asking.status = status;
  asking.closed++;
}

static void ask_many(struct bench *bench) {
  static struct asked many[MANY];
  memset(many, 0, sizeof(many));
  asking.answers = asking.ended = 0;
  EXPECT(hyperswarm_mux_cork(asking.mux) == HYPERSWARM_OK);
  for (int index = 0; index < MANY; index++) {
    uint8_t id[2] = {(uint8_t) (index >> 8), (uint8_t) index}, number[9];
    open_asked(&many[index], "many", id, sizeof(id), NULL, NULL);
    EXPECT(hyperswarm_channel_send(many[index].channel, 0, number, put_uint(number, (uint64_t) index)) >= 0);
  }
  EXPECT(hyperswarm_mux_uncork(asking.mux) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &asking.answers, MANY));
  for (int index = 0; index < MANY; index++) {
    EXPECT(get_uint(many[index].last, many[index].length) == 2 * (uint64_t) index && many[index].opened == 1);
    if (index % 2) {
      EXPECT(hyperswarm_channel_close(many[index].channel) == HYPERSWARM_OK);
      EXPECT(hyperswarm_channel_close(many[index].channel) == HYPERSWARM_ERR_CLOSED && many[index].closed == 0);
    } else {
      EXPECT(hyperswarm_channel_send(many[index].channel, 1, "\1", 1) >= 0);
    }
  }
  EXPECT(bench_run(bench, &asking.ended, MANY));
  for (int index = 0; index < MANY; index++) EXPECT(many[index].closed == 1 && many[index].status == HYPERSWARM_OK);
}

// As fast as there is room.
static void ask_bulk(struct bench *bench) {
  static struct asked bulk;
  static uint8_t piece[PIECE];
  memset(&bulk, 0, sizeof(bulk));
  open_asked(&bulk, "bulk", "b", 1, NULL, NULL);
  for (int index = 0; index < PIECES; index++) {
    int drained = asking.drained;
    memset(piece, index, sizeof(piece));
    int64_t queued = hyperswarm_channel_send(bulk.channel, 0, piece, sizeof(piece));
    EXPECT(queued >= 0);
    if (queued > HYPERSWARM_WRITE_HIGH_WATER) EXPECT(bench_run(bench, &asking.drained, drained + 1));
  }
  EXPECT(hyperswarm_channel_send(bulk.channel, 1, "", 1) >= 0);
  EXPECT(bench_run(bench, &bulk.answers, 1) && get_uint(bulk.last, bulk.length) == PIECE * PIECES);
}

void ask_on(struct bench *bench, hyperswarm_connection_t *connection) {
  static struct asked fresh, unknown, echo;
  static uint8_t large[LARGE];
  uint8_t encoded[64];
  memset(&fresh, 0, sizeof(fresh));
  memset(&unknown, 0, sizeof(unknown));
  memset(&echo, 0, sizeof(echo));
  memset(&asking, 0, sizeof(asking));
  hyperswarm_mux_options_t options = {.size = sizeof(options), .on_drain = on_drain, .user_data = &asking};
  options.on_close = asking_close;
  EXPECT(hyperswarm_mux_create(connection, &options, &asking.mux) == HYPERSWARM_OK);
  open_asked(&fresh, "fresh/1", NULL, 0, "fresh/2", NULL);
  open_asked(&unknown, "unknown", NULL, 0, NULL, NULL);
  open_asked(&echo, "echo", "one", 3, NULL, "hello from the asking side");
  EXPECT(hyperswarm_channel_send(echo.channel, 0, encoded, put_text(encoded, "before it is open")) >= 0);
  EXPECT(hyperswarm_mux_start(asking.mux) == HYPERSWARM_OK);
  EXPECT(bench_run(bench, &unknown.closed, 1) && unknown.status == HYPERSWARM_ERR_CHANNEL_REJECTED);
  EXPECT(bench_run(bench, &echo.answers, 1) && echo.opened == 1);
  EXPECT(is_text(echo.last, echo.length, "BEFORE IT IS OPEN"));
  EXPECT(hyperswarm_channel_send(echo.channel, 1, encoded, put_text(encoded, "{\"n\":41}")) >= 0);
  EXPECT(bench_run(bench, &echo.answers, 2) && is_text(echo.last, echo.length, "{\"n\":42}"));
  memset(large, 7, sizeof(large));
  EXPECT(hyperswarm_channel_send(echo.channel, 2, large, sizeof(large)) >= 0);
  EXPECT(bench_run(bench, &echo.answers, 3));
  EXPECT(echo.length == LARGE && memcmp(large, echo.last, LARGE) == 0);
  EXPECT(bench_run(bench, &fresh.opened, 1));
  EXPECT(hyperswarm_channel_send(fresh.channel, 0, encoded, put_text(encoded, "alias")) >= 0);
  EXPECT(bench_run(bench, &fresh.answers, 1) && is_text(fresh.last, fresh.length, "alias!"));
  ask_many(bench);
  ask_many(bench);
  ask_bulk(bench);
  EXPECT(hyperswarm_mux_is_opened(asking.mux, "echo", "one", 3) == 1);
  EXPECT(hyperswarm_mux_close(asking.mux) == HYPERSWARM_OK && echo.closed == 0);
  EXPECT(hyperswarm_mux_close(asking.mux) == HYPERSWARM_ERR_CLOSED);
  EXPECT(bench_run(bench, &asking.closed, 1) && asking.status == HYPERSWARM_OK);
  EXPECT(echo.closed == 1 && echo.status == HYPERSWARM_OK && fresh.closed == 1);
}
