// Hyperswarm and HyperDHT for C: find peers by topic or by public key, connect through NATs, talk encrypted.
//
// Rules that hold everywhere
//
// Threads.   A swarm lives on one libuv loop. With `options.loop == NULL` that is a loop on a thread of its own: every
//            function may be called from any thread, callbacks come on that thread. With the caller's own loop, which
//            the caller runs, functions may be called only on the thread of the loop (HYPERSWARM_ERR_WRONG_THREAD), and
//            the callbacks come there. A callback must not block. Functions that say so, and those about errors, keys
//            and the version, are free of all this.
// Callbacks. Never inside the call that asks for them. A function that takes a completion callback and returns
//            HYPERSWARM_OK calls it exactly once, also when the swarm is destroyed; when it returns an error it never
//            does. Completion callbacks may be NULL. Everything may be called from every callback, destroying included.
// Handles.   Opaque numbers of pointer type, never reused within a process: a handle that is no longer valid, NULL or
//            any other value gives HYPERSWARM_ERR_BAD_HANDLE, never a crash.
// Memory.    What a function gets is copied before it returns. What a callback gets is borrowed until the callback
//            returns. The library never frees memory of the caller, nor the other way round.
// Structs.   Begin with `size`. The caller sets it to sizeof(the struct) and zeroes the rest: zero is the default of
//            every field, so that programs go on working when fields are added:
//            `hyperswarm_options_t options = {.size = sizeof(options)};`
// Processes. After a fork the child has no loop threads: what it inherits gives HYPERSWARM_ERR_FORKED from every
//            function, and only the parent goes on with it. The child may make swarms of its own, unless another thread
//            was inside a function of this library during the fork. Unloading the library (dlclose) is allowed from
//            `done` on; it stays mapped until the process ends.
// Errors.    Negative numbers, in hyperswarm_errors.h. Their values and names never change.
// Addresses. Text, "192.0.2.1:49737".

#ifndef HYPERSWARM_H
#define HYPERSWARM_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "hyperswarm_errors.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HYPERSWARM_VERSION_MAJOR 0
#define HYPERSWARM_VERSION_MINOR 1
#define HYPERSWARM_VERSION_PATCH 0

// Bytes.
#define HYPERSWARM_KEY_SIZE 32        // public keys, topics, hashes of values
#define HYPERSWARM_SEED_SIZE 32       // of a key pair
#define HYPERSWARM_SECRET_KEY_SIZE 64 // seed, then public key, as libsodium has it
#define HYPERSWARM_HASH_SIZE 64       // handshake hash
#define HYPERSWARM_SIGNATURE_SIZE 64
#define HYPERSWARM_MAX_MESSAGE 16777198
#define HYPERSWARM_MAX_VALUE 1024 // stored in the network

// Bytes in a connection's write queue: above the first mark a writer should wait for `on_drain`, from the second on
// writes are refused. What the transport holds for its own window is not counted.
#define HYPERSWARM_WRITE_HIGH_WATER (1 << 20)
#define HYPERSWARM_WRITE_LIMIT (4 << 20)
// Calls of one swarm whose completion is still to come; further ones get HYPERSWARM_ERR_TOO_MANY_OPERATIONS.
#define HYPERSWARM_MAX_OPERATIONS 4096

typedef struct hyperswarm hyperswarm_t;                       // a swarm and the DHT node under it
typedef struct hyperswarm_connection hyperswarm_connection_t; // an encrypted connection with one peer
typedef struct hyperswarm_server hyperswarm_server_t;         // listens under one key pair
typedef struct hyperswarm_testnet hyperswarm_testnet_t;       // a private network inside this process

// What a firewall answers.
enum {
  HYPERSWARM_ACCEPT = 0,
  HYPERSWARM_REFUSE = 1, // not now: the peer gets no answer and may come again
  HYPERSWARM_BAN = 2     // never, until hyperswarm_peer_ban(..., 0); for a server the same as HYPERSWARM_REFUSE
};

