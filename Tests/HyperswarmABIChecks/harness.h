// A private network and swarms on a loop that the test runs itself.
#ifndef HARNESS_H
#define HARNESS_H

#include <hyperswarm.h>
#include <uv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"

#define EXPECT(condition) \
  do { \
    if (!(condition)) { \
      failures++; \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
    } \
  } while (0)

extern int failures; // of the running test

struct bench {
  uv_loop_t loop;
  uv_timer_t watchdog;
  int timed_out;
  hyperswarm_testnet_t *testnet;
  int ready;
  int gone; // destroy completions
  char bootstrap[128];
};

// Everything a test wants to know of a connection.
struct peer {
  hyperswarm_connection_t *connection;
  int opened, ended, closed, status, drained, datagrams, written, written_status;
  size_t messages, received, bad; // bytes received, and messages that are not what `fill` made
  uint32_t remote_session;
  char reason[128];
};

int bench_start(struct bench *bench, unsigned nodes); // 0 nodes: no network
int bench_end(struct bench *bench);                   // destroys the network; returns the failures of the test
// Runs the loop until *counter reaches value. 0 after 100 seconds.
int bench_run(struct bench *bench, const int *counter, int value);
void bench_turns(struct bench *bench, int turns);

hyperswarm_options_t bench_options(struct bench *bench);
hyperswarm_connection_callbacks_t peer_callbacks(struct peer *peer);
void bench_destroy(struct bench *bench, hyperswarm_t *swarm);
void on_gone(void *user_data); // counts, user_data is an int *
void on_status(hyperswarm_t *swarm, int status, void *user_data);
void on_written(hyperswarm_connection_t *connection, int status, void *user_data);

// What on_status records.
struct outcome {
  int count, status;
};

#define NO_STATUS 12345

// Of the bulk transfers: more than the write queue holds.
#define TRANSFER ((size_t) 9 << 20) // bytes each way
#define MESSAGE ((size_t) 100000)

// A message that can be checked: length, then bytes that follow from number and length.
size_t fill(uint8_t *data, uint32_t number, size_t length);
int is_filled(const uint8_t *data, uint32_t number, size_t length);

#endif
