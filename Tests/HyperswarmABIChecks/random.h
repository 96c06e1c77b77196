// What the parts of the random sequences of calls share.
#ifndef RANDOM_H
#define RANDOM_H

#include "harness.h"

#define SWARMS 3
#define CONNECTIONS 24
#define SERVERS 4
#define VERDICTS 4
#define OPERATIONS 16
#define TOPICS 3
#define MUXES 12
#define CHANNELS 32
#define REQUESTS 8
#define DEPTH 3 // of calls inside callbacks of calls inside callbacks

// The last handles of each kind; most of them do not live any more.
struct world {
  struct bench bench;
  hyperswarm_t *swarms[SWARMS];
  hyperswarm_connection_t *connections[CONNECTIONS];
  int has_channels[CONNECTIONS];
  hyperswarm_server_t *servers[SERVERS];
  hyperswarm_verdict_t *verdicts[VERDICTS];
  hyperswarm_mux_t *muxes[MUXES];
  hyperswarm_channel_t *channels[CHANNELS];
  hyperswarm_incoming_t *incoming[REQUESTS];
  hyperswarm_commit_t *commits[REQUESTS];
  uint64_t operations[OPERATIONS], state, calls, accepted, messages, channel_messages, requests;
  uint8_t keys[SWARMS + SERVERS][HYPERSWARM_KEY_SIZE];
  int tickets, destroying, depth, is_ending;
};
extern struct world world;

// What waits for a completion, which gives it back once.
struct ticket {
  int count;
  uint8_t *memory; // lent to the library
};

uint32_t draw(uint32_t below);
void maybe_act(void);
struct ticket *take_ticket(void);
void give_back(void *user_data);
// The outcome of a call: an error has no completion.
void judge(int64_t result, struct ticket *ticket);

void put_channels_on(hyperswarm_connection_t *connection);
int act_on_mux(void); // whether there was one
void act_on_channel(void);
void act_on_request(hyperswarm_t *swarm, const uint8_t *key);

#endif