// Completion of an operation that has nothing to say but how it went. `handle` is what the operation was called on.
typedef void (*hyperswarm_done_cb)(hyperswarm_t *swarm, int status, void *user_data);

// ---- Version, errors, keys -----------------------------------------------------------------------------------------

// "0.1.0". Static.
const char *hyperswarm_version(void);

// "PEER_NOT_FOUND": the code as implementations in other languages spell it. Static; "ERROR" for unknown numbers.
const char *hyperswarm_error_name(int error);
// One sentence. Static.
const char *hyperswarm_strerror(int error);
// What the system said when the last call on this thread that failed did so, "errno 98: address already in use"; "" if
// it was not asked. For HYPERSWARM_ERR_BIND_FAILED and HYPERSWARM_ERR_LOOP_FAILED. Valid until the next failure.
const char *hyperswarm_last_error_detail(void);

// A key pair from the system's random source, or from a seed. Wipe the secret key when it is no longer needed.
int hyperswarm_key_pair_generate(
  uint8_t public_key[HYPERSWARM_KEY_SIZE], uint8_t secret_key[HYPERSWARM_SECRET_KEY_SIZE]);
int hyperswarm_key_pair_from_seed(
  uint8_t public_key[HYPERSWARM_KEY_SIZE], uint8_t secret_key[HYPERSWARM_SECRET_KEY_SIZE],
  const uint8_t seed[HYPERSWARM_SEED_SIZE]);

// BLAKE2b-256: for topics made from names, and what immutable values are stored under.
int hyperswarm_hash(const void *data, size_t length, uint8_t hash[HYPERSWARM_KEY_SIZE]);

// Handles of all kinds that are still valid, and completions still to come, in this process; after a fork those that
// the child has made. For leak checks of tests.
size_t hyperswarm_handle_count(void);

// ---- Swarm ---------------------------------------------------------------------------------------------------------

// A known peer. `size` is that of the library.
typedef struct hyperswarm_peer_info {
  size_t size;
  const uint8_t *public_key; // HYPERSWARM_KEY_SIZE
  const uint8_t *topics;     // topic_count times HYPERSWARM_KEY_SIZE: joined topics that the peer was found under
  size_t topic_count;
  uint32_t attempts; // failed dials in a row
  uint8_t is_client; // we have dialled the last connection
  uint8_t is_proven; // a dial has succeeded
  uint8_t is_banned;
  uint8_t is_explicit; // named by hyperswarm_peer_join
  uint8_t is_queued;   // in line to be dialled
  uint8_t is_waiting;  // for the next try
  uint8_t is_connected;
} hyperswarm_peer_info_t;

enum {
  HYPERSWARM_NODE_PERMANENT = 1 << 0,  // serve the network at once, not only after having proved reachable
  HYPERSWARM_NODE_EPHEMERAL = 1 << 1,  // never
  HYPERSWARM_NODE_REACHABLE = 1 << 2,  // a public address: no NAT, no firewall
  HYPERSWARM_NODE_EXACT_PORT = 1 << 3, // fail if `port` is taken; otherwise the next four are tried, then any
};

