// Identities, topics, and texts of keys: nothing of this needs a network.
//
//   cc keys.c $(pkg-config --cflags --libs hyperswarm) -o keys && ./keys [KEY]
#include <hyperswarm.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  printf("version %s\n", hyperswarm_version());

  // The same seed, the same identity: what a program keeps in a file of its own.
  uint8_t seed[HYPERSWARM_SEED_SIZE] = {1, 2, 3}, public_key[HYPERSWARM_KEY_SIZE];
  uint8_t secret_key[HYPERSWARM_SECRET_KEY_SIZE];
  int status = hyperswarm_key_pair_from_seed(public_key, secret_key, seed);
  if (status != HYPERSWARM_OK) return fprintf(stderr, "%s\n", hyperswarm_strerror(status)), 1;
  char people[HYPERSWARM_ZBASE32_SIZE], hex[HYPERSWARM_HEX_SIZE];
  hyperswarm_key_to_zbase32(public_key, people);
  hyperswarm_key_to_hex(public_key, hex);
  printf("identity %s\n         %s\n", people, hex);

  // Peers that share a name meet under its hash.
  uint8_t topic[HYPERSWARM_KEY_SIZE];
  hyperswarm_hash("a room", strlen("a room"), topic);
  hyperswarm_key_to_hex(topic, hex);
  printf("topic    %s\n", hex);

  // What people type in: either form.
  const char *text = argc > 1 ? argv[1] : people;
  uint8_t key[HYPERSWARM_KEY_SIZE];
  status = hyperswarm_key_parse(text, key);
  if (status != HYPERSWARM_OK) return fprintf(stderr, "%s is no key: %s\n", text, hyperswarm_error_name(status)), 1;
  printf("%s\n", memcmp(key, public_key, sizeof(key)) == 0 ? "this identity" : "of another one");
  return 0;
}
