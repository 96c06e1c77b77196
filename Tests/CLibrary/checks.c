// The checks of Tests/HyperswarmABIChecks against an installed library: one line for each.
#include "checks.h"

#include <stdio.h>
#include <string.h>

#define CHECK(name) \
  { #name, name }

static const struct {
  const char *name;
  int (*run)(void);
} checks[] = {
  CHECK(check_errors),
  CHECK(check_keys),
  CHECK(check_arguments),
  CHECK(check_threads),
  CHECK(check_create_failures),
  CHECK(check_topic_transfer),
  CHECK(check_own_threads),
  CHECK(check_connect_by_key),
  CHECK(check_refused),
  CHECK(check_relays),
  CHECK(check_values),
  CHECK(check_announcements),
  CHECK(check_peers),
  CHECK(check_bounds),
  CHECK(check_destroy_in_callbacks),
  CHECK(check_pending_at_destroy),
  CHECK(check_concurrent_use),
  CHECK(check_fork),
  CHECK(check_network),
  CHECK(check_peer_proof),
  CHECK(check_error_details),
  CHECK(check_older_programs),
  CHECK(check_polled_loop),
  CHECK(check_polled_threads),
  CHECK(check_events),
  CHECK(check_node_events),
  CHECK(check_late_verdicts),
  CHECK(check_cancel),
  CHECK(check_nodes),
  CHECK(check_topics),
  CHECK(check_key_texts),
  CHECK(check_borrowed_writes),
  CHECK(check_server_functions),
  CHECK(check_trace),
  CHECK(check_channels),
  CHECK(check_channel_errors),
  CHECK(check_channel_violations),
  CHECK(check_channel_threads),
  CHECK(check_commands),
  CHECK(check_random_calls),
};

// checks [NAME]: all of them, or one.
int main(int argc, char **argv) {
  int bad = 0;
  for (size_t index = 0; index < sizeof(checks) / sizeof(*checks); index++) {
    if (argc > 1 && strcmp(argv[1], checks[index].name) != 0) continue;
    int failed = checks[index].run();
    printf("%s %s\n", failed == 0 ? "ok" : "FAILED", checks[index].name);
    fflush(stdout);
    bad += failed != 0;
  }
  return bad != 0;
}
