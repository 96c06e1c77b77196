// Part of hyperswarm.h: requests of one's own to the nodes of the network, and their answers.

#ifndef HYPERSWARM_COMMANDS_H
#define HYPERSWARM_COMMANDS_H

#include "hyperswarm.h"

#ifdef __cplusplus
extern "C" {
#endif

/// @addtogroup commands
/// @{
///
/// A request and its answer are a datagram each: about 1,000 bytes of value are safe. Both sides have to agree on the
/// number of a command; a node that does not serve it answers with error 1. An empty value arrives as none.

/// Commands below it are those of the network itself, all others are free.
#define HYPERSWARM_FIRST_FREE_COMMAND 11
/// Requests for one command that wait for the program's answer; further ones are dropped, and come again.
#define HYPERSWARM_MAX_INCOMING 256

typedef struct hyperswarm_incoming hyperswarm_incoming_t; ///< a request of another node that has no answer yet
typedef struct hyperswarm_commit hyperswarm_commit_t;     ///< what a query does at one node, under way

/// An answer of a node.
typedef struct hyperswarm_answer {
  size_t size;              ///< that of the library
  const uint8_t *id;        ///< of the node, as in hyperswarm_node_t
  const char *address;      ///< of the node
  const char *seen_address; ///< ours, as that node sees it
  const uint8_t *token;     ///< HYPERSWARM_KEY_SIZE bytes for a request that changes something at the node; or NULL
  const char *closer_nodes; ///< at most 20 that are closer to the target, with commas; "" for none
  uint64_t error;           ///< 0: success, 1: unknown command, 2: invalid token; from 16 on it is the application's
  const uint8_t *value;     ///< NULL for none
  size_t length;            ///< of `value`
  uint64_t round_trip_time; ///< milliseconds
} hyperswarm_answer_t;

/// What hyperswarm_request takes. Copied, with what it points to.
typedef struct hyperswarm_request_options {
  size_t size;           ///< sizeof(hyperswarm_request_options_t)
  uint64_t command;      ///< from HYPERSWARM_FIRST_FREE_COMMAND on; one below asks for what the network itself does
  const uint8_t *target; ///< HYPERSWARM_KEY_SIZE bytes that the answer's closer nodes are close to; or NULL
  const uint8_t *token;  ///< of an earlier answer of the node: proves that our address is ours; or NULL
  const void *value;     ///< or NULL
  size_t length;         ///< of `value`
  int32_t retries;       ///< transmissions after the first one; 0: 3, -1: none
  uint32_t time_to_live; ///< routers that it may pass, at most 255; 0: as many as the system says
} hyperswarm_request_options_t;

/// Asks one node. `done` once; `answer` is borrowed, NULL when `status` is not HYPERSWARM_OK. An answer with an error
/// is an answer.
/// @thread loop
/// @memory `address` and `options` are copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE; HYPERSWARM_ERR_INVALID_ADDRESS.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_REQUEST_TIMEOUT; HYPERSWARM_ERR_MESSAGE_TOO_LARGE: it does not fit a datagram;
/// HYPERSWARM_ERR_TOO_MANY_OPERATIONS: thousands are under way; _ended_.
int hyperswarm_request(
  hyperswarm_t *swarm, const char *address, const hyperswarm_request_options_t *options,
  void (*done)(hyperswarm_t *swarm, int status, const hyperswarm_answer_t *answer, void *user_data), void *user_data);

/// Flags of hyperswarm_query_options_t.
enum {
  HYPERSWARM_QUERY_ONLY_NODES = 1 << 0, ///< ask `nodes` and no others
  /// Send command and value again to the closest nodes, with the token of each one's answer.
  HYPERSWARM_QUERY_COMMIT = 1 << 1,
};

/// What hyperswarm_query takes. Copied, with what it points to.
typedef struct hyperswarm_query_options {
  size_t size;           ///< sizeof(hyperswarm_query_options_t)
  uint64_t command;      ///< as of hyperswarm_request_options_t
  const uint8_t *target; ///< HYPERSWARM_KEY_SIZE bytes
  const void *value;     ///< or NULL
  size_t length;         ///< of `value`
  int32_t retries;       ///< transmissions after the first one, for each node; 0: 5, -1: none
  uint32_t concurrency;  ///< requests at a time; 0: 10
  const char *nodes;     ///< asked first, host:port and commas, at most 1,024; NULL: those that the swarm knows
  uint32_t flags;        ///< HYPERSWARM_QUERY_...
  uint32_t reserved;     ///< 0
  /// An answer without an error, as it comes. Borrowed.
  void (*on_answer)(hyperswarm_t *swarm, const hyperswarm_answer_t *answer, void *user_data);
  /// What to do at each of the closest nodes (at most 20, those with an id) once they are known: called once for each,
  /// for all at a time. The query waits for a hyperswarm_commit_done of each. Not together with
  /// HYPERSWARM_QUERY_COMMIT. `answer` is that of the node, borrowed.
  void (*on_commit)(
    hyperswarm_t *swarm, hyperswarm_commit_t *commit, const hyperswarm_answer_t *answer, void *user_data);
} hyperswarm_query_options_t;

/// What a query has come to.
typedef struct hyperswarm_query_result {
  size_t size;                               ///< that of the library
  const hyperswarm_answer_t *const *closest; ///< answers of the closest nodes, closest first
  size_t closest_count;                      ///< at most 20
  uint64_t successes;                        ///< nodes that have answered without an error
  uint64_t failures;                         ///< nodes that have answered with an error, or not at all
} hyperswarm_query_result_t;

/// Asks the nodes closest to a target, coming closer with each answer. `done` once; `result` is borrowed, NULL when
/// `status` is not HYPERSWARM_OK. With one of the two ways to commit it succeeds when one node has taken it.
/// @thread loop
/// @memory `options` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE; HYPERSWARM_ERR_INVALID_ADDRESS:
/// an entry of `nodes`.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_NETWORK_UNREACHABLE: no node has answered; HYPERSWARM_ERR_TOO_FEW_NODES: there
/// was none to commit to; HYPERSWARM_ERR_REMOTE_ERROR: no node took it; the status of the last
/// hyperswarm_commit_done when all have failed; _ended_.
int hyperswarm_query(
  hyperswarm_t *swarm, const hyperswarm_query_options_t *options,
  void (*done)(hyperswarm_t *swarm, int status, const hyperswarm_query_result_t *result, void *user_data),
  void *user_data);

/// What `on_commit` has asked for is done at that node: HYPERSWARM_OK, or any error.
/// @thread loop
/// @memory The handle is invalid from now on; it is too when the query ends before.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT: a `status` above 0.
int hyperswarm_commit_done(hyperswarm_commit_t *commit, int status);

/// What a request of another node says.
typedef struct hyperswarm_incoming_request {
  size_t size;            ///< that of the library
  uint64_t command;       ///< the one that is served
  const uint8_t *target;  ///< HYPERSWARM_KEY_SIZE bytes that the requester wants closer nodes to; NULL for none
  const uint8_t *token;   ///< verified: `address` has recently received something from us; NULL: it may be forged
  const uint8_t *value;   ///< NULL for none
  size_t length;          ///< of `value`
  const uint8_t *id;      ///< of the requester, as in hyperswarm_node_t
  const char *address;    ///< of the requester, as its datagram says
  const char *to_address; ///< ours, as the requester knows it
} hyperswarm_incoming_request_t;

/// A request. To be answered by one of the three functions below, at once or within 10 seconds, after which the handle
/// is invalid: the requester asks again, and then gives up. `request` is borrowed.
typedef void (*hyperswarm_incoming_cb)(
  hyperswarm_t *swarm, hyperswarm_incoming_t *incoming, const hyperswarm_incoming_request_t *request, void *user_data);

/// Serves a command, in place of an earlier callback for it; with NULL no longer. At most HYPERSWARM_MAX_INCOMING
/// requests for it wait for an answer at a time. HYPERSWARM_FIRST_FREE_COMMAND is the first one that can be served.
/// @thread loop
/// @memory None.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT: a command of the network itself.
int hyperswarm_serve(hyperswarm_t *swarm, uint64_t command, hyperswarm_incoming_cb on_request, void *user_data);

/// Flags of hyperswarm_reply_t.
enum {
  HYPERSWARM_REPLY_NO_TOKEN = 1 << 0,        ///< without a token; errors have none anyway
  HYPERSWARM_REPLY_NO_CLOSER_NODES = 1 << 1, ///< without closer nodes
  HYPERSWARM_REPLY_TOKEN = 1 << 2,           ///< with a token, although it is an error
};

/// What hyperswarm_incoming_reply takes. Copied, with what it points to.
typedef struct hyperswarm_reply {
  size_t size;       ///< sizeof(hyperswarm_reply_t)
  uint64_t error;    ///< 0: success; those of applications begin at 16
  const void *value; ///< or NULL; errors have none
  size_t length;     ///< of `value`
  /// Another node that gets the answer; NULL: the requester. It must have asked the same.
  const char *address;
  uint32_t flags;    ///< HYPERSWARM_REPLY_...
  uint32_t reserved; ///< 0
} hyperswarm_reply_t;

/// Answers: with a token for requests that follow and, if the request has a target, nodes closer to it. What does not
/// fit a datagram is dropped. `reply` NULL: success without a value.
/// @thread loop
/// @memory `reply` is copied; the handle is invalid from now on, unless there was an error.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE; HYPERSWARM_ERR_INVALID_ADDRESS;
/// HYPERSWARM_ERR_MESSAGE_TOO_LARGE: longer than any datagram.
int hyperswarm_incoming_reply(hyperswarm_incoming_t *incoming, const hyperswarm_reply_t *reply);

/// Sends the request on to another node, with another value. That one's answer goes to the requester directly.
/// @thread loop
/// @memory `value` and `address` are copied; the handle is invalid from now on, unless there was an error.
/// @errors As of hyperswarm_incoming_reply.
int hyperswarm_incoming_relay(hyperswarm_incoming_t *incoming, const void *value, size_t length, const char *address);

/// Leaves the request without an answer.
/// @thread loop
/// @memory The handle is invalid from now on.
/// @errors _call_.
int hyperswarm_incoming_drop(hyperswarm_incoming_t *incoming);

/// @}

#ifdef __cplusplus
}
#endif

#endif
