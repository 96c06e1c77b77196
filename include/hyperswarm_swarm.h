// Part of hyperswarm.h: swarms, topics, known peers.

#ifndef HYPERSWARM_SWARM_H
#define HYPERSWARM_SWARM_H

#include "hyperswarm.h"

#ifdef __cplusplus
extern "C" {
#endif

/// @addtogroup swarm
/// @{

/// A known peer.
typedef struct hyperswarm_peer_info {
  size_t size;               ///< that of the library
  const uint8_t *public_key; ///< HYPERSWARM_KEY_SIZE bytes
  const uint8_t *topics;     ///< topic_count times HYPERSWARM_KEY_SIZE: joined topics that the peer was found under
  size_t topic_count;
  uint32_t attempts;    ///< failed dials in a row
  uint8_t is_client;    ///< we have dialled the last connection
  uint8_t is_proven;    ///< a dial has succeeded
  uint8_t is_banned;    ///< by the firewall or hyperswarm_peer_ban
  uint8_t is_explicit;  ///< named by hyperswarm_peer_join
  uint8_t is_queued;    ///< in line to be dialled
  uint8_t is_waiting;   ///< for the next try
  uint8_t is_connected; ///< now
} hyperswarm_peer_info_t;

/// Flags of hyperswarm_options_t.
enum {
  HYPERSWARM_NODE_PERMANENT = 1 << 0,  ///< serve the network at once, not only after having proved reachable
  HYPERSWARM_NODE_EPHEMERAL = 1 << 1,  ///< never serve it
  HYPERSWARM_NODE_REACHABLE = 1 << 2,  ///< a public address: no NAT, no firewall
  HYPERSWARM_NODE_EXACT_PORT = 1 << 3, ///< fail if `port` is taken; otherwise the next four are tried, then any
};

/// What hyperswarm_create takes. Copied, and so is what it points to, but for `loop`.
typedef struct hyperswarm_options {
  size_t size; ///< sizeof(hyperswarm_options_t)
  /// The caller's loop; NULL: a thread of its own. Must be the loop of the calling thread, initialised, and outlive the
  /// swarm. The swarm keeps uv_run going until it is destroyed.
  struct uv_loop_s *loop;
  /// HYPERSWARM_SECRET_KEY_SIZE bytes: the identity; NULL: a fresh one.
  const uint8_t *secret_key;
  /// Where to enter the network: host:port, separated by commas. NULL: the public network. "": nowhere.
  const char *bootstrap;
  const char *host; ///< IPv4 literal to bind to; NULL: any
  uint16_t port;    ///< 0: any
  uint16_t flags;   ///< HYPERSWARM_NODE_...
  /// Milliseconds without a write after which a connection sends an empty message; 0: 5000, -1: off.
  int32_t keep_alive;
  uint32_t max_peers;    ///< up to which peers of topics are dialled; 0: 64
  uint32_t max_parallel; ///< dials at a time; 0: 3
  /// Of both roles; 0: 4096. At this limit and that of incoming ones an idle incoming connection (no message for 30 s)
  /// of the host that has most of them gives way to a newcomer.
  uint32_t max_connections;
  uint32_t max_client_connections; ///< 0: no limit of its own
  uint32_t max_server_connections; ///< 0: no limit of its own
  /// relay_count times HYPERSWARM_KEY_SIZE: public keys of blind relays for peers that cannot be reached otherwise. A
  /// relay sees addresses and volumes, not content. NULL and 0: none.
  const uint8_t *relays;
  size_t relay_count; ///< at most 64
  /// A connection of a topic, or with a peer of hyperswarm_peer_join, has opened. Call
  /// hyperswarm_connection_set_callbacks, here or later: messages wait until then. Without this callback such
  /// connections are closed at once. `peer` is borrowed, `connection` valid until its `on_close` returns.
  void (*on_connection)(
    hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data);
  /// Asked before a peer is answered, and before one is dialled (`address` is NULL then): HYPERSWARM_ACCEPT,
  /// ..._REFUSE, ..._BAN. The key is proved only when the connection stands. Both are borrowed.
  int (*firewall)(hyperswarm_t *swarm, const uint8_t *public_key, const char *address, void *user_data);
  void *user_data; ///< of the callbacks, and of hyperswarm_user_data; the library never looks at it
  /// The network has begun to answer (`is_online` 1), or does not answer any more or never did (0): no node of it, for
  /// some seconds. Everything that needs it goes on by itself when it is back.
  void (*on_network)(hyperswarm_t *swarm, int is_online, void *user_data);
  /// Bytes of one message that peers may send at most; 0: HYPERSWARM_MAX_MESSAGE, which is also the most. A larger one
  /// ends the connection with HYPERSWARM_ERR_FRAME_TOO_LARGE as soon as its length arrives. Peers that have said
  /// nothing yet share 64 MiB, every other one may take this much memory.
  size_t max_message_size;
} hyperswarm_options_t;

/// Makes a swarm, opens its sockets and starts to enter the network. With a thread of its own this waits for that
/// thread (well below a millisecond), and callbacks may come before it returns. After a failure to bind, a caller's
/// loop must be run once more before it is closed.
/// @thread any; with a caller's loop the thread of that loop
/// @memory `*swarm` is valid until hyperswarm_destroy; NULL after a failure.
/// @errors HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE; HYPERSWARM_ERR_INVALID_ADDRESS: `host`, or an
/// entry of `bootstrap`; HYPERSWARM_ERR_BIND_FAILED: the port is taken, or the address is not ours;
/// HYPERSWARM_ERR_LOOP_FAILED: no thread, or no descriptors.
int hyperswarm_create(const hyperswarm_options_t *options, hyperswarm_t **swarm);

/// Withdraws the announcements (up to a second; not with `force`), closes all servers and connections, whose callbacks
/// all come, then frees everything. `done` is the last callback: after it a caller's loop may be closed, and an own
/// thread is about to end.
/// @thread loop
/// @memory The handle is invalid from now on; handles of its connections and servers until their `on_close`.
/// @errors _call_; HYPERSWARM_ERR_LOOP_FAILED: the loop has ended before, and `done` does not come.
int hyperswarm_destroy(hyperswarm_t *swarm, int force, void (*done)(void *user_data), void *user_data);

/// What the options gave; NULL for an invalid handle.
/// @thread any
/// @memory The caller's.
/// @errors None.
void *hyperswarm_user_data(hyperswarm_t *swarm);

/// The swarm's identity.
/// @thread any
/// @memory Written to the caller's memory.
/// @errors _handle_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_public_key(hyperswarm_t *swarm, uint8_t public_key[HYPERSWARM_KEY_SIZE]);

/// The UDP port of the node; 0 before it is known.
/// @thread any
/// @memory Written to the caller's memory.
/// @errors _handle_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_local_port(hyperswarm_t *swarm, uint16_t *port);

/// Waits until the node has entered the network. HYPERSWARM_OK also if no other node is there: see `nodes` of the
/// counters.
/// @thread loop
/// @memory None.
/// @errors _operation_.
/// @status HYPERSWARM_OK; _ended_.
int hyperswarm_bootstrapped(hyperswarm_t *swarm, hyperswarm_done_cb done, void *user_data);

/// Roles in a topic.
enum {
  HYPERSWARM_SERVER = 1 << 0, ///< announce us, accept connections
  HYPERSWARM_CLIENT = 1 << 1, ///< look for others, dial them
};

/// Joins a topic in the given roles, or changes the roles in a joined one. `done`: the first announcement and look-up
/// are through.
/// @thread loop
/// @memory `topic` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_NO_ROLES.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_REFRESH_FAILED: they failed and will be repeated;
/// HYPERSWARM_ERR_TOO_MANY_TOPICS; HYPERSWARM_ERR_SESSION_DESTROYED: left before that; _ended_.
int hyperswarm_join(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], unsigned roles, hyperswarm_done_cb done,
  void *user_data);

