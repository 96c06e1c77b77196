// Part of hyperswarm.h: connections, and servers for connections by key.

#ifndef HYPERSWARM_CONNECTION_H
#define HYPERSWARM_CONNECTION_H

#include "hyperswarm.h"

#ifdef __cplusplus
extern "C" {
#endif

/// @addtogroup connections
/// @{

/// Where a connection's packets go.
typedef struct hyperswarm_path {
  size_t size;                ///< that of the library
  const char *remote_address; ///< of the peer, or of the relay
  int is_relayed;             ///< 1: over a relay, 0: directly
  uint32_t changes;           ///< how often the path has changed since the connection opened
} hyperswarm_path_t;

/// A connection's callbacks; each may be NULL. The connection is valid until `on_close` returns; data is borrowed until
/// the callback returns.
typedef struct hyperswarm_connection_callbacks {
  size_t size; ///< sizeof(hyperswarm_connection_callbacks_t)
  /// The connection of hyperswarm_connect is open. Those from `on_connection` are open already.
  void (*on_open)(hyperswarm_connection_t *connection, void *user_data);
  /// One message, as one write sent it. Messages wait, and the peer's window closes, until there is this callback.
  void (*on_message)(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data);
  /// An unordered, unreliable datagram.
  void (*on_datagram)(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data);
  /// A write returned more than HYPERSWARM_WRITE_HIGH_WATER, or HYPERSWARM_ERR_QUEUE_FULL, and half of that mark is
  /// reached.
  void (*on_drain)(hyperswarm_connection_t *connection, void *user_data);
  /// The peer has ended its half; all its messages are delivered.
  void (*on_end)(hyperswarm_connection_t *connection, void *user_data);
  /// Exactly once, last. HYPERSWARM_OK: both halves ended, or hyperswarm_connection_destroy. Otherwise an error of the
  /// connection (-3xx) or, before it opened, of what led to it (-1xx, -2xx).
  void (*on_close)(hyperswarm_connection_t *connection, int status, void *user_data);
  void *user_data; ///< also of hyperswarm_connection_user_data
  /// Once, if the connection gets there: hyperswarm_connection_is_peer_proven holds from now on. Comes before the first
  /// `on_message`. Not for what was proved before these callbacks were set: ask for that.
  void (*on_peer_proven)(hyperswarm_connection_t *connection, void *user_data);
  /// The packets take another path: an address of either side has changed, or a direct path is in the place of the
  /// relay. Nothing is lost by it, and nothing needs to be done.
  void (*on_path)(hyperswarm_connection_t *connection, const hyperswarm_path_t *path, void *user_data);
} hyperswarm_connection_callbacks_t;

/// Flags of hyperswarm_connect_options_t.
enum {
  HYPERSWARM_CONNECT_NO_HOLEPUNCH = 1 << 0, ///< only servers with a public address, and relays
};

/// What hyperswarm_connect takes. Copied, with what it points to.
typedef struct hyperswarm_connect_options {
  size_t size;                 ///< sizeof(hyperswarm_connect_options_t)
  const uint8_t *secret_key;   ///< HYPERSWARM_SECRET_KEY_SIZE bytes; NULL: the swarm's identity
  const char *relay_addresses; ///< nodes known to route to the peer, host:port and commas, tried first; or NULL
  const uint8_t *relays;       ///< as for the swarm; the server's own choice wins
  size_t relay_count;          ///< at most 64
  uint32_t deadline;           ///< milliseconds, 0: none of its own
  uint32_t flags;              ///< HYPERSWARM_CONNECT_...
} hyperswarm_connect_options_t;

/// Connects to the peer that listens with this public key. The handle is valid at once: what is written is sent when
/// the connection opens. `on_open` or, with the reason, `on_close` tells. `options` may be NULL.
/// @thread loop
/// @memory `*connection` is valid until its `on_close` returns; NULL after a failure.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE; HYPERSWARM_ERR_INVALID_ADDRESS:
/// an entry of `relay_addresses`.
int hyperswarm_connect(
  hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE], const hyperswarm_connect_options_t *options,
  const hyperswarm_connection_callbacks_t *callbacks, hyperswarm_connection_t **connection);

/// Sets all callbacks, in place of earlier ones.
/// @thread loop
/// @memory `callbacks` is copied.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE; HYPERSWARM_ERR_CLOSED.
int hyperswarm_connection_set_callbacks(
  hyperswarm_connection_t *connection, const hyperswarm_connection_callbacks_t *callbacks);

/// Of the callbacks; NULL for an invalid handle.
/// @thread any
/// @memory The caller's.
/// @errors None.
void *hyperswarm_connection_user_data(hyperswarm_connection_t *connection);

/// The key that was asked for, or the key of the peer that has dialled: see hyperswarm_connection_is_peer_proven.
/// @thread any
/// @memory Written to the caller's memory.
/// @errors _handle_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_connection_remote_public_key(
  hyperswarm_connection_t *connection, uint8_t public_key[HYPERSWARM_KEY_SIZE]);

