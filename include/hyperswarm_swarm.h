// Part of hyperswarm.h: swarms, topics, known peers.

#ifndef HYPERSWARM_SWARM_H
#define HYPERSWARM_SWARM_H

#include "hyperswarm.h"

#ifdef __cplusplus
extern "C" {
#endif

/// @addtogroup swarm
/// @{

/// Levels of `on_log`; each contains those before it.
enum {
  HYPERSWARM_LOG_ERROR = 1,   ///< what the program should know: the network does not answer
  HYPERSWARM_LOG_WARNING = 2, ///< what does not go on: banned peers, connections that broke
  HYPERSWARM_LOG_INFO = 3,    ///< what became of dials, connections, the node's address
  HYPERSWARM_LOG_DEBUG = 4    ///< every step, the ways to a peer that were tried included
};

/// Kinds of events.
enum {
  HYPERSWARM_EVENT_UPDATE = 1,          ///< numbers have changed: see hyperswarm_statistics; at most one per turn
  HYPERSWARM_EVENT_DIAL_STARTED = 2,    ///< of `public_key`, like the following ones
  HYPERSWARM_EVENT_DIAL_OPENED = 3,     ///< the connection comes through `on_connection`
  HYPERSWARM_EVENT_DIAL_FAILED = 4,     ///< the dial ended before it opened; `status` and `text` say why
  HYPERSWARM_EVENT_DIAL_CLOSED = 5,     ///< the dialled connection ended, regularly if `status` is HYPERSWARM_OK
  HYPERSWARM_EVENT_DIAL_SKIPPED = 6,    ///< banned, refused by the firewall, or connected meanwhile
  HYPERSWARM_EVENT_BANNED = 7,          ///< by the firewall
  HYPERSWARM_EVENT_ONLINE = 8,          ///< the network answers
  HYPERSWARM_EVENT_SILENT = 9,          ///< the network does not answer, any more or at all
  HYPERSWARM_EVENT_PERSISTENT = 10,     ///< the node serves the network now
  HYPERSWARM_EVENT_EPHEMERAL = 11,      ///< the node does not serve the network any more
  HYPERSWARM_EVENT_ADDRESS = 12,        ///< the node's public address has changed, `address` is the new one
  HYPERSWARM_EVENT_NETWORK_CHANGED = 13 ///< an interface came or went, or the public address changed
};

/// Something that happened. Kinds are added: programs leave alone those that they do not know.
typedef struct hyperswarm_event {
  size_t size;               ///< that of the library
  int32_t kind;              ///< HYPERSWARM_EVENT_...
  int32_t status;            ///< why, for HYPERSWARM_EVENT_DIAL_FAILED, ..._DIAL_CLOSED and ..._BANNED
  const uint8_t *public_key; ///< HYPERSWARM_KEY_SIZE bytes of the peer; NULL for events of the node
  const char *text;          ///< why, as a sentence for people; "" where there is nothing to say
  const char *address;       ///< of HYPERSWARM_EVENT_ADDRESS; NULL when it is not known
  int64_t next_retry;        ///< milliseconds until the peer is dialled again; -1: not planned
} hyperswarm_event_t;

/// A known peer.
typedef struct hyperswarm_peer_info {
  size_t size;               ///< that of the library
  const uint8_t *public_key; ///< HYPERSWARM_KEY_SIZE bytes
  const uint8_t *topics;     ///< topic_count times HYPERSWARM_KEY_SIZE: joined topics that the peer was found under
  size_t topic_count;
  uint32_t attempts;    ///< dials and dialled connections in a row that have ended
  uint8_t is_client;    ///< we have dialled the last connection
  uint8_t is_proven;    ///< a dial has succeeded
  uint8_t is_banned;    ///< by the firewall or hyperswarm_peer_ban
  uint8_t is_explicit;  ///< named by hyperswarm_peer_join
  uint8_t is_queued;    ///< in line to be dialled
  uint8_t is_waiting;   ///< for the next try
  uint8_t is_connected; ///< now
  /// Nodes that route to the peer, with commas: for hyperswarm_connect_options_t. "" when none is known.
  const char *relay_addresses;
} hyperswarm_peer_info_t;

/// Flags of hyperswarm_options_t.
enum {
  HYPERSWARM_NODE_PERMANENT = 1 << 0,  ///< serve the network at once, not only after having proved reachable
  HYPERSWARM_NODE_EPHEMERAL = 1 << 1,  ///< never serve it
  HYPERSWARM_NODE_REACHABLE = 1 << 2,  ///< a public address: no NAT, no firewall
  HYPERSWARM_NODE_EXACT_PORT = 1 << 3, ///< fail if `port` is taken; otherwise the next four are tried, then any
  /// Few wake-ups and bytes while the program asks nothing of the node, for devices with a battery: docs/low-power.md
  /// has the numbers. The node never serves the network then.
  HYPERSWARM_NODE_LOW_POWER = 1 << 4,
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
  /// Everything that happens inside, for logs and user interfaces: hyperswarm_event_t. Comes later in the same turn of
  /// the loop, in the order of what happened; not after hyperswarm_destroy. Borrowed.
  void (*on_event)(hyperswarm_t *swarm, const hyperswarm_event_t *event, void *user_data);
  /// In place of `firewall`, for answers that take time: hyperswarm_verdict_give gives them. `public_key` and `address`
  /// are borrowed, `verdict` is valid until the answer, at most 3 seconds, after which the peer is refused.
  void (*on_firewall)(
    hyperswarm_t *swarm, hyperswarm_verdict_t *verdict, const uint8_t *public_key, const char *address,
    void *user_data);
  /// What happens, in words, one line without its end per call, of `log_level` and the more important ones: the events,
  /// connections that open and close, and why. Comes like `on_event`. Borrowed.
  void (*on_log)(hyperswarm_t *swarm, int level, const char *text, void *user_data);
  int32_t log_level;         ///< HYPERSWARM_LOG_...; 0: HYPERSWARM_LOG_INFO
  uint32_t reserved;         ///< 0
  const char *nodes;         ///< nodes that are known to be there: host:port with numbers, separated by commas; or NULL
  const char *known_address; ///< the node's public address, for the first node of a network; or NULL
  /// Path of a file for a trace of the transport (qlog, JSON text sequences), created or emptied; NULL: none. About 250
  /// bytes per packet: for analysis, not for production.
  const char *qlog;
} hyperswarm_options_t;

/// Makes a swarm, opens its sockets and starts to enter the network. With a thread of its own this waits for that
/// thread (well below a millisecond), and callbacks may come before it returns. After a failure to bind, a caller's
/// loop must be run once more before it is closed.
/// @thread any; with a caller's loop the thread of that loop
/// @memory `*swarm` is valid until hyperswarm_destroy; NULL after a failure.
/// @errors HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE; HYPERSWARM_ERR_INVALID_ADDRESS: `host`, an
/// entry of `bootstrap` or `nodes`, or `known_address` cannot be read, or one of the last three has port 0 or is no
/// address of one host, as 0.0.0.0; HYPERSWARM_ERR_BIND_FAILED: the port is taken, or the address is not ours;
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

/// What hyperswarm_join_with takes. Copied.
typedef struct hyperswarm_join_options {
  size_t size;    ///< sizeof(hyperswarm_join_options_t)
  uint32_t roles; ///< HYPERSWARM_SERVER, HYPERSWARM_CLIENT, or both
  uint32_t limit; ///< peers of this topic to keep connected or dialled at most; 0: no limit
} hyperswarm_join_options_t;

/// hyperswarm_join with more to say.
/// @thread loop
/// @memory `topic` and `options` are copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE; HYPERSWARM_ERR_NO_ROLES.
/// @status As for hyperswarm_join.
int hyperswarm_join_with(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], const hyperswarm_join_options_t *options,
  hyperswarm_done_cb done, void *user_data);