/// Leaves the topic. `done`: it is no longer announced. Connections stay. A topic that is not joined is left already.
/// @thread loop
/// @memory `topic` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status HYPERSWARM_OK; _ended_.
int hyperswarm_leave(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], hyperswarm_done_cb done, void *user_data);

/// `done`: all topics are announced and looked up, and every peer known by then was dialled once. `timeout` in
/// milliseconds, 0: none.
/// @thread loop
/// @memory None.
/// @errors _operation_.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_TIMED_OUT; HYPERSWARM_ERR_REFRESH_FAILED: the network does not answer, and
/// what has failed will be repeated; HYPERSWARM_ERR_TOO_MANY_FLUSHES; _ended_.
int hyperswarm_flush(hyperswarm_t *swarm, uint64_t timeout, hyperswarm_done_cb done, void *user_data);

/// Accepts connections under the swarm's key without a topic; they come through `on_connection` of the options.
/// @thread loop
/// @memory None.
/// @errors _operation_.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_KEYPAIR_ALREADY_USED: by a hyperswarm_server_t; and those of
/// hyperswarm_announce; _ended_.
int hyperswarm_listen(hyperswarm_t *swarm, hyperswarm_done_cb done, void *user_data);

/// Withdraws the announcements, closes all connections and stops all traffic, until hyperswarm_resume. For sleeping
/// devices.
/// @thread loop
/// @memory Connections close: their `on_close` comes.
/// @errors _operation_.
/// @status HYPERSWARM_OK; _ended_.
int hyperswarm_suspend(hyperswarm_t *swarm, hyperswarm_done_cb done, void *user_data);