/// 1: the peer has proved on this very connection that it holds its public key, 0: not yet, or an error. The side that
/// dialled knows from the handshake that the peer holds it. The side that was dialled has a connection as soon as the
/// first packet arrives, so that a server can speak first; until a message of the peer has been decrypted, possibly an
/// empty one, the attempt may be a replay of an old one. Peers of this library prove the key with their first packet,
/// others with their first message or after their keep-alive interval. Messages never come from anyone else.
/// @thread any
/// @memory None.
/// @errors _handle_.
int hyperswarm_connection_is_peer_proven(hyperswarm_connection_t *connection);

/// The same on both sides and on no other connection. Not secret.
/// @thread any
/// @memory Written to the caller's memory.
/// @errors _handle_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_NOT_OPEN.
int hyperswarm_connection_handshake_hash(hyperswarm_connection_t *connection, uint8_t hash[HYPERSWARM_HASH_SIZE]);

/// 1: this side has dialled, 0: the other one, or an error.
/// @thread any
/// @memory None.
/// @errors _handle_.
int hyperswarm_connection_is_initiator(hyperswarm_connection_t *connection);

/// In `on_close`: why, as a sentence for people ("" for a regular end).
/// @thread any
/// @memory Written to the caller's memory, cut to `capacity` - 1 bytes and a NUL.
/// @errors _handle_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_connection_reason(hyperswarm_connection_t *connection, char *buffer, size_t capacity);

/// The outcome of a write: once, on the loop's thread, before `on_close`.
typedef void (*hyperswarm_write_cb)(hyperswarm_connection_t *connection, int status, void *user_data);

/// Sends one message of at most HYPERSWARM_MAX_MESSAGE bytes. Returns how many bytes are in the write queue (0: all of
/// it is with the transport), or an error. On the loop's thread a message that need not wait is encrypted straight from
/// `data`; otherwise it is copied. An empty message is what keep-alive sends: a receiver whose own keep-alive is on
/// does not get to see it. `written` costs the batching of small messages: leave it NULL where the answer is not
/// needed.
/// @thread loop
/// @memory `data` is the caller's again when the call returns.
/// @errors _operation_ (with `written`; _call_ without); HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_QUEUE_FULL:
/// wait for `on_drain`; HYPERSWARM_ERR_CLOSED; HYPERSWARM_ERR_MESSAGE_TOO_LARGE.
/// @status HYPERSWARM_OK: the peer's transport has acknowledged the message. Otherwise why that will not happen: the
/// status of `on_close`, or HYPERSWARM_ERR_CLOSED for one of HYPERSWARM_OK.
int64_t hyperswarm_connection_write(
  hyperswarm_connection_t *connection, const void *data, size_t length, hyperswarm_write_cb written, void *user_data);

/// One unordered, unreliable datagram of about 1,100 bytes at most; longer ones are lost, like others on the way.
/// @thread loop
/// @memory `data` is copied.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_QUEUE_FULL; HYPERSWARM_ERR_CLOSED;
/// HYPERSWARM_ERR_MESSAGE_TOO_LARGE: longer than any datagram.
int hyperswarm_connection_send_datagram(hyperswarm_connection_t *connection, const void *data, size_t length);

/// No more messages after the current one; the peer's window closes. Idempotent.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_CLOSED.
int hyperswarm_connection_pause(hyperswarm_connection_t *connection);

/// Messages come again. Idempotent.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_CLOSED.
int hyperswarm_connection_resume(hyperswarm_connection_t *connection);

/// Ends the writing half after everything written so far. Reading goes on. The connection closes when both have ended.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_CLOSED: it has ended already; HYPERSWARM_ERR_QUEUE_FULL.
int hyperswarm_connection_end(hyperswarm_connection_t *connection);

/// Aborts: what is queued is dropped, the peer sees a reset, `on_close` follows.
/// @thread loop
/// @memory The handle stays valid until `on_close` returns.
/// @errors _call_; HYPERSWARM_ERR_CLOSED: it closes already.
int hyperswarm_connection_destroy(hyperswarm_connection_t *connection);

/// Without anything written for so many milliseconds an empty message goes out; 0: off.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_CLOSED.
int hyperswarm_connection_set_keep_alive(hyperswarm_connection_t *connection, uint32_t milliseconds);

/// Without anything received for so many milliseconds it closes with HYPERSWARM_ERR_CONNECTION_TIMED_OUT; 0: off.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_CLOSED.
int hyperswarm_connection_set_timeout(hyperswarm_connection_t *connection, uint32_t milliseconds);

/// Numbers of a connection. Bytes and packets are those on the wire.
typedef struct hyperswarm_connection_statistics {
  size_t size;                ///< that of the library
  const char *remote_address; ///< NULL before the connection opens
  uint32_t round_trip_time;   ///< milliseconds, smoothed
  uint32_t mtu;
  uint32_t congestion_window; ///< packets
  uint64_t bytes_in_flight;
  uint64_t bytes_queued; ///< of the write queue
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t packets_sent;
  uint64_t packets_received;
  uint64_t retransmissions;
  uint64_t messages_sent;
  uint64_t messages_received;
  int is_relayed;        ///< 1: the packets go over a relay
  uint32_t path_changes; ///< since the connection opened
} hyperswarm_connection_statistics_t;

