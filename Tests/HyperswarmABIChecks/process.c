// What the process around the library does: forks, and errors of the system.
#include "harness.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

// The child's part: no expectation, because its failures are counted in its exit status.
static int child(hyperswarm_t *swarm) {
  uint8_t key[HYPERSWARM_KEY_SIZE] = {0};
  int gone = 0;
  int wrong = 0;
  wrong += hyperswarm_public_key(swarm, key) != HYPERSWARM_ERR_FORKED;
  wrong += hyperswarm_join(swarm, key, HYPERSWARM_SERVER, NULL, NULL) != HYPERSWARM_ERR_FORKED;
  wrong += hyperswarm_destroy(swarm, 0, on_gone, &gone) != HYPERSWARM_ERR_FORKED;
  wrong += hyperswarm_user_data(swarm) != NULL;
  wrong += gone != 0;
  // What is inherited does not count.
  wrong += hyperswarm_handle_count() != 0;
  return wrong;
}

int check_fork(void) {
  struct bench bench;
  bench_start(&bench, 0);
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *embedded, *own;
  EXPECT(hyperswarm_create(&options, &embedded) == HYPERSWARM_OK);
  options.loop = NULL;
  EXPECT(hyperswarm_create(&options, &own) == HYPERSWARM_OK);
  pid_t process = fork();
  // A hang would otherwise be the parent's.
  if (process == 0) {
    alarm(20);
    _exit(child(embedded) + child(own));
  }
  EXPECT(hyperswarm_handle_count() == 2);
  int status = -1;
  EXPECT(process > 0 && waitpid(process, &status, 0) == process);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  // The parent goes on.
  uint8_t key[HYPERSWARM_KEY_SIZE];
  EXPECT(hyperswarm_public_key(embedded, key) == HYPERSWARM_OK && hyperswarm_public_key(own, key) == HYPERSWARM_OK);
  // The loop of the bench does not see the end of the other thread.
  int polls = 0;
  EXPECT(hyperswarm_destroy(own, 1, NULL, NULL) == HYPERSWARM_OK);
  while (hyperswarm_handle_count() > 1 && polls++ < 1000) usleep(10000);
  EXPECT(hyperswarm_handle_count() == 1);
  bench_destroy(&bench, embedded);
  return bench_end(&bench);
}

int check_error_details(void) {
  struct bench bench;
  bench_start(&bench, 0);
  hyperswarm_options_t options = bench_options(&bench);
  hyperswarm_t *first, *second;
  uint16_t port = 0;
  options.flags = HYPERSWARM_NODE_EXACT_PORT;
  EXPECT(hyperswarm_create(&options, &first) == HYPERSWARM_OK);
  EXPECT(hyperswarm_local_port(first, &port) == HYPERSWARM_OK);
  options.port = port;
  options.loop = NULL;
  EXPECT(hyperswarm_create(&options, &second) == HYPERSWARM_ERR_BIND_FAILED);
  char expected[32];
  snprintf(expected, sizeof(expected), "errno %d: ", EADDRINUSE);
  EXPECT(strncmp(hyperswarm_last_error_detail(), expected, strlen(expected)) == 0);
  EXPECT(strlen(hyperswarm_last_error_detail()) > strlen(expected));
  EXPECT(hyperswarm_public_key(NULL, NULL) == HYPERSWARM_ERR_BAD_HANDLE);
  EXPECT(strcmp(hyperswarm_last_error_detail(), "") == 0);
  bench_destroy(&bench, first);
  return bench_end(&bench);
}
