// network NODES SECONDS: a private network for so long; prints where to enter it.
#include <hyperswarm.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void on_ready(hyperswarm_testnet_t *testnet, int status, const char *bootstrap, void *user_data) {
  (void) testnet, (void) user_data;
  if (status == HYPERSWARM_OK) printf("%s\n", bootstrap);
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc != 3) return 1;
  hyperswarm_testnet_t *testnet;
  if (hyperswarm_testnet_create(NULL, (unsigned) atoi(argv[1]), on_ready, NULL, &testnet) != HYPERSWARM_OK) return 1;
  sleep((unsigned) atoi(argv[2]));
  return 0;
}