/// `callback` once, with the numbers of that moment.
/// @thread loop
/// @memory `statistics` is borrowed until `callback` returns.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_connection_statistics(
  hyperswarm_connection_t *connection,
  void (*callback)(
    hyperswarm_connection_t *connection, const hyperswarm_connection_statistics_t *statistics, void *user_data),
  void *user_data);

/// @}

/// @addtogroup servers
/// @{

/// Flags of hyperswarm_server_options_t.
enum {
  HYPERSWARM_SERVER_NO_HOLEPUNCH = 1 << 0, ///< only clients that need no hole punching, and relays
  /// Serve as a blind relay: forward the packets of peers that name this key as theirs. `on_connection` is not used.
  HYPERSWARM_SERVER_RELAY = 1 << 1,
};

/// What hyperswarm_server_listen takes. Copied, with what it points to.
typedef struct hyperswarm_server_options {
  size_t size;               ///< sizeof(hyperswarm_server_options_t)
  const uint8_t *secret_key; ///< HYPERSWARM_SECRET_KEY_SIZE bytes; NULL: the swarm's identity
  const uint8_t *relays;     ///< as for the swarm: clients without a direct path are told to come over one of these
  size_t relay_count;        ///< at most 64
  uint32_t flags;            ///< HYPERSWARM_SERVER_...
  /// The first nodes hold the announcement (HYPERSWARM_OK), or it failed: HYPERSWARM_ERR_KEYPAIR_ALREADY_USED, or as
  /// for hyperswarm_announce. Once, unless the server is closed before.
  void (*on_listening)(hyperswarm_server_t *server, int status, void *user_data);
  /// As for the swarm. Without it connections are closed at once.
  void (*on_connection)(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data);
  /// HYPERSWARM_ACCEPT or HYPERSWARM_REFUSE. NULL: every client is accepted. What it gets is borrowed.
  int (*firewall)(hyperswarm_server_t *server, const uint8_t *public_key, const char *address, void *user_data);
  /// Exactly once, last; the handle is valid until it returns. Also after a failure to listen.
  void (*on_close)(hyperswarm_server_t *server, void *user_data);
  void *user_data; ///< of these callbacks, and of hyperswarm_server_user_data
} hyperswarm_server_options_t;

/// Accepts connections under a key pair, whatever the topics. One server per key pair.
/// @thread loop
/// @memory `*server` is valid until its `on_close` returns; NULL after a failure.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE.
int hyperswarm_server_listen(
  hyperswarm_t *swarm, const hyperswarm_server_options_t *options, hyperswarm_server_t **server);

/// Stops accepting, withdraws the announcement; `on_close` follows. Connections stay.
/// @thread loop
/// @memory The handle stays valid until `on_close` returns.
/// @errors _call_; HYPERSWARM_ERR_CLOSED: it closes already.
int hyperswarm_server_close(hyperswarm_server_t *server);

/// Of the options; NULL for an invalid handle.
/// @thread any
/// @memory The caller's.
/// @errors None.
void *hyperswarm_server_user_data(hyperswarm_server_t *server);

/// The key that it listens under.
/// @thread any
/// @memory Written to the caller's memory.
/// @errors _handle_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_server_public_key(hyperswarm_server_t *server, uint8_t public_key[HYPERSWARM_KEY_SIZE]);

/// What a server with HYPERSWARM_SERVER_RELAY has done. Counters since it listens; `active_...` and `pending_...` are
/// the present state. All 0 once it is closed.
typedef struct hyperswarm_relay_statistics {
  size_t size;                 ///< that of the library
  uint64_t active_sessions;    ///< clients
  uint64_t active_links;       ///< relayed connections
  uint64_t pending_tokens;     ///< requests whose other side has not come yet
  uint64_t sessions_accepted;  ///< clients
  uint64_t sessions_refused;   ///< above a limit
  uint64_t sessions_evicted;   ///< clients that have made room for others
  uint64_t pairings_matched;   ///< requests whose other side has come
  uint64_t pairings_cancelled; ///< taken back by their client
  uint64_t pairings_expired;   ///< the other side did not come in time
  uint64_t pairings_refused;   ///< above a limit on relayed connections
  uint64_t pairings_evicted;   ///< requests that have made room for others
  uint64_t packets_dropped;    ///< above a limit on bytes
  uint64_t bytes_relayed;      ///< received to be forwarded, with the transport's headers
} hyperswarm_relay_statistics_t;

/// `callback` once, with the numbers of that moment.
/// @thread loop
/// @memory `statistics` is borrowed until `callback` returns.
/// @errors _operation_; HYPERSWARM_ERR_INVALID_ARGUMENT: the server is no relay, or there is no callback.
int hyperswarm_server_relay_statistics(
  hyperswarm_server_t *server,
  void (*callback)(hyperswarm_server_t *server, const hyperswarm_relay_statistics_t *statistics, void *user_data),
  void *user_data);

/// @}

#ifdef __cplusplus
}
#endif

#endif
