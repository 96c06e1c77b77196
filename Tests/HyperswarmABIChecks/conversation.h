// What two peers say to each other over channels; Tests/Interop/protomux.js and ProtomuxConversation say the same.
#ifndef CONVERSATION_H
#define CONVERSATION_H

#include "harness.h"

// The side that answers.
struct answering {
  hyperswarm_mux_t *mux;
  int closed, status, channels;
  uint64_t bulk;
};

void answer_on(hyperswarm_connection_t *connection, struct answering *answering);

// The side that asks, to the end of the connection. Runs the loop.
void ask_on(struct bench *bench, hyperswarm_connection_t *connection);

// An unsigned integer as it is on the wire: 1 to 9 bytes.
size_t put_uint(uint8_t *data, uint64_t value);
uint64_t get_uint(const uint8_t *data, size_t length);
// A text with its length before it.
size_t put_text(uint8_t *data, const char *text);
int is_text(const uint8_t *data, size_t length, const char *text);

#endif
