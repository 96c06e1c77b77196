// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperDHT
import HyperDHTEngine
import HyperRuntime
import HyperSecretStream
import Hyperswarm
import HyperswarmEngine

/// The table behind the numbers of `hyperswarm.h`: number, the code of the Swift error, a sentence.
enum ErrorCodes {
  struct Entry: Sendable {
    let number: Int32
    let name: StaticString
    let text: StaticString

    init(_ number: Int, _ name: StaticString, _ text: StaticString) {
      self.number = Int32(number)
      self.name = name
      self.text = text
    }
  }

  static let all: [Entry] = [
    Entry(HYPERSWARM_OK, "OK", "no error"),
    Entry(HYPERSWARM_ERR_UNKNOWN, "ERROR", "an error without a code of its own"),
    Entry(HYPERSWARM_ERR_INVALID_ARGUMENT, "INVALID_ARGUMENT", "an argument is missing or out of range"),
    Entry(HYPERSWARM_ERR_INVALID_SIZE, "INVALID_SIZE", "the size field of a struct is not that of a known version"),
    Entry(HYPERSWARM_ERR_BAD_HANDLE, "BAD_HANDLE", "the handle is not, or no longer, valid"),
    Entry(HYPERSWARM_ERR_WRONG_THREAD, "WRONG_THREAD", "called off the thread of the caller's own loop"),
    Entry(HYPERSWARM_ERR_CLOSED, "CLOSED", "it is closed or closing, or its writing half has ended"),
    Entry(HYPERSWARM_ERR_TOO_MANY_OPERATIONS, "TOO_MANY_OPERATIONS", "too many operations are under way"),
    Entry(HYPERSWARM_ERR_QUEUE_FULL, "QUEUE_FULL", "the write queue is full: wait for on_drain"),
    Entry(HYPERSWARM_ERR_NOT_OPEN, "NOT_OPEN", "the connection is not open yet"),
    Entry(HYPERSWARM_ERR_MESSAGE_TOO_LARGE, "MESSAGE_TOO_LARGE", "the message is longer than a frame can hold"),
    Entry(HYPERSWARM_ERR_NOT_FOUND, "NOT_FOUND", "no node has the value"),
    Entry(HYPERSWARM_ERR_CANCELLED, "CANCELLED", "cancelled"),
    Entry(HYPERSWARM_ERR_LOOP_FAILED, "LOOP_FAILED", "no thread or no descriptors for an event loop"),
    Entry(HYPERSWARM_ERR_FORKED, "FORKED", "the handle belongs to the process that this one was forked from"),

    Entry(HYPERSWARM_ERR_SWARM_DESTROYED, "SWARM_DESTROYED", "the swarm is destroyed"),
    Entry(HYPERSWARM_ERR_SESSION_DESTROYED, "SESSION_DESTROYED", "the topic was left"),
    Entry(HYPERSWARM_ERR_NO_ROLES, "NO_ROLES", "join as server, as client, or both"),
    Entry(HYPERSWARM_ERR_TOO_MANY_TOPICS, "TOO_MANY_TOPICS", "too many topics are joined"),
    Entry(HYPERSWARM_ERR_TOO_MANY_FLUSHES, "TOO_MANY_FLUSHES", "too many flushes are pending"),
    Entry(HYPERSWARM_ERR_TIMED_OUT, "TIMED_OUT", "not done within the given time"),
    Entry(HYPERSWARM_ERR_PEER_FIREWALLED, "PEER_FIREWALLED", "the firewall has banned the peer"),
    Entry(HYPERSWARM_ERR_TOO_MANY_CONNECTIONS, "TOO_MANY_CONNECTIONS", "a limit of connections is reached"),
    Entry(HYPERSWARM_ERR_REFRESH_FAILED, "REFRESH_FAILED", "no node took the announcement or answered the look-up"),
    Entry(
      HYPERSWARM_ERR_NETWORK_CHANGED, "NETWORK_CHANGED", "the network has changed and the old path does not work"),

    Entry(HYPERSWARM_ERR_PEER_NOT_FOUND, "PEER_NOT_FOUND", "no node of the network knows this key"),
    Entry(
      HYPERSWARM_ERR_PEER_CONNECTION_FAILED, "PEER_CONNECTION_FAILED",
      "the peer is announced, but it did not answer the handshake or refused us"),
    Entry(HYPERSWARM_ERR_SERVER_INCOMPATIBLE, "SERVER_INCOMPATIBLE", "the server speaks an incompatible version"),
    Entry(HYPERSWARM_ERR_SERVER_ERROR, "SERVER_ERROR", "the server answered the handshake with an error"),
    Entry(HYPERSWARM_ERR_BAD_HANDSHAKE_REPLY, "BAD_HANDSHAKE_REPLY", "a node sent an unusable handshake reply"),
    Entry(HYPERSWARM_ERR_BAD_HOLEPUNCH_REPLY, "BAD_HOLEPUNCH_REPLY", "a node sent an unusable hole punching reply"),
    Entry(HYPERSWARM_ERR_HANDSHAKE_UNFINISHED, "HANDSHAKE_UNFINISHED", "the handshake is not finished"),
    Entry(HYPERSWARM_ERR_HANDSHAKE_INVALID, "HANDSHAKE_INVALID", "the handshake message is invalid"),
    Entry(HYPERSWARM_ERR_CANNOT_HOLEPUNCH, "CANNOT_HOLEPUNCH", "no path to the peer could be opened"),
    Entry(HYPERSWARM_ERR_HOLEPUNCH_ABORTED, "HOLEPUNCH_ABORTED", "hole punching was aborted"),
    Entry(HYPERSWARM_ERR_HOLEPUNCH_INVALID, "HOLEPUNCH_INVALID", "the peer sent an invalid hole punching message"),
    Entry(
      HYPERSWARM_ERR_HOLEPUNCH_PROBE_TIMEOUT, "HOLEPUNCH_PROBE_TIMEOUT",
      "could not find out which kind of NAT is between the peers"),
    Entry(
      HYPERSWARM_ERR_HOLEPUNCH_DOUBLE_RANDOMIZED_NATS, "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS",
      "both peers are behind NATs that use another port for every destination"),
    Entry(
      HYPERSWARM_ERR_REMOTE_NOT_HOLEPUNCHING, "REMOTE_NOT_HOLEPUNCHING",
      "the peer does not take part in hole punching"),
    Entry(
      HYPERSWARM_ERR_REMOTE_NOT_HOLEPUNCHABLE, "REMOTE_NOT_HOLEPUNCHABLE", "the peer gave no address to punch to"),
    Entry(HYPERSWARM_ERR_REMOTE_ABORTED, "REMOTE_ABORTED", "the peer aborted hole punching"),
    Entry(HYPERSWARM_ERR_RELAY_ABORTED, "RELAY_ABORTED", "the relay gave up"),
    Entry(HYPERSWARM_ERR_DUPLICATE_CONNECTION, "DUPLICATE_CONNECTION", "another connection to the same peer was kept"),
    Entry(HYPERSWARM_ERR_STREAM_NOT_CONNECTED, "STREAM_NOT_CONNECTED", "the stream is not connected"),
    Entry(HYPERSWARM_ERR_CONNECT_TIMEOUT, "CONNECT_TIMEOUT", "the connection was not made within its deadline"),
    Entry(HYPERSWARM_ERR_ALREADY_LISTENING, "ALREADY_LISTENING", "the server is already listening"),
    Entry(
      HYPERSWARM_ERR_KEYPAIR_ALREADY_USED, "KEYPAIR_ALREADY_USED",
      "another server of this node already listens with this key pair"),
    Entry(HYPERSWARM_ERR_NODE_DESTROYED, "NODE_DESTROYED", "the node has been destroyed"),
    Entry(HYPERSWARM_ERR_SUSPENDED, "SUSPENDED", "the node is suspended"),
    Entry(HYPERSWARM_ERR_BIND_FAILED, "BIND_FAILED", "cannot open the sockets"),
    Entry(HYPERSWARM_ERR_REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "the node did not answer"),
    Entry(HYPERSWARM_ERR_REQUEST_DESTROYED, "REQUEST_DESTROYED", "the request was cancelled"),
    Entry(HYPERSWARM_ERR_IO_SUSPENDED, "IO_SUSPENDED", "the node was suspended meanwhile"),
    Entry(HYPERSWARM_ERR_TOO_FEW_NODES, "TOO_FEW_NODES", "too few nodes responded"),
    Entry(HYPERSWARM_ERR_REMOTE_ERROR, "REMOTE_ERROR", "a node answered with an error"),
    Entry(
      HYPERSWARM_ERR_SEQ_REUSED, "SEQ_REUSED", "the nodes hold another value under this sequence number"),
    Entry(HYPERSWARM_ERR_SEQ_TOO_LOW, "SEQ_TOO_LOW", "the nodes hold a value with a higher sequence number"),
    Entry(HYPERSWARM_ERR_VALUE_TOO_LARGE, "VALUE_TOO_LARGE", "the value is longer than the network stores"),
    Entry(HYPERSWARM_ERR_INVALID_ADDRESS, "INVALID_ADDRESS", "not a usable address"),
    Entry(HYPERSWARM_ERR_NETWORK_UNREACHABLE, "NETWORK_UNREACHABLE", "no node of the network answered"),

    Entry(HYPERSWARM_ERR_CONNECTION_RESET, "ECONNRESET", "the peer closed the connection abruptly"),
    Entry(HYPERSWARM_ERR_CONNECTION_TIMED_OUT, "ETIMEDOUT", "the peer stopped answering"),
    Entry(HYPERSWARM_ERR_DECRYPTION_FAILED, "DECRYPTION_FAILED", "the received data does not decrypt"),
    Entry(HYPERSWARM_ERR_HANDSHAKE_FAILED, "HANDSHAKE_FAILED", "the Noise handshake failed"),
    Entry(HYPERSWARM_ERR_REMOTE_KEY_MISMATCH, "REMOTE_KEY_MISMATCH", "the peer has another public key than expected"),
    Entry(
      HYPERSWARM_ERR_HANDSHAKE_ENDED, "HANDSHAKE_ENDED", "the connection ended before the handshake was complete"),
    Entry(HYPERSWARM_ERR_HANDSHAKE_TIMEOUT, "HANDSHAKE_TIMEOUT", "the handshake took too long"),
    Entry(HYPERSWARM_ERR_INVALID_HEADER, "INVALID_HEADER", "the peer's stream header is invalid"),
    Entry(HYPERSWARM_ERR_INVALID_MESSAGE, "INVALID_MESSAGE", "a message of the peer is too short"),
    Entry(HYPERSWARM_ERR_FRAME_TOO_LARGE, "FRAME_TOO_LARGE", "the peer announced a message above the limit"),
    Entry(HYPERSWARM_ERR_TRUNCATED, "TRUNCATED", "the connection ended inside a message"),
    Entry(HYPERSWARM_ERR_NONCE_EXHAUSTED, "NONCE_EXHAUSTED", "too many datagrams for one connection"),
    Entry(HYPERSWARM_ERR_QUEUE_OVERFLOW, "QUEUE_OVERFLOW", "too many bytes are queued"),
    Entry(HYPERSWARM_ERR_TRANSPORT_ERROR, "TRANSPORT_ERROR", "an error of the transport"),
    Entry(
      HYPERSWARM_ERR_PACKETS_TOO_LARGE, "EMSGSIZE",
      "the peer's packets do not arrive: they are larger than the path's MTU and may not be fragmented"),
    Entry(HYPERSWARM_ERR_MESSAGE_TIMEOUT, "MESSAGE_TIMEOUT", "the peer's first message took too long"),
    Entry(
      HYPERSWARM_ERR_EVICTED, "EVICTED", "the peer had not said anything yet, and others needed the memory"),

    Entry(HYPERSWARM_ERR_PROTOCOL, "PROTOCOL_ERROR", "the peer does not speak the protocol of channels"),
    Entry(HYPERSWARM_ERR_CHANNEL_REJECTED, "CHANNEL_REJECTED", "the peer does not want the channel"),
    Entry(HYPERSWARM_ERR_CHANNEL_NOT_OPENED, "CHANNEL_NOT_OPENED", "this side has not opened the channel"),
    Entry(
      HYPERSWARM_ERR_DUPLICATE_CHANNEL, "DUPLICATE_CHANNEL", "there is a channel with this protocol and id"),
    Entry(
      HYPERSWARM_ERR_TOO_MANY_CHANNELS, "TOO_MANY_CHANNELS", "the connection has as many channels as it may have"),
  ]

