// Part of hyperswarm.h: channels of messages on a connection.

#ifndef HYPERSWARM_PROTOMUX_H
#define HYPERSWARM_PROTOMUX_H

#include "hyperswarm.h"

#ifdef __cplusplus
extern "C" {
#endif

/// @addtogroup protomux
/// @{
///
/// Many protocols side by side on one connection, each with its own types of messages, as `protomux` has them in
/// JavaScript, with the same bytes. A channel is open when both sides have opened it with the same protocol and id.
/// What one side opens and the other one does not want is rejected.
///
/// A mux takes the messages of its connection: `on_message` and `on_drain` of the connection are not called any more,
/// and the program must not write to the connection beside the mux. Everything else stays: the other callbacks, the
/// settings, hyperswarm_connection_pause and hyperswarm_connection_resume, which hold for the messages of all channels,
/// and hyperswarm_connection_destroy, which ends the mux too. There is no half-open use: when the peer has ended its
/// half, the channels close, and this half ends.

/// Channels of one connection that are created or open, both sides' together, unless the options say otherwise.
#define HYPERSWARM_MAX_CHANNELS 16384
/// Further names of one channel.
#define HYPERSWARM_MAX_ALIASES 16
/// Bytes of the name or of the id of a channel.
#define HYPERSWARM_MAX_CHANNEL_NAME 65536
/// Types of messages of one channel that have a handler of their own.
#define HYPERSWARM_MAX_MESSAGE_TYPES 1024

typedef struct hyperswarm_mux hyperswarm_mux_t;         ///< the channels of one connection
typedef struct hyperswarm_channel hyperswarm_channel_t; ///< one protocol on a connection

/// What hyperswarm_mux_create takes. Copied.
typedef struct hyperswarm_mux_options {
  size_t size; ///< sizeof(hyperswarm_mux_options_t)
  /// Up to HYPERSWARM_MAX_CHANNELS, which is also the meaning of 0. Further channels of this side fail with
  /// HYPERSWARM_ERR_TOO_MANY_CHANNELS, further ones of the peer are rejected.
  uint32_t max_channels;
  uint32_t reserved; ///< 0
  /// A call returned more than HYPERSWARM_WRITE_HIGH_WATER, or HYPERSWARM_ERR_QUEUE_FULL, and half of that mark is
  /// reached.
  void (*on_drain)(hyperswarm_mux_t *mux, void *user_data);
  /// Exactly once, last, before `on_close` of the connection. HYPERSWARM_ERR_PROTOCOL: the peer does not speak the
  /// protocol, and the connection was destroyed for it. Otherwise the status of `on_close` of the connection.
  void (*on_close)(hyperswarm_mux_t *mux, int status, void *user_data);
  void *user_data; ///< of these callbacks, and of hyperswarm_mux_user_data
} hyperswarm_mux_options_t;

/// Puts channels on a connection, which has no mux yet and of which no message was received or sent. The connection may
/// still be on its way: what is sent waits. Nothing is read before hyperswarm_mux_start. `options` may be NULL.
/// @thread loop
/// @memory `options` is copied; `*mux` is valid until its `on_close` returns; NULL after a failure.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT: also where there is a mux; HYPERSWARM_ERR_INVALID_SIZE;
/// HYPERSWARM_ERR_CLOSED.
int hyperswarm_mux_create(
  hyperswarm_connection_t *connection, const hyperswarm_mux_options_t *options, hyperswarm_mux_t **mux);

/// Begins to read. Channels that are created, and protocols that are paired, until then find every channel that the
/// peer opens, however early it does. Idempotent.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_CLOSED.
int hyperswarm_mux_start(hyperswarm_mux_t *mux);

/// Closes all channels, sends what was sent, and ends the connection. `on_close` follows when the peer has ended it,
/// too.
/// @thread loop
/// @memory The handle stays valid until `on_close` returns.
/// @errors _call_; HYPERSWARM_ERR_CLOSED: it closes already.
int hyperswarm_mux_close(hyperswarm_mux_t *mux);

/// Of the options; NULL for an invalid handle.
/// @thread any
/// @memory The caller's.
/// @errors None.
void *hyperswarm_mux_user_data(hyperswarm_mux_t *mux);

/// The connection under it; NULL for an invalid handle.
/// @thread any
/// @memory None.
/// @errors None.
hyperswarm_connection_t *hyperswarm_mux_connection(hyperswarm_mux_t *mux);

/// Collects what is sent, on all channels, until hyperswarm_mux_uncork has been called as often: it leaves as one batch
/// (in batches of 8 MiB). What is sent while a batch of the peer is delivered is a batch, too.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_CLOSED.
int hyperswarm_mux_cork(hyperswarm_mux_t *mux);

/// See hyperswarm_mux_cork. One call more does nothing.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_CLOSED.
int hyperswarm_mux_uncork(hyperswarm_mux_t *mux);

/// The peer has opened a channel with a paired protocol that is not created here. To accept it, create the channel with
/// this id and open it before returning: it is rejected otherwise. `id` is borrowed.
typedef void (*hyperswarm_offer_cb)(hyperswarm_mux_t *mux, const uint8_t *id, size_t id_length, void *user_data);

/// From now on `on_offer` is called for each channel that the peer opens with this protocol and id and that is not
/// created here. With an `id_length` of 0 it is called for every id that has no pair of its own. Replaces an earlier
/// pair of the same name.
/// @thread loop
/// @memory `protocol` and `id` are copied.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_CLOSED.
int hyperswarm_mux_pair(
  hyperswarm_mux_t *mux, const char *protocol, const void *id, size_t id_length, hyperswarm_offer_cb on_offer,
  void *user_data);

/// Takes back a hyperswarm_mux_pair with the same protocol and id.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_CLOSED; HYPERSWARM_ERR_NOT_FOUND.
int hyperswarm_mux_unpair(hyperswarm_mux_t *mux, const char *protocol, const void *id, size_t id_length);

/// 1: this side has opened a channel with this protocol, or with this alias, that has not been closed; 0: it has not;
/// or an error.
/// @thread any
/// @memory None.
/// @errors _handle_; HYPERSWARM_ERR_INVALID_ARGUMENT.
int hyperswarm_mux_is_opened(hyperswarm_mux_t *mux, const char *protocol, const void *id, size_t id_length);

/// Flags of hyperswarm_channel_options_t.
enum {
  /// There may be channels with the same protocol and id: the first one meets the first one of the peer.
  HYPERSWARM_CHANNEL_SHARED = 1 << 0,
};

/// One message. `data` is borrowed until it returns.
typedef void (*hyperswarm_message_cb)(
  hyperswarm_channel_t *channel, uint32_t type, const uint8_t *data, size_t length, void *user_data);

/// What hyperswarm_channel_create takes. Copied, with what it points to.
typedef struct hyperswarm_channel_options {
  size_t size;          ///< sizeof(hyperswarm_channel_options_t)
  const char *protocol; ///< by which the two sides find each other, usually with a version: "chat/1"
  const void *id;       ///< tells channels of one protocol apart, a key for example; or NULL
  size_t id_length;     ///< bytes of it, 0: none
  /// Further names of the protocol under which a channel of the peer belongs to this one.
  const char *const *aliases;
  uint32_t alias_count; ///< at most HYPERSWARM_MAX_ALIASES
  uint32_t flags;       ///< HYPERSWARM_CHANNEL_...
  /// Both sides have opened it; with what the peer gave to hyperswarm_channel_open. Borrowed.
  void (*on_open)(hyperswarm_channel_t *channel, const uint8_t *handshake, size_t length, void *user_data);
  /// Messages of types that were not added by hyperswarm_channel_add_message. NULL: they are dropped.
  hyperswarm_message_cb on_message;
  /// Exactly once, last. HYPERSWARM_OK: either side has closed it, or the connection has ended regularly;
  /// HYPERSWARM_ERR_CHANNEL_REJECTED: the peer does not want it; otherwise as `on_close` of the mux.
  void (*on_close)(hyperswarm_channel_t *channel, int status, void *user_data);
  void *user_data; ///< of these callbacks, and of hyperswarm_channel_user_data
} hyperswarm_channel_options_t;

/// Makes a channel, which the peer hears of when it is opened. Open it soon: what the peer sends on it meanwhile is
/// held, and from 32 KiB on nothing more is read, for all channels.
/// @thread loop
/// @memory `options` is copied; `*channel` is valid until its `on_close` returns; NULL after a failure.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_INVALID_SIZE; HYPERSWARM_ERR_CLOSED;
/// HYPERSWARM_ERR_DUPLICATE_CHANNEL: there is one with this protocol or alias, and this id;
/// HYPERSWARM_ERR_TOO_MANY_CHANNELS.
int hyperswarm_channel_create(
  hyperswarm_mux_t *mux, const hyperswarm_channel_options_t *options, hyperswarm_channel_t **channel);

/// Gives a type of message a handler of its own. Types are numbered in the order in which they are added, from 0 on, on
/// both sides in the same order. `on_message` NULL leaves out a number. To be called before hyperswarm_channel_open.
/// A channel has HYPERSWARM_MAX_MESSAGE_TYPES at most.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_CLOSED; HYPERSWARM_ERR_INVALID_ARGUMENT: there are no more numbers.
/// Otherwise the result is the number of the type.
int hyperswarm_channel_add_message(hyperswarm_channel_t *channel, hyperswarm_message_cb on_message, void *user_data);

/// Tells the peer, with a handshake (NULL and 0: an empty one). Messages can be sent from now on: the peer holds them
/// until it has opened the channel.
/// @thread loop
/// @memory `handshake` is copied.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_CLOSED: also when it was opened before;
/// HYPERSWARM_ERR_MESSAGE_TOO_LARGE; HYPERSWARM_ERR_QUEUE_FULL: wait for `on_drain`.
int hyperswarm_channel_open(hyperswarm_channel_t *channel, const void *handshake, size_t length);

/// Sends one message. Returns how many bytes are in the connection's write queue (0: all of it is with the transport;
/// what is corked does not count), or an error. HYPERSWARM_MAX_MESSAGE less 38 bytes fit into a message.
/// @thread loop
/// @memory `data` is copied.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_CLOSED; HYPERSWARM_ERR_CHANNEL_NOT_OPENED: this
/// side has not opened it; HYPERSWARM_ERR_MESSAGE_TOO_LARGE;
/// HYPERSWARM_ERR_QUEUE_FULL: wait for `on_drain` of the mux.
int64_t hyperswarm_channel_send(hyperswarm_channel_t *channel, uint32_t type, const void *data, size_t length);

/// Tells the peer, and drops what it has sent. `on_close` follows.
/// @thread loop
/// @memory The handle stays valid until `on_close` returns.
/// @errors _call_; HYPERSWARM_ERR_CLOSED.
int hyperswarm_channel_close(hyperswarm_channel_t *channel);

/// Of the options; NULL for an invalid handle.
/// @thread any
/// @memory The caller's.
/// @errors None.
void *hyperswarm_channel_user_data(hyperswarm_channel_t *channel);

/// The mux that it belongs to; NULL for an invalid handle.
/// @thread any
/// @memory None.
/// @errors None.
hyperswarm_mux_t *hyperswarm_channel_mux(hyperswarm_channel_t *channel);

/// @}

#ifdef __cplusplus
}
#endif

#endif
