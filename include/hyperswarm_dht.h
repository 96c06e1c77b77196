// Part of hyperswarm.h: look-ups, announcements, values; a private network.

#ifndef HYPERSWARM_DHT_H
#define HYPERSWARM_DHT_H

#include "hyperswarm.h"

#ifdef __cplusplus
extern "C" {
#endif

/// @addtogroup dht
/// @{

/// An announced peer, as one node reports it.
typedef struct hyperswarm_record {
  size_t size;                 ///< that of the library
  const uint8_t *public_key;   ///< HYPERSWARM_KEY_SIZE bytes
  const char *relay_addresses; ///< nodes that route to the peer, with commas: for hyperswarm_connect_options_t
  const char *from;            ///< the node that says so
} hyperswarm_record_t;

/// One record, borrowed until it returns. 0: go on; anything else ends the search.
typedef int (*hyperswarm_record_cb)(hyperswarm_t *swarm, const hyperswarm_record_t *record, void *user_data);

/// Announces a key under a topic for about 20 minutes (hyperswarm_join keeps it fresh). `secret_key` NULL: the swarm's
/// identity.
/// @thread loop
/// @memory `topic` and `secret_key` are copied; the copy of the secret key is wiped after `done`.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status HYPERSWARM_OK: at least one node holds it; HYPERSWARM_ERR_TOO_FEW_NODES: none took it;
/// HYPERSWARM_ERR_NETWORK_UNREACHABLE; _ended_.
int hyperswarm_announce(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], const uint8_t *secret_key, hyperswarm_done_cb done,
  void *user_data);

/// What hyperswarm_announce_with takes. Copied, with what it points to.
typedef struct hyperswarm_announce_options {
  size_t size;                 ///< sizeof(hyperswarm_announce_options_t)
  const uint8_t *secret_key;   ///< as for hyperswarm_announce
  const char *relay_addresses; ///< nodes that route to the key, host:port and commas; NULL: none are named
} hyperswarm_announce_options_t;

/// hyperswarm_announce with more to say.
/// @thread loop
/// @memory `topic` and `options` are copied; the copy of the secret key is wiped after `done`.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE; HYPERSWARM_ERR_INVALID_ADDRESS.
/// @status As for hyperswarm_announce.
int hyperswarm_announce_with(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], const hyperswarm_announce_options_t *options,
  hyperswarm_done_cb done, void *user_data);

/// Withdraws an announcement. `secret_key` as for hyperswarm_announce.
/// @thread loop
/// @memory `topic` and `secret_key` are copied; the copy of the secret key is wiped after `done`.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status As for hyperswarm_announce.
int hyperswarm_unannounce(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], const uint8_t *secret_key, hyperswarm_done_cb done,
  void *user_data);

/// Peers announced under the topic. `each` per record, the same peer as often as nodes report it; then `done`.
/// @thread loop
/// @memory `topic` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status HYPERSWARM_OK, also when `each` has ended the search; HYPERSWARM_ERR_NETWORK_UNREACHABLE;
/// HYPERSWARM_ERR_TOO_FEW_NODES; _ended_.
int hyperswarm_lookup(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], hyperswarm_record_cb each, hyperswarm_done_cb done,
  void *user_data);

/// Nodes that hold an announcement of the key; otherwise as hyperswarm_lookup.
/// @thread loop
/// @memory `public_key` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status As for hyperswarm_lookup.
int hyperswarm_find_peer(
  hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE], hyperswarm_record_cb each,
  hyperswarm_done_cb done, void *user_data);

/// A value of the network.
typedef struct hyperswarm_value {
  size_t size;              ///< that of the library
  const uint8_t *key;       ///< what to ask for: the hash of an immutable value, the public key of a mutable one
  const uint8_t *data;      ///< NULL after a put
  size_t length;            ///< of `data`
  uint64_t sequence;        ///< 0 for immutable values
  const uint8_t *signature; ///< HYPERSWARM_SIGNATURE_SIZE bytes; NULL for immutable values and after a put
  uint32_t stored;          ///< nodes that confirmed a put, at least one; 0 after a get
} hyperswarm_value_t;

/// Outcome of a put or a get, once. `value` is borrowed until it returns, NULL when `status` is not HYPERSWARM_OK.
typedef void (*hyperswarm_value_cb)(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data);

/// Stores up to HYPERSWARM_MAX_VALUE bytes under their hash, for about two days.
/// @thread loop
/// @memory `data` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_VALUE_TOO_LARGE.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_TOO_FEW_NODES: no node took it; HYPERSWARM_ERR_NETWORK_UNREACHABLE; _ended_.
int hyperswarm_immutable_put(
  hyperswarm_t *swarm, const void *data, size_t length, hyperswarm_value_cb done, void *user_data);

/// The value with this hash. What comes has it: nodes cannot forge.
/// @thread loop
/// @memory `hash` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_NOT_FOUND: no node has one; HYPERSWARM_ERR_TOO_FEW_NODES;
/// HYPERSWARM_ERR_NETWORK_UNREACHABLE; _ended_.
int hyperswarm_immutable_get(
  hyperswarm_t *swarm, const uint8_t hash[HYPERSWARM_KEY_SIZE], hyperswarm_value_cb done, void *user_data);

/// Stores up to HYPERSWARM_MAX_VALUE signed bytes under a public key. A higher sequence number replaces a lower one.
/// `secret_key` NULL: the swarm's identity.
/// @thread loop
/// @memory `data` and `secret_key` are copied; the copy of the secret key is wiped after `done`.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_VALUE_TOO_LARGE.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_SEQ_REUSED; HYPERSWARM_ERR_SEQ_TOO_LOW; HYPERSWARM_ERR_TOO_FEW_NODES;
/// HYPERSWARM_ERR_NETWORK_UNREACHABLE; _ended_.
int hyperswarm_mutable_put(
  hyperswarm_t *swarm, const uint8_t *secret_key, uint64_t sequence, const void *data, size_t length,
  hyperswarm_value_cb done, void *user_data);

/// The value with the highest sequence number of at least `sequence`. What comes is signed: nodes cannot forge.
/// @thread loop
/// @memory `public_key` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status As for hyperswarm_immutable_get.
int hyperswarm_mutable_get(
  hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE], uint64_t sequence, hyperswarm_value_cb done,
  void *user_data);

/// @}

/// @addtogroup testnet
/// @{

/// Starts `nodes` (1 to 256) permanent nodes on 127.0.0.1. `loop` as in the options of a swarm. `ready` comes once,
/// with `bootstrap` for hyperswarm_options_t, borrowed (NULL after a failure).
/// @thread any; with a caller's loop the thread of that loop
/// @memory `*testnet` is valid until hyperswarm_testnet_destroy; NULL after a failure.
/// @errors HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_BIND_FAILED; HYPERSWARM_ERR_LOOP_FAILED.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_BIND_FAILED; _ended_.
int hyperswarm_testnet_create(
  struct uv_loop_s *loop, unsigned nodes,
  void (*ready)(hyperswarm_testnet_t *testnet, int status, const char *bootstrap, void *user_data), void *user_data,
  hyperswarm_testnet_t **testnet);

/// Ends the nodes. A `ready` that has not come yet comes before `done`, which is the last callback.
/// @thread loop
/// @memory The handle is invalid from now on.
/// @errors _call_; HYPERSWARM_ERR_LOOP_FAILED: the loop has ended before, and `done` does not come.
int hyperswarm_testnet_destroy(hyperswarm_testnet_t *testnet, void (*done)(void *user_data), void *user_data);

/// @}

#ifdef __cplusplus
}
#endif

#endif