typedef struct hyperswarm_options {
  size_t size;
  // The caller's loop; NULL: a thread of its own. Must be the loop of the calling thread, initialised, and outlive the
  // swarm. The swarm keeps uv_run going until it is destroyed.
  uv_loop_t *loop;
  // HYPERSWARM_SECRET_KEY_SIZE bytes: the identity; NULL: a fresh one.
  const uint8_t *secret_key;
  // Where to enter the network: host:port, separated by commas. NULL: the public network. "": nowhere.
  const char *bootstrap;
  const char *host; // IPv4 literal to bind to; NULL: any
  uint16_t port;    // 0: any
  uint16_t flags;   // HYPERSWARM_NODE_...
  // Milliseconds without a write after which a connection sends an empty message; 0: 5000, -1: off.
  int32_t keep_alive;
  uint32_t max_peers;              // up to which peers of topics are dialled; 0: 64
  uint32_t max_parallel;           // dials at a time; 0: 3
  uint32_t max_connections;        // both roles; 0: 4096
  uint32_t max_client_connections; // 0: no limit of its own
  uint32_t max_server_connections; // 0: no limit of its own
  // relay_count times HYPERSWARM_KEY_SIZE: public keys of blind relays for peers that cannot be reached otherwise. A
  // relay sees addresses and volumes, not content. NULL and 0: none.
  const uint8_t *relays;
  size_t relay_count;
  // A connection of a topic, or with a peer of hyperswarm_peer_join, has opened. Call
  // hyperswarm_connection_set_callbacks, here or later: messages wait until then. Without this callback such
  // connections are closed at once.
  void (*on_connection)(
    hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data);
  // Asked before a peer is answered, and before one is dialled (`address` is NULL then): HYPERSWARM_ACCEPT, ..._REFUSE,
  // ..._BAN. The key is proved only when the connection stands.
  int (*firewall)(hyperswarm_t *swarm, const uint8_t *public_key, const char *address, void *user_data);
  void *user_data; // of the callbacks, and of hyperswarm_user_data
  // The network has begun to answer (`is_online` 1), or does not answer any more or never did (0): no node of it, for
  // some seconds. Everything that needs it goes on by itself when it is back.
  void (*on_network)(hyperswarm_t *swarm, int is_online, void *user_data);
} hyperswarm_options_t;

// Makes a swarm, opens its sockets and starts to enter the network. With a thread of its own this waits for that thread
// (well below a millisecond), and callbacks may come before it returns.
// HYPERSWARM_ERR_BIND_FAILED: the port is taken, or the address is not ours. After a failure to bind a caller's loop
// must be run once more before it is closed.
int hyperswarm_create(const hyperswarm_options_t *options, hyperswarm_t **swarm);

// Withdraws the announcements (up to 5 seconds; not with `force`), closes all servers and connections, whose callbacks
// all come, then frees everything. The handle is invalid from now on. `done` is the last callback: after it a caller's
// loop may be closed, and an own thread is about to end. A second call gets HYPERSWARM_ERR_BAD_HANDLE.
int hyperswarm_destroy(hyperswarm_t *swarm, int force, void (*done)(void *user_data), void *user_data);

// From any thread in both modes, and NULL for an invalid handle.
void *hyperswarm_user_data(hyperswarm_t *swarm);
int hyperswarm_public_key(hyperswarm_t *swarm, uint8_t public_key[HYPERSWARM_KEY_SIZE]);
// The UDP port of the node; 0 before it is known. From any thread in both modes.
int hyperswarm_local_port(hyperswarm_t *swarm, uint16_t *port);

// Waits until the node has entered the network. HYPERSWARM_OK also if no other node is there: see `nodes` of the
// counters.
int hyperswarm_bootstrapped(hyperswarm_t *swarm, hyperswarm_done_cb done, void *user_data);

enum {
  HYPERSWARM_SERVER = 1 << 0, // announce us, accept connections
  HYPERSWARM_CLIENT = 1 << 1, // look for others, dial them
};

// Joins a topic in the given roles, or changes the roles in a joined one. `done`: the first announcement and look-up
// are through; HYPERSWARM_ERR_REFRESH_FAILED: they failed and will be repeated.
int hyperswarm_join(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], unsigned roles, hyperswarm_done_cb done,
  void *user_data);
// Leaves the topic. `done`: it is no longer announced. Connections stay.
int hyperswarm_leave(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], hyperswarm_done_cb done, void *user_data);
// `done`: all topics are announced and looked up, and every peer known by then was dialled once. `timeout` in
// milliseconds, 0: none; HYPERSWARM_ERR_TIMED_OUT. HYPERSWARM_ERR_REFRESH_FAILED: the network does not answer; what has
// failed will be repeated.
int hyperswarm_flush(hyperswarm_t *swarm, uint64_t timeout, hyperswarm_done_cb done, void *user_data);
// Accepts connections under the swarm's key without a topic.
int hyperswarm_listen(hyperswarm_t *swarm, hyperswarm_done_cb done, void *user_data);

