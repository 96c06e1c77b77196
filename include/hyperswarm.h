// Hyperswarm and HyperDHT for C: find peers by topic or by public key, connect through NATs, talk encrypted.

#ifndef HYPERSWARM_H
#define HYPERSWARM_H

#include <stddef.h>
#include <stdint.h>

#include "hyperswarm_errors.h"

#ifdef __cplusplus
extern "C" {
#endif

/// @mainpage Rules that hold everywhere
///
/// **Threads.** A swarm lives on one libuv loop. With `options.loop == NULL` that is a loop on a thread of its own:
/// every function may be called from any thread, callbacks come on that thread. With the caller's own loop, which the
/// caller runs, functions of `thread: loop` may be called only on the thread of the loop, and the callbacks come there.
/// Functions of `thread: any` may be called from every thread in both modes. A callback must not block. Each swarm is
/// independent of the others: several instances on several threads need no lock.
///
/// **Callbacks** never come inside the call that asks for them. A function that takes a completion callback and returns
/// HYPERSWARM_OK calls it exactly once, also when the swarm is destroyed; when it returns an error it never does.
/// Completion callbacks may be NULL. Everything may be called from every callback, destroying included.
///
/// **Handles** are opaque numbers of pointer type, never reused within a process: a handle that is no longer valid,
/// NULL or any other value gives HYPERSWARM_ERR_BAD_HANDLE, never a crash.
///
/// **Memory.** What a function gets is copied before it returns. What a callback gets is borrowed until the callback
/// returns. The library never frees memory of the caller, nor the other way round. Each function says under `memory`
/// what it makes and how long that lives. The only exception is hyperswarm_connection_write_borrowed. What the library
/// allocates comes from `malloc`; there is no hook for another allocator (docs/c-library.md says why).
///
/// **Structs** begin with `size`. The caller sets it to sizeof(the struct) and zeroes the rest: zero is the default of
/// every field, so that programs go on working when fields are added at the end:
/// `hyperswarm_options_t options = {.size = sizeof(options)};` Structs that callbacks get have the `size` of the
/// library.
///
/// **Processes.** After a fork the child has no loop threads: what it inherits gives HYPERSWARM_ERR_FORKED from every
/// function, and only the parent goes on with it. The child may make swarms of its own, unless another thread was
/// inside a function of this library during the fork. Unloading the library (dlclose) is allowed from `done` on; it
/// stays mapped until the process ends.
///
/// **Errors** are negative numbers, in hyperswarm_errors.h. Their values and names never change. Three sets have names:
/// - _handle_: HYPERSWARM_ERR_BAD_HANDLE, HYPERSWARM_ERR_FORKED.
/// - _call_: those of _handle_, and HYPERSWARM_ERR_WRONG_THREAD.
/// - _operation_: those of _call_, HYPERSWARM_ERR_SWARM_DESTROYED and HYPERSWARM_ERR_TOO_MANY_OPERATIONS.
///
/// A completion (`status`) brings, besides what its function lists, one of the set _ended_ when something ended under
/// it: HYPERSWARM_ERR_SWARM_DESTROYED, HYPERSWARM_ERR_NODE_DESTROYED, HYPERSWARM_ERR_REQUEST_DESTROYED,
/// HYPERSWARM_ERR_SUSPENDED, HYPERSWARM_ERR_IO_SUSPENDED.
///
/// **Addresses** are text, "192.0.2.1:49737".

// The groups, each with a program of Examples/C, which the tests compile and run.

/// @defgroup basics Versions, errors, keys
/// @par Example
/// @include keys.c

/// @defgroup loops Loops of other kinds
/// @par Example
/// @include epoll.c

/// @defgroup swarm Swarms and topics
/// @par Example
/// @include chat.c

/// @defgroup connections Connections
/// @par Example
/// @include file.c

/// @defgroup protomux Channels of messages on a connection
/// @par Example
/// @include channels.c

/// @defgroup servers Servers
/// @par Example
/// @include echo.c

/// @defgroup dht Look-ups, announcements, values
/// @par Example
/// @include records.c

/// @defgroup node The node: events, operations, addresses, numbers
/// @par Example
/// @include node.c

/// @defgroup commands Requests of one's own to nodes of the network
/// @par Example
/// @include commands.c

/// @defgroup testnet A private network for tests and development
/// @par Example
/// @include isolated.c

/// @addtogroup basics
/// @{

#define HYPERSWARM_VERSION_MAJOR 0
#define HYPERSWARM_VERSION_MINOR 1
#define HYPERSWARM_VERSION_PATCH 0

#define HYPERSWARM_KEY_SIZE 32          ///< bytes of public keys, topics, hashes of values
#define HYPERSWARM_SEED_SIZE 32         ///< bytes of the seed of a key pair
#define HYPERSWARM_SECRET_KEY_SIZE 64   ///< bytes: seed, then public key, as libsodium has it
#define HYPERSWARM_HASH_SIZE 64         ///< bytes of a handshake hash
#define HYPERSWARM_SIGNATURE_SIZE 64    ///< bytes
#define HYPERSWARM_HEX_SIZE 65          ///< characters of a key in hexadecimal digits, and a NUL
#define HYPERSWARM_ZBASE32_SIZE 53      ///< characters of a key in z-base-32, and a NUL
#define HYPERSWARM_MAX_MESSAGE 16777198 ///< bytes of one message of a connection
#define HYPERSWARM_MAX_VALUE 1024       ///< bytes of a value stored in the network

/// Bytes in a connection's write queue above which a writer should wait for `on_drain`. What the transport holds for
/// its own window is not counted.
#define HYPERSWARM_WRITE_HIGH_WATER (1 << 20)
/// Bytes in a connection's write queue from which writes are refused.
#define HYPERSWARM_WRITE_LIMIT (4 << 20)
/// Calls of one swarm whose completion is still to come; further ones get HYPERSWARM_ERR_TOO_MANY_OPERATIONS.
#define HYPERSWARM_MAX_OPERATIONS 4096

struct uv_loop_s; ///< libuv's `uv_loop_t`; programs that do not use libuv need nothing of it

typedef struct hyperswarm hyperswarm_t;                       ///< a swarm and the DHT node under it
typedef struct hyperswarm_connection hyperswarm_connection_t; ///< an encrypted connection with one peer
typedef struct hyperswarm_server hyperswarm_server_t;         ///< listens under one key pair
typedef struct hyperswarm_testnet hyperswarm_testnet_t;       ///< a private network inside this process
typedef struct hyperswarm_verdict hyperswarm_verdict_t;       ///< a question of a firewall that is still open

/// What a firewall answers.
enum {
  HYPERSWARM_ACCEPT = 0, ///< the connection goes on
  HYPERSWARM_REFUSE = 1, ///< not now: the peer gets no answer and may come again
  HYPERSWARM_BAN = 2     ///< never, until hyperswarm_peer_ban with 0; for a server the same as HYPERSWARM_REFUSE
};

/// Completion of an operation that has nothing to say but how it went: on the loop's thread, once. `swarm` is what the
/// operation was called on.
typedef void (*hyperswarm_done_cb)(hyperswarm_t *swarm, int status, void *user_data);

/// The version of the library, "0.1.0".
/// @thread any
/// @memory Static.
/// @errors None.
const char *hyperswarm_version(void);

/// The code of an error as implementations in other languages spell it, "PEER_NOT_FOUND"; "ERROR" for unknown numbers.
/// @thread any
/// @memory Static.
/// @errors None.
const char *hyperswarm_error_name(int error);

/// One sentence about an error.
/// @thread any
/// @memory Static.
/// @errors None.
const char *hyperswarm_strerror(int error);

/// What the system said when the last call on this thread that failed did so, "errno 98: address already in use"; "" if
/// it was not asked. For HYPERSWARM_ERR_BIND_FAILED and HYPERSWARM_ERR_LOOP_FAILED.
/// @thread any
/// @memory Of the thread, valid until its next call that fails.
/// @errors None.
const char *hyperswarm_last_error_detail(void);

/// A key pair from the system's random source. Wipe the secret key when it is no longer needed.
/// @thread any
/// @memory Both keys are written to the caller's memory, and kept nowhere else.
/// @errors HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_key_pair_generate(
  uint8_t public_key[HYPERSWARM_KEY_SIZE], uint8_t secret_key[HYPERSWARM_SECRET_KEY_SIZE]);

