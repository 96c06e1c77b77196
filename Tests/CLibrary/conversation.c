// One side of the conversation over channels, for a JavaScript peer: Tests/Interop/protomux.js is the other one.
//
//   conversation ask HOST:PORT KEY      KEY in hexadecimal digits
//   conversation answer HOST:PORT SEED
#include "checks.h"
#include "hyperswarm.h"

#include <stdio.h>
#include <string.h>

static void print_key(void *user_data) {
  printf("%s\n", (const char *) user_data);
  fflush(stdout);
}

int main(int argc, char **argv) {
  uint8_t subject[HYPERSWARM_KEY_SIZE], key[HYPERSWARM_KEY_SIZE], secret[HYPERSWARM_SECRET_KEY_SIZE];
  char text[HYPERSWARM_HEX_SIZE];
  if (argc != 4 || hyperswarm_key_parse(argv[3], subject) != HYPERSWARM_OK) return 2;
  if (strcmp(argv[1], "ask") == 0) return protomux_ask(argv[2], subject) != 0;
  hyperswarm_key_pair_from_seed(key, secret, subject);
  hyperswarm_key_to_hex(key, text);
  return protomux_answer(argv[2], subject, print_key, text) != 0;
}