// Withdraws the announcements, closes all connections and stops all traffic, until `resume`. For sleeping devices.
int hyperswarm_suspend(hyperswarm_t *swarm, hyperswarm_done_cb done, void *user_data);
// `resume` with HYPERSWARM_ERR_BIND_FAILED: the sockets could not be opened; the swarm stays suspended and resumes by
// itself as soon as it can, unless it is suspended again.
int hyperswarm_resume(hyperswarm_t *swarm, hyperswarm_done_cb done, void *user_data);

// Dials the peer with this key whatever the topics, again and again, until `leave`. The connection comes through
// `on_connection`.
int hyperswarm_peer_join(hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE]);
int hyperswarm_peer_leave(hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE]);
// Never dials, accepts or retries a known peer, or lifts that. A connection stays.
int hyperswarm_peer_ban(hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE], int is_banned);
// `each` once per known peer, then `done`.
int hyperswarm_peers(
  hyperswarm_t *swarm, void (*each)(hyperswarm_t *swarm, const hyperswarm_peer_info_t *peer, void *user_data),
  hyperswarm_done_cb done, void *user_data);

// Counters and live numbers. `size` is that of the library.
typedef struct hyperswarm_statistics {
  size_t size;
  // Live.
  uint64_t nodes; // in the routing table
  uint64_t topics;
  uint64_t peers;
  uint64_t connecting;
  uint64_t client_connections;
  uint64_t server_connections;
  uint64_t streams; // of all kinds, half-open ones included
  uint8_t is_bootstrapped;
  uint8_t is_online; // a node has answered lately
  uint8_t is_ephemeral;
  uint8_t is_firewalled;
  uint8_t is_suspended;
  uint8_t is_offline; // the network does not answer; neither holds between the start and the first answer
  // Since the beginning.
  uint64_t dials_attempted;
  uint64_t dials_opened;
  uint64_t accepted;
  uint64_t refused_by_firewall;
  uint64_t refused_by_limit;
  uint64_t bytes_sent; // of the swarm's connections, on the wire
  uint64_t bytes_received;
  uint64_t packets_sent;
  uint64_t packets_received;
  uint64_t retransmissions;
} hyperswarm_statistics_t;

int hyperswarm_statistics(
  hyperswarm_t *swarm,
  void (*callback)(hyperswarm_t *swarm, const hyperswarm_statistics_t *statistics, void *user_data), void *user_data);

// ---- Connections ---------------------------------------------------------------------------------------------------

// A connection's callbacks; each may be NULL. The connection is valid until `on_close` returns.
typedef struct hyperswarm_connection_callbacks {
  size_t size;
  // The connection of hyperswarm_connect is open. Those from `on_connection` are open already.
  void (*on_open)(hyperswarm_connection_t *connection, void *user_data);
  // One message, as one write sent it. Messages wait, and the peer's window closes, until there is this callback.
  void (*on_message)(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data);
  // An unordered, unreliable datagram.
  void (*on_datagram)(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data);
  // A write returned more than HYPERSWARM_WRITE_HIGH_WATER, or HYPERSWARM_ERR_QUEUE_FULL, and half of that mark is
  // reached.
  void (*on_drain)(hyperswarm_connection_t *connection, void *user_data);
  // The peer has ended its half; all its messages are delivered.
  void (*on_end)(hyperswarm_connection_t *connection, void *user_data);
  // Exactly once, last. HYPERSWARM_OK: both halves ended, or hyperswarm_connection_destroy.
  void (*on_close)(hyperswarm_connection_t *connection, int status, void *user_data);
  void *user_data; // also of hyperswarm_connection_user_data
} hyperswarm_connection_callbacks_t;

enum {
  HYPERSWARM_CONNECT_NO_HOLEPUNCH = 1 << 0, // only servers with a public address, and relays
};