/// Announces and looks up a joined topic now, and waits for it. In a suspended swarm it ends at once with
/// HYPERSWARM_ERR_SUSPENDED, and the round begins with hyperswarm_resume.
/// @thread loop
/// @memory `topic` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status HYPERSWARM_OK; HYPERSWARM_ERR_REFRESH_FAILED: failed, and will be repeated;
/// HYPERSWARM_ERR_SESSION_DESTROYED: not joined, or left meanwhile; _ended_.
int hyperswarm_refresh(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], hyperswarm_done_cb done, void *user_data);

/// A joined topic.
typedef struct hyperswarm_topic_info {
  size_t size;           ///< that of the library
  const uint8_t *topic;  ///< HYPERSWARM_KEY_SIZE bytes
  uint32_t roles;        ///< HYPERSWARM_SERVER, HYPERSWARM_CLIENT, or both
  uint32_t limit;        ///< 0: none
  uint32_t peers;        ///< known peers that were found under it
  uint32_t connections;  ///< connected ones of them
  uint32_t is_announced; ///< 1: nodes hold an announcement of it
  uint32_t reserved;
} hyperswarm_topic_info_t;

/// `each` once per joined topic, in the order of joining, then `done`.
/// @thread loop
/// @memory `topic` is borrowed until `each` returns.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
/// @status HYPERSWARM_OK; _ended_.
int hyperswarm_topics(
  hyperswarm_t *swarm, void (*each)(hyperswarm_t *swarm, const hyperswarm_topic_info_t *topic, void *user_data),
  hyperswarm_done_cb done, void *user_data);

/// Leaves all topics. `done`: none of them is announced any more. Connections and peers of hyperswarm_peer_join stay.
/// @thread loop
/// @memory None.
/// @errors _operation_.
/// @status HYPERSWARM_OK; _ended_.
int hyperswarm_clear(hyperswarm_t *swarm, hyperswarm_done_cb done, void *user_data);

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

/// Whether to dial a known peer again when its connection has ended (1, as at first) or not (0). Without effect on a
/// peer that is not known.
/// @thread loop
/// @memory `public_key` is copied.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_peer_reconnect(hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE], int is_enabled);

/// Answers a question of `on_firewall` with HYPERSWARM_ACCEPT, HYPERSWARM_REFUSE or HYPERSWARM_BAN, once. Also allowed
/// inside `on_firewall`.
/// @thread loop
/// @memory `verdict` is not valid any more.
/// @errors _call_, HYPERSWARM_ERR_BAD_HANDLE also when the time was up; HYPERSWARM_ERR_INVALID_ARGUMENT: another
/// answer, and `verdict` stays valid.
int hyperswarm_verdict_give(hyperswarm_verdict_t *verdict, int answer);

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
  const char *remote_address; ///< the node's public address as the network sees it; NULL when it is not known
  const char *local_address;  ///< where programs on this host reach the node; NULL while it has no socket
  uint64_t is_randomized;     ///< 1: the NAT gives every destination another port
  uint64_t is_degraded;       ///< 1: the network answers less than it did
  uint64_t queued;            ///< peers in line to be dialled, now, as the next four
  uint64_t waiting;           ///< peers that wait for the next try
  uint64_t servers;           ///< of the node, the swarm's included
  uint64_t active_requests;   ///< to nodes of the network
  uint64_t active_queries;
  uint64_t connections_closed; ///< and dials that have failed; from here on since the beginning
  uint64_t connects_started;   ///< of all kinds, also by hyperswarm_connect
  uint64_t connects_opened;
  uint64_t connects_failed;
  uint64_t handshakes_received;
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
