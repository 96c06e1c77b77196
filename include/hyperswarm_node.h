// Part of hyperswarm.h: the node of a swarm, and operations under way.

#ifndef HYPERSWARM_NODE_H
#define HYPERSWARM_NODE_H

#include "hyperswarm.h"

#ifdef __cplusplus
extern "C" {
#endif

/// @addtogroup node
/// @{

/// The number of the operation that the last successful call on this thread has begun: of every function with
/// _operation_ among its errors but hyperswarm_connect, hyperswarm_connection_write,
/// hyperswarm_connection_write_borrowed and hyperswarm_server_listen. 0 when there was none.
/// @thread any
/// @memory None.
/// @errors None.
uint64_t hyperswarm_last_operation(void);

/// Gives an operation of this swarm up: its completion comes with HYPERSWARM_ERR_CANCELLED as soon as the loop gets to
/// it. Look-ups, announcements, pings and flushes end with it. A put or get goes on inside, a joined topic stays
/// joined, and what else has begun is not taken back: only the waiting ends. Without effect when the completion has
/// come. A connection under way is given up by hyperswarm_connection_destroy.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_SWARM_DESTROYED.
int hyperswarm_cancel(hyperswarm_t *swarm, uint64_t operation);

/// A node of the network.
typedef struct hyperswarm_node {
  size_t size;         ///< that of the library
  const uint8_t *id;   ///< HYPERSWARM_KEY_SIZE bytes; NULL for a node that does not serve the network
  const char *address; ///< of the node
} hyperswarm_node_t;

/// The answer to a ping.
typedef struct hyperswarm_pong {
  size_t size;              ///< that of the library
  const uint8_t *id;        ///< as of hyperswarm_node_t
  const char *address;      ///< of the node
  const char *seen_address; ///< ours, as that node sees it
  uint64_t round_trip_time; ///< milliseconds
} hyperswarm_pong_t;

/// Asks a node whether it is there. `pong` is borrowed, NULL when `status` is not HYPERSWARM_OK.
/// @thread loop
/// @memory `address` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_ADDRESS.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_REQUEST_TIMEOUT; _ended_.
int hyperswarm_ping(
  hyperswarm_t *swarm, const char *address,
  void (*done)(hyperswarm_t *swarm, int status, const hyperswarm_pong_t *pong, void *user_data), void *user_data);

/// The nodes closest to a target: `each` once per node, closest first, then `done`.
/// @thread loop
/// @memory `target` is copied; `node` is borrowed until `each` returns.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_NETWORK_UNREACHABLE; HYPERSWARM_ERR_TOO_FEW_NODES; _ended_.
int hyperswarm_find_node(
  hyperswarm_t *swarm, const uint8_t target[HYPERSWARM_KEY_SIZE],
  void (*each)(hyperswarm_t *swarm, const hyperswarm_node_t *node, void *user_data), hyperswarm_done_cb done,
  void *user_data);

/// Puts a node into the routing table. It stays there as long as it answers.
/// @thread loop
/// @memory `address` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_ADDRESS.
int hyperswarm_add_node(hyperswarm_t *swarm, const char *address);

/// The counters of the swarm, its node and the transport as text for Prometheus, under the names that dashboards of the
/// deployed stack use where it has the same (docs/metrics.md). `callback` once; "" when the swarm is destroyed before.
/// @thread loop
/// @memory `text` is borrowed until `callback` returns.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_metrics(
  hyperswarm_t *swarm, void (*callback)(hyperswarm_t *swarm, const char *text, void *user_data), void *user_data);

/// @}

#ifdef __cplusplus
}
#endif

#endif