typedef struct hyperswarm_connect_options {
  size_t size;
  const uint8_t *secret_key;   // HYPERSWARM_SECRET_KEY_SIZE bytes; NULL: the swarm's identity
  const char *relay_addresses; // nodes known to route to the peer, host:port separated by commas, tried first; or NULL
  const uint8_t *relays;       // as for the swarm; the server's own choice wins
  size_t relay_count;
  uint32_t deadline; // milliseconds, 0: none of its own
  uint32_t flags;    // HYPERSWARM_CONNECT_...
} hyperswarm_connect_options_t;

// Connects to the peer that listens with this public key. The handle is valid at once: what is written is sent when the
// connection opens. `on_open` or, with the reason, `on_close` tells. `options` may be NULL.
int hyperswarm_connect(
  hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE], const hyperswarm_connect_options_t *options,
  const hyperswarm_connection_callbacks_t *callbacks, hyperswarm_connection_t **connection);

// Sets all callbacks, in place of earlier ones.
int hyperswarm_connection_set_callbacks(
  hyperswarm_connection_t *connection, const hyperswarm_connection_callbacks_t *callbacks);
// From any thread in both modes, and NULL for an invalid handle.
void *hyperswarm_connection_user_data(hyperswarm_connection_t *connection);

// Proved by the handshake once open; before that the key that was asked for. From any thread in both modes.
int hyperswarm_connection_remote_public_key(
  hyperswarm_connection_t *connection, uint8_t public_key[HYPERSWARM_KEY_SIZE]);
// The same on both sides and on no other connection. Not secret. HYPERSWARM_ERR_NOT_OPEN. From any thread in both
// modes.
int hyperswarm_connection_handshake_hash(hyperswarm_connection_t *connection, uint8_t hash[HYPERSWARM_HASH_SIZE]);
// 1: this side has dialled, 0: the other one, or an error. From any thread in both modes.
int hyperswarm_connection_is_initiator(hyperswarm_connection_t *connection);
// In `on_close`: why, as a sentence for people ("" for a regular end). Cut to `capacity` - 1 bytes and a NUL.
int hyperswarm_connection_reason(hyperswarm_connection_t *connection, char *buffer, size_t capacity);

typedef void (*hyperswarm_write_cb)(hyperswarm_connection_t *connection, int status, void *user_data);

// Sends one message of at most HYPERSWARM_MAX_MESSAGE bytes. Returns how many bytes are in the write queue (0: all of
// it is with the transport), or an error: HYPERSWARM_ERR_QUEUE_FULL, HYPERSWARM_ERR_CLOSED, ... On the loop's thread a
// message that need not wait is encrypted straight from `data`; otherwise it is copied.
// An empty message is what keep-alive sends: a receiver whose own keep-alive is on does not get to see it.
// `written`: HYPERSWARM_OK when the peer's transport has acknowledged the message, or why that will not happen. It
// costs the batching of small messages: leave it NULL where the answer is not needed.
int64_t hyperswarm_connection_write(
  hyperswarm_connection_t *connection, const void *data, size_t length, hyperswarm_write_cb written, void *user_data);
// One unordered, unreliable datagram of about 1,100 bytes at most; longer ones are lost, like others on the way.
int hyperswarm_connection_send_datagram(hyperswarm_connection_t *connection, const void *data, size_t length);

// No more messages after the current one; the peer's window closes. Idempotent.
int hyperswarm_connection_pause(hyperswarm_connection_t *connection);
int hyperswarm_connection_resume(hyperswarm_connection_t *connection);
// Ends the writing half after everything written so far. Reading goes on. The connection closes when both have ended.
int hyperswarm_connection_end(hyperswarm_connection_t *connection);
// Aborts: what is queued is dropped, the peer sees a reset, `on_close` follows. HYPERSWARM_ERR_CLOSED: it closes
// already.
int hyperswarm_connection_destroy(hyperswarm_connection_t *connection);
// Milliseconds; 0: off. Without anything written for so long an empty message goes out.
int hyperswarm_connection_set_keep_alive(hyperswarm_connection_t *connection, uint32_t milliseconds);
// Milliseconds; 0: off. Without anything received for so long it closes with HYPERSWARM_ERR_CONNECTION_TIMED_OUT.
int hyperswarm_connection_set_timeout(hyperswarm_connection_t *connection, uint32_t milliseconds);