/// Takes up again what hyperswarm_suspend has stopped.
/// @thread loop
/// @memory None.
/// @errors _operation_.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_BIND_FAILED: the sockets could not be opened, the swarm stays suspended and
/// resumes by itself as soon as it can, unless it is suspended again; _ended_.
int hyperswarm_resume(hyperswarm_t *swarm, hyperswarm_done_cb done, void *user_data);

/// Dials the peer with this key whatever the topics, again and again, until hyperswarm_peer_leave. The connection comes
/// through `on_connection`.
/// @thread loop
/// @memory `public_key` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_peer_join(hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE]);

/// Ends what hyperswarm_peer_join has begun. A connection stays.
/// @thread loop
/// @memory `public_key` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_peer_leave(hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE]);

/// Never dials, accepts or retries a known peer, or lifts that with 0. A connection stays. Without effect on a peer
/// that is not known.
/// @thread loop
/// @memory `public_key` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_peer_ban(hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE], int is_banned);

/// `each` once per known peer, then `done`.
/// @thread loop
/// @memory `peer` is borrowed until `each` returns.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status HYPERSWARM_OK; _ended_.
int hyperswarm_peers(
  hyperswarm_t *swarm, void (*each)(hyperswarm_t *swarm, const hyperswarm_peer_info_t *peer, void *user_data),
  hyperswarm_done_cb done, void *user_data);

/// Live numbers, then counters since the beginning.
typedef struct hyperswarm_statistics {
  size_t size;    ///< that of the library
  uint64_t nodes; ///< in the routing table
  uint64_t topics;
  uint64_t peers;
  uint64_t connecting;
  uint64_t client_connections;
  uint64_t server_connections;
  uint64_t streams; ///< of all kinds, half-open ones included
  uint8_t is_bootstrapped;
  uint8_t is_online; ///< a node has answered lately
  uint8_t is_ephemeral;
  uint8_t is_firewalled;
  uint8_t is_suspended;
  uint8_t is_offline;       ///< the network does not answer; neither holds between the start and the first answer
  uint64_t dials_attempted; ///< from here on since the beginning
  uint64_t dials_opened;
  uint64_t accepted;
  uint64_t refused_by_firewall;
  uint64_t refused_by_limit;
  uint64_t bytes_sent; ///< of the swarm's connections, on the wire
  uint64_t bytes_received;
  uint64_t packets_sent;
  uint64_t packets_received;
  uint64_t retransmissions;
} hyperswarm_statistics_t;

/// `callback` once, with the numbers of that moment; all of them are 0 when the swarm is destroyed before.
/// @thread loop
/// @memory `statistics` is borrowed until `callback` returns.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_statistics(
  hyperswarm_t *swarm,
  void (*callback)(hyperswarm_t *swarm, const hyperswarm_statistics_t *statistics, void *user_data), void *user_data);

/// @}

#ifdef __cplusplus
}
#endif

#endif
