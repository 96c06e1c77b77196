// What `hyperswarm-benchmark-workloads pair` does, through the C interface, both ends on the default loop of libuv:
//
//   hyperswarm-benchmark-c bulk HOST:PORT MESSAGES BYTES
//   hyperswarm-benchmark-c echo HOST:PORT COUNT
//   hyperswarm-benchmark-c connect HOST:PORT COUNT
#include <hyperswarm.h>
#include <uv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static hyperswarm_t *swarms[2];
static hyperswarm_connection_t *own;
static enum { BULK, ECHO_BACK, CONNECT } work;
static uint8_t key[HYPERSWARM_KEY_SIZE];
static uint8_t message[65536];
static size_t count, bytes, part, sent, received;
static double started, cpu_started, sent_at, *times;
static size_t measured, warm_up;

static double
now (void) {
  return (double) uv_hrtime() / 1e9;
}

static double
cpu (void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return (double) (r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double) (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

static void
check (int64_t status) {
  if (status >= HYPERSWARM_OK) return;
  fprintf(stderr, "%s\n", hyperswarm_strerror((int) status));
  exit(2);
}

static void
figure (const char *name, const char *metric, double value, const char *unit, const char *higher) {
  printf("{\"work\": \"%s\", \"metric\": \"%s\", \"value\": %.6f, \"unit\": \"%s\", \"higher\": %s}\n", name, metric,
    value, unit, higher);
}

static void
finish (const char *name) {
  if (measured > 0) {
    printf("{\"work\": \"%s\", \"times\": [", name);
    for (size_t i = 0; i < measured; i++) printf("%s%.1f", i ? ", " : "", times[i]);
    printf("]}\n");
  }
  fflush(stdout);
  _exit(0); // what is open is the kernel's to close
}

// ---- bulk ----

static void
fill (hyperswarm_connection_t *connection, void *user_data) {
  (void) user_data;
  while (sent < part) {
    int64_t queued = hyperswarm_connection_write(connection, message, bytes, NULL, NULL);
    if (queued == HYPERSWARM_ERR_QUEUE_FULL) return;
    check(queued);
    sent++;
    if (queued > HYPERSWARM_WRITE_HIGH_WATER) return;
  }
}

// The first tenth is warm-up.
static void
begin_part (size_t messages) {
  part = messages;
  sent = received = 0;
  started = now();
  cpu_started = cpu();
  fill(own, NULL);
}

static void
take_bulk (size_t length) {
  char name[80];
  received += length;
  if (received < part * bytes) return;
  if (part != count) {
    begin_part(count);
    return;
  }
  snprintf(name, sizeof(name), "encrypted bulk, messages of %zu bytes", bytes);
  figure(name, "throughput", (double) received / (now() - started) / 1e6, "MB/s", "true");
  figure(name, "CPU", (cpu() - cpu_started) / (double) received * 1e9, "s/GB", "false");
  finish("");
}

// ---- echo ----

static void
send_echo (void) {
  sent_at = now();
  check(hyperswarm_connection_write(own, message, bytes, NULL, NULL));
}

static void
take_echo (void) {
  if (warm_up < count / 10) {
    warm_up++;
  } else {
    times[measured++] = (now() - sent_at) * 1e6;
  }
  if (measured == count) finish("encrypted echo, 64 bytes");
  send_echo();
}

// ---- connections ----

static void
dial (void);

static void
on_open (hyperswarm_connection_t *connection, void *user_data) {
  (void) user_data;
  switch (work) {
  case BULK:
    begin_part(count / 10 ? count / 10 : 1);
    return;
  case ECHO_BACK:
    send_echo();
    return;
  case CONNECT:
    break;
  }
  times[measured++] = (now() - sent_at) * 1e6;
  check(hyperswarm_connection_write(connection, message, 1, NULL, NULL));
  check(hyperswarm_connection_destroy(connection));
}

static void
on_own_message (hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) connection, (void) data, (void) length, (void) user_data;
  if (work == ECHO_BACK) take_echo();
}

static void
on_own_close (hyperswarm_connection_t *connection, int status, void *user_data) {
  (void) connection, (void) user_data;
  check(status);
  if (measured < count) {
    dial();
    return;
  }
  figure("connect by key", "rate", (double) count / (now() - started), "/s", "true");
  figure("connect by key", "CPU", (cpu() - cpu_started) / (double) count * 1e3, "ms each", "false");
  finish("connect by key");
}

static void
dial (void) {
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_open = on_open};
  callbacks.on_message = on_own_message;
  callbacks.on_drain = fill;
  callbacks.on_close = on_own_close;
  sent_at = now();
  check(hyperswarm_connect(swarms[1], key, NULL, &callbacks, &own));
}

static void
on_message (hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  (void) user_data;
  switch (work) {
  case BULK:
    take_bulk(length);
    break;
  case ECHO_BACK:
    check(hyperswarm_connection_write(connection, data, length, NULL, NULL));
    break;
  case CONNECT:
    check(hyperswarm_connection_destroy(connection));
    break;
  }
}

static void
on_connection (hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data) {
  (void) server, (void) user_data;
  hyperswarm_connection_callbacks_t callbacks = {.size = sizeof(callbacks), .on_message = on_message};
  check(hyperswarm_connection_set_callbacks(connection, &callbacks));
}

static void
on_listening (hyperswarm_server_t *server, int status, void *user_data) {
  (void) user_data;
  check(status);
  check(hyperswarm_server_public_key(server, key));
  started = now();
  cpu_started = cpu();
  dial();
}

int
main (int argc, char **argv) {
  if (argc < 4) return 64;
  work = !strcmp(argv[1], "bulk") ? BULK : !strcmp(argv[1], "echo") ? ECHO_BACK : CONNECT;
  count = strtoul(argv[3], NULL, 10);
  bytes = argc > 4 ? strtoul(argv[4], NULL, 10) : 64;
  times = calloc(count, sizeof(*times));
  if (count == 0 || bytes == 0 || bytes > sizeof(message) || times == NULL) return 64;
  memset(message, 7, sizeof(message));
  hyperswarm_options_t options = {.size = sizeof(options), .loop = uv_default_loop(), .bootstrap = argv[2]};
  options.host = "127.0.0.1";
  for (int i = 0; i < 2; i++) check(hyperswarm_create(&options, &swarms[i]));
  hyperswarm_server_options_t server = {.size = sizeof(server), .on_listening = on_listening};
  server.on_connection = on_connection;
  hyperswarm_server_t *listening;
  check(hyperswarm_server_listen(swarms[0], &server, &listening));
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