// `size` is that of the library. Bytes and packets are those on the wire.
typedef struct hyperswarm_connection_statistics {
  size_t size;
  const char *remote_address; // NULL before the connection opens
  uint32_t round_trip_time;   // milliseconds, smoothed
  uint32_t mtu;
  uint32_t congestion_window; // packets
  uint64_t bytes_in_flight;
  uint64_t bytes_queued; // of the write queue
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t packets_sent;
  uint64_t packets_received;
  uint64_t retransmissions;
  uint64_t messages_sent;
  uint64_t messages_received;
} hyperswarm_connection_statistics_t;

int hyperswarm_connection_statistics(
  hyperswarm_connection_t *connection,
  void (*callback)(
    hyperswarm_connection_t *connection, const hyperswarm_connection_statistics_t *statistics, void *user_data),
  void *user_data);

// ---- Servers -------------------------------------------------------------------------------------------------------

enum {
  HYPERSWARM_SERVER_NO_HOLEPUNCH = 1 << 0, // only clients that need no hole punching, and relays
  // Serve as a blind relay: forward the packets of peers that name this key as theirs. `on_connection` is not used.
  HYPERSWARM_SERVER_RELAY = 1 << 1,
};

typedef struct hyperswarm_server_options {
  size_t size;
  const uint8_t *secret_key; // HYPERSWARM_SECRET_KEY_SIZE bytes; NULL: the swarm's identity. One server per key pair.
  const uint8_t *relays;     // as for the swarm: clients without a direct path are told to come over one of these
  size_t relay_count;
  uint32_t flags; // HYPERSWARM_SERVER_...
  // The first nodes hold the announcement (HYPERSWARM_OK), or it failed. Once, unless the server is closed before.
  void (*on_listening)(hyperswarm_server_t *server, int status, void *user_data);
  // As for the swarm. Without it connections are closed at once.
  void (*on_connection)(hyperswarm_server_t *server, hyperswarm_connection_t *connection, void *user_data);
  // HYPERSWARM_ACCEPT or HYPERSWARM_REFUSE. NULL: every client is accepted.
  int (*firewall)(hyperswarm_server_t *server, const uint8_t *public_key, const char *address, void *user_data);
  // Exactly once, last; the handle is valid until it returns. Also after a failure to listen.
  void (*on_close)(hyperswarm_server_t *server, void *user_data);
  void *user_data; // of these callbacks, and of hyperswarm_server_user_data
} hyperswarm_server_options_t;

// Accepts connections under a key pair, whatever the topics.
int hyperswarm_server_listen(
  hyperswarm_t *swarm, const hyperswarm_server_options_t *options, hyperswarm_server_t **server);
// Stops accepting, withdraws the announcement; `on_close` follows. Connections stay. HYPERSWARM_ERR_CLOSED: it closes
// already.
int hyperswarm_server_close(hyperswarm_server_t *server);
// From any thread in both modes.
void *hyperswarm_server_user_data(hyperswarm_server_t *server);
int hyperswarm_server_public_key(hyperswarm_server_t *server, uint8_t public_key[HYPERSWARM_KEY_SIZE]);

// ---- DHT -----------------------------------------------------------------------------------------------------------

// An announced peer, as one node reports it. `size` is that of the library.
typedef struct hyperswarm_record {
  size_t size;
  const uint8_t *public_key;   // HYPERSWARM_KEY_SIZE
  const char *relay_addresses; // nodes that route to the peer, separated by commas: for hyperswarm_connect_options_t
  const char *from;            // the node that says so
} hyperswarm_record_t;

