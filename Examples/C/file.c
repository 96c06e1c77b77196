// A file from one to another, however large: nothing but what is under way is in memory.
//
//   cc file.c $(pkg-config --cflags --libs hyperswarm) -lpthread -o file
//   ./file send PATH [host:port,...]            prints a key; ends when one peer has the file
//   ./file receive KEY PATH [host:port,...]     the last argument enters a private network
#include <hyperswarm.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#define CHUNK 65536

struct transfer {
  FILE *file;
  uint64_t expected, received;
  int has_size, is_done, status;
  hyperswarm_connection_t *connection; // the one that is served
};

static sem_t step;

static void finish(struct transfer *transfer, int status) {
  transfer->status = status;
  sem_post(&step);
}

// ---- Sending ----

// As much as there is room for; the rest when there is room again.
static void send_some(struct transfer *transfer, hyperswarm_connection_t *connection) {
  static uint8_t data[CHUNK];
  for (;;) {
    size_t length = fread(data, 1, sizeof(data), transfer->file);
    if (length == 0) break;
    int64_t queued = hyperswarm_connection_write(connection, data, length, NULL, NULL);
    if (queued < 0) return; // it closes, and says why
    if (queued > HYPERSWARM_WRITE_HIGH_WATER) return;
  }
  // A file that cannot be read must not look like one that has ended.
  if (ferror(transfer->file)) hyperswarm_connection_destroy(connection);
  hyperswarm_connection_end(connection);
}

static void send_drain(hyperswarm_connection_t *connection, void *user_data) { send_some(user_data, connection); }

// The receiver has everything and says so by one message.
static void send_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  struct transfer *transfer = user_data;
  (void) connection;
  transfer->is_done = length == 4 && memcmp(data, "done", 4) == 0;
}

static void send_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct transfer *transfer = user_data;
  (void) connection;
  transfer->connection = NULL;
  if (transfer->is_done) {
    finish(transfer, HYPERSWARM_OK);
  } else {
    fprintf(stderr, "a peer has gone without the file: %s\n", hyperswarm_strerror(status));
  }
}

static void send_connection(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  struct transfer *transfer = user_data;
  (void) server;
  if (transfer->connection != NULL) {
    hyperswarm_connection_destroy(connection); // one at a time
    return;
  }
  transfer->connection = connection;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_message = send_message};
  callbacks.on_drain = send_drain;
  callbacks.on_close = send_close;
  callbacks.user_data = transfer;
  hyperswarm_connection_set_callbacks(connection, &callbacks);
  uint8_t size[8];
  for (int i = 0; i < 8; i++) size[i] = (uint8_t) (transfer->expected >> (8 * i));
  rewind(transfer->file);
  hyperswarm_connection_write(connection, size, sizeof(size), NULL, NULL);
  send_some(transfer, connection);
}

static void send_listening(hyperswarm_server_t *server, int status, void *user_data) {
  uint8_t key[HYPERSWARM_KEY_SIZE];
  char text[HYPERSWARM_ZBASE32_SIZE];
  if (status != HYPERSWARM_OK) {
    finish(user_data, status);
    return;
  }
  hyperswarm_server_public_key(server, key);
  hyperswarm_key_to_zbase32(key, text);
  printf("%s\n", text);
  fflush(stdout);
}

static int send_file(hyperswarm_t *swarm, struct transfer *transfer, const char *path) {
  transfer->file = fopen(path, "rb");
  if (transfer->file == NULL || fseek(transfer->file, 0, SEEK_END) != 0) return perror(path), HYPERSWARM_ERR_UNKNOWN;
  transfer->expected = (uint64_t) ftell(transfer->file);
  hyperswarm_server_options_t options = {.size = sizeof(options), .on_listening = send_listening};
  options.on_connection = send_connection;
  options.user_data = transfer;
  hyperswarm_server_t *server;
  return hyperswarm_server_listen(swarm, &options, &server);
}

// ---- Receiving ----

static void receive_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  struct transfer *transfer = user_data;
  if (!transfer->has_size) {
    transfer->has_size = 1;
    for (size_t i = 0; i < length && i < 8; i++) transfer->expected |= (uint64_t) data[i] << (8 * i);
    return;
  }
  transfer->received += length;
  if (fwrite(data, 1, length, transfer->file) != length) hyperswarm_connection_destroy(connection);
}

static void receive_end(hyperswarm_connection_t *connection, void *user_data) {
  struct transfer *transfer = user_data;
  int is_whole = transfer->has_size && transfer->received == transfer->expected && fflush(transfer->file) == 0;
  if (is_whole) hyperswarm_connection_write(connection, "done", 4, NULL, NULL);
  transfer->is_done = is_whole;
  hyperswarm_connection_end(connection);
}

static void receive_close(hyperswarm_connection_t *connection, int status, void *user_data) {
  struct transfer *transfer = user_data;
  (void) connection;
  finish(transfer, transfer->is_done ? HYPERSWARM_OK : status != HYPERSWARM_OK ? status : HYPERSWARM_ERR_TRUNCATED);
}

static int receive_file(hyperswarm_t *swarm, struct transfer *transfer, const char *text, const char *path) {
  uint8_t key[HYPERSWARM_KEY_SIZE];
  int status = hyperswarm_key_parse(text, key);
  if (status != HYPERSWARM_OK) return status;
  transfer->file = fopen(path, "wb");
  if (transfer->file == NULL) return perror(path), HYPERSWARM_ERR_UNKNOWN;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_message = receive_message};
  callbacks.on_end = receive_end;
  callbacks.on_close = receive_close;
  callbacks.user_data = transfer;
  return hyperswarm_connect(swarm, key, NULL, &callbacks, &transfer->connection);
}

static void on_gone(void *user_data) {
  (void) user_data;
  sem_post(&step);
}

int main(int argc, char **argv) {
  int sends = argc > 2 && strcmp(argv[1], "send") == 0, receives = argc > 3 && strcmp(argv[1], "receive") == 0;
  if (!sends && !receives) return fprintf(stderr, "usage: file send PATH | receive KEY PATH [host:port,...]\n"), 1;
  const int last = sends ? 3 : 4;
  sem_init(&step, 0, 0);
  struct transfer transfer = {0};
  hyperswarm_options_t options = {.size = sizeof(options), .bootstrap = argc > last ? argv[last] : NULL};
  hyperswarm_t *swarm;
  int status = hyperswarm_create(&options, &swarm);
  if (status == HYPERSWARM_OK) {
    status = sends ? send_file(swarm, &transfer, argv[2]) : receive_file(swarm, &transfer, argv[2], argv[3]);
    if (status == HYPERSWARM_OK) {
      sem_wait(&step);
      status = transfer.status;
    }
    if (hyperswarm_destroy(swarm, 0, on_gone, NULL) == HYPERSWARM_OK) sem_wait(&step);
  }
  if (transfer.file != NULL && fclose(transfer.file) != 0) status = HYPERSWARM_ERR_UNKNOWN;
  if (status != HYPERSWARM_OK) fprintf(stderr, "%s\n", hyperswarm_strerror(status));
  return status != HYPERSWARM_OK;
}