  private static let byNumber = Dictionary(uniqueKeysWithValues: all.map { ($0.number, $0) })
  private static let byName = Dictionary(uniqueKeysWithValues: all.map { ("\($0.name)", $0.number) })

  static func entry(_ number: Int32) -> Entry { byNumber[number] ?? all[1] }

  /// Of the `code` of any public error.
  static func number(_ code: String) -> Int32 { byName[code] ?? Int32(HYPERSWARM_ERR_UNKNOWN) }
}

func status(_ error: DHTError) -> Int32 { ErrorCodes.number(error.code) }
func status(_ error: SwarmError) -> Int32 { ErrorCodes.number(HyperswarmError(error).code) }
func status(_ error: EncryptedStreamError?) -> Int32 { error.map { ErrorCodes.number($0.code) } ?? 0 }
func status<T>(_ result: Result<T, DHTError>) -> Int32 {
  if case .failure(let error) = result { status(error) } else { 0 }
}
func status<T>(_ result: Result<T, SwarmError>) -> Int32 {
  if case .failure(let error) = result { status(error) } else { 0 }
}

@c @implementation
public func hyperswarm_error_name(_ error: Int32) -> UnsafePointer<CChar>? { ErrorCodes.entry(error).name.cString }

@c @implementation
public func hyperswarm_strerror(_ error: Int32) -> UnsafePointer<CChar>? { ErrorCodes.entry(error).text.cString }

@c @implementation
public func hyperswarm_last_error_detail() -> UnsafePointer<CChar>? {
  LastError.text ?? ("" as StaticString).cString
}

extension StaticString {
  /// With its NUL, forever.
  var cString: UnsafePointer<CChar> { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}
