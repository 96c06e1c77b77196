// Tests of include/hyperswarm.h, in C as its users write it. Each returns how many expectations failed.
#ifndef HYPERSWARM_CHECKS_H
#define HYPERSWARM_CHECKS_H

int check_errors(void);
int check_keys(void);
int check_arguments(void);
int check_threads(void);
int check_create_failures(void);
int check_topic_transfer(void);
int check_own_threads(void);
int check_connect_by_key(void);
int check_refused(void);
int check_relays(void);
int check_values(void);
int check_announcements(void);
int check_peers(void);
int check_bounds(void);
int check_destroy_in_callbacks(void);
int check_pending_at_destroy(void);
int check_concurrent_use(void);
int check_fork(void);
int check_network(void);
int check_peer_proof(void);
int check_error_details(void);
int check_older_programs(void);
int check_polled_loop(void);
int check_polled_threads(void);
int check_events(void);
int check_node_events(void);
int check_late_verdicts(void);
int check_cancel(void);
int check_nodes(void);
int check_topics(void);
int check_key_texts(void);
int check_borrowed_writes(void);
int check_server_functions(void);
int check_trace(void);
int check_channels(void);
int check_channel_errors(void);
int check_channel_violations(void);
int check_channel_threads(void);
int check_commands(void);
int check_random_calls(void);

// One side of a conversation over channels with a peer of another kind: the one that asks a server of this key, and the
// one that answers under the key pair of a seed. `listens` is called when it can be dialled.
int protomux_ask(const char *bootstrap, const unsigned char *key);
int protomux_answer(
  const char *bootstrap, const unsigned char *seed, void (*listens)(void *user_data), void *user_data);

#endif