// 0: go on; anything else ends the search.
typedef int (*hyperswarm_record_cb)(hyperswarm_t *swarm, const hyperswarm_record_t *record, void *user_data);

// Announces a key under a topic for about 20 minutes (hyperswarm_join keeps it fresh), or withdraws that.
// `secret_key` NULL: the swarm's identity.
int hyperswarm_announce(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], const uint8_t *secret_key, hyperswarm_done_cb done,
  void *user_data);
int hyperswarm_unannounce(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], const uint8_t *secret_key, hyperswarm_done_cb done,
  void *user_data);
// Peers announced under the topic; nodes that hold an announcement of the key. `each` per record, the same peer as
// often as nodes report it; then `done`, with HYPERSWARM_OK also when `each` has ended the search.
int hyperswarm_lookup(
  hyperswarm_t *swarm, const uint8_t topic[HYPERSWARM_KEY_SIZE], hyperswarm_record_cb each, hyperswarm_done_cb done,
  void *user_data);
int hyperswarm_find_peer(
  hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE], hyperswarm_record_cb each,
  hyperswarm_done_cb done, void *user_data);

// A value of the network. `size` is that of the library.
typedef struct hyperswarm_value {
  size_t size;
  const uint8_t *key;  // what to ask for: the hash of an immutable value, the public key of a mutable one
  const uint8_t *data; // NULL after a put
  size_t length;
  uint64_t sequence;        // 0 for immutable values
  const uint8_t *signature; // HYPERSWARM_SIGNATURE_SIZE bytes; NULL for immutable values and after a put
  uint32_t stored;          // nodes that confirmed a put, at least one; 0 after a get
} hyperswarm_value_t;

// `value` is NULL when `status` is not HYPERSWARM_OK. HYPERSWARM_ERR_NOT_FOUND: no node has one.
typedef void (*hyperswarm_value_cb)(hyperswarm_t *swarm, int status, const hyperswarm_value_t *value, void *user_data);

// Stores up to HYPERSWARM_MAX_VALUE bytes under their hash, for about two days.
int hyperswarm_immutable_put(
  hyperswarm_t *swarm, const void *data, size_t length, hyperswarm_value_cb done, void *user_data);
int hyperswarm_immutable_get(
  hyperswarm_t *swarm, const uint8_t hash[HYPERSWARM_KEY_SIZE], hyperswarm_value_cb done, void *user_data);
// Stores up to HYPERSWARM_MAX_VALUE signed bytes under a public key. A higher sequence number replaces a lower one;
// HYPERSWARM_ERR_SEQ_REUSED, HYPERSWARM_ERR_SEQ_TOO_LOW. `secret_key` NULL: the swarm's identity.
int hyperswarm_mutable_put(
  hyperswarm_t *swarm, const uint8_t *secret_key, uint64_t sequence, const void *data, size_t length,
  hyperswarm_value_cb done, void *user_data);
// The value with the highest sequence number of at least `sequence`.
int hyperswarm_mutable_get(
  hyperswarm_t *swarm, const uint8_t public_key[HYPERSWARM_KEY_SIZE], uint64_t sequence, hyperswarm_value_cb done,
  void *user_data);

// ---- A private network for tests and development -------------------------------------------------------------------

// Starts `nodes` (1 to 256) permanent nodes on 127.0.0.1. `loop` as in the options of a swarm. `ready` comes once, with
// `bootstrap` for hyperswarm_options_t (NULL after a failure).
int hyperswarm_testnet_create(
  uv_loop_t *loop, unsigned nodes,
  void (*ready)(hyperswarm_testnet_t *testnet, int status, const char *bootstrap, void *user_data), void *user_data,
  hyperswarm_testnet_t **testnet);
// As hyperswarm_destroy. A `ready` that has not come yet comes before `done`.
int hyperswarm_testnet_destroy(hyperswarm_testnet_t *testnet, void (*done)(void *user_data), void *user_data);

#ifdef __cplusplus
}
#endif

#endif