/// The key pair of a seed: the same seed, the same keys.
/// @thread any
/// @memory Both keys are written to the caller's memory, and kept nowhere else.
/// @errors HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_key_pair_from_seed(
  uint8_t public_key[HYPERSWARM_KEY_SIZE], uint8_t secret_key[HYPERSWARM_SECRET_KEY_SIZE],
  const uint8_t seed[HYPERSWARM_SEED_SIZE]);

/// BLAKE2b-256: for topics made from names, and what immutable values are stored under. `data` may be NULL for no
/// bytes.
/// @thread any
/// @memory The hash is written to the caller's memory.
/// @errors HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_hash(const void *data, size_t length, uint8_t hash[HYPERSWARM_KEY_SIZE]);

/// A key as 64 lower-case hexadecimal digits.
/// @thread any
/// @memory Written to the caller's memory, with a NUL.
/// @errors HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_key_to_hex(const uint8_t key[HYPERSWARM_KEY_SIZE], char text[HYPERSWARM_HEX_SIZE]);

/// A key as 52 characters of z-base-32: the form that people pass on.
/// @thread any
/// @memory Written to the caller's memory, with a NUL.
/// @errors HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_key_to_zbase32(const uint8_t key[HYPERSWARM_KEY_SIZE], char text[HYPERSWARM_ZBASE32_SIZE]);

/// The key that a text names: 64 hexadecimal digits, 52 characters of z-base-32, or `pear://` and either of them, after
/// which everything from the next `/` on is ignored.
/// @thread any
/// @memory Written to the caller's memory; untouched after an error.
/// @errors HYPERSWARM_ERR_INVALID_ARGUMENT: also for a text that is no key.
int hyperswarm_key_parse(const char *text, uint8_t key[HYPERSWARM_KEY_SIZE]);

/// Handles of all kinds that are still valid, and completions still to come, in this process; after a fork those that
/// the child has made. For leak checks of tests.
/// @thread any
/// @memory None.
/// @errors None.
size_t hyperswarm_handle_count(void);

/// @}

#ifdef __cplusplus
}
#endif

// The parts of the interface; each may also be included by itself.
#include "hyperswarm_loop.h"
#include "hyperswarm_swarm.h"
#include "hyperswarm_connection.h"
#include "hyperswarm_protomux.h"
#include "hyperswarm_dht.h"
#include "hyperswarm_node.h"
#include "hyperswarm_commands.h"

#endif
